"""Contact sheets say which row is which cluster, and stay within their budget."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from panoptic_assets.corpus import contact_sheet as module
from panoptic_assets.corpus.contact_sheet import contact_sheet


def thumbnails(n, side=160):
    noise = np.random.default_rng(n).integers(0, 255, (n, side, side, 3), dtype=np.uint8)
    result = []
    for pixels in noise:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "WEBP")
        result.append(buffer.getvalue())
    return result


def opened(markdown):
    data = re.fullmatch(r"!\[contact sheet\]\(data:image/webp;base64,(.+)\)", markdown)[1]
    return base64.b64decode(data)


def test_a_sheet_shows_its_rows():
    data = opened(contact_sheet([thumbnails(3), thumbnails(1)]))
    width, height = Image.open(io.BytesIO(data)).size
    assert width / height == 3 / 2


def test_a_sheet_gets_coarser_until_it_fits():
    rows = [thumbnails(6) for _ in range(5)]
    small, large = (opened(contact_sheet(rows, budget)) for budget in (6_000, 60_000))
    assert len(small) <= 6_000 < len(large) <= 60_000


def test_without_pictures_or_room_it_says_so():
    assert contact_sheet([]) == contact_sheet([[]]) == "(none)"
    assert contact_sheet([thumbnails(6)], 10) == "(too many to show)"


def column(markdown, columns, rows):
    """The names of a sheet of square tiles: how dark they are, a picture for each row."""
    sheet = Image.open(io.BytesIO(opened(markdown))).convert("L")
    step = sheet.height // rows
    dark = 255 - np.asarray(sheet, np.int64)[:, : sheet.width - columns * step]
    return [dark[row * step : (row + 1) * step] for row in range(rows)]


def side(markdown, rows):
    """Pixels from one row to the next."""
    return Image.open(io.BytesIO(opened(markdown))).height // rows


def test_each_row_has_its_name_before_it():
    names = ["0", "1", "12", "remainder"]
    found = column(contact_sheet([thumbnails(3)] * 4, 60_000, names), 3, 4)
    assert all((row > 200).any() for row in found)
    left = [np.flatnonzero((row > 128).any(axis=0)).min() for row in found]
    assert left[3] < left[2] < min(left[:2])  # from the right: the longer, the farther left
    assert min(left) > 0


def test_a_row_without_pictures_takes_its_name_with_it():
    rows = [thumbnails(2), [], thumbnails(2)]
    assert contact_sheet(rows, names=["0", "1", "2"]) == contact_sheet(
        [rows[0], rows[2]], names=["0", "2"]
    )
    with pytest.raises(ValueError, match="zip"):
        contact_sheet(rows, names=["0"])


def test_a_sheet_without_names_is_pictures_alone():
    rows = [thumbnails(3), thumbnails(3)]
    assert contact_sheet(rows) == contact_sheet(rows, names=["", ""])
    width, height = Image.open(io.BytesIO(opened(contact_sheet(rows)))).size
    assert width / height == 3 / 2


@pytest.mark.parametrize("letters", ["éèêëàâçîïôöùûüœæÉÈÀÇŒñäßåøłčšž", "αβγάώ", "абвгё", "…›–—’"])
def test_letters_with_accents_are_drawn(letters):
    """Pillow's own font has a box for each of them."""
    font = module._font()
    box = font.getmask("\uffff")
    assert all(bytes(font.getmask(letter)) != bytes(box) for letter in letters)
    accented, plain = (
        column(contact_sheet([thumbnails(2)], 60_000, [name]), 2, 1)[0]
        for name in ("Época", "Epoca")
    )
    # The accent is above the letter.
    assert (
        np.flatnonzero((accented > 128).any(axis=1))[0] < np.flatnonzero(plain.max(axis=1) > 128)[0]
    )


def test_a_letter_and_its_accent_apart_are_drawn_as_one():
    rows = [thumbnails(2)]
    assert contact_sheet(rows, names=["e\u0301te"]) == contact_sheet(rows, names=["éte"])


@pytest.mark.parametrize("more", ["漢字", "قطة", "חתול", "🍌", "(漢字, 🍌)", "\ue000"])
def test_letters_that_the_font_lacks_leave_the_number_alone(more):
    rows = [thumbnails(6) for _ in range(4)]
    plain = contact_sheet(rows, names=["3", "12", "Été", "7"])
    names = [f"3 {more}", f"12 {more}", f"{more} Été", f"7 {more} {more}"]
    assert contact_sheet(rows, names=names) == plain


@pytest.mark.parametrize(
    "name",
    [
        "\ud800\udcff",
        "a\0b\x1b[31m",
        "\u202egpj.exe",
        "a" * 5_000,
        "a " * 5_000,
        " ",
        "図書館 🍌",
        "\n\t",
    ],
)
def test_any_text_may_be_a_name(name):
    """Names of tags and files are hostile."""
    markdown = contact_sheet([thumbnails(2)] * 2, names=["7", name])
    width, height = Image.open(io.BytesIO(opened(markdown))).size
    assert width - height < 84 + 8


@pytest.mark.parametrize("budget", [6_000, 14_000])
def test_names_cost_a_step_of_the_tiles_at_most(budget):
    """They share the pictures' budget."""
    rows = [thumbnails(6) for _ in range(8)]
    plain = contact_sheet(rows, budget)
    for name in ("{}", "{} Éléphants d'Asie", "{} " + "très long " * 30):
        named = contact_sheet(rows, budget, [name.format(row) for row in range(8)])
        assert len(opened(named)) <= budget
        sides = [side(markdown, 8) - 2 for markdown in (plain, named)]
        steps = [module._TILE_PIXELS.index(found) for found in sides]
        assert steps[1] - steps[0] <= 1

"""Contact sheets: many thumbnails as one small picture.

Belongs here: laying out pictures and the names of their rows. Does not belong here: choosing them.

Dagster keeps metadata in its event log, where base64 costs about four times its size, so a sheet
has a budget of bytes and gets coarser until it fits.
"""

import base64
import bisect
import functools
import io
import math
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image, ImageFont

_MAX_BYTES = 22_000
"""Ten clusters of six images come out at 56 pixels; in base64 30 kB, of 50 kB for all metadata."""
_UNORDERED_BYTES = 12_000
"""Of a sheet beside tables of up to 34 kB; in base64 it is 16 kB."""
_UNORDERED_IN_A_ROW = 8
_TILE_PIXELS = (72, 56, 48, 40, 32, 24, 16)
_QUALITY = 30
_GAP = 2

_FONT = Path(__file__).parent / "fonts" / "DejaVuSansCondensed.ttf"
"""Latin, Greek and Cyrillic letters; Pillow's own font has no accents. Of a name, what it has no
glyph for is left out."""
_FONT_PIXELS = 11
_LINE_PIXELS = 13
_NAME_PIXELS = 84
"""Of the column of names, in which a longer one takes several lines. A name of three words is some
450 bytes of the sheet, a number 70."""
_NAME_CHARACTERS = 100


def contact_sheet(
    rows: Sequence[Sequence[bytes]], max_bytes: int = _MAX_BYTES, names: Sequence[str] = ()
) -> str:
    """Thumbnails in rows, as a Markdown image whose WebP data is inside the text.

    Args:
        rows: WebP thumbnails, one sequence for each row of the sheet.
        max_bytes: Budget of the picture, in bytes before base64.
        names: What stands before each row, such as the number of its cluster; any text. Empty:
            the rows have no names.

    Returns:
        Markdown; ``(none)`` without thumbnails, ``(too many to show)`` when even tiles of 16 pixels
        are over the budget.
    """
    named = zip(rows, names, strict=True) if names else ((row, "") for row in rows)
    pictures = [([_opened(data) for data in row], _drawable(name)) for row, name in named if row]
    if not pictures:
        return "(none)"
    for place, side in enumerate(_TILE_PIXELS):
        data = _encoded(pictures, side, whole_names=False)
        if len(data) > max_bytes:
            continue
        # For whole names the tiles may be one step smaller, and no more.
        for smaller in _TILE_PIXELS[place : place + 2] if any(names) else ():
            named_data = _encoded(pictures, smaller, whole_names=True)
            if len(named_data) <= max_bytes:
                data = named_data
                break
        return f"![contact sheet](data:image/webp;base64,{base64.b64encode(data).decode()})"
    return "(too many to show)"


def in_rows(thumbnails: Sequence[bytes]) -> str:
    """A contact sheet of images without any order, as :func:`contact_sheet` gives it."""
    rows = range(0, len(thumbnails), _UNORDERED_IN_A_ROW)
    return contact_sheet(
        [thumbnails[row : row + _UNORDERED_IN_A_ROW] for row in rows], _UNORDERED_BYTES
    )


def _opened(data: bytes) -> "Image.Image":
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=["WEBP"]) as picture:
        return picture.convert("RGB")


def _encoded(
    rows: "Sequence[tuple[Sequence[Image.Image], str]]", side: int, whole_names: bool
) -> bytes:
    from PIL import Image, ImageDraw, ImageOps

    step = side + _GAP
    most = max(1, side // _LINE_PIXELS)
    lines = [_broken(name if whole_names else _first_word(name), most) for _, name in rows]
    widths = [_width(line) for found in lines for line in found]
    left = max(widths) + 3 * _GAP if widths else 0
    columns = max(len(pictures) for pictures, _ in rows)
    sheet = Image.new("RGB", (left + step * columns, step * len(rows)), "white")
    draw = ImageDraw.Draw(sheet)
    for y, (pictures, _) in enumerate(rows):
        middle = y * step + (side - _LINE_PIXELS * (len(lines[y]) - 1)) / 2
        for number, line in enumerate(lines[y]):
            place = (left - 2 * _GAP, middle + _LINE_PIXELS * number)
            draw.text(place, line, "black", _font(), anchor="rm")
        for x, picture in enumerate(pictures):
            tile = ImageOps.pad(picture, (side, side), color="white")
            sheet.paste(tile, (left + x * step, y * step))
    buffer = io.BytesIO()
    # The most thorough of its methods, 6, takes twice the time for 3 % fewer bytes.
    sheet.save(buffer, "WEBP", quality=_QUALITY, method=5)
    return buffer.getvalue()


@functools.cache
def _font() -> "ImageFont.FreeTypeFont":
    # The layout that every Pillow has, so that every machine draws the same.
    from PIL import ImageFont

    return ImageFont.truetype(_FONT, _FONT_PIXELS, layout_engine=ImageFont.Layout.BASIC)


def _width(line: str) -> int:
    return math.ceil(_font().getlength(line))


def _drawable(name: str) -> str:
    # Halves of characters and marks of direction cannot be drawn.
    shown = "".join(one if one.isprintable() else " " for one in name[:_NAME_CHARACTERS])
    words = [(word, _in_font(word)) for word in unicodedata.normalize("NFC", shown).split()]
    # Of a word that is not in the font, punctuation alone says nothing.
    return " ".join(drawn for word, drawn in words if drawn == word or any(map(str.isalnum, drawn)))


def _in_font(word: str) -> str:
    return "".join(one for one in word if _has_glyph(one))


@functools.lru_cache(4096)
def _has_glyph(character: str) -> bool:
    # The font has none for private use, and draws its box for whatever it has none.
    return bytes(_font().getmask(character)) != bytes(_font().getmask("\ue000"))


def _first_word(name: str) -> str:
    """A cluster's number, when its name is behind it."""
    first, _, more = name.partition(" ")
    return f"{first}…" if more else first


def _broken(name: str, most: int) -> list[str]:
    """A name in lines that fit the column, at spaces where it has some; the last may be cut."""
    lines: list[str] = []
    while _width(name) > _NAME_PIXELS and len(lines) < most - 1:
        line = _fitting(name, _NAME_PIXELS)
        if name[len(line)] != " " and " " in line:
            line = line[: line.rindex(" ")]
        lines.append(line)
        name = name[len(line) :].lstrip()
    if _width(name) > _NAME_PIXELS:
        name = f"{_fitting(name, _NAME_PIXELS - _width('…')).rstrip()}…"
    return [*lines, name] if name else lines


def _fitting(text: str, width: int) -> str:
    """The longest start of a text, of one character at least, that is within a width in pixels."""
    lengths = range(1, len(text) + 1)
    fitting = bisect.bisect_right(lengths, width, key=lambda length: _width(text[:length]))
    return text[: max(1, fitting)]

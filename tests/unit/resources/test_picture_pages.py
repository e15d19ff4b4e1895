"""Pages: which pictures of a file are images of their own, and which one is the file's."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from resources.decoding import decode
from resources.picture_pages import MAX_PAGES, Pages, pages_of
from resources.tiff import directories
from tests.unit.resources.conftest import reason_of
from tests.unit.resources.fuzz_decoding import encoded, newer_files, small_files, tiff

COLOURS = ("red", "lime", "blue")


def colour(data: bytes, page: int | None = None) -> tuple[int, ...]:
    shown = decode(data, page=page).rgb
    middle = shown.getpixel((shown.width // 2, shown.height // 2))
    assert isinstance(middle, tuple)
    return tuple(round(value / 255) for value in middle)


def booklet(kind: str, *sizes: tuple[int, int], **options: object) -> bytes:
    """A file of three pages, red, green and blue."""
    found = sizes or ((60, 40),) * 3
    pages = [Image.new("RGB", size, name) for size, name in zip(found, COLOURS, strict=False)]
    return encoded(pages[0], kind, save_all=True, append_images=pages[1:], **options)


KINDS = {
    "TIFF": ("TIFF", {}),
    "TIFF, LZW": ("TIFF", {"compression": "tiff_lzw"}),
    "BigTIFF": ("TIFF", {"big_tiff": True}),
    "GIF": ("GIF", {}),
    "WebP": ("WEBP", {"lossless": True}),
    "PNG": ("PNG", {}),
    "AVIF": ("AVIF", {}),
    "HEIC": ("HEIF", {}),
    "MPO": ("MPO", {}),
}


@pytest.mark.parametrize("name", KINDS)
def test_each_page_of_a_file_is_counted_and_decoded(name: str) -> None:
    kind, options = KINDS[name]
    data = booklet(kind, **options)
    assert pages_of(data) == Pages((1, 2, 3), 1)
    shown = [colour(data, page) for page in (None, 1, 2, 3)]
    assert shown == [(1, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    second = decode(data, page=2)
    assert (second.page, second.nb_pages, second.width, second.height) == (2, 3, 60, 40)
    assert decode(data).page == 1
    for page in (0, 4, 99):
        assert "page" in reason_of(lambda page=page: decode(data, page=page))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "JPEG2000", "AVIF"])
def test_a_file_of_one_picture_has_one_page(kind: str) -> None:
    data = encoded(Image.new("RGB", (8, 6), "red"), kind)
    assert pages_of(data) == Pages((1,), 1)
    found = decode(data)
    assert (found.page, found.nb_pages) == (1, 1)
    assert reason_of(lambda: decode(data, page=2)) == "the file has no page 2"


def flagged(data: bytes, *kinds: int) -> bytes:
    """A TIFF of Pillow's whose pages have these kinds (NewSubfileType), which all must have."""
    changed = bytearray(data)
    [place] = struct.unpack_from("<I", data, 4)
    for kind in kinds:
        [count] = struct.unpack_from("<H", changed, place)
        for at in range(place + 2, place + 2 + 12 * count, 12):
            if struct.unpack_from("<H", changed, at) == (254,):
                struct.pack_into("<HHII", changed, at, 254, 4, 1, kind)
        [place] = struct.unpack_from("<I", changed, place + 2 + 12 * count)
    return bytes(changed)


def scans(*sizes: tuple[int, int]) -> bytes:
    return booklet("TIFF", *sizes, tiffinfo={254: 0})


def test_the_largest_page_is_the_image_and_a_thumbnail_before_it_is_not() -> None:
    """As scanners and slide scanners write it, with the flag and without."""
    for data, numbers in (
        (scans((8, 8), (60, 60), (60, 60)), (1, 2, 3)),
        (flagged(scans((8, 8), (60, 60), (60, 60)), 1, 0, 0), (2, 3)),
        (flagged(scans((99, 99), (60, 60), (60, 60)), 1, 0, 0), (2, 3)),
        (flagged(scans((99, 99), (60, 60), (60, 60)), 4, 0, 0), (2, 3)),
        (flagged(scans((99, 99), (60, 60), (60, 60)), 5, 2, 1), (2,)),
    ):
        assert pages_of(data) == Pages(numbers, 2)
        found = decode(data)
        assert (found.page, found.nb_pages, found.width) == (2, len(numbers), 60)
        assert colour(data) == (0, 1, 0)
    pyramid = flagged(scans((60, 60), (30, 30), (15, 15)), 0, 1, 1)
    assert pages_of(pyramid) == Pages((1,), 1)


def test_what_is_no_page_can_still_be_asked_for() -> None:
    """Its id was given before pages were counted."""
    data = flagged(scans((8, 8), (60, 60), (60, 60)), 1, 0, 0)
    assert decode(data, page=1).width == 8


def test_if_no_page_is_left_the_first_is_the_image() -> None:
    assert pages_of(flagged(scans((8, 8), (60, 60), (60, 60)), 1, 1, 1)) == Pages((1,), 1)


def test_the_deep_page_of_a_tiff_is_read_as_any_other() -> None:
    pages = [Image.fromarray(np.full((9, 9), value, np.uint16)) for value in (4095, 0, 4095)]
    data = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    assert [colour(data, page)[0] for page in (1, 2, 3)] == [1, 0, 1]


def test_a_pointer_that_leads_nowhere_ends_the_pages() -> None:
    data = tiff(np.full((4, 4), 200, np.uint8))
    for place in (4, len(data), 2**32 - 1, len(data) - 5):
        changed = data[:-4] + struct.pack("<I", place)
        assert pages_of(changed) == Pages((1,), 1)
        assert decode(changed).width == 4


def chained(count: int, step: int) -> bytes:
    """A TIFF of many directories that share one picture, or even their bytes."""
    data = tiff(np.full((2, 2), 200, np.uint8))
    [at] = struct.unpack_from("<I", data, 4)
    directory = data[at:-4]
    size = len(directory) + 4 if step else 4
    places = [at + number * size for number in range(count)]
    found = data[:at]
    for following in [*places[1:], 0]:
        found += directory + struct.pack("<I", following)
    return found


def test_pages_are_counted_up_to_a_limit_and_a_loop_ends() -> None:
    assert len(pages_of(chained(MAX_PAGES, 1)).numbers) == MAX_PAGES
    assert reason_of(lambda: pages_of(chained(MAX_PAGES + 1, 1))).startswith(
        "more than 10,000 pages"
    )
    loop = bytearray(chained(3, 1))
    loop[-4:] = loop[4:8]
    assert pages_of(bytes(loop)) == Pages((1, 2, 3), 1)


def test_directories_that_overlap_are_counted_within_a_limit() -> None:
    """Each of 60,000 entries, at each fourth byte: the first thousand would take minutes."""
    size = 800_000
    data = bytearray(b"II*\0\x08\0\0\0" + bytes(size))
    for place in range(8, size, 16):
        struct.pack_into("<H", data, place, 60_000)
        end = place + 2 + 12 * 60_000
        if end + 4 < len(data):
            struct.pack_into("<I", data, end, place + 16)
    assert "more than 1,000,000 tags" in reason_of(lambda: pages_of(bytes(data)))


def test_the_gain_map_of_a_phone_is_no_page() -> None:
    """Ultra HDR: a JPEG with a smaller one behind it, in an index that calls it nothing."""
    photo = Image.new("RGB", (60, 40), "red")
    data = encoded(photo, "MPO", save_all=True, append_images=[Image.new("L", (15, 10), 128)])
    assert pages_of(data) == Pages((1,), 1)
    xmp = b'<x:xmpmeta xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"/>'
    same = Image.new("RGB", (60, 40), "blue")
    file = io.BytesIO()
    same.save(file, "JPEG", xmp=xmp)
    with Image.open(io.BytesIO(file.getvalue())) as behind:
        data = encoded(photo, "MPO", save_all=True, append_images=[same])
        assert pages_of(data).numbers == (1, 2)
        start = data.rindex(b"\xff\xd8\xff")
        data = data[:start] + file.getvalue()
        assert behind.size == (60, 40)
    assert pages_of(data) == Pages((1,), 1)
    assert decode(data).nb_pages == 1


@pytest.mark.parametrize(
    ("kind", "is_page"),
    [(0x010001, False), (0x010002, False), (0x020002, True), (0x020003, True), (0x050000, False)],
)
def test_a_view_of_a_camera_is_a_page_and_a_preview_is_not(kind: int, is_page: bool) -> None:
    """Stereo cameras write two views ("disparity"); others a preview beside the photo."""
    data = bytearray(booklet("MPO", (60, 40), (60, 40)))
    index = data.index(b"MPF\0") + 4
    [listed] = directories(bytes(data[index:]), most=1)
    entries = index + listed.entries[0xB002][2]
    struct.pack_into("<I", data, entries + 16, kind)
    assert pages_of(bytes(data)).numbers == ((1, 2) if is_page else (1,))


def test_the_primary_picture_of_a_heic_is_page_1() -> None:
    data = booklet("HEIF", primary_index=1)
    assert pages_of(data) == Pages((1, 2, 3), 1)
    assert [colour(data, page) for page in (None, 1, 2, 3)] == [
        (0, 1, 0),
        (0, 1, 0),
        (1, 0, 0),
        (0, 0, 1),
    ]


def test_an_animation_whose_pages_cost_too_much_is_refused() -> None:
    data = booklet("GIF")
    assert decode(data, max_pixels=2400, page=3).width == 60
    frames = [Image.new("L", (60, 40), value) for value in range(40)]
    many = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode(many, max_pixels=2400, page=20).nb_pages == 40
    assert "too many pixels come before it" in reason_of(
        lambda: decode(many, max_pixels=2400, page=40)
    )


def test_both_algorithms_choose_the_same_page() -> None:
    data = scans((8, 8), (60, 60), (60, 60))
    assert decode(data, algorithm=1).page == decode(data, algorithm=2).page == 2


@pytest.mark.parametrize("files", [small_files, newer_files])
def test_every_page_that_is_counted_can_be_decoded(files) -> None:
    for data in files():
        found = pages_of(data)
        assert found.image in found.numbers
        for page in found.numbers:
            assert decode(data, page=page).page == page

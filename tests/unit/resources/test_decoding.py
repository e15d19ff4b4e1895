"""Decoding: every file is either a picture or one plain reason, within limits."""

import io
import re
import struct
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import numpy as np
import pytest
import scipy.fft
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from resources.decoding import DecodedImage, decode, jpeg, mean_colour, perceptual_hash, thumbnail
from resources.errors import UnreadableImage
from tests.pictures import HOSTILE, SAMPLE
from tests.unit.resources.conftest import reason_of
from tests.unit.resources.fuzz_decoding import (
    chunk,
    encoded,
    png_16_bit,
    small_files,
    tiff_16_bit,
)

PICTURES = {
    "UPPERCASE.JPG": ("JPEG", 256, 201),
    "animated.gif": ("GIF", 256, 201),
    "cmyk.jpg": ("JPEG", 256, 201),
    "exact_duplicate_a.jpg": ("JPEG", 256, 201),
    "exact_duplicate_b.jpeg": ("JPEG", 256, 201),
    "exif_rotated_orientation6.jpg": ("JPEG", 256, 171),
    "extreme_aspect_1200x3.png": ("PNG", 1200, 3),
    "fully_transparent.png": ("PNG", 256, 201),
    "gray_16bit.png": ("PNG", 256, 201),
    "large_dimensions_11000x9000.png": ("PNG", 11000, 9000),
    "one_pixel.png": ("PNG", 1, 1),
    "palette.png": ("PNG", 256, 201),
    "photo.tiff": ("TIFF", 256, 201),
    "photo.webp": ("WEBP", 256, 201),
    "png_named.jpg": ("PNG", 256, 201),
    "with_alpha.png": ("PNG", 256, 201),
    "été à Orléans — 図書館 🍌.jpg": ("JPEG", 256, 201),
}
REASONS = {
    "corrupt_not_an_image.jpg": "not an image: its 500 bytes begin like none of JPEG, PNG, WebP, "
    "GIF, TIFF, BMP, JPEG 2000, AVIF, HEIC, JPEG XL",
    "corrupt_truncated.jpg": "damaged JPEG of 2,507 bytes: image file is truncated "
    "(8 bytes not processed)",
    "empty.png": "the file is empty (0 bytes)",
    "huge_dimensions_30000x30000.png": "30000 x 30000 are 900,000,000 pixels; "
    "the limit is 178,956,970 (max_pixels)",
}


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


def hostile(name: str) -> DecodedImage:
    return decode((HOSTILE / name).read_bytes())


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


def corners() -> Image.Image:
    """60 x 40, each quarter in a colour of its own."""
    colours = np.array([[[200, 30, 30], [30, 200, 30]], [[30, 30, 200], [220, 220, 220]]], np.uint8)
    return Image.fromarray(np.kron(colours, np.ones((20, 30, 1), np.uint8)))


# The hostile files


def test_the_table_covers_every_hostile_file() -> None:
    assert sorted(file.name for file in HOSTILE.iterdir()) == sorted(PICTURES | REASONS)


@pytest.mark.parametrize("name", PICTURES)
def test_a_readable_hostile_file_has_its_format_and_displayed_size(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = hostile(name)
    assert (image.format, image.width, image.height) == PICTURES[name]
    assert (image.rgb.mode, image.rgb.size) == ("RGB", (image.width, image.height))


@pytest.mark.parametrize("name", REASONS)
def test_an_unreadable_hostile_file_has_its_own_plain_reason(name: str) -> None:
    assert reason_of(lambda: hostile(name)) == REASONS[name]


# Pixels


def test_grey_of_16_bits_is_scaled_not_clipped() -> None:
    with Image.open(io.BytesIO((HOSTILE / "gray_16bit.png").read_bytes())) as raw:
        true = np.asarray(raw) / 257
    red, green, blue = np.moveaxis(pixels(hostile("gray_16bit.png").rgb), -1, 0)
    assert true.max() > 250 > 100 > true.min()
    assert np.abs(red - true).max() <= 1
    assert (red == green).all()
    assert (red == blue).all()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param(np.array([[0, 32768, 65535]], "<u2"), [0, 128, 255], id="16 bits"),
        pytest.param(np.array([[0, 32768, 65535]], ">u2"), [0, 128, 255], id="16 bits, big-endian"),
        pytest.param(np.array([[0, 128, 255]], "i4"), [0, 128, 255], id="bytes in 32 bits"),
        pytest.param(np.array([[0, 32768, 65535]], "i4"), [0, 128, 255], id="16 bits in 32"),
        pytest.param(np.array([[-4000, 0, 4000]], "i4"), [0, 128, 255], id="signed"),
        pytest.param(np.array([[0, 0.5, 1]], "f4"), [0, 128, 255], id="fractions"),
        pytest.param(np.array([[0, 128, 255]], "f4"), [0, 128, 255], id="bytes as floats"),
        pytest.param(np.array([[-1e38, 0, 3e38]], "f4"), [0, 64, 255], id="beyond every range"),
        pytest.param(np.array([[np.nan, -np.inf, np.inf]], "f4"), [0, 0, 255], id="not finite"),
        pytest.param(np.array([[np.nan, 0.5, np.inf]], "f4"), [128, 128, 255], id="partly finite"),
        pytest.param(np.full((1, 3), 7e9, "f4"), [255, 255, 255], id="one value, too large"),
    ],
)
def test_deep_greys_keep_their_order_and_fill_the_range(
    values: np.ndarray, expected: list[int]
) -> None:
    image = decode(encoded(Image.fromarray(values), "TIFF"))
    assert np.abs(pixels(image.rgb)[0, :, 0] - expected).max() <= 1


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_of_16_bits_per_channel_is_scaled_not_clipped(channels: int) -> None:
    values = np.full((1, 3, channels), 65535, np.uint16)
    values[0, :, 0] = 0, 32768, 65535
    shown = pixels(decode(png_16_bit(values)).rgb)
    assert shown[0, :, 0].tolist() == [0, 128, 255]


def test_tiff_of_16_bits_per_channel_is_scaled_not_clipped() -> None:
    values = np.array([[[0, 32768, 65535], [65535, 0, 256]]], np.uint16)
    assert pixels(decode(tiff_16_bit(values)).rgb).tolist() == [[[0, 128, 255], [255, 0, 1]]]


@pytest.mark.parametrize(("name", "limit"), [("cmyk.jpg", 2), ("palette.png", 3)])
def test_colours_of_cmyk_and_palette_stay_near_the_original(name: str, limit: float) -> None:
    original = pixels(hostile("photo.tiff").rgb)
    assert np.abs(pixels(hostile(name).rgb) - original).mean() < limit


def test_what_is_transparent_is_white() -> None:
    assert (pixels(hostile("fully_transparent.png").rgb) == 255).all()
    half = decode(encoded(Image.new("RGBA", (2, 2), (0, 0, 0, 128)), "PNG"))
    assert np.abs(pixels(half.rgb) - 127).max() <= 1
    grey = decode(encoded(Image.new("LA", (2, 2), (0, 0)), "PNG"))
    assert (pixels(grey.rgb) == 255).all()
    keyed = decode(encoded(Image.new("RGB", (2, 2), "red"), "PNG", transparency=(255, 0, 0)))
    assert (pixels(keyed.rgb) == 255).all()
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    for kind in ("PNG", "GIF"):
        image = decode(encoded(palette, kind, transparency=0))
        assert pixels(image.rgb).tolist() == [[[255, 255, 255], [40, 50, 60]]]


def test_an_opaque_alpha_channel_changes_nothing() -> None:
    assert (pixels(hostile("with_alpha.png").rgb) == pixels(hostile("photo.tiff").rgb)).all()


def test_one_bit_is_black_and_white() -> None:
    image = decode(encoded(Image.fromarray(np.array([[False, True]])), "PNG"))
    assert pixels(image.rgb).tolist() == [[[0, 0, 0], [255, 255, 255]]]


def test_the_first_frame_of_an_animation_is_taken() -> None:
    first = pixels(hostile("animated.gif").rgb)
    assert np.abs(first - pixels(hostile("photo.tiff").rgb)).mean() < 3
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    for kind, options in (("WEBP", {"lossless": True}), ("PNG", {}), ("TIFF", {})):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert (pixels(decode(data).rgb) == [255, 0, 0]).all()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
    ],
)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_undone_in_every_format(
    kind: str, options: dict[str, object], orientation: int
) -> None:
    shown = np.arange(18, dtype=np.uint8).reshape(2, 3, 3) * 10
    # What a camera stores so that a viewer shows `shown`.
    stored = {
        1: shown,
        2: shown[:, ::-1],
        3: shown[::-1, ::-1],
        4: shown[::-1],
        5: shown.swapaxes(0, 1),
        6: np.rot90(shown),
        7: shown[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(shown, -1),
    }[orientation]
    image = Image.fromarray(np.ascontiguousarray(stored))
    data = encoded(image, kind, exif=turned(orientation), **options)
    image = decode(data)
    assert (image.width, image.height) == (3, 2)
    assert (pixels(image.rgb) == shown).all()


@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
def test_avif_and_heic_are_read_with_their_colours_and_alpha(kind: str) -> None:
    picture = corners()
    image = decode(encoded(picture, kind, quality=90))
    assert (image.format, image.width, image.height) == (kind, 60, 40)
    assert np.abs(pixels(image.rgb) - pixels(picture)).mean() < 4
    picture.putalpha(0)
    assert (pixels(decode(encoded(picture, kind)).rgb) > 250).all()


@pytest.mark.parametrize("kind", ["JPEG", "AVIF", "HEIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_undone_in_lossy_formats(kind: str, orientation: int) -> None:
    shown, lossless = (
        decode(encoded(corners(), kind, exif=turned(orientation), quality=90))
        for kind in (kind, "PNG")
    )
    assert (shown.width, shown.height) == (lossless.width, lossless.height)
    assert np.abs(pixels(shown.rgb) - pixels(lossless.rgb)).mean() < 4


def test_the_brand_of_a_container_may_come_after_a_generic_one() -> None:
    data = encoded(corners(), "AVIF")
    assert data[8:12] == b"avif"
    assert decode(data[:8] + b"mif1" + data[12:]).format == "AVIF"
    other = reason_of(lambda: decode(data[:8] + b"qt  " * 6 + data[32:]))
    assert other.startswith("not an image: ")


def test_heic_without_its_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(corners(), "HEIF")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.delitem(sys.modules, "pillow_heif.as_plugin")
    assert "install panoptic-assets with the extra `heif`" in reason_of(lambda: decode(data))


def test_orientation_6_of_the_hostile_file_turns_it_clockwise() -> None:
    with Image.open(io.BytesIO((HOSTILE / "exif_rotated_orientation6.jpg").read_bytes())) as raw:
        assert raw.size == (171, 256)
        turned = np.rot90(pixels(raw), -1)
    assert (pixels(hostile("exif_rotated_orientation6.jpg").rgb) == turned).all()


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_does_not_cost_the_picture() -> None:
    exif = b"Exif\0\0MM\0*" + b"\xff" * 40
    assert decode(encoded(Image.new("RGB", (4, 3)), "JPEG", exif=exif)).width == 4


def test_threads_decode_to_the_same_pixels() -> None:
    names = [name for name in PICTURES if not name.startswith("large")]
    expected = [hostile(name).rgb.tobytes() for name in names]
    with ThreadPoolExecutor(8) as threads:
        for _ in range(4):
            found = threads.map(lambda name: hostile(name).rgb.tobytes(), names)
            assert list(found) == expected


# A smaller picture


def photo() -> bytes:
    """A JPEG of 1200 x 900."""
    with Image.open(next(SAMPLE.rglob("wild_05.jpg"))) as image:
        return encoded(image.convert("RGB").resize((1200, 900)), "JPEG", quality=90)


@pytest.mark.parametrize(
    ("side", "expected"),
    [
        (1, (150, 113)),
        (112, (150, 113)),
        (113, (300, 225)),
        (200, (300, 225)),
        (448, (600, 450)),
        (451, (1200, 900)),
    ],
)
def test_a_jpeg_may_be_smaller_as_long_as_its_shorter_side_is_kept(
    side: int, expected: tuple[int, int]
) -> None:
    image = decode(photo(), side=side)
    assert image.rgb.size == expected
    assert (image.width, image.height) == (1200, 900)


def test_a_smaller_jpeg_turned_by_exif_has_the_displayed_size_of_the_original() -> None:
    data = encoded(corners().resize((1200, 800)), "JPEG", exif=turned(6))
    image = decode(data, side=200)
    assert (image.width, image.height) == (800, 1200)
    assert image.rgb.size == (200, 300)


def test_a_truncated_jpeg_is_damaged_at_any_size() -> None:
    half = photo()[:-2000]
    assert "truncated" in reason_of(lambda: decode(half))
    assert reason_of(lambda: decode(half, side=100)) == reason_of(lambda: decode(half))


JPEGS = {
    "baseline": {},
    "fine colours": {"subsampling": 0},
    "progressive": {"progressive": True},
    "progressive, fine colours": {"progressive": True, "subsampling": 0},
    "grey": {"grey": True},
    "with restarts": {"restart_marker_blocks": 3},
}


def noisy_jpeg(name: str) -> tuple[bytes, np.ndarray]:
    """A JPEG whose last pixels are not even, and its pixels."""
    options = dict(JPEGS[name])
    noise = np.random.default_rng(3).integers(0, 256, (9, 12, 3), np.uint8)
    picture = Image.fromarray(noise).resize((90, 70), Image.Resampling.BICUBIC)
    picture = picture.convert("L") if options.pop("grey", False) else picture
    data = encoded(picture, "JPEG", quality=90, **options)
    return data, pixels(decode(data).rgb)


@pytest.mark.parametrize("name", JPEGS)
def test_a_jpeg_without_its_end_is_read_if_all_its_pixels_are_there(name: str) -> None:
    """As some scanners, and cards that were drawn too early, leave it."""
    data, shown = noisy_jpeg(name)
    assert data.endswith(b"\xff\xd9")
    for left in (data[:-2], data[:-1], data[:-2] + bytes(4096), data[:-2] + b"\0"):
        assert (pixels(decode(left).rgb) == shown).all()
        assert decode(left, side=20).width == 90


@pytest.mark.parametrize("name", JPEGS)
def test_a_jpeg_that_is_cut_within_its_pixels_is_damaged(name: str) -> None:
    """However little is missing, and whatever a disk or a recovery has put in its place."""
    data, _ = noisy_jpeg(name)
    for missing in (4, 5, 8, 30, len(data) // 3):
        for filled in (b"", bytes(missing), bytes(10_000), b"\xff" * missing):
            cut = data[:-missing] + filled
            assert "truncated" in reason_of(lambda cut=cut: decode(cut))
            assert "truncated" in reason_of(lambda cut=cut: decode(cut, side=10))


def test_a_progressive_jpeg_that_ends_between_two_scans_is_damaged() -> None:
    """Its pixels are all there, and coarse."""
    data, _ = noisy_jpeg("progressive")
    scans = [found.start() for found in re.finditer(b"\xff\xda", data)]
    assert len(scans) > 4
    for start in scans[1:]:
        assert "truncated" in reason_of(lambda start=start: decode(data[:start]))


def test_a_preview_in_a_jpeg_does_not_stand_for_its_end() -> None:
    preview = encoded(Image.new("RGB", (16, 16), "red"), "JPEG")
    data, _ = noisy_jpeg("baseline")
    segment = b"\xff\xef" + (len(preview) + 2).to_bytes(2) + preview
    whole = data[:2] + segment + data[2:]
    assert decode(whole).width == 90
    cut = whole[: -len(data) // 2] + bytes(5000)
    assert "truncated" in reason_of(lambda: decode(cut))


def test_a_smaller_jpeg_2000_has_the_displayed_size_of_the_original() -> None:
    data = encoded(corners().resize((1203, 800)), "JPEG2000", irreversible=True)
    image = decode(data, side=200)
    assert (image.width, image.height) == (1203, 800)
    assert image.rgb.size == (301, 200)
    whole = decode(data).rgb.resize((301, 200), Image.Resampling.BOX)
    assert np.abs(pixels(image.rgb) - pixels(whole)).mean() < 2
    for size in ((1025, 771), (999, 751), (65, 1), (1, 1)):
        odd = decode(encoded(Image.new("RGB", size, "red"), "JPEG2000"), side=64)
        assert (odd.width, odd.height) == size


def test_a_smaller_jpeg_looks_like_the_original_in_a_models_eyes() -> None:
    """DESIGN: at twice the target size, the mean difference is .004."""
    full, small = (
        pixels(decode(photo(), side=side).rgb.resize((224, 224), Image.Resampling.BICUBIC))
        for side in (None, 448)
    )
    assert np.abs(full - small).mean() / 255 < 0.01


def test_only_jpeg_gets_smaller() -> None:
    for kind in ("PNG", "WEBP", "TIFF", "AVIF", "HEIF"):
        assert decode(encoded(corners(), kind), side=4).rgb.size == (60, 40)


# The time of taking


def dated(kind: str, original: str | None, changed: str | None) -> datetime | None:
    exif = Image.Exif()
    if changed is not None:
        exif[0x0132] = changed
    if original is not None:
        exif.get_ifd(0x8769)[0x9003] = original
    return decode(encoded(corners(), kind, exif=exif.tobytes())).taken_at


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_the_time_of_taking_is_read_in_every_format_with_exif(kind: str) -> None:
    taken, changed = "1999:12:31 23:59:58", "2020:01:02 03:04:05"
    assert dated(kind, taken, changed) == datetime(1999, 12, 31, 23, 59, 58)
    assert dated(kind, None, changed) == datetime(2020, 1, 2, 3, 4, 5)
    assert dated(kind, None, None) is None


@pytest.mark.parametrize(
    "written",
    [
        "0000:00:00 00:00:00",
        "    :  :     :  :  ",
        "",
        "2020-01-02",
        "2020:13:01 00:00:00",
        "9" * 99,
    ],
)
def test_what_is_no_date_is_no_time_of_taking(written: str) -> None:
    assert dated("JPEG", written, None) is None


def test_a_malformed_time_of_taking_gives_way_to_the_time_of_change() -> None:
    assert dated("JPEG", "0000:00:00 00:00:00", "2020:01:02 03:04:05") == datetime(
        2020, 1, 2, 3, 4, 5
    )


# Limits and damage


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "HEIF"])
def test_a_truncated_file_of_any_format_is_damaged(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    half = data[: len(data) // 2]
    assert reason_of(lambda: decode(half)).startswith(f"damaged {kind} of {len(half):,} bytes: ")


def test_a_pixel_bomb_is_refused_from_its_header_alone() -> None:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 50000, 40000, 8, 2, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    assert reason_of(lambda: decode(data)).startswith("50000 x 40000 are 2,000,000,000 pixels")


def test_the_limit_of_pixels_is_the_last_size_allowed() -> None:
    data = encoded(Image.new("L", (10, 10)), "PNG")
    assert decode(data, max_pixels=100).width == 10
    assert "the limit is 99 (max_pixels)" in reason_of(lambda: decode(data, max_pixels=99))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "HEIF"])
def test_every_format_is_held_to_the_limit_of_pixels(kind: str) -> None:
    data = encoded(corners(), kind)
    assert decode(data, max_pixels=2400).width == 60
    reason = "60 x 40 are 2,400 pixels; the limit is 2,399 (max_pixels)"
    assert reason_of(lambda: decode(data, max_pixels=2399)) == reason


def test_a_heic_whose_picture_is_larger_than_its_header_says_is_refused() -> None:
    data = encoded(Image.new("RGB", (2048, 2048)), "HEIF")
    size = struct.pack(">II", 2048, 2048)
    assert data.count(size) == 1
    assert reason_of(lambda: decode(data.replace(size, struct.pack(">II", 64, 64)))).startswith(
        "damaged HEIF"
    )


def scans_of(number: int) -> bytes:
    """A progressive JPEG with so many scans."""
    data = encoded(corners(), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * (number - data.count(b"\xff\xda")) + data[-2:]


def test_a_jpeg_that_refines_without_end_is_refused() -> None:
    assert decode(scans_of(100)).width == 60
    reason = "a JPEG of more than 100 scans; 10 are usual"
    assert reason_of(lambda: decode(scans_of(101))) == reason


def test_a_film_behind_a_jpeg_counts_for_no_scans() -> None:
    """Phones append one to a photo; it may hold any bytes."""
    assert decode(encoded(corners(), "JPEG") + b"\xff\xda" * 200).width == 60


@pytest.mark.parametrize(("name", "width"), [("VP8X", 24), ("VP8 ", 26), ("VP8L", 21)])
def test_a_webp_is_refused_before_it_allocates_its_canvas(name: str, width: int) -> None:
    mode = "RGBA" if name == "VP8X" else "RGB"
    data = bytearray(encoded(Image.new(mode, (9, 7), 9), "WEBP", lossless=name == "VP8L"))
    assert data[12:16] == name.encode()
    data[width : width + 2] = b"\xff\x3f"
    assert re.match(r"1638[34] x \d are ", reason_of(lambda: decode(bytes(data), 20_000)))


@pytest.mark.parametrize("name", [b"zTXt", b"iCCP"])
def test_a_compressed_chunk_that_explodes_is_refused(name: bytes) -> None:
    data = encoded(Image.new("L", (4, 4)), "PNG")
    bomb = chunk(name, b"key\0\0" + zlib.compress(bytes(50_000_000), 9))
    assert "too large" in reason_of(lambda: decode(data[:33] + bomb + data[33:]))


def test_other_formats_are_never_tried() -> None:
    """What is an image or a document is named, to tell "not supported" from "damaged"."""
    kinds = {
        "EPS": "not supported: PostScript (EPS); ",
        "PPM": "not supported: Netpbm; ",
        "TGA": "not an image: ",
        "ICO": "not supported: icon (ICO); ",
        "PDF": "not supported: PDF document; ",
    }
    for kind, beginning in kinds.items():
        data = encoded(Image.new("RGB", (16, 16)), kind)
        assert reason_of(lambda data=data: decode(data)).startswith(beginning)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=500, deadline=None)
@given(
    data=st.sampled_from(range(len(small_files()))).map(lambda number: small_files()[number]),
    changes=st.lists(st.tuples(st.integers(0, 10_000), st.binary(min_size=1, max_size=4))),
    cut=st.none() | st.integers(0, 10_000),
    side=st.sampled_from([None, 8]),
)
@example(b"\0\0\0\x0cftypavif", [], None, None)
@example(b"\0\0\0\x0cftypheic", [], None, None)
@example(small_files()[28], [(400, b"\0")], None, None)  # a HEIC that announces another size
def test_damaged_bytes_give_a_picture_or_one_plain_line(
    data: bytes, changes: list[tuple[int, bytes]], cut: int | None, side: int | None
) -> None:
    changed = bytearray(data)
    for place, content in changes:
        start = place % len(changed)
        changed[start : start + len(content)] = content
    if cut is not None:
        del changed[cut % len(changed) :]
    try:
        image = decode(bytes(changed), max_pixels=1_000_000, side=side)
    except UnreadableImage as error:
        assert error.reason
        assert error.reason.isprintable()
        assert not re.search(r"object at 0x|\bNone$", error.reason)
    else:
        assert image.rgb.mode == "RGB"
        assert side is not None or (image.width, image.height) == image.rgb.size


# Thumbnails


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1, 1), (1, 1)),
        ((100, 160), (100, 160)),
        ((161, 100), (160, 99)),
        ((1200, 3), (160, 1)),
        ((2, 9000), (1, 160)),
    ],
)
def test_a_thumbnail_fits_is_never_enlarged_and_never_has_0_pixels(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    with Image.open(io.BytesIO(thumbnail(Image.new("RGB", size, "red")))) as small:
        assert (small.format, small.size) == ("WEBP", expected)


def test_a_thumbnail_leaves_the_image_and_its_profile_behind() -> None:
    profile = bytes(200_000)
    image = decode(encoded(Image.new("RGB", (300, 200)), "JPEG", icc_profile=profile))
    assert len(thumbnail(image.rgb)) < 1000
    assert image.rgb.size == (300, 200)


# What is computed from pixels


def differing_bits(one: str, two: str) -> int:
    return (int(one, 16) ^ int(two, 16)).bit_count()


def sample_picture(name: str) -> Image.Image:
    return decode(next(SAMPLE.rglob(name)).read_bytes()).rgb


def test_the_perceptual_hash_is_that_of_the_cosine_transform() -> None:
    """Against scipy's transform, on a picture of the very size that is transformed."""
    picture = sample_picture("wild_05.jpg").resize((32, 32))
    grey = np.asarray(picture.convert("L"), float)
    low = scipy.fft.dctn(grey, type=2)[1:9, 1:9]
    bits = "".join(map(str, (low > np.median(low)).astype(int).ravel()))
    assert perceptual_hash(picture) == f"{int(bits, 2):016x}"


def test_near_duplicates_have_near_hashes_and_other_pictures_have_not() -> None:
    original = sample_picture("wild_05.jpg")
    expected = perceptual_hash(original)
    smaller = original.resize((original.width // 2, original.height // 2))
    compressed = decode(encoded(original, "JPEG", quality=20)).rgb
    for alike in (sample_picture("wild_05_dup_brighter.jpg"), smaller, compressed):
        assert differing_bits(perceptual_hash(alike), expected) <= 6
    others = [perceptual_hash(sample_picture(f"fish_{number:02}.jpg")) for number in range(1, 11)]
    assert min(differing_bits(other, expected) for other in others) > 12


@pytest.mark.parametrize("size", [(1, 1), (3, 1200), (500, 400)])
def test_an_even_picture_has_a_hash_without_chance(size: tuple[int, int]) -> None:
    assert perceptual_hash(Image.new("RGB", size, (17, 99, 200))) == "0" * 16


def test_the_mean_colour_is_that_of_the_stored_values() -> None:
    assert mean_colour(Image.new("RGB", (7, 5), "#0a80ff")) == "#0a80ff"
    halves = Image.fromarray(np.array([[[0, 0, 0], [254, 100, 2]]], np.uint8))
    assert mean_colour(halves) == "#7f3201"
    noise = np.random.default_rng(0).integers(0, 200, (333, 217, 3), np.uint8)
    expected = "#" + "".join(f"{round(mean):02x}" for mean in noise.mean((0, 1)))
    assert mean_colour(Image.fromarray(noise)) == expected


def test_a_jpeg_for_others_has_no_metadata_and_the_stated_size():
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x010E] = "where I live"
    picture = Image.new("RGB", (300, 200), "red")
    picture.save(file, "JPEG", comment=b"where I live", exif=exif, icc_profile=b"where I live")
    data = jpeg(decode(file.getvalue()).rgb, 100)
    assert b"where I live" not in data
    assert Image.open(io.BytesIO(data)).size == (100, 67)

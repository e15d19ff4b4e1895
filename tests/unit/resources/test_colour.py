"""Colour and depth: what a scan says becomes what a viewer shows, by one rule."""

import io
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageCms

from resources.colour import Colour
from resources.decoding import decode
from tests.unit.resources.conftest import reason_of
from tests.unit.resources.fuzz_decoding import (
    chunk,
    encoded,
    png_16_bit,
    swapped_profile,
    tiff,
    tiff_of,
)

SRGB = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
RED = (230, 40, 20)
BLUE = (20, 40, 230)


def pixels(data: bytes, **options: int) -> np.ndarray:
    return np.asarray(decode(data, **options).rgb).astype(int)


def first(data: bytes, **options: int) -> list[int]:
    return pixels(data, **options)[0, 0].tolist()


def near(found: object, expected: object, limit: float = 4) -> bool:
    return bool(np.abs(np.subtract(found, expected)).max() <= limit)


def srgb() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def with_png_chunk(data: bytes, name: bytes, content: bytes) -> bytes:
    return data[:33] + chunk(name, content) + data[33:]


# Depth

DEEP = {
    "bytes in 16 bits": ([0, 128, 255], "u2"),
    "10 bits": ([0, 512, 1023], "u2"),
    "12 bits": ([0, 2048, 4095], "u2"),
    "14 bits": ([0, 8192, 16383], "u2"),
    "16 bits": ([0, 32768, 65535], "u2"),
    "12 bits in 32": ([0, 2048, 4095], "u4"),
    "16 bits in 32": ([0, 32768, 65535], "u4"),
    "beyond 16 bits": ([0, 2**31, 2**32 - 1], "u4"),
    "signed, but never below 0": ([0, 16384, 32767], "i2"),
    "signed": ([-1000, 0, 1000], "i2"),
    "signed, of 32 bits": ([-4000, 0, 4000], "i4"),
    "fractions": ([0, 0.5, 1], "f4"),
    "halves": ([0, 0.5, 1], "f2"),
    "doubles": ([0, 0.5, 1], "f8"),
    "per cent": ([0, 50, 100], "f4"),
    "bytes as floats": ([0, 128, 255], "f4"),
    "12 bits as floats": ([0, 2048, 4095], "f8"),
}


def deep(name: str) -> np.ndarray:
    values, kind = DEEP[name]
    return np.array([values], kind)


def in_colour(values: np.ndarray) -> np.ndarray:
    """The same in red, backwards in green."""
    return np.stack([values, values[:, ::-1], values], -1)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("name", DEEP)
def test_more_than_8_bits_fill_the_range_by_one_rule(name: str, order: str) -> None:
    grey = pixels(tiff(deep(name), order=order))
    assert near(grey[0, :, 0], [0, 128, 255], 1)
    colour = pixels(tiff(in_colour(deep(name)), order=order))
    assert (colour[..., 0] == grey[..., 0]).all()
    assert (colour[..., 1] == grey[:, ::-1, 0]).all()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("is_big", [False, True])
@pytest.mark.parametrize("kind", ["u1", "u2", "u4", "i2", "i4", "f2", "f4", "f8"])
def test_where_white_is_zero_every_depth_is_inverted(kind: str, is_big: bool, order: str) -> None:
    """Fax machines, X-ray and microfilm scanners write so; a negative is another picture."""
    top = {"f": 1, "i": np.iinfo("i2").max, "u": 255 if kind == "u1" else 65535}[kind[0]]
    values = np.array([[0, top / 2, top]]).astype(kind)
    assert near(pixels(tiff(values, {262: 0}, order, is_big))[0, :, 0], [255, 127, 0], 1)
    assert near(pixels(tiff(values, {262: 1}, order, is_big))[0, :, 0], [0, 127, 255], 1)


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("order", ["<", ">"])
def test_where_white_is_zero_less_than_8_bits_are_inverted(bits: int, order: str) -> None:
    packed = np.array([[0b00001011, 0b11111111]], np.uint8)
    shape = {256: 16 // bits, 258: bits, 279: 2}
    black, white = (pixels(tiff(packed, {**shape, 262: what}, order)) for what in (1, 0))
    assert black.min() == 0
    assert (black + white == 255).all()


@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.parametrize("order", ["<", ">"])
def test_samples_that_are_packed_bit_by_bit_are_read(bits: int, order: str) -> None:
    top = 2**bits - 1
    text = "".join(f"{value:0{bits}b}" for value in (0, top // 2, top, top))
    row = np.packbits(np.array(list(text), np.uint8))[None]
    data = tiff(row, {256: 4, 258: bits, 279: row.size}, order)
    assert near(pixels(data)[0, :, 0], [0, 127, 255, 255], 1)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "zstd"])
def test_compressed_samples_are_those_that_were_stored(compression: str) -> None:
    ramp = np.tile(np.linspace(0, 4095, 64), (48, 1)).astype(np.uint16)
    data = encoded(Image.fromarray(ramp), "TIFF", compression=compression)
    assert near(pixels(data)[..., 0], ramp / 4095 * 255, 1)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_png_of_12_bits_in_16_is_not_nearly_black(channels: int) -> None:
    values = np.full((1, 3, channels), 65535, np.uint16)
    values[..., : 1 if channels < 3 else 3] = [[[0], [2048], [4095]]]
    shown = pixels(png_16_bit(values))
    assert near(shown[0, :, 0], [0, 128, 255], 1)
    assert (shown[..., 0] == shown[..., 2]).all()


def test_alpha_of_16_bits_has_a_white_of_its_own() -> None:
    values = np.array([[[4095, 0, 0, 65535], [4095, 0, 0, 0]]], np.uint16)
    expected = [[255, 0, 0], [255, 255, 255]]
    assert pixels(png_16_bit(values))[0].tolist() == expected
    assert pixels(tiff(values, {338: 2}))[0].tolist() == expected


def test_a_stated_white_counts_as_long_as_no_pixel_exceeds_it() -> None:
    dark = np.array([[0, 500, 1000]], np.uint16)
    assert near(pixels(tiff(dark))[0, :, 0], [0, 125, 249], 1)
    assert near(pixels(tiff(dark, {281: 4000}))[0, :, 0], [0, 32, 64], 1)
    assert near(pixels(tiff(dark, {281: 900}))[0, :, 0], [0, 125, 249], 1)
    assert near(pixels(tiff(dark, {281: 65535}))[0, :, 0], [0, 125, 249], 1), "all bits: no word"
    png = with_png_chunk(png_16_bit(dark[..., None]), b"sBIT", b"\x0c")
    assert near(pixels(png)[0, :, 0], [0, 31, 62], 1)


def test_a_dark_picture_of_the_full_range_stays_dark() -> None:
    """Only what no device of its bits would write is stretched, and never below 8 bits."""
    dim = np.array([[[0, 9000, 17000]]], np.uint16).swapaxes(1, 2)
    assert near(pixels(png_16_bit(np.repeat(dim, 3, 2)))[0, :, 0], [0, 35, 66], 1)
    noise = np.array([[3, 5, 9]], np.uint16)
    assert pixels(tiff(noise))[0, :, 0].tolist() == [3, 5, 9]
    assert pixels(tiff(noise * 0))[0, :, 0].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([np.nan, 0.5, 1], [128, 128, 255]),  # as dark as the darkest
        ([0, np.inf, -np.inf], [0, 255, 0]),
        ([np.nan, np.nan, np.nan], [0, 0, 0]),
        ([-1e308, 0, 1e308], [0, 128, 255]),
        ([-1e-310, 0, 1e-310], [255, 255, 255]),
    ],
)
def test_what_is_no_finite_number_spoils_nothing(values: list[float], expected: list[int]) -> None:
    assert near(pixels(tiff(np.array([values], "f8")))[0, :, 0], expected, 1)


def test_channels_beyond_the_colour_are_alpha_or_nothing() -> None:
    """CMYK with a spot colour or alpha, and channels of masks, as Photoshop writes them."""
    cmyk = np.array([[[0, 255, 255, 0, 0], [0, 255, 255, 0, 255]]], np.uint8)
    assert near(pixels(tiff(cmyk, {338: 0}))[0], [[255, 0, 0], [255, 0, 0]], 3)
    assert near(pixels(tiff(cmyk, {338: 2}))[0], [[255, 255, 255], [255, 0, 0]], 3)
    many = np.dstack([np.full((1, 1), value, np.uint8) for value in (9, 8, 7, 1, 2, 3, 4, 5)])
    assert first(tiff(many, {262: 2, 338: 0})) == [9, 8, 7]


def test_colours_multiplied_with_alpha_are_what_they_were() -> None:
    half = np.array([[[32767, 0, 0, 32767]]], np.uint16)
    full = np.array([[[65535, 0, 0, 65535]]], np.uint16)
    both = np.concatenate([half, full], 1)
    assert near(pixels(tiff(both, {338: 1}))[0], [[255, 128, 128], [255, 0, 0]], 2)


def test_many_bytes_for_each_pixel_are_held_to_the_limit() -> None:
    data = tiff(np.zeros((10, 10, 4)), {338: 2})
    assert decode(data, max_pixels=400).width == 10
    assert "3,200 bytes" in reason_of(lambda: decode(data, max_pixels=399))


def unfitting_tiff(width: int, height: int, bits: int, channels: int, **said: list[int]) -> bytes:
    """A deflated TIFF of zeros, whose strips or tiles all are the same bytes of the file."""
    tags = {256: [width], 257: [height], 258: [bits] * channels, 259: [8], 262: [1]}
    tags |= {277: [channels]}
    if "tile" in said:
        across, down = said["tile"]
        places, strip = -(-height // down), across * down * channels * bits // 8
        tags |= {322: [across], 323: [down]}
        where = 324
    else:
        is_planar = "planar" in said
        places = channels if is_planar else 1
        strip = width * height * bits // 8 * (1 if is_planar else channels)
        tags |= {278: [height], 284: [2 if is_planar else 1]}
        where = 273
    packed = zlib.compress(bytes(strip), 9)
    tags |= {where: [8] * places, (325 if where == 324 else 279): [len(packed)] * places}
    return tiff_of(tags, packed + bytes(4_000_000 if "planar" in said else 0))


def test_tiles_far_larger_than_the_picture_are_held_to_the_limit() -> None:
    data = unfitting_tiff(1, 10_000, 16, 1, tile=[4096, 1024])
    reason = reason_of(lambda: decode(data, max_pixels=10_000))
    assert reason.startswith("1 x 10000 pixels of 83,886,080 bytes; the limit is 80,000")


_PEAKS = """
import sys
from pathlib import Path
from resources.decoding import decode
for path in sys.argv[1:]:
    decode(Path(path).read_bytes())
    lines = Path("/proc/self/status").read_text().splitlines()
    print(next(line for line in lines if line.startswith("VmHWM")).split()[1])
"""


def test_what_is_not_shown_of_a_tiff_takes_no_memory(tmp_path: Path) -> None:
    """Files of some kB to 4 MB, each of which once took 300 to 1,200 MB; now 12 to 105."""
    files = {
        "an ordinary one": tiff(deep("12 bits")),
        "300 planes of 1 pixel in 4 MB": unfitting_tiff(1, 1, 16, 300, planar=[]),
        "1,500 channels of 12 bits": unfitting_tiff(100, 100, 12, 1500),
        "tiles 4,096 times as wide as the picture": unfitting_tiff(
            1, 10_000, 16, 1, tile=[4096, 1024]
        ),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    found = subprocess.run(
        [sys.executable, "-c", _PEAKS, *(tmp_path / name for name in files)],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    peaks = [int(line) >> 10 for line in found.stdout.split()]
    assert len(peaks) == len(files)
    grown = dict(zip(files, (peak - peaks[0] for peak in peaks), strict=True))
    assert max(grown.values()) < 200, grown


def test_only_the_channels_of_the_colour_are_looked_at() -> None:
    """Of what is packed bit by bit, predicted or not, in planes or not, the rest is passed over."""
    values = np.zeros((20, 30, 70), np.uint16)
    values[..., 0] = np.linspace(0, 4095, 30)
    values[..., 1:] = 65535
    expected = values[0, :, 0] / 4095 * 255
    assert near(pixels(tiff(values, {262: 1, 338: 0}))[5, :, 0], expected, 1)
    bits = np.unpackbits(values.astype(">u2").view(np.uint8), axis=-1).reshape(20, 30, 70, 16)
    rows = np.packbits(bits[..., 4:].reshape(20, -1), axis=-1)
    said = {258: [12] * 70, 259: [8], 262: [1], 277: [70], 278: [20], 273: [8]}
    packed = zlib.compress(rows.tobytes())
    shown = pixels(tiff_of({256: [30], 257: [20], **said, 279: [len(packed)]}, packed))
    assert near(shown[5, :, 0], expected, 1)
    planes = [zlib.compress(np.ascontiguousarray(values[..., at]).tobytes()) for at in range(70)]
    ends = np.cumsum([8, *map(len, planes)]).tolist()
    said |= {258: [16] * 70, 284: [2], 273: ends[:-1], 279: [len(plane) for plane in planes]}
    shown = pixels(tiff_of({256: [30], 257: [20], **said}, b"".join(planes)))
    assert near(shown[5, :, 0], expected, 1)


@pytest.mark.parametrize("kind", ["f2", "f4", "f8"])
def test_floats_a_little_beyond_white_are_white(kind: str) -> None:
    """Sharpening, scaling and lossy compression leave values there, in a picture of 0 to 1."""
    for top, white in ((1.01, 1), (1.09, 1), (109, 100), (270, 255)):
        shown = pixels(tiff(np.array([[0, white / 2, white, top]]).astype(kind)))[0, :, 0]
        assert near(shown, [0, 128, 255, 255], 1), top
    if kind == "f4":
        lossy = imagecodecs.jpegxl_encode(np.array([[[0.5], [1.01]]] * 8, kind), lossless=True)
        assert near(pixels(lossy)[0, :, 0], [128, 255], 1)


def test_a_few_highlights_do_not_darken_a_picture_of_floats() -> None:
    values = np.full((50, 40), 0.5)
    values[0, :2] = 3
    assert near(pixels(tiff(values))[0, :3, 0], [255, 255, 128], 1)
    values[0, 2] = 3
    assert near(pixels(tiff(values))[0, :4, 0], [191, 191, 191, 32], 1), "more than one in 1,000"
    values[0, 1:3] = 0.5
    values[0, 0] = 90
    assert near(pixels(tiff(values))[0, :2, 0], [230, 1], 1), "further than four times"


def test_whole_numbers_beyond_white_have_the_next_white() -> None:
    values = np.full((50, 40), 2048, np.uint16)
    values[0, 0] = 4096
    assert near(pixels(tiff(values))[0, :2, 0], [64, 32], 1)


# Profiles


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF", "HEIF"])
def test_an_embedded_profile_is_applied_in_every_format(kind: str) -> None:
    """The classical test of colour management: a profile that takes red for blue."""
    data = encoded(Image.new("RGB", (40, 40), RED), kind, icc_profile=swapped_profile())
    shown = ImageCms.profileToProfile(
        Image.new("RGB", (1, 1), RED),
        ImageCms.ImageCmsProfile(io.BytesIO(swapped_profile())),
        ImageCms.createProfile("sRGB"),
    )
    assert shown is not None
    assert near(shown.getpixel((0, 0)), BLUE, 12)
    assert near(first(data), shown.getpixel((0, 0)))
    assert near(first(data, algorithm=1), RED), "the first algorithm knew no profiles"


def test_a_deep_picture_has_its_profile_applied_too() -> None:
    values = np.full((4, 4, 3), np.array(RED) * 257, np.uint16)
    assert near(first(tiff(values, more=swapped_profile())), BLUE, 12)


def test_the_profile_of_a_jpeg_2000_is_applied() -> None:
    data = encoded(Image.new("RGB", (40, 40), RED), "JPEG2000")
    at = data.index(b"colr") - 4
    length = int.from_bytes(data[at : at + 4])
    profile = swapped_profile()
    box = (len(profile) + 11).to_bytes(4) + b"colr\2\0\0" + profile
    changed = bytearray(data[:at] + box + data[at + length :])
    header = changed.index(b"jp2h") - 4
    size = int.from_bytes(changed[header : header + 4]) + len(box) - length
    changed[header : header + 4] = size.to_bytes(4)
    assert near(first(bytes(changed)), BLUE, 12)


def test_transparency_is_over_white_after_the_conversion() -> None:
    half = Image.new("RGBA", (2, 2), (*RED, 128))
    shown = first(encoded(half, "PNG", icc_profile=swapped_profile()))
    assert near(shown, [(value + 255) / 2 for value in BLUE], 12)


def test_a_palette_has_its_profile_applied() -> None:
    picture = Image.new("RGB", (4, 4), RED).quantize(4)
    assert near(first(encoded(picture, "PNG", icc_profile=swapped_profile())), BLUE, 12)


def test_any_version_of_srgb_changes_no_pixel() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    picture = Image.fromarray(noise)
    assert (pixels(encoded(picture, "PNG", icc_profile=srgb())) == noise).all()
    exact = Colour(gamma=1 / 2.2, chromaticities=SRGB).profile_for("RGB")
    assert (pixels(encoded(picture, "PNG", icc_profile=exact)) == noise).all()


def grey_profile() -> bytes:
    """An ICC profile of grey that is linear in light."""
    profile = bytearray(swapped_profile())
    profile[16:20] = b"GRAY"
    place = 128 + 4
    for number in range(int.from_bytes(profile[128:132])):
        at = place + 12 * number
        if profile[at : at + 4] == b"rTRC":
            profile[at : at + 4] = b"kTRC"
            start = int.from_bytes(profile[at + 4 : at + 8])
            profile[start + 12 : start + 16] = (65536).to_bytes(4)
    return bytes(profile)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_the_profile_of_a_grey_picture_is_applied(kind: str) -> None:
    data = encoded(Image.new("L", (8, 8), 128), kind, icc_profile=grey_profile())
    assert near(first(data), [188, 188, 188])
    deep = png_16_bit(np.full((4, 4, 1), 32896, np.uint16))
    assert near(first(deep), [128, 128, 128])


BROKEN = {
    "nothing": b"",
    "no profile": b"a profile? " * 30,
    "cut off": swapped_profile()[:200],
    "of grey": grey_profile(),
    "of CMYK": swapped_profile().replace(b"RGB XYZ ", b"CMYKXYZ "),
    "a link of devices": swapped_profile().replace(b"mntr", b"link"),
    "of no known space": swapped_profile().replace(b"RGB XYZ ", b"4CLRXYZ "),
    "larger than any": swapped_profile() + bytes(9 << 20),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_profile_that_cannot_be_used_costs_no_picture(name: str) -> None:
    data = encoded(Image.new("RGB", (8, 8), RED), "TIFF", icc_profile=BROKEN[name] or None)
    assert near(first(data), RED, 0)


def cmyk_profile() -> bytes:
    """A profile of four inks, of which the first makes green what others make cyan.

    Made of Pillow's own, as no file of a printer's may lie here: an A2B0 table of 2 points for each
    ink, in CIE L*a*b*.
    """
    corners = [(c, m, y, k) for c in (0, 1) for m in (0, 1) for y in (0, 1) for k in (0, 1)]
    table = b""
    for cyan, magenta, yellow, black in corners:
        light = 1 - black
        red = light * (1 - cyan)
        green = light * (1 - magenta)
        blue = light * (1 - max(yellow, cyan))
        one = Image.new("RGB", (1, 1), tuple(round(255 * value) for value in (red, green, blue)))
        lab = ImageCms.applyTransform(
            one,
            ImageCms.buildTransform(
                ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
            ),
        )
        assert lab is not None
        lightness, a, b = np.asarray(lab)[0, 0].astype(int)
        table += bytes([lightness, a ^ 128, b ^ 128])
    curve = bytes(range(256))
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0])
    lut += b"".join(
        (65536 if row == column else 0).to_bytes(4) for row in range(3) for column in range(3)
    )
    lut += curve * 4 + table + curve * 3
    at = 128 + 4 + 12
    head = (at + len(lut)).to_bytes(4) + b"\0\0\0\0\2\x20\0\0prtrCMYKLab " + bytes(12) + b"acsp"
    d50 = bytes.fromhex("0000f6d6000100000000d32d")
    head = head.ljust(68, b"\0") + d50
    tag = b"A2B0" + at.to_bytes(4) + len(lut).to_bytes(4)
    return head.ljust(128, b"\0") + (1).to_bytes(4) + tag + lut


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_the_profile_of_four_inks_is_applied(kind: str) -> None:
    """Pillow writes JPEGs of CMYK as Adobe does, inverted, and so they are read."""
    ink = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    assert near(first(encoded(ink, kind)), [0, 255, 255], 3), "without a profile, as ever"
    assert near(first(encoded(ink, kind, icc_profile=cmyk_profile())), [0, 255, 0], 12)
    paper = Image.new("CMYK", (8, 8), (0, 0, 0, 0))
    assert near(first(encoded(paper, kind, icc_profile=cmyk_profile())), [255, 255, 255], 3)


def test_lab_is_shown_with_and_without_a_profile() -> None:
    """Scans of textiles and maps are delivered so; 0 of a and b is grey."""
    half = np.array([[[128, 0, 0], [128, 127, 0]]], np.uint8)
    shown = pixels(tiff(half, {262: 8}))[0]
    assert near(shown[0], [119, 119, 119])
    assert shown[1, 0] > 200 > 100 > shown[1, 1]
    deep = pixels(tiff(half.astype(np.uint16) * 256, {262: 8}))[0]
    assert near(deep, shown)


# What stands for a profile


@pytest.mark.parametrize(("primaries", "expected"), [(1, RED), (12, (251, 0, 0)), (9, (255, 0, 0))])
def test_primaries_by_their_number_count(primaries: int, expected: tuple[int, int, int]) -> None:
    data = encoded(Image.new("RGB", (8, 8), RED), "PNG")
    coded = with_png_chunk(data, b"cICP", bytes([primaries, 13, 0, 1]))
    assert near(first(coded), expected)
    heic = encoded(
        Image.new("RGB", (64, 64), RED),
        "HEIF",
        quality=95,
        color_primaries=primaries,
        transfer_characteristics=13,
        matrix_coefficients=1,
        full_range_flag=1,
    )
    assert near(first(heic), expected)


def test_the_numbers_of_an_avif_count() -> None:
    data = encoded(Image.new("RGB", (64, 64), RED), "AVIF", quality=95)
    at = data.index(b"nclx") + 4
    assert near(first(data), RED)
    changed = data[:at] + (12).to_bytes(2) + (13).to_bytes(2) + data[at + 4 :]
    assert near(first(changed), (251, 0, 0))


def test_a_curve_for_high_dynamic_range_leaves_pixels_as_they_are() -> None:
    data = encoded(Image.new("RGB", (8, 8), RED), "PNG")
    for curve in (16, 18):
        assert near(first(with_png_chunk(data, b"cICP", bytes([9, curve, 0, 1]))), RED, 0)


def png_of(*said: tuple[bytes, bytes]) -> bytes:
    data = encoded(Image.new("RGB", (8, 8), (128, 128, 128)), "PNG")
    for name, content in said:
        data = with_png_chunk(data, name, content)
    return data


def test_the_gamma_of_a_png_counts_unless_it_says_srgb() -> None:
    linear = b"gAMA", (100_000).to_bytes(4)
    usual = b"gAMA", (45_455).to_bytes(4)
    absurd = b"gAMA", (0).to_bytes(4)
    assert near(first(png_of(linear)), [188] * 3)
    assert near(first(png_of(usual)), [128] * 3, 0)
    assert near(first(png_of(absurd)), [128] * 3, 0)
    assert near(first(png_of((b"sRGB", b"\0"), linear)), [128] * 3, 0)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "I;16"])
def test_the_gamma_of_a_grey_png_counts_too(mode: str) -> None:
    half = Image.new("L", (8, 8), 128)
    data = encoded(half.convert(mode), "PNG")
    if mode == "I;16":
        data = png_16_bit(np.array([[[32896], [65535]]], np.uint16))
    linear = with_png_chunk(data, b"gAMA", (100_000).to_bytes(4))
    assert near(first(data), [128] * 3, 1)
    assert near(first(linear), [188] * 3, 1)
    assert len(set(first(linear))) == 1, "grey stays grey"
    assert near(first(linear, algorithm=1), [128] * 3, 1)


def test_numbers_that_say_srgb_win_over_all_that_follows() -> None:
    """PNG, third edition: cICP counts before iCCP, sRGB, gAMA and cHRM."""
    says_srgb = b"cICP", bytes([1, 13, 0, 1])
    linear = b"gAMA", (100_000).to_bytes(4)
    assert first(png_of(linear, says_srgb)) == [128] * 3
    red = encoded(Image.new("RGB", (8, 8), RED), "PNG", icc_profile=swapped_profile())
    assert near(first(with_png_chunk(red, *says_srgb)), RED, 0)
    unsaid = b"cICP", bytes([2, 2, 0, 1])
    assert near(first(png_of(linear, unsaid)), [188] * 3)


@pytest.mark.parametrize("top", [65535, 0x30FF])
def test_the_transparent_colour_of_a_png_of_16_bits_is_white(top: int) -> None:
    """It is compared with all 16 bits, and black is not taken for it."""
    said = b"tRNS", (0x2000).to_bytes(2)
    row = np.array([[[0x2000], [0x2001], [0], [top]]], np.uint16)
    grey = png_16_bit(row)
    colour = png_16_bit(np.repeat(row, 3, 2))
    for data, content in ((grey, said[1]), (colour, said[1] * 3)):
        shown = pixels(with_png_chunk(data, said[0], content))[0]
        assert shown[0].tolist() == [255] * 3
        assert (shown[1:] == pixels(data)[0, 1:]).all()


def test_chromaticities_that_are_none_are_passed_over() -> None:
    gamma = b"gAMA", (45_455).to_bytes(4)
    for numbers in ((0,) * 8, (31270, 32900) * 4, (2**31 - 1,) * 8):
        said = b"cHRM", b"".join(number.to_bytes(4) for number in numbers)
        assert near(first(png_of(gamma, said)), [128] * 3, 0)


def test_threads_share_transformations() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    picture = Image.fromarray(noise)
    files = [
        encoded(picture, "PNG", icc_profile=swapped_profile()),
        encoded(picture.convert("CMYK"), "TIFF", icc_profile=cmyk_profile()),
        encoded(picture.convert("L"), "PNG", icc_profile=grey_profile()),
        *(
            encoded(
                picture, "PNG", icc_profile=Colour(gamma=1 / (1 + step / 40)).profile_for("RGB")
            )
            for step in range(40)  # more than are kept
        ),
    ]
    expected = [decode(data).rgb.tobytes() for data in files]
    with ThreadPoolExecutor(8) as threads:
        found = threads.map(lambda data: decode(data).rgb.tobytes(), files * 3)
        assert list(found) == expected * 3


# JPEG 2000 and JPEG XL


def ramps(bits: int) -> np.ndarray:
    ramp = np.tile(np.linspace(0, 2**bits - 1, 64), (48, 1))
    return np.stack([ramp, ramp[:, ::-1], ramp / 2], -1).astype(np.uint8 if bits <= 8 else "u2")


@pytest.mark.parametrize("codec", ["jp2", "j2k"])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_jpeg_2000_of_any_depth_is_shown_whole(bits: int, codec: str) -> None:
    """Pillow 13.0 shows white as black where there are more than 8 bits of colour."""
    values = ramps(bits)
    expected = values / (2**bits - 1) * 255
    for one, shown in ((values, expected), (values[..., 0], expected[..., :1])):
        data = imagecodecs.jpeg2k_encode(
            np.ascontiguousarray(one), bitspersample=bits, reversible=True, codecformat=codec
        )
        assert near(pixels(data), np.broadcast_to(shown, (48, 64, 3)), 1)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_jpeg_2000_of_less_than_8_bits_has_white(bits: int) -> None:
    values = (ramps(8)[..., 0] >> 8 - bits).astype(np.uint8)
    data = imagecodecs.jpeg2k_encode(values, bitspersample=bits, reversible=True)
    assert near(pixels(data)[..., 0], values / (2**bits - 1) * 255, 1)


@pytest.mark.parametrize("kind", ["u1", "u2", "f4"])
def test_jpeg_xl_of_any_depth_is_shown_whole(kind: str) -> None:
    top = {"u1": 255, "u2": 4095, "f4": 1}[kind]
    values = (ramps(12) / 4095 * top).astype(kind)
    data = imagecodecs.jpegxl_encode(values, lossless=True)
    assert near(pixels(data), values / top * 255, 1)

"""Feeds damaged files to ``decode``, within a limit of memory.

`python -m tests.unit.resources.fuzz_decoding 600` does so for ten minutes.

Belongs here: small valid files of every format, and ways to damage them. `test_decoding` runs it
for a few seconds in a process of its own, so that a crash or a hang is a failed test and no more.
Ends with 1 at the first example that raises anything but UnreadableImage; what it was doing when it
is killed lies in the file that it names first.
"""

import argparse
import io
import random
import resource
import struct
import tempfile
import time
import warnings
import zlib
from functools import cache
from pathlib import Path

import imagecodecs
import numpy as np
import pillow_heif
from PIL import Image

from resources.colour import Colour
from resources.decoding import decode, mean_colour, perceptual_hash, thumbnail
from resources.errors import UnreadableImage
from resources.picture_formats import SNIFFED, foreign_format, format_of
from resources.picture_pages import pages_of

pillow_heif.register_heif_opener()

MAX_PIXELS = 1_000_000
MEMORY = 1 << 30
"""Bytes that decoding may allocate on top of what the program itself takes."""

_EDGES = [0, 1, 2, 3, 7, 8, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF]


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """The bytes of a file."""
    file = io.BytesIO()
    # Copies, as saving leaves settings of a JPEG in an image, which make that of a TIFF fail.
    if isinstance(more := options.get("append_images"), list):
        options["append_images"] = [page.copy() for page in more]
    image.copy().save(file, kind, **options)
    return file.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    """A chunk of a PNG, with its checksum."""
    return (
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
    )


def png_16_bit(values: np.ndarray) -> bytes:
    """A PNG of (height, width, channels) uint16, which Pillow cannot write."""
    height, width, channels = values.shape
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in values)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(lines))
        + chunk(b"IEND", b"")
    )


def tiff_16_bit(values: np.ndarray) -> bytes:
    """An uncompressed TIFF of (height, width, 3) uint16, which Pillow cannot write."""
    height, width, channels = values.shape
    pixels = values.astype("<u2").tobytes()
    tags = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 3, 8),  # bits per sample, which lie directly after the header
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 1, 14),
        (277, 3, 1, channels),
        (278, 4, 1, height),
        (279, 4, 1, len(pixels)),
    ]
    directory = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return (
        b"II*\0"
        + struct.pack("<I", 14 + len(pixels))
        + struct.pack("<HHH", 16, 16, 16)
        + pixels
        + struct.pack("<H", len(tags))
        + directory
        + bytes(4)
    )


def tiff(
    values: np.ndarray,
    tags: dict[int, int] | None = None,
    order: str = "<",
    is_big: bool = False,
    more: bytes = b"",
) -> bytes:
    """An uncompressed TIFF of (height, width[, channels]) of any type, in any byte order.

    Args:
        values: The samples.
        tags: What else is said, or said otherwise, as tags of one number.
        order: ``<`` or ``>``.
        is_big: BigTIFF.
        more: An ICC profile.
    """
    values = values[..., None] if values.ndim == 2 else values
    height, width, channels = values.shape
    kind = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    bits = 8 * values.dtype.itemsize
    pixels = values.astype(values.dtype.newbyteorder(order)).tobytes()
    begin = 16 if is_big else 8
    each = struct.pack(f"{order}{channels}H", *[bits] * channels)
    short, long, offset = order + "H", order + "I", order + ("Q" if is_big else "I")
    behind = pixels + each + more
    width_of, placed = 8 if is_big else 4, struct.pack(offset, begin + len(pixels))
    entries = {
        256: (4, 1, struct.pack(long, width)),
        257: (4, 1, struct.pack(long, height)),
        258: (3, channels, each if len(each) <= width_of else placed),
        259: (3, 1, struct.pack(short, 1)),
        262: (3, 1, struct.pack(short, {1: 1, 2: 1, 3: 2, 4: 2}.get(channels, 5))),
        273: (4, 1, struct.pack(long, begin)),
        277: (3, 1, struct.pack(short, channels)),
        278: (4, 1, struct.pack(long, height)),
        279: (4, 1, struct.pack(long, len(pixels))),
        339: (3, 1, struct.pack(short, kind)),
    }
    if more:
        at = begin + len(pixels) + len(each)
        entries[34675] = 7, len(more), struct.pack(offset, at)
    for tag, value in (tags or {}).items():
        is_long = value > 65_535
        entries[tag] = 4 if is_long else 3, 1, struct.pack(long if is_long else short, value)
    behind += bytes(len(behind) % 2)
    at = begin + len(behind)
    count = struct.pack(order + ("Q" if is_big else "H"), len(entries))
    head = (b"II" if order == "<" else b"MM") + struct.pack(short, 43 if is_big else 42)
    head += struct.pack(order + "HHQ", 8, 0, at) if is_big else struct.pack(long, at)
    listed = b"".join(
        struct.pack(order + "HH" + ("Q" if is_big else "I"), tag, kind, number)
        + content.ljust(width_of, b"\0")
        for tag, (kind, number, content) in sorted(entries.items())
    )
    return head + behind + count + listed + bytes(width_of)


def tiff_of(tags: dict[int, list[int]], body: bytes) -> bytes:
    """A TIFF of any tags, all of 32 bits; its body begins at byte 8."""
    body += bytes(len(body) % 2)
    listed, behind = struct.pack("<H", len(tags)), b""
    start = 8 + len(body) + 2 + 12 * len(tags) + 4
    for tag, values in sorted(tags.items()):
        content = struct.pack(f"<{len(values)}I", *values)
        if len(values) > 1:
            content, behind = struct.pack("<I", start + len(behind)), behind + content
        listed += struct.pack("<HHI", tag, 4, len(values)) + content
    return b"II*\0" + struct.pack("<I", 8 + len(body)) + body + listed + bytes(4) + behind


def swapped_profile() -> bytes:
    """An ICC profile that takes red for blue: nobody can overlook that it was applied."""
    white, red, green, blue = (0.3127, 0.3290), (0.64, 0.33), (0.30, 0.60), (0.15, 0.06)
    profile = Colour(gamma=1 / 2.2, chromaticities=(*white, *blue, *green, *red)).profile_for("RGB")
    assert profile
    return profile


@cache
def newer_files() -> list[bytes]:
    """Valid files of what was learned later: JPEG 2000, pages, profiles and more than 8 bits."""
    noise = np.random.default_rng(2).integers(0, 256, (24, 32, 3), np.uint8)
    picture = Image.fromarray(noise)
    pages = {"save_all": True, "append_images": [picture.rotate(90, expand=True), picture]}
    frames = {"save_all": True, "append_images": [picture.rotate(180), picture]}
    deep = np.arange(192, dtype=np.uint16).reshape(8, 8, 3) * 20
    profile = swapped_profile()
    cmyk = picture.convert("CMYK")
    return [
        encoded(picture, "JPEG2000"),
        encoded(picture, "JPEG2000", no_jp2=True, irreversible=True, tile_size=(16, 16)),
        encoded(picture.convert("RGBA"), "JPEG2000"),
        encoded(Image.fromarray(deep[..., 0]), "JPEG2000"),
        imagecodecs.jpeg2k_encode(deep, bitspersample=12, reversible=True),
        imagecodecs.jpegxl_encode(noise),
        imagecodecs.jpegxl_encode(deep, lossless=True, usecontainer=True),
        imagecodecs.jpegxl_encode(np.dstack([noise, noise[..., :1]]), lossless=True),
        encoded(picture, "MPO", **pages),
        encoded(picture, "TIFF", **pages),
        encoded(picture, "TIFF", compression="tiff_lzw", **pages),
        encoded(picture, "TIFF", big_tiff=True, compression="tiff_adobe_deflate", **pages),
        tiff(deep),
        tiff(deep, {262: 0, 277: 1}),
        tiff(deep, order=">", is_big=True),
        tiff(deep[..., 0].astype("f4"), {262: 0}, order=">"),
        tiff(deep.astype("f8")),
        tiff(np.dstack([noise, noise[..., :2]]), {338: 2}),
        encoded(Image.fromarray(deep[..., 0]), "TIFF", compression="tiff_lzw"),
        encoded(picture, "JPEG", icc_profile=profile),
        encoded(picture, "PNG", icc_profile=profile),
        encoded(picture, "TIFF", icc_profile=profile, compression="jpeg"),
        encoded(picture, "WEBP", icc_profile=profile),
        encoded(cmyk, "JPEG"),
        encoded(cmyk, "TIFF"),
        encoded(picture, "JPEG", progressive=True)[:-2],
        png_16_bit(deep),
        png_16_bit(np.dstack([deep, deep[..., :1]])),
        encoded(picture, "GIF", **frames),
        encoded(picture, "PNG", **frames),
        encoded(picture, "WEBP", lossless=True, **frames),
        encoded(picture, "AVIF", **frames),
        encoded(picture, "HEIF", **pages),
    ]


@cache
def small_files() -> list[bytes]:
    """Valid files of every format and of most ways to store pixels in them."""
    noise = np.random.default_rng(1).integers(0, 256, (24, 32, 3), np.uint8)
    picture = Image.fromarray(noise)
    frames = {"save_all": True, "append_images": [picture.rotate(90)]}
    deep = np.arange(192, dtype=np.uint16).reshape(8, 8, 3) * 300
    tags = Image.Exif()
    tags[0x0112] = 6
    tags[0x0132] = "2001:02:03 04:05:06"
    tags.get_ifd(0x8769)[0x9003] = "2001:02:03 04:05:06"
    exif = tags.tobytes()  # the tags themselves lose some when they are written
    return [
        encoded(picture, "JPEG", exif=exif),
        encoded(picture.convert("L"), "JPEG", progressive=True),
        encoded(picture.convert("CMYK"), "JPEG", progressive=True),
        encoded(picture.convert("RGBA"), "PNG", exif=exif),
        encoded(picture.quantize(8), "PNG", transparency=b"\0\x80"),
        encoded(picture, "PNG", **frames),
        png_16_bit(deep),
        encoded(Image.fromarray(deep[..., 0]), "PNG"),
        encoded(picture, "GIF", **frames),
        encoded(picture.convert("1"), "GIF", transparency=0),
        encoded(picture, "TIFF", exif=exif),
        tiff_16_bit(deep),
        *(
            encoded(picture, "TIFF", compression=compression)
            for compression in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits", "lzma")
        ),
        encoded(picture.convert("1"), "TIFF", compression="group4"),
        encoded(picture.convert("F"), "TIFF"),
        encoded(picture.convert("I"), "TIFF"),
        encoded(picture, "WEBP", exif=exif),
        encoded(picture.convert("RGBA"), "WEBP", lossless=True),
        encoded(picture, "WEBP", **frames),
        encoded(picture, "BMP"),
        encoded(picture.convert("P"), "BMP"),
        encoded(picture.convert("1"), "BMP"),
        encoded(picture, "AVIF", exif=exif),
        encoded(picture, "AVIF", **frames),
        encoded(picture, "HEIF", exif=exif),
        encoded(picture.convert("RGBA"), "HEIF"),
        encoded(picture, "HEIF", **frames),
    ]


def damaged(chance: random.Random, files: list[bytes]) -> bytes:
    """One of some files with one to six faults, most of them near its beginning."""
    data = bytearray(chance.choice(files))
    is_png = data.startswith(b"\x89PNG")
    for _ in range(chance.randint(1, 6)):
        reach = chance.choice((64, 300, len(data)))
        place = chance.randrange(min(reach, len(data)))
        fault = chance.randrange(7)
        if fault == 0:
            data[place] ^= 1 << chance.randrange(8)
        elif fault == 1:
            size = chance.choice("BHI")
            value = chance.choice(_EDGES) & ((1 << 8 * struct.calcsize(size)) - 1)
            number = struct.pack(chance.choice("<>") + size, value)
            data[place : place + len(number)] = number
        elif fault == 2:
            data[place : place + chance.randrange(1, 9)] = chance.randbytes(chance.randrange(1, 9))
        elif fault == 3:
            del data[place : place + chance.choice((1, 2, 4, 30))]
        elif fault == 4:
            end = place + chance.choice((4, 12, 40, 200))
            data[end:end] = data[place:end] * chance.choice((1, 1, 5, 300))
        elif fault == 5:
            other = chance.choice(files)
            start = chance.randrange(len(other))
            data[place:place] = other[start : start + chance.choice((4, 12, 100, 1000))]
        elif fault == 6 and chance.random() < 0.3:
            del data[max(place, 4) :]
        data = data or bytearray(1)
    return _with_checksums(bytes(data)) if is_png and chance.random() < 0.8 else bytes(data)


def _with_checksums(data: bytes) -> bytes:
    """A PNG whose checksums are right, for its damage to get past them."""
    repaired, position = bytearray(data[:8]), 8
    while position + 12 <= len(data):
        length = int.from_bytes(data[position : position + 4])
        content = data[position + 8 : position + 8 + length]
        repaired += chunk(data[position + 4 : position + 8], content)
        position += 12 + length
    return bytes(repaired)


def use(data: bytes, side: int | None, chance: random.Random | None = None) -> bool:
    """Do with a file all that a refresh does; whether it is a picture."""
    head = data[:SNIFFED]
    assert not (format_of(head) and foreign_format(head))
    try:
        page, algorithm = None, 2
        if chance:
            page, algorithm = chance.choice(pages_of(data).numbers), chance.choice((1, 2, 2))
        image = decode(data, MAX_PIXELS, side, page, algorithm)
    except UnreadableImage:
        return False
    perceptual_hash(image.rgb), mean_colour(image.rgb), thumbnail(image.rgb)
    return True


def main() -> None:
    """Damage and decode for some seconds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("seconds", type=float)
    parser.add_argument("--examples", type=int, default=10**9)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--newer", action="store_true", help="files of what was learned later")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    files = newer_files() if arguments.newer else small_files()
    if not all(use(data, None) for data in files):
        raise SystemExit("A valid file is not read.")
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
    started, slowest, pictures, examples = time.monotonic(), 0.0, 0, 0
    chance = random.Random(arguments.seed)
    with tempfile.NamedTemporaryFile(prefix="fuzz_", delete=False) as current:
        print("the file in hand:", current.name, flush=True)
        while examples < arguments.examples and time.monotonic() < started + arguments.seconds:
            data = damaged(chance, files)
            current.seek(0)
            current.truncate()
            current.write(data)
            current.flush()
            before = time.perf_counter()
            pictures += use(data, chance.choice((None, 4, 16)), chance)
            examples += 1
            if (took := time.perf_counter() - before) > slowest:
                slowest = took
                print(f"{took:.3f} s, {len(data):,} bytes: {data[:12]!r}", flush=True)
    Path(current.name).unlink()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"{examples} examples, {pictures} pictures, peak {peak} MiB")


if __name__ == "__main__":
    main()

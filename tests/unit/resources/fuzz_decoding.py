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

import numpy as np
import pillow_heif
from PIL import Image

from resources.decoding import (
    UnreadableImage,
    decode,
    mean_colour,
    perceptual_hash,
    thumbnail,
)

MAX_PIXELS = 1_000_000
MEMORY = 1 << 30
"""Bytes that decoding may allocate on top of what the program itself takes."""

_EDGES = [0, 1, 2, 3, 7, 8, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF]


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """The bytes of a file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
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


@cache
def small_files() -> list[bytes]:
    """Valid files of every format and of most ways to store pixels in them."""
    pillow_heif.register_heif_opener()
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


def damaged(chance: random.Random) -> bytes:
    """One of the small files with one to six faults, most of them near its beginning."""
    data = bytearray(chance.choice(small_files()))
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
            other = chance.choice(small_files())
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


def use(data: bytes, side: int | None) -> bool:
    """Do with a file all that a refresh does; whether it is a picture."""
    try:
        image = decode(data, MAX_PIXELS, side)
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
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if not all(use(data, None) for data in small_files()):
        raise SystemExit("A valid file is not read.")
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
    started, slowest, pictures, examples = time.monotonic(), 0.0, 0, 0
    chance = random.Random(arguments.seed)
    with tempfile.NamedTemporaryFile(prefix="fuzz_", delete=False) as current:
        print("the file in hand:", current.name, flush=True)
        while examples < arguments.examples and time.monotonic() < started + arguments.seconds:
            data = damaged(chance)
            current.seek(0)
            current.truncate()
            current.write(data)
            current.flush()
            before = time.perf_counter()
            pictures += use(data, chance.choice((None, 4, 16)))
            examples += 1
            if (took := time.perf_counter() - before) > slowest:
                slowest = took
                print(f"{took:.3f} s, {len(data):,} bytes: {data[:12]!r}", flush=True)
    Path(current.name).unlink()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"{examples} examples, {pictures} pictures, peak {peak} MiB")


if __name__ == "__main__":
    main()

"""What headers of PNG, WebP, JPEG 2000, JPEG XL and AVIF say about size, depth and colour.

Belongs here: what must be known before pixels are allocated, or what the libraries that decode do
not tell. Does not belong here: decoding (``decoding``).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_MAX_BOXES = 1000
"""Of a container that are looked at; a picture's come among the first ten."""


# PNG


def png_chunk(data: bytes, name: bytes) -> bytes:
    """The content of a PNG's chunk before its pixels; empty where there is none."""
    place = 8
    for _ in range(_MAX_BOXES):
        if place + 8 > len(data):
            break
        length, kind = struct.unpack_from(">I4s", data, place)
        if kind == name:
            return data[place + 8 : place + 8 + length]
        if kind == b"IDAT":
            break
        place += 12 + length
    return b""


def png_code(data: bytes) -> tuple[int, int] | None:
    """Primaries and curve that a PNG states by numbers (cICP)."""
    said = png_chunk(data, b"cICP")
    return (said[0], said[1]) if len(said) == 4 else None


def png_white(data: bytes) -> float | None:
    """The value of white of a PNG of 16 bits that says how many of them count (sBIT)."""
    bits = max(png_chunk(data, b"sBIT"), default=0)
    return 2.0**bits - 1 if 8 <= bits < 16 else None


# WebP


def webp_size(data: bytes) -> tuple[int, int]:
    """Width and height by the first chunk of a WebP (RFC 9649)."""
    first = data[12:16]
    if first == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if first == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if first == b"VP8 ":
        width, height = (int.from_bytes(data[start : start + 2], "little") for start in (26, 28))
        return width & 0x3FFF, height & 0x3FFF
    return 0, 0  # damaged, as the plugin will say


# Containers of boxes (ISO/IEC 14496-12): AVIF, JPEG 2000, JPEG XL


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, beginning and end of the content of each box."""
    for _ in range(_MAX_BOXES):
        if start + 8 > end:
            return
        length, kind = struct.unpack_from(">I4s", data, start)
        content = start + 8
        if length == 1 and start + 16 <= end:
            [length] = struct.unpack_from(">Q", data, content)
            content += 8
        stop = end if length == 0 else start + length
        if stop < content or stop > end:
            return
        yield kind, content, stop
        start = stop


def _box(data: bytes, *path: bytes) -> tuple[int, int] | None:
    """Where the content of the first box of a path lies."""
    start, end = 0, len(data)
    for name in path:
        found = next((box for box in _boxes(data, start, end) if box[0] == name), None)
        if found is None:
            return None
        start, end = found[1], found[2]
        if name == b"meta":  # has a version before its boxes
            start += 4
    return start, end


def nclx(data: bytes) -> tuple[int, int] | None:
    """Primaries and curve that an AVIF states by numbers."""
    place = _box(data, b"meta", b"iprp", b"ipco")
    for kind, start, stop in _boxes(data, *place) if place else ():
        if kind == b"colr" and data[start : start + 4] == b"nclx" and stop - start >= 10:
            primaries, curve = struct.unpack_from(">HH", data, start + 4)
            return primaries, curve
    return None


# JPEG 2000


@dataclass(frozen=True)
class Codestream:
    """What a JPEG 2000 says before its pixels."""

    width: int
    height: int
    depths: tuple[int, ...]
    """Bits of each channel."""
    levels: int
    """How often it may be halved while it is decoded; 0 where that is not simply so."""
    icc: bytes | None
    space: int | None
    """The number of the colours' space, if the container says one."""


CMYK, SYCC = 12, 18
"""Spaces by number (ISO/IEC 15444-1 and 2)."""


def codestream(data: bytes) -> Codestream:
    """The header of a JPEG 2000, in a container or not.

    Raises:
        ValueError: It has none.
    """
    start, icc, space = 0, None, None
    if data[:4] != b"\xff\x4f\xff\x51":
        place = _box(data, b"jp2c")
        if place is None:
            raise ValueError("no codestream")
        start = place[0]
        header = _box(data, b"jp2h")
        for kind, begin, stop in _boxes(data, *header) if header else ():
            if kind == b"colr" and data[begin] == 2:  # a restricted profile
                icc = data[begin + 3 : stop]
            elif kind == b"colr" and data[begin] == 1:
                space = int.from_bytes(data[begin + 3 : begin + 7])
    if data[start : start + 4] != b"\xff\x4f\xff\x51" or len(data) < start + 44:
        raise ValueError("no codestream")
    right, bottom, left, top = struct.unpack_from(">4I", data, start + 8)
    [count] = struct.unpack_from(">H", data, start + 40)
    if left >= right or top >= bottom or not 0 < count <= 16_384:
        raise ValueError("a picture of no size")
    sizes = data[start + 42 : start + 42 + 3 * count]
    if len(sizes) < 3 * count:
        raise ValueError("the header is cut off")
    depths = tuple((one & 0x7F) + 1 for one in sizes[::3])
    is_simple = left == top == 0 and set(sizes[1::3]) | set(sizes[2::3]) == {1}
    levels = _levels(data, start + 42 + 3 * count) if is_simple else 0
    return Codestream(right - left, bottom - top, depths, levels, icc, space)


def _levels(data: bytes, start: int) -> int:
    """Levels of decomposition of all tiles; 0 where a channel or a tile has its own."""
    found = 0
    for _ in range(_MAX_BOXES):
        kind, length = data[start : start + 2], int.from_bytes(data[start + 2 : start + 4])
        if kind == b"\xff\x53":  # a channel's own
            return 0
        if kind == b"\xff\x52" and len(data) > start + 9:
            found = data[start + 9]
        if kind == b"\xff\x90" or length < 2:  # the first tile
            return found if found <= 32 else 0
        start += 2 + length
    return 0


# JPEG XL


class _Bits:
    """The bits of a JPEG XL, the lowest of each byte first."""

    def __init__(self, data: bytes):
        self._number, self._place = int.from_bytes(data[:64], "little"), 0

    def take(self, count: int) -> int:
        found = self._number >> self._place & ((1 << count) - 1)
        self._place += count
        return found


def jxl_size(data: bytes) -> tuple[int, int]:
    """Width and height of a JPEG XL (ISO/IEC 18181-1, SizeHeader), as stored.

    Raises:
        ValueError: There is no codestream.
    """
    start = 0
    if data[:2] != b"\xff\x0a":
        found = next(
            (box for box in _boxes(data, 0, len(data)) if box[0] in (b"jxlc", b"jxlp")), None
        )
        if found is None:
            raise ValueError("no codestream")
        start = found[1] + (4 if found[0] == b"jxlp" else 0)
        if data[start : start + 2] != b"\xff\x0a":
            raise ValueError("no codestream")
    bits = _Bits(data[start + 2 : start + 66])

    def length(is_small: int) -> int:
        return (bits.take(5) + 1) * 8 if is_small else bits.take((9, 13, 18, 30)[bits.take(2)]) + 1

    is_small = bits.take(1)
    height = length(is_small)
    ratio = bits.take(3)
    if ratio:
        up, down = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))[ratio - 1]
        return height * up // down, height
    return length(is_small), height

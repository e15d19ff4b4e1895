"""JPEG: what its markers say.

Belongs here: the segments of a file, how many scans it has and whether they are all there, which
kinds of JPEG no reader here knows, and the pictures behind the first one (MPO). Does not belong
here: decoding itself (``decoding``).
"""

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from resources.errors import UnreadableImage, noted
from resources.tiff import directories

_MAX_SCANS = 100
# Not what stands for a byte FF in coded pixels (00), restarts them (D0-D7) or fills (FF).
_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")

_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_SCAN, _END = 0xDA, 0xD9
END = b"\xff\xd9"
"""What ends a JPEG."""

# How a picture that only serves another one says so: gain maps of phones (Adobe's and Google's, ISO
# 21496-1, Apple's), depth and mattes.
_AUXILIARY = re.compile(
    rb"hdr-gain-map/1\.0|hdrgm:|urn:iso:std:iso:ts:21496|AuxiliaryImageType|photo:\d+:aux:"
)


@dataclass(frozen=True, slots=True)
class IndexedPicture:
    """A picture of a JPEG file that may hold several (Multi-Picture Format, CIPA DC-007)."""

    start: int
    is_page: bool
    """Whether it is a picture of its own, not a preview or a gain map."""
    size: tuple[int, int]
    """Width and height; nobody has looked, where it is the only one."""


def segments(data: bytes, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """Markers and contents up to the first scan, and its own; nothing behind damage."""
    for kind, content, _ in _placed(data, start):
        yield kind, content


def _placed(data: bytes, start: int) -> Iterator[tuple[int, bytes, int]]:
    position = start + 2
    while marker := _MARKER.match(data, position):
        kind = marker[1][0]
        length = int.from_bytes(data[position + 2 : position + 4])
        if kind == _END or length < 2:
            return
        yield kind, data[position + 4 : position + 2 + length], position
        if kind == _SCAN:
            return
        position += 2 + length
        while data[position : position + 2] == b"\xff\xff":  # fill bytes
            position += 1


def frame_of(data: bytes, start: int = 0) -> tuple[int, bytes] | None:
    """The marker of the frame, which says the kind of coding, and its header."""
    return next((found for found in segments(data, start) if found[0] in _FRAMES), None)


def size_of(data: bytes, start: int = 0) -> tuple[int, int]:
    """Width and height; 0 where nothing says so."""
    frame = frame_of(data, start)
    if frame is None or len(frame[1]) < 5:
        return 0, 0
    height, width = struct.unpack_from(">HH", frame[1], 1)
    return width, height


def unread_jpeg(data: bytes) -> str | None:
    """Which kind of JPEG that no reader here knows a file is; None where it is an ordinary one."""
    if any(kind == 0xF7 for kind, _ in segments(data)):
        return "JPEG-LS"
    frame = frame_of(data)
    if frame is None or len(frame[1]) < 6:
        return None
    kind, header = frame
    if kind in (0xC3, 0xC7, 0xCB, 0xCF):
        return "lossless JPEG"
    if header[0] != 8:
        return f"JPEG of {header[0]} bits per channel"
    if kind in (0xC5, 0xC6, 0xCD, 0xCE):
        return "hierarchical JPEG"
    return None if header[5] in (1, 3, 4) else f"JPEG of {header[5]} channels"


def check_scans(data: bytes) -> None:
    """Refuse a JPEG that refines its pixels without end.

    A scan of 232 bytes over 13,000 x 13,000 pixels takes 0.1 s: 10 MB of them would take an hour.
    """
    # Where even the bytes that only look like scans are few, as in nearly every file.
    if data.count(b"\xff\xda") <= _MAX_SCANS:
        return
    for number, _ in enumerate(_scans(data), 1):
        if number > _MAX_SCANS:
            raise UnreadableImage(
                noted("a JPEG of more than {most:d} scans; 10 are usual", most=_MAX_SCANS)
            )


def _scans(data: bytes) -> Iterator[bytes]:
    """The headers of all scans."""
    position = 2
    while marker := _MARKER.search(data, position):
        kind = marker[1][0]
        if kind == _END:  # the end of the image; phones append films
            return
        length = 0 if kind == 1 else int.from_bytes(data[marker.end() : marker.end() + 2])
        if kind == _SCAN:
            yield data[marker.end() + 2 : marker.end() + length]
        position = marker.end() + length


def has_end(data: bytes) -> bool:
    """Whether an end marker follows the first scan; one before it is that of a preview."""
    if data.endswith(END):
        return True
    first = data.find(b"\xff\xda")
    for kind, _, position in _placed(data, 0):
        if kind == _SCAN:
            first = position
    return data.rfind(END) > first


def whole(data: bytes, pixels: Callable[[bytes], bytes]) -> bytes | None:
    """The file with the end marker that it lacks, where all its pixels are there; None: cut off.

    Some scanners and cards leave the marker out. All pixels are there if no byte behind the file
    would be read as one: whatever follows, the picture is the same. And the scans must have sent
    every coefficient of every channel, or a picture that was cut between two scans, which is
    coarse, or grey, would do.

    Args:
        data: A file that ends before its end marker.
        pixels: Decodes a whole file.
    """
    if not _has_all_scans(data):
        return None
    # A disk's empty blocks may stand for the end that was lost. Coded pixels are filled up with
    # ones: their last byte is 0 only behind FF, or by chance.
    stripped = data.rstrip(b"\0")
    if len(data) > len(stripped) + 1:
        data = stripped + b"\0" * stripped.endswith(b"\xff")
    data = data.removesuffix(b"\xff")
    try:
        shown = pixels(data + END)
        others = (pixels(data + tail + END) for tail in (b"\x55\xaa" * 64, b"\xf3\x1c\x0f" * 64))
        return data + END if all(shown == other for other in others) else None
    except Exception:  # libjpeg refuses what follows: it has read it
        return None


def _has_all_scans(data: bytes) -> bool:
    frame = frame_of(data)
    if frame is None or len(frame[1]) < 6 + 3 * frame[1][5]:
        return False
    kind, header = frame
    channels = header[6 : 6 + 3 * header[5] : 3]
    # Of each channel's 64 coefficients how many of their low bits are still to come.
    missing = {channel: [16] * 64 for channel in channels}
    for scan in _scans(data):
        if len(scan) < 4 or len(scan) < 4 + 2 * scan[0]:
            return False
        first, last, bits = scan[1 + 2 * scan[0] : 4 + 2 * scan[0]]
        if kind != 0xC2:
            first, last, bits = 0, 63, 0
        for channel in scan[1 : 1 + 2 * scan[0] : 2]:
            for place in range(first, min(last, 63) + 1):
                if channel in missing:
                    missing[channel][place] = bits & 15
    return not any(any(of_one) for of_one in missing.values())


def indexed_pictures(data: bytes, most: int) -> list[IndexedPicture]:
    """The pictures of a file, in the order of its index; one where it has none.

    Two of equal size without a kind are both pictures, as old cameras wrote them. One that is
    smaller, or says that it is a gain map, is not, whatever the index calls it: phones write an
    "Ultra HDR" with its gain map as if it held two.
    """
    indexed = _indexed(data, most)
    if not indexed:
        return [IndexedPicture(0, True, (0, 0))]
    first = IndexedPicture(0, True, size_of(data))
    found = [first]
    for kind, start in indexed:
        size = size_of(data, start)
        is_picture = data[start : start + 3] == b"\xff\xd8\xff"
        # 1: thumbnails and previews; 2: panorama, stereo and multi-angle views; 3: primary;
        # 4 and 5: originals and gain maps of later editions; 0: nothing is said.
        group = kind >> 16 & 0xFF
        is_page = is_picture and (
            group == 2
            or (group in (0, 3) and sorted(size) == sorted(first.size) and not _serves(data, start))
        )
        found.append(IndexedPicture(start, is_page, size))
    return found


def _serves(data: bytes, start: int) -> bool:
    return any(
        kind in (0xE1, 0xE2) and _AUXILIARY.search(content)
        for kind, content in segments(data, start)
    )


def _indexed(data: bytes, most: int) -> list[tuple[int, int]]:
    """Kind and place of the pictures after the first, by the index in the first one's segments."""
    index = next(
        (content for kind, content in segments(data) if kind == 0xE2 and content[:4] == b"MPF\0"),
        b"",
    )[4:]
    listed = next(directories(index, most=1), None)
    if listed is None or 0xB002 not in listed.entries:
        return []
    base = data.index(b"MPF\0" + index[:8]) + 4
    _, length, place = listed.entries[0xB002]
    length = min(length, len(index) - place, 16 * (most + 1))
    entries = struct.iter_unpack(f"{listed.order}IIIHH", index[place : place + length // 16 * 16])
    found = [(kind, base + offset) for kind, _, offset, _, _ in entries]
    return [one for one in found[1:] if one[1] < len(data)]

"""TIFF: the directories of a file, and what their tags say.

Belongs here: which pictures a TIFF holds, how their pixels are stored, and files whose first
picture is another one. Does not belong here: which of the pictures are pages (``picture_pages``),
and their samples (``tiff_samples``).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_MAX_ENTRIES = 1_000_000
"""Of all directories that a file's are asked for; their tables may overlap."""

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4} | {
    16: 8,
    17: 8,
    18: 8,
}
_CODES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 11: "f", 12: "d", 13: "I"} | {
    16: "Q",
    17: "q",
    18: "Q",
}

SUBFILE, WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC = 254, 256, 257, 258, 259, 262
FILL_ORDER, MAKE, STRIPS, CHANNELS, ROWS, STRIP_BYTES = 266, 271, 273, 277, 278, 279
_GREATEST, PLANAR, PREDICTOR, TILE_WIDTH, TILE_LENGTH = 281, 284, 317, 322, 323
TILES, TILE_BYTES, SUBDIRECTORIES, _EXTRA, _SAMPLE_FORMAT = 324, 325, 330, 338, 339
ORIENTATION, DNG_VERSION, ICC, _GREATEST_OF_ANY_KIND = 274, 50706, 34675, 341


@dataclass(frozen=True, slots=True)
class Directory:
    """What is said about one picture of a file."""

    data: bytes
    order: str
    """``<`` or ``>``, as ``struct`` has it."""
    offset: int
    entries: dict[int, tuple[int, int, int]]
    """By tag: type, number of values, and where the values lie."""

    def values(self, tag: int, most: int = 65_536) -> tuple[float, ...]:
        """The numbers of a tag; none where it is missing.

        Args:
            tag: The tag.
            most: How many are believed.

        Raises:
            ValueError: They are too many, lie outside the file or are no numbers.
        """
        if tag not in self.entries:
            return ()
        kind, count, place = self.entries[tag]
        if kind not in _CODES or count > most or place + count * _SIZES[kind] > len(self.data):
            raise ValueError(f"tag {tag} cannot be read")
        return struct.unpack_from(f"{self.order}{count}{_CODES[kind]}", self.data, place)

    def number(self, tag: int, default: int) -> int:
        """The first number of a tag."""
        try:
            found = self.values(tag)
        except ValueError:
            return default
        return int(found[0]) if found else default

    def content(self, tag: int, most: int = 1 << 24) -> bytes | None:
        """The bytes of a tag that are no numbers; None where they are missing or too many."""
        kind, count, place = self.entries.get(tag, (0, 0, 0))
        is_there = kind in (1, 7) and 0 < count <= most and place + count <= len(self.data)
        return self.data[place : place + count] if is_there else None

    def text(self, tag: int) -> bytes:
        """The beginning of a tag that is a text."""
        kind, count, place = self.entries.get(tag, (0, 0, 0))
        return self.data[place : place + min(count, 100)] if kind == 2 else b""


def directories(data: bytes, most: int) -> Iterator[Directory]:
    """The directories of a TIFF's chain, in order; one that comes again ends it.

    Args:
        data: The file, or its beginning: a directory that does not lie in it ends the chain.
        most: How many at most.

    Raises:
        ValueError: There are so many entries that no scanner wrote them.
    """
    order = "<" if data[:2] == b"II" else ">"
    is_big = 43 in data[2:4]
    place, seen, nb_entries = first_offset(data), set[int](), 0
    while place and place not in seen and len(seen) < most:
        seen.add(place)
        found = _directory(data, order, is_big, place)
        if found is None:
            return
        directory, place, count = found
        nb_entries += count
        if nb_entries > _MAX_ENTRIES:
            raise ValueError(f"more than {_MAX_ENTRIES:,} tags")
        yield directory


def directory_at(data: bytes, place: int) -> Directory | None:
    """The directory at a place of the file; None where none can be."""
    found = _directory(data, "<" if data[:2] == b"II" else ">", 43 in data[2:4], place)
    return found[0] if found else None


def first_offset(data: bytes) -> int:
    """Where the first directory lies; 0 where nothing says so."""
    order = "<" if data[:2] == b"II" else ">"
    form, place = ("Q", 8) if 43 in data[2:4] else ("I", 4)
    if len(data) < place + struct.calcsize(form):
        return 0
    return int(struct.unpack_from(order + form, data, place)[0])


def _directory(
    data: bytes, order: str, is_big: bool, place: int
) -> tuple[Directory, int, int] | None:
    """The directory at a place, where the next one lies, and the number of its entries."""
    count_form, entry_form, offset_form = ("Q", "HHQ", "Q") if is_big else ("H", "HHI", "I")
    width, inline = (20, 8) if is_big else (12, 4)
    start = place + struct.calcsize(count_form)
    if start > len(data):
        return None
    [count] = struct.unpack_from(order + count_form, data, place)
    end = start + count * width
    if end > len(data) or count > 65_535:
        # A directory that is cut off has no next one; its first tags may still say something.
        count = min((len(data) - start) // width, 65_535)
    entries: dict[int, tuple[int, int, int]] = {}
    for tag, kind, number, at in _entries(data, order + entry_form, start, width, count, inline):
        if kind in _SIZES:
            value = at
            if number * _SIZES[kind] > inline:
                [value] = struct.unpack_from(order + offset_form, data, at)
            entries.setdefault(tag, (kind, number, value))
    [following] = (
        struct.unpack_from(order + offset_form, data, end) if end + inline <= len(data) else [0]
    )
    return Directory(data, order, place, entries), following, count


def _entries(
    data: bytes, form: str, start: int, width: int, count: int, inline: int
) -> Iterator[tuple[int, int, int, int]]:
    for at in range(start, start + count * width, width):
        tag, kind, number = struct.unpack_from(form, data, at)
        yield tag, kind, number, at + width - inline


@dataclass(frozen=True)
class Layout:
    """How a directory's pixels are stored."""

    width: int
    height: int
    bits: int
    nb_channels: int
    kind: str
    """``u``, ``i`` or ``f``, as numpy has it."""
    photometric: int
    compression: int
    planar: int
    extra: tuple[int, ...]
    """What channels beyond those of the colour mean: 1 and 2 are alpha."""

    @property
    def nb_colours(self) -> int:
        """Channels of the colour; 0: no reader here knows the photometric interpretation."""
        return {0: 1, 1: 1, 2: 3, 5: 4, 8: 3}.get(self.photometric, 0)


def layout_of(directory: Directory) -> Layout:
    """How a directory's pixels are stored.

    Raises:
        ValueError: It says nothing that fits together.
    """
    bits = [int(one) for one in directory.values(BITS)] or [1]
    photometric = directory.number(PHOTOMETRIC, 0)
    compression = directory.number(COMPRESSION, 1)
    nb_channels = directory.number(CHANNELS, 3 if compression == 6 else 1)
    formats = {int(one) for one in directory.values(_SAMPLE_FORMAT)} or {1}
    if not 0 < nb_channels < 65_536 or len(set(bits[:nb_channels])) != 1 or len(formats) != 1:
        raise ValueError("channels of different kinds")
    kind = {1: "u", 2: "i", 3: "f", 4: "u"}.get(formats.pop(), "")
    return Layout(
        directory.number(WIDTH, 0),
        directory.number(LENGTH, 0),
        bits[0],
        nb_channels,
        kind,
        photometric,
        compression,
        directory.number(PLANAR, 1),
        tuple(int(one) for one in directory.values(_EXTRA)),
    )


UNPACKED = {1, 5, 8, 32773, 32946, 34925, 50000}
"""Compressions that give bytes back, so that samples of any kind may lie in them."""


def stated_white(directory: Directory, layout: Layout) -> float | None:
    """The value of white, where the tags state one that its bits do not."""
    for tag in (_GREATEST, _GREATEST_OF_ANY_KIND):
        try:
            stated = max(directory.values(tag), default=0)
        except ValueError:
            continue
        if stated > 0 and (layout.kind == "f" or 255 <= stated < 2**layout.bits - 1):
            return float(stated)
    return None


_UNREAD = {
    9: "JBIG",
    10: "JBIG",
    22610: "JPEG XR",
    32908: "Pixar film",
    32909: "Pixar log",
    33003: "JPEG 2000",
    33005: "JPEG 2000",
    34661: "JBIG",
    34676: "SGI log",
    34677: "SGI log",
    34712: "JPEG 2000",
    34715: "JBIG2",
    34887: "LERC",
    34892: "lossy JPEG of DNG",
    34934: "JPEG XR",
    50002: "JPEG XL",
    52546: "JPEG XL",
}
_READ = {1, 2, 3, 4, 5, 6, 7, 8, 32771, 32773, 32809, 32946, 34925, 50000, 50001}
_RAW = {
    9: "ICC L*a*b*",
    10: "ITU L*a*b*",
    32803: "the raw data of a sensor",
    32844: "LogL",
    32845: "LogLuv",
    34892: "the raw data of a sensor",
}


def unread_tiff(layout: Layout) -> str | None:
    """What about a picture no reader here knows; None where nothing is known to be so."""
    compression = layout.compression
    if compression in _UNREAD or compression not in _READ:
        name = _UNREAD.get(compression, f"compression {compression}")
        return f"TIFF compressed as {name}"
    if layout.photometric in _RAW:
        return f"TIFF of {_RAW[layout.photometric]}"
    if compression in (6, 7) and layout.bits != 8:
        return f"TIFF compressed as JPEG of {layout.bits} bits"
    if not layout.kind:
        return "TIFF of complex numbers"
    is_known = layout.bits in (1, 2, 4, 6, 8, 16, 32, 64) or 8 < layout.bits < 16
    if not is_known or (layout.kind == "f" and layout.bits not in (16, 32, 64)):
        return f"TIFF of {layout.bits} bits per channel"
    return None


def file_with(directory: Directory) -> bytes:
    """A file whose first picture is a directory's, as Pillow reads it.

    Pillow would load the tags of all pictures before it, and takes a BigTIFF whose bytes are in
    Motorola's order for another file.
    """
    data, order = directory.data, directory.order
    is_big = 43 in data[2:4]
    if is_big and order == ">":
        return _as_classic(directory)
    if directory.offset == first_offset(data):
        return data
    form, place = ("Q", 8) if is_big else ("I", 4)
    pointer = struct.pack(order + form, directory.offset)
    return data[:place] + pointer + data[place + len(pointer) :]


def _as_classic(directory: Directory) -> bytes:
    data, order = directory.data, directory.order
    tags = {}
    for tag, (kind, count, place) in directory.entries.items():
        if kind in (16, 17, 18):
            values = [int(value) for value in directory.values(tag, most=1 << 20)]
            tags[tag] = 4, struct.pack(f"{order}{count}I", *values)
        elif place + count * _SIZES[kind] <= len(data):
            tags[tag] = kind, data[place : place + count * _SIZES[kind]]
    return with_directory(order, data, tags)


def with_directory(order: str, data: bytes, tags: dict[int, tuple[int, bytes]]) -> bytes:
    """A classic TIFF: a file's data, with a directory of its own behind them.

    Raises:
        ValueError: They are too large for that.
    """
    at = len(data) + (len(data) & 1)
    if at + sum(len(content) for _, content in tags.values()) > 2**32 - 2**20:
        raise ValueError("a file of more than 4 GB")
    listed, behind = struct.pack(order + "H", len(tags)), b""
    start = at + 2 + 12 * len(tags) + 4
    for tag, (kind, content) in sorted(tags.items()):
        listed += struct.pack(order + "HHI", tag, kind, len(content) // _SIZES[kind])
        if len(content) <= 4:
            listed += content.ljust(4, b"\0")
        else:
            listed += struct.pack(order + "I", start + len(behind))
            behind += content + bytes(len(content) & 1)
    begin = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", at)
    return b"".join([begin, data[8:], bytes(at - len(data)), listed, bytes(4), behind])

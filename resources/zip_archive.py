"""Zip archives: which entries there are, and the bytes of one.

Belongs here: the form, read in place and without trust. Does not belong here: what a name means and
which entries count (``archive_entries``, ``archive_folder``).

Not ``zipfile``, which refuses a whole archive for one damaged name or field, and holds a kilobyte
for each entry of a directory of any length.
"""

import bz2
import calendar
import lzma
import stat
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, Protocol

from resources.archive_entries import ArchivedFile, ArchiveError, Contents, damaged
from resources.errors import UnreadableImage, message, noted

_BLOCK = 2**18

# Methods, by their numbers.
_STORED, _DEFLATED, _BZIP2, _LZMA = 0, 8, 12, 14
_LZMA_MEMORY = 2**28

# Systems on which entries were packed.
_DOS, _UNIX, _NTFS, _VFAT = 0, 3, 10, 14

_END = struct.Struct("<4s4H2LH")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_CENTRAL = struct.Struct("<4s4B4HL2L5H2L")
_LOCAL = struct.Struct("<4s2B4HL2L2H")


def contents_of_zip(file: BinaryIO, size: int) -> Contents:
    """What a zip archive holds.

    Args:
        file: The archive.
        size: Its bytes.

    Raises:
        ArchiveError: It is none, or damaged so that its entries are not known.
    """
    start, length, moved = _directory(file, size)
    found = Contents()
    file.seek(start)
    end = start + length
    spans: list[tuple[int, int, str]] = []
    position = start
    while position < end:
        head = file.read(_CENTRAL.size)
        if len(head) < _CENTRAL.size or head[:4] != b"PK\1\2":
            raise ArchiveError(_DAMAGED_DIRECTORY)
        fields = _CENTRAL.unpack(head)
        system, flags, method, time, date, crc = (fields[i] for i in (2, 5, 6, 7, 8, 9))
        packed, unpacked, name_length, extra_length, comment_length = fields[10:15]
        mode, offset = fields[17] >> 16, fields[18]
        rest = file.read(name_length + extra_length + comment_length)
        if len(rest) < name_length + extra_length + comment_length:
            raise ArchiveError(_DAMAGED_DIRECTORY)
        position += len(head) + len(rest)
        extra = dict(_extra(rest[name_length : name_length + extra_length]))
        name = _zip_name(rest[:name_length], flags, system, extra.get(0x7075, b""))
        if name.endswith("/"):
            continue
        long = [value for value in (unpacked, packed, offset) if value == 0xFFFFFFFF]
        if long:
            numbers = extra.get(1, b"")
            if len(numbers) < 8 * len(long):
                found.leave_out(name, "unreadable", "are damaged")
                continue
            values = iter(struct.unpack_from(f"<{len(long)}Q", numbers))
            unpacked, packed, offset = (
                next(values) if value == 0xFFFFFFFF else value
                for value in (unpacked, packed, offset)
            )
        kind = stat.S_IFMT(mode) if system == _UNIX else 0
        if kind == stat.S_IFLNK:
            found.leave_out(name, "link", "are links")
        elif kind not in (0, stat.S_IFREG):
            found.leave_out(name, "no_image", "")
        elif flags & 0x2041:  # the first: encrypted; the others: strongly, with its directory
            found.leave_out(name, "unreadable", "are encrypted")
        else:
            mtime_ns = _zip_time(date, time, extra.get(0x5455, b""))
            entry = ArchivedFile(unpacked, mtime_ns, f"{crc:08x}", offset + moved, packed, method)
            found.add(name, entry)
            spans.append((entry.start, entry.start + _LOCAL.size + name_length + packed, name))
    _leave_out_overlapping(found, spans, start)
    return found


def bytes_of_zip(file: BinaryIO, entry: ArchivedFile, most: int | None = None) -> bytes:
    """The bytes of an entry, checked by their number and checksum.

    Args:
        file: The archive.
        entry: One of its entries.
        most: Only so many of the first bytes, unchecked; None: all.

    Raises:
        UnreadableImage: The entry is damaged, or packed as nothing here reads it.
    """
    wanted = entry.size if most is None else min(most, entry.size)
    try:
        blocks = _unpacked(file, entry, _start_of_data(file, entry))
        # One byte more than is said: what unpacks to more is damaged, and is not unpacked further.
        data = _first(blocks, wanted + (most is None))
    except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError) as error:
        if isinstance(error, UnreadableImage) or (
            isinstance(error, OSError) and error.errno is not None
        ):
            raise
        raise UnreadableImage(damaged(str(error) or type(error).__name__)) from error
    if len(data) < wanted or (most is None and len(data) > wanted):
        raise UnreadableImage(damaged(f"it does not unpack to its {entry.size:,} bytes"))
    if most is None and f"{zlib.crc32(data):08x}" != entry.etag:
        raise UnreadableImage(damaged("its checksum is another one"))
    return data


_DAMAGED_DIRECTORY = message("its directory is damaged", id="archive-directory-damaged")


def _directory(file: BinaryIO, size: int) -> tuple[int, int, int]:
    """Where a zip archive's directory begins, its length, and how much lies before the archive."""
    # At the end, behind which is only a comment.
    tail_start = max(0, size - _END.size - 0xFFFF)
    file.seek(tail_start)
    tail = file.read(size - tail_start)
    at = _place_of_end(tail)
    if at is None:
        raise ArchiveError(
            message(
                "it is no whole zip or tar archive: it may still be written, or is damaged",
                id="archive-not-whole",
            )
        )
    _, disk, first_disk, _, _, length, offset, _ = _END.unpack_from(tail, at)
    end = tail_start + at
    if at >= _LOCATOR.size and tail[at - _LOCATOR.size :][:4] == b"PK\6\7":
        _, _, place, _ = _LOCATOR.unpack_from(tail, at - _LOCATOR.size)
        for where in (place, end - _LOCATOR.size - _END_64.size):  # as said, or just before
            if not 0 <= where <= size:
                continue
            file.seek(where)
            record = file.read(_END_64.size)
            if len(record) == _END_64.size and record[:4] == b"PK\6\6":
                _, _, _, _, disk, first_disk, _, _, length, offset = _END_64.unpack(record)
                end = where
                break
        else:
            raise ArchiveError(_DAMAGED_DIRECTORY)
    if disk or first_disk:
        raise ArchiveError(message("it is one of several parts: join them", id="archive-in-parts"))
    start = end - length
    # What lies before the archive, as a program that unpacks it, is in no offset.
    if start < 0 or start - offset < 0:
        raise ArchiveError(_DAMAGED_DIRECTORY)
    return start, length, start - offset


def _place_of_end(tail: bytes) -> int | None:
    """Where the end's record begins: the comment after it may look like one."""
    found = None
    at = len(tail)
    while (at := tail.rfind(b"PK\5\6", 0, at)) >= 0:
        if at + _END.size <= len(tail):
            after = len(tail) - at - _END.size - _END.unpack_from(tail, at)[7]
            if after == 0:
                return at
            if after > 0 and found is None:  # something was appended to the archive
                found = at
    return found


def _extra(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The additional fields of an entry, by their numbers, as far as they are whole."""
    position = 0
    while position + 4 <= len(data):
        number, length = struct.unpack_from("<2H", data, position)
        yield number, data[position + 4 : position + 4 + length]
        position += 4 + length


def _zip_name(name: bytes, flags: int, system: int, unicode_name: bytes) -> str:
    # Info-ZIP's field: version 1, the checksum of the name that it stands for, the name in UTF-8.
    if unicode_name[:1] == b"\1" and unicode_name[1:5] == zlib.crc32(name).to_bytes(4, "little"):
        name, flags = unicode_name[5:], flags | 0x800
    try:
        # Macs and old versions of zip write UTF-8 without the flag that says so; letters with
        # accents in another encoding are hardly ever valid UTF-8.
        decoded = name.decode()
    except UnicodeDecodeError:
        # The standard says 437; Windows writes 850 in Europe, which has the same letters and more
        # of them in the place of Greek ones and of lines.
        decoded = name.decode("utf-8" if flags & 0x800 else "cp850", "replace")
    # Some programs for Windows write its separator.
    return decoded.replace("\\", "/") if system in (_DOS, _NTFS, _VFAT) else decoded


def _zip_time(date: int, time: int, extended: bytes) -> int:
    """In nanoseconds since 1970: the time in UTC if it is there, else the local one as if it were;
    0 where it is none."""
    if len(extended) >= 5 and extended[0] & 1:
        return max(0, int.from_bytes(extended[1:5], "little", signed=True)) * 10**9
    month, day = date >> 5 & 15, date & 31
    hour, minute, second = time >> 11, time >> 5 & 63, 2 * (time & 31)
    if not (1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second < 60):
        return 0
    return calendar.timegm((1980 + (date >> 9), month, day, hour, minute, second)) * 10**9


def _leave_out_overlapping(
    found: Contents, spans: list[tuple[int, int, str]], directory: int
) -> None:
    """Leave out entries whose bytes are others', too: a few MB would unpack to any number of TB."""
    spans.sort()
    for (_, end, name), following in zip(
        spans, [*(start for start, _, _ in spans[1:]), directory], strict=False
    ):
        path = found.path(name)
        if end > following and path and found.files.pop(path, None):
            found.left_out.append((path, "unreadable", "share their bytes with other entries"))


def _start_of_data(file: BinaryIO, entry: ArchivedFile) -> int:
    file.seek(entry.start)
    head = file.read(_LOCAL.size)
    if len(head) < _LOCAL.size or head[:4] != b"PK\3\4":
        raise UnreadableImage(damaged("it does not begin where the directory says"))
    return entry.start + _LOCAL.size + sum(_LOCAL.unpack(head)[-2:])


def _first(blocks: Iterator[bytes], most: int) -> bytes:
    data = bytearray()
    for block in blocks:
        data += block
        if len(data) >= most:
            break
    return bytes(data[:most])


class _Decompressor(Protocol):
    """As of the modules bz2 and lzma."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Inflater:
    """zlib's, with the manners of the others."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(-zlib.MAX_WBITS)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)


def _unpacked(file: BinaryIO, entry: ArchivedFile, start: int) -> Iterator[bytes]:
    """An entry's bytes, a block at a time: how many they are is not known before."""
    file.seek(start)
    left = entry.packed

    def read() -> bytes:
        nonlocal left
        block = file.read(min(_BLOCK, left))
        left -= len(block)
        return block

    if entry.method == _STORED:
        while block := read():
            yield block
        return
    unpacker: _Decompressor
    if entry.method == _DEFLATED:
        unpacker = _Inflater()
    elif entry.method == _BZIP2:
        unpacker = bz2.BZ2Decompressor()
    elif entry.method == _LZMA:
        head = file.read(4)
        properties = file.read(int.from_bytes(head[2:], "little"))
        left -= len(head) + len(properties)
        # The form of a file of its own, which begins with the same and the length, here unknown.
        unpacker = lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=_LZMA_MEMORY)
        unpacker.decompress(properties + b"\xff" * 8, 0)
    else:
        raise UnreadableImage(
            noted(
                "not supported: an entry that is packed by method {method:d}; pack it by deflate",
                method=entry.method,
            )
        )
    while not unpacker.eof:
        is_hungry = unpacker.needs_input
        block = read() if is_hungry else b""
        if unpacked := unpacker.decompress(block, _BLOCK):
            yield unpacked
        elif is_hungry and not block:
            return

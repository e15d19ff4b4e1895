"""Tar archives that are not packed: which entries there are, and the bytes of one.

Belongs here: the form, read in place and without trust. Does not belong here: what a name means and
which entries count (``archive_entries``), and archives that are packed as a whole
(``archive_folder``).
"""

import tarfile
import zlib
from typing import BinaryIO

from resources.archive_entries import IN_PLACE, ArchivedFile, ArchiveError, Contents, damaged
from resources.errors import UnreadableImage, message

_BLOCK = 512
_MOST_OF_HEADERS = 2**20
"""Bytes that the headers of one entry may have; names and times take 2,000."""
_SAMPLED = 4096
_RECORD = 10_240
_MOST_BEHIND = 2**21
"""Bytes that may stand behind the last entry: an archive is written in records of 10,240 bytes,
seldom of a megabyte, and the last one is filled up."""


def is_tar(block: bytes) -> bool:
    """Whether a file is a tar archive, by its first 512 bytes."""
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # an archive of nothing
        return True
    except (tarfile.TarError, ValueError):
        return False
    return True


class _Headers:
    """A file of which no more is read than headers have.

    In a header stands how long the next one is, and tarfile reads that many bytes.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.left = _MOST_OF_HEADERS

    def read(self, size: int) -> bytes:
        if not 0 <= size <= self.left:
            raise ArchiveError(_DAMAGED_HEADER)
        self.left -= size
        return self._file.read(size)

    def seek(self, position: int) -> int:
        return self._file.seek(position)

    def tell(self) -> int:
        return self._file.tell()


_DAMAGED_HEADER = message("a header in it is damaged", id="archive-header-damaged")


def contents_of_tar(file: BinaryIO) -> Contents:
    """What a tar archive holds.

    Raises:
        ArchiveError: It is damaged so that its entries are not known.
    """
    found = Contents()
    file.seek(0)
    headers = _Headers(file)
    try:
        archive = tarfile.TarFile(
            fileobj=headers,  # type: ignore[arg-type]
            encoding="utf-8",
            errors="surrogateescape",
        )
        before = -1
        while member := archive.next():
            archive.members = []  # type: ignore[attr-defined]  # it would keep a kilobyte for each
            if member.size < 0 or archive.offset <= before:
                raise ArchiveError(_DAMAGED_HEADER)
            before = archive.offset
            _take(found, member, file)
            headers.left = _MOST_OF_HEADERS
        file.seek(archive.offset)
        is_ended = file.read(_BLOCK) == bytes(_BLOCK)
        behind = file.seek(0, 2) - archive.offset
        if not is_ended or behind > (_MOST_BEHIND if found.files else _RECORD):
            # Room for the whole archive may be there before its bytes are; and whatever writes an
            # archive is between two entries most of the time, and tarfile takes a header that is
            # none for the end.
            raise ArchiveError(
                message(
                    "its end is missing: it may still be written, or is damaged",
                    id="archive-without-end",
                )
            )
    except ArchiveError:
        raise
    except Exception as error:  # damaged headers make tarfile raise nearly anything
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ArchiveError(_DAMAGED_HEADER) from error
    return found


def bytes_of_tar(file: BinaryIO, entry: ArchivedFile, most: int | None = None) -> bytes:
    """The bytes of an entry, or so many of the first.

    Raises:
        UnreadableImage: They are not there.
    """
    wanted = entry.size if most is None else min(most, entry.size)
    file.seek(entry.start)
    data = file.read(wanted)
    if len(data) != wanted:
        raise UnreadableImage(damaged("the archive ends within it"))
    return data


def _take(found: Contents, member: tarfile.TarInfo, file: BinaryIO) -> None:
    name = _tar_name(member.name)
    if member.isdir():
        return
    if member.issym():
        found.leave_out(name, "link", "are links")
    elif member.islnk():
        # One content with two names, of which an archive holds the second without its bytes.
        entry = found.files.get(found.path(_tar_name(member.linkname)) or "")
        if entry:
            found.add(name, entry)
        else:
            found.leave_out(name, "link", "are links")
    elif member.issparse():
        found.leave_out(name, "unreadable", "are sparse files")
    elif member.isreg():
        start, size = member.offset_data, member.size
        mtime = member.mtime
        mtime_ns = round(mtime * 10**6) * 1000 if 0 <= mtime < 2**33 else 0
        found.add(
            name, ArchivedFile(size, mtime_ns, _sample(file, start, size), start, size, IN_PLACE)
        )
    else:
        found.leave_out(name, "no_image", "")


def _tar_name(name: str) -> str:
    try:
        name.encode()
    except UnicodeEncodeError:  # older systems wrote Latin-1
        return name.encode("utf-8", "surrogateescape").decode("latin-1")
    return name


def _sample(file: BinaryIO, start: int, size: int) -> str:
    """The checksum of the first and last bytes: many archives give all their files one time.

    They lie beside the headers, which are read anyway.
    """
    file.seek(start)
    crc = zlib.crc32(file.read(min(_SAMPLED, size)))
    last = max(start, start + size - _BLOCK)
    file.seek(last)
    return f"{zlib.crc32(file.read(start + size - last), crc):08x}"

"""An archive as a folder of images: zip, or tar, packed as a whole or not.

Belongs here: the contract of a source, and the copy that is kept of a packed tar archive. Does not
belong here: the entries of an archive (``archive_entries``, ``zip_archive``, ``tar_archive``).

A zip archive, and a tar archive that is not packed, are read in place. A tar archive that is packed
as a whole (``.tar.gz``) can only be read from its beginning, which for each picture of a page would
take minutes; it is unpacked once, into a tar archive among what the project keeps for itself. That
takes no more room than its images, which hardly get smaller by packing.
"""

import bz2
import functools
import gzip
import hashlib
import lzma
import os
import shutil
import stat
import tempfile
import threading
import zlib
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from resources.archive_entries import (
    IN_PLACE,
    NO_PATH,
    ArchivedFile,
    ArchiveError,
    Contents,
    TooManyEntriesError,
)
from resources.errors import InputError, Message, UnavailableError, UnreadableImage, message
from resources.listing import (
    CHANGED,
    GONE,
    UNFINISHED,
    LeftOut,
    LeftOutKind,
    Listing,
    SourceFile,
    UnavailableFile,
    UnfinishedFile,
    Wanted,
    cannot_be_read,
    error_line,
    is_image_name,
    leave_out,
    printable_path,
    sorted_listing,
    too_large,
)
from resources.picture_formats import SNIFFED
from resources.tar_archive import bytes_of_tar, contents_of_tar, is_tar
from resources.zip_archive import bytes_of_zip, contents_of_zip

SUFFIXES = (
    *(".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz"),
    *(".tar.zst", ".tzst"),
)
"""Ends, in lower case, of names of archives that can be a source."""

_PACKINGS = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}
_BLOCK = 2**20
_FREE_BYTES = 2**30
"""So many bytes of the disk stay free when an archive is unpacked."""
_CHECKED_EVERY = 2**26
_MOST_TIMES = 200
"""So many times its size an archive may have when it is unpacked; the scan of a page in black and
white has 100 at most."""
_UNPACKER_MEMORY = 2**29

Stamp = tuple[int, int, int]
"""Size, time and the disk's own time: what tells one state of a file from another. (Not its number:
some disks give other ones whenever they are mounted.)"""


def is_archive(path: Path) -> bool:
    """Whether a path names an archive, whether or not that is there."""
    return path.name.lower().endswith(SUFFIXES) and not path.is_dir()


@dataclass(frozen=True)
class ArchiveFolder:
    """An archive of this machine."""

    file: Path
    wanted: Wanted
    cache: Path | None
    """Where packed ones are unpacked; None: into a folder that goes with this object."""

    @property
    def place(self) -> str:
        """The archive, for people."""
        return printable_path(str(self.file))

    def check(self) -> None:
        """Refuse an archive that is not there."""
        with self._faults(), self._open():
            pass

    def listing(self) -> Listing:
        """List all entries."""
        skipped: dict[str, list[str]] = defaultdict(list)
        left_out: dict[LeftOutKind, LeftOut] = {}
        files = []
        with self._opened() as (_, contents):
            for path, entry in contents.files.items():
                if kind := self.wanted.left_out(path):
                    leave_out(left_out, kind, path)
                    continue
                named = is_image_name(path.rpartition("/")[2])
                files.append(
                    SourceFile(path, entry.size, entry.mtime_ns, entry.etag, is_named=named)
                )
            for path, kind, reason in contents.left_out:
                unwanted = self.wanted.left_out(path) if reason != NO_PATH else None
                leave_out(left_out, unwanted or kind, path)
                if reason and not unwanted:
                    skipped[reason].append(path)
        return sorted_listing(files, skipped, (), left_out)

    def read(self, path: str, max_bytes: int, listed: SourceFile | None = None) -> bytes:
        """All bytes of an entry."""
        with self._opened() as (file, contents):
            entry = contents.files.get(path)
            if entry is None:
                raise UnavailableFile(GONE)
            if listed and (entry.size, entry.mtime_ns, entry.etag) != (
                listed.size,
                listed.mtime_ns,
                listed.etag,
            ):
                raise UnfinishedFile(CHANGED)
            if entry.size > max_bytes:
                raise UnreadableImage(too_large(entry.size, max_bytes))
            with self._faults_of_an_entry(file):
                return _bytes_of(file, entry)

    def head(self, path: str) -> bytes:
        """The first bytes of an entry."""
        with self._opened() as (file, contents):
            entry = contents.files.get(path)
            if entry is None:
                raise UnavailableFile(GONE)
            with self._faults_of_an_entry(file):
                return _bytes_of(file, entry, SNIFFED)

    @contextmanager
    def _opened(self) -> Iterator[tuple[BinaryIO, Contents]]:
        """The archive, unpacked, and what it holds."""
        with self._faults():
            file = self._open()
            try:
                stamp = _stamp(file)
                packing = _packing(file)
                if packing:
                    copy = self._unpacked(file, packing, stamp)
                    file.close()
                    file = copy.open("rb")
                contents = self._indexed(file, stamp)
            except BaseException:
                file.close()
                raise
        with file:
            yield file, contents

    def _open(self) -> BinaryIO:
        # Opening a FIFO waits for ever, opening a device may act on it.
        if not stat.S_ISREG(self.file.stat().st_mode):
            raise ArchiveError(_NOT_PLAIN)
        return self.file.open("rb")

    def _indexed(self, file: BinaryIO, stamp: Stamp) -> Contents:
        state = str(self.file), stamp
        if (known := _INDEXES.get(state)) is not None:
            return known
        with _INDEXING:  # of several readers that find a new archive, one reads its directory
            if state not in _INDEXES:
                before = _stamp(file)
                found = _contents_of(file, before[0])
                if _stamp(file) != before:
                    raise ArchiveError(_BEING_WRITTEN)
                if len(_INDEXES) >= _MOST_INDEXES:
                    del _INDEXES[next(iter(_INDEXES))]
                _INDEXES[state] = found
            return _INDEXES[state]

    @contextmanager
    def _faults_of_an_entry(self, file: BinaryIO) -> Iterator[None]:
        before = _stamp(file)
        try:
            yield
        except UnreadableImage:
            if _stamp(file) != before:
                raise UnfinishedFile(UNFINISHED) from None
            raise
        except OSError as error:
            raise UnavailableFile(cannot_be_read(error.strerror or error_line(error))) from error
        if _stamp(file) != before:
            raise UnfinishedFile(UNFINISHED)

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except TooManyEntriesError as error:
            raise self._refusal(error.reason) from error
        except ArchiveError as error:
            raise self._fault(error.reason) from error
        except OSError as error:
            raise self._fault(error.strerror or error_line(error)) from error

    def _fault(self, reason: Message | str) -> InputError:
        return UnavailableError(
            "The archive of images {archive} cannot be read ({reason}): bring it back whole, or "
            "correct `images` in .panoptic/project.yaml (the `root` of the source in Dagster).",
            id="images-archive-unreadable",
            archive=self.place,
            reason=reason,
        )

    def _refusal(self, reason: Message | str) -> InputError:
        return InputError(
            "The archive of images {archive} cannot be a source of images ({reason}): unpack it, "
            "and give the folder.",
            id="images-archive-refused",
            archive=self.place,
            reason=reason,
        )

    def _unpacked(self, file: BinaryIO, packing: str, stamp: Stamp) -> Path:
        """The copy of a packed archive, made if it is not there or another one's."""
        folder = self._folder_of_copies
        mine = hashlib.sha256(os.fsencode(self.file)).hexdigest()[:16]
        copy = folder / f"{mine}-{hashlib.sha256(repr(stamp).encode()).hexdigest()[:16]}.tar"
        if copy.is_file():
            return copy
        from filelock import FileLock

        draft = copy.with_suffix(".part")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / f"{mine}.lock"):
                if copy.is_file():  # by another process, that was faster
                    return copy
                # Of an older archive of this name, and of processes that were killed.
                for other in folder.glob(f"{mine}-*"):
                    other.unlink()
                try:
                    self._unpack(file, packing, draft)
                    if _stamp(file) != stamp:
                        raise ArchiveError(_BEING_WRITTEN)
                    draft.replace(copy)
                finally:  # whoever only waits must leave the draft of another process alone
                    with suppress(OSError):
                        draft.unlink(missing_ok=True)
        except OSError as error:
            raise InputError(
                "The archive of images {archive} cannot be unpacked in {folder} ({reason}): make "
                "room or let it be written there, or unpack it elsewhere and give the folder.",
                id="images-archive-not-unpacked",
                archive=self.place,
                folder=folder,
                reason=error.strerror or error_line(error),
            ) from error
        return copy

    def _unpack(self, file: BinaryIO, packing: str, draft: Path) -> None:
        most = max(_FREE_BYTES, _MOST_TIMES * os.fstat(file.fileno()).st_size)
        nb_bytes = checked = 0
        with draft.open("wb") as copy:
            for block in _blocks(file, packing):
                copy.write(block)
                nb_bytes += len(block)
                if nb_bytes > most:
                    raise self._refusal(
                        message(
                            "unpacked, it has more than {most} times its size",
                            id="archive-too-dense",
                            most=_MOST_TIMES,
                        )
                    )
                if nb_bytes - checked >= _CHECKED_EVERY:
                    checked = nb_bytes
                    if shutil.disk_usage(draft.parent).free < _FREE_BYTES:
                        raise self._refusal(
                            message(
                                "the disk of {folder}, into which it is unpacked, is nearly full",
                                id="archive-disk-full",
                                folder=draft.parent,
                            )
                        )
            # Else after a loss of power the copy may be there under its name, and empty.
            copy.flush()
            os.fsync(copy.fileno())

    @functools.cached_property
    def _folder_of_copies(self) -> Path:
        return self.cache if self.cache is not None else Path(self._own_folder.name)

    @functools.cached_property
    def _own_folder(self) -> tempfile.TemporaryDirectory[str]:
        return tempfile.TemporaryDirectory(prefix="panoptic-assets-")


_NOT_PLAIN = message("it is not a plain file", id="archive-not-a-file")
_BEING_WRITTEN = message("it is being written", id="archive-being-written")

_INDEXES: dict[tuple[str, Stamp], Contents] = {}
"""What the archives hold that were used last: 50 MB for 100,000 entries, and a second to read."""
_MOST_INDEXES = 4
_INDEXING = threading.Lock()


def _stamp(file: BinaryIO) -> Stamp:
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode):
        raise ArchiveError(_NOT_PLAIN)
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _contents_of(file: BinaryIO, size: int) -> Contents:
    # A tar archive first: it may end with a file that is a zip archive, whose end it would have.
    file.seek(0)
    if is_tar(file.read(512)):
        return contents_of_tar(file)
    return contents_of_zip(file, size)


def _bytes_of(file: BinaryIO, entry: ArchivedFile, most: int | None = None) -> bytes:
    read = bytes_of_tar if entry.method == IN_PLACE else bytes_of_zip
    return read(file, entry, most)


def _packing(file: BinaryIO) -> str | None:
    head = file.read(512)
    if is_tar(head):  # whose first name may begin like a packed file
        return None
    return next((name for magic, name in _PACKINGS.items() if head.startswith(magic)), None)


def _blocks(file: BinaryIO, packing: str) -> Iterator[bytes]:
    """A packed file, unpacked."""
    file.seek(0)
    try:
        if packing == "xz":
            yield from _blocks_of_xz(file)
            return
        if packing == "zstd":
            import pyarrow as pa

            # Of its own, as pyarrow closes what it reads.
            again = os.fdopen(os.dup(file.fileno()), "rb")
            again.seek(0)
            unpacked: BinaryIO = pa.CompressedInputStream(again, "zstd")
        else:
            unpacked = gzip.GzipFile(fileobj=file) if packing == "gzip" else bz2.BZ2File(file)  # type: ignore[assignment]
        while block := unpacked.read(_BLOCK):
            yield block
    except (OSError, EOFError, ValueError, MemoryError, zlib.error, lzma.LZMAError) as error:
        raise ArchiveError(error_line(error)) from error


def _blocks_of_xz(file: BinaryIO) -> Iterator[bytes]:
    # Not lzma.open(), which takes as much memory as the archive asks for, up to 4 GB.
    block = file.read(_BLOCK)
    while block:
        unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_UNPACKER_MEMORY)
        while not unpacker.eof:
            if unpacked := unpacker.decompress(block, _BLOCK):
                yield unpacked
            block = file.read(_BLOCK) if unpacker.needs_input else b""
            if not block and unpacker.needs_input and not unpacker.eof:
                raise EOFError("it ends too early")
        # Another stream may follow, after zeros.
        block = unpacker.unused_data.lstrip(b"\0")
        while not block and (more := file.read(_BLOCK)):
            block = more.lstrip(b"\0")

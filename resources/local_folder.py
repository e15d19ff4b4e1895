"""A folder of images on this machine.

Belongs here: listing and reading it without fsspec, which follows links out of it. Does not belong
here: stores of objects (``remote_folder``).
"""

import errno
import os
import re
import stat
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from resources.errors import InputError, UnavailableError, UnreadableImage, noted
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
    is_image_name,
    leave_out,
    printable_path,
    sorted_listing,
    too_large,
)
from resources.picture_formats import SNIFFED

_LOOP = noted("the path is a loop of links")
# What printable_path() makes of a byte that is not UTF-8.
_ESCAPED_BYTE = re.compile(r"\\udc[89a-f][0-9a-f]")

# Systems of files that number their files anew whenever they are mounted.
_UNNUMBERED = re.compile(r"vfat|msdos|exfat|fuse.*|9p|virtiofs|cifs|smb3?")


@dataclass(frozen=True)
class LocalFolder:
    """A folder of this machine, read without fsspec, which follows links out of it."""

    root: Path
    wanted: Wanted

    @property
    def place(self) -> str:
        """The folder, for people."""
        return printable_path(str(self.root))

    def check(self) -> None:
        """Refuse a folder that cannot be listed."""
        self._check_root()

    def listing(self) -> Listing:
        """List all files, folder by folder."""
        files: dict[str, SourceFile] = {}
        skipped: dict[str, list[str]] = defaultdict(list)
        unreadable: set[str] = set()
        left_out: dict[LeftOutKind, LeftOut] = {}
        mounts: list[str] = []
        try:
            device = self.root.stat().st_dev
        except OSError as error:
            raise self._fault(error) from error
        numbered = _numbered()
        # A stack, since folders nest deeper than calls may.
        pending = [("", device, "")]
        # Not pathlib, whose joining takes as long as listing a file.
        root = f"{self.root}/"
        left_out_name = self.wanted.left_out_name
        while pending:
            folder, device, mount = pending.pop()
            try:
                with os.scandir(root + folder) as found:
                    # Sorted: of two names with one printable form the same is taken on every disk.
                    entries = sorted(found, key=lambda entry: entry.name)
            except OSError as error:
                if not folder:
                    raise self._fault(error) from error
                if not isinstance(error, FileNotFoundError):
                    skipped[f"could not be read ({error.strerror})"].append(printable_path(folder))
                    leave_out(left_out, "unreadable", printable_path(folder))
                    unreadable.add(printable_path(folder))
                continue
            seen: set[str] = set()
            has_inodes = numbered(device)
            place = printable_path(folder)
            for entry in entries:
                own = printable_path(entry.name)
                name = place + own
                try:
                    if entry.is_dir(follow_symlinks=False):
                        below = f"{name}/"
                        if kind := self.wanted.left_out_folder(below):
                            leave_out(left_out, kind, below)
                        elif below not in seen:
                            seen.add(below)
                            inside = entry.stat(follow_symlinks=False).st_dev
                            if inside != device:
                                mounts.append(below)
                            pending.append(
                                (
                                    f"{folder}{entry.name}/",
                                    inside,
                                    mount if inside == device else below,
                                )
                            )
                        continue
                    is_link = entry.is_symlink()
                    if kind := left_out_name(name, own):
                        # What a link that is hidden, or has another extension, leads to is nothing
                        # to anyone.
                        leave_out(left_out, kind, name)
                    elif is_link and not self._is_file_inside(folder + entry.name):
                        skipped["are links out of it, to a folder or to nothing"].append(name)
                        leave_out(left_out, "link", name)
                    elif not entry.is_file():
                        leave_out(left_out, "no_image", name)
                    elif name not in files:
                        status = entry.stat()
                        files[name] = SourceFile(
                            name,
                            status.st_size,
                            status.st_mtime_ns,
                            "",
                            status.st_ctime_ns,
                            status.st_ino if has_inodes else 0,
                            mount,
                            is_image_name(own),
                        )
                except FileNotFoundError:
                    continue
                except OSError as error:
                    skipped[f"could not be read ({error.strerror})"].append(name)
                    leave_out(left_out, "unreadable", name)
                    unreadable.add(place)
        return sorted_listing(files.values(), skipped, unreadable, left_out, mounts)

    def read(self, path: str, max_bytes: int, listed: SourceFile | None = None) -> bytes:
        """All bytes of a file."""
        with self._opened(path) as (file, before):
            if listed and (before.st_size, before.st_mtime_ns) != (listed.size, listed.mtime_ns):
                raise UnfinishedFile(CHANGED)
            if before.st_size > max_bytes:
                raise UnreadableImage(too_large(before.st_size, max_bytes))
            data = file.read(before.st_size + 1)
            after = os.fstat(file.fileno())
        if (len(data), after.st_size, after.st_mtime_ns) != (
            before.st_size,
            before.st_size,
            before.st_mtime_ns,
        ):
            raise UnfinishedFile(UNFINISHED)
        return data

    def head(self, path: str) -> bytes:
        """The first bytes of a file."""
        with self._opened(path) as (file, _):
            return file.read(SNIFFED)

    @contextmanager
    def _opened(self, path: str) -> Iterator[tuple[BinaryIO, os.stat_result]]:
        """A plain file inside the root, and its status."""
        try:
            target = (self.root / path).resolve(strict=True)
            if not target.is_relative_to(self.root):
                raise UnreadableImage(
                    noted("the file is a link that leads out of the folder of images")
                )
            # Opening a FIFO waits for ever, opening a device may act on it.
            if not stat.S_ISREG(target.stat().st_mode):
                raise UnreadableImage(noted("not a plain file"))
            with target.open("rb") as file:
                yield file, os.fstat(file.fileno())
        except (FileNotFoundError, NotADirectoryError) as error:
            self._check_root()
            if _ESCAPED_BYTE.search(path):
                raise UnreadableImage(
                    noted("the file name is not valid UTF-8; rename the file")
                ) from error
            raise UnavailableFile(GONE) from error
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise UnreadableImage(_LOOP) from error
            self._check_root()
            raise UnavailableFile(cannot_be_read(error.strerror)) from error
        except RuntimeError as error:  # what Path.resolve() makes of ELOOP before Python 3.13
            raise UnreadableImage(_LOOP) from error

    def _check_root(self) -> None:
        try:
            os.scandir(self.root).close()
        except OSError as error:
            raise self._fault(error) from error

    def _fault(self, error: OSError) -> InputError:
        if isinstance(error, NotADirectoryError):
            return InputError(
                "{root} is neither a folder nor an archive that is read (.zip, .tar, .tar.gz, "
                ".tar.bz2, .tar.xz, .tar.zst): unpack it and give the folder, or correct `images` "
                "in .panoptic/project.yaml.",
                id="images-not-a-folder-or-archive",
                root=self.root,
            )
        return UnavailableError(
            "The folder of images {root} cannot be read ({reason}): create or mount it, or "
            "correct `images` in .panoptic/project.yaml (the `root` of the source in Dagster).",
            id="images-folder-unreadable",
            root=self.root,
            reason=error.strerror,
        )

    def _is_file_inside(self, link: str) -> bool:
        try:
            target = (self.root / link).resolve(strict=True)
        except (OSError, RuntimeError):  # RuntimeError: a loop, before Python 3.13
            return False
        return target.is_relative_to(self.root) and target.is_file()


def _numbered() -> Callable[[int], bool]:
    """Tells of a device, by its number, whether its files keep theirs (inodes)."""
    if sys.platform != "linux":
        return lambda _device: sys.platform != "win32"  # where a listing gives none
    try:
        lines = Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
    except OSError:
        return lambda _device: True
    unnumbered = set()
    for line in lines:
        fields, _, system = line.partition(" - ")
        major, _, minor = fields.split(" ")[2].partition(":")
        if _UNNUMBERED.fullmatch(system.split(" ")[0]):
            unnumbered.add(os.makedev(int(major), int(minor)))
    return lambda device: device not in unnumbered

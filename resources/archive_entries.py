"""The entries of an archive: what each is called, and what is left out of them.

Belongs here: what zip and tar archives have in common, and names, which nobody may trust. Does not
belong here: how each kind is read (``zip_archive``, ``tar_archive``).

Nothing is ever written under an entry's name; still no name is passed on that leads out, as others
may join it to a folder.
"""

import re
from dataclasses import dataclass, field
from typing import NamedTuple

from resources.errors import Message, message, noted
from resources.listing import LeftOutKind, printable_path

MAX_ENTRIES = 1_000_000
MAX_NAME_BYTES = 2**28
"""Of all names together."""

NO_PATH = "have a name that is no path below the archive"
IN_PLACE = -1
"""The method of an entry whose bytes lie in the archive as they are, without a header."""

_LONGEST_NAME = 4096
_DEEPEST = 256
_DRIVE = re.compile(r"[A-Za-z]:")


class ArchiveError(Exception):
    """An archive that cannot be read as a whole; ``reason`` says why."""

    def __init__(self, reason: Message | str) -> None:
        super().__init__(reason)
        self.reason = reason


class TooManyEntriesError(ArchiveError):
    """An archive that may be whole, and whose entries are more than are read."""

    def __init__(self) -> None:
        super().__init__(
            message(
                "it has more than {most:,} entries", id="archive-of-many-entries", most=MAX_ENTRIES
            )
        )


class ArchivedFile(NamedTuple):
    """A file in an archive."""

    size: int
    mtime_ns: int
    etag: str
    """Of a zip archive the checksum (CRC-32) in hexadecimal; of a tar archive, which has none, that
    of the file's first and last bytes."""
    start: int
    """Where its bytes, or in a zip archive the header before them, begin."""
    packed: int
    """Bytes in the archive."""
    method: int


@dataclass
class Contents:
    """What an archive holds."""

    files: dict[str, ArchivedFile] = field(default_factory=dict)
    """By path."""
    left_out: list[tuple[str, LeftOutKind, str]] = field(default_factory=list)
    """Paths that are no files to read, the kind of the reason, and the reason as in
    :attr:`resources.listing.Listing.skipped`; empty where nobody needs to be told."""
    _nb_entries: int = 0
    _name_bytes: int = 0

    def add(self, name: str, entry: ArchivedFile) -> None:
        """Take a file; of several of one path the last one, as whoever unpacks them gets it."""
        if path := self._path(name):
            if path in self.files:
                self.leave_out(path, "unreadable", "are there more than once: the last one counts")
            self.files[path] = entry

    def leave_out(self, name: str, kind: LeftOutKind, reason: str) -> None:
        """Note an entry that is none."""
        if path := self._path(name):
            self.left_out.append((path, kind, reason))

    def path(self, name: str) -> str | None:
        """The path that an entry's name means; None where it is none below the archive."""
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if (
            not parts
            or len(name) > _LONGEST_NAME
            or len(parts) > _DEEPEST
            or name.startswith("/")
            or ".." in parts
            or "\0" in name
            or _DRIVE.fullmatch(parts[0])
        ):
            return None
        return printable_path("/".join(parts))

    def _path(self, name: str) -> str | None:
        self._nb_entries += 1
        self._name_bytes += len(name)
        if self._nb_entries > MAX_ENTRIES or self._name_bytes > MAX_NAME_BYTES:
            raise TooManyEntriesError
        path = self.path(name)
        if path is None:
            shown = printable_path(name[:200].replace("\0", "\\0").rstrip("/"))
            self.left_out.append((shown or "?", "unreadable", NO_PATH))
        return path


def damaged(reason: str) -> str:
    """The reason why one entry cannot be read, in an archive that can."""
    return noted("a damaged entry of the archive: {reason}", reason=reason)

"""The manifest: which file holds which image, and what a refresh changed in it.

Belongs here: what must be read again, what became of each file, the corpus version. Does not belong
here: whether so much is gone at once that a person must be asked (``corpus.absence``), listing and
reading files (``resources.source``), storing the manifest (``corpus.table``), or which file a name
means (``corpus.names``).

An image is one content; its files may move, be copied, vanish and come back. A refresh compares
what every path held before with what it holds now, so that a renamed file keeps its image.
"""

import hashlib
import json
import math
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Generic, Literal, Protocol, TypeVar

from resources.page_paths import file_of, page_id, page_number

Status = Literal["present", "missing", "quarantined"]


class ListedFile(Protocol):
    """A file as a source lists it, unread."""

    @property
    def path(self) -> str:
        """Relative to the corpus's root."""

    @property
    def size(self) -> int:
        """Bytes."""

    @property
    def mtime_ns(self) -> int:
        """Time of the last change, nanoseconds since 1970; 0 where it is unknown."""

    @property
    def etag(self) -> str:
        """An object store's mark of the content; empty where there is none."""

    @property
    def ctime_ns(self) -> int:
        """Time of the last change that nobody can set back, nanoseconds; 0 where it is unknown."""

    @property
    def inode(self) -> int:
        """The disk's number of the file; 0 where there is none."""

    @property
    def mount(self) -> str:
        """The mounted folder that it lies on, ending in ``/``; empty: the root's disk."""


ListedT = TypeVar("ListedT", bound=ListedFile)


@dataclass(frozen=True, slots=True)
class File:
    """A line of the manifest."""

    path: str
    """Of a file or of one of its pages, see :mod:`resources.page_paths`."""
    image_id: str | None
    """See :func:`resources.page_paths.page_id`; None when the bytes could not be read."""
    status: Status
    reason: str | None
    """Why it is in quarantine."""
    size: int
    mtime_ns: int
    etag: str
    reader: str
    """What put it in quarantine: versions and limits. Another reader may succeed."""
    ctime_ns: int = 0
    inode: int = 0
    mount: str = ""
    nb_pages: int | None = None
    """Pages that the whole file has; None if nobody has counted them."""
    read_at: int = 0
    """When its bytes were last read, microseconds since 1970; 0 if that was before it was noted."""

    @property
    def holds(self) -> str | None:
        """The image that can be seen at this path."""
        return self.image_id if self.status == "present" else None


@dataclass(frozen=True, slots=True)
class OtherFile:
    """A file that was looked into, since its name told nothing, and is no image."""

    path: str
    format: str
    """What it is, such as ``PSD``; empty if unknown."""
    size: int
    mtime_ns: int
    etag: str
    ctime_ns: int
    inode: int
    reader: str
    """Versions of what knew no such image: another reader may."""


@dataclass(frozen=True)
class Pending(Generic[ListedT]):
    """What a refresh has to do."""

    read: list[ListedT]
    """Files to read, since they are new, may have changed, or are to be read again."""
    gone: list[File]
    """Files, each page of them, that were there and no longer are."""
    restamped: list[File] = field(default_factory=list)
    """Files, each page of them, that are as before, of which more is known now."""
    others: list[OtherFile] = field(default_factory=list)
    """Files that are still there and still no images."""
    again: set[str] = field(default_factory=set)
    """Of the files to read, those about which nothing has changed: somebody asked for them."""


@dataclass(frozen=True)
class Changes:
    """What became of the files, each in one of the lists; paths in order."""

    added: list[str] = field(default_factory=list)
    """Files with an image that is new to the corpus."""
    changed: list[str] = field(default_factory=list)
    """Files that hold another image than before."""
    moved: list[tuple[str, str]] = field(default_factory=list)
    """From and to: the content is the same."""
    returned: list[str] = field(default_factory=list)
    """Files with an image that was missing."""
    duplicate: list[str] = field(default_factory=list)
    """New files with an image that another file holds."""
    missing: list[str] = field(default_factory=list)
    """Files that are gone and were not moved."""
    quarantined: list[tuple[str, str]] = field(default_factory=list)
    """Files that cannot be read since this refresh, with the reason."""


def outstanding(
    known: Mapping[str, File],
    listed: Sequence[ListedT],
    unreadable: Sequence[str],
    reader: str,
    others: Mapping[str, OtherFile] = MappingProxyType({}),
    every_page: bool = False,
    again: Callable[[str], bool] = lambda path: False,
    forgotten: Container[str] = frozenset(),
) -> Pending[ListedT]:
    """Compare the manifest with what a source lists.

    A file is read when it is new, when its size, etag or a time of change differ, when another file
    is in its place, when it came back, when other pages of it are wanted, and when it is in
    quarantine, unless this very reader has refused these very bytes. So a file that was replaced by
    another of the same size and time is read: the disk notes that time itself, and numbers files.

    Args:
        known: The manifest by path.
        listed: What is there now.
        unreadable: Folders, ending in ``/``, that could not be listed: nothing is known of the
            files below them, so those are not gone.
        reader: Versions and limits of the reader at hand.
        others: Files that are no images, by path.
        every_page: Whether each page of a file is an image.
        again: Whether a file is read again though nothing about it differs.
        forgotten: Ids of images that stay out.
    """
    lines: dict[str, list[File]] = {}
    for line in known.values():
        if line.status != "missing":
            lines.setdefault(file_of(line.path), []).append(line)
    result: Pending[ListedT] = Pending([], [])
    numbered: Counter[tuple[str, bool]] = Counter()
    renumbered: list[ListedT] = []
    for file in listed:
        path = file.path
        before = lines.get(path)
        if before is None:
            other = others.get(path)
            if (
                other is None
                or other.reader != reader
                or not (_is_stamped(other, file) and _has_number(other, file))
                or again(path)
            ):
                result.read.append(file)
            else:
                result.others.append(other)
        elif not (
            all(_is_same(line, file, reader) for line in before)
            and _has_pages(before, every_page, forgotten)
        ):
            result.read.append(file)
        elif again(path):
            result.read.append(file)
            result.again.add(path)
        else:
            has_number = _has_number(before[0], file)
            numbered[file.mount, has_number] += 1
            if not has_number:
                renumbered.append(file)
            elif not _has_stamp(before[0], file):
                result.restamped.extend(_stamped(line, file) for line in before)
    # Some network drives number files anew whenever they are mounted: there the numbers of most
    # files differ whose other marks are as before, and say nothing.
    for file in renumbered:
        if numbered[file.mount, True] >= numbered[file.mount, False]:
            result.read.append(file)
        else:
            result.restamped.extend(_stamped(line, file) for line in lines[file.path])
    result.read.sort(key=lambda file: file.path)
    paths = {file.path for file in listed}
    hidden = tuple(unreadable)
    result.gone.extend(
        file
        for path, file in sorted(known.items())
        if file.status != "missing" and file_of(path) not in paths and not path.startswith(hidden)
    )
    return result


def longest_unread(known: Mapping[str, File], share: float) -> set[str]:
    """The files that were not read for the longest time.

    Args:
        known: The manifest by path.
        share: How many of those that are there, from 0 to 1; rounded up.

    Returns:
        Paths of files, not of their pages.
    """
    if not share:
        return set()
    read_at = {
        file_of(path): file.read_at for path, file in known.items() if file.status != "missing"
    }
    # By a checksum among equals: else a night would be all of one folder, and new files of a
    # folder early in the alphabet would put off the others.
    order = sorted(read_at, key=lambda path: (read_at[path], zlib.crc32(path.encode())))
    return set(order[: math.ceil(len(order) * share)])


def files_by_status(lines: Iterable[tuple[str, str]]) -> Counter[str]:
    """How many files have a page of each status.

    Args:
        lines: Path and status of each line of the manifest.
    """
    return Counter(status for _, status in {(file_of(path), status) for path, status in lines})


def _is_same(line: File, file: ListedFile, reader: str) -> bool:
    return _is_stamped(line, file) and (
        line.status == "present"
        or (line.status == "quarantined" and line.image_id is not None and line.reader == reader)
    )


def _is_stamped(line: "File | OtherFile", file: ListedFile) -> bool:
    return (
        line.size == file.size
        and line.mtime_ns == file.mtime_ns
        and line.etag == file.etag
        and (line.ctime_ns == file.ctime_ns or not (line.ctime_ns and file.ctime_ns))
    )


def _has_number(line: "File | OtherFile", file: ListedFile) -> bool:
    return line.inode == file.inode or not (line.inode and file.inode)


def _has_stamp(line: File, file: ListedFile) -> bool:
    return line.ctime_ns == file.ctime_ns and line.inode == file.inode and line.mount == file.mount


def _has_pages(lines: Sequence[File], every_page: bool, forgotten: Container[str]) -> bool:
    """Whether the manifest has the pages of a file that are wanted."""
    if not every_page:
        return len(lines) == 1
    nb_pages = lines[0].nb_pages
    if nb_pages is None:  # it could not be read, or nobody has counted them yet
        return len(lines) == 1 and lines[0].status == "quarantined"
    if len(lines) == nb_pages:
        return True
    # Page 1 has the hash of the file; without it, the file is read to tell.
    first = next((line.image_id for line in lines if page_number(line.path) == 1), None)
    out = [n for n in range(2, nb_pages + 1) if first and page_id(first, n) in forgotten]
    return len(lines) + len(out) == nb_pages


def _stamped(line: File, file: ListedFile) -> File:
    return replace(line, ctime_ns=file.ctime_ns, inode=file.inode, mount=file.mount)


def missing(file: File) -> File:
    """The tombstone of a file that is gone: the image that it held stays known."""
    return replace(file, image_id=file.holds, status="missing", reason=None, reader="")


def changes(before: Mapping[str, File], after: Mapping[str, File]) -> Changes:
    """Say what became of each file between two manifests.

    A path that now holds what another path no longer holds was moved; of several, the paths are
    paired in order. Otherwise a path that held another image has changed, and a new one is a
    duplicate, has returned or was added.
    """
    vacated: dict[str, list[str]] = defaultdict(list)
    held_since: set[str] = set()
    seen: set[str] = set()
    for path, file in sorted(before.items()):
        if file.image_id and file.status != "quarantined":
            seen.add(file.image_id)
        if file.holds:
            if (now := after.get(path)) is None or now.holds != file.holds:
                vacated[file.holds].append(path)
            else:
                held_since.add(file.holds)

    result = Changes()
    moved_from: set[str] = set()
    unpaired: list[tuple[str, str]] = []
    for path, file in sorted(after.items()):
        earlier = before.get(path)
        if file.status == "quarantined" and (
            earlier is None or earlier.status != "quarantined" or earlier.reason != file.reason
        ):
            result.quarantined.append((path, file.reason or ""))
        if not file.holds or (earlier and earlier.holds == file.holds):
            continue
        if sources := vacated.get(file.holds):
            moved_from.add(sources[0])
            result.moved.append((sources.pop(0), path))
        else:
            unpaired.append((path, file.holds))
    held = held_since | {after[path].holds for _, path in result.moved}
    for path, image_id in unpaired:
        earlier = before.get(path)
        if earlier and earlier.holds:
            result.changed.append(path)
        elif image_id in held:
            result.duplicate.append(path)
        elif image_id in seen:
            result.returned.append(path)
        else:
            result.added.append(path)
        held.add(image_id)
    result.missing.extend(
        path
        for path, file in sorted(after.items())
        if file.status == "missing"
        and path not in moved_from
        and (earlier := before.get(path)) is not None
        and earlier.status != "missing"
    )
    return result


def corpus_version(files: Iterable[File]) -> str:
    """SHA-256, in hexadecimal, of which path holds which image and which are refused or gone.

    Times, sizes and reasons do not count: a file that was only touched changes nothing.
    """
    lines = sorted((file.path, file.image_id, file.status) for file in files)
    return hashlib.sha256(json.dumps(lines, ensure_ascii=False).encode()).hexdigest()

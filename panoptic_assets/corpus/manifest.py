"""The manifest: which file holds which image, and what a refresh changed in it.

Belongs here: what must be read again, what became of each file, whether so much is gone at once
that a person must be asked, the corpus version. Does not belong here: listing and reading files
(``resources.source``), storing the manifest (``corpus.table``), or which file a name means
(``corpus.names``).

An image is one content; its files may move, be copied, vanish and come back. A refresh compares
what every path held before with what it holds now, so that a renamed file keeps its image.
"""

import functools
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, Literal, Protocol, TypeVar

from resources.errors import Message, UnavailableError, message

Status = Literal["present", "missing", "quarantined"]

HANDFUL = 5
"""So many files of a top folder may vanish at once, all that it has, and nobody is asked."""
_FOLDERS_SHOWN = 5


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


ListedT = TypeVar("ListedT", bound=ListedFile)


@dataclass(frozen=True, slots=True)
class File:
    """A line of the manifest."""

    path: str
    image_id: str | None
    """SHA-256 of the bytes; None when they could not be read."""
    status: Status
    reason: str | None
    """Why it is in quarantine."""
    size: int
    mtime_ns: int
    etag: str
    reader: str
    """What put it in quarantine: versions and limits. Another reader may succeed."""

    @property
    def holds(self) -> str | None:
        """The image that can be seen at this path."""
        return self.image_id if self.status == "present" else None


@dataclass(frozen=True)
class Pending(Generic[ListedT]):
    """What a refresh has to do."""

    read: list[ListedT]
    """Files to read, since they are new or may have changed."""
    gone: list[File]
    """Files that were there and no longer are."""


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
    known: Mapping[str, File], listed: Sequence[ListedT], unreadable: Sequence[str], reader: str
) -> Pending[ListedT]:
    """Compare the manifest with what a source lists.

    A file is read when it is new, when its size, time of change or etag differ, when it came back,
    and when it is in quarantine, unless this very reader has refused these very bytes.

    Args:
        known: The manifest by path.
        listed: What is there now.
        unreadable: Folders, ending in ``/``, that could not be listed: nothing is known of the
            files below them, so those are not gone.
        reader: Versions and limits of the reader at hand.
    """

    def is_same(file: ListedFile) -> bool:
        before = known.get(file.path)
        return (
            before is not None
            and (before.size, before.mtime_ns, before.etag) == (file.size, file.mtime_ns, file.etag)
            and (
                before.status == "present"
                or (
                    before.status == "quarantined"
                    and before.image_id is not None
                    and before.reader == reader
                )
            )
        )

    paths = {file.path for file in listed}
    hidden = tuple(unreadable)
    return Pending(
        [file for file in listed if not is_same(file)],
        [
            file
            for path, file in sorted(known.items())
            if file.status != "missing" and path not in paths and not path.startswith(hidden)
        ],
    )


def absence(
    known: Mapping[str, File], todo: Pending[ListedT], takes: Callable[[str], bool], place: str
) -> UnavailableError | None:
    """Say what is gone as a whole, as it is where a disk is away; None where nothing is.

    That is the whole corpus, or top folders of more than :data:`HANDFUL` files, even where other
    files are there now: another disk may be in the place of the one that is away. Files that came
    up elsewhere with their size and etag, or time of change, were moved; those that the patterns no
    longer take were left out by a person.

    Args:
        known: The manifest by path.
        todo: What differs from it now.
        takes: Whether the patterns take a path.
        place: The folder or URL that was listed.

    Returns:
        Says what, how many, where, and what to do.
    """
    wanted = [file for file in todo.gone if takes(file.path)]
    moved_to = _moved_to(wanted, todo.read)
    lost = [file for file in wanted if file.path not in moved_to]
    if not lost:
        return None
    explained = {file.path for file in todo.gone} - {file.path for file in lost}
    expected = [
        path for path, file in known.items() if file.status != "missing" and path not in explained
    ]
    there, gone = (
        Counter(path.partition("/")[0] for path in paths if "/" in path)
        for paths in (expected, [file.path for file in lost])
    )
    folders = [folder for folder in sorted(gone) if gone[folder] == there[folder] > HANDFUL]
    others = {file.path for file in todo.read}.difference(moved_to.values())
    if len(lost) == len(expected):
        what = _lost_corpus(len(lost), len(others))
    elif folders:
        new = Counter(path.partition("/")[0] for path in others if "/" in path)
        shown = [
            _lost_folder(folder, gone[folder], new[folder]) for folder in folders[:_FOLDERS_SHOWN]
        ]
        if more := len(folders) - len(shown):
            shown.append(message("{more:,} more", id="folders-more", more=more))
        listed = functools.reduce(_then, shown)
        what = message("the top folder {folders}", id="top-folders", folders=listed)
    else:
        return None
    return UnavailableError(
        "Missing from {place}: {what} (first: {first!r}). Nothing was changed. If a disk is away "
        "or a folder has moved, mount it or correct `images` in .panoptic/project.yaml; if the "
        "files are gone for good, `panoptic-assets refresh --accept-missing` goes on (in Dagster: "
        "`accept_missing: true` in the configuration of `images`).",
        id="corpus-or-folder-missing",
        place=place,
        what=what,
        first=lost[0].path,
    )


def _moved_to(gone: Iterable[File], listed: Iterable[ListedFile]) -> dict[str, str]:
    """Where files that are gone came up: no listed file is what two of them became."""
    marks: list[Callable[[File | ListedFile], Hashable]] = [
        lambda file: file.etag and (file.size, file.etag),
        lambda file: file.mtime_ns and (file.size, file.mtime_ns),
    ]
    found: dict[str, str] = {}
    for mark in marks:  # all etags first: a time says less
        taken = set(found.values())
        free: dict[Hashable, list[str]] = defaultdict(list)
        for file in listed:
            if (key := mark(file)) and file.path not in taken:
                free[key].append(file.path)
        for file in gone:
            if file.path not in found and (paths := free.get(mark(file))):
                found[file.path] = paths.pop()
    return found


def _lost_corpus(nb_lost: int, nb_others: int) -> Message:
    if nb_lost == 1:
        only = message("its only file", id="only-file")
        if not nb_others:
            return only
        if nb_others == 1:
            return _then(only, message("in its place 1 other is now", id="other-in-its-place"))
        others = message(
            "in its place {count:,} others are now", id="others-in-its-place", count=nb_others
        )
        return _then(only, others)
    whole = message("all {count:,} files of the corpus", id="all-files", count=nb_lost)
    if not nb_others:
        return whole
    if nb_others == 1:
        return _then(whole, message("in their place 1 other is now", id="other-in-their-place"))
    others = message(
        "in their place {count:,} others are now", id="others-in-their-place", count=nb_others
    )
    return _then(whole, others)


def _lost_folder(folder: str, nb_lost: int, nb_others: int) -> Message:
    lost = message(
        "{folder!r} with all its {count:,} files",
        id="folder-with-files",
        folder=folder,
        count=nb_lost,
    )
    if not nb_others:
        return lost
    if nb_others == 1:
        return _then(lost, message("in which 1 other is now", id="other-in-which"))
    others = message("in which {count:,} others are now", id="others-in-which", count=nb_others)
    return _then(lost, others)


def _then(first: Message, then: Message) -> Message:
    return message("{first}, {then}", id="one-then-another", first=first, then=then)


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

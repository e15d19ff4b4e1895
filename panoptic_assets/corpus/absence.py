"""Absence is not deletion: whether so much is gone at once that a person must be asked.

Belongs here: what of the files, the disks and the values of the inventory is gone, when that
is a question, and how it is said. Does not belong here: finding out what is there (``manifest``,
``properties``), and telling people of it (``ingestion``, ``image_contracts``).

A disk that is away, a share that lists half of its folders, a table that is just being saved: all
of them look as if somebody had deleted thousands of things. So whatever would go is counted before
it goes, against all that there was of its kind.
"""

import functools
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from panoptic_assets.corpus.manifest import File, ListedFile, ListedT, Pending
from panoptic_assets.spec.records import digest
from resources.errors import Message, MissingError, message
from resources.page_paths import file_of
from resources.project_folder import ProjectSettings

FILES_MISSING = "corpus-or-folder-missing"
"""Id of the question about files."""
_SHOWN = 5
"""Folders, disks and properties of which a question says how much is gone."""


@dataclass(frozen=True)
class Limits:
    """How much may be gone at once before a person is asked."""

    share: float
    """Of all that there was of one kind, from 0 to 1."""
    few: int
    """So many may always be gone."""

    @classmethod
    def of(cls, settings: ProjectSettings) -> Self:
        """Those that a project sets."""
        return cls(settings.max_missing, settings.few_missing)

    def ask(self, lost: int, of: int) -> bool:
        """Whether it is a question that ``lost`` of ``of`` are gone.

        It is one of more than a few, where they are more than the share, or all.
        """
        return lost > self.few and (lost >= of or lost > self.share * of)


@dataclass(frozen=True)
class Loss:
    """How much of something is gone."""

    name: str
    """The folder, the disk's folder or the property; empty: the corpus."""
    lost: int
    of: int


@dataclass(frozen=True)
class LostFiles:
    """Files that are gone, so many that a person is asked."""

    place: str
    """The folder or URL that was listed."""
    what: Message
    """How many of the corpus, of which folders and of which disks."""

    def is_said_by(self, question: Message) -> bool:
        """Whether a question was asked of just these files, whatever it says of values."""
        what = question["values"]["what"]
        return self.what in (what, what["values"].get("files"))

    def question(self, values: Message | None = None) -> MissingError:
        """Says what, how many, where, and what to do.

        Args:
            values: Values that would go as well, as :func:`lost_values` says it.
        """
        what = self.what
        if values is not None:
            what = message(
                "{files}; and {values}", id="files-and-values", files=what, values=values
            )
        return MissingError(
            "Missing from {place}: {what}. Nothing was changed. If a disk is away "
            "or a folder has moved, mount it or correct `images` in .panoptic/project.yaml; if "
            "all of that is gone for good, `panoptic-assets refresh --accept-missing` goes on (in "
            "Dagster: `accepted: {answer}` in the configuration of `images`).",
            id="corpus-or-folder-missing",  # FILES_MISSING: ids are literals
            place=self.place,
            what=what,
            answer=_answer(self.place, what),
        )


def lost_files(
    known: Mapping[str, File],
    todo: Pending[ListedT],
    mounts: Collection[str],
    takes: Callable[[str], bool],
    place: str,
    limits: Limits,
) -> LostFiles | None:
    """Say what is gone, as it is where a disk is away; None where nobody must be asked.

    It is a question when too much of the corpus or of a top folder is gone, all of the corpus, or
    anything that lay on a disk which is no longer mounted, even where other files are there now:
    another disk may be in the place of the one that is away. Files that came up elsewhere with
    their size and etag, or time of change, were moved, and are still the corpus's; those that the
    patterns no longer take were left out by a person. A file that is empty now is gone as well: so
    do drives leave them that keep the contents elsewhere. The pages of a file count as that file.

    Args:
        known: The manifest by path.
        todo: What differs from it now.
        mounts: The folders, ending in ``/``, on which other disks are mounted now.
        takes: Whether the patterns take a path.
        place: The folder or URL that was listed.
        limits: How much may be gone.
    """
    gone = [file for file in todo.gone if file_of(file.path) == file.path]
    wanted = [file for file in gone if takes(file.path)]
    there = {path: file for path, file in known.items() if file.status != "missing"}
    before = {file_of(path) for path in there}
    new = [file for file in todo.read if file.path not in before]
    moved_to = _moved_to(wanted, new)
    emptied = [
        there[file.path]
        for file in todo.read
        if file.size == 0 and file.path in there and there[file.path].size > 0
    ]
    lost = [file for file in wanted if file.path not in moved_to] + emptied
    lost.sort(key=lambda file: file.path)
    if not lost:
        return None
    left_out = {file.path for file in gone}.difference(file.path for file in wanted)
    files = [file for path, file in there.items() if path not in left_out and file_of(path) == path]
    expected = [file for file in files if file.path not in moved_to]
    others = {file.path for file in new}.difference(moved_to.values())
    disks = _losses(
        [file.mount for file in lost if file.mount and file.mount not in mounts],
        [file.mount for file in expected],
    )
    folders = [
        loss
        for loss in _losses(*(map(_top_folder, files) for files in (lost, expected)))
        if loss.name and limits.ask(loss.lost, loss.of)
    ]
    corpus = Loss("", len(lost), len(files))
    said: list[Message] = []
    if corpus.lost == corpus.of:
        said.append(_whole_corpus(corpus.lost, len(others)))
    else:
        if limits.ask(corpus.lost, corpus.of):
            said.append(_part_of_corpus(corpus))
        if folders:
            came = Counter(path.partition("/")[0] for path in others if "/" in path)
            said.append(
                _of_folders([_with_others(_share(loss), came[loss.name]) for loss in folders])
            )
    if disks:
        said.append(_of_disks([_share(loss) for loss in disks]))
    if not said:
        return None
    what = functools.reduce(_then, said)
    if emptied:
        what = _with_empty(what, len(emptied))
    first = message("{what} (first: {first!r})", id="what-and-first", what=what, first=lost[0].path)
    return LostFiles(place, first)


def lost_values(losses: Iterable[Loss], file: str, limits: Limits) -> Message | None:
    """Say which properties would lose values; None where nobody must be asked.

    Args:
        losses: Of each property how many of its values would go, in the order of properties.
        file: The inventory.
        limits: How many may go.
    """
    asked = [loss for loss in losses if limits.ask(loss.lost, loss.of)]
    if not asked:
        return None
    what = _listed([_values(loss) for loss in asked])
    return message("{file} no longer has {what}", id="values-gone", file=file, what=what)


def asks_of_values(question: Message) -> bool:
    """Whether a question about files is one about values, too.

    Args:
        question: As :meth:`LostFiles.question` asks it.
    """
    return bool(question["values"]["what"]["id"] == "files-and-values")


def answer_to(question: Message) -> str:
    """What says that a person means just what was asked, and nothing that came meanwhile.

    Args:
        question: What was asked, of files or of values.
    """
    return str(question["values"]["answer"])


def values_question(values: Message) -> Message:
    """What a refresh says that has kept the values of the inventory as they were.

    Args:
        values: What :func:`lost_values` says.
    """
    return message(
        "{values}. The values of all images stay as they were. If the file is being saved or was "
        "cut off, mend it; if they are gone for good, `panoptic-assets refresh --accept-missing` "
        "takes them away (in Dagster: `accepted: {answer}` in the configuration of `inventory`).",
        id="values-kept",
        values=values,
        answer=_answer(values),
    )


def _answer(*asked: str | Message) -> str:
    # A word with a letter in front: YAML would take some digests for numbers.
    return f"gone-{digest(*asked)[:12]}"


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


def _top_folder(file: File) -> str:
    folder, slash, _ = file.path.partition("/")
    return folder if slash else ""


def _losses(lost: Iterable[str], expected: Iterable[str]) -> list[Loss]:
    """For each name that lost something, how much of how many, in the order of names."""
    gone, there = Counter(lost), Counter(expected)
    return [Loss(name, gone[name], there[name]) for name in sorted(gone)]


def _whole_corpus(nb_lost: int, nb_others: int) -> Message:
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


def _part_of_corpus(loss: Loss) -> Message:
    return message(
        "{lost:,} of the {count:,} files of the corpus",
        id="part-of-files",
        lost=loss.lost,
        count=loss.of,
    )


def _of_folders(folders: Sequence[Message]) -> Message:
    if len(folders) == 1:
        return message("the top folder {folder}", id="top-folder", folder=folders[0])
    return message("the top folders {folders}", id="top-folders", folders=_listed(folders))


def _of_disks(disks: Sequence[Message]) -> Message:
    if len(disks) == 1:
        return message("of the disk mounted at {disk}", id="disk-away", disk=disks[0])
    return message("of the disks mounted at {disks}", id="disks-away", disks=_listed(disks))


def _with_empty(what: Message, nb_empty: int) -> Message:
    if nb_empty == 1:
        return message(
            "{what}; in all, 1 file is there but empty", id="missing-and-empty", what=what
        )
    return message(
        "{what}; in all, {count:,} files are there but empty",
        id="missing-and-emptied",
        what=what,
        count=nb_empty,
    )


def _share(loss: Loss) -> Message:
    """A folder with what it has lost."""
    if loss.lost < loss.of:
        return message(
            "{folder!r} with {lost:,} of its {count:,} files",
            id="folder-with-some-files",
            folder=loss.name,
            lost=loss.lost,
            count=loss.of,
        )
    if loss.of == 1:
        return message("{folder!r} with its only file", id="folder-with-file", folder=loss.name)
    return message(
        "{folder!r} with all its {count:,} files",
        id="folder-with-files",
        folder=loss.name,
        count=loss.of,
    )


def _with_others(lost: Message, nb_others: int) -> Message:
    if not nb_others:
        return lost
    if nb_others == 1:
        return _then(lost, message("in which 1 other is now", id="other-in-which"))
    others = message("in which {count:,} others are now", id="others-in-which", count=nb_others)
    return _then(lost, others)


def _values(loss: Loss) -> Message:
    if loss.lost == loss.of:
        return message(
            "all {count:,} values of {property!r}",
            id="all-values",
            count=loss.of,
            property=loss.name,
        )
    return message(
        "{lost:,} of the {count:,} values of {property!r}",
        id="part-of-values",
        lost=loss.lost,
        count=loss.of,
        property=loss.name,
    )


def _listed(parts: Sequence[Message]) -> Message:
    shown = [*parts[:_SHOWN]]
    if more := len(parts) - len(shown):
        shown.append(message("{more:,} more", id="losses-more", more=more))
    return functools.reduce(_then, shown)


def _then(first: Message, then: Message) -> Message:
    return message("{first}, {then}", id="one-then-another", first=first, then=then)

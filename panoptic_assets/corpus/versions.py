"""Corpus versions: which file held which image after each refresh that changed something.

Belongs here: the log of the manifest, its replay, and how people name a version. Does not belong
here: the manifest as it is now (``corpus.table``), and what became of each file
(``corpus.manifest``).

The table ``corpus_log`` is append-only. A version is one commit: a row for each path that has
another state than in the version before, and one of its own, whose path is empty. What is appended
is the difference between the manifest and the log's own replay. So a refresh that was killed after
it wrote the manifest, and before it wrote the log, is made up for by the next one.

A file's earlier states, and what an image was called, stay in the log until somebody deletes the
rows of that image: a replay without them is one in which its files never were.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

import pyarrow as pa
from pydantic import BaseModel

from panoptic_assets.corpus import manifest
from panoptic_assets.corpus.manifest import Changes, File
from panoptic_assets.spec.dates import period
from resources.errors import InputError, Message, message
from resources.lance import LanceStore, quoted
from resources.schemas import SCHEMAS

LATEST = "latest"
_SHORTEST_PREFIX = 8
"""Of a hash: shorter ones are numbers, dates or mistakes."""
_SHOWN = 5


class CorpusVersion(BaseModel, frozen=True):
    """The corpus after a refresh that changed it."""

    number: int
    """1 for the first one; 0 stands for the empty corpus before it."""
    sha256: str
    """See :func:`panoptic_assets.corpus.manifest.corpus_version`."""
    at: datetime
    """When it was written."""
    dagster_run_id: str
    nb_images: int
    nb_files: int
    nb_missing: int
    nb_quarantined: int
    changes: dict[str, int]
    """How many files were added, changed, moved, … since the version before."""


@dataclass(frozen=True)
class Diff:
    """What became of the files between two corpus versions."""

    old: CorpusVersion
    new: CorpusVersion
    changes: Changes


_EMPTY = CorpusVersion(
    number=0,
    sha256=manifest.corpus_version([]),
    at=datetime.fromtimestamp(0, UTC),
    dagster_run_id="",
    nb_images=0,
    nb_files=0,
    nb_missing=0,
    nb_quarantined=0,
    changes={},
)


def record_version(
    store: LanceStore, files: Mapping[str, File], dagster_run_id: str
) -> CorpusVersion | None:
    """Make the manifest the newest corpus version; None, and no commit, if it is already.

    Args:
        store: The store.
        files: The manifest by path.
        dagster_run_id: Of the run that read it.
    """
    sha256 = manifest.corpus_version(files.values())
    while True:
        known = versions(store)
        latest = known[-1] if known else _EMPTY
        if latest.sha256 == sha256:
            return None
        before = replay_versions(store)
        version = CorpusVersion(
            number=latest.number + 1,
            sha256=sha256,
            at=datetime.now(UTC),
            dagster_run_id=dagster_run_id,
            changes={
                what: len(found) for what, found in vars(manifest.changes(before, files)).items()
            },
            **_counts(files),
        )
        rows = _rows(version, before, files)
        # Another process may have appended a version of this number: then what differs from that.
        if store.append("corpus_log", rows) == rows.num_rows:
            store.optimize("corpus_log")
            return version


def versions(store: LanceStore) -> list[CorpusVersion]:
    """Every corpus version, the oldest first."""
    rows = store.read("corpus_log", ["version", "content"], "path = ''").sort_by("version")
    return [CorpusVersion.model_validate_json(content) for content in rows["content"].to_pylist()]


def replay_versions(store: LanceStore, number: int | None = None) -> dict[str, File]:
    """The manifest of a version, of the newest one by default, by path.

    Sizes and times are not in the log; they are 0.
    """
    where = "path <> ''"
    if number is not None:
        where += f" AND version <= {quoted(_key(number))}"
    columns = ["path", "image_id", "status", "reason"]
    rows = store.read("corpus_log", ["version", *columns], where).sort_by("version")
    found: dict[str, File] = {}
    for path, image_id, status, reason in zip(
        *(rows[name].to_pylist() for name in columns), strict=True
    ):
        found.pop(path, None)
        if status is not None:
            found[path] = File(path, image_id, status, reason, 0, 0, "", "")
    return found


def diff(store: LanceStore, old: str | None = None, new: str = LATEST) -> Diff:
    """What became of the files between two versions.

    Args:
        store: The store.
        old: The earlier one: a number, ``latest``, the first 8 or more characters of its hash, or a
            date such as 2026-11-20, for the corpus at the end of that day on this machine; by
            default the one before ``new``.
        new: The later one.

    Raises:
        InputError: There is no such version.
    """
    known = versions(store)
    if not known:
        raise InputError(
            "There is no corpus version yet: the next refresh (`panoptic-assets refresh`) makes "
            "the first one.",
            id="no-corpus-version-yet",
        )
    after = find_version(known, new)
    if old is None:
        older = [version for version in known if version.number < after.number]
        before = older[-1] if older else _EMPTY
    else:
        before = find_version(known, old)
    changes = manifest.changes(
        replay_versions(store, before.number), replay_versions(store, after.number)
    )
    return Diff(before, after, changes)


def find_version(known: Sequence[CorpusVersion], name: str) -> CorpusVersion:
    """The version that a name means, see :func:`diff`.

    Raises:
        InputError: There is none, or there are several.
    """
    name = name.strip()
    if name == LATEST:
        return known[-1]
    if name.isdecimal() and len(name) < _SHORTEST_PREFIX:
        for version in (_EMPTY, *known):
            if version.number == int(name):
                return version
    day = _day(name)
    if day is not None:
        until = [version for version in known if version.at.astimezone().date() <= day]
        if until:
            return until[-1]
        raise InputError(
            "The corpus has no version as old as {name}. {known}",
            id="no-corpus-version-so-old",
            name=name,
            known=_what_exists(known),
        )
    if len(name) >= _SHORTEST_PREFIX:
        # The corpus may have been as it was before: the last of them is meant.
        found = [version for version in known if version.sha256.startswith(name.lower())]
        if len({version.sha256 for version in found}) == 1:
            return found[-1]
        if found:
            raise InputError(
                "Several corpus versions begin with {name}: give more of the hash.",
                id="corpus-version-ambiguous",
                name=name,
            )
    raise InputError(
        "There is no corpus version {name!r}. {known}",
        id="no-such-corpus-version",
        name=name,
        known=_what_exists(known),
    )


def _day(name: str) -> date | None:
    try:
        return period(name)[1]
    except ValueError:
        return None


def _what_exists(known: Sequence[CorpusVersion]) -> Message:
    return message(
        "Known are 1 to {newest}, of {first} to {last}; name one by its number, `{latest}`, a "
        "date such as 2026-11-20, or the first {shortest} characters of its hash "
        "(`panoptic-assets versions`).",
        id="known-corpus-versions",
        newest=known[-1].number,
        first=known[0].at.astimezone().date(),
        last=known[-1].at.astimezone().date(),
        latest=LATEST,
        shortest=_SHORTEST_PREFIX,
    )


def _rows(
    version: CorpusVersion, before: Mapping[str, File], after: Mapping[str, File]
) -> pa.Table:
    """A version's own row, and those of the paths that differ."""
    rows = [
        {
            "path": path,
            "status": file.status if file else None,
            "image_id": file.image_id if file else None,
            "reason": file.reason if file else None,
        }
        for path in sorted(before.keys() | after.keys())
        if _state(file := after.get(path)) != _state(before.get(path))
    ]
    rows.append({"path": "", "content": version.model_dump_json()})
    key = _key(version.number)
    return pa.Table.from_pylist([row | {"version": key} for row in rows], SCHEMAS["corpus_log"])


def _state(file: File | None) -> tuple[str | None, str] | None:
    """What counts for the corpus version."""
    return None if file is None else (file.image_id, file.status)


def _counts(files: Mapping[str, File]) -> dict[str, int]:
    statuses = manifest.files_by_status((file.path, file.status) for file in files.values())
    return {
        "nb_images": len({file.holds for file in files.values() if file.holds}),
        "nb_files": statuses["present"],
        "nb_missing": statuses["missing"],
        "nb_quarantined": statuses["quarantined"],
    }


def _key(number: int) -> str:
    return f"{number:012d}"

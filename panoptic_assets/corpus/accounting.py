"""What a refresh left out: every file of the images' folder is accounted for.

Belongs here: counting by kind what is no image of the corpus, saying it in one line, and storing
the counts. Does not belong here: which files a source leaves out (``resources.listing``), and what
became of the others (``corpus.manifest``).

Files are an image, in quarantine, or left out for one of these reasons:
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa

from panoptic_assets.corpus.manifest import OtherFile
from panoptic_assets.spec.languages import N_
from resources.listing import LeftOut, LeftOutKind
from resources.schemas import SCHEMAS

if TYPE_CHECKING:
    from resources.lance import LanceStore

KINDS = {
    "leftover": N_("left behind by systems and network storages"),
    "hidden": N_("hidden"),
    "excluded": N_("excluded by the project's patterns"),
    "not_included": N_("included by no pattern"),
    "no_image": N_("of another kind, by the extension"),
    "foreign": N_("in formats that are not read"),
    "other": N_("of another kind, by the first bytes"),
    "page_name": N_("named like a page of another file"),
    "link": N_("as links out of the folder, to a folder or to nothing"),
    "unreadable": N_("not to be listed"),
    "unfinished": N_("being written, left for the next refresh"),
    "unavailable": N_("not handed out this time, left as before"),
    "forgotten": N_("forgotten, to stay out"),
}
"""For each kind, what its files are. ``foreign``, ``other`` and those from ``unfinished`` on are
found by looking into files, the others (:data:`resources.listing.LeftOutKind`) by their names."""

_FIRST = 5
_EXTENSIONS = 5
_EXTENSION = re.compile(r"(?<=[^/])\.\w{1,10}\Z")
_UNNAMED = ("hidden", "excluded", "not_included")
"""Kinds whose names are nobody's business: somebody has put them aside."""


def accounted(
    listed: Mapping[LeftOutKind, LeftOut],
    others: Iterable[OtherFile],
    waiting: Mapping[str, str],
    nb_forgotten: int,
) -> dict[str, LeftOut]:
    """All that is left out, by kind, in the order of :data:`KINDS`.

    Args:
        listed: What the source left out.
        others: Files that were looked into and are no images.
        waiting: For the paths of files of which nothing can be said now, the kind: ``unfinished``
            or ``unavailable``.
        nb_forgotten: Files, or pages, that hold an image which stays out.
    """
    found = {str(kind): entry for kind, entry in listed.items()}
    foreign, other = LeftOut(), LeftOut()
    for file in others:
        _add(foreign if file.format else other, file.path, file.format or _extension(file.path))
    late = {"unfinished": LeftOut(), "unavailable": LeftOut()}
    for path, kind in waiting.items():
        _add(late[kind], path, _extension(path))
    # Of what was forgotten no name is kept.
    refused = LeftOut(nb_forgotten)
    found |= {"foreign": foreign, "other": other, "forgotten": refused} | late
    for kind in _UNNAMED:
        if kind in found:
            found[kind] = replace(found[kind], first=[])
    return {kind: found[kind] for kind in KINDS if kind in found and _count(found[kind])}


def in_a_line(left_out: Mapping[str, LeftOut]) -> str:
    """What is left out, for people; empty if nothing is."""
    parts = [
        f"{_counts(found)} {KINDS[kind]}{_extensions(found)}" for kind, found in left_out.items()
    ]
    return f"Left out: {'; '.join(parts)}." if parts else ""


def rows_of_kinds(left_out: Mapping[str, LeftOut]) -> list[list[str]]:
    """A line for each kind: what it is, how many files and folders, which extensions, the first."""
    return [
        [
            KINDS[kind],
            f"{found.files:,}",
            f"{found.folders:,}",
            _extensions(found).strip(" ()"),
            ", ".join(found.first),
        ]
        for kind, found in left_out.items()
    ]


def write_left_out(store: "LanceStore", left_out: Mapping[str, LeftOut]) -> None:
    """Store what the last refresh left out, in one commit; none if it is as before."""
    if read_left_out(store) == left_out:
        return
    rows = [
        {
            "kind": kind,
            "files": found.files,
            "folders": found.folders,
            "extensions": json.dumps(found.extensions, sort_keys=True, ensure_ascii=False),
            "first": found.first,
        }
        for kind, found in left_out.items()
    ]
    store.replace("left_out", pa.Table.from_pylist(rows, SCHEMAS["left_out"]), "true")


def read_left_out(store: "LanceStore") -> dict[str, LeftOut]:
    """What the last refresh left out, by kind, in the order of :data:`KINDS`."""
    rows = {row["kind"]: row for row in store.read("left_out").to_pylist()}
    return {
        kind: LeftOut(
            rows[kind]["files"],
            rows[kind]["folders"],
            Counter(json.loads(rows[kind]["extensions"])),
            rows[kind]["first"],
        )
        for kind in KINDS
        if kind in rows
    }


def _add(found: LeftOut, path: str, extension: str) -> None:
    found.files += 1
    found.extensions[extension] += 1
    if len(found.first) < _FIRST:
        found.first.append(path)


def _extension(path: str) -> str:
    found = _EXTENSION.search(path)
    return found[0].lower() if found else ""


def _count(found: LeftOut) -> int:
    return found.files + found.folders


def _counts(found: LeftOut) -> str:
    files = f"{found.files:,} {'file' if found.files == 1 else 'files'}" if found.files else ""
    folders = f"{found.folders:,} {'folder' if found.folders == 1 else 'folders'}"
    return " and ".join(filter(None, [files, folders if found.folders else ""]))


def _extensions(found: LeftOut) -> str:
    """The most frequent extensions, in brackets; empty where there is none."""
    named = Counter({name: count for name, count in found.extensions.items() if name})
    if not named:
        return ""
    order = sorted(named.items(), key=lambda item: (-item[1], item[0]))
    parts = [f"{name} {count:,}" for name, count in order[:_EXTENSIONS]]
    if more := len(order) - _EXTENSIONS:
        parts.append(f"{more:,} more") if more > 0 else None
    return f" ({', '.join(parts)})"

"""What can be compared: runs, divided nodes, properties, folders, each as groups of images.

Belongs here: reading a side, and choosing sides by their names. Does not belong here: comparing
them (``review.comparisons``).

Long because each kind of side is read and refused in its own words.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from panoptic_assets.clustering.table import Clusterings
from panoptic_assets.corpus.properties import read_properties, stored_property
from panoptic_assets.corpus.table import present_files
from panoptic_assets.labels.table import names_of_clusters, read_labels
from panoptic_assets.review import agreement as core
from panoptic_assets.spec import tag_log
from panoptic_assets.spec.computation import Labels
from panoptic_assets.spec.keys import REMAINDER, parse_clustering, run_key_of
from panoptic_assets.spec.records import Record, digest
from panoptic_assets.spec.text import cut, in_quotes, nearest
from resources.errors import InputError, Message, message, text_of
from resources.lance import LanceStore, quoted

FOLDERS = "folders"
PROPERTY = "property:"
MOST_SIDES = 12
"""Runs that are compared, all with all, if none is named: 66 pairs."""
MOST_NAMED_SIDES = 40
_NAMES_LISTED = 8
_TOP = "."
"""The images' folder itself."""


@dataclass(frozen=True)
class SideGroup:
    """A cluster, tag or folder of a side."""

    name: str
    """Its address inside of the side: ``3``, ``3/0``, ``remainder``; a tag's path; a folder."""
    label: str | None = None
    """What it is called beside its number."""
    is_remainder: bool = False


@dataclass(frozen=True)
class Side:
    """A labeling of images that can be compared."""

    key: str
    """As it is written."""
    kind: Literal["run", "node", "property", "folders"]
    image_ids: pa.Array
    """(n,) strings, sorted, each one once."""
    labels: Labels
    """(n,) rows of ``groups``."""
    groups: tuple[SideGroup, ...]
    """Clusters from the lowest score, tags in the order of their tree, folders by name."""
    record: Record | None = None
    """Of a run or node."""
    status: str = "current"
    """``stale`` when the clustering above a node was made again."""
    notes: tuple[Message, ...] = ()
    """What a person must know of it."""
    data_version: str = ""
    """Hash of who is in which group."""

    @property
    def nb_remainder(self) -> int:
        """Images in remainders."""
        flags = np.array([group.is_remainder for group in self.groups], bool)
        return int(flags[self.labels].sum()) if len(self.labels) else 0

    @property
    def nb_clusters(self) -> int:
        """Groups that are no remainders."""
        return sum(not group.is_remainder for group in self.groups)

    def of(self, rows: Labels) -> core.Labeling:
        """The labeling of some rows."""
        flags = np.array([group.is_remainder for group in self.groups], bool)
        return core.Labeling(self.labels[rows], flags)


class Sides:
    """Reads sides, each one once.

    Args:
        store: The store.
        depth: Levels of a run's tree, or of a node's: 1 or more.
    """

    def __init__(self, store: LanceStore, depth: int = 1):
        self._store = store
        self._depth = depth
        self.clusterings = Clusterings(store)
        self._known: dict[str, Side] = {}

    def get(self, key: str) -> Side:
        """A side as it is written.

        Raises:
            InputError: There is no such thing; the message lists what exists.
        """
        key = unicodedata.normalize("NFC", key.strip())
        if key not in self._known:
            if key == FOLDERS:
                side = self._folders()
            elif key.startswith(PROPERTY):
                side = self._property(key.removeprefix(PROPERTY))
            else:
                side = self._clustering(key)
            self._known[key] = replace(side, data_version=_version_of(side))
        return self._known[key]

    def several(self, keys: Iterable[str]) -> list[Side]:
        """Sides as they are written, in that order.

        Raises:
            InputError: One does not exist, is named twice, or there are more than 40.
        """
        names = [unicodedata.normalize("NFC", key.strip()) for key in keys]
        if doubled := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
            raise InputError(
                "{side} is named twice: a comparison is of two things.",
                id="side-twice",
                side=in_quotes(doubled[0]),
            )
        if len(names) > MOST_NAMED_SIDES:
            raise InputError(
                "{nb_named} things would make {nb_pairs:,} pairs: name {most_named_sides} at most.",
                id="too-many-sides",
                nb_named=len(names),
                nb_pairs=len(names) * (len(names) - 1) // 2,
                most_named_sides=MOST_NAMED_SIDES,
            )
        return [self.get(name) for name in names]

    def newest_runs(self, most: int | None = None) -> list[str]:
        """Keys of the root runs, the newest first."""
        runs = [record for record in self.clusterings.records.values() if "/" not in record.key]
        runs.sort(key=lambda record: (record.finished_at, record.key), reverse=True)
        return [record.key for record in runs[:most]]

    def _clustering(self, key: str) -> Side:
        if key not in self.clusterings.records:
            raise self._no_side(key)
        record = self.clusterings.records[key]
        below = {
            other
            for other in self.clusterings.records
            if other.startswith(f"{key}/") and other.count("/") - key.count("/") < self._depth
        }
        stale = sorted(below & self.clusterings.stale)
        notes = [
            message("{key} is stale, and is left out.", id="stale-node-left-out", key=other)
            for other in stale
        ]
        rows = self.clusterings.assignments(key)
        places = rows["cluster"].combine_chunks()
        for node in sorted(below - set(stale), key=lambda other: (other.count("/"), other)):
            places = self._divided(places, rows["image_id"], node.removeprefix(f"{key}/"), node)
        codes = places.dictionary_encode()
        names = codes.dictionary.to_pylist()
        order = sorted(range(len(names)), key=lambda code: _tree_order(names[code]))
        ranks = np.empty(len(names), np.int64)
        ranks[order] = np.arange(len(names))
        labels = self._labels_of(key)
        return Side(
            key=key,
            kind="node" if "/" in key else "run",
            image_ids=rows["image_id"].combine_chunks(),
            labels=ranks[codes.indices.to_numpy()],
            groups=tuple(
                SideGroup(
                    names[code],
                    labels.get(names[code]),
                    names[code].rpartition("/")[2] == REMAINDER,
                )
                for code in order
            ),
            record=record,
            status=self.clusterings.status(key),
            notes=tuple(notes),
        )

    def _divided(
        self, places: pa.Array, image_ids: pa.ChunkedArray, at: str, node: str
    ) -> pa.Array:
        """Places, with those in a divided node one level deeper."""
        rows = self.clusterings.assignments(node)
        found = pc.index_in(image_ids.combine_chunks(), value_set=rows["image_id"].combine_chunks())
        deeper = pc.binary_join_element_wise(at, rows["cluster"].combine_chunks().take(found), "/")
        inside = pc.and_(pc.equal(places, at), pc.is_valid(found))
        return pc.if_else(inside, deeper, places)

    def _labels_of(self, root: str) -> dict[str, str]:
        """What clusters are called, by place below a clustering."""
        run_key = run_key_of(root)
        labels = read_labels(self._store, self.clusterings, run_key)
        names = names_of_clusters(self.clusterings, run_key, labels)
        inside = f"{root}/"
        return {
            node.removeprefix(inside): name
            for node, name in names.items()
            if node.startswith(inside)
        }

    def _property(self, name: str) -> Side:
        name = stored_property(self._store, name)
        rows = self._store.read("tags", where=f"property = {quoted(name)}").to_pylist()
        side = self._saved_tags(name, rows) if rows else self._metadata_tags(name)
        if side is None:
            raise self._no_side(f"{PROPERTY}{name}")
        return side

    def _saved_tags(self, name: str, rows: list[dict[str, Any]]) -> Side:
        tags = tag_log.in_tree_order(tag_log.Tag(**row) for row in rows)
        paths = tag_log.paths(tags)
        above: dict[str, set[str]] = {}
        for tag in tags:
            parent = tag.parent_id
            above[tag.tag_id] = {parent, *above[parent]} if parent in above and parent else set()
        where = f"property = {quoted(name)}"
        pairs = self._store.read("image_tags", ["tag_id", "image_id"], where)
        carried: dict[str, list[str]] = {}
        for tag_id, image_id in zip(*(column.to_pylist() for column in pairs), strict=True):
            if tag_id in paths:
                carried.setdefault(image_id, []).append(tag_id)
        classes = {
            image_id: [tag for tag in own if not any(tag in above[other] for other in own)]
            for image_id, own in carried.items()
        }
        groups = [SideGroup(paths[tag.tag_id], None, tag.is_remainder) for tag in tags]
        return _by_tag(name, [tag.tag_id for tag in tags], groups, classes)

    def _metadata_tags(self, name: str) -> Side | None:
        rows = read_properties(self._store, name)
        if not rows.num_rows:
            return None
        kind = rows["type"][0].as_py()
        if kind not in ("tag", "multi_tags"):
            raise InputError(
                "The property {property!r} is of type {kind}, and only tags can be compared. What "
                "can be: {known}.",
                id="property-not-of-tags",
                property=name,
                kind=kind,
                known=self._what_exists(),
            )
        classes = {
            image_id: [
                path
                for path in own
                if not any(other.startswith(f"{path}{tag_log.HIERARCHY}") for other in own)
            ]
            for image_id, own in zip(
                rows["image_id"].to_pylist(), rows["tags"].to_pylist(), strict=True
            )
        }
        known = sorted({path for own in classes.values() for path in own})
        return _by_tag(name, known, [SideGroup(path) for path in known], classes)

    def _folders(self) -> Side:
        present = present_files(self._store)
        if not present:
            raise InputError(
                "The corpus has no images, so there are no folders to compare with: "
                "`panoptic-assets refresh`.",
                id="no-folders-to-compare",
            )
        image_ids = sorted(present)
        folders = [present[image_id][0].rpartition("/")[0] or _TOP for image_id in image_ids]
        known = sorted(set(folders))
        places = {folder: place for place, folder in enumerate(known)}
        copies = sum(
            len({path.rpartition("/")[0] for path in present[image_id]}) > 1
            for image_id in image_ids
        )
        note = message(
            "{nb_images:,} images lie in several folders; the first by path counts.",
            id="images-in-several-folders",
            nb_images=copies,
        )
        return Side(
            key=FOLDERS,
            kind="folders",
            image_ids=pa.array(image_ids, pa.string()),
            labels=np.array([places[folder] for folder in folders], np.int64),
            groups=tuple(map(SideGroup, known)),
            notes=(note,) if copies else (),
        )

    def _no_side(self, key: str) -> InputError:
        known = self._what_exists(key)
        if key.startswith(PROPERTY):
            return InputError(
                "There is no property {property} that has tags. What can be: {known}.",
                id="no-property-to-compare",
                property=in_quotes(key.removeprefix(PROPERTY)),
                known=known,
            )
        try:
            parse_clustering(key)
        except InputError:
            return InputError(
                "{key} is nothing that can be compared. What can be: {known}.",
                id="nothing-to-compare",
                key=in_quotes(key),
                known=known,
            )
        return InputError(
            "There is no clustering {key}. What can be: {known}.",
            id="no-clustering-to-compare",
            key=in_quotes(key),
            known=known,
        )

    def _what_exists(self, wanted: str = "") -> str:
        saved = self._store.read("tags", ["property"])["property"].to_pylist()
        given = self._store.read("property_values", ["property"], "tags IS NOT NULL")
        properties = {f"{PROPERTY}{name}" for name in (*saved, *given["property"].to_pylist())}
        known = [*self.clusterings.records, *properties]
        shown = nearest(wanted, known, _NAMES_LISTED)
        shown += [name for name in sorted(known) if name not in shown][: _NAMES_LISTED - len(shown)]
        more = f" and {len(known) - len(shown)} more" if len(known) > len(shown) else ""
        return ", ".join(map(quoted_side, (*sorted(shown), FOLDERS))) + more


def chosen_sides(
    sides: Sides, runs: Sequence[str], against: str
) -> tuple[list[Side], list[Message]]:
    """What is compared, the truth last, and what must be said of the choice.

    Args:
        sides: Reads them.
        runs: As they are written; empty: the newest root runs, 12 at most, without those that
            share no image with any other.
        against: The ground truth; empty: none.

    Raises:
        InputError: One does not exist or is named twice, or there are not two to compare.
    """
    notes: list[Message] = []
    truth = [against] if against else []
    if runs:
        found = sides.several([*runs, *truth])
    else:
        known = [key for key in sides.newest_runs() if key != against]
        found = sides.several([*known[:MOST_SIDES], *truth])
        if len(known) > MOST_SIDES:
            notes.append(
                message(
                    "The {nb_compared} newest of {nb_runs:,} runs are compared with each other; "
                    "name others to see them. The leaderboard has all.",
                    id="newest-runs-compared",
                    nb_compared=MOST_SIDES,
                    nb_runs=len(known),
                )
            )
        alone = [side for side in found if not _shares_any(side, found)]
        if len(found) - len(alone) > 1:
            found = [side for side in found if side not in alone]
            notes += [
                message(
                    "{side} has no image in common with any other.",
                    id="side-without-common-image",
                    side=side.key,
                )
                for side in alone
            ]
    if len(found) < 2:
        if not found:
            raise InputError(
                "A comparison needs two things to compare, and there is no run yet: compute "
                "another run (`panoptic-assets cluster KEY`), or compare with `folders` or a "
                "`property:NAME`.",
                id="no-run-to-compare",
            )
        raise InputError(
            "A comparison needs two things to compare, and there is only {side}: compute another "
            "run (`panoptic-assets cluster KEY`), or compare with `folders` or a `property:NAME`.",
            id="one-side-only",
            side=quoted_side(found[0].key),
        )
    return found, notes


def _shares_any(side: Side, others: Sequence[Side]) -> bool:
    return any(other is not side and len(common(side, other)[0]) for other in others)


def common(a: Side, b: Side) -> tuple[Labels, Labels]:
    """The rows of the images that two sides share, in each of them, by image id."""
    found = pc.index_in(a.image_ids, value_set=b.image_ids)
    rows = np.flatnonzero(np.asarray(pc.is_valid(found)))
    return rows, found.take(pa.array(rows)).to_numpy().astype(np.int64)


def _by_tag(
    name: str, order: list[str], groups: list[SideGroup], classes: dict[str, list[str]]
) -> Side:
    """A side out of the deepest tags of each image."""
    several = sum(len(own) > 1 for own in classes.values())
    chosen = {image_id: own[0] for image_id, own in sorted(classes.items()) if len(own) == 1}
    used = set(chosen.values())
    kept = [place for place, tag in enumerate(order) if tag in used]
    places = {order[place]: number for number, place in enumerate(kept)}
    note = message(
        "{nb_images:,} images have several tags of {property!r}, none above another: they are in "
        "no one class, and are left out.",
        id="images-with-several-tags",
        nb_images=several,
        property=name,
    )
    return Side(
        key=f"{PROPERTY}{name}",
        kind="property",
        image_ids=pa.array(list(chosen), pa.string()),
        labels=np.array([places[tag] for tag in chosen.values()], np.int64),
        groups=tuple(groups[place] for place in kept),
        notes=(note,) if several else (),
    )


def _version_of(side: Side) -> str:
    names = [group.name for group in side.groups]
    notes = [text_of(note) for note in side.notes]
    return digest(names, side.image_ids.to_pylist(), side.labels.tolist(), notes, side.status)


def _tree_order(place: str) -> list[tuple[bool, int]]:
    """``2`` before ``10``, ``3/0`` after ``2``; the remainder last."""
    return [(True, 0) if part == REMAINDER else (False, int(part)) for part in place.split("/")]


def quoted_side(text: str) -> str:
    """A side's key for a message: cut, and in quotes where it is not one plain line."""
    short = cut(text, 60)
    return short if short.isprintable() else repr(short)

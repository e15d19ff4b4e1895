"""Clusterings in the store: records with their seals, clusters, assignments, labels.

Belongs here: which clustering of a key counts, and its rows. Does not belong here: what a record
holds (``spec.records``), and computing one (``clustering.dividing``).

Long because a record, its clusters and its assignments are written and read together.
"""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from panoptic_assets.clustering.algorithms.interface import Outcome
from panoptic_assets.clustering.clusters import CanonicalClustering, Cluster
from panoptic_assets.clustering.mark_log import withdrawn_records
from panoptic_assets.spec import seals, tree
from panoptic_assets.spec.computation import REMAINDER, Labels
from panoptic_assets.spec.keys import REMAINDER as REMAINDER_NAME
from panoptic_assets.spec.keys import Node, run_key_of
from panoptic_assets.spec.records import Record
from panoptic_assets.spec.text import nearest
from resources.errors import InputError, message
from resources.field_faults import explain_invalid
from resources.lance import LanceStore, quoted
from resources.schemas import SCHEMAS

_KEYS_LISTED = 8
"""In a message; a store may have thousands."""


class UnreadableRecordError(InputError):
    """A record is of a newer version, or was changed; the others have nothing to do with it."""


@dataclass(frozen=True)
class Unreadable:
    """A record that cannot be read, by what its row tells beside it."""

    key: str
    record_id: str
    revision: int
    error: UnreadableRecordError

    @property
    def text(self) -> str:
        """Why, and what to do; one line."""
        return str(self.error)


class Clusterings:
    """The clusterings that count: of every key the newest record that is not withdrawn, read once.

    Args:
        store: The store.
        run_key: Read only this run's tree; all runs by default.
    """

    def __init__(self, store: LanceStore, run_key: str | None = None):
        self._store = store
        where = None if run_key is None else f"run_key = {quoted(run_key)}"
        newest: dict[str, Record] = {}
        unreadable: dict[str, Unreadable] = {}
        columns = ["record_id", "key", "revision", "content"]
        self._withdrawn = withdrawn_records(store)
        for row in store.read("records", columns, where).to_pylist():
            if row["record_id"] in self._withdrawn:
                continue
            try:
                record = _record_of(store, row)
            except UnreadableRecordError as error:
                found = Unreadable(row["key"], row["record_id"], row["revision"], error)
                if found.key not in unreadable or unreadable[found.key].revision < found.revision:
                    unreadable[found.key] = found
                continue
            if record.key not in newest or newest[record.key].order < record.order:
                newest[record.key] = record
        # One that cannot be read counts all the same: what came before it is not taken for it.
        self.unreadable = {
            key: found
            for key, found in sorted(unreadable.items())
            if key not in newest or newest[key].revision <= found.revision
        }
        self.records = {
            key: record for key, record in sorted(newest.items()) if key not in self.unreadable
        }
        self.stale = tree.stale(record.branch for record in self.records.values())

    def get(self, key: str) -> Record:
        """The record of a clustering.

        Raises:
            InputError: There is none, and the message lists those of the most similar keys; or it
                cannot be read.
        """
        if self.find(key) is None:
            run_key = key.partition("/")[0]
            if run_key in self.records and key in self.nodes(run_key):
                raise InputError(
                    "{node} is a cluster that was not divided: `panoptic-assets members {node}` "
                    "lists its images, `panoptic-assets divide {node}` divides it.",
                    id="cluster-not-divided",
                    node=key,
                )
            rows, gone = self._store.read("records", ["record_id", "key"]), self._withdrawn
            known = {row["key"] for row in rows.to_pylist() if row["record_id"] not in gone}
            more = ", …" if len(known) > _KEYS_LISTED else ""
            listed = ", ".join(sorted(nearest(key, known, _KEYS_LISTED))) + more or message(
                "none yet", id="none-yet"
            )
            raise InputError(
                "There is no clustering {key!r}. Existing ones: {known}.",
                id="no-such-clustering",
                key=key,
                known=listed,
            )
        return self.records[key]

    def find(self, key: str) -> Record | None:
        """The record of a clustering; None if there is none.

        Raises:
            UnreadableRecordError: It cannot be read.
        """
        if key in self.unreadable:
            raise UnreadableRecordError.of(self.unreadable[key].error)
        return self.records.get(key)

    def check_tree(self, run_key: str) -> None:
        """Refuse a run of which a part cannot be read: what is said of all of it would leave out.

        Raises:
            UnreadableRecordError: There is such a part.
        """
        for key, found in self.unreadable.items():
            if run_key_of(key) == run_key:
                raise UnreadableRecordError.of(found.error)

    def status(self, key: str) -> str:
        """``current``, or ``stale`` when the clustering above now has other clusters."""
        return "stale" if key in self.stale else "current"

    def valid(self, run_key: str) -> dict[str, Record]:
        """The clusterings of one run that are not stale, by key.

        Raises:
            UnreadableRecordError: One of the run's records cannot be read.
        """
        self.check_tree(run_key)
        return {
            key: record
            for key, record in self.records.items()
            if record.run_key == run_key and key not in self.stale
        }

    def clusters(self, key: str) -> pa.Table:
        """Clusters of a clustering, from the lowest score; the remainder last."""
        where = f"record_id = {quoted(self.get(key).record_id)}"
        rows = self._store.read("clusters", where=where)
        names, scores = rows["cluster"].to_pylist(), rows["score"].to_pylist()
        # Numbers that were carried over, or clusters that grew, are not in the order of scores; as
        # text, 10 would come before 9.
        order = sorted(range(len(names)), key=lambda row: (scores[row], _cluster_order(names[row])))
        return rows.take(pa.array(order, pa.int64()))

    def assignments(self, key: str) -> pa.Table:
        """Which cluster each image of a clustering is in, by image id."""
        where = f"record_id = {quoted(self.get(key).record_id)}"
        return self._store.read("assignments", where=where).sort_by("image_id")

    def nodes(self, run_key: str) -> list[str]:
        """Every node of a run's tree, stale clusterings left out, parents before their children."""
        names = {key: self.clusters(key)["cluster"].to_pylist() for key in self.valid(run_key)}
        return list(tree.walk(names, run_key))

    def names(self, run_key: str) -> dict[str, str]:
        """The names that methods gave to clusters of a run's tree, by node."""
        return {
            f"{key}/{row['cluster']}": row["name"]
            for key in self.valid(run_key)
            for row in self.clusters(key).select(["cluster", "name"]).to_pylist()
            if row["name"]
        }

    def places(self, run_key: str) -> dict[str, str]:
        """The deepest node that holds each image of a run, stale clusterings left out."""
        members = {}
        for key in self.valid(run_key):
            rows = self.assignments(key)
            members[key] = dict(
                zip(rows["image_id"].to_pylist(), rows["cluster"].to_pylist(), strict=True)
            )
        return tree.places(members, run_key)

    def members(self, node: Node) -> list[str]:
        """Ids of the images in a node, sorted.

        Raises:
            InputError: The node does not exist, or lies in a stale clustering.
        """
        self.check_tree(node.run_key)
        if node.clustering in self.stale:
            raise InputError(
                "{clustering} is stale, since the clustering above it was made again: divide it "
                "again before you divide one of its clusters.",
                id="clustering-stale",
                clustering=node.clustering,
            )
        known = [] if self.find(node.run_key) is None else self.nodes(node.run_key)
        if str(node) not in known:
            listed = ", ".join(known) or message(
                "none (there is no run {run_key!r})", id="none-since-no-run", run_key=node.run_key
            )
            raise InputError(
                "There is no node {node!r}. Existing ones: {known}.",
                id="no-such-node",
                node=node,
                known=listed,
            )
        rows = self.assignments(node.clustering)
        return rows.filter(pc.equal(rows["cluster"], node.cluster))["image_id"].to_pylist()


def next_revision(store: LanceStore, key: str) -> int:
    """The revision of the next record of a key: of those that are withdrawn, none is given again.

    Args:
        store: The store.
        key: Of the clustering.
    """
    # The condition of `Clusterings`: what a snapshot has read for them is not read again.
    rows = store.read("records", ["key", "revision"], f"run_key = {quoted(run_key_of(key))}")
    mine = rows.filter(pc.equal(rows["key"], key))["revision"].to_pylist()
    return max(mine, default=0) + 1


def all_records(store: LanceStore, run_key: str | None = None) -> dict[str, Record]:
    """Every record of a run's tree, or of all, that there ever was and that can be read, by its id.

    Those that are withdrawn, too: tags may have been saved from them, and they may come back.
    """
    where = None if run_key is None else f"run_key = {quoted(run_key)}"
    rows = store.read("records", ["record_id", "content"], where)
    found: dict[str, Record] = {}
    for row in rows.to_pylist():
        with suppress(UnreadableRecordError):
            record = _record_of(store, row)
            found[record.record_id] = record
    return found


def rows_of(store: LanceStore, table: str, record_id: str) -> pa.Table:
    """The rows of one record, of ``assignments`` or ``clusters``, in no particular order."""
    return store.read(table, where=f"record_id = {quoted(record_id)}")


@dataclass(frozen=True)
class StoredClustering:
    """A clustering with all that is stored of it."""

    image_ids: list[str]
    """Sorted; the rows of the clustering."""
    clustering: CanonicalClustering
    outcome: Outcome
    """What the method said, in its own numbering."""
    assigned: Labels | None
    """(n,) cluster numbers with the remainder in the nearest clusters, if that was asked for."""
    stability: dict[int, float]
    """For each cluster number, if it was asked for."""
    later: npt.NDArray[np.bool_] | None = None
    """(n,) whether the clusters had been computed when the image came; None: for no image."""

    @property
    def mean_stability(self) -> float | None:
        """Of the clusters, weighted by their sizes; None if it was not asked for."""
        sizes = {c.number: c.size for c in self.clustering.clusters if c.number in self.stability}
        total = sum(sizes.values())
        if not total:
            return None
        return sum(self.stability[number] * size for number, size in sizes.items()) / total


def write_clustering(store: LanceStore, record: Record, answer: StoredClustering) -> None:
    """Store a clustering; its record comes last and makes it count.

    A crash before that leaves rows under a record id that nobody reads; two processes that compute
    one key at the same time write under two record ids, and both records are whole.
    """
    mine = f"record_id = {quoted(record.record_id)}"
    store.replace("assignments", assignment_rows(record, answer), mine)
    store.replace("clusters", cluster_rows(record, answer), mine)
    for source in record.inputs:
        # A search may have read another version of a table than the method: both stay.
        name = f"{re.sub('[/@]', '.', record.record_id)}.{source.version}"
        store.pin(source.table, source.version, name)
    content = record.model_dump_json()
    row = {
        "record_id": record.record_id,
        "key": record.key,
        "revision": record.revision,
        "run_key": record.run_key,
        "content": content,
        "seal": json.dumps(seals.seal(json.loads(content)), ensure_ascii=False),
    }
    store.upsert("records", pa.Table.from_pylist([row], schema=SCHEMAS["records"]))


def cluster_rows(record: Record, answer: StoredClustering) -> pa.Table:
    """What the table `clusters` holds of a clustering."""
    rows = [
        {
            "record_id": record.record_id,
            "key": record.key,
            "cluster": cluster_name(cluster.number),
            "size": cluster.size,
            "score": cluster.score,
            "medoid": answer.image_ids[cluster.medoid],
            "name": answer.outcome.names.get(cluster.label),
            "stability": answer.stability.get(cluster.number),
        }
        for cluster in answer.clustering.clusters
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMAS["clusters"])


def assignment_rows(record: Record, answer: StoredClustering) -> pa.Table:
    """What the table `assignments` holds of a clustering."""
    image_ids, clustering, outcome = answer.image_ids, answer.clustering, answer.outcome
    return pa.table(
        {
            "record_id": pa.array([record.record_id] * len(image_ids), pa.string()),
            "image_id": image_ids,
            "key": pa.array([record.key] * len(image_ids), pa.string()),
            "cluster": cluster_names(clustering.labels),
            "distance": clustering.distances,
            "probability": _or_null(outcome.probabilities, len(image_ids)),
            "similarity": _or_null(outcome.similarities, len(image_ids)),
            "assigned": pa.nulls(len(image_ids), pa.string())
            if answer.assigned is None
            else cluster_names(answer.assigned),
            "assigned_later": np.zeros(len(image_ids), bool)
            if answer.later is None
            else answer.later,
        },
        schema=SCHEMAS["assignments"],
    )


@dataclass(frozen=True)
class StoredRecord:
    """A record as it is stored, with its seal."""

    record: Record
    document: dict[str, Any]
    """The same as plain data, which is what was sealed."""
    seal: dict[str, Any] | None
    """See :mod:`panoptic_assets.spec.seals`; None for a record that is older than seals."""

    @property
    def changed(self) -> list[str]:
        """Names of the fields that are not what was sealed; none if nothing was."""
        return [] if self.seal is None else seals.changed(self.document, self.seal)

    @property
    def root(self) -> str | None:
        """The one hash of the seal, over all fields."""
        return None if self.seal is None else str(self.seal.get("root"))


def stored_records(store: LanceStore, where: str) -> dict[str, StoredRecord]:
    """Records with their seals by record id, older revisions too; oldest first.

    Args:
        store: The store.
        where: A SQL condition on the table ``records``.

    Raises:
        UnreadableRecordError: One of them cannot be read.
    """
    rows = store.read("records", ["record_id", "content", "seal"], where).to_pylist()
    found = {
        row["record_id"]: StoredRecord(
            _record_of(store, row),
            json.loads(row["content"]),
            _seal_of(row["seal"]) if row["seal"] else None,
        )
        for row in rows
    }
    return dict(sorted(found.items(), key=lambda pair: pair[1].record.order))


def seal_of(store: LanceStore, record: Record) -> str | None:
    """The one hash of a record's seal; None where it has none."""
    # The condition of `Clusterings`: what a snapshot has read for them is not read again.
    where = f"run_key = {quoted(record.run_key)}"
    rows = store.read("records", ["record_id", "seal"], where)
    found = rows.filter(pc.equal(rows["record_id"], record.record_id))["seal"].to_pylist()
    return str(_seal_of(found[0]).get("root")) if found and found[0] else None


def _record_of(store: LanceStore, row: Mapping[str, Any]) -> Record:
    try:
        return Record.model_validate_json(row["content"])
    except ValidationError as error:
        record_id, reason = row["record_id"], explain_invalid(error)
    if _is_as_sealed(store, record_id, row["content"]):
        raise UnreadableRecordError(
            "The record {record_id} was written by a newer version of panoptic_assets ({reason}): "
            "upgrade panoptic_assets (`pip install --upgrade panoptic-assets`).",
            id="record-of-newer-version",
            record_id=record_id,
            reason=reason,
        )
    raise UnreadableRecordError(
        "A record in the store cannot be read, since somebody changed it: {reason}. Restore "
        "{record_id} from a copy of the table records.",
        id="record-changed",
        reason=reason,
        record_id=record_id,
    )


def _is_as_sealed(store: LanceStore, record_id: str, content: str) -> bool:
    """Whether a record is what its seal says; seals are read where one must be, not with all."""
    rows = store.read("records", ["seal"], f"record_id = {quoted(record_id)}")
    try:
        document = json.loads(content)
    except ValueError:
        return False
    return any(
        seal and not seals.changed(document, _seal_of(seal)) for seal in rows["seal"].to_pylist()
    )


def _seal_of(text: str) -> dict[str, Any]:
    """A seal as it is stored; empty, and so of nothing, if somebody made it unreadable."""
    try:
        seal = json.loads(text)
    except ValueError:
        return {}
    return seal if isinstance(seal, dict) else {}


def stored_record(store: LanceStore, record_id: str) -> StoredRecord | None:
    """One record with its seal; None if it is not there."""
    return stored_records(store, f"record_id = {quoted(record_id)}").get(record_id)


def read_clustering(store: LanceStore, record: Record) -> StoredClustering:
    """The answer that is stored with a record; of what the method said, what was stored of it."""
    rows = rows_of(store, "assignments", record.record_id).sort_by("image_id")
    image_ids = rows["image_id"].to_pylist()
    place = {image_id: row for row, image_id in enumerate(image_ids)}
    listed = rows_of(store, "clusters", record.record_id).sort_by("score").to_pylist()
    numbers = [cluster_number(row["cluster"]) for row in listed]
    clustering = CanonicalClustering(
        labels=np.array([cluster_number(name) for name in rows["cluster"].to_pylist()], np.int64),
        distances=rows["distance"].to_numpy(),
        clusters=[
            Cluster(number, row["size"], row["score"], place[row["medoid"]], number)
            for number, row in zip(numbers, listed, strict=True)
        ],
        baseline_score=record.baseline_score,
    )
    told = zip(numbers, listed, strict=True)
    names = {number: row["name"] for number, row in told if row["name"] is not None}
    return StoredClustering(
        image_ids, clustering, Outcome(clustering.labels, names=names), None, {}
    )


def cluster_number(name: str) -> int:
    """The number of a cluster's name; -1 of the remainder."""
    return REMAINDER if name == REMAINDER_NAME else int(name)


def cluster_name(number: int) -> str:
    """A cluster's name: its number, or ``remainder``."""
    return REMAINDER_NAME if number == REMAINDER else str(number)


def cluster_names(numbers: Labels) -> list[str]:
    """The name of each image's cluster."""
    return [cluster_name(int(number)) for number in numbers]


def _or_null(values: npt.NDArray[np.float32] | None, count: int) -> pa.Array:
    return (
        pa.nulls(count, pa.float32())
        if values is None
        else pa.array(values, pa.float32(), from_pandas=True)
    )


def _cluster_order(name: str) -> tuple[bool, int]:
    return (True, 0) if name == REMAINDER_NAME else (False, int(name))

"""The tables of the store in the project's words: images, vectors, divisions, the tag log.

Belongs here: what the assets and the API read and write in the same way. Does not belong here:
commits and schemas (``resources.lance``), or decisions (``assets``).
"""

import hashlib
import itertools
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ValidationError

from panoptic_assets.core import seals, sidecar, tree
from panoptic_assets.core import tags as core_tags
from panoptic_assets.core.clusters import REMAINDER, Cluster, Division, Labels, Vectors
from panoptic_assets.core.division import Outcome
from panoptic_assets.core.edits import LONGEST_NAME, normalised
from panoptic_assets.core.labels import ClusterToLabel, Suggestion
from panoptic_assets.core.manifest import File
from panoptic_assets.core.neighbors import Graph
from panoptic_assets.core.scopes import nearest
from panoptic_assets.core.vocabulary import cleaned
from panoptic_assets.keys import REMAINDER as REMAINDER_NAME
from panoptic_assets.keys import Node, vector_type_of
from panoptic_assets.records import Input, ProjectionRecord, Record, digest, vectors_hash
from resources.errors import InputError
from resources.lance import (
    NEIGHBORS_SCHEMA,
    SCHEMAS,
    LanceStore,
    neighbors_table,
    points_schema,
    points_table,
    quoted,
    vectors_table,
)
from resources.project import explain

MODEL_METADATA = "panoptic:model"
"""Key of a vector table's metadata that holds the identity of the model, as JSON."""
GRAPH_METADATA = "panoptic:graph"
"""Key of a neighbour table's metadata that holds a :class:`GraphInfo`, as JSON."""
PROJECTION_METADATA = "panoptic:projection"
"""Key of a point table's metadata that holds a projection's record, as JSON."""

_KEYS_LISTED = 8
"""In a message; a store may have thousands."""


def read_manifest(store: LanceStore) -> dict[str, File]:
    """Every file that was ever seen, by path."""
    rows = store.read("files", [field.name for field in fields(File)])
    columns = [rows[name].to_pylist() for name in rows.column_names]
    return {values[0]: File(*values) for values in zip(*columns, strict=True)}


def write_files(
    store: LanceStore, before: Mapping[str, File], files: Iterable[File]
) -> dict[str, File]:
    """Write the lines of the manifest that differ from ``before``, in one commit; return them."""
    changed = {file.path: file for file in files if before.get(file.path) != file}
    if changed:
        now = datetime.now(UTC)
        rows = [asdict(file) | {"seen_at": now} for file in changed.values()]
        store.upsert("files", pa.Table.from_pylist(rows, schema=SCHEMAS["files"]))
    return changed


def forgotten_images(store: LanceStore) -> set[str]:
    """Ids of the images that must not come back (see ``panoptic_assets.forgetting``)."""
    return set(store.read("forgotten", ["image_id"])["image_id"].to_pylist())


def certificates_of_records(store: LanceStore) -> dict[str, list[str]]:
    """For each record whose answer held an image that was forgotten, the names of certificates.

    What is stored of such a record is no longer what its ``output`` was computed from, and its
    inputs cannot all be read again.
    """
    found: dict[str, set[str]] = defaultdict(set)
    for row in store.read("forgotten", ["certificate", "records"]).to_pylist():
        for record_id in row["records"] or ():
            found[record_id].add(row["certificate"])
    return {record_id: sorted(names) for record_id, names in found.items()}


def embedded(store: LanceStore, vector_type: str) -> set[str]:
    """Ids of the images that have a vector."""
    return {
        image_id
        for batch in store.batches(vectors_table(vector_type), ["image_id"])
        for image_id in batch["image_id"].to_pylist()
    }


def present_files(store: LanceStore, version: int | None = None) -> dict[str, list[str]]:
    """For each image that is present, the sorted paths of its files.

    Args:
        store: The store.
        version: The version of ``files`` to read; the newest by default.
    """
    rows = store.read("files", ["path", "image_id"], "status = 'present'", version)
    return _grouped(zip(rows["path"].to_pylist(), rows["image_id"].to_pylist(), strict=True))


def paths_of_images(files: Iterable[File]) -> dict[str, list[str]]:
    """For each image that is present, the sorted paths of its files."""
    return _grouped((file.path, file.holds) for file in files if file.holds)


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    paths: dict[str, list[str]] = defaultdict(list)
    for path, image_id in sorted(pairs):
        paths[image_id].append(path)
    return dict(paths)


def files_input(version: int, image_ids: list[str]) -> Input:
    """The proof of which images a scope held, whether they have a vector or not.

    Args:
        version: The version of ``files`` that the ids were read from.
        image_ids: The scope's images, sorted.
    """
    return Input(table="files", version=version, sha256=digest(image_ids))


@dataclass(frozen=True)
class ReadVectors:
    """Vectors in the order of image id, and the proof of what was read."""

    image_ids: list[str]
    vectors: Vectors
    """(n, d) float32, unit length."""
    source: Input


def read_vectors(
    store: LanceStore, vector_type: str, image_ids: Iterable[str], may_be_none: bool = False
) -> ReadVectors:
    """Vectors of those images that have one.

    Args:
        store: The store.
        vector_type: The vector type.
        image_ids: The images.
        may_be_none: It is no error that there is none, if the vector type is known.

    Raises:
        InputError: None of the images has a vector of this type.
    """
    wanted = list(image_ids)
    found = _read_column(store, vectors_table(vector_type), "vector", wanted)
    if found is None or not (found.image_ids or may_be_none):
        raise InputError(
            f"None of the {len(wanted)} images has a vector of type {vector_type!r}: materialize "
            f"`embeddings` first (`panoptic-assets refresh --vector-type {vector_type}`). Vector "
            f"types that have vectors: {', '.join(vector_types(store)) or 'none yet'}."
        )
    return found


def _read_column(
    store: LanceStore, table: str, column: str, image_ids: Iterable[str] | None = None
) -> ReadVectors | None:
    """A column of fixed-size lists, of all images or some; None when the table does not exist."""
    version = store.version(table)
    if not version:
        return None
    found = store.read(table, ["image_id", column], version=version)
    if image_ids is not None:
        wanted = pa.array(sorted(image_ids), pa.string())
        found = found.filter(pc.is_in(found["image_id"], value_set=wanted))
    found = found.sort_by("image_id")
    flat = found[column].combine_chunks().flatten().to_numpy()
    shape = len(found), found.schema.field(column).type.list_size
    vectors = np.ascontiguousarray(flat.reshape(shape), dtype=np.float32)
    ids = found["image_id"].to_pylist()
    return ReadVectors(
        ids, vectors, Input(table=table, version=version, sha256=vectors_hash(ids, vectors))
    )


@dataclass(frozen=True)
class Features:
    """What a method clusters, and the vectors that its clusters are scored on."""

    image_ids: list[str]
    """Sorted; the images that have both."""
    points: Vectors
    """(n, m) float32: the unit vectors themselves, or the points of a projection as they are."""
    vectors: Vectors
    """(n, d) float32 unit vectors."""
    sources: list[Input]


def read_features(store: LanceStore, features: str, image_ids: Iterable[str]) -> Features:
    """The features of those images that have some: of a vector type or of a projection.

    Raises:
        InputError: None of the images has any.
    """
    read = read_vectors(store, vector_type_of(features), image_ids)
    if features == vector_type_of(features):
        return Features(read.image_ids, read.vectors, read.vectors, [read.source])
    found = _read_column(store, points_table(features), "point", read.image_ids)
    if found is None or not found.image_ids:
        raise InputError(
            f"None of the {len(read.image_ids)} images has a point of projection {features!r}: "
            f"materialize `projection` first (`panoptic-assets project {features}`). Projections "
            f"that have points: {', '.join(projections(store)) or 'none yet'}."
        )
    rows = np.flatnonzero(np.isin(read.image_ids, found.image_ids))
    return Features(found.image_ids, found.vectors, read.vectors[rows], [read.source, found.source])


def projections(store: LanceStore) -> list[str]:
    """Keys of the projections that have points."""
    prefix = "points."
    return sorted(
        name.removeprefix(prefix).replace(".", "/")
        for name in store.tables()
        if name.startswith(prefix)
    )


def projection_record(store: LanceStore, key: str) -> ProjectionRecord | None:
    """What is recorded of a projection; None when it has no points."""
    content = _metadata(store, points_table(key), PROJECTION_METADATA)
    return None if content is None else ProjectionRecord.model_validate_json(content)


def read_points(store: LanceStore, key: str) -> ReadVectors | None:
    """All points of a projection; None when it has none."""
    return _read_column(store, points_table(key), "point")


def write_points(
    store: LanceStore, record: ProjectionRecord, image_ids: list[str], points: Vectors
) -> None:
    """Store the points of a projection with their record, in one commit."""
    for source in record.cause.inputs:
        store.pin(source.table, source.version, points_table(record.key))
    nb_dimensions = points.shape[1]
    rows = pa.table(
        {
            "image_id": image_ids,
            "point": pa.FixedSizeListArray.from_arrays(points.ravel(), nb_dimensions),
        },
        schema=points_schema(nb_dimensions),
    )
    metadata = {PROJECTION_METADATA: record.model_dump_json()}
    store.overwrite(points_table(record.key), rows, metadata)
    store.optimize(points_table(record.key))


class GraphInfo(BaseModel, frozen=True):
    """What is known of a stored neighbour graph."""

    k: int
    method: Literal["exact", "index"]
    recall: float
    """Share of the exact neighbours that the graph has: 1, or measured on a sample."""
    vectors: Input
    """What was compared."""
    output: str
    """SHA-256 of the image ids and their neighbours."""


@dataclass(frozen=True)
class StoredGraph:
    """A neighbour graph as it is stored."""

    image_ids: list[str]
    """Sorted: row i of the graph is the i-th."""
    vector_hashes: list[bytes]
    """For each image, the hash of the vector that was compared."""
    graph: Graph
    info: GraphInfo
    version: int


def read_graph(store: LanceStore, vector_type: str) -> StoredGraph | None:
    """The neighbour graph of a vector type; None when there is none."""
    table = neighbors_table(vector_type)
    version = store.version(table)
    content = _metadata(store, table, GRAPH_METADATA)
    if content is None:
        return None
    rows = store.read(table, version=version).sort_by("image_id")
    info = GraphInfo.model_validate_json(content)
    shape = len(rows), max(0, min(info.k, len(rows) - 1))
    neighbors, similarities = (
        rows[name].combine_chunks().flatten().to_numpy().reshape(shape)
        for name in ("neighbors", "similarities")
    )
    graph = Graph(neighbors, similarities)
    ids, hashes = (rows[name].to_pylist() for name in ("image_id", "vector_hash"))
    return StoredGraph(ids, hashes, graph, info, version)


def write_graph(
    store: LanceStore, vector_type: str, read: ReadVectors, graph: Graph, info: GraphInfo
) -> None:
    """Store a neighbour graph, in one commit."""
    rows = pa.table(
        {
            "image_id": read.image_ids,
            "vector_hash": vector_hashes(read.vectors),
            "neighbors": _lists(graph.indices),
            "similarities": _lists(graph.similarities),
        },
        schema=NEIGHBORS_SCHEMA,
    )
    metadata = {GRAPH_METADATA: info.model_dump_json()}
    store.overwrite(neighbors_table(vector_type), rows, metadata)
    store.optimize(neighbors_table(vector_type))


def vector_hashes(vectors: Vectors) -> list[bytes]:
    """8 bytes for each vector, which tell whether it is another one than before."""
    rows = np.ascontiguousarray(vectors, dtype="<f4")
    return [hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in rows]


def rows_now(known: StoredGraph, read: ReadVectors) -> npt.NDArray[np.int64]:
    """For each row of a stored graph its row now; -1 if it is gone or has another vector."""
    found = pc.index_in(
        pa.array(known.image_ids, pa.string()), value_set=pa.array(read.image_ids, pa.string())
    )
    places = found.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False).copy()
    before = np.array(known.vector_hashes, dtype=object)
    now = np.array(vector_hashes(read.vectors), dtype=object)
    kept = np.flatnonzero(places >= 0)
    places[kept[before[kept] != now[places[kept]]]] = -1
    return places


def graph_hash(image_ids: list[str], graph: Graph) -> str:
    """SHA-256 of sorted image ids, their neighbours' rows and similarities, little-endian."""
    result = hashlib.sha256("\n".join(image_ids).encode())
    result.update(np.ascontiguousarray(graph.indices, dtype="<i4").tobytes())
    result.update(np.ascontiguousarray(graph.similarities, dtype="<f4").tobytes())
    return result.hexdigest()


def _lists(values: npt.NDArray[Any]) -> pa.ListArray:
    offsets = np.arange(len(values) + 1, dtype=np.int32) * values.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values.ravel()))


def _metadata(store: LanceStore, table: str, name: str) -> str | None:
    schema = store.schema_of(table)
    return None if schema is None else schema.metadata[name.encode()].decode()


def read_thumbnails(store: LanceStore, image_ids: list[str]) -> list[bytes]:
    """WebP thumbnails of images, in the order of the ids."""
    if not image_ids:
        return []
    where = f"image_id IN ({', '.join(map(quoted, image_ids))})"
    rows = store.read("images", ["image_id", "thumbnail"], where)
    found = dict(zip(rows["image_id"].to_pylist(), rows["thumbnail"].to_pylist(), strict=True))
    return [found[image_id] for image_id in image_ids]


def vector_types(store: LanceStore) -> list[str]:
    """Vector types that have a table."""
    prefix = vectors_table("")
    return sorted(name.removeprefix(prefix) for name in store.tables() if name.startswith(prefix))


def model_identity(store: LanceStore, vector_type: str) -> dict[str, Any] | None:
    """Which model, options and weights made a vector type; None when it has no vectors."""
    schema = store.schema_of(vectors_table(vector_type))
    if schema is None:
        return None
    identity: dict[str, Any] = json.loads(schema.metadata[MODEL_METADATA.encode()])
    return identity


class Divisions:
    """The divisions that count: the newest record of every key, read once.

    Args:
        store: The store.
        run_key: Read only this run's tree; all runs by default.
    """

    def __init__(self, store: LanceStore, run_key: str | None = None):
        self._store = store
        where = None if run_key is None else f"run_key = {quoted(run_key)}"
        newest: dict[str, Record] = {}
        for content in store.read("records", ["content"], where)["content"].to_pylist():
            record = _record_of(content)
            if record.key not in newest or newest[record.key].order < record.order:
                newest[record.key] = record
        self.records = dict(sorted(newest.items()))
        self.stale = tree.stale(record.branch for record in newest.values())

    def get(self, key: str) -> Record:
        """The record of a division.

        Raises:
            InputError: There is none; the message lists those of the most similar keys.
        """
        if key not in self.records:
            known = set(self._store.read("records", ["key"])["key"].to_pylist())
            more = ", …" if len(known) > _KEYS_LISTED else ""
            listed = ", ".join(sorted(nearest(key, known, _KEYS_LISTED))) + more or "none yet"
            raise InputError(f"There is no clustering {key!r}. Existing ones: {listed}.")
        return self.records[key]

    def status(self, key: str) -> str:
        """``current``, or ``stale`` when the clustering above now has other clusters."""
        return "stale" if key in self.stale else "current"

    def valid(self, run_key: str) -> dict[str, Record]:
        """The divisions of one run that are not stale, by key."""
        return {
            key: record
            for key, record in self.records.items()
            if record.run_key == run_key and key not in self.stale
        }

    def clusters(self, key: str) -> pa.Table:
        """Clusters of a division, from the lowest score; the remainder last."""
        where = f"record_id = {quoted(self.get(key).record_id)}"
        rows = self._store.read("clusters", where=where)
        names, scores = rows["cluster"].to_pylist(), rows["score"].to_pylist()
        # Numbers that were carried over, or clusters that grew, are not in the order of scores; as
        # text, 10 would come before 9.
        order = sorted(range(len(names)), key=lambda row: (scores[row], _cluster_order(names[row])))
        return rows.take(pa.array(order, pa.int64()))

    def assignments(self, key: str) -> pa.Table:
        """Which cluster each image of a division is in, by image id."""
        where = f"record_id = {quoted(self.get(key).record_id)}"
        return self._store.read("assignments", where=where).sort_by("image_id")

    def nodes(self, run_key: str) -> list[str]:
        """Every node of a run's tree, stale divisions left out, parents before their children."""
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
        """The deepest node that holds each image of a run, stale divisions left out."""
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
            InputError: The node does not exist, or lies in a stale division.
        """
        if node.division in self.stale:
            raise InputError(
                f"{node.division} is stale, since the clustering above it was made again: divide "
                "it again before you divide one of its clusters."
            )
        known = self.nodes(node.run_key) if node.run_key in self.records else []
        if str(node) not in known:
            listed = ", ".join(known) or f"none (there is no run {node.run_key!r})"
            raise InputError(f"There is no node {str(node)!r}. Existing ones: {listed}.")
        rows = self.assignments(node.division)
        return rows.filter(pc.equal(rows["cluster"], node.cluster))["image_id"].to_pylist()


def all_records(store: LanceStore, run_key: str) -> dict[str, Record]:
    """Every record of a run's tree that there ever was, by its id."""
    rows = store.read("records", ["content"], f"run_key = {quoted(run_key)}")
    found = (Record.model_validate_json(content) for content in rows["content"].to_pylist())
    return {record.record_id: record for record in found}


def rows_of(store: LanceStore, table: str, record_id: str) -> pa.Table:
    """The rows of one record, of ``assignments`` or ``clusters``, in no particular order."""
    return store.read(table, where=f"record_id = {quoted(record_id)}")


def clusters_to_label(
    divisions: Divisions, run_key: str, label_remainder: bool = False
) -> list[ClusterToLabel]:
    """The clusters of a run's whole tree, stale divisions left out, parents before children.

    Args:
        divisions: Those of the run.
        run_key: The run.
        label_remainder: Whether remainders are among them.

    Raises:
        InputError: There is no such run.
    """
    divisions.get(run_key)
    members: dict[str, list[str]] = {}
    for key in divisions.valid(run_key):
        rows = divisions.assignments(key)
        for image_id, cluster in zip(
            rows["image_id"].to_pylist(), rows["cluster"].to_pylist(), strict=True
        ):
            members.setdefault(f"{key}/{cluster}", []).append(image_id)
    found = []
    for node in divisions.nodes(run_key):
        division, _, cluster = node.rpartition("/")
        is_remainder = cluster == REMAINDER_NAME
        if label_remainder or not is_remainder:
            found.append(
                ClusterToLabel(
                    node=node,
                    # Images that are assigned later do not change what its cluster is.
                    record_id=divisions.get(division).computed_id,
                    image_ids=tuple(members[node]),
                    is_remainder=is_remainder,
                    parent=division if "/" in division else None,
                )
            )
    return found


def write_labels(
    store: LanceStore,
    run_key: str,
    clusters: Iterable[ClusterToLabel],
    suggestions: Iterable[Suggestion],
    method: str,
    config: Mapping[str, Any],
) -> None:
    """Make these the labels of a run's clusters, in one commit; those that it had are gone.

    Args:
        store: The store.
        run_key: The run.
        clusters: What was to be named.
        suggestions: One for each of them, in any order.
        method: The method's name.
        config: Its configuration, as plain data.
    """
    record_ids = {cluster.node: cluster.record_id for cluster in clusters}
    rows = [
        {
            **asdict(suggestion),
            "record_id": record_ids[suggestion.node],
            "cluster": suggestion.node.rpartition("/")[2],
            "run_key": run_key,
            "alternatives": list(suggestion.alternatives),
            "method": method,
            "config": json.dumps(config, ensure_ascii=False, sort_keys=True),
        }
        for suggestion in suggestions
    ]
    mine = f"run_key = {quoted(run_key)}"
    store.replace("labels", pa.Table.from_pylist(rows, schema=SCHEMAS["labels"]), mine)
    store.optimize("labels")


def read_labels(store: LanceStore, divisions: Divisions, run_key: str) -> dict[str, dict[str, Any]]:
    """The row of the table `labels` for each node of a run's tree that has one.

    What was found for the clusters of an older record is not of those of a newer one, even where
    their nodes are the same, and is left out.

    Args:
        store: The store.
        divisions: Those of the run.
        run_key: The run.
    """
    current = {record.computed_id for record in divisions.records.values()}
    rows = store.read("labels", where=f"run_key = {quoted(run_key)}").to_pylist()
    return {row["node"]: row for row in rows if row["record_id"] in current}


def names_of_clusters(
    divisions: Divisions, run_key: str, labels: Mapping[str, Mapping[str, Any]]
) -> dict[str, str]:
    """What the clusters of a run's tree are called beside their numbers, by node.

    A label comes before the name that the method gave, since somebody asked for it.

    Args:
        divisions: Those of the run.
        run_key: The run.
        labels: Its labels, as :func:`read_labels` gives them.
    """
    return divisions.names(run_key) | {
        node: row["label"] for node, row in labels.items() if row["label"]
    }


def saved(
    store: LanceStore,
    divisions: Divisions,
    run_key: str,
    property_name: str,
    depth: int | None = None,
    use_labels: bool = True,
) -> core_tags.Event:
    """The event that saves a run's tree, as it is, under a property; stale divisions left out.

    A tag is called by its cluster's label, since somebody asked for one; else by the name that the
    method gave, such as the tag that images were attached to; else by its number.

    Args:
        store: The store.
        divisions: Those of the run.
        run_key: The run.
        property_name: The property.
        depth: Levels of the tree; all by default.
        use_labels: Whether labels are taken.

    Raises:
        InputError: There is no such run.
    """
    divisions.get(run_key)
    valid = divisions.valid(run_key).items()
    nodes = divisions.nodes(run_key)
    # Numbers as well: a label may be one.
    names = {node: node.rpartition("/")[2] for node in nodes} | divisions.names(run_key)
    if use_labels:
        labels = read_labels(store, divisions, run_key)
        names |= {
            node: _as_name(row["label"])
            for node, row in labels.items()
            if node in names and row["label"]
        }
    return core_tags.save(
        property_name,
        run_key,
        nodes,
        {key: (record.record_id, record.output) for key, record in valid},
        divisions.places(run_key),
        REMAINDER_NAME,
        core_tags.tag_names(names, LONGEST_NAME),
        depth,
    )


def _as_name(label: str) -> str:
    """A label as the name of one tag: on one line, and no path."""
    return cleaned(label).replace(core_tags.HIERARCHY.strip(), "›")


@dataclass(frozen=True)
class Answer:
    """A division with all that is stored of it."""

    image_ids: list[str]
    """Sorted; the rows of the division."""
    division: Division
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
        sizes = {c.number: c.size for c in self.division.clusters if c.number in self.stability}
        total = sum(sizes.values())
        if not total:
            return None
        return sum(self.stability[number] * size for number, size in sizes.items()) / total


def write_division(store: LanceStore, record: Record, answer: Answer) -> None:
    """Store a division; its record comes last and makes it count.

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


def cluster_rows(record: Record, answer: Answer) -> pa.Table:
    """What the table `clusters` holds of a division."""
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
        for cluster in answer.division.clusters
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMAS["clusters"])


def assignment_rows(record: Record, answer: Answer) -> pa.Table:
    """What the table `assignments` holds of a division."""
    image_ids, division, outcome = answer.image_ids, answer.division, answer.outcome
    return pa.table(
        {
            "record_id": pa.array([record.record_id] * len(image_ids), pa.string()),
            "image_id": image_ids,
            "key": pa.array([record.key] * len(image_ids), pa.string()),
            "cluster": cluster_names(division.labels),
            "distance": division.distances,
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
    """See :mod:`panoptic_assets.core.seals`; None for a record that is older than seals."""

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
    """
    rows = store.read("records", ["record_id", "content", "seal"], where).to_pylist()
    found = {
        row["record_id"]: StoredRecord(
            _record_of(row["content"]),
            json.loads(row["content"]),
            _seal_of(row["seal"]) if row["seal"] else None,
        )
        for row in rows
    }
    return dict(sorted(found.items(), key=lambda pair: pair[1].record.order))


def _record_of(content: str) -> Record:
    try:
        return Record.model_validate_json(content)
    except ValidationError as error:
        raise InputError(
            f"A record in the store cannot be read, since somebody changed it: {explain(error)}. "
            "Restore the table records from a copy."
        ) from error


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


def read_answer(store: LanceStore, record: Record) -> Answer:
    """The answer that is stored with a record; of what the method said, what was stored of it."""
    rows = rows_of(store, "assignments", record.record_id).sort_by("image_id")
    image_ids = rows["image_id"].to_pylist()
    place = {image_id: row for row, image_id in enumerate(image_ids)}
    listed = rows_of(store, "clusters", record.record_id).sort_by("score").to_pylist()
    numbers = [cluster_number(row["cluster"]) for row in listed]
    division = Division(
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
    return Answer(image_ids, division, Outcome(division.labels, names=names), None, {})


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


@dataclass(frozen=True)
class LoggedEvent:
    """An event of the tag log, with who appended it."""

    number: int
    at: datetime
    author: str
    reason: str
    event: core_tags.Event


def read_log(store: LanceStore, with_images: bool = True) -> list[LoggedEvent]:
    """Every event of the tag log, oldest first; the first one has number 1.

    Args:
        store: The store.
        with_images: Whether the events have their images, which are most of the log.
    """
    found: list[LoggedEvent] = []
    columns = [name for name in SCHEMAS["tag_log"].names if with_images or name != "images"]
    for row in store.read("tag_log", columns).sort_by("event_id").to_pylist():
        pairs = iter([(pair["tag_id"], pair["image_id"]) for pair in row.get("images", ())])
        for content in json.loads(row["content"]):
            tags = tuple(core_tags.Tag(**tag) for tag in content.pop("tags", ()))
            tag_ids = tuple(content.pop("tag_ids", ()))
            images = tuple(itertools.islice(pairs, content.pop("nb_images", 0)))
            event = core_tags.Event(tags=tags, images=images, tag_ids=tag_ids, **content)
            reason = row["reason"] or ""
            found.append(LoggedEvent(len(found) + 1, row["at"], row["author"], reason, event))
    return found


def saved_runs(store: LanceStore) -> dict[str, set[str]]:
    """For each run that was ever saved, the properties; without the images of the log."""
    found: dict[str, set[str]] = defaultdict(set)
    for content in store.read("tag_log", ["content"])["content"].to_pylist():
        for event in json.loads(content):
            if event["kind"] == "save":
                found[event["run_key"]].add(event["property"])
    return dict(found)


def append_events(
    store: LanceStore,
    log: Sequence[LoggedEvent],
    events: Sequence[core_tags.Event],
    author: str,
    reason: str,
) -> bool:
    """Append events to the log, all of them in one row.

    False, and nothing is appended, if the log is longer than ``log`` by now: each of several
    processes that append at once finds its place in turn.
    """
    content = [
        {
            name: value
            # asdict copies one pair after the other: 3 s for 300,000.
            for name, value in asdict(replace(event, images=())).items()
            if value not in (None, (), "", False)
        }
        | ({"nb_images": len(event.images)} if event.images else {})
        for event in events
    ]
    return store.insert(
        "tag_log",
        {
            "event_id": f"{len(log) + 1:012d}",
            "at": datetime.now(UTC),
            "author": author,
            "kind": ", ".join(dict.fromkeys(event.kind for event in events)),
            "reason": reason or None,
            "content": json.dumps(content, ensure_ascii=False),
            "images": [
                {"tag_id": tag_id, "image_id": image_id}
                for event in events
                for tag_id, image_id in event.images
            ],
        },
    )


def write_tags(store: LanceStore, replayed: core_tags.TagTables) -> bool:
    """Make ``tags`` and ``image_tags`` the replay of the log; False if they already were."""
    changed = False
    for table, new in tag_rows(replayed).items():
        if store.version(table) == 0 or not _same_rows(store.read(table), new):
            store.replace(table, new, "true")
            changed = True
    return changed


def tags_are(store: LanceStore, replayed: core_tags.TagTables) -> bool:
    """Whether ``tags`` and ``image_tags`` are what a replay gave."""
    return all(_same_rows(store.read(table), new) for table, new in tag_rows(replayed).items())


def tag_rows(replayed: core_tags.TagTables) -> dict[str, pa.Table]:
    """A replay as rows of ``image_tags`` and ``tags``."""
    properties = {tag.tag_id: tag.property for tag in replayed.tags}
    tag_ids = [tag_id for tag_id, _ in replayed.images]
    image_tags = {
        "tag_id": tag_ids,
        "image_id": [image_id for _, image_id in replayed.images],
        "property": [properties[tag_id] for tag_id in tag_ids],
        "event": list(replayed.images.values()),
    }
    return {
        "image_tags": pa.table(image_tags, schema=SCHEMAS["image_tags"]),
        "tags": pa.Table.from_pylist(
            [asdict(tag) for tag in replayed.tags], schema=SCHEMAS["tags"]
        ),
    }


def _same_rows(stored: pa.Table, new: pa.Table) -> bool:
    order = [(name, "ascending") for name in new.column_names[:2]]
    return stored.select(new.column_names).sort_by(order).equals(new.sort_by(order))


def properties_with_tags(replayed: core_tags.TagTables, asked: str | None = None) -> list[str]:
    """Names of the properties that have tags, sorted; or the one of these that was asked for.

    Raises:
        InputError: There is no tag at all, or none of the property that was asked for.
    """
    known = sorted({tag.property for tag in replayed.tags})
    if not known:
        raise InputError(
            "There are no tags yet: save a run (`panoptic-assets save KEY`) or make a tag "
            "(`panoptic-assets tag create`) first."
        )
    if asked is None:
        return known
    found = [name for name in known if normalised(name) == normalised(asked)]
    if not found:
        raise InputError(
            f"There is no property {asked!r} that has tags: choose one that has, such as "
            f"{', '.join(map(repr, nearest(asked, known)))}."
        )
    return found[:1]


def write_recommendations(store: LanceStore, rows: pa.Table, property_name: str | None) -> bool:
    """Make these rows all recommendations, or all of one property, in one commit.

    False, and nothing is written, if they already were.
    """
    where = "true" if property_name is None else f"property = {quoted(property_name)}"
    stored = store.read("recommendations", where=where)
    if store.version("recommendations") and _same_rows(stored, rows):
        return False
    store.replace("recommendations", rows, where)
    store.optimize("recommendations")
    return True


def read_recommendations(store: LanceStore, property_name: str | None = None) -> pa.Table:
    """The stored proposals, by property, tag id and rank."""
    where = None if property_name is None else f"property = {quoted(property_name)}"
    order = [(name, "ascending") for name in ("property", "tag_id", "rank")]
    return store.read("recommendations", where=where).sort_by(order)


@dataclass(frozen=True)
class SidecarReport:
    """What became of a file of metadata."""

    nb_rows: int
    nb_properties: int
    """Properties that at least one image has."""
    nb_values: int
    """Pairs of an image and a property."""
    nb_unmatched: int
    """Lines that name no file of the corpus, or not a single one."""
    unmatched: tuple[str, ...]
    """The first of the names on those lines."""
    findings: sidecar.Findings
    digest: str
    """SHA-256 of all values, whatever the order of lines and columns."""
    changed: bool
    """Whether the values differ from those that were stored."""


def apply_sidecar(
    store: LanceStore,
    path: Path | None,
    paths_of_images: dict[str, list[str]],
    folder: str = "",
) -> SidecarReport:
    """Make the values that a file of metadata gives to images the stored ones, in one commit.

    The file is the source of truth: what it no longer says is removed, and without a file
    everything. Equal values commit nothing.

    Args:
        store: The store.
        path: The CSV file, as :func:`panoptic_assets.core.sidecar.parse` reads it, or None.
        paths_of_images: For each image that is present, the paths of its files.
        folder: Where the images' folder is, for lines that name files by whole paths.

    Raises:
        InputError: The file is missing, cannot be read, or is no table of metadata. Nothing is
            written then.
    """
    resolved = sidecar.ImageValues({}, 0, 0, (), sidecar.Findings((), 0))
    if path is not None:
        resolved = sidecar.resolve(_parse_sidecar(path), paths_of_images, folder)
    result = hashlib.sha256()
    parts = [SCHEMAS["property_values"].empty_table()]
    for found in sorted(resolved.values, key=lambda found: found.name):
        values = resolved.values.pop(found)  # let go of one property after the other
        image_ids = sorted(values)
        in_order = [values[image_id] for image_id in image_ids]
        result.update(_values_hash(found, image_ids, in_order).encode())
        parts.append(_property_rows(found, image_ids, in_order))
    rows = pa.concat_tables(parts)
    return SidecarReport(
        resolved.nb_rows,
        len(parts) - 1,
        rows.num_rows,
        resolved.nb_unmatched,
        resolved.unmatched,
        resolved.findings,
        result.hexdigest(),
        write_properties(store, rows),
    )


def write_properties(store: LanceStore, rows: pa.Table) -> bool:
    """Make ``rows`` all of ``property_values``, in one commit; False, and none, if they were.

    Args:
        store: The store.
        rows: Of that table's schema, by property and image id.
    """
    if _are_stored(store, rows):
        return False
    store.replace("property_values", rows, "true")
    return True


def read_properties(
    store: LanceStore, property_name: str | None = None, version: int | None = None
) -> pa.Table:
    """The values of a property, or of all, by property and image id.

    Args:
        store: The store.
        property_name: The property; all by default.
        version: The version of ``property_values`` to read; the newest by default.
    """
    where = None if property_name is None else f"property = {quoted(property_name)}"
    rows = store.read("property_values", where=where, version=version)
    return rows.sort_by([("property", "ascending"), ("image_id", "ascending")])


VALUE_COLUMNS: dict[sidecar.PropertyType, str] = {
    "text": "text",
    "number": "number",
    "date": "date",
    "tag": "tags",
    "multi_tags": "tags",
}
"""For each type of property, the column of ``property_values`` that holds its values."""


def _are_stored(store: LanceStore, rows: pa.Table) -> bool:
    if store.count("property_values") != rows.num_rows:
        return False
    start = 0
    # One property after the other: reading and sorting all takes three times the memory.
    for entry in rows["property"].value_counts().to_pylist():
        part = rows.slice(start, entry["counts"])
        if not read_properties(store, entry["values"]).equals(part):
            return False
        start += entry["counts"]
    return True


def _parse_sidecar(path: Path) -> sidecar.Sidecar:
    # Opening a FIFO would wait for ever.
    if not path.is_file():
        raise InputError(
            f"The file of metadata {path} does not exist or is not a file: put it there, or "
            "correct or empty `metadata` in .panoptic/project.yaml."
        )
    try:
        with path.open("rb") as file:
            return sidecar.parse(file)
    except sidecar.SidecarError as error:
        raise InputError(f"{path}: {error}") from error
    except OSError as error:
        raise InputError(
            f"The file of metadata {path} cannot be read ({error.strerror}): correct its "
            "permissions, or `metadata` in .panoptic/project.yaml."
        ) from error


def _values_hash(found: sidecar.Property, image_ids: list[str], values: list[sidecar.Value]) -> str:
    plain = [value.isoformat() if isinstance(value, datetime) else value for value in values]
    return digest(found.name, found.type, image_ids, plain)


def _property_rows(
    found: sidecar.Property, image_ids: list[str], values: list[sidecar.Value]
) -> pa.Table:
    schema = SCHEMAS["property_values"]
    columns = {field.name: pa.nulls(len(values), field.type) for field in schema}
    columns["image_id"] = pa.array(image_ids, pa.string())
    columns["property"] = pa.repeat(found.name, len(values))
    columns["type"] = pa.repeat(found.type, len(values))
    name = VALUE_COLUMNS[found.type]
    columns[name] = pa.array(values, schema.field(name).type)
    return pa.table(columns, schema=schema)


def _cluster_order(name: str) -> tuple[bool, int]:
    return (True, 0) if name == REMAINDER_NAME else (False, int(name))

"""Vectors in the store, and what is computed from them alone: neighbour graphs, points.

Belongs here: reading and writing them with the proof of what was read. Does not belong here: making
them (``resources.engine``, ``clustering``).
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel

from panoptic_assets.features.neighbors import Graph
from panoptic_assets.spec.computation import Vectors
from panoptic_assets.spec.keys import vector_type_of
from panoptic_assets.spec.records import FIRST_ALGORITHM, Input, ProjectionRecord, vectors_hash
from resources.errors import InputError, message
from resources.lance import LanceStore, quoted
from resources.schemas import (
    NEIGHBORS_SCHEMA,
    neighbors_table,
    points_schema,
    points_table,
    vectors_table,
)

MODEL_METADATA = "panoptic:model"
"""Key of a vector table's metadata that holds the identity of the model, as JSON."""


DECODER = "decoder"
"""Name in that identity of the decoder's number (:data:`resources.decoding.ALGORITHM`), which, as
in records, is left out while it is the first; so in that of imported vectors."""


GRAPH_METADATA = "panoptic:graph"
"""Key of a neighbour table's metadata that holds a :class:`GraphInfo`, as JSON."""


PROJECTION_METADATA = "panoptic:projection"
"""Key of a point table's metadata that holds a projection's record, as JSON."""


def embedded(store: LanceStore, vector_type: str) -> set[str]:
    """Ids of the images that have a vector."""
    return {
        image_id
        for batch in store.batches(vectors_table(vector_type), ["image_id"])
        for image_id in batch["image_id"].to_pylist()
    }


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
        raise _without_vectors(store, vector_type, len(wanted))
    return found


def _without_vectors(store: LanceStore, vector_type: str, nb_images: int) -> InputError:
    return InputError(
        "None of the {nb_images} images has a vector of type {vector_type!r}: materialize "
        "`embeddings` first (`panoptic-assets refresh --vector-type {vector_type}`). Vector "
        "types that have vectors: {known}.",
        id="images-without-vectors",
        nb_images=nb_images,
        vector_type=vector_type,
        known=", ".join(vector_types(store)) or message("none yet", id="none-yet"),
    )


def _read_column(
    store: LanceStore, table: str, column: str, image_ids: Iterable[str] | None = None
) -> ReadVectors | None:
    """A column of fixed-size lists, of all images or some; None when the table does not exist."""
    version = store.version(table)
    if not version:
        return None
    found = store.read(table, ["image_id", column], version=version)
    ids = found["image_id"].combine_chunks()
    rows = pc.sort_indices(ids)
    if image_ids is not None:
        wanted = pa.array(list(image_ids), pa.string())
        rows = rows.filter(pc.is_in(ids.take(rows), value_set=wanted))
    flat = found[column].combine_chunks().flatten().to_numpy()
    shape = len(found), found.schema.field(column).type.list_size
    # One copy: of 20,000 vectors each is 40 MB, which the server would keep for the next page.
    vectors = flat.reshape(shape)[rows.to_numpy()].astype(np.float32, copy=False)
    ids = ids.take(rows).to_pylist()
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
        raise _without_points(store, features, len(read.image_ids))
    rows = np.flatnonzero(np.isin(read.image_ids, found.image_ids))
    return Features(found.image_ids, found.vectors, read.vectors[rows], [read.source, found.source])


def _without_points(store: LanceStore, key: str, nb_images: int) -> InputError:
    return InputError(
        "None of the {nb_images} images has a point of projection {projection!r}: materialize "
        "`projection` first (`panoptic-assets project {projection}`). Projections that have "
        "points: {known}.",
        id="images-without-points",
        nb_images=nb_images,
        projection=key,
        known=", ".join(projections(store)) or message("none yet", id="none-yet"),
    )


def check_features(store: LanceStore, features: str, nb_images: int) -> None:
    """Refuse features that no image has, without reading them.

    Args:
        store: The store.
        features: A vector type or a projection.
        nb_images: How many images are asked about, for the message.

    Raises:
        InputError: There are no such features.
    """
    vector_type = vector_type_of(features)
    if not store.version(vectors_table(vector_type)):
        raise _without_vectors(store, vector_type, nb_images)
    if features != vector_type and not store.version(points_table(features)):
        raise _without_points(store, features, nb_images)


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


def graph_info(store: LanceStore, vector_type: str) -> GraphInfo | None:
    """What is known of the neighbour graph of a vector type; None when there is none."""
    content = _metadata(store, neighbors_table(vector_type), GRAPH_METADATA)
    return None if content is None else GraphInfo.model_validate_json(content)


def read_graph(store: LanceStore, vector_type: str) -> StoredGraph | None:
    """The neighbour graph of a vector type; None when there is none."""
    table = neighbors_table(vector_type)
    version = store.version(table)
    info = graph_info(store, vector_type)
    if info is None:
        return None
    rows = store.read(table, version=version).sort_by("image_id")
    shape = len(rows), max(0, min(info.k, len(rows) - 1))
    neighbors, similarities = (
        rows[name].combine_chunks().flatten().to_numpy().reshape(shape)
        for name in ("neighbors", "similarities")
    )
    graph = Graph(neighbors, similarities)
    ids, hashes = (rows[name].to_pylist() for name in ("image_id", "vector_hash"))
    return StoredGraph(ids, hashes, graph, info, version)


def nearest_in_graph(
    store: LanceStore, vector_type: str, image_id: str
) -> list[tuple[str, float]] | None:
    """The neighbours of one image with their cosines, the most similar first.

    None where no graph is stored, or vectors have changed since it was computed, or the image is
    not in it.
    """
    table = neighbors_table(vector_type)
    info = graph_info(store, vector_type)
    if info is None or info.vectors.version != store.version(info.vectors.table):
        return None
    mine = store.read(table, ["neighbors", "similarities"], f"image_id = {quoted(image_id)}")
    if not len(mine):
        return None
    ids = store.read(table, ["image_id"])["image_id"].combine_chunks()
    ids = ids.take(pc.sort_indices(ids))  # the order by which neighbours are numbered
    rows, similarities = (mine[name].combine_chunks().flatten() for name in mine.column_names)
    return list(zip(ids.take(rows).to_pylist(), similarities.to_pylist(), strict=True))


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


def vector_types(store: LanceStore) -> list[str]:
    """Vector types that have a table."""
    prefix = vectors_table("")
    return sorted(name.removeprefix(prefix) for name in store.tables() if name.startswith(prefix))


def decoder_of(identity: Mapping[str, Any]) -> int:
    """The number of the decoder whose pixels the model of a vector type saw."""
    return int(identity.get(DECODER, FIRST_ALGORITHM))


def model_identity(store: LanceStore, vector_type: str) -> dict[str, Any] | None:
    """Which model, options and weights made a vector type; None when it has no vectors."""
    schema = store.schema_of(vectors_table(vector_type))
    if schema is None:
        return None
    identity: dict[str, Any] = json.loads(schema.metadata[MODEL_METADATA.encode()])
    return identity

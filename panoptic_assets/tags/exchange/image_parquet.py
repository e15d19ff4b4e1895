"""One Parquet file of all images, for viewers of embeddings and for whoever asks in SQL.

Belongs here: which columns it has, in which order its rows come, and which tags it names when it
comes back. Does not belong here: what the columns hold (``tags.exchange.image_columns``), and tags
row by row (``tags.exchange.formats``).

Embedding Atlas (0.26) takes ``x``, ``y``, ``vector``, ``neighbors`` and ``image`` by these names,
DuckDB and pandas take all: a neighbour is the number of a row, from 0, and a picture is a struct of
``bytes`` and ``path``.
"""

import importlib.metadata
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from panoptic_assets.clustering.table import Clusterings
from panoptic_assets.features.table import (
    StoredGraph,
    check_features,
    model_identity,
    projection_record,
    read_graph,
    read_points,
)
from panoptic_assets.spec.keys import parse_name, parse_projection, parse_run_key
from panoptic_assets.spec.languages import N_
from panoptic_assets.tags.exchange.formats import ExchangeError, Labelled
from panoptic_assets.tags.exchange.image_columns import (
    TAGS,
    ImageColumns,
    clusters,
    inventory_columns,
    path_columns,
    point_columns,
    sizes,
    tag_columns,
)
from resources.decoding import decode, jpeg
from resources.lance import LanceStore, one_of
from resources.schemas import vectors_table
from resources.vectors_file import OWN_TABLE

_ROWS = 8_192
"""In a group; with vectors of 512 numbers, 17 MB."""
_ASKED = 1_000
"""Ids in one SQL condition."""
_READ = 2_048
"""Rows of such a file that are read at a time for their tags."""
_NEIGHBORS = 15
"""The most that are written of an image, itself among them; Embedding Atlas looks for as many."""
_SIDE = 160
"""Pixels of a picture's longer side: that of the thumbnails."""
_PICTURE = pa.struct({"bytes": pa.binary(), "path": pa.string()})
_NEAREST = pa.struct({"ids": pa.list_(pa.int32()), "distances": pa.list_(pa.float32())})


@dataclass(frozen=True)
class ChosenColumns:
    """What goes into the file beside paths, sizes, tags and the inventory."""

    run: str | None = None
    """Whose clusters are told."""
    projection: str | None = None
    """Whose points are told."""
    vector_type: str | None = None
    """Whose vectors go in, with the nearest neighbours if they are known."""
    thumbnails: bool = False
    """Whether small pictures go in."""


def write_image_parquet(
    labelled: Labelled,
    store: LanceStore,
    chosen: ChosenColumns,
    locate: Callable[[str], str | None],
    draft: Path,
) -> int:
    """Write the file; how many images it has.

    Each image that is present or carries a tag is one row, whatever its files. With vectors, rows
    come as the store holds them, and images without one last; else by image id. Only a group of
    rows is in memory with its vectors and pictures: 100,000 images of 512 numbers, with neighbours,
    take 6 CPU seconds and 0.5 GB beside the tags, most of it Lance's reading ahead.

    Args:
        labelled: The tags, and the files of images.
        store: The store.
        chosen: What goes in beside them.
        locate: Where the file of a path lies, absolute or as a URL; None if no program could tell.
        draft: The file.

    Raises:
        InputError: There is no such run, projection or vector type.
    """
    told: dict[str, Any] = {
        "program": f"panoptic_assets {importlib.metadata.version('panoptic-assets')}"
    }
    columns = [path_columns(labelled.files), sizes(store)]
    everyone = {*labelled.files, *(image_id for _, image_id in labelled.tables.images)}
    if chosen.run is not None:
        clusterings = Clusterings(store, parse_run_key(chosen.run))
        columns.append(clusters(store, clusterings, chosen.run))
        records = clusterings.valid(chosen.run)
        told["run"] = chosen.run
        told["records"] = {key: record.record_id for key, record in records.items()}
    columns += [*tag_columns(labelled.tables), *inventory_columns(store)]
    if chosen.projection is not None:
        parse_projection(chosen.projection)
        check_features(store, chosen.projection, len(everyone))
        told["projection"] = chosen.projection
        if (record := projection_record(store, chosen.projection)) is not None:
            told["projection_output"] = record.output
        if (points := read_points(store, chosen.projection)) is not None:
            columns.append(point_columns(points, chosen.projection))
    if chosen.vector_type is not None:
        check_features(store, parse_name(chosen.vector_type, N_("vector type")), len(everyone))
        told["vector_type"] = chosen.vector_type
        told["model"] = model_identity(store, chosen.vector_type)
    order = _Order(store, chosen.vector_type, everyone)
    rows = _Rows(columns, order, store if chosen.thumbnails else None, locate)
    metadata = {OWN_TABLE: json.dumps(told, ensure_ascii=False)}
    schema = pa.schema(rows.fields, metadata=metadata)
    # Vectors and pictures repeat nothing, and a dictionary of them is built in vain.
    names = [name for name in schema.names if name not in ("vector", "image")]
    with pq.ParquetWriter(draft, schema, compression="zstd", use_dictionary=names) as writer:
        for image_ids, vectors in order.groups():
            writer.write_table(pa.Table.from_arrays(rows.of(image_ids, vectors), schema=schema))
    return len(everyone)


class _Order:
    """In which order images are written, and their vectors in this order.

    Args:
        store: The store.
        vector_type: Whose vectors; None for none, and the order of image ids.
        wanted: The images.
    """

    def __init__(self, store: LanceStore, vector_type: str | None, wanted: set[str]):
        self._table = None if vector_type is None else vectors_table(vector_type)
        self.graph: StoredGraph | None = None
        self.size = 0
        first: list[pa.Array] = []
        rest = wanted
        if vector_type is not None and self._table is not None:
            version = store.version(self._table)
            # One version for the order and for the vectors, whoever writes meanwhile.
            self._store = store.at({self._table: version})
            kind = self._store.schema_of(self._table)
            self.size = kind.field("vector").type.list_size if kind else 0
            known = pa.array(sorted(wanted), pa.string())
            for batch in self._store.batches(self._table, ["image_id"]):
                first.append(batch["image_id"].filter(pc.is_in(batch["image_id"], known)))
            rest = wanted.difference(*(ids.to_pylist() for ids in first))
            graph = read_graph(store, vector_type)
            if graph is not None and graph.info.vectors.version == version:
                self.graph = graph
        self._rest = pa.array(sorted(rest), pa.string())
        self.image_ids = pa.concat_arrays([pa.array([], pa.string()), *first, self._rest])

    def groups(self) -> Iterator[tuple[pa.Array, pa.Array | None]]:
        """The images in groups, with their vectors, null where one has none."""
        waiting: list[pa.RecordBatch] = []
        if self._table is not None:
            for batch in self._store.batches(self._table, ["image_id", "vector"]):
                waiting.append(batch.filter(pc.is_in(batch["image_id"], self.image_ids)))
                if sum(map(len, waiting)) >= _ROWS:
                    yield _joined(waiting)
                    waiting = []
            if any(map(len, waiting)):
                yield _joined(waiting)
        for start in range(0, len(self._rest), _ROWS):
            part = self._rest.slice(start, _ROWS)
            yield part, pa.nulls(len(part), self.vector) if self._table else None

    @property
    def vector(self) -> pa.DataType:
        """The type of the column of vectors."""
        return pa.list_(pa.float32(), self.size)


def _joined(batches: list[pa.RecordBatch]) -> tuple[pa.Array, pa.Array]:
    table = pa.Table.from_batches(batches).combine_chunks()
    return table["image_id"].combine_chunks(), table["vector"].combine_chunks()


class _Rows:
    """Makes the rows of some images.

    Args:
        columns: What is told of them, one column after the other.
        order: All images in their order.
        pictures: The store whose thumbnails go in; None for none.
        locate: Where the file of a path lies.
    """

    def __init__(
        self,
        columns: list[ImageColumns],
        order: _Order,
        pictures: LanceStore | None,
        locate: Callable[[str], str | None],
    ):
        self._columns, self._pictures, self._locate = columns, pictures, locate
        self._graph = None if order.graph is None else _Nearest(order.graph, order.image_ids)
        self.fields = [pa.field("image_id", pa.string(), metadata=_meaning("The image's id."))]
        self.fields += [field for part in columns for field in part.fields]
        meaning = "Where the file of the path lies, absolute or as a URL."
        self.fields.insert(3, pa.field("file", pa.string(), metadata=_meaning(meaning)))
        if pictures is not None:
            meaning = "A small picture: the bytes of a JPEG."
            self.fields.append(pa.field("image", _PICTURE, metadata=_meaning(meaning)))
        if self._graph is not None:
            meaning = "The image and the nearest ones: rows of this file from 0, and 1 - cosine."
            self.fields.append(pa.field("neighbors", _NEAREST, metadata=_meaning(meaning)))
        if order.size:
            meaning = "Of unit length; null where the image has none."
            self.fields.append(pa.field("vector", order.vector, metadata=_meaning(meaning)))

    def of(self, image_ids: pa.Array, vectors: pa.Array | None) -> list[pa.Array]:
        """The arrays of the fields for some images."""
        arrays = [image_ids, *(array for part in self._columns for array in part.of(image_ids))]
        located = [path and self._locate(path) for path in arrays[1].to_pylist()]
        arrays.insert(3, pa.array(located, pa.string()))
        if self._pictures is not None:
            arrays.append(_pictures(self._pictures, image_ids.to_pylist()))
        if self._graph is not None:
            arrays.append(self._graph.of(image_ids))
        return arrays if vectors is None else [*arrays, vectors]


def _meaning(text: str) -> dict[str, str]:
    return {"description": text}


class _Nearest:
    """The nearest neighbours as numbers of rows of the file.

    Each image has itself first, and as many as every other has: Embedding Atlas makes its own so,
    and stacks them. Where fewer are known, the image stands for them.

    Args:
        stored: The graph.
        image_ids: The images of the file, in its order.
    """

    def __init__(self, stored: StoredGraph, image_ids: pa.Array):
        self._known = pa.array(stored.image_ids, pa.string())
        self._graph = stored.graph
        self._image_ids = image_ids
        self._rows = _numbers(pc.index_in(self._known, value_set=image_ids))
        self._size = min(_NEIGHBORS, 1 + stored.graph.indices.shape[1])

    def of(self, image_ids: pa.Array) -> pa.Array:
        """Those of some images."""
        own = _numbers(pc.index_in(image_ids, value_set=self._image_ids))
        rows = np.repeat(own[:, None], self._size, axis=1)
        distances = np.zeros(rows.shape, np.float32)
        for at, place in enumerate(_numbers(pc.index_in(image_ids, value_set=self._known))):
            if place < 0:
                continue
            near = self._rows[self._graph.indices[place]]
            kept = np.flatnonzero(near >= 0)[: self._size - 1]  # the others are of no row
            rows[at, 1 : 1 + len(kept)] = near[kept]
            distances[at, 1 : 1 + len(kept)] = 1 - self._graph.similarities[place][kept]
        offsets = np.arange(0, rows.size + 1, self._size, dtype=np.int32)
        lists = [
            pa.ListArray.from_arrays(offsets, pa.array(each.ravel(), field.type.value_type))
            for each, field in zip((rows, distances), _NEAREST, strict=True)
        ]
        return pa.StructArray.from_arrays(lists, fields=list(_NEAREST))


def _numbers(indices: pa.Array) -> npt.NDArray[np.int32]:
    found: npt.NDArray[np.int32] = indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return found


def _pictures(store: LanceStore, image_ids: list[str]) -> pa.Array:
    """Small pictures as JPEG: the stored ones are WebP, which not every viewer takes for one."""
    made: dict[str, dict[str, Any]] = {}
    for start in range(0, len(image_ids), _ASKED):
        where = one_of("image_id", image_ids[start : start + _ASKED])
        for row in store.read("images", ["image_id", "thumbnail"], where).to_pylist():
            if row["thumbnail"]:
                data = jpeg(decode(row["thumbnail"]).rgb, _SIDE)
                made[row["image_id"]] = {"bytes": data, "path": f"{row['image_id']}.jpg"}
    return pa.array([made.get(image_id) for image_id in image_ids], _PICTURE)


def holds_tags(schema: pa.Schema) -> bool:
    """Whether a Parquet file has such columns of tags."""
    return "image_id" in schema.names and bool(_tag_fields(schema))


def read_tag_rows(table: pq.ParquetFile) -> Iterator[tuple[str, str, str, str]]:
    """Image id, path, property and tag of each tag that the file names; see :func:`holds_tags`.

    Raises:
        ExchangeError: A column that counts is there twice, or names images otherwise than by texts.
    """
    fields = _tag_fields(table.schema_arrow)
    given = table.schema_arrow.names
    names = [name for name in ("image_id", "path") if name in given]
    for name in (*names, *fields):
        is_once = given.count(name) == 1
        if not is_once or (name in names and table.schema_arrow.field(name).type not in _TEXTS):
            raise ExchangeError(
                "Its column {column} is there twice, or holds no texts: export it anew, or leave "
                "one out.",
                id="parquet-column-unusable",
                column=name,
            )
    for batch in table.iter_batches(_READ, columns=[*names, *fields]):
        ids = batch["image_id"].to_pylist()
        paths = batch["path"].to_pylist() if "path" in names else [None] * len(ids)
        for name in fields:
            for image_id, path, tags in zip(ids, paths, batch[name].to_pylist(), strict=True):
                for tag in tags or ():
                    yield image_id or "", path or "", name.removeprefix(TAGS), tag or ""


_TEXTS = (pa.string(), pa.large_string())


def _tag_fields(schema: pa.Schema) -> list[str]:
    texts = (pa.list_(pa.string()), pa.large_list(pa.string()), pa.large_list(pa.large_string()))
    return [f.name for f in schema if f.name.startswith(TAGS) and f.type in texts]

"""LanceStore: the tables of one project.

Belongs here: the tables' schemas, and reading and writing them so that no crash or second writer
loses or doubles a row. Does not belong here: what the rows mean.

Every write is one commit. Ids carry Lance's primary-key metadata: without it, two processes that
insert the same new ids both succeed and leave duplicate rows, with no error.
"""

import functools
import uuid
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import dagster as dg
import lancedb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from filelock import FileLock
from lancedb.index import IvfFlat
from pydantic import Field, PrivateAttr

_KEY = {"lance-schema:unenforced-primary-key": "true"}


def _key(name: str) -> pa.Field:
    return pa.field(name, pa.string(), nullable=False, metadata=_KEY)


_KEPT = timedelta(days=7)
"""Age from which :meth:`LanceStore.optimize` removes versions that are not pinned: who reads or
compares an older one has pinned it."""

_FRAGMENT_ROWS = 4096, 1_048_576
"""A fragment with fewer rows than a sixteenth of its table, within these bounds, is joined with
others. Joining all would write the whole table anew after each small refresh, and pinned versions
would keep every old copy."""

_INDEX_PARTITION = 4096
"""Vectors in one partition of an index."""
_PROBED_PARTITIONS = 10
"""Partitions that one search looks into: on 50,000 vectors of 512 numbers, in 200 blobs of 12
intrinsic dimensions, 4 found .9997 of the 50 nearest neighbours, 10 all of them."""

_TIME = pa.timestamp("us", tz="UTC")

SCHEMAS = {
    "images": pa.schema(
        [
            _key("image_id"),  # SHA-256 of the file's bytes, hexadecimal
            pa.field("format", pa.string()),
            pa.field("width", pa.int32()),  # pixels as displayed, EXIF orientation applied
            pa.field("height", pa.int32()),
            pa.field("bytes", pa.int64()),
            pa.field("taken_at", pa.timestamp("us")),  # no time zone, as cameras write it
            pa.field("phash", pa.string()),  # 64 bits, hexadecimal
            pa.field("mean_colour", pa.string()),  # #rrggbb
            pa.field("thumbnail", pa.binary()),  # WebP
            pa.field("added_at", _TIME),
        ]
    ),
    "files": pa.schema(
        [
            _key("path"),  # POSIX, relative to the images' folder
            pa.field("image_id", pa.string()),  # null when the file was never read
            pa.field("status", pa.string()),  # present, missing or quarantined
            pa.field("reason", pa.string()),  # why a file is quarantined
            pa.field("size", pa.int64()),
            pa.field("mtime_ns", pa.int64()),
            pa.field("etag", pa.string()),  # of an object store
            pa.field("reader", pa.string()),  # versions and limits that put it in quarantine
            pa.field("seen_at", _TIME),
        ]
    ),
    "records": pa.schema(
        [
            _key("record_id"),  # see panoptic_assets.records
            pa.field("key", pa.string()),
            pa.field("revision", pa.int32()),
            pa.field("run_key", pa.string()),
            pa.field("content", pa.string()),  # JSON, see panoptic_assets.records
        ]
    ),
    "clusters": pa.schema(
        [
            _key("record_id"),
            _key("cluster"),  # "0", "1", … or "remainder"
            pa.field("key", pa.string()),
            pa.field("size", pa.int32()),
            pa.field("score", pa.float64()),
            pa.field("medoid", pa.string()),  # image id
        ]
    ),
    "assignments": pa.schema(
        [
            _key("record_id"),
            _key("image_id"),
            pa.field("key", pa.string()),
            pa.field("cluster", pa.string()),
            pa.field("distance", pa.float32()),  # 1 - cosine to the cluster's mean
        ]
    ),
    "tag_log": pa.schema(
        [
            _key("event_id"),  # sequence number, 12 digits: sorts as text
            pa.field("at", _TIME),
            pa.field("author", pa.string()),
            pa.field("kind", pa.string()),
            pa.field("reason", pa.string()),
            pa.field("content", pa.string()),  # JSON, see panoptic_assets.core.tags
            pa.field(
                "images", pa.list_(pa.struct({"tag_id": pa.string(), "image_id": pa.string()}))
            ),
        ]
    ),
    "tags": pa.schema(
        [
            _key("tag_id"),
            pa.field("property", pa.string()),
            pa.field("name", pa.string()),
            pa.field("parent_id", pa.string()),
            pa.field("record_id", pa.string()),
            pa.field("node", pa.string()),
            pa.field("is_remainder", pa.bool_()),
        ]
    ),
    "image_tags": pa.schema(
        [_key("tag_id"), _key("image_id"), pa.field("property", pa.string())],
    ),
    "property_values": pa.schema(
        [
            _key("image_id"),
            _key("property"),
            pa.field("type", pa.string()),  # text, number, date, tag or multi_tags
            pa.field("text", pa.string()),
            pa.field("number", pa.float64()),
            pa.field("date", _TIME),
            pa.field("tags", pa.list_(pa.string())),  # paths such as "a > b"; one, of type tag
        ]
    ),
}


def vectors_table(vector_type: str) -> str:
    """Name of the table that holds one vector type."""
    return f"vectors.{vector_type}"


def vectors_schema(dim: int) -> pa.Schema:
    """Rows of a vector type: an image id and a unit-length vector of ``dim`` float32 numbers."""
    return pa.schema(
        [_key("image_id"), pa.field("vector", pa.list_(pa.float32(), dim), nullable=False)]
    )


def neighbors_table(vector_type: str) -> str:
    """Name of the table that holds the nearest-neighbour graph of one vector type."""
    return f"neighbors.{vector_type}"


NEIGHBORS_SCHEMA = pa.schema(
    [
        _key("image_id"),
        pa.field("vector_hash", pa.binary(8), nullable=False),  # of the vector that was compared
        # Numbers of rows, 0 for the smallest image id of this version of the table. They are a
        # sixteenth of the ids' size (100,000 images with 50 neighbours: 20 MB), and cannot dangle,
        # since all rows are replaced in one commit.
        pa.field("neighbors", pa.list_(pa.int32()), nullable=False),
        pa.field("similarities", pa.list_(pa.float32()), nullable=False),  # cosines
    ]
)


def points_table(projection: str) -> str:
    """Name of the table that holds the points of one projection, ``<vector type>/<name>``."""
    return f"points.{projection.replace('/', '.')}"


def points_schema(nb_dimensions: int) -> pa.Schema:
    """Rows of a projection: an image id and a point of ``nb_dimensions`` float32 numbers."""
    return pa.schema(
        [_key("image_id"), pa.field("point", pa.list_(pa.float32(), nb_dimensions), nullable=False)]
    )


def quoted(value: str) -> str:
    """The SQL literal of a text."""
    return "'" + value.replace("'", "''") + "'"


class LanceStore(dg.ConfigurableResource):
    """The project's LanceDB database: a folder or any LanceDB URI."""

    uri: str = Field(
        default="",
        description="Folder or LanceDB URI (s3://…); empty: the store of the project that "
        "$PANOPTIC_PROJECT names or the working directory lies in.",
    )
    storage_options: dict[str, str] = Field(
        default={},
        description="LanceDB storage options, such as region or endpoint; without `uri`, added to "
        "the project's. Secrets belong in the environment (AWS_ACCESS_KEY_ID, …), where LanceDB "
        "reads them itself.",
    )
    _options: dict[str, str] = PrivateAttr(default_factory=dict)

    def tables(self) -> list[str]:
        """Names of all tables. (LanceDB lists a page at a time, 10 by default.)"""
        return _names(self._database)

    def version(self, table: str) -> int:
        """The newest version of a table; 0 when it does not exist."""
        handle = self._find(table)
        return handle.version if handle is not None else 0

    def count(self, table: str, where: str | None = None) -> int:
        """Number of rows."""
        handle = self._find(table)
        return handle.count_rows(where) if handle is not None else 0

    def schema_of(self, table: str) -> pa.Schema | None:
        """The schema that a table has, with its metadata; None when it does not exist."""
        handle = self._find(table)
        return handle.schema if handle is not None else None

    def read(
        self,
        table: str,
        columns: list[str] | None = None,
        where: str | None = None,
        version: int | None = None,
    ) -> pa.Table:
        """Rows of a table, in no particular order; none when it does not exist yet.

        Args:
            table: The table's name.
            columns: The columns to read; all by default.
            where: A SQL condition.
            version: The version to read; the newest by default.
        """
        handle = self._find(table)
        if handle is None:
            schema = SCHEMAS[table]
            names = columns or schema.names
            return pa.schema([schema.field(name) for name in names]).empty_table()
        if version is not None:
            handle.checkout(version)
        return _query(handle, columns, where).to_arrow()

    def batches(
        self, table: str, columns: list[str], where: str | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Rows of a table, streamed: for reads that may not fit in memory."""
        handle = self._find(table)
        if handle is not None:  # an empty table is falsy
            yield from _query(handle, columns, where).to_batches()

    def create(self, table: str, schema: pa.Schema, metadata: dict[str, str]) -> pa.Schema:
        """Create a table unless it exists; either way, return the schema that it has.

        Two processes may call this at once: both then get the schema of the one that was first.
        """
        return self._find_or_create(table, schema.with_metadata(metadata)).schema

    def upsert(self, table: str, rows: pa.Table) -> int:
        """Insert rows, or update those whose key exists, in one commit; returns the new version."""
        return self._merge(table, rows, None)

    def replace(self, table: str, rows: pa.Table, where: str) -> int:
        """Make ``rows`` the only ones that match ``where``, in one commit.

        Deleting first and adding then would lose the old rows to a crash in between.
        """
        return self._merge(table, rows, where)

    def overwrite(self, table: str, rows: pa.Table, metadata: dict[str, str]) -> int:
        """Make a table hold these rows, in their schema, with this metadata, in one commit.

        The table need not exist. What it held before stays as its older versions. Returns the new
        version.
        """
        rows = rows.replace_schema_metadata(metadata)
        with self._creating():
            # Lance warns of a table that is to be overwritten and is not there.
            mode = "overwrite" if self._find(table) is not None else "create"
            return int(self._database.create_table(table, rows, mode=mode).version)

    def insert(self, table: str, row: dict[str, Any]) -> bool:
        """Insert one row whose key is new, in one commit; False, and nothing, if it exists.

        Of several processes that insert the same key at once, exactly one gets True.
        """
        handle = self._writable(table)
        rows = pa.Table.from_pylist([row], schema=handle.schema)
        merge = handle.merge_insert(_keys(handle.schema)).when_not_matched_insert_all()
        return bool(merge.execute(rows).num_inserted_rows)

    def pin(self, table: str, version: int, name: str) -> None:
        """Keep a version from clean-up under ``name`` (letters, digits, ``.``, ``-``, ``_``)."""
        # Lance 13 writes the tag where it belongs, and creates its folder a second time, empty,
        # below the percent-encoded path ("été" as "%C3%A9t%C3%A9"): outside of the store.
        folder = Path(self._database.uri) / f"{table}.lance" / "_refs" / "tags"
        litter = Path("".join(c if c.isascii() else quote(c) for c in str(folder)))
        absent = [path for path in (litter, *litter.parents) if not path.exists()]
        tags = self._database.open_table(table).tags
        if name in tags.list():
            tags.update(name, version)
        else:
            tags.create(name, version)
        if litter != folder:
            with suppress(OSError):
                for path in absent:
                    path.rmdir()

    def index(self, table: str) -> None:
        """Give a vector table an index for :meth:`search`, or let its index take up new rows."""
        handle = self._database.open_table(table)
        if handle.list_indices():
            handle.to_lance().optimize.optimize_indices()
            return
        partitions = max(1, handle.count_rows() // _INDEX_PARTITION)
        config = IvfFlat(distance_type="cosine", num_partitions=partitions)
        handle.create_index("vector", config=config)

    def search(
        self, table: str, vectors: npt.NDArray[np.float32], limit: int
    ) -> tuple[npt.NDArray[np.int64], pa.Array]:
        """Rows of a vector table that its index finds near to some vectors, by cosine.

        Args:
            table: A table that has an index.
            vectors: (n, d) what to look for.
            limit: Rows for each of them, at most.

        Returns:
            For each row that was found, which of the vectors it is near to, and its image id.
        """
        query = self._database.open_table(table).search(list(vectors)).distance_type("cosine")
        found = query.nprobes(_PROBED_PARTITIONS).limit(limit).select(["image_id", "_distance"])
        rows = found.to_arrow().combine_chunks()
        # LanceDB leaves the number of the query out when there is one query only.
        numbers = (
            rows["query_index"].to_numpy().astype(np.int64)
            if "query_index" in rows.column_names
            else np.zeros(len(rows), np.int64)
        )
        return numbers, rows["image_id"].combine_chunks()

    def stage(self, table: str, rows: pa.Table) -> str:
        """Write rows of a table where no reader sees them; return the name to commit them by.

        Any process that reaches the store can stage, at the same time as others.
        """
        name = uuid.uuid4().hex
        self._staging(table).create_table(name, rows)
        return name

    def staged(self, table: str) -> list[str]:
        """Names of what is staged and not committed: what a crash has left."""
        staging = self._staging(table)
        return sorted(name for name in _names(staging) if _opened(staging, name) is not None)

    def commit(self, table: str, names: Iterable[str]) -> int:
        """Make staged rows part of a table, in one commit; return how many were new.

        A row whose key is in the table, or occurred before, is left out. So committing again after
        a crash, or in two processes at once, doubles nothing: Lance's own fragments could be
        appended without copying, but an append never conflicts, and the same ones appended twice
        are doubled rows. 4,096 vectors of 512 take 60 ms in a table of 20,000.
        """
        staging = self._staging(table)
        found: dict[str, pa.Table] = {}
        for name in names:
            try:
                found[name] = staging.open_table(name).to_arrow()
            except (ValueError, OSError, RuntimeError):
                # What is gone was committed by another process, which removes it afterwards.
                if name in self.staged(table):
                    raise
        if not found:
            return 0
        handle = self._writable(table)
        keys = _keys(handle.schema)
        rows = _first_of_each(pa.concat_tables(found.values()), keys)
        merge = handle.merge_insert(keys).when_not_matched_insert_all()
        inserted = int(merge.execute(rows).num_inserted_rows)
        self.discard(table, found)
        return inserted

    def discard(self, table: str, names: Iterable[str]) -> None:
        """Remove what was staged; what is gone already is no error."""
        staging = self._staging(table)
        for name in names:
            staging.drop_table(name, ignore_missing=True)

    def optimize(self, table: str, keep: timedelta = _KEPT) -> None:
        """Join small fragments, and remove versions that are neither pinned nor young.

        Without anything to join or remove, nothing is committed.

        Args:
            table: The table's name.
            keep: Age up to which versions stay without a pin.
        """
        handle = self._find(table)
        if handle is None:  # an empty table is falsy
            return
        # LanceDB's own optimize() fails as soon as a pinned version is older than `keep`.
        dataset = handle.to_lance()
        least, most = _FRAGMENT_ROWS
        target = min(most, max(least, dataset.count_rows() // 16))
        dataset.optimize.compact_files(target_rows_per_fragment=target)
        dataset.cleanup_old_versions(keep, error_if_tagged_old_versions=False)

    @functools.cached_property
    def _database(self) -> Any:
        uri, options = self.uri, self.storage_options
        if not uri:
            from resources.project import find

            project = find()
            uri, options = project.store, project.settings.storage_options | options
        self._options = options
        return lancedb.connect(uri, storage_options=options or None)

    def _staging(self, table: str) -> Any:
        """A database of its own below the store: LanceDB then reads and writes it anywhere."""
        uri = f"{self._database.uri.rstrip('/')}/staging/{table}"
        return lancedb.connect(uri, storage_options=self._options or None)

    def _find(self, table: str) -> Any | None:
        handle = _opened(self._database, table)
        if handle is not None and table in SCHEMAS:
            lacking = [field for field in SCHEMAS[table] if field.name not in handle.schema.names]
            if lacking:  # made by an older version of this program
                return self._add_columns(table, lacking)
        return handle

    def _add_columns(self, table: str, lacking: list[pa.Field]) -> Any:
        with self._creating():
            handle: Any = _opened(self._database, table)
            lacking = [field for field in lacking if field.name not in handle.schema.names]
            if lacking:
                handle.add_columns(pa.schema(lacking))
            return handle

    def _find_or_create(self, table: str, schema: pa.Schema) -> Any:
        handle = self._find(table)
        if handle is not None:
            return handle
        with self._creating():
            # exist_ok alone is no guard: of two processes that create a table at once, the second
            # overwrites the first one's, with the rows that it has by then.
            handle = self._find(table)
            return self._database.create_table(table, schema=schema) if handle is None else handle

    def _creating(self) -> AbstractContextManager[Any]:
        location = self._database.uri
        if "://" in location:  # no lock on an object store: there the writers' pool is the guard
            return nullcontext()
        Path(location).mkdir(parents=True, exist_ok=True)
        return FileLock(Path(location) / "create.lock")

    def _writable(self, table: str) -> Any:
        if table in SCHEMAS:
            return self._find_or_create(table, SCHEMAS[table])
        return self._database.open_table(table)

    def _merge(self, table: str, rows: pa.Table, replaced: str | None) -> int:
        handle = self._writable(table)
        merge = (
            handle.merge_insert(_keys(handle.schema))
            .when_matched_update_all()
            .when_not_matched_insert_all()
        )
        if replaced is not None:
            merge = merge.when_not_matched_by_source_delete(replaced)
        return int(merge.execute(rows).version)


def _names(database: Any) -> list[str]:
    names: list[str] = []
    token: str | None = None
    while True:
        page = database.list_tables(page_token=token, limit=1000)
        names += page.tables
        token = page.page_token
        if not token:
            return names


def _opened(database: Any, table: str) -> Any | None:
    """The table; None when it does not exist, or was not written to its end."""
    try:
        return database.open_table(table)
    except ValueError as error:
        if "not found" in str(error):
            return None
        raise


def _first_of_each(rows: pa.Table, keys: list[str]) -> pa.Table:
    """Of rows with equal keys, the first."""
    seen: set[tuple[Any, ...]] = set()
    chosen = []
    for number, key in enumerate(zip(*(rows[name].to_pylist() for name in keys), strict=True)):
        if key not in seen:
            seen.add(key)
            chosen.append(number)
    return rows if len(chosen) == len(rows) else rows.take(chosen)


def _query(handle: Any, columns: list[str] | None, where: str | None) -> Any:
    query = handle.search()
    if columns:
        query = query.select(columns)
    return query.where(where) if where else query


def _keys(schema: pa.Schema) -> list[str]:
    marked = b"lance-schema:unenforced-primary-key"
    return [field.name for field in schema if field.metadata and marked in field.metadata]

"""LanceStore: the tables of one project.

Belongs here: the tables' schemas, and reading and writing them so that no crash or second writer
loses or doubles a row. Does not belong here: what the rows mean.

Every write is one commit. Ids carry Lance's primary-key metadata: without it, two processes that
insert the same new ids both succeed and leave duplicate rows, with no error.

Long because it is one class, whose methods share one connection and one way to commit.
"""

import functools
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from resources.errors import InputError, newer_format
from resources.lance_database import LanceDatabase
from resources.schemas import SCHEMAS

FORMAT = 1
"""Number of the form in which a store holds what it holds, raised when an older program could not
go on with it. A new column is no new form (see :data:`SCHEMAS`). The store of a program that knew
no number has none, which counts as 1."""

MIGRATIONS: dict[int, Callable[["LanceStore"], None]] = {}
"""For each older format, what makes the next one of it. A process may be killed before the new
number is written: a migration that is done again must find what it did, and end the same."""


_KEEP = timedelta(days=7)
"""How long a version stays readable after its successor: longer than a reader or writer runs. Lance
takes as long before it removes the files of a write that crashed."""

_JOINED = (4_096, 32_768, 262_144)
"""Sizes in rows, smallest first: fragments between one and the next are joined into the next."""

_FAN_IN = 8
"""Fragments of one size that are joined at once, at least. A row is so rewritten a few times in its
life, where Lance's default (all fragments below 2**20 rows, at every call) rewrites the whole of a
20,000-row table for 200 new rows. Reading 300 fragments instead of one costs 0.1 s."""

_FORMAT_TABLE = re.compile(r"format\.(\d+)")
"""Name of the empty table that tells a store's format; of several, the greatest counts. A name
costs one listing to read, appears at once and whole, and can be wherever LanceDB's tables are."""

_STAGING = "_staged"
"""Folder of the staged rows, beside the tables: a table's own folder ends in ``.lance``."""

_STAGED_FILE = re.compile(r"([0-9a-f]{32})\.lance")

_ENCODED = '"#%*<>?[\\]^`{|}~'
"""ASCII that Lance's storage layer percent-encodes in paths, as it does all that is not ASCII."""

_ATTEMPTS = 10
"""How often adding columns may lose against another writer."""

_INDEX_PARTITION = 4096
"""Vectors in one partition of an index."""
_PROBED_PARTITIONS = 10
"""Partitions that one search looks into: on 50,000 vectors of 512 numbers, in 200 blobs of 12
intrinsic dimensions, 4 found .9997 of the 50 nearest neighbours, 10 all of them."""


def quoted(value: str) -> str:
    """The SQL literal of a text.

    Raises:
        InputError: It holds halves of characters, which no table does.
    """
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            "{value!r} is not valid text: write it in UTF-8.", id="text-not-utf8", value=value
        ) from error
    return "'" + value.replace("'", "''") + "'"


def one_of(column: str, values: Iterable[str]) -> str:
    """The SQL condition that a column has one of some texts; never true where there are none.

    Raises:
        InputError: One holds halves of characters, which no table does.
    """
    listed = ", ".join(map(quoted, values))
    return f"{column} IN ({listed})" if listed else "false"


class VersionGoneError(InputError):
    """A version of a table that is asked for was removed."""


class LanceStore(BaseModel):
    """The project's LanceDB database: a folder or any LanceDB URI."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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

    _versions: dict[str, int] = PrivateAttr(default_factory=dict)
    _only: dict[str, str] = PrivateAttr(default_factory=dict)

    def at(self, versions: Mapping[str, int], only: Mapping[str, str] | None = None) -> Self:
        """The store as it was when some tables had these versions; it is for reading.

        Args:
            versions: For tables, their versions; 0: the table did not exist. Tables that are not
                named are read at their newest version.
            only: For tables, the SQL condition of the rows that are seen; all by default.
        """
        past = self.model_copy()
        past._versions = dict(versions)
        past._only = dict(only or {})
        return past

    def tables(self) -> list[str]:
        """Names of all tables."""
        names = self._database.names()
        return [name for name in names if not _FORMAT_TABLE.fullmatch(name)]

    def version(self, table: str) -> int:
        """The newest version of a table; 0 when it does not exist."""
        handle = self._find(table)
        return int(handle.version) if handle is not None else 0

    def count(self, table: str, where: str | None = None) -> int:
        """Number of rows."""
        handle = self._find(table)
        return int(handle.count_rows(self._seen(table, where))) if handle is not None else 0

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

        Raises:
            VersionGoneError: The version was removed.
        """
        handle = self._find(table, version)
        if handle is None:
            schema = SCHEMAS[table]
            names = columns or schema.names
            return pa.schema([schema.field(name) for name in names]).empty_table()
        return handle.to_table(columns=columns or None, filter=self._seen(table, where))

    def batches(
        self, table: str, columns: list[str], where: str | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Rows of a table, streamed: for reads that may not fit in memory.

        Memory does not grow with the table: 0.3 GB for 800,000 x 512 floats (1.6 GB), in fragments
        of 25,000 rows or of 270,000.
        """
        handle = self._find(table)
        if handle is None:  # an empty table is falsy
            return
        # Lance's own numbers read as far ahead as it can: 0.65 GB and twice the CPU seconds.
        scanner = handle.scanner(
            columns=columns,
            filter=self._seen(table, where),
            batch_size=4096,
            batch_readahead=2,
            fragment_readahead=1,
            io_buffer_size=32 * 2**20,
        )
        yield from scanner.to_batches()

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
            self._mark()
            # Lance warns of a table that is to be overwritten and is not there.
            mode = "overwrite" if self._find(table) is not None else "create"
            return int(self._database.write(table, rows, mode).version)

    def insert(self, table: str, row: dict[str, Any]) -> bool:
        """Insert one row whose key is new, in one commit; False, and nothing, if it exists.

        Of several processes that insert the same key at once, exactly one gets True.
        """
        schema = self._writable(table).schema
        return bool(self.append(table, pa.Table.from_pylist([row], schema=schema)))

    def append(self, table: str, rows: pa.Table) -> int:
        """Insert those of some rows whose key is new, in one commit; returns how many were.

        Rows that exist stay as they are.
        """
        handle = self._writable(table)
        merge = handle.merge_insert(_keys(handle.schema)).when_not_matched_insert_all()
        return int(merge.execute(rows)["num_inserted_rows"])

    def stage(self, table: str, rows: pa.Table) -> str:
        """Write rows below the store's location where no reader sees them; returns their name.

        Any number of processes, on any machine that reaches the store, may stage at once. A staged
        file is there whole or not at all: a crash leaves none, or one that :meth:`staged` lists.

        Args:
            table: The table that :meth:`commit` will add them to. One that :data:`SCHEMAS` lacks
                must have been created.
            rows: All columns of the table, in any order.

        Raises:
            ValueError, KeyError, TypeError: The table does not exist, or the rows lack a column of
                it or have other types.
        """
        schema = self._writable(table).schema
        rows = rows.select(schema.names).cast(schema)
        name = uuid4().hex
        writer = self._database.files.open_writer(_staged_path(table, name), schema=rows.schema)
        writer.write_batch(rows)
        writer.close()  # not by `with`, which would publish what a failed write_batch left
        return name

    def staged(self, table: str) -> list[str]:
        """Sorted names of the rows that were staged and never committed."""
        paths = self._database.files.list(f"{_STAGING}/{table}")
        names = (path.rpartition("/")[2] for path in paths)
        return sorted(match[1] for name in names if (match := _STAGED_FILE.fullmatch(name)))

    def commit(self, table: str, staged: Sequence[str]) -> int:
        """Add staged rows to a table in one commit; returns how many were new.

        Rows whose key the table has are left as they are, and of several with one key the first by
        name is taken: to commit twice, from two processes at once or again after a crash, never
        doubles a row. A staged file that is gone was committed by another process. The rows of the
        group are in memory together.

        Rows that were staged for another table of the same name (it was removed and made again for
        another model) are discarded.
        """
        # Fragments that Lance writes in place and appends (pylance's write_fragments) cost the
        # same: staging and committing 4,096 x 512 floats takes 27-89 ms so and 47-65 ms by merging,
        # with 0 to 200,000 rows in the table. But an append never conflicts: of two processes that
        # commit at once, both would pass the search for known keys and double the rows.
        handle = self._writable(table)
        found = (self._read_staged(table, name) for name in sorted(set(staged)))
        groups = [
            rows
            for rows in found
            if rows is not None and rows.schema.equals(handle.schema, check_metadata=True)
        ]
        inserted = 0
        if groups:
            keys = _keys(handle.schema)
            merge = handle.merge_insert(keys).when_not_matched_insert_all()
            rows = _first_of_each_key(pa.concat_tables(groups), keys)
            inserted = merge.execute(rows)["num_inserted_rows"]
        self.discard(table, staged)
        return int(inserted)

    def discard(self, table: str, staged: Sequence[str]) -> None:
        """Remove staged rows without committing them; those that are gone are none."""
        for name in staged:
            path = _staged_path(table, name)
            if self._database.files.contains(path):
                with suppress(OSError):  # another process was faster
                    self._database.files.delete_file(path)

    def pin(self, table: str, version: int, name: str) -> None:
        """Keep a version from clean-up under ``name`` (letters, digits, ``.``, ``-``, ``_``)."""
        tags = self._existing(table).tags
        with self._without_litter(table):
            try:
                # Looking first would list all tags, a file each: 20 ms with 600 of them.
                tags.create(name, version)
            except ValueError as error:
                if "already exists" not in str(error):
                    raise
                tags.update(name, version)

    def index(self, table: str) -> None:
        """Give a vector table an index for :meth:`search`, or let its index take up new rows."""
        handle = self._existing(table)
        if handle.list_indices():
            handle.optimize.optimize_indices()
            return
        partitions = max(1, handle.count_rows() // _INDEX_PARTITION)
        handle.create_index("vector", "IVF_FLAT", metric="cosine", num_partitions=partitions)

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
        near = {
            "column": "vector",
            "q": vectors,
            "k": limit,
            "metric": "cosine",
            "nprobes": _PROBED_PARTITIONS,
        }
        columns = ["image_id", "_distance"]
        rows = self._existing(table).to_table(columns=columns, nearest=near).combine_chunks()
        numbers = rows["query_index"].to_numpy().astype(np.int64)
        return numbers, rows["image_id"].combine_chunks()

    def optimize(self, table: str, keep: timedelta = _KEEP) -> None:
        """Join small fragments, and remove the versions that had a successor ``keep`` ago.

        Pinned versions stay, however old, and the fragments that they hold are never copied into
        joined ones: disk then holds each row that a kept version has about once. Where there is
        nothing to join, no version is made.

        Args:
            table: The table; nothing happens when it does not exist.
            keep: Readers and writers that started this long ago are not disturbed. Zero is for
                when there are none.
        """
        dataset = self._find(table)
        if dataset is None:
            return
        pinned = {tag["version"] for tag in dataset.tags.list().values()}
        try:
            _join_fragments(dataset, pinned)
            dataset.optimize.optimize_indices()
        except OSError as error:
            if "conflict" not in str(error):
                raise
            # Another process wrote to the same fragments and was faster: they wait for the next
            # time. Its rows are worth more than this tidying.
        _remove_versions(dataset, pinned, datetime.now() - keep)

    def tables_with_staged_rows(self) -> list[str]:
        """Names of the tables that rows are staged for, whether they exist or not."""
        paths = self._database.files.list(_STAGING)
        return sorted({name for path in paths if (name := _staged_for(path))})

    def erase(self, table: str, where: str | None = None) -> "Erased":
        """Remove rows so that no file of the table holds them any more.

        The rows go from the newest version, in one commit. Then every older version goes, pinned or
        not, since its files hold them; so do the files that crashed writes have left, and indexes,
        which keep the vectors of removed rows. Doing it again after a crash completes it. No
        process may read or write the table meanwhile.

        Args:
            table: The table; nothing happens when it does not exist.
            where: A SQL condition; by default no row of the newest version is removed.
        """
        dataset = self._find(table)
        if dataset is None:
            return Erased(0, 0, 0)
        nb_rows = dataset.count_rows(where) if where else 0
        if nb_rows:
            dataset.delete(where)
        for index in dataset.list_indices():
            dataset.drop_index(index["name"])
        # Deleted rows are only marked as such until their fragment is written anew.
        dataset.optimize.compact_files(
            target_rows_per_fragment=_JOINED[-1], materialize_deletions_threshold=0.0
        )
        pins = dataset.tags.list()
        for name in pins:
            dataset.tags.delete(name)
        removed = dataset.cleanup_old_versions(older_than=timedelta(0), delete_unverified=True)
        return Erased(nb_rows, removed.old_versions, len(pins))

    @functools.cached_property
    def _database(self) -> LanceDatabase:
        """The tables, once the store is seen to be, or made to be, of today's format."""
        database = self._connected()
        names = database.names()
        found = _format_in(names) if names else FORMAT
        if found > FORMAT:
            raise newer_format(f"The store {database.uri}", found, FORMAT)
        if found < FORMAT:
            self._migrate(database)
        return database

    def _connected(self) -> LanceDatabase:
        uri, options = self.uri, self.storage_options
        if not uri:
            from resources.project_folder import find

            project = find()
            uri, options = project.store, project.settings.storage_options | options
        return LanceDatabase(uri, options)

    def _read_staged(self, table: str, name: str) -> pa.Table | None:
        try:
            return self._database.files.open_reader(_staged_path(table, name)).read_all().to_table()
        except (ValueError, OSError) as error:
            if "not found" in str(error).lower():
                return None
            raise

    def _seen(self, table: str, where: str | None) -> str | None:
        """The condition of the rows that are asked for and are seen."""
        only = self._only.get(table)
        return f"({only}) AND ({where})" if only and where else only or where

    def _find(self, table: str, version: int | None = None) -> Any | None:
        """A table as pylance's dataset; None when it does not exist.

        Args:
            table: Its name.
            version: Of it; by default the one that this store shows.

        Raises:
            VersionGoneError: The version was removed.
        """
        shown = self._versions.get(table)
        if shown == 0:
            return None
        version = shown if version is None else version
        handle = self._database.open(table, version)
        if version is None:
            known = handle is not None and table in SCHEMAS
            return _with_all_columns(handle, SCHEMAS[table]) if known else handle
        if handle is None and self._database.open(table) is not None:
            raise VersionGoneError(
                "Version {version} of the table {table} is no longer in the store.",
                id="table-version-gone",
                version=version,
                table=table,
            )
        return handle

    def _existing(self, table: str) -> Any:
        handle = self._database.open(table)
        if handle is None:
            raise ValueError(f"Table '{table}' was not found")
        return handle

    def _find_or_create(self, table: str, schema: pa.Schema) -> Any:
        handle = self._find(table)
        if handle is not None:
            return handle
        with self._creating():
            # exist_ok alone is no guard: of two processes that create a table at once, the second
            # overwrites the first one's, with the rows that it has by then.
            handle = self._find(table)
            if handle is not None:
                return handle
            self._mark()
            return self._database.write(table, schema.empty_table(), "create")

    def _mark(self) -> None:
        """Write the format of a store that is about to get its first table."""
        names = self._database.names()
        if (found := _format_in(names)) > FORMAT:  # made by another process since it was opened
            raise newer_format(f"The store {self._database.uri}", found, FORMAT)
        if not names:
            _write_format(self._database, FORMAT)

    def _migrate(self, database: LanceDatabase) -> None:
        store = self.model_copy()
        store.__dict__["_database"] = database  # which it would wait for while it is migrated
        with self._alone(database, "migrate.lock"):
            # Another process may have done it meanwhile.
            for number in range(_format_in(database.names()), FORMAT):
                MIGRATIONS[number](store)
                _write_format(database, number + 1)

    def _creating(self) -> AbstractContextManager[Any]:
        return self._alone(self._database, "create.lock")

    @staticmethod
    def _alone(database: LanceDatabase, lock: str) -> AbstractContextManager[Any]:
        from filelock import FileLock

        if not database.is_local:  # no lock on an object store: the writers' pool is the guard
            return nullcontext()
        Path(database.uri).mkdir(parents=True, exist_ok=True)
        return FileLock(Path(database.uri) / lock)

    @contextmanager
    def _without_litter(self, table: str) -> Iterator[None]:
        """Remove the empty folder that Lance 14 leaves outside of the store when it writes a tag.

        It writes the tag where it belongs, and creates its folder a second time below the
        percent-encoded path ("été" as "%C3%A9t%C3%A9"). Folders that were there before stay.
        """
        location = self._database.uri
        encoded = "".join(map(_encoded, location))
        litter = []
        if encoded != location and self._database.is_local:
            folder = Path(encoded) / f"{table}.lance" / "_refs" / "tags"
            litter = [path for path in (folder, *folder.parents) if not path.exists()]
        yield
        with suppress(OSError):
            for path in litter:
                path.rmdir()

    def _writable(self, table: str) -> Any:
        if table in SCHEMAS:
            return self._find_or_create(table, SCHEMAS[table])
        return self._existing(table)

    def _merge(self, table: str, rows: pa.Table, replaced: str | None) -> int:
        handle = self._writable(table)
        merge = (
            handle.merge_insert(_keys(handle.schema))
            .when_matched_update_all()
            .when_not_matched_insert_all()
        )
        if replaced is not None:
            merge = merge.when_not_matched_by_source_delete(replaced)
        merge.execute(rows)
        return int(handle.version)


@dataclass(frozen=True)
class Erased:
    """What :meth:`LanceStore.erase` removed from a table."""

    nb_rows: int
    """Of the newest version."""
    nb_versions: int
    nb_pins: int


def _format_in(names: Iterable[str]) -> int:
    found = (_FORMAT_TABLE.fullmatch(name) for name in names)
    return max((int(match[1]) for match in found if match), default=1)


def _write_format(database: LanceDatabase, number: int) -> None:
    table = f"format.{number}"
    if database.open(table) is None:
        schema = pa.schema([pa.field("format", pa.int32())])
        database.write(table, schema.empty_table(), "create")


def _with_all_columns(handle: Any, schema: pa.Schema) -> Any:
    """The table, after adding the columns that it was made without."""
    for attempt in itertools.count():
        names = set(handle.schema.names)
        missing = pa.schema([field for field in schema if field.name not in names])
        if not missing.names:
            break
        try:
            handle.add_columns(missing)  # nulls: metadata alone, no row is rewritten
        except (OSError, ValueError, RuntimeError):
            # Another process was faster, or wrote rows meanwhile.
            if attempt == _ATTEMPTS:
                raise
            handle.checkout_latest()
    return handle


def _join_fragments(dataset: Any, pinned: set[int]) -> None:
    # A fragment that is still there was in every version since the one that wrote it: those that
    # any pinned version holds are those that the newest one holds.
    held = (
        [fragment.fragment_id for fragment in dataset.checkout_version(max(pinned)).get_fragments()]
        if pinned
        else []
    )
    for least, rows in itertools.pairwise((0, *_JOINED)):
        free = [f for f in dataset.get_fragments() if f.fragment_id not in set(held)]
        small = sum(least <= fragment.physical_rows < rows for fragment in free)
        # Lance's own limit: fragments with more deleted rows are rewritten without them.
        sparse = any(fragment.num_deletions > 0.1 * fragment.physical_rows for fragment in free)
        if small >= _FAN_IN or sparse:
            dataset.optimize.compact_files(
                target_rows_per_fragment=rows, excluded_fragment_ids=held
            )


def _remove_versions(dataset: Any, pinned: set[int], superseded_before: datetime) -> None:
    """Remove versions by the age of their successors.

    Lance would go by a version's own age, and so take the version that a corpus had for a month
    from the readers of this minute as soon as a refresh is committed.

    Args:
        dataset: The table.
        pinned: Versions that stay.
        superseded_before: A local time without zone, as pylance gives the versions'.
    """
    old = [
        version["version"]
        for version, successor in itertools.pairwise(dataset.versions())
        if successor["timestamp"] <= superseded_before and version["version"] not in pinned
    ]
    if old:
        dataset.cleanup_old_versions(versions=old, error_if_tagged_old_versions=False)


def _encoded(character: str) -> str:
    """A character of a path as Lance's storage layer would write it in a URL."""
    if character.isascii() and character not in _ENCODED:
        return character
    return "".join(f"%{byte:02X}" for byte in character.encode())


def _staged_path(table: str, name: str) -> str:
    if not _STAGED_FILE.fullmatch(f"{name}.lance"):
        raise ValueError(f"{name!r} is not the name of staged rows")
    return f"{_STAGING}/{table}/{name}.lance"


def _staged_for(path: str) -> str | None:
    """The table that a staged file is for, from its path below the store or below the folder."""
    folder, _, name = path.rpartition("/")
    return folder.rpartition("/")[2] if _STAGED_FILE.fullmatch(name) else None


def _first_of_each_key(rows: pa.Table, keys: list[str]) -> pa.Table:
    """A merge does not compare the rows that it is given: equal keys would all be inserted."""
    positions = rows.select(keys).append_column("position", pa.array(np.arange(rows.num_rows)))
    first = positions.group_by(keys).aggregate([("position", "min")])["position_min"]
    return rows if len(first) == rows.num_rows else rows.take(first.combine_chunks().sort())


def _keys(schema: pa.Schema) -> list[str]:
    marked = b"lance-schema:unenforced-primary-key"
    return [field.name for field in schema if field.metadata and marked in field.metadata]

"""A store as it is at one moment, whose tables are each read once.

Belongs here: what an act reads, and how long that holds. Does not belong here: the tables
(``resources.lance``).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Self

import pyarrow as pa
from pydantic import PrivateAttr

from resources.lance import Erased, LanceStore
from resources.schemas import SCHEMAS

_BULKY = frozenset({"thumbnail"})
"""Columns that are read as they are asked for, and not kept."""


class Snapshot(LanceStore):
    """The store as it is when each of its tables is first looked at.

    What an act resolves, checks and computes so is of one moment, however many of its parts ask,
    and whoever writes meanwhile. Rows of the tables in :data:`resources.schemas.SCHEMAS` are read
    once for each condition and kept; vectors, neighbours, points and thumbnails are not. What is
    written goes to the store, and the table is looked at anew after it.
    """

    _base: LanceStore = PrivateAttr()
    _kept: dict[tuple[str, str | None], pa.Table] = PrivateAttr(default_factory=dict)

    @classmethod
    def of(cls, store: LanceStore) -> Self:
        """A snapshot of a store, which it shares the connection with.

        Of a snapshot, it is one of the store that this is of: as that is from now on.
        """
        if isinstance(store, Snapshot):
            store = store._base
        found = cls(uri=store.uri, storage_options=store.storage_options)
        store.tables()  # connects, and refuses a store of a newer format
        found.__dict__.update(store.__dict__)
        found._versions = dict(store._versions)
        found._only = dict(store._only)
        found._base = store
        return found

    def at(self, versions: Mapping[str, int], only: Mapping[str, str] | None = None) -> LanceStore:  # type: ignore[override]
        """The store at other versions, which keeps nothing: see :meth:`LanceStore.at`."""
        return self._base.at({**self._versions, **versions}, only)

    def schema_of(self, table: str) -> pa.Schema | None:
        """The schema that a table has in its version: see :meth:`LanceStore.schema_of`."""
        self.version(table)
        return super().schema_of(table)

    def count(self, table: str, where: str | None = None) -> int:
        """Number of rows in a table's version."""
        self.version(table)
        return super().count(table, where)

    def batches(
        self, table: str, columns: list[str], where: str | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Rows of a table's version, streamed: see :meth:`LanceStore.batches`."""
        self.version(table)
        return super().batches(table, columns, where)

    def is_current(self) -> bool:
        """Whether nobody has written since to a table that was looked at."""
        return all(
            self._base.version(table) == version for table, version in self._versions.items()
        )

    def version(self, table: str) -> int:
        """The version of a table when it was first looked at; 0 when it did not exist."""
        if table not in self._versions:
            self._versions[table] = super().version(table)
        return self._versions[table]

    def read(
        self,
        table: str,
        columns: list[str] | None = None,
        where: str | None = None,
        version: int | None = None,
    ) -> pa.Table:
        """Rows of a table, in no particular order: see :meth:`LanceStore.read`."""
        of_now = version is None or version == self.version(table)
        schema = SCHEMAS.get(table)
        if schema is None or not of_now or _BULKY & set(columns or schema.names):
            return super().read(table, columns, where, None if of_now else version)
        self.version(table)
        if (table, where) not in self._kept:
            light = [name for name in schema.names if name not in _BULKY]
            self._kept[table, where] = super().read(table, light, where)
        found = self._kept[table, where]
        return found.select(columns) if columns else found

    def create(self, table: str, schema: pa.Schema, metadata: dict[str, str]) -> pa.Schema:
        """See :meth:`LanceStore.create`."""
        with self._writing(table):
            return super().create(table, schema, metadata)

    def overwrite(self, table: str, rows: pa.Table, metadata: dict[str, str]) -> int:
        """See :meth:`LanceStore.overwrite`."""
        with self._writing(table):
            return super().overwrite(table, rows, metadata)

    def append(self, table: str, rows: pa.Table) -> int:
        """See :meth:`LanceStore.append`."""
        with self._writing(table):
            return super().append(table, rows)

    def stage(self, table: str, rows: pa.Table) -> str:
        """See :meth:`LanceStore.stage`."""
        with self._writing(table):
            return super().stage(table, rows)

    def commit(self, table: str, staged: Any) -> int:
        """See :meth:`LanceStore.commit`."""
        with self._writing(table):
            return super().commit(table, staged)

    def index(self, table: str) -> None:
        """See :meth:`LanceStore.index`."""
        with self._writing(table):
            super().index(table)

    def optimize(self, table: str, keep: timedelta | None = None) -> None:
        """See :meth:`LanceStore.optimize`."""
        with self._writing(table):
            super().optimize(table, **({} if keep is None else {"keep": keep}))

    def erase(self, table: str, where: str | None = None) -> Erased:
        """See :meth:`LanceStore.erase`."""
        with self._writing(table):
            return super().erase(table, where)

    def insert(self, table: str, row: dict[str, Any]) -> bool:
        """See :meth:`LanceStore.insert`."""
        with self._writing(table):
            return super().insert(table, row)

    def _merge(self, table: str, rows: pa.Table, replaced: str | None) -> int:
        with self._writing(table):
            return super()._merge(table, rows, replaced)

    @contextmanager
    def _writing(self, table: str) -> Iterator[None]:
        """A table that was looked at in an older version takes no rows."""
        self._versions.pop(table, None)
        yield
        self._versions.pop(table, None)
        for kept in list(self._kept):  # at once: vectors are staged in threads
            if kept[0] == table:
                self._kept.pop(kept, None)

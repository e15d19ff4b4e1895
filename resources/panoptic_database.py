"""Panoptic's databases, which are files of SQLite, opened so that reading changes nothing.

Belongs here: opening one whether it is in use or not, plain tables, and the bounds of what is read.
Does not belong here: what Panoptic's tables mean (``panoptic_assets.tags.exchange``).

The databases may come from strangers, and may be in use. They are opened so that SQLite changes
nothing, with neither extensions nor views; what is read has bounds; text that is not UTF-8 is read
with replacements. SQLite would write beside a database that has a log of its own (``-wal``): such a
one is copied first, and the copy is read.
"""

import contextlib
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from resources.errors import InputError

MAX_ROWS = 2**24
"""Rows of one table: 100,000 images with 160 values each."""
MAX_VALUE = 2**26
"""Bytes of one value."""

_STEPS, _MAX_STEPS = 10**7, 1000
"""Instructions of SQLite between two looks, and looks: whole tables of MAX_ROWS take a tenth."""
_LOGS = ("-wal", "-shm", "-journal")


class PanopticTables:
    """Reads plain tables of a database."""

    def __init__(self, connection: sqlite3.Connection, file: Path):
        self._connection, self._file = connection, file

    def of(
        self, table: str, *columns: str, where: tuple[str, object] | None = None
    ) -> Iterator[tuple[Any, ...]]:
        """Some columns of a table; of a table that is logged, the rows that are alive.

        Raises:
            InputError: There is no such table, or it is too large.
        """
        with self.refused():
            kinds = self._connection.execute(
                "SELECT type, sql FROM sqlite_master WHERE name = ?", (table,)
            ).fetchall()
            # Views and virtual tables may compute whatever a stranger wants.
            if [kind for kind, _ in kinds] != ["table"] or _is_virtual(kinds[0][1]):
                raise self._unreadable(f"it has no table {table}")
            known = [row[1] for row in self._connection.execute(f"PRAGMA table_info({table})")]
            if missing := [name for name in columns if name not in known]:
                raise self._unreadable(f"its table {table} has no {', '.join(missing)}")
            conditions, values = [], []
            if "operation" in known:
                conditions.append("(operation IS NULL OR operation <> -1)")
            if where is not None:
                conditions.append(f"{where[0]} = ?")
                values.append(where[1])
            # Names are ours, never the file's.
            asked = f"SELECT {', '.join(columns)} FROM {table}"  # noqa: S608
            if conditions:
                asked += f" WHERE {' AND '.join(conditions)}"
            counting = self._connection.execute(f"SELECT count(*) FROM {table}")  # noqa: S608
            [(nb_rows,)] = counting
            if nb_rows > MAX_ROWS:
                raise self._unreadable(f"its table {table} has more than {MAX_ROWS:,} rows")
            # The same project gives the same tags and lines. All but the last column, which may be
            # large, tell rows apart.
            order = range(1, max(2, len(columns)))
            asked += f" ORDER BY {', '.join(map(str, order))}"
            cursor = self._connection.execute(asked, values)
        while True:
            with self.refused():
                some = cursor.fetchmany(1024)
            if not some:
                return
            yield from some

    @contextlib.contextmanager
    def refused(self) -> Iterator[None]:
        """What SQLite refuses is said as of a file that cannot be read."""
        try:
            yield
        except sqlite3.Error as error:
            raise self._unreadable(str(error)) from error

    def _unreadable(self, reason: str) -> InputError:
        return InputError(
            "{file} cannot be read as Panoptic 1.0 writes it ({reason}): close Panoptic and try "
            "again, or export CSV from it.",
            id="panoptic-database-unreadable",
            file=self._file,
            reason=reason,
        )


def _is_virtual(sql: object) -> bool:
    return " ".join(str(sql).upper().split()).startswith("CREATE VIRTUAL")


@contextlib.contextmanager
def opened(file: Path) -> Iterator[PanopticTables]:
    """The tables of a database that stays as it is, in use or not.

    Raises:
        InputError: It cannot be opened, or changes meanwhile.
    """
    with contextlib.ExitStack() as closing:
        if any(file.with_name(file.name + log).exists() for log in _LOGS):
            folder = Path(closing.enter_context(tempfile.TemporaryDirectory()))
            place, mode = _copied(file, folder), "mode=ro"
        else:
            place, mode = file.absolute(), "mode=ro&immutable=1"
        before = _state(file)
        try:
            connection = sqlite3.connect(f"file:{quote(str(place))}?{mode}", uri=True)
        except sqlite3.Error as error:
            raise InputError(
                "{file} cannot be opened ({reason}).",
                id="panoptic-database-closed",
                file=file,
                reason=error,
            ) from error
        closing.callback(connection.close)
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE)
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        connection.text_factory = lambda data: data.decode("utf-8", "replace")
        looks = iter(range(_MAX_STEPS))
        connection.set_progress_handler(lambda: next(looks, None) is None, _STEPS)
        rows = PanopticTables(connection, file)
        with rows.refused():
            connection.execute("PRAGMA trusted_schema = OFF")
        yield rows
        if mode != "mode=ro" and _state(file) != before:
            raise _in_use(file)


def _copied(file: Path, folder: Path) -> Path:
    """A copy of a database with its log, both of one moment."""
    for _ in range(3):
        before = _state(file)
        try:
            for log in ("", "-wal", "-journal"):
                part = file.with_name(file.name + log)
                target = folder / part.name
                target.unlink(missing_ok=True)
                if part.is_file():
                    shutil.copyfile(part, target)
        except OSError as error:
            raise InputError(
                "{file} is in use, and cannot be copied ({reason}): close Panoptic, and try again.",
                id="panoptic-database-not-copied",
                file=file,
                reason=error.strerror or error,
            ) from error
        if _state(file) == before:
            return folder / file.name
    raise _in_use(file)


def _state(file: Path) -> list[tuple[int, int] | None]:
    found: list[tuple[int, int] | None] = []
    for log in ("", "-wal", "-journal"):
        try:
            status = file.with_name(file.name + log).stat()
            found.append((status.st_size, status.st_mtime_ns))
        except FileNotFoundError:
            found.append(None)
    return found


def _in_use(file: Path) -> InputError:
    return InputError(
        "{file} changed while it was read: close Panoptic, or wait until it has nothing to do, and "
        "try again.",
        id="panoptic-database-in-use",
        file=file,
    )

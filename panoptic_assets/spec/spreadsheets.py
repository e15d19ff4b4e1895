"""Sheets of spreadsheets: .xlsx, .xlsm, .xlsb, .xls and .ods.

Belongs here: which sheet of a file is read, and what is refused. Does not belong here: what its
rows mean as a table (``spec.tables``), and the reading itself, which another process does
(``spec.spreadsheet_process``), as a file may be hostile.

Cells are texts: a whole number has no point, a date is in ISO 8601, a percentage the number that is
stored (0.25), a formula its stored value, or blank where that is an error. Hidden rows count. A
cell that is merged over several rows has its value in each of them.
"""

import errno
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, Literal, cast

from resources.errors import PlainError

MAX_BYTES = 2**27
"""Of a file."""
_MAX_LINE = 2**26
"""Characters of a line that the process may write: a row, as JSON, or the beginnings of sheets."""
_SECONDS = 600.0
"""From its start until the process must have told what it found; its own limit is of computing."""
_PROCESS = Path(__file__).with_name("spreadsheet_process.py")
_SIGNATURES = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")


class SpreadsheetError(PlainError, ValueError):
    """The file is no spreadsheet; the message begins in lower case and ends with a full stop."""


@dataclass(frozen=True)
class SheetFinding:
    """Cells that do not come as they are shown."""

    kind: Literal["errors", "uncomputed", "padded", "untold", "times"]
    """Formulas with an error, and those that no program computed: both are blank. Numbers that
    are shown with zeros before them, which are left out. ``untold``: of none of this the file
    tells; then its times are blank, too, as days before 1900 come as such."""
    count: int
    line: int
    """Of the first of them; 0 where it is unknown."""
    shown: str
    """What stands there."""


@dataclass(frozen=True)
class Sheet:
    """A sheet whose rows are read one by one."""

    name: str
    others: tuple[str, ...]
    """Sheets of the file that hold something too."""
    nb_merged: int
    """Cells that are merged over several rows."""
    found: tuple[SheetFinding, ...]
    rows: Iterator[tuple[int, list[str]]]
    """The rows that are not blank, each with its number, from 1; no row ends with blank cells."""


def is_spreadsheet(beginning: bytes) -> bool:
    """Whether a file that begins so is an archive or a compound file, as spreadsheets are."""
    return beginning.startswith(_SIGNATURES)


@contextmanager
def open_sheet(
    source: BinaryIO, is_wanted: Callable[[list[list[str]]], bool]
) -> Iterator[Sheet | None]:
    """Read one sheet: the first whose beginning is wanted, else the first that holds something.

    Args:
        source: The file, which can be read twice; not closed.
        is_wanted: Takes the first rows of a sheet, their cells cut.

    Returns:
        The sheet; None where all are blank.

    Raises:
        SpreadsheetError: Here or while rows are read: it is none, is protected by a password,
            needs too much memory or time, is changed meanwhile, or no process can be started.
    """
    with _started() as process:
        late = threading.Timer(_SECONDS, process.kill)
        late.daemon = True
        late.start()
        try:
            sheet = _chosen(source, is_wanted, process)
        finally:
            late.cancel()
        yield sheet


def _chosen(
    source: BinaryIO,
    is_wanted: Callable[[list[list[str]]], bool],
    process: "subprocess.Popen[bytes]",
) -> Sheet | None:
    told, answers = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)
    with suppress(BrokenPipeError):  # then its answer says why
        _tell(source, told)
    found = _answer(answers)
    sheets = [(at, name, rows) for at, (name, rows) in enumerate(found["sheets"]) if rows]
    if not sheets:
        return None
    at, name, _ = next(
        (sheet for sheet in sheets if is_wanted([cells for _, cells in sheet[2]])), sheets[0]
    )
    with suppress(BrokenPipeError):
        told.write(b"%d\n" % at)
        told.flush()
    about = _answer(answers)
    return Sheet(
        name,
        tuple(other for number, other, _ in sheets if number != at),
        about["merged"],
        tuple(SheetFinding(*found) for found in about["found"]),
        _rows(answers),
    )


def _tell(source: BinaryIO, told: IO[bytes]) -> None:
    left = _size(source)
    told.write(b"%d\n" % left)
    while left:
        chunk = source.read(min(left, 2**20))
        if not chunk:
            raise SpreadsheetError(
                "the file became shorter while it was read: try again once it is saved.",
                id="spreadsheet-changed",
            )
        told.write(chunk)
        left -= len(chunk)
    told.flush()


def _size(source: BinaryIO) -> int:
    at = source.tell()
    size = source.seek(0, io.SEEK_END) - at
    source.seek(at)
    if size > MAX_BYTES:
        raise SpreadsheetError(
            "the file has more than {most:,} bytes: leave out what is not needed, or save the "
            "sheet as CSV.",
            id="spreadsheet-too-large",
            most=MAX_BYTES,
        )
    return size


@contextmanager
def _started() -> Iterator["subprocess.Popen[bytes]"]:
    try:
        if not sys.executable:  # another program holds Python
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        process = subprocess.Popen(
            [sys.executable, "-P", str(_PROCESS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except OSError as error:
        raise SpreadsheetError(
            "no process can be started that reads spreadsheets ({failure}): save the sheet as CSV.",
            id="spreadsheet-without-process",
            failure=error.strerror or type(error).__name__,
        ) from error
    try:
        yield process
    finally:
        process.kill()
        with suppress(BrokenPipeError):
            process.communicate()


def _rows(output: IO[bytes]) -> Iterator[tuple[int, list[str]]]:
    while (row := _answer(output)) is not None:
        number, cells = row
        yield number, cells


def _answer(output: IO[bytes]) -> Any:
    line = output.readline(_MAX_LINE)
    if not line.endswith(b"\n"):
        raise _too_large()  # its limits have ended it
    answer = json.loads(line)
    match answer.get("refused") if isinstance(answer, dict) else None:
        case None:
            return answer
        case "password":
            raise SpreadsheetError(
                "the spreadsheet is protected by a password: save it without one, or as CSV.",
                id="spreadsheet-protected",
            )
        case "size":
            raise _too_large()
        case _:
            raise SpreadsheetError(
                "the file is no spreadsheet that can be read, or is damaged: save it anew as .xlsx "
                "or .ods, or as CSV in UTF-8.",
                id="spreadsheet-damaged",
            )


def _too_large() -> SpreadsheetError:
    return SpreadsheetError(
        "the spreadsheet needs more memory or time than a table does: look for a cell far away "
        "from the others, or save the sheet as CSV.",
        id="spreadsheet-needs-too-much",
    )

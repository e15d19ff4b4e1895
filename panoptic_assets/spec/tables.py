"""Tables in CSV files that people made: their text, separator, header and lines.

Belongs here: the one reader of CSV, and what it refuses. Does not belong here: what columns and
cells mean (their readers), and writing CSV. ``proof.bundle_check`` reads its own, as it is shipped
inside bundles and works without this package.

A file is UTF-8 with or without a mark, with any kind of newline, quoted by ``"``. The first line
that is not blank is the header. The separator is the one of ``,``, ``;`` and the tab by which the
header, outside quotes, has a column that the reader needs; of several, the one by which it has the
most columns, with or without names, then the first. Where the header holds none of them, each line
is one cell. Blank lines, and blank cells beyond the header's, count for nothing.

The csv module does the reading; what it leaves open is bounded here, as a file may be hostile: it
is read line by line, and no line or cell is longer than one that a table has.
"""

import csv
import io
import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Literal, TextIO, get_args

from resources.errors import PlainError

Separator = Literal["\0", ",", ";", "\t"]
"""The first one, which no table holds, stands for none: the table has one column."""

MAX_CHARACTERS = 2**27
"""Of a whole file."""
MAX_LINE = 2**20
"""Characters of one line of the table, newlines inside quotes included. The csv module refuses
long cells only once it was given the whole line."""
MAX_CELL = 2**17
"""Characters of one cell. It is what the csv module refuses unless told otherwise, but its limit
is one for the whole process, and whoever reads longer cells there raises it for all."""

_BLANK = re.compile(r'[\s;,"]*')


class TableError(PlainError, ValueError):
    """The file is no table; the message begins in lower case and ends with a full stop."""


class EmptyTableError(TableError):
    """The file has no line that is not blank."""


@dataclass(frozen=True)
class CsvTable:
    """A table whose lines are read one by one."""

    separator: Separator
    headers: list[str]
    """In NFC, each run of white space one space; without those at the end that are blank."""
    header_line: int
    """The number of the header's first line in the file, from 1."""
    rows: Iterator[tuple[int, list[str]]]
    """The lines that are not blank, each with the number of its first line in the file. A line may
    have fewer cells than ``headers``, or more where columns at the end have no name."""


@contextmanager
def read_table(source: str | bytes | BinaryIO, needed: Sequence[str]) -> Iterator[CsvTable]:
    """Read a table; :mod:`panoptic_assets.spec.tables` says what can be read.

    Args:
        source: The file's text or bytes, or the file opened in binary mode; read once, not closed.
        needed: Names of columns, :func:`folded`, of which the header should have one; it may lack
            all of them. The first is named where there is no header.

    Raises:
        TableError: Here or while rows are read: it is not UTF-8, holds NUL bytes, has a line with
            too many cells, quotes that do not close, or is too large.
        EmptyTableError: It has no header.
    """
    if isinstance(source, str):
        lines = _Lines(io.StringIO(source, newline=""))
    else:
        stream = io.BytesIO(source) if isinstance(source, bytes) else source
        # newline="" leaves newlines as they are, as csv needs, and still ends lines at a lone \r.
        lines = _Lines(io.TextIOWrapper(stream, encoding="utf-8-sig", newline=""))
    try:
        taken = _header_lines(lines, needed)
        separator, headers = _header(taken, needed)
        rows = _rows(itertools.chain(taken, lines), separator, lines)
        header_line, _ = next(rows)
        checked = _checked(rows, len(headers), separator)
        while not headers[-1]:
            headers.pop()
        yield CsvTable(separator, headers, header_line, checked)
    finally:
        lines.detach()


def read_records(
    source: str | bytes | BinaryIO, known: Sequence[str]
) -> Iterator[tuple[int, dict[str, str]]]:
    """Each line of a table by the names of its columns, in lower case; cells that lack are empty.

    Columns without a name are left out. Of others that have one name, the last one counts.

    Args:
        source: As :func:`read_table` takes it. An empty file has no lines.
        known: The columns that may be there once, the first of which the header must have.

    Returns:
        While iterating: the number of the line in the file, from 1, and its cells.

    Raises:
        TableError: While iterating: the column is not there, two have one name that is known, or
            see :func:`read_table`.
    """
    needed = known[0]
    try:
        with read_table(source, [needed]) as table:
            names = [header.casefold() for header in table.headers]
            if needed not in names:
                raise TableError(
                    "the first line names no column `{needed}`: name the columns there, separated "
                    "by commas, semicolons or tabs.",
                    id="table-without-column",
                    needed=needed,
                )
            for name in known:
                if names.count(name) > 1:
                    raise TableError(
                        "two columns have the name {name!r}: rename or remove one of them.",
                        id="table-column-twice",
                        name=name,
                    )
            for line, cells in table.rows:
                row = dict(itertools.zip_longest(names, cells, fillvalue=""))
                row.pop("", None)
                yield line, row
    except EmptyTableError:
        return


def folded(header: str) -> str:
    """The name of a column in the form in which names that are known are compared."""
    return header.casefold().replace("_", " ")


class _Lines(Iterator[str]):
    """The physical lines of a text, checked and bounded before csv sees them."""

    def __init__(self, text: TextIO):
        self._text = text
        self._total = 0
        self.in_row = 0
        self.number = 0

    def detach(self) -> None:
        """Leave a stream open: the wrapper would close it."""
        # Closed already where a reader of the lines has stopped early, and the file with it.
        if isinstance(self._text, io.TextIOWrapper) and not self._text.closed:
            self._text.detach()

    def end_row(self) -> None:
        """The next line begins a row of the table."""
        self.in_row = 0

    def __next__(self) -> str:
        try:
            line = self._text.readline(MAX_LINE + 1)
        except UnicodeDecodeError as error:
            before = len(re.findall(rb"\r\n?|\n", error.object[: error.start]))
            raise TableError(
                "line {line} is not UTF-8 (byte 0x{byte:02x}): save the file as UTF-8, which "
                "spreadsheets call 'CSV UTF-8'.",
                id="table-not-utf8",
                line=self.number + 1 + before,
                byte=error.object[error.start],
            ) from error
        if not line:
            raise StopIteration
        self.number += 1
        self.in_row += len(line)
        self._total += len(line)
        if "\0" in line:
            raise TableError(
                "line {line} holds a NUL byte: the file is damaged or in UTF-16; save it as UTF-8.",
                id="table-nul-byte",
                line=self.number,
            )
        if self.in_row > MAX_LINE:
            raise TableError(
                "the line of the table that ends at line {line} or later has more than "
                "{max_line:,} characters: look there for a quote that is not closed.",
                id="table-line-too-long",
                line=self.number,
                max_line=MAX_LINE,
            )
        if self._total > MAX_CHARACTERS:
            raise TableError(
                "the file has more than {max_characters:,} characters: leave out columns that are "
                "not needed.",
                id="table-too-long",
                max_characters=MAX_CHARACTERS,
            )
        return line


def _rows(text: Iterable[str], separator: str, lines: _Lines) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not blank, the header first, each with the line on which it begins."""
    reader = csv.reader(text, delimiter=separator, strict=True)
    line = 1
    try:
        for row in reader:
            if lines.in_row > MAX_CELL and any(len(cell) > MAX_CELL for cell in row):
                raise _cell_too_long(line)
            lines.end_row()
            if not _is_blank(row):
                yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        reason = str(error)
        # With a raised limit a quote that is not closed takes in the rest of the file instead.
        raised = csv.field_size_limit() > MAX_CELL
        endless = raised and "unexpected end" in reason and lines.in_row > MAX_CELL
        if endless or "field limit" in reason:
            raise _cell_too_long(line) from error
        raise TableError(
            "line {line} cannot be read ({reason}): put cells that hold a separator, a quote or a "
            'newline into double quotes, and write quotes inside them twice ("").',
            id="table-line-unreadable",
            line=line,
            reason=reason.replace("'\0'", "end of line"),
        ) from error


def _cell_too_long(line: int) -> TableError:
    return TableError(
        "a cell on line {line} or just below has more than {most:,} characters: look there for a "
        "quote that is not closed.",
        id="table-cell-too-long",
        line=line,
        most=MAX_CELL,
    )


def _is_blank(row: list[str]) -> bool:
    # A line of separators is one cell where none was found.
    return not any(cell.strip() for cell in row) or (
        len(row) == 1 and _BLANK.fullmatch(row[0]) is not None
    )


def _checked(
    rows: Iterator[tuple[int, list[str]]], nb_columns: int, separator: Separator
) -> Iterator[tuple[int, list[str]]]:
    for line, row in rows:
        if any(cell.strip() for cell in row[nb_columns:]):
            raise TableError(
                "line {line} has {nb_cells} cells, the header has {nb_columns}: put cells that "
                "hold {separator!r} into double quotes.",
                id="table-line-of-other-length",
                line=line,
                nb_cells=len(row),
                nb_columns=nb_columns,
                separator=separator,
            )
        yield line, row[:nb_columns]


def _header_lines(lines: _Lines, needed: Sequence[str]) -> list[str]:
    """Lines that hold the whole header, which may have newlines inside quotes."""
    taken: list[str] = []
    quotes = 0
    for line in lines:
        taken.append(line)
        quotes += line.count('"')
        if quotes % 2 == 0 and not _BLANK.fullmatch(line):
            break
    if all(map(_BLANK.fullmatch, taken)):
        raise EmptyTableError(
            "the file is empty: its first line must name the columns, one of them `{column}`.",
            id="table-empty",
            column=needed[0],
        )
    return taken


def _header(taken: list[str], needed: Sequence[str]) -> tuple[Separator, list[str]]:
    """The separator, and the header's cells."""
    readings: list[tuple[Separator, list[str]]] = []
    failure = None
    for separator in get_args(Separator):
        try:
            rows = csv.reader(taken, delimiter=separator, strict=True)
            header = next((row for row in rows if not _is_blank(row)), [])
            if any(len(cell) > MAX_CELL for cell in header):
                raise csv.Error(f"field larger than field limit ({MAX_CELL})")
        except csv.Error as error:
            failure = error
            continue
        header = [" ".join(unicodedata.normalize("NFC", cell).split()) for cell in header]
        readings.append((separator, header))
    if not readings:
        raise TableError(
            "the header cannot be read ({failure}): look for a quote that is not closed.",
            id="table-header-unreadable",
            failure=failure,
        )

    def rank(reading: tuple[Separator, list[str]]) -> tuple[bool, int]:
        return any(folded(header) in needed for header in reading[1]), len(reading[1])

    return max(readings, key=rank)

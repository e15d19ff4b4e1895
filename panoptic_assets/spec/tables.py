"""Tables that people made: CSV files and spreadsheets, their header and lines.

Belongs here: the one reader of tables, and what it refuses. Does not belong here: what columns and
cells mean (their readers), writing CSV, and how a sheet of a spreadsheet is read
(``spec.spreadsheets``). ``proof.bundle_check`` reads its own, as it is shipped inside bundles and
works without this package.

A file of text is UTF-8 with or without a mark, or UTF-16 with one, with any kind of newline, and
quoted by ``"``. What is neither is read as Windows-1252, in which older spreadsheets save, where
the reader can say so, unless it looks like yet another encoding.

The first line that is not blank is the header. If it has no column that is needed, a later one is,
within the first lines, that has one and more cells than each line above: titles are what stands
there. A line ``sep=;`` before them states the separator. Else it is the one of ``,``, ``;`` and the
tab by which the header, outside quotes, has a column that the reader needs; of several, the one by
which it has the most columns, with or without names, then the first. Where the header holds none of
them, each line is one cell. Blank lines, and blank cells beyond the header's, count for nothing.

The csv module does the reading; what it leaves open is bounded here, as a file may be hostile: it
is read line by line, and no line or cell is longer than one that a table has.

Long because encodings, separators, headers and limits depend on each other.
"""

import codecs
import csv
import io
import itertools
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, TextIO

from panoptic_assets.spec.languages import N_
from panoptic_assets.spec.spreadsheets import (
    SheetFinding,
    SpreadsheetError,
    is_spreadsheet,
    open_sheet,
)
from panoptic_assets.spec.text import beginning, cut
from resources.errors import PlainError, noted

NO_SEPARATOR = "\0"
"""Which no table holds: the table has one column, or is a spreadsheet's."""
_SEPARATORS = (NO_SEPARATOR, ",", ";", "\t")

MAX_CHARACTERS = 2**27
"""Of a whole file."""
MAX_LINE = 2**20
"""Characters of one line of the table, newlines inside quotes included. The csv module refuses
long cells only once it was given the whole line."""
MAX_CELL = 2**17
"""Characters of one cell. It is what the csv module refuses unless told otherwise, but its limit
is one for the whole process, and whoever reads longer cells there raises it for all."""
SUFFIXES = frozenset({".csv", ".tsv", ".xlsx", ".xlsm", ".xlsb", ".xls", ".ods"})
"""How the names of tables end, in lower case, where a file may be something else as well."""
HEADER_WITHIN = 20
"""Lines that are not blank, of which one is the header."""

_BLANK = re.compile(r'[\s;,"]*')
_STATED = re.compile(r'"?sep=([^\w"\r\n])"?[,;\s]*', re.IGNORECASE)

_MARKS_OF_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_SEQUENCE = re.compile(
    rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}"
)
"""A character of UTF-8 that is not one of ASCII."""
_WORD = re.compile(rb"[\w'\x80-\xff]*[\x80-\xff][\w'\x80-\xff]*")
_LETTERS = bytes([0x8C, 0x9C, *range(0xC0, 0x100)])
"""Of Windows-1252, beside those of ASCII, but for S and Z with a caron, which are rare."""
_OTHERS_LETTERS = bytes(
    sorted({*range(0x80, 0xA0)} - {0x80, 0x85, 0x8B, 0x8C, *range(0x91, 0x98), 0x9B, 0x9C})
)
"""What are letters in Mac Roman and the code pages of DOS. In Windows-1252 five of them are
nothing, and the others rare; left out are its euro, quotes, dashes and ligatures."""
_UNDEFINED = bytes([0x81, 0x8D, 0x8F, 0x90, 0x9D])


class TableError(PlainError, ValueError):
    """The file is no table; the message begins in lower case and ends with a full stop."""


class EmptyTableError(TableError):
    """The file has no line that is not blank."""


@dataclass(frozen=True)
class TableNote:
    """What people must be told of how a file was read."""

    line: int
    """Of the file, from 1."""
    value: str
    """What stands there."""
    cause: str


@dataclass(frozen=True)
class OpenTable:
    """A table whose lines are read one by one."""

    separator: str
    headers: list[str]
    """In NFC, each run of white space one space; without those at the end that are blank."""
    header_line: int
    """The number of the header's first line in the file, from 1."""
    rows: Iterator[tuple[int, list[str]]]
    """The lines that are not blank, each with the number of its first line in the file. A line may
    have fewer cells than ``headers``, or more where columns at the end have no name."""
    notes: list[TableNote]


@contextmanager
def read_table(
    source: str | bytes | BinaryIO, needed: Collection[str], says_notes: bool = False
) -> Iterator[OpenTable]:
    """Read a table; :mod:`panoptic_assets.spec.tables` says what can be read.

    Args:
        source: The file's text or bytes, or the file opened in binary mode; read once, not closed.
        needed: Names of columns, :func:`folded`, of which the header should have one; it may lack
            all of them.
        says_notes: Whether the caller tells people what ``notes`` holds. Otherwise what is no UTF-8
            is refused, and so are formulas without a value.

    Raises:
        TableError: Here or while rows are read: it is in no encoding that is known, holds NUL
            bytes, has a line with too many cells, quotes that do not close, is no whole
            spreadsheet, or is too large.
        EmptyTableError: It has no header.
    """
    if isinstance(source, str):
        with _table(_Lines(io.StringIO(source, newline="")), needed, []) as table:
            yield table
        return
    stream = io.BytesIO(source) if isinstance(source, bytes) else source
    # What cannot be read twice is a pipe: text in UTF-8.
    begins = stream.seekable() and _peeked(stream)
    if begins and is_spreadsheet(begins):
        with _sheet(stream, needed, says_notes) as table:
            yield table
        return
    notes: list[TableNote] = []
    encoding = "utf-8-sig"
    if begins and begins.startswith(_MARKS_OF_UTF_16):
        encoding = "utf-16"
    elif begins and says_notes and (note := _foreign(stream)):
        encoding, notes = "cp1252", [note]
    # newline="" leaves newlines as they are, as csv needs, and still ends lines at a lone \r.
    text = io.TextIOWrapper(stream, encoding=encoding, newline="")
    with _table(_Lines(text), needed, notes) as table:
        yield table


@contextmanager
def _table(lines: "_Lines", needed: Collection[str], notes: list[TableNote]) -> Iterator[OpenTable]:
    try:
        header = _find_header(lines, needed)
        rows = _rows(itertools.chain(header.text, lines), header.separator, lines, header.above)
        header_line, _ = next(rows)
        headers = header.cells
        checked = _checked(rows, len(headers), header.separator)
        while not headers[-1]:
            headers.pop()
        yield OpenTable(header.separator, headers, header_line, checked, [*notes, *header.notes])
    finally:
        lines.detach()


@contextmanager
def _sheet(stream: BinaryIO, needed: Collection[str], says_notes: bool) -> Iterator[OpenTable]:
    def has_needed(rows: list[list[str]]) -> bool:
        return bool(rows) and _has_needed(_headers(rows[_header_of(rows, needed)]), needed)

    try:
        with open_sheet(stream, has_needed) as sheet:
            if sheet is None:
                raise _empty()
            rows = _bounded(sheet.rows)
            first = list(itertools.islice(rows, HEADER_WITHIN))
            at = _header_of([cells for _, cells in first], needed)
            header_line, cells = first[at]
            notes = [_titles(at, first[0][0], first[0][1])] if at else []
            if sheet.others:
                notes.append(
                    TableNote(
                        header_line,
                        beginning(sheet.others, 5),
                        noted(
                            "sheets that were not read: the table is that of {sheet}",
                            sheet=repr(sheet.name),
                        ),
                    )
                )
            if sheet.nb_merged:
                cause = noted(
                    "merged cells: {count:,}; their values count on all their lines",
                    count=sheet.nb_merged,
                )
                notes.append(TableNote(header_line, "", cause))
            for found in sheet.found:
                if not says_notes:
                    _refuse(found)
                notes.append(TableNote(found.line or header_line, found.shown, _cause(found)))
            below = itertools.chain(first[at + 1 :], rows)
            headers = _headers(cells)
            checked = _checked(below, len(headers), NO_SEPARATOR)
            # Its rows end where their last cell does, which says nothing.
            whole = ((line, row + [""] * (len(headers) - len(row))) for line, row in checked)
            yield OpenTable(NO_SEPARATOR, headers, header_line, whole, notes)
    except SpreadsheetError as error:
        raise TableError.of(error) from error


def _refuse(found: SheetFinding) -> None:
    """Refuse what a reader that tells nobody would lose."""
    match found.kind:
        case "errors":
            raise TableError(
                "{nb_errors:,} of the sheet's formulas give an error, the first one "
                "{shown!r} (row {line}): correct them, or put values in their place.",
                id="table-formula-errors",
                nb_errors=found.count,
                shown=found.shown,
                line=found.line or "?",
            )
        case "uncomputed":
            raise TableError(
                "{nb_formulas:,} of the sheet's formulas were never computed, the first one "
                "{shown!r} (row {line}): open the file in a spreadsheet and save it.",
                id="table-formulas-uncomputed",
                nb_formulas=found.count,
                shown=found.shown,
                line=found.line or "?",
            )
        case "untold":
            raise TableError(
                "a file of this kind does not tell which formulas give an error, nor dates before "
                "1900: save it as .xlsx or .ods.",
                id="table-of-old-spreadsheet",
            )
        case "times" | "padded":
            pass


def _cause(found: SheetFinding) -> str:
    match found.kind:
        case "errors":
            return noted("formulas with an error, which are left out: {count:,}", count=found.count)
        case "uncomputed":
            return noted(
                "formulas that were never computed, which are left out: {count:,}; open the file "
                "in a spreadsheet and save it",
                count=found.count,
            )
        case "padded":
            return noted(
                "numbers that are shown with zeros before them, which are no part of the value: "
                "{count:,}; make such a column text",
                count=found.count,
            )
        case "times":
            return noted(
                "times, or dates before 1900, which a file of this kind does not tell apart and "
                "are left out: {count:,}; save it as .xlsx or .ods",
                count=found.count,
            )
        case "untold":
            return N_(
                "a file of this kind does not tell which formulas give an error: they are left "
                "out; save it as .xlsx or .ods to see them"
            )


def _bounded(rows: Iterable[tuple[int, list[str]]]) -> Iterator[tuple[int, list[str]]]:
    total = 0
    for line, row in rows:
        length = sum(map(len, row))
        if length > MAX_CELL and any(len(cell) > MAX_CELL for cell in row):
            raise _cell_too_long(line)
        total += length
        if total > MAX_CHARACTERS:
            raise _too_long()
        if any("\0" in cell for cell in row):
            raise _nul_byte(line)
        yield line, row


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
    """The name of a column in the form in which names that are known are compared.

    It has no accents, and spaces in place of ``_``, ``-`` and apostrophes.
    """
    if not header.isascii():
        apart = unicodedata.normalize("NFD", header.replace("’", " "))
        header = "".join(filter(lambda character: not unicodedata.combining(character), apart))
    return " ".join(header.casefold().translate(_SPACES).split())


_SPACES = str.maketrans("_-'", "   ")


def _peeked(stream: BinaryIO) -> bytes:
    at = stream.tell()
    found = stream.read(8)
    stream.seek(at)
    return found


def _foreign(stream: BinaryIO) -> TableNote | None:
    """What is to be said of a file that is no UTF-8 and will be read as Windows-1252.

    None where it is UTF-8, if with a damaged place.

    Raises:
        TableError: It looks like neither.
    """
    at = stream.tell()
    decoder = codecs.getincrementaldecoder("utf-8")()
    total = 0
    try:
        while total <= 4 * MAX_CHARACTERS and (chunk := stream.read(2**20)):
            total += len(chunk)
            decoder.decode(chunk)
        decoder.decode(b"", final=True)
        return None
    except UnicodeDecodeError:
        stream.seek(at)
        data = stream.read(MAX_CHARACTERS + 1)
    finally:
        stream.seek(at)
    rest = _SEQUENCE.sub(b"", data)
    stray = _count(rest, _ABOVE_ASCII)
    # Other encodings hardly ever make a sequence of UTF-8; a damaged file has more than faults.
    is_damaged = (_count(data, _ABOVE_ASCII) - stray) // 2 >= stray
    if is_damaged or data.startswith(codecs.BOM_UTF8) or b"\0" in data:
        return None
    if _count(data, _UNDEFINED) or _count(data, _OTHERS_LETTERS) > _count(data, _LETTERS):
        line, text = _word(data, _OTHERS_LETTERS)
        raise TableError(
            "the file is neither UTF-8 nor Windows-1252: line {line} holds {word!r}, as files in "
            "Mac Roman or of DOS do; save it as UTF-8, which spreadsheets call 'CSV UTF-8'.",
            id="table-of-other-encoding",
            line=line,
            word=cut(text, 60),
        )
    line, text = _word(data, _LETTERS if _count(data, _LETTERS) else _ABOVE_ASCII)
    return TableNote(
        line,
        text,
        N_(
            "the file is not UTF-8 and was read as Windows-1252; if this word is wrong, save the "
            "file as UTF-8, which spreadsheets call 'CSV UTF-8'"
        ),
    )


_ABOVE_ASCII = bytes(range(0x80, 0x100))


def _count(data: bytes, wanted: bytes) -> int:
    return len(data) - len(data.translate(None, wanted))


def _word(data: bytes, letters: bytes) -> tuple[int, str]:
    """The first word that has one of these letters, with its line, as Windows-1252 reads it."""
    at = next(re.finditer(b"[" + re.escape(letters) + b"]", data)).start()
    start = max(at - 40, data.rfind(b"\n", 0, at) + 1, data.rfind(b"\r", 0, at) + 1)
    word = next(found for found in _WORD.finditer(data, start) if found.end() > at)
    line = 1 + len(re.findall(rb"\r\n?|\n", data[:at]))
    return line, word[0][:80].decode("cp1252", errors="replace")


class _Lines(Iterator[str]):
    """The physical lines of a text, checked and bounded before csv sees them."""

    def __init__(self, text: TextIO):
        self._text = text
        self._total = 0
        self.in_row = 0
        self.number = 0
        self.ahead = 0
        """The last line that was read in search of the header."""

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
        except UnicodeError as error:
            # Where a file in UTF-16 has an odd number of bytes, it is a plain one.
            if not isinstance(error, UnicodeDecodeError) or error.encoding.startswith("utf-16"):
                raise TableError(
                    "the file begins as UTF-16 but goes on otherwise, below line {line}: save it "
                    "as UTF-8, which spreadsheets call 'CSV UTF-8'.",
                    id="table-not-utf16",
                    line=self.number,
                ) from error
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
            raise _nul_byte(self.number)
        if self.in_row > MAX_LINE:
            raise TableError(
                "the line of the table that ends at line {line} or later has more than "
                "{max_line:,} characters: look there for a quote that is not closed.",
                id="table-line-too-long",
                line=self.number,
                max_line=MAX_LINE,
            )
        if self._total > MAX_CHARACTERS:
            raise _too_long()
        return line


def _nul_byte(line: int) -> TableError:
    return TableError(
        "line {line} holds a NUL byte: the file is damaged or in UTF-16; save it as UTF-8.",
        id="table-nul-byte",
        line=line,
    )


def _too_long() -> TableError:
    return TableError(
        "the file has more than {max_characters:,} characters: leave out columns that are not "
        "needed.",
        id="table-too-long",
        max_characters=MAX_CHARACTERS,
    )


def _rows(
    text: Iterable[str], separator: str, lines: _Lines, above: int
) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not blank, the header first, each with the line on which it begins.

    Args:
        text: Of the header and what follows.
        separator: Of cells.
        lines: Where ``text`` comes from.
        above: Lines of the file above it.
    """
    reader = csv.reader(text, delimiter=separator, strict=True)
    line = above + 1
    try:
        for row in reader:
            is_long = lines.in_row > MAX_CELL or line <= lines.ahead
            if is_long and any(len(cell) > MAX_CELL for cell in row):
                raise _cell_too_long(line)
            lines.end_row()
            if not _is_blank(row):
                yield line, row
            line = above + reader.line_num + 1
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
    rows: Iterator[tuple[int, list[str]]], nb_columns: int, separator: str
) -> Iterator[tuple[int, list[str]]]:
    for line, row in rows:
        if any(cell.strip() for cell in row[nb_columns:]):
            if separator == NO_SEPARATOR:
                raise TableError(
                    "line {line} has {nb_cells} cells, the header has {nb_columns}: name their "
                    "columns in the header, or empty them.",
                    id="table-line-beyond-header",
                    line=line,
                    nb_cells=len(row),
                    nb_columns=nb_columns,
                )
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


@dataclass(frozen=True)
class _Header:
    text: list[str]
    """Its lines, and those below it that were read already."""
    separator: str
    cells: list[str]
    above: int
    """Lines above ``text`` in the file."""
    notes: list[TableNote]


def _find_header(lines: _Lines, needed: Collection[str]) -> _Header:
    """The header, and what was read of the file to find it."""
    found: list[tuple[int, list[str], str, list[str]]] = []
    separators: Sequence[str] = _SEPARATORS
    while len(found) < HEADER_WITHIN:
        above = lines.number
        text = _header_lines(lines)
        lines.end_row()
        if all(map(_BLANK.fullmatch, text)):
            break
        stated = _STATED.fullmatch(text[-1])
        if stated and not found and separators is _SEPARATORS:
            separators = stated[1]
            continue
        try:
            separator, cells = _header(text, needed, separators)
        except TableError:
            if not found:
                raise
            separator, cells = NO_SEPARATOR, ["".join(text)]
        found.append((above, text, separator, cells))
        lines.ahead = lines.number
        if _has_needed(cells, needed):
            break
    if not found:
        raise _empty()
    at = _header_of([cells for _, _, _, cells in found], needed)
    above, _, separator, cells = found[at]
    text = [line for _, taken, _, _ in found[at:] for line in taken]
    notes = []
    if at:
        first = found[0]
        blank = sum(1 for _ in itertools.takewhile(_BLANK.fullmatch, first[1]))
        notes.append(_titles(at, first[0] + blank + 1, first[3]))
    return _Header(text, separator, cells, above, notes)


def _titles(number: int, line: int, cells: list[str]) -> TableNote:
    title = " ".join(cell for cell in cells if cell.strip())
    cause = noted("lines above the header, which are no part of the table: {count:,}", count=number)
    return TableNote(line, title, cause)


def _header_of(rows: list[list[str]], needed: Collection[str]) -> int:
    """Which of the first rows is the header: titles have fewer cells than what follows them.

    A cell of the table may be called as a column is.
    """
    widest = 0
    for at, cells in enumerate(rows[:HEADER_WITHIN]):
        width = sum(1 for cell in cells if cell.strip())
        if width > widest and _has_needed(_headers(cells), needed):
            return at
        widest = max(widest, width)
    return 0


def _has_needed(headers: list[str], needed: Collection[str]) -> bool:
    return any(folded(header) in needed for header in headers)


def _headers(cells: list[str]) -> list[str]:
    return [" ".join(unicodedata.normalize("NFC", cell).split()) for cell in cells]


def _header_lines(lines: _Lines) -> list[str]:
    """Blank lines and the one below them, which may have newlines inside quotes."""
    taken: list[str] = []
    quotes = 0
    for line in lines:
        taken.append(line)
        quotes += line.count('"')
        if quotes % 2 == 0 and not _BLANK.fullmatch(line):
            break
    return taken


def _empty() -> EmptyTableError:
    return EmptyTableError("the file is empty: its columns must have names.", id="table-empty")


def _header(
    taken: list[str], needed: Collection[str], separators: Sequence[str]
) -> tuple[str, list[str]]:
    """The separator, and the header's cells."""
    readings: list[tuple[str, list[str]]] = []
    failure = None
    for separator in separators:
        try:
            rows = csv.reader(taken, delimiter=separator, strict=True)
            header = next((row for row in rows if not _is_blank(row)), [])
            if any(len(cell) > MAX_CELL for cell in header):
                raise csv.Error(f"field larger than field limit ({MAX_CELL})")
        except csv.Error as error:
            failure = error
            continue
        readings.append((separator, _headers(header)))
    if not readings:
        raise TableError(
            "the header cannot be read ({failure}): look for a quote that is not closed.",
            id="table-header-unreadable",
            failure=failure,
        )
    return max(readings, key=lambda reading: (_has_needed(reading[1], needed), len(reading[1])))

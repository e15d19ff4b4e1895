"""The process that reads one spreadsheet, for ``spec.spreadsheets``, and may die of it.

Belongs here: what python-calamine gives, as lines of JSON with texts in place of values. Does not
belong here: whatever needs the package, which this file is not to import: it is started by its
path. Which sheet and which line is the header is the caller's.

A file of 600 bytes may have one cell in its first and one in its last corner, for which the library
asks for 550 GB and ends the process; texts, repeats and archives multiply as well. So the limits
are the system's, of this process alone. Windows has none, and macOS keeps that of memory loosely.

First it writes the beginning of each sheet, then waits for the number of one, and writes that: what
is to be said of it, its rows that are not blank, and null at the end.
"""

import datetime
import io
import json
import re
import sys
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from itertools import islice
from typing import Any, Literal, NamedTuple
from xml.etree import ElementTree

from python_calamine import PasswordError, SheetTypeEnum, SheetVisibleEnum, load_workbook

_PEEKED_ROWS = 20
"""Rows that are not blank, of each sheet."""
_PEEKED_SHEETS = 50
_PEEKED_COLUMNS = 300
_PEEKED_CHARACTERS = 200
_MEMORY = 2**30
"""A sheet of 100,000 rows and 50 columns of texts takes half of it."""
_SECONDS = 60
"""Of the processor; a sheet of a million cells takes two."""

_RELATIONSHIP = "{http://schemas.openxmlformats.org/package/2006/relationships}Relationship"
_CELL = (
    rb"<(?:[\w.-]+:)?c\b(?=[^<>]*?\br=[\"']([A-Z]{1,3})(\d{1,7})[\"'])%s[^<>]*>"
    rb"(?:(?!</?(?:[\w.-]+:)?[cv]\b).){0,4096}<(?:[\w.-]+:)?v>(%s)</"
)
"""A cell of an .xlsx file with its column, row and value."""
_ERROR = re.compile(_CELL % (rb"(?=[^<>]*?\bt=[\"']e[\"'])", rb"[^<]{0,20}"), re.DOTALL)
_BELOW_ZERO = re.compile(_CELL % (b"", rb"-[\d.]{1,20}(?:[Ee][+-]?\d+)?"), re.DOTALL)
_NUMBER = re.compile(
    _CELL
    % (
        rb"(?=[^<>]*?\bs=[\"'](?P<style>\d{1,5})[\"'])"
        rb"(?![^<>]*?\bt=[\"'](?:s|str|b|e|inlineStr)[\"'])",
        rb"\d{1,15}",
    ),
    re.DOTALL,
)
_UNCOMPUTED = re.compile(
    rb"<(?:[\w.-]+:)?c\b(?=[^<>]*?\br=[\"'][A-Z]{1,3}(\d{1,7})[\"'])"
    rb"(?![^<>]*?\bt=[\"']str[\"'])[^<>]*(?<!/)>\s*"
    rb"<(?:[\w.-]+:)?f\b(?:[^<>]*/>|[^<>]*>([^<]{0,16384})</(?:[\w.-]+:)?f>)\s*"
    rb"(?:<(?:[\w.-]+:)?v\s*(?:/>|>\s*</(?:[\w.-]+:)?v>))?\s*</(?:[\w.-]+:)?c>"
)
"""A formula without a value, as programs write it that compute none. A blank text is a value."""
_UNCOMPUTED_OF_ODS = re.compile(
    rb"<table:table-cell\b(?=[^<>]*?\btable:formula=[\"']([^\"'>]{0,60}))"
    rb"(?![^<>]*?\boffice:value-type=)"
)
_DURATION = re.compile(r"PT(\d+)H(\d+)M(\d+)(?:[.,]\d+)?S\Z")
"""As .ods stores those of a day and more."""
_ERROR_OF_ODS = re.compile(
    rb"<table:table-cell\b[^<>]*?value-type=\"error\"[^<>]*>(?:<text:p>([^<]{1,20})<)?"
)
_SINCE_1904 = re.compile(rb"\bdate1904=[\"'](?:1|true)[\"']")
_DAYS_ZERO = (datetime.datetime(1899, 12, 30), datetime.datetime(1904, 1, 1))
"""Of most files, and of those of old Macs."""


def read_one() -> None:
    """Read the file that comes, with its size before it."""
    _limit()
    try:
        size = int(sys.stdin.buffer.readline())
        with io.BytesIO(sys.stdin.buffer.read(size)) as file:
            book = load_workbook(file)
            kinds = {sheet.name: sheet for sheet in book.sheets_metadata}
            names = [n for n in book.sheet_names if kinds[n].typ == SheetTypeEnum.WorkSheet]
            names.sort(key=lambda name: kinds[name].visible != SheetVisibleEnum.Visible)
            sheets = []
            sheet = None
            for name in names[:_PEEKED_SHEETS]:
                sheet = None  # let go of one before the next is read
                sheet = book.get_sheet_by_name(name)
                rows = islice(_rows(sheet), _PEEKED_ROWS)
                sheets.append((name, [(number, _cut(row)) for number, row in rows]))
            _say({"sheets": sheets})
            chosen = sys.stdin.buffer.readline().strip()
            if not chosen:
                return None
            name = names[int(chosen)]
            if sheet is None or sheet.name != name:
                sheet = book.get_sheet_by_name(name)
            ranges = sheet.merged_cell_ranges or []
            merged = [(a, b) for a, b in ranges if b[0] > a[0]]
            raw = _raw(file, name)
            found = [*raw.found, *(_times(sheet) if raw.kind is None else [])]
            _say({"merged": len(merged), "found": found})
            for row in _rows(sheet, merged, raw):
                _say(row)
            return _say(None)
    except PasswordError:
        return _say({"refused": "password"})
    except MemoryError:
        return _say({"refused": "size"})
    except BrokenPipeError:
        return None
    # The library's own faults are no kind of Exception.
    except BaseException:
        return _say({"refused": "damaged"})


def _limit() -> None:
    try:
        import resource
    except ImportError:  # not on every system
        return
    limits = (
        (resource.RLIMIT_AS, _MEMORY),
        (resource.RLIMIT_CPU, _SECONDS),
        (resource.RLIMIT_CORE, 0),  # which would be a gigabyte in the working directory
    )
    for kind, most in limits:
        try:
            _, hard = resource.getrlimit(kind)
            if hard == resource.RLIM_INFINITY or hard > most:
                resource.setrlimit(kind, (most, most))
        except (OSError, ValueError):
            pass


def _say(what: Any) -> None:
    print(json.dumps(what), flush=not isinstance(what, tuple))


def _cut(row: list[str]) -> list[str]:
    return [cell[:_PEEKED_CHARACTERS] for cell in row[:_PEEKED_COLUMNS]]


def _rows(
    sheet: Any, merged: Iterable[Any] = (), raw: "_Raw | None" = None
) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not blank, each with its number, as texts without blank cells at the end.

    A cell that is merged over several rows has its value in each of them.
    """
    if sheet.start is None:
        return
    left = sheet.start[1]
    earlier = raw.earlier if raw else {}
    kind = raw.kind if raw else "xlsx"
    begins: dict[int, list[tuple[int, int]]] = {}
    for (top, first), (bottom, _) in merged:
        begins.setdefault(top, []).append((first - left, bottom))
    held: dict[int, tuple[int, str]] = {}
    for at, cells in enumerate(sheet.iter_rows()):
        row = [
            cell if isinstance(cell, str) else _text(cell, earlier.get((at, left + column)))
            for column, cell in enumerate(cells)
        ]
        if kind is None:
            row = [
                "" if isinstance(cell, datetime.time) else text
                for cell, text in zip(cells, row, strict=True)
            ]
        elif kind == "ods":
            row = [_DURATION.sub(r"\1:\2:\3", text) for text in row]
        if held:
            held = {column: kept for column, kept in held.items() if kept[0] >= at}
            for column, (_, text) in held.items():
                row[column] = row[column] or text
        for column, last in begins.get(at, ()):
            if 0 <= column < len(row):
                held[column] = last, row[column]
        while row and not row[-1].strip():
            row.pop()
        if row:
            yield at + 1, row


def _text(value: Any, earlier: datetime.datetime | float | None) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        # The digits beyond those that the file stores would be chance.
        return str(int(Decimal(repr(value)))) if value.is_integer() else repr(value)
    if isinstance(value, datetime.time) and earlier is not None:
        # A day before 1900, as LibreOffice saves it. The library takes it for a time of the day.
        if isinstance(earlier, datetime.datetime) and earlier.time() == datetime.time():
            return earlier.date().isoformat()
        value = earlier if isinstance(earlier, datetime.datetime) else str(earlier)
    if isinstance(value, datetime.datetime):
        # Days are stored as fractions, which miss whole seconds by some microseconds.
        value = (value + datetime.timedelta(microseconds=500_000)).replace(microsecond=0)
        return str(value.isoformat())
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        minutes, seconds = divmod(round(value.total_seconds()), 60)
        return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
    return str(value)


_Found = tuple[str, int, int, str]
"""What is to be told of cells, as a ``SheetFinding``: a kind, how many there are, the
row of the first one, 0 where it is unknown, and what stands there."""


def _times(sheet: Any) -> list[_Found]:
    """The times of a file that cannot be looked into; what was a day before 1900 is one, too."""
    found = [
        (at, str(cell))
        for at, cells in enumerate(sheet.iter_rows(), 1)
        for cell in cells
        if isinstance(cell, datetime.time)
    ]
    return [("times", len(found), *found[0])] if found else []


class _Raw(NamedTuple):
    """What a file says and the library does not."""

    kind: Literal["xlsx", "ods"] | None
    """None: it could not be looked into, as .xls and .xlsb."""
    found: list[_Found]
    earlier: Mapping[tuple[int, int], datetime.datetime | float]
    """By row and column, from 0, what a number below zero is if it is a date; the number itself
    where Python knows no such date."""


_UNREADABLE = (
    *(zipfile.BadZipFile, zlib.error, EOFError, KeyError, ElementTree.ParseError),
    RuntimeError,  # a member is encrypted, or packed in a way that Python does not know
)


def _raw(file: Any, name: str) -> _Raw:
    try:
        with zipfile.ZipFile(file) as archive:
            if "content.xml" in archive.namelist():
                # Of all sheets: it has no names of cells.
                sheet = archive.read("content.xml")
                errors = [(0, found[1] or b"") for found in _ERROR_OF_ODS.finditer(sheet)]
                empty = [(0, found[1]) for found in _UNCOMPUTED_OF_ODS.finditer(sheet)]
                return _Raw("ods", [*_told("errors", errors), *_told("uncomputed", empty)], {})
            sheet = archive.read(_part(archive, name))
            day_zero = _DAYS_ZERO[_SINCE_1904.search(archive.read("xl/workbook.xml")) is not None]
            digits = _digits(archive)
    except _UNREADABLE:
        return _Raw(None, [("untold", 1, 0, "")], {})
    errors = [(int(e[2]), e[3]) for e in _ERROR.finditer(sheet)] if b"#" in sheet else []
    empty = [(int(e[1]), b"=" + (e[2] or b"")) for e in _UNCOMPUTED.finditer(sheet)]
    padded = [
        (int(number[2]), number[4].zfill(digits[number["style"]]))
        for number in (_NUMBER.finditer(sheet) if digits else ())
        if len(number[4]) < digits.get(number["style"], 0)
    ]
    found = [*_told("errors", errors), *_told("uncomputed", empty), *_told("padded", padded)]
    earlier: dict[tuple[int, int], datetime.datetime | float] = {}
    for cell in _BELOW_ZERO.finditer(sheet) if b">-" in sheet else ():
        column = 0
        for letter in cell[1]:
            column = 26 * column + letter - 64
        number = float(cell[3])
        place = int(cell[2]) - 1, column - 1
        try:
            earlier[place] = day_zero + datetime.timedelta(days=number)
        except OverflowError:
            earlier[place] = number
    return _Raw("xlsx", found, earlier)


def _told(kind: str, cells: list[tuple[int, bytes]]) -> list[_Found]:
    if not cells:
        return []
    row, shown = cells[0]
    return [(kind, len(cells), row, shown[:60].decode(errors="replace"))]


def _digits(archive: zipfile.ZipFile) -> Mapping[bytes, int]:
    """With how many digits styles of an .xlsx file show numbers, where that puts zeros first."""
    if "xl/styles.xml" not in archive.namelist():
        return {}
    styles = ElementTree.fromstring(archive.read("xl/styles.xml"))  # noqa: S314
    zeros: dict[str | None, int] = {}
    for form in styles.iterfind("{*}numFmts/{*}numFmt"):
        code = form.get("formatCode", "").partition(";")[0]
        if len(code) > 1 and not code.strip("0"):
            zeros[form.get("numFmtId")] = len(code)
    return {
        b"%d" % at: zeros[cell.get("numFmtId")]
        for at, cell in enumerate(styles.iterfind("{*}cellXfs/{*}xf"))
        if cell.get("numFmtId") in zeros
    }


def _part(archive: zipfile.ZipFile, name: str) -> str:
    """The member that holds a sheet of an .xlsx file."""
    # Whatever its entities grow to is held by the limits.
    book = ElementTree.fromstring(archive.read("xl/workbook.xml"))  # noqa: S314
    sheets = (s for s in book.iter() if s.tag.rpartition("}")[2] == "sheet")
    named = (items for s in sheets if s.get("name") == name for items in s.items())
    wanted = next((value for key, value in named if key.endswith("}id")), None)
    links = ElementTree.fromstring(archive.read("xl/_rels/workbook.xml.rels"))  # noqa: S314
    for link in links.iter(_RELATIONSHIP):
        if wanted and link.get("Id") == wanted:
            target = link.get("Target", "")
            return target.lstrip("/") if target.startswith("/") else f"xl/{target}"
    raise KeyError(name)


if __name__ == "__main__":
    read_one()

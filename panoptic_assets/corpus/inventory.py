"""Metadata kept beside the images: a CSV file whose columns become properties of images.

Belongs here: what the file's text says, which image each line speaks of, and which value an image
gets. Does not belong here: opening the file and storing the values
(``corpus.properties``).

The form is the one that Panoptic imports and exports (``core/importer`` and ``dateformat.py`` of
CERES-Sorbonne/Panoptic): ``;`` between cells, headers ``name[type]``, a point in numbers, dates
with the day first or in ISO 8601, tags separated by commas. Read here as well: ``,`` or tabs
between cells, headers without a type, ``a > b`` for a tag below another, and the decimal comma in
files with ``;``, which is how spreadsheets write them where it is the custom.

The file is made by hand and may be anything. What breaks the table as a whole is a
:class:`InventoryError`; a cell that cannot be read is left out and becomes a :class:`Finding`.

Long because the file's values are read column by column, and whatever is wrong with one is said.
"""

import heapq
import re
from bisect import bisect_left
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import BinaryIO, get_args

from panoptic_assets.corpus.names import ImageNames, comparable_path, first_pages
from panoptic_assets.corpus.values import (
    CONTROL_CHARACTERS,
    MAX_NAME,
    READERS,
    PropertyType,
    Value,
    inferred_type,
    shown_cell,
    written,
)
from panoptic_assets.spec.tables import CsvTable, Separator, TableError, folded, read_table
from resources.errors import InputError
from resources.page_paths import file_of, page_number

MAX_CELLS = 2**23
"""Of a whole file; a million cells take up to 150 MB of memory here, 600 with storing them."""
MAX_COLUMNS = 256
MAX_FINDINGS = 100
MAX_UNMATCHED = 20

_FILE_COLUMNS = ("path", "chemin", "file", "fichier", "filename", "file name", "image")
_KEPT_AS_TEXT = frozenset({"url", "color", "checkbox", "path"})
"""Panoptic's types that have no equivalent here."""

_HEADER = re.compile(r"(.*\S) ?\[ ?(\w+) ?\]")


class InventoryError(InputError):
    """The file is no table of metadata; the message is one plain line with cause and remedy."""


@dataclass(frozen=True, order=True)
class Finding:
    """Something in the file that is left out, or is not read as it was written."""

    line: int
    """Of the file, from 1; of several that make one line of the table, the first."""
    column: str
    """The property's name; empty when the finding is about the whole line."""
    value: str
    """What stands there, shortened, with control characters escaped."""
    cause: str


@dataclass(frozen=True)
class Findings:
    """The first findings by line, and how many there are."""

    first: tuple[Finding, ...]
    total: int


@dataclass(frozen=True)
class Property:
    """A named kind of value that images have."""

    name: str
    type: PropertyType


@dataclass(frozen=True)
class Column:
    """The values of one property, one for each line of the table; None where there is none."""

    property: Property
    values: list[Value | None]


@dataclass(frozen=True)
class Inventory:
    """The table as it was read: n lines that each name a file."""

    separator: Separator
    files: list[str]
    """(n,) the name of the file on each line, as it was written."""
    lines: list[int]
    """(n,) the number of each line in the file, from 1."""
    columns: list[Column]
    findings: Findings


@dataclass(frozen=True)
class ImageValues:
    """The values that images get."""

    values: dict[Property, dict[str, Value]]
    """By property in the order of columns, by image id; properties without a value are left out."""
    nb_rows: int
    """Lines of the table."""
    nb_unmatched: int
    """Lines that name no file of the corpus, or not a single one."""
    unmatched: tuple[str, ...]
    """The first of the names on those lines."""
    findings: Findings


def parse_inventory(source: bytes | BinaryIO) -> Inventory:
    """Read a table of metadata, in the form that :mod:`panoptic_assets.spec.tables` states.

    The header needs a column for the file's name: ``path``, or the first that there is of
    ``chemin``, ``file``, ``fichier``, ``filename``, ``file name``, ``image``, in any case.

    Every other column is a property: ``name[type]`` with the type text, number, date, tag or
    multi_tags; Panoptic's url, color, checkbox and path are kept as text. Without a type, a column
    is a number when all its cells are plain decimal numbers (no leading zeros, no sign ``+``, no
    exponent, no comma, integers below 2**53), a date when all are dates ``YYYY-MM-DD`` with or
    without a time, otherwise text; never tags.

    * text: as written, formulas included.
    * number: ``-1.5``, ``1e3``; in a file with ``;`` also ``1,5``. Rounded to float64; integers
      that it cannot hold exactly are refused.
    * date: ``2024-03-09``, ``2024/3/9``, ``09/03/2024`` (day first), each with an optional time
      ``13:45``, ``13:45:30.5`` and zone (UTC without one); ``2024-03``, ``03/2024`` and ``2024``
      are the first day of the month or year.
    * tag: the whole cell. multi_tags: separated by commas. ``a > b`` is the tag b below a.

    Blank cells have no value. Columns without a name count for nothing while they are blank.

    Args:
        source: The file's bytes, or the file opened in binary mode; read once, not closed.

    Raises:
        InventoryError: It is not UTF-8, holds NUL bytes, has no header or no column of files, two
            columns of one name, cells in a column without a name, a line with too many cells,
            quotes that do not close, or is too large.
    """
    try:
        with read_table(source, _FILE_COLUMNS) as table:
            return _parse(table)
    except TableError as error:
        raise InventoryError.of(error) from error


def inventory_rows(source: BinaryIO) -> Generator[tuple[int, list[str]], None, None]:
    """The rows of a table that are not blank, the header first, each with its line; cells as text.

    Rows have as many cells as the header, which has none at its end without a name.
    :func:`parse_inventory` says which files can be read.

    Raises:
        InventoryError: While iterating: the file cannot be read as a table.
    """
    try:
        with read_table(source, _FILE_COLUMNS) as table:
            yield table.header_line, table.headers
            for line, row in table.rows:
                yield line, _filled(row, table.headers)
    except TableError as error:
        raise InventoryError.of(error) from error


def typed(header: str) -> tuple[str, str]:
    """The name in a header such as ``name[tag]``, and its type in lower case; empty if none."""
    match = _HEADER.fullmatch(header)
    return (header, "") if match is None else (match[1], match[2].casefold())


def file_column(headers: list[str]) -> int:
    """Which column names the files.

    Raises:
        InventoryError: None does.
    """
    names = [folded(header) for header in headers]
    for word in _FILE_COLUMNS:
        if word in names:
            return names.index(word)
    shown, others = shown_cell(", ".join(headers)), ", ".join(_FILE_COLUMNS[1:])
    if names[:1] == ["id"]:
        raise InventoryError(
            "No column names the files; the header is {header}. Separate columns by ';', ',' or "
            "tabs and call one `path` (or {others}). Panoptic's ids mean nothing here: export "
            "with paths.",
            id="inventory-of-ids",
            header=shown,
            others=others,
        )
    raise InventoryError(
        "No column names the files; the header is {header}. Separate columns by ';', ',' or tabs "
        "and call one `path` (or {others}).",
        id="inventory-without-files",
        header=shown,
        others=others,
    )


def match_images(
    inventory: Inventory, paths_of_images: Mapping[str, Iterable[str]], folder: str = ""
) -> ImageValues:
    """Give each image its values.

    A line names a file as :class:`Corpus` has it; one that does so in another letter case is a
    finding. Of a file with several pages that are images, each gets the values.

    Values belong to images. Where several lines speak of one image (lines for copies of it, or two
    lines for one file), the first by path, then by line, gives the value, and others that differ
    are findings; of multi_tags the image gets all.

    Args:
        inventory: The table.
        paths_of_images: For each image id, the paths of its files, POSIX, below the images' folder.
        folder: Where the images' folder is, if lines may name files by whole paths.
    """
    findings = _Collector(inventory.findings)
    corpus = Corpus(paths_of_images, folder)
    placed: list[tuple[str, int]] = []
    unmatched: list[str] = []
    nb_placed = 0
    for row, given in enumerate(inventory.files):
        paths, other_case = corpus.find(given)
        if len(paths) == 1:
            nb_placed += 1
            placed += [(path, row) for path in corpus.pages(given, paths[0])]
            if other_case:
                cause = f"taken for {shown_cell(paths[0])}, whose name differs in letter case"
                findings.add(inventory.lines[row], "", given, cause)
            continue
        if len(unmatched) < MAX_UNMATCHED:
            unmatched.append(shown_cell(given))
        if paths:
            findings.add(
                inventory.lines[row],
                "",
                given,
                f"several files could be meant, such as {shown_cell(paths[0])} and "
                f"{shown_cell(paths[1])}: write the path below the images' folder",
            )
    placed.sort()
    images = [(corpus.images[path], row) for path, row in placed]
    values = {}
    for column in inventory.columns:
        found = _values(column, images, inventory.lines, findings)
        if found:
            values[column.property] = found
    return ImageValues(
        values,
        len(inventory.files),
        len(inventory.files) - nb_placed,
        tuple(unmatched),
        findings.findings(),
    )


class _Collector:
    """Counts findings and keeps the first by line, in bounded memory."""

    def __init__(self, start: Findings = Findings((), 0)):
        self._kept = list(start.first)
        self._total = start.total

    def add(self, line: int, column: str, value: str, cause: str) -> None:
        self._total += 1
        self._kept.append(Finding(line, column, shown_cell(value), cause))
        if len(self._kept) > 10 * MAX_FINDINGS:
            self._kept = heapq.nsmallest(MAX_FINDINGS, self._kept)

    def findings(self) -> Findings:
        return Findings(tuple(sorted(self._kept)[:MAX_FINDINGS]), self._total)


class Corpus:
    """Finds the files that a line of another program's file can mean.

    A line names an image as everywhere, see :mod:`panoptic_assets.corpus.names`. Failing that, by a
    path that begins with the last name of the images' folder (Panoptic's exports), or by the end of
    a path (a file name, or one with some folders) that only one file has. All of these come before
    another letter case.

    Args:
        paths_of_images: As in :func:`resolve_edits`.
        folder: As in :func:`resolve_edits`.
    """

    def __init__(self, paths_of_images: Mapping[str, Iterable[str]], folder: str):
        self._paths = {image_id: list(paths) for image_id, paths in paths_of_images.items()}
        self.images = {path: image_id for image_id, paths in self._paths.items() for path in paths}
        several = {file_of(path) for path in self.images if page_number(path) > 1}
        self._pages: dict[str, list[str]] = {file: [] for file in several}
        for path in sorted(self.images, key=page_number) if several else ():
            if (file := file_of(path)) in several:
                self._pages[file].append(path)
        self._names = ImageNames(self.images, folder=folder)
        name = comparable_path(folder).rstrip("/").rpartition("/")[2]
        self._prefix = f"{name}/" if name else ""
        # Reversed, all paths with one ending are neighbours: any is found in logarithmic time,
        # however many files share it.
        self._endings: dict[bool, list[tuple[str, str]]] = {}

    def pages(self, given: str, path: str) -> list[str]:
        """What a line speaks of that was found to name a path: all pages of a file, or the one.

        Args:
            given: What stands on the line.
            path: What it names.
        """
        return [path] if page_number(given) > 1 else self._pages.get(file_of(path), [path])

    def find(self, given: str) -> tuple[list[str], bool]:
        """No path, the one, or two of several, and whether only their letter case differs."""
        for any_case in (False, True):
            if found := self._find(given, any_case):
                return found[:2], any_case
        return [], False

    def _find(self, given: str, any_case: bool) -> list[str]:
        if found := self._names.files(given, any_case):
            return found
        if not any_case and (ids := self._names.beginning(given)):
            return [self._paths[image_id][0] for image_id in ids]
        readings = [comparable_path(reading) for reading in self._names.readings(given.strip())]
        for name in readings:
            if self._prefix and name.startswith(self._prefix):
                rest = name.removeprefix(self._prefix)
                if found := self._names.files(rest, any_case):
                    return found
        for name in readings:
            if found := self._with_ending(name.lstrip("/"), any_case):
                return found
        return []

    def _with_ending(self, name: str, any_case: bool) -> list[str]:
        if not name:
            return []
        if any_case not in self._endings:
            self._endings[any_case] = sorted(
                (_ending(file_of(path), any_case), path) for path in first_pages(self.images)
            )
        endings, wanted = self._endings[any_case], _ending(name, any_case)
        at = bisect_left(endings, (wanted,))
        return [path for key, path in endings[at : at + 2] if key.startswith(wanted)]


def _ending(path: str, any_case: bool) -> str:
    """A path from its end on, to be compared with the ends of others."""
    return comparable_path(path, any_case)[::-1] + "/"


def _filled(row: list[str], headers: list[str]) -> list[str]:
    return [*row, *[""] * (len(headers) - len(row))][: len(headers)]


def _parse(table: CsvTable) -> Inventory:
    findings = _Collector()
    separator, headers = table.separator, table.headers
    files = file_column(headers)
    names = [_property_of(header, table.header_line, findings) for header in headers]
    _check_names([name for name, _ in names], files)

    nameless = [at for at, header in enumerate(headers) if not header]
    texts: list[list[str]] = [[] for _ in headers]
    numbers: list[int] = []
    for line, given in table.rows:
        for at in (*nameless, *range(len(headers), len(given))):
            if at < len(given) and given[at].strip():
                raise InventoryError(
                    "Column {column} of the header has no name: name or remove it.",
                    id="inventory-column-without-name",
                    column=at + 1,
                )
        if len(given) < len(headers):
            cause = f"the line has {len(given)} cells, the header {len(headers)}; the rest is empty"
            findings.add(line, "", given[0], cause)
        row = _filled(given, headers)
        if not row[files].strip():
            findings.add(line, "", "", "the line names no file")
            continue
        numbers.append(line)
        if len(numbers) * len(headers) > MAX_CELLS:
            raise InventoryError(
                "The file has more than {max_cells:,} cells up to line {line}: leave out columns "
                "that are not needed.",
                id="inventory-too-many-cells",
                max_cells=MAX_CELLS,
                line=line,
            )
        for column, cell in zip(texts, row, strict=False):
            column.append(cell)

    columns = []
    for at, (name, given_type) in enumerate(names):
        if at != files and name:
            found = Property(name, given_type or inferred_type(texts[at]))
            columns.append(Column(found, _read(found, texts[at], numbers, separator, findings)))
            texts[at] = []  # the text of a column is let go as soon as its values are known
    return Inventory(separator, texts[files], numbers, columns, findings.findings())


def _property_of(header: str, line: int, findings: _Collector) -> tuple[str, PropertyType | None]:
    """Name and type of a header; no type where it is to be inferred."""
    name, word = typed(header)
    if not word:
        return header, None
    for known in get_args(PropertyType):
        if word == known:
            return name, known
    if word in _KEPT_AS_TEXT:
        findings.add(line, name, header, f"values of type {word} are kept as text")
        return name, "text"
    cause = (
        f"{shown_cell(word)} is not a type, so the whole header is the name; types are "
        f"{', '.join(get_args(PropertyType))}"
    )
    findings.add(line, header, header, cause)
    return header, None


def _check_names(names: list[str], file_column: int) -> None:
    if len(names) > MAX_COLUMNS:
        raise InventoryError(
            "The header has {nb_columns:,} columns; {max_columns:,} are possible.",
            id="inventory-too-many-columns",
            nb_columns=len(names),
            max_columns=MAX_COLUMNS,
        )
    seen: set[str] = set()
    for at, name in enumerate(names):
        if at == file_column or not name:
            continue
        if len(name) > MAX_NAME:
            raise InventoryError(
                "The name of column {name} has {length:,} characters; at most {max_name} are "
                "possible.",
                id="inventory-column-name-too-long",
                name=shown_cell(name),
                length=len(name),
                max_name=MAX_NAME,
            )
        if CONTROL_CHARACTERS.search(name):
            raise InventoryError(
                "The name of column {name} holds control characters: remove them.",
                id="inventory-column-name-unprintable",
                name=shown_cell(name),
            )
        if name in seen:
            raise InventoryError(
                "Two columns have the name {name}: rename one of them.",
                id="inventory-column-twice",
                name=shown_cell(name),
            )
        seen.add(name)


def _read(
    property: Property,
    cells: list[str],
    lines: list[int],
    separator: str,
    findings: _Collector,
) -> list[Value | None]:
    """The values of one column; equal cells share one value."""
    reader = READERS[property.type]
    known: dict[str, tuple[Value | None, str]] = {}
    values: list[Value | None] = []
    for line, cell in zip(lines, cells, strict=True):
        entry = known.get(cell)
        if entry is None:
            try:
                entry = (reader(cell, separator) if cell.strip() else None), ""
            except ValueError as error:
                entry = None, str(error)
            known[cell] = entry
        value, cause = entry
        values.append(value)
        if cause:
            findings.add(line, property.name, cell, cause)
    return values


def _values(
    column: Column, images: list[tuple[str, int]], lines: list[int], findings: _Collector
) -> dict[str, Value]:
    """Image id to value; ``images`` holds (image id, row), in the order in which they count."""
    if column.property.type == "multi_tags":
        return _united(column, images)
    found: dict[str, Value] = {}
    lines_of: dict[str, int] = {}
    for image_id, row in images:
        value = column.values[row]
        if value is None:
            continue
        first = found.setdefault(image_id, value)
        line = lines_of.setdefault(image_id, lines[row])
        if first != value:
            cause = (
                f"its image has {shown_cell(written(first))} already, from line {line}: lines for "
                "one image, or for copies of it, must agree"
            )
            findings.add(lines[row], column.property.name, written(value), cause)
    return found


def _united(column: Column, images: list[tuple[str, int]]) -> dict[str, Value]:
    found: dict[str, set[str]] = {}
    for image_id, row in images:
        value = column.values[row]
        if isinstance(value, tuple):
            found.setdefault(image_id, set()).update(value)
    return {image_id: tuple(sorted(tags)) for image_id, tags in found.items()}

"""Metadata kept beside the images: a table whose columns become properties of images.

Belongs here: what the file's text says, which image each line speaks of, and which value an image
gets. Does not belong here: opening the file and storing the values
(``corpus.properties``).

The form is the one that Panoptic imports and exports (``core/importer`` and ``dateformat.py`` of
CERES-Sorbonne/Panoptic): ``;`` between cells, headers ``name[type]``, a point in numbers, dates
with the day first or in ISO 8601, tags separated by commas. Read here as well: ``,`` or tabs
between cells, headers without a type, ``a > b`` for a tag below another, the decimal comma where
no comma separates cells, dates as museums write them, and spreadsheets.

The file is made by hand and may be anything. What breaks the table as a whole is a
:class:`InventoryError`; a cell that cannot be read is left out, which is a finding
(``corpus.inventory_findings``).

Long because the file's values are read column by column, and whatever is wrong with one is said.
"""

import re
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import BinaryIO, get_args

from panoptic_assets.corpus.foreign_names import Corpus, ForeignNames, plain_name
from panoptic_assets.corpus.inventory_findings import FindingCounter, Findings
from panoptic_assets.corpus.names import first_pages
from panoptic_assets.corpus.nearest_files import NearestFiles
from panoptic_assets.corpus.values import (
    CONTROL_CHARACTERS,
    MAX_NAME,
    READERS,
    PropertyType,
    Value,
    are_doubtful_decimals,
    inferred_type,
    look_like_dates,
    shown_cell,
    written,
)
from panoptic_assets.spec.formulas import unprotected
from panoptic_assets.spec.languages import N_
from panoptic_assets.spec.tables import (
    HEADER_WITHIN,
    EmptyTableError,
    OpenTable,
    TableError,
    folded,
    read_table,
)
from resources.errors import InputError, noted

MAX_CELLS = 2**23
"""Of a whole file; a million cells take up to 150 MB of memory here, 600 with storing them."""
MAX_COLUMNS = 256
MAX_UNMATCHED = 20

_FILE_COLUMNS = (
    *("path[path]", "path", "filepath", "file path", "chemin", "chemin du fichier"),
    *("chemin d acces", "global path", "local path", "file", "fichier", "filename", "file name"),
    *("nom du fichier", "nom de fichier", "nom fichier", "fichier image", "image"),
    *("nom du media", "file url", "media url"),
    # Of items and media as Omeka S exports them, if the items came from here.
    *("dcterms:source:literal", "o:source", "dcterms:source"),
)
"""Names of the column of files, :func:`folded`; of several the first counts: whole paths are surer
than names of files, and these than addresses."""
_OFFERED = ("chemin", "file", "fichier", "filename", "nom du fichier", "image")
"""Those that a message offers beside ``path``."""
_FRENCH_TYPES: dict[str, PropertyType] = {
    "nombre": "number",
    "texte": "text",
    "etiquette": "tag",
    "etiquettes": "multi_tags",
}
_DATE_WORDS = frozenset(
    {"date", "dates", "datation", "datations", "annee", "annees", "millesime", "year", "years"}
)
"""In the header of a column, :func:`folded`, which then may hold dates."""
_KEPT_AS_TEXT = frozenset({"url", "color", "checkbox", "path"})
"""Panoptic's types that have no equivalent here."""

_HEADER = re.compile(r"(.*\S) ?\[ ?(\w+) ?\]")


class InventoryError(InputError):
    """The file is no inventory; the message is one plain line with cause and remedy."""


@dataclass(frozen=True)
class Unmatched:
    """A line that names no file of the corpus, or not a single one."""

    line: int
    name: str
    """What stands there, shortened, with control characters escaped."""
    nearest: str
    """The file whose name looks most like it; empty if none does, or the line names several."""


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

    separator: str
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
    unmatched: tuple[Unmatched, ...]
    """The first of those lines."""
    findings: Findings


def parse_inventory(source: bytes | BinaryIO) -> Inventory:
    """Read an inventory, in the form that :mod:`panoptic_assets.spec.tables` states.

    The header needs a column for the file's name: the first that there is of ``path[path]``
    (Panoptic's whole paths), ``path``, ``filepath``, ``chemin``, ``chemin du fichier``, ``chemin
    d'accès``, ``global_path``, ``local_path``, ``file``, ``fichier``, ``filename``, ``nom du
    fichier``, ``nom de fichier``, ``nom fichier``, ``fichier image``, ``image``, ``nom du média``,
    ``file_url``, ``media_url``, in any case, with or without accents, spaces or ``_``.

    Every other column is a property, but for Panoptic's own ``id``, ``sha1[sha1]`` and
    ``folder[folder]`` in its exports: ``name[type]`` with the type text, number, date, tag or
    multi_tags; Panoptic's url, color, checkbox and path are kept as text. Without a type, a column
    is a number when all its cells are plain decimal numbers (no leading zeros, no sign ``+``, no
    exponent, no comma, integers below 2**53), or when all are as the French write them (``950``,
    ``12,5``) and one has thousands with decimals (``1 234,50``) or with a space that does not
    break; a date when all are dates ``YYYY-MM-DD`` with or without a time, otherwise text; never
    tags.

    * text: as written, formulas included.
    * number: ``-1.5``, ``1e3``; where cells are not separated by ``,`` also ``1,5``. Between
      thousands may be a space of any kind or an apostrophe, and then ``1 234,5`` everywhere.
      Rounded to float64; integers that it cannot hold exactly are refused.
    * date: as :mod:`panoptic_assets.spec.written_dates` reads it, with an optional time ``13:45``
      and zone (UTC without one) after a day in numbers.
    * tag: the whole cell. multi_tags: separated by commas. ``a > b`` is the tag b below a.

    Of a cell, a tag or a header that begins with an apostrophe and what a spreadsheet would take
    for a formula (``'=1``), the apostrophe is no part: see :mod:`panoptic_assets.spec.formulas`.
    Blank cells have no value. Columns without a name count for nothing while they are blank.

    Args:
        source: The file's bytes, or the file opened in binary mode; read once, not closed.

    Raises:
        InventoryError: It is not UTF-8, holds NUL bytes, has no header or no column of files, two
            columns of one name, cells in a column without a name, a line with too many cells,
            quotes that do not close, or is too large.
    """
    try:
        with read_table(source, _FILE_COLUMNS, says_notes=True) as table:
            return _parse(table)
    except TableError as error:
        raise _refusal(error) from error


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
        raise _refusal(error) from error


def _refusal(error: TableError) -> InventoryError:
    if not isinstance(error, EmptyTableError):
        return InventoryError.of(error)
    return InventoryError(
        "The file is empty: one of its first {within} lines must name the columns, one of them "
        "`path` or `nom du fichier`.",
        id="inventory-empty",
        within=HEADER_WITHIN,
    )


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
    shown, others = shown_cell(", ".join(headers)), ", ".join(_OFFERED)
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

    A line names a file as :class:`ForeignNames` has it; one that does so otherwise than by its path
    or the end of it is a finding, and so is one whose file another line names rather. Of a file
    with several pages that are images, each gets the values.

    Values belong to images. Where several lines speak of one image (lines for copies of it, or two
    lines for one file), the first by path, then by line, gives the value, and others that differ
    are findings; of multi_tags the image gets all.

    Args:
        inventory: The table.
        paths_of_images: For each image id, the paths of its files, POSIX, below the images' folder.
        folder: Where the images' folder is, if lines may name files by whole paths.
    """
    findings = FindingCounter(inventory.findings)
    corpus = Corpus(paths_of_images, folder)
    names = ForeignNames(corpus, inventory.files)
    placed: list[tuple[str, int]] = []
    unmatched: list[tuple[int, str, bool]] = []
    nb_placed = 0
    for row, given in enumerate(inventory.files):
        meant = names.find(given)
        paths = meant.paths
        if len(paths) == 1:
            nb_placed += 1
            placed += [(path, row) for path in corpus.pages(given, paths[0])]
            if meant.how:
                cause = noted("taken for {path}, {why}", path=shown_cell(paths[0]), why=meant.how)
                findings.add(inventory.lines[row], "", given, cause)
            continue
        if len(unmatched) < MAX_UNMATCHED:
            unmatched.append((inventory.lines[row], given, bool(paths or meant.rival)))
        if meant.rival is not None:
            path, other = map(shown_cell, meant.rival)
            cause = noted(
                "it could be {path}, as could {other}, and only one of them can: write the path "
                "below the images' folder",
                path=path,
                other=other,
            )
            findings.add(inventory.lines[row], "", given, cause)
        if paths:
            findings.add(
                inventory.lines[row],
                "",
                given,
                noted(
                    "several files could be meant, such as {one} and {other}: write the path "
                    "below the images' folder",
                    one=shown_cell(paths[0]),
                    other=shown_cell(paths[1]),
                ),
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
        _with_nearest(unmatched, corpus),
        findings.findings(),
    )


def _with_nearest(lines: list[tuple[int, str, bool]], corpus: Corpus) -> tuple[Unmatched, ...]:
    """Lines, of which each tells whether it names several files: then a finding has two of them."""
    files = NearestFiles(first_pages(corpus.images)) if lines else None
    return tuple(
        Unmatched(
            line,
            shown_cell(name),
            "" if files is None or is_ambiguous else files.nearest(plain_name(name)),
        )
        for line, name, is_ambiguous in lines
    )


def _filled(row: list[str], headers: list[str]) -> list[str]:
    return [*row, *[""] * (len(headers) - len(row))][: len(headers)]


def _parse(table: OpenTable) -> Inventory:
    findings = FindingCounter()
    for note in table.notes:
        findings.add(note.line, "", note.value, note.cause)
    separator = table.separator
    headers = [unprotected(header) for header in table.headers]
    files = file_column(headers)
    own = _of_panoptic(headers)
    if own:
        shown = shown_cell(", ".join(headers[at] for at in own))
        cause = N_("Panoptic's own columns say nothing of an image here, and are left out")
        findings.note(table.header_line, "", shown, cause)
    names = [
        ("", None) if at in (files, *own) else _property_of(header, table.header_line, findings)
        for at, header in enumerate(headers)
    ]
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
            cause = noted(
                "the line has {count:d} cells, the header {expected:d}; the rest is empty",
                count=len(given),
                expected=len(headers),
            )
            findings.add(line, "", given[0], cause)
        row = _filled(given, headers)
        if not row[files].strip():
            findings.add(line, "", "", N_("the line names no file"))
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
            found = Property(name, given_type or inferred_type(texts[at], separator))
            if given_type is None and _may_be_dates(found, texts[at]):
                cause = noted(
                    "no dates are read without a type: if it has some, write {header}",
                    header=shown_cell(f"{name}[date]"),
                )
                findings.note(table.header_line, name, name, cause)
            if found.type == "number" and are_doubtful_decimals(texts[at], separator):
                place, cell = next(one for one in enumerate(texts[at]) if "," in one[1])
                cause = N_(
                    "commas are read as those of decimals, and stand before three digits in the "
                    "whole column: leave them out if they stand between thousands"
                )
                findings.note(numbers[place], name, cell, cause)
            columns.append(Column(found, _read(found, texts[at], numbers, separator, findings)))
            texts[at] = []  # the text of a column is let go as soon as its values are known
    named = [unprotected(file) for file in texts[files]]
    return Inventory(separator, named, numbers, columns, findings.findings())


def _of_panoptic(headers: list[str]) -> list[int]:
    """The columns of Panoptic's numbers, SHA-1 and folders in what it exports."""
    kinds = [typed(header)[1] for header in headers]
    own = [at for at, kind in enumerate(kinds) if kind in ("sha1", "folder")]
    if own or any(folded(header) == "path[path]" for header in headers):
        own += [at for at, header in enumerate(headers) if header.strip().casefold() == "id"]
    return sorted(own)


def _property_of(
    header: str, line: int, findings: FindingCounter
) -> tuple[str, PropertyType | None]:
    """Name and type of a header; no type where it is to be inferred."""
    name, word = typed(header)
    if not word:
        return header, None
    word = _FRENCH_TYPES.get(folded(word), word)
    for known in get_args(PropertyType):
        if word == known:
            return name, known
    if word in _KEPT_AS_TEXT:
        cause = noted("values of type {word} are kept as text", word=word)
        findings.note(line, name, header, cause)
        return name, "text"
    cause = noted(
        "{word} is not a type, so the whole header is the name; types are {types}",
        word=shown_cell(word),
        types=", ".join(get_args(PropertyType)),
    )
    findings.note(line, header, header, cause)
    return header, None


def _may_be_dates(property: Property, cells: list[str]) -> bool:
    """Whether a column that is read as none of dates holds some, by its name or its cells."""
    if property.type not in ("text", "number"):
        return False
    is_called = not _DATE_WORDS.isdisjoint(folded(property.name).split())
    return (is_called or property.type == "text") and look_like_dates(cells)


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
    findings: FindingCounter,
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
        elif value is None and property.type == "date" and cell.strip():
            findings.undated[property.name] += 1
    return values


def _values(
    column: Column, images: list[tuple[str, int]], lines: list[int], findings: FindingCounter
) -> dict[str, Value]:
    """Image id to value; ``images`` holds (image id, row), in the order in which they count."""
    if column.property.type == "multi_tags":
        return _united(column, images)
    found: dict[str, Value] = {}
    lines_of: dict[str, int] = {}
    remedy = N_("lines for one image, or for copies of it, must agree")
    if column.property.type in ("text", "tag"):
        header = shown_cell(f"{column.property.name}[multi_tags]")
        remedy = noted(
            "lines for one image, or for copies of it, must agree; a column {header} takes what "
            "each of them says",
            header=header,
        )
    for image_id, row in images:
        value = column.values[row]
        if value is None:
            continue
        first = found.setdefault(image_id, value)
        line = lines_of.setdefault(image_id, lines[row])
        if first != value:
            had = shown_cell(written(first))
            cause = noted(
                "its image has {had} already, from line {line:d}: {remedy}",
                had=had,
                line=line,
                remedy=remedy,
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

"""CSV files for catalogues of images: Omeka S and Tropy.

Belongs here: the lines and headers that these programs import. Does not belong here: what is known
of the images (``tags.exchange.image_columns``), and CSV for Panoptic and spreadsheets.

Written for CSV Import 2.6.2 and File Sideload 1.7.1 of Omeka S 4, and for tropy-plugin-csv 3.2.0 of
Tropy 1.17, by their documentation and by what they do:

- Both take a cell as it stands, so an apostrophe before what a spreadsheet would take for a formula
  would be published. A space does the same, and Omeka S takes it away.
- Omeka S reads cells with PHP's ``fgetcsv``, for which a quotation mark after a backslash does not
  end a cell.
- Tropy's plugin refuses a file with a column that it does not know, a line whose first cell is
  empty, and takes one that begins with ``#`` for a comment; the first cell is the image's id.
"""

import csv
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

import pyarrow as pa

from panoptic_assets.spec.formulas import protected
from panoptic_assets.spec.tables import folded
from panoptic_assets.spec.tag_log import Tag, normalised, paths
from panoptic_assets.tags.exchange.formats import ExchangeError, Labelled
from panoptic_assets.tags.exchange.image_columns import (
    EDTF,
    INVENTORY,
    ImageColumns,
    inventory_columns,
)
from resources.errors import message
from resources.lance import LanceStore
from resources.page_paths import file_of, page_number

BETWEEN = "|"
"""Between several values in a cell for Omeka S: its own exports have it."""

ELEMENTS = {
    "title": "titre",
    "creator": "creators, author, authors, artist, artists, photographer, photographers, créateur, "
    "créateurs, auteur, auteurs, autrice, artiste, artistes, photographe, photographes",
    "subject": "subjects, keyword, keywords, sujet, sujets, mot-clé, mots-clés",
    "description": "",
    "publisher": "éditeur",
    "contributor": "contributors, contributeur, contributeurs",
    "date": "date of creation, creation date, date created, date de création, date de réalisation, "
    "datation",
    "type": "",
    "format": "",
    "identifier": "inventory number, accession number, identifiant, numéro d’inventaire",
    "source": "",
    "language": "languages, langue, langues",
    "relation": "",
    "coverage": "couverture",
    "rights": "copyright, droits, droits d’auteur",
}
"""The elements of Dublin Core, and what else inventories call them; the manual lists it."""
_OF_NAME = {
    folded(name): element
    for element, more in ELEMENTS.items()
    for name in (element, *more.split(", "))
    if name
}
_DUBLIN_CORE = "http://purl.org/dc/elements/1.1/"
_TROPY = "https://tropy.org/v1/tropy#"
_SINGLE = ("date", "identifier")
"""Elements that an item of Tropy has once: its dates are EDTF, and its key is its identifier."""
_ROWS = 4_096
_HARMLESS = re.compile(r"[+-]?[0-9][0-9 .,:/?~%+-]*")
"""Numbers and dates are left as they are: of digits no spreadsheet makes a formula that does
something, and a year before our era has a minus."""


@dataclass(frozen=True)
class _CatalogueLine:
    """What one line says: a file, with what is known of the images that it shows."""

    image_id: str
    """Of its first page."""
    path: str
    tags: tuple[str, ...]
    """Paths of the tags of all its pages, in the order of the trees."""
    values: Mapping[str, Any]
    """Of the inventory, by property: texts, numbers, lists of tags, dates as they are written."""
    edtf: Mapping[str, str | None]
    """Of those that are dates."""
    title: str


def write_omeka(
    labelled: Labelled,
    store: LanceStore,
    title: str | None,
    locate: Callable[[str], str | None],
    file: TextIO,
) -> int:
    """The CSV that Omeka S imports as items; how many lines it has.

    Columns whose header is a term are mapped by themselves. ``file`` has paths below the folder of
    images, for sideloading, or ``url`` addresses. What has several values has ``|`` between them.

    Args:
        labelled: The tags, and the files of images.
        store: Where the inventory is.
        title: The inventory's property that items are called by; by default ``title``, and where
            there is none the file's name.
        locate: Where the file of a path lies.
        file: Takes it.

    Raises:
        ExchangeError: A tag has a ``|`` in its name, or there is no property that is asked for.
    """
    columns = list(inventory_columns(store))
    titled = _title(columns, title)
    names = [name for name in _properties(columns) if name != titled]
    is_web = (locate("") or "").startswith("http")
    writer = csv.writer(file)
    dates = _properties(columns, EDTF)
    headers = ["dcterms:identifier", "dcterms:title", "dcterms:subject"]
    # Another title than the chosen one is an alternative.
    terms = {None: None, "title": "dcterms:alternative"}
    headers += [terms.get(e := _element(name), f"dcterms:{e}") or name for name in names]
    headers += [f"{name} (EDTF)" for name in dates]
    writer.writerow(map(_for_php, [*headers, "dcterms:source", "url" if is_web else "file"]))
    nb_lines = 0
    for entry in _entries(labelled, columns, titled):
        # A path that begins as a formula does is none once it begins with a folder.
        path = f"./{entry.path}" if protected(entry.path) != entry.path else entry.path
        cells = [entry.image_id, entry.title, _in_one_cell(entry.tags)]
        for name in names:
            value = entry.values[name]
            cells.append(_in_one_cell(value) if isinstance(value, list) else _text(value))
        cells += [entry.edtf[name] or "" for name in dates]
        cells += [entry.path, (locate(entry.path) or "") if is_web else path]
        writer.writerow(map(_for_php, cells))
        nb_lines += 1
    return nb_lines


def _in_one_cell(values: Sequence[str]) -> str:
    for value in values:
        if BETWEEN in value:
            raise ExchangeError(
                "{tag!r} has a {mark} in its name, which parts several values for Omeka S: rename "
                "the tag (`panoptic-assets tag rename`, or in the inventory), or choose another "
                "format.",
                id="bar-in-tag-name",
                tag=value,
                mark=BETWEEN,
            )
    return BETWEEN.join(values)


def _for_php(cell: str) -> str:
    # Omeka S takes spaces around a cell away. Within it, one more keeps the cell from ending where
    # it does not, for PHP or, were the mark not doubled, for every other program.
    cell = cell.replace('\\"', '\\ "')
    return _no_formula(f"{cell} " if cell.endswith("\\") else cell)


def write_tropy(
    labelled: Labelled,
    store: LanceStore,
    title: str | None,
    locate: Callable[[str], str | None],
    file: TextIO,
) -> int:
    """The CSV that Tropy's plugin imports, an item with a photo in each line; how many there are.

    The inventory's elements of Dublin Core are the item's, by their English or French names; all
    else that it says stands in the description, since Tropy refuses a column that it does not know.

    Args:
        labelled: As for :func:`write_omeka`.
        store: The same.
        title: The same.
        locate: The same.
        file: The same.

    Raises:
        ExchangeError: The images lie where Tropy reads none, or there is no property that is asked
            for.
    """
    columns = list(inventory_columns(store))
    titled = _title(columns, title)
    names: dict[str, str] = {}
    dates = _properties(columns, EDTF)
    for name in sorted(_properties(columns), key=lambda one: one not in dates):
        element = _element(name) or "description"
        if element == "title" or (element in _SINGLE and element in names.values()):
            element = "description"  # like what is no element
        if name != titled:
            names[name] = element
    elements = {*names.values()} - {"identifier"}
    if dates:
        elements.add("description")
    writer = csv.writer(file)
    headers = [f"{_DUBLIN_CORE}{name}" for name in ("identifier", "title", *sorted(elements))]
    writer.writerow([*headers, f"{_TROPY}tag", f"{_TROPY}path"])
    nb_lines = 0
    for entry in _entries(labelled, columns, titled):
        said: dict[str, list[str]] = {}
        for name, element in names.items():
            value, edtf = entry.values[name], entry.edtf.get(name)
            if value is None:
                continue
            text = _text(value)
            if element == "date" and edtf is not None:
                # Tropy's own dates are EDTF; what else is written goes where texts go.
                said.setdefault("date", []).append(edtf)
                if edtf == text:
                    continue
                element = "description"
            is_own = _element(name) == element
            said.setdefault(element, []).append(text if is_own else f"{name}: {text}")
        place = locate(entry.path)
        if place is None or ("://" in place and not place.startswith("http")):
            raise ExchangeError(
                "Tropy reads images from folders and from web servers, not from where these are: "
                "put the images into a folder, or choose another format.",
                id="images-out-of-tropys-reach",
            )
        first = [*said.get("identifier", ()), entry.image_id][0]
        cells = [f" {first}" if first.startswith("#") else first, entry.title]
        cells += [_lines(element, said.get(element, ())) for element in sorted(elements)]
        # Tropy parts tags at a comma with a space, which a no-break space is not.
        cells.append(", ".join(tag.replace(", ", ",\u00a0") for tag in entry.tags))
        writer.writerow([*map(_no_formula, cells), place])
        nb_lines += 1
    return nb_lines


def _lines(element: str, texts: Sequence[str]) -> str:
    return ("\n" if element == "description" else "; ").join(texts)


def _entries(
    labelled: Labelled, columns: Sequence[ImageColumns], titled: str | None
) -> Iterator[_CatalogueLine]:
    """The images that are present, by path; those that are pages of one file are one entry.

    Of several files that hold the same only the first counts.
    """
    carried: dict[str, list[Tag]] = dict(labelled)
    shown: dict[str, list[str]] = {}
    for image_id, paths_of_image in labelled.files.items():
        shown.setdefault(file_of(paths_of_image[0]), []).append(image_id)
    named = paths(labelled.tables.tags)
    order = {tag.tag_id: place for place, tag in enumerate(labelled.tables.tags)}
    files = sorted(shown)
    for start in range(0, len(files), _ROWS):
        part = files[start : start + _ROWS]
        pages = [
            sorted(shown[file], key=lambda one: page_number(labelled.files[one][0]))
            for file in part
        ]
        ids = pa.array([image_ids[0] for image_ids in pages], pa.string())
        cells = {
            field.name: array.to_pylist()
            for column in columns
            for field, array in zip(column.fields, column.of(ids), strict=True)
        }
        for place, (file, image_ids) in enumerate(zip(part, pages, strict=True)):
            tag_ids = {tag.tag_id for one in image_ids for tag in carried.get(one, ())}
            values = _beginning(INVENTORY, cells, place)
            title = "" if titled is None else _text(values[titled])
            yield _CatalogueLine(
                image_ids[0],
                file,
                tuple(named[tag_id] for tag_id in sorted(tag_ids, key=order.__getitem__)),
                values,
                _beginning(EDTF, cells, place),
                title or file.rpartition("/")[2],
            )


def _beginning(prefix: str, cells: Mapping[str, list[Any]], place: int) -> dict[str, Any]:
    """The cells of one image whose columns' names begin so, by the rest of the name."""
    return {
        name.removeprefix(prefix): cell[place]
        for name, cell in cells.items()
        if name.startswith(prefix)
    }


def _properties(columns: Sequence[ImageColumns], prefix: str = INVENTORY) -> list[str]:
    return [
        field.name.removeprefix(prefix)
        for column in columns
        for field in column.fields
        if field.name.startswith(prefix)
    ]


def _title(columns: Sequence[ImageColumns], asked: str | None) -> str | None:
    """The property that images are called by; None: their files' names."""
    known = _properties(columns)
    if asked is None:
        return next((name for name in known if _element(name) == "title"), None)
    if normalised(asked) not in known:
        raise ExchangeError(
            "The inventory has no property {property!r} for titles; it has {known}.",
            id="no-property-for-titles",
            property=asked,
            known=", ".join(map(repr, known)) or message("none yet", id="none-yet"),
        )
    return normalised(asked)


def _element(name: str) -> str | None:
    """The element of Dublin Core that a property is, by its name."""
    return _OF_NAME.get(folded(name).removeprefix("dcterms:").removeprefix("dc:").strip())


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return "; ".join(value)
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def _no_formula(cell: str) -> str:
    return f" {cell}" if protected(cell) != cell and not _HARMLESS.fullmatch(cell) else cell

"""Tags as other programs write and read them.

Belongs here: the rows, cells and entries of every format, what a file says about tags, and the
events that make it so. Does not belong here: opening files
(``panoptic_assets.tags.exchange.transfer``), and where images lie in a tree of folders
(``tags.exchange.folders``).

Spreadsheets take a cell that begins with ``=``, ``+``, ``-`` or ``@`` for a formula, so whoever
names a file or a tag could run one on another person's machine. Such cells get an apostrophe, see
:func:`protected`, which :func:`unprotected` takes away again.

Long because what is written and what is read of each format must agree.
"""

import contextlib
import csv
import itertools
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO, Literal, TextIO

from pydantic import BaseModel

from panoptic_assets.corpus import inventory
from panoptic_assets.spec.tag_log import (
    HIERARCHY,
    Event,
    State,
    Tag,
    TagTables,
    comparable,
    in_tree_order,
    normalised,
    paths,
)
from panoptic_assets.tags.edits import (
    EditError,
    missing_tags,
    parse_colour,
    property_in,
    split_path,
)
from resources.errors import PlainError
from resources.page_paths import file_of, page_number

Mode = Literal["add", "replace", "keep"]

COLUMNS = ("image_id", "path", "property", "tag", "tag_id", "node", "record_id", "event")
"""Of the tables: one row for each file of an image and each of its tags."""

_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")
_FORMAT = "panoptic-assets tags"
# FiftyOne's own, those that it keeps for itself, and that of our entries.
_TAKEN_FIELDS = frozenset(
    {"id", "filepath", "tags", "metadata", "media_type", "created_at", "last_modified_at"}
    | {"group", "frames", "image_id", "page"}
)


class ExchangeError(PlainError, ValueError):
    """A file cannot be read, or tags cannot be written in a format; says cause and remedy."""


@dataclass(frozen=True)
class Labelled:
    """Tags, and the files of the images that carry them."""

    tables: TagTables
    files: Mapping[str, Sequence[str]]
    """For each image that is present, the sorted paths of its files."""

    def __iter__(self) -> Iterator[tuple[str, list[Tag]]]:
        """Each image that carries a tag, by id, with its tags in the order of the tree."""
        carried: dict[str, list[Tag]] = defaultdict(list)
        of = defaultdict(list)
        for tag_id, image_id in self.tables.images:
            of[tag_id].append(image_id)
        for tag in self.tables.tags:
            for image_id in of[tag.tag_id]:
                carried[image_id].append(tag)
        for image_id in sorted(carried):
            yield image_id, carried[image_id]

    def several(self) -> set[str]:
        """The properties of which some image has more than one tag."""
        return _several(tags for _, tags in self)

    def event(self, tag: Tag, image_id: str) -> int | None:
        """The number of the event that gave a tag; None if there was none."""
        return self.tables.images[tag.tag_id, image_id] or None


def protected(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula; its inverse is :func:`unprotected`."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def unprotected(cell: str) -> str:
    """A cell as it was before :func:`protected`."""
    return cell[1:] if cell[:1] == "'" and _FORMULA.match(cell) else cell


def rows(labelled: Labelled) -> Iterator[tuple[str | int | None, ...]]:
    """The rows of the tables, see :data:`COLUMNS`; of an image without a file, the path is None."""
    named = paths(labelled.tables.tags)
    for image_id, tags in labelled:
        for path in labelled.files.get(image_id) or (None,):
            for tag in tags:
                yield (
                    image_id,
                    path,
                    tag.property,
                    named[tag.tag_id],
                    tag.tag_id,
                    tag.node,
                    tag.record_id,
                    labelled.event(tag, image_id),
                )


def write_csv(labelled: Labelled, file: TextIO) -> None:
    """The rows as CSV: ``,`` between cells, empty ones for None."""
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    for row in rows(labelled):
        writer.writerow([protected(cell) if isinstance(cell, str) else cell for cell in row])


def write_panoptic(labelled: Labelled, file: TextIO) -> None:
    """The CSV that Panoptic imports: one line for each file, one column for each property.

    Panoptic knows no pages: a file of several that are images has the tags of all of them. Images
    without a file are left out. Brackets in a property's name become parentheses, since
    Panoptic reads no header with more than one.

    Raises:
        ExchangeError: The name of a tag has a comma, where images have several tags.
    """
    named = paths(labelled.tables.tags)
    files = _tags_of_files(labelled)
    several = labelled.several() | _several(files.values())
    properties = list(dict.fromkeys(tag.property for tag in labelled.tables.tags))
    for tag in labelled.tables.tags:
        if "," in tag.name and tag.property in several:
            raise ExchangeError(
                "Images have several tags of {property!r}, which Panoptic parts by commas, and "
                "{tag!r} has one in its name: rename the tag (`panoptic-assets tag rename`), or "
                "choose another format.",
                id="comma-in-tag-name",
                property=tag.property,
                tag=named[tag.tag_id],
            )
    writer = csv.writer(file, delimiter=";")
    headers = [
        f"{name.replace('[', '(').replace(']', ')')}[{'multi_tags' if name in several else 'tag'}]"
        for name in properties
    ]
    writer.writerow(["path", *map(protected, headers)])
    for file_path, tags in files.items():
        cells = [
            ",".join(named[tag.tag_id] for tag in tags if tag.property == name)
            for name in properties
        ]
        writer.writerow([protected(cell) for cell in (file_path, *cells)])


def _tags_of_files(labelled: Labelled) -> dict[str, list[Tag]]:
    """For each file the tags of all its pages, in the order of the tree."""
    found: dict[str, list[Tag]] = {}
    shared: set[str] = set()
    for image_id, tags in labelled:
        for file in {file_of(path): None for path in labelled.files.get(image_id, ())}:
            if file in found:
                shared.add(file)
                found[file] = [*found[file], *tags]
            else:
                found[file] = tags
    place = {tag.tag_id: number for number, tag in enumerate(labelled.tables.tags)}
    for file in shared:
        each = {tag.tag_id: tag for tag in found[file]}
        found[file] = [each[tag_id] for tag_id in sorted(each, key=place.__getitem__)]
    return found


def _several(carried: Iterable[Sequence[Tag]]) -> set[str]:
    """The properties of which something has more than one tag, given the tags of each thing."""
    return {
        tag.property
        for tags in carried
        for tag, following in itertools.pairwise(tags)
        if tag.property == following.property
    }


def document(labelled: Labelled) -> Iterator[tuple[str, Iterable[Any]]]:
    """The parts of the JSON document, by name: the whole tree, then the images."""
    named = paths(labelled.tables.tags)
    yield "properties", labelled.tables.properties
    yield (
        "tags",
        (
            {
                "tag_id": tag.tag_id,
                "property": tag.property,
                "path": named[tag.tag_id],
                "colour": tag.colour,
                "is_remainder": tag.is_remainder,
                "node": tag.node,
                "record_id": tag.record_id,
            }
            for tag in labelled.tables.tags
        ),
    )
    yield (
        "images",
        (
            {
                "image_id": image_id,
                "paths": labelled.files.get(image_id, ()),
                "tags": [
                    {"tag_id": tag.tag_id, "event": labelled.event(tag, image_id)} for tag in tags
                ],
            }
            for image_id, tags in labelled
        ),
    )


def document_head() -> dict[str, Any]:
    """How the JSON document begins."""
    return {"format": _FORMAT, "version": 1}


def samples(labelled: Labelled, locate: Callable[[str], str]) -> Iterator[dict[str, Any]]:
    """The entries of the file for FiftyOne, one for each file of an image.

    An image that is a page of a file has the path of that file, and the page's number beside it.
    Under ``labels`` each field has the arguments of a ``fiftyone.Classification``, or a list of
    them where images have several tags of the property. What a person calls a cluster (``label``)
    and which one it is (``cluster``) are two fields of it.

    Args:
        labelled: The tags.
        locate: Where the file of a path lies.
    """
    named = paths(labelled.tables.tags)
    several = labelled.several()
    fields = _fields(dict.fromkeys(tag.property for tag in labelled.tables.tags))
    for image_id, tags in labelled:
        labels: dict[str, Any] = {}
        for tag in tags:
            label = {
                "label": named[tag.tag_id],
                "cluster": tag.node,
                "tag_id": tag.tag_id,
                "record_id": tag.record_id,
            }
            if tag.property in several:
                labels.setdefault(fields[tag.property], []).append(label)
            else:
                labels[fields[tag.property]] = label
        for path in labelled.files.get(image_id, ()):
            yield {
                "filepath": locate(file_of(path)),
                "page": page_number(path),
                "image_id": image_id,
                "labels": labels,
            }


def _fields(properties: Iterable[str]) -> dict[str, str]:
    """For each property a field's name of its own: letters, digits and ``_``."""
    taken = set(_TAKEN_FIELDS)
    found = {}
    for name in properties:
        plain = re.sub(r"\W+", "_", name).strip("_")
        plain = plain if plain[:1].isalpha() else f"property_{plain}"
        candidate, number = plain, 1
        while candidate in taken:
            number += 1
            candidate = f"{plain}_{number}"
        taken.add(candidate)
        found[name] = candidate
    return found


TagPath = tuple[str, ...]
"""The names of a tag and of those above it, the root's first."""


@dataclass(frozen=True)
class ImageName:
    """What a file says of who an image is."""

    image_id: str
    """Empty if it does not say so."""
    paths: tuple[str, ...]


@dataclass
class Said:
    """What a file says about tags."""

    images: list[ImageName] = field(default_factory=list)
    tags: dict[str, dict[TagPath, dict[str, Any]]] = field(default_factory=dict)
    """By property: the tags, with what else is known of them (fields of a :class:`Tag`)."""
    given: dict[str, list[tuple[int, TagPath]]] = field(default_factory=dict)
    """By property: which image, by its place in ``images``, has which tag."""
    _places: dict[ImageName, int] = field(default_factory=dict)
    _split: dict[str, TagPath] = field(default_factory=dict)

    def add_image(self, image_id: str, paths: tuple[str, ...]) -> int:
        """The place of an image in ``images``."""
        name = ImageName(image_id, paths)
        if name not in self._places:
            self._places[name] = len(self.images)
            self.images.append(name)
        return self._places[name]

    def add_tag(self, property_name: str, path: str, **details: Any) -> TagPath:
        """A tag with what is known of it; the first one of a path counts.

        Raises:
            ExchangeError: It is no path of tags.
        """
        if path not in self._split:
            try:
                self._split[path] = tuple(split_path(path))
            except EditError as error:
                raise ExchangeError.of(error) from error
        found = self._split[path]
        self.tags.setdefault(normalised(property_name), {}).setdefault(found, details)
        return found

    def give(self, image: int, property_name: str, path: str) -> None:
        """An image has a tag.

        Raises:
            ExchangeError: It is no path of tags.
        """
        found = self.add_tag(property_name, path)
        self.given.setdefault(normalised(property_name), []).append((image, found))

    def only(self, property_name: str) -> "Said":
        """What it says about one property.

        Raises:
            ExchangeError: It says nothing about that.
        """
        name = normalised(property_name)
        if name not in self.tags:
            listed = ", ".join(map(repr, self.tags)) or "none"
            raise ExchangeError(
                "There are no tags of {name!r}; there are some of {known}. A column of tags has "
                "the header '{name}[tag]' or '{name}[multi_tags]'.",
                id="no-tags-of-property",
                name=name,
                known=listed,
            )
        return Said(self.images, {name: self.tags[name]}, {name: self.given.get(name, [])})


def read_csv(file: BinaryIO) -> Said:
    """What a CSV file says: our own rows, or columns ``name[tag]`` and ``name[multi_tags]``.

    Raises:
        ExchangeError: It is no such table.
    """
    try:
        with contextlib.closing(inventory.inventory_rows(file)) as table:
            _, headers = next(table)
            folded = [header.casefold() for header in headers]
            if {"image_id", "property", "tag"} <= set(folded):
                return said(_own(folded, table))
            return _read_panoptic(headers, table)
    except inventory.InventoryError as error:
        raise ExchangeError.of(error) from error


def _own(
    headers: list[str], table: Iterator[tuple[int, list[str]]]
) -> Iterator[tuple[str, str, str, str]]:
    wanted = [headers.index(name) for name in ("image_id", "property", "tag")]
    path = headers.index("path") if "path" in headers else None
    for _, row in table:
        image_id, name, tag = (unprotected(row[at]) for at in wanted)
        yield image_id.strip(), "" if path is None else unprotected(row[path]), name, tag


def said(rows_of_table: Iterable[tuple[str, str, str, str]]) -> Said:
    """What rows of image id, path, property and tag say; id or path may be empty.

    Raises:
        ExchangeError: A row lacks the image, the property or the tag, or has no path of tags.
    """
    found = Said()
    for number, (image_id, path, property_name, tag) in enumerate(rows_of_table, start=1):
        if not (image_id or path) or not property_name.strip() or not tag.strip():
            raise ExchangeError(
                "Row {number} names no image, no property or no tag: complete or remove it.",
                id="row-incomplete",
                number=number,
            )
        found.give(found.add_image(image_id, (path,) if path else ()), property_name, tag)
    return found


def _read_panoptic(headers: list[str], table: Iterator[tuple[int, list[str]]]) -> Said:
    files = inventory.file_column(headers)
    columns = []
    found = Said()
    for at, header in enumerate(headers):
        name, kind = inventory.typed(header)
        if at != files and kind in ("tag", "multi_tags"):
            columns.append((at, normalised(unprotected(name)), kind == "multi_tags"))
            found.tags.setdefault(columns[-1][1], {})
    if not columns:
        raise ExchangeError(
            "No column holds tags: write the header of one as 'name[tag]', or as "
            "'name[multi_tags]' where its cells hold several tags between commas.",
            id="no-column-of-tags",
        )
    for line, row in table:
        path = unprotected(row[files])
        if not path.strip():
            continue
        image = None
        for at, name, several in columns:
            cell = unprotected(row[at])
            for tag in cell.split(",") if several else [cell]:
                if not tag.strip():
                    continue
                image = found.add_image("", (path,)) if image is None else image
                try:
                    found.give(image, name, tag)
                except ExchangeError as error:
                    raise ExchangeError(
                        "Line {line}: {reason}", id="line-unusable", line=line, reason=error
                    ) from error
    return found


class _TagEntry(BaseModel):
    tag_id: str
    property: str
    path: str
    colour: str | None = None
    is_remainder: bool = False
    node: str | None = None
    record_id: str | None = None


class _Given(BaseModel):
    tag_id: str


class _ImageEntry(BaseModel):
    image_id: str
    paths: list[str] = []
    tags: list[_Given]


class _Document(BaseModel):
    format: Literal["panoptic-assets tags"]
    version: Literal[1]
    properties: list[str]
    tags: list[_TagEntry]
    images: list[_ImageEntry]


def read_json(text: bytes) -> Said:
    """What an exported JSON document says.

    Raises:
        ExchangeError: It is none.
    """
    try:
        content = _Document.model_validate_json(text)
    except ValueError as error:  # pydantic's, and of bytes that are not UTF-8
        raise ExchangeError(
            "It is no JSON document of tags as `panoptic-assets export --format json` writes it: "
            "export it anew, or import CSV or Parquet.",
            id="no-json-of-tags",
        ) from error
    found = Said()
    for name in content.properties:
        found.tags.setdefault(normalised(name), {})
    known = {}
    for entry in content.tags:
        details = entry.model_dump(include={"colour", "is_remainder", "node", "record_id"})
        if entry.colour is not None:
            try:
                details["colour"] = parse_colour(entry.colour)
            except EditError as error:
                raise ExchangeError.of(error) from error
        found.add_tag(entry.property, entry.path, **details)
        known[entry.tag_id] = entry
    for image in content.images:
        place = found.add_image(image.image_id, tuple(image.paths))
        for given in image.tags:
            if given.tag_id not in known:
                raise ExchangeError(
                    "The image {image_id!r} has a tag {tag_id!r}, which is not among the "
                    "document's tags: export it anew.",
                    id="tag-not-in-document",
                    image_id=image.image_id[:12],
                    tag_id=given.tag_id,
                )
            tag = known[given.tag_id]
            found.give(place, tag.property, tag.path)
    return found


def events(
    content: Said,
    image_ids: Sequence[str | None],
    state: State,
    mode: Mode,
    record_ids: Iterable[str] = (),
) -> list[Event]:
    """The events that make the tags what a file says, one for each property that changes.

    Tags are found by their paths, never by ids: what a tag is called is what people see. Those that
    are there keep colour and origin. New ones get ids of their own, and the file's colour; node and
    record only where the record is known.

    Args:
        content: What the file says.
        image_ids: For each of its images, the id; None where there is no such image.
        state: The tags so far.
        mode: ``add`` gives tags, ``replace`` takes the images' other tags of the property away as
            well, ``keep`` leaves images alone that have a tag of the property.
        record_ids: Records that are known.

    Raises:
        EditError: A property or a tag has a name that cannot be used.
    """
    known = set(record_ids)
    found = []
    for name, tags in content.tags.items():
        property_name = property_in(state, name)
        made, ids, same = _made(tags, state, property_name, known)
        wanted: dict[str, set[str]] = defaultdict(set)
        for place, path in content.given.get(name, ()):
            image_id = image_ids[place]
            if image_id is not None:
                wanted[image_id].add(ids[path])
        pairs = []
        for image_id, tag_ids in wanted.items():
            held = {
                same[tag_id]
                for tag_id in state.carried.get(image_id, ())
                if state.tags[tag_id].property == property_name
            }
            if mode == "replace":
                missing = set() if tag_ids == held else tag_ids
            else:
                missing = set() if mode == "keep" and held else tag_ids - held
            pairs += [(tag_id, image_id) for tag_id in missing]
        if made or pairs or property_name not in state.properties:
            only = mode == "replace"
            found.append(
                Event("import", property_name, tuple(made), tuple(sorted(pairs)), only=only)
            )
    return found


def _made(
    tags: Mapping[TagPath, dict[str, Any]], state: State, property_name: str, known: set[str]
) -> tuple[list[Tag], dict[TagPath, str], dict[str, str]]:
    """The tags that a property lacks, for each path the id of its tag, and for each tag that id.

    A merge may leave several tags of one path: they count as one.
    """
    places = {path: comparable(HIERARCHY.join(path)) for path in tags}
    made = missing_tags(tags, state, property_name)
    own = [tag for tag in state.tags.values() if tag.property == property_name]
    ids: dict[str, str] = {}
    # Of several tags of one path the first counts, as it does for the missing ones.
    same: dict[str, str] = {}
    for tag_id, path in paths(in_tree_order([*own, *made])).items():
        same[tag_id] = ids.setdefault(comparable(path), tag_id)
    details: dict[str, dict[str, Any]] = {}
    for tag_path, given in tags.items():
        if given.get("record_id") not in known:
            given = given | {"record_id": None, "node": None}
        details.setdefault(ids[places[tag_path]], given)
    return (
        [replace(tag, **details.get(tag.tag_id, {})) for tag in made],
        {path: ids[place] for path, place in places.items()},
        same,
    )

"""A project folder of Panoptic, read and never changed.

Belongs here: what its databases hold, as plain values: files, trees of tags, who has which tag,
values of properties, vectors, and what of it has no place here. Does not belong here: which images
of the corpus its files are (``tags.exchange.identified``), and what an import makes of it
(``tags.exchange.panoptic_import``).

The schema is that of Panoptic 1.0.0 (``data.db`` of version 2, ``media.db`` of version 1). A row is
alive where its ``operation`` is not -1. Values are JSON, of an image's content (``sha1``), of one
of its instances (``id``) or of a file; vectors are float32.

Long because what stands in each of its tables may be anything, and is checked where it is read.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from panoptic_assets.corpus.values import PropertyType
from panoptic_assets.spec.formulas import unprotected
from panoptic_assets.spec.tag_log import HIERARCHY, normalised
from panoptic_assets.tags.edits import DEEPEST, LONGEST_NAME
from panoptic_assets.tags.exchange.formats import Said
from panoptic_assets.tags.exchange.panoptic_csv import panoptic_colour
from resources.errors import InputError, noted
from resources.panoptic_database import PanopticTables, opened

_TAGS = ("tag", "multi_tags")
_KINDS: dict[str, PropertyType] = {"text": "text", "number": "number", "date": "date"}
"""Types of values that the inventory has as well; all others are text there."""


@dataclass(frozen=True)
class VectorType:
    """A set of vectors, by Panoptic's number of it."""

    number: int
    words: str
    """What made them."""
    nb_vectors: int


@dataclass
class PanopticContent:
    """What a project of Panoptic holds."""

    said: Said = field(default_factory=Said)
    """Its images, and their tags."""
    columns: list[tuple[str, PropertyType]] = field(default_factory=list)
    """Properties that are no tags."""
    lines: list[tuple[int, tuple[str, ...]]] = field(default_factory=list)
    """An image, by its place in ``said.images``, and a cell for each column."""
    nb_folders: int = 0
    vector_types: list[VectorType] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What of it is taken otherwise, or not at all; one sentence each."""

    def place(self) -> dict[str, int]:
        """Of each SHA-1, the image's place in ``said.images``."""
        return {image.sha1: at for at, image in enumerate(self.said.images) if image.sha1}


def read_panoptic_folder(folder: Path, properties: Sequence[str] = ()) -> PanopticContent:
    """Read a project of Panoptic.

    Args:
        folder: Its folder.
        properties: Names of the properties to read; empty: all.

    Raises:
        InputError: It is none, or none that this version can read, or has no such property.
    """
    data = folder / "data.db"
    if not data.is_file():
        if (folder / "panoptic.db").is_file():
            raise InputError(
                "{folder} is a project of an older Panoptic: open it once in Panoptic 1.0, which "
                "brings it into its new form.",
                id="panoptic-folder-older",
                folder=folder,
            )
        raise InputError(
            "{folder} is no project of Panoptic, as it has no data.db: give the folder that "
            "Panoptic made for the project, not that of the images.",
            id="no-panoptic-folder",
            folder=folder,
        )
    with opened(data) as rows:
        content = _DataReader(rows, properties).content()
    media = folder / "media.db"
    if media.is_file():
        with opened(media) as rows:
            content.vector_types = _vector_types(rows)
            maps = [name for name, _ in rows.of("maps", "name", "key")]
        if maps:
            content.notes.append(
                noted(
                    "Maps that are not taken: {count:,} ({maps}). Projections here are computed "
                    "from vectors (`panoptic-assets project`).",
                    count=len(maps),
                    maps=_listed(maps),
                )
            )
    return content


def panoptic_vectors(folder: Path, number: int) -> Iterator[tuple[str, np.ndarray]]:
    """The vectors of one type: SHA-1 and float32 numbers, as they are.

    Those that are no such numbers are left out.

    Raises:
        InputError: The database cannot be read.
    """
    with opened(folder / "media.db") as rows:
        for sha1, data in rows.of("vectors", "sha1", "data", where=("type_id", number)):
            if isinstance(data, bytes) and data and len(data) % 4 == 0:
                yield str(sha1), np.frombuffer(data, dtype="<f4")


@dataclass(frozen=True)
class _Property:
    number: int
    name: str
    dtype: str
    tag_list: int


class _DataReader:
    """Makes plain values of the tables of ``data.db``."""

    def __init__(self, rows: PanopticTables, wanted: Sequence[str]):
        self._rows, self._content = rows, PanopticContent()
        self._properties = self._read_properties(wanted)
        self._image_of_sha1: dict[str, int] = {}
        self._image_of_file: dict[int, int] = {}
        self._image_of_instance: dict[int, int] = {}

    def content(self) -> PanopticContent:
        self._read_images()
        self._read_tags()
        self._read_values()
        return self._content

    def _read_properties(self, wanted: Sequence[str]) -> list[_Property]:
        found, taken = [], set()
        read = self._rows.of("properties", "id", "name", "dtype", "tag_list_id", "system_key")
        for number, name, dtype, tag_list, system in read:
            # What Panoptic knows of the files itself (width, path, …) is known here too.
            if system or not isinstance(number, int):
                continue
            plain = _plain(name) or f"property {number}"
            if normalised(plain) in taken:
                # As an import with a column of another type makes them.
                plain = f"{plain} ({dtype})"
            taken.add(normalised(plain))
            found.append(_Property(number, plain, str(dtype), tag_list or number))
        chosen = {normalised(name) for name in wanted}
        if unknown := chosen - taken:
            raise InputError(
                "Panoptic's project has no property {property!r}. Existing ones: {known}.",
                id="no-such-panoptic-property",
                property=min(unknown),
                known=", ".join(each.name for each in found) or "(none)",
            )
        return [each for each in found if not chosen or normalised(each.name) in chosen]

    def _read_images(self) -> None:
        folders = {
            number: str(path or "") for number, path in self._rows.of("folders", "id", "path")
        }
        self._content.nb_folders = len(folders)
        files: dict[int, tuple[str, str]] = {}
        for number, name, folder, sha1 in self._rows.of("files", "id", "name", "folder_id", "sha1"):
            within = folders.get(folder, "").rstrip("/")
            files[number] = f"{within}/{name}" if within else str(name or ""), _digest(sha1)
        instances = list(self._rows.of("instances", "id", "file_id", "sha1"))
        paths: dict[str, set[str]] = defaultdict(set)
        for path, sha1 in files.values():
            paths[sha1].add(path)
        for number, file, sha1 in instances:
            path, of_file = files.get(file, ("", ""))
            digest = _digest(sha1) or of_file
            if digest:
                paths[digest].add(path)
            # Files of one content are one image here, so they share what is said of it.
            named = sorted(paths[digest]) if digest else [path]
            image = self._content.said.add_image("", tuple(filter(None, named)), (), digest)
            self._image_of_instance[number] = image
            self._image_of_file.setdefault(file, image)
            if digest:
                self._image_of_sha1.setdefault(digest, image)

    def _of_sha1(self, sha1: Any) -> int | None:
        return self._image_of_sha1.get(_digest(sha1))

    def _read_tags(self) -> None:
        lists: dict[int, dict[int, tuple[str, list[int], Any]]] = defaultdict(dict)
        for number, tag_list, parents, value, colour in self._rows.of(
            "tags", "id", "list_id", "parents", "value", "color"
        ):
            above = _decoded(parents)
            known = [p for p in above if isinstance(p, int)] if isinstance(above, list) else []
            lists[tag_list][number] = str(value or ""), known, colour
        said, named = self._content.said, {}
        for each in self._properties:
            if each.dtype not in _TAGS:
                continue
            said.tags.setdefault(normalised(each.name), {})
            tree = _Tree(lists[each.tag_list])
            for number, names in tree.paths.items():
                path = HIERARCHY.join(names)
                said.add_tag(each.name, path, colour=panoptic_colour(tree.tags[number][2]))
                named[each.number, number] = each.name, path
            self._content.notes += tree.notes(each.name)
        for table, key, image_of in (
            ("sha1_tag_values", "sha1", self._of_sha1),
            ("instance_tag_values", "instance_id", self._image_of_instance.get),
        ):
            for of, number, tag in self._rows.of(table, key, "property_id", "tag_id"):
                image = image_of(of)
                if image is not None and (number, tag) in named:
                    said.give(image, *named[number, tag])

    def _read_values(self) -> None:
        columns = [each for each in self._properties if each.dtype not in _TAGS]
        at = {each.number: place for place, each in enumerate(columns)}
        of_image: dict[int, dict[int, str]] = defaultdict(dict)
        of_instance: dict[int, dict[int, str]] = defaultdict(dict)
        for table, key, image_of, values in (
            ("sha1_values", "sha1", self._of_sha1, of_image),
            ("file_values", "file_id", self._image_of_file.get, of_image),
            ("instance_values", "instance_id", self._image_of_instance.get, of_instance),
        ):
            for number, of, value in self._rows.of(table, "property_id", key, "value"):
                if number not in at or (image := image_of(of)) is None:
                    continue
                if cell := _cell(_decoded(value), columns[at[number]].dtype):
                    place = of if values is of_instance else image
                    values[place].setdefault(at[number], cell)
        used = {place for row in (*of_image.values(), *of_instance.values()) for place in row}
        order = sorted(used)
        self._content.columns = [
            (columns[place].name, _KINDS.get(columns[place].dtype, "text")) for place in order
        ]
        lines: dict[tuple[int, tuple[str, ...]], None] = {}
        shared = set()
        for instance, row in sorted(of_instance.items()):
            image = self._image_of_instance[instance]
            whole = of_image.get(image, {}) | row
            lines[image, tuple(whole.get(place, "") for place in order)] = None
            shared.add(image)
        for image, row in of_image.items():
            if image not in shared:
                lines[image, tuple(row.get(place, "") for place in order)] = None
        self._content.lines = sorted(lines)


class _Tree:
    """The tags of a list, each below one other at most.

    Attributes:
        tags: By number: name, numbers of the parents, and colour.
        paths: By number: the names from the root on.

    Raises:
        InputError: It is too deep.
    """

    def __init__(self, tags: dict[int, tuple[str, list[int], Any]]):
        self.tags = tags
        self._several = self._circles = self._signs = 0
        self.paths: dict[int, tuple[str, ...]] = {}
        for number in tags:
            self._find(number)
        whole = list(self.paths.values())
        self._twins = len(whole) - len(set(whole))

    def notes(self, property_name: str) -> list[str]:
        """What of the list is otherwise here."""
        found = []
        if self._several:
            found.append(
                noted(
                    "{property}: tags that lie below several others there, and here below the "
                    "first: {count:,}.",
                    property=property_name,
                    count=self._several,
                )
            )
        if self._circles:
            found.append(
                noted(
                    "{property}: tags that lie in a circle there, and here at the root: {count:,}.",
                    property=property_name,
                    count=self._circles,
                )
            )
        if self._twins:
            found.append(
                noted(
                    "{property}: tags that share place and name with another there, and are one "
                    "with it here: {count:,}.",
                    property=property_name,
                    count=self._twins,
                )
            )
        if self._signs:
            found.append(
                noted(
                    "{property}: tags with a '>' in the name, which parts levels, so that here it "
                    "is '›': {count:,}.",
                    property=property_name,
                    count=self._signs,
                )
            )
        return found

    def _find(self, number: int) -> None:
        waiting, seen = [number], {number}
        while (parent := self._parent(waiting[-1])) is not None and parent not in self.paths:
            if parent in seen:
                self._circles += 1
                self.tags[waiting[-1]] = (self.tags[waiting[-1]][0], [], self.tags[waiting[-1]][2])
                break
            waiting.append(parent)
            seen.add(parent)
        for each in reversed(waiting):
            if each not in self.paths:
                parent = self._parent(each)
                above = () if parent is None else self.paths[parent]
                self._several += len([p for p in self.tags[each][1] if p in self.tags]) > 1
                self.paths[each] = (*above, *self._names(self.tags[each][0], above))
                if len(self.paths[each]) > DEEPEST:
                    raise InputError(
                        "Panoptic has a tree of tags of more than {deepest} levels, with {name!r} "
                        "in it: make it flatter there.",
                        id="panoptic-tree-too-deep",
                        deepest=DEEPEST,
                        name=self.paths[each][-1],
                    )

    def _parent(self, number: int) -> int | None:
        return next((each for each in self.tags[number][1] if each in self.tags), None)

    def _names(self, name: str, above: Sequence[str]) -> list[str]:
        """The names that a tag adds to the path above it: its own, as a rule.

        One that is called by its path, as our own exports call tags whose names are not the only
        ones, gives the rest of that path.
        """
        # Our export puts an apostrophe before what a spreadsheet would take for a formula.
        plain = unprotected(_plain(name)) or "?"
        start = HIERARCHY.join([*above, ""])
        rest = plain.removeprefix(start) if above else plain
        parts = [part.strip() for part in rest.split(HIERARCHY)]
        if (rest == plain and above) or not all(parts):
            parts = [plain]
        self._signs += any(">" in part for part in parts)
        return [_cut(part.replace(">", "›")) for part in parts]


def _vector_types(rows: PanopticTables) -> list[VectorType]:
    counts: dict[int, int] = defaultdict(int)
    for (number,) in rows.of("vectors", "type_id"):
        counts[number] += 1
    found = []
    for number, source, text in rows.of("vector_types", "id", "source", "params"):
        given = _decoded(text)
        params = given if isinstance(given, dict) else {}
        told = ", ".join(f"{name}: {value}" for name, value in params.items())
        words = _plain(f"Panoptic: {source}{f' ({told})' if told else ''}")
        found.append(VectorType(number, _cut(words), counts[number]))
    return found


def _decoded(text: Any) -> Any:
    """What a JSON text says; the text itself where it is no JSON."""
    if not isinstance(text, str):
        return text  # SQLite makes numbers of a column of JSON numbers
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _cell(value: Any, dtype: str) -> str:
    """A value as a cell of the inventory; empty where there is none."""
    if value is None or value == "" or value == [] or value != value:
        return ""
    if dtype == "color":
        return panoptic_colour(value) or str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text).strip()


def _digest(value: Any) -> str:
    return value.strip().lower() if isinstance(value, str) else ""


def _plain(text: Any) -> str:
    """A name on one line, of characters that can be printed."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(text or "")).split())


def _cut(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def _listed(names: Sequence[Any]) -> str:
    shown = ", ".join(_plain(name) for name in names[:3])
    return f"{shown}, …" if len(names) > 3 else shown

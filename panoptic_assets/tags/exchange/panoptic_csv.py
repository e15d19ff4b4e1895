"""Panoptic's own files: the CSV that it imports and exports, and its lists of tags.

Belongs here: what version 1.0.0 reads and writes, and which of our tags is called what there. Does
not belong here: its project folder (``tags.exchange.panoptic_folder``), and which images a name
means (``tags.exchange.identified``).

What its importer does, measured: tags of one property are told apart by their names alone, so that
two of one name below different tags would become one; a cell of several tags is split at each
``,``, and so is the column of parents, with no way of quoting; names lose the spaces around them.
Its tag lists have no header and three columns, ``name;color;parents``: a colour is a number from 0
to 11, and random where there is none; tags that are there keep their colour, and get the parents of
the list. Its export names tags by their own names. Of its keys, ``local_path`` is the file's folder
and name, ``global_path`` the name alone, whatever its dialog calls them.

Long because what is written and what is read of both files must agree.
"""

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

from panoptic_assets.corpus import inventory
from panoptic_assets.spec.formulas import protected, unprotected
from panoptic_assets.spec.tables import MAX_CELL
from panoptic_assets.spec.tag_log import (
    HIERARCHY,
    State,
    Tag,
    comparable,
    free_name,
    in_tree_order,
    normalised,
    paths,
)
from panoptic_assets.spec.text import cut
from panoptic_assets.tags.edits import DEEPEST
from panoptic_assets.tags.exchange.folders import FolderNames
from panoptic_assets.tags.exchange.formats import (
    ExchangeError,
    Labelled,
    Said,
    TagPath,
    several_of,
)
from resources.page_paths import file_of

PALETTE = (
    *("#ff8787", "#f783ac", "#da77f2", "#9775fa", "#748ffc", "#4dabf7"),
    *("#3bc9db", "#38d9a9", "#69db7c", "#a9e34b", "#ffd43b", "#ffa94d"),
)
"""Panoptic's colours, by number: red, pink, grape, violet, indigo, blue, cyan, teal, green, lime,
yellow and orange."""

_KEYS = ("global_path", "local_path")
_WHOLE = ("path", "path")
_SHA1 = ("sha1", "sha1")


@dataclass(frozen=True)
class TagList:
    """The tags of one property as Panoptic takes them from a file of their own."""

    property: str
    """As the CSV's header has it."""
    rows: Sequence[tuple[str, int, str]]
    """Name, number of the colour, and the parent's name; empty at the root."""
    nb_without_parent: int
    """Tags below one whose name has a comma, which Panoptic would take for two parents."""


def write_panoptic(labelled: Labelled, file: TextIO, folder: str = "") -> None:
    """The CSV that Panoptic imports: one line for each file, one column for each property.

    Panoptic knows no pages: a file of several that are images has the tags of all of them. Images
    without a file are left out. What properties are called there: :func:`headers`.

    A relative path is to Panoptic what any file's path ends in, and of several files it takes one:
    such a path begins with the name of the images' folder.

    Args:
        labelled: The tags.
        file: Where they are written.
        folder: The name of the images' folder, if it has one.

    Raises:
        ExchangeError: The name of a tag has a comma, where images have several tags.
    """
    ends = _ends(path for paths_of_image in labelled.files.values() for path in paths_of_image)
    files = _tags_of_files(labelled)
    several = labelled.several() | several_of(files.values())
    called = headers(labelled.tables.tags)
    named = _names(labelled)
    whole = paths(labelled.tables.tags)
    for tag in labelled.tables.tags:
        if "," in tag.name and tag.property in several:
            raise ExchangeError(
                "Images have several tags of {property!r}, which Panoptic parts by commas, and "
                "{tag!r} has one in its name: rename the tag (`panoptic-assets tag rename`), or "
                "choose another format.",
                id="comma-in-tag-name",
                property=tag.property,
                tag=whole[tag.tag_id],
            )
    writer = csv.writer(file, delimiter=";")
    columns = [
        f"{header}[{'multi_tags' if name in several else 'tag'}]" for name, header in called.items()
    ]
    writer.writerow(["path", *map(protected, columns)])
    for file_path, tags in files.items():
        cells = dict.fromkeys(called, "")
        for name, own in _by_property(tags).items():
            # Each name by itself: Panoptic parts them, and the list of tags has each alone.
            cells[name] = ",".join(protected(named[tag.tag_id]) for tag in own)
        place = f"{folder}/{file_path}" if folder and file_path in ends else file_path
        writer.writerow([protected(place), *cells.values()])


def _ends(paths_of_files: Iterable[str]) -> set[str]:
    """What the paths of files end in, from some folder on."""
    found: set[str] = set()
    for path in map(file_of, paths_of_files):
        steps = path.split("/")
        found.update("/".join(steps[start:]) for start in range(1, len(steps)))
    return found


def tag_lists(labelled: Labelled) -> list[TagList]:
    """The trees and colours, which the CSV has no place for: of each property that has some."""
    named = _names(labelled)
    called = headers(labelled.tables.tags)
    found = []
    for name, tags in _by_property(labelled.tables.tags).items():
        if not any(tag.parent_id or tag.colour for tag in tags):
            continue
        rows = []
        nb_cut = 0
        for place, tag in enumerate(tags):
            parent = protected(named[tag.parent_id]) if tag.parent_id else ""
            if "," in parent:
                parent, nb_cut = "", nb_cut + 1
            colour = place % len(PALETTE) if tag.colour is None else _nearest(tag.colour)
            rows.append((protected(named[tag.tag_id]), colour, parent))
        found.append(TagList(called[name], rows, nb_cut))
    return found


def write_tag_list(tags: TagList, file: TextIO) -> None:
    """A list of tags in Panoptic's form."""
    csv.writer(file, delimiter=";", lineterminator="\n").writerows(tags.rows)


def headers(tags: Iterable[Tag]) -> dict[str, str]:
    """What each property that has tags is called there, in the order of the columns.

    Brackets become parentheses, since Panoptic reads no header with more than one; a name that
    another property has then gets a number.

    Args:
        tags: In the order of the tree.
    """
    names = dict.fromkeys(tag.property for tag in tags)
    plain = {name: normalised(name.replace("[", "(").replace("]", ")")) for name in names}
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in sorted(names, key=lambda each: plain[each] != each):
        found[name] = free_name(plain[name], taken) if plain[name] in taken else plain[name]
        taken.add(found[name])
    return {name: found[name] for name in names}


def tag_list_places(file: Path, properties: Iterable[str]) -> dict[str, Path]:
    """Where the list of the tags of each property lies beside a CSV file, no two at one place.

    Args:
        file: The CSV.
        properties: As its headers have them, in their order.
    """
    names = FolderNames()
    return {
        name: file.with_name(names.free((), f"{file.stem}-tags-{name}.csv")) for name in properties
    }


def _by_property(tags: Iterable[Tag]) -> dict[str, list[Tag]]:
    found: dict[str, list[Tag]] = defaultdict(list)
    for tag in tags:
        found[tag.property].append(tag)
    return found


def _names(labelled: Labelled) -> dict[str, str]:
    """What each tag is called there: its own name, or its path where that is not one tag's only.

    A tag below one with a comma in its name is called by its path too, since its list cannot say
    what it lies below.
    """
    tags = labelled.tables.tags
    whole = paths(tags)
    shared = Counter((tag.property, tag.name) for tag in tags)
    found: dict[str, str] = {}
    for tag in tags:  # parents first
        own = shared[tag.property, tag.name] == 1 and "," not in found.get(tag.parent_id or "", "")
        found[tag.tag_id] = tag.name if own else whole[tag.tag_id]
    return found


def _nearest(colour: str) -> int:
    def parts(text: str) -> tuple[int, ...]:
        return tuple(bytes.fromhex(text.removeprefix("#")))

    wanted = parts(colour)
    distances = [
        sum((a - b) ** 2 for a, b in zip(parts(known), wanted, strict=True)) for known in PALETTE
    ]
    return distances.index(min(distances))


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


def read_panoptic(headers: Sequence[str], table: Iterable[tuple[int, list[str]]]) -> Said:
    """What columns ``name[tag]`` and ``name[multi_tags]`` say, as Panoptic exports them.

    Files are named by any of ``path[path]``, ``sha1[sha1]`` and Panoptic's keys; failing those, by
    the column that names files in an inventory.

    Args:
        headers: The names of the columns.
        table: The rows, each with its line.

    Raises:
        ExchangeError: No column names files or holds tags, or a cell holds no path of tags.
    """
    whole, ends, sha1 = _naming(headers)
    columns = []
    found = Said(by_name=True)
    for at, header in enumerate(headers):
        name, kind = inventory.typed(header)
        if at not in (*whole, *ends, sha1) and kind in ("tag", "multi_tags"):
            columns.append((at, normalised(unprotected(name)), kind == "multi_tags"))
            found.tags.setdefault(columns[-1][1], {})
    if not columns:
        raise ExchangeError(
            "No column holds tags: write the header of one as 'name[tag]', or as "
            "'name[multi_tags]' where its cells hold several tags between commas.",
            id="no-column-of-tags",
        )
    for line, row in table:
        paths_given, ends_given = (_cells(row, of) for of in (whole, ends))
        digest = "" if sha1 is None else row[sha1].strip().lower()
        if not (paths_given or ends_given or digest):
            continue
        image = None
        for at, name, several in columns:
            for tag in row[at].split(",") if several else [row[at]]:
                if not tag.strip():
                    continue
                if image is None:
                    image = found.add_image("", paths_given, ends_given, digest)
                try:
                    found.give(image, name, unprotected(tag.strip()))
                except ExchangeError as error:
                    raise ExchangeError(
                        "Line {line}: {reason}", id="line-unusable", line=line, reason=error
                    ) from error
    return found


def _cells(row: Sequence[str], places: Iterable[int]) -> tuple[str, ...]:
    return tuple(cell for at in places if (cell := unprotected(row[at])).strip())


def _naming(headers: Sequence[str]) -> tuple[list[int], list[int], int | None]:
    """The columns of paths, of ends of paths, and of the SHA-1, which say whose tags a row has."""
    kinds = [inventory.typed(header) for header in headers]
    folded = [header.strip().casefold() for header in headers]
    whole = [at for at, (name, kind) in enumerate(kinds) if (name.casefold(), kind) == _WHOLE]
    sha1 = next((at for at, (n, kind) in enumerate(kinds) if (n.casefold(), kind) == _SHA1), None)
    ends = [folded.index(key) for key in _KEYS if key in folded]
    if "path" in folded:
        whole.append(folded.index("path"))
    if whole or ends or sha1 is not None:
        return whole, ends, sha1
    if folded[:1] == ["id"]:
        raise ExchangeError(
            "Only Panoptic's own numbers say which images its lines are, and they mean nothing "
            "here: export again with the properties path and sha1 among the columns.",
            id="panoptic-ids-alone",
        )
    return [inventory.file_column(list(headers))], [], None


def read_tag_list(text: str) -> dict[str, tuple[str, str]]:
    """A list of tags in Panoptic's form: for each name its colour, and the first parent's name.

    Names are as they stand in the CSV beside it.

    Raises:
        ExchangeError: It is no table.
    """
    found: dict[str, tuple[str, str]] = {}
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=";"))
        # The limit of the csv module is the whole process's, which others may have raised.
        if any(len(cell) > MAX_CELL for row in rows for cell in row):
            raise csv.Error(f"a cell has more than {MAX_CELL:,} characters")
    except csv.Error as error:
        raise ExchangeError(
            "The list of tags beside it cannot be read ({reason}): export it anew, or move it "
            "away.",
            id="tag-list-unreadable",
            reason=error,
        ) from error
    for row in rows:
        name, number, parents = (cell.strip() for cell in [*row, "", "", ""][:3])
        if name:
            colour = PALETTE[int(number)] if number in map(str, range(len(PALETTE))) else ""
            parent = unprotected(parents.split(",")[0].strip())
            found.setdefault(unprotected(name), (colour, parent))
    return found


def with_tree(content: Said, property_name: str, tags: Mapping[str, tuple[str, str]]) -> Said:
    """What a file says where a list of tags tells how those of a property lie below each other.

    Args:
        content: What the file says, by names.
        property_name: The property.
        tags: See :func:`read_tag_list`.

    Raises:
        ExchangeError: The tree is too deep, or a name is no path of tags.
    """
    listed = Said()
    place: dict[TagPath, TagPath] = {}
    for name, (colour, _) in tags.items():
        path = _path(name, tags)
        details = {"colour": colour} if colour else {}
        listed.add_tag(property_name, HIERARCHY.join(path), **details)
        place[tuple(map(normalised, name.split(HIERARCHY.strip())))] = tuple(map(normalised, path))
    return _moved(content, property_name, place, listed.tags.get(normalised(property_name), {}))


def _path(name: str, tags: Mapping[str, tuple[str, str]]) -> list[str]:
    """The names of a listed tag and of those above it; a name may be a path itself."""
    found: list[str] = []
    seen: set[str] = set()
    while name and name not in seen:
        seen.add(name)
        parts = [part.strip() for part in name.split(HIERARCHY.strip()) if part.strip()]
        if len(parts) + len(found) > DEEPEST:
            raise ExchangeError(
                "The list of tags beside it makes a tree of more than {deepest} levels, with "
                "{name!r} in it: make it flatter, or move the list away.",
                id="tag-list-too-deep",
                deepest=DEEPEST,
                name=cut(name, 80),
            )
        parent = tags[name][1] if name in tags else ""
        if len(parts) > 1 or not parent:
            # A path is whole: what lies above it is said in it.
            return [*parts, *found]
        found = [*parts, *found]
        name = parent
    return found


def placed(content: Said, state: State) -> tuple[Said, int]:
    """What a file says where its tags stand by their own names, and how many so found their place.

    A name that no tag of the property's root has, but one tag in the tree only, is that tag. A
    property that is not here is the one that is called so there, see :func:`headers`.
    """
    nb_placed = 0
    ordered = in_tree_order(state.tags.values())
    here = {
        header: normalised(name)
        for name, header in headers(ordered).items()
        if header not in state.spelt and normalised(name) not in content.tags
    }
    content = replace(
        content,
        tags={here.get(name, name): tags for name, tags in content.tags.items()},
        given={here.get(name, name): given for name, given in content.given.items()},
    )
    tags_of: dict[str, list[Tag]] = defaultdict(list)
    for name, tags in _by_property(ordered).items():
        tags_of[comparable(name)] += tags
    for property_name in list(content.tags):
        own = tags_of[comparable(property_name)]
        roots = {comparable(tag.name) for tag in own if tag.parent_id is None}
        by_name: dict[str, list[str]] = defaultdict(list)
        whole = paths(own)
        for tag in own:
            by_name[comparable(tag.name)].append(whole[tag.tag_id])
        place: dict[TagPath, TagPath] = {}
        for path in content.tags[property_name]:
            key = comparable(path[0])
            if len(path) == 1 and key not in roots and len(set(by_name[key])) == 1:
                place[path] = tuple(by_name[key][0].split(HIERARCHY))
        if place:
            nb_placed += len(place)
            content = _moved(content, property_name, place, {})
    return content, nb_placed


def _moved(
    content: Said,
    property_name: str,
    place: Mapping[TagPath, TagPath],
    known: Mapping[TagPath, dict[str, Any]],
) -> Said:
    """What a file says, with the tags of a property elsewhere in its tree."""
    name = normalised(property_name)
    tags: dict[TagPath, dict[str, Any]] = dict(known)
    for path, details in content.tags.get(name, {}).items():
        tags.setdefault(place.get(path, path), details)
    given = [(image, place.get(path, path)) for image, path in content.given.get(name, ())]
    return replace(content, tags={**content.tags, name: tags}, given={**content.given, name: given})


def panoptic_colour(number: object) -> str | None:
    """The colour of a number, as ``#rrggbb``; None where Panoptic shows its grey."""
    known = isinstance(number, int) and 0 <= number < len(PALETTE)
    return PALETTE[number] if known and isinstance(number, int) else None

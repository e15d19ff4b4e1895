"""Tags as other programs write and read them.

Belongs here: the rows, cells and entries of every format, what a file says about tags, and the
events that make it so. Does not belong here: opening files
(``panoptic_assets.tags.exchange.transfer``), where images lie in a tree of folders
(``tags.exchange.folders``), and the JSON document (``tags.exchange.tag_document``).

Long because what is written and what is read of each format must agree.
"""

import csv
import itertools
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any, Literal, TextIO

from panoptic_assets.spec.formulas import protected
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
    check_depth_of,
    check_tag_name,
    missing_tags,
    property_in,
    split_path,
)
from resources.errors import PlainError

Mode = Literal["add", "replace", "keep"]

COLUMNS = ("image_id", "path", "property", "tag", "tag_id", "node", "record_id", "event")
"""Of the tables: one row for each file of an image and each of its tags."""

_TAG_ID = re.compile(r"[0-9a-f]{16}")


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
        return several_of(tags for _, tags in self)

    def event(self, tag: Tag, image_id: str) -> int | None:
        """The number of the event that gave a tag; None if there was none."""
        return self.tables.images[tag.tag_id, image_id] or None


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


def several_of(carried: Iterable[Sequence[Tag]]) -> set[str]:
    """The properties of which something has more than one tag, given the tags of each thing."""
    return {
        tag.property
        for tags in carried
        for tag, following in itertools.pairwise(tags)
        if tag.property == following.property
    }


TagPath = tuple[str, ...]
"""The names of a tag and of those above it, the root's first."""


@dataclass(frozen=True)
class ImageName:
    """What a file says of who an image is."""

    image_id: str
    """Empty if it does not say so."""
    paths: tuple[str, ...]
    endings: tuple[str, ...] = ()
    """Ends of paths, such as the name of a file alone, which several files may have."""
    sha1: str = ""
    """The SHA-1 of a file's bytes, in hexadecimal digits."""


@dataclass
class Said:
    """What a file says about tags."""

    images: list[ImageName] = field(default_factory=list)
    tags: dict[str, dict[TagPath, dict[str, Any]]] = field(default_factory=dict)
    """By property: the tags, with what else is known of them (fields of a :class:`Tag`)."""
    given: dict[str, list[tuple[int, TagPath]]] = field(default_factory=dict)
    """By property: which image, by its place in ``images``, has which tag."""
    told: dict[str, dict[tuple[int, TagPath], set[str]]] = field(default_factory=dict)
    """By property: of what was given, the ids that the file says beside a path, by which several
    tags of the path are told apart."""
    known: dict[str, dict[str, Tag]] = field(default_factory=dict)
    """By property: tags that our own document describes, by their ids there, parents first."""
    known_given: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    """By property: which image has which of ``known``."""
    known_refused: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    """By property: for which image a person refused which of ``known``, or took it from it."""
    notes: list[str] = field(default_factory=list)
    """What a person must know of the file, one sentence each."""
    by_name: bool = False
    """Whether tags may stand there by their own names alone, as Panoptic exports them."""
    _places: dict[ImageName, int] = field(default_factory=dict)
    _split: dict[str, TagPath] = field(default_factory=dict)

    def add_image(
        self, image_id: str, paths: tuple[str, ...], endings: tuple[str, ...] = (), sha1: str = ""
    ) -> int:
        """The place of an image in ``images``."""
        name = ImageName(image_id, paths, endings, sha1)
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

    def add_property(self, property_name: str) -> str:
        """A property, which may have no tags; its name as it is known by here."""
        name = normalised(property_name)
        self.tags.setdefault(name, {})
        return name

    def add_known(self, tag: Tag) -> None:
        """A tag with its id; the one above it comes before."""
        self.known.setdefault(self.add_property(tag.property), {})[tag.tag_id] = tag

    def give_known(self, image: int, property_name: str, tag_id: str) -> None:
        """An image has a tag that was added with its id."""
        self.known_given.setdefault(normalised(property_name), []).append((image, tag_id))

    def refuse_known(self, image: int, property_name: str, tag_id: str) -> None:
        """A person refused a tag that was added with its id for an image."""
        self.known_refused.setdefault(normalised(property_name), []).append((image, tag_id))

    def give(self, image: int, property_name: str, path: str, tag_id: str = "") -> None:
        """An image has a tag, of which the file may say an id beside the path.

        Raises:
            ExchangeError: It is no path of tags.
        """
        found = self.add_tag(property_name, path)
        name = normalised(property_name)
        self.given.setdefault(name, []).append((image, found))
        if tag_id:
            self.told.setdefault(name, {}).setdefault((image, found), set()).add(tag_id)

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
        return replace(
            self,
            tags={name: self.tags[name]},
            given={name: self.given.get(name, [])},
            known={name: self.known.get(name, {})},
            known_given={name: self.known_given.get(name, [])},
            known_refused={name: self.known_refused.get(name, [])},
        )


def said(rows_of_table: Iterable[tuple[str, ...]]) -> Said:
    """What rows of image id, path, property, tag and perhaps the tag's id say; of the image's id
    and path, one may be empty.

    Raises:
        ExchangeError: A row lacks the image, the property or the tag, or has no path of tags.
    """
    found = Said()
    for number, (image_id, path, property_name, tag, *tag_id) in enumerate(rows_of_table, start=1):
        if not (image_id or path) or not property_name.strip() or not tag.strip():
            raise ExchangeError(
                "Row {number} names no image, no property or no tag: complete or remove it.",
                id="row-incomplete",
                number=number,
            )
        place = found.add_image(image_id, (path,) if path else ())
        found.give(place, property_name, tag, *tag_id)
    return found


def events(
    content: Said,
    image_ids: Sequence[str | None],
    state: State,
    mode: Mode,
    record_ids: Iterable[str] = (),
) -> list[Event]:
    """The events that make the tags what a file says, one for each property that changes.

    Tags are found by their paths, since what a tag is called is what people see; those of our own
    document by their ids first, so that it brings back what it was written from. Those that are
    there keep name, colour and origin. New ones get ids of their own, or those of the document if
    they are free, and the file's colour; node and record only where the record is known. What the
    document says to be refused is a second event of its property, and what is carried all the same
    a third one.

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
        described = content.known.get(name, {})
        restored, own_ids = _restored(described, state, property_name, known)
        made += restored
        wanted: dict[str, set[str]] = defaultdict(set)
        for place, path in content.given.get(name, ()):
            image_id = image_ids[place]
            if image_id is not None:
                told = content.told.get(name, {}).get((place, path), ())
                # Of several tags of one path the one of this id; a path that was changed beside
                # the id is what counts.
                exact = {tag_id for tag_id in told if same.get(tag_id) == ids[path]}
                wanted[image_id] |= exact or {ids[path]}
        for place, tag_id in content.known_given.get(name, ()):
            if (image_id := image_ids[place]) is not None:
                wanted[image_id].add(own_ids[tag_id])
        pairs = []
        for image_id, tag_ids in wanted.items():
            held = {
                # Where only the path is said, another tag of it will do.
                tag_id if described or tag_id in tag_ids else same[tag_id]
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
        given = {*pairs}
        refused: dict[Literal["unassign", "refuse"], set[tuple[str, str]]] = defaultdict(set)
        for place, own_id in content.known_refused.get(name, ()):
            tag_id, image_id = own_ids[own_id], image_ids[place]
            if image_id is None:
                continue
            pair = (tag_id, image_id)
            if pair in given or image_id in state.members.get(tag_id, ()):
                # What is given is refused no more, unless the document says both.
                is_missing = pair in given or image_id not in state.refused.get(tag_id, ())
                if is_missing and tag_id in wanted[image_id]:
                    refused["refuse"].add(pair)
            elif image_id not in state.refused.get(tag_id, ()):
                # No refusal, of which the precision of recommendations is counted: they were not
                # proposed here.
                refused["unassign"].add(pair)
        found += [
            Event(kind, property_name, images=tuple(sorted(them))) for kind, them in refused.items()
        ]
    return found


def _restored(
    described: Mapping[str, Tag], state: State, property_name: str, known: set[str]
) -> tuple[list[Tag], dict[str, str]]:
    """The tags of our own document that a property lacks, and for each id there the tag's here.

    A tag is found by its id; else, below the tag above it, by its name, if it is not another one of
    the document.

    Raises:
        EditError: A name cannot be used, or a tree is too deep.
    """
    ids: dict[str, str] = {}
    for tag_id in described:
        for own in (tag_id, _own_id(property_name, tag_id)):
            tag = state.tags.get(own)
            if tag is not None and tag.property == property_name:
                ids.setdefault(tag_id, own)
    taken = set(ids.values())
    made: dict[str, Tag] = {}
    for tag_id, tag in described.items():
        if tag_id in ids:
            continue
        parent_id = ids[tag.parent_id] if tag.parent_id is not None else None
        check_tag_name(tag.name)
        place = (property_name, parent_id, comparable(tag.name))
        free = sorted(state.named.get(place, set()) - taken)
        if free:
            ids[tag_id] = free[0]
            taken.add(free[0])
            continue
        usable = tag_id not in state.tags and _TAG_ID.fullmatch(tag_id)
        ids[tag_id] = tag_id if usable else _own_id(property_name, tag_id)
        is_known = tag.record_id in known
        made[ids[tag_id]] = replace(
            tag,
            tag_id=ids[tag_id],
            property=property_name,
            parent_id=parent_id,
            record_id=tag.record_id if is_known else None,
            node=tag.node if is_known else None,
        )
    check_depth_of(made.values(), state)
    return list(made.values()), ids


def _own_id(property_name: str, tag_id: str) -> str:
    """The id of a tag here whose own is not free, or none: the same one each time."""
    return sha256(f"{property_name}\0{tag_id}".encode()).hexdigest()[:16]


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

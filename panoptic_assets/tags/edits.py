"""Edits: what people ask to be done to tags, in words, and the events that do it.

Belongs here: the forms of edits, the tags and images that their words mean, and every reason why
one cannot be done. Does not belong here: what an event does (``spec.tag_log``), or where edits
come from (command line, files, Launchpad, API).

An edit is a mapping of one entry: its kind, and its fields. Tags are named by their path
(``animals > birds``), or by their id; images by id or by the path of a file::

    - rename: {tag: "3", to: "Vases grecs"}
    - merge: {tags: ["1", "4 > 0"], into: "Vases grecs"}
    - undo: {event: 12}

Long because each edit is a few lines, on one tree and in one vocabulary.
"""

import re
import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from panoptic_assets.spec.languages import N_
from panoptic_assets.spec.tag_log import (
    HIERARCHY,
    LONGEST_NAME,
    Event,
    Pair,
    State,
    Tag,
    comparable,
    in_tree_order,
    is_unnamed,
    normalised,
    paths,
    replayed,
)
from panoptic_assets.spec.text import nearest
from panoptic_assets.tags.taking_back import LogInProgress
from resources.errors import Message, PlainError, message

Edit = Mapping[str, Mapping[str, Any]]

DEFAULT_PROPERTY = "Clustering"
DEEPEST = 50
"""Levels of a property's tree."""

_COLOUR = re.compile(r"#[0-9a-f]{6}")
_UNREADABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

FIELDS: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "create_property": ({"property": "its name"}, {}),
    "create": ({"tag": "its path"}, {"colour": "#rrggbb"}),
    "rename": ({"tag": "the tag", "to": "its new name, without those above it"}, {}),
    "merge": ({"tags": "two tags or more", "into": "the one that stays"}, {}),
    "split": ({"tag": "the tag", "into": "new names, each with its images"}, {}),
    "move": ({"tag": "the tag", "under": "the tag above it from now on; '' for none"}, {}),
    "recolour": ({"tag": "the tag", "colour": "#rrggbb; '' for none"}, {}),
    "assign": (
        {"tag": "the tag", "images": "ids or paths"},
        {"only": "true: the images lose their other tags of the property"},
    ),
    "unassign": ({"tag": "the tag", "images": "ids or paths"}, {}),
    "reassign": (
        {
            "tag": "the tag that they carry",
            "to": "the tag that they get in its place",
            "images": "ids or paths",
        },
        {},
    ),
    "accept": (
        {
            "tag": "the tag",
            "images": "images, recommended or not, by id or path",
        },
        {},
    ),
    "refuse": ({"tag": "the tag", "images": "recommended images, by id or path"}, {}),
    "delete": ({"tag": "the tag, with those below it"}, {}),
    "undo": ({}, {"event": "its number; the last one by default"}),
    "redo": ({}, {"event": "its number; the one undone last by default"}),
}
"""For each kind, the fields that it must have and those that it may have; all but the last two may
have ``property`` as well, by default ``Clustering``."""


class EditError(PlainError, ValueError):
    """An edit cannot be done; the message names cause and remedy."""


@dataclass(frozen=True)
class Images:
    """Finds the images that ids and paths mean."""

    find: Callable[[str], str | None]
    """The id of an image that was ever seen; None if there is none."""


def resolve_edits(
    edits: Sequence[Edit],
    log: Sequence[Event],
    images: Images,
    report: Callable[[int, str], object] = lambda number, note: None,
) -> list[Event]:
    """The events that do some edits, one after the other; none if one of them cannot be done.

    Args:
        edits: In the order in which they are to be done; later ones see what earlier ones did.
        log: All events so far.
        images: All images.
        report: Called with the number of an event and a sentence that a person must know of it.

    Raises:
        EditError: One of them cannot be done; the message says which, and why.
    """
    kinds = [kind for edit in edits if isinstance(edit, Mapping) for kind in edit]
    whole = LogInProgress(log, kinds.count("undo") + kinds.count("redo"))
    for number, edit in enumerate(edits, start=1):
        try:
            notes = _do(edit, whole, images)
        except EditError as error:
            if len(edits) == 1:
                raise
            raise EditError(
                "edit {number} of {nb_edits}: {reason} Nothing was changed.",
                id="edit-of-several",
                number=number,
                nb_edits=len(edits),
                reason=error,
            ) from error
        for note in notes:
            report(len(whole.events), note)
    return whole.events[len(log) :]


def _do(edit: Edit, log: LogInProgress, images: Images) -> list[str]:
    """Add the event of an edit to the log; what a person must know of it."""
    kind, fields = _checked(edit)
    if kind not in ("undo", "redo"):
        log.add(_event(kind, fields, log.state, images))
        return []
    event, notes, changed = _take_back(
        "undo" if kind == "undo" else "redo", fields.get("event"), log
    )
    _check_depth(log.state, event, changed)
    return notes


def find_tag(name: str, log: Sequence[Event], property_name: str) -> Tag:
    """The tag of a property that a path or an id means.

    Raises:
        EditError: There is none, or there are several; the message names the nearest ones.
    """
    return _TagTree(replayed(log), property_name).find(name)


def assigning(
    name: str, images: Sequence[str], log: Sequence[Event], property_name: str
) -> list[Edit]:
    """The edits that give a tag to images, and make it first if it is missing.

    Args:
        name: The tag's path or id.
        images: Ids or paths.
        log: All events so far.
        property_name: The tag's property, which need not exist.
    """
    assign = {"assign": {"tag": name, "images": list(images), "property": property_name}}
    return [*_making(name, log, property_name), assign]


def reassigning(
    name: str, to: str, images: Sequence[str], log: Sequence[Event], property_name: str
) -> list[Edit]:
    """The edits that give images another tag in place of one, and make it first if it is missing.

    Args:
        name: The path or id of the tag that they carry.
        to: The path or id of the tag that they get.
        images: Ids or paths.
        log: All events so far.
        property_name: The tags' property.
    """
    fields = {"tag": name, "to": to, "images": list(images), "property": property_name}
    return [*_making(to, log, property_name), {"reassign": fields}]


def _making(name: str, log: Sequence[Event], property_name: str) -> list[Edit]:
    """The edit that makes a tag; none where there is one."""
    tree = _TagTree(replayed(log), property_name)
    exists = tree.get(name) or tree.called(name)
    return [] if exists else [{"create": {"tag": name, "property": property_name}}]


def carrying(name: str, log: Sequence[Event], property_name: str) -> set[str]:
    """Ids of the images that carry a tag itself, and not only one below it.

    Raises:
        EditError: There is no such tag.
    """
    tree = _TagTree(replayed(log), property_name)
    return set(tree.state.members[tree.find(name).tag_id])


def _check_depth(state: State, event: Event, changed: Collection[str]) -> None:
    for tag in [state.tags[tag_id] for tag_id in changed if tag_id in state.tags]:
        tree = _TagTree(state, tag.property)
        if tree.depth(tag.tag_id) + tree.height(tag.tag_id) > DEEPEST:
            raise EditError(
                "to {kind} event {event} would make a tree of more than {deepest} levels: move "
                "tags up first.",
                id="edit-event-too-deep",
                kind=event.kind,
                event=event.event,
                deepest=DEEPEST,
            )


def from_rows(rows: Iterable[tuple[int, Mapping[str, str]]]) -> list[Edit]:
    """Edits as the lines of a table: a column ``edit`` with the kind, and one for each field.

    An empty cell is a field that is not given, but for ``under``, where it is the top, and the
    ``colour`` of a ``recolour``, where it is none. In ``tags`` and ``images`` a ``|`` or a line
    break parts several; of a ``split``, ``into`` is one new name and ``images`` are its images.

    Args:
        rows: The number of each line, for messages, and its cells by the names of their columns.

    Raises:
        EditError: A number or truth value is none.
    """
    return [_from_row(number, row) for number, row in rows]


def _from_row(number: int, row: Mapping[str, str]) -> Edit:
    cells = {name: cell.strip() for name, cell in row.items()}
    kind = cells.pop("edit", "")
    fields: dict[str, Any] = {name: cell for name, cell in cells.items() if cell}
    for name in ("tags", "images"):
        if name in fields:
            parts = re.split(r"[|\n]", fields[name])
            fields[name] = [part.strip() for part in parts if part.strip()]
    if kind == "split":
        fields["into"] = {fields.get("into", ""): fields.pop("images", [])}
    if kind == "move":
        fields.setdefault("under", "")
    if kind == "recolour":
        fields.setdefault("colour", "")
    if "event" in fields:
        try:
            fields["event"] = int(fields["event"])
        except ValueError as error:
            shown = _shown(fields["event"])
            raise EditError(
                "line {number}: event is the number of one, not {shown}.",
                id="edit-line-event-no-number",
                number=number,
                shown=shown,
            ) from error
    if "only" in fields:
        truth = {"true": True, "false": False}.get(fields["only"].lower())
        if truth is None:
            raise EditError(
                "line {number}: only is true or false, not {shown}.",
                id="edit-line-only-no-truth",
                number=number,
                shown=_shown(fields["only"]),
            )
        fields["only"] = truth
    return {kind: fields}


def _event(kind: str, fields: dict[str, Any], state: State, images: Images) -> Event:
    tree = _TagTree(state, fields["property"])
    make = {
        "create_property": _create_property,
        "create": _create,
        "rename": _rename,
        "merge": _merge,
        "split": _split,
        "move": _move,
        "recolour": _recolour,
        "reassign": _reassign,
        "delete": _delete,
    }.get(kind)
    if make is not None:
        return make(fields, tree, images)
    return _give_or_take(kind, fields, tree, images)


def _checked(edit: Any) -> tuple[str, dict[str, Any]]:
    """The kind of an edit and its fields, each of the right type."""
    if not isinstance(edit, Mapping) or len(edit) != 1:
        raise EditError(
            "an edit is one entry, as in `rename: {{tag: '3', to: 'Vases'}}`.",
            id="edit-not-one-entry",
        )
    [(kind, fields)] = edit.items()
    if kind not in FIELDS:
        raise EditError(
            "there is no edit {kind}; there are {known}.",
            id="edit-unknown",
            kind=repr(kind),
            known=", ".join(FIELDS),
        )
    fields = {} if fields is None else fields
    needed, possible = FIELDS[kind]
    known = {**needed, **possible} | ({} if kind in ("undo", "redo") else {"property": ""})
    if not isinstance(fields, Mapping) or (missing := needed.keys() - fields.keys()):
        listed = ", ".join(sorted(needed if not isinstance(fields, Mapping) else missing))
        raise EditError(
            "{kind} needs {missing}.", id="edit-fields-missing", kind=kind, missing=listed
        )
    if unknown := [str(name) for name in fields if name not in known]:
        raise EditError(
            "{kind} has no field {unknown}; it has {known}.",
            id="edit-fields-unknown",
            kind=kind,
            unknown=", ".join(unknown),
            known=", ".join(known),
        )
    given = dict(fields)
    if kind not in ("undo", "redo"):
        given["property"] = _name(given.get("property", DEFAULT_PROPERTY), N_("property"))
    for name, value in given.items():
        _check_type(kind, name, value)
    return kind, given


def _check_type(kind: str, name: str, value: Any) -> None:
    lists = {"images", "tags"}
    if name in lists:
        right = isinstance(value, list | tuple) and all(isinstance(v, str) for v in value)
        what = N_("a list of texts")
    elif name == "into" and kind == "split":
        right = isinstance(value, Mapping) and all(
            isinstance(key, str)
            and isinstance(items, list | tuple)
            and all(isinstance(item, str) for item in items)
            for key, items in value.items()
        )
        what = N_("names, each with a list of images")
    elif name == "event":
        right = isinstance(value, int) and not isinstance(value, bool)
        what = N_("the number of an event")
    elif name == "only":
        right, what = isinstance(value, bool), N_("true or false")
    else:
        right, what = isinstance(value, str), N_("text")
    if not right:
        raise EditError(
            "{name} of {kind} is {what}, not {value}.",
            id="edit-field-of-other-type",
            name=name,
            kind=kind,
            what=what,
            value=_shown(value),
        )


def _take_back(
    kind: Literal["undo", "redo"], number: int | None, log: LogInProgress
) -> tuple[Event, list[str], Collection[str]]:
    if number is None:
        number = log.last(kind)
    if number is None:
        raise EditError("there is nothing to {kind}.", id="nothing-to-undo-or-redo", kind=kind)
    if not log.is_change(number):
        raise EditError(
            "there is no event {number} to {kind}: `panoptic-assets tag log` lists them.",
            id="no-event-to-undo-or-redo",
            number=_shown(number),
            kind=kind,
        )
    if log.is_undone(number) != (kind == "redo"):
        if kind == "undo":
            raise EditError(
                "event {number} is undone already.", id="event-undone-already", number=number
            )
        raise EditError("event {number} is not undone.", id="event-not-undone", number=number)
    return log.take_back(kind, number)


class _TagTree:
    """The tags of one property, by their paths.

    It computes nothing before it is asked for it, and looks at no more tags than are asked for: a
    list of 10,000 edits makes 10,000 of these.
    """

    def __init__(self, state: State, property_name: str):
        self.state = state
        name = normalised(property_name)
        self.property = state.spelt.get(name, name)
        self.exists = self.property in state.properties

    def get(self, tag_id: str) -> Tag | None:
        """The tag of an id, if it is one of the property."""
        tag = self.state.tags.get(tag_id)
        return tag if tag is not None and tag.property == self.property else None

    def called(self, path: str) -> list[Tag]:
        """The tags that a path means, in the order of the tree."""
        parts = [normalised(part) for part in path.split(HIERARCHY.strip())]
        reached: dict[int, set[str | None]] = defaultdict(set, {0: {None}})
        for start in range(len(parts)):
            length = -1
            # One part is a name; several are one as well where it has the sign between them.
            for end in range(start + 1, len(parts) + 1) if start in reached else ():
                length += len(parts[end - 1]) + 1
                if length > LONGEST_NAME:
                    break
                name = HIERARCHY.join(parts[start:end])
                for above in reached[start]:
                    if found := self.state.named.get((self.property, above, name)):
                        reached[end] |= found
        return self._in_order(tag_id for tag_id in reached[len(parts)] if tag_id)

    def _in_order(self, tag_ids: Iterable[str]) -> list[Tag]:
        found = {tag_id: self.state.tags[tag_id] for tag_id in tag_ids}
        if len(found) < 2:
            return list(found.values())
        whole = dict(found)
        for tag in found.values():
            whole |= {above.tag_id: above for above in self._up(tag)}
        return [tag for tag in in_tree_order(whole.values()) if tag.tag_id in found]

    def _up(self, tag: Tag) -> Iterator[Tag]:
        """A tag and those above it, the root last."""
        while True:
            yield tag
            if tag.parent_id is None:
                return
            tag = self.state.tags[tag.parent_id]

    def path(self, tag: Tag) -> str:
        """The names of a tag and of those above it."""
        return HIERARCHY.join(above.name for above in reversed([*self._up(tag)]))

    def find(self, name: str) -> Tag:
        if tag := self.get(name):
            return tag
        if not self.exists:
            raise EditError(
                "there is no property {property!r}: {nearest}.",
                id="edit-property-unknown",
                property=self.property,
                nearest=_nearest(self.property, self.state.properties),
            )
        found = self.called(name)
        if not found:
            own = [tag for tag in self.state.tags.values() if tag.property == self.property]
            raise EditError(
                "there is no tag {name!r} in {property!r}: {nearest}.",
                id="edit-tag-unknown",
                name=name,
                property=self.property,
                nearest=_nearest(name, paths(in_tree_order(own)).values()),
            )
        if len(found) > 1:
            raise EditError(
                "{nb_tags} tags of {property!r} are called {name!r}: name one by its id, "
                "{tag_ids}.",
                id="edit-tag-ambiguous",
                nb_tags=len(found),
                property=self.property,
                name=name,
                tag_ids=" or ".join(sorted(tag.tag_id for tag in found)),
            )
        return found[0]

    def check_free(self, name: str, parent_id: str | None, but: Iterable[str] = ()) -> None:
        here = self.state.named.get((self.property, parent_id, comparable(name)), set())
        if taken := self._in_order(here - set(but)):
            raise EditError(
                "there is a tag {tag!r} already: choose another name, or merge the two.",
                id="edit-tag-exists",
                tag=self.path(taken[0]),
            )

    def depth(self, tag_id: str | None) -> int:
        return 0 if tag_id is None else self.path(self.state.tags[tag_id]).count(HIERARCHY) + 1

    def height(self, tag_id: str) -> int:
        """How many levels lie below a tag."""
        height, level = -1, [tag_id]
        while level:
            level = [child for each in level for child in self.state.below.get(each, ())]
            height += 1
        return height

    def is_in(self, tag_id: str, tag: Tag) -> bool:
        """Whether a tag, named by its id, is another one, or lies below it."""
        return any(above.tag_id == tag.tag_id for above in self._up(self.state.tags[tag_id]))

    def is_rest(self, tag: Tag) -> bool:
        """Whether :func:`remainders` finds a tag."""
        for above in self._up(tag):
            if above.is_remainder:
                return True
            if not is_unnamed(above, self.state.edited):
                return False
        return False


def _create_property(fields: dict[str, Any], tree: _TagTree, images: Images) -> Event:
    if tree.exists:
        raise EditError(
            "there is a property {property!r} already.",
            id="edit-property-exists",
            property=tree.property,
        )
    return Event("create_property", tree.property)


def _create(fields: dict[str, Any], tree: _TagTree, images: Images) -> Event:
    names = split_path(fields["tag"])
    colour = parse_colour(fields["colour"]) if "colour" in fields else None
    made = missing_tags([names], tree.state, tree.property)
    if not made:
        raise EditError(
            "there is a tag {path!r} already.", id="edit-path-exists", path=HIERARCHY.join(names)
        )
    made[-1] = replace(made[-1], colour=colour)
    return Event("create", tree.property, tags=tuple(made))


def missing_tags(tag_paths: Iterable[Sequence[str]], state: State, property_name: str) -> list[Tag]:
    """New tags for those paths that a property lacks, and for what is missing above them.

    Parents come first. Names are compared as :func:`normalised` has it.

    Raises:
        EditError: A name cannot be used, or a path is too deep.
    """
    tree = _TagTree(state, property_name)
    known: dict[str, str] = {}
    made = []
    for names in tag_paths:
        if len(names) > DEEPEST:
            raise EditError(
                "{beginning} > … has more than {deepest} levels.",
                id="edit-path-too-deep",
                beginning=HIERARCHY.join(names[:3]),
                deepest=DEEPEST,
            )
        parent_id = None
        for depth in range(1, len(names) + 1):
            path = comparable(HIERARCHY.join(names[:depth]))
            if path not in known and (there := tree.called(path)):
                known[path] = there[0].tag_id
            if path not in known:
                name = _name(names[depth - 1], N_("tag"))
                tag = Tag(uuid.uuid4().hex[:16], tree.property, name, parent_id)
                known[path] = tag.tag_id
                made.append(tag)
            parent_id = known[path]
    return made


def property_in(state: State, name: str) -> str:
    """A property's name as the log has it, or as it would have it.

    Raises:
        EditError: It cannot be the name of one.
    """
    return _TagTree(state, _name(name, "property")).property


def _rename(fields: dict[str, Any], tree: _TagTree, images: Images) -> Event:
    tag, name = tree.find(fields["tag"]), _name(fields["to"], "tag")
    if name == tag.name:
        raise EditError("the tag is called {name!r} already.", id="edit-tag-called-so", name=name)
    tree.check_free(name, tag.parent_id, but=[tag.tag_id])
    return Event("rename", tree.property, tag_id=tag.tag_id, name=name)


def _merge(fields: dict[str, Any], tree: _TagTree, images: Images) -> Event:
    try:
        kept = tree.find(fields["into"])
    except EditError as error:
        raise EditError(
            "{reason} The tag that stays is one that there is: merge into it, then rename it.",
            id="edit-merge-into-none",
            reason=error,
        ) from error
    gone = {tree.find(name).tag_id for name in fields["tags"]} - {kept.tag_id}
    if not gone:
        raise EditError("merge needs another tag than the one that stays.", id="edit-merge-of-one")
    for tag_id in gone:
        if tree.depth(kept.tag_id) + tree.height(tag_id) > DEEPEST:
            raise EditError(
                "a tree of tags has at most {deepest} levels.",
                id="edit-tree-too-deep",
                deepest=DEEPEST,
            )
    return Event("merge", tree.property, tag_id=kept.tag_id, tag_ids=tuple(sorted(gone)))


def _split(fields: dict[str, Any], tree: _TagTree, images: Images) -> Event:
    tag = tree.find(fields["tag"])
    made: list[Tag] = []
    pairs: list[Pair] = []
    names: set[str] = set()
    taken: set[str] = set()
    for given, wanted in fields["into"].items():
        name = _name(given, "tag")
        tree.check_free(name, tag.parent_id)
        if name in names:
            raise EditError("split names {name!r} twice.", id="edit-split-names-twice", name=name)
        new = Tag(uuid.uuid4().hex[:16], tree.property, name, tag.parent_id)
        made.append(new)
        names.add(name)
        for image_id in _ids(wanted, images):
            if image_id not in tree.state.members[tag.tag_id]:
                raise EditError(
                    "the image {image_id} does not carry the tag {tag!r}.",
                    id="edit-split-of-image-without-tag",
                    image_id=image_id[:12],
                    tag=tree.path(tag),
                )
            if image_id in taken:
                raise EditError(
                    "split puts the image {image_id} into two tags.",
                    id="edit-split-image-twice",
                    image_id=image_id[:12],
                )
            taken.add(image_id)
            pairs.append((new.tag_id, image_id))
    if not made:
        raise EditError("split needs at least one new name.", id="edit-split-into-nothing")
    return Event("split", tree.property, tuple(made), tuple(pairs), tag_id=tag.tag_id)


def _move(fields: dict[str, Any], tree: _TagTree, images: Images) -> Event:
    tag = tree.find(fields["tag"])
    parent_id = tree.find(fields["under"]).tag_id if fields["under"] else None
    if parent_id is not None and tree.is_in(parent_id, tag):
        raise EditError(
            "{tag!r} cannot be moved below itself.",
            id="edit-moves-below-itself",
            tag=tree.path(tag),
        )
    if tree.depth(parent_id) + 1 + tree.height(tag.tag_id) > DEEPEST:
        raise EditError(
            "a tree of tags has at most {deepest} levels.", id="edit-tree-too-deep", deepest=DEEPEST
        )
    tree.check_free(tag.name, parent_id, but=[tag.tag_id])
    return Event("move", tree.property, tag_id=tag.tag_id, parent_id=parent_id)


def _recolour(fields: dict[str, Any], tree: _TagTree, images: Images) -> Event:
    colour = parse_colour(fields["colour"]) if fields["colour"].strip() else None
    return Event("recolour", tree.property, tag_id=tree.find(fields["tag"]).tag_id, colour=colour)


def _delete(fields: dict[str, Any], tree: _TagTree, images: Images) -> Event:
    below = tree.state.subtree([tree.find(fields["tag"]).tag_id])
    return Event("delete", tree.property, tag_ids=tuple(sorted(below)))


def _give_or_take(kind: str, fields: dict[str, Any], tree: _TagTree, images: Images) -> Event:
    tag = tree.find(fields["tag"])
    pairs: list[Pair] = [(tag.tag_id, image_id) for image_id in _some_ids(kind, fields, images)]
    if kind == "unassign":
        _check_carried(tag, [image_id for _, image_id in pairs], tree)
    only = bool(fields.get("only", False))
    left: tuple[str, ...] = ()
    if kind == "accept":
        carried = {
            other for _, image_id in pairs for other in tree.state.carried.get(image_id, ())
        } - {tag.tag_id}
        found = [each for other in carried if (each := tree.get(other)) and tree.is_rest(each)]
        left = tuple(sorted(each.tag_id for each in found if not each.is_remainder))
    event = Event(kind, tree.property, images=tuple(sorted(pairs)), only=only)  # type: ignore[arg-type]
    return replace(event, tag_ids=left)


def _reassign(fields: dict[str, Any], tree: _TagTree, images: Images) -> Event:
    """A split into a tag that is there: one event, so that it is undone as one."""
    tag, other = tree.find(fields["tag"]), tree.find(fields["to"])
    if tag.tag_id == other.tag_id:
        raise EditError(
            "{tag!r} is the tag that the images carry: name another one, that they get.",
            id="edit-reassign-to-itself",
            tag=tree.path(tag),
        )
    image_ids = _some_ids("reassign", fields, images)
    _check_carried(tag, image_ids, tree)
    pairs = tuple((other.tag_id, image_id) for image_id in image_ids)
    return Event("split", tree.property, images=pairs, tag_id=tag.tag_id)


def _check_carried(tag: Tag, image_ids: Sequence[str], tree: _TagTree) -> None:
    own = tree.state.members[tag.tag_id]
    if without := [image_id for image_id in image_ids if image_id not in own]:
        raise EditError(
            "{nb_without} of the {nb_images} images do not carry the tag {tag!r}: {without}.",
            id="edit-of-images-without-tag",
            nb_without=len(without),
            nb_images=len(image_ids),
            tag=tree.path(tag),
            without=without[0][:12] + (", …" if len(without) > 1 else ""),
        )


def split_path(path: str) -> list[str]:
    """The names of a tag's path, the root's first.

    Raises:
        EditError: One of them is empty.
    """
    names = [normalised(name) for name in path.split(HIERARCHY.strip())]
    if not all(names):
        raise EditError(
            "{path!r} is no path of tags: write the names joined by {separator!r}.",
            id="no-path-of-tags",
            path=path,
            separator=HIERARCHY,
        )
    return names


def _ids(wanted: Sequence[str], images: Images) -> list[str]:
    found = {name: images.find(name) for name in wanted}
    if unknown := [name for name, image_id in found.items() if image_id is None]:
        raise EditError(
            "{nb_unknown} of the {nb_images} images are not in the corpus: {unknown}. Name them "
            "by id, or by path below the images' folder.",
            id="edit-images-unknown",
            nb_unknown=len(unknown),
            nb_images=len(found),
            unknown=", ".join(map(_shown, unknown[:3])) + (", …" if len(unknown) > 3 else ""),
        )
    return sorted({image_id for image_id in found.values() if image_id})


def _some_ids(kind: str, fields: dict[str, Any], images: Images) -> list[str]:
    found = _ids(fields["images"], images)
    if not found:
        raise EditError("{kind} names no image.", id="edit-without-images", kind=kind)
    return found


def check_tag_name(name: str) -> None:
    """Refuse what no tag can be called.

    Not the sign that parts the names of a path, which edits do not take: a document that names tags
    by ids may hold names that another program has made.

    Raises:
        EditError: It is empty, too long or unreadable.
    """
    _name(name.replace(HIERARCHY.strip(), "›"), N_("tag"))


def check_depth_of(tags: Iterable[Tag], state: State) -> None:
    """Refuse new tags that would make a tree of too many levels.

    Args:
        tags: The new tags, parents first.
        state: Those that are there.

    Raises:
        EditError: They would.
    """
    depths: dict[str, int] = {}
    for tag in tags:
        above, depth = tag.parent_id, 1
        while above is not None and above not in depths:
            above, depth = state.tags[above].parent_id, depth + 1
        depths[tag.tag_id] = depth + (depths[above] if above is not None else 0)
        if depths[tag.tag_id] > DEEPEST:
            raise EditError(
                "a tree of tags has at most {deepest} levels.",
                id="edit-tree-too-deep",
                deepest=DEEPEST,
            )


def _name(text: Any, what: str) -> str:
    if not isinstance(text, str):
        raise EditError(
            "the name of a {what} is text, not {text}.",
            id="edit-name-no-text",
            what=what,
            text=_shown(text),
        )
    name = normalised(text)
    if not name or _UNREADABLE.search(name) or len(name) > LONGEST_NAME:
        raise EditError(
            "{text} is no name of a {what}: it has 1 to {longest_name} characters on one line.",
            id="edit-name-unusable",
            text=_shown(text),
            what=what,
            longest_name=LONGEST_NAME,
        )
    if what == "tag" and ">" in name:
        raise EditError(
            "{text} is no name of a tag: '>' parts it from those above it.",
            id="edit-tag-name-with-separator",
            text=_shown(text),
        )
    return name


def parse_colour(text: str) -> str:
    """A colour in its one form, ``#rrggbb`` in lower case.

    Raises:
        EditError: It is none.
    """
    colour = text.strip().lower()
    if not _COLOUR.fullmatch(colour):
        raise EditError(
            "{text} is no colour: write it as #rrggbb.", id="colour-unusable", text=_shown(text)
        )
    return colour


def _nearest(wanted: str, known: Iterable[str]) -> Message:
    near = nearest(wanted, known)
    if not near:
        return message("there is none yet", id="there-is-none-yet")
    return message("the nearest are {names}", id="nearest-are", names=", ".join(map(repr, near)))


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # Python does not write integers of more than 4,300 digits
        return "a very long number"
    return text if len(text) <= 60 else f"{text[:60]}…"

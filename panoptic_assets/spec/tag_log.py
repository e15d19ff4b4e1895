"""The tag log and its replay.

Belongs here: what an event means, and the tags that a sequence of events leaves. Does not belong
here: where the log is stored, and the words in which a person asks for an event (``tags.edits``).

The log is append-only; tags are never edited in place, but replayed from the events in order. An
event that was undone is left out of the replay, as if it had never happened; what later events did
to tags that are not there then has no effect. So any event can be undone, in any order. Where that
would leave two tags of one name beside each other, the undoing itself says what one of them is
called as long as it holds.

Long because the bundles carry it whole, so that they replay by the very same rules.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any, Literal

HIERARCHY = " > "
"""Joins the names of a tag and of those above it."""

_NUMBERED = re.compile(r"(\d+|remainder)( \(\d+\))?")

LONGEST_NAME = 200
"""Characters of a tag's or a property's name."""

Kind = Literal[
    "save",
    "create_property",
    "create",
    "rename",
    "merge",
    "split",
    "move",
    "recolour",
    "assign",
    "unassign",
    "accept",
    "refuse",
    "import",
    "delete",
    "undo",
    "redo",
]

Pair = tuple[str, str]
"""(tag id, image id)."""

Place = tuple[str, str | None, str]
"""(property, id of the tag above, name as :func:`comparable` has it)."""


@dataclass(frozen=True)
class Tag:
    """A label that images carry, at one place of its property's tree."""

    tag_id: str
    property: str
    name: str
    parent_id: str | None = None
    record_id: str | None = None
    """The record of the clustering whose cluster was saved; None for a tag that a person made."""
    node: str | None = None
    """That cluster."""
    is_remainder: bool = False
    colour: str | None = None
    """``#rrggbb``."""


@dataclass(frozen=True)
class Event:
    """One change. Which fields have a meaning depends on its kind, see :func:`replay`."""

    kind: Kind
    property: str = ""
    tags: tuple[Tag, ...] = ()
    """Tags that it makes; a ``save`` also those that it finds again. Of an ``undo`` or ``redo``,
    those that would have a name that another one beside them has, with the names they get."""
    images: tuple[Pair, ...] = ()
    """Which image gets or loses which tag."""
    tag_ids: tuple[str, ...] = ()
    """Tags that it removes; of an ``accept``, those that its images lose."""
    tag_id: str | None = None
    """The tag that it changes; of a ``merge`` the one that stays."""
    parent_id: str | None = None
    name: str | None = None
    colour: str | None = None
    run_key: str | None = None
    """Of a ``save``."""
    carries_over: bool = False
    """Of a ``save``: whether it goes on from the one before it, so that what people merged or
    deleted since stays so."""
    depth: int | None = None
    """Of a ``save``: the levels of the tree that were asked for. None: all, or of an event that is
    older than this field."""
    only: bool = False
    """Whether the images lose the other tags that they have of the property."""
    event: int | None = None
    """The number of the event that it undoes, or redoes."""


@dataclass(frozen=True)
class TagTables:
    """What the log amounts to."""

    tags: list[Tag] = field(default_factory=list)
    """By property, parents first, siblings by name."""
    images: dict[Pair, int] = field(default_factory=dict)
    """Which image carries which tag, in order, with the number of the event that gave it."""
    properties: list[str] = field(default_factory=list)
    """Sorted; those without a tag too."""
    refused: frozenset[Pair] = frozenset()
    """Pairs that a person refused, or took apart."""
    edited: frozenset[str] = frozenset()
    """Ids of the tags that an edit of a person made, changed, gave or took away."""


def save_event(
    property_name: str,
    run_key: str,
    nodes: Iterable[str],
    records: Mapping[str, tuple[str, str]],
    places: Mapping[str, str],
    remainder: str,
    names: Mapping[str, str] | None = None,
    depth: int | None = None,
) -> Event:
    """Build the event that saves a run's tree under a property that has no tags yet.

    Args:
        property_name: The property to save under.
        run_key: The root run.
        nodes: Every node of the tree, parents before their children.
        records: For each clustering, its record's id and the hash of its output.
        places: For each image id, the deepest node that holds it.
        remainder: The name that the remainder has as a cluster.
        names: For nodes that have one, a name other than their number; see :func:`tag_names`.
        depth: How many levels of the tree to save, all by default; an image below them gets the tag
            of the last node above it that is saved.
    """
    tags: dict[str, Tag] = {}
    for node in nodes:
        if depth is not None and node.count("/") > depth:
            continue
        clustering, _, cluster = node.rpartition("/")
        record_id, output = records[clustering]
        parent = tags.get(clustering)
        tags[node] = Tag(
            # From content, so that saving the same cluster again finds the same tag.
            sha256("\0".join((property_name, output, node)).encode()).hexdigest()[:16],
            property_name,
            (names or {}).get(node, cluster),
            parent.tag_id if parent else None,
            record_id,
            node,
            cluster == remainder,
        )
    cut = None if depth is None else depth + 1
    images = tuple(
        (tags["/".join(node.split("/")[:cut])].tag_id, image_id)
        for image_id, node in sorted(places.items())
    )
    return Event("save", property_name, tuple(tags.values()), images, run_key=run_key)


def tag_names(found: Mapping[str, str], longest: int) -> dict[str, str]:
    """Names of tags from those that a method gave to clusters, unique among siblings.

    Of a path, ``Greek > amphora``, the last name; where siblings share it, with those above it in
    brackets: ``amphora (Greek)``; where that is not enough either, with a number.

    Args:
        found: For nodes whose cluster has a name, that name.
        longest: Characters of a name at most.
    """
    split = {
        node: [part.strip() for part in name.split(HIERARCHY.strip()) if part.strip()]
        for node, name in found.items()
    }
    split = {node: parts for node, parts in split.items() if parts}
    shared = Counter((node.rpartition("/")[0], parts[-1]) for node, parts in split.items())
    taken: dict[str, set[str]] = defaultdict(set)
    names: dict[str, str] = {}
    for node, parts in sorted(split.items()):
        clustering, name = node.rpartition("/")[0], parts[-1]
        if shared[clustering, name] > 1 and parts[:-1]:
            name = f"{name} ({', '.join(parts[:-1])})"
        names[node] = free_name(name[: longest - len(" (99999)")], taken[clustering])
        taken[clustering].add(names[node])
    return names


def latest_save(events: Sequence[Event], property_name: str) -> Event | None:
    """The last save of a property that is not undone; None if there is none."""
    left_out = undone(events)
    for number in range(len(events), 0, -1):
        event = events[number - 1]
        if event.kind == "save" and event.property == property_name and number not in left_out:
            return event
    return None


def undone(events: Sequence[Event]) -> set[int]:
    """Numbers of the events that are undone; the first event of the log has number 1."""
    found: set[int] = set()
    for event in events:
        if event.kind == "undo" and event.event is not None:
            found.add(event.event)
        elif event.kind == "redo" and event.event is not None:
            found.discard(event.event)
    return found


def superseded(events: Sequence[Event]) -> set[int]:
    """Numbers of the undoings and redoings that a later one of the same event takes back."""
    last: dict[int, int] = {}
    found: set[int] = set()
    for number, event in enumerate(events, start=1):
        if event.kind in ("undo", "redo") and event.event is not None:
            if event.event in last:
                found.add(last[event.event])
            last[event.event] = number
    return found


def replay(events: Sequence[Event]) -> TagTables:
    """The tags that the events leave, oldest event first.

    What each kind does, to tags and properties that are there:

    - ``save``: removes ``tag_ids``; makes ``tags``, or, where they are there, points them to their
      node and record and leaves name, place and colour as they are. Each image of ``images`` loses
      what an earlier save gave it, and gets its tag, unless a person gave it another one of the
      property, or took just this one away. If it ``carries_over``, a tag that people merged into
      another one is that other one, and one that they deleted is not made again.
    - ``create_property``, ``create``, ``rename``, ``recolour``, ``move``: a tag that would come to
      lie below itself stays where it is.
    - ``merge``: ``tag_id`` gets the images of ``tag_ids`` and the tags below them, and they go.
    - ``split``: makes ``tags``, which take ``images`` from ``tag_id``. Without ``tags``, images go
      to tags that are there, and that they left the one is remembered as with ``unassign``.
    - ``assign``, ``accept`` (a recommendation), ``import``: make ``tags``, and give them. An image
      for which a tag is accepted is no longer of the remainder: it loses that tag of the property,
      and those in ``tag_ids``, which lay below it.
    - ``unassign`` takes away, ``refuse`` says that it must not be given; both are remembered.
    - ``delete``: removes ``tag_ids`` with all that lies below them.
    - ``undo``, ``redo``: see :func:`undone`. ``tags`` get their names, until the same event is done
      again, or undone again.
    """
    return replayed(events).tables()


def replayed(events: Sequence[Event]) -> "State":
    """:func:`replay`, in a form to which one event more can be applied."""
    left_out = undone(events) | superseded(events)
    state = State()
    for number, event in enumerate(events, start=1):
        if number not in left_out:
            state.apply(event, number)
    return state


class State:
    """The tags at one moment of the log.

    Whatever is asked for each event is kept by what it is asked by: a log of twice the length takes
    twice the time.

    Attributes:
        tags: All tags, by id.
        below: For each tag that has some, the ids of the tags right below it.
        named: For a property, the tag above (None at the top) and a name as :func:`comparable` has
            it, the ids of the tags there that are called so.
        members: For each tag, its own images with the number of the event that gave it.
        carried: For each image, its tags.
        properties: Names of the properties that were ever named.
        spelt: For each of them as :func:`normalised` has it, how it is written.
        refused: For each tag, the images for which a person refused it, or took it from.
        saves: Numbers of the events that were saves.
        saved: For each property, the saves of it since it was last saved anew, oldest first.
        edited: For each tag that an edit of a person made, changed, gave or took away, the number
            of ``saved`` of its property at the last one.
        gone: For each tag that people merged, the one that it went to; for each that they deleted,
            None.
        gone_by: For each of these, the number of the event.
    """

    def __init__(self) -> None:
        self.tags: dict[str, Tag] = {}
        self.below: dict[str, set[str]] = {}
        self.named: dict[Place, set[str]] = {}
        self.members: dict[str, dict[str, int]] = {}
        self.carried: dict[str, set[str]] = defaultdict(set)
        self.properties: set[str] = set()
        self.spelt: dict[str, str] = {}
        self.refused: dict[str, set[str]] = {}
        self.saves: set[int] = set()
        self.saved: dict[str, list[Event]] = {}
        self.edited: dict[str, int] = {}
        self.gone: dict[str, str | None] = {}
        self.gone_by: dict[str, int] = {}

    def tables(self) -> TagTables:
        """All of it in order."""
        pairs = {
            (tag_id, image_id): self.members[tag_id][image_id]
            for tag_id in sorted(self.members)
            for image_id in sorted(self.members[tag_id])
        }
        used = {tag.property for tag in self.tags.values()}
        refused = frozenset(
            (tag_id, image_id)
            for tag_id, images in self.refused.items()
            if tag_id in self.tags
            for image_id in images
        )
        return TagTables(
            in_tree_order(self.tags.values()),
            pairs,
            sorted(self.properties | used),
            refused,
            frozenset(self.edited),
        )

    def apply(self, event: Event, number: int) -> None:
        """Do what an event says; to undo or redo one, the log is replayed anew."""
        if event.kind in ("undo", "redo"):
            for numbered in event.tags:
                self._change(numbered.tag_id, name=numbered.name)
            return
        if event.property and event.property not in self.properties:
            self.properties.add(event.property)
            name = normalised(event.property)
            self.spelt[name] = min(event.property, self.spelt.get(name, event.property))
        tag = self.tags.get(event.tag_id or "")
        if event.kind == "save":
            self._save(event, number)
        elif event.kind == "delete":
            below = self.subtree(event.tag_ids)
            self._take_for_gone(below, None, number)
            self._remove(below)
        elif event.kind in ("create", "assign", "accept", "import"):
            self._make(event.tags)
            self._give(event, number)
        elif event.kind in ("unassign", "refuse"):
            self._take(event)
        elif tag is not None and event.kind == "rename":
            self._change(tag.tag_id, name=event.name or tag.name)
        elif tag is not None and event.kind == "recolour":
            self._change(tag.tag_id, colour=event.colour)
        elif tag is not None and event.kind == "move":
            self._move(tag, event.parent_id)
        elif tag is not None and event.kind == "merge":
            self._merge(tag.tag_id, event.tag_ids, number)
        elif tag is not None and event.kind == "split":
            self._make(event.tags)
            for tag_id, image_id in event.images:
                if tag_id in self.tags and image_id in self.members[tag.tag_id]:
                    self._drop(tag.tag_id, image_id)
                    self._add(tag_id, image_id, number)
                    if not event.tags:
                        self._refuse(tag.tag_id, image_id)
                        self._allow(tag_id, image_id)
        if event.kind != "save":
            named = {event.tag_id or "", *(tag.tag_id for tag in event.tags)}
            named |= {tag_id for tag_id, _ in event.images}
            nb_saved = len(self.saved.get(event.property, ()))
            self._take_for_edited(named & self.tags.keys(), nb_saved)

    def survivor(self, tag_id: str | None) -> Tag | None:
        """The tag of an id, through merges; None if it is not there, or no more."""
        while tag_id in self.gone:
            tag_id = self.gone[tag_id]
        return self.tags.get(tag_id or "")

    def is_deleted(self, tag_id: str | None) -> bool:
        """Whether people deleted a tag, or the one that it was merged into."""
        while tag_id in self.gone:
            tag_id = self.gone[tag_id]
        return tag_id is None

    def of_people(self, tag_id: str) -> set[str]:
        """Ids of the images to which people, and no save, gave a tag."""
        own = self.members[tag_id].items()
        return {image_id for image_id, number in own if number not in self.saves}

    def _save(self, event: Event, number: int) -> None:
        self._remove(set(event.tag_ids))
        self.saves.add(number)
        self.saved.setdefault(event.property, []).append(event)
        if not event.carries_over:
            self.saved[event.property] = [event]
            for tag_id in event.tag_ids:
                self.refused.pop(tag_id, None)
            for tag in event.tags:
                self.gone.pop(tag.tag_id, None)
        saved = {tag.tag_id for tag in event.tags}
        for tag in event.tags:
            known = self.survivor(tag.tag_id)
            if known is None:
                above = self.survivor(tag.parent_id)
                # Deleted, or below one that was: it stays so.
                lost = tag.tag_id in self.gone or (tag.parent_id is not None and above is None)
                if not (lost and event.carries_over):
                    self._make([replace(tag, parent_id=above.tag_id if above else None)])
            elif known.tag_id == tag.tag_id or (known.record_id and known.tag_id not in saved):
                self._change(
                    known.tag_id,
                    record_id=tag.record_id,
                    node=tag.node,
                    is_remainder=tag.is_remainder,
                )
        for saved_id, image_id in event.images:
            own = False
            for other in self._of_property(image_id, event.property):
                if self.members[other][image_id] in self.saves:
                    self._drop(other, image_id)
                else:
                    own = True
            known = self.survivor(saved_id)
            if not own and known and image_id not in self.refused.get(known.tag_id, ()):
                self._add(known.tag_id, image_id, number)

    def _make(self, tags: Iterable[Tag]) -> None:
        for tag in tags:
            if tag.tag_id not in self.tags:
                above = self.tags.get(tag.parent_id or "")
                parent_id = above.tag_id if above and above.property == tag.property else None
                self._put(replace(tag, parent_id=parent_id))
                self.members[tag.tag_id] = {}
                self.gone.pop(tag.tag_id, None)

    def _give(self, event: Event, number: int) -> None:
        if event.only:
            for image_id in {image_id for _, image_id in event.images}:
                for other in self._of_property(image_id, event.property):
                    self._drop(other, image_id)
        for tag_id, image_id in event.images:
            if tag_id in self.tags:
                if event.kind == "accept":
                    self._leave_remainder(tag_id, image_id, event.tag_ids)
                self._allow(tag_id, image_id)
                # What a save gave and a person gives again is the person's from now on.
                if not self._is_of_people(tag_id, image_id):
                    self._add(tag_id, image_id, number)

    def _leave_remainder(self, tag_id: str, image_id: str, below: Collection[str]) -> None:
        for other in self._of_property(image_id, self.tags[tag_id].property):
            if (self.tags[other].is_remainder or other in below) and other != tag_id:
                self._drop(other, image_id)

    def _take(self, event: Event) -> None:
        for tag_id, image_id in event.images:
            if tag_id in self.tags:
                self._refuse(tag_id, image_id)
                if event.kind == "unassign" and image_id in self.members[tag_id]:
                    self._drop(tag_id, image_id)

    def _move(self, tag: Tag, parent_id: str | None) -> None:
        if parent_id is not None:
            above = self.tags.get(parent_id)
            if above is None or above.property != tag.property or self._is_in(above, tag.tag_id):
                return
        self._change(tag.tag_id, parent_id=parent_id)

    def _merge(self, kept_id: str, tag_ids: Iterable[str], event: int) -> None:
        for tag_id in tag_ids:
            gone, kept = self.tags.get(tag_id), self.tags[kept_id]
            if gone is None or tag_id == kept_id or gone.property != kept.property:
                continue
            if self._is_in(kept, tag_id):
                # What lies between the two goes below the one that stays, which moves up.
                self._change(kept_id, parent_id=gone.parent_id)
            own = self.members[kept_id]
            for image_id, number in self.members[tag_id].items():
                if not self._is_of_people(kept_id, image_id):  # else a person gave it, which stays
                    self._add(kept_id, image_id, number)
                self._allow(kept_id, image_id)
            for image_id in self.refused.get(tag_id, set()) - own.keys():
                self._refuse(kept_id, image_id)
            for child_id in sorted(self.below.get(tag_id, ())):
                self._change(child_id, parent_id=kept_id)
            self._remove({tag_id})
            self._take_for_gone({tag_id}, kept_id, event)

    def _is_in(self, tag: Tag, tag_id: str) -> bool:
        """Whether a tag is another one, or lies below it."""
        while tag.tag_id != tag_id:
            if tag.parent_id is None:
                return False
            tag = self.tags[tag.parent_id]
        return True

    def subtree(self, tag_ids: Iterable[str]) -> set[str]:
        """Ids of some tags, as far as they are there, and of those below them."""
        found: set[str] = set()
        waiting = [tag_id for tag_id in tag_ids if tag_id in self.tags]
        while waiting:
            tag_id = waiting.pop()
            if tag_id not in found:
                found.add(tag_id)
                waiting += self.below.get(tag_id, ())
        return found

    def _remove(self, tag_ids: set[str]) -> None:
        """Remove tags; what lies below them and stays comes up to where they were."""
        gone = {tag_id: self.tags[tag_id] for tag_id in tag_ids if tag_id in self.tags}
        for tag_id in gone:
            for child_id in self.below.get(tag_id, set()) - gone.keys():
                parent_id = self.tags[child_id].parent_id
                while parent_id in gone:
                    parent_id = gone[parent_id].parent_id
                self._change(child_id, parent_id=parent_id)
        for tag_id in gone:
            self._leave(self.tags.pop(tag_id))
            self.edited.pop(tag_id, None)
            for image_id in self.members.pop(tag_id):
                self.carried[image_id].discard(tag_id)

    def _take_for_gone(self, tag_ids: set[str], into: str | None, number: int) -> None:
        self.gone |= dict.fromkeys(tag_ids, into)
        self.gone_by |= dict.fromkeys(tag_ids, number)

    def _take_for_edited(self, tag_ids: set[str], nb_saved: int) -> None:
        self.edited |= dict.fromkeys(tag_ids, nb_saved)

    def _change(self, tag_id: str, **fields: Any) -> None:
        """Give a tag that is there other fields."""
        tag = self.tags.get(tag_id)
        if tag is not None:
            self._leave(tag)
            self._put(replace(tag, **fields))

    def _put(self, tag: Tag) -> None:
        self.tags[tag.tag_id] = tag
        self.named.setdefault(place_of(tag), set()).add(tag.tag_id)
        if tag.parent_id is not None:
            self.below.setdefault(tag.parent_id, set()).add(tag.tag_id)

    def _leave(self, tag: Tag) -> None:
        """Forget where a tag is."""
        here = self.named[place_of(tag)]
        here.remove(tag.tag_id)
        if not here:
            del self.named[place_of(tag)]
        if tag.parent_id is not None:
            beside = self.below[tag.parent_id]
            beside.remove(tag.tag_id)
            if not beside:
                del self.below[tag.parent_id]

    def _is_of_people(self, tag_id: str, image_id: str) -> bool:
        number = self.members[tag_id].get(image_id)
        return number is not None and number not in self.saves

    def _refuse(self, tag_id: str, image_id: str) -> None:
        self.refused.setdefault(tag_id, set()).add(image_id)

    def _allow(self, tag_id: str, image_id: str) -> None:
        if tag_id in self.refused:
            self.refused[tag_id].discard(image_id)

    def _of_property(self, image_id: str, property_name: str) -> list[str]:
        return [
            tag_id
            for tag_id in self.carried[image_id]
            if self.tags[tag_id].property == property_name
        ]

    def _add(self, tag_id: str, image_id: str, number: int) -> None:
        self.members[tag_id][image_id] = number
        self.carried[image_id].add(tag_id)

    def _drop(self, tag_id: str, image_id: str) -> None:
        del self.members[tag_id][image_id]
        self.carried[image_id].discard(tag_id)


def free_name(property_name: str, taken: Iterable[str]) -> str:
    """The first of ``Clustering``, ``Clustering (2)``, ``Clustering (3)``, … that is not taken."""
    names = set(taken)
    candidate, number = property_name, 1
    while candidate in names:
        number += 1
        candidate = f"{property_name} ({number})"
    return candidate


def remainders(tags: Iterable[Tag], edited: Collection[str]) -> set[str]:
    """Ids of the tags of remainders, and of those below them that nobody named or used.

    A remainder that was cut by force is one still: its parts are numbers until somebody looks.

    Args:
        tags: Parents first.
        edited: Ids of the tags that people edited.
    """
    found: set[str] = set()
    for tag in tags:
        if tag.is_remainder or (tag.parent_id in found and is_unnamed(tag, edited)):
            found.add(tag.tag_id)
    return found


def is_unnamed(tag: Tag, edited: Collection[str]) -> bool:
    """Whether a tag is a cluster that nobody named or used."""
    return tag.record_id is not None and is_numbered(tag.name) and tag.tag_id not in edited


def is_numbered(name: str) -> bool:
    """Whether a tag is called as its cluster is, so that nobody asked for its name."""
    return _NUMBERED.fullmatch(name) is not None


def paths(tags: Iterable[Tag]) -> dict[str, str]:
    """For each tag id, the names from the root down to the tag: ``9 > 1 > 0``; parents first."""
    result: dict[str, str] = {}
    for tag in tags:
        above = result.get(tag.parent_id) if tag.parent_id else None
        result[tag.tag_id] = f"{above}{HIERARCHY}{tag.name}" if above else tag.name
    return result


def counts(tables: TagTables) -> dict[str, int]:
    """For each tag id, how many images carry the tag or one below it."""
    below: dict[str, set[str]] = {tag.tag_id: set() for tag in tables.tags}
    for tag_id, image_id in tables.images:
        below[tag_id].add(image_id)
    for tag in reversed(tables.tags):  # children come after their parents
        if tag.parent_id:
            below[tag.parent_id] |= below[tag.tag_id]
    return {tag_id: len(images) for tag_id, images in below.items()}


def in_tree_order(tags: Iterable[Tag]) -> list[Tag]:
    """Tags by property, each before those below it; siblings by name, ``9`` before ``10``."""
    children: dict[tuple[str, str | None], list[Tag]] = defaultdict(list)
    for tag in tags:
        children[tag.property, tag.parent_id].append(tag)

    ordered: list[Tag] = []
    for property_name in sorted({property_name for property_name, _ in children}):
        waiting = sorted(children[property_name, None], key=_sibling_order, reverse=True)
        while waiting:
            tag = waiting.pop()
            ordered.append(tag)
            below = children.get((property_name, tag.tag_id), [])
            waiting += sorted(below, key=_sibling_order, reverse=True)
    return ordered


def _sibling_order(tag: Tag) -> tuple[bool, list[tuple[int, int, str]], str]:
    parts = re.split(r"(\d+)", tag.name)
    name = [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]
    return tag.is_remainder, name, tag.tag_id


def normalised(name: str) -> str:
    """A name in the form in which names are compared: Unicode NFC, without outer spaces."""
    return unicodedata.normalize("NFC", name).strip()


def place_of(tag: Tag) -> Place:
    """Where a tag is, by which others that are called so beside it are found."""
    return tag.property, tag.parent_id, comparable(tag.name)


def known_property(name: str, known: Iterable[str]) -> str:
    """The property that a name means, as it is written where it is known; else the name."""
    same = sorted(other for other in known if normalised(other) == normalised(name))
    return same[0] if same else normalised(name)


def comparable(path: str) -> str:
    """A path of tags in the form in which paths are compared."""
    return HIERARCHY.join(normalised(name) for name in path.split(HIERARCHY.strip()))

"""Taking events of the tag log back, and doing them again: what must be asked or said of it.

Belongs here: the log while events are added to it, which event is the last one, which tags get
another name by undoing, and what a person would not expect of it. Does not belong here: what an
event does (``spec.tag_log``), and what people ask for (``tags.edits``).

An event that is undone is left out of the replay. Another tag may have the name by now that a tag
gets back by that: the undoing then gives it a number, ``vase (2)``, for as long as it holds, so
that no two tags beside each other are called the same without a word. And what later events did to
a tag stays done: of a tag that was deleted since, undoing its move shows nothing. That is said.
"""

import heapq
import itertools
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal

from panoptic_assets.spec.tag_log import (
    LONGEST_NAME,
    Event,
    State,
    Tag,
    comparable,
    place_of,
    replayed,
    undone,
)
from panoptic_assets.spec.text import in_quotes
from panoptic_assets.tags.rewinding import RewindableState
from resources.errors import noted

_MANY = 8
"""Events to be taken back in a list of edits, from which on a replay for each takes longer."""

_NUMBER = len(" (99999)")
_ADDED = re.compile(r" \(\d+\)$")
_NAMES = 6
"""Of tags in a note, at most."""


class LogInProgress:
    """A log to which events are added, with the tags that it leaves.

    Args:
        events: The log so far.
        nb_taken_back: How many events will be taken back, or done again, about.

    Attributes:
        events: All of it.
        state: The tags that it leaves.
    """

    def __init__(self, events: Sequence[Event], nb_taken_back: int = 0):
        self.events = list(events)
        self._replayed = RewindableState if nb_taken_back >= _MANY else replayed
        self.state: State = self._replayed(self.events)
        self._undone = undone(self.events)
        self._latest = {
            event.event: number
            for number, event in enumerate(self.events, start=1)
            if event.kind in ("undo", "redo") and event.event
        }
        self._names: dict[str, str] = {}
        self._nb_named = 0
        self._numbered: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
        for event in self.events:
            if event.kind in ("undo", "redo"):
                self._remember_numbers(event.tags)
        # Both with entries that do not count any more, which are dropped when they come up.
        self._to_undo = [-number for number in self._changes() if number not in self._undone]
        self._to_redo = [each.event for each in self.events if each.kind == "undo" and each.event]
        heapq.heapify(self._to_undo)

    def _changes(self) -> Iterable[int]:
        kinds = (event.kind for event in self.events)
        return (n for n, kind in enumerate(kinds, start=1) if kind not in ("undo", "redo"))

    def add(self, event: Event) -> None:
        """Add an event that is no undoing or redoing."""
        self.events.append(event)
        self.state.apply(event, len(self.events))
        heapq.heappush(self._to_undo, -len(self.events))

    def last(self, kind: Literal["undo", "redo"]) -> int | None:
        """The number of the last event that can be undone, or of the one that was undone last."""
        if kind == "undo":
            while self._to_undo and -self._to_undo[0] in self._undone:
                heapq.heappop(self._to_undo)
            return -self._to_undo[0] if self._to_undo else None
        while self._to_redo and self._to_redo[-1] not in self._undone:
            self._to_redo.pop()
        return self._to_redo[-1] if self._to_redo else None

    def is_change(self, number: int) -> bool:
        """Whether an event of this number is there, and no undoing or redoing."""
        there = 0 < number <= len(self.events)
        return there and self.events[number - 1].kind not in ("undo", "redo")

    def is_undone(self, number: int) -> bool:
        """Whether an event is undone."""
        return number in self._undone

    def take_back(
        self, kind: Literal["undo", "redo"], number: int
    ) -> tuple[Event, list[str], Collection[str]]:
        """Undo an event, or do it again.

        Returns the event that says so, what a person must know, and the ids of the tags that are
        other than before.

        Args:
            kind: Which of the two.
            number: Of an event that is not undone, or of one that is.
        """
        meant = self.events[number - 1]
        self.events.append(Event(kind, event=number))
        if kind == "undo":
            self._undone.add(number)
            self._to_redo.append(number)
        else:
            self._undone.remove(number)
            heapq.heappush(self._to_undo, -number)
        changed = self._without_or_with(kind, number)
        named = _named_anew(changed, self.state)
        notes = [*_on_names(named, self.state), *self._on_absence(kind, number, meant, changed)]
        self.events[-1] = Event(kind, event=number, tags=named)
        self.state.apply(self.events[-1], len(self.events))
        notes += self._on_free_names(changed)
        self._remember_numbers(named)
        self._latest[number] = len(self.events)
        return self.events[-1], notes, changed.keys()

    def _without_or_with(self, kind: str, number: int) -> dict[str, Tag | None]:
        """Take an event out of the tags, or into them; for each that is changed, what it was."""
        known = self.state if isinstance(self.state, RewindableState) else None
        if known is not None:
            out = {self._latest[number]} if number in self._latest else set()
            come = {number} if kind == "redo" else set()
            if known.can_rewind(out | {number}):
                return known.rewind(out | ({number} - come), come, self.events)
        before = self.state.tags
        self.state = self._replayed(self.events)
        if known is not None and isinstance(self.state, RewindableState):
            self.state.remember(known)
        return _changed(before, self.state.tags)

    def _on_absence(
        self, kind: str, number: int, meant: Event, changed: Mapping[str, Tag | None]
    ) -> list[str]:
        """What is said of tags that stay away, or go, where a person would not expect it."""
        tags, gone_by = self.state.tags, self.state.gone_by
        made = {tag.tag_id for tag in meant.tags}
        about = {meant.tag_id, *(tag_id for tag_id, _ in meant.images)} - {None}
        if kind == "undo" and meant.kind in ("delete", "merge"):
            about |= set(meant.tag_ids)
        about = about - made if kind == "undo" else about | made
        lost = {tag_id for tag_id, tag in changed.items() if tag and tag_id not in tags}
        away = {tag_id for tag_id in about if tag_id and tag_id not in tags} - lost
        lost = {tag_id for tag_id in lost - made if gone_by.get(tag_id, number) != number}
        if meant.kind == "save":  # what it replaced, and what it made, is another story
            away = set()
        by_event: dict[tuple[bool, int | None], list[str]] = defaultdict(list)
        for tag_id in sorted(away | lost):
            event = gone_by.get(tag_id) if tag_id in self.state.gone else None
            by_event[tag_id in lost, event].append(tag_id)
        return [self._on_absent(*key, by_event[key]) for key in sorted(by_event, key=str)]

    def _on_absent(self, is_lost: bool, event: int | None, tag_ids: list[str]) -> str:
        tags = _listed([in_quotes(name) for name in self._names_of(tag_ids)])
        if event is None:
            return noted(
                "There is no such tag any more, so nothing is seen of it: {tags}.", tags=tags
            )
        if is_lost:
            return noted(
                "Gone by event {event:d}, which can be undone as well: {tags}.",
                event=event,
                tags=tags,
            )
        if self.events[event - 1].kind == "merge":
            return noted(
                "Still merged by event {event:d}, which can be undone as well: {tags}.",
                event=event,
                tags=tags,
            )
        return noted(
            "Still deleted by event {event:d}, which can be undone as well: {tags}.",
            event=event,
            tags=tags,
        )

    def _remember_numbers(self, named: Iterable[Tag]) -> None:
        for tag in named:
            before = comparable(_ADDED.sub("", tag.name))
            self._numbered[tag.property, before][tag.tag_id] = tag.name

    def _on_free_names(self, changed: Mapping[str, Tag | None]) -> list[str]:
        """What is said where no tag has a name any more for which another one got a number."""
        found: dict[str, None] = {}
        for left in filter(None, changed.values()):
            if place_of(left) in self.state.named:
                continue
            for tag_id, name in self._numbered.get((left.property, place_of(left)[2]), {}).items():
                tag = self.state.tags.get(tag_id)
                if tag and (tag.name, tag.parent_id) == (name, left.parent_id):
                    found[in_quotes(name)] = None
        if not found:
            return []
        return [
            noted(
                "No other tag has the name any more, so the number can go; rename it: {tags}.",
                tags=_listed([*found]),
            )
        ]

    def _names_of(self, tag_ids: list[str]) -> list[str]:
        """What tags were called last that are not there."""
        for event in itertools.islice(self.events, self._nb_named, None):
            self._names |= {tag.tag_id: tag.name for tag in event.tags}
            if event.kind == "rename" and event.tag_id and event.name:
                self._names[event.tag_id] = event.name
        self._nb_named = len(self.events)
        return [self._names.get(tag_id, tag_id) for tag_id in tag_ids]


def _changed(before: Mapping[str, Tag], after: Mapping[str, Tag]) -> dict[str, Tag | None]:
    """For each tag that is other than before what it was; None: it was not there."""
    return {
        tag_id: before.get(tag_id)
        for tag_id in {**before, **after}
        if before.get(tag_id) != after.get(tag_id)
    }


def _named_anew(changed: Mapping[str, Tag | None], state: State) -> tuple[Tag, ...]:
    """Tags that come where another one has their name, with names that are free.

    Of several that come at once one keeps it. Tags that were beside each other already with one
    name, as older versions let them be, stay as they are.
    """
    places = {place_of(state.tags[tag_id]) for tag_id in changed if tag_id in state.tags}
    found: list[Tag] = []
    taken: set[tuple[str, str | None, str]] = set()
    for place in sorted(places, key=str):
        here = state.named[place]
        held = {each for each in here if each not in changed or _was_at(changed[each], place)}
        come = sorted(here - held, key=lambda each: (state.tags[each].is_remainder, each))
        for tag_id in come if held else come[1:]:
            tag, number = state.tags[tag_id], 2
            while True:
                name = f"{tag.name[: LONGEST_NAME - _NUMBER]} ({number})"
                free = (tag.property, tag.parent_id, comparable(name))
                if free not in state.named and free not in taken:
                    break
                number += 1
            taken.add(free)
            found.append(Tag(**{**vars(tag), "name": name}))
    return tuple(found)


def _was_at(tag: Tag | None, place: tuple[str, str | None, str]) -> bool:
    return tag is not None and place_of(tag) == place


def _on_names(named: Iterable[Tag], state: State) -> list[str]:
    said = [f"{in_quotes(state.tags[tag.tag_id].name)} → {in_quotes(tag.name)}" for tag in named]
    if not said:
        return []
    return [
        noted(
            "Another tag has the name by now, so a number was added; rename one, or merge them: "
            "{tags}.",
            tags=_listed(said),
        )
    ]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMES]) + (", …" if len(names) > _NAMES else "")

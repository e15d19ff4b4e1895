"""Tags from which single events of the log can be taken out, without replaying all of it.

Belongs here: what each event did and what it rested on, and doing only what hangs together with one
anew. Does not belong here: what an event does (``spec.tag_log``), and what undoing it means for
people (``tags.taking_back``).

Two events that touch nothing in common may change places. So an event is taken out by going back
over it and over those later ones that rest on it, or on these, and by doing the latter again. Of
10,000 edits of 10,000 tags that is a handful, where a replay is all of them: with 500 undoings of
events at random, 1.0 s of two cores, and 3.0 s for 20,000; without these 0.5 and 0.9 s. Undoing
all of 20,000 takes 1.5 s. What changed one tag's name or colour rests on what changed it before:
with 1,000 of these, undoing each from the first on takes 11 s, where 1,000 replays take 4.

Long because each kind of event is taken out of the tags in its own way.
"""

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from panoptic_assets.spec.tag_log import Event, State, Tag, normalised, superseded, undone

Key = tuple[str, str]
"""What an event touches: ``place`` (whether a tag is there, and below which one), ``content`` (its
name and colour), ``images`` (which ones have it, or are refused) or ``below`` (which ones lie below
it) and the tag's id; ``image`` and an image's id (which tags it has); ``pair`` and the ids of both
(whether this one has that)."""

_MOST_IMAGES = 10_000
"""Of an event of which is kept what it did: those of a larger import are as many steps."""


class RewindableState(State):
    """The tags at one moment of a log, with what its events did since the last save.

    Args:
        events: The log.

    """

    def __init__(self, events: Sequence[Event]):
        super().__init__()
        self._nb_fixed = max(
            (
                number
                for number, event in enumerate(events, start=1)
                if event.kind == "save" or len(event.images) > _MOST_IMAGES
            ),
            default=0,
        )
        self._steps: list[Callable[[], object]] | None = None
        self._reads: set[Key] = set()
        self._writes: set[Key] = set()
        self._did: dict[int, list[Callable[[], object]]] = {}
        self._read: dict[int, set[Key]] = {}
        self._written: dict[int, set[Key]] = {}
        self._readers: dict[Key, set[int]] = defaultdict(set)
        self._writers: dict[Key, set[int]] = defaultdict(set)
        self._named: dict[str, set[int]] = defaultdict(set)
        self._spellings: dict[str, set[str]] = defaultdict(set)
        self._before: dict[str, Tag | None] | None = None
        self._nb_edits: dict[str, int] = {}
        left_out = undone(events) | superseded(events)
        for number, event in enumerate(events, start=1):
            if number not in left_out:
                self.apply(event, number)

    def apply(self, event: Event, number: int) -> None:
        """Do what an event says, and keep how to go back over it."""
        if event.property:
            self._named[event.property].add(number)
            self._spellings[normalised(event.property)].add(event.property)
        if number <= self._nb_fixed:
            super().apply(event, number)
            return
        named = {event.tag_id, event.parent_id, *event.tag_ids} - {None}
        named |= {tag_id for tag_id, _ in event.images}
        made = {tag.tag_id for tag in event.tags}
        parents = {tag.parent_id for tag in event.tags} - {None}
        self._reads = {("place", tag_id) for tag_id in named | made | parents if tag_id}
        self._reads |= {_pair(*pair) for pair in event.images}
        if event.kind == "split" and event.tag_id:
            self._reads |= {_pair(event.tag_id, image_id) for _, image_id in event.images}
        # Of an event on a tag that is not there nothing is kept but that it is not.
        self._writes, self._steps = set(), []
        super().apply(event, number)
        self._did[number], self._steps = self._steps, None
        self._read[number], self._written[number] = self._reads, self._writes
        for key in self._reads:
            self._readers[key].add(number)
        for key in self._writes:
            self._writers[key].add(number)

    def remember(self, other: "RewindableState") -> None:
        """Take over what events touched that are left out here; all that it must be is likely."""
        for number in other._read.keys() - self._read.keys():
            if number > self._nb_fixed:
                self._read[number] = other._read[number]
                self._written[number] = other._written[number]

    def can_rewind(self, numbers: Iterable[int]) -> bool:
        """Whether it is known what some events, named by their numbers, did."""
        return all(number in self._read for number in numbers)

    def rewind(
        self, out: Iterable[int], come: Iterable[int], events: Sequence[Event]
    ) -> dict[str, Tag | None]:
        """Take events out, and bring others that were taken out back to their place.

        Returns, for each tag that is other than before, what it was; None: it was not there.

        Args:
            out: Numbers of events that are done.
            come: Numbers of events that were done once.
            events: The log.
        """
        gone, back = set(out), set(come)
        self._before = {}
        again = self._resting_on(gone | back)
        for number in sorted((gone | again) - back, reverse=True):
            self._go_back(number)
        for number in gone:
            self._unname(events[number - 1].property, number)
        waiting = sorted((again - gone) | back)
        while waiting:
            number = heapq.heappop(waiting)
            read, written = self._read[number], self._written[number]
            self.apply(events[number - 1], number)
            if later := self._too_early(number, read, written):
                # It touches something else than it did before: these come after it, too.
                self._go_back(number)
                later |= self._resting_on(later)
                for each in sorted(later, reverse=True):
                    self._go_back(each)
                for each in (number, *later):
                    heapq.heappush(waiting, each)
        before, self._before = self._before, None
        return {tag_id: tag for tag_id, tag in before.items() if tag != self.tags.get(tag_id)}

    def _unname(self, property_name: str, number: int) -> None:
        """An event that named a property is no more: the last one takes the property with it."""
        self._named[property_name].discard(number)
        if self._named[property_name] or property_name not in self.properties:
            return
        self.properties.remove(property_name)
        name = normalised(property_name)
        self._spellings[name].remove(property_name)
        del self.spelt[name]
        if self._spellings[name]:
            self.spelt[name] = min(self._spellings[name])

    def _resting_on(self, numbers: set[int]) -> set[int]:
        """Events that touch what events before them have written, or write what these touch."""
        found: set[int] = set()
        asked: set[tuple[Key, bool]] = set()
        waiting = sorted(numbers)
        while waiting:
            number = heapq.heappop(waiting)
            # What an earlier one touches as well has found all that come after this one.
            keys = {(key, True) for key in self._written[number]}
            keys |= {(key, False) for key in self._read[number]}
            for key, writes in keys - asked:
                for each in self._against(key, writes):
                    if each > number and each not in found and each not in numbers:
                        found.add(each)
                        heapq.heappush(waiting, each)
            asked |= keys
        return found

    def _against(self, key: Key, writes: bool) -> set[int]:
        """Events that cannot change places with one that touches something."""
        found = self._readers.get(key, set()) if writes else set()
        # Tags that come below the same one, or to the same image, do so in any order, and so do
        # images to the same tag.
        if not writes or key[0] in ("place", "content", "pair"):
            found = found | self._writers.get(key, set())
        return found

    def _too_early(self, number: int, read: set[Key], written: set[Key]) -> set[int]:
        """Later events that were done before one, and cannot change places with what it touches
        beside what it touched before.
        """
        found: set[int] = set()
        for keys, writes in (
            (self._written[number] - written, True),
            (self._read[number] - read, False),
        ):
            for key in keys:
                found |= {each for each in self._against(key, writes) if each > number}
        return found

    def _go_back(self, number: int) -> None:
        for step in reversed(self._did.pop(number)):
            step()
        for key in self._read[number]:
            self._readers[key].discard(number)
        for key in self._written[number]:
            self._writers[key].discard(number)

    # What the events do, with the way back.

    def _note(self, tag_id: str) -> None:
        if self._before is not None:
            self._before.setdefault(tag_id, self.tags.get(tag_id))

    def _wrote(self, key: Key, back: Callable[[], object]) -> None:
        if self._steps is not None:
            self._writes.add(key)
            self._steps.append(back)

    def _make(self, tags: Iterable[Tag]) -> None:
        for tag in tags:
            if tag.tag_id in self.tags:
                continue
            self._note(tag.tag_id)
            was_gone, into = tag.tag_id in self.gone, self.gone.get(tag.tag_id)
            super()._make([tag])
            made = self.tags[tag.tag_id]
            self._wrote(("content", tag.tag_id), lambda: None)
            if made.parent_id is not None:
                self._wrote(("below", made.parent_id), lambda: None)
            self._wrote(("place", tag.tag_id), self._unmaking(tag.tag_id, was_gone, into))

    def _unmaking(self, tag_id: str, was_gone: bool, into: str | None) -> Callable[[], object]:
        def back() -> None:
            self._note(tag_id)
            self._leave(self.tags.pop(tag_id))
            del self.members[tag_id]
            if was_gone:
                self.gone[tag_id] = into

        return back

    def _remove(self, tag_ids: set[str]) -> None:
        there = sorted(tag_id for tag_id in tag_ids if tag_id in self.tags)
        for tag_id in there:
            self._note(tag_id)
            self._reads |= {("below", tag_id), ("images", tag_id)}
        kept = [
            (self.tags[t], self.members[t], self.edited.get(t), self._nb_edits.pop(t, 0))
            for t in there
            if self._steps is not None
        ]
        # Steps back are taken from the last one: the tags, then what comes up by their going.
        steps, self._steps = self._steps, None if self._steps is None else []
        super()._remove(tag_ids)
        if steps is None:
            return
        steps += self._steps or []
        self._steps = steps
        for tag, members, edited, nb_edits in kept:
            self._writes |= {("place", tag.tag_id), ("content", tag.tag_id)}
            self._writes |= {("image", image_id) for image_id in members}
            if tag.parent_id is not None:
                self._writes.add(("below", tag.parent_id))
            steps.append(self._putting_back(tag, members, edited, nb_edits))

    def _putting_back(
        self, tag: Tag, members: dict[str, int], edited: int | None, nb_edits: int
    ) -> Callable[[], object]:
        def back() -> None:
            self._note(tag.tag_id)
            self._put(tag)
            self.members[tag.tag_id] = members
            for image_id in members:
                self.carried[image_id].add(tag.tag_id)
            self._nb_edits[tag.tag_id] = nb_edits
            if edited is not None:
                self.edited[tag.tag_id] = edited

        return back

    def _change(self, tag_id: str, **fields: Any) -> None:
        tag = self.tags.get(tag_id)
        if tag is None:
            return
        self._note(tag_id)
        super()._change(tag_id, **fields)
        if self._steps is None:
            return
        if "parent_id" in fields:
            self._writes.add(("place", tag_id))
            ends = {tag.parent_id, fields["parent_id"]} - {None}
            self._writes |= {("below", end) for end in ends if end is not None}
        if fields.keys() - {"parent_id"}:
            self._writes.add(("content", tag_id))
        old = {name: getattr(tag, name) for name in fields}
        self._steps.append(lambda: self._change_back(tag_id, old))

    def _change_back(self, tag_id: str, fields: dict[str, Any]) -> None:
        self._note(tag_id)
        State._change(self, tag_id, **fields)

    def _take_for_gone(self, tag_ids: set[str], into: str | None, number: int) -> None:
        for tag_id in tag_ids:
            before = tag_id in self.gone, self.gone.get(tag_id), self.gone_by.get(tag_id)
            self._wrote(("place", tag_id), self._ungoing(tag_id, *before))
        super()._take_for_gone(tag_ids, into, number)

    def _ungoing(
        self, tag_id: str, was_gone: bool, into: str | None, by: int | None
    ) -> Callable[[], object]:
        def back() -> None:
            if was_gone:
                self.gone[tag_id] = into
            else:
                self.gone.pop(tag_id, None)
            if by is None:
                self.gone_by.pop(tag_id, None)
            else:
                self.gone_by[tag_id] = by

        return back

    def _take_for_edited(self, tag_ids: set[str], nb_saved: int) -> None:
        if self._steps is not None:
            for tag_id in tag_ids:
                before, counted = self.edited.get(tag_id), self._nb_edits.get(tag_id, 0)
                self._writes.add(("images", tag_id))
                if before not in (None, nb_saved):
                    self._reads.add(("images", tag_id))
                    self._wrote(("content", tag_id), self._unediting(tag_id, before))
                elif before is None or counted:
                    # Whichever of them goes, it is edited as long as there is another one.
                    self._nb_edits[tag_id] = counted + 1
                    self._wrote(("images", tag_id), self._uncounting(tag_id))
        super()._take_for_edited(tag_ids, nb_saved)

    def _uncounting(self, tag_id: str) -> Callable[[], object]:
        def back() -> None:
            self._nb_edits[tag_id] -= 1
            if not self._nb_edits[tag_id]:
                self.edited.pop(tag_id, None)

        return back

    def _unediting(self, tag_id: str, before: int | None) -> Callable[[], object]:
        def back() -> None:
            if before is None:
                self.edited.pop(tag_id, None)
            else:
                self.edited[tag_id] = before

        return back

    def _add(self, tag_id: str, image_id: str, number: int) -> None:
        before = self.members[tag_id].get(image_id)
        super()._add(tag_id, image_id, number)
        self._wrote(("image", image_id), self._setting(tag_id, image_id, before))
        self._writes |= {("images", tag_id), _pair(tag_id, image_id)}

    def _drop(self, tag_id: str, image_id: str) -> None:
        before = self.members[tag_id][image_id]
        super()._drop(tag_id, image_id)
        self._wrote(("image", image_id), self._setting(tag_id, image_id, before))
        self._writes |= {("images", tag_id), _pair(tag_id, image_id)}

    def _setting(self, tag_id: str, image_id: str, number: int | None) -> Callable[[], object]:
        def back() -> None:
            if number is None:
                State._drop(self, tag_id, image_id)
            else:
                State._add(self, tag_id, image_id, number)

        return back

    def _refuse(self, tag_id: str, image_id: str) -> None:
        if image_id not in self.refused.get(tag_id, ()):
            self._wrote(_pair(tag_id, image_id), lambda: State._allow(self, tag_id, image_id))
            self._writes.add(("images", tag_id))
        super()._refuse(tag_id, image_id)

    def _allow(self, tag_id: str, image_id: str) -> None:
        if image_id in self.refused.get(tag_id, ()):
            self._wrote(_pair(tag_id, image_id), lambda: State._refuse(self, tag_id, image_id))
            self._writes.add(("images", tag_id))
        super()._allow(tag_id, image_id)

    # What they rest on.

    def _merge(self, kept_id: str, tag_ids: Iterable[str], event: int) -> None:
        self._reads |= {("images", tag_id) for tag_id in (kept_id, *tag_ids)}
        super()._merge(kept_id, tag_ids, event)

    def _is_in(self, tag: Tag, tag_id: str) -> bool:
        above: str | None = tag.tag_id
        while above is not None:
            self._reads.add(("place", above))
            above = self.tags[above].parent_id
        return super()._is_in(tag, tag_id)

    def subtree(self, tag_ids: Iterable[str]) -> set[str]:
        """Ids of some tags, as far as they are there, and of those below them."""
        found = super().subtree(tag_ids)
        self._reads |= {("below", tag_id) for tag_id in found}
        return found

    def _of_property(self, image_id: str, property_name: str) -> list[str]:
        self._reads.add(("image", image_id))
        return super()._of_property(image_id, property_name)


def _pair(tag_id: str, image_id: str) -> Key:
    return "pair", f"{tag_id} {image_id}"

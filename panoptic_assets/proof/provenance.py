"""Where a tag on an image comes from, by the tag log.

Belongs here: which events made a tag what it is, and which one gave it to an image. Does not belong
here: what an event means (``spec.tag_log``), and what lies behind a saved cluster
(``proof.explanation``).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from panoptic_assets.spec.tag_log import Event, Tag, replayed, superseded, undone


@dataclass(frozen=True)
class Origin:
    """How an image came to a tag."""

    numbers: list[int]
    """Events that made, changed or merged the tag, or gave it to the image or took it away, oldest
    first; the first event of the log has number 1. Those that are undone are left out."""
    given: int
    """The event by which the image carries it."""
    saved: int | None
    """The save that it goes back to, if a person has only split or merged what it gave."""
    cluster: Tag | None
    """The tag as that save made it, with its record and node."""


def origin(events: Sequence[Event], tag_id: str, image_id: str) -> Origin:
    """Follow a tag of an image back through the log.

    Args:
        events: The whole log, oldest first.
        tag_id: A tag that is there.
        image_id: An image that carries it.

    Raises:
        KeyError: There is no such tag, or the image does not carry it.
    """
    state = replayed(events)
    given = number = state.members[tag_id][image_id]
    names = _merged_into(state.gone, tag_id)
    known = set(names)
    while events[number - 1].kind == "split":
        # The images of a split were those of the tag that was split.
        above = events[number - 1].tag_id or ""
        before = replayed(_without_later(events, number))
        names = _merged_into(before.gone, above)
        known |= names
        if image_id not in before.members.get(above, {}):
            break
        number = before.members[above][image_id]
    event = events[number - 1]
    cluster = None
    if event.kind == "save":
        mine = {tag for tag, image in event.images if image == image_id}
        after = replayed(_without_later(events, number + 1))
        cluster = next(
            (
                tag
                for tag in event.tags
                if tag.tag_id in mine
                and (tag.tag_id in names or _survives_as(after.survivor(tag.tag_id), names))
            ),
            None,
        )
    left_out = undone(events) | superseded(events)
    numbers = [
        number
        for number, event in enumerate(events, start=1)
        if number not in left_out and _concerns(event, known, image_id)
    ]
    return Origin(numbers, given, number if cluster else None, cluster)


def _survives_as(tag: Tag | None, names: set[str]) -> bool:
    return tag is not None and tag.tag_id in names


def _merged_into(gone: dict[str, str | None], tag_id: str) -> set[str]:
    """A tag, and those that people merged into it, directly or through others."""
    found = {tag_id}
    while more := {name for name, into in gone.items() if into in found} - found:
        found |= more
    return found


def _without_later(events: Sequence[Event], number: int) -> list[Event]:
    """The events before one, without those that are undone by now."""
    left_out = undone(events)
    nothing = Event("undo")  # keeps the numbers of the others
    return [
        nothing if place in left_out or event.kind in ("undo", "redo") else event
        for place, event in enumerate(events[: number - 1], start=1)
    ]


def _concerns(event: Event, tag_ids: set[str], image_id: str) -> bool:
    # Of an accept they are what its own images leave; of the others, what happens to the tags.
    is_about = event.kind != "accept" or any(image == image_id for _, image in event.images)
    return (
        event.tag_id in tag_ids
        or (is_about and not tag_ids.isdisjoint(event.tag_ids))
        or any(tag.tag_id in tag_ids for tag in event.tags)
        or any(image == image_id and tag in tag_ids for tag, image in event.images)
    )

"""The tag log and its replay.

Belongs here: what an event means, and the tags that a sequence of events leaves. Does not belong
here: where the log is stored, and the words in which a person asks for an event.

The log is append-only; tags are never edited in place, but replayed from the events in order.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

HIERARCHY = " > "
"""Joins the names of a tag and of those above it."""


@dataclass(frozen=True)
class Tag:
    """A label that images carry, at one place of its property's tree."""

    tag_id: str
    property: str
    name: str
    parent_id: str | None
    record_id: str
    """The record of the division whose cluster was saved."""
    node: str
    is_remainder: bool


@dataclass(frozen=True)
class Save:
    """The event that makes one run's clusters the tags of one property.

    Replaying it removes every tag that the property had before. ``images`` holds (tag id, image
    id): each image has the tag of the deepest node that holds it.
    """

    property: str
    run_key: str
    tags: tuple[Tag, ...]
    images: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class TagTables:
    """What the log amounts to: all tags, parents first, and which image carries which."""

    tags: list[Tag] = field(default_factory=list)
    images: list[tuple[str, str]] = field(default_factory=list)


def save(
    property_name: str,
    run_key: str,
    nodes: Iterable[str],
    records: dict[str, tuple[str, str]],
    places: dict[str, str],
    remainder: str,
) -> Save:
    """Build the event that saves a run's tree.

    Args:
        property_name: The property to save under.
        run_key: The root run.
        nodes: Every node of the tree, parents before their children.
        records: For each division, its record's id and the hash of its output.
        places: For each image id, the deepest node that holds it.
        remainder: The name that the remainder has as a cluster.
    """
    tags: dict[str, Tag] = {}
    for node in nodes:
        division, _, name = node.rpartition("/")
        record_id, output = records[division]
        parent = tags.get(division)
        tags[node] = Tag(
            # From content, so that saving the same cluster again finds the same tag.
            hashlib.sha256("\0".join((property_name, output, node)).encode()).hexdigest()[:16],
            property_name,
            name,
            parent.tag_id if parent else None,
            record_id,
            node,
            name == remainder,
        )
    images = tuple((tags[node].tag_id, image_id) for image_id, node in sorted(places.items()))
    return Save(property_name, run_key, tuple(tags.values()), images)


def replay(events: Iterable[Save]) -> TagTables:
    """The tags that the events leave, oldest event first."""
    latest: dict[str, Save] = {}
    for event in events:
        latest[event.property] = event
    return TagTables(
        [tag for event in latest.values() for tag in event.tags],
        [pair for event in latest.values() for pair in event.images],
    )


def free_name(property_name: str, taken: Iterable[str]) -> str:
    """The first of ``Clustering``, ``Clustering (2)``, ``Clustering (3)``, … that is not taken."""
    names = set(taken)
    candidate, number = property_name, 1
    while candidate in names:
        number += 1
        candidate = f"{property_name} ({number})"
    return candidate


def paths(tags: Iterable[Tag]) -> dict[str, str]:
    """For each tag id, the names from the root down to the tag: ``9 > 1 > 0``; parents first."""
    result: dict[str, str] = {}
    for tag in tags:
        above = result.get(tag.parent_id) if tag.parent_id else None
        result[tag.tag_id] = f"{above}{HIERARCHY}{tag.name}" if above else tag.name
    return result


def counts(tables: TagTables) -> dict[str, int]:
    """For each tag id, how many images carry the tag or one below it."""
    result = {tag.tag_id: 0 for tag in tables.tags}
    for tag_id, _ in tables.images:
        result[tag_id] += 1
    for tag in reversed(tables.tags):  # children come after their parents
        if tag.parent_id:
            result[tag.parent_id] += result[tag.tag_id]
    return result


def in_tree_order(tags: Iterable[Tag]) -> list[Tag]:
    """Tags by property, each before those below it; siblings by name, ``9`` before ``10``."""
    children: dict[tuple[str, str | None], list[Tag]] = defaultdict(list)
    for tag in tags:
        children[tag.property, tag.parent_id].append(tag)

    def descend(property_name: str, parent_id: str | None) -> Iterator[Tag]:
        for tag in sorted(children[property_name, parent_id], key=_sibling_order):
            yield tag
            yield from descend(property_name, tag.tag_id)

    properties = sorted({property_name for property_name, _ in children})
    return [tag for property_name in properties for tag in descend(property_name, None)]


def _sibling_order(tag: Tag) -> tuple[bool, list[tuple[int, int, str]]]:
    parts = re.split(r"(\d+)", tag.name)
    return tag.is_remainder, [
        (0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part
    ]

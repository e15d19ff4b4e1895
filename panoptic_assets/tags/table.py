"""Tags in the store: the tag log, its replay, and what is recommended.

Belongs here: appending events and keeping the replay. Does not belong here: what events mean
(``spec.tag_log``).
"""

import itertools
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from panoptic_assets.spec import tag_log
from panoptic_assets.spec.tag_log import normalised
from panoptic_assets.spec.text import nearest
from resources.errors import InputError
from resources.lance import LanceStore, quoted
from resources.schemas import SCHEMAS

_WITHOUT_IMAGES = [name for name in SCHEMAS["tag_log"].names if name != "images"]


@dataclass(frozen=True)
class LoggedEvent:
    """An event of the tag log, with who appended it."""

    number: int
    at: datetime
    author: str
    reason: str
    event: tag_log.Event
    nb_images: int = 0
    """Of the event, also where it was read without them."""


def read_log(store: LanceStore, with_images: bool = True) -> list[LoggedEvent]:
    """Every event of the tag log, oldest first; the first one has number 1.

    Args:
        store: The store.
        with_images: Whether the events have their images, which are most of the log.
    """
    columns = SCHEMAS["tag_log"].names if with_images else _WITHOUT_IMAGES
    return _events(store.read("tag_log", columns).sort_by("event_id").to_pylist())


def read_log_of_edits(store: LanceStore) -> list[LoggedEvent]:
    """:func:`read_log` without the images of saves and imports, which may be all of the corpus."""
    rows = store.read("tag_log", _WITHOUT_IMAGES).sort_by("event_id").to_pylist()
    few = "kind NOT LIKE '%save%' AND kind NOT LIKE '%import%'"
    edits = store.read("tag_log", ["event_id", "images"], few)
    images = dict(zip(*(edits[name].to_pylist() for name in edits.column_names), strict=True))
    return _events([row | {"images": images.get(row["event_id"], ())} for row in rows])


def _events(rows: list[dict[str, Any]]) -> list[LoggedEvent]:
    found: list[LoggedEvent] = []
    for row in rows:
        pairs = iter([(pair["tag_id"], pair["image_id"]) for pair in row.get("images", ())])
        for content in json.loads(row["content"]):
            tags = tuple(tag_log.Tag(**tag) for tag in content.pop("tags", ()))
            tag_ids = tuple(content.pop("tag_ids", ()))
            nb_images = content.pop("nb_images", 0)
            images = tuple(itertools.islice(pairs, nb_images))
            event = tag_log.Event(tags=tags, images=images, tag_ids=tag_ids, **content)
            number, reason = len(found) + 1, row["reason"] or ""
            found.append(LoggedEvent(number, row["at"], row["author"], reason, event, nb_images))
    return found


def saved_runs(store: LanceStore) -> dict[str, set[str]]:
    """For each run that was ever saved, the properties; without the images of the log."""
    found: dict[str, set[str]] = defaultdict(set)
    for content in store.read("tag_log", ["content"])["content"].to_pylist():
        for event in json.loads(content):
            if event["kind"] == "save":
                found[event["run_key"]].add(event["property"])
    return dict(found)


def append_events(
    store: LanceStore,
    log: Sequence[LoggedEvent],
    events: Sequence[tag_log.Event],
    author: str,
    reason: str,
) -> bool:
    """Append events to the log, all of them in one row.

    False, and nothing is appended, if the log is longer than ``log`` by now: each of several
    processes that append at once finds its place in turn.
    """
    content = [
        {
            name: value
            # asdict copies one pair after the other: 3 s for 300,000.
            for name, value in asdict(replace(event, images=())).items()
            if value not in (None, (), "", False)
        }
        | ({"nb_images": len(event.images)} if event.images else {})
        for event in events
    ]
    return store.insert(
        "tag_log",
        {
            "event_id": f"{len(log) + 1:012d}",
            "at": datetime.now(UTC),
            "author": author,
            "kind": ", ".join(dict.fromkeys(event.kind for event in events)),
            "reason": reason or None,
            "content": json.dumps(content, ensure_ascii=False),
            "images": [
                {"tag_id": tag_id, "image_id": image_id}
                for event in events
                for tag_id, image_id in event.images
            ],
        },
    )


def write_tags(store: LanceStore, replayed: tag_log.TagTables) -> bool:
    """Make ``tags`` and ``image_tags`` the replay of the log; False if they already were."""
    changed = False
    for table, new in tag_rows(replayed).items():
        if store.version(table) == 0 or not _same_rows(store.read(table), new):
            store.replace(table, new, "true")
            changed = True
    return changed


def tags_are(store: LanceStore, replayed: tag_log.TagTables) -> bool:
    """Whether ``tags`` and ``image_tags`` are what a replay gave."""
    return all(_same_rows(store.read(table), new) for table, new in tag_rows(replayed).items())


def tag_rows(replayed: tag_log.TagTables) -> dict[str, pa.Table]:
    """A replay as rows of ``image_tags`` and ``tags``."""
    properties = {tag.tag_id: tag.property for tag in replayed.tags}
    tag_ids = [tag_id for tag_id, _ in replayed.images]
    image_tags = {
        "tag_id": tag_ids,
        "image_id": [image_id for _, image_id in replayed.images],
        "property": [properties[tag_id] for tag_id in tag_ids],
        "event": list(replayed.images.values()),
    }
    return {
        "image_tags": pa.table(image_tags, schema=SCHEMAS["image_tags"]),
        "tags": pa.Table.from_pylist(
            [asdict(tag) for tag in replayed.tags], schema=SCHEMAS["tags"]
        ),
    }


def _same_rows(stored: pa.Table, new: pa.Table) -> bool:
    order = [(name, "ascending") for name in new.column_names[:2]]
    return stored.select(new.column_names).sort_by(order).equals(new.sort_by(order))


def properties_with_tags(replayed: tag_log.TagTables, asked: str | None = None) -> list[str]:
    """Names of the properties that have tags, sorted; or the one of these that was asked for.

    Raises:
        InputError: There is no tag at all, or none of the property that was asked for.
    """
    known = sorted({tag.property for tag in replayed.tags})
    if not known:
        raise InputError(
            "There are no tags yet: save a run (`panoptic-assets save KEY`) or make a tag "
            "(`panoptic-assets tag create`) first.",
            id="no-tags-yet",
        )
    if asked is None:
        return known
    found = [name for name in known if normalised(name) == normalised(asked)]
    if not found:
        raise InputError(
            "There is no property {property!r} that has tags: choose one that has, such as "
            "{nearest}.",
            id="no-tagged-property",
            property=asked,
            nearest=", ".join(map(repr, nearest(asked, known))),
        )
    return found[:1]


def write_recommendations(store: LanceStore, rows: pa.Table, property_name: str | None) -> bool:
    """Make these rows all recommendations, or all of one property, in one commit.

    False, and nothing is written, if they already were.
    """
    where = "true" if property_name is None else f"property = {quoted(property_name)}"
    stored = store.read("recommendations", where=where)
    if store.version("recommendations") and _same_rows(stored, rows):
        return False
    store.replace("recommendations", rows, where)
    store.optimize("recommendations")
    return True


def read_recommendations(store: LanceStore, property_name: str | None = None) -> pa.Table:
    """The stored proposals, by property, tag id and rank."""
    where = None if property_name is None else f"property = {quoted(property_name)}"
    order = [(name, "ascending") for name in ("property", "tag_id", "rank")]
    return store.read("recommendations", where=where).sort_by(order)

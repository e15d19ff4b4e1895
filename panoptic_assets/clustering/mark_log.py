"""Marks in the store: reading and appending them.

Belongs here: their rows. Does not belong here: what they mean (``spec.marks``), and who makes them
(``labels.labelling``, ``tags.remarking``, ``upkeep.undoing``, ``upkeep.removing``).

A store without the table has no marks: older ones are read on as they are.
"""

import json
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

from panoptic_assets.spec.marks import Kind, Mark, withdrawn
from resources.lance import LanceStore, one_of

_TIDIED_AFTER = 64
"""Marks, each a fragment of the table, which every reader of clusterings reads."""


def read_marks(
    store: LanceStore, with_content: bool = True, kinds: Collection[Kind] | None = None
) -> list[Mark]:
    """Every mark, oldest first.

    Args:
        store: The store.
        with_content: Whether they have what was there before and after, which is most of them.
        kinds: Only those of these kinds.
    """
    where = None if kinds is None else one_of("kind", kinds)
    columns = ["mark_id", "at", "author", "reason", "kind", "key", "act", "dagster_run_id"]
    columns += ["records", *(["content"] if with_content else [])]
    return [
        Mark(
            number=int(row["mark_id"]),
            at=row["at"],
            author=row["author"],
            reason=row["reason"] or "",
            kind=row["kind"],
            key=row["key"],
            act=row["act"] or "",
            dagster_run_id=row["dagster_run_id"] or "",
            records=tuple(row["records"] or ()),
            content=json.loads(row.get("content") or "{}"),
        )
        for row in store.read("marks", columns, where).sort_by("mark_id").to_pylist()
    ]


def withdrawn_records(store: LanceStore) -> frozenset[str]:
    """Ids of the records that do not count, since they were undone or removed."""
    return withdrawn(read_marks(store, with_content=False))


def append_mark(
    store: LanceStore,
    kind: Kind,
    key: str,
    author: str,
    reason: str = "",
    act: str = "",
    dagster_run_id: str = "",
    records: tuple[str, ...] = (),
    content: dict[str, Any] | None = None,
    after: int | None = None,
) -> int | None:
    """Append a mark, in one commit; returns its number.

    Of several processes that append at once, each finds its place in turn.

    Args:
        store: The store.
        kind: What it says.
        key: The run or divided node that it is about.
        author: Who.
        reason: Why.
        act: The act that an undo or redo names.
        dagster_run_id: The Dagster run that makes it.
        records: Ids of records; see :class:`panoptic_assets.spec.marks.Mark`.
        content: What was there before and after.
        after: The number of the last mark that was there when it was decided: if there are more by
            now, nothing is appended, and None is returned. By default it is appended anyway.
    """
    while True:
        known = store.read("marks", ["mark_id"])["mark_id"].to_pylist()
        last = max(map(int, known), default=0)
        if after is not None and last != after:
            return None
        row = {
            "mark_id": f"{last + 1:012d}",
            "at": datetime.now(UTC),
            "author": author,
            "reason": reason or None,
            "kind": kind,
            "key": key,
            "act": act or None,
            "dagster_run_id": dagster_run_id or None,
            "records": list(records),
            "content": json.dumps(content or {}, ensure_ascii=False, default=str),
        }
        if store.insert("marks", row):
            if (last + 1) % _TIDIED_AFTER == 0:
                store.optimize("marks")
            return last + 1
        if after is not None:
            return None

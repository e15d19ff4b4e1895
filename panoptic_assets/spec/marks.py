"""Marks: what was undone, removed, or written in place of something else, as plain data.

Belongs here: what a sequence of marks means, and what stands in the way of undoing an act. Does not
belong here: where marks are stored (``clustering.mark_log``), the events of tags, which can be
undone by their own log (``spec.tag_log``), and undoing (``upkeep.undoing``).

The rows of a clustering are never taken away: a mark says that its record is withdrawn, another one
that it is not any more. So undo and redo are exact, in any number, and as long as the store lasts.

An act has an id that people type: ``greek@2`` for a revision of a clustering, ``mark-5`` for what a
mark says, ``tag-12`` for an event of the tag log. Of the acts on one thing (the clustering of a
key, a run's labels, a run's policy) the last one is undone first, and what was undone last is done
again first: each undo leaves what was there before the act, and each redo what was there after it.

Long because what stands in the way of each kind of act is said beside what its marks mean.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from panoptic_assets.spec.keys import run_key_of
from panoptic_assets.spec.records import Record
from resources.errors import noted

Kind = Literal["undo", "redo", "labels", "policy", "remove", "remark"]

IMAGE = "image:"
TAG = "tag:"
"""Before the id of an image, or of a tag, that a remark is on."""

_MARK = "mark-"
_TAG = "tag-"


@dataclass(frozen=True)
class Mark:
    """One mark. Which fields have a meaning depends on its kind."""

    number: int
    """From 1."""
    at: datetime
    author: str
    reason: str
    kind: Kind
    key: str
    """The run or node that it is about; of a remark also an image or tag, by its id."""
    act: str = ""
    """The id of the act that an ``undo`` or ``redo`` names."""
    dagster_run_id: str = ""
    records: tuple[str, ...] = ()
    """Ids of records: of a ``remove``, and of the ``undo`` of a clustering, those that are
    withdrawn; of ``labels``, those whose clusters have them."""
    content: Mapping[str, Any] = field(default_factory=dict)
    """What was there before and after: of ``labels`` rows (those that changed, where ``part`` says
    so), of a ``policy`` the file's content."""

    @property
    def id(self) -> str:
        """As people name it."""
        return mark_id(self.number)


def mark_id(number: int) -> str:
    """The id of the act that a mark says."""
    return f"{_MARK}{number}"


def tag_id(number: int) -> str:
    """The id of the act that is an event of the tag log."""
    return f"{_TAG}{number}"


def clustering_id(record: Record) -> str:
    """The id of the act that made a record."""
    return f"{record.key}@{record.revision}"


def number_of_tag_event(act: str) -> int | None:
    """The number of the event that an id names; None if it names another kind of act."""
    number = act.removeprefix(_TAG)
    return int(number) if act.startswith(_TAG) and number.isdecimal() else None


def undone_acts(marks: Iterable[Mark]) -> dict[str, Mark]:
    """For each act that is undone, the mark that undid it last; in the order of these."""
    found: dict[str, Mark] = {}
    for mark in marks:
        if mark.kind == "undo":
            found.pop(mark.act, None)
            found[mark.act] = mark
        elif mark.kind == "redo":
            found.pop(mark.act, None)
    return found


def removals(marks: Sequence[Mark]) -> list[Mark]:
    """The removals that are not undone, oldest first."""
    left_out = undone_acts(marks)
    return [mark for mark in marks if mark.kind == "remove" and mark.id not in left_out]


def withdrawn(marks: Sequence[Mark]) -> frozenset[str]:
    """Ids of the records that do not count: undone, or removed, and not brought back since."""
    found = {record_id for mark in removals(marks) for record_id in mark.records}
    for mark in undone_acts(marks).values():
        found.update(mark.records)
    return frozenset(found)


def labels_due(marks: Sequence[Mark]) -> dict[str, list[dict[str, Any]]]:
    """For each run that was ever labelled with a mark, the rows of the labels that it should have.

    Args:
        marks: All of them, oldest first.
    """
    left_out = undone_acts(marks)
    found: dict[str, list[dict[str, Any]]] = {}
    for mark in marks:
        if mark.kind == "labels":
            found.setdefault(mark.key, list(mark.content.get("before") or []))
            if mark.id not in left_out:
                found[mark.key] = labels_after(found[mark.key], mark)
    return found


def labels_after(
    rows: Sequence[Mapping[str, Any]], mark: Mark, undone: bool = False
) -> list[dict[str, Any]]:
    """The rows of a run's labels once they are what a mark says.

    Args:
        rows: Those that are there.
        mark: Of kind ``labels``. Of one that says a part, the labels of other clusters stay.
        undone: Whether they are to be as before it.
    """
    before, after = mark.content.get("before") or [], mark.content.get("after") or []
    come, go = (before, after) if undone else (after, before)
    return labels_with(rows, go, come) if mark.content.get("part") else list(come)


def labels_with(
    rows: Iterable[Mapping[str, Any]],
    gone: Iterable[Mapping[str, Any]],
    come: Iterable[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Rows of labels without those of some clusters, and with others.

    Args:
        rows: Those that are there.
        gone: Rows whose clusters lose their labels.
        come: Rows that take the place of what their clusters had.
    """
    come = list(come)
    left_out = {(row["record_id"], row["cluster"]) for row in (*gone, *come)}
    kept = [row for row in rows if (row["record_id"], row["cluster"]) not in left_out]
    return [dict(row) for row in (*kept, *come)]


def remarks_due(marks: Iterable[Mark]) -> list[Mark]:
    """The remarks that count, oldest first: of those on one thing the last one, if it has a text.

    A cluster that was made again is another thing.

    Args:
        marks: Of the kinds ``remark``, ``undo`` and ``redo``, or all; oldest first.
    """
    made = list(marks)
    left_out = undone_acts(made)
    found: dict[tuple[str, tuple[str, ...]], Mark] = {}
    for mark in made:
        if mark.kind == "remark" and mark.id not in left_out:
            found.pop((mark.key, mark.records), None)
            found[mark.key, mark.records] = mark
    return [mark for mark in found.values() if mark.content.get("text")]


def put_back_by_hand(marks: Sequence[Mark], bytes_of: Callable[[str], bytes | None]) -> list[Mark]:
    """What marks would say of policies whose files are as they were before: each is undone.

    Somebody has put the file back, or the process that chose the policy was killed before it wrote
    it: what a file says is what counts. Of a run only the last policy can be meant.

    Args:
        marks: All of them, oldest first.
        bytes_of: What is in the file of a run now; None: there is none.
    """

    def as_before(mark: Mark) -> bool:
        before, now = mark.content.get("before"), bytes_of(mark.key)
        return now == (None if before is None else before.encode())

    left_out = undone_acts(marks)
    last = {m.key: m for m in marks if m.kind == "policy" and m.id not in left_out}
    return [
        Mark(
            # Where it would come if it were made now, without being one more.
            number=marks[-1].number,
            at=mark.at,
            author=mark.author,
            reason="its file is as it was before",
            kind="undo",
            key=mark.key,
            act=mark.id,
        )
        for mark in last.values()
        if as_before(mark)
    ]


def is_below(key: str, above: str) -> bool:
    """Whether a key is another one, or lies below it in its tree."""
    return key == above or key.startswith(f"{above}/")


@dataclass(frozen=True)
class Known:
    """All that decides whether an act can be undone or done again."""

    marks: Sequence[Mark]
    """Oldest first."""
    records: Sequence[Record]
    """Every one that there ever was and can be read."""
    properties: Mapping[str, Collection[str]] = field(default_factory=dict)
    """For each property that has tags, the ids of the records that these were saved from."""

    @property
    def left(self) -> list[Record]:
        """The records that are not withdrawn."""
        gone = withdrawn(self.marks)
        return [record for record in self.records if record.record_id not in gone]

    def revision(self, act: str) -> list[Record]:
        """The records of a clustering's revision, the one that counts last; none if there is none.

        They are several where two processes computed a key at once.
        """
        found = [record for record in self.records if clustering_id(record) == act]
        return sorted(found, key=lambda record: record.order)

    def mark(self, act: str) -> Mark | None:
        """The mark that an id names; None if there is none."""
        return next((mark for mark in self.marks if mark.id == act), None)

    def against_undo(self, act: str) -> list[str]:
        """What stands in the way of undoing an act that is not undone, in words; none: nothing."""
        mark = self.mark(act)
        if mark is None:
            return self._against_withdrawing(self.revision(act))
        if mark.kind == "remove":
            return self._against_bringing_back(mark)
        later = [other.id for other in self._of_same_thing(mark) if other.number > mark.number]
        if mark.kind == "labels":
            later += self._removed_since(mark.key, mark.number)
        return later

    def against_redo(self, act: str) -> list[str]:
        """What stands in the way of doing an act again that is undone, in words."""
        mark = self.mark(act)
        if mark is None:
            return self._against_restoring(act)
        if mark.kind == "remove":
            now = {r.record_id for r in self.left if is_below(r.key, mark.key)}
            other = now.symmetric_difference(mark.records)
            changed = {clustering_id(r) for r in self.records if r.record_id in other}
            return sorted(changed) + self._also_removed(mark.key, self._undone_by(act))
        since = [other.id for other in self._of_same_thing(mark) if other.number > mark.number]
        if mark.kind == "labels":
            since += self._removed_since(mark.key, self._undone_by(act))
            left = {record.record_id for record in self.left}
            named = {record.record_id: clustering_id(record) for record in self.records}
            since += sorted({named[r] for r in mark.records if r not in left and r in named})
        return since or self._other_underneath(mark)

    def _against_withdrawing(self, revision: Sequence[Record]) -> list[str]:
        ids = {record.record_id for record in revision}
        [*_, counts] = revision
        found = [
            clustering_id(record)
            for record in self.left
            if record.record_id not in ids and any(rests_on(record, one) for one in revision)
        ]
        later = [r for r in self.left if r.key == counts.key and r.revision > counts.revision]
        found += [clustering_id(record) for record in later]
        left_out = undone_acts(self.marks)
        found += [
            noted("{act} (labels)", act=mark.id)
            for mark in self.marks
            if mark.kind == "labels" and mark.id not in left_out and ids & set(mark.records)
        ]
        found += [
            noted("property {name} (saved tags)", name=repr(name))
            for name, saved_from in sorted(self.properties.items())
            if ids & set(saved_from)
        ]
        return list(dict.fromkeys(found))

    def _against_restoring(self, act: str) -> list[str]:
        """Of a clustering that was undone."""
        revision = self.revision(act)
        [*_, record] = revision
        later = [r for r in self.left if r.key == record.key and r.revision > record.revision]
        if later:
            return [clustering_id(r) for r in later]
        done = self._undone_by(act)
        if gone := self._removed_since(record.key, done):
            return gone
        if back := self._brought_back_since(record.key, done):
            return back
        mine = sorted((r for r in self.records if r.key == record.key), key=lambda r: r.order)
        return self._underneath(act, map(clustering_id, mine)) or self._missing_above(record)

    def _undone_by(self, act: str) -> int:
        """The number of the mark that undid an act last."""
        return undone_acts(self.marks)[act].number

    def _done_by(self, mark: Mark) -> int:
        """The number of the mark that did last what a mark says: its own, or that of a redo."""
        again = (m.number for m in self.marks if m.kind == "redo" and m.act == mark.id)
        return max(again, default=mark.number)

    def _removals_since(self, number: int) -> list[Mark]:
        """The removals that are not undone, and were not there, or were undone, before a mark."""
        then = {m.id for m in self._removals_before(number)}
        return [m for m in removals(self.marks) if m.id not in then]

    def _removals_before(self, number: int) -> list[Mark]:
        return removals([m for m in self.marks if m.number < number])

    def _removed_since(self, key: str, number: int) -> list[str]:
        """Those of them that took a key away."""
        return [m.id for m in self._removals_since(number) if is_below(key, m.key)]

    def _also_removed(self, key: str, number: int) -> list[str]:
        """Those of them that took a key away, or something below it."""
        since = self._removals_since(number)
        return [m.id for m in since if is_below(key, m.key) or is_below(m.key, key)]

    def _brought_back_since(self, key: str, number: int) -> list[str]:
        """The removals that had taken a key away before a mark, and are undone by now."""
        now = undone_acts(self.marks)
        return [m.id for m in self._removals_before(number) if m.id in now and is_below(key, m.key)]

    def _other_underneath(self, mark: Mark) -> list[str]:
        """Acts on the same thing that this one was made on and that are undone, or the reverse."""
        before = [m for m in self.marks if m.number < mark.number]
        then, now = undone_acts(before), undone_acts(self.marks)
        mine = [m for m in self._all_of_same_thing(mark) if m.number < mark.number]
        return [m.id for m in mine if (m.id in then) is not (m.id in now)]

    def _underneath(self, act: str, acts: Iterable[str]) -> list[str]:
        """Acts before this one on the same thing that were undone after it: they come first."""
        left_out = undone_acts(self.marks)
        mine = self._undone_by(act)
        before = list(dict.fromkeys(acts))
        before = before[: before.index(act)]
        return [other for other in before if other in left_out and left_out[other].number > mine]

    def _missing_above(self, record: Record) -> list[str]:
        """The clustering that made the cluster, if it is not the one that counts now."""
        if record.parent_record is None:
            return []
        made_by = {each.record_id: each for each in self.records}.get(record.parent_record)
        if made_by is None:
            return []
        now = newest(self.left).get(made_by.key)
        if now is None:
            return [clustering_id(made_by)]
        return [] if now.output == record.parent_output else [clustering_id(now)]

    def _against_bringing_back(self, removal: Mark) -> list[str]:
        since = [
            clustering_id(record)
            for record in self.left
            if record.run_key == run_key_of(removal.key) and is_below(record.key, removal.key)
        ]
        if since:
            return since
        later = self._also_removed(removal.key, self._done_by(removal))
        if later := [act for act in later if act != removal.id]:
            return later
        above = removal.key.rpartition("/")[0]
        if above and above not in newest(self.left):
            by = [m.id for m in removals(self.marks) if is_below(above, m.key)]
            gone = newest(r for r in self.records if r.record_id in removal.records)
            return by or self._missing_above(gone[removal.key])
        return []

    def _all_of_same_thing(self, mark: Mark) -> list[Mark]:
        return [m for m in self.marks if m.kind == mark.kind and m.key == mark.key]

    def _of_same_thing(self, mark: Mark) -> list[Mark]:
        left_out = undone_acts(self.marks)
        return [other for other in self._all_of_same_thing(mark) if other.id not in left_out]


def newest(records: Iterable[Record]) -> dict[str, Record]:
    """For each key the record with the greatest order."""
    found: dict[str, Record] = {}
    for record in records:
        if record.key not in found or found[record.key].order < record.order:
            found[record.key] = record
    return found


def rests_on(record: Record, other: Record) -> bool:
    """Whether a clustering was made from the answer of another one.

    It divides a cluster of it, has it in scope, combines it, or continues it.
    """
    if record.parent_record == other.record_id:
        return True
    if record.refreshed is not None and record.refreshed.record_id == other.record_id:
        return True
    combined = [entry for entry in record.inputs if entry.table == "assignments"]
    keys: list[str] = next(iter(record.config["method"].values())).get("runs", [])
    return any(
        key == other.key and entry.sha256 == other.output
        for key, entry in zip(keys, combined, strict=False)
    )

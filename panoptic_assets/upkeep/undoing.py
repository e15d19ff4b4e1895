"""The act of undoing an act, or of doing it again; and the history of all acts.

Belongs here: which act is meant, why it cannot be undone, and what undoing does to the store and to
the files. Does not belong here: what marks mean and what stands in the way (``spec.marks``), the
events of tags, which their own log undoes (``tags.editing``), and what Dagster is told of it
(``upkeep.changes``).

Long because the history and what is meant by an act without a name are read from the same marks,
records and events as what stands in the way of undoing it.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

from panoptic_assets.clustering.mark_log import append_mark, read_marks
from panoptic_assets.clustering.table import all_records
from panoptic_assets.spec import marks, tag_log
from panoptic_assets.spec.amounts import (
    clusters_in_words,
    images_in_words,
    labels_in_words,
    records_in_words,
)
from panoptic_assets.spec.marks import Known, Mark
from panoptic_assets.spec.people import system_user
from panoptic_assets.spec.records import Record
from panoptic_assets.spec.tag_words import in_words
from panoptic_assets.tags.table import LoggedEvent, read_log_of_edits
from resources.errors import InputError, Message, message, text_of
from resources.lance import LanceStore

if TYPE_CHECKING:  # the history is read without
    from panoptic_assets.orchestration.acting import Context
    from panoptic_assets.spec.resolution import Document
    from panoptic_assets.upkeep.config import UndoConfig

_NAMES_SHOWN = 6

BytesOf = Callable[[str], bytes | None]


@dataclass(frozen=True)
class PastAct:
    """Something that somebody did."""

    id: str
    """``greek@2``, ``tag-12``, ``mark-5``."""
    at: datetime
    author: str
    """Empty where it is not known."""
    kind: str
    key: str
    """The run, the divided node, or the property; of a remark what it is on."""
    said: Message
    """What it did, for people."""
    reason: str
    undone: bool
    dagster_run_id: str
    """Empty where it is not known: the tag log names none."""
    named: tuple[str, ...] = ()
    """Of an undo or redo of an event of tags: names that tags got, since others had theirs."""
    text: str = field(init=False)
    """``said`` in English."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", text_of(self.said))


@dataclass(frozen=True)
class UndoPlan:
    """An act that can be undone, or done again; not one of tags."""

    context: "Context"
    config: "UndoConfig"
    act: str
    redo: bool
    key: str
    text: str
    """What the act did, for people."""
    known: Known

    @property
    def mark(self) -> Mark | None:
        """What the act says; None of a clustering."""
        return self.known.mark(self.act)


@dataclass(frozen=True)
class Undone:
    """An act that was undone, or done again."""

    plan: UndoPlan
    id: str
    """Of the mark that says so."""

    @property
    def tag_events(self) -> list[int]:
        """Events of the tag log that belong to it, and are to be undone or done again with it."""
        mark = self.plan.mark
        return list(mark.content.get("tag_events", ())) if mark and mark.kind == "remove" else []


def history(store: LanceStore, bytes_of: BytesOf, authors: Mapping[str, str]) -> list[PastAct]:
    """Every act, oldest first.

    Args:
        store: The store.
        bytes_of: What is in the file of a run; None: there is none.
        authors: Who started Dagster runs, by their ids.
    """
    known = Known(_marks(store, bytes_of), list(all_records(store).values()))
    log = read_log_of_edits(store)
    parts = _parts_of_removals(known, log)
    return [act for act in _history(known, log, authors) if act.id not in parts]


def _parts_of_removals(known: Known, log: list[LoggedEvent]) -> set[str]:
    """Ids of the events of tags that are one act with a removal: deletions, and undoing these.

    Not of those that are not as the removal is, since a process was killed in between, or somebody
    has undone the event alone.
    """
    left_out, undone = marks.undone_acts(known.marks), tag_log.undone([e.event for e in log])
    found = {
        number
        for mark in known.marks
        if mark.kind == "remove"
        for number in mark.content.get("tag_events", ())
        if (number in undone) is (mark.id in left_out)
    }
    for entry in log:
        if entry.event.kind in ("undo", "redo") and entry.event.event in found:
            found.add(entry.number)
    return {marks.tag_id(number) for number in found}


def _marks(store: LanceStore, bytes_of: BytesOf) -> list[Mark]:
    """All marks, and at their end those that nobody made of policies that were put back by hand."""
    made = read_marks(store)
    return [*made, *marks.put_back_by_hand(made, bytes_of)]


def settle_policies(context: "Context") -> list[str]:
    """Make the marks that policies are undone whose files are as they were; the runs.

    Before somebody makes another one of a policy: afterwards it would not be seen any more.

    Args:
        context: What is read and written.
    """
    found = marks.put_back_by_hand(read_marks(context.store), context.registry.run_bytes)
    for mark in found:
        append_mark(
            context.store,
            "undo",
            mark.key,
            mark.author,
            mark.reason,
            act=mark.act,
            dagster_run_id=context.dagster_run_id,
        )
    return [mark.key for mark in found]


def _history(known: Known, log: list[LoggedEvent], authors: Mapping[str, str]) -> list[PastAct]:
    # Of the marks that nobody made, each has the number of the last one.
    made = list({mark.number: mark for mark in reversed(known.marks)}.values())[::-1]
    records, left_out = known.records, marks.undone_acts(known.marks)
    by_act: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_act[marks.clustering_id(record)].append(record)
    found = []
    for act, revision in by_act.items():
        record = max(revision, key=lambda record: record.order)
        author = authors.get(record.dagster_run_id, "")
        found.append(_of_clustering(act, record, author, act in left_out))
    found += [_of_mark(mark, mark.id in left_out) for mark in made]
    found += _of_tags(log)
    return sorted(found, key=lambda act: act.at)


def _of_clustering(act: str, record: Record, author: str, is_undone: bool) -> PastAct:
    method = next(iter(record.config["method"]))
    nb_images = record.counts.clustered + record.counts.remainder
    kind = "divide" if "/" in record.key else "cluster"
    return PastAct(
        id=act,
        at=record.finished_at,
        author=author,
        kind=record.refreshed.policy if record.refreshed else kind,
        key=record.key,
        said=message(
            "{method}: {clusters} of {images}",
            id="act-clustered",
            method=method,
            clusters=clusters_in_words(record.nb_clusters),
            images=images_in_words(nb_images),
        ),
        reason="",
        undone=is_undone,
        dagster_run_id=record.dagster_run_id,
    )


def _of_mark(mark: Mark, is_undone: bool) -> PastAct:
    return PastAct(
        id=mark.id,
        at=mark.at,
        author=mark.author,
        kind=mark.kind,
        key=mark.key,
        said=_said_of_mark(mark),
        reason=mark.reason,
        undone=is_undone,
        dagster_run_id=mark.dagster_run_id,
    )


def _said_of_mark(mark: Mark) -> Message:
    content = mark.content
    if mark.kind == "labels" and (names := content.get("names")):
        given = [
            message("{node}: {name}", id="act-named-cluster", node=node, name=name)
            if name
            else message("{node}: no name", id="act-took-name", node=node)
            for node, name in names.items()
        ]
        return _several(given)
    if mark.kind == "labels":
        nb_labels = sum(row["label"] is not None for row in content.get("after", ()))
        methods = sorted({row["method"] for row in content.get("after", ())})
        if not methods:
            return message("no labels", id="act-took-labels")
        labels = labels_in_words(nb_labels)
        methods_text = ", ".join(methods)
        return message(
            "{labels} by {methods}", id="act-labelled", labels=labels, methods=methods_text
        )
    if mark.kind == "policy":
        before, after = [*map(_policy_text, content.get("policies", ())), "?", "?"][:2]
        return message("{before} → {after}", id="changed-into", before=before, after=after)
    if mark.kind == "remove":
        records = records_in_words(len(mark.records))
        if content.get("tag_events"):
            return message(
                "{records} and the tags saved from it", id="act-removed-with-tags", records=records
            )
        return records
    if mark.kind == "remark":
        text = " ".join(str(content.get("text", "")).split())
        about = content.get("about", "")
        said = message("{text}", id="act-text", text=text)
        if not text:
            said = message("taken away", id="act-took-remark")
        if about == mark.key:
            return said
        return message("{about}: {remark}", id="act-remarked", about=about, remark=said)
    return message("{text}", id="act-text", text=mark.act)


def _several(said: list[Message]) -> Message:
    """Messages one after the other, of which some are left out where they are many."""
    whole, *others = said
    for one in others[: _NAMES_SHOWN - 1]:
        whole = message("{first}, {then}", id="one-then-another", first=whole, then=one)
    if more := len(said[_NAMES_SHOWN:]):
        return message("{first} and {more:,} more", id="first-and-more", first=whole, more=more)
    return whole


def _in_the_way(acts: list[str]) -> Message:
    return _several([message("{what}", id="act-in-the-way", what=act) for act in acts])


def _policy_text(policy: object) -> str:
    if isinstance(policy, Mapping):
        [(name, fields)] = policy.items()
        return f"{name} ({', '.join(f'{field} {value}' for field, value in fields.items())})"
    return str(policy)


def _of_tags(log: list[LoggedEvent]) -> list[PastAct]:
    events = [entry.event for entry in log]
    left_out = tag_log.undone(events)
    return [
        PastAct(
            id=marks.tag_id(entry.number),
            at=entry.at,
            author=entry.author,
            kind=entry.event.kind,
            key=entry.event.property,
            # By which an undo is followed to what it undid.
            said=message("{text}", id="act-text", text=marks.tag_id(entry.event.event))
            if entry.event.event is not None
            else said,
            reason=entry.reason,
            undone=entry.number in left_out,
            dagster_run_id="",
            named=_names_given(entry.event),
        )
        for entry, said in zip(log, in_words(events, [e.nb_images for e in log]), strict=True)
    ]


def _names_given(event: tag_log.Event) -> tuple[str, ...]:
    return tuple(tag.name for tag in event.tags) if event.kind in ("undo", "redo") else ()


def find_act(
    store: LanceStore, bytes_of: BytesOf, act: str = "", redo: bool = False
) -> tuple[PastAct, bool]:
    """The act that is meant, and whether it is to be done again.

    To undo an undo is to do again what it undid, and the other way round.

    Args:
        store: The store.
        bytes_of: What is in the file of a run; None: there is none.
        act: Its id; by default the last one that can be undone, or the one that was undone last.
        redo: Whether it is to be done again.

    Raises:
        InputError: There is no such act, it is undone already, or is not; or nothing is left.
    """
    return _find(store, _known(store, _marks(store, bytes_of)), act, redo)


def _known(store: LanceStore, made: list[Mark]) -> Known:
    return Known(made, list(all_records(store).values()), _properties(store))


def _find(store: LanceStore, known: Known, act: str, redo: bool) -> tuple[PastAct, bool]:
    log = read_log_of_edits(store)
    acts = _history(known, log, {})
    if act:
        return _named(act.strip(), redo, acts, known)
    return _last(redo, acts, log, known), redo


def _named(act: str, redo: bool, acts: list[PastAct], known: Known) -> tuple[PastAct, bool]:
    by_id = {each.id: each for each in acts}
    while act in by_id and by_id[act].kind in ("undo", "redo"):
        redo = redo != (by_id[act].kind == "undo")
        act = by_id[act].text
    if act not in by_id:
        raise InputError(
            "There is no act {act!r}: `panoptic-assets history` lists them, such as {examples}.",
            id="no-such-act",
            act=act,
            examples=", ".join(each.id for each in acts[-3:]) or message("none yet", id="none-yet"),
        )
    found = by_id[act]
    if redo and not found.undone:
        raise InputError(
            "{act} is not undone: there is nothing to do again.", id="act-not-undone", act=act
        )
    if found.undone and not redo:
        raise InputError(
            "{act} is undone already: `panoptic-assets redo {act}` does it again.",
            id="act-undone-already",
            act=act,
        )
    removed = _removed_by(act, known)
    if removed and not redo:
        raise InputError(
            "{act} was removed by {removal}: undo that first (`panoptic-assets undo {removal}`).",
            id="act-removed",
            act=act,
            removal=removed,
        )
    return found, redo


def _last(redo: bool, acts: list[PastAct], log: list[LoggedEvent], known: Known) -> PastAct:
    parts = _parts_of_removals(known, log)
    if redo:
        by_id = {act.id: act for act in acts}
        when = {act: mark.at for act, mark in marks.undone_acts(known.marks).items()}
        left_out = tag_log.undone([entry.event for entry in log])
        for entry in log:
            if entry.event.kind == "undo" and entry.event.event in left_out:
                when[marks.tag_id(entry.event.event)] = entry.at
        candidates = sorted(when.keys() - parts, key=lambda act: when[act])
        if candidates:
            return by_id[candidates[-1]]
        raise InputError("Nothing is undone: there is nothing to do again.", id="nothing-to-redo")
    for act in reversed(acts):
        if act.undone or act.kind in ("undo", "redo") or _removed_by(act.id, known):
            continue
        if act.id in parts:
            continue
        # The clock of another machine may be behind: what an act rests on is no later one.
        if marks.number_of_tag_event(act.id) is not None or not known.against_undo(act.id):
            return act
    raise InputError("There is nothing to undo.", id="nothing-to-undo")


def obstacles(
    store: LanceStore, bytes_of: BytesOf, acts: Mapping[str, bool]
) -> dict[str, list[str]]:
    """What stands in the way of undoing acts, or of doing those again that are undone.

    Args:
        store: The store.
        bytes_of: What is in the file of a run; None: there is none.
        acts: For each act of the history that is no undo or redo, whether it is undone.
    """
    known = _known(store, _marks(store, bytes_of))
    found: dict[str, list[str]] = {}
    for act, is_undone in acts.items():
        if marks.number_of_tag_event(act) is not None:
            found[act] = []  # the tag log undoes any event, in any order
        elif is_undone:
            found[act] = known.against_redo(act)
        else:
            removal = _removed_by(act, known)
            found[act] = [removal] if removal else known.against_undo(act)
    return found


def _removed_by(act: str, known: Known) -> str | None:
    """The removal that took a clustering away, if one did."""
    ids = {record.record_id for record in known.revision(act)}
    return next((m.id for m in marks.removals(known.marks) if ids & set(m.records)), None)


def _properties(store: LanceStore) -> dict[str, set[str]]:
    """For each property, the records that its tags were saved from."""
    found: dict[str, set[str]] = defaultdict(set)
    rows = store.read("tags", ["property", "record_id"])
    for row in rows.to_pylist():
        if row["record_id"]:
            found[row["property"]].add(row["record_id"])
    return dict(found)


def prepare(context: "Context", key: str, given: "Document") -> UndoPlan:
    """Find the act that is to be undone or done again, and what stands in the way.

    Args:
        context: What is read.
        key: Nothing.
        given: Configuration.

    Raises:
        InputError: There is no such act, or something rests on it or came after it.
    """
    from panoptic_assets.spec.resolution import parse
    from panoptic_assets.upkeep.config import UndoConfig

    made = _marks(context.store, context.registry.run_bytes)
    return _planned(context, parse(UndoConfig, given), made)


def _planned(context: "Context", config: "UndoConfig", made: list[Mark]) -> UndoPlan:
    known = _known(context.store, made)
    found, redo = _find(context.store, known, config.act, config.redo)
    if (event := marks.number_of_tag_event(found.id)) is not None:
        raise InputError(
            "{act} is an event of the tag log, which undoes its own: `panoptic-assets tag {verb} "
            "{event}`, or an edit of the asset `tags`.",
            id="act-of-tag-log",
            act=found.id,
            verb="redo" if redo else "undo",
            event=event,
        )
    against = known.against_redo(found.id) if redo else known.against_undo(found.id)
    if against and redo:
        raise InputError(
            "{act} cannot be done again as it was, because of {against}: undo what was made since, "
            "and do again what it rests on.",
            id="act-cannot-be-redone",
            act=found.id,
            against=_in_the_way(against),
        )
    if undone := [act for act in against if act in marks.undone_acts(known.marks)]:
        raise InputError(
            "{act} cannot be undone, since it lies below {undone}, which is undone: "
            "`panoptic-assets redo {undone}` first.",
            id="act-below-undone",
            act=found.id,
            undone=undone[0],
        )
    if against:
        raise InputError(
            "{act} cannot be undone: {against} came after it or rests on it. Undo that first; "
            "saved tags by the event that saved them (`panoptic-assets history`).",
            id="act-cannot-be-undone",
            act=found.id,
            against=_in_the_way(against),
        )
    return UndoPlan(context, config, found.id, redo, found.key, found.text, known)


def run(plan: UndoPlan) -> UndoPlan:
    """Nothing is left to be computed."""
    return plan


def store(plan: UndoPlan) -> Undone:
    """Append the mark that the act is undone, or done again, and write what it had written over.

    A file comes before the mark: after a crash in between, doing it once more finds it done. Labels
    come after it, since others may label meanwhile: ``reconcile`` finds those that are not what
    :func:`panoptic_assets.spec.marks.labels_due` says. Where another process has made a mark
    meanwhile, it is looked at again.

    Raises:
        InputError: It cannot be done any more.
    """
    context, config = plan.context, plan.config
    if plan.mark is not None and plan.mark.kind == "policy":
        settle_policies(context)
        # Here, since it loads the methods.
        from panoptic_assets.upkeep.setting_policies import put_back

        put_back(context.registry, plan.mark, plan.redo)
    number = None
    while number is None:
        mark = plan.mark
        records = () if mark or plan.redo else _ids(plan.known.revision(plan.act))
        number = append_mark(
            context.store,
            "redo" if plan.redo else "undo",
            plan.key,
            config.author or context.author or system_user(),
            config.reason,
            act=plan.act,
            dagster_run_id=context.dagster_run_id,
            records=records,
            after=max((m.number for m in plan.known.marks), default=0),
        )
        if number is None:
            context = context.now()
            again = config.model_copy(update={"act": plan.act, "redo": plan.redo})
            # What the file says now is what was just written.
            plan = replace(_planned(context, again, read_marks(context.store)), config=config)
    if mark is not None and mark.kind == "labels":
        from panoptic_assets.labels.table import stored_labels, write_labels

        now = stored_labels(context.store, mark.key)
        write_labels(context.store, mark.key, marks.labels_after(now, mark, not plan.redo))
    return Undone(plan, marks.mark_id(number))


def _ids(revision: list[Record]) -> tuple[str, ...]:
    return tuple(record.record_id for record in revision)

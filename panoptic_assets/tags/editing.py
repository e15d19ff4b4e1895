"""The act of editing tags: from edits to events of the tag log, and to its replay.

Belongs here: what a request to edit resolves to, appending it, and keeping the tables of tags what
the log says. Does not belong here: what an edit is (``tags.edits``), and what events mean
(``spec.tag_log``).
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from panoptic_assets.corpus.table import image_names
from panoptic_assets.orchestration.acting import Context
from panoptic_assets.spec import tag_log
from panoptic_assets.spec.resolution import Document, parse
from panoptic_assets.tags.config import EditsConfig
from panoptic_assets.tags.edits import EditError, Images, resolve_edits
from panoptic_assets.tags.saving import author_of
from panoptic_assets.tags.table import LoggedEvent, append_events, read_log, write_tags
from resources.errors import InputError
from resources.lance import LanceStore


@dataclass(frozen=True)
class EditingPlan:
    """Edits that can be done."""

    context: Context
    config: EditsConfig
    log: list[LoggedEvent]
    """As it is."""
    events: list[tag_log.Event]
    """That do the edits after it; none where there are no edits."""
    notes: list[str]
    """What a person must know, one sentence each."""
    event_notes: dict[int, list[str]]
    """The same of single events, by their numbers."""


@dataclass(frozen=True)
class Edited:
    """Tags after edits."""

    plan: EditingPlan
    tables: tag_log.TagTables

    @property
    def nb_events(self) -> int:
        """Of the whole log."""
        return len(self.plan.log) + len(self.plan.events)


def prepare(context: Context, key: str, given: Document) -> EditingPlan:
    """Resolve edits on the log as it is.

    Args:
        context: What is read.
        key: Nothing.
        given: Configuration.

    Raises:
        InputError: The configuration cannot be used, or one of the edits cannot be done.
    """
    return _planned(context, parse(EditsConfig, given))


def _planned(context: Context, config: EditsConfig) -> EditingPlan:
    if not config.edits:
        return EditingPlan(context, config, read_log(context.store), [], [], {})
    notes: dict[str, None] = {}
    of_events: dict[int, list[str]] = defaultdict(list)
    folder = context.registry.images
    events, log = check_edits(
        context.store,
        config,
        folder,
        notes.setdefault,
        lambda number, note: of_events[number].append(note),
    )
    return EditingPlan(context, config, log, events, list(notes), dict(of_events))


def run(plan: EditingPlan) -> Edited:
    """Replay the log with the edits."""
    return Edited(plan, tag_log.replay([*(entry.event for entry in plan.log), *plan.events]))


def store(edited: Edited) -> Edited:
    """Append the edits to the log, all or none, and write its replay; what was written.

    Where another process has written to the log meanwhile, the edits are resolved again.

    Raises:
        InputError: One of them cannot be done any more; then none is.
    """
    plan = edited.plan
    context, config = plan.context, plan.config
    author = author_of(config)
    while plan.events and not append_events(
        context.store, plan.log, plan.events, author, config.reason
    ):
        plan = _planned(context, config)
        edited = run(plan)
    changed = write_tags(context.store, edited.tables)
    snapshot: Any = context.store
    while not snapshot.is_current():
        # Others who append meanwhile may have written their replay before this one, which lacks
        # theirs: whoever writes last has seen the whole log.
        context = context.now()
        snapshot = context.store
        tables = tag_log.replay([entry.event for entry in read_log(context.store)])
        changed = write_tags(context.store, tables) or changed
        edited = replace(edited, tables=tables)
    if not changed:
        context.reporter.tell("The tags already are what the log says.")
    return edited


def check_edits(
    store: LanceStore,
    config: EditsConfig,
    folder: str = "",
    report: Callable[[str], object] = lambda _: None,
    report_of_event: Callable[[int, str], object] = lambda number, note: None,
) -> tuple[list[tag_log.Event], list[LoggedEvent]]:
    """The events that do some edits after the log as it is; and that log.

    Args:
        store: The store.
        config: The edits.
        folder: The images' folder or its URI, for names of images that are whole paths.
        report: Called with sentences that a person must know.
        report_of_event: Called with those of one event, and its number.

    Raises:
        InputError: One of the edits cannot be done.
    """
    log = read_log(store)
    # Those as well whose files hold other images by now: they have their tags still.
    seen = store.read("images", ["image_id"])["image_id"].to_pylist()
    names = image_names(store, folder, also=seen)
    images = Images(lambda name: names.find(name) or None)
    try:
        before = [entry.event for entry in log]
        events = resolve_edits(config.edits, before, images, report_of_event)
    except EditError as error:
        raise InputError.of(error) from error
    for note in names.notes:
        report(note)
    return events, log

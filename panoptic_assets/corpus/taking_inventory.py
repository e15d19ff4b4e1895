"""The act of reading the inventory: which values images have by now.

Belongs here: when it is read, and what becomes of one that cannot be read. Does not belong here:
what its values are (``corpus.properties``), and what its cells mean (``corpus.inventory``).

The inventory is made by hand and may be anything, or away. Whatever ails it, the act is done: all
images keep the values that they had, and the reason is noted, said, and judged by a check.
"""

import hashlib
import traceback
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from panoptic_assets.corpus import absence
from panoptic_assets.corpus.config import InventoryConfig
from panoptic_assets.corpus.inventory import Unmatched
from panoptic_assets.corpus.inventory_state import InventoryState, note_state, read_state
from panoptic_assets.corpus.open_questions import note_question
from panoptic_assets.corpus.properties import (
    InventoryReport,
    inventory_file,
    read_inventory,
    write_properties,
)
from panoptic_assets.corpus.table import present_files
from panoptic_assets.orchestration.acting import Context
from panoptic_assets.spec.records import code_version, digest
from panoptic_assets.spec.resolution import Document, parse
from panoptic_assets.spec.text import beginning, brief, printable
from resources.errors import InputError, Message, message, noted, text_of
from resources.lance import LanceStore

_READER = 1
"""Raised whenever the same inventory may give other values."""

_MAX_CAUSES = 100
"""Kinds of findings that are noted."""
_SHOWN = 3
"""Lines without a file that are named where there is little room."""


@dataclass(frozen=True)
class InventoryPlan:
    """An inventory that is to be read."""

    context: Context
    config: InventoryConfig


@dataclass(frozen=True)
class ReadInventory:
    """An inventory that was read, or could not be."""

    plan: InventoryPlan
    after: InventoryState | None
    """What is known of it now; None: the project has none."""
    report: InventoryReport | None = None
    """What it gives to images; None where they keep the values that they have."""
    fault: str = ""
    """The stack trace of what is a fault of the program, or of a library."""

    @property
    def outcome(self) -> str:
        """``read``, ``unchanged`` since it was read, ``kept`` as it was, or ``none`` is there."""
        if self.after is None:
            return "none"
        if self.after.problem or (self.report and self.report.kept):
            return "kept"
        return "read" if self.report else "unchanged"


def prepare(context: Context, key: str, given: Document) -> InventoryPlan:
    """Check what is asked; nothing is read yet, so that no inventory is refused.

    Args:
        context: What is read.
        key: Empty: there are no partitions.
        given: Fields of :class:`panoptic_assets.corpus.config.InventoryConfig`.

    Raises:
        InputError: The configuration cannot be used.
    """
    return InventoryPlan(context, parse(InventoryConfig, given))


def run(plan: InventoryPlan) -> ReadInventory:
    """Read the inventory, if it or the corpus has changed since it was read well."""
    before = read_state(plan.context.store)
    try:
        return _read(plan, before)
    except InputError as error:
        return _kept(plan, before, error.message)
    except Exception as error:  # of a parser, which must stop nothing else
        fault = message(
            "Reading it failed ({fault}), which is a fault of the program: report it with the "
            "file, and until it is mended save the file in another form.",
            id="inventory-fault",
            fault=printable(brief(f"{type(error).__name__}: {error}")),
        )
        return _kept(plan, before, fault, traceback.format_exc())


def store(read: ReadInventory) -> ReadInventory:
    """Write the values, then what is known of the inventory; nothing of it if it is as before."""
    context, after, report = read.plan.context, read.after, read.report
    if report is not None:
        write_properties(context.store, report.rows)
    if after is not None and report is not None:
        version = context.store.version("property_values")
        after = after.model_copy(update={"values_version": version})
    note_state(context.store, after)
    if after is None or not after.problem:
        note_question(context.store, "values", report.kept if report else None)
    said = (after.said if after else None) or (report.kept if report else None)
    if said:
        context.reporter.tell(text_of(said), "yellow")
    if report is not None and report.unmatched:
        context.reporter.tell(_unmatched_lines(report), "yellow")
    return ReadInventory(read.plan, after, report, read.fault)


def is_wanted(context: Context) -> bool:
    """Whether there is an inventory to be read, or what is left of one to be taken away.

    Args:
        context: What is read.
    """
    return bool(
        context.registry.settings.metadata
        or context.source.is_described
        or context.store.count("inventory")
        or context.store.count("property_values")
    )


def _read(plan: InventoryPlan, before: InventoryState | None) -> ReadInventory:
    context, registry = plan.context, plan.context.registry
    file = inventory_file(registry, context.source)
    corpus = present_files(context.store)
    opened = _change_of(file)
    stamp = _stamp(file, registry.images, corpus)
    if before and stamp and before.stamp == stamp and _holds(context.store, before):
        return ReadInventory(plan, before)
    limits = None if plan.config.accept_missing else absence.Limits.of(registry.settings)
    report = read_inventory(
        context.store, file, corpus, registry.images, limits, plan.config.accepted
    )
    if report.kept:
        return ReadInventory(plan, _beside(context, before), report)
    after = None
    if file is not None:
        known = before or InventoryState()
        is_known = known.digest == report.digest and known.file == _shown(context)
        after = InventoryState(
            file=_shown(context),
            # Who writes it meanwhile may have had half of it read, and leave what was there before.
            stamp=stamp if _change_of(file) == opened else "",
            digest=report.digest,
            taken_at=(known.taken_at if is_known else None) or datetime.now(UTC),
            nb_lines=report.nb_rows,
            nb_unmatched=report.nb_unmatched,
            unmatched=tuple(map(_printable, report.unmatched)),
            nb_findings=report.findings.total,
            nb_causes=len(report.findings.causes),
            findings=report.findings.causes[:_MAX_CAUSES],
            left_out=report.findings.by_column,
            undated=report.findings.undated,
            nb_images=report.nb_images,
        )
    return ReadInventory(plan, after, report)


def _kept(
    plan: InventoryPlan, before: InventoryState | None, problem: Message, fault: str = ""
) -> ReadInventory:
    """What is known of an inventory that cannot be read: what was, and why."""
    known = before or InventoryState()
    found_by = known.found_by if known.problem == problem else plan.context.dagster_run_id
    now = {"problem": problem, "found_by": found_by}
    after = _beside(plan.context, before).model_copy(update=now)
    return ReadInventory(plan, after, fault=fault)


def _beside(context: Context, before: InventoryState | None) -> InventoryState:
    """What was known, beside an inventory whose values images do not get."""
    now = {"unread": _shown(context), "stamp": "", "problem": None, "found_by": ""}
    return (before or InventoryState()).model_copy(update=now)


def _unmatched_lines(report: InventoryReport) -> str:
    """How many lines name no file, and the first of them, in one line."""
    first = [f"{entry.line} ({printable(entry.name)})" for entry in report.unmatched]
    return noted(
        "Lines of the inventory without a file: {count:,}; the first: {lines}.",
        count=report.nb_unmatched,
        lines=beginning(first, _SHOWN),
    )


def _holds(store: LanceStore, state: InventoryState) -> bool:
    """Whether nobody has written values since."""
    return state.values_version == store.version("property_values")


def _change_of(file: Path | None) -> tuple[int, ...]:
    """What is another after a file was written, whatever was; empty where there is none."""
    try:
        stat = file.stat() if file else None
    except OSError:
        return ()
    return (stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) if stat else ()


def _stamp(file: Path | None, folder: str, corpus: dict[str, list[str]]) -> str:
    """Hash of all that the values follow from; empty where the file cannot be read."""
    if file is None:
        return ""
    try:
        with file.open("rb") as opened:
            content = hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError:
        return ""
    return digest(_READER, code_version(), str(file), content, folder, sorted(corpus.items()))


def _shown(context: Context) -> str:
    """The inventory, for people: as the project names it, or what describes the images."""
    return printable(context.registry.settings.metadata or context.source.place)


def _printable(unmatched: Unmatched) -> Unmatched:
    return Unmatched(unmatched.line, printable(unmatched.name), printable(unmatched.nearest))

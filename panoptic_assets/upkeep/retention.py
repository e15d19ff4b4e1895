"""Retention: removing old Dagster runs, so that the event log does not grow for ever.

Belongs here: which runs and ticks may go. Does not belong here: how a run is removed whole
(``orchestration.history``), the store of images, vectors and records, of which nothing is removed,
and ticks that Dagster itself removes (``retention`` in ``dagster.yaml``).

What is kept, however old it is: the run with the newest materialization of each partition of each
asset and with the newest evaluation of each check, since Dagster shows and compares those, and the
seal that a materialization of a run tells is the witness of the record that counts; the
newest run of all, since SQLite would give the numbers of its events to later ones, which sensors
have passed by then; and the newest tick of each schedule, which tells the daemon where to go on.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg

from panoptic_assets.orchestration import insides
from panoptic_assets.orchestration.config_schema import schema_of
from panoptic_assets.orchestration.history import remove_runs, vacuum
from panoptic_assets.orchestration.runs import FINISHED
from panoptic_assets.spec.resolution import parse
from panoptic_assets.upkeep.config import RetentionConfig
from resources.errors import InputError

_GROUP = 500
"""Runs in one transaction; SQLite takes at most 999 values in a statement of its older versions."""


@dataclass
class Removed:
    """What was removed, or would be."""

    runs: int = 0
    kept: int = 0
    """Old runs that stay, since something of them is the newest."""
    ticks: int = 0
    bytes_before: int = 0
    """Of the instance's databases and logs."""
    bytes_after: int = 0
    notes: list[str] = field(default_factory=list)


@dg.op(config_schema=schema_of(RetentionConfig))
def remove_old_runs(context: dg.OpExecutionContext) -> None:
    """Remove old runs and ticks of this Dagster instance; nothing that people made is touched."""
    config = parse(RetentionConfig, context.op_config)
    removed = retain(context.instance, config.days, config.dry_run)
    for note in removed.notes:
        context.log.warning(note)
    context.add_output_metadata(
        {
            "nb_runs": removed.runs,
            "nb_kept": removed.kept,
            "nb_ticks": removed.ticks,
            "bytes_before": removed.bytes_before,
            "bytes_after": removed.bytes_after,
        }
    )


@dg.job(
    description="Removes Dagster runs and ticks that are older than 30 days, except those that "
    "Dagster still needs to say what is up to date."
)
def retention() -> None:
    """One operation: it is quick, and what it has removed stays removed if it is stopped."""
    remove_old_runs()


def retain(instance: dg.DagsterInstance, days: int, dry_run: bool = False) -> Removed:
    """Remove finished runs and ticks that are older than some days, and give the room back.

    Args:
        instance: On SQLite or Postgres.
        days: Their least age, since they ended.
        dry_run: Only count.

    Raises:
        InputError: The days are not 1 or more.
    """
    if days < 1:
        raise InputError(
            "Runs can be kept for 1 day or more, not for {days}.",
            id="retention-too-short",
            days=days,
        )
    before = datetime.now(UTC) - timedelta(days=days)
    old = {
        record.dagster_run.run_id
        for record in instance.get_run_records(
            dg.RunsFilter(statuses=list(FINISHED), updated_before=before)
        )
    }
    needed = insides.runs_with_the_newest(instance)
    removable = sorted((old | insides.runs_removed_in_part(instance)) - needed)
    removed = Removed(runs=len(removable), kept=len(old & needed), bytes_before=_size(instance))
    if not dry_run:
        for start in range(0, len(removable), _GROUP):
            remove_runs(instance, removable[start : start + _GROUP])
    removed.ticks = insides.remove_old_ticks(instance, before, dry_run)
    if not dry_run:
        removed.notes = list(_give_back(instance))
    removed.bytes_after = _size(instance)
    return removed


def _give_back(instance: dg.DagsterInstance) -> Iterator[str]:
    """Give the room to the disk; sentences about what could not be done.

    Only SQLite has to be asked: Postgres does so itself, in its own time.
    """
    for path in insides.databases(instance):
        try:
            vacuum(path)
        except sqlite3.Error as error:
            yield (
                f"The room in {path} is used again, but not given back to the disk ({error}): run "
                "`panoptic-assets retention` when nothing else uses the instance."
            )


def _size(instance: dg.DagsterInstance) -> int:
    """Bytes of the instance: its folder, or its whole Postgres database."""
    if (size := insides.database_size(instance)) is not None:
        return size
    root = Path(instance.root_directory)
    total = 0
    for path in root.rglob("*"):
        with suppress(OSError):  # gone meanwhile
            total += path.stat().st_size if path.is_file() else 0
    return total

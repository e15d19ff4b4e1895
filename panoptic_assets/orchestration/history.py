"""The history of a Dagster instance: removing runs whole, and what may show something.

Belongs here: removing runs with all that Dagster keeps of them. Does not belong here: which runs
are too old (``panoptic_assets.upkeep.retention``), how an instance is opened (``instance``), and
Dagster's tables (``insides``).

Dagster's own ``delete_run`` leaves the last event of each asset in the table of assets, the results
of asset checks, the logs of the computation, and, in SQLite, the text itself on freed pages.
"""

import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import dagster as dg

from panoptic_assets.orchestration import insides

_AT_ONCE = 200
"""Values in one SQL condition."""


@dataclass(frozen=True)
class Cleared:
    """What was removed."""

    nb_runs: int
    nb_reported_again: int
    """Materializations that were the newest of their asset or partition."""


def remove_runs(instance: dg.DagsterInstance, run_ids: Sequence[str]) -> None:
    """Remove finished runs with their events, results of checks, logs and files.

    Args:
        instance: On SQLite or Postgres.
        run_ids: A few hundred at most, in one transaction.
    """
    # The run before its events: where this is killed in between, what is left is only bytes. The
    # rows of the events last: by them the rest is found again, see `runs_removed_in_part`.
    for run_id in run_ids:
        instance.run_storage.delete_run(run_id)
    for run_id in run_ids:
        instance.event_log_storage.free_concurrency_slots_for_run(run_id)
        instance.compute_log_manager.delete_logs(prefix=[run_id])
        if instance.storage_directory():
            shutil.rmtree(Path(instance.storage_directory()) / run_id, ignore_errors=True)
        insides.remove_event_files(instance, run_id)
    insides.remove_event_rows(instance, run_ids)


def vacuum(path: Path) -> None:
    """Write a file of SQLite anew: what was deleted lies on its free pages until then.

    Raises:
        sqlite3.Error: Something else uses the file, or the disk is full.
    """
    # In SQLite's own words, since Dagster's connections begin a transaction.
    with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as connection:
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def clear(instance: dg.DagsterInstance, since: datetime, shows: Callable[[str], bool]) -> Cleared:
    """Remove the runs that ended after a moment, and earlier ones whose events show something.

    So that no asset or partition seems never to have been materialized, the newest materialization
    of each is reported again first, with its tags and its numbers, without texts and pictures.
    What is there twice after a crash is harmless. Runs whose removal was killed amid it go whole,
    whatever their events show.

    Args:
        instance: The instance. No run may be in progress.
        since: The moment.
        shows: Whether a text shows what must not be kept.
    """
    gone = sorted({*_runs(instance, since, shows), *insides.runs_removed_in_part(instance)})
    nb_again = _report_again(instance, gone)
    for start in range(0, len(gone), _AT_ONCE):
        remove_runs(instance, gone[start : start + _AT_ONCE])
    insides.clear_last_events(
        instance, lambda text: shows(text) or any(run_id in text for run_id in gone)
    )
    insides.remove_ticks_that_show(instance, shows)
    for path in insides.databases(instance):
        vacuum(path)
    return Cleared(len(gone), nb_again)


def _runs(instance: dg.DagsterInstance, since: datetime, shows: Callable[[str], bool]) -> list[str]:
    found = []
    for record in instance.get_run_records():
        run_id = record.dagster_run.run_id
        ended_before = record.end_time is not None and record.end_time < since.timestamp()
        if ended_before and not shows(dg.serialize_value(record.dagster_run)):
            events = instance.all_logs(run_id)
            if not any(shows(dg.serialize_value(event)) for event in events):
                continue
        found.append(run_id)
    return found


def _report_again(instance: dg.DagsterInstance, run_ids: list[str]) -> int:
    """Before anything is removed: numbers of events go on, and cursors stay behind them."""
    gone = set(run_ids)
    storage = instance.event_log_storage
    kind = dg.DagsterEventType.ASSET_MATERIALIZATION
    newest: list[dg.EventLogRecord] = []
    for key in instance.all_asset_keys():
        ids = list(storage.get_latest_storage_id_by_partition(key, kind).values())
        for start in range(0, len(ids), _AT_ONCE):
            some = ids[start : start + _AT_ONCE]
            asked = dg.AssetRecordsFilter(asset_key=key, storage_ids=some)
            newest += instance.fetch_materializations(asked, limit=len(some)).records
        if not ids:
            newest += instance.fetch_materializations(key, limit=1).records
    again = [record for record in newest if record.run_id in gone]
    for record in sorted(again, key=lambda record: record.storage_id):
        event = record.asset_materialization
        assert event is not None  # noqa: S101
        numbers = {
            name: value
            for name, value in event.metadata.items()
            if isinstance(value, dg.IntMetadataValue | dg.FloatMetadataValue)
        }
        instance.report_runless_asset_event(
            dg.AssetMaterialization(
                event.asset_key, None, numbers, event.partition, dict(event.tags or {})
            )
        )
    return len(again)

"""The history of a Dagster instance: removing runs whole, and what may show something.

Belongs here: removing runs with all that Dagster keeps of them. Does not belong here: which runs
are too old (``panoptic_assets.retention``), and how an instance is opened
(``panoptic_assets.commands.runner``).

Dagster's own ``delete_run`` leaves the last event of each asset in the table of assets, the results
of asset checks, the logs of the computation, and, in SQLite, the text itself on freed pages.
"""

import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import sqlalchemy
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable, AssetKeyTable
from dagster._core.storage.schedules.schema import JobTickTable
from dagster._serdes import serialize_value

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
    storage: Any = instance.event_log_storage
    # The run before its events: where this is killed in between, what is left is only bytes.
    for run_id in run_ids:
        instance.run_storage.delete_run(run_id)
    checks = AssetCheckExecutionsTable
    with index_of(instance) as connection:
        for run_id in run_ids:
            storage.delete_events_for_run(connection, run_id)
        connection.execute(checks.delete().where(checks.c.run_id.in_(run_ids)))
    for run_id in run_ids:
        storage.free_concurrency_slots_for_run(run_id)
        instance.compute_log_manager.delete_logs(prefix=[run_id])
        with suppress(AttributeError):  # only SQLite has a file for each run
            shard = Path(storage.path_for_shard(run_id))
            for suffix in ("", "-wal", "-shm"):
                shard.with_name(shard.name + suffix).unlink(missing_ok=True)
        if instance.storage_directory():
            shutil.rmtree(Path(instance.storage_directory()) / run_id, ignore_errors=True)


def index_of(instance: dg.DagsterInstance) -> Any:
    """A connection, as a context, to the events of all runs."""
    storage: Any = instance.event_log_storage
    return storage.index_connection()


def databases(instance: dg.DagsterInstance) -> list[Path]:
    """SQLite's files for all runs, their events and the ticks; none with another database."""
    runs: Any = instance.run_storage
    schedules: Any = instance.schedule_storage
    found = []
    for connect in (lambda: index_of(instance), runs.connect, schedules.connect):
        with connect() as connection:
            if connection.dialect.name == "sqlite" and connection.engine.url.database:
                found.append(Path(connection.engine.url.database))
    return found


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
    What is there twice after a crash is harmless.

    Args:
        instance: The instance. No run may be in progress.
        since: The moment.
        shows: Whether a text shows what must not be kept.
    """
    gone = _runs(instance, since, shows)
    nb_again = _report_again(instance, gone)
    for start in range(0, len(gone), _AT_ONCE):
        remove_runs(instance, gone[start : start + _AT_ONCE])
    _clear_tables(instance, gone, shows)
    for path in databases(instance):
        vacuum(path)
    return Cleared(len(gone), nb_again)


def _runs(instance: dg.DagsterInstance, since: datetime, shows: Callable[[str], bool]) -> list[str]:
    found = []
    for record in instance.get_run_records():
        run_id = record.dagster_run.run_id
        ended_before = record.end_time is not None and record.end_time < since.timestamp()
        if ended_before and not shows(serialize_value(record.dagster_run)):
            events = instance.all_logs(run_id)
            if not any(shows(serialize_value(event)) for event in events):
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


def _clear_tables(
    instance: dg.DagsterInstance, run_ids: list[str], shows: Callable[[str], bool]
) -> None:
    gone = set(run_ids)
    assets, ticks = AssetKeyTable, JobTickTable
    with index_of(instance) as connection:
        for row in connection.execute(
            sqlalchemy.select(assets.c.id, assets.c.last_materialization)
        ):
            # The last event may be an observation, or one that was only planned.
            text = row.last_materialization or ""
            if shows(text) or any(run_id in text for run_id in gone):
                cleared = assets.update().values(last_materialization=None)
                connection.execute(cleared.where(assets.c.id == row.id))
    schedules: Any = instance.schedule_storage
    with schedules.connect() as connection:
        query = sqlalchemy.select(ticks.c.id, ticks.c.tick_body)
        found = [row.id for row in connection.execute(query) if shows(row.tick_body or "")]
        for start in range(0, len(found), _AT_ONCE):
            some = ticks.c.id.in_(found[start : start + _AT_ONCE])
            connection.execute(ticks.delete().where(some))

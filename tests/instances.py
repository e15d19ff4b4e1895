"""Dagster instances that cost tests little: half of what a run costs is its SQLite database.

Belongs here: what Dagster does anew each time, done once, in the processes of the tests and in
those that are forked for them; what starts anew, as `panoptic-assets ui`, pays for all of it. Does
not belong here: anything of a project.
"""

import functools

from dagster._core.storage.event_log.sqlite import sqlite_event_log
from dagster._core.storage.runs.sqlite import sqlite_run_storage
from dagster._core.storage.schedules.sqlite import sqlite_schedule_storage
from sqlalchemy import Engine, event

from panoptic_assets.orchestration import insides

# For instances in memory, too.
insides.read_migrations_once()

# Dagster makes an engine for each connection, which knows none of the statements that the last one
# has compiled: a quarter of the CPU seconds of a small run. A few, since each run has a database.
for _storage in (sqlite_event_log, sqlite_run_storage, sqlite_schedule_storage):

    @functools.lru_cache(maxsize=32)
    def _engine(url, poolclass, timeout, make=_storage.create_engine):
        return make(url, poolclass=poolclass, connect_args={"timeout": timeout} if timeout else {})

    def _create_engine(url, poolclass, connect_args=None, engine=_engine):
        return engine(url, poolclass, (connect_args or {}).get("timeout"))

    _storage.create_engine = _create_engine


@event.listens_for(Engine, "connect")
def _without_waiting(connection, _) -> None:
    """No test's machine loses its power: waiting for the disk was as long as all the rest."""
    if type(connection).__module__ == "sqlite3":
        connection.execute("PRAGMA synchronous = OFF")

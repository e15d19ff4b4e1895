"""What is taken from inside Dagster, and may change with any of its minor versions.

Belongs here: every import of ``dagster._…``, every name of its modules, tags and settings that its
documentation does not promise, and SQL on its tables. Does not belong here: what is done with it.

Long because Dagster's insides are to be found in one file.

Each thing has a contract in ``tests/orchestration/test_insides.py``, which fails in plain words
when Dagster changes it; ``pyproject.toml`` caps Dagster at the minor that they were read in.
Imports stand in the functions: a command that needs none of this starts without it.
"""

import json
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import dagster as dg
    from dagster._core.definitions.unresolved_asset_job_definition import (
        UnresolvedAssetJobDefinition,
    )
    from dagster._core.workspace.context import WorkspaceProcessContext

    Job = dg.JobDefinition | UnresolvedAssetJobDefinition
    """A job, also one of assets, as ``dg.define_asset_job`` gives it."""
    Workspace = WorkspaceProcessContext
    """An instance and its code locations, as the web server and the daemon take them."""

PARTITION_TAG = "dagster/partition"
"""Tag of a run: its partition's key."""
MAX_RETRIES_TAG = "dagster/max_retries"
"""Tag of a run: how often Dagster's daemon starts it again when its process dies."""
WILL_RETRY_TAG = "dagster/will_retry"
"""Tag of a failed run: ``true`` where the daemon starts it again, or would."""
AUTO_RETRY_RUN_ID_TAG = "dagster/auto_retry_run_id"
"""Tag of a failed run: the run that took its place."""

_GRPC_INFO_TAG = ".dagster/grpc_info"
_DATA_VERSION_TAG = "dagster/data_version"

NO_COMPUTE_LOGS: Mapping[str, Any] = {
    "compute_logs": {
        "module": "dagster._core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
    }
}
"""Settings of an instance that does not copy what its steps print.

Dagster copies it through two processes of its own, which take half a second a step and answer
Ctrl-C with stack traces. What a command prints is on its terminal.
"""

_SECONDS_FOR_SQLITE = 10
"""To wait for a lock of the tables of runs and schedules; less than a cancelled act gets to end."""

LOST_EVENT = "Exception while writing logger call to event log"
"""How what Dagster prints begins where it cannot store an event: the SQL of it follows."""

_AT_ONCE = 200
"""Values in one SQL condition."""


# Runs


def answers(run: "dg.DagsterRun") -> bool | None:
    """Whether the code server that started a run is there; None where none has started it."""
    from dagster._core.errors import DagsterUserCodeUnreachableError
    from dagster._grpc.client import DagsterGrpcClient

    if not is_of_code_server(run):
        return None
    try:
        DagsterGrpcClient(**json.loads(run.tags[_GRPC_INFO_TAG])).ping("")
    except DagsterUserCodeUnreachableError:
        return False
    return True


def is_of_code_server(run: "dg.DagsterRun") -> bool:
    """Whether a code server started a run: Dagster's launcher gives it a tag that says which."""
    return _GRPC_INFO_TAG in run.tags


def create_run(
    job: "dg.JobDefinition",
    instance: "dg.DagsterInstance",
    module: str,
    run_config: Mapping[str, Any],
    tags: Mapping[str, str],
    asset: "dg.AssetKey | None" = None,
) -> "dg.DagsterRun":
    """A run of a job, not started, that Dagster takes for one of its own code server's.

    Without its origin a run is on no timeline, on no asset's page, is passed over by sensors of
    failures, and *Re-execute* answers with HTTP 500. ``execute_in_process`` gives none.

    Args:
        job: The job; of one asset, its subset.
        instance: Where the run is recorded.
        module: The module whose definitions hold the job, as the workspace names it.
        run_config: The run's configuration.
        tags: Its tags.
        asset: The asset that the job is a subset for.
    """
    from dagster._core.remote_origin import (
        ManagedGrpcPythonEnvCodeLocationOrigin,
        RemoteRepositoryOrigin,
    )
    from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

    target = LoadableTargetOrigin(executable_path=sys.executable, module_name=module)
    location = ManagedGrpcPythonEnvCodeLocationOrigin(target, module)
    return instance.create_run_for_job(
        job_def=job,
        run_config=run_config,
        tags={**job.run_tags, **tags},
        asset_selection=None if asset is None else frozenset({asset}),
        remote_job_origin=RemoteRepositoryOrigin(location, "__repository__").get_job_origin(
            job.name
        ),
    )


def execute_here(
    job: "dg.JobDefinition",
    instance: "dg.DagsterInstance",
    run: "dg.DagsterRun",
    raises: bool = True,
) -> "dg.JobExecutionResult":
    """Execute a run that was created, in this process.

    The job has an executor that stays in it.

    Args:
        job: The job.
        instance: Where the run is recorded.
        run: The run, not started.
        raises: Whether what its steps raise comes through. Dagster's daemon then takes the run for
            one whose process died, and starts it again, unless it has a tag that says not to.
    """
    from dagster._core.definitions.job_base import InMemoryJob
    from dagster._core.execution.api import execute_run

    with warnings.catch_warnings():
        # In a notebook, whose kernel has a running event loop, Dagster leaves one of its own
        # coroutines behind, and says so in the code.
        warnings.filterwarnings(
            "ignore", "coroutine 'BaseEventLoop.shutdown_asyncgens' was never", RuntimeWarning
        )
        return execute_run(InMemoryJob(job), run, instance, raise_on_error=raises)


def end_in_log(instance: "dg.DagsterInstance", run_id: str) -> bool:
    """Let a run have the status of the end that its log has; False where the log has none.

    The log comes first, and a status that cannot be written after it is lost.
    """
    import dagster as dg

    kinds = {
        dg.DagsterEventType.RUN_SUCCESS,
        dg.DagsterEventType.RUN_FAILURE,
        dg.DagsterEventType.RUN_CANCELED,
    }
    for entry in instance.all_logs(run_id, of_type=kinds):
        if entry.dagster_event is not None:
            instance.run_storage.handle_run_event(run_id, entry.dagster_event)
            return True
    return False


# Materializations and checks


def version_tags(
    version: "dg.DataVersion", code_version: str | None, read: "tuple[str, Any] | None" = None
) -> dict[str, str]:
    """The tags that Dagster gives a materialization, by which it knows what is out of date.

    They are written here for an event that is reported apart from its asset's step.

    Args:
        version: What was made.
        code_version: The asset's.
        read: The asset that was read, by its key as text, and the record of what it had then.
    """
    told = {
        _DATA_VERSION_TAG: version.value,
        "dagster/data_version_is_user_provided": "true",
        "dagster/code_version": code_version or "",
    }
    if read is not None:
        name, record = read
        told[f"dagster/input_data_version/{name}"] = version_of(record) or ""
        told[f"dagster/input_event_pointer/{name}"] = str(record.storage_id)
    return told


def version_of(record: Any) -> str | None:
    """The data version of a materialization in the event log, if it has one."""
    tags = record.asset_materialization.tags or {}
    return tags.get(_DATA_VERSION_TAG)


def remove_materializations(
    instance: "dg.DagsterInstance", asset: "dg.AssetKey", partitions: Sequence[str]
) -> None:
    """Remove all that Dagster knows of having materialized some partitions of an asset.

    ``wipe_asset_partitions`` is there, and raises NotImplementedError with every storage of the
    open-source Dagster; ``wipe_assets`` takes all partitions. The events of the runs that made them
    stay in the runs' own logs, where these are files of their own, as they do after a wipe.

    Args:
        instance: On SQLite or Postgres.
        asset: The asset.
        partitions: Their keys.
    """
    import dagster as dg
    from dagster._core.storage.event_log.schema import SqlEventLogStorageTable

    events, kinds = SqlEventLogStorageTable, dg.DagsterEventType
    gone = [kinds.ASSET_MATERIALIZATION, kinds.ASSET_MATERIALIZATION_PLANNED]
    with _index_of(instance) as connection:
        for start in range(0, len(partitions), _AT_ONCE):
            connection.execute(
                events.delete().where(
                    events.c.asset_key == asset.to_string(),
                    events.c.partition.in_(partitions[start : start + _AT_ONCE]),
                    events.c.dagster_event_type.in_([kind.value for kind in gone]),
                )
            )
    # Which partitions are materialized is kept beside the events as well.
    instance.event_log_storage.wipe_asset_cached_status(asset)


def values_of_run_tag(home: Path, name: str) -> dict[str, str]:
    """The value of a tag of each run that has it, by the SQLite files of an instance, as above.

    Args:
        home: The instance's folder.
        name: The tag's.

    Raises:
        sqlite3.Error: The files are not as this version of Dagster makes them.
    """
    query = "SELECT run_id, value FROM run_tags WHERE key = ?"
    return dict(_rows(home / "history" / "runs.db", query, name))


def about(materialization: "dg.EventLogRecord | None") -> Any:
    """What an evaluation of a check says that it is about; the UI shows it only beside that."""
    from dagster._core.definitions.asset_checks.asset_check_evaluation import (
        AssetCheckEvaluationTargetMaterializationData,
    )

    return materialization and AssetCheckEvaluationTargetMaterializationData(
        storage_id=materialization.storage_id,
        run_id=materialization.run_id,
        timestamp=materialization.timestamp,
    )


def latest_evaluation(
    instance: "dg.DagsterInstance", key: "dg.AssetCheckKey", partition: str
) -> "dg.AssetCheckEvaluation | None":
    """The last evaluation of a check of one partition, for which Dagster has no public way."""
    import dagster as dg
    from dagster._core.event_api import PartitionKeyFilter

    found = instance.event_log_storage.get_latest_asset_check_execution_by_key(
        [key], PartitionKeyFilter(key=partition)
    ).get(key)
    event = found.event.dagster_event if found and found.event else None
    said = event.event_specific_data if event else None
    return said if isinstance(said, dg.AssetCheckEvaluation) else None


# The instance


def instance_with(home: Path, overrides: Mapping[str, Any] | None = None) -> "dg.DagsterInstance":
    """The instance in a folder, with some settings in place of its ``dagster.yaml``'s.

    ``dg.DagsterInstance.from_config`` takes none in their place. Whatever Dagster's YAML reader,
    its own checks or its database raise comes through.
    """
    import dagster as dg
    from dagster._core.instance.ref import InstanceRef

    read_migrations_once()
    instance = dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home), overrides=overrides))
    keep_database_whole(instance)
    return instance


def keep_database_whole(instance: "dg.DagsterInstance") -> None:
    """Let no signal come amid what this process says to an instance's database, and have patience.

    A run is cancelled by an exception that a signal's handler raises wherever the main thread is.
    Inside SQLAlchemy it may be lost, in a callback of a weak reference (1 of 70 signals amid writes
    in a row), or leave a connection open, whose lock then keeps everybody from writing that the run
    was cancelled. And on a slow disk others have SQLite's lock for more than the 5 seconds after
    which Dagster's tables of runs and schedules give up; those of events wait for 30.
    """
    storages: list[Any] = [
        instance.run_storage,
        instance.event_log_storage,
        instance.schedule_storage,
    ]
    for storage in storages:
        file = getattr(storage, "_conn_string", "")
        if file.startswith("sqlite:///") and "?" not in file:
            storage._conn_string = f"{file}?timeout={_SECONDS_FOR_SQLITE}"
        for name in ("connect", "_connect"):
            if (connect := getattr(storage, name, None)) is not None:
                setattr(storage, name, _uninterrupted(connect))


def _uninterrupted(connect: Any) -> Any:
    """A function that opens a context, such that signals wait for the context's end."""

    @contextmanager
    def waiting(*arguments: Any, **named: Any) -> Iterator[Any]:
        with signals_wait(), connect(*arguments, **named) as connection:
            yield connection

    return waiting


@contextmanager
def signals_wait() -> Iterator[None]:
    """Put off what interrupts this process until the end of a block; in its main thread alone.

    Not Dagster's ``capture_interrupts``, which forgets what came before the block.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: set[int] = set()

    def handle(number: int) -> None:
        if number in came:
            signal.raise_signal(number)

    awaited = (signal.SIGINT, signal.SIGTERM)
    with ExitStack() as afterwards:  # from the last one on, also where one raises
        for number in awaited:
            afterwards.callback(handle, number)
        for number in awaited:
            before = signal.getsignal(number)
            afterwards.callback(signal.signal, number, signal.SIG_DFL if before is None else before)
            signal.signal(number, lambda number, _: came.add(number))
        yield


def read_migrations_once() -> None:
    """Let this process read the migrations of Dagster's tables once, instead of for each database.

    An instance asks of its three databases whether they are up to date, and each run has one of its
    own, which is made: each time Alembic executes its sixty files anew, 0.27 CPU seconds for a
    command with one run.
    """
    from alembic.script import ScriptDirectory

    if ScriptDirectory.from_config.__module__ == __name__:
        return
    read = ScriptDirectory.from_config
    known: dict[str, ScriptDirectory] = {}

    def from_config(config: Any) -> ScriptDirectory:
        place = config.get_main_option("script_location") or ""
        if not place.startswith("dagster"):  # whose program this is, may make new ones
            return read(config)
        if place not in known:
            known[place] = read(config)
        return known[place]

    ScriptDirectory.from_config = staticmethod(from_config)  # type: ignore[method-assign]


@contextmanager
def sqlite_read_only() -> Iterator[None]:
    """Let this process read Dagster's SQLite files and write none, whatever Dagster does.

    Dagster makes the files that it misses, one for each run whose events are looked at: here they
    are made in a folder that is removed at the end. Files in a folder that cannot be written to are
    taken for unchanging, since SQLite puts its index of a file that changes beside it.
    """
    from tempfile import TemporaryDirectory

    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    with TemporaryDirectory(prefix="panoptic-assets-") as elsewhere:

        def connect(dialect: Any, _: Any, arguments: list[Any], parameters: dict[str, Any]) -> None:
            if dialect.name != "sqlite" or parameters.get("uri"):
                return
            file = Path(arguments[0])
            if not file.is_file():
                arguments[0] = str(Path(elsewhere, file.name))
                return
            unchanging = "" if os.access(file.parent, os.W_OK) else "&immutable=1"
            arguments[0] = f"{file.as_uri()}?mode=ro{unchanging}"
            parameters["uri"] = True

        event.listen(Engine, "do_connect", connect)
        try:
            yield
        finally:
            event.remove(Engine, "do_connect", connect)


def make_no_id(instance: "dg.DagsterInstance") -> None:
    """Give an instance whose tables cannot be written the id that Dagster's UI asks it for.

    By it browsers keep what somebody has chosen there; it is made when the UI is first opened.
    """
    from uuid import uuid4

    from sqlalchemy.exc import OperationalError

    storage: Any = instance.run_storage
    try:
        storage.get_run_storage_id()
    except OperationalError:
        made = str(uuid4())
        storage.get_run_storage_id = lambda: made


def check_settings(home: Path) -> None:
    """Read the ``dagster.yaml`` in a folder as an instance does, without opening any storage.

    Whatever Dagster's checks raise, or stumble over, comes through.
    """
    from dagster._core.instance.config import dagster_instance_config

    dagster_instance_config(str(home))


def module_of(run: "dg.DagsterRun") -> str | None:
    """The module whose definitions hold the job of a run; None where its origin does not tell."""
    origin: Any = run.remote_job_origin
    target = origin and origin.repository_origin.code_location_origin.loadable_target_origin
    return getattr(target, "module_name", None)


def home_of(instance: "dg.DagsterInstance") -> Path:
    """The folder of an instance, with its ``dagster.yaml``."""
    return Path(os.environ.get("DAGSTER_HOME") or instance.root_directory)


def health(runs: bool) -> Any:
    """What a run launcher answers when Dagster's monitoring asks whether a run's process is there.

    Args:
        runs: Whether it is.
    """
    from dagster._core.launcher import CheckRunHealthResult, WorkerStatus

    if runs:
        return CheckRunHealthResult(WorkerStatus.RUNNING)
    return CheckRunHealthResult(WorkerStatus.FAILED, "Its worker is gone.")


class DatabaseFault(Exception):  # noqa: N818
    """Dagster's database failed; the message is the database's own."""


@contextmanager
def database_faults() -> Iterator[None]:
    """Turn what Dagster passes on of its database into :class:`DatabaseFault`."""
    from sqlalchemy.exc import DBAPIError

    try:
        yield
    except DBAPIError as error:
        raise DatabaseFault(str(error.orig)) from error


# Tables


def databases(instance: "dg.DagsterInstance") -> list[Path]:
    """SQLite's files for all runs, their events and the ticks; none with another database."""
    runs: Any = instance.run_storage
    schedules: Any = instance.schedule_storage
    found = []
    for connect in (lambda: _index_of(instance), runs.connect, schedules.connect):
        with connect() as connection:
            if connection.dialect.name == "sqlite" and connection.engine.url.database:
                found.append(Path(connection.engine.url.database))
    return found


def database_size(instance: "dg.DagsterInstance") -> int | None:
    """Bytes of the instance's Postgres database; None with another one."""
    from sqlalchemy import text

    with _index_of(instance) as connection:
        if connection.dialect.name != "postgresql":
            return None
        query = text("select pg_database_size(current_database())")
        return int(connection.execute(query).scalar_one())


def runs_with_the_newest(instance: "dg.DagsterInstance") -> set[str]:
    """Ids of the runs that hold something that is the newest of its kind.

    That is a materialization of a partition of an asset, a result of a check of a partition, or an
    event of all.
    """
    import dagster as dg
    from dagster._core.storage.asset_check_execution_record import (
        COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES,
    )
    from dagster._core.storage.event_log.schema import (
        AssetCheckExecutionsTable,
        SqlEventLogStorageTable,
    )
    from sqlalchemy import func, select

    events, checks = SqlEventLogStorageTable, AssetCheckExecutionsTable
    newest_materializations = (
        select(func.max(events.c.id))
        .where(events.c.dagster_event_type == dg.DagsterEventType.ASSET_MATERIALIZATION.value)
        .group_by(events.c.asset_key, events.c.partition)
    )
    # A planned evaluation may never come: the newest result is what counts.
    newest_checks = (
        select(func.max(checks.c.id))
        .where(
            checks.c.execution_status.in_(
                status.value for status in COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES
            )
        )
        .group_by(checks.c.asset_key, checks.c.check_name, checks.c.partition)
    )
    with _index_of(instance) as connection:
        return {
            row[0]
            for query in (
                select(events.c.run_id).where(events.c.id.in_(newest_materializations)),
                select(checks.c.run_id).where(checks.c.id.in_(newest_checks)),
                select(events.c.run_id).order_by(events.c.id.desc()).limit(1),
            )
            for row in connection.execute(query)
        }


def runs_removed_in_part(instance: "dg.DagsterInstance") -> set[str]:
    """Ids of the runs that are gone while events of them are left, as of a removal that was killed.

    Args:
        instance: On SQLite or Postgres.
    """
    from dagster._core.storage.event_log.schema import (
        AssetCheckExecutionsTable,
        SqlEventLogStorageTable,
    )
    from dagster._core.storage.runs.schema import RunsTable
    from sqlalchemy import select

    runs: Any = instance.run_storage
    # The events before the runs: one that begins meanwhile is recorded before its first event.
    with _index_of(instance) as connection:
        found = {
            row.run_id
            for table in (SqlEventLogStorageTable, AssetCheckExecutionsTable)
            for row in connection.execute(select(table.c.run_id).distinct())
        }
    found |= {path.stem for path in _event_files(instance, "*") if path.suffix == ".db"}
    with runs.connect() as connection:
        known = {row.run_id for row in connection.execute(select(RunsTable.c.run_id))}
    return found - known - {"", "index"}  # events without a run, and the file of all runs


def remove_event_rows(instance: "dg.DagsterInstance", run_ids: Sequence[str]) -> None:
    """Remove the events of runs and the results of their checks, in one transaction.

    Args:
        instance: On SQLite or Postgres.
        run_ids: A few hundred at most.
    """
    from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable

    storage: Any = instance.event_log_storage
    checks = AssetCheckExecutionsTable
    with _index_of(instance) as connection:
        for run_id in run_ids:
            storage.delete_events_for_run(connection, run_id)
        connection.execute(checks.delete().where(checks.c.run_id.in_(run_ids)))


def remove_event_files(instance: "dg.DagsterInstance", run_id: str) -> None:
    """Remove the file that SQLite has for each run's events; nothing with another database."""
    for path in _event_files(instance, run_id):
        path.unlink(missing_ok=True)


def _event_files(instance: "dg.DagsterInstance", run_id: str) -> list[Path]:
    """SQLite's files of the events of a run, or of all where it is ``*``."""
    storage: Any = instance.event_log_storage
    with suppress(AttributeError):  # only SQLite has a file for each run
        shard = Path(storage.path_for_shard(run_id))
        names = [shard.name + end for end in ("", "-wal", "-shm")]
        return [path for name in names for path in shard.parent.glob(name)]
    return []


def last_materialization_in(home: Path, asset: str) -> datetime | None:
    """When an asset was last materialized, by the SQLite files of an instance without settings.

    To ask Dagster would take its import, three times what the command costs that only shows this.

    Raises:
        sqlite3.Error: The files are not as this version of Dagster makes them.
    """
    query = """
        SELECT MAX(event_logs.timestamp) FROM event_logs JOIN asset_keys USING (asset_key)
        WHERE asset_key = ? AND dagster_event_type = 'ASSET_MATERIALIZATION'
        AND (wipe_timestamp IS NULL OR event_logs.timestamp > wipe_timestamp)
    """
    for (found,) in _rows(home / "history" / "runs" / "index.db", query, json.dumps([asset])):
        if found is not None:
            return datetime.fromisoformat(found).replace(tzinfo=UTC)
    return None


def _rows(file: Path, query: str, value: str) -> list[tuple[Any, ...]]:
    """What a query finds in a file of SQLite; nothing where another process just makes it."""
    import sqlite3

    if not file.exists():
        return []
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as connection:
        try:
            return connection.execute(query, (value,)).fetchall()
        except sqlite3.OperationalError as error:
            if str(error).startswith("no such table"):
                return []
            raise


def clear_last_events(instance: "dg.DagsterInstance", shows: Callable[[str], bool]) -> None:
    """Empty the last event of each asset that shows something, in the table of assets.

    It may be an observation, or an event that was only planned.
    """
    from dagster._core.storage.event_log.schema import AssetKeyTable
    from sqlalchemy import select

    assets = AssetKeyTable
    with _index_of(instance) as connection:
        for row in connection.execute(select(assets.c.id, assets.c.last_materialization)):
            if shows(row.last_materialization or ""):
                cleared = assets.update().values(last_materialization=None)
                connection.execute(cleared.where(assets.c.id == row.id))


def remove_ticks_that_show(instance: "dg.DagsterInstance", shows: Callable[[str], bool]) -> None:
    """Remove the ticks of sensors and schedules whose text shows something."""
    from dagster._core.storage.schedules.schema import JobTickTable
    from sqlalchemy import select

    ticks = JobTickTable
    schedules: Any = instance.schedule_storage
    with schedules.connect() as connection:
        query = select(ticks.c.id, ticks.c.tick_body)
        found = [row.id for row in connection.execute(query) if shows(row.tick_body or "")]
        for start in range(0, len(found), _AT_ONCE):
            some = ticks.c.id.in_(found[start : start + _AT_ONCE])
            connection.execute(ticks.delete().where(some))


def remove_old_ticks(instance: "dg.DagsterInstance", before: datetime, dry_run: bool) -> int:
    """Remove ticks, except the newest of each sensor and schedule; how many they are.

    Args:
        instance: On SQLite or Postgres.
        before: The moment, in UTC, before which they came.
        dry_run: Only count.
    """
    from dagster._core.storage.schedules.schema import JobTickTable
    from sqlalchemy import and_, delete, func, select

    ticks = JobTickTable
    # SQLite's times have no zone, and Dagster's are in UTC.
    limit = before.replace(tzinfo=None)
    newest = select(func.max(ticks.c.id)).group_by(ticks.c.selector_id)
    old = and_(ticks.c.timestamp < limit, ticks.c.id.not_in(newest))
    storage: Any = instance.schedule_storage
    with storage.connect() as connection:
        count = connection.execute(select(func.count()).select_from(ticks).where(old)).scalar_one()
        if not dry_run:
            connection.execute(delete(ticks).where(old))
    return int(count)


def _index_of(instance: "dg.DagsterInstance") -> Any:
    """A connection, as a context, to the events of all runs."""
    storage: Any = instance.event_log_storage
    return storage.index_connection()


# The web server and the daemon


def log_warnings_only() -> None:
    """Make Dagster's loggers of this process tell warnings and errors, on standard error."""
    from dagster._utils.log import configure_loggers

    configure_loggers(log_level="WARNING")
    # Says as a warning, at the first start, that it does not start older runs again.
    logging.getLogger("dagster.daemon.EventLogConsumerDaemon").setLevel(logging.ERROR)


@contextmanager
def workspace(
    instance: "dg.DagsterInstance", module: str, read_only: bool = False
) -> "Iterator[Workspace]":
    """An instance with a code server of its own, which loads a module's definitions.

    Args:
        instance: The instance.
        module: The module's name.
        read_only: Whether Dagster's UI and GraphQL refuse whoever would change something. The code
            server, which opens an instance to write, has then one of its own that is removed.
    """
    from dagster._core.workspace.context import WorkspaceProcessContext
    from dagster._core.workspace.load_target import ModuleTarget

    target = ModuleTarget(module, None, None, None)
    with ExitStack() as stack:
        servers = stack.enter_context(_servers_without_instance(instance)) if read_only else None
        yield stack.enter_context(
            WorkspaceProcessContext(
                instance,
                target,
                read_only=read_only,
                grpc_server_registry=servers,
                code_server_log_level="WARNING",
            )
        )


@contextmanager
def _servers_without_instance(instance: "dg.DagsterInstance") -> Iterator[Any]:
    """What starts code servers as :func:`workspace` does, on an instance that nobody looks at."""
    from tempfile import TemporaryDirectory

    from dagster._core.instance.ref import InstanceRef
    from dagster._core.remote_representation.grpc_server_registry import GrpcServerRegistry
    from dagster._core.workspace.context import WEBSERVER_GRPC_SERVER_HEARTBEAT_TTL
    from dagster._grpc.server import GrpcServerCommand

    with TemporaryDirectory(prefix="panoptic-assets-") as home:
        Path(home, "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
        with GrpcServerRegistry(
            InstanceRef.from_dir(home),
            GrpcServerCommand.API_GRPC,
            heartbeat_ttl=WEBSERVER_GRPC_SERVER_HEARTBEAT_TTL,
            startup_timeout=instance.code_server_process_startup_timeout,
            wait_for_processes_on_shutdown=True,
            log_level="WARNING",
        ) as servers:
            yield servers


@contextmanager
def daemon(context: "Workspace") -> Iterator[Callable[[], None]]:
    """Dagster's daemon as threads: it ends with this process, and shares its code server.

    Yields:
        A function that raises an exception when one of the threads has ended.
    """
    from dagster._daemon.controller import DagsterDaemonController, create_daemons_from_instance

    with ExitStack() as stack:
        daemons = create_daemons_from_instance(context.instance)
        entered = [stack.enter_context(daemon) for daemon in daemons]
        controller = stack.enter_context(DagsterDaemonController(context, entered))
        yield controller.check_daemon_threads

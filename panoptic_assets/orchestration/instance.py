"""The Dagster instance of one project: opening it, for one command at a time.

Belongs here: the locks, the pool of those who write, and the runs of this process. Does not belong
here: what is run (``orchestration.launching``), and where the instance's folder is
(``resources.project_folder``).
"""

import socket
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from panoptic_assets.orchestration import insides
from panoptic_assets.spec.text import brief
from resources.errors import InputError

if TYPE_CHECKING:
    import dagster as dg
    from filelock import FileLock

Tell = Callable[[str], None]
"""Takes a line about the work."""

HOST_TAG = "panoptic/host"
"""Tag of the runs that a command executes itself, with the name of its machine."""
WORKER_TAG = "panoptic/worker"
"""Tag of the runs that the warm worker executes, or a process that it started, with the name of its
machine."""
AUTHOR_TAG = "panoptic/author"
"""Tag of the runs of acts: who acted."""


@contextmanager
def instance_of(
    home: Path, tell: Tell, overrides: Mapping[str, Any] | None = None, wait: bool = True
) -> "Iterator[dg.DagsterInstance]":
    """The project's Dagster instance, for one command at a time.

    Two processes that create its SQLite files at once fail ("table already exists"). And a command
    that was killed leaves its run started and its slot of the pool taken, for which the next
    command would wait for ever: but whoever holds this lock knows that such a run is over.

    Args:
        home: Its folder.
        tell: Is told what is waited for.
        overrides: Settings in place of those of its ``dagster.yaml``.
        wait: Whether another command's end is waited for.

    Raises:
        InputError: Another command works and is not waited for, or Dagster's database fails.
    """
    from filelock import Timeout

    lock = instance_lock(home)
    try:
        held = lock.acquire(timeout=0)
    except Timeout as error:
        if not wait:
            raise InputError(
                "Another panoptic-assets command is running. Nothing else may run meanwhile: wait "
                "until it has ended, then run the command again.",
                id="another-command-running",
            ) from error
        tell("Waiting for another panoptic-assets command to end …")
        held = lock.acquire()
    with held, open_instance(home, overrides) as instance, plain_database_faults(home):
        end_lost(instance, HOST_TAG, "The command that started this run was killed.")
        with suppress(Timeout), worker_lock(home).acquire(timeout=0):
            end_lost(instance, WORKER_TAG, "The worker that carried this run out was killed.")
        yield instance


def end_lost(instance: "dg.DagsterInstance", tag: str, reason: str) -> None:
    """End the runs of :func:`lost`.

    Args:
        instance: The instance.
        tag: :data:`HOST_TAG` or :data:`WORKER_TAG`.
        reason: What became of them.
    """
    from panoptic_assets.orchestration.runs import end

    for run in lost(instance, tag):
        end(instance, run, reason)


def lost(instance: "dg.DagsterInstance", tag: str) -> "list[dg.DagsterRun]":
    """The runs of this machine whose processes must be gone, if those with a tag are."""
    import dagster as dg

    from panoptic_assets.orchestration.runs import IN_PROGRESS

    # A process may be killed between making a run and starting it.
    statuses = [*IN_PROGRESS, dg.DagsterRunStatus.NOT_STARTED]
    mine = dg.RunsFilter(statuses=statuses, tags={tag: socket.gethostname()})
    found = []
    for run in instance.get_runs(mine):
        # *Re-execute* in the UI copies the tags of the run that it does again. Of those that are
        # launched, the worker's alone keep its tag.
        launched = tag == WORKER_TAG and run.status != dg.DagsterRunStatus.NOT_STARTED
        if launched or run.parent_run_id is None:
            found.append(run)
    return found


@contextmanager
def plain_database_faults(home: Path) -> Iterator[None]:
    """Around work on an instance: what its database raises becomes one plain line.

    Raises:
        InputError: Dagster's database fails.
    """
    try:
        with insides.database_faults():
            yield
    except insides.DatabaseFault as error:
        # Dagster passes on what its database raises: on a full disk at any of its events.
        reason = brief(str(error)).rstrip(".")
        raise InputError(
            "Dagster's database in {home} failed: {reason}. Check the room on the disk and "
            "the permissions there, or the database's address, then run the command again; "
            "what was committed is kept.",
            id="dagster-database-failed",
            home=home,
            reason=reason,
        ) from error


@contextmanager
def alone(instance: "dg.DagsterInstance", tell: Tell) -> Iterator[None]:
    """Take the writers' pools, or refuse: while they are taken, no run of the UI begins to write.

    Raises:
        InputError: A run is in progress.
    """
    import dagster as dg

    from panoptic_assets.orchestration.running import POOLS
    from panoptic_assets.orchestration.runs import IN_PROGRESS

    running = instance.get_runs(dg.RunsFilter(statuses=list(IN_PROGRESS)), limit=1)
    if running:
        raise InputError(
            "The Dagster run {run_id} is in progress. Nothing else may run meanwhile: wait until "
            "it has ended, then run the command again. If its process is gone, terminate the run "
            "in the Dagster UI.",
            id="dagster-run-in-progress",
            run_id=running[0].run_id,
        )
    storage = instance.event_log_storage
    mine = str(uuid4())  # of no run: what a killed command leaves is freed by the next one
    for pool in POOLS:
        wait_for_pool(instance, tell, pool)
    try:
        for pool in POOLS:
            storage.initialize_concurrency_limit_to_default(pool)
            storage.claim_concurrency_slot(pool, mine, "forget")
        yield
    finally:
        storage.free_concurrency_slots_for_run(mine)


def instance_lock(home: Path) -> "FileLock":
    """Held while a command works on an instance, and while its database may be created."""
    from filelock import FileLock

    return FileLock(home / "panoptic-assets.lock")


def worker_lock(home: Path) -> "FileLock":
    """Held by the warm worker while it lives: whoever gets it knows that none does."""
    from filelock import FileLock

    return FileLock(home / "panoptic-assets-worker.lock")


def ui_lock(home: Path) -> "FileLock":
    """Held while `panoptic-assets ui` shows an instance, and starts its runs."""
    from filelock import FileLock

    return FileLock(home / "panoptic-assets-ui.lock")


@contextmanager
def without_ui(home: Path) -> Iterator[None]:
    """Keep `panoptic-assets ui` from opening an instance.

    Raises:
        InputError: It has it open.
    """
    from filelock import Timeout

    try:
        held = ui_lock(home).acquire(timeout=0)
    except Timeout as error:
        raise InputError(
            "`panoptic-assets ui` has this project open. Nothing else may run meanwhile: wait "
            "until it has ended, then run the command again.",
            id="ui-has-project-open",
        ) from error
    with held:
        yield


def open_instance(home: Path, overrides: Mapping[str, Any] | None = None) -> "dg.DagsterInstance":
    """The Dagster instance in a folder, with some settings in place of its ``dagster.yaml``'s.

    Raises:
        InputError: Dagster cannot read its settings or reach its database.
    """
    try:
        return insides.instance_with(home, overrides)
    except OSError:
        raise
    # Whatever its YAML reader, its own checks or its database raise comes through here as it is.
    except Exception as error:
        database = getattr(error, "orig", None)
        reason = brief(str(database or error)).rstrip(".")
        if database:
            raise InputError(
                "Dagster cannot open its instance in {home}: {reason}. Check the room on the disk "
                "and the permissions there, or the database's address.",
                id="dagster-database-unreachable",
                home=home,
                reason=reason,
            ) from error
        raise InputError(
            "Dagster cannot open its instance in {home}: {reason}. Correct dagster.yaml there; "
            "the project's own is written anew once it is deleted.",
            id="dagster-yaml-unusable",
            home=home,
            reason=reason,
        ) from error


@contextmanager
def instance_to_read(home: Path) -> "Iterator[dg.DagsterInstance]":
    """The Dagster instance in a folder, beside commands that work on it."""
    with instance_lock(home):  # only while its database may be created
        instance = open_instance(home, insides.NO_COMPUTE_LOGS)
    with instance:
        yield instance


@contextmanager
def instance_to_look_at(home: Path) -> "Iterator[dg.DagsterInstance]":
    """The Dagster instance in a folder where nothing is written, not even a lock.

    One whose files are not there yet is empty, and is left without them. One that has been opened
    so in a process is read-only for whatever else that process opens meanwhile.

    Raises:
        InputError: Dagster cannot read its settings or reach its database.
    """
    from tempfile import TemporaryDirectory

    with TemporaryDirectory(prefix="panoptic-assets-") as elsewhere, insides.sqlite_read_only():
        if is_in_files(home) and not any(home.glob("*/*.db")):
            Path(elsewhere, "dagster.yaml").write_bytes((home / "dagster.yaml").read_bytes())
            home = Path(elsewhere)
        with open_instance(home) as instance:
            insides.make_no_id(instance)
            yield instance


def is_in_files(home: Path) -> bool:
    """Whether an instance keeps its runs and events in files of SQLite in its folder."""
    import yaml

    settings = yaml.safe_load((home / "dagster.yaml").read_text(encoding="utf-8")) or {}
    elsewhere = {"storage", "run_storage", "event_log_storage", "local_artifact_storage"}
    return not elsewhere & settings.keys()


def last_materialization(home: Path, asset: str) -> datetime | None:
    """When an asset was last materialized; None where the Dagster instance does not know.

    An instance whose files are not there yet is left without them.
    """
    if is_in_files(home):
        with suppress(sqlite3.Error, OSError):  # of another Dagster, or damaged: Dagster can tell
            return insides.last_materialization_in(home, asset)
    import dagster as dg

    with open_instance(home, insides.NO_COMPUTE_LOGS) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey(asset))
    return None if event is None else datetime.fromtimestamp(event.timestamp, UTC)


def authors_of_runs(home: Path) -> dict[str, str]:
    """Who started each Dagster run, by the tag of those that have it; none of what is not there.

    Without the import of Dagster, where its storage is the project's own.

    Args:
        home: The instance's folder.
    """
    import yaml

    settings = yaml.safe_load((home / "dagster.yaml").read_text(encoding="utf-8")) or {}
    if not {"storage", "run_storage", "local_artifact_storage"} & settings.keys():
        with suppress(sqlite3.Error, OSError):  # of another Dagster, or damaged: Dagster can tell
            return insides.values_of_run_tag(home, AUTHOR_TAG)
    import dagster as dg

    found = {}
    with open_instance(home, insides.NO_COMPUTE_LOGS) as instance:
        for _, names in instance.get_run_tags([AUTHOR_TAG]):
            for name in names:
                runs = instance.get_runs(dg.RunsFilter(tags={AUTHOR_TAG: name}))
                found.update(dict.fromkeys((run.run_id for run in runs), name))
    return found


def wait_for_pool(instance: "dg.DagsterInstance", tell: Tell, pool: str) -> None:
    """Wait until no run of the UI or of another tool writes what a pool is for.

    Inside a run Dagster would wait just so, but silently and deaf to Ctrl-C.
    """
    told = False
    while busy := holder_of(instance, pool):
        if not told:
            tell(waits_for(busy, pool))
            told = True
        time.sleep(1)


def waits_for(run_id: str, pool: str) -> str:
    """That an act waits, in words."""
    return (
        f"Waiting for the Dagster run {run_id}, which holds the pool {pool}. If its process is "
        "gone, terminate the run in the Dagster UI."
    )


def holder_of(instance: "dg.DagsterInstance", pool: str) -> str | None:
    """The id of the run that holds a pool; None where it is free. Slots of runs that are over are
    freed."""
    for slot in instance.event_log_storage.get_concurrency_info(pool).claimed_slots:
        run = instance.get_run_by_id(slot.run_id)
        if run is not None and not run.is_finished:
            return slot.run_id
        instance.event_log_storage.free_concurrency_slots_for_run(slot.run_id)
    return None

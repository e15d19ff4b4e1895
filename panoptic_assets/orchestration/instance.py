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
    import dagster as dg
    from filelock import Timeout

    from panoptic_assets.orchestration.runs import IN_PROGRESS, end

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
    with held, open_instance(home, overrides) as instance:
        mine = dg.RunsFilter(statuses=list(IN_PROGRESS), tags={HOST_TAG: socket.gethostname()})
        try:
            with insides.database_faults():
                for run in instance.get_runs(mine):
                    # *Re-execute* in the UI copies the tags of the run that it does again.
                    if run.parent_run_id is None:
                        end(instance, run, "The command that started this run was killed.")
                yield instance
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
    """Take the writers' pool, or refuse: while it is taken, no run of the UI begins to write.

    Raises:
        InputError: A run is in progress.
    """
    import dagster as dg

    from panoptic_assets.orchestration.running import POOL
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
    wait_for_pool(instance, tell)
    storage.initialize_concurrency_limit_to_default(POOL)
    storage.claim_concurrency_slot(POOL, mine, "forget")
    try:
        yield
    finally:
        storage.free_concurrency_slots_for_run(mine)


def instance_lock(home: Path) -> "FileLock":
    """Held while a command works on an instance, and while its database may be created."""
    from filelock import FileLock

    return FileLock(home / "panoptic-assets.lock")


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


def last_materialization(home: Path, asset: str) -> datetime | None:
    """When an asset was last materialized; None where the Dagster instance does not know.

    An instance whose files are not there yet is left without them.
    """
    import yaml

    settings = yaml.safe_load((home / "dagster.yaml").read_text(encoding="utf-8")) or {}
    if not {"storage", "event_log_storage", "local_artifact_storage"} & settings.keys():
        if not any(home.glob("*/*.db")):
            return None
        with suppress(sqlite3.Error):  # of another Dagster, or damaged, which Dagster can tell
            return insides.last_materialization_in(home, asset)
    import dagster as dg

    with open_instance(home, insides.NO_COMPUTE_LOGS) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey(asset))
    return None if event is None else datetime.fromtimestamp(event.timestamp, UTC)


def wait_for_pool(instance: "dg.DagsterInstance", tell: Tell) -> None:
    """Wait until no run of the UI or of another tool writes to the store.

    Inside a run Dagster would wait just so, but silently and deaf to Ctrl-C.
    """
    from panoptic_assets.orchestration.running import POOL

    told = False
    while True:
        busy = []
        for slot in instance.event_log_storage.get_concurrency_info(POOL).claimed_slots:
            run = instance.get_run_by_id(slot.run_id)
            if run is None or run.is_finished:
                instance.event_log_storage.free_concurrency_slots_for_run(slot.run_id)
            else:
                busy.append(slot.run_id)
        if not busy:
            return
        if not told:
            tell(
                f"Waiting for the Dagster run {busy[0]}, which writes to the store. If its process "
                "is gone, terminate the run in the Dagster UI."
            )
            told = True
        time.sleep(1)

"""Dagster runs of one instance: which are in progress, and ending those that are over.

Belongs here: what a run's status and tags tell, whatever it computes. Does not belong here: asking
for runs (``panoptic_assets.upkeep.automation``) and removing them (``history``).
"""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from panoptic_assets.orchestration import insides

FINISHED = (
    dg.DagsterRunStatus.SUCCESS,
    dg.DagsterRunStatus.FAILURE,
    dg.DagsterRunStatus.CANCELED,
)
IN_PROGRESS = (
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.SUSPENDED,
    dg.DagsterRunStatus.CANCELING,
)
"""Of runs that have a process, or had one when it was killed."""
NOT_FINISHED = (*IN_PROGRESS, dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED)

_SECONDS_TO_CANCEL = 10
"""How long runs get to end by themselves."""
_RETRY_SECONDS = 300
"""How long a run whose process was killed may wait for Dagster, which starts it again (its
``run_retries``) within seconds; or does not, where it has never looked at the failures before."""


def end(
    instance: dg.DagsterInstance, run: dg.DagsterRun, reason: str, cancelled: bool = False
) -> None:
    """End a run that no process works on any more, and free its slots of pools.

    It has ended as its log says; else it was cancelled, if somebody has asked for that, or failed.

    Args:
        instance: The instance.
        run: The run.
        reason: Why it has ended.
        cancelled: Whether it is known to have been cancelled.
    """
    now = instance.get_run_by_id(run.run_id) or run
    if not now.is_finished and not insides.end_in_log(instance, now.run_id):
        if cancelled or now.status == dg.DagsterRunStatus.CANCELING:
            instance.report_run_canceled(now, reason)
        else:
            instance.report_run_failed(now, reason)
    instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def end_orphans(instance: dg.DagsterInstance) -> list[str]:
    """Take runs for failed whose code server is gone, as after a loss of power; their ids.

    Only that server would notice that their processes are gone, and until somebody does, no refresh
    is asked for.
    """
    ended = []
    for run in instance.get_runs(dg.RunsFilter(statuses=list(IN_PROGRESS))):
        # A run without a code server is a command's, which the next command ends.
        if insides.answers(run) is False:
            end(instance, run, "The process of this run is gone.")
            ended.append(run.run_id)
    return ended


def of_code_servers(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    """The runs in progress that code servers have started.

    Those of commands and of other tools have processes of their own.
    """
    in_progress = instance.get_runs(dg.RunsFilter(statuses=list(IN_PROGRESS)))
    return [run for run in in_progress if insides.is_of_code_server(run)]


def cancel(instance: dg.DagsterInstance, runs: list[dg.DagsterRun]) -> None:
    """Cancel runs of the code server, which ends only after them."""
    for run in runs:
        with suppress(Exception):  # a run that ends meanwhile
            instance.run_launcher.terminate(run.run_id)
    deadline = time.monotonic() + _SECONDS_TO_CANCEL
    while of_code_servers(instance) and time.monotonic() < deadline:
        time.sleep(0.2)
    for run in of_code_servers(instance):
        instance.report_run_canceled(run, message="The UI that had started this run was stopped.")


def pending(instance: dg.DagsterInstance, concerns: Callable[[dg.DagsterRun], bool]) -> str | None:
    """The id of a run that waits, works or is about to be started again, if any.

    Args:
        instance: The instance.
        concerns: Whether a run is one of those that are asked for.
    """
    waiting = dg.RunsFilter(statuses=list(NOT_FINISHED))
    failed = dg.RunsFilter(
        statuses=[dg.DagsterRunStatus.FAILURE],
        tags={insides.WILL_RETRY_TAG: "true"},
        updated_after=datetime.fromtimestamp(time.time() - _RETRY_SECONDS, UTC),
    )
    # In this order: else a run that fails in between is in neither.
    for run in [*instance.get_runs(waiting), *instance.get_runs(failed)]:
        if not concerns(run):
            continue
        if run.is_finished and (again := run.tags.get(insides.AUTO_RETRY_RUN_ID_TAG)):
            child = instance.get_run_by_id(again)
            if child is None or child.is_finished:
                continue
        return run.run_id
    return None


def read_cursor(cursor: str | None) -> dict[str, Any]:
    """What a sensor kept from its last look; empty where it kept nothing that can be read."""
    try:
        content = json.loads(cursor or "{}")
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}

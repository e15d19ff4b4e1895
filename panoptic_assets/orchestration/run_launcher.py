"""The run launcher that ``dagster.yaml`` names: it passes Dagster runs to the warm worker.

Belongs here: asking the worker to take Dagster runs, and ending them. Does not belong here: the
worker (``panoptic_assets.serve.worker``), and runs that commands execute themselves
(``orchestration.launching``).

What the worker declines, since it would take long, and everything where no worker runs, is launched
as Dagster does by itself: by the code server, in a process of its own.
"""

import socket
import time
from typing import Any

import dagster as dg

from panoptic_assets.orchestration import insides
from panoptic_assets.orchestration.instance import WORKER_TAG
from panoptic_assets.orchestration.worker_link import Message, WorkerLink

_SECONDS_TO_RESTART = 20.0
"""How long is waited for a worker that takes up code that was changed: four seconds, usually."""
_SECONDS_TO_ANSWER = 20.0
"""How long the worker may take to prepare a run: a model that it loads first takes five."""
_NOBODY = "none"
"""In place of a machine's name, at a run that is no worker's."""


class WorkerRunLauncher(dg.DefaultRunLauncher):
    """Launches Dagster runs in the warm worker, or as Dagster does by itself."""

    def launch_run(self, context: Any) -> None:
        """Pass a Dagster run to the worker; if that declines, to the code server."""
        run_id, deadline = context.dagster_run.run_id, time.monotonic() + _SECONDS_TO_RESTART
        told = self._ask({"run": run_id}, if_none={"declined": True})
        while "restarting" in told and time.monotonic() < deadline:
            time.sleep(0.2)
            told = self._ask({"run": run_id}, if_none=told)
        if "restarting" in told:
            told = {"declined": True}
        if "declined" not in told and "accepted" not in told:
            # What was not answered in time must not be carried out twice.
            told = self._ask({"withdraw": run_id}, if_none={"withdrawn": True})
            if not told.get("withdrawn"):
                return
        if "accepted" not in told:
            if WORKER_TAG in context.dagster_run.tags:
                # Copied by *Re-execute* from a run that was the worker's.
                self._instance.add_run_tags(run_id, {WORKER_TAG: _NOBODY})
            super().launch_run(context)

    def terminate(self, run_id: str) -> bool:
        """Cancel a Dagster run; False where it was over.

        Of one that waits in the worker's queue, which to Dagster is starting, its UI never asks
        this: Dagster's GraphQL refuses to terminate what is neither queued nor started
        (``CANCELABLE_RUN_STATUSES``) before it comes here. The UI then offers to force it, which
        only marks it as cancelled: the worker leaves such a run out when its turn comes.
        """
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.tags.get(WORKER_TAG, _NOBODY) == _NOBODY:
            return bool(super().terminate(run_id))
        if run.is_finished:
            return False
        self._instance.report_run_canceling(run)
        if not self._ask({"cancel": run_id}, if_none={}).get("cancelling"):
            # Its worker is gone, or has ended it just now.
            current = self._instance.get_run_by_id(run_id)
            if current is not None and not current.is_finished:
                self._instance.report_run_canceled(current)
                self._instance.event_log_storage.free_concurrency_slots_for_run(run_id)
        return True

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Whether Dagster's monitoring may ask: it may."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> Any:
        """Whether the worker still has a run; those of other processes are left to themselves."""
        if run.tags.get(WORKER_TAG) != socket.gethostname():
            return insides.health(True)
        return insides.health(run.run_id in self._ask({"knows": True}, {}).get("runs", ()))

    def _ask(self, request: Message, if_none: Message) -> Message:
        """The worker's answer; what is given where there is no worker, nothing if it is late."""
        link = WorkerLink.to(insides.home_of(self._instance))
        if link is None:
            return if_none
        with link:
            try:
                link.send(request)
            except OSError:  # it ends just now, and has heard nothing
                return if_none
            return link.answer(_SECONDS_TO_ANSWER) or {}

"""A project that `panoptic-assets ui` has open, with its worker, asked as Dagster's pages ask.

Does not belong here: the pages themselves (``tests/browser``) and commands (``tests/commands.py``).
"""

import json
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg

from panoptic_assets.orchestration.instance import open_instance
from panoptic_assets.orchestration.worker_link import WorkerLink, address_file
from resources import ENVIRONMENT_VARIABLE
from resources.project_folder import dagster_home, find
from tests.browser.conftest import start
from tests.workbench import PARTITIONS

CODE_LOCATION = {
    "repositoryLocationName": "panoptic_assets.definitions",
    "repositoryName": "__repository__",
}
_LAUNCH = """mutation($p: ExecutionParams!) {launchRun(executionParams: $p) {
  __typename ... on LaunchRunSuccess {run {runId}} ... on PythonError {message}
  ... on RunConfigValidationInvalid {errors {message}}}}"""
_AGAIN = """mutation($p: ReexecutionParams!) {launchRunReexecution(reexecutionParams: $p) {
  __typename ... on LaunchRunSuccess {run {runId}} ... on PythonError {message}}}"""
_TERMINATE = """mutation($r: String!, $p: TerminateRunPolicy) {
  terminateRun(runId: $r, terminatePolicy: $p) {
    __typename ... on TerminateRunFailure {message}}}"""


def until(what: Callable[[], Any], seconds: float = 300) -> Any:
    """Wait until a function gives something, and return it.

    Long, since it only ends what would wait for ever: a busy machine takes ten times as long.
    """
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


def processes_of(folder: Path) -> dict[int, bytes]:
    """Ids of the processes that work on a project, with their command lines."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or is another user's
            if f"{ENVIRONMENT_VARIABLE}={folder}".encode() in (process / "environ").read_bytes():
                found[int(process.name)] = (process / "cmdline").read_bytes()
    return found


@dataclass
class Served:
    """A project, the process that serves it, and where."""

    folder: Path
    process: "subprocess.Popen[str]"
    url: str
    said: Path
    """File of what it has said on its standard error."""
    instance: dg.DagsterInstance = field(repr=False)

    @property
    def home(self) -> Path:
        """The folder of the project's Dagster instance."""
        return dagster_home(find(self.folder))

    def address(self) -> dict[str, Any]:
        """What the worker's file says; empty while there is none."""
        with suppress(OSError, ValueError):
            found = json.loads(address_file(self.home).read_bytes())
            return found if isinstance(found, dict) else {}
        return {}

    def worker(self, other_than: int | None = None) -> int:
        """The process id of the worker, once it answers."""

        def answering() -> int | None:
            pid = self.knows().get("pid")
            return pid if pid != other_than else None

        found: int = until(answering)
        return found

    def server(self) -> int:
        """The process id of the web server, which the command has started."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        [found] = children.split()
        return int(found)

    def knows(self) -> dict[str, Any]:
        """The worker's id, and which runs it has; what is just replaced is waited for."""
        found: dict[str, Any] = until(self._answered)
        return found

    def _answered(self) -> dict[str, Any] | None:
        link = WorkerLink.to(self.home)
        if link is None:
            return None
        with link, suppress(OSError):
            link.send({"knows": True})
            return link.answer(60)
        return None

    def graphql(self, text: str, **variables: Any) -> dict[str, Any]:
        """What Dagster's web server answers."""
        request = urllib.request.Request(
            f"{self.url}/graphql",
            json.dumps({"query": text, "variables": variables}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            found: dict[str, Any] = json.load(answer)["data"]
        return found

    def launch(
        self, asset: str, key: str | None, more_tags: Mapping[str, str] | None = None, **config: Any
    ) -> str:
        """Press *Materialize* in the Launchpad of an asset; the Dagster run's id."""
        given = {**(more_tags or {}), **({"dagster/partition": key} if key else {})}
        tags = [{"key": name, "value": value} for name, value in given.items()]
        if key:
            self.instance.add_dynamic_partitions(PARTITIONS[asset], [key])
        selection = {"jobName": "__ASSET_JOB", "assetSelection": [{"path": [asset]}]}
        return self._launch(selection, {asset: {"config": config}}, tags)

    def launch_job(self, job: str, op: str, **config: Any) -> str:
        """Press *Launch* in the Launchpad of a job of one op; the Dagster run's id."""
        return self._launch({"jobName": job}, {op: {"config": config}}, [])

    def _launch(
        self, selection: dict[str, Any], ops: dict[str, Any], tags: list[dict[str, str]]
    ) -> str:
        asked = {
            "selector": CODE_LOCATION | selection,
            "runConfigData": json.dumps({"ops": ops}),
            "executionMetadata": {"tags": tags},
        }
        answer = self.graphql(_LAUNCH, p=asked)["launchRun"]
        assert "run" in answer, answer
        return str(answer["run"]["runId"])

    def again(self, run_id: str) -> str:
        """Press *Re-execute all*; the new Dagster run's id."""
        asked = {"parentRunId": run_id, "strategy": "ALL_STEPS"}
        answer = self.graphql(_AGAIN, p=asked)["launchRunReexecution"]
        assert "run" in answer, answer
        return str(answer["run"]["runId"])

    def terminate(self, run_id: str, at_once: bool = False) -> None:
        """Press *Terminate* at a Dagster run; of one that only starts, the UI has another one."""
        policy = "MARK_AS_CANCELED_IMMEDIATELY" if at_once else "SAFE_TERMINATE"
        answer = self.graphql(_TERMINATE, r=run_id, p=policy)["terminateRun"]
        assert answer["__typename"] == "TerminateRunSuccess", answer

    def run(self, run_id: str) -> dg.DagsterRun:
        """A Dagster run as it is now."""
        found = self.instance.get_run_by_id(run_id)
        assert found is not None
        return found

    def ended(self, run_id: str) -> dg.DagsterRun:
        """A Dagster run, once it is over."""
        until(lambda: self.run(run_id).is_finished)
        return self.run(run_id)

    def at_work(self, run_id: str) -> None:
        """Wait until a Dagster run computes: its step has started, with its slot of the pool."""
        kind = dg.DagsterEventType.STEP_START
        until(lambda: self.instance.all_logs(run_id, of_type=kind))

    def newest(self) -> dg.DagsterRun:
        """The Dagster run that was made last."""
        [found] = self.instance.get_runs(limit=1)
        return found


@contextmanager
def serve(folder: Path, said: Path) -> Iterator[Served]:
    """Open a project, and wait for its worker; whoever asks ends the process, or it is killed."""
    with said.open("w") as errors:
        process, url = start(folder, stderr=errors)
    try:
        with open_instance(dagster_home(find(folder))) as instance:
            served = Served(folder, process, url, said, instance)
            served.worker()
            yield served
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(60)
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()

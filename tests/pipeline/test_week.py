"""A week of a corpus that keeps itself up to date, through the real UI and its daemon."""

import json
import os
import re
import signal
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import pytest
import yaml
from click.testing import CliRunner
from dagster import DagsterEventType
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._core.utils import make_new_run_id

from panoptic_assets.cli.main import main
from panoptic_assets.project import Project
from resources.project_folder import ProjectFolder, dagster_home
from tests.browser.conftest import start, stop
from tests.tiny import tiny_project, write_images

LOCATION = "panoptic_assets.definitions"
SENSORS = ("corpus_changed", "new_configs", "backfill_runs_after_refresh_corpus")
REFRESH = ("refresh_corpus", "tiny")
POLICIES = ("backfill_runs", None)


@dataclass
class Week:
    """A project that is open, and the runs that its daemon has made."""

    folder: Path
    url: str
    instance: dg.DagsterInstance
    runs: set[str] = field(default_factory=set)

    @property
    def images(self) -> Path:
        return self.folder.parent / "images"

    @property
    def read(self) -> Project:
        return Project(self.folder)

    def file(self, number: int) -> Path:
        return self.images / f"{number // 200:04}" / f"{number:06}.jpg"

    def switch_on(self, sensor: str) -> None:
        selector = (
            f'{{repositoryName: "__repository__", repositoryLocationName: "{LOCATION}", '
            f'sensorName: "{sensor}"}}'
        )
        query = f"mutation{{startSensor(sensorSelector: {selector}){{__typename}}}}"
        request = urllib.request.Request(
            f"{self.url}/graphql",
            json.dumps({"query": query}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert json.load(answer)["data"]["startSensor"]["__typename"] == "Sensor"

    def looks(self, sensor: str) -> int:
        """The number of ticks that a sensor has finished."""
        [state] = [state for state in self.instance.all_instigator_state() if state.name == sensor]
        ticks = self.instance.get_ticks(state.instigator_origin_id, state.selector_id)
        assert not [tick.error for tick in ticks if tick.error]
        return sum(tick.status.value != "STARTED" for tick in ticks)

    def wait(self, done) -> None:
        deadline = time.monotonic() + 300
        while not done():
            assert time.monotonic() < deadline, self.told()
            time.sleep(0.5)

    def told(self) -> str:
        """What the sensors said last, for whoever must find out why nothing happens."""
        said = {run.run_id: (run.job_name, run.status) for run in self.instance.get_runs()}
        for state in self.instance.all_instigator_state():
            ticks = self.instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=3)
            said[state.name] = [(tick.status, tick.skip_reason) for tick in ticks]
        return str(said)

    def day(self, *expected: tuple[str, str | None]) -> None:
        """Let a day pass: the runs that were expected have succeeded, and no other was started."""

        def new() -> list[dg.DagsterRun]:
            return [run for run in self.instance.get_runs() if run.run_id not in self.runs]

        self.wait(lambda: sum(run.is_finished for run in new()) >= len(expected))
        # What is not expected would come with the next two looks: a change is seen, then asked for.
        # The days on which something happens have theirs at the beginning of the next one.
        if not expected:
            before = {sensor: self.looks(sensor) for sensor in SENSORS}
            self.wait(lambda: all(self.looks(name) >= before[name] + 3 for name in SENSORS))
        found = new()
        made = Counter((run.job_name, run.tags.get("dagster/partition")) for run in found)
        assert made == Counter(expected), self.told()
        assert {run.status for run in found} <= {dg.DagsterRunStatus.SUCCESS}
        self.runs |= {run.run_id for run in found}

    def corpus(self) -> dict[str, int]:
        """How many files have which status, and how many images have a vector."""
        return dict(Counter(self.read.files()["status"].to_pylist())) | {
            "vectors": len(self.read.vectors())
        }

    def status(self, key: str) -> dict[str, int] | str:
        """Why a run is stale, with counts; or its state."""
        [found] = [s for s in self.read.status(key)["staleness"] if s["key"] == key]
        if found["state"] != "stale":
            return found["state"]
        return {reason["kind"]: reason["count"] for reason in found["reasons"]}

    def tagged(self, property_name: str, path: str) -> set[str]:
        """The images that carry a tag."""
        [tag] = [tag for tag in self.read.tags(property_name) if tag["path"] == path]
        return set(tag["image_ids"])

    def command(self, *arguments: str) -> None:
        answer = CliRunner().invoke(main, ["--project", str(self.folder), *arguments])
        assert answer.exit_code == 0, answer.output


@contextmanager
def opened(project: ProjectFolder) -> Iterator[Week]:
    """The project in the real UI, whose daemon looks at the queue each second."""
    home = dagster_home(project)
    with (home / "dagster.yaml").open("r+") as file:
        if "run_queue" not in file.read():
            file.write("\nrun_queue:\n  dequeue_interval_seconds: 1\n")
    process, url = start(project.folder)
    try:
        with dg.DagsterInstance.from_config(str(home)) as instance:
            yield Week(project.folder, url, instance)
    finally:
        assert stop(process) == 0


@pytest.fixture
def week(tmp_path, monkeypatch):
    monkeypatch.setenv("PANOPTIC_SENSOR_SECONDS", "1")
    with opened(tiny_project(tmp_path, 30)) as found:
        yield found


def test_a_week_of_changes_has_the_runs_that_it_needs_and_no_other(week):
    """One run stays as it is and the status says how old it is, another one follows the corpus;
    what people named keeps its name."""
    for sensor in SENSORS:
        week.switch_on(sensor)

    week.day(REFRESH, POLICIES)  # the day on which it is switched on
    assert week.corpus() == {"present": 30, "vectors": 30}
    week.command("cluster", "greek", "--nb-clusters", "3")
    week.command("save", "greek")
    week.command("tag", "rename", "0", "Vases grecs")
    week.command("cluster", "spartan", "--nb-clusters", "3")
    week.command("save", "spartan", "--property", "Sparte")
    week.command("tag", "rename", "0", "Hoplites", "--property", "Sparte")
    week.command("policy", "spartan", "assign")
    week.runs |= {run.run_id for run in week.instance.get_runs()}
    vases, hoplites = week.tagged("Clustering", "Vases grecs"), week.tagged("Sparte", "Hoplites")

    def is_true(greek):
        """What the status says of both runs; and no name was lost."""
        assert week.status("greek") == greek
        assert week.status("spartan") == "up to date"
        assert week.tagged("Clustering", "Vases grecs") == vases
        # An image that is missing keeps its tag: its file may come back.
        assert week.tagged("Sparte", "Hoplites") >= hoplites
        tagged = {image for tag in week.read.tags("Sparte") for image in tag["image_ids"]}
        rows = week.read.files().to_pylist()
        present = {row["image_id"] for row in rows if row["status"] == "present"}
        assert tagged & present == set(week.read.assignments("spartan")["image_id"].to_pylist())

    is_true("up to date")

    # Until Thursday five images are new, two moved, three deleted, one is corrupted, and one only
    # touched. At once, since each of the daemon's runs is a process of 8 CPU seconds.
    write_images(week.images, 5, start=30)
    for number in (1, 2):
        week.file(number).rename(week.images / f"moved {number}.jpg")
    for number in (3, 4, 5):
        week.file(number).unlink()
    (week.images / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    os.utime(week.file(10))
    week.day(REFRESH, POLICIES)
    assert week.corpus() == {"present": 32, "missing": 5, "quarantined": 1, "vectors": 35}
    is_true({"images_added": 5, "images_removed": 3})

    write_images(week.images, 500, start=100)  # Friday: a burst, and a run to compute
    run = week.folder / "configs" / "runs" / "roman.yaml"
    run.write_text("ops: {clustering: {config: {method: {kmeans: {nb_clusters: 4}}}}}\n")
    week.day(REFRESH, POLICIES, ("divide_corpus", "roman"))
    assert week.corpus() == {"present": 532, "missing": 5, "quarantined": 1, "vectors": 535}
    is_true({"images_added": 505, "images_removed": 3})

    week.day()  # the weekend: nothing
    is_true({"images_added": 505, "images_removed": 3})


def kill_worker(week) -> str:
    """Kill the process of the refresh that is in progress, as a machine without memory does."""
    found = []

    def began() -> bool:
        for run in week.instance.get_runs():
            for event in week.instance.all_logs(run.run_id, DagsterEventType.ENGINE_EVENT):
                if pid := re.search(r"process .*\(pid: (\d+)\)", event.message):
                    found.append((run.run_id, int(pid[1])))
        return bool(found)

    week.wait(began)
    run_id, pid = found[0]
    os.kill(pid, signal.SIGKILL)
    week.wait(lambda: week.instance.get_run_by_id(run_id).is_finished)
    assert week.instance.get_run_by_id(run_id).status == dg.DagsterRunStatus.FAILURE
    return run_id


def is_made_again(week, killed: str, by_dagster: bool) -> None:
    """Of a refresh that was killed: once, by Dagster itself or by the sensor."""
    week.wait(lambda: any(run.is_success for run in week.instance.get_runs()))
    [made] = [run for run in week.instance.get_runs() if run.is_success]
    assert (made.parent_run_id == killed) is by_dagster
    assert week.corpus() == {"present": 30, "vectors": 30}
    before = week.looks("corpus_changed")
    week.wait(lambda: week.looks("corpus_changed") >= before + 3)
    assert len(week.instance.get_runs()) == 2  # and nothing is asked for any more


def test_a_refresh_whose_worker_was_killed_is_made_without_anybody(tmp_path, monkeypatch):
    """With the dagster.yaml of an older project by the sensor: the folder does not change any
    more."""
    monkeypatch.setenv("PANOPTIC_SENSOR_SECONDS", "2")
    project = tiny_project(tmp_path, 30)
    settings = dagster_home(project) / "dagster.yaml"
    older = yaml.safe_load(settings.read_text())
    del older["run_retries"]
    settings.write_text(yaml.safe_dump(older))
    with opened(project) as week:
        week.switch_on("corpus_changed")
        is_made_again(week, kill_worker(week), by_dagster=False)


def test_a_run_whose_worker_was_killed_or_whose_machine_went_down_is_made_again(
    tmp_path, monkeypatch
):
    """By Dagster itself; also where neither its process nor the one that would have noticed is
    there any more."""
    monkeypatch.setenv("PANOPTIC_SENSOR_SECONDS", "2")
    project = tiny_project(tmp_path, 30)
    with opened(project) as week:
        week.switch_on("corpus_changed")
        is_made_again(week, kill_worker(week), by_dagster=True)
        before = {run.run_id for run in week.instance.get_runs()}
        write_images(week.images, 5, start=30)
        week.wait(lambda: len(week.instance.get_runs()) > 2)
    with dg.DagsterInstance.from_config(str(dagster_home(project))) as instance:
        [ended] = [run for run in instance.get_runs() if run.run_id not in before]
        server = json.dumps({"host": "localhost", "socket": str(tmp_path / "gone")})
        lost = instance.add_run(
            dg.DagsterRun(
                ended.job_name,
                make_new_run_id(),
                status=dg.DagsterRunStatus.STARTED,
                tags={**ended.tags, GRPC_INFO_TAG: server},
                remote_job_origin=ended.remote_job_origin,
                job_code_origin=ended.job_code_origin,
                asset_selection=ended.asset_selection,
                asset_check_selection=ended.asset_check_selection,
                job_snapshot_id=ended.job_snapshot_id,
                execution_plan_snapshot_id=ended.execution_plan_snapshot_id,
            )
        )
        instance.event_log_storage.initialize_concurrency_limit_to_default("lancedb_write")
        instance.event_log_storage.claim_concurrency_slot("lancedb_write", lost.run_id, "images")
    with opened(project) as week:
        assert week.instance.get_run_by_id(lost.run_id).status == dg.DagsterRunStatus.FAILURE
        week.wait(
            lambda: any(
                run.is_success and run.parent_run_id == lost.run_id
                for run in week.instance.get_runs()
            )
        )
        assert week.corpus() == {"present": 35, "vectors": 35}

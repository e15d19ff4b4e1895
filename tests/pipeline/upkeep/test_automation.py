"""Sensors and schedules: what they ask for and, above all, what they don't."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from dagster._core.definitions.partitions.context import partition_loading_context

from panoptic_assets.orchestration.running import plain_failures
from panoptic_assets.upkeep.automation import (
    after,
    corpus_changed,
    daily_refresh,
    notify_of_failures,
    notify_of_inventory,
    project_after_refresh_corpus,
    weekly,
)
from panoptic_assets.upkeep.jobs import refresh_corpus
from panoptic_assets.upkeep.new_configs import new_configs
from resources.errors import InputError, UnavailableError
from resources.notifier import Notifier, without_secrets
from resources.project_folder import ProjectSettings, create, dagster_home
from resources.registry import Registry
from resources.source import ImageSource
from tests.tiny import write_images, write_model
from tests.workbench import Workbench, metadata


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def tiny(tiny_model, tmp_path):
    """A project of ten images by a model that costs nothing; nothing is refreshed yet."""
    images = tmp_path / "images"
    write_images(images, 10)
    project = create(tmp_path / "project", ProjectSettings(images=str(images), vector_type="tiny"))
    for file in project.configs.rglob("*.yaml"):
        file.unlink()
    (project.configs / "models" / "tiny.yaml").write_text(
        f"model: local-dir:{tiny_model}\nprecision: fp32\n"
    )
    return Watched(project, dg.DagsterInstance.ephemeral())


@dataclass
class Watched(Workbench):
    """A project and the cursors of its sensors."""

    cursors: dict[str, str | None] = field(default_factory=dict)

    @property
    def images(self):
        return Path(self.project.images)

    @property
    def resources(self):
        folder = str(self.project.folder)
        return {
            "source": ImageSource(root=self.project.images),
            "store": self.store,
            "registry": Registry(folder=folder),
        }

    def tick(self, sensor) -> dg.SensorResult:
        """One look of a sensor, with the cursor that the last one has left."""
        arguments = {
            name: resource
            for name, resource in self.resources.items()
            if name in sensor.required_resource_keys
        }
        with (
            dg.build_sensor_context(
                instance=self.instance,
                cursor=self.cursors.get(sensor.name),
                definitions=self.definitions,
                resources=arguments,
                sensor_name=sensor.name,
            ) as context,
            partition_loading_context(dynamic_partitions_store=self.instance),
        ):
            found = sensor.evaluate_tick(context)
        self.cursors[sensor.name] = found.cursor
        return found

    def asked(self, sensor) -> list[tuple[str, str]]:
        """The runs that a look asks for: job and partition."""
        return [
            (request.job_name or "refresh_corpus", request.partition_key)
            for request in self.tick(sensor).run_requests
        ]

    def said(self, sensor) -> str:
        """Why a look asks for nothing."""
        found = self.tick(sensor)
        assert not found.run_requests
        return found.skip_message

    def refresh(self, vector_type="tiny", tags=None, **options):
        """The job, as the daemon runs it."""
        self.instance.add_dynamic_partitions("vector_types", [vector_type])
        return self.definitions.resolve_job_def("refresh_corpus").execute_in_process(
            instance=self.instance, partition_key=vector_type, tags=tags, **options
        )

    def die(self, request) -> None:
        """What a request leaves whose worker was killed."""
        run = self.instance.create_run_for_job(
            self.definitions.resolve_job_def("refresh_corpus"),
            status=dg.DagsterRunStatus.STARTED,
            tags={**request.tags, "dagster/partition": request.partition_key},
        )
        self.instance.report_run_failed(run)

    def write(self, file, text):
        path = self.project.configs / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


class Clock:
    """The time of the sensors, which passes when a test says so."""

    def __init__(self, monkeypatch):
        self._now = time.time()
        monkeypatch.setattr("panoptic_assets.upkeep.automation.time.time", lambda: self._now)

    def pass_by(self, seconds):
        self._now += seconds


REFRESH = [("refresh_corpus", "tiny")]


def run_file(asset="clustering", **config):
    return json.dumps({"ops": {asset: {"config": config}}})


def test_everything_is_off_until_somebody_switches_it_on(tiny):
    repository = tiny.definitions.get_repository_def()
    parts = [*repository.sensor_defs, *repository.schedule_defs]
    assert {part.name for part in parts} >= {
        "corpus_changed",
        "daily_refresh",
        "new_configs",
        "notify_of_failures",
        "notify_of_inventory",
        "weekly_retention",
    }
    assert {part.default_status.value for part in parts} == {"STOPPED"}


def test_the_job_refreshes_the_corpus_by_one_vector_type(tiny):
    made = [event.materialization for event in tiny.refresh().get_asset_materialization_events()]
    assert {(event.asset_key.to_user_string(), event.partition) for event in made} == {
        ("images", None),
        ("inventory", None),
        ("embeddings", "tiny"),
        ("neighbors", "tiny"),
    }
    assert len(tiny.read.vectors()) == 10


def test_a_new_folder_is_refreshed_once_it_is_quiet(tiny):
    """A copy in progress is not ingested by halves."""
    assert "other than before" in tiny.said(corpus_changed)
    write_images(tiny.images, 5, start=10)  # the copy goes on
    assert "15 files, other than before" in tiny.said(corpus_changed)
    assert tiny.asked(corpus_changed) == REFRESH


def settled(tiny):
    """A corpus that is refreshed, and of which the sensor knows that."""
    tiny.refresh()
    tiny.said(corpus_changed)
    assert "has read already" in tiny.said(corpus_changed)
    return tiny


def test_an_unchanged_folder_asks_for_nothing(tiny):
    settled(tiny)
    assert "10 files, as at the last refresh" in tiny.said(corpus_changed)


@pytest.mark.parametrize("change", ["add", "remove", "move", "replace", "touch"])
def test_each_change_is_refreshed_once(tiny, change):
    """So is a file that was only touched, though that refresh commits nothing."""
    settled(tiny)
    one = tiny.images / "0000" / "000001.jpg"
    match change:
        case "add":
            write_images(tiny.images, 1, start=20)
        case "remove":
            one.unlink()
        case "move":
            one.rename(tiny.images / "moved.jpg")
        case "replace":
            one.write_bytes((tiny.images / "0000" / "000002.jpg").read_bytes())
        case "touch":
            os.utime(one)
    tiny.said(corpus_changed)
    [request] = tiny.tick(corpus_changed).run_requests
    tiny.refresh(request.partition_key, request.tags)
    assert re.search("as at the last refresh|has read already", tiny.said(corpus_changed))
    assert "as at the last refresh" in tiny.said(corpus_changed)


@pytest.mark.parametrize("fate", ["no run", "killed"])
def test_a_refresh_that_was_asked_for_and_died_is_asked_for_again(tiny, fate, monkeypatch):
    """The folder does not change any more: nothing else would tell that it is still to be read."""
    now = Clock(monkeypatch)
    settled(tiny)
    write_images(tiny.images, 1, start=20)
    tiny.said(corpus_changed)
    keys = []
    for pause in (120, 240, 480, 960, 1920, 3600, 3600):
        [request] = tiny.tick(corpus_changed).run_requests
        keys.append(request.run_key)
        if fate == "killed":
            tiny.die(request)
        said = tiny.said(corpus_changed)
        assert ("did not succeed" if fate == "killed" else "no refresh was made") in said
        now.pass_by(pause - 1)
        assert f"asked for again in {1} s" in tiny.said(corpus_changed)
        now.pass_by(1)
    assert len(set(keys)) == len(keys)  # Dagster drops a request whose run key it has seen
    [request] = tiny.tick(corpus_changed).run_requests
    tiny.refresh(request.partition_key, request.tags)
    assert "has read already" in tiny.said(corpus_changed)
    assert "as at the last refresh" in tiny.said(corpus_changed)
    assert len(tiny.read.vectors()) == 11


def test_only_what_did_not_succeed_is_asked_for_again(tiny, tiny_model, monkeypatch):
    """Beside a file that is tried again each time: what has succeeded is the end of a change."""
    now = Clock(monkeypatch)
    tiny.write("models/twin.yaml", f"model: local-dir:{tiny_model}\ngreyscale: true\n")
    tiny.refresh()
    tiny.refresh("twin")
    Path(os.fsdecode(bytes(tiny.images) + b"/\xff.jpg")).write_bytes(b"of no known encoding")
    write_images(tiny.images, 1, start=10)
    tiny.said(corpus_changed)
    first, second = tiny.tick(corpus_changed).run_requests
    tiny.refresh(first.partition_key, first.tags)
    tiny.die(second)
    now.pass_by(120)
    [again] = tiny.tick(corpus_changed).run_requests
    assert again.partition_key == second.partition_key == "twin"
    # As Dagster itself starts a run again that was killed: with the tags of the first one.
    tiny.refresh(again.partition_key, second.tags)
    assert "as at the last refresh" in tiny.said(corpus_changed)


@pytest.mark.parametrize("gone", ["all", "folder"])
def test_a_disk_that_is_away_is_said_and_waited_for(tiny, gone):
    """No refresh is asked for that would take its images for missing."""
    write_images(tiny.images / "disk", 8, start=50)
    settled(tiny)
    away = tiny.images.parent / "away"
    mount = tiny.images if gone == "all" else tiny.images / "disk"
    mount.rename(away)
    mount.mkdir()
    assert "other than before" in tiny.said(corpus_changed)
    told = []
    for _ in range(3):
        found = tiny.tick(corpus_changed)
        told += found.asset_events
        assert found.run_requests == []
        said = found.skip_message
        assert "Missing from" in said and "--accept-missing" in said
    # Once, on Dagster's page of the images, and on the first page.
    assert [(event.check_name, event.passed) for event in told] == [("nothing_missing", False)]
    assert [question["text"] for question in tiny.read.status()["questions"]] == [said]
    mount.rmdir()
    away.rename(mount)
    tiny.said(corpus_changed)
    found = tiny.tick(corpus_changed)
    assert "has read already" in found.skip_message
    assert [event.passed for event in found.asset_events] == [True]
    assert tiny.read.status()["questions"] == []


def test_a_disk_that_is_gone_for_good_is_not_asked_about_again(tiny):
    write_images(tiny.images / "disk", 8, start=50)
    settled(tiny)
    shutil.rmtree(tiny.images / "disk")
    tiny.said(corpus_changed)
    assert "the top folder 'disk' with all its 8 files" in tiny.said(corpus_changed)
    tiny.run("images", accept_missing=True)
    assert "has read already" in tiny.said(corpus_changed)
    assert metadata(tiny.run("images"), "images")["nb_files_missing"] == 8


def test_a_refresh_without_its_disk_changes_nothing_and_is_not_tried_again(tiny):
    """A person is asked: no run that tries again knows the answer."""
    tiny.refresh()
    versions = {name: tiny.store.version(name) for name in tiny.store.tables()}
    tiny.images.rename(tiny.images.parent / "away")
    tiny.images.mkdir()
    with pytest.raises(dg.Failure, match="all 10 files of the corpus") as caught:
        tiny.run("images")
    assert not caught.value.allow_retries
    now = {name: tiny.store.version(name) for name in tiny.store.tables() if name != "questions"}
    assert now == versions


def test_a_refresh_of_a_touched_file_commits_nothing(tiny):
    settled(tiny)
    version = tiny.store.version("images"), tiny.store.version("vectors.tiny")
    os.utime(tiny.images / "0000" / "000001.jpg")
    tiny.refresh()
    assert (tiny.store.version("images"), tiny.store.version("vectors.tiny")) == version


def test_a_folder_that_is_again_what_it_was_once_is_refreshed_again(tiny):
    """Dagster drops a request whose run key it has seen."""
    settled(tiny)
    keys = []
    one, aside = tiny.images / "0000" / "000001.jpg", tiny.images.parent / "aside.jpg"
    for source, target in ((one, aside), (aside, one), (one, aside)):
        source.rename(target)
        tiny.said(corpus_changed)
        [request] = tiny.tick(corpus_changed).run_requests
        keys.append(request.run_key)
        tiny.refresh()
    assert len(set(keys)) == 3


def test_a_look_that_is_repeated_after_a_crash_asks_under_the_same_run_key(tiny):
    tiny.said(corpus_changed)
    before = dict(tiny.cursors)
    first = tiny.tick(corpus_changed).run_requests
    tiny.cursors = before
    assert [request.run_key for request in tiny.tick(corpus_changed).run_requests] == [
        request.run_key for request in first
    ]


@pytest.mark.parametrize("status", ["NOT_STARTED", "STARTED"])
def test_nothing_is_asked_for_while_a_refresh_waits_or_runs(tiny, status):
    tiny.said(corpus_changed)
    run = tiny.instance.create_run_for_job(
        tiny.definitions.resolve_job_def("refresh_corpus"), status=dg.DagsterRunStatus(status)
    )
    assert f"the run {run.run_id} refreshes it already" in tiny.said(corpus_changed)
    tiny.instance.report_run_canceled(run)
    assert tiny.asked(corpus_changed) == REFRESH


def test_nothing_is_asked_for_while_dagster_is_about_to_start_a_refresh_again(tiny, monkeypatch):
    """By its `run_retries`: the corpus would be refreshed twice."""
    now = Clock(monkeypatch)
    job = tiny.definitions.resolve_job_def("refresh_corpus")

    def killed():
        run = tiny.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
        tiny.instance.report_run_failed(run)
        tiny.instance.add_run_tags(run.run_id, {"dagster/will_retry": "true"})
        return run.run_id

    tiny.said(corpus_changed)
    lost = killed()
    assert f"the run {lost} refreshes it already" in tiny.said(corpus_changed)
    again = tiny.instance.create_run_for_job(job)
    tiny.instance.add_run_tags(lost, {"dagster/auto_retry_run_id": again.run_id})
    assert f"the run {again.run_id} refreshes it already" in tiny.said(corpus_changed)
    tiny.instance.report_run_canceled(again)
    tiny.cursors[corpus_changed.name] = None
    tiny.said(corpus_changed)
    assert tiny.asked(corpus_changed) == REFRESH  # a person has ended that: asked for anew

    lost = killed()
    tiny.cursors[corpus_changed.name] = None
    tiny.said(corpus_changed)
    assert f"the run {lost} refreshes it already" in tiny.said(corpus_changed)
    now.pass_by(600)  # Dagster has never looked at it, and will not
    assert tiny.asked(corpus_changed) == REFRESH


def test_what_a_command_has_refreshed_is_not_refreshed_again(tiny):
    settled(tiny)
    write_images(tiny.images, 3, start=10)
    tiny.said(corpus_changed)
    tiny.run("images")
    tiny.run("embeddings", "tiny")
    assert "has read already" in tiny.said(corpus_changed)


def test_images_without_a_vector_are_refreshed(tiny):
    """Such as after a refresh that failed when it was half done."""
    tiny.refresh()
    write_images(tiny.images, 3, start=10)
    tiny.run("images")
    tiny.said(corpus_changed)
    assert tiny.asked(corpus_changed) == REFRESH


def test_each_vector_type_gets_a_run_of_its_own(tiny, tiny_model):
    tiny.write("models/twin.yaml", f"model: local-dir:{tiny_model}\ngreyscale: true\n")
    tiny.refresh()
    tiny.refresh("twin")
    write_images(tiny.images, 1, start=10)
    tiny.said(corpus_changed)
    assert tiny.asked(corpus_changed) == [*REFRESH, ("refresh_corpus", "twin")]


def test_a_folder_that_cannot_be_read_is_said_and_forgets_nothing(tiny):
    settled(tiny)
    tiny.images.rename(tiny.images.parent / "unmounted")
    assert "cannot be read (No such file or directory)" in tiny.said(corpus_changed)
    (tiny.images.parent / "unmounted").rename(tiny.images)
    assert "as at the last refresh" in tiny.said(corpus_changed)


def test_a_changed_file_of_metadata_is_refreshed(tiny):
    """Its columns are properties of images, which a refresh reads."""
    inventory = tiny.project.folder / "inventory.csv"
    inventory.write_text("path;title\n0000/000001.jpg;One\n")
    settings = tiny.project.settings_file
    settings.write_text(settings.read_text().replace("metadata: ''", "metadata: inventory.csv"))
    for content in ("One", "Eins", None):
        if content:
            inventory.write_text(f"path;title[text]\n0000/000001.jpg;{content} \n")
        else:
            inventory.unlink()  # that it is away is to be noted as well
        tiny.said(corpus_changed)
        assert tiny.asked(corpus_changed) == REFRESH
        assert tiny.refresh().success
    assert tiny.read.property_values("title")["value"].to_pylist() == ["Eins "]
    assert "There is no inventory" in tiny.read.status()["inventory"]["problem"]


@pytest.mark.parametrize("cursor", ["", "{}", "[1]", "not json", '{"listing": "x"}'])
def test_a_cursor_that_somebody_has_edited_is_as_none(tiny, cursor):
    tiny.cursors["corpus_changed"] = cursor
    assert "other than before" in tiny.said(corpus_changed)


@pytest.mark.parametrize(
    "edited", [{"requests": "x"}, {"since": None}, {"handled": 1}, {"requested": "0"}]
)
def test_a_cursor_that_somebody_has_edited_is_as_none_by_its_types_too(tiny, edited):
    tiny.said(corpus_changed)
    cursor = json.loads(tiny.cursors["corpus_changed"]) | edited
    tiny.cursors["corpus_changed"] = json.dumps(cursor)
    assert "other than before" in tiny.said(corpus_changed)


def test_an_empty_folder_asks_for_nothing(tiny):
    for file in tiny.images.rglob("*.jpg"):
        file.unlink()
    tiny.said(corpus_changed)
    said = tiny.said(corpus_changed)
    assert "no image yet" in said or "has read already" in said


def test_looking_loads_no_model_library(tiny):
    """A code server stays: torch would stay in its memory."""
    code = (
        "import sys, dagster as dg\n"
        "from panoptic_assets.upkeep.automation import corpus_changed\n"
        "from panoptic_assets.upkeep.new_configs import new_configs\n"
        "from panoptic_assets.definitions import defs\n"
        "for sensor in (corpus_changed, new_configs):\n"
        "    for _ in range(2):\n"
        "        sensor.evaluate_tick(dg.build_sensor_context(definitions=defs,\n"
        "            instance=dg.DagsterInstance.ephemeral(), sensor_name=sensor.name,\n"
        "            resources={n: defs.resources[n] for n in sensor.required_resource_keys}))\n"
        "print([name for name in ('torch', 'open_clip', 'sklearn') if name in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tiny.project.folder,
        capture_output=True,
        text=True,
    )
    assert answer.stdout.strip().splitlines()[-1:] == ["[]"], answer.stderr


@pytest.fixture
def nightly(tiny, tmp_path):
    """Dagster evaluates schedules with instances on the disk alone."""
    with dg.DagsterInstance.local_temp(str(tmp_path)) as tiny.instance:
        yield tiny


def scheduled(tiny, at):
    # Left open, it would close the instance that it has opened when it is collected: that instance
    # would stay the current one of this process, for all tests that come later.
    with (
        dg.build_schedule_context(
            instance=tiny.instance,
            scheduled_execution_time=at,
            resources=tiny.resources,
            repository_def=tiny.definitions.get_repository_def(),
        ) as context,
        partition_loading_context(dynamic_partitions_store=tiny.instance),
    ):
        return daily_refresh.evaluate_tick(context)


NIGHT = datetime(2026, 3, 7, 3, tzinfo=ZoneInfo("UTC"))


def test_each_night_is_refreshed_once(nightly):
    nights = [NIGHT, NIGHT, NIGHT + timedelta(days=1)]
    keys = [scheduled(nightly, night).run_requests[0].run_key for night in nights]
    assert keys[0] == keys[1] != keys[2]


def test_each_night_a_share_of_the_files_is_read_again(nightly):
    """Disks do not tell of everything: the schedule reads what was not read for longest."""
    [request] = scheduled(nightly, NIGHT).run_requests
    assert request.run_config == {"ops": {"images": {"config": {"reread_share": 0.03}}}}


def test_the_schedule_asks_for_nothing_while_a_refresh_runs(nightly):
    nightly.instance.create_run_for_job(
        nightly.definitions.resolve_job_def("refresh_corpus"), status=dg.DagsterRunStatus.STARTED
    )
    assert "refreshes the corpus already" in scheduled(nightly, NIGHT).skip_message


def test_the_schedule_asks_for_nothing_while_a_person_is_asked_whether_files_are_gone(nightly):
    """Each night a run for each vector type would fail, and somebody be told of each."""
    nightly.refresh()
    away = nightly.images.parent / "away"
    nightly.images.rename(away)
    nightly.images.mkdir()
    assert len(scheduled(nightly, NIGHT).run_requests) == 1  # which asks
    with pytest.raises(dg.Failure, match="Missing from"):
        nightly.run("images")
    assert "all 10 files of the corpus" in scheduled(nightly, NIGHT).skip_message
    nightly.images.rmdir()
    assert len(scheduled(nightly, NIGHT).run_requests) == 1  # which says that there is no folder
    away.rename(nightly.images)
    assert len(scheduled(nightly, NIGHT).run_requests) == 1


def switched_on(tiny):
    assert "taken for known" in tiny.said(new_configs)
    return tiny


def test_files_that_are_there_become_partitions_and_compute_nothing(tiny):
    tiny.write("runs/greek.yaml", run_file())
    tiny.write("runs/greek/3.yaml", run_file("nested_clustering"))
    switched_on(tiny)
    assert "No new file" in tiny.said(new_configs)
    assert tiny.instance.get_dynamic_partitions("vector_types") == ["tiny"]
    assert tiny.instance.get_dynamic_partitions("runs") == ["greek"]
    assert tiny.instance.get_dynamic_partitions("nodes") == ["greek/3"]


@pytest.mark.parametrize(
    ("file", "content", "request_"),
    [
        ("runs/greek.yaml", run_file(), ("divide_corpus", "greek")),
        (
            "projections/tiny/flat.yaml",
            run_file("projection", method={"pca": {}}),
            ("project", "tiny/flat"),
        ),
    ],
)
def test_a_new_file_is_computed_once(tiny, file, content, request_):
    tiny.refresh()
    switched_on(tiny)
    tiny.write(file, content)
    assert "waiting until it stays the same" in tiny.said(new_configs)
    assert tiny.asked(new_configs) == [request_]
    assert "No new file" in tiny.said(new_configs)


def test_a_new_model_is_refreshed_by_its_key(tiny, tiny_model):
    switched_on(tiny)
    tiny.write("models/grey.yaml", f"model: local-dir:{tiny_model}\ngreyscale: true\n")
    tiny.said(new_configs)
    assert tiny.asked(new_configs) == [("refresh_corpus", "grey")]
    assert "grey" in tiny.instance.get_dynamic_partitions("vector_types")


def test_a_run_waits_for_its_vectors(tiny):
    switched_on(tiny)
    tiny.write("runs/greek.yaml", run_file())
    tiny.said(new_configs)
    assert "there are no vectors of 'tiny' yet" in tiny.said(new_configs)
    tiny.refresh()
    assert tiny.asked(new_configs) == [("divide_corpus", "greek")]


def test_a_node_waits_for_the_cluster_that_it_divides(tiny):
    tiny.refresh()
    switched_on(tiny)
    tiny.write(
        "runs/greek/1.yaml", run_file("nested_clustering", method={"kmeans": {"nb_clusters": 2}})
    )
    tiny.write("runs/greek.yaml", run_file(method={"kmeans": {"nb_clusters": 2}}))
    tiny.said(new_configs)
    assert tiny.asked(new_configs) == [("divide_corpus", "greek")]
    assert "there is no clustering 'greek' yet" in tiny.said(new_configs)
    tiny.run("clustering", "greek")
    assert tiny.asked(new_configs) == [("divide_node", "greek/1")]


def test_a_changed_file_of_a_key_that_has_a_result_asks_for_nothing_and_says_so(tiny):
    tiny.refresh()
    tiny.write("runs/greek.yaml", run_file(method={"kmeans": {"nb_clusters": 2}}))
    tiny.run("clustering", "greek")
    switched_on(tiny)
    tiny.write("runs/greek.yaml", run_file(method={"kmeans": {"nb_clusters": 3}}))
    tiny.said(new_configs)
    assert "'greek' has a result and keeps its parameters" in tiny.said(new_configs)
    assert "No new file" in tiny.said(new_configs)


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("runs/bad.yaml", "ops: [", "bad.yaml is not valid YAML"),
        ("runs/bad.yaml", "{}", "configs/runs/bad.yaml must hold"),
        ("runs/bad.yaml", run_file(method={"kmeans": {"nb_clusters": -5}}), "nb_clusters"),
        ("runs/a b.yaml", run_file(), "configs/runs/a b.yaml: 'a b' is not a run key"),
        ("models/bad.yaml", "modle: x", "bad.yaml"),
        ("projections/bad.yaml", "{}", "configs/projections/bad.yaml: 'bad' is not a projection"),
    ],
)
def test_a_broken_file_is_named_and_does_not_stop_the_others(tiny, file, content, said):
    tiny.refresh()
    switched_on(tiny)
    tiny.write(file, content)
    tiny.said(new_configs)
    assert said in tiny.said(new_configs)
    tiny.write("runs/good.yaml", run_file())
    tiny.said(new_configs)
    assert tiny.asked(new_configs) == [("divide_corpus", "good")]
    assert said in tiny.said(new_configs)


def test_a_broken_file_that_is_corrected_is_computed(tiny):
    tiny.refresh()
    switched_on(tiny)
    tiny.write("runs/greek.yaml", "ops: [")
    tiny.said(new_configs)
    tiny.said(new_configs)
    tiny.write("runs/greek.yaml", run_file())
    tiny.said(new_configs)
    assert tiny.asked(new_configs) == [("divide_corpus", "greek")]


@dg.op
def nothing():
    pass


@dg.job
def follow_up():
    nothing()


def after_refresh(tiny, monitored):
    sensor = after(follow_up, refresh_corpus)
    run = monitored.dagster_run
    context = dg.build_run_status_sensor_context(
        sensor_name=sensor.name,
        dagster_instance=tiny.instance,
        dagster_run=run,
        dagster_event=tiny.instance.all_logs(run.run_id)[-1].dagster_event,
    )
    return sensor(context)


def test_a_job_follows_the_last_refresh_that_waits_or_runs(tiny):
    done = tiny.refresh()
    other = tiny.instance.create_run_for_job(
        tiny.definitions.resolve_job_def("refresh_corpus"), status=dg.DagsterRunStatus.STARTED
    )
    said = after_refresh(tiny, done).skip_message
    assert f"The run {other.run_id} of refresh_corpus comes first" in said
    tiny.instance.report_run_canceled(other)
    assert after_refresh(tiny, done).run_key == done.dagster_run.run_id


def map_after(tiny, monitored):
    run = monitored.dagster_run
    context = dg.build_run_status_sensor_context(
        sensor_name=project_after_refresh_corpus.name,
        dagster_instance=tiny.instance,
        dagster_run=run,
        dagster_event=tiny.instance.all_logs(run.run_id)[-1].dagster_event,
        resources={"store": tiny.store},
    )
    return project_after_refresh_corpus(context)


def test_the_points_of_the_map_are_asked_for_after_a_refresh_that_changed_their_vectors(tiny):
    asked = map_after(tiny, tiny.refresh())
    assert (asked.partition_key, asked.job_name) == ("tiny/pca", None)
    assert tiny.instance.get_dynamic_partitions("projections") == ["tiny/pca"]
    tiny.make("projection", asked.partition_key)
    done = tiny.refresh()
    assert map_after(tiny, done).skip_message == "The points of tiny are up to date."
    write_images(tiny.images, 1, start=10)
    assert map_after(tiny, tiny.refresh()).partition_key == "tiny/pca"


def test_weekly_runs_a_job_on_sundays():
    schedule = weekly(follow_up, hour=4)
    assert (schedule.name, schedule.cron_schedule) == ("weekly_follow_up", "0 4 * * 0")


class Flaky(ImageSource):
    """A source that does not answer the first times."""

    def list(self):
        with (marker := self._marker).open("a") as file:
            file.write("x")
        if marker.stat().st_size < 2:
            raise UnavailableError("The share does not answer.", id="share-silent")
        return super().list()

    @property
    def _marker(self):
        return Path(self.root).parent / "asked"


def test_what_may_pass_is_retried(tiny):
    """By the policy of the job, whose pause is half a minute; here by one without a pause."""
    definitions = dg.Definitions(
        assets=tiny.definitions.assets,
        resources=tiny.definitions.resources | {"source": Flaky(root=tiny.project.images)},
        jobs=[
            dg.define_asset_job(
                "quick", selection="images", op_retry_policy=dg.RetryPolicy(max_retries=1)
            )
        ],
    )
    result = definitions.resolve_job_def("quick").execute_in_process(instance=tiny.instance)
    assert result.success
    assert (tiny.images.parent / "asked").read_text() == "xx"


@pytest.mark.parametrize(("error", "retried"), [(InputError, False), (UnavailableError, True)])
def test_what_only_a_person_can_mend_is_not_retried(error, retried):
    with pytest.raises(dg.Failure) as caught, plain_failures():
        raise error("No.", id="no")
    assert caught.value.allow_retries is retried


def test_only_a_refresh_is_retried(tiny):
    """A clustering is computed on this machine: what fails once fails again."""
    policies = {
        job.name: job.op_retry_policy
        for job in tiny.definitions.jobs
        if hasattr(job, "op_retry_policy")
    }
    assert policies.pop("refresh_corpus").max_retries == 2
    assert set(policies.values()) == {None}
    for asset in tiny.definitions.assets:
        assert asset.node_def.retry_policy is None


def test_the_assets_that_a_refresh_makes_have_a_freshness_policy(tiny):
    graph = tiny.definitions.resolve_asset_graph()
    with_policy = {
        key.to_user_string()
        for key in graph.get_all_asset_keys()
        if graph.get(key).freshness_policy is not None
    }
    assert with_policy == {"images", "inventory", "embeddings", "neighbors"}
    assert refresh_corpus.selection.resolve(graph) == {dg.AssetKey(name) for name in with_policy}


@pytest.fixture
def listener(monkeypatch) -> Iterator[SimpleNamespace]:
    """An address on this machine that keeps what is posted to it."""
    heard = SimpleNamespace(documents=[], status=200, location=None)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            heard.documents.append(json.loads(body))
            self.send_response(heard.status)
            if heard.location:
                self.send_header("Location", heard.location)
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        heard.url = f"http://127.0.0.1:{server.server_port}/hook"
        monkeypatch.setenv("PANOPTIC_NOTIFY_URL", heard.url)
        yield heard
        server.shutdown()


def failed(tiny):
    """A refresh of a folder that is not there, and what the sensor makes of it."""
    tiny.images.rename(tiny.images.parent / "unmounted")
    return refreshed_in_vain(tiny)


def refreshed_in_vain(tiny):
    tiny.instance.add_dynamic_partitions("vector_types", ["tiny"])
    job = dg.define_asset_job("nightly", selection=["images", "embeddings"])
    definitions = dg.Definitions(
        assets=tiny.definitions.assets, resources=tiny.definitions.resources, jobs=[job]
    )
    result = definitions.resolve_job_def("nightly").execute_in_process(
        instance=tiny.instance, partition_key="tiny", raise_on_error=False
    )
    assert not result.success
    context = dg.build_run_status_sensor_context(
        sensor_name="notify_of_failures",
        dagster_instance=tiny.instance,
        dagster_run=tiny.instance.get_run_by_id(result.run_id),
        dagster_event=tiny.instance.all_logs(result.run_id)[-1].dagster_event,
        resources={"store": tiny.store},
    ).for_run_failure()
    return result.run_id, lambda: notify_of_failures(context)


def test_a_failure_is_posted_in_plain_words(tiny, listener):
    run_id, notify = failed(tiny)
    notify()
    [document] = listener.documents
    assert document.pop("message").startswith(
        f"The folder of images {tiny.images} cannot be read (No such file or directory)"
    )
    assert document == {"job": "nightly", "partition": "tiny", "run_id": run_id}


@pytest.mark.parametrize("first", ["a run", "the sensor"])
def test_a_question_about_missing_files_is_posted_once(tiny, listener, first):
    """Of whatever asks it first: the sensor, or one of the runs of a night."""
    settled(tiny)
    shutil.rmtree(tiny.images / "0000")
    tiny.said(corpus_changed)
    asks = [lambda: refreshed_in_vain(tiny)[1](), lambda: tiny.said(corpus_changed)]
    for ask in [*asks, *asks] if first == "a run" else [*asks[::-1], *asks]:
        ask()
    [document] = listener.documents
    assert document["message"].startswith("Missing from") and "all 10 files" in document["message"]
    assert document["job"] == ("nightly" if first == "a run" else "refresh_corpus")
    assert bool(document["run_id"]) is (first == "a run")


def test_an_inventory_that_cannot_be_read_is_posted_once(tiny, listener):
    """By the refresh that has found it, which has succeeded: it waits for no inventory."""
    settings = tiny.project.settings_file
    settings.write_text(settings.read_text().replace("metadata: ''", "metadata: gone.csv"))
    for _ in range(2):
        result = tiny.refresh()
        context = dg.build_run_status_sensor_context(
            sensor_name=notify_of_inventory.name,
            dagster_instance=tiny.instance,
            dagster_run=tiny.instance.get_run_by_id(result.run_id),
            dagster_event=tiny.instance.all_logs(result.run_id)[-1].dagster_event,
            resources={"store": tiny.store},
        )
        notify_of_inventory(context)
    [document] = listener.documents
    assert document["message"].startswith("The inventory is not read as it stands. There is no")
    assert (document["job"], document["partition"]) == REFRESH[0]


def test_without_an_address_nobody_is_told(tiny, monkeypatch):
    monkeypatch.delenv("PANOPTIC_NOTIFY_URL", raising=False)
    _, notify = failed(tiny)
    assert "PANOPTIC_NOTIFY_URL is not set" in notify().skip_message


@pytest.mark.parametrize("answer", ["refuses", "redirects", "is gone"])
def test_an_address_that_does_not_take_it_is_said_without_naming_it(tiny, listener, answer):
    """It is a secret with many services; and a redirect leads where nobody has allowed."""
    if answer == "refuses":
        listener.status = 500
    if answer == "redirects":
        listener.status, listener.location = 302, listener.url.replace("hook", "elsewhere")
    if answer == "is gone":
        os.environ["PANOPTIC_NOTIFY_URL"] = "http://127.0.0.1:9/hook"
    _, notify = failed(tiny)
    with pytest.raises(InputError, match="could not be posted") as caught:
        notify()
    assert "hook" not in str(caught.value)
    assert len(listener.documents) == (answer != "is gone")


@pytest.mark.parametrize(
    "url",
    ["http://example.org/x", "ftp://localhost/", "file:///etc/passwd", "https://", "http://[x"],
)
def test_only_https_or_this_machine_is_posted_to(monkeypatch, url):
    monkeypatch.setenv("PANOPTIC_NOTIFY_URL", url)
    with pytest.raises(InputError, match="no address to post to"):
        Notifier.from_environment()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("greek/a.jpg is broken", "(an image) is broken"),
        ("The file 'été à Orléans — 図書館 🍌.JPEG' is gone", "The file (an image) is gone"),
        ("s3://me:hunter2@host/bucket", "s3://…@host/bucket"),
        ("one\ntwo", "one two"),
        ("x" * 600, "x" * 499 + "…"),
    ],
)
def test_neither_names_of_images_nor_passwords_are_posted(text, told):
    assert without_secrets(text) == told


def test_a_projects_own_settings_switch_on_what_automation_needs(tiny):
    home = dagster_home(tiny.project)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert instance.freshness_enabled
        assert instance.run_monitoring_enabled
        assert instance.get_concurrency_config().pool_config.default_pool_limit == 1
        assert instance.get_concurrency_config().run_queue_config.max_concurrent_runs == 2


def test_a_project_with_older_settings_still_opens(tiny):
    """Its dagster.yaml is its own and is not replaced."""
    old = tiny.project.dagster_home / "dagster.yaml"
    old.write_text("concurrency:\n  pools:\n    default_limit: 1\n    granularity: op\n")
    with dg.DagsterInstance.from_config(str(dagster_home(tiny.project))) as instance:
        assert instance.get_concurrency_config().pool_config.default_pool_limit == 1

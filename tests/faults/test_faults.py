"""Kills, full disks, read-only stores, racing refreshes and wrong clocks.

After each of them, whatever was committed is there once, and the next run completes.
"""

import datetime as clock
import random
import shutil
import subprocess
import time
from collections import Counter
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.utils import make_new_run_id

from panoptic_assets.clustering import dividing
from panoptic_assets.clustering.table import Clusterings
from panoptic_assets.corpus import table as corpus_table
from panoptic_assets.definitions import build_defs
from panoptic_assets.orchestration.acting import Context
from panoptic_assets.orchestration.instance import instance_to_look_at, open_instance
from panoptic_assets.project import Project
from panoptic_assets.spec.records import output_hash
from panoptic_assets.spec.tag_log import replay
from panoptic_assets.tags import table as tags_table
from panoptic_assets.tags.table import read_log, tags_are
from resources.engine import LocalEngine
from resources.lance import LanceStore
from resources.project_folder import ProjectSettings, create, find
from tests import processes
from tests.commands import refused, run
from tests.tiny import write_images, write_model
from tests.workbench import ACTS, PARTITIONS, execute, job_of, resources_of

KILLS = 50
ROUNDS = 8
NEW_IMAGES = 60
KEYS = {
    "images": ["image_id"],
    "files": ["path"],
    "vectors.tiny": ["image_id"],
    "records": ["record_id"],
    "clusters": ["record_id", "cluster"],
    "assignments": ["record_id", "image_id"],
    "tag_log": ["event_id"],
    "tags": ["tag_id"],
    "image_tags": ["tag_id", "image_id"],
}


def make(folder, model, images="images", store=".panoptic/store"):
    (folder / "images").mkdir(parents=True, exist_ok=True)
    settings = ProjectSettings(images=str(folder / images), vector_type="tiny", store=str(store))
    project = create(folder, settings)
    # `auto` would take what is faster at that moment, and so other vectors the next time.
    description = f"model: local-dir:{model}\nprecision: fp32\n"
    (project.configs / "models" / "tiny.yaml").write_text(description)
    return project


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model") / "model")


class Desk:
    """Materializes assets of a project with an instance that lives as long as the process."""

    def __init__(self, folder):
        self.project = find(Path(folder))
        self.store = LanceStore(uri=self.project.store)
        self.resources = resources_of(self.project) | {"engine": LocalEngine(stage_images=16)}
        self.instance = dg.DagsterInstance.ephemeral()
        self.definitions = build_defs(**self.resources)
        self.jobs: dict[str, dg.JobDefinition] = {}

    def run(self, asset, partition=None, **config):
        if partition is not None:
            self.instance.add_dynamic_partitions(PARTITIONS[asset], [partition])
        if asset not in self.jobs:
            self.jobs[asset] = job_of(self.definitions, asset)
        ops = {asset: {"config": config}} if config else {}
        execute(self.jobs[asset], self.instance, partition, ops=ops)


class Acts:
    """Does what the assets of a project do, without Dagster's events and checks.

    Dagster is two thirds of the CPU seconds of a round, during which nothing is written to the
    store: a process that is killed amid an act is killed where there is something to lose.
    """

    def __init__(self, folder):
        self.project = find(Path(folder))
        self.store = LanceStore(uri=self.project.store)
        self.resources = resources_of(self.project) | {"engine": LocalEngine(stage_images=16)}

    def run(self, asset, partition=None, **config):
        context = Context(**self.resources, dagster_run_id=make_new_run_id())
        act = ACTS[asset]
        act.store(act.run(act.prepare(context.now(), partition or "", config)))


def refresh_all(desk):
    desk.run("images")
    desk.run("embeddings", "tiny")
    desk.run("neighbors", "tiny")


def story(folder, rounds=ROUNDS, by=Acts, ready=None):
    """Refresh, cluster, divide, save and tag, in rounds; each start goes on where one ended."""
    desk = by(folder)
    if ready is not None:
        ready.send(True)
    done = Clusterings(desk.store).records
    replayed = replay([entry.event for entry in read_log(desk.store)])
    tags = {made.name for made in replayed.tags}
    if "T0" in tags:
        # A kill may have come between the log and the tables of tags that are made from it.
        desk.run("tags")
    for number in range(rounds):
        incoming = desk.project.folder / "incoming" / f"{number:04}"
        if incoming.exists():
            incoming.rename(Path(desk.project.images) / incoming.name)
        key, node, tag = f"r{number}", f"r{number}/0", f"T{number}"
        if tag in tags:
            continue
        # A later round's images are in no earlier run: an undisturbed project has the same ones.
        refresh_all(desk)
        if key not in done:
            desk.run("clustering", key, method={"kmeans": {"nb_clusters": 4}}, seed=number)
        if node not in done:
            desk.run("nested_clustering", node, method={"kmeans": {"nb_clusters": 2}})
        if f"P{number}" not in replayed.properties:
            desk.run("saved_clustering", key, property=f"P{number}")
        first = f"{number:04}/{number * NEW_IMAGES:06}.jpg"
        desk.run(
            "tags",
            edits=[
                {"create": {"tag": tag, "property": "Mine"}},
                {"assign": {"tag": tag, "images": [first], "property": "Mine"}},
            ],
        )


def start(target, *arguments):
    """Start a process, and wait until it has made its imports."""
    receiver, sender = processes.CONTEXT.Pipe(duplex=False)
    process = processes.start(target, *arguments, sender)
    sender.close()  # so that waiting for a process that failed ends, too
    assert receiver.recv()
    return process


def committed(store):
    """All that must never be lost, once it is there: keys, and what answers and events say."""
    found = {
        "records": dict(zip(*columns(store, "records", ["record_id", "content"]), strict=True)),
        "tag_log": dict(zip(*columns(store, "tag_log", ["event_id", "content"]), strict=True)),
    }
    for table in ("images", "files", "vectors.tiny"):
        if store.version(table):
            keys = columns(store, table, KEYS[table])[0]
            found[table] = dict.fromkeys(keys, True)
    return found


def columns(store, table, names):
    rows = store.read(table, names)
    return [rows[name].to_pylist() for name in names]


def check_nothing_is_twice(store):
    for table, keys in KEYS.items():
        if store.version(table):
            counted = Counter(zip(*columns(store, table, keys), strict=True))
            assert [key for key, count in counted.items() if count > 1] == [], table


def check_answers_are_whole(store):
    """The newest record of every key counts only with all of its rows."""
    for key, record in Clusterings(store).records.items():
        rows = Clusterings(store).assignments(key)
        pairs = zip(rows["image_id"].to_pylist(), rows["cluster"].to_pylist(), strict=True)
        assert output_hash(pairs) == record.output, key


def check_tags_are_the_log(store):
    assert tags_are(store, replay([entry.event for entry in read_log(store)]))


def lost(before, after):
    return [
        (table, key)
        for table, rows in before.items()
        for key, value in rows.items()
        if after.get(table, {}).get(key) != value
    ]


def answers(project):
    """What a project says, in words that are the same however often it was disturbed."""
    store = LanceStore(uri=project.store)
    clusterings = Clusterings(store)
    replayed = replay([entry.event for entry in read_log(store)])
    names = {tag.tag_id: (tag.property, tag.name, tag.node) for tag in replayed.tags}
    files = store.read("files", ["path", "image_id", "status"]).sort_by("path").to_pylist()
    return {
        "files": files,
        "images": sorted(columns(store, "images", ["image_id"])[0]),
        "vectors": store.read("vectors.tiny").sort_by("image_id").to_pylist(),
        "outputs": {key: record.output for key, record in clusterings.records.items()},
        "tags": sorted((names[tag_id], image_id) for tag_id, image_id in replayed.images),
    }


def test_killed_at_fifty_random_moments_nothing_is_lost_and_nothing_is_twice(tmp_path, model):
    """Refresh, clustering, nested clustering, saving and tagging, killed with signal 9."""
    undisturbed, killed = (make(tmp_path / name, model) for name in ("undisturbed", "killed"))
    for project in (undisturbed, killed):
        write_images(project.folder / "made", ROUNDS * NEW_IMAGES)
        files = sorted((project.folder / "made").rglob("*.jpg"))
        for number in range(ROUNDS):
            folder = project.folder / "incoming" / f"{number:04}"
            folder.mkdir(parents=True)
            for file in files[number * NEW_IMAGES : (number + 1) * NEW_IMAGES]:
                file.rename(folder / file.name)
    process = start(story, str(undisturbed.folder), ROUNDS, Acts)
    began = time.monotonic()
    process.join(300)
    assert process.exitcode == 0
    # Shorter than a round, so that the kills are spread over all of them.
    life = 0.8 * (time.monotonic() - began) / ROUNDS
    moment = random.Random(11)
    store = LanceStore(uri=killed.store)
    before = committed(store)
    for number in range(KILLS):
        # Each fifth is killed amid Dagster's part as well, with which a round takes three times as
        # long.
        by, longer = (Acts, 1) if number % 5 else (Desk, 3)
        process = start(story, str(killed.folder), ROUNDS, by)
        time.sleep(moment.uniform(0, longer * life))
        process.kill()
        process.join()
        after = committed(store)
        assert lost(before, after) == []
        check_nothing_is_twice(store)
        before = after
    # As a person goes on; what is left to do is done through Dagster, on what the kills have left.
    process = start(story, str(killed.folder), ROUNDS, Desk)
    process.join(300)
    assert process.exitcode == 0
    assert lost(before, committed(store)) == []
    check_nothing_is_twice(store)
    check_answers_are_whole(store)
    check_tags_are_the_log(store)
    assert store.staged("vectors.tiny") == []
    assert answers(killed) == answers(undisturbed)


def refresh(folder, barrier):
    acts = Acts(folder)
    barrier.wait(60)
    refresh_all(acts)


def test_two_refreshes_at_once_are_as_one(tmp_path, model):
    """Without the commands' lock and Dagster's pool, as two machines on one store are."""
    project = make(tmp_path / "p", model)
    write_images(tmp_path / "p" / "images", 300)
    barrier = processes.CONTEXT.Barrier(2)
    racing = [processes.start(refresh, str(project.folder), barrier) for _ in range(2)]
    for process in racing:
        process.join(120)
    # Both came past the barrier, then.
    assert 0 in {process.exitcode for process in racing}
    store = LanceStore(uri=project.store)
    check_nothing_is_twice(store)
    # One of them may have been refused a commit; then the next one completes.
    refresh_all(Desk(project.folder))
    assert {store.count(table) for table in ("images", "files", "vectors.tiny")} == {300}
    check_nothing_is_twice(store)


@pytest.fixture
def disk(tmp_path):
    """A disk of 24 MB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("Only root may mount a small disk (and not in every container).")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk, room):
    """Leave so many bytes on a disk; None: as much as there was."""
    filler = disk / "filler"
    filler.unlink(missing_ok=True)
    if room is not None:
        with filler.open("wb") as file:
            file.write(bytes(max(0, shutil.disk_usage(disk).free - room)))


def tried(*arguments, cwd, disk):
    """Run a command on ever less room until it fails; return the line with which it did."""
    for room in (60_000, 20_000, 0):
        fill(disk, room)
        line = run(*arguments, cwd=cwd, expect=None).stderr.strip().splitlines()[-1]
        if line.startswith("Error: "):
            return line
    raise AssertionError(f"{arguments} never failed")


def test_on_a_full_disk_commands_name_it_keep_what_was_committed_and_go_on_with_room(
    tmp_path, model, disk
):
    write_images(tmp_path / "p" / "images", 120)
    project = make(tmp_path / "p", model, store=disk / "store")
    store = LanceStore(uri=project.store)
    before = committed(store)
    for command in (
        ["refresh"],
        ["cluster", "a", "--nb-clusters", "3"],
        ["divide", "a/0", "--nb-clusters", "2"],
        ["save", "a"],
        ["tag", "assign", "Kept", "0000/000000.jpg", "--property", "Mine"],
    ):
        line = tried(*command, cwd=project.folder, disk=disk)
        assert f"The store {disk / 'store'} failed: " in line
        assert "make room and run the command again; what was committed is kept." in line
        fill(disk, None)
        assert lost(before, committed(store)) == []
        run(*command, cwd=project.folder)
        check_nothing_is_twice(store)
        check_tags_are_the_log(store)
        if command == ["save", "a"]:
            run("tag", "create", "Kept", "--property", "Mine", cwd=project.folder)
        before = committed(store)
    check_answers_are_whole(store)
    assert store.count("vectors.tiny") == 120


def test_a_full_disk_of_the_instance_is_said_plainly_and_the_next_command_goes_on(
    tmp_path, model, disk
):
    write_images(tmp_path / "p" / "images", 40)
    project = make(tmp_path / "p", model)
    home = disk / "home"
    home.mkdir()
    shutil.copy(project.dagster_home / "dagster.yaml", home)
    run("refresh", cwd=project.folder, DAGSTER_HOME=str(home))
    cluster = ["cluster", "a", "--nb-clusters", "3"]
    for room in (0, 100_000, 250_000):
        fill(disk, room)
        said = run(*cluster, cwd=project.folder, expect=None, DAGSTER_HOME=str(home)).stderr
        [line] = said.strip().splitlines()
        assert line.startswith("Error: Dagster")
        assert str(home) in line
        assert "Check the room on the disk" in line
    fill(disk, None)
    run(*cluster, cwd=project.folder, DAGSTER_HOME=str(home))
    store = LanceStore(uri=project.store)
    check_answers_are_whole(store)
    check_nothing_is_twice(store)


def test_a_read_only_store_can_be_read_and_says_so_when_it_must_be_written(tmp_path, model, disk):
    write_images(tmp_path / "p" / "images", 40)
    project = make(tmp_path / "p", model, store=disk / "store")
    run("refresh", cwd=project.folder)
    run("cluster", "a", "--nb-clusters", "3", cwd=project.folder)
    before = committed(LanceStore(uri=project.store))
    write_images(tmp_path / "p" / "images", 2, start=40)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    for command in (["refresh"], ["cluster", "b", "--nb-clusters", "2"], ["save", "a"]):
        line = refused(*command, cwd=project.folder)
        assert "Read-only file system" in line
        assert str(disk / "store") in line
    assert "a" in run("runs", cwd=project.folder).stdout
    assert Project(project.folder).assignments("a").num_rows == 40
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    assert lost(before, committed(LanceStore(uri=project.store))) == []
    run("refresh", cwd=project.folder)
    run("save", "a", cwd=project.folder)
    assert Project(project.folder).images().num_rows == 42


@pytest.mark.parametrize("keys", [[], ["greek"]])
def test_dagsters_runs_on_a_read_only_disk_can_be_looked_at(disk, keys):
    """As `panoptic-assets ui --read-only` opens them, also where there are none so far."""
    (disk / "dagster.yaml").touch()
    if keys:
        with open_instance(disk) as instance:
            instance.add_dynamic_partitions("runs", keys)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with instance_to_look_at(disk) as instance:
        assert instance.get_dynamic_partitions("runs") == keys
        assert instance.run_storage.get_run_storage_id()
        assert list(instance.all_logs("of-none")) == []


def test_a_clock_that_was_set_back_changes_neither_which_record_counts_nor_the_log(
    tmp_path, model, monkeypatch
):
    write_images(tmp_path / "p" / "images", 60)
    project = make(tmp_path / "p", model)
    desk = Acts(project.folder)
    refresh_all(desk)
    desk.run("clustering", "a", method={"kmeans": {"nb_clusters": 3}})
    desk.run("saved_clustering", "a", property="P")
    vectors_then = desk.store.version("vectors.tiny")

    class Yesterday(clock.datetime):
        @classmethod
        def now(cls, tz=None):
            return clock.datetime.now(tz) - clock.timedelta(days=1)

    for module in (dividing, corpus_table, tags_table):
        monkeypatch.setattr(module, "datetime", Yesterday)
    write_images(tmp_path / "p" / "images", 5, start=60)
    refresh_all(desk)
    desk.run("clustering", "a", method={"kmeans": {"nb_clusters": 4}}, replace=True)
    desk.run("saved_clustering", "a", property="P")
    desk.run("tags", edits=[{"create": {"tag": "T", "property": "Mine"}}])

    record = Clusterings(desk.store).get("a")
    assert (record.revision, record.nb_clusters) == (2, 4)
    log = read_log(desk.store)
    assert [entry.event.kind for entry in log] == ["save", "save", "create"]
    assert log[1].at < log[0].at  # it was set back indeed
    check_tags_are_the_log(desk.store)
    check_nothing_is_twice(desk.store)
    # What an older record pinned is still there.
    assert desk.store.read("vectors.tiny", version=vectors_then).num_rows == 60

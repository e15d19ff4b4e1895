"""The command line, as a subprocess, as a user would."""

import os
import shutil
import signal
import subprocess
import sys
import time

import dagster as dg
import pytest
import yaml

from panoptic_assets.api import Project
from panoptic_assets.definitions import build_defs
from resources.lance import LanceStore
from tests.conftest import SAMPLE

BAD_KEYS = ["", "../x", "a b", "a//b", "a" * 300]


def environment():
    clean = {k: v for k, v in os.environ.items() if k not in ("DAGSTER_HOME", "PANOPTIC_PROJECT")}
    return clean | {"COLUMNS": "200"}


def run(*arguments, cwd, expect=0):
    answer = subprocess.run(
        [sys.executable, "-m", "panoptic_assets.cli", *map(str, arguments)],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert answer.returncode == expect, answer.stdout + answer.stderr
    assert "Traceback" not in answer.stderr
    return answer


def refused(*arguments, cwd):
    """The one line with which a command refuses."""
    answer = run(*arguments, cwd=cwd, expect=2)
    *before, line = answer.stderr.strip().splitlines()
    assert line.startswith("Error: ")
    assert all(done.startswith("✓ ") for done in before)
    return line


def everything(folder):
    """Every file below a folder with its size, Dagster's own database apart."""
    return {
        str(path): path.stat().st_size for path in folder.rglob("*") if "dagster" not in path.parts
    }


@pytest.fixture
def folder(embedded_folder, tmp_path):
    shutil.copytree(embedded_folder, tmp_path / "p")
    return tmp_path / "p"


def test_the_whole_chain_on_a_folder_of_ones_own(mini_folder, tmp_path):
    """A5, A17, A23, D17, D20: from a folder of images to saved tags, command by command."""
    images = tmp_path / "mes images été"
    shutil.copytree(SAMPLE / "tools", images)
    folder = tmp_path / "projet"
    folder.mkdir()
    assert "is a project of" in run("init", images, cwd=folder).stdout
    shutil.copytree(mini_folder / ".panoptic" / "models", folder / ".panoptic" / "models")

    run("refresh", cwd=folder)
    given = ("--method", "kmeans", "--nb-clusters", 6)
    assert "outils/5" in run("cluster", "outils", *given, cwd=folder).stdout
    run("divide", "outils/5", "--nb-clusters", 2, cwd=folder)
    assert "Clustering" in run("save", "outils", "--author", "Zoé", cwd=folder).stdout

    listed = run("runs", cwd=folder).stdout
    assert "outils/5" in listed
    assert "current" in listed
    info = yaml.safe_load(run("run-info", "outils", cwd=folder).stdout)
    assert info["config"]["method"] == {
        "kmeans": {
            "nb_clusters": 6,
            "n_init": 10,
            "init": "k-means++",
            "max_iter": 300,
            "tol": 1e-4,
        }
    }
    assert run("clusters", "outils/5", cwd=folder).stdout.count("outils/5/") == 2
    tree = run("tags", cwd=folder).stdout
    assert tree.index("5 (") < tree.index("0 (", tree.index("5 ("))


def test_other_parameters_are_refused_and_replace_makes_nodes_stale(folder):
    run("cluster", "demo", cwd=folder)
    run("divide", "demo/9", "--nb-clusters", 2, cwd=folder)
    before = everything(folder)
    message = refused("cluster", "demo", "--nb-clusters", 12, cwd=folder)
    assert "method.kmeans.nb_clusters: 10 is recorded, 12 is asked for" in message
    assert "--replace" in message
    assert everything(folder) == before
    answer = run("cluster", "demo", "--nb-clusters", 12, "--replace", cwd=folder)
    assert "demo/9" in answer.stderr
    assert "stale" in run("runs", cwd=folder).stdout


@pytest.mark.parametrize("key", BAD_KEYS)
def test_a_bad_key_is_one_line_and_exit_code_2_and_nothing_is_written(folder, tmp_path, key):
    before = everything(tmp_path)
    for command in ("cluster", "divide", "save", "run-info", "clusters"):
        refused(command, key, cwd=folder)
    assert everything(tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cluster", "a", "--nb-clusters", "0"], "greater than or equal to 1"),
        (["cluster", "a", "--nb-clusters", "9999"], "at most 253"),
        (["cluster", "a", "--batch-size", "9"], "batch_size"),
        (["cluster", "a", "--features", "clip"], "has a vector of type 'clip'"),
        (["cluster", "a", "--files", "zzz/*"], "No file matches"),
        (["divide", "a/0"], "there is no run 'a'"),
        (["save", "nothing"], "There is no clustering 'nothing'"),
        (["run-info", "nothing"], "There is no clustering 'nothing'"),
        (["clusters", "nothing"], "There is no clustering 'nothing'"),
        (["tags", "Époque"], "There is no property 'Époque'"),
        (["refresh", "--vector-type", "clip"], "There is no vector type 'clip'"),
        (["refresh", "--vector-type", "../clip"], "is not a vector type"),
        (["--project", "/nowhere", "runs"], "There is no project in /nowhere"),
        (["init", "missing"], "is not a folder"),
    ],
)
def test_what_cannot_be_done_is_said_on_one_line(folder, arguments, message):
    assert message in refused(*arguments, cwd=folder)


def test_a_project_may_be_of_a_url_whose_faults_are_one_line(tmp_path):
    said = run("init", "memory://no/such//folder", cwd=tmp_path).stdout
    assert "is a project of memory://no/such//folder." in said
    assert "memory://no/such//folder cannot be read" in refused("refresh", cwd=tmp_path)


def test_outside_a_project_the_way_to_make_one_is_named(tmp_path):
    assert "panoptic-assets init FOLDER_OF_IMAGES" in refused("runs", cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_real_clip_without_a_hub_names_the_ways_out(folder):
    """One option away; a hub that cannot be reached is a plain message."""
    if os.environ.get("PANOPTIC_TEST_HUB"):
        pytest.skip("a model hub is reachable")
    message = refused("refresh", "--vector-type", "vit-b-32", cwd=folder)
    assert "embedded:mini" in message
    assert "pretrained:" in message


def test_saving_twice_is_refused_or_does_nothing(folder):
    """K9: a second save is never silent."""
    run("cluster", "one", "--nb-clusters", 3, cwd=folder)
    run("cluster", "two", "--nb-clusters", 4, cwd=folder)
    run("save", "one", cwd=folder)
    assert "saved as 'Clustering' already" in run("save", "one", cwd=folder).stderr
    assert "'Clustering (2)'" in refused("save", "two", cwd=folder)
    run("save", "two", "--property", "Époque", cwd=folder)
    assert {tag["property"] for tag in Project(folder).tags()} == {"Clustering", "Époque"}


def test_two_commands_at_once_both_do_their_work(folder):
    command = [sys.executable, "-m", "panoptic_assets.cli", "cluster"]
    processes = [
        subprocess.Popen([*command, key], cwd=folder, env=environment(), stderr=subprocess.PIPE)
        for key in ("one", "two")
    ]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    assert [run["key"] for run in Project(folder).runs()] == ["one", "two"]


def test_a_command_goes_on_after_another_was_killed(folder, embedded_folder):
    """A killed run would hold its slot of the pool, and the next command would wait for ever."""
    shutil.rmtree(folder / ".panoptic" / "store" / "vectors.mini.lance")
    command = [sys.executable, "-m", "panoptic_assets.cli", "refresh", "--batch-size", "8"]
    process = subprocess.Popen(
        command, cwd=folder, env=environment(), stderr=subprocess.DEVNULL, start_new_session=True
    )
    vectors = folder / ".panoptic" / "store" / "vectors.mini.lance"
    deadline = time.monotonic() + 120
    while not vectors.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    run("refresh", cwd=folder)
    assert Project(folder).vectors().num_rows == 253


def test_the_demo_gives_the_same_answer_anywhere_and_changes_nothing_when_run_again(tmp_path):
    """K3: the same to the bit, in another folder and process, whatever the order of the files."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    first = run("demo", cwd=tmp_path / "one")
    for expected in ("demo/9", "Clustering", "dagster dev", str(tmp_path / "one")):
        assert expected in first.stdout
    before = everything(tmp_path / "one")
    run("demo", cwd=tmp_path / "one")
    assert everything(tmp_path / "one") == before

    images = tmp_path / "images"
    for file in sorted(SAMPLE.rglob("*.jpg"), key=lambda file: file.name[::-1], reverse=True):
        target = images / file.relative_to(SAMPLE)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    run("init", images, cwd=tmp_path / "two")
    run("refresh", cwd=tmp_path / "two")
    run("cluster", "demo", cwd=tmp_path / "two")
    one, two = (Project(tmp_path / name).run_info("demo")["output"] for name in ("one", "two"))
    assert one == two
    assert [found["key"].count("/") for found in Project(tmp_path / "one").runs()] == [0, 1, 2]
    assert len(Project(tmp_path / "one").tags("Clustering")) == 10 + 2 + 2


def test_a_slot_that_an_ended_run_left_taken_is_freed_and_a_running_one_waited_for(folder):
    """A run of the UI that was killed and then cancelled leaves its slot of the pool taken."""
    home = folder / ".panoptic" / "dagster"
    job = build_defs().resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.from_config(str(home)) as instance:
        run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
        storage = instance.event_log_storage
        storage.initialize_concurrency_limit_to_default("lancedb_write")
        storage.claim_concurrency_slot("lancedb_write", run.run_id, "embeddings")
        command = [sys.executable, "-m", "panoptic_assets.cli", "cluster", "one"]
        process = subprocess.Popen(
            command, cwd=folder, env=environment(), stderr=subprocess.PIPE, text=True
        )
        assert f"Waiting for the Dagster run {run.run_id}" in process.stderr.readline()
        assert process.poll() is None
        instance.report_run_canceled(run)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "✓ clustering one" in errors


def test_an_interrupted_command_ends_without_a_stack_trace_and_can_be_run_again(folder):
    shutil.rmtree(folder / ".panoptic" / "store" / "vectors.mini.lance")
    process = subprocess.Popen(
        [sys.executable, "-m", "panoptic_assets.cli", "refresh", "--batch-size", "4"],
        cwd=folder,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        # A test runner's own parent may ignore the signal, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    vectors = folder / ".panoptic" / "store" / "vectors.mini.lance"
    deadline = time.monotonic() + 120
    while not vectors.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors.rstrip().endswith("Aborted!")
    assert "Traceback" not in errors
    run("refresh", cwd=folder)
    assert Project(folder).vectors().num_rows == 253


def test_two_demos_started_together_in_an_empty_folder_are_one_project(tmp_path):
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "panoptic_assets.cli", "demo"],
            cwd=tmp_path,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors
    assert [run["revision"] for run in Project(tmp_path).runs()] == [1, 1, 1]
    assert LanceStore(uri=str(tmp_path / ".panoptic" / "store")).count("tag_log") == 1

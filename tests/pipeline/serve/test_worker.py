"""The warm worker of `panoptic-assets ui`: who hands what to it, and how what it does ends."""

import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing, suppress
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from panoptic_assets.orchestration import insides
from panoptic_assets.orchestration.instance import AUTHOR_TAG, WORKER_TAG, end_lost, holder_of
from panoptic_assets.orchestration.running import CLUSTERINGS_POOL
from panoptic_assets.orchestration.runs import IN_PROGRESS, NOT_FINISHED
from panoptic_assets.orchestration.worker_link import ActCancelledError, Errand
from panoptic_assets.project import Project
from panoptic_assets.serve import worker
from panoptic_assets.serve.worker import COMMAND
from panoptic_assets.spec.reporting import Silent
from panoptic_assets.spec.resolution import parse
from panoptic_assets.tags.config import EditsConfig
from panoptic_assets.tags.editing import check_edits
from panoptic_assets.tags.table import append_events
from resources import ENVIRONMENT_VARIABLE
from resources.errors import InputError
from resources.models import OpenClipModels
from resources.project_folder import ProjectSettings, create
from tests.browser.conftest import stop
from tests.commands import environment, run
from tests.served import processes_of, serve, until

pytestmark = pytest.mark.skipif(
    not Path("/proc").is_dir(), reason="the worker needs Unix sockets, the tests /proc"
)

SLOW = {"method": {"kmeans": {"nb_clusters": 50, "n_init": 1000}}, "stability": 90}
"""Minutes of work, that any of these tests ends."""
SLOWLY = ["--nb-clusters", "50", "--n-init", "1000", "--stability", "90"]
"""The same for a command."""
LONG = SLOW | {"stability": 200}
"""Which is known to take so long that nobody is to wait for it."""
TWO = {"kmeans": {"nb_clusters": 2}}


@pytest.fixture(scope="module")
def served(clustered_folder, tmp_path_factory):
    """The sample with the run `greek`, open; at the end Ctrl-C is pressed amid an act."""
    folder = shutil.copytree(clustered_folder, tmp_path_factory.mktemp("served") / "project")
    with serve(folder, folder.parent / "said.txt") as served:
        yield served
        served.at_work(served.launch("clustering", "at-the-end", **SLOW))
        assert stop(served.process) == 0
        assert processes_of(folder) == {}
        assert served.instance.get_runs(dg.RunsFilter(statuses=list(IN_PROGRESS))) == []
        assert not Path(served.home / "worker.json").exists()


@pytest.fixture
def idle(served):
    """Nothing is in progress and no slot is held, before and after."""
    yield served
    until(lambda: served.knows().get("runs") == [])
    until(lambda: not served.instance.get_runs(dg.RunsFilter(statuses=list(IN_PROGRESS))))
    until(lambda: holder_of(served.instance, CLUSTERINGS_POOL) is None)


def test_a_check_that_needs_a_model_is_answered_by_the_worker(served, monkeypatch):
    """The web server loads none: one of a gigabyte would be there twice."""

    def load(*_):
        raise AssertionError("a model was loaded here")

    monkeypatch.setattr(OpenClipModels, "load", load)
    scope = {"text": {"text": "a cat", "nb_images": 5}}
    project = Project(served.folder, worker="all")
    told = project.check("clustering", "cats", scope=scope)
    assert (told["nb_images"], told["config"]["scope"]["text"]["text"]) == (5, "a cat")
    assert len(project.images_in(scope)) == 5
    with pytest.raises(InputError, match="There is no clustering"):
        project.check("cluster_labels", "nobody")


def started(folder, *arguments):
    """A command in a process of its own, which goes on."""
    return subprocess.Popen(
        [sys.executable, "-m", "panoptic_assets.cli", *arguments],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class Asked(threading.Thread):
    """An act of the web server: what has come of it, and the id of its Dagster run."""

    def __init__(self, served, act, *arguments, **given):
        super().__init__(daemon=True)
        self.project = Project(served.folder, reporter=self, worker="all", author="Zoé")
        self.runs, self.lines, self.error = [], [], None
        self._act = lambda: getattr(self.project, act)(*arguments, **given)
        self.start()

    def run(self):
        try:
            self._act()
        except InputError as error:
            self.error = error

    def accepted(self, run_id):
        self.runs += [run_id] if run_id else []

    def tell(self, text, style=""):
        self.lines.append(text)

    def track(self, items, total, what, count=lambda _: 1):
        yield from items

    def run_id(self):
        return until(lambda: self.runs)[0]


ACTS = [
    ["cluster", "new", "--nb-clusters", "3"],
    ["divide", "new/0", "--nb-clusters", "2"],
    ["save", "new", "--property", "New"],
    ["tag", "create", "animals > birds", "--property", "Animals"],
    ["tag", "rename", "animals", "beasts", "--property", "Animals"],
    ["policy", "new", "assign"],
    ["divide", "new/1", "--nb-clusters", "2"],
    ["undo", "new/1@1"],
    ["remove", "new", "--yes"],
]


def test_commands_hand_their_acts_over_and_say_what_they_say_without(idle, greek):
    def said(arguments, folder):
        answer = run(*arguments, cwd=folder)
        varying = rf"{folder}|\(\d+\.\d s\)|Event \d+|undo \d+|mark-\d+|tag-\d+"
        return re.sub(varying, "…", answer.stdout), re.sub(varying, "…", answer.stderr)

    before = idle.instance.get_runs_count()
    for arguments in ACTS:
        assert said(arguments, idle.folder) == said(arguments, greek.project.folder), arguments
    runs = idle.instance.get_runs(limit=idle.instance.get_runs_count() - before)
    assert len(runs) >= len(ACTS)
    assert {run.status for run in runs} == {dg.DagsterRunStatus.SUCCESS}
    assert all(WORKER_TAG in run.tags and AUTHOR_TAG in run.tags for run in runs)


@pytest.mark.parametrize(
    "request_",
    [
        {"act": "nested_clustering", "key": "greek/17", "given": {}},
        {"act": "clustering", "key": "greek", "given": {"method": TWO}},
        {"act": "clustering", "key": "..", "given": {}},
        {"act": "clustering", "key": "x", "given": {"method": {"kmeans": {"nb_clusters": 0}}}},
        {"act": "clustering", "key": "x", "given": {"method": {"nope": {}}}},
        {"act": "saved_clustering", "key": "none", "given": {}},
        {"act": "tags", "given": {"edits": [{"rename": {"tag": "none", "to": "x"}}]}},
        {"act": "clustering", "key": "x", "given": {}, "seen": {"greek": "greek@7"}},
        {"act": "tag_recommendations", "given": {}, "seen": {"greek": "greek@7"}},
    ],
)
def test_what_is_refused_is_refused_with_the_same_message_as_without(idle, request_):
    count = idle.instance.get_runs_count()
    with pytest.raises(InputError) as handed:
        Errand(idle.home, request_, Silent()).carried_out()
    project = Project(idle.folder, worker="none", seen=request_.get("seen"))
    with pytest.raises(InputError) as here:
        project._act(request_["act"], request_.get("key"), request_["given"])
    assert handed.value.message == here.value.message
    assert str(handed.value) == str(here.value)
    assert idle.instance.get_runs_count() == count


@pytest.mark.parametrize("asked", [{"act": "none"}, {"act": 5}, {"run": "none"}, {"run": []}, {}])
def test_what_no_client_of_ours_asks_harms_nothing(idle, asked):
    pid = idle.worker()
    with suppress(InputError):
        answer = Errand(idle.home, asked, Silent()).carried_out()
        assert "declined" in answer
    assert idle.worker() == pid


def test_a_run_of_the_launchpad_is_the_workers_and_has_all_that_dagsters_own_have(idle):
    """Its origin, configuration, log and checks; and it can be done again."""
    run_id = idle.launch("nested_clustering", "greek/0", method=TWO, replace=True)
    for each in (run_id, idle.again(run_id)):
        done = idle.ended(each)
        assert (done.status, WORKER_TAG in done.tags) == (dg.DagsterRunStatus.SUCCESS, True)
        assert done.remote_job_origin is not None
        given = done.run_config["ops"]["nested_clustering"]["config"]
        assert given == {"method": TWO, "replace": True}
        kinds = {entry.dagster_event_type for entry in idle.instance.all_logs(each)}
        assert dg.DagsterEventType.ASSET_MATERIALIZATION in kinds
        assert dg.DagsterEventType.ASSET_CHECK_EVALUATION in kinds
        assert dg.DagsterEventType.PIPELINE_SUCCESS in kinds
    assert Project(idle.folder).run_info("greek/0")["dagster_run_id"] == run_id


def test_a_job_for_a_new_run_is_the_workers_too(idle):
    op = {"key": "by-job", "method": {"kmeans": {"nb_clusters": 3}}}
    done = idle.ended(idle.launch_job("cluster_by_kmeans", "cluster", **op))
    assert (done.status, WORKER_TAG in done.tags) == (dg.DagsterRunStatus.SUCCESS, True)
    assert Project(idle.folder).run_info("by-job")["nb_clusters"] == 3


def test_what_is_refused_in_the_launchpad_says_why_in_its_run(idle):
    done = idle.ended(idle.launch("nested_clustering", "greek/17", method=TWO))
    assert done.status == dg.DagsterRunStatus.FAILURE
    [failure] = idle.instance.all_logs(done.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    said = failure.dagster_event.step_failure_data.user_failure_data.description
    assert "There is no node 'greek/17'" in said


def test_a_long_run_of_the_launchpad_is_declined_and_a_rename_does_not_wait_for_it(idle):
    copied = {WORKER_TAG: socket.gethostname()}  # as *Re-execute* copies it
    run_id = idle.launch("clustering", "declined", copied, **LONG)
    idle.at_work(run_id)
    assert idle.run(run_id).tags[WORKER_TAG] == "none"
    assert holder_of(idle.instance, CLUSTERINGS_POOL) == run_id
    run("tag", "create", "meanwhile", "--property", "Declined", cwd=idle.folder)
    assert idle.run(run_id).status == dg.DagsterRunStatus.STARTED
    idle.terminate(run_id)
    assert idle.ended(run_id).status == dg.DagsterRunStatus.CANCELED
    until(lambda: holder_of(idle.instance, CLUSTERINGS_POOL) is None)
    assert "declined" not in {made["key"] for made in Project(idle.folder).runs()}


def test_a_long_act_of_the_web_server_goes_on_beside_others_and_is_cancelled_in_dagsters_ui(idle):
    asked = Asked(idle, "cluster", "given-away", **LONG)
    idle.at_work(asked.run_id())
    run("tag", "create", "meanwhile", "--property", "Given", cwd=idle.folder)
    assert idle.run(asked.run_id()).status == dg.DagsterRunStatus.STARTED
    assert idle.run(asked.run_id()).tags[AUTHOR_TAG] == "Zoé"
    idle.terminate(asked.run_id())
    asked.join(60)
    assert isinstance(asked.error, ActCancelledError)
    assert idle.ended(asked.run_id()).status == dg.DagsterRunStatus.CANCELED


def long_ones(served):
    """The processes that carry out what takes long, or stay for it."""
    return {pid for pid, line in processes_of(served.folder).items() if b"--long" in line}


def test_a_process_of_a_long_act_stays_for_the_next_one(idle):
    """A refresh is several such acts: to start a process for each took most of its time."""
    project = Project(idle.folder, worker="all")
    nb_runs = idle.instance.get_runs_count()
    project.refresh()
    stays = long_ones(idle)
    project.refresh()
    assert idle.instance.get_runs_count() >= nb_runs + 4
    assert long_ones(idle) <= stays
    for pid in stays:
        os.kill(pid, signal.SIGKILL)
    until(lambda: not long_ones(idle) & stays)
    project.refresh()


SAYS_DONE = """
import json, sys, time
for line in sys.stdin:
    print(json.dumps({"run": "r"}), flush=True)
    time.sleep(0.3)
    print(json.dumps({"done": {}}), flush=True)
"""


def test_a_process_that_was_told_to_end_as_its_act_was_done_does_not_stay(tmp_path, monkeypatch):
    """Dagster's *Terminate* may come too late for its act: the next one has another process."""
    (tmp_path / "says_done.py").write_text(SAYS_DONE)
    monkeypatch.setattr(worker, "COMMAND", [sys.executable, str(tmp_path / "says_done.py")])
    one = worker.Worker(create(tmp_path / "project", ProjectSettings(images=str(tmp_path))))
    one._carrier = SimpleNamespace(settle=lambda *_: None)
    ends = []

    def emit(message):
        if "run" in message and not ends:
            assert one._cancel_run("r")
        if "done" in message:
            ends.append(message)

    who_asks, mine = socket.socketpair()
    with who_asks, mine, mine.makefile("rb") as stream:
        for _ in range(2):
            one._give_away({"act": "images"}, emit, stream, None, lambda: None)
        assert (len(ends), one._children, len(one._idle)) == (2, [], 1)
        who_asks.shutdown(socket.SHUT_RDWR)
    one._dismiss(one._idle[0])


def test_a_process_for_long_acts_that_can_do_nothing_says_so_and_ends_well(tmp_path):
    process = subprocess.Popen(
        [*COMMAND, "--long"],
        env=environment() | {ENVIRONMENT_VARIABLE: str(tmp_path / "nowhere")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        process.stdin.write(b'{"act": "images"}\n')
        process.stdin.flush()
        assert "failed" in json.loads(process.stdout.readline())
        assert process.wait(120) == 0


def test_a_process_of_a_long_act_that_is_killed_is_told_of_in_one_line(idle):
    asked = Asked(idle, "cluster", "killed-child", **LONG)
    idle.at_work(asked.run_id())
    [child] = long_ones(idle)
    os.kill(child, signal.SIGKILL)
    asked.join(60)
    assert "The process that carried this out has died" in str(asked.error)
    assert idle.ended(asked.run_id()).status == dg.DagsterRunStatus.FAILURE


def test_runs_that_wait_or_work_in_the_worker_are_cancelled_in_dagsters_ui(idle):
    pid = idle.worker()
    working = idle.launch("clustering", "working", **SLOW)
    idle.at_work(working)
    waiting = idle.launch("tags", None, edits=[{"create": {"tag": "none", "property": "None"}}])
    until(lambda: waiting in idle.knows()["runs"])
    idle.terminate(waiting, at_once=True)
    assert idle.ended(waiting).status == dg.DagsterRunStatus.CANCELED
    idle.terminate(working)
    assert idle.ended(working).status == dg.DagsterRunStatus.CANCELED
    until(lambda: not idle.knows()["runs"])
    kind = dg.DagsterEventType.STEP_START
    assert not idle.instance.all_logs(waiting, of_type=kind), "it has never begun"
    assert idle.worker() == pid
    project = Project(idle.folder)
    assert "working" not in {made["key"] for made in project.runs()}
    assert "None" not in {tag["property"] for tag in project.tags()}


def test_a_command_that_is_interrupted_cancels_its_act(idle):
    command = started(idle.folder, "cluster", "by-command", *SLOWLY)
    run_id = until(lambda: idle.knows()["runs"])[0]
    idle.at_work(run_id)
    command.send_signal(signal.SIGINT)
    _, errors = command.communicate(timeout=60)
    assert command.returncode == 130
    assert errors.splitlines()[-1].startswith("Interrupted: ")
    assert idle.ended(run_id).status == dg.DagsterRunStatus.CANCELED


class CancelledAfter(Asked):
    """An act that is cancelled some seconds after the worker has accepted it."""

    def __init__(self, seconds, *arguments):
        self._seconds = seconds
        super().__init__(*arguments)

    def accepted(self, run_id):
        super().accepted(run_id)
        if not run_id:
            threading.Timer(self._seconds, self.project.cancel).start()


def test_an_act_that_is_cancelled_at_any_moment_leaves_no_dagster_run_without_an_end(idle):
    for moment in range(10):
        edit = {"create": {"tag": f"moment {moment}", "property": "Moments"}}
        CancelledAfter(moment * 0.02, idle, "edit", [edit]).join(60)
    unfinished = dg.RunsFilter(statuses=list(NOT_FINISHED))
    until(lambda: not idle.instance.get_runs(unfinished), seconds=30)


def test_who_cancels_over_the_api_ends_the_act_only(idle):
    pid = idle.worker()
    asked = Asked(idle, "cluster", "asked", **SLOW)
    idle.at_work(asked.run_id())
    asked.project.cancel()
    asked.join(60)
    assert isinstance(asked.error, ActCancelledError)
    assert idle.ended(asked.run_id()).status == dg.DagsterRunStatus.CANCELED
    assert idle.worker() == pid


@pytest.mark.parametrize("work", [SLOW, LONG], ids=["in the worker", "in a process of its own"])
def test_an_act_whose_end_dagster_could_not_record_ends_once_it_can(idle, work):
    """As on a full or a slow disk; until then its Dagster run has the slot that others wait for."""
    asked = Asked(idle, "cluster", "asked", **work)
    idle.at_work(asked.run_id())
    with closing(sqlite3.connect(idle.home / "history" / "runs.db", timeout=60)) as tables:
        with tables:
            tables.execute(
                "CREATE TRIGGER no_end BEFORE UPDATE ON runs"
                " WHEN NEW.status IN ('CANCELED', 'FAILURE')"
                " BEGIN SELECT RAISE(FAIL, 'no room'); END"
            )
        asked.project.cancel()
        asked.join(60)
        until(lambda: idle.knows()["runs"] == [])
        assert not idle.run(asked.run_id()).is_finished
        with tables:
            tables.execute("DROP TRIGGER no_end")
    assert idle.ended(asked.run_id()).status == dg.DagsterRunStatus.CANCELED
    assert "asked" not in {made["key"] for made in Project(idle.folder).runs()}


def test_a_worker_that_is_killed_is_replaced_and_commands_say_that_it_was(idle):
    """What a command asked for is its user's to repeat; what Dagster's queue has, Dagster's."""
    pid = idle.worker()
    command = started(idle.folder, "cluster", "by-command", *SLOWLY)
    mine = until(lambda: idle.knows()["runs"])[0]
    idle.at_work(mine)
    queued = idle.launch("tags", None, edits=[{"create": {"tag": "late", "property": "Late"}}])
    until(lambda: queued in idle.knows()["runs"])
    os.kill(pid, signal.SIGKILL)
    _, errors = command.communicate(timeout=60)
    assert command.returncode == 2
    assert errors.splitlines()[-1].startswith("Error: The worker that carried this out has ended")
    assert mine in errors
    assert idle.ended(mine).status == dg.DagsterRunStatus.FAILURE
    assert idle.ended(queued).status == dg.DagsterRunStatus.FAILURE
    assert idle.worker(other_than=pid)
    retried = dg.RunsFilter(tags={"dagster/parent_run_id": queued})
    [retry] = until(lambda: idle.instance.get_runs(retried))
    assert idle.ended(retry.run_id).status == dg.DagsterRunStatus.SUCCESS
    assert [tag["name"] for tag in Project(idle.folder).tags("Late")] == ["late"]
    assert idle.run(mine).tags[insides.WILL_RETRY_TAG] == "false"
    assert "The worker died (status -9) and is replaced." in idle.said.read_text()


def test_a_new_worker_writes_the_tags_that_a_killed_one_had_only_logged(idle):
    """They are two commits: a kill between them leaves a log that is ahead of the tables."""
    project, pid = Project(idle.folder), idle.worker()
    logged = parse(EditsConfig, {"edits": [{"create": {"tag": "only", "property": "Logged"}}]})
    events, log = check_edits(project.store, logged)
    assert append_events(project.store, log, events, "Zoé", "")
    assert "Logged" not in {tag["property"] for tag in project.tags()}
    os.kill(pid, signal.SIGKILL)
    assert idle.worker(other_than=pid)
    until(lambda: "Logged" in {tag["property"] for tag in project.tags()})
    assert idle.newest().tags[WORKER_TAG] == socket.gethostname()


def test_a_worker_that_is_asked_to_end_cancels_its_act_and_leaves_no_socket(idle):
    before = idle.address()
    folder = Path(before["socket"]).parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    asked = Asked(idle, "cluster", "asked", **SLOW)
    idle.at_work(asked.run_id())
    os.kill(before["pid"], signal.SIGTERM)
    asked.join(60)
    assert isinstance(asked.error, ActCancelledError)
    assert idle.ended(asked.run_id()).status in (
        dg.DagsterRunStatus.CANCELED,
        dg.DagsterRunStatus.FAILURE,
    )
    assert idle.worker(other_than=before["pid"])
    assert not folder.exists()


def test_a_worker_whose_project_was_changed_starts_anew_and_the_act_is_done_then(idle):
    pid = idle.worker()
    with (idle.folder / ".panoptic" / "project.yaml").open("a") as settings:
        settings.write("# changed\n")
    answer = run("tag", "create", "anew", "--property", "Anew", cwd=idle.folder)
    assert "The worker starts anew: its code or the project's settings have changed" in (
        answer.stdout + answer.stderr
    )
    assert WORKER_TAG in idle.newest().tags
    assert [tag["name"] for tag in Project(idle.folder).tags("Anew")] == ["anew"]
    assert idle.worker() != pid


@pytest.mark.parametrize(
    ("status", "end"),
    [
        (dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.FAILURE),
        (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.FAILURE),
        (dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED),
    ],
)
def test_runs_of_a_worker_that_has_died_are_ended_wherever_they_were(status, end):
    """It may be killed between making a run and starting it, or amid what somebody cancels."""
    with dg.DagsterInstance.ephemeral() as instance:
        tags = {WORKER_TAG: socket.gethostname()}
        mine = create_run_for_test(instance, status=status, tags=tags)
        other = create_run_for_test(instance, status=status, tags={WORKER_TAG: "elsewhere"})
        end_lost(instance, WORKER_TAG, "The worker has died.")
        assert instance.get_run_by_id(mine.run_id).status == end
        assert instance.get_run_by_id(other.run_id).status == status


def test_a_second_worker_is_none(idle):
    pid = idle.worker()
    variables = environment(
        **{ENVIRONMENT_VARIABLE: str(idle.folder), "DAGSTER_HOME": str(idle.home)}
    )
    second = subprocess.run(
        COMMAND, env=variables, stdin=subprocess.PIPE, capture_output=True, text=True, timeout=60
    )
    assert second.returncode == 1
    assert second.stderr == f"Another worker has {idle.home}.\n"
    assert idle.worker() == pid

"""Random acts by two clients at once, whose worker and server are killed, against a model.

The model is of plain Python: what each client sees of its own runs and tags, after each of its
acts. An act that was answered as done is there from then on; one that was refused has changed
nothing; one that was not answered is whole or absent; undoing one gives exactly what was before.

$PANOPTIC_RANDOM_ACTS is how many acts there are (30), $PANOPTIC_RANDOM_KILLS how many kills (2),
$PANOPTIC_RANDOM_SEED where the random numbers begin (1): the same seed gives the same requests,
though not the same moments.
"""

import os
import random
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import dagster as dg
import pytest

from panoptic_assets.clustering.table import Clusterings
from panoptic_assets.orchestration.instance import holder_of
from panoptic_assets.orchestration.running import POOLS
from panoptic_assets.orchestration.runs import IN_PROGRESS
from panoptic_assets.orchestration.worker_link import ActCancelledError, WorkerLostError
from panoptic_assets.project import Project
from panoptic_assets.spec.tag_log import paths, replay
from panoptic_assets.tags.table import read_log
from resources.errors import InputError
from tests import processes
from tests.faults.test_faults import (
    check_answers_are_whole,
    check_nothing_is_twice,
    check_tags_are_the_log,
)
from tests.served import processes_of, serve, until
from tests.tiny import tiny_project
from tests.workbench import bench_of

NB_ACTS = int(os.environ.get("PANOPTIC_RANDOM_ACTS", "30"))
NB_KILLS = int(os.environ.get("PANOPTIC_RANDOM_KILLS", "2"))
SEED = int(os.environ.get("PANOPTIC_RANDOM_SEED", "1"))
NB_IMAGES = 60
LOST = ("worker-ended", "act-cancelled")
"""Ids of what a client is told that does not know what became of its act."""


@dataclass(frozen=True)
class State:
    """All that one client made, by its names."""

    clusterings: dict[str, tuple[str, tuple[tuple[str, int], ...]]]
    """By key: the record that counts, and the cluster of each image."""
    tags: dict[tuple[str, str], frozenset[str]]
    """By property and path: the images."""
    policies: dict[str, str]
    """By run that has one of its own."""


def state_of(folder, client):
    """What the project says of one client's runs and tags."""
    project = Project(folder, worker="none").snapshot()
    mine = [found for found in project.runs() if found["run_key"].startswith(client)]
    clusterings = {}
    for found in mine:
        rows = project.assignments(found["key"])
        pairs = zip(rows["image_id"].to_pylist(), rows["cluster"].to_pylist(), strict=True)
        record = project.run_info(found["key"])
        clusterings[found["key"]] = record["record_id"], tuple(sorted(pairs))
    # By the log, whose tables are behind it when a process was killed between the two commits.
    replayed = replay([entry.event for entry in read_log(project.store)])
    images, names = {}, paths(replayed.tags)
    for tag_id, image_id in replayed.images:
        images.setdefault(tag_id, set()).add(image_id)
    tags = {
        (tag.property, names[tag.tag_id]): frozenset(images.get(tag.tag_id, ()))
        for tag in replayed.tags
        if tag.property.startswith(client)
    }
    files = sorted((folder / "configs" / "runs").rglob("*.yaml"))
    policies = {file.stem: file.read_text() for file in files if file.stem.startswith(client)}
    return State(clusterings, tags, policies)


def done(folder, client, method, arguments, given, answer):
    """Do one act as a command does, in a process of its own, and send how it ended."""
    project = Project(folder, author=client)
    try:
        getattr(project, method)(*arguments, **given)
    except InputError as error:
        answer.send((error.id, str(error)))
    else:
        answer.send(("", ""))


@dataclass
class Client(threading.Thread):
    """Does random acts on runs and tags whose names begin with its own."""

    desk: "Desk"
    name_: str
    nb_acts: int
    by_process: bool
    """As commands do, or in this process, as the web server does."""
    counts: Counter = field(default_factory=Counter)
    failure: str = ""

    def __post_init__(self):
        super().__init__(daemon=True)
        self._random = random.Random(f"{SEED} {self.name_}")
        self._state = state_of(self.desk.folder, self.name_)
        self._undoable: list[tuple[str, State, State]] = []
        """Acts in their order: the id, and what was before and after."""
        self._undone: list[tuple[str, State, State]] = []
        self._numbers = 0

    def __hash__(self):
        return id(self)

    def run(self):
        try:
            for number in range(self.nb_acts):
                self._act(number)
        except BaseException as error:
            self.failure = f"{self.name_}: {type(error).__name__}: {error}"
            raise

    def _act(self, number):
        method, arguments, given = self._choice()
        if method in ("undo", "redo"):
            stack = self._undoable if method == "undo" else self._undone
            act, before, after = stack.pop()
            arguments = [act]
        ended, text = self._do(method, arguments, given)
        what = f"{number} {method} {arguments} {given}: {ended or 'done'} {text}"
        self.counts[method] += 1
        self.counts["done" if not ended else "lost" if ended in LOST else "refused"] += 1
        now = state_of(self.desk.folder, self.name_)
        if method in ("undo", "redo"):
            assert not ended or ended in LOST, what
            wanted, other = (before, after) if method == "undo" else (after, before)
            assert now == wanted or (ended and now == other), what
            if now == wanted:
                (self._undone if method == "undo" else self._undoable).append((act, before, after))
            else:
                stack.append((act, before, after))
        elif ended and ended not in LOST:
            assert now == self._state, what
        elif ended and now == self._state:
            self.counts["lost and absent"] += 1
        else:
            self._check(now, method, arguments, given, what)
            self.counts["lost and whole"] += bool(ended)
            self._undone.clear()
            self._undoable.append((self._last_act(what), self._state, now))
        self._state = now

    def _last_act(self, what):
        """The id of the last act, as the project's history has it."""
        mine = [
            act
            for act in Project(self.desk.folder, worker="none").history()
            if act["author"] == self.name_ and act["kind"] not in ("undo", "redo", "withdraw")
        ]
        assert mine, what
        return mine[-1]["id"]

    def _choice(self):
        """A method of ``Project`` with its arguments; most of them can be done."""
        pick, name = self._random, self.name_
        roots = [key for key in self._state.clusterings if "/" not in key]
        own = [path for property_, path in self._state.tags if property_ == f"{name}-own"]
        kinds = ["cluster", "create", "create"]
        kinds += ["divide", "divide", "save", "set_policy"] * bool(roots)
        kinds += ["again", "remove"] * (len(roots) > 2)
        kinds += ["rename", "rename", "assign", "assign", "delete"] * bool(own)
        kinds += ["merge"] * (len(own) > 2)
        kinds += ["undo", "undo"] * bool(self._undoable) + ["redo", "redo"] * bool(self._undone)
        kind = pick.choice(kinds)
        self._numbers += 1
        new, number = f"{name}{self._numbers}", pick.randint(2, 5)
        kmeans = {"method": {"kmeans": {"nb_clusters": number}}, "seed": pick.randrange(1000)}
        if kind in ("undo", "redo"):
            return kind, [], {}
        if kind == "cluster":
            return "cluster", [new], kmeans
        if kind == "again":
            return "cluster", [pick.choice(roots)], kmeans | {"replace": True}
        if kind == "divide":
            run = pick.choice(roots)
            return "divide", [f"{run}/{pick.randrange(3)}"], kmeans | {"replace": True}
        if kind == "save":
            return "save", [pick.choice(roots)], {"property": f"{name}-{pick.randrange(3)}"}
        if kind == "set_policy":
            run = pick.choice(roots)
            has = self._state.policies.get(run, "")
            other = [policy for policy in ("keep", "assign") if f"refresh: {policy}" not in has]
            return kind, [run, pick.choice(other)], {}
        if kind == "remove":
            return kind, [pick.choice(roots)], {}
        in_own = {"property": f"{name}-own"}
        edit = {
            "create": lambda: {"tag": new},
            "rename": lambda: {"tag": pick.choice(own), "to": new},
            "assign": lambda: {
                "tag": pick.choice(own),
                "images": pick.sample(self.desk.images, number),
            },
            "delete": lambda: {"tag": pick.choice(own)},
            "merge": lambda: dict(zip(("tags", "into"), self._two(own), strict=True)),
        }[kind]()
        return "edit", [[{kind: edit | in_own}]], {}

    def _two(self, own):
        one, into = self._random.sample(own, 2)
        return [one, into], into

    def _check(self, now, method, arguments, given, what):
        """That what is there now is what was there, and all that was asked for."""
        before = self._state
        if method == "edit":
            [(kind, fields)] = arguments[0][0].items()
            after = State(before.clusterings, edited(before.tags, kind, fields), before.policies)
            assert now == after, what
            return
        [key, *_] = arguments
        if method in ("cluster", "divide"):
            record_id, pairs = now.clusterings[key]
            assert record_id != before.clusterings.get(key, ("",))[0], what
            nb_clusters = given["method"]["kmeans"]["nb_clusters"]
            assert len({cluster for _, cluster in pairs}) == nb_clusters, what
            others = {**now.clusterings, key: before.clusterings.get(key)}
            assert {k: v for k, v in others.items() if v} == before.clusterings, what
            assert (now.tags, now.policies) == (before.tags, before.policies), what
        elif method == "remove":
            left = {k: v for k, v in before.clusterings.items() if k.partition("/")[0] != key}
            assert now.clusterings == left, what
            assert now.tags == before.tags, what
        elif method == "save":
            property_ = given["property"]
            elsewhere = {k: v for k, v in before.tags.items() if k[0] != property_}
            assert {k: v for k, v in now.tags.items() if k[0] != property_} == elsewhere, what
            saved = {image for k, v in now.tags.items() if k[0] == property_ for image in v}
            assert saved == {image for image, _ in now.clusterings[key][1]}, what
            assert now.clusterings == before.clusterings, what
        else:
            assert now.policies[key] != before.policies.get(key), what
            assert (now.clusterings, now.tags) == (before.clusterings, before.tags), what

    def _do(self, method, arguments, given):
        """How an act ended: the id of what was said instead, empty if it was done."""
        self.desk.open.wait(300)
        if not self.by_process:
            project = Project(self.desk.folder, author=self.name_, worker="all")
            try:
                getattr(project, method)(*arguments, **given)
            except (WorkerLostError, ActCancelledError, InputError) as error:
                return error.id, str(error)
            return "", ""
        receiver, sender = processes.CONTEXT.Pipe(duplex=False)
        asked = (self.desk.folder, self.name_, method, arguments, given, sender)
        process = processes.start(done, *asked)
        sender.close()
        try:
            return receiver.recv()
        finally:
            receiver.close()
            process.join()


def edited(tags, kind, fields):
    """The tags after an edit, by what edits mean."""

    def at(name):
        return fields["property"], name

    after = dict(tags)
    if kind == "create":
        after[at(fields["tag"])] = frozenset()
    elif kind == "rename":
        after[at(fields["to"])] = after.pop(at(fields["tag"]))
    elif kind == "assign":
        after[at(fields["tag"])] |= frozenset(fields["images"])
    elif kind == "delete":
        del after[at(fields["tag"])]
    else:
        whole = frozenset().union(*(after.pop(at(name)) for name in fields["tags"]))
        after[at(fields["into"])] = whole
    return after


class Desk:
    """What the clients work on."""

    def __init__(self, folder, images):
        self.folder, self.images = folder, images
        self.open = threading.Event()
        """Whether the project is being served."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small project whose images have vectors."""
    project = tiny_project(tmp_path_factory.mktemp("random"), NB_IMAGES)
    bench = bench_of(project.folder)
    bench.make("images")
    bench.make("embeddings", "tiny")
    return project.folder


def test_random_acts_of_two_clients_are_whole_or_absent_and_undone_exactly(folder):
    print(f"seed {SEED}, {NB_ACTS} acts, {NB_KILLS} kills")
    images = sorted(Project(folder).images()["image_id"].to_pylist())
    desk = Desk(folder, images)
    moments = random.Random(SEED)
    clients = [
        Client(desk, "a", NB_ACTS // 2, by_process=True),
        Client(desk, "b", NB_ACTS - NB_ACTS // 2, by_process=False),
    ]
    # None so late that it might come after the last act.
    at = sorted(moments.sample(range(2, NB_ACTS - 6), NB_KILLS))
    killed = Counter()
    began = time.monotonic()
    started = False

    def acts():
        ends = ("done", "refused", "lost")
        return sum(client.counts[end] for client in clients for end in ends)

    def over():
        return not any(client.is_alive() for client in clients)

    while not over() or not started:
        with serve(folder, folder.parent / "said.txt") as served:
            desk.open.set()
            if not started:
                for client in clients:
                    client.start()
                started = True
            while not over():
                until(lambda: over() or (at and acts() >= at[0]), 3600)
                if over():
                    break
                at.pop(0)
                time.sleep(moments.uniform(0, 1))
                # The server each third time: it takes ten times as long to start.
                if killed.total() % 3 == 1:
                    desk.open.clear()
                    os.kill(served.server(), signal.SIGKILL)
                    killed["server"] += 1
                    until(lambda: not processes_of(folder))
                    break
                pid = served.worker()
                os.kill(pid, signal.SIGKILL)
                killed["worker"] += 1
                served.worker(other_than=pid)
            if over():
                assert [client.failure for client in clients if client.failure] == []
                until(lambda: not served.knows().get("runs"))
                waiting = dg.RunsFilter(statuses=list(IN_PROGRESS))
                assert served.instance.get_runs(waiting) == []
                assert [holder_of(served.instance, pool) for pool in POOLS] == [None] * len(POOLS)
    counts = sum((client.counts for client in clients), Counter())
    print(f"{dict(counts)}; killed {dict(killed)}; {time.monotonic() - began:.0f} s")
    assert killed.total() == NB_KILLS
    store = Project(folder).store
    check_nothing_is_twice(store)
    check_answers_are_whole(store)
    check_tags_are_the_log(store)
    log = read_log(store)
    assert [entry.number for entry in log] == list(range(1, len(log) + 1))
    assert replay([entry.event for entry in log]).tags
    assert all(key[0] in "ab" for key in Clusterings(store).records)

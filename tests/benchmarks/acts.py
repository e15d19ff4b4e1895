"""From request to result, through every door: `python -m tests.benchmarks.acts` prints tables.

Belongs here: seconds of the acts of a reviewer by command without and with the worker, by the API,
by the Launchpad and by a sensor; memory of all processes of `panoptic-assets ui`, idle and after
many acts. Does not belong here: commands that only read (``tests.benchmarks.latency``).

Two projects: the shipped sample, 253 images, and the same with so many more that have vectors but
no pixels that there are 20,000. Of each there are two copies, one with `panoptic-assets ui` and one
without, and the doors alternate. CPU seconds of the client are those of a command's process;
those of the server are of all processes of `panoptic-assets ui` meanwhile.

Measured on 2 idle cores, three repeats, medians; Python 3.11, Dagster 1.13.27. Wall seconds by
command without the worker, by command with it, by the API, by the Launchpad; and CPU seconds of the
command without and with the worker (`import dagster`: .7 to 1.0):

- 253 images: divide 4.0, .96, .43, .97 s (4.2, .64 CPU s); rename 2.9, .86, .36, .67 (3.0, .66);
  save 3.4, 1.3, .73, .84 (3.4, .62); label 8.1, 1.5, 1.0, 1.8 (8.3, .63); accept 3.1, .79, .33, 1.2
  (3.1, .59). A sensor's run .7 from its creation.
- 20,000 images: divide 4.8, 1.4, 1.1, 2.0 s (4.9, .65); rename 3.4, 1.4, .85, 1.4 (3.5, .71); save
  5.0, 3.1, 2.8, 2.9 (5.0, .62); label 11, 2.6, 2.0, 2.0 (11, .70); accept 3.8, 1.9, 1.6, 1.9
  (3.9, .71). A sensor's run 11 to 18, measured beside other work.
- Beside five other people's test runs (load 10): `panoptic-assets ui` is up, its worker too, after
  17 s. Resident MB idle and after 150 acts over the API: command 126, 126; worker 362, 446; code
  server 217, 217; web server and daemon 250, 421, when acts that had ended still held what they had
  read. The worker's Python objects do not grow (7 kB an act, events of the log); its memory grew by
  .46 MB an act until Lance's cache of manifests was limited, and by .22 since, which is native.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
from rich.console import Console
from rich.table import Table

import panoptic_assets
from panoptic_assets.corpus import versions
from panoptic_assets.corpus.manifest import File
from panoptic_assets.corpus.table import read_manifest, write_files
from panoptic_assets.project import Project
from panoptic_assets.serve.api import API
from panoptic_assets.upkeep.environment import SECONDS_VARIABLE
from resources.project_folder import find
from resources.schemas import SCHEMAS, vectors_table
from tests.benchmarks.corpora import clip_like
from tests.served import CODE_LOCATION, Served, serve, until

_LARGE = 20_000
_START_SENSOR = """mutation($s: SensorSelector!) {startSensor(sensorSelector: $s) {
  __typename ... on PythonError {message}}}"""
_GOALS = {"divide": 2.5, "rename": 1.0}
"""Seconds of wall on an idle machine, worker and server warm."""
_RATIO = 0.6
"""CPU seconds of a command with the worker to those of `import dagster`."""


def command(folder: Path, *arguments: object) -> float:
    """Run a command; the CPU seconds of its process."""
    variables = {name: text for name, text in os.environ.items() if name != SECONDS_VARIABLE}
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            cwd=folder,
            env=variables,
            stdout=said,
            stderr=said,
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise RuntimeError(f"{arguments} failed: {said.read().decode()}")
    return used.ru_utime + used.ru_stime


def write_projects(place: Path) -> dict[str, Path]:
    """The projects, each with a run of ten clusters, labelled and saved, one of them divided."""
    small, large = place / "small", place / "large"
    small.mkdir()
    command(
        small, "-m", "panoptic_assets.cli", "init", Path(panoptic_assets.__file__).parent / "sample"
    )
    command(small, "-m", "panoptic_assets.cli", "refresh")
    shutil.copytree(small, large)
    _add_images(large, _LARGE)
    for folder in (small, large):
        for arguments in (
            ("cluster", "demo", "--nb-clusters", "10"),
            ("divide", "demo/0", "--nb-clusters", "2"),
            ("label", "demo"),
            ("save", "demo"),
            ("tag", "create", "name0", "--property", "Mine"),
        ):
            command(folder, "-m", "panoptic_assets.cli", *arguments)
    return {"253": small, f"{_LARGE:,}": large}


def _add_images(folder: Path, nb_images: int) -> None:
    """Images that were read and embedded, as it seems, and whose files are not there."""
    store = Project(folder).store
    rows = store.read("images")
    table = vectors_table("mini")
    vectors, _ = clip_like(nb_images - rows.num_rows)
    ids = [sha256(str(number).encode()).hexdigest() for number in range(len(vectors))]
    like = rows.slice(0, 1)
    columns = {
        name: pa.chunked_array([like[name].chunk(0)] * len(ids)) for name in like.schema.names
    }
    columns["image_id"] = pa.chunked_array([ids])
    store.upsert("images", pa.table(columns, schema=SCHEMAS["images"]))
    schema = store.read(table).schema
    values = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    made = {"image_id": pa.array(ids), "vector": values}
    store.upsert(table, pa.table([made[name] for name in schema.names], schema=schema))
    before = read_manifest(store)
    new = [
        File(f"more/{number:06}.jpg", image_id, "present", None, 1, 1, "", "")
        for number, image_id in enumerate(ids)
    ]
    files = before | write_files(store, before, new)
    versions.record_version(store, files, "of no Dagster run")


class Door:
    """A way by which acts come in; the numbers make each act a new one."""

    name = ""

    def __init__(self, folder: Path):
        self.folder = folder
        self._numbers: dict[str, Iterator[int]] = defaultdict(lambda: iter(range(1, 10**6)))
        self._renamed = "name0"

    def number(self, act: str) -> int:
        """The number of an act, from 1."""
        return next(self._numbers[act])

    def renaming(self) -> tuple[str, str]:
        """The tag to rename, and what to call it."""
        before = self._renamed
        self._renamed = f"{type(self).__name__}{self.number('rename')}"
        return before, self._renamed

    def images(self) -> list[str]:
        """Images that are given a tag."""
        if not hasattr(self, "_images"):
            self._images = Project(self.folder).images()["image_id"].slice(0, 1000).to_pylist()
        first = self.number("accept") * 5 % 900
        return self._images[first : first + 5]


class Command(Door):
    """Commands, with or without a worker."""

    def __call__(self, act: str) -> float:
        """Do one act; the CPU seconds of the client."""
        number = self.number(act)
        kmeans = ("--nb-clusters", 2 + number % 4, "--replace")
        if act == "rename":
            arguments: tuple[object, ...] = ("tag", "rename", *self.renaming())
            arguments += ("--property", "Mine")
        elif act == "accept":
            arguments = ("tag", "assign", self._renamed, *self.images(), "--property", "Mine")
        else:
            arguments = {
                "divide": ("divide", "demo/1", *kmeans),
                "cluster": ("cluster", "other", *kmeans),
                "label": ("label", "demo", "--language", "fr" if number % 2 else "en"),
                "save": ("save", "demo", "--property", f"P{number % 2}", "--replace"),
            }[act]
        return command(self.folder, "-m", "panoptic_assets.cli", *arguments)


class ServersDoor(Door):
    """What asks the server: nothing of a client's own counts."""

    def __init__(self, served: Served):
        super().__init__(served.folder)
        self.served = served

    def config(self, act: str, number: int) -> dict[str, Any]:
        """The configuration of an act on a run."""
        method = {"kmeans": {"nb_clusters": 2 + number % 4}}
        found: dict[str, dict[str, Any]] = {
            "divide": {"method": method, "replace": True},
            "cluster": {"method": method, "replace": True},
            "label": {"method": {"zero_shot": {"language": "fr" if number % 2 else "en"}}},
            "save": {"property": f"P{number % 2}", "replace": True},
        }
        return found[act]

    def edits(self, act: str) -> list[dict[str, Any]]:
        """The edits that an act is."""
        if act == "rename":
            before, after = self.renaming()
            return [{"rename": {"tag": before, "to": after, "property": "Mine"}}]
        fields = {"tag": self._renamed, "images": self.images(), "property": "Mine"}
        return [{"assign": fields}]


class Api(ServersDoor):
    """The live review's API: from POST to the end of the events."""

    def __call__(self, act: str) -> float:
        """Do one act."""
        if act in ("rename", "accept"):
            path = "edit"
            body: dict[str, Any] = {"edits": self.edits(act)}
        else:
            body = {"config": self.config(act, self.number(act))}
            body |= {"divide": {"node": "demo/1"}, "cluster": {"key": "other"}}.get(
                act, {"key": "demo"}
            )
            path = act
        at = API.format(corpus=find(self.folder).corpus)
        asked = json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        told = self._get(f"{at}/acts/{path}", asked, headers)
        events = self._get(json.loads(told)["events"])
        if b"event: done" not in events:
            raise RuntimeError(f"{act}: {events.decode()}")
        return 0.0

    def _get(self, path: str, *body: Any) -> bytes:
        request = urllib.request.Request(self.served.url + path, *body)
        with urllib.request.urlopen(request, timeout=300) as answer:
            found: bytes = answer.read()
        return found


class Launchpad(ServersDoor):
    """Dagster's Launchpad: from GraphQL, through the queue, to the end of the Dagster run."""

    def __call__(self, act: str) -> float:
        """Do one act."""
        if act in ("rename", "accept"):
            run_id = self.served.launch("tags", None, edits=self.edits(act))
        else:
            asset, key = {
                "divide": ("nested_clustering", "demo/1"),
                "cluster": ("clustering", "other"),
                "label": ("cluster_labels", "demo"),
                "save": ("saved_clustering", "demo"),
            }[act]
            run_id = self.served.launch(asset, key, **self.config(act, self.number(act)))
        ended = self.served.ended(run_id)
        if not ended.is_success:
            raise RuntimeError(f"{act}: {ended}")
        return 0.0


class Sensor(ServersDoor):
    """A new file in configs/runs, which a sensor finds: from its Dagster run's creation to its end.

    The sensor itself looks twice before that, in steps that the project's people choose.
    """

    def __init__(self, served: Served):
        super().__init__(served)
        selector = {**CODE_LOCATION, "sensorName": "new_configs"}
        answer = served.graphql(_START_SENSOR, s=selector)["startSensor"]
        assert answer["__typename"] == "Sensor", answer
        # What is there at its first look is not computed.
        until(lambda: any(map(_has_looked, served.instance.all_instigator_state())))

    def waited(self) -> float:
        """Add a file; the seconds that its Dagster run took from its creation to its end."""
        key = f"by-sensor-{self.number('sensor')}"
        file = self.folder / "configs" / "runs" / f"{key}.yaml"
        file.parent.mkdir(exist_ok=True)
        file.write_text("ops: {clustering: {config: {method: {kmeans: {nb_clusters: 4}}}}}\n")

        def made() -> Any:
            records = self.served.instance.get_run_records(limit=20)
            return [
                record
                for record in records
                if record.dagster_run.tags.get("dagster/partition") == key
                and record.dagster_run.is_finished
            ]

        [record] = until(made, 300)
        if not record.dagster_run.is_success:
            raise RuntimeError(f"{key}: {record.dagster_run}")
        return float(record.end_time - record.create_timestamp.timestamp())


def _has_looked(state: Any) -> bool:
    return state.name == "new_configs" and bool(state.instigator_data.cursor)


def processes_of(served: Served) -> dict[int, str]:
    """What `panoptic-assets ui` consists of: process ids, and what each is."""
    found, waiting = {}, [served.process.pid]
    while waiting:
        pid = waiting.pop()
        with suppress(OSError):
            line = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            children = Path(f"/proc/{pid}/task").glob("*/children")
            waiting += [int(child) for file in children for child in file.read_text().split()]
            words = [word.decode() for word in line]
            if "-c" not in words:  # what Python's multiprocessing keeps beside
                named = words[words.index("-m") + 1 :] if "-m" in words else words[:1]
                found[pid] = named[0] if named[0] != "dagster" else " ".join(named[:3])
    return found


def memory(pid: int) -> tuple[float, float]:
    """Resident and proportional memory of a process, MB."""
    values = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        name, _, rest = line.partition(":")
        if rest.strip().endswith("kB"):
            values[name] = int(rest.split()[0]) / 1024
    return values["Rss"], values["Pss"]


def cpu_of(served: Served) -> float:
    """CPU seconds that all processes of `panoptic-assets ui` have used."""
    total = 0
    for pid in processes_of(served):
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def doors(without: Path, served: Served) -> dict[str, Callable[[str], float]]:
    """Each way in, by its name."""
    return {
        "command, no worker": Command(without),
        "command, worker": Command(served.folder),
        "API": Api(served),
        "Launchpad": Launchpad(served),
    }


def compare(folder: Path, size: str, acts: list[str], repeats: int, warm: int = 1) -> None:
    """Print what each act costs through each door."""
    alone = folder.parent / f"{folder.name}-alone"
    shutil.copytree(folder, alone)
    with serve(folder, folder.parent / f"{folder.name}.txt") as served:
        ways = doors(alone, served)
        # They rename one tag of the same project in turn, so each has one of its own.
        for name, door in ways.items():
            assert isinstance(door, Door)
            door._renamed = f"of {name}"
            where = alone if name == "command, no worker" else folder
            Project(where).edit([{"create": {"tag": f"of {name}", "property": "Mine"}}])
        for act in acts:
            rows: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
            dagster = []
            for number in range(repeats + warm):
                dagster.append(command(folder, "-c", "import dagster"))
                for name, door in ways.items():
                    before, wall = cpu_of(served), time.perf_counter()
                    client = door(act)
                    wall = time.perf_counter() - wall
                    if number >= warm:
                        rows[name].append((wall, client, cpu_of(served) - before))
            for name, found in rows.items():
                _show(size, act, name, found, statistics.median(dagster))
        sensor = Sensor(served)
        waits = [sensor.waited() for _ in range(3)]
    print(f"a sensor's run, from its creation: {[round(each, 2) for each in waits]} s", flush=True)


def _show(
    size: str, act: str, door: str, rows: list[tuple[float, float, float]], dagster: float
) -> None:
    """Print what one act costs through one door: medians, and the least."""
    wall, client, server = (statistics.median(each) for each in zip(*rows, strict=True))
    least, least_client, _ = (min(each) for each in zip(*rows, strict=True))
    line = f"{size:>7} {act:8} {door:19} wall {wall:6.2f} s, least {least:6.2f}"
    if client:
        line += f"; client {client:.2f} CPU s, least {least_client:.2f}, {client / dagster:.2f}x"
    print(f"{line}; server {server:.2f} CPU s", flush=True)


def remember(folder: Path, nb_acts: int) -> None:
    """Print what each process holds, idle and after many acts."""
    started = time.perf_counter()
    with serve(folder, folder.parent / "memory.txt") as served:
        print(
            f"`panoptic-assets ui` was up, its worker too, in {time.perf_counter() - started:.1f} s"
        )
        door = Api(served)
        Project(folder).edit([{"create": {"tag": "remembered", "property": "Mine"}}])
        door._renamed = "remembered"
        time.sleep(5)
        shown = [("idle", {pid: memory(pid) for pid in processes_of(served)})]
        kinds = ["divide", "rename", "accept", "cluster", "save", "rename", "accept", "divide"]
        for number in range(nb_acts):
            door(kinds[number % len(kinds)])
            if number + 1 in (50, nb_acts // 2, nb_acts):
                now = {pid: memory(pid) for pid in processes_of(served)}
                shown.append((f"after {number + 1}", now))
        names = processes_of(served)
        grid = Table("process", *(f"{when}: RSS, PSS MB" for when, _ in shown))
        for pid, name in names.items():
            cells = [
                "{:.0f}, {:.0f}".format(*found[pid]) if pid in found else "" for _, found in shown
            ]
            grid.add_row(name, *cells)
        Console(width=120).print(grid)


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--acts", type=int, default=500, help="For the memory; 0: not measured.")
    parser.add_argument("--sizes", nargs="*", default=["253", f"{_LARGE:,}"])
    every = ["divide", "rename", "save", "label", "accept"]
    parser.add_argument("--only", nargs="*", default=every)
    parser.add_argument("--projects", type=Path, help="Where they are kept for the next time.")
    given = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ[SECONDS_VARIABLE] = "2"
    with tempfile.TemporaryDirectory() as scratch:
        kept = given.projects or Path(scratch) / "kept"
        if not kept.exists():
            kept.mkdir()
            write_projects(kept)
        place = Path(scratch) / "copies"
        for size, name in {"253": "small", f"{_LARGE:,}": "large"}.items():
            if size in given.sizes:
                folder = shutil.copytree(kept / name, place / name)
                compare(folder, size, given.only, given.repeats)
        if given.acts:
            remember(shutil.copytree(kept / "small", place / "memory"), given.acts)


if __name__ == "__main__":
    main()

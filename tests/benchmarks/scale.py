"""What a thousand runs cost: `python -m tests.benchmarks.scale [RUNS]` prints a table.

Belongs here: times of commands, of loading the definitions, and of the queries behind the pages of
Dagster's UI, beside their goals. Does not belong here: whether the answers are right, which the
tests say.

The store has that many runs of some 300 images of one scope, of ten days on which the corpus was
another one, and the Dagster instance as many partitions of `clustering`, each materialized once.

Measured on 2 cores with nothing else running, wall seconds; Dagster 1.13.27, LanceDB 0.40:

- `runs` in Python 0.03, `status` 0.38, of one run 0.34. As commands 3.3 (goal 2) and 4.5, of which
  3.3 are the imports; the definitions' import and load 3.5.
- `judge_runs` 18 if all verdicts are new (one commit of SQLite each), 2.9 if none is.
- Over HTTP: overview of the assets 0.05, partitions of `clustering` 0.03, its last 100
  materializations 0.02, its checks 0.02, list of runs 0.01.
"""

import http.client
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

import dagster as dg
import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from panoptic_assets.clustering import clusters
from panoptic_assets.clustering.algorithms.interface import Outcome
from panoptic_assets.clustering.config import ClusteringConfig
from panoptic_assets.clustering.table import StoredClustering, write_clustering
from panoptic_assets.corpus import versions
from panoptic_assets.corpus.manifest import File
from panoptic_assets.corpus.table import files_input, write_files
from panoptic_assets.features.table import MODEL_METADATA, read_features
from panoptic_assets.project import Project
from panoptic_assets.spec import records
from panoptic_assets.spec.resolution import identity_of, parse
from panoptic_assets.upkeep.staleness_checks import judge_runs
from resources.lance import LanceStore
from resources.project_folder import ProjectFolder, ProjectSettings, create, dagster_home
from resources.registry import Registry
from resources.schemas import SCHEMAS, vectors_schema, vectors_table
from tests.browser.conftest import start, stop

_IMAGES, _DIM, _DAYS, _NEW = 200, 64, 10, 20
_REPEATS = 3
GOALS = {"runs": 2.0, "status": 5.0, "definitions": 4.0, "judge": 30.0, "query": 2.0}
"""Seconds."""

_QUERIES = {
    "UI: assets overview": """query {
      assetNodes { assetKey { path } groupName partitionStats {
        numMaterialized numPartitions numFailed numMaterializing }
        assetMaterializations(limit: 1) { runId timestamp } } }""",
    "UI: partitions of clustering": """query { assetNodeOrError(assetKey: {path: ["clustering"]}) {
      ... on AssetNode { partitionKeysByDimension { name partitionKeys }
        assetPartitionStatuses { ... on DefaultPartitionStatuses {
          materializedPartitions unmaterializedPartitions } } } } }""",
    "UI: events of clustering": """query { assetOrError(assetKey: {path: ["clustering"]}) {
      ... on Asset { assetMaterializations(limit: 100) { partition timestamp runId
        metadataEntries { label description } } } } }""",
    "UI: checks of clustering": """query { assetNodeOrError(assetKey: {path: ["clustering"]}) {
      ... on AssetNode { assetChecksOrError { ... on AssetChecks { checks { name
        executionForLatestMaterialization { status evaluation { success } } } } } } } }""",
    "UI: list of runs": """query { runsOrError(limit: 25) { ... on Runs { count results {
      runId status startTime endTime tags { key value }
      assetSelection { path } } } } }""",
}


def make_store(project: ProjectFolder, nb_runs: int) -> LanceStore:
    """A corpus that grows on each of ten days, and runs that were made on each of them."""
    store: LanceStore = LanceStore(uri=project.store)
    generator = np.random.default_rng(0)
    store.create(vectors_table("tiny"), vectors_schema(_DIM), {MODEL_METADATA: "{}"})
    files: dict[str, File] = {}
    for day in range(_DAYS):
        start = len(files)
        numbers = range(start, start + (_IMAGES if day == 0 else _NEW))
        ids = [sha256(str(number).encode()).hexdigest() for number in numbers]
        vectors = generator.standard_normal((len(ids), _DIM), dtype=np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), _DIM)
        rows = pa.table([pa.array(ids), column], schema=vectors_schema(_DIM))
        store.upsert(vectors_table("tiny"), rows)
        images = [{"image_id": image_id, "width": 64, "height": 64} for image_id in ids]
        store.upsert("images", pa.Table.from_pylist(images, SCHEMAS["images"]))
        new = [
            File(f"{number:06}.jpg", image_id, "present", None, 1, 1, "", "")
            for number, image_id in zip(numbers, ids, strict=True)
        ]
        files |= write_files(store, files, new)
        versions.record_version(store, files, str(uuid.uuid4()))
        for number in range(day * nb_runs // _DAYS, (day + 1) * nb_runs // _DAYS):
            _make_run(
                store, f"run-{number:04}", number, sorted(file.image_id for file in files.values())
            )
    for table in ("records", "clusters", "assignments"):
        store.optimize(table)
    return store


def _make_run(store: LanceStore, key: str, seed: int, image_ids: list[str]) -> None:
    method = {"kmeans": {"nb_clusters": 5}}
    config = parse(ClusteringConfig, {"method": method, "features": "tiny", "seed": seed})
    features = read_features(store, "tiny", image_ids)
    labels = np.random.default_rng(seed).integers(0, 5, len(image_ids))
    clustering = clusters.canonical(labels, features.vectors)
    names = [str(number) for number in clustering.labels]
    now = datetime.now(UTC)
    record = records.Record(
        key=key,
        run_key=key,
        revision=1,
        config=identity_of(config),
        inputs=[*features.sources, files_input(store.version("files"), image_ids)],
        parent_record=None,
        parent_output=None,
        counts=records.Counts(
            in_scope=len(image_ids), clustered=len(image_ids), remainder=0, not_embedded=0
        ),
        nb_clusters=5,
        baseline_score=clustering.baseline_score,
        output=records.output_hash(zip(image_ids, names, strict=True)),
        mean_score=clustering.mean_score,
        libraries=records.library_versions(),
        code_version=records.code_version(),
        git_commit=None,
        machine=records.machine_class(),
        dagster_run_id=str(uuid.uuid4()),
        started_at=now,
        finished_at=now,
    )
    answer = StoredClustering(features.image_ids, clustering, Outcome(labels), None, {})
    write_clustering(store, record, answer)


def make_instance(home: Path, keys: list[str]) -> None:
    """A partition of `clustering` with a materialization for each run."""
    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.add_dynamic_partitions("runs", keys)
        for key in keys:
            instance.report_runless_asset_event(
                dg.AssetMaterialization(
                    "clustering",
                    partition=key,
                    metadata={"nb_images": _IMAGES, "nb_clusters": 5, "mean_score": 50.0},
                    tags={"dagster/data_version": key},
                )
            )


def command(*arguments: object) -> None:
    """Run something in a process of its own."""
    subprocess.run([sys.executable, *map(str, arguments)], check=True, capture_output=True)


@contextmanager
def web_server(project: ProjectFolder) -> Iterator[str]:
    """Dagster's web server as `panoptic-assets ui` starts it; yields where it answers."""
    process, address = start(project.folder)
    try:
        yield urlsplit(address).netloc
    finally:
        stop(process)


def query(place: str, text: str) -> dict:
    """The answer to a GraphQL query."""
    connection = http.client.HTTPConnection(place, timeout=120)
    body = json.dumps({"query": text})
    connection.request("POST", "/graphql", body, {"Content-Type": "application/json"})
    answer = json.loads(connection.getresponse().read())
    connection.close()
    if answer.get("errors"):
        raise RuntimeError(answer["errors"][0]["message"])
    return answer["data"]


def seconds(action: Callable[[], object], repeats: int = _REPEATS) -> tuple[float, float]:
    """Wall and CPU seconds, medians; those of processes that were started count."""
    found = []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), os.times()
        action()
        spent = zip(os.times()[:4], cpu[:4], strict=True)
        found.append((time.perf_counter() - wall, sum(after - before for after, before in spent)))
    walls, cpus = zip(*found, strict=True)
    return statistics.median(walls), statistics.median(cpus)


def main(nb_runs: int) -> None:
    """Print the table."""
    folder = Path(tempfile.mkdtemp())
    grid = Table("what", "wall s", "CPU s", "goal s", title=f"{nb_runs:,} runs")

    def row(name: str, action: Callable[[], object], goal: str, repeats: int = _REPEATS) -> None:
        wall, cpu = seconds(action, repeats)
        grid.add_row(name, f"{wall:.2f}", f"{cpu:.2f}", f"{GOALS[goal]:.0f}")
        print(f"{name}: {wall:.2f} s", flush=True)

    try:
        (folder / "images").mkdir()
        settings = ProjectSettings(images=str(folder / "images"), vector_type="tiny")
        project = create(folder / "project", settings)
        os.environ.pop("DAGSTER_HOME", None)
        started = time.perf_counter()
        store = make_store(project, nb_runs)
        make_instance(dagster_home(project), [f"run-{number:04}" for number in range(nb_runs)])
        print(f"Made in {time.perf_counter() - started:.0f} s.", flush=True)
        reader = Project(project.folder)
        last = f"run-{nb_runs - 1:04}"
        registry = Registry(folder=str(project.folder))
        cli = ("-m", "panoptic_assets.cli.main", "--project", project.folder)
        row("runs, in Python", reader.runs, "runs")
        row("runs, the command", lambda: command(*cli, "runs"), "runs")
        row("run_info, in Python", lambda: reader.run_info(last), "runs")
        row("status, in Python", reader.status, "status")
        row("status of one run", lambda: reader.status(last), "status")
        row("status, the command", lambda: command(*cli, "status"), "status")
        load = "from panoptic_assets.definitions import defs; defs.resolve_all_job_defs()"
        row("definitions, import and load", lambda: command("-c", load), "definitions")

        def judge() -> None:
            with dg.DagsterInstance.from_config(str(dagster_home(project))) as instance:
                judge_runs.execute_in_process(
                    instance=instance,
                    resources={"store": store, "registry": registry},
                    run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
                )

        row("judge_runs, all verdicts new", judge, "judge", repeats=1)
        row("judge_runs, none new", judge, "judge", repeats=1)
        with web_server(project) as place:
            for name, text in _QUERIES.items():
                row(name, lambda text=text: query(place, text), "query")
        Console().print(grid)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)

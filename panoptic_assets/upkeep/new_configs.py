"""The sensor ``new_configs``: files in the registry that describe something new are computed.

Belongs here: which files are new, and what each of them asks for. Does not belong here: other
sensors and schedules (``upkeep.automation``).
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass

import dagster as dg

from panoptic_assets.clustering.dividing import resolve_clustering, resolve_nested
from panoptic_assets.clustering.table import Clusterings
from panoptic_assets.features import table as vector_tables
from panoptic_assets.features.config import ProjectionConfig
from panoptic_assets.features.projecting import registry_projection
from panoptic_assets.orchestration.partitions import NODES, PROJECTIONS, RUNS, VECTOR_TYPES
from panoptic_assets.orchestration.runs import read_cursor
from panoptic_assets.spec.keys import parse_clustering, parse_name, parse_node, parse_projection
from panoptic_assets.spec.resolution import resolve
from panoptic_assets.upkeep.environment import sensor_seconds
from panoptic_assets.upkeep.jobs import divide_corpus, divide_node, project, refresh_corpus
from resources.errors import InputError
from resources.lance import LanceStore
from resources.registry import Registry


@dataclass(frozen=True)
class _File:
    """What ``new_configs`` knows of a file, a part of its cursor."""

    sha256: str
    state: str
    """``seen`` once, and to be looked at when it is the same again; or ``done``: a run was asked
    for, or is not needed, or the file was there when the sensor was switched on."""


@dataclass(frozen=True)
class _Entry:
    """A file of the registry that describes something to compute."""

    file: str
    """Its path, from the project's folder."""
    key: str
    job: str
    """The job that computes it."""
    partitions: dg.DynamicPartitionsDefinition
    sha256: str
    mtime_ns: int

    @property
    def request(self) -> dg.RunRequest:
        """The run that computes it; the same for the same state of the file."""
        run_key = f"{self.file} {self.sha256[:16]} {self.mtime_ns}"
        return dg.RunRequest(run_key=run_key, partition_key=self.key, job_name=self.job)


@dg.sensor(
    jobs=[refresh_corpus, project, divide_corpus, divide_node],
    minimum_interval_seconds=sensor_seconds(30),
    description="Computes what new files in configs/models, configs/projections and configs/runs "
    "describe.",
)
def new_configs(
    context: dg.SensorEvaluationContext,
    store: dg.ResourceParam[LanceStore],
    registry: dg.ResourceParam[Registry],
) -> dg.SensorResult:
    """Computes what new files in configs/models, configs/projections and configs/runs describe.

    What is there when the sensor is switched on becomes partitions, and nothing is computed. A file
    is taken up when two looks find it the same; what it needs (vectors, the cluster that it
    divides) is waited for. A key that has a result keeps it: a file that is changed afterwards
    changes nothing.
    """
    problems: list[str] = []
    entries = list(_entries(registry, problems))
    known = _known_files(context.cursor)
    if known is None:
        after = {entry.file: _File(entry.sha256, "done") for entry in entries}
        return _configs_result(
            context, after, entries, [], [f"{len(entries)} files are taken for known.", *problems]
        )
    after, requested = {}, []
    results = _Results(store, registry)
    for entry in entries:
        before = known.get(entry.file)
        if before == _File(entry.sha256, "done"):
            after[entry.file] = before
            continue
        seen = _File(entry.sha256, "seen")
        after[entry.file] = seen
        if before != seen:
            problems.append(f"{entry.file} is new or changed: waiting until it stays the same.")
            continue
        try:
            if results.has(entry):
                problems.append(
                    f"{entry.file} changes nothing: {entry.key!r} has a result and keeps its "
                    "parameters. Choose a new key for others."
                )
            elif missing := results.missing(entry):
                problems.append(f"{entry.file} waits: {missing}.")
                continue
            else:
                requested.append(entry)
        except InputError as error:
            problems.append(str(error))
            continue
        after[entry.file] = _File(entry.sha256, "done")
    return _configs_result(context, after, requested, requested, problems)


class _Results:
    """What the store has, read once a look and only if somebody asks."""

    def __init__(self, store: LanceStore, registry: Registry):
        self._store = store
        self._registry = registry
        self._clusterings: Clusterings | None = None

    @property
    def clusterings(self) -> Clusterings:
        if self._clusterings is None:
            self._clusterings = Clusterings(self._store)
        return self._clusterings

    def has(self, entry: _Entry) -> bool:
        """Whether what a file describes is computed, with whatever parameters."""
        if entry.job == refresh_corpus.name:
            return entry.key in vector_tables.vector_types(self._store)
        if entry.job == project.name:
            return entry.key in vector_tables.projections(self._store)
        return entry.key in self.clusterings.records or entry.key in self.clusterings.unreadable

    def missing(self, entry: _Entry) -> str:
        """What must be there before a file's run can be computed; empty if all of it is.

        Raises:
            InputError: The file cannot be used.
        """
        if entry.job == refresh_corpus.name:
            self._registry.model(entry.key)
            return ""
        if entry.job == project.name:
            registered = registry_projection(self._registry, entry.key)
            resolve(ProjectionConfig, entry.key, {}, None, registered, {})
            return self._without_features(parse_projection(entry.key)[0])
        if entry.job == divide_corpus.name:
            config = resolve_clustering(entry.key, {}, self.clusterings, self._registry)
            return self._without_features(config.features)
        node = parse_node(entry.key)
        if node.clustering not in self.clusterings.records:
            return f"there is no clustering {node.clustering!r} yet"
        if node.clustering in self.clusterings.stale:
            return f"the clustering {node.clustering!r} is stale"
        if node.cluster not in self.clusterings.clusters(node.clustering)["cluster"].to_pylist():
            raise InputError(
                "{file}: {clustering!r} has no cluster {cluster}.",
                id="config-of-unknown-cluster",
                file=entry.file,
                clustering=node.clustering,
                cluster=node.cluster,
            )
        nested = resolve_nested(entry.key, {}, self.clusterings, self._registry)
        return self._without_features(nested.features)

    def _without_features(self, features: str) -> str:
        known = vector_tables.projections if "/" in features else vector_tables.vector_types
        what = "points of" if "/" in features else "vectors of"
        return "" if features in known(self._store) else f"there are no {what} {features!r} yet"


def _entries(registry: Registry, problems: list[str]) -> Iterator[_Entry]:
    """The registry's files, parents first; what is wrong with the others is added to a list."""
    kinds = (
        ("models", lambda key: parse_name(key, "vector type"), refresh_corpus.name, VECTOR_TYPES),
        ("projections", lambda key: "/".join(parse_projection(key)), project.name, PROJECTIONS),
        ("runs", parse_clustering, "", RUNS),
    )
    for folder, parse, job, partitions in kinds:
        root = registry.folder_path / "configs" / folder
        for path in sorted(root.rglob("*.yaml")):
            inside = path.relative_to(root)
            if any(part.startswith(".") for part in inside.parts):
                continue  # drafts of editors
            file = f"configs/{folder}/{inside.as_posix()}"
            try:
                key = parse(inside.with_suffix("").as_posix())
                data, mtime_ns = path.read_bytes(), path.stat().st_mtime_ns
            except (InputError, OSError) as error:
                reason = error.strerror if isinstance(error, OSError) else str(error)
                problems.append(f"{file}: {reason}")
                continue
            sha256 = hashlib.sha256(data).hexdigest()
            is_node = folder == "runs" and "/" in key
            yield _Entry(
                file,
                key,
                job or (divide_node.name if is_node else divide_corpus.name),
                NODES if is_node else partitions,
                sha256,
                mtime_ns,
            )


def _configs_result(
    context: dg.SensorEvaluationContext,
    after: Mapping[str, _File],
    registered: Iterable[_Entry],
    requested: list[_Entry],
    problems: list[str],
) -> dg.SensorResult:
    told = " ".join(problems)
    keys: dict[str, list[str]] = {}
    for entry in registered:
        keys.setdefault(str(entry.partitions.name), []).append(entry.key)
    for partitions, names in keys.items():
        context.instance.add_dynamic_partitions(partitions, names)
    if requested and told:
        # Dagster shows no reason beside runs.
        context.log.warning(told)
    return dg.SensorResult(
        run_requests=[entry.request for entry in requested],
        skip_reason=None if requested else told or "No new file.",
        cursor=json.dumps({file: asdict(known) for file, known in after.items()}),
    )


def _known_files(cursor: str | None) -> dict[str, _File] | None:
    """What the cursor says of each file; None before the first look."""
    if not cursor:
        return None
    try:
        return {file: _File(**known) for file, known in read_cursor(cursor).items()}
    except TypeError:  # somebody has edited it
        return None

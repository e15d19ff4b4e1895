"""The act of clustering and dividing: from a key and what is given for it to what is stored.

Belongs here: what a key resolves to, and the one way in which every clustering is computed, whoever
asks for it: an asset, a replay, a verification. Does not belong here: which images a scope takes
(``clustering.selection``), the methods (``clustering.algorithms.libraries``), and how answers are
stored (``clustering.table``).

Long because a request, its answer and its record are one chain.
"""

import re
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from panoptic_assets.clustering import clusters, quality
from panoptic_assets.clustering.algorithms.interface import Data, Outcome
from panoptic_assets.clustering.config import (
    ClusteringConfig,
    NestedClusteringConfig,
    SharedClusteringConfig,
)
from panoptic_assets.clustering.methods import FindDuplicates, guarded
from panoptic_assets.clustering.policies import registered_clustering
from panoptic_assets.clustering.readings import Readings
from panoptic_assets.clustering.selection import Selection, select
from panoptic_assets.clustering.table import (
    Clusterings,
    StoredClustering,
    cluster_names,
    next_revision,
    write_clustering,
)
from panoptic_assets.corpus.table import files_input, present_files
from panoptic_assets.features.table import Features, check_features, read_features
from panoptic_assets.orchestration.acting import Context
from panoptic_assets.spec import records
from panoptic_assets.spec.computation import Vectors
from panoptic_assets.spec.keys import (
    REMAINDER,
    Node,
    parse_clustering,
    parse_features,
    parse_node,
    run_key_of,
    vector_type_of,
)
from panoptic_assets.spec.languages import N_
from panoptic_assets.spec.resolution import Document, identity_of, resolve
from resources.errors import InputError, noted
from resources.lance import LanceStore
from resources.models import ModelSpec, OpenClipModels
from resources.registry import Registry

T = TypeVar("T")
ConfigT = TypeVar("ConfigT", bound=SharedClusteringConfig)

DISTORTED = noted(
    "Distances between the points of a projection are distorted; clusters of its vectors are often "
    "better. Scores are computed on the vectors."
)


@dataclass(frozen=True)
class ClusteringPlan:
    """A clustering that can be computed."""

    context: Context
    key: str
    """Of a run, or of the node that is divided."""
    config: SharedClusteringConfig
    selection: Selection
    clusterings: Clusterings
    """Those of its run."""

    @property
    def previous(self) -> records.Record | None:
        """The record that the key has so far."""
        return self.clusterings.records.get(self.key)

    @property
    def changed_list(self) -> str | None:
        """The file of ids that holds others than when the key was computed before; None if so."""
        before, now = self.previous and self.previous.id_list, self.selection.id_list
        if before and now and now.file == before.file and now.sha256 != before.sha256:
            return now.file
        return None


@dataclass(frozen=True)
class Divided:
    """A clustering that was computed."""

    plan: ClusteringPlan
    record: records.Record
    """The key's own so far, where the answer is the same."""
    answer: StoredClustering

    @property
    def is_new(self) -> bool:
        """Whether the key had another answer."""
        return self.record is not self.plan.previous


def prepare(context: Context, key: str, given: Document) -> ClusteringPlan:
    """Resolve what is given for a run or a node, and select its images.

    Args:
        context: What is read.
        key: A run key, or the node to divide.
        given: Configuration.

    Raises:
        InputError: The key, the configuration or the scope cannot be used, or there are no such
            features.
    """
    run_key = run_key_of(parse_clustering(key))
    clusterings = Clusterings(context.store, run_key)
    store, registry = context.store, context.registry
    config: SharedClusteringConfig
    if key == run_key:
        config = divided = resolve_clustering(key, given, clusterings, registry)
        selection = select(key, divided, store, registry, context.models, context.reporter.tell)
    else:
        node = parse_node(key)
        version = store.version("files")
        image_ids = present_members(node, clusterings, store, version)
        config = resolve_nested(key, given, clusterings, registry)
        parent = clusterings.get(node.clustering)
        selection = Selection(image_ids, [files_input(version, image_ids)], parent=parent)
    check_features(store, config.features, len(selection.image_ids))
    return ClusteringPlan(context, key, config, selection, clusterings)


def run(plan: ClusteringPlan) -> Divided:
    """Compute a clustering; an answer that is the same as before keeps its record.

    Raises:
        InputError: Something that it asks for cannot be had.
        NotComputableError: The method refuses.
    """
    context, previous = plan.context, plan.previous
    dividing = Dividing(
        context.store,
        context.models,
        context.registry,
        context.dagster_run_id,
        context.reporter.tell,
        lambda seeds, total: context.reporter.track(seeds, total, N_("subsamples")),
    )
    computed = dividing.compute(plan.key, plan.config, plan.selection, previous)
    if previous and previous.refreshed and _fits(previous.refreshed, computed.record):
        # The same clusters keep the numbers that a refresh has carried over.
        in_its_numbers = carried(computed, previous.refreshed)
        if in_its_numbers.record.data_version == previous.data_version:
            computed = in_its_numbers
    same = previous is not None and previous.data_version == computed.record.data_version
    return Divided(plan, previous if previous and same else computed.record, computed.answer)


def _fits(refreshed: records.Refreshed, record: records.Record) -> bool:
    return refreshed.numbers.keys() == set(range(record.nb_clusters))


def store(divided: Divided) -> None:
    """Store a clustering, unless its answer is stored already."""
    if divided.is_new:
        write_clustering(divided.plan.context.store, divided.record, divided.answer)


def resolve_clustering(
    key: str, given: Document, clusterings: Clusterings, registry: Registry
) -> ClusteringConfig:
    """The configuration of a run; raises InputError when the key refuses it."""
    record = clusterings.find(key)
    defaults = {"features": registry.default_vector_type}
    recorded = record.config if record else None
    registered = registry_config(registry, key, "clustering")
    config = resolve(ClusteringConfig, key, given, recorded, registered, defaults)
    return _completed(config, registry)


def resolve_nested(
    key: str, given: Document, clusterings: Clusterings, registry: Registry
) -> NestedClusteringConfig:
    """The configuration of a node's clustering; raises InputError when the key refuses it."""
    node = parse_node(key)
    record = clusterings.find(key)
    defaults = {"features": clusterings.get(node.run_key).config["features"]}
    recorded = record.config if record else None
    registered = registry_config(registry, key, "nested_clustering")
    guarded = key not in clusterings.stale
    config = resolve(NestedClusteringConfig, key, given, recorded, registered, defaults, guarded)
    return _completed(config, registry)


def _completed(config: ConfigT, registry: Registry) -> ConfigT:
    """The configuration with the defaults that depend on the model, so that they are recorded."""
    method = config.method
    parse_features(config.features)
    if not isinstance(method, FindDuplicates) or method.min_similarity is not None:
        return config
    model = registry.model(vector_type_of(config.features))
    threshold = model.duplicate_threshold if isinstance(model, ModelSpec) else None
    if threshold is None:
        raise InputError(
            "The vectors of {features!r} are another program's, so no min_similarity is known for "
            "their duplicates: give one (`--min-similarity 0.95`).",
            id="duplicates-need-min-similarity",
            features=config.features,
        )
    completed = method.model_copy(update={"min_similarity": threshold})
    return config.model_copy(update={"method": completed})


def present_members(
    node: Node, clusterings: Clusterings, store: LanceStore, version: int | None = None
) -> list[str]:
    """Sorted ids of a node's images, those left out whose files are missing by now.

    Args:
        node: The node.
        clusterings: The clusterings of its run.
        store: The store.
        version: The version of ``files`` to read; the newest by default.

    Raises:
        InputError: The node does not exist, is stale, or has no image left.
    """
    found = sorted(present_files(store, version).keys() & set(clusterings.members(node)))
    if not found:
        raise InputError(
            "All images of {node} are missing from the corpus by now: nothing to divide.",
            id="node-without-images",
            node=node,
        )
    return found


def is_current(
    record: records.Record, config: SharedClusteringConfig, selection: Selection, store: LanceStore
) -> bool:
    """Whether a clustering was made with a configuration, of the images and features of now."""
    # Images were put into clusters that were computed without them.
    if record.computed_id != record.record_id:
        return False
    # What a method reads beside the features, such as tags or other runs, is known when it is read.
    if record.config != identity_of(config) or config.method.needs:
        return False
    # Not of a greater number: a newer version would make it again, and this one again after that.
    if record.algorithm < config.method.own_algorithm:
        return False
    features = read_features(store, config.features, selection.image_ids)
    now = [*features.sources, *selection.sources]
    return {(read.table, read.sha256) for read in now} <= {
        (read.table, read.sha256) for read in record.inputs
    }


def registry_config(registry: Registry, key: str, asset: str) -> Document | None:
    """What ``configs/runs/<key>.yaml`` asks of an asset; None without such a file.

    Raises:
        InputError: The file holds something else.
    """
    return registered_clustering(registry.run(key), asset, f"configs/runs/{key}.yaml")


@dataclass(frozen=True)
class Computed:
    """A clustering that was computed; nothing of it is stored yet."""

    record: records.Record
    answer: StoredClustering
    features: Features


@dataclass(frozen=True)
class Dividing:
    """Computes the clusterings of one store."""

    store: LanceStore
    """What is read."""
    models: OpenClipModels
    registry: Registry
    dagster_run_id: str
    """Of the Dagster run in which it happens."""
    log: Callable[[str], None]
    """Called with a line of text before something that takes long."""
    rounds: Callable[[Iterable[int], int], Iterable[int]] = lambda seeds, _: seeds
    """Passes the seeds of subsamples on, of which there are so many, and shows how far they are."""

    def compute(
        self,
        key: str,
        config: SharedClusteringConfig,
        selection: Selection,
        previous: records.Record | None = None,
        algorithm: int | None = None,
    ) -> Computed:
        """Divide the images in scope.

        Args:
            key: Of the clustering.
            config: Its configuration, resolved.
            selection: The images in scope.
            previous: The record that the key has so far.
            algorithm: The number of the method's algorithm; today's by default.

        Raises:
            InputError: Something that it asks for cannot be had.
            NotComputableError: The method refuses.
            UnknownAlgorithmError: The method does not have that algorithm.
        """
        started = datetime.now(UTC)
        if algorithm is None:
            algorithm = config.method.own_algorithm
        compute = guarded(config.method, config.method.computing(algorithm))
        if previous and previous.algorithm != algorithm:
            self.log(
                f"{previous.record_id} was made by algorithm {previous.algorithm}; {key} is "
                f"computed by algorithm {algorithm} now."
            )
        features = read_features(self.store, config.features, selection.image_ids)
        readings = Readings(key, self.store, self.models, self.registry, features, config, self.log)
        data = readings.data()
        outcome, usage = measured(lambda: compute(data, config.seed))
        clustering = clusters.canonical(outcome.labels, features.vectors)
        answer = StoredClustering(
            image_ids=features.image_ids,
            clustering=clustering,
            outcome=outcome,
            assigned=clusters.with_remainder_assigned(clustering, features.vectors)
            if config.assign_remainder
            else None,
            stability=self._stability(compute, config, data, clustering),
        )
        record = self.recorded(
            key,
            config,
            answer,
            features.vectors,
            selection,
            inputs=[*features.sources, *readings.inputs, *selection.sources],
            notes=[*selection.notes, *outcome.notes],
            usage=usage,
            started=started,
            algorithm=algorithm,
        )
        return Computed(record, answer, features)

    def recorded(
        self,
        key: str,
        config: SharedClusteringConfig,
        answer: StoredClustering,
        vectors: Vectors,
        selection: Selection,
        inputs: list[records.Input],
        notes: list[str],
        usage: records.Usage,
        started: datetime,
        algorithm: int,
        refreshed: records.Refreshed | None = None,
    ) -> records.Record:
        """The record of an answer.

        Args:
            key: Of the clustering.
            config: Its configuration, resolved.
            answer: What was found.
            vectors: (n, d) of the answer's images.
            selection: The images in scope.
            inputs: What was read.
            notes: What a person must know of the answer.
            usage: What it cost.
            started: When.
            algorithm: The number of the algorithm that made the clusters.
            refreshed: How a policy made the answer from an older one.
        """
        clustering = answer.clustering
        names = cluster_names(clustering.labels)
        in_scope = len(selection.image_ids)
        remainder = names.count(REMAINDER)
        parent = selection.parent
        distorted = [DISTORTED] if "/" in config.features else []
        measures = quality.quality(vectors, clustering.labels, config.seed)
        return records.Record(
            key=key,
            run_key=run_key_of(key),
            revision=next_revision(self.store, key),
            config=identity_of(config),
            inputs=inputs,
            parent_record=parent.record_id if parent else None,
            parent_output=parent.output if parent else None,
            id_list=selection.id_list,
            algorithm=algorithm,
            counts=records.Counts(
                in_scope=in_scope,
                clustered=len(names) - remainder,
                remainder=remainder,
                not_embedded=in_scope - len(names),
            ),
            nb_clusters=len(set(names) - {REMAINDER}),
            baseline_score=clustering.baseline_score,
            output=records.output_hash(zip(answer.image_ids, names, strict=True)),
            mean_score=clustering.mean_score,
            notes=[*notes, *distorted],
            quality=records.Quality(measured_on=vector_type_of(config.features), **vars(measures)),
            stability=answer.mean_stability,
            usage=usage,
            refreshed=refreshed,
            libraries=records.library_versions(),
            code_version=records.code_version(),
            git_commit=records.git_commit(),
            machine=records.machine_class(),
            dagster_run_id=self.dagster_run_id,
            started_at=started,
            finished_at=datetime.now(UTC),
        )

    def _stability(
        self,
        compute: Callable[[Data, int], Outcome],
        config: SharedClusteringConfig,
        data: Data,
        clustering: clusters.CanonicalClustering,
    ) -> dict[int, float]:
        """The stability of each cluster, by number; empty if it was not asked for."""
        if not config.stability:
            return {}
        rounds = iter(self.rounds(range(config.stability), config.stability))
        return quality.stability(compute, data, clustering.labels, config.seed, rounds)


def carried(computed: Computed, refreshed: records.Refreshed) -> Computed:
    """A clustering whose clusters have the numbers that were carried over from an older record.

    Args:
        computed: The clustering, in canonical numbers.
        refreshed: Which number each of these becomes.
    """
    before = computed.answer
    clustering = clusters.renumbered(before.clustering, refreshed.numbers)
    answer = replace(
        before,
        clustering=clustering,
        assigned=None
        if before.assigned is None
        else clusters.with_remainder_assigned(clustering, computed.features.vectors),
        stability={refreshed.numbers[n]: value for n, value in before.stability.items()},
    )
    names = cluster_names(clustering.labels)
    output = records.output_hash(zip(answer.image_ids, names, strict=True))
    record = computed.record.model_copy(update={"output": output, "refreshed": refreshed})
    return Computed(record, answer, computed.features)


def measured(work: Callable[[], T]) -> tuple[T, records.Usage]:
    """Do some work of this process, and say what it cost."""
    process = Path("/proc/self")
    with suppress(OSError):  # elsewhere than on Linux
        (process / "clear_refs").write_text("5")  # forget the peak so far
    wall, cpu = time.monotonic(), time.process_time()
    result = work()
    cpu, wall = time.process_time() - cpu, time.monotonic() - wall
    peak = None
    with suppress(OSError):
        if found := re.search(r"VmHWM:\s*(\d+) kB", (process / "status").read_text()):
            peak = int(found[1]) * 1024
    return result, records.Usage(
        cpu_seconds=round(cpu, 3), seconds=round(wall, 3), peak_memory=peak
    )

"""Clusterings: cuts of the corpus, and cuts of clusters, to any depth.

Belongs here: ``clustering`` and ``nested_clustering``, two doors to the same division. Does not
belong here: the methods (``core.methods``) and the tree's rules (``core.tree``).
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

import dagster as dg
import numpy as np

from panoptic_assets import records
from panoptic_assets.assets.corpus import embeddings
from panoptic_assets.assets.features import projection
from panoptic_assets.assets.running import (
    POOL,
    excerpt,
    measured,
    partition_of,
    plain_failures,
    progress,
)
from panoptic_assets.config import (
    ClusteringConfig,
    DivisionConfig,
    Document,
    NestedClusteringConfig,
    given_config,
    identity_of,
    registered_config,
    resolve,
    schema_of,
)
from panoptic_assets.core import clusters, quality
from panoptic_assets.core.division import Data
from panoptic_assets.keys import (
    LINEAGE_ONLY,
    NODES,
    REMAINDER,
    RUNS,
    Node,
    parse_features,
    parse_node,
    parse_run_key,
    run_key_of,
    vector_type_of,
)
from panoptic_assets.methods import FindDuplicates, name_of
from panoptic_assets.readings import Readings
from panoptic_assets.reports.contact_sheet import contact_sheet
from panoptic_assets.reports.markdown import bullets, score_text, table
from panoptic_assets.reports.run_pages import page_of
from panoptic_assets.selection import Selection, select
from panoptic_assets.tables import (
    Answer,
    Divisions,
    Features,
    cluster_name,
    cluster_names,
    files_input,
    present_files,
    read_features,
    read_thumbnails,
    write_division,
)
from resources.errors import InputError
from resources.lance import LanceStore
from resources.models import ModelSpec, OpenClipModels
from resources.registry import Registry
from resources.reports import address

ConfigT = TypeVar("ConfigT", bound=DivisionConfig)

_EXEMPLARS = 6
"""Thumbnails of one cluster on the contact sheet: those nearest to its mean."""
_CLUSTERS_SHOWN = 40

_DISTORTED = (
    "Distances between the points of a projection are distorted; clusters of its vectors are often "
    "better. Scores are computed on the vectors."
)


@dg.asset(
    partitions_def=RUNS,
    deps=[
        dg.AssetDep(embeddings, partition_mapping=LINEAGE_ONLY),
        dg.AssetDep(projection, partition_mapping=LINEAGE_ONLY),
    ],
    config_schema=schema_of(ClusteringConfig),
    group_name="clusterings",
    pool=POOL,
    kinds={"lancedb", "scikitlearn"},
    code_version="1",
)
@plain_failures()
def clustering(
    context: dg.AssetExecutionContext,
    store: LanceStore,
    models: OpenClipModels,
    registry: Registry,
) -> dg.MaterializeResult[None]:
    """Which cluster each image of the scope is in: one run for each run key.

    The key is its configuration: a key that was computed is refused with other parameters, unless
    `replace` is set.
    """
    key = parse_run_key(partition_of(context))
    given = given_config(context.run.run_config, "clustering")
    divisions = Divisions(store, key)
    config = resolve_clustering(key, given, divisions, registry)
    selection = select(key, config, store, registry, models, context.log.info)
    work = _Division(context, store, models, registry, key, config, divisions)
    return work.materialized(selection)


@dg.asset(
    partitions_def=NODES,
    deps=[dg.AssetDep(clustering, partition_mapping=LINEAGE_ONLY)],
    config_schema=schema_of(NestedClusteringConfig),
    group_name="clusterings",
    pool=POOL,
    kinds={"lancedb", "scikitlearn"},
    code_version="1",
)
@plain_failures()
def nested_clustering(
    context: dg.AssetExecutionContext,
    store: LanceStore,
    models: OpenClipModels,
    registry: Registry,
) -> dg.MaterializeResult[None]:
    """Which cluster each image of one cluster is in: the partition is the node that is divided.

    `greek/3` divides cluster 3 of run `greek`, `greek/3/0` divides cluster 0 of that, and so on.
    """
    node = parse_node(partition_of(context))
    given = given_config(context.run.run_config, "nested_clustering")
    divisions = Divisions(store, node.run_key)
    version = store.version("files")
    image_ids = present_members(node, divisions, store, version)
    config = resolve_nested(str(node), given, divisions, registry)
    parent = divisions.get(node.division)
    selection = Selection(image_ids, [files_input(version, image_ids)], parent=parent)
    work = _Division(context, store, models, registry, str(node), config, divisions)
    return work.materialized(selection)


def resolve_clustering(
    key: str, given: Document, divisions: Divisions, registry: Registry
) -> ClusteringConfig:
    """The configuration of a run; raises InputError when the key refuses it."""
    record = divisions.records.get(key)
    defaults = {"features": registry.default_vector_type}
    recorded = record.config if record else None
    registered = registry_config(registry, key, "clustering")
    config = resolve(ClusteringConfig, key, given, recorded, registered, defaults)
    return _completed(config, registry)


def resolve_nested(
    key: str, given: Document, divisions: Divisions, registry: Registry
) -> NestedClusteringConfig:
    """The configuration of a node's division; raises InputError when the key refuses it."""
    node = parse_node(key)
    record = divisions.records.get(key)
    defaults = {"features": divisions.get(node.run_key).config["features"]}
    recorded = record.config if record else None
    registered = registry_config(registry, key, "nested_clustering")
    guarded = key not in divisions.stale
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
            f"The vectors of {config.features!r} are another program's, so no min_similarity is "
            "known for their duplicates: give one (`--min-similarity 0.95`)."
        )
    completed = method.model_copy(update={"min_similarity": threshold})
    return config.model_copy(update={"method": completed})


def present_members(
    node: Node, divisions: Divisions, store: LanceStore, version: int | None = None
) -> list[str]:
    """Sorted ids of a node's images, those left out whose files are missing by now.

    Args:
        node: The node.
        divisions: The divisions of its run.
        store: The store.
        version: The version of ``files`` to read; the newest by default.

    Raises:
        InputError: The node does not exist, is stale, or has no image left.
    """
    found = sorted(present_files(store, version).keys() & set(divisions.members(node)))
    if not found:
        raise InputError(
            f"All images of {node} are missing from the corpus by now: nothing to divide."
        )
    return found


def is_current(
    record: records.Record, config: ClusteringConfig, selection: Selection, store: LanceStore
) -> bool:
    """Whether a run was made with a configuration, of the images and features of now."""
    # What a method reads beside the features, such as tags or other runs, is known when it is read.
    if record.config != identity_of(config) or config.method.needs:
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
    return registered_config(registry.run(key), asset, f"configs/runs/{key}.yaml")


@dataclass(frozen=True)
class _Division:
    """One division, on its way from configuration to record."""

    context: dg.AssetExecutionContext
    store: LanceStore
    models: OpenClipModels
    registry: Registry
    key: str
    config: DivisionConfig
    divisions: Divisions

    def materialized(self, selection: Selection) -> dg.MaterializeResult[None]:
        """Divide the images in scope and store the answer, unless it is stored already."""
        started = datetime.now(UTC)
        config, context = self.config, self.context
        method = config.method
        context.instance.add_run_tags(
            context.run_id,
            {"panoptic/method": name_of(type(method)), "panoptic/features": config.features},
        )
        previous = self.divisions.records.get(self.key)
        if previous and previous.id_list and _has_changed(previous.id_list, selection.id_list):
            context.log.warning(
                f"{previous.id_list.file} has changed since {self.key}@{previous.revision} was "
                "made."
            )
        features = read_features(self.store, config.features, selection.image_ids)
        readings = Readings(
            self.key, self.store, self.models, self.registry, features, config, context.log.info
        )
        data = readings.data()
        outcome, usage = measured(lambda: method.compute(data, config.seed))
        division = clusters.canonical(outcome.labels, features.vectors)
        answer = Answer(
            image_ids=features.image_ids,
            division=division,
            outcome=outcome,
            assigned=clusters.assigned(division, features.vectors)
            if config.assign_remainder
            else None,
            stability=self._stability(data, division),
        )
        inputs = [*features.sources, *readings.inputs, *selection.sources]
        record = self._record(answer, features, selection, inputs, started, usage)
        if previous and previous.data_version == record.data_version:
            context.log.info(f"{self.key} gave the same answer as before; its record stays.")
            record = previous
        else:
            write_division(self.store, record, answer)
        return _result(self.store, record, answer)

    def _stability(self, data: Data, division: clusters.Division) -> dict[int, float]:
        """The stability of each cluster, by number; empty if it was not asked for."""
        if not self.config.stability:
            return {}
        seeds = iter(range(self.config.stability))
        rounds = progress(self.context, seeds, self.config.stability, "subsamples")
        return quality.stability(
            self.config.method.compute, data, division.labels, self.config.seed, rounds
        )

    def _record(
        self,
        answer: Answer,
        features: Features,
        selection: Selection,
        inputs: list[records.Input],
        started: datetime,
        usage: records.Usage,
    ) -> records.Record:
        config, division, parent = self.config, answer.division, selection.parent
        in_scope = len(selection.image_ids)
        previous = self.divisions.records.get(self.key)
        names = cluster_names(division.labels)
        remainder = names.count(REMAINDER)
        distorted = [_DISTORTED] if "/" in config.features else []
        measures = quality.quality(features.vectors, division.labels, config.seed)
        return records.Record(
            key=self.key,
            run_key=run_key_of(self.key),
            revision=previous.revision + 1 if previous else 1,
            config=identity_of(config),
            inputs=inputs,
            parent_record=parent.record_id if parent else None,
            parent_output=parent.output if parent else None,
            id_list=selection.id_list,
            counts=records.Counts(
                in_scope=in_scope,
                clustered=len(names) - remainder,
                remainder=remainder,
                not_embedded=in_scope - len(names),
            ),
            nb_clusters=len(set(names) - {REMAINDER}),
            baseline_score=division.baseline_score,
            output=records.output_hash(zip(features.image_ids, names, strict=True)),
            mean_score=division.mean_score,
            notes=[*selection.notes, *answer.outcome.notes, *distorted],
            quality=records.Quality(measured_on=vector_type_of(config.features), **vars(measures)),
            stability=answer.mean_stability,
            usage=usage,
            libraries=records.library_versions(),
            code_version=records.code_version(),
            git_commit=records.git_commit(),
            machine=records.machine_class(),
            dagster_run_id=self.context.run_id,
            started_at=started,
            finished_at=datetime.now(UTC),
        )


def _has_changed(before: records.IdList, now: records.IdList | None) -> bool:
    return now is not None and now.file == before.file and now.sha256 != before.sha256


def _result(
    store: LanceStore, record: records.Record, answer: Answer
) -> dg.MaterializeResult[None]:
    image_ids, division = answer.image_ids, answer.division
    names = {
        cluster.number: answer.outcome.names.get(cluster.label) for cluster in division.clusters
    }
    measures = record.quality
    numbers = {
        "silhouette": measures.silhouette if measures else None,
        "davies_bouldin": measures.davies_bouldin if measures else None,
        "calinski_harabasz": measures.calinski_harabasz if measures else None,
        "stability": record.stability,
    }
    return dg.MaterializeResult(
        metadata={
            "report": dg.MetadataValue.url(_report_of(record)),
            "nb_images": len(image_ids),
            "nb_clusters": record.nb_clusters,
            "remainder_ratio": record.counts.remainder / len(image_ids),
            "mean_score": division.mean_score,
            "baseline_score": record.baseline_score,
            "nb_not_embedded": record.counts.not_embedded,
            **{name: value for name, value in numbers.items() if value is not None},
            "clusters": dg.MetadataValue.md(
                table(
                    ["cluster", "images", "score", *(["name"] if any(names.values()) else [])],
                    [
                        [
                            cluster_name(c.number),
                            c.size,
                            score_text(c.score, c.size),
                            *([names[c.number] or ""] if any(names.values()) else []),
                        ]
                        for c in division.clusters
                    ],
                    _CLUSTERS_SHOWN,
                )
            ),
            "contact_sheet": dg.MetadataValue.md(
                contact_sheet(
                    [
                        read_thumbnails(store, [image_ids[row] for row in _exemplars(division, c)])
                        for c in division.clusters[:_CLUSTERS_SHOWN]
                    ]
                )
            ),
            "record": dg.MetadataValue.json(excerpt(record.model_dump(mode="json"))),
            **({"notes": dg.MetadataValue.md(bullets(record.notes))} if record.notes else {}),
        },
        data_version=dg.DataVersion(record.data_version),
    )


def _report_of(record: records.Record) -> str:
    """Where a run's report will be, or its page of the cluster that was divided."""
    place = f"runs/{record.run_key}"
    if record.key == record.run_key:
        return address(place)
    return address(place, page_of(record.key))


def _exemplars(division: clusters.Division, cluster: clusters.Cluster) -> list[int]:
    """Rows of the images nearest to a cluster's mean."""
    rows = np.flatnonzero(division.labels == cluster.number)
    nearest = quality.exemplars(rows, division.distances[rows], "nearest", _EXEMPLARS, seed=0)
    return nearest.tolist()

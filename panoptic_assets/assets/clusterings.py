"""Clusterings: cuts of the corpus, and cuts of clusters, to any depth.

Belongs here: ``clustering`` and ``nested_clustering``, two doors to the same division. Does not
belong here: the methods (``core.methods``) and the tree's rules (``core.tree``).
"""

from datetime import UTC, datetime

import dagster as dg
import numpy as np

from panoptic_assets import records
from panoptic_assets.assets.corpus import embeddings
from panoptic_assets.assets.features import projection
from panoptic_assets.assets.running import POOL, partition_of, plain_failures
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
from panoptic_assets.core import clusters as core_clusters
from panoptic_assets.core.methods import METHODS
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
)
from panoptic_assets.reports.contact_sheet import contact_sheet
from panoptic_assets.reports.markdown import score_text, table
from panoptic_assets.tables import (
    Divisions,
    cluster_name,
    cluster_names,
    files_input,
    images_in,
    present_files,
    read_features,
    read_thumbnails,
    write_division,
)
from resources.errors import InputError
from resources.lance import LanceStore
from resources.registry import Registry

_EXEMPLARS = 6
"""Thumbnails of one cluster on the contact sheet: those nearest to its mean."""
_CLUSTERS_SHOWN = 40

_DISTORTED = (
    "distances between the points of a projection are distorted; clusters of its vectors are often "
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
    context: dg.AssetExecutionContext, store: LanceStore, registry: Registry
) -> dg.MaterializeResult[None]:
    """Which cluster each image of the scope is in: one run for each run key.

    The key is its configuration: a key that was computed is refused with other parameters, unless
    `replace` is set.
    """
    key = parse_run_key(partition_of(context))
    given = given_config(context.run.run_config, "clustering")
    divisions = Divisions(store, key)
    config = resolve_clustering(key, given, divisions, registry)
    # Before the rows, which are then read at this version: a refresh may commit at any time.
    version = store.version("files")
    image_ids = images_in(config.scope, store, version)
    source = files_input(version, image_ids)
    return _divide(context, store, key, config, image_ids, source, divisions)


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
    context: dg.AssetExecutionContext, store: LanceStore, registry: Registry
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
    source = files_input(version, image_ids)
    return _divide(context, store, str(node), config, image_ids, source, divisions)


def resolve_clustering(
    key: str, given: Document, divisions: Divisions, registry: Registry
) -> ClusteringConfig:
    """The configuration of a run; raises InputError when the key refuses it."""
    record = divisions.records.get(key)
    defaults = {"features": registry.default_vector_type}
    recorded = record.config if record else None
    registered = registry_config(registry, key, "clustering")
    config = resolve(ClusteringConfig, key, given, recorded, registered, defaults)
    parse_features(config.features)
    return config


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
    parse_features(config.features)
    return config


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


def registry_config(registry: Registry, key: str, asset: str) -> Document | None:
    """What ``configs/runs/<key>.yaml`` asks of an asset; None without such a file.

    Raises:
        InputError: The file holds something else.
    """
    return registered_config(registry.run(key), asset, f"configs/runs/{key}.yaml")


def _divide(
    context: dg.AssetExecutionContext,
    store: LanceStore,
    key: str,
    config: DivisionConfig,
    image_ids: list[str],
    source: records.Input,
    divisions: Divisions,
) -> dg.MaterializeResult[None]:
    started = datetime.now(UTC)
    read = read_features(store, config.features, image_ids)
    if "/" in config.features:
        context.log.warning(f"{config.features}: {_DISTORTED}")
    method = config.method.model_dump()
    name = method.pop("name")
    context.instance.add_run_tags(
        context.run_id, {"panoptic/method": name, "panoptic/features": config.features}
    )
    previous = divisions.records.get(key)
    parent = divisions.records.get(parse_node(key).division) if "/" in key else None
    labels = METHODS[name](read.points, config.seed, **method)
    division = core_clusters.canonical(labels, read.vectors)
    names = cluster_names(division)
    remainder = names.count(REMAINDER)
    record = records.Record(
        key=key,
        run_key=run_key_of(key),
        revision=previous.revision + 1 if previous else 1,
        config=identity_of(config),
        inputs=[*read.sources, source],
        parent_record=parent.record_id if parent else None,
        parent_output=parent.output if parent else None,
        counts=records.Counts(
            in_scope=len(image_ids),
            clustered=len(names) - remainder,
            remainder=remainder,
            not_embedded=len(image_ids) - len(names),
        ),
        nb_clusters=len(set(names) - {REMAINDER}),
        baseline_score=division.baseline_score,
        output=records.output_hash(zip(read.image_ids, names, strict=True)),
        libraries=records.library_versions(),
        code_version=records.code_version(),
        git_commit=records.git_commit(),
        machine=records.machine_class(),
        dagster_run_id=context.run_id,
        started_at=started,
        finished_at=datetime.now(UTC),
    )
    if previous and previous.data_version == record.data_version:
        context.log.info(f"{key} gave the same answer as before; its record stays.")
        record = previous
    else:
        write_division(store, record, read.image_ids, division)
    return _result(store, record, read.image_ids, division)


def _result(
    store: LanceStore,
    record: records.Record,
    image_ids: list[str],
    division: core_clusters.Division,
) -> dg.MaterializeResult[None]:
    return dg.MaterializeResult(
        metadata={
            "nb_images": len(image_ids),
            "nb_clusters": record.nb_clusters,
            "remainder_ratio": record.counts.remainder / len(image_ids),
            "mean_score": division.mean_score,
            "baseline_score": record.baseline_score,
            "nb_not_embedded": record.counts.not_embedded,
            "clusters": dg.MetadataValue.md(
                table(
                    ["cluster", "images", "score"],
                    [
                        [cluster_name(c.number), c.size, score_text(c.score, c.size)]
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
            "record": dg.MetadataValue.json(record.model_dump(mode="json")),
            **({"warning": _DISTORTED} if "/" in record.config["features"] else {}),
        },
        data_version=dg.DataVersion(record.data_version),
    )


def _exemplars(division: core_clusters.Division, cluster: core_clusters.Cluster) -> list[int]:
    """Rows of the images nearest to a cluster's mean."""
    rows = np.flatnonzero(division.labels == cluster.number)
    nearest = np.argsort(division.distances[rows], kind="stable")[:_EXEMPLARS]
    return [int(row) for row in rows[nearest]]

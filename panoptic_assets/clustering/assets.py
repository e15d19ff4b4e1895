"""Clusterings: cuts of the corpus, and cuts of clusters, to any depth.

Belongs here: ``clustering`` and ``nested_clustering``, two doors to the same clustering. Does not
belong here: the methods (``clustering.algorithms.libraries``) and the tree's rules (``spec.tree``).
"""

from typing import Any

import dagster as dg
import numpy as np

from panoptic_assets.clustering import clusters, dividing, quality
from panoptic_assets.clustering.config import ClusteringConfig, NestedClusteringConfig
from panoptic_assets.clustering.table import StoredClustering, cluster_name, seal_of
from panoptic_assets.corpus.contact_sheet import contact_sheet
from panoptic_assets.corpus.table import rows_of_thumbnails
from panoptic_assets.features.assets import embeddings, projection
from panoptic_assets.orchestration.acting import Acts
from panoptic_assets.orchestration.config_schema import schema_of
from panoptic_assets.orchestration.partitions import LINEAGE_ONLY, NODES, RUNS
from panoptic_assets.orchestration.running import (
    CLUSTERINGS_POOL,
    excerpt,
    page_link,
    plain_failures,
)
from panoptic_assets.spec import records
from panoptic_assets.spec.extensions import name_of
from panoptic_assets.spec.markdown import bullets, score_text, table
from resources.lance import LanceStore

_EXEMPLARS = 6
"""Thumbnails of one cluster on the contact sheet: those nearest to its mean."""
_CLUSTERS_SHOWN = 40


@dg.asset(
    partitions_def=RUNS,
    deps=[
        dg.AssetDep(embeddings, partition_mapping=LINEAGE_ONLY),
        dg.AssetDep(projection, partition_mapping=LINEAGE_ONLY),
    ],
    config_schema=schema_of(ClusteringConfig),
    group_name="clusterings",
    pool=CLUSTERINGS_POOL,
    kinds={"lancedb", "scikitlearn"},
    code_version="1",
)
@plain_failures()
def clustering(
    context: dg.AssetExecutionContext, acts: dg.ResourceParam[Acts]
) -> dg.MaterializeResult[None]:
    """Which cluster each image of the scope is in: one run for each run key.

    The key is its configuration: a key that was computed is refused with other parameters, unless
    `replace` is set.
    """
    return divided(context, acts.plan(context, dividing.prepare))


@dg.asset(
    partitions_def=NODES,
    deps=[dg.AssetDep(clustering, partition_mapping=LINEAGE_ONLY)],
    config_schema=schema_of(NestedClusteringConfig),
    group_name="clusterings",
    pool=CLUSTERINGS_POOL,
    kinds={"lancedb", "scikitlearn"},
    code_version="1",
)
@plain_failures()
def nested_clustering(
    context: dg.AssetExecutionContext, acts: dg.ResourceParam[Acts]
) -> dg.MaterializeResult[None]:
    """Which cluster each image of one cluster is in: the partition is the node that is divided.

    `greek/3` divides cluster 3 of run `greek`, `greek/3/0` divides cluster 0 of that, and so on.
    """
    return divided(context, acts.plan(context, dividing.prepare))


def divided(
    context: dg.AssetExecutionContext | dg.OpExecutionContext, plan: dividing.ClusteringPlan
) -> dg.MaterializeResult[None]:
    """Divide the images in scope and store the answer, unless it is stored already.

    Args:
        context: Of the Dagster run: the asset's, or that of an op that does what the asset does.
        plan: What is divided, and how.

    Raises:
        NotComputableError: The method refuses.
    """
    method, previous = name_of(type(plan.config.method)), plan.previous
    context.instance.add_run_tags(
        context.run_id, {"panoptic/method": method, "panoptic/features": plan.config.features}
    )
    if previous and plan.changed_list:
        context.log.warning(
            f"{plan.changed_list} has changed since {plan.key}@{previous.revision} was made."
        )
    found = dividing.run(plan)
    dividing.store(found)
    # While it waited for its turn, somebody may have deleted the partition, or reconciled.
    family = NODES if "/" in plan.key else RUNS
    context.instance.add_dynamic_partitions(str(family.name), [plan.key])
    if not found.is_new:
        context.log.info(f"{plan.key} gave the same answer as before; its record stays.")
    return dg.MaterializeResult(
        metadata=clustering_metadata(plan.context.store, found.record, found.answer),
        data_version=dg.DataVersion(found.record.data_version),
    )


def clustering_metadata(
    store: LanceStore, record: records.Record, answer: StoredClustering
) -> dict[str, Any]:
    """What Dagster shows of a clustering."""
    image_ids, clustering = answer.image_ids, answer.clustering
    names = {
        cluster.number: answer.outcome.names.get(cluster.label) for cluster in clustering.clusters
    }
    measures = record.quality
    numbers = {
        "silhouette": measures.silhouette if measures else None,
        "davies_bouldin": measures.davies_bouldin if measures else None,
        "calinski_harabasz": measures.calinski_harabasz if measures else None,
        "stability": record.stability,
    }
    refreshed = record.refreshed
    if refreshed and refreshed.drift:
        numbers["nb_assigned"] = refreshed.nb_assigned
        numbers["drift_novelty"] = refreshed.drift.novelty
        numbers["drift_growth"] = refreshed.drift.growth
    return {
        **_page_of(record),
        "nb_images": len(image_ids),
        "nb_clusters": record.nb_clusters,
        "remainder_ratio": record.counts.remainder / len(image_ids),
        "mean_score": clustering.mean_score,
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
                    for c in clustering.clusters
                ],
                _CLUSTERS_SHOWN,
            )
        ),
        "contact_sheet": dg.MetadataValue.md(
            contact_sheet(
                rows_of_thumbnails(
                    store,
                    [
                        [image_ids[row] for row in _exemplars(clustering, c)]
                        for c in clustering.clusters[:_CLUSTERS_SHOWN]
                    ],
                ),
                names=[
                    f"{cluster_name(c.number)} {names[c.number] or ''}"
                    for c in clustering.clusters[:_CLUSTERS_SHOWN]
                ],
            )
        ),
        "record": dg.MetadataValue.json(excerpt(record.model_dump(mode="json"))),
        **_witnessed(store, record),
        **({"notes": dg.MetadataValue.md(bullets(record.notes))} if record.notes else {}),
    }


def _witnessed(store: LanceStore, record: records.Record) -> dict[str, str]:
    """The seal of the record, for which Dagster's event log so is a witness."""
    root = seal_of(store, record)
    return {"seal": root} if root else {}


def _page_of(record: records.Record) -> dict[str, dg.MetadataValue]:
    """A link to the page of a run, or to that of the cluster that was divided."""
    return page_link(f"{'runs' if record.key == record.run_key else 'clusters'}/{record.key}")


def _exemplars(clustering: clusters.CanonicalClustering, cluster: clusters.Cluster) -> list[int]:
    """Rows of the images nearest to a cluster's mean."""
    rows = np.flatnonzero(clustering.labels == cluster.number)
    nearest = quality.exemplars(rows, clustering.distances[rows], "nearest", _EXEMPLARS, seed=0)
    return nearest.tolist()

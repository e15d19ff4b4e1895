"""Labels: names for the clusters of a run's whole tree.

Belongs here: ``cluster_labels``, and the job that does it by a vision language model. Does not
belong here: how clusters are named (``labels.labelling``), and saving them under their names
(``tags``).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dagster as dg
import numpy as np

from panoptic_assets.clustering.assets import clustering, nested_clustering
from panoptic_assets.clustering.table import Clusterings
from panoptic_assets.corpus.contact_sheet import contact_sheet
from panoptic_assets.corpus.table import rows_of_thumbnails
from panoptic_assets.labels import labelling
from panoptic_assets.labels.config import LabelsConfig
from panoptic_assets.labels.table import stored_labels
from panoptic_assets.orchestration.acting import Acts
from panoptic_assets.orchestration.config_schema import schema_of
from panoptic_assets.orchestration.partitions import LINEAGE_ONLY, RUNS
from panoptic_assets.orchestration.running import REVIEW_POOL, excerpt, page_link, plain_failures
from panoptic_assets.spec.markdown import table
from panoptic_assets.spec.records import digest
from panoptic_assets.spec.resolution import Document, document_of
from resources.lance import LanceStore

_SHOWN = 30
"""Clusters in the table."""
_TEXT_SHOWN = 80
"""Characters of a label in the table: 30 rows of them are some 10 kB."""
_PICTURED = 10
_EXEMPLARS = 4
"""Images in a row of the contact sheet."""

_GPT4V = "label_clusters_with_gpt4v"


@dg.asset(
    partitions_def=RUNS,
    deps=[clustering, dg.AssetDep(nested_clustering, partition_mapping=LINEAGE_ONLY)],
    config_schema=schema_of(LabelsConfig),
    group_name="review",
    pool=REVIEW_POOL,
    kinds={"lancedb"},
    code_version="1",
)
@plain_failures()
def cluster_labels(
    context: dg.AssetExecutionContext, acts: dg.ResourceParam[Acts]
) -> dg.MaterializeResult[None]:
    """A name for each cluster of a run's whole tree, as a suggestion that saving takes up.

    The words of a vocabulary are compared with the images, a vision language model looks at some of
    them, or a labeller of another package finds names in its way. What cannot be named has no
    label, and the reason why. Clusters keep their numbers.
    """
    # Launched from the command line, Dagster leaves out the configuration of the job.
    by_model = context.run.job_name == _GPT4V
    beside: Document | None = {"method": {"vision_model": {}}} if by_model else None
    labelled = labelling.run(acts.plan(context, labelling.prepare, beside))
    labelling.store(labelled)
    return _result(labelled)


label_clusters_with_gpt4v = dg.define_asset_job(
    _GPT4V,
    selection=dg.AssetSelection.assets(cluster_labels),
    config={"ops": {"cluster_labels": {"config": {"method": {"vision_model": {}}}}}},
    description="Names the clusters of a run by a vision language model: OpenAI's, or one behind "
    "any endpoint that speaks its protocol. The key is in the environment, in OPENAI_API_KEY.",
)
"""Named as in FiftyOne's clustering plugin, where reviewers may know it from."""


def _result(labelled: labelling.LabelledClusters) -> dg.MaterializeResult[None]:
    plan, suggestions = labelled.plan, labelled.suggestions
    if plan.kept or plan.names:  # the labels that there are now are more than these
        shown, version = stored_labels_shown(plan.context.store, plan.clusterings, plan.run_key)
        return dg.MaterializeResult(
            metadata={
                **page_link(f"runs/{plan.run_key}"),
                **shown,
                **labelled.used,
                "config": dg.MetadataValue.json(excerpt(document_of(plan.config))),
            },
            data_version=version,
        )
    clusters = plan.clusters
    nb_labels = sum(suggestion.label is not None for suggestion in suggestions)
    scores = [found.score for found in suggestions if found.score is not None]
    return dg.MaterializeResult(
        metadata={
            **page_link(f"runs/{plan.run_key}"),
            "nb_labels": nb_labels,
            "nb_clusters": len(clusters),
            "nb_failed": len(clusters) - nb_labels,
            **labelled.used,
            **({"mean_label_score": float(np.mean(scores))} if scores else {}),
            "labels": _table(
                [
                    (vars(found), len(cluster.image_ids))
                    for cluster, found in zip(clusters, suggestions, strict=True)
                ]
            ),
            "contact_sheet": dg.MetadataValue.md(
                contact_sheet(
                    rows_of_thumbnails(
                        plan.context.store,
                        labelling.typical_images(plan, _PICTURED, _EXEMPLARS),
                    ),
                    names=[
                        f"{found.node.partition('/')[2]} {found.label or ''}"
                        for found in suggestions[:_PICTURED]
                    ],
                )
            ),
            "config": dg.MetadataValue.json(excerpt(document_of(plan.config))),
        },
        data_version=_version(
            vars(found) | {"record_id": cluster.record_id}
            for cluster, found in zip(clusters, suggestions, strict=True)
        ),
    )


def stored_labels_shown(
    store: LanceStore, clusterings: Clusterings, run_key: str
) -> tuple[dict[str, Any], dg.DataVersion]:
    """What Dagster shows of the labels that a run has, and what it compares of them.

    For labels that are put back, or told of again, without a labeller.

    Args:
        store: The store.
        clusterings: Those of the run.
        run_key: The run.
    """
    by_node = {row["node"]: row for row in stored_labels(store, run_key)}
    sizes = {
        f"{key}/{row['cluster']}": row["size"]
        for key in clusterings.valid(run_key)
        for row in clusterings.clusters(key).select(["cluster", "size"]).to_pylist()
    }
    rows = [by_node[node] for node in sorted(by_node.keys() & sizes.keys(), key=list(sizes).index)]
    nb_labels = sum(row["label"] is not None for row in rows)
    shown = {
        "nb_labels": nb_labels,
        "nb_clusters": len(rows),
        "nb_failed": len(rows) - nb_labels,
        "labels": _table([(row, sizes[row["node"]]) for row in rows]),
    }
    return shown, _version(rows)


def _version(rows: Iterable[Mapping[str, Any]]) -> dg.DataVersion:
    names = ("node", "record_id", "label", "alternatives", "description")
    return dg.DataVersion(digest([[row[name] for name in names] for row in rows]))


def _table(rows: Sequence[tuple[Mapping[str, Any], int]]) -> dg.MarkdownMetadataValue:
    """Labels, each with the number of images of its cluster."""
    cells = [
        [
            row["node"],
            nb_images,
            "" if row["score"] is None else f"{row['score']:.2f}",
            _cut(row["label"] or "(none)"),
            _cut(", ".join(row["alternatives"] or ())),
            _cut(row["reason"] or ""),
        ]
        for row, nb_images in rows
    ]
    headings = ["cluster", "images", "score", "label", "alternatives", "remark"]
    return dg.MetadataValue.md(table(headings, cells, _SHOWN))


def _cut(text: str) -> str:
    return text if len(text) <= _TEXT_SHOWN else f"{text[:_TEXT_SHOWN]}…"

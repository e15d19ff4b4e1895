"""Labels: names for the clusters of a run's whole tree.

Belongs here: ``cluster_labels``, and the job that does it by a vision language model. Does not
belong here: how clusters are named (``labels.labelling``), and saving them under their names
(``tags``).
"""

import dagster as dg
import numpy as np

from panoptic_assets.clustering.assets import clustering, nested_clustering
from panoptic_assets.corpus.contact_sheet import contact_sheet
from panoptic_assets.corpus.table import rows_of_thumbnails
from panoptic_assets.labels import labelling
from panoptic_assets.labels.config import LabelsConfig
from panoptic_assets.orchestration.acting import Acts
from panoptic_assets.orchestration.config_schema import schema_of
from panoptic_assets.orchestration.partitions import LINEAGE_ONLY, RUNS
from panoptic_assets.orchestration.running import POOL, excerpt, plain_failures
from panoptic_assets.spec.markdown import table
from panoptic_assets.spec.records import digest
from panoptic_assets.spec.resolution import Document, document_of
from resources.report_folder import address

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
    pool=POOL,
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
    clusters = plan.clusters
    nb_labels = sum(suggestion.label is not None for suggestion in suggestions)
    scores = [found.score for found in suggestions if found.score is not None]
    return dg.MaterializeResult(
        metadata={
            "report": dg.MetadataValue.url(address(f"runs/{plan.run_key}")),
            "nb_labels": nb_labels,
            "nb_clusters": len(clusters),
            "nb_failed": len(clusters) - nb_labels,
            **labelled.used,
            **({"mean_label_score": float(np.mean(scores))} if scores else {}),
            "labels": dg.MetadataValue.md(
                table(
                    ["cluster", "images", "score", "label", "alternatives", "remark"],
                    [
                        [
                            found.node,
                            len(cluster.image_ids),
                            "" if found.score is None else f"{found.score:.2f}",
                            _cut(found.label or "(none)"),
                            _cut(", ".join(found.alternatives)),
                            _cut(found.reason or ""),
                        ]
                        for cluster, found in zip(clusters, suggestions, strict=True)
                    ],
                    _SHOWN,
                )
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
        data_version=dg.DataVersion(
            digest(
                [
                    [
                        cluster.node,
                        cluster.record_id,
                        found.label,
                        found.alternatives,
                        found.description,
                    ]
                    for cluster, found in zip(clusters, suggestions, strict=True)
                ]
            )
        ),
    )


def _cut(text: str) -> str:
    return text if len(text) <= _TEXT_SHOWN else f"{text[:_TEXT_SHOWN]}…"

"""Labels: names for the clusters of a run's whole tree.

Belongs here: ``cluster_labels``, and the job that does it by a vision language model. Does not
belong here: how clusters are named (``labels.zero_shot``, ``labels.vision_language``), and saving
them under their names (``tags``).
"""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict

import dagster as dg
import numpy as np
import pyarrow.compute as pc

from panoptic_assets.clustering import quality
from panoptic_assets.clustering.assets import clustering, nested_clustering
from panoptic_assets.clustering.table import Clusterings
from panoptic_assets.corpus.contact_sheet import contact_sheet
from panoptic_assets.corpus.table import read_thumbnails
from panoptic_assets.labels import vision_language, zero_shot
from panoptic_assets.labels.config import LabelsConfig, VisionModel, ZeroShot
from panoptic_assets.labels.naming import ClusterToLabel, Suggestion
from panoptic_assets.labels.table import clusters_to_label, write_labels
from panoptic_assets.orchestration.config_schema import schema_of
from panoptic_assets.orchestration.partitions import LINEAGE_ONLY, RUNS
from panoptic_assets.orchestration.running import (
    POOL,
    excerpt,
    partition_of,
    plain_failures,
    progress,
)
from panoptic_assets.spec.keys import parse_run_key
from panoptic_assets.spec.markdown import table
from panoptic_assets.spec.records import digest
from panoptic_assets.spec.resolution import document_of, given_config, parse
from resources.errors import InputError
from resources.lance import LanceStore
from resources.models import OpenClipModels
from resources.registry import Registry
from resources.report_folder import address
from resources.source import ImageSource

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
    context: dg.AssetExecutionContext,
    store: dg.ResourceParam[LanceStore],
    source: dg.ResourceParam[ImageSource],
    models: dg.ResourceParam[OpenClipModels],
    registry: dg.ResourceParam[Registry],
) -> dg.MaterializeResult[None]:
    """A name for each cluster of a run's whole tree, as a suggestion that saving takes up.

    The words of a vocabulary are compared with the images, or a vision language model looks at some
    of them. What cannot be named has no label, and the reason why. Clusters keep their numbers.
    """
    run_key = parse_run_key(partition_of(context))
    given = given_config(context.run.run_config, "cluster_labels")
    if context.run.job_name == _GPT4V:
        # Launched from the command line, Dagster leaves out the configuration of the job.
        given = {"method": {"vision_model": {}}} | given
    config = parse(LabelsConfig, given)
    clusterings = Clusterings(store, run_key)
    clusters = clusters_to_label(clusterings, run_key, config.label_remainder)
    if clusterings.stale:
        context.log.warning(
            f"Stale, and left out until divided again: {', '.join(sorted(clusterings.stale))}."
        )
    used: dict[str, int | float] = {}
    match config.method:
        case ZeroShot():
            record = clusterings.get(run_key)
            found = zero_shot.suggest_terms(
                clusters, config.method, record, store, registry, models, context.log.info
            )
            by_node = {suggestion.node: suggestion for suggestion in found}
        case VisionModel():
            naming = vision_language.ask_for_labels(
                clusters, config.method, config.seed, store, source, context.log.info
            )
            with closing(naming):
                asked = progress(context.log.info, naming, len(clusters), "clusters")
                by_node = {suggestion.node: suggestion for suggestion in asked}
            _check_failures(context, by_node)
            used = {
                name: value for name, value in asdict(naming.usage).items() if value is not None
            }
    suggestions = [by_node[cluster.node] for cluster in clusters]
    method, document = next(iter(document_of(config)["method"].items()))
    write_labels(store, run_key, clusters, suggestions, method, document)
    return _result(store, run_key, clusterings, clusters, suggestions, config, used)


label_clusters_with_gpt4v = dg.define_asset_job(
    _GPT4V,
    selection=dg.AssetSelection.assets(cluster_labels),
    config={"ops": {"cluster_labels": {"config": {"method": {"vision_model": {}}}}}},
    description="Names the clusters of a run by a vision language model: OpenAI's, or one behind "
    "any endpoint that speaks its protocol. The key is in the environment, in OPENAI_API_KEY.",
)
"""Named as in FiftyOne's clustering plugin, where reviewers may know it from."""


def _check_failures(context: dg.AssetExecutionContext, found: Mapping[str, Suggestion]) -> None:
    """Warn of clusters that a model did not name; fail, and keep the labels before, if it is all.

    Raises:
        InputError: No cluster has a label.
    """
    failed = [suggestion for suggestion in found.values() if suggestion.label is None]
    if not failed:
        return
    first = f"{failed[0].node}: {failed[0].reason}"
    if len(failed) == len(found):
        raise InputError(
            "None of the {nb_clusters:,} clusters got a label ({reason}). Nothing was changed; "
            "correct that, and label them again.",
            id="no-cluster-labelled",
            nb_clusters=len(found),
            reason=first,
        )
    context.log.warning(
        f"{len(failed):,} of {len(found):,} clusters got no label; first: {first}. Labelled again, "
        "only these are asked about."
    )


def _result(
    store: LanceStore,
    run_key: str,
    clusterings: Clusterings,
    clusters: Sequence[ClusterToLabel],
    suggestions: Sequence[Suggestion],
    config: LabelsConfig,
    used: Mapping[str, int | float],
) -> dg.MaterializeResult[None]:
    nb_labels = sum(suggestion.label is not None for suggestion in suggestions)
    scores = [found.score for found in suggestions if found.score is not None]
    return dg.MaterializeResult(
        metadata={
            "report": dg.MetadataValue.url(address(f"runs/{run_key}")),
            "nb_labels": nb_labels,
            "nb_clusters": len(clusters),
            "nb_failed": len(clusters) - nb_labels,
            **used,
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
                    [
                        read_thumbnails(store, _exemplars(clusterings, cluster))
                        for cluster in clusters[:_PICTURED]
                    ],
                    names=[
                        f"{found.node.partition('/')[2]} {found.label or ''}"
                        for found in suggestions[:_PICTURED]
                    ],
                )
            ),
            "config": dg.MetadataValue.json(excerpt(document_of(config))),
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


def _exemplars(clusterings: Clusterings, cluster: ClusterToLabel) -> list[str]:
    """Ids of the images nearest to a cluster's mean."""
    clustering, _, name = cluster.node.rpartition("/")
    rows = clusterings.assignments(clustering)
    rows = rows.filter(pc.equal(rows["cluster"], name))
    distances = rows["distance"].to_numpy()
    nearest = quality.exemplars(np.arange(len(rows)), distances, "nearest", _EXEMPLARS, seed=0)
    return [rows["image_id"][place].as_py() for place in nearest.tolist()]

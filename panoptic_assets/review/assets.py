"""Reports: a run as pages that people look through.

Belongs here: ``clustering_report``. Does not belong here: what the pages look like (``review``).
"""

import dagster as dg

from panoptic_assets.clustering.assets import clustering, nested_clustering
from panoptic_assets.corpus.contact_sheet import contact_sheet
from panoptic_assets.features.assets import projection
from panoptic_assets.labels.assets import cluster_labels
from panoptic_assets.orchestration.acting import Acts
from panoptic_assets.orchestration.config_schema import schema_of
from panoptic_assets.orchestration.partitions import LINEAGE_ONLY, RUNS
from panoptic_assets.orchestration.running import POOL, plain_failures
from panoptic_assets.review import run_report
from panoptic_assets.review.config import ReportConfig
from panoptic_assets.review.run_pages import titled
from panoptic_assets.spec.markdown import bullets, score_text, table
from panoptic_assets.spec.records import digest, vectors_hash
from resources.report_folder import address

_SHOWN = 40
"""Clusters in the table."""


@dg.asset(
    partitions_def=RUNS,
    deps=[
        clustering,
        dg.AssetDep(nested_clustering, partition_mapping=LINEAGE_ONLY),
        dg.AssetDep(projection, partition_mapping=LINEAGE_ONLY),
        dg.AssetDep(cluster_labels, partition_mapping=LINEAGE_ONLY),
    ],
    config_schema=schema_of(ReportConfig),
    group_name="review",
    pool=POOL,
    kinds={"html"},
    code_version="1",
)
@plain_failures()
def clustering_report(
    context: dg.AssetExecutionContext, acts: dg.ResourceParam[Acts]
) -> dg.MaterializeResult[None]:
    """A run's whole tree as pages: clusters with their images, the map, the record.

    The pages lie in `.panoptic/reports`; `panoptic-assets ui` serves them beside Dagster's own.
    """
    report = run_report.run(acts.plan(context, run_report.prepare))
    return _result(report, run_report.store(report))


def _result(report: run_report.RunReport, nb_pages: int) -> dg.MaterializeResult[None]:
    tree, points = report.plan.tree, report.points
    record = tree.record
    place = f"runs/{record.key}"
    divided = [cluster for cluster in tree.walk() if cluster.clustering]
    notes = [f"{key} is stale and was left out." for key in tree.stale]
    return dg.MaterializeResult(
        metadata={
            "report": dg.MetadataValue.url(address(place)),
            "nb_images": len(tree.image_ids),
            "nb_clusters": record.nb_clusters,
            "nb_divided": len(divided),
            "nb_pages": nb_pages,
            "clusters": dg.MetadataValue.md(
                table(
                    ["cluster", "images", "score", "name"],
                    [[c.node, c.size, score_text(c.score, c.size), c.name] for c in tree.walk()],
                    _SHOWN,
                )
            ),
            "contact_sheet": dg.MetadataValue.md(
                contact_sheet(
                    report.typical,
                    names=[titled(cluster) for cluster in tree.clusters[: len(report.typical)]],
                )
            ),
            "map": points.title,
            "file": dg.MetadataValue.path(report.plan.context.reports.path(place) / "index.html"),
            **({"notes": dg.MetadataValue.md(bullets(notes))} if notes else {}),
        },
        data_version=dg.DataVersion(
            digest(
                record.record_id,
                [
                    clustering.clustering.record_id
                    for clustering in divided
                    if clustering.clustering
                ],
                [[cluster.node, cluster.name, cluster.remark] for cluster in tree.walk()],
                [tree.paths, tree.stale, points.title],
                vectors_hash([tree.image_ids[row] for row in points.rows], points.points),
                [[colouring.name, list(colouring.values)] for colouring in points.tags],
            )
        ),
    )

"""Reports: a run as pages that people look through.

Belongs here: ``clustering_report``. Does not belong here: what the pages look like (``review``).
"""

import dagster as dg
import numpy as np

from panoptic_assets.clustering.assets import clustering, nested_clustering
from panoptic_assets.clustering.table import Clusterings
from panoptic_assets.corpus.contact_sheet import contact_sheet
from panoptic_assets.corpus.table import read_thumbnails
from panoptic_assets.features.assets import projection
from panoptic_assets.features.projections import project
from panoptic_assets.features.table import (
    ReadVectors,
    projection_record,
    projections,
    read_points,
    read_vectors,
)
from panoptic_assets.labels.assets import cluster_labels
from panoptic_assets.orchestration.config_schema import schema_of
from panoptic_assets.orchestration.partitions import LINEAGE_ONLY, RUNS
from panoptic_assets.orchestration.running import POOL, partition_of, plain_failures, progress
from panoptic_assets.review.config import ReportConfig
from panoptic_assets.review.map_data import Colouring
from panoptic_assets.review.run_pages import MapPoints, titled, write_first_page, write_run
from panoptic_assets.review.run_tree import ClusterView, RunTree, read_tree
from panoptic_assets.spec import tag_log
from panoptic_assets.spec.computation import NotComputableError
from panoptic_assets.spec.keys import parse_projection, parse_run_key, vector_type_of
from panoptic_assets.spec.markdown import bullets, score_text, table
from panoptic_assets.spec.records import digest, vectors_hash
from panoptic_assets.spec.resolution import given_config, parse
from panoptic_assets.tags.table import read_log
from resources.errors import InputError
from resources.lance import LanceStore
from resources.report_folder import ReportFolder, address

_SHOWN = 40
_EXEMPLARS = 6
_THUMBNAILS_AT_ONCE = 1024
_PREFERRED = ("umap", "tsne", "pca")
"""Projection methods whose maps are the easier to read, the best first."""
_NO_TAG = "(no tag)"


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
    context: dg.AssetExecutionContext,
    store: dg.ResourceParam[LanceStore],
    reports: dg.ResourceParam[ReportFolder],
) -> dg.MaterializeResult[None]:
    """A run's whole tree as pages: clusters with their images, the map, the record.

    The pages lie in `.panoptic/reports`; `panoptic-assets ui` serves them beside Dagster's own.
    """
    run_key = parse_run_key(partition_of(context))
    config = parse(ReportConfig, given_config(context.run.run_config, "clustering_report"))
    tree = read_tree(store, run_key)
    points = map_points(store, tree, config.projection)
    missing = reports.missing_thumbnails(tree.image_ids)
    blocks = [
        missing[start : start + _THUMBNAILS_AT_ONCE]
        for start in range(0, len(missing), _THUMBNAILS_AT_ONCE)
    ]
    for block in progress(context.log.info, blocks, len(missing), "thumbnails", len):
        reports.add_thumbnails(zip(block, read_thumbnails(store, block), strict=True))
    pages = write_run(reports, tree, points)
    list_reports(store, reports)
    return _result(store, reports, tree, points, pages)


def list_reports(store: LanceStore, reports: ReportFolder) -> None:
    """List the runs that have a report on the first page of all, the newest first."""
    with_report = [
        record
        for record in Clusterings(store).records.values()
        if record.key == record.run_key and reports.path(f"runs/{record.key}").is_dir()
    ]
    with_report.sort(key=lambda record: record.finished_at, reverse=True)
    write_first_page(reports, with_report)


def map_points(store: LanceStore, tree: RunTree, asked: str) -> MapPoints:
    """The points of a run's images on its map.

    Args:
        store: The store.
        tree: The run.
        asked: A projection; empty: the one that was clustered, else the best one of the run's
            vector type, else principal components computed for this map.

    Raises:
        InputError: There is no such projection.
    """
    features = tree.record.config["features"]
    vector_type = vector_type_of(features)
    if asked:
        parse_projection(asked)
    key = asked or (features if features != vector_type else _best_of(store, vector_type))
    found = read_points(store, key) if key else None
    if asked and found is None:
        raise InputError(
            "There is no projection {projection!r}: make it (`panoptic-assets project "
            "{projection}`), or choose one of {known}.",
            id="no-projection-to-show",
            projection=asked,
            known=", ".join(projections(store)) or "(none yet)",
        )
    title = f"Projection {key}"
    if found is None:
        read = read_vectors(store, vector_type, tree.image_ids, may_be_none=True)
        title = (
            f"The first two principal components of {vector_type}, for lack of a projection "
            f"(`panoptic-assets project {vector_type}/umap`)"
        )
        found = _principal_components(read)
    rows = {image_id: row for row, image_id in enumerate(tree.image_ids)}
    mine = [place for place, image_id in enumerate(found.image_ids) if image_id in rows]
    return MapPoints(
        title,
        np.array([rows[found.image_ids[place]] for place in mine], np.int64),
        found.vectors[mine],
        _tags(store, tree),
    )


def _best_of(store: LanceStore, vector_type: str) -> str | None:
    """The projection of a vector type that has two dimensions or more and is easiest to read."""
    found = []
    for key in projections(store):
        record = projection_record(store, key)
        if (
            vector_type_of(key) == vector_type
            and record
            and record.cause.config["nb_dimensions"] > 1
        ):
            method = next(iter(record.cause.config["method"]))
            found.append((_PREFERRED.index(method), key))
    return min(found)[1] if found else None


def _principal_components(read: ReadVectors) -> ReadVectors:
    try:
        found = project("pca", read.vectors, 2, 0, None, {"whiten": False}).points
    except NotComputableError:  # one image, or none, lies anywhere
        found = np.zeros((len(read.image_ids), 2), np.float32)
    return ReadVectors(read.image_ids, found, read.source)


def _tags(store: LanceStore, tree: RunTree) -> list[Colouring]:
    """For each property, the tag of each image: of several, the first in the order of the tree."""
    replayed = tag_log.replay([entry.event for entry in read_log(store)])
    paths = tag_log.paths(replayed.tags)
    grey = {paths[tag.tag_id] for tag in replayed.tags if tag.is_remainder} | {_NO_TAG}
    order = {tag.tag_id: place for place, tag in enumerate(replayed.tags)}
    properties = {tag.tag_id: tag.property for tag in replayed.tags}
    rows = {image_id: row for row, image_id in enumerate(tree.image_ids)}
    values: dict[str, list[str]] = {}
    for tag_id, image_id in sorted(replayed.images, key=lambda pair: -order[pair[0]]):
        if image_id in rows:
            name = properties[tag_id]
            carried = values.setdefault(name, [_NO_TAG] * len(rows))
            carried[rows[image_id]] = paths[tag_id]
    return [
        Colouring(f"tag: {name}", values[name], list(paths.values()), frozenset(grey))
        for name in sorted(values)
    ]


def _result(
    store: LanceStore, reports: ReportFolder, tree: RunTree, points: MapPoints, nb_pages: int
) -> dg.MaterializeResult[None]:
    record = tree.record
    place = f"runs/{record.key}"
    shown = tree.clusters[:_SHOWN]
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
                    [_typical(store, tree, cluster) for cluster in shown],
                    names=[titled(cluster) for cluster in shown],
                )
            ),
            "map": points.title,
            "file": dg.MetadataValue.path(reports.path(place) / "index.html"),
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


def _typical(store: LanceStore, tree: RunTree, cluster: ClusterView) -> list[bytes]:
    return read_thumbnails(store, [tree.image_ids[row] for row in cluster.rows[:_EXEMPLARS]])

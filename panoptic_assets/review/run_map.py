"""The map of a run: which points there are of its images, and their tags.

Belongs here: choosing a projection, and reading what the map shows of each image. Does not belong
here: computing projections (``features.projections``), and packing the map (``review.map_data``).
"""

import numpy as np

from panoptic_assets.features.projections import project
from panoptic_assets.features.table import (
    ReadVectors,
    projection_record,
    projections,
    read_points,
    read_vectors,
)
from panoptic_assets.review.map_data import Colouring
from panoptic_assets.review.run_pages import MapPoints
from panoptic_assets.review.run_tree import RunTree
from panoptic_assets.spec import tag_log
from panoptic_assets.spec.computation import NotComputableError
from panoptic_assets.spec.keys import parse_projection, vector_type_of
from panoptic_assets.spec.records import Record
from panoptic_assets.tags.table import read_log
from resources.errors import InputError
from resources.lance import LanceStore
from resources.schemas import points_table

_PREFERRED = ("umap", "tsne", "pca")
"""Projection methods whose maps are the easier to read, the best first."""
_NO_TAG = "(no tag)"


def find_projection(store: LanceStore, record: Record, asked: str) -> str | None:
    """The projection that a run's map shows; None: principal components, for lack of one.

    Args:
        store: The store.
        record: Of the run.
        asked: A projection; empty: the one that was clustered, else the best one of the run's
            vector type.

    Raises:
        InputError: There is no such projection.
    """
    features = record.config["features"]
    vector_type = vector_type_of(features)
    if asked:
        parse_projection(asked)
    key = asked or (features if features != vector_type else _best_of(store, vector_type))
    if key and store.version(points_table(key)):
        return str(key)
    if asked:
        raise InputError(
            "There is no projection {projection!r}: make it (`panoptic-assets project "
            "{projection}`), or choose one of {known}.",
            id="no-projection-to-show",
            projection=asked,
            known=", ".join(projections(store)) or "(none yet)",
        )
    return None


def map_points(store: LanceStore, tree: RunTree, projection: str | None) -> MapPoints:
    """The points of a run's images on its map.

    Args:
        store: The store.
        tree: The run.
        projection: Which one; None: principal components, which are computed for this map.
    """
    found = read_points(store, projection) if projection else None
    title = f"Projection {projection}"
    if found is None:
        vector_type = vector_type_of(tree.record.config["features"])
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

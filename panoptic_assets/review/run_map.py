"""The map of a run, or of the corpus: which points there are of its images, and their colours.

Belongs here: choosing a projection, and reading what the map shows of each image. Does not belong
here: computing projections (``features.projections``), what is known of images whatever run they
are in (``review.image_colours``), and packing the map (``review.map_data``).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from panoptic_assets.features.table import (
    ReadVectors,
    projection_record,
    projections,
    read_points,
    read_vectors,
)
from panoptic_assets.review.image_colours import by_folder, by_properties, by_tags
from panoptic_assets.review.map_data import Colouring, map_data
from panoptic_assets.review.run_tree import ClusterView, RunTree
from panoptic_assets.spec.computation import NotComputableError
from panoptic_assets.spec.keys import parse_projection, vector_type_of
from panoptic_assets.spec.languages import Language
from resources.errors import InputError, Message, message
from resources.lance import LanceStore
from resources.schemas import points_table

_PREFERRED = ("umap", "tsne", "pca")
"""Projection methods whose maps are the easier to read, the best first."""


@dataclass(frozen=True)
class MapPoints:
    """Where images lie on their map."""

    title: Message
    """What the points are, such as ``Projection mini/umap``."""
    rows: npt.NDArray[np.int64]
    """(m,) rows of the images that have a point, of all that could have one."""
    points: npt.NDArray[np.float32]
    """(m, d)."""
    known: list[Colouring]
    """For each property of tags or of the metadata: a colouring of all images."""


def find_projection(store: LanceStore, features: str, asked: str) -> str | None:
    """The projection that a map shows; None: principal components, for lack of one.

    Args:
        store: The store.
        features: What was clustered, or a vector type.
        asked: A projection; empty: the one that was clustered, else the best one of the vector
            type.

    Raises:
        InputError: There is no such projection.
    """
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


def map_points(
    store: LanceStore,
    image_ids: Sequence[str],
    vector_type: str,
    projection: str | None,
    language: Language,
) -> MapPoints:
    """Where images lie on their map, and what is known of them.

    Args:
        store: The store.
        image_ids: Those that should have a point.
        vector_type: Of the vectors whose principal components take the place of a projection.
        projection: Which one; None: principal components, which are computed for this map.
        language: Of the colourings.
    """
    title, rows, points = places_of(store, image_ids, vector_type, projection)
    known = [*by_tags(store, image_ids, language), *by_properties(store, image_ids, language)]
    return MapPoints(title, rows, points, known)


def places_of(
    store: LanceStore, image_ids: Sequence[str], vector_type: str, projection: str | None
) -> tuple[Message, npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """What the points are, the rows of the images that have one, and the points.

    Arguments as of :func:`map_points`.
    """
    found = read_points(store, projection) if projection else None
    title = message("Projection {projection}", id="map-of-projection", projection=projection)
    if found is None:
        read = read_vectors(store, vector_type, image_ids, may_be_none=True)
        title = message(
            "The first two principal components of {vector_type}, for lack of a projection "
            "(`panoptic-assets project {vector_type}/umap`)",
            id="map-of-principal-components",
            vector_type=vector_type,
        )
        found = _principal_components(read)
    rows = {image_id: row for row, image_id in enumerate(image_ids)}
    mine = [place for place, image_id in enumerate(found.image_ids) if image_id in rows]
    of_images = np.array([rows[found.image_ids[place]] for place in mine], np.int64)
    return title, of_images, found.vectors[mine]


def colourings(tree: RunTree, points: MapPoints, language: Language) -> list[Colouring]:
    """The ways to colour the points of a run's map, that by cluster first."""
    rows = points.rows.tolist()
    found = [_by_cluster(tree, language)]
    if any(cluster.clusters for cluster in tree.clusters):
        found.append(_by_deepest_cluster(tree, language))
    found += [by_folder(tree.paths, language), *points.known]
    distances, certainties = _of_rows(tree)
    if certainties is not None:
        name = tree.clusters[0].certainty
        found.append(Colouring(language.gettext(name), certainties, key=name))
    title = language.gettext("distance to the cluster’s mean")
    found.append(Colouring(title, distances, key="distance"))
    return [one.of(rows) for one in found]


def by_clusters_of(tree: RunTree, image_ids: Sequence[str], language: Language) -> Colouring:
    """A run's clusters as colours of a map that is not its own.

    Args:
        tree: The run.
        image_ids: Those of the map, of which the run may lack some.
        language: Of what is no cluster.
    """
    own = _by_cluster(tree, language)
    nothing = language.gettext("(not in the run)")
    of = dict(zip(tree.image_ids, own.values, strict=True))
    rows = {image_id: row for row, image_id in enumerate(image_ids)}
    medoids = {name: tree.image_ids[row] for name, row in own.medoids.items()}
    return replace(
        own,
        name=language.gettext("clusters of {run}").format(run=tree.record.key),
        values=[of.get(image_id, nothing) for image_id in image_ids],
        nothing=own.nothing | {nothing},
        key=f"run:{tree.record.key}",
        medoids={name: rows[image_id] for name, image_id in medoids.items() if image_id in rows},
    )


def map_script(tree: RunTree, points: MapPoints, language: Language) -> bytes:
    """The script that gives the browser the data of a run's map."""
    rows = points.rows.tolist()
    return map_data(
        points.points,
        [tree.image_ids[row] for row in rows],
        [tree.name(row) for row in rows],
        [tree.places[row] for row in rows],
        colourings(tree, points, language),
        language.gettext("(others)"),
    )


def _by_cluster(tree: RunTree, language: Language) -> Colouring:
    titles = {
        cluster.number: _named(cluster, cluster.number, language) for cluster in tree.clusters
    }
    return Colouring(
        language.gettext("cluster"),
        [titles[place.split("/")[1]] for place in tree.places],
        list(titles.values()),
        frozenset(titles[cluster.number] for cluster in tree.clusters if cluster.is_remainder),
        key="cluster",
        nodes={titles[cluster.number]: cluster.node for cluster in tree.clusters},
        medoids={titles[cluster.number]: cluster.medoid for cluster in tree.clusters},
    )


def _by_deepest_cluster(tree: RunTree, language: Language) -> Colouring:
    titles = {
        cluster.node: _named(cluster, cluster.node.partition("/")[2].replace("/", " › "), language)
        for cluster in tree.walk()
    }
    leaves = [cluster for cluster in tree.walk() if not cluster.clusters]
    return Colouring(
        language.gettext("deepest cluster"),
        [titles[place] for place in tree.places],
        [titles[cluster.node] for cluster in leaves],
        frozenset(titles[cluster.node] for cluster in leaves if cluster.is_remainder),
        key="deepest",
        nodes={titles[cluster.node]: cluster.node for cluster in leaves},
        medoids={titles[cluster.node]: cluster.medoid for cluster in leaves},
    )


def _named(cluster: ClusterView, place: str, language: Language) -> str:
    if cluster.is_remainder:
        place = place.removesuffix(cluster.number) + language.gettext("remainder")
    return f"{place} {cluster.name}".rstrip()


def _of_rows(
    tree: RunTree,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]:
    """Distance and certainty of each image in the root's clusters."""
    distances = np.full(len(tree.image_ids), np.nan, np.float32)
    certainties = np.full(len(tree.image_ids), np.nan, np.float32)
    for cluster in tree.clusters:
        distances[cluster.rows] = cluster.distances
        if cluster.certainties is not None:
            certainties[cluster.rows] = cluster.certainties
    return distances, None if np.isnan(certainties).all() else certainties


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
    from panoptic_assets.features.projections import project

    try:
        found = project("pca", read.vectors, 2, 0, None, {"whiten": False}).points
    except NotComputableError:  # one image, or none, lies anywhere
        found = np.zeros((len(read.image_ids), 2), np.float32)
    return ReadVectors(read.image_ids, found, read.source)

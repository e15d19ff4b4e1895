"""Maps: of the corpus and of runs.

Belongs here: what the page of a map says, and the two documents that its script draws: the points,
which are asked for once, and their colours, which change with every act. Does not belong here:
which points and colours there are (``review.run_map``), HTTP (``serve.live_pages``, ``serve.api``),
and drawing (``static/map_view.js``).
"""

import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field

from panoptic_assets.serve.page_address import LiveAddresses, PageAddress
from panoptic_assets.spec.fields import Parameters
from panoptic_assets.spec.keys import parse_run_key, vector_type_of
from panoptic_assets.spec.languages import ENGLISH, Language, language

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from panoptic_assets.project import Project
    from panoptic_assets.review.run_tree import RunTree
    from resources.errors import Message

RUNS_LISTED = 200
"""In the list of what a map can be of; the newest."""


class AskedMap(Parameters):
    """Which map."""

    run: str = Field(default="", description="A run; empty: the whole corpus.")
    projection: str = Field(
        default="", description="Such as `mini/umap`; empty: the best that there is."
    )


class AskedMapPage(AskedMap):
    """Which map, and how it is coloured."""

    colour: str = Field(
        default="",
        max_length=500,
        description="`cluster`, `deepest`, `folder`, `tag:PROPERTY`, `property:NAME`, `distance`, "
        "`run:KEY` for the clusters of another run.",
    )


class AskedMapColours(AskedMap):
    """The colours of a map, with their names."""

    colour: str = Field(
        default="",
        max_length=500,
        description="`run:KEY` for the clusters of another run, too; all others are always told.",
    )
    language: str = Field(default=ENGLISH, max_length=8, description="Of the names.")


@dataclass(frozen=True)
class LiveMap:
    """The points of a map as the store has them now."""

    tree: "RunTree | None"
    """Of its run; None for the corpus."""
    image_ids: list[str]
    """All that could have a point."""
    paths: list[str]
    vector_type: str
    projection: str | None
    """None: principal components, for lack of one."""
    title: "Message"
    rows: "npt.NDArray[np.int64]"
    """Of the images that have a point."""
    points: "npt.NDArray[np.float32]"

    @property
    def version(self) -> str:
        """Changes with the points."""
        from panoptic_assets.spec.records import vectors_hash

        return vectors_hash([self.image_ids[row] for row in self.rows], self.points)[:16]

    @property
    def region(self) -> str:
        """The projection of which all that lies in a region is on this map; empty: none.

        The map of a run has the points of its own images only.
        """
        return "" if self.tree else self.projection or ""


def read_map(project: "Project", asked: AskedMap) -> LiveMap:
    """Read where the images of a run, or of the corpus, lie.

    Raises:
        InputError: There is no such run or projection, or no image has a vector.
    """
    from panoptic_assets.review.run_map import find_projection, places_of

    store = project.store
    tree, image_ids, paths = _images(project, asked)
    features = tree.record.config["features"] if tree else project.layout.settings.vector_type
    if not tree and asked.projection and "/" in asked.projection:
        features = vector_type_of(asked.projection)
    vector_type = vector_type_of(features)
    projection = find_projection(store, features, asked.projection)
    title, rows, points = places_of(store, image_ids, vector_type, projection)
    return LiveMap(tree, image_ids, paths, vector_type, projection, title, rows, points)


def _images(project: "Project", asked: AskedMap) -> tuple["RunTree | None", list[str], list[str]]:
    """The run, its images or those of the corpus, and what they are called."""
    if asked.run:
        from panoptic_assets.clustering.table import Clusterings
        from panoptic_assets.review.run_tree import read_tree

        key = parse_run_key(asked.run)
        tree = read_tree(project.store, Clusterings(project.store, key), key)
        names = [tree.name(row) for row in range(len(tree.image_ids))]
        return tree, tree.image_ids, names
    from panoptic_assets.corpus.table import present_files

    present = present_files(project.store)
    return None, sorted(present), [present[image_id][0] for image_id in sorted(present)]


def map_points_document(project: "Project", asked: AskedMap) -> dict[str, Any]:
    """The points of a map with the ids and names of their images, packed for its script."""
    from panoptic_assets.review.map_data import packed_points

    found = read_map(project, asked)
    rows = found.rows.tolist()
    ids, names = ([of[row] for row in rows] for of in (found.image_ids, found.paths))
    return {"version": found.version, **packed_points(found.points, ids, names)}


def map_colours_document(project: "Project", asked: AskedMapColours) -> dict[str, Any]:
    """The ways to colour the points of a map; ``points`` is the version of those."""
    from panoptic_assets.review.map_data import packed_colours
    from panoptic_assets.review.run_map import MapPoints, by_clusters_of, colourings

    found = read_map(project, asked)
    spoken = language(asked.language)
    rows = found.rows.tolist()
    known = _known(project, found, spoken)
    if found.tree:
        points = MapPoints(found.title, found.rows, found.points, known)
        colours = colourings(found.tree, points, spoken)
        places = [found.tree.places[row] for row in rows]
    else:
        from panoptic_assets.review.image_colours import by_folder

        colours = [one.of(rows) for one in (by_folder(found.paths, spoken), *known)]
        places = [""] * len(rows)
    clusters = _clusters(found.tree)
    if other := _other_run(project, asked):
        colours.append(by_clusters_of(other, found.image_ids, spoken).of(rows))
        clusters |= _clusters(other)
    packed = packed_colours(places, colours, spoken.gettext("(others)"))
    return {"points": found.version, **packed, "clusters": clusters}


def _other_run(project: "Project", asked: AskedMapColours) -> "RunTree | None":
    """The run whose clusters colour the map of another, or of the corpus; None: not asked for.

    It may be gone since it was chosen: then the map has its other colours.
    """
    from panoptic_assets.clustering.table import Clusterings
    from panoptic_assets.review.run_tree import read_tree

    kind, _, key = asked.colour.partition(":")
    if kind != "run" or not key or key == asked.run:
        return None
    clusterings = Clusterings(project.store, parse_run_key(key))
    return read_tree(project.store, clusterings, key) if clusterings.find(key) else None


def _known(project: "Project", found: LiveMap, spoken: Language) -> list[Any]:
    from panoptic_assets.review.image_colours import by_properties, by_tags

    return [
        *by_tags(project.store, found.image_ids, spoken),
        *by_properties(project.store, found.image_ids, spoken),
    ]


def _clusters(tree: "RunTree | None") -> dict[str, dict[str, Any]]:
    """What the acts on the clusters of a run need, by node."""
    if tree is None:
        return {}
    return {
        cluster.node: {
            "size": cluster.size,
            "score": round(float(cluster.score), 1),
            "isRemainder": cluster.is_remainder,
            "isDivided": bool(cluster.clusters),
        }
        for cluster in tree.walk()
    }


def _map(project: "Project", asked: AskedMapPage, to: LiveAddresses) -> dict[str, Any]:
    from panoptic_assets.acts import seen
    from panoptic_assets.features.table import projections

    runs = [run for run in project.runs() if "/" not in run["key"]]
    runs.sort(key=lambda run: run["finished_at"], reverse=True)
    values: dict[str, Any] = {
        "asked": asked,
        "runs": [run["key"] for run in runs[:RUNS_LISTED]],
        "nb_runs": len(runs),
        "projections": projections(project.store),
    }
    vector_type = project.layout.settings.vector_type
    if not _has_vectors(project, vector_type) and not asked.run:
        return {**values, "found": None, "nb_images": 0, "vector_type": vector_type}
    found = read_map(project, asked)
    subjects = []
    if found.tree:
        subjects = [f"tree:{asked.run}", asked.run, *(one.node for one in found.tree.walk())]
    return {
        **values,
        "found": found,
        "nb_images": len(found.image_ids),
        "methods": _better(project, found),
        "tree": found.tree,
        "seen": seen(project.store, subjects),
    }


def _has_vectors(project: "Project", vector_type: str) -> bool:
    from panoptic_assets.features.table import vector_types

    return vector_type in vector_types(project.store)


def _better(project: "Project", found: LiveMap) -> list[dict[str, Any]]:
    """The projections to compute with one click where there are principal components at most."""
    from panoptic_assets.features.table import graph_info, projection_record

    now = projection_record(project.store, found.projection) if found.projection else None
    if now and "pca" not in now.cause.config["method"]:
        return []
    names = ["tsne"] if now else ["tsne", "pca"]
    # It needs another package, and the neighbours.
    if importlib.util.find_spec("umap") and graph_info(project.store, found.vector_type):
        names.insert(0, "umap")
    return [
        {
            "name": {"umap": "UMAP", "tsne": "t-SNE", "pca": "PCA"}[name],
            "body": {"key": f"{found.vector_type}/{name}", "config": {"method": {name: {}}}},
        }
        for name in names
    ]


MAP_PAGES: tuple[PageAddress, ...] = (
    PageAddress(
        "map", "corpus_map.html", AskedMapPage, _map, ("map_page.js", "sends.js"), ("map.css",)
    ),
)

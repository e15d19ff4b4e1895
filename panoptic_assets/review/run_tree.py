"""A run with everything nested under it, as reviewers see it.

Belongs here: reading one run's whole tree, its images, names and measures, into plain values. Does
not belong here: pictures and pages of it (``review``).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from panoptic_assets.clustering.clusters import REMAINDER_SCORE
from panoptic_assets.clustering.table import Clusterings
from panoptic_assets.corpus.table import present_files
from panoptic_assets.labels.table import names_of_clusters, read_labels
from panoptic_assets.spec.keys import REMAINDER, run_key_of
from panoptic_assets.spec.languages import N_
from panoptic_assets.spec.records import Record
from resources.lance import LanceStore


@dataclass(frozen=True)
class ClusterView:
    """A node of the tree: one cluster, or the remainder, of a clustering."""

    node: str
    """Its address, such as ``greek/3/0``."""
    size: int
    score: float
    medoid: int
    """Row of the image that is nearest to the cluster's mean."""
    method: str
    """Name of the method of its clustering."""
    name: str
    """What it is called beside its number; empty if nothing is known."""
    remark: str
    """What its label came with: a description, or why there is none."""
    stability: float | None
    baseline_score: float
    """Score of all images that its clustering divided."""
    rows: npt.NDArray[np.int64]
    """(size,) rows of :attr:`RunTree.image_ids`, the typical images first."""
    distances: npt.NDArray[np.float32]
    """(size,) cosine distance to the cluster's mean, in the order of ``rows``."""
    certainties: npt.NDArray[np.float32] | None
    """(size,) what the method says of belonging here, in [0, 1], if it says something."""
    clustering: Record | None
    """Of the clusters below; None if it was not divided."""
    clusters: "list[ClusterView]" = field(default_factory=list)
    """Those below, from the lowest score."""

    @property
    def is_remainder(self) -> bool:
        """Whether no cluster took these images."""
        return self.number == REMAINDER

    @property
    def number(self) -> str:
        """Its name in its clustering: ``3``, or ``remainder``."""
        return self.node.rpartition("/")[2]

    @property
    def certainty(self) -> str:
        """What :attr:`certainties` are called."""
        return N_("agreement") if self.method == "consensus" else N_("probability")

    @property
    def is_agreed(self) -> bool:
        """Whether it is a cluster on which several runs agree."""
        return self.method == "consensus" and not self.is_remainder

    @property
    def heat(self) -> int:
        """Its score in percent of what a random group would get, at most 100."""
        if self.score >= REMAINDER_SCORE or self.baseline_score <= 0:
            return 100
        return min(100, round(100 * self.score / self.baseline_score))

    def walk(self) -> "Iterator[ClusterView]":
        """This cluster and all below it, parents first."""
        yield self
        for cluster in self.clusters:
            yield from cluster.walk()


@dataclass(frozen=True)
class RunTree:
    """One run, its clusterings that are not stale, and its images."""

    record: Record
    image_ids: list[str]
    """Sorted: all images of the run, those of the remainder too."""
    paths: list[str | None]
    """For each image the path of its first file; None if all are missing by now."""
    shapes: list[tuple[int, int]]
    """For each image its width and height, in pixels."""
    clusters: list[ClusterView]
    """From the lowest score; the remainder last."""
    places: list[str]
    """For each image the deepest node that holds it."""
    stale: list[str]
    """Clusterings of the run that are left out, since the one above them was made again."""

    @property
    def method(self) -> str:
        """Name of the run's method."""
        return method_name(self.record)

    def walk(self) -> Iterator[ClusterView]:
        """Every cluster of the tree, parents first."""
        for cluster in self.clusters:
            yield from cluster.walk()

    def with_parents(self) -> "Iterator[tuple[ClusterView, list[ClusterView]]]":
        """Every cluster of the tree with those that it is a part of, from the top."""

        def walk(
            cluster: ClusterView, above: list[ClusterView]
        ) -> Iterator[tuple[ClusterView, list[ClusterView]]]:
            yield cluster, above
            for below in cluster.clusters:
                yield from walk(below, [*above, cluster])

        for cluster in self.clusters:
            yield from walk(cluster, [])

    def name(self, row: int) -> str:
        """What an image is called: the path of its first file, or its id if it is missing."""
        return self.paths[row] or f"(missing) {self.image_ids[row]}"


def titled(cluster: ClusterView) -> str:
    """A cluster's number, or ``remainder``, and its name when it has one."""
    return f"{cluster.number} {cluster.name}".rstrip()


def method_name(record: Record) -> str:
    """The name of the method of a record."""
    return next(iter(record.config["method"]))


def read_tree(store: LanceStore, clusterings: Clusterings, run_key: str) -> RunTree:
    """Read a run with everything nested under it.

    Args:
        store: The store.
        clusterings: Those of the run, or of all.
        run_key: The run.

    Raises:
        InputError: There is no such run.
    """
    record = clusterings.get(run_key)
    valid = clusterings.valid(run_key)
    image_ids = clusterings.assignments(run_key)["image_id"].to_pylist()
    present, sizes = present_files(store), image_sizes(store)
    labels = read_labels(store, clusterings, run_key)
    names = names_of_clusters(clusterings, run_key, labels)
    reader = _Reader(clusterings, valid, np.array(image_ids, dtype=object), names, labels)
    clusters = reader.clusters(run_key)
    places = [""] * len(image_ids)
    for cluster in (found for top in clusters for found in top.walk()):
        for row in cluster.rows.tolist():  # children come after their parents
            places[row] = cluster.node
    return RunTree(
        record,
        image_ids,
        [present.get(image_id, [None])[0] for image_id in image_ids],
        [sizes[image_id] for image_id in image_ids],
        clusters,
        places,
        sorted(key for key in clusterings.stale if run_key_of(key) == run_key),
    )


def image_sizes(store: LanceStore) -> dict[str, tuple[int, int]]:
    """Width and height of every image, in pixels."""
    rows = store.read("images", ["image_id", "width", "height"])
    columns = (rows[name].to_pylist() for name in ("image_id", "width", "height"))
    return {image_id: (width, height) for image_id, width, height in zip(*columns, strict=True)}


@dataclass(frozen=True)
class _Reader:
    clusterings: Clusterings
    valid: dict[str, Record]
    image_ids: npt.NDArray[Any]
    names: dict[str, str]
    labels: dict[str, dict[str, Any]]

    def clusters(self, key: str) -> list[ClusterView]:
        """The clusters of a clustering with all below them."""
        record = self.valid[key]
        method = method_name(record)
        members = self.clusterings.assignments(key)
        rows = self._rows_of(members["image_id"])
        distances = members["distance"].to_numpy()
        column = members["probability"]
        certainties = None if column.null_count == len(members) else column.to_numpy()
        # Of a consensus, who belongs here most is who the runs agree on most.
        first = -certainties if certainties is not None and method == "consensus" else distances
        names, codes = np.unique(members["cluster"].to_pylist(), return_inverse=True)
        order = np.lexsort((rows, distances, first, codes))
        parts = np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)
        of_cluster = dict(zip(names.tolist(), parts, strict=True))
        listed = self.clusterings.clusters(key)
        medoids = self._rows_of(listed["medoid"])
        found = []
        for cluster, medoid in zip(listed.to_pylist(), medoids.tolist(), strict=True):
            node = f"{key}/{cluster['cluster']}"
            label = self.labels.get(node, {})
            mine = of_cluster[cluster["cluster"]]
            found.append(
                ClusterView(
                    node=node,
                    size=cluster["size"],
                    score=cluster["score"],
                    medoid=medoid,
                    method=method,
                    name=self.names.get(node, ""),
                    remark=label.get("description") or label.get("reason") or "",
                    stability=cluster["stability"],
                    baseline_score=record.baseline_score,
                    rows=rows[mine],
                    distances=distances[mine],
                    certainties=None if certainties is None else certainties[mine],
                    clustering=self.valid.get(node),
                    clusters=self.clusters(node) if node in self.valid else [],
                )
            )
        return found

    def _rows_of(self, image_ids: pa.ChunkedArray) -> npt.NDArray[np.int64]:
        """Where some of the run's images are in :attr:`image_ids`."""
        return np.searchsorted(self.image_ids, np.array(image_ids.to_pylist(), dtype=object))

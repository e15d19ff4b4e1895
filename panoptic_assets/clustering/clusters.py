"""What a cutting of images into clusters is worth, in canonical form.

Belongs here: scores, canonical numbers, medoids and distances of labels that a method gave. Does
not belong here: the methods (``methods``), the tree of clusterings (``spec.tree``).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from panoptic_assets.spec.computation import REMAINDER, Labels, Vectors

REMAINDER_SCORE = 1000.0

_BLOCK = 4096
"""Rows whose differences to a mean are held in float64 at a time."""


@dataclass(frozen=True)
class Cluster:
    """One cluster of a clustering; ``number`` is -1 for the remainder."""

    number: int
    size: int
    score: float
    medoid: int
    """Row of the image that is nearest to the cluster's mean."""
    label: int
    """The number that its method gave it; -1 for the remainder."""


@dataclass(frozen=True)
class CanonicalClustering:
    """Canonical labels with what is known of each cluster and image."""

    labels: Labels
    """(n,) cluster number of each image, -1 for the remainder."""
    distances: Vectors
    """(n,) cosine distance of each image to its cluster's mean, in [0, 2]."""
    clusters: list[Cluster]
    """By ascending score; the remainder, if there is one, comes last."""
    baseline_score: float
    """Score of all images as one cluster: what a random group would get."""

    @property
    def mean_score(self) -> float:
        """Mean score of the clustered images' clusters; 1000 if all images are the remainder."""
        found = [cluster for cluster in self.clusters if cluster.number != REMAINDER]
        clustered = sum(cluster.size for cluster in found)
        total = sum(cluster.score * cluster.size for cluster in found)
        return total / clustered if clustered else REMAINDER_SCORE


def score(vectors: Vectors) -> float:
    """Coherence of a group of images: lower is tighter.

    ``100 · (1 − ‖mean‖²)``: for unit vectors, the mean squared distance to their mean, times 100
    (Σ‖xᵢ − m‖² / n = 1 − ‖m‖², the usual decomposition of variance). In [0, 100]; exactly 0 for
    identical images, and so also for a single one.

    Args:
        vectors: (n, d) unit vectors, n ≥ 1.
    """
    mean = vectors.mean(axis=0, dtype=np.float64)
    # The distances, not 1 − ‖mean‖²: float32 vectors are of unit length to some 1e-7 only, which
    # gave identical images scores up to 2e-5, in an order that meant nothing.
    blocks = (vectors[start : start + _BLOCK] for start in range(0, len(vectors), _BLOCK))
    squared = sum(float(np.square(block - mean).sum()) for block in blocks)
    # Rounded so that noise in the last bits of a sum cannot reorder equal clusters.
    return round(min(100.0 * squared / len(vectors), 100.0), 6)


def canonical(labels: Labels, vectors: Vectors) -> CanonicalClustering:
    """Number clusters by score, then size, then first row, so that equal partitions look equal.

    Args:
        labels: (n,) integers, in any numbering; -1 is the remainder.
        vectors: (n, d) unit vectors, rows in the order of image id.

    Raises:
        ValueError: Labels and vectors differ in length, or there are none.
    """
    return _canonical_clustering(labels, vectors, keep_numbers=False)


def numbered(labels: Labels, vectors: Vectors) -> CanonicalClustering:
    """Describe labels whose numbers are given, and stay; clusters are listed as in `canonical`.

    Args:
        labels: (n,) cluster numbers; -1 is the remainder.
        vectors: (n, d) unit vectors, rows in the order of image id.

    Raises:
        ValueError: Labels and vectors differ in length, or there are none.
    """
    return _canonical_clustering(labels, vectors, keep_numbers=True)


def renumbered(clustering: CanonicalClustering, numbers: Mapping[int, int]) -> CanonicalClustering:
    """A clustering whose clusters have other numbers, each its own.

    Args:
        clustering: The clustering; it is not changed.
        numbers: For each number of its clusters the one to have instead.
    """
    carried = {**numbers, REMAINDER: REMAINDER}
    labels = clustering.labels.copy()
    for cluster in clustering.clusters:
        labels[clustering.labels == cluster.number] = carried[cluster.number]
    clusters = [replace(found, number=carried[found.number]) for found in clustering.clusters]
    return replace(clustering, labels=labels, clusters=clusters)


def _canonical_clustering(
    labels: Labels, vectors: Vectors, keep_numbers: bool
) -> CanonicalClustering:
    if len(labels) != len(vectors) or not len(labels):
        raise ValueError(f"{len(labels)} labels cannot describe {len(vectors)} images.")
    by_label = np.argsort(labels, kind="stable")
    groups = np.split(by_label, np.flatnonzero(np.diff(labels[by_label])) + 1)
    scored = sorted(
        (score(vectors[rows]), len(rows), int(rows[0]), rows)
        for rows in groups
        if labels[rows[0]] != REMAINDER
    )
    ordered = [(group_score, rows) for group_score, _, _, rows in scored]
    remainder = np.flatnonzero(labels == REMAINDER)

    numbers = np.full(len(labels), REMAINDER, dtype=np.int64)
    distances = np.empty(len(labels), dtype=np.float32)
    clusters = []
    for place, (group_score, rows) in enumerate(ordered):
        label = int(labels[rows[0]])
        number = label if keep_numbers else place
        numbers[rows] = number
        medoid = _describe(rows, vectors, distances)
        clusters.append(Cluster(number, len(rows), group_score, medoid, label))
    if len(remainder):
        medoid = _describe(remainder, vectors, distances)
        clusters.append(Cluster(REMAINDER, len(remainder), REMAINDER_SCORE, medoid, REMAINDER))
    return CanonicalClustering(numbers, distances, clusters, score(vectors))


def with_remainder_assigned(clustering: CanonicalClustering, vectors: Vectors) -> Labels:
    """The clustering with its remainder put into the nearest clusters, by cosine to their means.

    Args:
        clustering: The clustering; it is not changed.
        vectors: (n, d) the unit vectors that it was made canonical with.

    Returns:
        (n,) cluster numbers; still -1 for the remainder when there is no cluster.
    """
    numbers = clustering.labels.copy()
    found = [cluster.number for cluster in clustering.clusters if cluster.number != REMAINDER]
    if not found:
        return numbers
    directions = np.stack([_direction(vectors[numbers == number]) for number in found])
    rows = np.flatnonzero(numbers == REMAINDER)
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        # einsum's sums do not depend on how many rows and threads there are, a product's may.
        cosines = np.einsum("id,kd->ik", vectors[block].astype(np.float64), directions)
        numbers[block] = np.array(found)[np.argmax(cosines, axis=1)]
    return numbers


def _direction(vectors: Vectors) -> npt.NDArray[np.float64]:
    """The mean's direction; zero when opposite vectors leave none."""
    mean = vectors.mean(axis=0, dtype=np.float64)
    length = float(np.linalg.norm(mean))
    return mean / length if length > 1e-12 else np.zeros_like(mean)


def _describe(rows: npt.NDArray[np.intp], vectors: Vectors, distances: Vectors) -> int:
    """Enter the distances of some rows to their mean; return the nearest row."""
    # Without a direction every image is equally far from the mean.
    cosine = vectors[rows] @ _direction(vectors[rows])
    distances[rows] = np.clip(1.0 - cosine, 0.0, 2.0)
    return int(rows[int(np.argmin(distances[rows]))])

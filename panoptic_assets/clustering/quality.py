"""How good one clustering is: what can be said of it without knowing the right one.

Belongs here: measures of clusters on the vectors, how stable clusters are, and which images show
what is in one. Does not belong here: the score, by which clusters are ordered (``clusters``);
comparing two clusterings.

All distances are Euclidean, between unit vectors: their square is twice the cosine distance, and
the measures of Davies and Bouldin and of Calinski and Harabasz are defined for it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from panoptic_assets.clustering.algorithms.interface import Data, Outcome
from panoptic_assets.spec.computation import REMAINDER, Labels, NotComputableError, Rows, Vectors

_SAMPLE = 5_000
"""Images above which the silhouette is of a sample: it compares all pairs."""
_WORKING_MIB = 64
"""Memory for the distances of the silhouette at a time; scikit-learn would take 1 GiB."""
_SUBSAMPLE = 0.8
_BLOCK = 1024

Exemplars = Literal["nearest", "farthest", "random"]


@dataclass(frozen=True)
class MeasuredQuality:
    """Measures of one clustering, of its clustered images alone: the remainder is left out."""

    silhouette: float | None
    """In [-1, 1], higher is better: how much nearer images are to their own cluster than to the
    next one, on average (Rousseeuw, 1987). 0 for an image alone in its cluster. None with fewer
    than two clusters, or if each image is alone."""
    silhouette_sampled: int | None
    """Of how many images the silhouette is, if not of all."""
    davies_bouldin: float | None
    """0 or more, lower is better: for each cluster, the most that its radius and that of another
    amount to by the distance of their means, on average (Davies and Bouldin, 1979). None as
    above."""
    calinski_harabasz: float | None
    """0 or more, higher is better: variance between clusters by the variance in them, both by
    their degrees of freedom (Calinski and Harabasz, 1974). Not to be compared between different
    sets of images. None as above, or if the images of each cluster are identical."""


def quality(
    vectors: Vectors, labels: Labels, seed: int = 0, sample: int = _SAMPLE
) -> MeasuredQuality:
    """Measure a clustering.

    Memory beside the vectors is linear in the number of images, and of clusters.

    Args:
        vectors: (n, d) float32 unit vectors.
        labels: (n,) int64, -1 for the remainder.
        seed: Of the sample.
        sample: Images of which the silhouette is computed at most.

    Raises:
        ValueError: Labels and vectors differ in length.
    """
    from threadpoolctl import threadpool_limits

    if len(labels) != len(vectors):
        raise ValueError(f"{len(labels)} labels cannot describe {len(vectors)} images.")
    rows = np.flatnonzero(labels != REMAINDER)
    _, groups = np.unique(labels[rows], return_inverse=True)
    nb_groups = int(groups.max(initial=-1)) + 1
    if not 2 <= nb_groups < len(rows):
        return MeasuredQuality(None, None, None, None)
    sampled = len(rows) > sample
    chosen = np.arange(len(rows))
    if sampled:
        chosen = np.sort(np.random.default_rng(seed).permutation(len(rows))[:sample])
    with threadpool_limits(limits=1):
        silhouette = _silhouette(vectors[rows[chosen]], groups[chosen])
        means, radii, within = _shapes(vectors, rows, groups, nb_groups)
        davies_bouldin = _davies_bouldin(means, radii)
    sizes = np.bincount(groups)
    centre = sizes @ means / len(rows)
    between = float(sizes @ np.square(means - centre).sum(axis=1))
    calinski_harabasz = None
    # What is left of identical vectors, whose mean is rounded in its last bits.
    if within > 1e-12 * len(rows):
        calinski_harabasz = between / (nb_groups - 1) / (within / (len(rows) - nb_groups))
    return MeasuredQuality(
        silhouette, len(chosen) if sampled else None, davies_bouldin, calinski_harabasz
    )


def stability(
    compute: Callable[[Data, int], Outcome],
    data: Data,
    labels: Labels,
    seed: int,
    rounds: Iterable[object],
) -> dict[int, float]:
    """How surely each cluster comes back when a fifth of the images is missing.

    For each of some subsamples of 80 % of the images, drawn without replacement, the clustering is
    computed again, and for each cluster the new cluster is found that overlaps most with what is
    left of it: the images in both, by the images in either (Jaccard). The mean over the subsamples
    is Hennig's stability (2007); he calls clusters stable from .75 on, and dissolved below .5.

    A subsample that cannot be divided counts as 0. One that has no image of a cluster does not
    count for it.

    Args:
        compute: The method with its parameters, of data and a seed.
        data: (n) images that were divided.
        labels: (n,) int64, -1 for the remainder.
        seed: Of the subsamples, and of each clustering.
        rounds: One item for each subsample; what the items are does not matter.

    Returns:
        For each cluster, ascending, its stability in [0, 1]; 0 if no subsample has an image of it.

    Raises:
        ValueError: Labels and data differ in length.
    """
    if len(labels) != len(data):
        raise ValueError(f"{len(labels)} labels cannot describe {len(data)} images.")
    found, groups = np.unique(labels, return_inverse=True)
    overlaps, counted = np.zeros(len(found)), np.zeros(len(found), np.int64)
    size = max(1, round(_SUBSAMPLE * len(data)))
    generator = np.random.default_rng(seed)
    for _ in rounds:
        rows = np.sort(generator.permutation(len(data))[:size])
        counted[np.unique(groups[rows])] += 1
        try:
            again = compute(data.take(rows), seed).labels
        except NotComputableError:
            continue
        overlaps += _best_overlaps(groups[rows], again, len(found))
    means = overlaps / np.maximum(counted, 1)
    return {
        int(label): float(mean)
        for label, mean in zip(found, means, strict=True)
        if label != REMAINDER
    }


def exemplars(
    rows: Rows, distances: npt.NDArray[np.floating], which: Exemplars, number: int, seed: int
) -> Rows:
    """Images that show what is in a cluster.

    Args:
        rows: (m,) rows of its images.
        distances: (m,) distance of each of them to the cluster's mean.
        which: ``nearest`` to the mean (the typical ones) or ``farthest`` from it (the doubtful
            ones), in that order and then by row; or ``random`` ones, by row.
        number: How many, if there are so many.
        seed: Of the random ones; they do not depend on the order of ``rows``.

    Returns:
        (min(number, m),) int64.
    """
    if which == "random":
        drawn = np.random.default_rng(seed).permutation(len(rows))[:number]
        return np.sort(np.sort(rows)[drawn])
    order = np.lexsort((rows, distances if which == "nearest" else -distances))
    return rows[order[:number]]


def _silhouette(vectors: Vectors, groups: Labels) -> float | None:
    from sklearn import config_context
    from sklearn.metrics import silhouette_score

    if not 2 <= len(np.unique(groups)) < len(groups):
        return None
    with config_context(working_memory=_WORKING_MIB):
        return float(silhouette_score(vectors, groups))


def _shapes(
    vectors: Vectors, rows: Rows, groups: Labels, nb_groups: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], float]:
    """Of each cluster the mean and the mean distance to it; the sum of all squared distances."""
    means = np.empty((nb_groups, vectors.shape[1]))
    radii = np.empty(nb_groups)
    within = 0.0
    order = np.argsort(groups, kind="stable")
    for group, places in enumerate(np.split(order, np.cumsum(np.bincount(groups))[:-1])):
        own = rows[places]
        means[group] = vectors[own].mean(axis=0, dtype=np.float64)
        total = 0.0
        for start in range(0, len(own), _BLOCK):
            apart = vectors[own[start : start + _BLOCK]] - means[group]
            squared = np.square(apart).sum(axis=1)
            total += float(np.sqrt(squared).sum())
            within += float(squared.sum())
        radii[group] = total / len(own)
    return means, radii, within


def _davies_bouldin(means: npt.NDArray[np.float64], radii: npt.NDArray[np.float64]) -> float:
    from sklearn.metrics import pairwise_distances

    worst = np.empty(len(means))
    for start in range(0, len(means), _BLOCK):
        distances = pairwise_distances(means[start : start + _BLOCK], means)
        # As scikit-learn has it: clusters of one mean, a cluster itself among them, do not count.
        distances[distances < 1e-7] = np.inf
        ratios = (radii[start : start + _BLOCK, None] + radii) / distances
        worst[start : start + _BLOCK] = ratios.max(axis=1)
    return float(worst.mean())


def _best_overlaps(groups: Labels, others: Labels, nb_groups: int) -> npt.NDArray[np.float64]:
    """(nb_groups,) largest Jaccard overlap of each group with a cluster of the other labels."""
    best = np.zeros(nb_groups)
    clustered = np.flatnonzero(others != REMAINDER)
    if not len(clustered):
        return best
    _, columns = np.unique(others[clustered], return_inverse=True)
    nb_columns = int(columns.max()) + 1
    # Pairs that occur alone: all of them would be the square of the number of clusters.
    pairs, both = np.unique(groups[clustered] * nb_columns + columns, return_counts=True)
    one, two = np.divmod(pairs, nb_columns)
    either = np.bincount(groups, minlength=nb_groups)[one] + np.bincount(columns)[two] - both
    np.maximum.at(best, one, both / either)
    return best

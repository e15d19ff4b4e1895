"""What becomes of a clustering when its corpus changes: assigning newcomers, drift, carried
numbers.

Belongs here: the nearest of the clusters that there are, how unlike these the newcomers are, and
which cluster keeps which number when all are computed again. Does not belong here: which images are
new, policies, and records (``upkeep.refreshing``).

Newcomers are compared with the clusters as they were clustered, never with newcomers that were
assigned before: so what is assigned depends on the clusters and on the image alone, and not on how
often, or in what order, images came.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from panoptic_assets.spec.computation import REMAINDER, Labels, Vectors
from panoptic_assets.tags.carry_over import LEAST_OVERLAP, paired

Numbers = npt.NDArray[np.float64]

UNUSUAL = 0.05
"""Share of the images of a cluster that are the farthest from it; of newcomers like them, as many
are expected to be as far."""
FEWEST = 20
"""Newcomers from whom on their novelty says something: of 20 like the others, more than 5 are as
far as the farthest 5 % once in 3,000 times (binomial distribution)."""

_BLOCK = 4096
"""Rows whose products with the means are held in float64 at a time."""
_DECIMALS = 6
"""float32 vectors are of unit length to some 1e-7 only."""


@dataclass(frozen=True)
class Clusters:
    """The clusters of a clustering as they were clustered."""

    numbers: Labels
    """(k,) ascending; the remainder is none of them."""
    directions: Numbers
    """(k, d) of their means, of unit length; zero where opposite vectors leave none."""
    radii: Numbers
    """(k,) the greatest distance of a cluster's own image to the mean of its others; 0 for one."""
    usual: tuple[Numbers, ...]
    """For each cluster, sorted: the distances to it of all images that were divided, those of the
    remainder too, to which it is the nearest. An image is compared with the mean of the others, as
    a newcomer is."""


@dataclass(frozen=True)
class Nearest:
    """The nearest cluster of each of some images."""

    places: npt.NDArray[np.int64]
    """(m,) where it is in :attr:`Clusters.numbers`."""
    distances: Numbers
    """(m,) cosine distance to its mean, in [0, 2]."""


def described_clusters(labels: Labels, vectors: Vectors) -> Clusters:
    """What newcomers are compared with.

    Args:
        labels: (n,) the number of each image's cluster, -1 for the remainder.
        vectors: (n, d) unit vectors.
    """
    numbers = np.unique(labels[labels != REMAINDER])
    sums = np.zeros((len(numbers), vectors.shape[1]))
    for place, number in enumerate(numbers):
        sums[place] = vectors[labels == number].sum(axis=0, dtype=np.float64)
    sizes = np.array([np.count_nonzero(labels == number) for number in numbers])
    directions = _directions(sums)
    own = np.where(labels == REMAINDER, -1, np.searchsorted(numbers, labels))
    radii = np.zeros(len(numbers))
    places, distances = np.full(len(labels), -1), np.zeros(len(labels))
    for start in range(0, len(labels) if len(numbers) else 0, _BLOCK):
        block = vectors[start : start + _BLOCK].astype(np.float64)
        mine = own[start : start + _BLOCK]
        cosines = _cosines(block, directions)
        rows = np.flatnonzero(mine >= 0)
        # Its own mean is drawn to an image, most in a small cluster, as a newcomer's is not.
        others = _directions(sums[mine[rows]] - block[rows])
        without = np.einsum("id,id->i", block[rows], others)
        without[sizes[mine[rows]] == 1] = -np.inf  # nothing is left of its cluster
        cosines[rows, mine[rows]] = without
        left = np.round(1.0 - without, _DECIMALS)
        np.maximum.at(radii, mine[rows], np.where(np.isfinite(left), left, 0.0))
        best = np.argmax(cosines, axis=1)
        distances[start : start + _BLOCK] = 1.0 - cosines[np.arange(len(block)), best]
        places[start : start + _BLOCK] = best
    distances = np.round(distances, _DECIMALS)
    known = np.isfinite(distances)
    usual = tuple(np.sort(distances[known & (places == place)]) for place in range(len(numbers)))
    return Clusters(numbers, directions, radii, usual)


def nearest_clusters(clusters: Clusters, vectors: Vectors) -> Nearest:
    """The nearest cluster of each of some newcomers, by cosine to the clusters' means.

    Of clusters that are equally near, the one with the lowest number.

    Args:
        clusters: One or more.
        vectors: (m, d) unit vectors.
    """
    places = np.empty(len(vectors), np.int64)
    distances = np.empty(len(vectors))
    for start in range(0, len(vectors), _BLOCK):
        cosines = _cosines(vectors[start : start + _BLOCK].astype(np.float64), clusters.directions)
        best = np.argmax(cosines, axis=1)
        places[start : start + _BLOCK] = best
        distances[start : start + _BLOCK] = 1.0 - cosines[np.arange(len(best)), best]
    return Nearest(places, np.round(distances, _DECIMALS))


def assigned(clusters: Clusters, vectors: Vectors, leaves_remainder: bool) -> Labels:
    """The number of the cluster that each newcomer goes to.

    Where the clustering may leave a remainder, an image that is farther from its nearest cluster
    than every image of this is from its others goes there. All do where there is no cluster.

    Args:
        clusters: The clusters as they were clustered.
        vectors: (m, d) unit vectors.
        leaves_remainder: Whether an image may be in none of them.

    Returns:
        (m,) numbers, -1 for the remainder.
    """
    if not len(clusters.numbers):
        return np.full(len(vectors), REMAINDER, np.int64)
    found = nearest_clusters(clusters, vectors)
    labels = clusters.numbers[found.places].astype(np.int64)
    if leaves_remainder:
        labels[found.distances > clusters.radii[found.places]] = REMAINDER
    return labels


def novelty(clusters: Clusters, vectors: Vectors) -> float | None:
    """The share of newcomers that are farther from their cluster than 95 % of its usual images.

    If the newcomers are like the images that were clustered, 0.05 is expected, however small the
    clusters are and whatever their shape: a newcomer counts by the probability that its smoothed
    conformal p-value is at most 0.05, with its distance to the nearest mean as the measure of
    nonconformity, among the images of that cluster alone (Vovk, Gammerman and Shafer, "Algorithmic
    Learning in a Random World", 2005, sections 2.3 and 4.5: smoothed and Mondrian predictors). Of a
    cluster of n images the farthest newcomer so counts as min(1, 0.05 (n + 1)): few images cannot
    say more.

    Args:
        clusters: The clusters as they were clustered.
        vectors: (m, d) unit vectors of the newcomers.

    Returns:
        In [0, 1]; None without newcomers, or without clusters.
    """
    if not len(vectors) or not len(clusters.numbers):
        return None
    found = nearest_clusters(clusters, vectors)
    counted = np.empty(len(vectors))
    for place, usual in enumerate(clusters.usual):
        mine = found.places == place
        as_far = len(usual) - np.searchsorted(usual, found.distances[mine], side="left")
        counted[mine] = np.clip(UNUSUAL * (len(usual) + 1) - as_far, 0.0, 1.0)
    return round(float(counted.mean()), 4)


def carried_numbers(
    labels: Labels, before: Labels, nb_clusters: int, next_number: int
) -> dict[int, int]:
    """The number that each cluster keeps, or gets, when a clustering is computed again.

    Clusters keep the numbers of those with which they share images: in the pairing of the greatest
    total overlap (Kuhn, 1955), where overlap is the Jaccard index among the images that both
    clusterings have; less than 0.1 is none. The others get numbers that were never used.

    Args:
        labels: (n,) new numbers, 0 to ``nb_clusters`` - 1, of the images that both have; -1 for the
            remainder.
        before: (n,) their old numbers; -1 for the remainder.
        nb_clusters: New clusters, some of which may have none of these images.
        next_number: The least number that was never used.

    Returns:
        For each new number the carried one.
    """
    olds = sorted(set(before.tolist()) - {REMAINDER})
    news = list(range(nb_clusters))
    place = {number: row for row, number in enumerate(olds)}
    shared = np.zeros((len(olds), nb_clusters))
    in_both = (labels != REMAINDER) & (before != REMAINDER)
    rows = [place[number] for number in before[in_both].tolist()]
    np.add.at(shared, (rows, labels[in_both].tolist()), 1)
    of_old = np.array([np.count_nonzero(before == number) for number in olds])
    of_new = np.bincount(labels[labels != REMAINDER], minlength=nb_clusters)
    either = of_old[:, None] + of_new[None, :] - shared if olds else shared
    overlap = shared / np.maximum(either, 1)
    carried = {new: old for old, new in paired(olds, news, overlap, LEAST_OVERLAP)}
    free = iter(range(next_number, next_number + nb_clusters))
    return {new: carried[new] if new in carried else next(free) for new in news}


def nb_moved(labels: Iterable[str], before: Iterable[str]) -> int:
    """How many images, of those that two clusterings have, are in another cluster."""
    return sum(new != old for new, old in zip(labels, before, strict=True))


def _cosines(vectors: Numbers, directions: Numbers) -> Numbers:
    # einsum's sums do not depend on how many rows and threads there are, a product's may.
    return np.einsum("id,kd->ik", vectors, directions)


def _directions(sums: Numbers) -> Numbers:
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    return np.where(lengths > 1e-9, sums / np.maximum(lengths, 1e-300), 0.0)

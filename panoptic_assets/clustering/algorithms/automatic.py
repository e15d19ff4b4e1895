"""An automatic number of clusters, and a remainder.

Belongs here: how clusters are found in the graph of nearest neighbours, and which images belong to
none. Does not belong here: the neighbours themselves (``neighbors``), methods that are told a
number.

Clusters are communities of the neighbour graph: the clustering in which images share more links
within clusters than chance would have it, by Louvain's algorithm. What else was tried is in
``tests/benchmarks/clustering.py``, with figures. In short: HDBSCAN, by three packages or on this
graph, leaves half of the images in the remainder, or joins most of them in one cluster; its
adjusted Rand index on labelled images is a half to a tenth of that of communities.
"""

from collections import deque
from typing import Any

import numpy as np
import numpy.typing as npt

from panoptic_assets.clustering.algorithms.interface import Data, Outcome, distinct
from panoptic_assets.spec.computation import Labels, Rows, Vectors
from resources.errors import noted

_MIN_IMAGES = 5
"""Images that a cluster has at least, and distinct ones without which nothing is divided."""
_NEIGHBORS = 8
"""Links of each image. 10 change the Rand index by .02 at most, 5 take .1 away from one collection,
30 from most."""
_STORED = 50
"""Neighbours that are known at no cost; enough to find 8 others behind the copies of an image."""
_RESOLUTION = 1.5
"""Of modularity. With 1, clusters are a third to a half as many as classes; with 2, the Rand index
is .01 to .03 better where there are many classes, and .08 worse with the ten digits."""
_MAJORITY = 0.5
"""Share of an image's links that must lead into its cluster, and of a cluster's into itself."""
_LOOSEST = 0.15
"""Of the links that lead into the cluster from the image in its middle: with less, an image is far
from all others, and only happens to be nearest to this cluster."""
_SCALE_NEIGHBOR = 7
"""The neighbour at whose distance a point's surroundings end (Zelnik-Manor and Perona, 2004)."""
_GATHERED = 1 << 21
"""Numbers of the neighbours' vectors that are copied at once: 8 MB."""
_LEAST_GAIN = 1e-12
"""Smaller gains are rounding, and could go in circles."""

Weights = npt.NDArray[np.float64]


def automatic(data: Data, seed: int) -> Outcome:
    """Communities of the neighbour graph; images without a majority in one are the remainder.

    Each image is linked to its 8 nearest neighbours, the stronger the more alike they are once the
    mean of all images is taken away: what all have in common tells nothing. Modularity with a
    resolution (Reichardt and Bornholdt, 2006) is raised by Louvain's algorithm (Blondel et al.,
    2008), its images in a queue (Traag et al., 2019), its levels refined on the way back (Rotta
    and Noack, 2011). A community is kept if it is one in the weak sense of Radicchi et al. (2004),
    more than half of its links lead into itself, and an image is kept in it if that is true of its
    own links and they are no fewer than .15 of those of the image in its middle. Noise has
    communities as well, but of random vectors of 512 numbers only .3 to .4 of their links lead into
    themselves; in collections of images .57 and more do. Copies of an image count
    as one.

    ``seed`` is not used: nothing is random, images are visited in the order of the rows.

    Args:
        data: Unit vectors are compared by cosine, the points of a projection by distance.
        seed: Not used.

    Returns:
        Labels, 5 images or more with each, and the share of each image's links that lead into its
        cluster as its probability, 0 in the remainder. Notes say when nothing was cut.
    """
    first, places = distinct(data.points)
    if len(first) < _MIN_IMAGES:
        return _undivided(len(data), len(first))
    links = _links(data.points[first], data.unit, _nearest(data, first, places))
    labels = _communities(links)
    shares = _shares(links, labels)
    labels, shares = labels[places], shares[places]
    sizes = np.bincount(labels[shares > 0], minlength=labels.max() + 1)
    shares[sizes[labels] < _MIN_IMAGES] = 0
    labels = np.where(shares > 0, labels, -1)
    found = np.unique(labels[labels >= 0])
    return Outcome(labels, shares.astype(np.float32), notes=_notes(len(found), labels))


def _undivided(nb_images: int, nb_distinct: int) -> Outcome:
    what = (
        noted("All images are identical: they are one cluster.")
        if nb_distinct == 1
        else noted(
            "Only {nb_distinct} images differ, too few to be divided automatically: they are one "
            "cluster. A number, such as `nb_clusters: 2`, forces a cut.",
            nb_distinct=nb_distinct,
        )
    )
    if nb_images == 1:
        what = noted("There is one image: it is one cluster.")
    return Outcome(np.zeros(nb_images, np.int64), np.ones(nb_images, np.float32), notes=(what,))


def _notes(nb_clusters: int, labels: Labels) -> tuple[str, ...]:
    if nb_clusters == 0:
        return (
            noted(
                "No cluster was found, all images are the remainder. A number, such as "
                "`nb_clusters: 2`, forces a cut."
            ),
        )
    if nb_clusters > 1:
        return ()
    rest = np.count_nonzero(labels == -1)
    if not rest:
        return (
            noted("Only one cluster was found. A number, such as `nb_clusters: 2`, forces a cut."),
        )
    return (
        noted(
            "Only one cluster was found, with {rest} images in the remainder. A number, such as "
            "`nb_clusters: 2`, forces a cut.",
            rest=rest,
        ),
    )


def _nearest(data: Data, first: Rows, places: Rows) -> Rows:
    """(m, k) places of the nearest neighbours of the m distinct images among those."""
    if len(first) == len(data):
        return data.nearest(_NEIGHBORS)
    wanted = min(_NEIGHBORS, len(first) - 1)
    # Of copies, the first counts: what is left is what would be found without the others.
    known = places[data.nearest(_STORED)[first]]
    order = np.argsort(known, axis=1, kind="stable")
    in_order = np.take_along_axis(known, order, axis=1)
    again = np.zeros(known.shape, bool)
    repeated = np.zeros((len(first), 1), bool), in_order[:, 1:] == in_order[:, :-1]
    np.put_along_axis(again, order, np.hstack(repeated), axis=1)
    again |= known == np.arange(len(first))[:, None]
    if (known.shape[1] - again.sum(axis=1) < wanted).any():
        return data.take(first).nearest(_NEIGHBORS)
    kept = np.argsort(again, axis=1, kind="stable")[:, :wanted]
    return np.take_along_axis(known, kept, axis=1)


def _links(points: Vectors, unit: bool, nearest: Rows) -> Any:
    """(n, n) symmetric sparse float64: how strongly images are linked, 0 to 2; none to itself."""
    from scipy.sparse import csr_matrix

    nb_images, k = nearest.shape
    if unit:
        strength = np.square(np.maximum(_centred_cosines(points, nearest), 0))
    else:
        strength = _affinities(points, nearest)
    from_rows = np.repeat(np.arange(nb_images), k)
    one_way = csr_matrix(
        (strength.ravel(), (from_rows, nearest.ravel())), shape=(nb_images, nb_images)
    )
    links = (one_way + one_way.T).tocsr()
    links.eliminate_zeros()
    links.sort_indices()
    return links


def _centred_cosines(vectors: Vectors, nearest: Rows) -> Weights:
    """(n, k) float64 cosines after the mean was subtracted; 0 for a vector that is the mean.

    No product of matrices: a BLAS on another number of threads would add in another order.
    """
    centred = vectors - vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    lengths = np.sqrt(np.einsum("ij,ij->i", centred, centred))
    centred /= np.where(lengths > 0, lengths, 1)[:, None]
    cosines = np.empty(nearest.shape)
    block = max(1, _GATHERED // (nearest.shape[1] * vectors.shape[1]))
    for start in range(0, len(vectors), block):
        rows = slice(start, start + block)
        cosines[rows] = np.einsum("id,ikd->ik", centred[rows], centred[nearest[rows]])
    return cosines


def _affinities(points: Vectors, nearest: Rows) -> Weights:
    """(n, k) float64 in (0, 1]: closeness in units of both points' own surroundings."""
    points = points.astype(np.float64)
    gaps = points[:, None, :] - points[nearest]
    squares = np.square(gaps).sum(axis=2)
    scale = np.sqrt(squares[:, min(_SCALE_NEIGHBOR, nearest.shape[1]) - 1])
    scale = np.maximum(scale, np.finfo(np.float64).tiny)
    return np.exp(-squares / scale[:, None] / scale[nearest])


def _communities(links: Any) -> Labels:
    """(n,) int64 from 0: the clustering of highest modularity that was found."""
    from scipy.sparse import csr_matrix

    total = float(links.sum())
    levels = []
    while True:
        nb_nodes = links.shape[0]
        labels, moved = _moved(links, np.arange(nb_nodes), total)
        if not moved:
            break
        labels = np.unique(labels, return_inverse=True)[1].astype(np.int64)
        levels.append((links, labels))
        ones = np.ones(nb_nodes)
        member = csr_matrix((ones, (np.arange(nb_nodes), labels)))
        links = (member.T @ links @ member).tocsr()
        links.sort_indices()
    labels = np.arange(links.shape[0])
    for links, members in reversed(levels):
        labels, _ = _moved(links, labels[members], total)
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


def _moved(links: Any, labels: Labels, total: float) -> tuple[Labels, bool]:
    """Move nodes one by one to where modularity is highest, until none gains; whether any moved.

    In plain Python: numpy is slower at sums of eight numbers, and a compiler would take longer to
    start than all of this takes for 100,000 images.
    """
    starts, others, weights = links.indptr.tolist(), links.indices.tolist(), links.data.tolist()
    degrees = np.asarray(links.sum(axis=1)).ravel()
    degree = degrees.tolist()
    degree_of = np.bincount(labels, degrees, minlength=len(degrees)).tolist()
    of = labels.tolist()
    waiting = deque(range(len(of)))
    is_waiting = [True] * len(of)
    any_moved = False
    factor = _RESOLUTION / total if total else 0.0
    while waiting:
        node = waiting.popleft()
        is_waiting[node] = False
        here = of[node]
        near = others[starts[node] : starts[node + 1]]
        into: dict[int, float] = {}
        for other, weight in zip(near, weights[starts[node] : starts[node + 1]], strict=True):
            if other != node:
                label = of[other]
                into[label] = into.get(label, 0.0) + weight
        degree_of[here] -= degree[node]
        expected = factor * degree[node]
        best, most = here, into.get(here, 0.0) - expected * degree_of[here] + _LEAST_GAIN
        for label, weight in into.items():
            gain = weight - expected * degree_of[label]
            if gain > most:
                best, most = label, gain
        degree_of[best] += degree[node]
        if best != here:
            of[node] = best
            any_moved = True
            for other in near:
                if of[other] != best and not is_waiting[other]:
                    is_waiting[other] = True
                    waiting.append(other)
    return np.array(of, np.int64), any_moved


def _shares(links: Any, labels: Labels) -> Weights:
    """(n,) share of each image's links that lead into its community; 0 where it does not belong."""
    rows = np.repeat(np.arange(links.shape[0]), np.diff(links.indptr))
    inside = np.where(labels[rows] == labels[links.indices], links.data, 0.0)
    within = np.bincount(rows, inside, minlength=len(labels)).astype(np.float64)
    degrees = np.bincount(rows, links.data, minlength=len(labels)).astype(np.float64)
    shares = np.divide(within, degrees, out=np.zeros(len(labels)), where=degrees > 0)
    is_community = np.bincount(labels, within) > _MAJORITY * np.bincount(labels, degrees)
    usual = _medians(within, labels)
    belongs = is_community[labels] & (shares > _MAJORITY) & (within >= _LOOSEST * usual[labels])
    return np.where(belongs, shares, 0.0)


def _medians(values: Weights, labels: Labels) -> Weights:
    """(number of labels,) the upper median of each label's values."""
    sizes = np.bincount(labels)
    middle = np.cumsum(sizes) - sizes + sizes // 2
    return values[np.lexsort((values, labels))][middle]

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

from panoptic_assets.clustering.algorithms.interface import Data, Outcome
from panoptic_assets.clustering.algorithms.likeness import (
    ALL_ALIKE,
    DistinctPictures,
    OneThing,
    as_one,
    distances,
    identical,
    is_one_thing,
    sets_of_one_thing,
    torn,
)
from panoptic_assets.spec.computation import Labels, Rows, Vectors
from resources.errors import noted

_MIN_IMAGES = 5
"""Images that a cluster has at least, and pictures without which there is no graph."""
_RESOLUTION = 1.5
"""Of modularity. With 1, clusters are a third to a half as many as classes; with 2, the Rand index
is .01 to .03 better where there are many classes, and .08 worse with the ten digits."""
_MAJORITY = 0.5
"""Share of an image's links that must lead into its cluster, and of a cluster's into itself."""
_LOOSEST = 0.15
"""Of the links that lead into the cluster from the image in its middle: with less, an image is far
from all others, and only happens to be nearest to this cluster."""
_WEAKEST = 0.1
"""Strength of the links, on average, by which a picture with 5 copies or more is not a cluster of
its own. Random vectors of 64 numbers have .01 to .06; loose groups, half of whose variance is noise
that each image has alone, have .3."""
_FARTHEST = 3.0
"""Times as long as its pictures' shortest links usually are: that of such a picture, at most."""
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
    themselves; in collections of images .57 and more do.

    In the graph, copies of an image are one, so that they make no place dense; vectors that are
    equal but for rounding are copies. A picture with 5 copies or more that no community takes, or
    that is a stranger in one (:func:`strangers`), is a cluster of its own. So is a set of near
    copies (:func:`~panoptic_assets.clustering.algorithms.likeness.sets_of_one_thing`) that
    communities tear, or leave over: it is taken out, and the others are divided without it, since
    it moved their mean. Where all images are near copies, and many are left over, they are one.

    ``seed`` is not used: nothing is random, images are visited in the order of the rows.

    Args:
        data: Unit vectors are compared by cosine, the points of a projection by distance.
        seed: Not used.

    Returns:
        Labels, 5 images or more with each, and the share of each image's links that lead into its
        cluster as its probability, 0 in the remainder. Notes say when nothing was cut.
    """
    pictures = DistinctPictures.of(data)
    if len(pictures) == 1:
        return _undivided(data, 1)
    weights = pictures.weights
    labels, shares = _without_tearing(pictures)
    alone = np.flatnonzero((labels == -1) & (weights >= _MIN_IMAGES))
    labels[alone] = labels.max() + 1 + np.arange(len(alone))
    shares[alone] = 1
    if is_one_thing(pictures, labels):
        return as_one(len(data), ALL_ALIKE)
    nb_found = len(np.unique(labels[labels >= 0]))
    if nb_found == 0 and len(pictures) < _MIN_IMAGES:
        return _undivided(data, len(pictures))
    labels, shares = labels[pictures.places], shares[pictures.places]
    return Outcome(labels, shares.astype(np.float32), notes=_notes(nb_found, labels))


def first_automatic(data: Data, seed: int) -> Outcome:
    """:func:`automatic` as its algorithm 1 was: a picture weighs as one image in all but sizes."""
    pictures = DistinctPictures.of(data, rounded=False)
    if len(pictures) < _MIN_IMAGES:
        return _undivided(data, len(pictures))
    points, nearest = pictures.points, pictures.nearest
    links = _links(_strengths(points, data.unit, nearest), nearest)
    labels = _communities(links)
    shares = _large(labels, _shares(links, labels), pictures.weights)
    labels, shares = np.where(shares > 0, labels, -1)[pictures.places], shares[pictures.places]
    notes = _notes(len(np.unique(labels[labels >= 0])), labels)
    return Outcome(labels, shares.astype(np.float32), notes=notes)


def _without_tearing(pictures: DistinctPictures) -> tuple[Labels, Weights]:
    """The label, -1 for the remainder, and share of each picture; no set of near copies is torn."""
    labels, shares = np.full(len(pictures), -1, np.int64), np.zeros(len(pictures))
    sets = sets_of_one_thing(pictures, _MIN_IMAGES)
    taken: list[OneThing] = []
    rest, others = np.arange(len(pictures)), pictures
    while True:
        labels[rest], shares[rest] = -1, 0
        if len(rest) >= _MIN_IMAGES:
            labels[rest], shares[rest] = _divided(others, pictures.weights[rest])
        found = torn(pictures, sets, labels)
        if not found:
            break
        sizes = np.bincount(labels[rest] + 1)
        whole = [one for one in sets if one.is_whole(labels)]
        taken += found
        taken += [one for one in whole if sizes[labels[one.places[0]] + 1] == len(one.places)]
        rest = np.setdiff1d(rest, np.concatenate([one.places for one in taken]))
        sets = [one for one in sets if np.isin(one.places, rest).all()]
        others = DistinctPictures.of(Data(pictures.points[rest], pictures.data.unit), rounded=False)
    for label, one in enumerate(taken, start=int(labels[rest].max(initial=-1)) + 1):
        labels[one.places], shares[one.places] = label, 1
    return labels, shares


def _divided(pictures: DistinctPictures, weights: Rows) -> tuple[Labels, Weights]:
    """The label, -1 for the remainder, and share of each picture, by the graph alone."""
    strengths = _strengths(pictures.points, pictures.data.unit, pictures.nearest)
    links = _links(strengths, pictures.nearest)
    labels = _communities(links)
    shares = _shares(links, labels)
    kept = np.where(shares > 0, labels, -1)
    shares[strangers(pictures, weights, kept, _MIN_IMAGES)] = 0
    shares = _large(labels, shares, weights)
    return np.where(shares > 0, labels, -1), shares


def strangers(pictures: DistinctPictures, weights: Rows, labels: Labels, least: int) -> Rows:
    """Pictures of many images that are in a cluster to which they do not belong.

    Their links to it are weak, or three times as long as those of its pictures usually are. Such a
    picture alone is no harm to a cluster; its copies are one.

    Args:
        pictures: The images.
        weights: (m,) images that each picture stands for.
        labels: (m,) the cluster of each picture, -1 for the remainder.
        least: Images that a picture stands for, at least.
    """
    heavy = np.flatnonzero((weights >= least) & (labels >= 0))
    if not len(heavy):
        return heavy
    nearest = pictures.nearest[heavy]
    inside = labels[nearest] == labels[heavy][:, None]
    strengths = _strengths(pictures.points, pictures.data.unit, pictures.nearest)[heavy]
    within = np.where(inside, strengths, 0).sum(axis=1)
    is_weak = within < _WEAKEST * np.maximum(inside.sum(axis=1), 1)
    shortest = np.where(inside, distances(pictures.points, heavy, nearest), np.inf).min(axis=1)
    clustered = np.flatnonzero(labels >= 0)
    usual = _medians(pictures.closest[clustered], labels[clustered])
    return heavy[is_weak | (shortest > _FARTHEST * usual[labels[heavy]])]


def _large(labels: Labels, shares: Weights, weights: Rows) -> Weights:
    """The shares, with 0 where a community has too few images."""
    sizes = np.bincount(labels, np.where(shares > 0, weights, 0))
    return np.where(sizes[labels] < _MIN_IMAGES, 0, shares)


def _undivided(data: Data, nb_distinct: int) -> Outcome:
    if len(data) == 1:
        return as_one(1, noted("There is one image: it is one cluster."))
    if nb_distinct == 1:
        return identical(data)
    return as_one(
        len(data),
        noted(
            "Only {nb_distinct} images differ, too few to be divided automatically: they are one "
            "cluster. A number, such as `nb_clusters: 2`, forces a cut.",
            nb_distinct=nb_distinct,
        ),
    )


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


def _strengths(points: Vectors, unit: bool, nearest: Rows) -> Weights:
    """(n, k) in [0, 1]: how strongly each image is linked to its neighbours."""
    if unit:
        return np.square(np.maximum(_centred_cosines(points, nearest), 0))
    return _affinities(points, nearest)


def _links(strengths: Weights, nearest: Rows) -> Any:
    """(n, n) symmetric sparse float64: how strongly images are linked, 0 to 2; none to itself."""
    from scipy.sparse import csr_matrix

    nb_images, k = nearest.shape
    from_rows = np.repeat(np.arange(nb_images), k)
    one_way = csr_matrix(
        (strengths.ravel(), (from_rows, nearest.ravel())), shape=(nb_images, nb_images)
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

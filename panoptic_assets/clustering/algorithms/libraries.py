"""The clustering methods that libraries bring: data in, one label per image out.

Belongs here: what these methods need around them to be exact, to refuse what cannot be done before
it is begun, and to give one answer in every process. Does not belong here: the methods that are
ours (``automatic``, ``duplicates``, ``attachment``, ``consensus``); numbering, scores.

The same input gives the same labels in every process, whatever the number of threads: scikit-learn
adds the threads' partial sums in the order in which they finish, so that with two threads or more
the last bits of a centre, and so a label, can differ from run to run. All compute on one.

Long because each library needs its own around it.
"""

import math
import os
import warnings
from typing import Any, Literal, NoReturn

import numpy as np
import numpy.typing as npt

from panoptic_assets.clustering.algorithms.automatic import automatic, strangers
from panoptic_assets.clustering.algorithms.interface import Data, Outcome, distinct
from panoptic_assets.clustering.algorithms.likeness import (
    ALL_ALIKE,
    DistinctPictures,
    as_one,
    identical,
    is_one_thing,
    sets_of_one_thing,
    torn,
)
from panoptic_assets.spec.computation import Labels, NotComputableError, Rows, Vectors
from resources.errors import noted

_MOST_PARTS = 50
"""Of a graph of neighbours whose parts are joined by comparing their images."""
_MEMORY_SHARE = 0.5
"""Of the machine's memory: what one method may need."""
_COMPONENTS = 64
"""Principal components on which k-means starts. With 32 a start is a tenth cheaper, but leaves 20
to 50 iterations in all dimensions to be done, instead of 5."""


def kmeans(
    data: Data,
    seed: int,
    *,
    nb_clusters: int,
    n_init: int,
    init: Literal["k-means++", "random"],
    max_iter: int,
    tol: float,
) -> Outcome:
    """K-means: Lloyd's algorithm (1982) from k-means++ seeds (Arthur and Vassilvitskii, 2007).

    Where it is worth it, the starts are made on the first 64 principal components, which costs a
    fifth, and the tightest goes on in all dimensions until it is done there too (Ding and He, 2004,
    on why components lead to the same clusters). For that, twice as many starts are made as asked
    for: of 20,000 vectors of 512 numbers and 100 clusters, the inertia is .2 to .3 % below that of
    scikit-learn with as many starts, in a third of its time (.39 with one start, .31 with three).

    Args:
        data: What to divide.
        seed: Of the starts.
        nb_clusters: Number of clusters; -1 for an automatic one.
        n_init: Starts at least.
        init: How first centres are chosen.
        max_iter: Most iterations from one start, those on components included.
        tol: Stop when centres move less, relative to the variance.

    Raises:
        NotComputableError: There are fewer distinct images than clusters asked for.
    """
    from threadpoolctl import threadpool_limits

    if nb_clusters == -1:
        return automatic(data, seed)
    from sklearn.cluster import KMeans

    nb_distinct = _check_number(nb_clusters, data)
    nb_images, dim = data.points.shape
    options: dict[str, Any] = {"tol": tol, "random_state": seed}
    with threadpool_limits(limits=1):
        if (
            dim < 2 * _COMPONENTS
            or nb_images * nb_clusters * n_init < dim * dim // 4  # finding components takes longer
            or nb_distinct < 2 * nb_clusters  # too few may be left of them on components
        ):
            estimator = KMeans(
                nb_clusters, init=init, n_init=n_init, max_iter=max_iter, **options
            ).fit(data.points)
            labels = estimator.labels_.astype(np.int64)
            return Outcome(labels, notes=_fewer(labels, nb_clusters))
        centred = data.points - data.points.mean(axis=0, dtype=np.float64).astype(np.float32)
        _, directions = np.linalg.eigh((centred.T @ centred).astype(np.float64))
        components = directions[:, -_COMPONENTS:].astype(np.float32)
        start = KMeans(nb_clusters, init=init, n_init=2 * n_init, max_iter=max_iter, **options)
        start.fit(centred @ components)
        estimator = KMeans(
            nb_clusters,
            init=start.cluster_centers_ @ components.T,
            n_init=1,
            max_iter=max(1, max_iter - start.n_iter_),
            **options,
        ).fit(centred)
    labels = estimator.labels_.astype(np.int64)
    return Outcome(labels, notes=_fewer(labels, nb_clusters))


def minibatch_kmeans(
    data: Data,
    seed: int,
    *,
    nb_clusters: int,
    batch_size: int,
    n_init: int,
    max_iter: int,
) -> Outcome:
    """K-means on small random batches (Sculley, 2010): faster and looser, for large corpora.

    Raises:
        NotComputableError: There are fewer distinct images than clusters asked for.
    """
    if nb_clusters == -1:
        return automatic(data, seed)
    from sklearn.cluster import MiniBatchKMeans

    estimator = MiniBatchKMeans(
        nb_clusters, batch_size=batch_size, n_init=n_init, max_iter=max_iter, random_state=seed
    )
    return _fit_predict(estimator, data, nb_clusters)


def birch(
    data: Data, seed: int, *, nb_clusters: int | None, threshold: float, branching_factor: int
) -> Outcome:
    """BIRCH (Zhang, Ramakrishnan and Livny, 1996), its groups joined by Ward's method.

    ``seed`` is not used: the answer depends on the order of the rows alone, which is that of the
    image ids.

    Raises:
        NotComputableError: There are fewer distinct images, or groups of the tree, than clusters
            asked for.
    """
    from sklearn.cluster import Birch
    from threadpoolctl import threadpool_limits

    wanted = None if nb_clusters in (None, -1) else nb_clusters
    if wanted:
        _check_number(wanted, data)
    # Joined here, from scikit-learn's groups: it falls back to fewer clusters with a warning only.
    estimator = Birch(n_clusters=None, threshold=threshold, branching_factor=branching_factor)
    with threadpool_limits(limits=1):
        groups = estimator.fit_predict(data.points).astype(np.int64)
        nb_groups = len(estimator.subcluster_centers_)
        if wanted is None:
            return Outcome(groups, notes=_one_cluster(groups, _ONE_BY_THRESHOLD))
        if nb_groups < wanted:
            raise NotComputableError(
                "nb_clusters is {wanted}, but with threshold {threshold:g} the tree has only "
                "{groups}: ask for fewer clusters, or for a smaller threshold.",
                id="clusters-beyond-groups-of-tree",
                wanted=wanted,
                threshold=threshold,
                groups=noted("1 group")
                if nb_groups == 1
                else noted("{count:d} groups", count=nb_groups),
            )
        _check_memory(nb_groups, noted("join the groups of its tree"), noted("a larger threshold"))
        joined = _agglomerative(estimator.subcluster_centers_, wanted, None, "ward", "euclidean")
    return Outcome(joined[groups])


def agglomerative(
    data: Data,
    seed: int,
    *,
    nb_clusters: int | None,
    distance_threshold: float | None,
    linkage: Literal["ward", "complete", "average", "single"],
    metric: Literal["euclidean", "l1", "l2", "manhattan", "cosine"],
    nb_neighbors: int | None,
) -> Outcome:
    """Agglomerative clustering (Ward, 1963, by default). ``seed`` is not used: nothing is random.

    Raises:
        NotComputableError: There are fewer distinct images than clusters asked for, or the
            distances of all pairs would not fit in the memory.
    """
    from threadpoolctl import threadpool_limits

    wanted = 10 if nb_clusters is None and distance_threshold is None else nb_clusters
    if wanted:
        _check_number(wanted, data)
    if len(data) == 1:
        return Outcome(np.zeros(1, np.int64))
    connectivity = None
    if nb_neighbors is None:
        _check_memory(len(data), noted("compare all pairs"), "`nb_neighbors: 20`")
    else:
        connectivity = _connected(data, nb_neighbors)
    if metric == "cosine" and not (data.points != 0).any(axis=1).all():
        raise NotComputableError(
            "A point is zero and has no cosine: take the metric euclidean.",
            id="zero-point-without-cosine",
        )
    with threadpool_limits(limits=1):
        labels = _agglomerative(
            data.points, wanted, distance_threshold, linkage, metric, connectivity
        )
    return Outcome(labels, notes=_one_cluster(labels, _ONE_BY_DISTANCE))


def hdbscan(
    data: Data,
    seed: int,
    *,
    min_cluster_size: int,
    max_cluster_size: int | None,
    min_samples: int | None,
    cluster_selection_epsilon: float,
    cluster_selection_method: Literal["eom", "leaf"],
    alpha: float,
    allow_single_cluster: bool,
    metric: Literal["euclidean", "cosine", "manhattan"],
) -> Outcome:
    """HDBSCAN (Campello, Moulavi and Sander, 2013), by the ``hdbscan`` package.

    Copies of an image are one point, so that they are in one cluster or none, and do not make a
    place dense; vectors that are equal but for rounding are copies. What is dense beyond doubt is
    no remainder: the method finds no cluster where there is only one, beside images that lie
    apart or with none, nor where too few points differ. So a picture with ``min_cluster_size``
    copies that no cluster took is one, and so is a set of near copies
    (:func:`~panoptic_assets.clustering.algorithms.likeness.sets_of_one_thing`) that clusters tear
    or leave over, and all images together if they are near copies. ``seed`` is not used: nothing is
    random.

    Raises:
        NotComputableError: There are fewer images than a cluster has at least, or too few differ
            and none has so many copies.
    """
    _check_size(min_cluster_size, data)
    pictures = DistinctPictures.of(data)
    if len(pictures) == 1:
        return identical(data)
    labels = np.full(len(pictures), -1, np.int64)
    probabilities = np.zeros(len(pictures), np.float32)
    is_enough = len(pictures) >= max(min_cluster_size, 3)
    if is_enough:
        labels, probabilities = _hdbscan(
            pictures.points,
            metric,
            min_cluster_size=min_cluster_size,
            max_cluster_size=max_cluster_size,
            min_samples=min_samples,
            cluster_selection_epsilon=cluster_selection_epsilon,
            cluster_selection_method=cluster_selection_method,
            alpha=alpha,
            allow_single_cluster=allow_single_cluster,
        )
    labels, probabilities = _dense_beyond_doubt(pictures, labels, probabilities, min_cluster_size)
    if is_one_thing(pictures, labels):
        return as_one(len(data), ALL_ALIKE)
    if not is_enough and (labels == -1).all():
        _refuse_few(min_cluster_size, pictures)
    labels, probabilities = labels[pictures.places], probabilities[pictures.places]
    return Outcome(labels, probabilities, notes=_all_remainder(labels))


def first_hdbscan(
    data: Data, seed: int, *, min_cluster_size: int, metric: str, **given: Any
) -> Outcome:
    """:func:`hdbscan` as its algorithm 1 was: each picture weighs as one image.

    Raises:
        NotComputableError: There are fewer different images than a cluster has at least.
    """
    _check_size(min_cluster_size, data)
    pictures = DistinctPictures.of(data, rounded=False)
    if len(pictures) == 1:
        return identical(data)
    if len(pictures) < max(min_cluster_size, 3):
        _refuse_few(min_cluster_size, pictures)
    labels, probabilities = _hdbscan(
        pictures.points, metric, min_cluster_size=min_cluster_size, **given
    )
    labels, probabilities = labels[pictures.places], probabilities[pictures.places]
    return Outcome(labels, probabilities, notes=_all_remainder(labels))


def _check_size(min_cluster_size: int, data: Data) -> None:
    if len(data) >= min_cluster_size:
        return
    if len(data) == 1:
        raise NotComputableError(
            "min_cluster_size is {min_cluster_size}, but there is only one image: ask for "
            "smaller clusters, or take another method.",
            id="cluster-size-beyond-one-image",
            min_cluster_size=min_cluster_size,
        )
    raise NotComputableError(
        "min_cluster_size is {min_cluster_size}, but there are only {nb_images} images: ask "
        "for smaller clusters, or take another method.",
        id="cluster-size-beyond-images",
        min_cluster_size=min_cluster_size,
        nb_images=len(data),
    )


def _refuse_few(min_cluster_size: int, pictures: DistinctPictures) -> NoReturn:
    raise NotComputableError(
        "min_cluster_size is {min_cluster_size}, but only {nb_distinct} of the {nb_images} "
        "images differ: ask for smaller clusters, or take another method.",
        id="cluster-size-beyond-distinct-images",
        min_cluster_size=min_cluster_size,
        nb_distinct=len(pictures),
        nb_images=len(pictures.data),
    )


def _hdbscan(
    points: Vectors,
    metric: str,
    *,
    min_cluster_size: int,
    max_cluster_size: int | None,
    min_samples: int | None,
    **given: Any,
) -> tuple[Labels, npt.NDArray[np.float32]]:
    """The label and probability of each of some distinct points."""
    from hdbscan import HDBSCAN
    from threadpoolctl import threadpool_limits

    points = points.astype(np.float64)
    if metric == "cosine":
        # Of unit vectors, Euclidean distance is √(2 · (1 − cosine)): the package has no fast
        # cosine, and its slow one refuses float32.
        lengths = np.linalg.norm(points, axis=1, keepdims=True)
        if not lengths.all():
            raise NotComputableError(
                "A point is zero and has no cosine: take the metric euclidean.",
                id="zero-point-without-cosine",
            )
        points /= lengths
    estimator = HDBSCAN(
        min_cluster_size=min_cluster_size,
        max_cluster_size=max_cluster_size or 0,
        # More neighbours than there are points end in its stack trace.
        min_samples=min(min_samples or min_cluster_size, len(points) - 1),
        metric="manhattan" if metric == "manhattan" else "euclidean",
        core_dist_n_jobs=1,
        approx_min_span_tree=False,
        **given,
    )
    with threadpool_limits(limits=1):
        estimator.fit(points)
    return estimator.labels_.astype(np.int64), estimator.probabilities_.astype(np.float32)


def _dense_beyond_doubt(
    pictures: DistinctPictures,
    labels: Labels,
    probabilities: npt.NDArray[np.float32],
    least: int,
) -> tuple[Labels, npt.NDArray[np.float32]]:
    """Labels and probabilities of pictures, with clusters of what HDBSCAN should not leave over."""
    labels, probabilities, weights = labels.copy(), probabilities.copy(), pictures.weights
    labels[strangers(pictures, weights, labels, least)] = -1
    sets = sets_of_one_thing(pictures, least)
    for one in torn(pictures, sets, _large(labels, weights, least)):
        labels[one.places], probabilities[one.places] = labels.max() + 1, 1
    labels = _large(labels, weights, least)
    probabilities[labels == -1] = 0
    for place in np.flatnonzero((labels == -1) & (weights >= least)):
        labels[place], probabilities[place] = labels.max() + 1, 1
    return labels, probabilities


def _large(labels: Labels, weights: Rows, least: int) -> Labels:
    """The labels, -1 for clusters that have too few images after others were taken from them."""
    sizes = np.bincount(labels + 1, weights)
    return np.where(sizes[labels + 1] < least, -1, labels)


def _fit_predict(estimator: Any, data: Data, nb_clusters: int) -> Outcome:
    from threadpoolctl import threadpool_limits

    _check_number(nb_clusters, data)
    with threadpool_limits(limits=1):
        labels = estimator.fit_predict(data.points).astype(np.int64)
    return Outcome(labels, notes=_fewer(labels, nb_clusters))


def _fewer(labels: Labels, nb_clusters: int) -> tuple[str, ...]:
    found = len(np.unique(labels))
    if found == nb_clusters:
        return ()
    return (
        noted(
            "{nb_clusters} clusters were asked for, but only {found} have images: others are as "
            "near to an image that another one is nearer to. Fewer clusters, or `kmeans` in place "
            "of `minibatch_kmeans`, give what is asked for.",
            nb_clusters=nb_clusters,
            found=found,
        ),
    )


def _check_number(nb_clusters: int, data: Data) -> int:
    """The number of distinct images, if it is no smaller than that of the clusters."""
    nb_distinct = len(distinct(data.points)[0])
    if nb_clusters <= nb_distinct:
        return nb_distinct
    if len(data) == 1:
        raise NotComputableError(
            "nb_clusters is {nb_clusters}, but there is one image to divide: ask for 1.",
            id="clusters-beyond-one-image",
            nb_clusters=nb_clusters,
        )
    if nb_distinct == len(data):
        raise NotComputableError(
            "nb_clusters is {nb_clusters}, but there are only {nb_images} images to divide: ask "
            "for at most {nb_images}.",
            id="clusters-beyond-images",
            nb_clusters=nb_clusters,
            nb_images=len(data),
        )
    if nb_distinct == 1:
        raise NotComputableError(
            "nb_clusters is {nb_clusters}, but of the {nb_images} images to divide only 1 "
            "differs: ask for 1.",
            id="clusters-beyond-equal-images",
            nb_clusters=nb_clusters,
            nb_images=len(data),
        )
    raise NotComputableError(
        "nb_clusters is {nb_clusters}, but of the {nb_images} images to divide only {nb_distinct} "
        "differ: ask for at most {nb_distinct}.",
        id="clusters-beyond-distinct-images",
        nb_clusters=nb_clusters,
        nb_images=len(data),
        nb_distinct=nb_distinct,
    )


def _most_memory() -> float:
    """Bytes that a method may take; without end on Windows, where Python does not know them."""
    if not hasattr(os, "sysconf"):
        return math.inf
    return _MEMORY_SHARE * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _check_memory(nb_points: int, what: str, way_out: str) -> None:
    # Each pair's distance as a float64, and scikit-learn's copy of them.
    needed = nb_points * (nb_points - 1) // 2 * 8 * 2
    limit = _most_memory()
    if needed > limit:
        raise NotComputableError(
            "To {what} of {nb_points:,} images, agglomerative clustering needs {needed:,.0f} GiB "
            "of memory, and may take {limit:,.0f}: take {way_out}, a smaller scope, or "
            "minibatch_kmeans.",
            id="distances-beyond-memory",
            what=what,
            nb_points=nb_points,
            needed=needed / 2**30,
            limit=limit / 2**30,
            way_out=way_out,
        )


def _agglomerative(
    points: Vectors,
    nb_clusters: int | None,
    distance_threshold: float | None,
    linkage: str,
    metric: str,
    connectivity: Any = None,
) -> Labels:
    from sklearn.cluster import AgglomerativeClustering

    if len(points) == 1:
        return np.zeros(1, np.int64)
    estimator = AgglomerativeClustering(
        n_clusters=nb_clusters,
        distance_threshold=distance_threshold,
        linkage=linkage,
        metric=metric,
        connectivity=connectivity,
    )
    with warnings.catch_warnings():
        # That a graph of neighbours has parts, which it then joins, is nothing to be mended.
        warnings.filterwarnings("ignore", message="the number of connected components")
        return estimator.fit_predict(points).astype(np.int64)


def _connected(data: Data, nb_neighbors: int) -> Any:
    """The symmetric graph of nearest neighbours.

    scikit-learn joins its parts by their nearest pairs, for which it compares all images of two
    parts at once: 34 s for 2,000 images in hundreds of parts.

    Raises:
        NotComputableError: It has too many parts, or two that are too large.
    """
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    neighbors = data.nearest(nb_neighbors)
    rows = np.repeat(np.arange(len(data)), neighbors.shape[1])
    ones = np.ones(neighbors.size, np.float64)
    graph = csr_matrix((ones, (rows, neighbors.ravel())), shape=(len(data), len(data)))
    graph = graph.maximum(graph.T)
    nb_parts, parts = connected_components(graph, directed=False)
    sizes = np.append(np.sort(np.bincount(parts)), 0)
    largest = int(sizes[-2]) * int(sizes[-3]) if nb_parts > 1 else 0
    limit = _most_memory()
    if nb_parts > _MOST_PARTS or largest * 16 > limit:
        raise NotComputableError(
            "The graph of the {nb_neighbors} nearest neighbours falls into {nb_parts:,} parts, "
            "which take too long to join: take a larger nb_neighbors, or minibatch_kmeans.",
            id="neighbour-graph-in-parts",
            nb_neighbors=nb_neighbors,
            nb_parts=nb_parts,
        )
    return graph


_ONE_BY_THRESHOLD = noted(
    "All images are in one cluster: a smaller threshold cuts more, and `nb_clusters: 2` forces a "
    "cut."
)
_ONE_BY_DISTANCE = noted(
    "All images are in one cluster: a smaller distance_threshold cuts more, and `nb_clusters: 2` "
    "forces a cut."
)


def _one_cluster(labels: Labels, note: str) -> tuple[str, ...]:
    if (labels == labels[0]).all() and len(labels) > 1:
        return (note,)
    return ()


def _all_remainder(labels: Labels) -> tuple[str, ...]:
    if (labels == -1).all():
        return (
            noted(
                "No cluster was found, all images are the remainder: smaller clusters or another "
                "method may find some, and kmeans with `nb_clusters: 2` forces a cut."
            ),
        )
    return ()

"""Projections: unit vectors in, one point of a few dimensions per image out.

Belongs here: one function per method, entered in :data:`METHODS` under the name of its Config class
in ``features.config``, and how well points keep neighbours. Does not belong here: pictures,
reading, writing.

The same input gives the same points in every process, whatever the number of threads: the methods
compute on one thread, since floating-point sums depend on how threads share them.

PaCMAP (Wang et al., 2021; ``pacmap`` 0.9) was measured and left out: on 5,000 vectors of 512
numbers in 40 blobs of 12 intrinsic dimensions its points keep .26 of the 15 nearest neighbours,
UMAP's .32; it builds an approximate graph of its own, with another search library.
"""

import importlib.util
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from panoptic_assets.features.neighbors import Graph
from panoptic_assets.spec.computation import NotComputableError, Vectors

NEED_NEIGHBORS = frozenset({"umap"})
"""Methods that are fed by the neighbour graph."""

_LIBRARIES = {"umap": ("numba", "scipy", "umap-learn"), "tsne": ("scipy",), "pca": ("scipy",)}

_EXACT_TSNE = 5_000
"""Images that t-SNE's exact method may have: it holds n² distances several times."""
_TRUST_ROWS = 500
_TRUST_NEIGHBORS = 15


@dataclass(frozen=True)
class Projection:
    """The points of a projection."""

    points: npt.NDArray[np.float32]
    """(n, dimensions)."""
    explained_variance: float | None = None
    """For PCA: the share of the vectors' variance that the points keep, in [0, 1]."""


def libraries_of(method: str) -> tuple[str, ...]:
    """Packages beside scikit-learn whose versions can change a method's points.

    Raises:
        NotComputableError: The method's library is not installed.
    """
    if method == "umap" and importlib.util.find_spec("umap") is None:
        raise NotComputableError(
            "umap needs the package umap-learn: pip install 'panoptic-assets[umap]'. pca and tsne "
            "need nothing more.",
            id="umap-not-installed",
        )
    return _LIBRARIES[method]


def project(
    method: str,
    vectors: Vectors,
    nb_dimensions: int,
    seed: int,
    graph: Graph | None,
    parameters: dict[str, Any],
) -> Projection:
    """Points of images by one of :data:`METHODS`.

    Args:
        method: Its name.
        vectors: (n, d) float32 unit vectors, n ≥ 1, rows in the order of image id.
        nb_dimensions: Dimensions of the points.
        seed: Of all that is random.
        graph: The neighbours of the rows, for the methods of :data:`NEED_NEIGHBORS`.
        parameters: The fields of the method's Config class.

    Returns:
        The points. Images that are all equal are all at the origin.

    Raises:
        NotComputableError: The vectors are too few or have too few dimensions, a parameter does not
            fit their number, or the method's library is not installed.
    """
    from threadpoolctl import threadpool_limits

    nb_images, dim = vectors.shape
    if nb_dimensions > dim:
        raise NotComputableError(
            "nb_dimensions is {nb_dimensions}, but the vectors have {dim}: ask for fewer.",
            id="dimensions-beyond-vectors",
            nb_dimensions=nb_dimensions,
            dim=dim,
        )
    if (vectors == vectors[0]).all():
        points = np.zeros((nb_images, nb_dimensions), np.float32)
        return Projection(points, 1.0 if method == "pca" else None)
    libraries_of(method)
    with threadpool_limits(limits=1):
        found = METHODS[method](
            vectors, nb_dimensions=nb_dimensions, seed=seed, graph=graph, **parameters
        )
    if not np.isfinite(found.points).all():
        raise NotComputableError(
            "{method} gave points that are not finite: choose a smaller learning_rate.",
            id="points-not-finite",
            method=method,
        )
    return found


def pca(
    vectors: Vectors, *, nb_dimensions: int, seed: int, graph: Graph | None, whiten: bool
) -> Projection:
    """Principal components (Pearson, 1901): the directions of greatest variance; linear, quick.

    n images vary in n - 1 directions at most: the others are 0. ``seed`` and ``graph`` are
    not used.
    """
    from sklearn.decomposition import PCA

    nb_images, dim = vectors.shape
    kept = min(nb_dimensions, nb_images - 1)
    # Both solvers are exact. From n > d on, the d × d covariance is the smaller problem, in float64
    # without loss.
    solver = "covariance_eigh" if nb_images > dim else "full"
    estimator = PCA(kept, whiten=whiten, svd_solver=solver)
    points = np.zeros((nb_images, nb_dimensions), np.float32)
    points[:, :kept] = estimator.fit_transform(vectors.astype(np.float64))
    return Projection(points, float(estimator.explained_variance_ratio_.sum()))


def umap(
    vectors: Vectors,
    *,
    nb_dimensions: int,
    seed: int,
    graph: Graph | None,
    n_neighbors: int,
    min_dist: float,
    spread: float,
    n_epochs: int | None,
    learning_rate: float,
    init: Literal["spectral", "pca", "random"],
    negative_sample_rate: int,
    repulsion_strength: float,
    local_connectivity: float,
    set_op_mix_ratio: float,
) -> Projection:
    """UMAP (McInnes, Healy and Melville, 2018) of the exact neighbour graph, by umap-learn.

    umap-learn would look for neighbours itself, approximately, and compile the search first.
    ``n_neighbors`` counts the image itself, as in umap-learn.

    Raises:
        NotComputableError: The images are too few, the graph has too few neighbours, ``min_dist``
            exceeds ``spread``.
    """
    if min_dist > spread:
        raise NotComputableError(
            "min_dist is {min_dist:g} and spread {spread:g}: min_dist is at most spread.",
            id="min-dist-above-spread",
            min_dist=min_dist,
            spread=spread,
        )
    nb_images = len(vectors)
    _check_enough("umap", nb_images, nb_dimensions)
    if graph is None or len(graph.indices) != nb_images:
        raise ValueError("umap needs the neighbour graph of its vectors")
    wanted = min(n_neighbors, nb_images - 1)
    if wanted - 1 > graph.indices.shape[1]:
        raise NotComputableError(
            "n_neighbors is {n_neighbors}, but the neighbour graph has {nb_neighbors} for each "
            "image: ask for at most {most}, or materialize `neighbors` with k: {k} or more.",
            id="neighbours-beyond-graph",
            n_neighbors=n_neighbors,
            nb_neighbors=graph.indices.shape[1],
            most=graph.indices.shape[1] + 1,
            k=n_neighbors - 1,
        )
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", ImportWarning
        )  # that TensorFlow is missing, for another one
        from umap import UMAP

    itself = np.arange(nb_images, dtype=np.int32)[:, None]
    others = graph.indices[:, : wanted - 1]
    distances = np.zeros((nb_images, wanted), np.float32)
    distances[:, 1:] = 1.0 - graph.similarities[:, : wanted - 1]
    estimator = UMAP(
        n_neighbors=wanted,
        n_components=nb_dimensions,
        metric="cosine",
        min_dist=min_dist,
        spread=spread,
        n_epochs=n_epochs,
        learning_rate=learning_rate,
        init=init,
        negative_sample_rate=negative_sample_rate,
        repulsion_strength=repulsion_strength,
        local_connectivity=local_connectivity,
        set_op_mix_ratio=set_op_mix_ratio,
        random_state=seed,
        n_jobs=1,
        precomputed_knn=(np.hstack([itself, others]), distances),
    )
    with warnings.catch_warnings():
        # That new images cannot be added later without a search index, which nobody asks for; and
        # that a graph in pieces is laid out piece by piece.
        warnings.simplefilter("ignore")
        return Projection(estimator.fit_transform(vectors).astype(np.float32))


def tsne(
    vectors: Vectors,
    *,
    nb_dimensions: int,
    seed: int,
    graph: Graph | None,
    perplexity: float,
    early_exaggeration: float,
    learning_rate: float | None,
    max_iter: int,
    init: Literal["pca", "random"],
    angle: float,
) -> Projection:
    """t-SNE (van der Maaten and Hinton, 2008), by Barnes and Hut's method up to 3 dimensions.

    Raises:
        NotComputableError: The images are too few for the perplexity, or too many for the exact
            method, which more than 3 dimensions need.
    """
    from sklearn.manifold import TSNE

    nb_images = len(vectors)
    _check_enough("tsne", nb_images, nb_dimensions)
    if perplexity >= nb_images:
        raise NotComputableError(
            "perplexity is {perplexity:g}, but there are {nb_images} images: it must be less than "
            "that.",
            id="perplexity-beyond-images",
            perplexity=perplexity,
            nb_images=nb_images,
        )
    exact = nb_dimensions > 3
    if exact and nb_images > _EXACT_TSNE:
        raise NotComputableError(
            "tsne in more than 3 dimensions compares all pairs, and does so for {exact_tsne:,} "
            "images at most; there are {nb_images:,}. Use umap or pca.",
            id="exact-tsne-too-large",
            exact_tsne=_EXACT_TSNE,
            nb_images=nb_images,
        )
    start: npt.NDArray[np.float32] | str = "random"
    if init == "pca":
        # scikit-learn's own start uses a random solver; the scale is the one it recommends.
        start = pca(
            vectors, nb_dimensions=nb_dimensions, seed=seed, graph=None, whiten=False
        ).points
        start *= np.float32(1e-4) / start[:, 0].std()
    estimator = TSNE(
        nb_dimensions,
        perplexity=perplexity,
        early_exaggeration=early_exaggeration,
        learning_rate="auto" if learning_rate is None else learning_rate,
        max_iter=max_iter,
        init=start,
        method="exact" if exact else "barnes_hut",
        angle=angle,
        random_state=seed,
        n_jobs=1,
    )
    return Projection(estimator.fit_transform(vectors).astype(np.float32))


METHODS: dict[str, Callable[..., Projection]] = {"pca": pca, "umap": umap, "tsne": tsne}


def trustworthiness(vectors: Vectors, points: npt.NDArray[np.float32], seed: int = 0) -> float:
    """How far neighbours among the points are neighbours among the vectors, in [0, 1].

    Venna and Kaski (2001): 1 less the mean rank, beyond k, of the k nearest points of each image in
    the order of the vectors' cosines, scaled so that the worst order gives 0. Measured on 500
    images, drawn by the seed, against all; k = 15, or less than half of the images.

    Args:
        vectors: (n, d) float32 unit vectors, n ≥ 1.
        points: (n, dimensions) their points.
        seed: Of the sample.

    Returns:
        1 means that no false neighbour was found; so also for fewer than 4 images.
    """
    from threadpoolctl import threadpool_limits

    nb_images = len(vectors)
    k = min(_TRUST_NEIGHBORS, (nb_images - 1) // 2)
    if nb_images < 4:
        return 1.0
    sample = np.random.default_rng(seed).permutation(nb_images)[:_TRUST_ROWS]
    excess = 0
    with threadpool_limits(limits=1):
        for row in sample:
            similarity = vectors @ vectors[row]
            distance = np.square(points - points[row]).sum(axis=1)
            similarity[row], distance[row] = -np.inf, np.inf
            nearest = np.argpartition(distance, k)[:k]
            ranks = 1 + (similarity[:, None] > similarity[nearest]).sum(axis=0)
            excess += int(np.maximum(ranks - k, 0).sum())
    worst = len(sample) * k * (2 * nb_images - 3 * k - 1) / 2
    return 1.0 - excess / worst


def _check_enough(method: str, nb_images: int, nb_dimensions: int) -> None:
    least = max(4, nb_dimensions + 2)
    if nb_images < least:
        raise NotComputableError(
            "{method} needs {least} images or more for {nb_dimensions} dimensions; there are "
            "{nb_images}. pca takes any number.",
            id="images-too-few-to-project",
            method=method,
            least=least,
            nb_dimensions=nb_dimensions,
            nb_images=nb_images,
        )

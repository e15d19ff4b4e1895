"""The clustering methods: unit vectors in, one label per image out.

Belongs here: one function per method, entered in :data:`METHODS` under the name of its Config class
in ``panoptic_assets.config``; that pair is all that a new method needs. Does not belong here:
numbering, scores, reading, writing.

A method gets float32 unit vectors of shape (n, d), rows in the order of image id, a seed, and the
fields of its Config class. It returns (n,) int64 labels in any numbering, -1 for the remainder. The
same input gives the same labels in every process, whatever the number of threads.
"""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from threadpoolctl import threadpool_limits

from panoptic_assets.core.clusters import Labels, Vectors
from panoptic_assets.core.errors import NotComputableError


def kmeans(
    vectors: Vectors,
    seed: int,
    *,
    nb_clusters: int,
    n_init: int,
    init: Literal["k-means++", "random"],
    max_iter: int,
    tol: float,
) -> Labels:
    """K-means: Lloyd's algorithm (1982) from k-means++ seeds (Arthur and Vassilvitskii, 2007).

    Raises:
        NotComputableError: There are fewer distinct images than clusters asked for.
    """
    from sklearn.cluster import KMeans

    estimator = KMeans(
        nb_clusters, init=init, n_init=n_init, max_iter=max_iter, tol=tol, random_state=seed
    )
    return _fit_predict(estimator, vectors, nb_clusters)


def minibatch_kmeans(
    vectors: Vectors,
    seed: int,
    *,
    nb_clusters: int,
    batch_size: int,
    n_init: int,
    max_iter: int,
) -> Labels:
    """K-means on small random batches (Sculley, 2010): faster and looser, for large corpora.

    Raises:
        NotComputableError: There are fewer distinct images than clusters asked for.
    """
    from sklearn.cluster import MiniBatchKMeans

    estimator = MiniBatchKMeans(
        nb_clusters, batch_size=batch_size, n_init=n_init, max_iter=max_iter, random_state=seed
    )
    return _fit_predict(estimator, vectors, nb_clusters)


METHODS: dict[str, Callable[..., Labels]] = {
    "kmeans": kmeans,
    "minibatch_kmeans": minibatch_kmeans,
}


def _fit_predict(estimator: Any, vectors: Vectors, nb_clusters: int) -> Labels:
    distinct = len(np.unique(vectors, axis=0))
    if nb_clusters > distinct:
        raise NotComputableError(
            f"nb_clusters is {nb_clusters}, but of the {len(vectors)} images to divide only "
            f"{distinct} differ: ask for at most {distinct}."
        )
    # scikit-learn adds the threads' partial sums in the order in which they finish: with two
    # threads or more the last bits of a centre, and so a label, can differ from run to run.
    with threadpool_limits(limits=1):
        return estimator.fit_predict(vectors).astype(np.int64)

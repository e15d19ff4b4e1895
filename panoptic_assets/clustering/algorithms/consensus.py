"""One clustering out of several: what runs agree on.

Belongs here: which images runs put together, and the clusters that follow. Does not belong here:
reading runs, comparing two of them.

Two images agree in a run that put them into one cluster. In a run's remainder an image agrees with
nobody. A run in which one of the two was not counts neither for nor against them.
"""

import numpy as np
import numpy.typing as npt

from panoptic_assets.clustering.algorithms.interface import Data, Outcome
from panoptic_assets.spec.computation import REMAINDER, Labels, NotComputableError
from resources.errors import noted

_ABSENT = -2
_MAX_PROFILES = 8_000
"""Different rows of labels whose pairs are compared: 0.26 GB of distances, which scipy copies."""
_NEVER = 2.0
"""Distance of images that must not be together."""
_NO_AGREEMENT = noted(
    "The runs agree on no cluster, all images are the remainder: a lower min_agreement finds more."
)
_NO_AGREEMENT_OF_SIZE = noted(
    "The runs agree on no cluster, all images are the remainder: a lower min_agreement or "
    "min_cluster_size finds more."
)
_NO_CLUSTER = noted(
    "The runs agree on no cluster, all images are the remainder: take runs that have clusters."
)

Profiles = npt.NDArray[np.int64]
"""(n, runs) labels of rows in each run."""


def consensus(
    data: Data, seed: int, *, nb_clusters: int, min_agreement: float, min_cluster_size: int
) -> Outcome:
    """Combine runs: images that most of them put together are together.

    With ``nb_clusters`` -1, every two images of a cluster agree in ``min_agreement`` or more of the
    runs that both were in; clusters are made by complete linkage of the agreements (evidence
    accumulation: Fred and Jain, 2005, who take single or average linkage, which promise nothing of
    a pair). An image that was in a cluster in fewer of its own runs is in the remainder: it would
    not agree with its own copy. So are the images of clusters below ``min_cluster_size``.

    With a number of clusters, k-means of which clusters of which runs each image is in (k-means
    based consensus: Wu, Liu, Xiong, Cao and Chen, 2015, with the utility U_c), with k-means++
    seeds. An image that no run put into a cluster is in the remainder. Average linkage, compared
    on 5 runs of k-means, had an adjusted Rand index of .52 against .40 on the sample, but .74
    against .97 on planted clusters with gaps in the runs, and needs the memory of all pairs.

    Neither depends on the order of the images.

    Args:
        data: Images, with the labels of two or more runs; of the points, only the number counts.
        seed: Of the k-means++ seeds.
        nb_clusters: 1 or more; -1: as many as agree.
        min_agreement: Share of runs, in (0, 1]; for -1.
        min_cluster_size: 1 or more; for -1.

    Returns:
        Labels, -1 for the remainder, and as probabilities each image's agreement with the other
        images of its cluster: of all pairs of the image, another one and a run that both were in,
        the share in which they agree. 1 for an image alone, 0 in the remainder.

    Raises:
        NotComputableError: There are fewer than two runs, fewer different images than
            clusters asked for, or too many different ones to compare all pairs.
    """
    if len(data.runs) < 2:
        raise NotComputableError(
            "A consensus needs two or more runs to compare, and there are {nb_runs}.",
            id="too-few-runs-to-combine",
            nb_runs=len(data.runs),
        )
    profiles = np.stack(data.runs, axis=1).astype(np.int64)
    if nb_clusters == -1:
        labels = _agreeing(profiles, min_agreement, min_cluster_size)
        note = _NO_AGREEMENT_OF_SIZE if min_cluster_size > 2 else _NO_AGREEMENT
    else:
        labels = _kmeans(profiles, nb_clusters, seed)
        note = _NO_CLUSTER
    notes = (note,) if (labels == REMAINDER).all() else ()
    return Outcome(labels, _agreement_with_own(profiles, labels), notes=notes)


def _agreeing(profiles: Profiles, min_agreement: float, min_cluster_size: int) -> Labels:
    """Clusters of which every two images agree in ``min_agreement`` of the runs."""
    from scipy.cluster.hierarchy import fcluster, linkage

    clustered = (profiles >= 0).sum(axis=1)
    present = (profiles != _ABSENT).sum(axis=1)
    usable = np.flatnonzero(clustered / np.maximum(present, 1) >= min_agreement)
    labels = np.full(len(profiles), REMAINDER, np.int64)
    if not len(usable):
        return labels
    different, place, sizes = np.unique(
        profiles[usable], axis=0, return_inverse=True, return_counts=True
    )
    if len(different) > _MAX_PROFILES:
        raise NotComputableError(
            "The {nb_runs} runs tell {nb_groups:,} groups of images apart, and no more than "
            "{max_profiles:,} can be compared in pairs: give nb_clusters, or fewer runs, or runs "
            "of fewer clusters.",
            id="too-many-profiles",
            nb_runs=profiles.shape[1],
            nb_groups=len(different),
            max_profiles=_MAX_PROFILES,
        )
    # Of equal agreements the first is taken: so it is one of what most images have.
    order = np.argsort(-sizes, kind="stable")
    groups = np.ones(len(different), np.int64)
    if len(different) > 1:
        tree = linkage(_distances(different[order], min_agreement), "complete")
        groups[order] = fcluster(tree, (1 + _NEVER) / 2, "distance")
    found = groups[place.ravel()]
    large = np.bincount(found)[found] >= min_cluster_size
    labels[usable[large]] = found[large]
    return labels


def _distances(profiles: Profiles, min_agreement: float) -> npt.NDArray[np.float64]:
    """(n (n - 1) / 2,) one minus the agreement of each pair, row by row, as scipy has them."""
    count = len(profiles)
    distances = np.empty(count * (count - 1) // 2)
    end = 0
    columns = np.ascontiguousarray(profiles.T)
    for row in range(count - 1):
        later, own = columns[:, row + 1 :], profiles[row][:, None]
        same = ((later == own) & (own >= 0)).sum(axis=0)
        both = ((later != _ABSENT) & (own != _ABSENT)).sum(axis=0)
        start, end = end, end + count - 1 - row
        agreement = same / np.maximum(both, 1)
        distances[start:end] = np.where(agreement >= min_agreement, 1 - agreement, _NEVER)
    return distances


def _kmeans(profiles: Profiles, nb_clusters: int, seed: int) -> Labels:
    """Clusters by k-means of the clusters that images are in."""
    from scipy.sparse import csr_matrix
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    labels = np.full(len(profiles), REMAINDER, np.int64)
    usable = np.flatnonzero((profiles >= 0).any(axis=1))
    if not len(usable):
        return labels
    different, place, sizes = np.unique(
        np.maximum(profiles[usable], -1), axis=0, return_inverse=True, return_counts=True
    )
    if nb_clusters > len(different):
        raise NotComputableError(
            "nb_clusters is {nb_clusters}, but the runs tell only {nb_groups} groups of images "
            "apart: ask for at most {nb_groups}.",
            id="clusters-beyond-profiles",
            nb_clusters=nb_clusters,
            nb_groups=len(different),
        )
    rows, runs = np.nonzero(different >= 0)
    starts = np.cumsum([0, *(different.max(axis=0) + 1)])
    columns = starts[runs] + different[rows, runs]
    memberships = csr_matrix(
        (np.ones(len(rows)), (rows, columns)), shape=(len(different), int(starts[-1]))
    )
    with threadpool_limits(limits=1):  # see panoptic_assets.clustering.algorithms.libraries
        estimator = KMeans(nb_clusters, n_init=10, random_state=seed)
        found = estimator.fit_predict(memberships, sample_weight=sizes.astype(np.float64))
    labels[usable] = found[place.ravel()]
    return labels


def _agreement_with_own(profiles: Profiles, labels: Labels) -> npt.NDArray[np.float32]:
    """(n,) agreement of each image with the others of its cluster."""
    same, both = np.zeros(len(labels), np.int64), np.zeros(len(labels), np.int64)
    rows = np.flatnonzero(labels != REMAINDER)
    for run in profiles[rows].T:
        # How many of the own cluster have the same label in the run, and how many were in it.
        pairs = np.stack([labels[rows], run], axis=1)
        _, place, counts = np.unique(pairs, axis=0, return_inverse=True, return_counts=True)
        same[rows] += np.where(run >= 0, counts[place.ravel()] - 1, 0)
        present = np.bincount(labels[rows], weights=run != _ABSENT)[labels[rows]]
        both[rows] += np.where(run != _ABSENT, present.astype(np.int64) - 1, 0)
    agreement = same / np.maximum(both, 1)
    agreement[rows] = np.where(np.bincount(labels[rows])[labels[rows]] > 1, agreement[rows], 1)
    return agreement.astype(np.float32)

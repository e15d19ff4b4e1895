"""Measures of a clustering agree with their definitions, and cost no more than the images do."""

import tracemalloc

import numpy as np
import pytest
from sklearn.metrics import calinski_harabasz_score, davies_bouldin_score, silhouette_score
from threadpoolctl import threadpool_limits

from panoptic_assets.clustering import quality as module
from panoptic_assets.clustering.algorithms.interface import Data, Outcome
from panoptic_assets.clustering.quality import MeasuredQuality, exemplars, quality, stability
from panoptic_assets.spec.computation import NotComputableError

UNDEFINED = MeasuredQuality(None, None, None, None)


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def blobs(nb_blobs=6, size=30, dim=16, spread=0.5, seed=0):
    rng = np.random.default_rng(seed)
    centres = np.repeat(rng.normal(size=(nb_blobs, dim)), size, axis=0)
    return unit(centres + spread * rng.normal(size=centres.shape))


TRUTH = np.repeat(np.arange(6), 30)


def test_measures_are_those_of_their_authors():
    """D57: as scikit-learn computes them, on float64."""
    vectors = blobs()
    exact = vectors.astype(np.float64)
    found = quality(vectors, TRUTH)
    assert found.silhouette == pytest.approx(silhouette_score(exact, TRUTH), abs=1e-5)
    assert found.silhouette_sampled is None
    assert found.davies_bouldin == pytest.approx(davies_bouldin_score(exact, TRUTH))
    assert found.calinski_harabasz == pytest.approx(calinski_harabasz_score(exact, TRUTH))


def test_the_right_clustering_is_better_than_another_by_every_measure():
    """D57: runs can be compared."""
    right, wrong = quality(blobs(), TRUTH), quality(blobs(), np.roll(TRUTH, 11))
    assert right.silhouette > wrong.silhouette
    assert right.davies_bouldin < wrong.davies_bouldin
    assert right.calinski_harabasz > wrong.calinski_harabasz


def test_the_remainder_and_the_numbering_make_no_difference():
    vectors, far = blobs(), unit(np.random.default_rng(1).normal(size=(40, 16)))
    labels = np.concatenate([TRUTH * 7 + 3, np.full(40, -1)])
    assert quality(np.concatenate([vectors, far]), labels) == quality(vectors, TRUTH)


@pytest.mark.parametrize(
    "labels",
    [[], [-1, -1, -1], [0, 0, 0, 0], [0, 0, -1, -1], [0, 1, 2, 3], [0, -1, 1, -1], [0]],
    ids=str,
)
def test_where_a_measure_is_not_defined_there_is_none(labels):
    assert quality(blobs()[: len(labels)], np.array(labels, np.int64)) == UNDEFINED


def test_clusters_of_identical_images_are_as_good_as_can_be():
    vectors = np.repeat(unit(np.random.default_rng(0).normal(size=(3, 8))), 5, axis=0)
    found = quality(vectors, np.repeat(np.arange(3), 5))
    assert found.silhouette == pytest.approx(1, abs=1e-3)
    assert found.davies_bouldin == pytest.approx(0, abs=1e-6)
    assert found.calinski_harabasz is None


def test_two_clusters_of_one_mean_give_finite_measures():
    vectors = np.repeat(blobs()[:5], 2, axis=0)
    found = quality(vectors, np.tile([0, 1], 5))
    assert found.davies_bouldin == 0
    assert found.calinski_harabasz == pytest.approx(0, abs=1e-9)


def test_of_many_images_the_silhouette_is_that_of_a_sample():
    """By the seed, and near the whole one."""
    whole = quality(blobs(), TRUTH).silhouette
    sampled = quality(blobs(), TRUTH, seed=3, sample=90)
    assert sampled.silhouette_sampled == 90
    assert sampled == quality(blobs(), TRUTH, seed=3, sample=90)
    assert sampled.silhouette != quality(blobs(), TRUTH, seed=4, sample=90).silhouette
    assert sampled.silhouette == pytest.approx(whole, abs=0.05)
    assert sampled.davies_bouldin == quality(blobs(), TRUTH).davies_bouldin


def test_one_and_two_threads_give_the_same_measures():
    """K3."""
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            found.append(quality(blobs(), TRUTH))
    assert found[0] == found[1]


def test_memory_does_not_grow_with_the_pairs_of_images_or_clusters(monkeypatch):
    """6,000 images in 3,000 clusters: all pairs would be 288 MB, of clusters 72."""
    monkeypatch.setattr(module, "_WORKING_MIB", 1)
    monkeypatch.setattr(module, "_BLOCK", 64)
    vectors, labels = blobs(3000, 2, dim=8), np.repeat(np.arange(3000), 2)
    data = Data(vectors)
    quality(vectors[:50], labels[:50])  # modules are imported by now
    tracemalloc.start()
    quality(vectors, labels, sample=1000)
    stability(lambda part, _: Outcome(np.arange(len(part)) // 2), data, labels, 0, range(2))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 12e6


def test_labels_of_another_number_of_images_are_refused():
    with pytest.raises(ValueError, match="3 labels cannot describe 180 images"):
        quality(blobs(), TRUTH[:3])
    with pytest.raises(ValueError, match="3 labels cannot describe 180 images"):
        stability(lambda data, seed: Outcome(TRUTH), Data(blobs()), TRUTH[:3], 0, range(2))


# Data of which each point tells its row, so that a method can know the truth.
NUMBERED = Data(np.stack([np.ones(180), np.arange(180)], axis=1).astype(np.float32), unit=False)


def rows_of(data):
    return data.points[:, 1].astype(int)


def test_clusters_that_come_back_are_stable_and_others_are_not():
    """D57: Hennig's Jaccard stability."""

    def compute(data, seed):
        rows = rows_of(data)
        # The clusters 4 and 5 are joined, 3 is left over, 2 is cut in two.
        labels = np.where(TRUTH[rows] == 5, 4, TRUTH[rows])
        labels[labels == 3] = -1
        labels[(labels == 2) & (rows % 2 == 0)] = 77
        return Outcome(labels)

    found = stability(compute, NUMBERED, np.where(TRUTH == 0, -1, TRUTH), 0, range(30))
    assert list(found) == [1, 2, 3, 4, 5]
    assert found[1] == 1
    assert found[2] == pytest.approx(0.54, abs=0.03)  # the larger half of 24 images
    assert found[3] == 0
    assert found[4] == pytest.approx(0.5, abs=0.01)
    assert found[5] == pytest.approx(0.5, abs=0.01)


def test_subsamples_are_four_fifths_of_the_images_by_the_seed():
    seen = []

    def compute(data, seed):
        seen.append((rows_of(data).tolist(), seed))
        return Outcome(TRUTH[rows_of(data)])

    stability(compute, NUMBERED, TRUTH, 5, range(3))
    stability(compute, NUMBERED, TRUTH, 5, range(3))
    assert seen[:3] == seen[3:]
    assert len({tuple(rows) for rows, _ in seen}) == 3
    for rows, seed in seen:
        assert (len(set(rows)), rows, seed) == (144, sorted(rows), 5)


def test_a_subsample_that_cannot_be_divided_counts_as_nothing():
    calls = []

    def compute(data, seed):
        calls.append(1)
        if len(calls) % 2:
            raise NotComputableError("too few", id="too-few")
        return Outcome(TRUTH[rows_of(data)])

    assert set(stability(compute, NUMBERED, TRUTH, 0, range(4)).values()) == {0.5}


def test_a_cluster_of_one_image_is_judged_by_the_subsamples_that_have_it():
    labels = TRUTH.copy()
    labels[7] = 9
    data = Data(NUMBERED.points, unit=False)
    found = stability(lambda part, _: Outcome(labels[rows_of(part)]), data, labels, 0, range(10))
    assert set(found.values()) == {1.0}
    assert (
        stability(lambda part, _: Outcome(labels[rows_of(part)]), data, labels, 0, range(0))[9] == 0
    )


def test_exemplars_are_typical_doubtful_or_drawn():
    rows = np.array([9, 2, 7, 4, 1])
    distances = np.array([0.1, 0.3, 0.3, 0.1, 0.2], np.float32)
    assert exemplars(rows, distances, "nearest", 3, 0).tolist() == [4, 9, 1]
    assert exemplars(rows, distances, "farthest", 3, 0).tolist() == [2, 7, 1]
    assert exemplars(rows, distances, "nearest", 50, 0).tolist() == [4, 9, 1, 2, 7]
    drawn = {tuple(exemplars(rows, distances, "random", 3, seed)) for seed in range(20)}
    assert len(drawn) > 3
    assert all(list(some) == sorted(set(some)) and set(some) <= set(rows) for some in drawn)
    one, two = (exemplars(some, distances, "random", 2, 3) for some in (rows, rows[::-1]))
    assert one.tolist() == two.tolist()
    assert exemplars(rows[:0], distances[:0], "random", 3, 0).tolist() == []

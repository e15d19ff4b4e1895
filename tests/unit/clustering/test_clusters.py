"""Scores against the formula, and canonical numbers."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from panoptic_assets.clustering.clusters import (
    REMAINDER_SCORE,
    canonical,
    numbered,
    renumbered,
    score,
    with_remainder_assigned,
)
from panoptic_assets.spec.computation import REMAINDER


def unit(rows):
    vectors = np.asarray(rows, dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def random_vectors(n, seed=0, dim=16):
    return unit(np.random.default_rng(seed).normal(size=(n, dim)))


def test_the_score_is_the_mean_squared_distance_to_the_mean_times_100():
    """A13: how close the images of a cluster are to each other."""
    vectors = random_vectors(50)
    mean = vectors.mean(axis=0)
    expected = 100 * ((vectors - mean) ** 2).sum(axis=1).mean()
    assert score(vectors) == pytest.approx(expected, abs=1e-3)


def test_identical_images_score_0_and_opposite_ones_100():
    assert score(unit([[1, 0], [-1, 0]])) == 100
    for vector in random_vectors(200, dim=512):
        assert score(np.repeat(vector[None], 30, axis=0)) == 0


def test_a_single_image_scores_0():
    assert {score(vector[None]) for vector in random_vectors(200, dim=512)} == {0}


def test_the_score_of_many_images_is_that_of_the_formula():
    """Summed in blocks, of which the last is not whole."""
    vectors = random_vectors(10_000)
    expected = 100 * (1 - np.square(vectors.mean(axis=0, dtype=np.float64)).sum())
    assert score(vectors) == pytest.approx(expected, abs=1e-4)


def test_the_tighter_cluster_has_the_lower_score_and_number():
    """A14, C5: clusters are listed from the lowest score."""
    tight = unit(np.array([1, 0, 0, 0]) + 0.01 * np.random.default_rng(1).normal(size=(10, 4)))
    loose = unit(np.array([0, 1, 0, 0]) + 0.50 * np.random.default_rng(2).normal(size=(10, 4)))
    clustering = canonical(np.repeat([0, 1], 10), np.vstack([loose, tight]))
    assert [cluster.number for cluster in clustering.clusters] == [0, 1]
    assert clustering.clusters[0].score < clustering.clusters[1].score
    assert clustering.labels.tolist() == [1] * 10 + [0] * 10


def test_clusters_of_one_score_are_ordered_by_size_then_by_first_image():
    a, b = [1.0, 0.0], [0.0, 1.0]
    clustering = canonical(np.array([7, 5, 5, 3]), unit([a, b, b, a]))
    assert clustering.labels.tolist() == [0, 2, 2, 1]
    assert [cluster.size for cluster in clustering.clusters] == [1, 1, 2]


def test_clusters_of_identical_images_are_ties_whatever_their_vectors():
    """DESIGN 7: equal scores are ordered by size, then by the smallest image id."""
    rows = np.repeat(np.arange(100), 1 + np.arange(100) % 3)
    clustering = canonical(99 - rows, random_vectors(100, dim=512)[rows])
    sizes = [cluster.size for cluster in clustering.clusters]
    assert sizes == sorted(sizes)
    for size in (1, 2, 3):
        firsts = [
            int(np.flatnonzero(clustering.labels == cluster.number)[0])
            for cluster in clustering.clusters
            if cluster.size == size
        ]
        assert firsts == sorted(firsts)


def test_the_remainder_scores_1000_and_comes_last_without_a_number():
    """C10: the remainder means very little coherence; K1: a bare -1 is never shown."""
    clustering = canonical(np.array([-1, 4, 4, -1]), random_vectors(4))
    assert clustering.labels.tolist() == [-1, 0, 0, -1]
    assert [cluster.number for cluster in clustering.clusters] == [0, REMAINDER]
    assert clustering.clusters[-1].score == REMAINDER_SCORE == 1000


def test_the_mean_score_weighs_clusters_by_size_and_leaves_the_remainder_out():
    a, b = [1.0, 0.0], [0.0, 1.0]
    clustering = canonical(np.array([0, 0, 1, 1, 1, 1, -1]), unit([a, b, a, a, a, a, b]))
    assert clustering.mean_score == pytest.approx((2 * 50 + 4 * 0) / 6)
    assert canonical(np.array([-1, -1]), unit([a, b])).mean_score == 1000


def test_the_baseline_is_the_score_of_everything():
    vectors = random_vectors(30)
    assert canonical(np.arange(30) % 3, vectors).baseline_score == score(vectors)


def test_the_medoid_is_the_image_nearest_to_the_mean():
    vectors = random_vectors(40, seed=3)
    clustering = canonical(np.arange(40) % 2, vectors)
    for cluster in clustering.clusters:
        rows = np.flatnonzero(clustering.labels == cluster.number)
        mean = vectors[rows].mean(axis=0)
        assert cluster.medoid == rows[np.argmax(vectors[rows] @ mean)]
        assert clustering.distances[cluster.medoid] == clustering.distances[rows].min()


def test_distances_are_finite_when_the_mean_is_zero():
    clustering = canonical(np.array([0, 0]), unit([[1, 0], [-1, 0]]))
    assert clustering.distances.tolist() == [1, 1]


@given(st.lists(st.integers(-1, 5), min_size=1, max_size=40), st.permutations(range(6)))
def test_renaming_clusters_changes_nothing(labels, names):
    """Equal partitions have equal numbers."""
    labels = np.array(labels)
    renamed = np.where(labels == REMAINDER, REMAINDER, np.array(names)[labels])
    vectors = random_vectors(len(labels), seed=len(labels))
    one, two = canonical(labels, vectors), canonical(renamed, vectors)
    assert one.labels.tolist() == two.labels.tolist()
    assert [replace(cluster, label=0) for cluster in one.clusters] == [
        replace(cluster, label=0) for cluster in two.clusters
    ]
    for cluster in two.clusters:
        assert set(renamed[two.labels == cluster.number]) == {cluster.label}


def test_the_remainder_can_be_put_into_the_nearest_clusters():
    """Far too much noise: may I assign it? Opt-in, and the raw answer stays."""
    a, b, near_a, near_b = [1.0, 0, 0], [0, 1.0, 0], [0.9, 0.1, 0.4], [0.2, 0.8, 0.4]
    vectors = unit([a, b, near_b, a, near_a])
    clustering = canonical(np.array([3, 7, -1, 3, -1]), vectors)
    before = clustering.labels.tolist()
    numbers = with_remainder_assigned(clustering, vectors)
    assert numbers.tolist() == [before[0], before[1], before[1], before[0], before[0]]
    assert clustering.labels.tolist() == before


def test_without_a_cluster_the_remainder_stays():
    clustering = canonical(np.array([-1, -1]), random_vectors(2))
    assert with_remainder_assigned(clustering, random_vectors(2)).tolist() == [-1, -1]


def test_labels_without_images_are_refused():
    with pytest.raises(ValueError, match="0 labels cannot describe 0 images"):
        canonical(np.array([], dtype=int), np.empty((0, 4), dtype=np.float32))
    with pytest.raises(ValueError, match="2 labels cannot describe 3 images"):
        canonical(np.array([0, 1]), random_vectors(3))


def test_numbers_that_are_given_stay():
    vectors = np.eye(4, dtype=np.float32)[[0, 0, 1, 2]]
    clustering = numbered(np.array([7, 7, 3, -1]), vectors)
    assert clustering.labels.tolist() == [7, 7, 3, -1]
    assert [(c.number, c.size) for c in clustering.clusters] == [(3, 1), (7, 2), (-1, 1)]


def test_renumbered_clusters_are_the_same_clusters():
    vectors = np.eye(4, dtype=np.float32)[[0, 0, 1, 2]]
    clustering = canonical(np.array([5, 5, 6, -1]), vectors)
    found = renumbered(clustering, {0: 1, 1: 0})
    assert found.labels.tolist() == [0, 0, 1, -1]
    assert [(c.number, c.size, c.label) for c in found.clusters] == [
        (1, 1, 6),
        (0, 2, 5),
        (-1, 1, -1),
    ]
    assert clustering.labels.tolist() == [1, 1, 0, -1]


def test_the_remainder_is_assigned_by_the_numbers_that_clusters_have():
    vectors = np.eye(4, dtype=np.float32)[[0, 1, 1, 0]]
    clustering = numbered(np.array([9, 4, 4, -1]), vectors)
    assert with_remainder_assigned(clustering, vectors).tolist() == [9, 4, 4, 9]

"""An automatic number of clusters finds what is there, says when nothing is, and is exact."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_limits

from panoptic_assets.clustering.algorithms.automatic import automatic
from panoptic_assets.clustering.algorithms.interface import Data
from panoptic_assets.clustering.algorithms.libraries import kmeans
from panoptic_assets.features.neighbors import nearest_neighbors

FORCED = "`nb_clusters: 2`, forces a cut"


def planted(nb_blobs=8, size=40, dim=64, noise=0.25, alone=0, common=0.0, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(nb_blobs, dim))
    rows = np.repeat(centres, size, axis=0) + noise * rng.normal(size=(nb_blobs * size, dim))
    rows = np.concatenate([rows, rng.normal(size=(alone, dim))])
    rows += common * rng.normal(size=dim)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


TRUTH = np.repeat(np.arange(8), 40)


def test_planted_blobs_are_found_without_their_number():
    """A10: nb_clusters -1 requests an automatic number of clusters."""
    outcome = automatic(Data(planted()), 0)
    assert adjusted_rand_score(TRUTH, outcome.labels) == 1
    assert outcome.notes == ()


@pytest.mark.parametrize("size", [5, 12, 150])
def test_blobs_of_any_size_are_found(size):
    """A10, C4."""
    outcome = automatic(Data(planted(size=size)), 0)
    assert adjusted_rand_score(np.repeat(np.arange(8), size), outcome.labels) == 1


def test_what_all_images_have_in_common_is_taken_away():
    """A10: vectors of a photographic model are all similar to each other."""
    vectors = planted(common=4)
    assert (vectors @ vectors.T).min() > 0.8
    assert adjusted_rand_score(TRUTH, automatic(Data(vectors), 0).labels) == 1


def test_images_that_are_like_no_others_are_the_remainder():
    """A10, K1: beside the clusters there is a remainder."""
    outcome = automatic(Data(planted(alone=5)), 0)
    assert adjusted_rand_score(TRUTH, outcome.labels[:320]) == 1
    assert set(outcome.labels[320:].tolist()) == {-1}


def test_images_that_are_like_no_others_mix_with_no_cluster():
    """A10, K1: among themselves some may be called a cluster, a loose one."""
    labels = automatic(Data(planted(alone=100, noise=0.5)), 0).labels
    assert adjusted_rand_score(TRUTH, labels[:320]) == 1
    assert not set(labels[:320]) & set(labels[320:])


def test_probabilities_are_0_in_the_remainder_and_a_majority_elsewhere():
    outcome = automatic(Data(planted(alone=25, noise=0.6)), 0)
    inside = outcome.labels >= 0
    assert outcome.probabilities.dtype == np.float32
    assert (outcome.probabilities[~inside] == 0).all()
    assert (outcome.probabilities[inside] >= 0.5).all() and outcome.probabilities.max() <= 1


def test_no_cluster_has_fewer_than_five_images():
    """A10, C10: no runaway number of pairs, not even where there is nothing but pairs."""
    pairs = planted(nb_blobs=60, size=2, noise=0.05)
    for vectors in (pairs, planted(alone=200, noise=0.8)):
        labels = automatic(Data(vectors), 0).labels
        assert np.bincount(labels[labels >= 0], minlength=1).max() < len(vectors) / 2
        sizes = np.bincount(labels[labels >= 0])
        assert (sizes[sizes > 0] >= 5).all()


def test_what_cannot_be_cut_is_the_remainder_and_a_number_cuts_it():
    """C10, C11, C12: asking again gives nothing again; a number must be given."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(400, 512))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    outcome = automatic(Data(vectors), 0)
    assert (outcome.labels == -1).all() and (outcome.probabilities == 0).all()
    assert "all images are the remainder" in outcome.notes[0] and FORCED in outcome.notes[0]
    forced = kmeans(
        Data(vectors), 0, nb_clusters=2, n_init=1, init="k-means++", max_iter=300, tol=1e-4
    )
    assert set(forced.labels.tolist()) == {0, 1}


def test_one_cluster_is_said_to_be_one():
    """C11, C12."""
    outcome = automatic(Data(planted(nb_blobs=1, size=400, noise=0.3, dim=3)[:6]), 0)
    assert set(outcome.labels.tolist()) <= {0, -1}
    assert FORCED in outcome.notes[0]


def test_identical_images_are_one_cluster():
    """C12: the libraries call them noise."""
    outcome = automatic(Data(np.repeat(planted()[:1], 20, axis=0)), 0)
    assert outcome.labels.tolist() == [0] * 20
    assert outcome.notes == ("All images are identical: they are one cluster.",)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_few_images_are_one_cluster(number):
    """A10, C12."""
    outcome = automatic(Data(np.repeat(planted()[::50][:number], 3, axis=0)), 0)
    assert outcome.labels.tolist() == [0] * (3 * number)
    if number > 1:
        assert f"Only {number} images differ" in outcome.notes[0] and FORCED in outcome.notes[0]


def test_one_image_is_one_cluster():
    outcome = automatic(Data(planted()[:1]), 0)
    assert outcome.labels.tolist() == [0]
    assert "one image" in outcome.notes[0]


def test_copies_share_their_label_and_change_no_other():
    """K3: copies do not make a place dense; of an image like no others, they are a cluster."""
    vectors = planted(alone=25)
    copies = np.concatenate([vectors, np.repeat(vectors[[0, 330]], 30, axis=0)])
    alone = automatic(Data(vectors), 0)
    outcome = automatic(Data(copies), 0)
    others = np.arange(345) != 330
    assert adjusted_rand_score(alone.labels[others], outcome.labels[:345][others]) == 1
    assert set(outcome.labels[345:375]) == {outcome.labels[0]}
    assert set(outcome.labels[375:]) == {outcome.labels[330]}
    assert np.count_nonzero(outcome.labels == outcome.labels[330]) == 31


@pytest.mark.parametrize("times", [2, 20])
def test_neighbours_behind_copies_are_those_found_without_copies(times):
    """K3: whether 50 known neighbours are enough behind the copies, or others must be found."""
    vectors = planted(noise=0.9)
    order = np.random.default_rng(0).permutation(320 * times)
    copies = np.repeat(vectors, times, axis=0)[order]
    first = np.unique(order // times, return_index=True)[1]
    graph = nearest_neighbors(copies, 50).indices.astype(np.int64)
    outcome = automatic(Data(copies, neighbors=lambda k: graph[:, :k]), 0)
    alone = automatic(Data(copies[np.sort(first)]), 0)
    assert outcome.labels[np.sort(first)].tolist() == alone.labels.tolist()


def test_an_image_at_the_mean_of_all_is_no_error():
    vectors = np.concatenate([np.eye(6), -np.eye(6)]).astype(np.float32)
    mean = np.zeros((1, 6), np.float32)
    mean[0, 0] = 1
    around = np.concatenate([vectors, mean, mean])
    assert automatic(Data(around), 0).labels.shape == (14,)
    assert automatic(Data(vectors), 0).labels.shape == (12,)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_points_of_a_projection_are_compared_by_distance(dimensions):
    """A10: a projection has no cosine; one of its points may be zero."""
    rng = np.random.default_rng(0)
    centres = 10 * np.arange(1, 7)[:, None] * np.ones(dimensions)
    points = np.repeat(centres, 10, axis=0) + 0.3 * rng.normal(size=(60, dimensions))
    points -= points[0]
    outcome = automatic(Data(points.astype(np.float32), unit=False), 0)
    found = outcome.labels >= 0
    truth = np.repeat(np.arange(6), 10)
    assert adjusted_rand_score(truth[found], outcome.labels[found]) > 0.8
    assert found.mean() > 0.9


HARD = {"noise": 0.9, "alone": 50}
"""What has no easy answer."""


def test_the_answer_is_the_same_ten_times_with_1_and_2_threads():
    """A4, K3: exact by default; in another process: tests/pipeline/test_another_process.py."""
    answers = set()
    for threads in (1, 2) * 5:
        with threadpool_limits(threads):
            answers.add(str(automatic(Data(planted(**HARD)), threads).labels.tolist()))
    assert len(answers) == 1
    assert len(set(answers.pop())) > 1

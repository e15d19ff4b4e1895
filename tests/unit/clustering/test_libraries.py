"""Every method: planted blobs, exactness, and the cases that break others."""

import os

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from panoptic_assets.clustering.algorithms.interface import Data, TargetTag, distinct
from panoptic_assets.clustering.clusters import canonical
from panoptic_assets.clustering.config import METHODS
from panoptic_assets.clustering.method_checks import method_checks
from panoptic_assets.clustering.methods import (
    Agglomerative,
    Birch,
    ClusterByTags,
    Consensus,
    FindDuplicates,
    Hdbscan,
    KMeans,
    MethodConfig,
    MiniBatchKMeans,
)
from panoptic_assets.spec.computation import NotComputableError
from panoptic_assets.spec.extensions import name_of


def blobs(nb_blobs=8, size=40, dim=64, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(nb_blobs, dim))
    rows = np.repeat(centres, size, axis=0) + 0.25 * rng.normal(size=(nb_blobs * size, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def encode(texts):
    # Each text is the vector of an image: of the number that it holds.
    return blobs()[[int(text) for text in texts]]


def data_of(points):
    runs = [np.arange(len(points)) // 40, np.arange(len(points)) // 20]
    tags = tuple(TargetTag((str(40 * number),)) for number in range(8))
    return Data(points, encode_texts=encode, tags=tags, runs=tuple(runs))


TRUTH = np.repeat(np.arange(8), 40)

TAGS = {"tags": ["any"], "templates": ["{}"]}
RUNS = {"runs": ["one", "two"]}
FINDING = {
    "kmeans": KMeans(nb_clusters=8),
    "kmeans, automatic": KMeans(nb_clusters=-1),
    "minibatch_kmeans": MiniBatchKMeans(nb_clusters=8, n_init=10),
    "minibatch_kmeans, automatic": MiniBatchKMeans(nb_clusters=-1),
    "birch": Birch(nb_clusters=8, threshold=0.4),
    "agglomerative": Agglomerative(nb_clusters=8),
    "agglomerative, distance": Agglomerative(distance_threshold=2.0),
    "agglomerative, neighbours": Agglomerative(nb_clusters=8, nb_neighbors=10),
    "agglomerative, cosine": Agglomerative(nb_clusters=8, linkage="average", metric="cosine"),
    "hdbscan": Hdbscan(min_samples=3),
    "hdbscan, cosine": Hdbscan(min_samples=3, metric="cosine"),
    "hdbscan, leaf": Hdbscan(min_cluster_size=20, cluster_selection_method="leaf"),
    "find_duplicates": FindDuplicates(min_similarity=0.7),
    "find_duplicates, connected": FindDuplicates(min_similarity=0.7, guarantee="connected"),
    "cluster_by_tags": ClusterByTags(**TAGS),
    "consensus": Consensus(**RUNS, nb_clusters=8),
    "consensus, automatic": Consensus(**RUNS, min_agreement=0.5),
}
"""One way of each method, and of its modes, to find the eight blobs."""

every_way = pytest.mark.parametrize("way", sorted(FINDING))


def test_every_method_is_among_the_ways():
    """A27, A33, E1, E5: one list of methods, each with its own parameters."""
    assert {name_of(type(way)) for way in FINDING.values()} >= {name_of(m) for m in METHODS}


@every_way
def test_planted_blobs_are_found(way):
    """A7, A8, E1: and every image has a label (D2)."""
    labels = FINDING[way].compute(data_of(blobs()), 0).labels
    clustered = labels >= 0
    assert clustered.mean() > 0.9
    assert adjusted_rand_score(TRUTH[clustered], labels[clustered]) == 1


@pytest.mark.parametrize(
    "check",
    [
        pytest.param(check, id=f"{way}-{check.__name__}")
        for way in sorted(FINDING)
        for check in method_checks(FINDING[way])
    ],
)
def test_every_method_does_what_is_asked_of_those_of_other_packages(check):
    """A4, K3, DESIGN 9; in another process: tests/pipeline/test_another_process.py."""
    check()


@every_way
def test_a_method_of_which_nothing_is_random_needs_no_seed(way):
    """Only k-means draws: the others give one answer for every seed."""
    method = FINDING[way]
    answers = {
        tuple(canonical(method.compute(data_of(blobs()), s).labels, blobs()).labels)
        for s in range(3)
    }
    assert len(answers) == 1  # and k-means finds the blobs whatever it draws


def test_another_seed_may_give_other_labels():
    for method in (KMeans(nb_clusters=30, n_init=1), MiniBatchKMeans(nb_clusters=30, n_init=1)):
        answers = {tuple(method.compute(data_of(blobs()), seed).labels) for seed in range(4)}
        assert len(answers) > 1


def images(case):
    """The points of an edge case."""
    points = blobs()
    return {
        "0 images": points[:0],
        "1 image": points[:1],
        "3 images": points[[0, 50, 100]],
        "20 identical": np.repeat(points[:1], 20, axis=0),
        "a NaN": np.where(np.arange(320)[:, None] == 7, np.float32("nan"), points),
        "an infinity": np.where(np.arange(320)[:, None] == 7, np.float32("inf"), points),
        "a zero vector": np.where(np.arange(320)[:, None] == 7, np.float32(0), points),
    }[case]


ASKED = {
    "kmeans": KMeans(),
    "kmeans, automatic": KMeans(nb_clusters=-1),
    "kmeans, 1000000": KMeans(nb_clusters=1_000_000),
    "minibatch_kmeans": MiniBatchKMeans(),
    "minibatch_kmeans, automatic": MiniBatchKMeans(nb_clusters=-1),
    "birch": Birch(),
    "birch, threshold": Birch(nb_clusters=None),
    "birch, automatic": Birch(nb_clusters=-1),
    "agglomerative": Agglomerative(),
    "agglomerative, distance": Agglomerative(distance_threshold=1.0),
    "agglomerative, neighbours": Agglomerative(nb_clusters=2, nb_neighbors=5),
    "hdbscan": Hdbscan(),
    "find_duplicates": FindDuplicates(min_similarity=0.95),
    "cluster_by_tags": ClusterByTags(**TAGS),
    "consensus": Consensus(**RUNS),
    "consensus, 2": Consensus(**RUNS, nb_clusters=2),
}
"""What is asked of each edge case: each method as it is by default."""

ONE = [0]
ALONE = "there is one image to divide: ask for 1"
FEW = "there are only 3 images to divide: ask for at most 3"
SAME = "of the 20 images to divide only 1 differs: ask for 1"
EDGES = {
    "1 image": {
        "kmeans": ALONE,
        "kmeans, automatic": ONE,
        "minibatch_kmeans": ALONE,
        "minibatch_kmeans, automatic": ONE,
        "birch": ALONE,
        "birch, threshold": ONE,
        "birch, automatic": ONE,
        "agglomerative": ALONE,
        "agglomerative, distance": ONE,
        "agglomerative, neighbours": ALONE,
        "hdbscan": "min_cluster_size is 5, but there is only one image",
        "find_duplicates": [-1],
        "cluster_by_tags": ONE,
        "consensus": [-1],
        "consensus, 2": "nb_clusters is 2",
    },
    "3 images": {
        "kmeans": FEW,
        "kmeans, automatic": [0, 0, 0],
        "minibatch_kmeans": FEW,
        "minibatch_kmeans, automatic": [0, 0, 0],
        "birch": FEW,
        "birch, threshold": [0, 1, 2],
        "birch, automatic": [0, 1, 2],
        "agglomerative": FEW,
        "agglomerative, distance": [0, 1, 2],
        "agglomerative, neighbours": [1, 0, 1],
        "hdbscan": "min_cluster_size is 5, but there are only 3 images",
        "find_duplicates": [-1, -1, -1],
        "cluster_by_tags": [0, 1, 2],
        "consensus": [0, 0, 0],
        "consensus, 2": "nb_clusters is 2",
    },
    "20 identical": {
        "kmeans": SAME,
        "kmeans, automatic": [0] * 20,
        "minibatch_kmeans": SAME,
        "minibatch_kmeans, automatic": [0] * 20,
        "birch": SAME,
        "birch, threshold": [0] * 20,
        "birch, automatic": [0] * 20,
        "agglomerative": SAME,
        "agglomerative, distance": [0] * 20,
        "agglomerative, neighbours": SAME,
        "hdbscan": [0] * 20,
        "find_duplicates": [0] * 20,
        "cluster_by_tags": [0] * 20,
        "consensus": [0] * 20,
        "consensus, 2": "nb_clusters is 2",
    },
}
for _way in ASKED:
    EDGES.setdefault("0 images", {})[_way] = "There is no image to divide"
    for _case in ("a NaN", "an infinity", "a zero vector"):
        EDGES.setdefault(_case, {})[_way] = "1 of 320 vectors cannot be used"
for _case in EDGES.values():
    _case["kmeans, 1000000"] = _case["kmeans"]


@pytest.mark.parametrize("case", EDGES)
@pytest.mark.parametrize("way", ASKED)
def test_small_and_strange_inputs_have_a_plain_message_or_a_defined_result(way, case):
    """Small or strange inputs must not crash with cryptic errors (DESIGN 9)."""
    expected = EDGES[case][way]
    data = data_of(images(case))
    if isinstance(expected, str):
        with pytest.raises(NotComputableError, match=expected) as caught:
            ASKED[way].computing(ASKED[way].algorithm)(data, 0)
        assert len(str(caught.value).splitlines()) == 1
    else:
        labels = ASKED[way].computing(ASKED[way].algorithm)(data, 0).labels
        found = canonical(labels, data.points).labels
        assert found.tolist() == expected
        if len(set(expected)) == 1 and -1 not in expected:
            # Panoptic calls identical images noise.
            assert canonical(labels, data.points).clusters[0].score < 100


@pytest.mark.parametrize(
    ("method", "rows"),
    [
        (KMeans(nb_clusters=-1), [0, 50, 100]),
        (MiniBatchKMeans(nb_clusters=-1), [0, 50, 100]),
        (Birch(nb_clusters=-1, threshold=2.0), range(320)),
        (Agglomerative(distance_threshold=100.0), range(320)),
        (Hdbscan(), range(0, 320, 40)),
    ],
    ids=lambda value: name_of(type(value)) if isinstance(value, MethodConfig) else "",
)
def test_one_cluster_or_none_is_said_with_what_forces_a_cut(method, rows):
    """C11, C12: a group that the method could not cut needs a number of clusters."""
    outcome = method.compute(Data(blobs()[list(rows)]), 0)
    assert len(set(outcome.labels.tolist())) == 1
    assert any("nb_clusters: 2" in note for note in outcome.notes)


def test_copies_of_an_image_do_not_make_a_place_dense():
    """DESIGN 9: exact copies are collapsed before density methods, and expanded after."""
    points = blobs()
    copied = np.concatenate([points, np.repeat(points[:1], 50, axis=0)])
    for method in (Hdbscan(min_samples=3), KMeans(nb_clusters=-1)):
        plain = method.compute(Data(points), 0).labels
        more = method.compute(Data(copied), 0).labels
        assert adjusted_rand_score(plain, more[:320]) == 1
        assert (more[320:] == more[0]).all()


def test_what_needs_more_memory_than_there_is_is_refused_with_the_estimate_and_a_way_out(
    monkeypatch,
):
    """D10: agglomerative clustering becomes expensive as the corpus grows."""
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 100, "SC_PAGE_SIZE": 4096}.get)
    with pytest.raises(NotComputableError, match="GiB of memory.*`nb_neighbors: 20`"):
        Agglomerative().compute(data_of(blobs()), 0)
    with pytest.raises(NotComputableError, match="a larger threshold"):
        Birch(threshold=0.01).compute(data_of(blobs()), 0)
    assert len(Agglomerative(nb_neighbors=20).compute(data_of(blobs()), 0).labels) == 320


def test_where_python_does_not_know_the_memory_nothing_is_refused_for_it(monkeypatch):
    monkeypatch.delattr(os, "sysconf")
    assert len(Agglomerative().compute(data_of(blobs()), 0).labels) == 320


def test_hdbscan_keeps_clusters_within_their_sizes():
    """D43, D44: min_cluster_size, max_cluster_size and the criteria of merging."""
    labels = Hdbscan(min_cluster_size=10, max_cluster_size=60).compute(Data(blobs()), 0).labels
    sizes = np.bincount(labels[labels >= 0])
    assert sizes.min() >= 10
    assert sizes.max() <= 60


def test_the_probability_of_belonging_is_told_by_methods_that_know_it():
    outcome = Hdbscan(min_samples=3).compute(Data(blobs()), 0)
    assert outcome.probabilities.dtype == np.float32
    assert (outcome.probabilities[outcome.labels == -1] == 0).all()


def test_birch_with_fewer_groups_than_clusters_asked_for_says_what_to_change():
    with pytest.raises(NotComputableError, match="only 1 groups?: ask for fewer clusters"):
        Birch(threshold=2.0).compute(Data(blobs()), 0)


def test_points_of_a_projection_may_be_zero_but_have_no_cosine_then():
    points = blobs()[:, :2].copy()
    points[5] = 0
    data = Data(points, unit=False)
    assert len(KMeans().compute(data, 0).labels) == 320
    for method in (Hdbscan(metric="cosine"), Agglomerative(linkage="average", metric="cosine")):
        with pytest.raises(NotComputableError, match="has no cosine"):
            method.compute(data, 0)


def test_distinct_rows_are_found_in_order():
    points = np.array([[1, 0], [0, 1], [1, 0], [0, 1], [2, -0.0], [2, 0]], np.float32)
    first, places = distinct(points)
    assert first.tolist() == [0, 1, 4]
    assert places.tolist() == [0, 1, 0, 1, 2, 2]


def test_neighbours_are_computed_when_none_are_stored():
    points = blobs()
    assert (data_of(points).nearest(5) // 40 == np.arange(320)[:, None] // 40).all()
    plane = Data(np.array([[0.0], [1.0], [3.0]], np.float32), unit=False)
    assert plane.nearest(9).tolist() == [[1, 2], [0, 2], [1, 0]]
    assert Data(points[:1]).nearest(5).shape == (1, 0)


def test_a_tag_is_written_with_those_above_it():
    assert TargetTag(("animals", "birds")).name == "animals > birds"


def test_fewer_clusters_than_asked_for_are_said():
    points = np.random.default_rng(0).normal(size=(60, 16)).astype(np.float32)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    outcome = MiniBatchKMeans(nb_clusters=40).compute(Data(points), 0)
    found = len(np.unique(outcome.labels))
    assert (found == 40) != any(f"only {found} have images" in note for note in outcome.notes)
    assert KMeans(nb_clusters=8).compute(Data(blobs()), 0).notes == ()


def test_a_graph_in_too_many_parts_is_refused_with_the_remedy():
    points = np.random.default_rng(0).normal(size=(1000, 64)).astype(np.float32)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    with pytest.raises(NotComputableError, match="parts, which take too long to join"):
        Agglomerative(nb_clusters=5, nb_neighbors=1).compute(Data(points), 0)

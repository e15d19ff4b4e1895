"""What runs agree on is found, exactly, and no run is heard on images that it did not have."""

import itertools

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_limits

from panoptic_assets.clustering.algorithms import consensus as module
from panoptic_assets.clustering.algorithms.consensus import consensus
from panoptic_assets.clustering.algorithms.interface import Data
from panoptic_assets.spec.computation import NotComputableError


def noisy_runs(n=300, k=6, nb_runs=7, changed=0.1, remainder=0.1, absent=0.1, seed=0):
    """A partition of which each run changes some labels, and leaves out others."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, k, n)
    runs = []
    for _ in range(nb_runs):
        labels = rng.permutation(k)[truth]
        for share, label in ((changed, rng.integers(0, k, n)), (remainder, -1), (absent, -2)):
            labels = np.where(rng.random(n) < share, label, labels)
        runs.append(labels.astype(np.int64))
    return truth, runs


def combine(runs, nb_clusters=-1, min_agreement=0.5, min_cluster_size=2, seed=0):
    runs = tuple(np.asarray(run, np.int64) for run in runs)
    return consensus(
        Data(np.ones((len(runs[0]), 2), np.float32), runs=runs),
        seed,
        nb_clusters=nb_clusters,
        min_agreement=min_agreement,
        min_cluster_size=min_cluster_size,
    )


def agreement(runs, one, two):
    """Of the runs that both images were in, the share that put them into one cluster."""
    both = [(run[one], run[two]) for run in runs if run[one] != -2 and run[two] != -2]
    return sum(a == b >= 0 for a, b in both) / len(both) if both else 0.0


def partition(labels, names=None):
    names = np.arange(len(labels)) if names is None else names
    return {frozenset(names[labels == label].tolist()) for label in set(labels.tolist()) - {-1}}


@pytest.mark.parametrize("nb_clusters", [-1, 3])
def test_runs_that_agree_give_their_own_clusters(nb_clusters):
    """D58: numbers differ from run to run, the clusters do not."""
    outcome = combine([[0, 0, 1, 1, 2, 2], [5, 5, 0, 0, 3, 3]], nb_clusters)
    assert partition(outcome.labels) == {frozenset({0, 1}), frozenset({2, 3}), frozenset({4, 5})}
    assert outcome.labels.dtype == np.int64
    assert outcome.probabilities.tolist() == [1] * 6
    assert outcome.probabilities.dtype == np.float32


def test_a_partition_is_found_again_in_runs_that_each_spoil_it():
    """D58: better than in any of the runs."""
    truth, runs = noisy_runs()
    assert max(adjusted_rand_score(truth, run) for run in runs) < 0.7
    assert adjusted_rand_score(truth, combine(runs, nb_clusters=6).labels) > 0.95


def test_groups_that_agree_are_parts_of_the_partition_that_runs_spoil():
    """D58: where every pair must agree, one that does not cuts a cluster, but mixes none."""
    truth, runs = noisy_runs()
    labels = combine(runs, min_agreement=0.5).labels
    assert (labels >= 0).mean() > 0.9
    of_most = sum(np.bincount(truth[list(group)]).max() for group in partition(labels))
    assert of_most / (labels >= 0).sum() > 0.98


@pytest.mark.parametrize("least", [0.2, 0.5, 2 / 3, 0.75, 1.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_every_two_images_of_a_cluster_agree_in_that_share_of_the_runs(least, seed):
    """D58: exactly, and no two clusters could be one."""
    _, runs = noisy_runs(n=80, k=4, nb_runs=6, changed=0.3, seed=seed)
    outcome = combine(runs, min_agreement=least, min_cluster_size=1)
    groups = partition(outcome.labels)
    agrees = {
        pair: agreement(runs, *pair) >= least for pair in itertools.permutations(range(80), 2)
    }
    for group in groups:
        assert all(agrees[pair] for pair in itertools.permutations(group, 2))
    for one, two in itertools.combinations(groups, 2):
        assert not all(agrees[pair] for pair in itertools.product(one, two))
    for row in np.flatnonzero(outcome.labels == -1):
        own = [run[row] for run in runs if run[row] != -2]
        assert sum(label >= 0 for label in own) < least * len(own) or max(own, default=-1) < 0


def test_in_the_remainder_an_image_agrees_with_nobody():
    """A33: what a run left over is no cluster."""
    assert combine([[-1, -1, 0, 0], [-1, -1, 0, 0]]).labels.tolist()[:2] == [-1, -1]
    outcome = combine([[-1, -1, 0, 0], [1, 1, 0, 0]], min_agreement=0.6)
    assert partition(outcome.labels) == {frozenset({2, 3})}
    outcome = combine([[-1, -1, 0, 0], [1, 1, 0, 0]], min_agreement=0.5)
    assert partition(outcome.labels) == {frozenset({0, 1}), frozenset({2, 3})}
    assert outcome.probabilities.tolist() == [0.5, 0.5, 1, 1]


def test_a_run_is_not_heard_on_images_that_it_did_not_have():
    runs = [[0, 0, 1, 1], [0, 0, -2, -2], [-2, -2, -2, 0]]
    outcome = combine(runs, min_agreement=1)
    assert partition(outcome.labels) == {frozenset({0, 1}), frozenset({2, 3})}
    assert outcome.probabilities.tolist() == [1] * 4


@pytest.mark.parametrize("nb_clusters", [-1, 1])
def test_images_that_no_run_put_into_a_cluster_are_the_remainder(nb_clusters):
    outcome = combine([[0, 0, -1, -2], [0, 0, -2, -2]], nb_clusters)
    assert outcome.labels[2:].tolist() == [-1, -1]
    assert outcome.probabilities.tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize("nb_clusters", [-1, 4])
def test_if_the_runs_have_no_cluster_a_note_says_so(nb_clusters):
    outcome = combine([[-1] * 5, [-1] * 5], nb_clusters)
    assert outcome.labels.tolist() == [-1] * 5
    assert "all images are the remainder" in outcome.notes[0]


def test_small_groups_are_the_remainder():
    runs = [[0, 0, 0, 1, 1, 2], [0, 0, 0, 1, 1, 2]]
    sizes = {size: partition(combine(runs, min_cluster_size=size).labels) for size in (1, 2, 3, 4)}
    assert [len(sizes[size]) for size in (1, 2, 3, 4)] == [3, 2, 1, 0]


def test_probabilities_are_the_agreement_with_the_others_of_the_cluster():
    _, runs = noisy_runs(n=60, k=3)
    outcome = combine(runs, nb_clusters=3)
    for row in range(60):
        others = np.flatnonzero((outcome.labels == outcome.labels[row]) & (np.arange(60) != row))
        pairs = [
            (run[row] >= 0) & (run[row] == run[other])
            for run in runs
            for other in others
            if run[row] != -2 and run[other] != -2
        ]
        assert outcome.probabilities[row] == pytest.approx(np.mean(pairs))


@pytest.mark.parametrize("nb_clusters", [-1, 5])
def test_another_order_of_the_images_gives_the_same_clusters(nb_clusters):
    """K3."""
    _, runs = noisy_runs(changed=0.3)
    order = np.random.default_rng(1).permutation(300)
    one = combine(runs, nb_clusters)
    two = combine([run[order] for run in runs], nb_clusters)
    assert partition(one.labels) == partition(two.labels, order)
    assert one.probabilities[order].tolist() == two.probabilities.tolist()


@pytest.mark.parametrize("nb_clusters", [-1, 5])
def test_one_and_two_threads_give_the_same_labels(nb_clusters):
    """A4, K3; in another process: tests/pipeline/test_another_process.py."""
    _, runs = noisy_runs(changed=0.3)
    with threadpool_limits(1):
        one = combine(runs, nb_clusters).labels
    with threadpool_limits(2):
        two = combine(runs, nb_clusters).labels
    assert one.tolist() == two.tolist()


def test_fewer_than_two_runs_or_too_many_clusters_are_refused():
    with pytest.raises(NotComputableError, match="two or more runs to compare, and there are 1"):
        combine([[0, 0]])
    with pytest.raises(NotComputableError, match="tell only 2 groups of images apart"):
        combine([[0, 0, 1], [0, 0, 1]], nb_clusters=3)


def test_runs_that_tell_too_many_images_apart_are_refused_with_a_way_out(monkeypatch):
    monkeypatch.setattr(module, "_MAX_PROFILES", 3)
    runs = [[0, 1, 2, 3], [0, 0, 1, 1]]
    with pytest.raises(NotComputableError, match="tell 4 groups of images apart.*nb_clusters"):
        combine(runs)
    assert len(partition(combine(runs, nb_clusters=2).labels)) == 2

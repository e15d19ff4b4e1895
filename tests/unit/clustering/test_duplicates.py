"""Groups of near-duplicates are exactly what they promise to be, checked by brute force."""

import tracemalloc

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import squareform
from threadpoolctl import threadpool_limits

from panoptic_assets.clustering.algorithms import duplicates
from panoptic_assets.clustering.algorithms.duplicates import complete_linkage, find_duplicates
from panoptic_assets.clustering.algorithms.interface import Data
from panoptic_assets.spec.computation import NotComputableError


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def random(n=300, dim=8, seed=0):
    return unit(np.random.default_rng(seed).normal(size=(n, dim)))


def clustered(n=300, dim=32, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(n // 6, dim))
    return unit(centres[rng.integers(0, len(centres), n)] + 0.25 * rng.normal(size=(n, dim)))


def chain(n=300, dim=8, seed=0):
    angles = np.random.default_rng(seed).permutation(np.linspace(0, 4, n))
    rows = np.zeros((n, dim))
    rows[:, 0], rows[:, 1] = np.cos(angles), np.sin(angles)
    return unit(rows)


def cone(n=300, dim=64, seed=0):
    """All cosines are around .94."""
    rng = np.random.default_rng(seed)
    return unit(rng.normal(size=dim) + 0.25 * rng.normal(size=(n, dim)))


def lattice(n=300, dim=8, seed=0):
    """Few coordinates, all of them small integers: many equal cosines, many copies."""
    rows = np.random.default_rng(seed).integers(-1, 2, size=(n, dim))
    rows[:, 0] = 2
    return unit(rows)


DATA = {maker.__name__: maker() for maker in (random, clustered, chain, cone, lattice)}

every_data = pytest.mark.parametrize("name", sorted(DATA))
both = pytest.mark.parametrize("guarantee", ["pairwise", "connected"])


def find(points, least, guarantee="pairwise"):
    return find_duplicates(Data(points), 0, min_similarity=least, guarantee=guarantee)


def cosines(points):
    """Every pair by itself, in float64; copies have 1."""
    exact = points.astype(np.float64)
    exact /= np.sqrt(np.square(exact).sum(axis=1))[:, None]
    products = np.stack([(exact * row).sum(axis=1) for row in exact])
    products[(points[:, None] == points).all(axis=2)] = 1
    return products


def partition(labels, names=None):
    names = np.arange(len(labels)) if names is None else names
    return {frozenset(names[labels == label].tolist()) for label in set(labels.tolist()) - {-1}}


@pytest.fixture(params=["linkage", "quicker rule"])
def way(request, monkeypatch):
    """Both ways to make groups, with blocks so small that there are many."""
    monkeypatch.setattr(duplicates, "_BLOCK", 32)
    monkeypatch.setattr(duplicates, "_WORKING_BYTES", 1 << 16)
    pairs = {"linkage": 10**6, "quicker rule": 0}[request.param]
    monkeypatch.setattr(duplicates, "_PAIRS_PER_IMAGE", pairs)


@every_data
@pytest.mark.parametrize("least", [0.5, 0.8, 0.95, 0.999])
def test_every_pair_of_a_group_reaches_the_least_similarity(name, least, way):
    """A29, A31, K4: to the last bit, and nobody who could be in a group is left over."""
    points = DATA[name]
    similar = cosines(points) >= least

    labels = find(points, least).labels

    groups = [np.array(sorted(group)) for group in partition(labels)]
    assert all(similar[np.ix_(group, group)].all() for group in groups)
    alone = np.flatnonzero(labels == -1)
    assert similar[np.ix_(alone, alone)].sum() == len(alone)
    assert all(not similar[np.ix_(group, alone)].all(axis=0).any() for group in groups)


@every_data
@pytest.mark.parametrize("least", [0.5, 0.8, 0.95, 0.999])
def test_connected_groups_are_the_components_of_all_pairs(name, least, monkeypatch):
    """K4: the loose mode."""
    monkeypatch.setattr(duplicates, "_BLOCK", 32)
    _, components = connected_components(cosines(DATA[name]) >= least, directed=False)

    labels = find(DATA[name], least, "connected").labels

    assert partition(labels) == {group for group in partition(components) if len(group) > 1}


@pytest.mark.parametrize("name", ["random", "clustered", "cone"])
@pytest.mark.parametrize("least", [0.5, 0.9, 0.94])
def test_groups_are_those_of_complete_linkage_on_all_pairs(name, least, monkeypatch):
    """A29: where no two pairs are equally similar, there is one answer."""
    monkeypatch.setattr(duplicates, "_PAIRS_PER_IMAGE", 10**6)
    distances = squareform(1 - cosines(DATA[name]), checks=False)
    expected = fcluster(linkage(distances, "complete"), 1 - least, "distance")

    labels = find(DATA[name], least).labels

    assert partition(labels) == {group for group in partition(expected) if len(group) > 1}


def test_linkage_of_pairs_without_any_pair_joins_nothing():
    labels = complete_linkage(np.empty(0), np.empty((0, 2), np.int32), 4)
    assert labels.tolist() == [0, 1, 2, 3]


@both
def test_a_cosine_at_the_threshold_passes_and_one_bit_below_does_not(guarantee):
    """A31: Panoptic rounds first, so that .9451 passes .95."""
    points = DATA["random"]
    exact = cosines(points)
    for row in range(0, 300, 30):
        other = (row + 7) % 300
        pair, least = points[[row, other]], exact[row, other]
        if least > 0:
            assert set(find(pair, least, guarantee).labels) != {-1}
            assert set(find(pair, np.nextafter(least, 2), guarantee).labels) == {-1}
    pair = np.array([[1, 0], [0.9451, np.sqrt(1 - 0.9451**2)]], np.float32)
    assert find(pair, 0.95, guarantee).labels.tolist() == [-1, -1]


@every_data
@both
def test_another_order_of_the_images_gives_the_same_groups(name, guarantee, way):
    """K3: equally similar pairs as well."""
    order = np.random.default_rng(5).permutation(300)
    one = find(DATA[name], 0.8, guarantee)
    two = find(DATA[name][order], 0.8, guarantee)
    assert partition(one.labels) == partition(two.labels, order)
    assert np.array_equal(one.similarities[order], two.similarities, equal_nan=True)


@every_data
def test_one_and_two_threads_give_the_same_labels(name):
    """A4, K3; in another process: tests/pipeline/test_another_process.py."""
    with threadpool_limits(1):
        one = find(DATA[name], 0.9).labels
    with threadpool_limits(2):
        two = find(DATA[name], 0.9).labels
    assert one.tolist() == two.tolist()


@every_data
@both
def test_similarities_are_the_least_cosine_to_the_own_group(name, guarantee, way):
    points = DATA[name]
    outcome = find(points, 0.8, guarantee)
    exact = cosines(points)
    for row, label in enumerate(outcome.labels):
        if label == -1:
            assert np.isnan(outcome.similarities[row])
        else:
            least = exact[row, outcome.labels == label].min()
            assert outcome.similarities[row] == pytest.approx(least, abs=1e-6)


@pytest.mark.parametrize("maker", ["chain", "cone", "clustered"])
@pytest.mark.parametrize("least", [0.5, 0.94])
@both
def test_memory_does_not_grow_with_the_number_of_pairs(maker, least, guarantee, monkeypatch):
    """DESIGN 14: 4,000 images, of which up to 8 million pairs are similar (64 MB as integers)."""
    monkeypatch.setattr(duplicates, "_BLOCK", 128)
    monkeypatch.setattr(duplicates, "_WORKING_BYTES", 1 << 20)
    monkeypatch.setattr(duplicates, "_PAIRS_PER_IMAGE", 4)
    points = globals()[maker](n=4000, dim=16)
    find(points[:50], least, guarantee)  # modules are imported by now
    tracemalloc.start()
    find(points, least, guarantee)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8e6


def test_components_of_few_pairs_are_joined_alike_beside_components_of_many():
    """The groups of some images do not depend on images that none of them is like."""
    few, many = np.pad(DATA["clustered"], ((0, 0), (0, 32))), np.zeros((300, 64), np.float32)
    many[:, 32:] = DATA["cone"][:, :32]
    alone, beside = find(few, 0.9), find(np.concatenate([few, many]), 0.9)
    assert partition(alone.labels) == partition(beside.labels[:300])
    assert "in 1 place(s)" in beside.notes[0]
    assert not alone.notes


def test_exact_copies_are_together_whatever_the_threshold():
    points = np.repeat(DATA["random"][:10], 3, axis=0)
    for guarantee in ("pairwise", "connected"):
        outcome = find(points, 1.0, guarantee)
        assert partition(outcome.labels) == {frozenset(range(i, i + 3)) for i in range(0, 30, 3)}
        assert set(outcome.similarities.tolist()) == {1.0}


def test_twenty_identical_images_are_one_group():
    assert partition(find(np.repeat(DATA["random"][:1], 20, axis=0), 0.95).labels) == {
        frozenset(range(20))
    }


@pytest.mark.parametrize("n", [1, 3])
def test_few_images_that_differ_are_all_the_remainder_and_a_note_says_what_to_do(n):
    """A31: the threshold can be modified."""
    outcome = find(np.eye(4, dtype=np.float32)[:n], None)
    assert outcome.labels.tolist() == [-1] * n
    [note] = outcome.notes
    assert "similarity of 0.95" in note
    assert "a lower min_similarity finds more" in note


def test_a_connected_group_that_is_not_alike_says_so():
    [note] = find(DATA["chain"], 0.95, "connected").notes
    assert "similarity of -1.00" in note


def test_points_of_a_projection_are_refused():
    data = Data(DATA["random"], unit=False)
    with pytest.raises(NotComputableError, match="take the vector type"):
        find_duplicates(data, 0, min_similarity=0.9, guarantee="pairwise")

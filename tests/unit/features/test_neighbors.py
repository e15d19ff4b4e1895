"""The graph is exact, and the same whatever the blocks, the threads and the history."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from panoptic_assets.features.neighbors import (
    Graph,
    nearest_neighbors,
    nearest_of,
    recall,
    scored,
    updated,
)
from panoptic_assets.spec.computation import NotComputableError


def unit(rows):
    rows = np.asarray(rows, dtype=np.float64)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def vectors(nb_rows, dim=24, seed=0):
    """Vectors of which a third are equal to another one, so that there are ties."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(nb_rows, dim))
    copies = rng.random(nb_rows) < 1 / 3
    rows[copies] = rows[rng.integers(0, nb_rows, copies.sum())]
    return unit(rows)


def by_definition(rows, k):
    """The graph from Python's integers, which have no limit, and a plain sort."""
    lengths = np.sqrt(np.square(rows.astype(np.float64)).sum(axis=1, keepdims=True))
    integers = np.rint(rows * (2**26 / lengths)).astype(np.int64).astype(object)
    products = integers @ integers.T
    indices, similarities = [], []
    for row, line in enumerate(products):
        places = [min((2 * int(value) + 2**30) // 2**31, 2**22) for value in line]
        order = sorted(set(range(len(rows))) - {row}, key=lambda other: (-places[other], other))
        indices.append(order[:k])
        similarities.append([places[other] / 2**22 for other in order[:k]])
    return indices, similarities


def equal(one, other):
    return (
        one.indices.dtype == other.indices.dtype == np.int32
        and one.similarities.dtype == other.similarities.dtype == np.float32
        and np.array_equal(one.indices, other.indices)
        and np.array_equal(one.similarities, other.similarities)
    )


@pytest.mark.parametrize("block", [1, 7, 64, 1024])
def test_the_graph_is_that_of_the_definition_whatever_the_blocks(block):
    rows = vectors(60)
    graph = nearest_neighbors(rows, 9, block)
    indices, similarities = by_definition(rows, 9)
    assert graph.indices.tolist() == indices
    assert graph.similarities.tolist() == similarities


def test_the_blocks_that_are_compared_can_be_followed():
    """Whatever takes more than a few seconds shows progress."""
    seen = []

    def track(pairs):
        for pair in pairs:
            seen.append((pair, len(pairs)))
            yield pair

    nearest_neighbors(vectors(50), 3, block=20, track=track)
    assert seen == [(pair, 6) for pair in [(0, 0), (0, 20), (0, 40), (20, 20), (20, 40), (40, 40)]]


def test_similarities_are_cosines():
    rows = vectors(80).astype(np.float64)
    graph = nearest_neighbors(rows.astype(np.float32), 79)
    cosines = np.take_along_axis(rows @ rows.T, graph.indices.astype(np.int64), axis=1)
    assert np.abs(cosines - graph.similarities).max() < 4e-7


def test_equal_images_are_neighbours_with_similarity_one_and_no_image_is_its_own():
    rows = unit(np.random.default_rng(0).normal(size=(40, 512)))
    rows[[3, 20, 35]] = rows[3]
    graph = nearest_neighbors(rows, 5)
    assert graph.indices[20, :2].tolist() == [3, 35]
    assert graph.similarities[[3, 20, 35], :2].tolist() == [[1, 1]] * 3
    assert not (graph.indices == np.arange(40)[:, None]).any()


@pytest.mark.parametrize("nb_rows", [0, 1, 2, 3, 6])
def test_fewer_images_than_neighbours_get_all_others(nb_rows):
    graph = nearest_neighbors(vectors(nb_rows), 6)
    assert graph.indices.shape == (nb_rows, max(0, min(6, nb_rows - 1)))
    for row, others in enumerate(graph.indices):
        assert sorted([row, *others]) == list(range(nb_rows))


def test_images_that_are_all_equal_have_the_first_others_as_neighbours():
    graph = nearest_neighbors(unit(np.ones((50, 8))), 3, 16)
    assert graph.indices[10].tolist() == [0, 1, 2]
    assert graph.indices[1].tolist() == [0, 2, 3]


def test_one_and_two_threads_give_the_same_graph():
    """In another process: tests/pipeline/test_another_process.py."""
    rows = vectors(1500, 512)
    with threadpool_limits(limits=1):
        one = nearest_neighbors(rows, 20)
    with threadpool_limits(limits=2):
        two = nearest_neighbors(rows, 20, 400)
    assert equal(one, two)


def test_the_order_of_the_rows_changes_names_and_nothing_else():
    """Distinct vectors: between ties, the order of rows decides, and is meant to."""
    rows = unit(np.random.default_rng(1).normal(size=(300, 64)))
    order = np.random.default_rng(2).permutation(300)
    graph, shuffled = nearest_neighbors(rows, 10), nearest_neighbors(rows[order], 10)
    assert np.array_equal(order[shuffled.indices], graph.indices[order])
    assert np.array_equal(shuffled.similarities, graph.similarities[order])


def test_some_rows_have_the_neighbours_that_they_have_in_the_whole_graph():
    rows, some = vectors(200), np.array([0, 3, 77, 199])
    whole = nearest_neighbors(rows, 8)
    part = nearest_of(rows, some, 8, 33)
    assert equal(part, Graph(whole.indices[some], whole.similarities[some]))


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_an_updated_graph_equals_one_made_from_nothing(data):
    """Images come, go and get other vectors, with many ties, in several refreshes."""
    k = data.draw(st.integers(1, 12))
    pool = vectors(data.draw(st.integers(1, 70)), 4, data.draw(st.integers(0, 9)))
    draw_set = st.sets(st.integers(0, len(pool) - 1))
    before = np.array(sorted(data.draw(draw_set)), dtype=np.int64)
    graph = nearest_neighbors(pool[before], k)
    for _ in range(data.draw(st.integers(1, 3))):
        gone = data.draw(st.sets(st.sampled_from([*range(len(pool))]), max_size=6))
        come = data.draw(st.sets(st.sampled_from([*range(len(pool))]), max_size=6))
        changed = data.draw(st.sets(st.sampled_from([*range(len(pool))]), max_size=2))
        pool = pool.copy()
        for row in changed:
            pool[row] = pool[0]
        after = np.array(sorted((set(before.tolist()) - gone) | come), dtype=np.int64)
        places = np.array(
            [
                after.searchsorted(row) if row in after and row not in changed else -1
                for row in before
            ],
            dtype=np.int64,
        )
        graph, _ = updated(pool[after], k, graph, places, data.draw(st.sampled_from([3, 16, 1024])))
        assert equal(graph, nearest_neighbors(pool[after], k))
        before = after


def test_one_new_image_is_compared_with_all_and_no_other_one_is():
    rows = vectors(300)
    graph, compared = updated(rows, 5, nearest_neighbors(rows[:299], 5), np.arange(299))
    assert compared == 1
    assert equal(graph, nearest_neighbors(rows, 5))


def test_the_best_candidates_are_the_exact_graph_when_they_hold_it():
    rows = vectors(120)
    candidates = np.array([np.random.default_rng(row).permutation(120) for row in range(120)])
    assert equal(scored(rows, candidates, 7), nearest_neighbors(rows, 7))


def test_recall_is_the_share_of_the_exact_neighbours():
    exact = nearest_neighbors(vectors(50), 4)
    found = exact.indices.copy()
    found[:, 3] = np.arange(50)  # itself, which is never a neighbour
    assert recall(exact, exact) == 1
    assert recall(Graph(found, exact.similarities), exact) == 0.75


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, 2.0])
def test_vectors_that_are_not_of_unit_length_are_refused(value):
    rows = vectors(5)
    rows[2] = value
    with pytest.raises(NotComputableError, match="not of unit length"):
        nearest_neighbors(rows, 2)

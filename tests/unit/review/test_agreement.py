"""Agreement of two labelings: equal to scikit-learn, to sums by hand, to brute force."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from sklearn import metrics

from panoptic_assets.review import agreement as core
from panoptic_assets.review.agreement import Labeling, compare_labelings, contingency, largest_part
from resources.errors import text_of


def labeling(labels, remainder=(), size=None):
    """Groups 0, 1, …, of which some are remainders."""
    values = np.array(labels, np.int64)
    flags = np.zeros(size or int(values.max(initial=-1)) + 1, bool)
    flags[list(remainder)] = True
    return Labeling(values, flags)


def drawn(seed, n=400, k=7, changed=0.4):
    generator = np.random.default_rng(seed)
    a = generator.integers(0, k, n)
    b = np.where(generator.random(n) < changed, generator.integers(0, k + 2, n), (a * 3) % k)
    return labeling(a, size=k), labeling(b, size=k + 2)


def dense(table):
    counts = np.zeros((len(table.sizes_a), len(table.sizes_b)), np.int64)
    counts[table.a, table.b] = table.counts
    return counts


def jaccard(table):
    counts = dense(table)
    union = table.sizes_a[:, None] + table.sizes_b[None, :] - counts
    return np.divide(counts, union, out=np.zeros(counts.shape), where=union > 0)


PAIRS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=40)


@pytest.mark.parametrize("seed", range(5))
def test_the_figures_are_those_of_scikit_learn(seed):
    """D57: of homogeneity and completeness, with the second side as the truth."""
    a, b = drawn(seed)
    found = compare_labelings(a, b).counted
    one, two = a.labels, b.labels
    assert found.adjusted_rand == metrics.adjusted_rand_score(one, two)
    assert found.adjusted_mutual_information == metrics.adjusted_mutual_info_score(one, two)
    assert found.homogeneity == metrics.homogeneity_score(two, one)
    assert found.completeness == metrics.completeness_score(two, one)
    assert found.v_measure == metrics.v_measure_score(two, one)
    assert (
        dense(compare_labelings(a, b).table) == metrics.cluster.contingency_matrix(one, two)
    ).all()


def test_the_variation_of_information_is_that_of_an_example_by_hand():
    """Two halves against two thirds and one third, of six images: cells of 3, 1 and 2 images.

    Given B, only its larger part leaves a doubt: H(A|B) = 4/6 · h(1/4). Given A, only its second
    half does: H(B|A) = 1/2 · h(1/3). With h(1/4) = 2 − 3/4 · log2 3 and h(1/3) = log2 3 − 2/3
    they sum up to 1 bit.
    """
    a, b = labeling([0, 0, 0, 1, 1, 1]), labeling([0, 0, 0, 0, 1, 1])
    assert compare_labelings(a, b).counted.variation_of_information == pytest.approx(1.0, abs=1e-12)
    one_cluster, singles = labeling([0] * 8), labeling(range(8))
    assert compare_labelings(one_cluster, singles).counted.variation_of_information == 3.0


@settings(max_examples=200, deadline=None)
@given(PAIRS)
def test_the_variation_of_information_is_symmetric_to_the_bit_and_0_on_itself(pairs):
    """D57: a distance (Meilă, 2007)."""
    a, b = (labeling(side, size=6) for side in zip(*pairs, strict=True))
    there = core.variation_of_information(contingency(a, b))
    assert there == core.variation_of_information(contingency(b, a))
    assert 0 <= there <= math.log2(len(pairs)) + 1e-9
    itself = core.variation_of_information(contingency(a, a))
    assert (itself, math.copysign(1, itself)) == (0.0, 1.0)


@settings(max_examples=100, deadline=None)
@given(PAIRS, PAIRS)
def test_the_variation_of_information_keeps_the_triangle(first, second):
    n = min(len(first), len(second))
    a, b = (labeling(side, size=6) for side in zip(*first[:n], strict=True))
    c = labeling([pair[0] for pair in second[:n]], size=6)

    def distance(one, two):
        return core.variation_of_information(contingency(one, two))

    assert distance(a, c) <= distance(a, b) + distance(b, c) + 1e-9


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), min_size=1, max_size=60))
def test_matched_pairs_are_those_of_brute_force(pairs):
    """D57: over all one-to-one matches of up to 8 clusters, none overlaps more."""
    a, b = (labeling(np.unique(side, return_inverse=True)[1]) for side in zip(*pairs, strict=True))
    table = contingency(a, b)
    overlaps = jaccard(table)
    if overlaps.shape[0] > overlaps.shape[1]:
        overlaps = overlaps.T
    places = np.array(list(itertools.permutations(range(overlaps.shape[1]), len(overlaps))))
    best = overlaps[np.arange(len(overlaps)), places].sum(axis=1).max()
    matched = core.match(table)
    assert sum(pair.jaccard for pair in matched) == pytest.approx(best, abs=1e-12)
    assert len({pair.a for pair in matched}) == len({pair.b for pair in matched}) == len(matched)
    counts = dense(table)
    assert all(pair.both == counts[pair.a, pair.b] > 0 for pair in matched)


@pytest.mark.parametrize(("k", "changed"), [(40, 0.5), (200, 1.0)])
def test_many_clusters_are_matched_as_a_dense_solver_does(k, changed):
    a, b = drawn(1, n=5_000, k=k, changed=changed)
    table = contingency(a, b)
    rows, columns = linear_sum_assignment(jaccard(table), maximize=True)
    best = jaccard(table)[rows, columns].sum()
    assert sum(pair.jaccard for pair in core.match(table)) == pytest.approx(best, abs=1e-9)


def test_of_equally_good_matches_the_same_one_is_always_taken():
    ties = labeling([0, 0, 1, 1]), labeling([0, 1, 0, 1])
    found = {core.match(contingency(*ties)) for _ in range(20)}
    assert len(found) == 1


def test_images_move_when_they_leave_the_counterpart_of_their_cluster():
    a = labeling([0, 0, 0, 1, 1, 2])
    b = labeling([1, 1, 0, 0, 0, 0])
    found = compare_labelings(a, b)
    assert [(pair.a, pair.b, pair.both) for pair in found.counted.matched] == [(0, 1, 2), (1, 0, 2)]
    assert found.moved.tolist() == [False, False, True, False, False, False]
    counted = found.counted
    assert (counted.nb_stayed, counted.nb_moved, counted.nb_unmatched) == (4, 1, 1)


def test_the_remainder_is_counted_as_a_cluster_and_left_out():
    """A33, D46: on the images that are in no remainder, the figures are those of these alone."""
    a = labeling([0, 0, 1, 1, 2, 2], remainder=[2])
    b = labeling([0, 0, 1, 2, 1, 2], remainder=[2])
    found = compare_labelings(a, b)
    assert found.counted.nb_images == 6
    assert found.counted.adjusted_rand == metrics.adjusted_rand_score(a.labels, b.labels)
    assert (found.left_out.nb_images, found.left_out.nb_groups) == (3, (2, 2))
    assert found.left_out.adjusted_rand == 1.0
    assert found.left_out.variation_of_information == 0.0
    assert found.counted.variation_of_information > 0


def test_without_an_image_in_clusters_of_both_there_are_no_figures_but_a_reason():
    a = labeling([0, 0, 1, 1], remainder=[1])
    b = labeling([0, 0, 1, 1], remainder=[0])
    found = compare_labelings(a, b).left_out
    assert text_of(found.reason) == "no image is in a cluster of both"
    assert found.adjusted_rand is found.v_measure is found.variation_of_information is None
    assert (found.nb_images, found.matched) == (0, ())


def test_the_ami_of_too_many_clusters_is_left_out_and_says_so(monkeypatch):
    monkeypatch.setattr(core, "MOST_PAIRS", 48)
    a, b = drawn(0)
    found = compare_labelings(a, b).counted
    assert found.adjusted_mutual_information is None
    assert text_of(found.reason) == "no AMI: 7 × 9 pairs of clusters take too long"
    assert found.adjusted_rand is not None


def test_labels_of_other_images_are_refused():
    with pytest.raises(ValueError, match="3 labels cannot be compared with 2"):
        compare_labelings(labeling([0, 0, 1]), labeling([0, 1]))


@pytest.mark.parametrize("most", [1, 3, 5, 100])
def test_an_excerpt_has_matches_on_its_diagonal_and_every_image(most):
    a, b = drawn(3, k=9)
    table = contingency(a, b)
    matched = core.match(table)
    found = largest_part(table, matched, most)
    partner = {pair.a: pair.b for pair in matched}
    for row, column in zip(
        found.rows[: found.nb_matched], found.columns[: found.nb_matched], strict=True
    ):
        assert partner[int(row)] == column
    assert len(found.rows) <= most
    assert len(found.columns) <= most
    assert found.counts.sum() == 400
    counts = dense(table)
    shown = found.counts[: len(found.rows), : len(found.columns)]
    assert (shown == counts[np.ix_(found.rows, found.columns)]).all()
    assert found.counts.shape == (
        len(found.rows) + bool(found.nb_rows_summed),
        len(found.columns) + bool(found.nb_columns_summed),
    )
    assert found.nb_rows_summed == 9 - len(found.rows)

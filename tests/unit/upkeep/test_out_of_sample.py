"""Assigning newcomers, drift and carried numbers, on vectors whose answer can be told by hand."""

import numpy as np
import pytest

from panoptic_assets.upkeep.out_of_sample import (
    assigned,
    carried_numbers,
    described_clusters,
    nb_moved,
    nearest_clusters,
    novelty,
)


def at(*degrees):
    """Unit vectors in the plane."""
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def labels(*numbers):
    return np.array(numbers, np.int64)


EAST_AND_NORTH = described_clusters(labels(7, 7, 2, 2), at(-10, 10, 80, 100))


def test_clusters_are_described_by_their_numbers_and_the_directions_of_their_means():
    assert EAST_AND_NORTH.numbers.tolist() == [2, 7]
    assert EAST_AND_NORTH.directions == pytest.approx(np.array([[0, 1], [1, 0]]), abs=1e-6)


def test_an_image_is_compared_with_the_mean_of_the_others():
    """Of two images, 20 degrees apart, each is as far from the other as a third one would be."""
    far = 1 - np.cos(np.deg2rad(20))
    assert EAST_AND_NORTH.radii == pytest.approx([far, far], abs=1e-6)
    assert EAST_AND_NORTH.usual[0] == pytest.approx([far, far], abs=1e-6)


def test_the_remainder_is_no_cluster_but_says_how_far_images_usually_are():
    found = described_clusters(labels(0, 0, -1), at(0, 10, 90))
    assert found.numbers.tolist() == [0]
    assert found.radii == pytest.approx([1 - np.cos(np.deg2rad(10))], abs=1e-6)
    assert found.usual[0][-1] == pytest.approx(1 - np.cos(np.deg2rad(85)), abs=1e-6)


def test_a_cluster_of_one_image_has_no_radius_and_its_image_counts_with_the_next_cluster():
    found = described_clusters(labels(0, 1, 1), at(0, 90, 90))
    assert found.radii.tolist() == [0, 0]
    assert [len(usual) for usual in found.usual] == [0, 3]


def test_newcomers_go_to_the_nearest_cluster_by_its_number():
    assert assigned(EAST_AND_NORTH, at(30, 60, 170), False).tolist() == [7, 2, 2]


def test_of_clusters_that_are_equally_near_the_lowest_number_is_taken():
    found = described_clusters(labels(3, 3, 1, 1), np.eye(4, dtype=np.float32)[[0, 0, 1, 1]])
    assert assigned(found, np.eye(4, dtype=np.float32)[[2]], False).tolist() == [1]


def test_what_is_farther_than_every_image_of_the_cluster_is_left_over():
    """The radius is 20 degrees, and a cluster of identical images takes only such ones."""
    assert assigned(EAST_AND_NORTH, at(19, 21, 71), True).tolist() == [7, -1, 2]
    identical = described_clusters(labels(0, 0), at(5, 5))
    assert assigned(identical, at(5, 6), True).tolist() == [0, -1]


def test_without_a_cluster_all_is_left_over_and_nothing_is_new():
    nothing = described_clusters(labels(-1, -1), at(0, 10))
    assert assigned(nothing, at(0, 90), False).tolist() == [-1, -1]
    assert novelty(nothing, at(0)) is None


def test_nothing_is_new_without_newcomers():
    assert novelty(EAST_AND_NORTH, at()) is None


def test_blocks_give_what_one_block_gives(monkeypatch):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(50, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    numbers = rng.integers(-1, 4, 50)
    whole = described_clusters(numbers, vectors)
    monkeypatch.setattr("panoptic_assets.upkeep.out_of_sample._BLOCK", 7)
    parts = described_clusters(numbers, vectors)
    assert all(np.array_equal(a, b) for a, b in zip(whole.usual, parts.usual, strict=True))
    assert np.array_equal(whole.radii, parts.radii)
    assert (
        nearest_clusters(whole, vectors).distances.tolist()
        == nearest_clusters(parts, vectors).distances.tolist()
    )


def test_a_newcomer_counts_by_the_images_that_are_as_far():
    """Of 39 images, 1 to 39 degrees from it: 5 % of 40 is two, so at most one may be as far."""
    usual = 1 - np.cos(np.deg2rad(np.arange(1, 40)))
    found = described_clusters(labels(0, 0), at(0, 0))
    found = type(found)(found.numbers, found.directions, found.radii, (np.round(usual, 6),))
    assert novelty(found, at(50)) == 1
    assert novelty(found, at(38.5)) == 1
    assert novelty(found, at(37.5)) == 0
    assert novelty(found, at(50, 1, 2, 3)) == 0.25


def test_a_small_cluster_cannot_say_more_than_its_images_do():
    found = described_clusters(labels(*[0] * 9), at(*range(9)))
    assert novelty(found, at(90)) == 0.5


@pytest.mark.parametrize(("nb_images", "nb_clusters"), [(4000, 40), (2000, 300)])
def test_of_newcomers_like_the_others_one_in_twenty_is_unusual(nb_images, nb_clusters):
    """Whatever the size of the clusters: 100 images, or 7."""
    rng = np.random.default_rng(1)
    numbers = rng.integers(0, nb_clusters, 2 * nb_images)
    vectors = rng.normal(size=(nb_clusters, 32))[numbers] + rng.normal(size=(2 * nb_images, 32))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    found = described_clusters(numbers[:nb_images], vectors[:nb_images])
    assert novelty(found, vectors[nb_images:]) == pytest.approx(0.05, abs=0.015)


def test_newcomers_of_another_kind_are_unusual():
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(300, 32)) + 4 * np.eye(32)[rng.integers(0, 3, 300)]
    strange = rng.normal(size=(50, 32)) + 4 * np.eye(32)[9]
    vectors, strange = (
        (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)
        for found in (vectors, strange)
    )
    found = described_clusters(np.argmax(vectors[:, :3], axis=1), vectors)
    assert novelty(found, strange) > 0.8


def test_clusters_keep_the_numbers_of_those_with_the_same_images():
    new, old = labels(0, 0, 1, 1, 2), labels(4, 4, 0, 0, 9)
    assert carried_numbers(new, old, 3, 10) == {0: 4, 1: 0, 2: 9}


def test_of_a_cluster_that_was_split_the_larger_part_keeps_the_number():
    new, old = labels(0, 1, 1, 1, 2), labels(5, 5, 5, 5, 6)
    assert carried_numbers(new, old, 3, 7) == {0: 7, 1: 5, 2: 6}


def test_the_pairing_of_the_greatest_total_overlap_is_taken_not_the_best_pair_first():
    """5 overlaps 0 by 10/18, the best pair; but with 1 and 6 with 0, by 4/14 each, more is kept."""
    new = labels(*[0] * 10, *[1] * 4, *[0] * 4)
    old = labels(*[5] * 10, *[5] * 4, *[6] * 4)
    assert carried_numbers(new, old, 2, 7) == {0: 6, 1: 5}


def test_clusters_that_share_hardly_an_image_are_not_the_same():
    new, old = labels(*[0] * 20), labels(3, *range(10, 29))
    assert carried_numbers(new, old, 1, 40) == {0: 40}


def test_new_clusters_get_numbers_that_were_never_used():
    """A number that went with its cluster is not given again: nodes and tags speak of it."""
    assert carried_numbers(labels(0, 1), labels(0, -1), 3, 12) == {0: 0, 1: 12, 2: 13}


def test_the_remainder_is_matched_with_no_cluster():
    assert carried_numbers(labels(-1, 0), labels(0, -1), 1, 1) == {0: 1}


def test_moved_are_images_in_another_cluster():
    assert nb_moved(["0", "1", "remainder"], ["0", "2", "remainder"]) == 1

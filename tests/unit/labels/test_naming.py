"""Zero-shot names of clusters, on images and terms whose directions are chosen."""

import numpy as np
import pytest

from panoptic_assets.labels.naming import ClusterToLabel, coverage, name_clusters


def cluster(node, *images):
    return ClusterToLabel(node, f"{node.rpartition('/')[0]}@1", images or (node,), False, None)


def named(nodes, shares, terms, broader=None, **options):
    """Names by given shares; by default no term includes another."""
    clusters = [cluster(node) for node in nodes]
    return name_clusters(
        clusters, np.array(shares, float), terms, broader or [-1] * len(terms), **options
    )


def labels(*arguments, **options):
    return [suggestion.label for suggestion in named(*arguments, **options)]


def directions(*rows):
    vectors = np.array(rows, np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_shares_follow_the_formula_and_a_broader_term_gets_those_it_includes():
    images = directions([1, 0, 0], [1, 1, 0], [0, 1, 1], [0, 0, 1])
    texts = directions([1, 0, 0], [0, 1, 0], [0, 0, 1])
    found = coverage(images, [np.array([0, 1]), np.array([2, 3])], texts, [2, 2, -1])
    cosines = images.astype(float) @ texts.T
    scaled = (cosines - cosines.mean(1, keepdims=True)) / cosines.std(1, keepdims=True)
    shares = np.exp(3.5 * scaled) / np.exp(3.5 * scaled).sum(1, keepdims=True)
    means = np.array([shares[:2].mean(0), shares[2:].mean(0)])
    means[:, 2] = means.sum(1)
    np.testing.assert_allclose(found, means, atol=1e-6)
    np.testing.assert_allclose(found[:, 2], 1)


def test_the_scale_of_a_models_cosines_has_no_effect():
    generator = np.random.default_rng(0)
    images, texts = (
        directions(*generator.normal(size=(20, 8))),
        directions(*generator.normal(size=(9, 8))),
    )
    rows, nothing = [np.arange(20)], [-1] * 9
    half = directions(*np.hstack([texts, np.full((9, 1), np.sqrt(3))]))  # each cosine is halved
    wider = np.hstack([images, np.zeros((20, 1), np.float32)])
    np.testing.assert_allclose(
        coverage(wider, rows, half, nothing), coverage(images, rows, texts, nothing), atol=1e-5
    )


def test_a_cluster_is_called_by_what_tells_it_from_its_siblings():
    """`tool` covers both best; the names are what only one of them is."""
    shares = [[0.6, 0.4, 0.0], [0.6, 0.0, 0.4]]
    found = named(["r/0", "r/1"], shares, ["tool", "hammer", "saw"])
    assert [suggestion.label for suggestion in found] == ["hammer", "saw"]
    assert found[0].score == pytest.approx(np.sqrt(0.4 * 1))
    assert found[0].alternatives == ("tool",)


def test_the_weaker_of_two_clusters_takes_its_next_best_term_if_that_is_close():
    found = named(["r/0", "r/1"], [[0.9, 0.0], [0.6, 0.4]], ["fish", "coral"])
    assert [suggestion.label for suggestion in found] == ["fish", "coral"]
    close = named(["r/0", "r/1"], [[0.9, 0.1, 0], [0.8, 0, 0.15]], ["fish", "sea", "coral"])
    assert close[1].label == "coral"
    assert close[1].reason == "'fish' fits r/0 better."


def test_where_nothing_else_is_close_all_that_share_a_name_get_a_second_term():
    shares = [[0.9, 0.02, 0.0], [0.9, 0.0, 0.02], [0.0, 0.0, 0.0]]
    found = named(["r/0", "r/1", "r/2"], shares, ["fish", "sea", "coral"])
    assert [suggestion.label for suggestion in found[:2]] == ["fish, sea", "fish, coral"]
    assert found[0].reason == "r/1 fits 'fish' as well."


def test_a_second_term_is_not_a_broader_one():
    terms, broader = ["fish", "animal", "coral", "sea"], [1, -1, -1, -1]
    animals = [[0.0, 0.9, 0.0, 0.0]] * 6
    shares = [[0.9, 0.9, 0.02, 0.0], [0.9, 0.9, 0.0, 0.02], *animals]
    found = labels([f"r/{number}" for number in range(8)], shares, terms, broader)
    assert found[:2] == ["fish, coral", "fish, sea"]


def test_a_child_is_not_called_what_a_node_above_it_is_or_anything_broader():
    terms, broader = ["animal", "fish", "shark", "ray"], [-1, 0, 1, 1]
    nodes = ["r/0", "r/1", "r/0/0", "r/0/1", "r/0/0/0"]
    shares = [
        [0.9, 0.9, 0.3, 0.3],
        [0.1, 0.0, 0.0, 0.0],
        [1.0, 1.0, 0.3, 0.0],
        [1.0, 1.0, 0.0, 0.2],
        [1.0, 1.0, 0.5, 0.1],
    ]
    found = labels(nodes, shares, terms, broader)
    assert found == ["fish", "animal", "shark", "ray", "ray"]


def test_a_cluster_without_siblings_is_called_by_the_narrowest_term_that_covers_it():
    shares = [[0.95, 0.9, 0.3]]
    assert labels(["r/0"], shares, ["animal", "fish", "shark"], [-1, 0, 1]) == ["fish"]


def test_neither_the_order_of_clusters_nor_of_terms_has_an_effect():
    generator = np.random.default_rng(1)
    shares = generator.dirichlet(np.ones(9), size=6).round(2)
    nodes, terms = [f"r/{number}" for number in range(6)], list("abcdefghi")
    expected = dict(zip(nodes, labels(nodes, shares, terms), strict=True))
    for seed in range(5):
        rows, columns = (np.random.default_rng(seed).permutation(n) for n in (6, 9))
        mixed = [nodes[row] for row in rows]
        found = labels(mixed, shares[rows][:, columns], [terms[c] for c in columns])
        assert dict(zip(mixed, found, strict=True)) == expected


def test_equal_scores_are_decided_by_the_text():
    assert labels(["r/0"], [[0.5, 0.5]], ["b", "a"]) == ["a"]


def test_one_term_for_many_clusters_is_the_name_of_all_and_that_is_said():
    found = named(["r/0", "r/1"], [[1.0], [1.0]], ["fish"])
    assert [suggestion.label for suggestion in found] == ["fish", "fish"]
    assert "no other term" in found[0].reason
    [below] = named(["r/0", "r/0/0"], [[1.0], [1.0]], ["fish"])[1:]
    assert below.label is None and "a node above" in below.reason


def test_a_cluster_without_vectors_has_no_label_and_the_reason_why():
    images = directions([1, 0], [0, 1])
    found = coverage(images, [np.array([0]), np.array([], np.int64)], images, [-1, -1])
    first, second = name_clusters([cluster("r/0"), cluster("r/1")], found, ["a", "b"], [-1, -1])
    assert (first.label, second.label) == ("a", None)
    assert second.reason == "None of its images has a vector."


def test_a_score_that_is_too_low_gives_no_label_and_takes_no_name_away():
    found = named(["r/0", "r/1"], [[0.9, 0.1], [0.2, 0.1]], ["fish", "sea"], min_score=0.5)
    assert [suggestion.label for suggestion in found] == ["fish", None]
    assert "below min_score" in found[1].reason


def test_no_clusters_have_no_names():
    assert name_clusters([], np.empty((0, 1)), ["a"], [-1]) == []


def test_terms_with_one_and_the_same_vector_cover_an_image_alike():
    texts = directions([1, 0.3], [1, 0.3], [1, 0.3])
    found = coverage(directions([1, 0]), [np.array([0])], texts, [-1] * 3)
    np.testing.assert_allclose(found, 1 / 3)

"""Stale clusterings, nodes and places."""

from panoptic_assets.spec.tree import Branch, parent_of, places, stale, walk


def test_the_parent_of_a_node_is_the_clustering_that_made_its_cluster():
    assert parent_of("greek") is None
    assert parent_of("greek/3") == "greek"
    assert parent_of("greek/3/0") == "greek/3"


def test_a_clustering_is_stale_when_its_parent_gives_other_clusters():
    """A19, and DESIGN 5: what lies under a clustering that was made again is stale."""
    branches = [Branch("a", "new", None), Branch("a/1", "x", "old"), Branch("a/2", "y", "new")]
    assert stale(branches) == {"a/1"}


def test_everything_below_a_stale_clustering_is_stale():
    branches = [Branch("a", "2", None), Branch("a/0", "x", "1"), Branch("a/0/5", "y", "x")]
    assert stale(branches) == {"a/0", "a/0/5"}


def test_a_parent_made_again_with_the_same_clusters_makes_nothing_stale():
    assert stale([Branch("a", "same", None), Branch("a/0", "x", "same")]) == set()


def test_a_clustering_without_its_parent_is_stale():
    assert stale([Branch("a/0", "x", "1")]) == {"a/0"}


def test_an_image_is_at_the_deepest_node_that_holds_it():
    """A20: clusters can be divided again and again."""
    assignments = {
        "a": {"i": "0", "j": "1", "k": "1"},
        "a/1": {"j": "0", "k": "remainder"},
        "a/1/remainder": {"k": "0"},
    }
    assert places(assignments, "a") == {"i": "a/0", "j": "a/1/0", "k": "a/1/remainder/0"}


def test_an_image_that_a_nested_clustering_left_out_stays_above():
    assert places({"a": {"i": "0", "j": "0"}, "a/0": {"i": "1"}}, "a") == {"i": "a/0/1", "j": "a/0"}


def test_nodes_are_listed_parents_before_children():
    clusters = {"a": ["0", "1"], "a/0": ["0", "remainder"], "b": ["0"]}
    assert list(walk(clusters, "a")) == ["a/0", "a/0/0", "a/0/remainder", "a/1"]

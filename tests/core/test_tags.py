"""The tag log's events and their replay."""

from panoptic_assets.core.tags import (
    TagTables,
    counts,
    free_name,
    in_tree_order,
    paths,
    replay,
    save,
)

RECORDS = {"r": ("r@1", "hash-r"), "r/1": ("r/1@1", "hash-r1")}
NODES = ["r/0", "r/1", "r/1/0", "r/1/remainder"]
PLACES = {"i": "r/0", "j": "r/1/0", "k": "r/1/remainder", "l": "r/1"}


def event(property_name="Clustering"):
    return save(property_name, "r", NODES, RECORDS, PLACES, "remainder")


def test_saving_gives_hierarchical_tags_from_the_whole_tree():
    """A24, A25: each image's cluster as a tag; tags are nested as the clusters are."""
    tags = {tag.node: tag for tag in event().tags}
    assert list(tags) == NODES
    assert tags["r/1/0"].parent_id == tags["r/1"].tag_id
    assert tags["r/0"].parent_id is None
    assert tags["r/1/0"].record_id == "r/1@1"
    assert paths(event().tags)[tags["r/1/0"].tag_id] == "1 > 0"


def test_every_image_has_the_tag_of_its_deepest_node():
    nodes = {tag.tag_id: tag.node for tag in event().tags}
    assert {image: nodes[tag] for tag, image in event().images} == PLACES


def test_the_remainder_is_a_tag_that_says_so():
    """K8: saved as a tag, and known as the remainder."""
    assert [tag.node for tag in event().tags if tag.is_remainder] == ["r/1/remainder"]


def test_the_same_save_gives_the_same_tag_ids():
    assert event() == event()
    assert not {tag.tag_id for tag in event().tags} & {tag.tag_id for tag in event("Autre").tags}


def test_replay_keeps_the_last_save_of_each_property():
    smaller = save("Clustering", "r", ["r/0"], RECORDS, {"i": "r/0"}, "remainder")
    replayed = replay([event(), event("Époque"), smaller])
    assert {tag.property for tag in replayed.tags} == {"Clustering", "Époque"}
    assert [tag.node for tag in replayed.tags if tag.property == "Clustering"] == ["r/0"]
    assert len(replayed.images) == 1 + len(PLACES)


def test_an_empty_log_leaves_no_tags():
    assert replay([]) == TagTables([], [])


def test_a_tag_counts_the_images_below_it():
    saved = event()
    by_node = {
        tag.node: counts(TagTables(list(saved.tags), list(saved.images)))[tag.tag_id]
        for tag in saved.tags
    }
    assert by_node == {"r/0": 1, "r/1": 3, "r/1/0": 1, "r/1/remainder": 1}


def test_siblings_are_ordered_as_numbers_with_the_remainder_last():
    nodes = ["r/10", "r/remainder", "r/9", "r/9/0"]
    tags = save("P", "r", nodes, RECORDS | {"r/9": ("r/9@1", "h")}, {}, "remainder").tags
    assert [tag.node for tag in in_tree_order(tags)] == ["r/9", "r/9/0", "r/10", "r/remainder"]


def test_a_taken_name_gets_the_next_number():
    """K9: a second save under a taken name is never silent."""
    assert free_name("Clustering", []) == "Clustering"
    assert free_name("Clustering", ["Clustering"]) == "Clustering (2)"
    assert free_name("Clustering", ["Clustering", "Clustering (2)"]) == "Clustering (3)"

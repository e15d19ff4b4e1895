"""Where the store and Dagster know of different things."""

import pytest

from panoptic_assets.upkeep.mismatches import (
    InDagster,
    InStore,
    Mismatch,
    deleted_in_dagster,
    mismatches,
)

HELD = {("clustering", "greek"): "one", ("nested_clustering", "greek/3"): "two"}
PARTITIONS = {"runs": {"greek"}, "nodes": {"greek/3"}}


def compared(held=HELD, partitions=PARTITIONS, told=HELD, **options):
    once = {"greek", "greek/3", *options.pop("once", ())}
    registered = options.pop("registered", ())
    store, dagster = InStore(held, once, registered), InDagster(partitions, told)
    return [(one.asset, one.key, one.what) for one in mismatches(store, dagster, **options)]


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({}, []),
        (
            {"partitions": {"runs": {"greek"}, "nodes": set()}},
            [("nested_clustering", "greek/3", "no partition")],
        ),
        (
            {"told": {("clustering", "greek"): "one"}},
            [("nested_clustering", "greek/3", "not materialized")],
        ),
        (
            {"told": HELD | {("clustering", "greek"): "older"}},
            [("clustering", "greek", "another version")],
        ),
        ({"held": HELD | {("clustering", "greek"): None}, "told": HELD}, []),
        ({"held": {}}, [(*place, "nothing in the store") for place in HELD]),
        ({"held": {}, "told": {}}, [(*place, "nothing in the store") for place in HELD]),
        ({"held": {}, "told": {}, "registered": {"greek", "greek/3"}}, []),
        ({"partitions": PARTITIONS | {"runs": {"greek", "asked-for"}}}, []),
        ({"held": {}, "run_keys": ["roman"]}, []),
    ],
)
def test_each_kind_of_mismatch_is_found_and_what_is_in_progress_is_none(changed, found):
    """A partition that was asked for and is not computed yet is people's."""
    assert compared(**changed) == found


@pytest.mark.parametrize(
    ("asset", "with_run", "found"),
    [
        ("clustering_report", True, False),
        ("clustering_report", False, True),
        ("saved_clustering", True, False),
        ("cluster_labels", True, True),
    ],
)
def test_what_was_made_of_a_run_is_too_much_when_the_run_is_gone(asset, with_run, found):
    """Pages and saved tags stay as long as there is the run; labels are in the store or not."""
    held = HELD if with_run else {}
    told = {**held, (asset, "greek"): "three"}
    partitions = PARTITIONS if with_run else {"runs": set(), "nodes": set()}
    expected = [(asset, "greek", "nothing in the store")] if found else []
    assert compared(held, partitions, told) == expected


def test_a_whole_tree_that_was_deleted_is_named_by_its_run():
    gone = [
        Mismatch("clustering", "greek", "no partition"),
        Mismatch("nested_clustering", "greek/3", "no partition"),
        Mismatch("cluster_labels", "greek", "not materialized"),
        Mismatch("nested_clustering", "roman/1", "not materialized"),
        Mismatch("nested_clustering", "roman/10", "not materialized"),
        Mismatch("cluster_labels", "roman", "not materialized"),
        Mismatch("clustering", "late", "another version"),
        Mismatch("clustering", "lost", "nothing in the store"),
        Mismatch("saved_clustering", "late", "not materialized"),
    ]
    assert deleted_in_dagster(gone) == (["greek", "roman/1", "roman/10"], ["roman"])

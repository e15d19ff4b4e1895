"""Why something is stale, counted and in words."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from panoptic_assets.spec.languages import language
from panoptic_assets.upkeep.reasons import (
    KINDS,
    Reason,
    SavedClustering,
    Seen,
    Staleness,
    judged_labels,
    judged_save,
    most_urgent_first,
    what_changed,
)
from resources.errors import message

WHY = message("why", id="why")


def seen(in_scope, embedded=None, present=None, files=None, vectors=None):
    """What is looked at; by default all of it is embedded, and is the whole corpus."""
    return Seen(
        set(in_scope),
        sorted(in_scope if embedded is None else embedded),
        set(in_scope if present is None else present),
        files or {},
        vectors,
    )


def counts(reasons):
    return {reason.kind: reason.count for reason in reasons}


def test_what_is_as_it_was_has_no_reason():
    assert what_changed(seen("abc"), seen("abc")) == []


def test_images_that_came_and_went_are_counted_apart():
    found = what_changed(seen("abc"), seen("cdefg"))
    assert counts(found) == {"images_added": 4, "images_removed": 2}
    assert [reason.text for reason in found] == ["4 images added", "2 images removed"]


def test_added_images_that_lack_features_are_told():
    [reason] = what_changed(seen("a"), seen("abc", embedded="ab"))
    assert (reason.kind, reason.count) == ("images_added", 2)
    assert reason.text == "2 images added (1 without features yet)"


@pytest.mark.parametrize(
    ("then", "now", "said"),
    [
        (seen("ab", present="abcd"), seen("bcd", present="abcd"), "its scope takes 2 images more"),
        (seen("ab", present="abcd"), seen("a", present="abcd"), "its scope takes 1 image fewer"),
        (seen("a", embedded=""), seen("a"), "1 image without features then that have some now"),
        (seen("a"), seen("a", embedded=""), "1 image without the features that they had"),
    ],
)
def test_a_reason_is_said_in_french_with_what_it_counts(then, now, said):
    [reason] = what_changed(then, now)
    assert reason.text.startswith(said)
    french = language("fr").message(reason.said)
    assert french != reason.text
    assert "image" in french


def test_a_file_that_holds_another_image_is_a_change_and_neither_added_nor_removed():
    then = seen("ab", files={"1.jpg": "a", "2.jpg": "b"})
    now = seen("ac", files={"1.jpg": "a", "2.jpg": "c"})
    [reason] = what_changed(then, now)
    assert (reason.kind, reason.count) == ("images_changed", 1)


def test_a_file_that_was_overwritten_by_a_known_image_is_a_removal():
    then = seen("ab", files={"1.jpg": "a", "2.jpg": "b"})
    now = seen("a", files={"2.jpg": "a"})
    assert counts(what_changed(then, now)) == {"images_removed": 1}


def test_an_image_that_moved_is_no_reason():
    then = seen("a", files={"1.jpg": "a"})
    assert what_changed(then, seen("a", files={"2.jpg": "a"})) == []


def test_vectors_that_came_later_for_images_in_scope_are_a_reason():
    assert counts(what_changed(seen("abc", embedded="a"), seen("abc"))) == {"images_embedded": 2}


def test_vectors_that_are_gone_are_a_reason():
    assert counts(what_changed(seen("abc"), seen("abc", embedded="ab"))) == {"vectors_removed": 1}


def test_images_that_only_the_scope_takes_or_leaves_are_no_new_images():
    then = seen("ab", present="abcd")
    now = seen("bcd", present="abcd")
    [reason] = what_changed(then, now)
    assert reason.kind == "scope_changed"
    assert reason.text == (
        "its scope takes 2 images more and 1 image fewer of those that the corpus had"
    )


def test_other_vectors_of_the_same_images_are_counted():
    before = np.eye(3, 4, dtype=np.float32)
    after = before.copy()
    after[1] = [0, 0, 0, 1]
    found = what_changed(seen("abc", vectors=before), seen("abc", vectors=after))
    assert counts(found) == {"vectors_changed": 1}


def test_vectors_of_another_width_are_all_others():
    before, after = np.eye(3, 4, dtype=np.float32), np.eye(3, 5, dtype=np.float32)
    found = what_changed(seen("abc", vectors=before), seen("abc", vectors=after))
    assert counts(found) == {"vectors_changed": 3}


IDS = st.sets(st.sampled_from("abcdefgh"))


@given(IDS, IDS, IDS, IDS)
def test_without_a_reason_nothing_that_is_read_differs(then, now, embedded_then, embedded_now):
    """A run is never called up to date whose images, or images with vectors, are others."""
    before = seen(then, embedded=then & embedded_then, present=set("abcdefgh"))
    after = seen(now, embedded=now & embedded_now, present=set("abcdefgh"))
    same = then == now and then & embedded_then == now & embedded_now
    assert (what_changed(before, after) == []) == same


def test_labels_of_the_clusters_as_they_are_have_no_reason():
    assert judged_labels([("r", "0"), ("r", "1")], [("r", "0"), ("r", "1")], {"r"}) == []


def test_clusters_without_a_label_and_labels_of_older_clusters_are_counted():
    found = judged_labels([("old", "0"), ("r", "0")], [("r", "0"), ("r", "1"), ("n", "0")], "rn")
    assert counts(found) == {"labels_outdated": 1, "clusters_unlabelled": 2}


def test_the_label_of_a_remainder_is_no_reason():
    assert judged_labels([("r", "0"), ("r", "remainder")], [("r", "0")], {"r"}) == []


def save(saved, valid, stale=(), run_is_stale=False):
    """`valid`: for each clustering its record, and whether it was there at the save."""
    clusterings = {key: SavedClustering(*value) for key, value in valid.items()}
    return counts(judged_save(saved, clusterings, set(stale), "a", run_is_stale))


def test_a_save_of_the_tree_as_it_is_has_no_reason():
    assert save({"a": "r", "a/0": "n"}, {"a": ("r", True), "a/0": ("n", True)}) == {}


def test_a_clustering_that_was_made_again_or_later_is_a_reason():
    valid = {"a": ("new", False), "a/0": ("n", False)}
    assert save({"a": "r"}, valid) == {"clusterings_renewed": 1, "clusterings_unsaved": 1}


def test_levels_that_were_left_out_of_a_save_are_no_reason():
    valid = {"a": ("r", True), "a/0": ("n", True), "a/1": ("m", False), "a/1/0": ("k", False)}
    assert save({"a": "r"}, valid) == {}


def test_a_saved_clustering_that_is_stale_by_now_is_a_reason():
    assert save({"a": "r", "a/0": "n"}, {"a": ("r", True)}, {"a/0"}) == {"clusterings_stale": 1}


def test_a_save_of_a_stale_run_is_stale():
    assert save({"a": "r"}, {"a": ("r", True)}, run_is_stale=True) == {"run_stale": 1}


def test_a_save_of_a_run_that_is_gone_is_stale():
    assert save({"a": "r"}, {}) == {"not_possible": 1}


@pytest.mark.parametrize(
    ("kinds", "state"),
    [
        ((), "up to date"),
        (("not_judged",), "unknown"),
        (("not_judged", "code_changed"), "stale"),
        *(((kind,), "stale") for kind in KINDS if kind != "not_judged"),
    ],
)
def test_every_reason_but_ignorance_makes_stale(kinds, state):
    reasons = tuple(Reason(kind, 1, WHY) for kind in kinds)
    assert Staleness("clustering", "a", "a", reasons).state == state


def test_what_is_stale_is_listed_first():
    def judged(key, *kinds):
        return Staleness("clustering", key, key, tuple(Reason(kind, 1, WHY) for kind in kinds))

    given = [judged("a"), judged("b", "not_judged"), judged("c", "images_added")]
    assert [one.key for one in most_urgent_first(given)] == ["c", "b", "a"]


def test_counts_of_one_kind_are_added_up():
    reasons = (Reason("tags_changed", 2, WHY), Reason("tags_changed", 3, WHY))
    assert Staleness("clustering", "a", "a", reasons).counts == {"tags_changed": 5}

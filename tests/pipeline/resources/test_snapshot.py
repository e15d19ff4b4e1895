"""Snapshots: a store as it was when each of its tables was first looked at."""

from panoptic_assets.clustering.mark_log import append_mark, read_marks
from resources.lance import LanceStore
from resources.snapshot import Snapshot


def test_a_snapshot_of_a_snapshot_is_of_the_store_from_now_on(tmp_path):
    """An act that was overtaken looks again: else it would for ever find what it has found."""
    store = LanceStore(uri=str(tmp_path / "store"))
    append_mark(store, "policy", "greek", "Ada")
    before = Snapshot.of(store)
    assert len(read_marks(before)) == 1
    append_mark(store, "policy", "greek", "Bob")
    assert len(read_marks(before)) == 1
    again = Snapshot.of(before)
    assert [mark.author for mark in read_marks(again)] == ["Ada", "Bob"]
    assert (before.is_current(), again.is_current()) == (False, True)

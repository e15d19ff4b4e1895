"""Marks in the store: appending them, beside others who do."""

from panoptic_assets.clustering.mark_log import append_mark, read_marks
from resources.lance import LanceStore
from resources.snapshot import Snapshot


def test_of_two_who_append_a_mark_after_the_same_one_the_second_is_told(tmp_path):
    """And whoever does not mind which marks there are finds the next number."""
    store = LanceStore(uri=str(tmp_path / "store"))
    both = [Snapshot.of(store) for _ in range(2)]
    assert [len(read_marks(one)) for one in both] == [0, 0]
    numbers = [append_mark(one, "undo", "greek", "Ada", act="greek@1", after=0) for one in both]
    assert numbers == [1, None]
    assert append_mark(both[1], "labels", "greek", "Ada") == 2

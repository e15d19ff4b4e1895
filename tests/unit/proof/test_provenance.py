"""Where a tag on an image comes from, through renames, merges, splits and undone events."""

from panoptic_assets.proof.provenance import origin
from panoptic_assets.spec.tag_log import Event, Tag, save_event
from panoptic_assets.tags.edits import Images, resolve_edits

RECORDS = {"k": ("k@1-a", "output")}


def saved():
    places = {"one": "k/0", "two": "k/0", "three": "k/1"}
    return save_event("P", "k", ["k/0", "k/1"], RECORDS, places, "remainder")


def tag_of(event, node):
    return next(tag.tag_id for tag in event.tags if tag.node == node)


def test_a_saved_tag_goes_back_to_its_save_and_names_what_changed_it():
    event = saved()
    zero, one = tag_of(event, "k/0"), tag_of(event, "k/1")
    log = [
        event,
        Event("rename", "P", tag_id=zero, name="Vases"),
        Event("rename", "P", tag_id=one, name="Coins"),
        Event("recolour", "P", tag_id=zero, colour="#ffffff"),
        Event("undo", event=4),
    ]
    found = origin(log, zero, "one")
    assert (found.numbers, found.given, found.saved) == ([1, 2], 1, 1)
    assert (found.cluster.record_id, found.cluster.node) == ("k@1-a", "k/0")


def test_what_was_merged_goes_back_to_the_cluster_that_it_was():
    event = saved()
    zero, one = tag_of(event, "k/0"), tag_of(event, "k/1")
    log = [event, Event("merge", "P", tag_id=zero, tag_ids=(one,))]
    found = origin(log, zero, "three")
    assert (found.numbers, found.saved, found.cluster.node) == ([1, 2], 1, "k/1")
    assert origin(log, zero, "one").cluster.node == "k/0"


def test_what_was_split_goes_back_to_what_it_was_split_from():
    event = saved()
    zero = tag_of(event, "k/0")
    made = Tag("new", "P", "Half", zero)
    log = [event, Event("split", "P", (made,), (("new", "one"),), tag_id=zero)]
    found = origin(log, "new", "one")
    assert (found.given, found.saved, found.cluster.node) == (2, 1, "k/0")
    assert found.numbers == [1, 2]


def test_what_a_person_gave_goes_back_to_no_cluster():
    event = saved()
    zero = tag_of(event, "k/0")
    log = [event, Event("assign", "P", images=((zero, "three"),), only=True)]
    found = origin(log, zero, "three")
    assert (found.given, found.saved, found.cluster) == (2, None, None)


def test_a_later_save_that_keeps_the_tag_is_the_one_that_gives_it():
    first = saved()
    zero = tag_of(first, "k/0")
    tags = tuple(Tag(tag.tag_id, "P", tag.name, None, "k@2-b", tag.node) for tag in first.tags)
    again = Event("save", "P", tags, first.images, run_key="k", carries_over=True)
    found = origin([first, again], zero, "one")
    assert (found.given, found.saved, found.cluster.record_id) == (2, 2, "k@2-b")


def test_an_accept_concerns_its_own_images_alone():
    """Though it says from which parts of a remainder they were taken."""
    rest = Tag("rest", "P", "remainder", None, "k@1-a", "k/remainder", is_remainder=True)
    parts = tuple(Tag(f"part {n}", "P", str(n), "rest", "k@1-b", f"k/{n}") for n in range(2))
    images = (("part 0", "one"), ("part 0", "two"), ("part 1", "three"))
    log = [
        Event("save", "P", (rest, *parts), images, run_key="k"),
        Event("create", "P", (Tag("kept", "P", "Vases"),)),
    ]
    find = Images(lambda name: name)
    log += resolve_edits(
        [{"accept": {"property": "P", "tag": "Vases", "images": ["two"]}}], log, find
    )
    assert log[-1].tag_ids == ("part 0",)
    log.append(Event("accept", "P", images=(("kept", "three"),), tag_ids=("part 0", "part 1")))
    assert origin(log, "part 0", "one").numbers == [1]
    assert origin(log, "kept", "two").numbers == [2, 3]
    log.append(Event("assign", "P", images=(("part 0", "two"),)))
    assert origin(log, "part 0", "two").numbers == [1, 3, 5]

"""What the events of the tag log did, in words."""

import pytest

from panoptic_assets.spec.languages import language
from panoptic_assets.spec.tag_log import Event, Tag
from panoptic_assets.spec.tag_words import in_words
from resources.errors import text_of

SAVE = Event("save", "P", tags=(Tag("a", "P", "a"), Tag("b", "P", "b")), run_key="r")


def told(*events, **options):
    """The last of some events in words, after a save of the tags a and b."""
    return text_of(in_words([SAVE, *events], **options)[-1])


def test_a_log_is_told_in_the_names_of_its_time():
    renamed = Event("rename", "P", tag_id="a", name="A")
    assert told() == "run r: 2 tags"
    assert told(renamed) == "a → A"
    assert told(renamed, Event("merge", "P", tag_id="a", tag_ids=("b",))) == "b into A"
    assert told(renamed, Event("accept", "P", images=(("a", "k"),))) == "A: 1 image"


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (Event("create_property", "P"), "P"),
        (Event("create", "P", tags=(Tag("c", "P", "c"), Tag("d", "P", "d", "c"))), "c, d"),
        (Event("split", "P", tags=(Tag("c", "P", "c"),), tag_id="a"), "a into c"),
        (Event("split", "P", images=(("b", "k"), ("b", "l")), tag_id="a"), "a → b: 2 images"),
        (Event("move", "P", tag_id="a", parent_id="b"), "a under b"),
        (Event("move", "P", tag_id="a"), "a to the top"),
        (Event("recolour", "P", tag_id="a", colour="#aabbcc"), "a: #aabbcc"),
        (Event("recolour", "P", tag_id="a"), "a: no colour"),
        (Event("delete", "P", tag_ids=("a", "b")), "a, b"),
        (
            Event("import", "P", tags=(Tag("c", "P", "c"),), images=(("c", "k"),)),
            "1 tag made, 1 image",
        ),
        (Event("undo", "P", event=1), "event 1"),
        (Event("rename", "P", tag_id="a", name="{0} {x!r}"), "a → {0} {x!r}"),
    ],
)
def test_each_kind_of_event_has_its_words(event, text):
    assert told(event) == text


def test_images_that_were_not_read_are_counted_all_the_same():
    event = Event("accept", "P")
    assert told(event, nb_images=[0, 1234]) == "?: 1,234 images"


def test_the_names_of_many_tags_are_cut():
    event = Event("create", "P", tags=tuple(Tag(f"t{n}", "P", f"t{n}") for n in range(9)))
    assert told(event) == "t0, t1, t2, t3, t4, t5, …"


def test_a_message_is_said_in_another_language_with_the_messages_in_it():
    """The words of a history are translated as any message is."""
    [_, said] = in_words([SAVE, Event("accept", "P", images=(("a", "k"), ("a", "l")))])
    assert language("fr").message(said).startswith("a")

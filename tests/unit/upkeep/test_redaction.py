"""What is left of texts and of the tag log without an image."""

from unicodedata import normalize

import pytest

from panoptic_assets.spec.tag_log import Event, Tag, replay
from panoptic_assets.upkeep.redaction import FORGOTTEN, Redaction, without_images

ID = "ab12cd34" + "5" * 56
REDACTION = Redaction([ID], ["a/cat.jpg"], "/home/ada/images")


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"as {ID} says", f"as {FORGOTTEN} says"),
        ("'ab12cd345'", f"'{FORGOTTEN}'"),
        ("ab12cd3", "ab12cd3"),  # too short for the beginning of an id
        ("ab12cd34f", "ab12cd34f"),
        ("taken for 'a/cat.jpg'.", f"taken for '{FORGOTTEN}'."),
        ("/home/ada/images/a/cat.jpg", FORGOTTEN),
        ("b/a/cat.jpg", "b/a/cat.jpg"),
        ("a/cat.jpg.old", "a/cat.jpg.old"),
        ("a/cat.jpg_2", "a/cat.jpg_2"),
        ("a/cat.jpg#page=2", "a/cat.jpg#page=2"),  # another page
        ("a/cat.jpg#page of", f"{FORGOTTEN}#page of"),
    ],
)
def test_a_text_loses_ids_beginnings_of_ids_and_whole_paths(text, left):
    assert REDACTION.text(text) == left


def test_a_page_is_no_other_page():
    redaction = Redaction([], ["a.tif#page=2"], "")
    text = "a.tif, a.tif#page=2, a.tif#page=23 and b/a.tif#page=2"
    assert redaction.text(text) == f"a.tif, {FORGOTTEN}, a.tif#page=23 and b/a.tif#page=2"


@pytest.mark.parametrize("of_root", ["NFC", "NFD"])
@pytest.mark.parametrize("of_path", ["NFC", "NFD"])
def test_a_whole_path_is_lost_in_whichever_form_its_accents_are_written(of_root, of_path):
    redaction = Redaction([], ["été/cat.jpg"], "/home/zoé/images/")
    root, path = normalize(of_root, "/home/zoé/images"), normalize(of_path, "été/cat.jpg")
    assert redaction.text(f"taken for '{root}/{path}'") == f"taken for '{FORGOTTEN}'"


def test_lists_of_images_lose_them_and_other_data_stay():
    data = {"images": [ID, "x"], "pairs": [{"tag_id": "t", "image_id": ID}], "n": 3, "none": None}
    assert REDACTION.data(data) == {"images": ["x"], "pairs": [], "n": 3, "none": None}


def test_the_replay_gives_other_images_what_it_gave_them_before():
    """Of several events in one row, whose pairs lie one after the other."""
    other, third = "1" * 64, "2" * 64
    tags = (Tag("t", "P", "T"), Tag("u", "P", "U"))
    events = [
        Event("save", "P", tags, (("t", ID), ("t", other), ("u", third)), run_key="r"),
        Event("assign", "P", images=(("u", ID),)),
        Event("assign", "P", images=(("t", third),)),
    ]
    content = [
        {"number": number, "nb_images": len(event.images)} for number, event in enumerate(events)
    ]
    pairs = [{"tag_id": tag_id, "image_id": i} for event in events for tag_id, i in event.images]
    kept, left = without_images(content, pairs, {ID})
    assert [event.get("nb_images", 0) for event in kept] == [2, 0, 1]
    rest = iter([(pair["tag_id"], pair["image_id"]) for pair in left])
    again = [
        Event(
            event.kind,
            event.property,
            event.tags,
            tuple(next(rest) for _ in range(entry.get("nb_images", 0))),
            run_key=event.run_key,
        )
        for event, entry in zip(events, kept, strict=True)
    ]
    before = replay(events).images
    assert replay(again).images == {
        pair: number for pair, number in before.items() if pair[1] != ID
    }

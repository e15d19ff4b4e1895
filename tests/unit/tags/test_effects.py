"""What a save that nobody watches does to tags: a line, or a question where it is too much."""

from dataclasses import replace

import pytest

from panoptic_assets.corpus.absence import Limits
from panoptic_assets.spec.tag_log import Event, replay, replayed
from panoptic_assets.tags.carry_over import carry_over
from panoptic_assets.tags.effects import NO_EFFECT, check_unasked, effect_of
from resources.errors import InputError
from tests.unit.tags.test_carry_over import saved

ALL = set("abcdefghijkl")
TREE = {"0": "abcd", "1": "efgh", "2": "ijkl"}


def effect(tree, present=ALL, log=None, before=None):
    log = log or [saved(before or TREE)]
    new = saved(tree, record=2)
    event = carry_over(log[0], new, replayed(log), lambda sets: [None] * len(sets)).event
    return effect_of(log, event, present)


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        (TREE, ""),
        (TREE | {"2": "ijklmn"}, "2 images got a tag"),
        (TREE | {"0": "abc", "1": "efghd"}, "1 image moved"),
        ({"0": "abcd", "1": "efghijkl"}, "1 tag went, 4 images moved"),
        (TREE | {"0": "abc", "3": "d"}, "1 tag came, 1 image moved"),
    ],
)
def test_what_a_save_did_is_said_in_a_few_words(tree, said):
    assert effect(tree, ALL | set("mn")).said == said


def test_images_that_lost_their_tags_are_told():
    log = [saved(TREE)]
    [first, *_] = replay(log).tags
    event = Event("save", "P", tag_ids=(first.tag_id,), run_key="r", carries_over=True)
    assert effect_of(log, event, ALL).said == "1 tag went, 4 images lost their tags"


def test_tags_of_images_that_are_missing_are_not_taken_away():
    """A person has said that their files are gone for good."""
    found = effect({"0": "abcd", "1": "efgh"}, present=set("abcdefgh"))
    assert (found.nb_tags, found.nb_gone, found.nb_images, found.nb_bare) == (2, 0, 8, 0)
    assert found.said == ""


MANY = {str(cluster): [f"{cluster} {image}" for image in range(3)] for cluster in range(12)}
IMAGES = {image for images in MANY.values() for image in images}


def test_a_save_that_takes_many_tags_away_is_a_question():
    few = {
        str(cluster): MANY[str(2 * cluster)] + MANY[str(2 * cluster + 1)] for cluster in range(6)
    }
    found = effect(few, IMAGES, before=MANY)
    assert (found.nb_gone, found.nb_bare) == (6, 0)
    with pytest.raises(InputError, match="6 of its 12 tags would go, and 0 of the 36 images that"):
        check_unasked(found, Limits(0.33, 5))
    check_unasked(found, Limits(0.5, 5))
    check_unasked(found, Limits(0.33, 18))


def test_images_that_only_go_to_other_tags_lose_nothing():
    """That is what clustering again is for."""
    two = {"0": [f"a{n}" for n in range(20)], "1": [f"b{n}" for n in range(20)]}
    moved = {"0": two["0"][:12], "1": [*two["1"], *two["0"][12:]]}
    found = effect(moved, {*two["0"], *two["1"]}, before=two)
    assert (found.nb_gone, found.nb_bare, found.nb_moved) == (0, 0, 8)
    check_unasked(found, Limits(0, 0))


def test_a_save_that_leaves_many_images_without_a_tag_is_a_question():
    found = replace(NO_EFFECT, nb_tags=12, nb_images=36, nb_bare=24)
    with pytest.raises(InputError, match="0 of its 12 tags would go, and 24 of the 36 images"):
        check_unasked(found, Limits(0.33, 5))
    check_unasked(found, Limits(0.7, 5))


def test_a_save_that_moves_some_is_none():
    found = effect(MANY | {"0": MANY["0"][1:], "1": MANY["1"] + MANY["0"][:1]}, IMAGES, before=MANY)
    check_unasked(found, Limits(0.33, 5))
    check_unasked(effect(MANY, IMAGES, before=MANY), Limits(0, 0))

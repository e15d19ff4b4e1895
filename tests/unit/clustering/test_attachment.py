"""Images go to the tag whose text is closest, in each of the three ways to read a tree of tags."""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from panoptic_assets.clustering.algorithms import attachment
from panoptic_assets.clustering.algorithms.attachment import attach_to_tags
from panoptic_assets.clustering.algorithms.interface import Data, TargetTag
from panoptic_assets.spec.computation import NotComputableError

WORDS = ("animals", "birds", "fish", "tools", "hammers", "flags")
TREE = (
    TargetTag(("animals",)),
    TargetTag(("animals", "birds")),
    TargetTag(("animals", "fish")),
    TargetTag(("tools",)),
    TargetTag(("tools", "hammers")),
    TargetTag(("flags",)),
)


def encode(texts):
    """One axis for each known word, and one more for every text in which there is none."""
    rows = np.array([[*(word in text for word in WORDS), 0] for text in texts], np.float32)
    rows[~rows.any(axis=1), -1] = 1
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def image(**weights):
    row = np.array([weights.get(word, 0.0) for word in (*WORDS, "other")])
    return (row / np.linalg.norm(row)).astype(np.float32)


def attach(images, tags=TREE, parent_tags="use", min_similarity=None, templates=("{}",), **data):
    data = Data(np.stack(images), **{"encode_texts": encode, "tags": tags} | data)
    return attach_to_tags(
        data,
        0,
        parent_tags=parent_tags,
        min_similarity=min_similarity,
        templates=list(templates),
    )


def names(outcome):
    return [outcome.names.get(label) for label in outcome.labels.tolist()]


BIRD = image(birds=2, animals=1)
BEAST = image(animals=3, birds=1)
TOOL = image(tools=3, hammers=1, flags=2)


def test_used_parents_are_tags_like_any_other():
    """A32: each image goes to the tag it is closest to."""
    outcome = attach([BIRD, BEAST, TOOL])
    assert names(outcome) == ["animals > birds", "animals", "tools"]
    assert outcome.labels.tolist() == [1, 0, 3]
    assert outcome.labels.dtype == np.int64
    assert set(outcome.names) == {0, 1, 3}


def test_ignored_parents_leave_their_images_to_the_other_tags():
    assert names(attach([BIRD, BEAST, TOOL], parent_tags="ignore")) == [
        "animals > birds",
        "animals > birds",
        "flags",
    ]


def test_combined_parents_lend_their_names_to_the_tags_below():
    """``tools, hammers`` is closer to a tool than ``flags`` is."""
    asked = []

    def encoder(texts):
        asked.extend(texts)
        return encode(texts)

    outcome = attach([BIRD, BEAST, TOOL], parent_tags="combine", encode_texts=encoder)
    assert names(outcome) == ["animals > birds", "animals > birds", "tools > hammers"]
    assert asked == ["animals, birds", "animals, fish", "tools, hammers", "flags"]


def test_every_image_is_attached_unless_a_similarity_is_asked_for():
    """K5: Panoptic drops images below .5 though it promises to attach each."""
    images = [image(flags=1, other=5), image(flags=1), image(flags=0.6, other=0.8)]
    outcome = attach(images)
    assert names(outcome) == ["flags"] * 3
    assert np.allclose(outcome.similarities, [1 / np.sqrt(26), 1, 0.6])
    assert outcome.similarities.dtype == np.float32
    assert outcome.probabilities is None

    outcome = attach(images, min_similarity=0.59)
    assert outcome.labels.tolist() == [-1, 5, 5]
    assert np.allclose(outcome.similarities, [1 / np.sqrt(26), 1, 0.6])


def test_if_no_image_is_close_enough_a_note_says_how_close_they_are():
    outcome = attach([image(flags=0.6, other=0.8)], min_similarity=0.9)
    assert outcome.labels.tolist() == [-1]
    assert outcome.names == {}
    assert "the highest is 0.60" in outcome.notes[0]


def test_tags_without_images_are_counted():
    assert attach([BIRD]).notes == ("5 of 6 tags are closest to no image.",)
    assert attach([BIRD], tags=(TargetTag(("birds",)),)).notes == ()


def test_templates_are_averaged_before_they_are_compared():
    """The mean of directions, brought to unit length: each counts alike."""
    tags = (TargetTag(("fish",)), TargetTag(("flags",)))
    halfway = image(fish=1.1, hammers=1, flags=1)
    plain = attach([halfway], tags=tags).similarities
    mixed = attach([halfway], tags=tags, templates=["{}", "{} hammers"])
    expected = (halfway @ encode(["fish"])[0] + halfway @ encode(["fish hammers"])[0]) / np.sqrt(
        2 + np.sqrt(2)
    )
    assert mixed.similarities == pytest.approx(expected, abs=1e-6)
    assert mixed.similarities > plain


@pytest.mark.parametrize("block", [1, 3, 4096])
def test_equally_close_tags_leave_the_image_to_the_first(block, monkeypatch):
    monkeypatch.setattr(attachment, "_BLOCK", block)
    between = image(birds=1, hammers=1)
    tags = (TargetTag(("hammers",)), TargetTag(("birds",)), TargetTag(("the hammers",)))
    assert attach([between] * 5, tags=tags).labels.tolist() == [0] * 5
    assert attach([between] * 5, tags=tags[::-1]).labels.tolist() == [0] * 5
    assert attach([image(hammers=1)], tags=tags[1:] + tags[:1]).labels.tolist() == [1]


def test_one_and_two_threads_give_the_same_answer():
    """K3."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(500, 64)).astype(np.float32)
    texts = rng.normal(size=(20, 64)).astype(np.float32)
    tags = tuple(TargetTag((f"tag {number}",)) for number in range(20))
    answers = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            answers.append(attach(points, tags=tags, encode_texts=lambda _: texts))
    assert answers[0].labels.tolist() == answers[1].labels.tolist()
    assert answers[0].similarities.tolist() == answers[1].similarities.tolist()


@pytest.mark.parametrize("parent_tags", ["use", "ignore"])
def test_two_tags_of_one_name_are_refused_with_what_tells_them_apart(parent_tags):
    tags = (TargetTag(("animals", "fish")), TargetTag(("flags", "fish")))
    with pytest.raises(NotComputableError) as caught:
        attach([BIRD], tags=tags, parent_tags=parent_tags)
    assert "'animals > fish' and 'flags > fish' have the same text, 'fish'" in str(caught.value)
    assert "`parent_tags: combine`" in str(caught.value)
    assert names(attach([BIRD, image(flags=1)], tags=tags, parent_tags="combine")) == [
        "animals > fish",
        "flags > fish",
    ]


def test_two_paths_that_read_alike_are_refused_even_combined():
    with pytest.raises(NotComputableError, match="rename one of them"):
        attach([BIRD], tags=(TargetTag(("a, b",)), TargetTag(("a", "b"))), parent_tags="combine")


def test_a_tag_that_is_listed_twice_counts_once():
    assert attach([BIRD], tags=(TargetTag(("fish",)), TargetTag(("fish",)))).labels.tolist() == [0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tags": ()}, "There is no tag"),
        ({"encode_texts": None}, "take one whose model has a text tower, such as"),
        ({"unit": False}, "not with the points of a projection"),
        ({"encode_texts": lambda texts: np.zeros((len(texts), 7))}, "no usable vector for a tag"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_plain_line(changes, message):
    with pytest.raises(NotComputableError, match=message) as caught:
        attach([BIRD], **changes)
    assert len(str(caught.value).splitlines()) == 1

"""Ranking images for tags, on hand-made vectors."""

from dataclasses import replace

import numpy as np
import pytest

from panoptic_assets.spec.tag_log import Event, Tag, TagTables, replay
from panoptic_assets.tags.edits import Images, resolve_edits
from panoptic_assets.tags.recommendations import (
    Judgements,
    TagGroup,
    judgements,
    recommend,
    still_open,
    task,
    why_none,
)
from resources.errors import text_of

NONE = np.empty(0, np.int64)


def rows(*numbers):
    return np.array(numbers, dtype=np.int64)


def unit(*vectors):
    found = np.array(vectors, dtype=np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def blobs(seed=0, nb_images=300, dim=8):
    generator = np.random.default_rng(seed)
    return unit(*generator.standard_normal((nb_images, dim)))


def exhaustive(vectors, tags, candidates, number):
    """All tags with all images, and all pairs of tags, one by one."""

    def line(place):
        above = []
        while place is not None:
            above.append(place)
            place = tags[place].parent
        return above

    def score(tag, row):
        rest = np.setdiff1d(np.arange(len(vectors)), tag.members)
        wide = vectors.astype(np.float64)
        difference = wide[tag.members].mean(0) - wide[rest].mean(0)
        return float(wide[row] @ difference / np.linalg.norm(difference))

    found = []
    for place, tag in enumerate(tags):
        ranked = []
        for row in candidates if len(tag.members) and tag.wanted else []:
            others = [
                score(other, row)
                for number_of, other in enumerate(tags)
                if place not in line(number_of)
                and number_of not in line(place)
                and len(other.members)
                and other.wanted
            ]
            own = score(tag, row)
            if own > 0 and row not in tag.members and row not in tag.refused:
                best = max(others, default=None)
                ranked.append((own - max(best or 0, 0) / 2, row, own, best and own - best))
        ranked.sort(key=lambda entry: (-entry[0], entry[1]))
        found.append([entry[1:] for entry in ranked[:number]])
    return found


def test_the_ranking_is_that_of_comparing_every_pair():
    """C14: score, margin and order, in a tree with tags that are not wanted or have no image."""
    vectors = blobs()
    tags = [
        TagGroup(None, rows(*range(30)), rows(100, 101)),
        TagGroup(0, rows(*range(10)), NONE),
        TagGroup(0, rows(*range(10, 20)), NONE),
        TagGroup(2, rows(*range(10, 14)), NONE),
        TagGroup(None, rows(*range(30, 40)), NONE),
        TagGroup(None, NONE, NONE),
        TagGroup(None, rows(*range(40, 60)), NONE, wanted=False),
        TagGroup(6, rows(*range(50, 60)), NONE),
    ]
    candidates = np.arange(40, 300)
    found = recommend(vectors, tags, candidates, 12)
    expected = exhaustive(vectors, tags, candidates, 12)
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.rows.tolist() == [entry[0] for entry in theirs]
        assert np.allclose(mine.scores, [entry[1] for entry in theirs], atol=2e-6)
        assert np.allclose(mine.margins, [entry[2] for entry in theirs], atol=2e-6)
    assert [len(mine.rows) > 0 for mine in found] == [True] * 5 + [False, False, True]


def test_blocks_do_not_change_the_answer(monkeypatch):
    vectors = blobs()
    tags = [TagGroup(None, rows(*range(n, n + 20)), NONE) for n in (0, 20, 40)]
    whole = recommend(vectors, tags, np.arange(60, 300), 30)
    monkeypatch.setattr("panoptic_assets.tags.recommendations._HELD", 1)
    for mine, theirs in zip(recommend(vectors, tags, np.arange(60, 300), 30), whole, strict=True):
        for name in ("rows", "scores", "margins"):
            assert getattr(mine, name).tolist() == getattr(theirs, name).tolist()


def test_images_of_equal_rank_come_in_the_order_of_their_rows():
    vectors = unit([1, 0], [1, 0.1], [0, 1], *[[1, 0.05]] * 5)
    [found] = recommend(vectors, [TagGroup(None, rows(0, 1), rows(4))], np.arange(2, 8), 3)
    assert found.rows.tolist() == [3, 5, 6]
    assert np.isnan(found.margins).all(), "there is no other tag"


def test_an_image_nearer_to_the_rest_is_not_proposed():
    vectors = unit([1, 0], [1, 0.1], [0, 1], [0.1, 1], [1, 0.05])
    [found] = recommend(vectors, [TagGroup(None, rows(0, 1), NONE)], rows(2, 3, 4), 10)
    assert found.rows.tolist() == [4]


@pytest.mark.parametrize(
    ("vectors", "members"),
    [
        (unit([1, 0], [0, 1]), rows(0, 1)),
        (unit([1, 0], [1, 0], [1, 0]), rows(0)),
        (np.empty((0, 4), np.float32), NONE),
    ],
    ids=["all are members", "all are equal", "no image"],
)
def test_without_a_direction_nothing_is_proposed(vectors, members):
    [found] = recommend(vectors, [TagGroup(None, members, NONE)], np.arange(len(vectors)), 10)
    assert not len(found.rows)


TAGS = [
    Tag("a", "P", "a"),
    Tag("b", "P", "b", "a"),
    Tag("r", "P", "remainder", is_remainder=True),
    Tag("x", "Q", "x"),
]
IMAGES = ["i0", "i1", "i2", "i3", "i4"]


def tables(pairs, refused=()):
    return TagTables(TAGS, dict.fromkeys(pairs, 1), ["P", "Q"], frozenset(refused))


def test_members_of_a_tag_are_those_below_it_too_and_a_refusal_holds_below():
    found = task(
        tables([("a", "i0"), ("b", "i1"), ("x", "i2"), ("a", "gone")], [("a", "i3")]), "P", IMAGES
    )
    assert [tag.tag_id for tag in found.tags] == ["a", "b", "r"]
    assert [group.members.tolist() for group in found.groups] == [[0, 1], [1], []]
    assert [group.refused.tolist() for group in found.groups] == [[3], [3], []]
    assert [group.parent for group in found.groups] == [None, 0, None]
    assert found.candidates.tolist() == [2, 3, 4], "tags of other properties do not count"


def test_the_remainder_is_to_be_distributed_and_nothing_is_proposed_for_it():
    """K8: excluded from recommendations by default."""
    given = tables([("a", "i0"), ("r", "i1")])
    found = task(given, "P", IMAGES)
    assert found.candidates.tolist() == [1, 2, 3, 4]
    assert [group.wanted for group in found.groups] == [True, True, False]
    found = task(given, "P", IMAGES, include_remainder=True)
    assert found.candidates.tolist() == [2, 3, 4]
    assert found.groups[2].wanted


CUT = [
    Tag("a", "P", "a", record_id="1", node="r/0"),
    Tag("r", "P", "remainder", record_id="1", node="r/remainder", is_remainder=True),
    Tag("r0", "P", "0", "r", "2", "r/remainder/0"),
    Tag("r00", "P", "1", "r0", "3", "r/remainder/0/1"),
    Tag("r1", "P", "1", "r", "2", "r/remainder/1"),
]
PLACES = (("a", "i0"), ("r0", "i1"), ("r00", "i2"), ("r1", "i3"))
SAVED = Event("save", "P", tuple(CUT), PLACES, run_key="r")


@pytest.mark.parametrize(
    ("edits", "candidates", "wanted"),
    [
        ([], [1, 2, 3, 4], "a"),
        ([Event("rename", "P", tag_id="r", name="others")], [1, 2, 3, 4], "a"),
        ([Event("rename", "P", tag_id="r0", name="cups")], [3, 4], "a r0 r00"),
        ([Event("recolour", "P", tag_id="r1", colour="#00ff00")], [1, 2, 4], "a r1"),
        ([Event("move", "P", tag_id="r1")], [1, 2, 4], "a r1"),
        ([Event("create", "P", (Tag("n", "P", "7", "r"),), (("n", "i4"),))], [1, 2, 3], "a n"),
        (
            [Event("rename", "P", tag_id="r0", name="cups"), Event("undo", event=2)],
            [1, 2, 3, 4],
            "a",
        ),
    ],
)
def test_what_a_remainder_was_cut_into_is_remainder_until_people_use_it(edits, candidates, wanted):
    """C12, C14, K8: a remainder that was divided by force stays to be distributed."""
    found = task(replay([SAVED, *edits]), "P", IMAGES)
    assert found.candidates.tolist() == candidates
    of = zip(found.tags, found.groups, strict=True)
    assert {tag.tag_id for tag, group in of if group.wanted} == set(wanted.split())
    everything = task(replay([SAVED, *edits]), "P", IMAGES, include_remainder=True)
    assert all(group.wanted for group in everything.groups)


def test_accepting_takes_an_image_out_of_a_part_of_the_remainder():
    """C15; and an acceptance that is older than this rule is replayed as it was."""
    known = Images(lambda name: name)
    [event] = resolve_edits(
        [{"accept": {"tag": "a", "images": ["i2"], "property": "P"}}], [SAVED], known
    )
    assert {tag for tag, image in replay([SAVED, event]).images if image == "i2"} == {"a"}
    older = replace(event, tag_ids=())
    assert {tag for tag, image in replay([SAVED, older]).images if image == "i2"} == {"a", "r00"}
    log = [SAVED, Event("rename", "P", tag_id="r00", name="cups")]
    [event] = resolve_edits(
        [{"accept": {"tag": "a", "images": ["i2"], "property": "P"}}], log, known
    )
    assert {tag for tag, image in replay([*log, event]).images if image == "i2"} == {"a", "r00"}
    proposal = [(("a", "i3"), False), (("a", "i2"), False)]
    assert still_open(proposal, replay(log)) == [True, False]


@pytest.mark.parametrize(
    ("pairs", "refused", "options", "message"),
    [
        ([("a", i) for i in IMAGES], [], {}, "Every image carries a tag of 'P', so none is left"),
        ([("x", "i0")], [], {}, "No tag of 'P' has an image that is there and has a vector"),
        (
            [("b", i) for i in IMAGES],
            [],
            {"include_tagged": True},
            "carries each tag of 'P' already",
        ),
        ([("b", "i0")], [("a", i) for i in IMAGES[1:]], {}, "left was refused for each tag of 'P'"),
        ([("a", "i0")], [], {}, "None of the 4 images that are left is more like a tag of 'P'"),
    ],
)
def test_why_nothing_is_proposed_is_one_plain_sentence(pairs, refused, options, message):
    """C14: "nothing" alone tells nobody what to do."""
    said = text_of(why_none(task(tables(pairs, refused), "P", IMAGES, **options), "P"))
    assert message in said
    assert len(said.splitlines()) == 1


def test_a_property_of_a_remainder_alone_says_so():
    """K8."""
    given = replay([replace(SAVED, tags=tuple(CUT[1:]), images=PLACES[1:])])
    said = text_of(why_none(task(given, "P", IMAGES), "P"))
    assert "All tags of 'P' are of a remainder" in said


def test_images_of_other_tags_are_proposed_if_asked_for():
    """C15: new images of its kind, when every image has a tag."""
    found = task(tables([("a", "i0"), ("b", "i1")]), "P", IMAGES, include_tagged=True)
    assert found.candidates.tolist() == [0, 1, 2, 3, 4]
    assert found.tagged.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("pair", "tagged", "expected"),
    [
        (("a", "i4"), False, True),
        (("gone", "i4"), False, False),
        (("a", "i1"), False, False),
        (("b", "i3"), False, False),
        (("b", "i0"), False, False),
        (("b", "i0"), True, True),
        (("a", "i2"), False, True),
    ],
    ids=[
        "open",
        "tag deleted",
        "tagged below",
        "refused above",
        "other tag",
        "had another tag",
        "remainder",
    ],
)
def test_a_proposal_is_open_until_it_is_settled(pair, tagged, expected):
    now = tables([("a", "i0"), ("b", "i1"), ("r", "i2")], [("a", "i3")])
    assert still_open([(pair, tagged)], now) == [expected]


def test_precision_counts_the_last_judgement_that_was_not_undone():
    def event(kind, *images):
        return Event(kind, "P", images=tuple(("a", image) for image in images))

    log = [
        event("accept", "i0", "i1", "i2"),
        event("refuse", "i2", "i3"),
        event("refuse", "i4"),
        Event("undo", event=3),
        event("assign", "i5"),
    ]
    assert judgements(log) == {"a": Judgements(2, 2)}
    assert judgements(log)["a"].precision == 0.5
    assert Judgements(0, 0).precision is None


def test_accepting_takes_an_image_out_of_the_remainder():
    made = Event("create", "P", tags=tuple(TAGS[:3]), images=(("r", "i0"), ("r", "i1")))
    log = [made, Event("accept", "P", images=(("a", "i0"),))]
    assert set(replay(log).images) == {("a", "i0"), ("r", "i1")}
    log.append(Event("undo", event=2))
    assert set(replay(log).images) == {("r", "i0"), ("r", "i1")}
    assert set(replay([made, Event("accept", "P", images=(("r", "i0"),))]).images) == {
        ("r", "i0"),
        ("r", "i1"),
    }

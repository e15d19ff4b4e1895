"""Undoing events of the tag log: names that others have by now, and what stays away is said."""

import random

import pytest

from panoptic_assets.spec.tag_log import (
    LONGEST_NAME,
    Event,
    Tag,
    paths,
    place_of,
    replay,
    replayed,
)
from panoptic_assets.spec.tag_words import in_words
from panoptic_assets.tags.edits import EditError, Images, resolve_edits
from resources.errors import text_of

FIND = Images(lambda name: name)


def made(*names):
    """A log that makes tags, each of an id that is its name at first."""
    tags = tuple(Tag(name, "Clustering", name) for name in names)
    return [Event("create", "Clustering", tags)]


def after(log, *edits):
    """The log with edits, and what is said of the last event."""
    said = {}
    found = [
        *log,
        *resolve_edits(edits, log, FIND, lambda n, note: said.setdefault(n, []).append(note)),
    ]
    return found, said.get(len(found), [])


def rename(tag, to):
    return {"rename": {"tag": tag, "to": to}}


def move(tag, under):
    return {"move": {"tag": tag, "under": under}}


def delete(tag):
    return {"delete": {"tag": tag}}


def undo(number):
    return {"undo": {"event": number}}


def redo(number):
    return {"redo": {"event": number}}


def shown(log):
    """The path of each tag, by id."""
    return paths(replay(log).tags)


def test_a_tag_that_gets_back_a_name_that_another_one_has_by_now_gets_a_number_and_that_is_said():
    """A25: nobody finds two tags of one name beside each other after an undo."""
    log, said = after(made("vase", "coupe"), rename("vase", "amphore"), rename("coupe", "vase"))
    log, said = after(log, undo(2))
    assert shown(log) == {"vase": "vase (2)", "coupe": "vase"}
    assert said == [
        "Another tag has the name by now, so a number was added; rename one, or merge them: "
        "'vase' → 'vase (2)'."
    ]
    assert text_of(in_words(log)[-1]) == "event 2; renamed: vase (2)"


@pytest.mark.parametrize(
    ("order", "names"), [((2, 3), ["amphore", "vase"]), ((3, 2), ["amphore", "vase (2)"])]
)
def test_the_number_goes_when_the_event_is_done_again(order, names):
    start, _ = after(made("vase", "coupe"), rename("vase", "amphore"), rename("coupe", "vase"))
    log, _ = after(start, undo(2), redo(2))
    assert shown(log) == shown(start)
    # Undone once more, after the other one: nothing is in its way then.
    log, said = after(log, undo(3), undo(2))
    assert shown(log) == {"vase": "vase", "coupe": "coupe"}
    assert not said
    # Each number is that of the one event, and goes with it.
    log, _ = after(log, *map(redo, order))
    assert sorted(shown(log).values()) == names


def test_what_people_call_a_numbered_tag_later_stays_and_can_be_undone_too():
    log, _ = after(made("vase", "coupe"), rename("vase", "amphore"), rename("coupe", "vase"))
    log, _ = after(log, undo(2), rename("vase (2)", "cruche"))
    assert shown(log)["vase"] == "cruche"
    log, _ = after(log, undo(5))
    assert shown(log)["vase"] == "vase (2)"
    log, _ = after(log, undo(3))
    assert shown(log) == {"vase": "vase (2)", "coupe": "coupe"}


@pytest.mark.parametrize(
    ("edits", "undone", "names"),
    [
        # Deleted, and made anew by somebody.
        ([delete("a"), {"create": {"tag": "a"}}], 2, {"a", "a (2)", "b", "c"}),
        ([{"merge": {"tags": ["a"], "into": "b"}}, rename("b", "a")], 2, {"a", "a (2)", "c"}),
        ([move("a", "b"), rename("c", "a")], 2, {"a", "a (2)", "b"}),
        ([{"split": {"tag": "a", "into": {"n": []}}}, rename("n", "m"), rename("c", "n")], 3, None),
        # The number is one that is free, and names are told apart as everywhere.
        ([rename("a", "x"), rename("b", "a"), rename("c", "a (2)")], 2, {"a", "a (2)", "a (3)"}),
        ([rename("a", "x"), rename("b", "A")], 2, {"a", "A", "c"}),
    ],
)
def test_whatever_is_undone_leaves_no_two_siblings_of_one_name(edits, undone, names):
    log, _ = after(made("a", "b", "c"), *edits)
    log, said = after(log, undo(undone))
    found = [place_of(tag) for tag in replay(log).tags]
    assert len(set(found)) == len(found)
    assert names is None or {tag.name for tag in replay(log).tags} == names
    assert bool(said) == (log[-1].tags != ())
    # And with the other events undone as well, in any order, all is as it was.
    again, _ = after(log, *(undo(n) for n in range(len(log) - 1, 1, -1) if n != undone))
    assert set(shown(again)) == {"a", "b", "c"}
    assert len(set(shown(again).values())) == 3


def test_that_a_number_can_go_is_said_by_the_undo_that_frees_the_name():
    log, _ = after(made("vase", "coupe"), rename("vase", "amphora"), rename("coupe", "vase"))
    log, _ = after(log, undo(2))
    assert sorted(shown(log).values()) == ["vase", "vase (2)"]
    freed, said = after(log, undo(3))
    assert sorted(shown(freed).values()) == ["coupe", "vase (2)"]
    assert said == [
        "No other tag has the name any more, so the number can go; rename it: 'vase (2)'."
    ]
    renamed, _ = after(log, rename("vase (2)", "x"))
    assert after(renamed, undo(3))[1] == []


def test_of_an_import_that_is_done_again_only_what_comes_is_numbered():
    log = [*made("a"), Event("import", "Clustering", (Tag("n", "Clustering", "b"),))]
    log, _ = after(log, undo(2), {"create": {"tag": "b"}}, redo(2))
    assert sorted(shown(log).values()) == ["a", "b", "b (2)"]
    assert shown(log)["n"] == "b (2)"


def test_tags_that_were_of_one_name_already_stay_as_they_are():
    """As a project of an older version may have them."""
    log = [*made("a"), Event("create", "Clustering", (Tag("z", "Clustering", "a"),))]
    log, said = after(log, {"recolour": {"tag": "z", "colour": "#000000"}})
    log, said = after(log, undo(3))
    assert list(shown(log).values()) == ["a", "a"]
    assert not said


def test_a_number_makes_no_name_too_long():
    long = "x" * LONGEST_NAME
    log, _ = after(made(long, "b"), rename(long, "a"), rename("b", long), undo(2))
    assert {len(tag.name) for tag in replay(log).tags} <= {LONGEST_NAME, LONGEST_NAME - 4}
    assert len({tag.name for tag in replay(log).tags}) == 2


def test_a_tag_that_stays_deleted_is_said_with_the_event_that_deleted_it():
    log, _ = after(made("a", "b"), move("b", "a"), delete("a"))
    log, said = after(log, undo(2))
    assert not replay(log).tags
    assert said == ["Still deleted by event 3, which can be undone as well: 'b'."]
    log, said = after(log, undo(3))
    assert set(shown(log).values()) == {"a", "b"}
    assert not said


def test_a_tag_that_goes_by_the_undoing_of_a_move_is_said():
    """It lies below the one that was deleted, once it was never moved away."""
    log = made("a", "b")
    log, _ = after(log, move("b", "a"), move("b", ""), delete("a"))
    log, said = after(log, undo(3))
    assert not replay(log).tags
    assert said == ["Gone by event 4, which can be undone as well: 'b'."]


@pytest.mark.parametrize(
    ("edits", "undone", "said"),
    [
        (
            [rename("b", "n"), {"merge": {"tags": ["n"], "into": "a"}}],
            2,
            "Still merged by event 3, which can be undone as well: 'n'.",
        ),
        (
            [{"assign": {"tag": "b", "images": ["i"]}}, delete("b")],
            2,
            "Still deleted by event 3, which can be undone as well: 'b'.",
        ),
        (
            [delete("b"), undo(1)],
            2,
            "There is no such tag any more, so nothing is seen of it: 'b'.",
        ),
    ],
)
def test_that_nothing_is_seen_of_an_undo_is_said(edits, undone, said):
    log, _ = after(made("a", "b"), *edits)
    assert after(log, undo(undone))[1] == [said]


def test_nothing_is_said_where_undoing_does_what_is_expected():
    log, _ = after(made("a", "b"), {"create": {"tag": "a > c"}}, move("b", "a"), delete("a"))
    for number in (4, 3, 2, 1):
        log, said = after(log, undo(number))
        assert not said
    assert not shown(log)
    for number in (1, 2, 3, 4):
        log, said = after(log, redo(number))
        assert not said


def clashes(log):
    found = {}
    for tag in replay(log).tags:
        found.setdefault(place_of(tag), set()).add(tag.tag_id)
    return {(place, each) for place, ids in found.items() if len(ids) > 1 for each in ids}


def any_edit(rng, log):
    ids = list(replayed(log).tags) or ["none"]
    name = rng.choice("abcd")
    return rng.choice(
        [
            {"create": {"tag": rng.choice([name, f"{name} > {rng.choice('abcd')}"])}},
            {"rename": {"tag": rng.choice(ids), "to": name}},
            {"move": {"tag": rng.choice(ids), "under": rng.choice(["", *ids])}},
            {"merge": {"tags": [rng.choice(ids)], "into": rng.choice(ids)}},
            {"delete": {"tag": rng.choice(ids)}},
            {"undo": {"event": rng.randint(1, len(log))}},
            {"undo": {"event": rng.randint(1, len(log))}},
            {"redo": {"event": rng.randint(1, len(log))}},
            {"redo": {}},
        ]
    )


def test_no_undoing_and_redoing_at_random_makes_two_siblings_of_one_name():
    nb_numbered = 0
    for seed in range(12):
        rng = random.Random(seed)
        log = made("a", "b", "c")
        for _ in range(150):
            try:
                more = resolve_edits([any_edit(rng, log)], log, FIND)
            except EditError:
                continue
            if more[0].kind in ("undo", "redo"):
                assert clashes([*log, *more]) <= clashes(log)
                nb_numbered += len(more[0].tags)
            log += more
    assert nb_numbered > 5

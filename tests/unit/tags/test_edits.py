"""Edits: what each one becomes, and every refusal."""

import unicodedata

import pytest

from panoptic_assets.spec.tag_log import LONGEST_NAME, Event, Tag, known_property, paths, replay
from panoptic_assets.tags.edits import (
    DEEPEST,
    EditError,
    Images,
    from_rows,
    resolve_edits,
)

IMAGES = {name: name * 64 for name in "ijk"} | {"one.jpg": "i" * 64}
FIND = Images(lambda name: IMAGES.get(name) or (name if name in IMAGES.values() else None))
NFC, NFD = "Époque", unicodedata.normalize("NFD", "Époque")


def tag(tag_id, name, above=None, property_name="Clustering"):
    return Tag(tag_id, property_name, name, above)


LOG = [
    Event(
        "save",
        "Clustering",
        (tag("a", "3"), tag("b", "4"), tag("c", "0", "b"), tag("d", "Grèce")),
        (("a", "i" * 64), ("c", "j" * 64)),
        run_key="r",
    ),
    Event("create", NFC, (tag("e", "Été", None, NFC), tag("x", "1", "e", NFC))),
]


def done(*edits, log=LOG):
    """Each property's tags, by path, with their images' first letters."""
    tables = replay([*log, *resolve_edits(edits, log, FIND)])
    names = paths(tables.tags)
    found = {(t.property, names[t.tag_id]): "" for t in tables.tags}
    for tag_id, image_id in tables.images:
        [one] = [t for t in tables.tags if t.tag_id == tag_id]
        found[one.property, names[tag_id]] += image_id[0]
    return {path: images for (name, path), images in found.items() if name == "Clustering"}


@pytest.mark.parametrize(
    ("edit", "found"),
    [
        ({"create": {"tag": "5"}}, {"5": ""}),
        ({"create": {"tag": "4 > 1>2"}}, {"4 > 1": "", "4 > 1 > 2": ""}),
        ({"rename": {"tag": "4 > 0", "to": " Coupes "}}, {"4 > Coupes": "j"}),
        ({"rename": {"tag": "c", "to": "Coupes"}}, {"4 > Coupes": "j"}),
        ({"merge": {"tags": ["3", "4 > 0"], "into": "3"}}, {"3": "ij"}),
        ({"merge": {"tags": ("4",), "into": "4 > 0"}}, {"0": "j"}),
        ({"split": {"tag": "3", "into": {"Vases": ["one.jpg"]}}}, {"3": "", "Vases": "i"}),
        ({"move": {"tag": "4 > 0", "under": "3"}}, {"3 > 0": "j"}),
        ({"move": {"tag": "4 > 0", "under": ""}}, {"0": "j"}),
        ({"recolour": {"tag": "3", "colour": " #00FFaa "}}, {"3": "i"}),
        ({"assign": {"tag": "Grèce", "images": ["j", "k"]}}, {"Grèce": "jk", "4 > 0": "j"}),
        ({"assign": {"tag": "Grèce", "images": ["j"], "only": True}}, {"Grèce": "j", "4 > 0": ""}),
        ({"unassign": {"tag": "3", "images": ["i" * 64]}}, {"3": ""}),
        ({"reassign": {"tag": "3", "to": "4 > 0", "images": ["i"]}}, {"3": "", "4 > 0": "ij"}),
        ({"accept": {"tag": "3", "images": ["k"]}}, {"3": "ik"}),
        ({"refuse": {"tag": "3", "images": ["k"]}}, {"3": "i"}),
        ({"undo": {"event": 2}}, {"3": "i"}),
    ],
)
def test_each_edit_becomes_an_event_that_does_it(edit, found):
    assert found.items() <= done(edit).items()


def test_an_image_that_moves_to_another_tag_is_one_event_and_not_proposed_for_the_former():
    moved = resolve_edits([{"reassign": {"tag": "3", "to": "4", "images": ["i"]}}], LOG, FIND)
    assert len(moved) == 1
    assert ("a", "i" * 64) in replay([*LOG, *moved]).refused
    back = [*LOG, *moved, *resolve_edits([{"undo": {}}], [*LOG, *moved], FIND)]
    assert replay(back) == replay(LOG)


def test_a_tag_is_deleted_with_what_lies_below_it():
    assert done({"delete": {"tag": "4"}}) == {"3": "i", "Grèce": ""}


def test_a_new_property_has_no_tags():
    events = resolve_edits([{"create_property": {"property": "Style"}}], LOG, FIND)
    assert replay([*LOG, *events]).properties == ["Clustering", "Style", NFC]


def test_a_tag_is_made_with_its_colour():
    [event] = resolve_edits([{"create": {"tag": "a > b", "colour": "#AABBCC"}}], LOG, FIND)
    assert [(made.name, made.colour) for made in event.tags] == [("a", None), ("b", "#aabbcc")]


def test_a_colour_is_changed_and_taken_away():
    """How a tag looks is an edit like any other, without a colour too."""

    def colour(*colours):
        edits = [{"recolour": {"tag": "3", "colour": each}} for each in colours]
        tags = replay([*LOG, *resolve_edits(edits, LOG, FIND)]).tags
        return next(tag.colour for tag in tags if tag.tag_id == "a")

    assert colour(" #4477AA") == "#4477aa"
    assert colour("#4477AA", "") is None


def test_a_line_without_a_colour_takes_it_away():
    row = {"edit": "recolour", "tag": "3", "colour": ""}
    assert from_rows([(1, row)]) == [{"recolour": {"tag": "3", "colour": ""}}]


def test_later_edits_see_what_earlier_ones_did():
    edits = [
        {"create": {"tag": "n"}},
        {"rename": {"tag": "n", "to": "m"}},
        {"undo": {}},
        {"redo": {}},
        {"merge": {"tags": ["m"], "into": "3"}},
    ]
    assert done(*edits) == done()


def test_of_several_edits_none_is_done_if_one_cannot_be():
    edits = [{"create": {"tag": "n"}}, {"delete": {"tag": "nothing"}}]
    with pytest.raises(EditError, match=r"^edit 2 of 2: there is no tag .* Nothing was changed\.$"):
        resolve_edits(edits, LOG, FIND)


@pytest.mark.parametrize("given", ["Grèce", unicodedata.normalize("NFD", "Grèce"), " Grèce "])
def test_names_are_compared_without_regard_to_their_unicode_form(given):
    assert done({"rename": {"tag": given, "to": "Rome"}})["Rome"] == ""
    with pytest.raises(EditError, match="already: choose another name, or merge"):
        resolve_edits([{"rename": {"tag": "3", "to": given}}], LOG, FIND)
    with pytest.raises(EditError, match="there is a tag 'Grèce' already"):
        resolve_edits([{"create": {"tag": given}}], LOG, FIND)


@pytest.mark.parametrize("given", [NFC, NFD])
def test_a_property_is_found_in_either_unicode_form(given):
    [event] = resolve_edits(
        [{"rename": {"tag": "Été > 1", "to": "x", "property": given}}], LOG, FIND
    )
    assert (event.property, event.tag_id) == (NFC, "x")
    assert known_property(given, [NFD]) == NFD
    assert known_property(given, []) == NFC


DEEP = " > ".join(map(str, range(DEEPEST)))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ("rename", "an edit is one entry"),
        ({}, "an edit is one entry"),
        ({"rename": {}, "move": {}}, "an edit is one entry"),
        ({"rewrite": {}}, "there is no edit 'rewrite'; there are create_property, create, "),
        ({"rename": {"tag": "3"}}, "rename needs to."),
        ({"rename": None}, "rename needs tag, to."),
        ({"rename": ["3"]}, "rename needs tag, to."),
        ({"rename": {"tag": "3", "to": "x", "by": "me"}}, "rename has no field by; it has tag, "),
        ({"undo": {"property": "x"}}, "undo has no field property"),
        ({"rename": {"tag": 3, "to": "x"}}, "tag of rename is text, not 3."),
        ({"merge": {"tags": "3", "into": "4"}}, "tags of merge is a list of texts, not '3'."),
        ({"assign": {"tag": "3", "images": [1]}}, "images of assign is a list of texts, not [1]."),
        (
            {"assign": {"tag": "3", "images": ["i"], "only": "yes"}},
            "only of assign is true or false, not 'yes'.",
        ),
        ({"split": {"tag": "3", "into": ["x"]}}, "names, each with a list of images"),
        ({"split": {"tag": "3", "into": {"x": [1]}}}, "names, each with a list of images"),
        ({"undo": {"event": "2"}}, "event of undo is the number of an event, not '2'."),
        ({"undo": {"event": True}}, "event of undo is the number of an event, not True."),
        ({"create_property": {"property": NFD}}, f"there is a property {NFC!r} already."),
        ({"create_property": {"property": " "}}, "is no name of a property"),
        ({"create_property": {"property": 3}}, "the name of a property is text, not 3."),
        ({"create": {"tag": "4 > 0"}}, "there is a tag '4 > 0' already."),
        ({"create": {"tag": "4 > "}}, "'4 > ' is no path of tags"),
        ({"create": {"tag": "a\nb"}}, "is no name of a tag: it has 1 to 200 characters on one"),
        ({"create": {"tag": "x" * (LONGEST_NAME + 1)}}, "is no name of a tag"),
        ({"create": {"tag": f"{DEEP} > deeper"}}, "has more than 50 levels."),
        ({"create": {"tag": "n", "colour": "red"}}, "'red' is no colour: write it as #rrggbb."),
        ({"recolour": {"tag": "3", "colour": "#12345"}}, "is no colour"),
        ({"rename": {"tag": "Grece", "to": "x"}}, "there is no tag 'Grece' in 'Clustering': the "),
        ({"rename": {"tag": "Grece", "to": "x"}}, "nearest are 'Grèce'"),
        (
            {"rename": {"tag": "x", "to": "y", "property": "Clusterings"}},
            "there is no property 'Clusterings': the nearest are 'Clustering'",
        ),
        ({"rename": {"tag": "3", "to": "3"}}, "the tag is called '3' already."),
        ({"rename": {"tag": "3", "to": "4"}}, "there is a tag '4' already: choose another name"),
        ({"rename": {"tag": "3", "to": "a > b"}}, "'>' parts it from those above it."),
        ({"rename": {"tag": "3", "to": ""}}, "is no name of a tag"),
        ({"merge": {"tags": ["3"], "into": "3"}}, "merge needs another tag than the one that"),
        ({"split": {"tag": "3", "into": {}}}, "split needs at least one new name."),
        ({"split": {"tag": "3", "into": {"x": [], " x": []}}}, "split names 'x' twice."),
        ({"split": {"tag": "3", "into": {"4": ["i"]}}}, "there is a tag '4' already"),
        ({"split": {"tag": "3", "into": {"x": ["j"]}}}, "the image jjjjjjjjjjjj does not carry"),
        ({"split": {"tag": "3", "into": {"x": ["i"], "y": ["i"]}}}, "into two tags."),
        ({"move": {"tag": "4", "under": "4 > 0"}}, "'4' cannot be moved below itself."),
        ({"move": {"tag": "4", "under": "4"}}, "'4' cannot be moved below itself."),
        ({"assign": {"tag": "3", "images": []}}, "assign names no image."),
        ({"assign": {"tag": "3", "images": ["i", "n.jpg"]}}, "1 of the 2 images are not in the"),
        ({"unassign": {"tag": "3", "images": ["j", "i"]}}, "1 of the 2 images do not carry the "),
        ({"reassign": {"tag": "3", "to": "4", "images": ["j", "i"]}}, "1 of the 2 images do not "),
        ({"reassign": {"tag": "3", "to": "4", "images": []}}, "reassign names no image."),
        ({"reassign": {"tag": "3", "to": "3", "images": ["i"]}}, "'3' is the tag that the images"),
        ({"reassign": {"tag": "3", "to": "5", "images": ["i"]}}, "there is no tag '5' in"),
        ({"undo": {"event": 9}}, "there is no event 9 to undo: `panoptic-assets tag log` lists"),
        ({"redo": {"event": 1}}, "event 1 is not undone."),
        ({"redo": {}}, "there is nothing to redo."),
    ],
)
def test_what_cannot_be_done_is_said(edit, message):
    with pytest.raises(EditError) as caught:
        resolve_edits([edit], LOG, FIND)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_what_is_undone_is_not_undone_again():
    with pytest.raises(EditError, match="event 2 is undone already"):
        resolve_edits([{"undo": {"event": 2}}, {"undo": {"event": 2}}], LOG, FIND)
    with pytest.raises(EditError, match="there is no event 3 to undo"):
        resolve_edits([{"undo": {"event": 2}}, {"undo": {"event": 3}}], LOG, FIND)
    with pytest.raises(EditError, match="there is nothing to undo"):
        resolve_edits([{"undo": {}}], [], FIND)


def test_a_tree_of_tags_does_not_grow_too_deep():
    log = [*LOG, *resolve_edits([{"create": {"tag": DEEP}}], LOG, FIND)]
    last = {"tag": DEEP.rpartition(" > ")[0]}
    for edit in (
        {"move": {"tag": "4", "under": last["tag"]}},
        {"merge": {"tags": ["4"], "into": DEEP}},
    ):
        with pytest.raises(EditError, match="at most 50 levels"):
            resolve_edits([edit], log, FIND)


def test_two_tags_of_one_path_are_named_by_their_ids():
    log = [*LOG, Event("create", "Clustering", (tag("z", "3"),))]
    with pytest.raises(EditError, match="2 tags of 'Clustering' are called '3': .* a or z"):
        resolve_edits([{"delete": {"tag": "3"}}], log, FIND)
    assert "3" in done({"delete": {"tag": "z"}}, log=log)


def test_edits_may_be_the_lines_of_a_table():
    rows = [
        {"edit": "rename", "tag": "0", "to": "Été", "images": ""},
        {"edit": "merge", "tags": "1| 2 ", "into": "0"},
        {"edit": "move", "tag": "3", "under": ""},
        {"edit": "split", "tag": "4", "into": "new", "images": "a.jpg\nb.jpg"},
        {"edit": "assign", "tag": "5", "images": "a.jpg", "only": "TRUE"},
        {"edit": "undo", "event": "12"},
        {"edit": "redo", "event": ""},
    ]
    assert from_rows(enumerate(rows, start=2)) == [
        {"rename": {"tag": "0", "to": "Été"}},
        {"merge": {"tags": ["1", "2"], "into": "0"}},
        {"move": {"tag": "3", "under": ""}},
        {"split": {"tag": "4", "into": {"new": ["a.jpg", "b.jpg"]}}},
        {"assign": {"tag": "5", "images": ["a.jpg"], "only": True}},
        {"undo": {"event": 12}},
        {"redo": {}},
    ]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"edit": "undo", "event": "last"}, "line 7: event is the number of one, not 'last'"),
        ({"edit": "assign", "only": "yes"}, "line 7: only is true or false, not 'yes'"),
    ],
)
def test_a_line_that_is_no_edit_is_named(row, message):
    with pytest.raises(EditError, match=message):
        from_rows([(7, row)])


def test_an_undo_that_would_make_a_tree_too_deep_is_refused():
    """Each move alone is fine; taking one back joins two long branches."""
    half = DEEPEST // 2 + 1
    chains = []
    for letter in "pq":
        chains += [
            tag(f"{letter}{n}", f"{letter}{n}", f"{letter}{n - 1}" if n else None)
            for n in range(half)
        ]
    last = f"p{half - 1}"
    log = [
        Event("save", "Clustering", tuple(chains), run_key="r"),
        Event("move", "Clustering", tag_id="q0", parent_id=last),
        Event("move", "Clustering", tag_id="q0", parent_id=None),
    ]
    with pytest.raises(EditError, match="levels: move tags up first"):
        resolve_edits([{"undo": {"event": 3}}], log, FIND)


def test_a_path_of_more_parts_than_any_tag_has_is_none_and_names_with_signs_are_found():
    signs = "x>" * 60
    log = [Event("create", "Clustering", (tag("s", signs), tag("t", "y", "s")))]
    event = resolve_edits([{"recolour": {"tag": f"{signs} > y", "colour": ""}}], log, FIND)
    assert [each.tag_id for each in event] == ["t"]
    with pytest.raises(EditError, match="there is no tag"):
        resolve_edits([{"recolour": {"tag": "x>" * 100_000, "colour": ""}}], log, FIND)


def test_a_number_that_python_does_not_write_is_refused_in_words():
    with pytest.raises(EditError, match="a very long number"):
        resolve_edits([{"undo": {"event": 10**5000}}], LOG, FIND)

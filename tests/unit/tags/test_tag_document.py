"""The JSON document of tags brings back what it was written from."""

import json
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panoptic_assets.spec.tag_log import Event, Tag, TagTables, paths, replay, replayed
from panoptic_assets.tags.edits import DEEPEST, EditError, Images, resolve_edits
from panoptic_assets.tags.exchange.formats import ExchangeError, Labelled, events
from panoptic_assets.tags.exchange.tag_document import document, document_head, read_json

RECORDS = ["r@1", "r/1@1"]
IDS = [f"{number:016x}" for number in range(9)]
POOL = [f"{number:064x}" for number in range(5)]
FILES = {image_id: [f"{image_id[-1]}.jpg"] for image_id in POOL}

names = st.one_of(
    st.sampled_from(
        ["vase", "a > b", "a", "b", ">", "a  b", "=1", unicodedata.normalize("NFD", "é"), "🍌", ","]
    ),
    st.text(min_size=1, max_size=9).filter(lambda text: text.isprintable() and text.strip()),
)


@st.composite
def tagged(draw):
    """Any tree: siblings of one name, empty tags, colours, remainders, refusals, properties."""
    properties = draw(st.lists(st.sampled_from(["Clustering", "Époque", "P"]), unique=True))
    log = [Event("create_property", name) for name in properties]
    tags = []
    for tag_id in draw(st.lists(st.sampled_from(IDS), unique=True)) if properties else ():
        property_name = draw(st.sampled_from(properties))
        above = [tag.tag_id for tag in tags if tag.property == property_name]
        record_id = draw(st.sampled_from([None, *RECORDS]))
        tags.append(
            Tag(
                tag_id,
                property_name,
                draw(names),
                draw(st.sampled_from([None, *above])),
                record_id,
                record_id and draw(st.sampled_from(["r/0", "r/1"])),
                draw(st.booleans()),
                draw(st.sampled_from([None, "#00ff7f"])),
            )
        )
    ids = [tag.tag_id for tag in tags]
    pairs = st.sets(st.tuples(st.sampled_from(ids), st.sampled_from(POOL)), max_size=6)
    if ids:
        log.append(Event("import", "", tuple(tags), tuple(sorted(draw(pairs)))))
        log.append(Event("unassign", "", images=tuple(sorted(draw(pairs)))))
        log.append(Event("refuse", "", images=tuple(sorted(draw(pairs)))))
    return Labelled(replay(log), FILES)


def written(labelled):
    parts = {name: list(entries) for name, entries in document(labelled)}
    return json.dumps(document_head() | parts, indent=1)


def without_events(text):
    """The numbers of events are those of the one log."""
    content = json.loads(text)
    for image in content["images"]:
        for tag in image["tags"]:
            del tag["event"]
    return content


def imported(text, log=(), mode="add"):
    said = read_json(text.encode())
    ids = [image.image_id for image in said.images]
    return [*log, *events(said, ids, replayed(list(log)), mode, RECORDS)]


@given(tagged())
@settings(max_examples=150, deadline=None)
def test_what_is_imported_into_an_empty_project_is_exported_just_so(labelled):
    """A25: ids, siblings of one name, empty tags, colours, remainders, refusals and order."""
    text = written(labelled)
    log = imported(text)
    assert without_events(written(Labelled(replay(log), FILES))) == without_events(text)
    assert imported(text, log) == log


@given(tagged(), tagged(), st.sampled_from(["add", "replace", "keep"]))
@settings(max_examples=80, deadline=None)
def test_into_a_project_with_other_tags_it_brings_all_and_a_second_time_nothing(there, came, mode):
    log = imported(written(there))
    before = replay(log)
    text = written(came)
    log = imported(text, log, mode)
    after = replay(log)
    assert imported(text, log, mode) == log
    assert {*before.tags} <= {*after.tags}
    if mode == "add":
        assert before.images.keys() <= after.images.keys()
        assert len(after.images) >= len(came.tables.images)
        assert len(after.tags) >= len(came.tables.tags)


def tree(*entries):
    """Tags of the property P: id, name and id of the tag above."""
    tags = [Tag(tag_id, "P", name, *above) for tag_id, name, *above in entries]
    log = [Event("import", "P", tuple(tags), tuple((tag.tag_id, POOL[0]) for tag in tags))]
    return Labelled(replay(log), FILES), log


def test_a_tag_is_found_by_its_id_though_it_was_renamed_and_moved_since():
    labelled, log = tree((IDS[0], "a"), (IDS[1], "b", IDS[0]))
    log.append(Event("rename", "P", tag_id=IDS[0], name="other"))
    log.append(Event("move", "P", tag_id=IDS[1]))
    assert imported(written(labelled), log) == log


def test_a_tag_of_another_id_is_found_by_its_name_below_the_one_above_it():
    labelled, _ = tree((IDS[0], "a"), (IDS[1], "b", IDS[0]))
    _, log = tree((IDS[5], "a"), (IDS[6], " b ", IDS[5]))
    assert imported(written(labelled), log) == log


def test_two_siblings_of_one_name_stay_two_where_there_is_one():
    labelled, _ = tree((IDS[0], "vase"), (IDS[1], "vase"))
    _, log = tree((IDS[5], "vase"))
    after = replay(imported(written(labelled), log))
    assert [tag.tag_id for tag in after.tags] == [IDS[1], IDS[5]]


@pytest.mark.parametrize("tag_id", ["../../x", "", "A" * 16, "é", IDS[3]])
def test_an_id_that_is_none_or_is_taken_gives_way_to_one_that_stays_the_same(tag_id):
    log = [Event("create", "Q", (Tag(IDS[3], "Q", "there"),))]
    labelled, _ = tree((tag_id, "vase"), (IDS[1], "vase"))
    once = imported(written(labelled), log)
    [made] = [tag for tag in replay(once).tags if tag.tag_id not in IDS]
    assert len(made.tag_id) == 16
    assert imported(written(labelled), once) == once


def test_a_tag_that_was_deleted_here_comes_back():
    labelled, log = tree((IDS[0], "a"))
    log += resolve_edits([{"delete": {"tag": "a", "property": "P"}}], log, Images(str))
    after = imported(written(labelled), log)
    assert [tag.name for tag in replay(after).tags] == ["a"]
    undone = [*after, *resolve_edits([{"undo": {"event": len(after)}}], after, Images(str))]
    assert replay(undone).tags == []


def test_what_is_refused_comes_back_and_takes_nothing_away():
    log = [
        Event("create", "P", (Tag(IDS[0], "P", "a"),)),
        Event("refuse", "P", images=((IDS[0], POOL[0]), (IDS[0], POOL[1]))),
    ]
    text = written(Labelled(replay(log), FILES))
    assert replay(imported(text)).refused == {(IDS[0], POOL[0]), (IDS[0], POOL[1])}
    held = [log[0], Event("assign", "P", images=((IDS[0], POOL[0]),))]
    after = replay(imported(text, held))
    assert after.refused == {(IDS[0], POOL[1])}
    assert after.images.keys() == {(IDS[0], POOL[0])}


def test_what_an_image_carries_though_it_was_refused_for_it_is_both_again():
    log = [
        Event("create", "P", (Tag(IDS[0], "P", "a"),)),
        Event("assign", "P", images=((IDS[0], POOL[0]),)),
        Event("refuse", "P", images=((IDS[0], POOL[0]),)),
    ]
    text = written(Labelled(replay(log), FILES))
    after = imported(text)
    assert [event.kind for event in after] == ["import", "refuse"]
    assert replay(after).images.keys() == replay(after).refused == {(IDS[0], POOL[0])}
    assert imported(text, log[:2])[2:] == log[2:]
    assert imported(text, log) == log


def test_of_one_property_only_its_own_tags_and_refusals_are_written():
    log = [
        Event("create", "P", (Tag(IDS[0], "P", "a"),)),
        Event("create", "Q", (Tag(IDS[1], "Q", "a"),)),
        Event("refuse", "Q", images=((IDS[1], POOL[1]),)),
    ]
    tables = replay(log)
    only = TagTables([tables.tags[0]], {}, ["P"], tables.refused)
    content = json.loads(written(Labelled(only, FILES)))
    assert content["images"] == []
    assert read_json(json.dumps(content).encode()).only("P").known["P"].keys() == {IDS[0]}


def first_version(labelled):
    """The document as version 1 was: without names, tags above, and refusals."""
    content = json.loads(written(labelled)) | {"version": 1}
    for entry in content["tags"]:
        del entry["name"], entry["parent_id"]
    for image in content["images"]:
        del image["refused"]
    return content


def test_the_first_version_is_read_by_paths():
    labelled, _ = tree((IDS[0], "a"), (IDS[1], "b", IDS[0]), (IDS[2], "b", IDS[0]))
    after = replay(imported(json.dumps(first_version(labelled))))
    assert sorted(paths(after.tags).values()) == ["a", "a > b"]  # which it cannot tell apart
    assert len(after.images) == 2


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"\xff",
        b"{" * 100_000,
        b'{"format": "panoptic-assets tags", "version": 2}',
        b'{"format": "panoptic-assets tags", "version": 0, "properties": [], "tags": []}',
    ],
)
def test_json_that_is_no_export_is_refused(text):
    with pytest.raises(ExchangeError, match="no JSON document of tags"):
        read_json(text)


def a_deep(content):
    for place in range(1, DEEPEST + 1):
        above = content["tags"][-1]
        content["tags"].append(above | {"tag_id": f"{place:016x}", "parent_id": above["tag_id"]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.update(version=3), "version 3 .* newer panoptic-assets"),
        (lambda content: content["tags"].clear(), "not among the document's tags"),
        (lambda content: content["images"][0].update(refused=["x"]), "not among the document's"),
        (lambda content: content["tags"][0].update(colour="javascript:"), "is no colour"),
        (lambda content: content["tags"].append(content["tags"][0]), "stands in it twice"),
        (lambda content: content["tags"][0].update(parent_id="x"), "does not come before it"),
        (lambda content: content["tags"][0].update(name="a\nb"), "is no name of a tag"),
        (lambda content: content["tags"][0].update(name="x" * 201), "is no name of a tag"),
        (lambda content: content["tags"][0].update(property=" "), "is no name of a property"),
        (a_deep, "at most 50 levels"),
    ],
)
def test_a_document_that_cannot_be_used_is_refused_in_one_line(change, message):
    content = json.loads(written(tree((IDS[0], "a"))[0]))
    change(content)
    with pytest.raises((ExchangeError, EditError), match=message) as caught:
        imported(json.dumps(content))
    assert len(str(caught.value).splitlines()) == 1

"""Tags as other programs write and read them: cells, rows, and what an import does."""

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panoptic_assets.spec.formulas import protected, unprotected
from panoptic_assets.spec.tag_log import Event, Tag, TagTables, paths, replay, replayed
from panoptic_assets.tags.edits import EditError
from panoptic_assets.tags.exchange import formats
from panoptic_assets.tags.exchange.csv_tables import read_csv
from panoptic_assets.tags.exchange.folders import LONGEST, FolderNames, folders, safe_name
from panoptic_assets.tags.exchange.formats import (
    ExchangeError,
    Labelled,
    events,
)
from panoptic_assets.tags.exchange.panoptic_csv import (
    read_tag_list,
    tag_lists,
    with_tree,
    write_panoptic,
    write_tag_list,
)

HOSTILE = [
    "=1+1",
    "+a",
    "-b",
    "@c",
    "'=d",
    "''+e",
    "'f",
    'q"q',
    "é",
    "é",
    "🍌",
    "a;b",
    "<i>",
    "a\\b",
]

names = (
    st.one_of(st.sampled_from(HOSTILE), st.text(min_size=1, max_size=12))
    .map(lambda text: " ".join(formats.normalised(text).split()))
    .filter(lambda text: text and text.isprintable() and not set(text) & set(">,[]"))
)
file_names = st.one_of(
    st.sampled_from(["=x.jpg", "a\nb.jpg", "\r.png", "\t.gif", ' "q" ;.jpg', "🍌/é.jpg", "'=x"]),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=9),
).filter(lambda name: name.strip())


@st.composite
def tagged(draw, nb_properties=2):
    """Trees of tags, and images with files and tags."""
    tags, images = [], {}
    for property_name in draw(st.lists(names, unique=True, min_size=1, max_size=nb_properties)):
        tops = draw(st.lists(names, unique=True, min_size=1, max_size=3))
        for number, name in enumerate(tops):
            colour = draw(st.sampled_from([None, "#00ff7f"]))
            top = Tag(f"{property_name}{number}", property_name, name, colour=colour)
            tags.append(top)
            if draw(st.booleans()):
                tags.append(Tag(f"{top.tag_id}b", property_name, draw(names), top.tag_id))
    files = {}
    for number, path in enumerate(draw(st.lists(file_names, unique=True, max_size=6))):
        image_id = f"{number % 4:064x}"
        files.setdefault(image_id, []).append(path)
        for tag in draw(st.sets(st.sampled_from(tags), max_size=3)):
            images[tag.tag_id, image_id] = 1
    event = Event("import", "", tuple(tags), tuple(images))
    return Labelled(replay([event]), {image: sorted(paths) for image, paths in files.items()})


def pairs(tables):
    named = paths(tables.tags)
    properties = {tag.tag_id: tag.property for tag in tables.tags}
    return {(image, properties[tag], named[tag]) for tag, image in tables.images}


def imported(said, labelled, log=(), mode="add"):
    """The log after an import into a corpus of the same files."""
    by_path = {path: image for image, paths in labelled.files.items() for path in paths}
    ids = [
        image.image_id or next(map(by_path.get, image.paths), None) or None for image in said.images
    ]
    return [*log, *events(said, ids, replayed(list(log)), mode)]


def written(labelled, write):
    text = io.StringIO(newline="")
    write(labelled, text)
    return text.getvalue()


@given(st.text())
def test_protecting_a_cell_loses_nothing_and_leaves_no_formula(text):
    assert unprotected(protected(text)) == text
    assert protected(text)[:1] not in tuple("=+-@\t\r")


@given(tagged())
@settings(max_examples=60, deadline=None)
def test_a_round_trip_through_csv_keeps_who_has_which_tag(labelled):
    text = written(labelled, formats.write_csv)
    after = replay(imported(read_csv(io.BytesIO(text.encode())), labelled))
    assert pairs(after) == pairs(labelled.tables)
    for row in csv.reader(io.StringIO(text, newline="")):
        assert not [cell for cell in row if cell[:1] in tuple("=+-@\t\r")]


@given(tagged())
@settings(max_examples=60, deadline=None)
def test_a_round_trip_through_panoptics_csv_keeps_who_has_which_tag(labelled):
    said = read_csv(io.BytesIO(written(labelled, write_panoptic).encode()))
    for tags in tag_lists(labelled):
        file = io.StringIO(newline="")
        write_tag_list(tags, file)
        said = with_tree(said, tags.property, read_tag_list(file.getvalue()))
    after = replay(imported(said, labelled))
    assert pairs(after) == pairs(labelled.tables)


def simple(*pairs_given, files=("a.jpg", "b.jpg")):
    tags = (Tag("t9", "Clustering", "9"), Tag("t91", "Clustering", "1", "t9"))
    event = Event("import", "Clustering", tags, tuple(pairs_given))
    return Labelled(replay([event]), {name[0]: [name] for name in files})


def test_panoptics_columns_say_whether_images_have_several_tags():
    """A23, A24, C13: the property, for Panoptic."""
    one = simple(("t9", "a"), ("t91", "b"))
    assert written(one, write_panoptic).splitlines() == [
        "path;Clustering[tag]",
        "a.jpg;9",
        "b.jpg;1",
    ]
    two = simple(("t9", "a"), ("t91", "a"))
    assert written(two, write_panoptic).splitlines() == [
        "path;Clustering[multi_tags]",
        "a.jpg;9,1",
    ]


def test_a_file_with_pages_is_one_line_for_panoptic():
    """A23, K10: it knows no file of the name that a page has."""
    labelled = simple(("t9", "b"), ("t91", "a"))
    labelled.files.update(a=["x.tif"], b=["x.tif#page=2"])
    assert written(labelled, write_panoptic).splitlines() == [
        "path;Clustering[multi_tags]",
        "x.tif;9,1",
    ]


def test_a_comma_that_panoptic_would_take_for_the_end_of_a_tag_is_refused():
    tags = (Tag("1", "P", "a, b"), Tag("2", "P", "c"))
    labelled = Labelled(replay([Event("import", "P", tags, (("1", "i"), ("2", "i")))]), {})
    with pytest.raises(ExchangeError, match="has one in its name: rename the tag"):
        written(labelled, write_panoptic)


def test_images_without_a_file_keep_their_rows_but_have_no_line_for_panoptic():
    labelled = simple(("t9", "gone"), ("t9", "a"))
    assert [row[:2] for row in formats.rows(labelled)] == [("a", "a.jpg"), ("gone", None)]
    assert len(written(labelled, write_panoptic).splitlines()) == 2


LOG = [
    Event(
        "import",
        "Style",
        (Tag("b", "Style", "baroque", colour="#111111"), Tag("r", "Style", "rococo")),
        (("b", "i"), ("r", "j")),
    )
]
PANOPTIC = b"path;Style[tag];note\ni.jpg;rococo;x\nk.jpg;gothic > late;y\nj.jpg;;\n"
FILES = {"i": ["i.jpg"], "j": ["j.jpg"], "k": ["k.jpg"]}


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("add", {("i", "baroque"), ("i", "rococo"), ("j", "rococo"), ("k", "gothic > late")}),
        ("replace", {("i", "rococo"), ("j", "rococo"), ("k", "gothic > late")}),
        ("keep", {("i", "baroque"), ("j", "rococo"), ("k", "gothic > late")}),
    ],
)
def test_an_import_adds_replaces_or_keeps(mode, expected):
    labelled = Labelled(TagTables(), FILES)
    log = imported(read_csv(io.BytesIO(PANOPTIC)), labelled, LOG, mode)
    assert len(log) == 2
    assert {(image, tag) for image, _, tag in pairs(replay(log))} == expected
    again = imported(read_csv(io.BytesIO(PANOPTIC)), labelled, log, mode)
    assert again == log


@pytest.mark.parametrize(("tag", "given"), [("vase", "b"), ("other", "c")])
def test_of_two_tags_of_one_path_a_row_means_that_of_its_id(tag, given):
    """Where somebody has changed the path beside the id, the path counts."""
    there = [Event("create", "P", (Tag("a", "P", "vase"), Tag("b", "P", "vase")))]
    there.append(Event("create", "P", (Tag("c", "P", "other"),)))
    table = f"image_id,path,property,tag,tag_id\ni,,P,{tag},b\n".encode()
    for mode in ("add", "replace", "keep"):
        log = [*there, *events(read_csv(io.BytesIO(table)), ["i"], replayed(there), mode)]
        assert replay(log).images.keys() == {(given, "i")}
        assert not events(read_csv(io.BytesIO(table)), ["i"], replayed(log), mode)


def test_tags_that_are_there_keep_their_ids_and_colours():
    said = formats.Said()
    said.add_tag("Style", "baroque", colour="#222222")
    said.add_tag("Style", "new", colour="#333333", record_id="r@1", node="r/3")
    [event] = events(said, [], replayed(LOG), "add")
    assert [(tag.name, tag.colour, tag.node) for tag in event.tags] == [("new", "#333333", None)]
    [event] = events(said, [], replayed(LOG), "add", ["r@1"])
    assert event.tags[0].node == "r/3"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "empty"),
        (b"path;note\na;b\n", "No column holds tags"),
        (b"id;a[tag]\n1;b\n", "Only Panoptic's own numbers"),
        (b"path;a[tag]\nx;b > > c\n", "Line 2: 'b > > c' is no path of tags"),
        (b"image_id,property,tag\n,P,t\n", "Row 1 names no image"),
        (b"image_id,path,property,tag\nx,y,P,\n", "no tag"),
        (b'path;a[tag]\n"x;b\n', "cannot be read"),
        (b"path;a[tag]\nx;y;z\n", "has 3 cells"),
        (b"\xff", "not UTF-8"),
    ],
)
def test_a_csv_that_is_no_table_of_tags_is_refused(text, message):
    with pytest.raises(ExchangeError, match=message) as caught:
        read_csv(io.BytesIO(text))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["a\x1bb", "x" * 201, "a\nb"])
def test_names_that_no_tag_can_have_are_refused(name):
    said = formats.Said()
    said.add_tag("P", name)
    with pytest.raises(EditError, match="is no name of a tag"):
        events(said, [], replayed([]), "add")


@given(st.text(max_size=300))
def test_a_safe_name_is_one_visible_part_of_a_path(name):
    safe = safe_name(name)
    assert safe not in ("", ".", "..")
    assert safe[0] != "."
    assert not set(safe) & set('/\\:*?"<>|\0')
    assert len(safe.encode()) <= LONGEST
    assert safe_name(safe) == safe


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("..", "__"),
        ("../../etc", "___.._etc"),
        (".hidden", "_hidden"),
        ("CON", "_CON"),
        ("nul.jpg", "_nul.jpg"),
        ("con .txt", "_con .txt"),
        ("com¹", "_com¹"),
        ("CONOUT$.tar.gz", "_CONOUT$.tar.gz"),
        ("console", "console"),
        ("a.", "a_"),
        ("été 🍌.jpg", "été 🍌.jpg"),
        ("a\0b", "a_b"),
    ],
)
def test_hostile_names_become_safe_ones(name, safe):
    assert safe_name(name) == safe


def test_long_names_stay_different_and_keep_their_ending():
    one, other = (safe_name("é" * 300 + end + ".jpeg") for end in "ab")
    assert one != other
    assert one.endswith(".jpeg")


def test_no_two_names_of_a_folder_are_the_same_to_any_disk():
    names = FolderNames()
    given = ["a.jpg", "A.jpg", "a.jpg", "e\u0301", "\u00e9", "a (2).jpg"]
    found = [names.free((), name) for name in given]
    assert found == ["a.jpg", "A (2).jpg", "a (3).jpg", "\u00e9", "\u00e9 (2)", "a (2) (2).jpg"]
    assert names.free(("x",), "a.jpg") == "a.jpg"


def test_a_folder_for_each_tag_below_that_of_its_property():
    tags = simple().tables.tags
    assert folders(tags, FolderNames(), True) == {
        "t9": ("Clustering", "9"),
        "t91": ("Clustering", "9", "1"),
    }
    assert folders(tags, FolderNames(), False)["t91"] == ("9", "1")

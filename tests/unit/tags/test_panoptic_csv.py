"""Panoptic's CSV and lists of tags: what is called what, and what its columns say."""

import csv
import io
from pathlib import Path

import pytest

from panoptic_assets.spec.tag_log import Event, Tag, replay, replayed
from panoptic_assets.tags.exchange import panoptic_csv
from panoptic_assets.tags.exchange.csv_tables import read_csv
from panoptic_assets.tags.exchange.formats import ExchangeError, ImageName, Labelled
from panoptic_assets.tags.exchange.panoptic_csv import (
    PALETTE,
    placed,
    read_tag_list,
    tag_lists,
    write_panoptic,
    write_tag_list,
)

SHA1 = "0123456789abcdef0123456789abcdef01234567"


def labelled(*tags, given=(), property_name="P"):
    made = [
        Tag(path, property_name, path.rpartition(" > ")[2], above, colour=colour)
        for path, above, colour in tags
    ]
    event = Event("import", property_name, tuple(made), tuple(given))
    images = {image for _, image in given}
    return Labelled(replay([event]), {image: [f"{image}.jpg"] for image in images})


def written(write, *given):
    file = io.StringIO(newline="")
    write(*given, file)
    return file.getvalue()


def said(text):
    return read_csv(io.BytesIO(text.encode()))


def test_a_tag_has_its_own_name_in_panoptic_where_that_is_the_only_one():
    """C13: Panoptic tells tags of a property apart by their names alone."""
    tags = labelled(
        ("9", None, None),
        ("9 > 1", "9", None),
        ("1", None, None),
        ("9 > late", "9", None),
        given=[("9 > 1", "a"), ("9 > late", "b"), ("1", "c")],
    )
    assert written(write_panoptic, tags).splitlines() == [
        "path;P[tag]",
        "a.jpg;9 > 1",
        "b.jpg;late",
        "c.jpg;1",
    ]
    [listed] = tag_lists(tags)
    assert [(name, parent) for name, _, parent in listed.rows] == [
        ("1", ""),
        ("9", ""),
        ("9 > 1", "9"),
        ("late", "9"),
    ]


def test_a_path_that_another_one_ends_in_begins_with_the_name_of_the_folder():
    """Panoptic would take either file, and say nothing."""
    tags = labelled(("x", None, None), given=[("x", "a"), ("x", "b"), ("x", "c")])
    tags.files.update(a=["1.jpg"], b=["s/1.jpg"], c=["t/s/1.jpg"])
    file = io.StringIO(newline="")
    write_panoptic(tags, file, "images")
    assert [line.partition(";")[0] for line in file.getvalue().splitlines()[1:]] == [
        "images/1.jpg",
        "images/s/1.jpg",
        "t/s/1.jpg",
    ]


def test_colours_become_the_nearest_of_panoptics_twelve():
    tags = labelled(("a", None, PALETTE[4]), ("b", None, "#ff8080"), ("c", None, "#3bc9d0"))
    assert [colour for _, colour, _ in tag_lists(tags)[0].rows] == [4, 0, 6]


def test_tags_with_neither_tree_nor_colour_have_no_list():
    assert tag_lists(labelled(("a", None, None), ("b", None, None))) == []


def test_a_comma_never_becomes_two_parents():
    """What lies below such a tag has its whole path, and the list says nothing above it."""
    tags = labelled(
        ("fish, coral", None, None),
        ("fish, coral > red", "fish, coral", None),
        ("fish, coral > red > deep", "fish, coral > red", None),
        given=[("fish, coral > red", "a")],
    )
    [listed] = tag_lists(tags)
    assert [(name, parent) for name, _, parent in listed.rows] == [
        ("fish, coral", ""),
        ("fish, coral > red", ""),
        ("fish, coral > red > deep", ""),
    ]
    assert listed.nb_without_parent == 2
    assert "a.jpg;fish, coral > red" in written(write_panoptic, tags)


def test_what_a_spreadsheet_takes_for_a_formula_is_one_tag_wherever_it_stands_in_a_cell():
    tags = labelled(
        ("=x", None, PALETTE[0]), ("a", None, None), given=[("=x", "i"), ("a", "i"), ("=x", "j")]
    )
    lines = written(write_panoptic, tags).splitlines()
    assert {cell for line in lines[1:] for cell in line.partition(";")[2].split(",")} == {
        "'=x",
        "a",
    }
    assert written(write_tag_list, tag_lists(tags)[0]).startswith("'=x;0;")
    [row] = [row for row in said("\n".join(lines)).given["P"] if row[0] == 1]
    assert row[1] == ("=x",)


@pytest.mark.parametrize(
    ("header", "row", "expected"),
    [
        (
            "id;path[path];sha1[sha1]",
            f"7;/x/a/b.jpg;{SHA1}",
            ImageName("", ("/x/a/b.jpg",), (), SHA1),
        ),
        ("local_path", "a/b.jpg", ImageName("", (), ("a/b.jpg",))),
        ("global_path", "b.jpg", ImageName("", (), ("b.jpg",))),
        ("id;sha1[sha1]", f"7;{SHA1.upper()}", ImageName("", (), (), SHA1)),
        ("global_path;path[path]", "b.jpg;/x/b.jpg", ImageName("", ("/x/b.jpg",), ("b.jpg",))),
        ("path", "a/b.jpg", ImageName("", ("a/b.jpg",))),
    ],
    ids=["id", "local", "global", "sha1", "both", "ours"],
)
def test_each_key_of_panoptics_export_says_which_image_a_row_is(header, row, expected):
    """A25: its ids mean nothing, a name alone may be that of several files."""
    assert said(f"{header};P[tag]\n{row};x\n").images == [expected]


def test_panoptics_numbers_alone_are_refused_with_what_to_export():
    with pytest.raises(ExchangeError, match="properties path and sha1"):
        said("id;P[tag]\n1;x\n")


def test_a_list_of_tags_is_read_with_its_colours_and_first_parents():
    assert read_tag_list("a;3;\nb;x;a,c\n\n;;\nc\n'=d;11;'=e\n") == {
        "a": (PALETTE[3], ""),
        "b": ("", "a"),
        "c": ("", ""),
        "=d": (PALETTE[11], "=e"),
    }


def test_a_list_of_tags_that_is_no_table_is_refused():
    before = csv.field_size_limit()
    try:
        for limit in (2**17, 2**24):  # which is the whole process's: others may have raised it
            csv.field_size_limit(limit)
            with pytest.raises(ExchangeError, match="list of tags beside it cannot be read"):
                read_tag_list("x" * 200_000)
    finally:
        csv.field_size_limit(before)


def test_parents_in_a_circle_end():
    tree = read_tag_list("a;0;b\nb;0;a\n")
    found = panoptic_csv.with_tree(said("path;P[tag]\nx.jpg;a\n"), "P", tree)
    assert len(found.tags["P"]) == 2


def test_a_list_that_is_one_long_chain_is_refused():
    tree = read_tag_list("".join(f"t{n + 1};0;t{n}\n" for n in range(100_000)))
    with pytest.raises(ExchangeError, match="more than 50 levels, with"):
        panoptic_csv.with_tree(said("path;P[tag]\nx.jpg;t9\n"), "P", tree)


def test_no_two_properties_have_one_header_nor_one_list():
    """C13: brackets become parentheses, and what no disk takes in a name an underscore."""
    names = ["q[1]", "q(1)", "m/n", "m:n"]
    tags = tuple(Tag(name, name, "x", colour=PALETTE[0]) for name in names)
    log = [Event("import", "", tags, tuple((name, "a") for name in names))]
    made = Labelled(replay(log), {"a": ["a.jpg"]})
    assert panoptic_csv.headers(made.tables.tags) == {
        "m/n": "m/n",
        "m:n": "m:n",
        "q(1)": "q(1)",
        "q[1]": "q(1) (2)",
    }
    text = written(write_panoptic, made)
    assert list(said(text).tags) == [*panoptic_csv.headers(made.tables.tags).values()]
    places = panoptic_csv.tag_list_places(Path("c.csv"), said(text).tags)
    assert places == panoptic_csv.tag_list_places(
        Path("c.csv"), panoptic_csv.headers(made.tables.tags).values()
    )
    assert [place.name for place in places.values()] == [
        "c-tags-m_n.csv",
        "c-tags-m_n (2).csv",
        "c-tags-q(1).csv",
        "c-tags-q(1) (2).csv",
    ]


def test_a_property_that_is_called_otherwise_there_is_the_one_here():
    """But what a project has by that very name stays what it is."""
    log = [Event("create", "", tuple(Tag(name, name, "x") for name in ("q[1]", "q(1)", "r[1]")))]
    text = "path;q(1)[tag];q(1) (2)[tag];r(1)[tag];new(1)[tag]\na.jpg;a;b;c;d\n"
    found, _ = placed(said(text), replayed(log))
    assert [*found.tags] == [*found.given] == ["q(1)", "q[1]", "r[1]", "new(1)"]


def test_a_name_that_only_one_tag_of_the_tree_has_is_that_tag():
    """A25: Panoptic exports tags by their own names; what has a root of that name is the root."""
    tags = (
        Tag("g", "P", "Gothic"),
        Tag("l", "P", "late", "g"),
        Tag("g1", "P", "1", "g"),
        Tag("1", "P", "1"),
        Tag("t", "P", "twin", "g"),
        Tag("u", "P", "twin", "1"),
    )
    state = replayed([Event("import", "P", tags)])
    content = said("local_path;P[multi_tags]\na/b.jpg;late,1,twin,new\n")
    found, nb_placed = placed(content, state)
    assert [path for _, path in found.given["P"]] == [
        ("Gothic", "late"),
        ("1",),
        ("twin",),
        ("new",),
    ]
    assert nb_placed == 1

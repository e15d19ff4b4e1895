"""A project folder of Panoptic: what its databases say, and what they cannot do to readers."""

import os
import sqlite3

import pytest

from panoptic_assets.tags.exchange.panoptic_csv import PALETTE
from panoptic_assets.tags.exchange.panoptic_folder import panoptic_vectors, read_panoptic_folder
from resources import panoptic_database
from resources.errors import InputError
from tests.panoptic_databases import PanopticDatabases

A, B, C = (letter * 40 for letter in "abc")


@pytest.fixture
def made(tmp_path):
    databases = PanopticDatabases(tmp_path / "panoptic")
    databases.files("/images/x", [("1.jpg", A), ("2.jpg", B)])
    databases.files("/images/y", [("3.jpg", A), ("4.jpg", C)])
    return databases


def tree(content, name="P"):
    return {path: details.get("colour") for path, details in content.tags[name].items()}


def given(content, name="P"):
    return {(content.images[at].sha1, path) for at, path in content.given.get(name, ())}


def test_trees_with_colours_and_who_has_which_tag_are_read(made):
    """A24: of contents and of instances; what was deleted is not there."""
    made.property(1, "P", "multi_tags")
    made.tag(1, 1, "root", colour=2)
    made.tag(2, 1, "leaf", [1], colour=11)
    made.tag(3, 1, "gone", [1], operation=-1)
    made.tag(4, 1, "grey", colour=None)
    made.give(A, 1, 2)
    made.give(B, 1, 1, operation=-1)
    made.property(2, "Q", "tag", "id")
    made.tag(5, 2, "mine")
    made.give(4, 2, 5)
    content = read_panoptic_folder(made.close())
    assert tree(content.said) == {
        ("root",): PALETTE[2],
        ("root", "leaf"): PALETTE[11],
        ("grey",): None,
    }
    assert given(content.said) == {(A, ("root", "leaf"))}
    assert given(content.said, "Q") == {(C, ("mine",))}
    assert content.nb_folders == 2
    assert {image.sha1: image.paths for image in content.said.images}[A] == (
        "/images/x/1.jpg",
        "/images/y/3.jpg",
    )


def test_a_tag_below_several_lies_below_the_first_and_circles_are_cut(made):
    made.property(1, "P", "tag")
    made.tag(1, 1, "a")
    made.tag(2, 1, "b")
    made.tag(3, 1, "c", [2, 1])
    made.tag(4, 1, "d", [5])
    made.tag(5, 1, "e", [4])
    made.tag(6, 1, "f", [6])
    made.tag(7, 1, "g", [99, 1])
    content = read_panoptic_folder(made.close())
    assert {path for path in tree(content.said) if path[-1] in "cfg"} == {
        ("b", "c"),
        ("f",),
        ("a", "g"),
    }
    assert len(tree(content.said)) == 7
    assert [note.partition(":")[2] for note in content.notes] == [
        " tags that lie below several others there, and here below the first: 1.",
        " tags that lie in a circle there, and here at the root: 2.",
    ]


def test_a_list_that_is_one_long_chain_is_refused(made):
    made.property(1, "P", "tag")
    for number in range(1, 3_001):
        made.tag(number, 1, f"t{number}", [number + 1])
    with pytest.raises(InputError, match="more than 50 levels, with"):
        read_panoptic_folder(made.close())


def test_names_that_parts_levels_here_become_others_and_paths_stay_paths(made):
    """What our own export called by its path is its place in the tree again."""
    made.property(1, "P", "tag")
    made.tag(1, 1, "9")
    made.tag(2, 1, "9 > 1", [1])
    made.tag(3, 1, "size > 3", [1])
    made.tag(4, 1, "x>y")
    made.tag(5, 1, "a > b")
    made.tag(9, 1, "'=1+1")
    made.tag(6, 1, " two\n lines\x00 ")
    made.tag(7, 1, None)
    made.tag(8, 1, "n" * 300)
    found = tree(read_panoptic_folder(made.close()).said)
    assert {path for path in found if len(path[-1]) < 200} == {
        ("9",),
        ("9", "1"),
        ("9", "size › 3"),
        ("x›y",),
        ("a", "b"),
        ("two lines",),
        ("=1+1",),
        ("?",),
    }
    assert max(len(path[-1]) for path in found) == 200


def test_values_of_images_files_and_instances_become_lines(made):
    """A13: one for each image; for each instance where instances have values of their own."""
    for number, (name, dtype) in enumerate(
        [
            ("Note", "text"),
            ("Year", "number"),
            ("Day", "date"),
            ("Seen", "checkbox"),
            ("Tint", "color"),
            ("Empty", "text"),
            ("Link", "url"),
        ],
        start=1,
    ):
        made.property(number, name, dtype)
    made.value("sha1_values", 1, A, 'said "so";\nyes')
    made.value("sha1_values", 2, B, 1850.5)
    made.value("sha1_values", 2, A, 1850.0)
    made.value("file_values", 3, 4, "1850-01-01")
    made.value("instance_values", 4, 1, True)
    made.value("instance_values", 4, 3, False)
    made.value("sha1_values", 5, C, 3)
    made.value("sha1_values", 6, C, "")
    made.value("sha1_values", 7, C, "https://x", operation=-1)
    content = read_panoptic_folder(made.close())
    assert content.columns == [
        ("Note", "text"),
        ("Year", "number"),
        ("Day", "date"),
        ("Seen", "text"),
        ("Tint", "text"),
    ]
    lines = {(content.said.images[at].sha1, cells) for at, cells in content.lines}
    assert lines == {
        (A, ('said "so";\nyes', "1850", "", "true", "")),
        (A, ('said "so";\nyes', "1850", "", "false", "")),
        (B, ("", "1850.5", "", "", "")),
        (C, ("", "", "1850-01-01", "", PALETTE[3])),
    }


def test_only_the_properties_that_are_wanted_are_read(made):
    made.property(1, "P", "tag")
    made.property(2, "Q", "text")
    made.property(3, "P", "multi_tags")
    folder = made.close()
    assert list(read_panoptic_folder(folder).said.tags) == ["P", "P (multi_tags)"]
    assert list(read_panoptic_folder(folder, ["P (multi_tags)"]).said.tags) == ["P (multi_tags)"]
    with pytest.raises(InputError, match=r"no property 'R'\. Existing ones: P, Q, P \(multi"):
        read_panoptic_folder(folder, ["P", "R"])


def test_vectors_are_read_by_kind_and_maps_are_told(made):
    """K4: which model made them is told in words."""
    made.vectors(1, "clip", {A: [3, 4], B: [1, 0]})
    made.vectors(2, "dino", {A: [1, 2, 3]})
    made.media.execute("INSERT INTO vectors VALUES (1, ?, x'0102')", (C,))
    made.media.execute("INSERT INTO maps VALUES (1, 's', 'UMAP', 'k', 2, '[]')")
    folder = made.close()
    content = read_panoptic_folder(folder)
    assert [(kind.number, kind.nb_vectors) for kind in content.vector_types] == [(1, 3), (2, 1)]
    words = "Panoptic: clip (model: openai/clip, greyscale: False)"
    assert content.vector_types[0].words == words
    assert [(sha1, vector.tolist()) for sha1, vector in panoptic_vectors(folder, 1)] == [
        (A, [3, 4]),
        (B, [1, 0]),
    ]
    assert "not taken: 1 (UMAP)." in content.notes[0]


def test_a_database_in_use_is_read_with_its_log_and_stays_as_it_was(made):
    """Panoptic writes by way of a log beside its database, which reading would put away."""
    made.data.execute("PRAGMA journal_mode = WAL")
    made.property(1, "P", "tag")
    made.tag(1, 1, "in the log")

    def files():
        return {file.name: file.read_bytes() for file in made.folder.iterdir()}

    before = files()
    assert before["data.db-wal"]
    content = read_panoptic_folder(made.folder)
    assert tree(content.said) == {("in the log",): PALETTE[0]}
    assert files() == before
    made.close()


def test_a_closed_database_is_read_where_nobody_may_write(made):
    made.property(1, "P", "tag")
    folder = made.close()

    def states():
        return {
            file.name: (file.stat().st_mtime_ns, file.stat().st_size) for file in folder.iterdir()
        }

    before = states()
    read_panoptic_folder(folder)
    assert states() == before


def test_no_view_of_a_stranger_is_computed(made):
    """A view may ask for an endless sequence; a virtual table may be anything."""
    made.data.executescript(
        "DROP TABLE tags; CREATE VIEW tags AS WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT "
        "id + 1 FROM n) SELECT id, 1 AS list_id, '[]' AS parents, 'x' AS value, 0 AS color FROM n;"
    )
    with pytest.raises(InputError, match="it has no table tags"):
        read_panoptic_folder(made.close())


def test_more_rows_than_a_project_can_have_are_refused(made, monkeypatch):
    monkeypatch.setattr(panoptic_database, "MAX_ROWS", 3)
    with pytest.raises(InputError, match="has more than 3 rows"):
        read_panoptic_folder(made.close())


def test_text_that_is_not_utf8_and_json_without_end_are_read(made):
    made.property(1, "P", "tag")
    made.data.execute(
        "INSERT INTO tags VALUES (1, 1, ?, CAST(x'61ff' AS TEXT), 0, 1, 1, 1)", ("[" * 100_000,)
    )
    assert tree(read_panoptic_folder(made.close()).said) == {("a�",): PALETTE[0]}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("panoptic.db", b"", "older Panoptic"),
        ("x.txt", b"", "no project of Panoptic"),
        ("data.db", b"not a database at all" * 100, "cannot be read as Panoptic 1.0 writes it"),
        ("data.db", b"", "it has no table properties"),
    ],
)
def test_what_is_no_project_of_panoptic_is_refused(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_panoptic_folder(tmp_path)
    assert len(str(caught.value).splitlines()) == 1


def test_a_table_of_another_version_is_named(made):
    made.data.execute("ALTER TABLE tags RENAME COLUMN parents TO above")
    with pytest.raises(InputError, match="its table tags has no parents"):
        read_panoptic_folder(made.close())


def test_a_damaged_page_is_refused_in_one_line(made):
    made.property(1, "P", "tag")
    for number in range(1, 400):
        made.tag(number, 1, f"name {number}")
    folder = made.close()
    size = (folder / "data.db").stat().st_size
    with (folder / "data.db").open("r+b") as file:
        file.seek(4096)
        file.write(b"\x55" * (size - 8192))
    with pytest.raises(InputError, match=r"data\.db cannot be read"):
        read_panoptic_folder(folder)


def test_a_database_that_changes_meanwhile_is_refused(made):
    made.property(1, "P", "tag")
    folder = made.close()
    with (
        pytest.raises(InputError, match="changed while it was read"),
        panoptic_database.opened(folder / "data.db"),
    ):
        os.utime(folder / "data.db", ns=(1, 1))


def test_no_library_of_a_stranger_can_be_loaded(made):
    with panoptic_database.opened(made.close() / "data.db") as rows:
        for asked in ("SELECT load_extension('x')", "ATTACH ':memory:' AS x", "DELETE FROM tags"):
            with pytest.raises(sqlite3.OperationalError):
                rows._connection.execute(asked)

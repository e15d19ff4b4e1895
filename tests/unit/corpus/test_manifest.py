"""Which files are read again, and what is said to have become of each."""

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panoptic_assets.corpus.manifest import (
    HANDFUL,
    File,
    absence,
    changes,
    corpus_version,
    missing,
    outstanding,
)


@dataclass(frozen=True)
class Listed:
    path: str
    size: int = 10
    mtime_ns: int = 1
    etag: str = ""


def present(path, image_id, **other):
    return (
        File(path, image_id, "present", None, 10, 1, "", "")
        if not other
        else replace(present(path, image_id), **other)
    )


def refused(path, image_id="broken", reason="damaged", reader="reader 1"):
    return File(path, image_id, "quarantined", reason, 10, 1, "", reader)


def by_path(*files):
    return {file.path: file for file in files}


def paths_read(known, *listed, reader="reader 1"):
    return [file.path for file in outstanding(by_path(*known), listed, [], reader).read]


def test_a_file_with_the_same_size_and_time_is_not_read():
    assert paths_read([present("a", "A")], Listed("a")) == []


@pytest.mark.parametrize("change", [{"size": 11}, {"mtime_ns": 2}, {"etag": "x"}])
def test_a_file_whose_size_time_or_etag_differ_is_read(change):
    assert paths_read([present("a", "A")], Listed("a", **change)) == ["a"]


def test_a_file_that_came_back_is_read():
    assert paths_read([missing(present("a", "A"))], Listed("a")) == ["a"]


def test_bytes_that_this_reader_refused_are_not_read_again():
    assert paths_read([refused("a")], Listed("a")) == []


def test_a_refused_file_is_read_again_by_another_reader():
    assert paths_read([refused("a")], Listed("a"), reader="reader 2") == ["a"]


def test_a_file_whose_bytes_could_not_be_had_is_tried_each_time():
    assert paths_read([refused("a", image_id=None)], Listed("a")) == ["a"]


def test_files_below_a_folder_that_could_not_be_listed_are_not_gone():
    known = by_path(present("x/a", "A"), present("y/b", "B"))
    assert [file.path for file in outstanding(known, [], ["x/"], "").gone] == ["y/b"]


def folder(name, count, **other):
    """Files of a folder, each with a size and a time of its own."""
    return [
        present(f"{name}/{number}", f"{name} {number}", **{"size": number, "mtime_ns": 7} | other)
        for number in range(count)
    ]


def asked(known, listed, unreadable=(), takes=lambda path: True):
    known = by_path(*known)
    there = [Listed(file.path, file.size, file.mtime_ns, file.etag) for file in listed]
    return str(absence(known, outstanding(known, there, unreadable, ""), takes, "/disk") or "")


MANY = HANDFUL + 1
SCANS = folder("disk", 1000, size=5)
"""Files of one size that came at one time."""


@pytest.mark.parametrize(
    ("known", "left", "said"),
    [
        (folder("a", 3), [], "all 3 files of the corpus (first: 'a/0')"),
        ([present("x", "X")], [], "its only file (first: 'x')"),
        ([*folder("a", 3), refused("b")], [], "all 4 files of the corpus"),
        (
            [*folder("a", MANY), *folder("b", 9)],
            folder("b", 9),
            "the top folder 'a' with all its 6 files",
        ),
        # What has come meanwhile says nothing of what is away.
        (
            [*folder("a/b", MANY), *folder("c", 9)],
            [*folder("c", 9), *folder("d", 90, mtime_ns=9)],
            "'a'",
        ),
        (folder("a", 3), folder("d", 90, mtime_ns=9), "all 3 files of the corpus"),
        (
            [*(file for name in "abcdefgh" for file in folder(name, MANY)), present("x", "X")],
            [present("x", "X")],
            "'e' with all its 6 files, 3 more",
        ),
        # Of a folder of which two files are elsewhere by now, the rest is all that was to be there.
        (
            [*folder("a", MANY + 2), *folder("b", 1, size=99)],
            [*folder("b", 1, size=99), *folder("c", 2)],
            "'a' with all its 6 files",
        ),
        # One file cannot be what all of them became.
        (
            [*SCANS, *folder("b", 9)],
            [*folder("b", 9), *folder("new", 1, size=5)],
            "the top folder 'disk' with all its 999 files (",
        ),
        (
            [*folder("a", MANY + 1, size=5, etag="e"), *folder("b", 9)],
            [*folder("b", 9), *folder("new", 1, size=5, etag="e")],
            "the top folder 'a' with all its 6 files (",
        ),
        # Nor one by its etag, and another one by its time.
        (
            [
                *folder("a", MANY, size=5),
                present("b", "B", size=5, mtime_ns=8, etag="e"),
                present("c", "C"),
            ],
            [present("new", "B", size=5, mtime_ns=7, etag="e"), present("c", "C")],
            "the top folder 'a' with all its 6 files (",
        ),
        # Another disk may be in its place.
        (
            [*folder("a", 10), *folder("b", 9)],
            [*folder("b", 9), *folder("a/png", 10, mtime_ns=9), *folder("c", 3, mtime_ns=9)],
            "the top folder 'a' with all its 10 files, in which 10 others are now (first",
        ),
        (
            [*folder("a", MANY), *folder("b", 9), present("x", "X", size=50)],
            [*folder("b", 9), *folder("a/new", 1, mtime_ns=9), present("a/x", "X", size=50)],
            "'a' with all its 6 files, in which 1 other is now (first",
        ),
        (
            folder("a", 9),
            folder("d", 1, mtime_ns=9),
            "all 9 files of the corpus, in their place 1 other is now (first",
        ),
        (
            [present("x", "X")],
            folder("d", 2, mtime_ns=9),
            "its only file, in its place 2 others are now (first",
        ),
    ],
)
def test_a_corpus_or_a_top_folder_that_is_gone_is_a_question(known, left, said):
    line = asked(known, left)
    assert f"Missing from /disk: {said}" in line or said in line
    assert len(line.splitlines()) == 1 and "--accept-missing" in line


@pytest.mark.parametrize(
    ("known", "left"),
    [
        (folder("a", 9), folder("a", 9)),
        (folder("a", 9), folder("a", 1)),  # the folder is there
        ([*folder("a", HANDFUL), *folder("b", 9)], folder("b", 9)),  # a handful
        (folder("a", 9), folder("renamed", 9)),
        (SCANS, folder("renamed", 1000, size=5)),
        (folder("a", 9, etag="e"), folder("copied", 9, etag="e", mtime_ns=8)),  # by its store
        ([*map(missing, folder("a", 9)), *folder("b", 1)], folder("b", 1)),  # since long
        ([present(str(number), str(number)) for number in range(9)], [present("0", "0")]),
        ([], []),
    ],
)
def test_what_is_there_moved_or_gone_since_long_is_none(known, left):
    assert asked(known, left) == ""


def test_what_could_not_be_listed_or_was_left_out_by_a_person_is_no_question():
    known = [*folder("a", 9), *folder("b", 1)]
    assert asked(known, folder("b", 1), unreadable=["a/"]) == ""
    assert asked(known, folder("b", 1), takes=lambda path: not path.startswith("a/")) == ""
    assert "all 10 files" in asked(known, [], takes=lambda path: True)


def test_an_added_file_has_an_image_that_is_new():
    assert changes({}, by_path(present("a", "A"))).added == ["a"]


def test_a_moved_file_is_neither_missing_nor_added():
    before = by_path(present("a", "A"))
    found = changes(before, by_path(missing(before["a"]), present("b", "A")))
    assert found.moved == [("a", "b")]
    assert (found.missing, found.added, found.duplicate) == ([], [], [])


def test_two_files_that_change_places_are_moved():
    before = by_path(present("a", "A"), present("b", "B"))
    found = changes(before, by_path(present("a", "B"), present("b", "A")))
    assert found.moved == [("b", "a"), ("a", "b")]


def test_a_copy_is_a_duplicate():
    before = by_path(present("a", "A"))
    assert changes(before, before | by_path(present("b", "A"))).duplicate == ["b"]


def test_of_two_new_files_with_one_content_the_second_is_the_duplicate():
    found = changes({}, by_path(present("a", "A"), present("b", "A")))
    assert (found.added, found.duplicate) == (["a"], ["b"])


def test_a_file_with_other_content_has_changed():
    found = changes(by_path(present("a", "A")), by_path(present("a", "B")))
    assert (found.changed, found.added, found.missing) == (["a"], [], [])


def test_an_image_that_comes_back_under_another_name_has_returned():
    gone = by_path(missing(present("a", "A")))
    assert changes(gone, gone | by_path(present("b", "A"))).returned == ["b"]


def test_a_touched_file_changes_nothing():
    before = by_path(present("a", "A"))
    after = by_path(present("a", "A", mtime_ns=9))
    assert not any(vars(changes(before, after)).values())
    assert corpus_version(before.values()) == corpus_version(after.values())


def test_a_file_is_reported_in_quarantine_once():
    broken = by_path(refused("a"))
    assert changes({}, broken).quarantined == [("a", "damaged")]
    assert changes(broken, broken).quarantined == []


CORPORA = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from("ABCD"), max_size=6)


@given(CORPORA, CORPORA)
def test_every_difference_is_told_once(old, new):
    before = {path: present(path, image_id) for path, image_id in old.items()}
    after = {path: missing(file) for path, file in before.items()} | {
        path: present(path, image_id) for path, image_id in new.items()
    }
    found = changes(before, after)
    arrived = (
        found.added
        + found.changed
        + found.returned
        + found.duplicate
        + [path for _, path in found.moved]
    )
    left = found.missing + [path for path, _ in found.moved if path not in new]
    assert sorted(arrived) == sorted(path for path in new if old.get(path) != new[path])
    assert set(left) == old.keys() - new.keys()


@given(CORPORA, st.randoms())
def test_the_corpus_version_does_not_depend_on_the_order_of_files(corpus, random):
    files = [present(path, image_id) for path, image_id in corpus.items()]
    shuffled = random.sample(files, len(files))
    assert corpus_version(files) == corpus_version(shuffled)

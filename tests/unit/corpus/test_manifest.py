"""Which files are read again, and what is said to have become of each."""

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panoptic_assets.corpus.manifest import (
    File,
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
    ctime_ns: int = 0
    inode: int = 0
    mount: str = ""


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

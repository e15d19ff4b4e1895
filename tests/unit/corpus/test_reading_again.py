"""Which files are read again though their size and time are as before, and which pages of them."""

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panoptic_assets.corpus.manifest import (
    File,
    OtherFile,
    longest_unread,
    missing,
    outstanding,
)
from resources.page_paths import page_id, page_path

DAY = 86_400_000_000
NOW = 20_000 * DAY


@dataclass(frozen=True)
class Listed:
    path: str = "a"
    size: int = 10
    mtime_ns: int = 1
    etag: str = ""
    ctime_ns: int = 5
    inode: int = 7
    mount: str = ""


def line(path="a", **other):
    known = File(path, f"image {path}", "present", None, 10, 1, "", "", 5, 7, "", 1)
    return replace(known, **other)


def other(path="a", **changed):
    return replace(OtherFile(path, "PSD", 10, 1, "", 5, 7, "reader 1"), **changed)


def looked_at(known, listed, **asked):
    reader = asked.pop("reader", "reader 1")
    lines = {file.path: file for file in known}
    return outstanding(lines, listed, asked.pop("unreadable", []), reader, **asked)


def read(known, listed, **asked):
    return [file.path for file in looked_at(known, listed, **asked).read]


def test_a_file_that_was_replaced_by_one_of_the_same_size_and_time_is_read():
    """`cp -p` and `rsync -t` set the time of change back; the disk's own time nobody sets."""
    assert read([line()], [Listed()]) == []
    assert read([line()], [Listed(ctime_ns=6)]) == ["a"]


def test_another_file_in_its_place_is_read_where_the_disk_numbers_files():
    known = [line(str(number), inode=number + 1) for number in range(10)]
    listed = [Listed(str(number), inode=number + 1) for number in range(10)]
    assert read(known, listed) == []
    listed[3] = replace(listed[3], inode=99)
    assert read(known, listed) == ["3"]


def test_numbers_that_a_network_drive_makes_anew_say_nothing():
    known = [line(str(number), inode=number + 1) for number in range(10)]
    listed = [Listed(str(number), inode=number + 100) for number in range(10)]
    found = looked_at(known, listed)
    assert found.read == []
    assert [file.inode for file in found.restamped] == [number + 100 for number in range(10)]


@pytest.mark.parametrize("unknown", [{"ctime_ns": 0}, {"inode": 0}, {"ctime_ns": 0, "inode": 0}])
def test_what_an_older_version_did_not_note_is_noted_without_reading(unknown):
    """A new version must not read a corpus of a million files again."""
    found = looked_at([line(**unknown)], [Listed()])
    assert found.read == []
    assert found.restamped == [line()]
    assert looked_at([line()], [Listed(**unknown)]).read == []


def test_each_disk_tells_for_itself_whether_its_numbers_say_anything():
    """Of 60 files here and 40 on a drive that numbers anew, neither those 40 are read, nor is a
    file overlooked that took the place of one here."""
    known = [line(str(n), inode=n + 1) for n in range(60)]
    known += [line(f"nas/{n}", inode=n + 1, mount="nas/") for n in range(40)]
    listed = [Listed(str(n), inode=n + 1) for n in range(60)]
    listed += [Listed(f"nas/{n}", inode=n + 500, mount="nas/") for n in range(40)]
    assert read(known, listed) == []
    listed[7] = replace(listed[7], inode=999)
    assert read(known, listed) == ["7"]
    many = [replace(file, inode=file.inode + 9) for file in listed[:9]] + listed[9:]
    assert read(known, many) == [str(n) for n in range(9)]


def test_a_file_on_another_mount_is_noted():
    [now] = looked_at([line("x/a")], [Listed("x/a", mount="x/")]).restamped
    assert now.mount == "x/"


def test_what_is_asked_for_is_read_though_nothing_differs():
    listed = [Listed("a"), Listed("b")]
    assert read([line("a"), line("b")], listed, again=lambda path: path == "b") == ["b"]


def test_a_file_that_is_no_image_is_not_looked_into_again_by_the_same_reader():
    found = looked_at([], [Listed()], others={"a": other()})
    assert (found.read, found.others) == ([], [other()])


@pytest.mark.parametrize(
    "change", [{"size": 11}, {"mtime_ns": 2}, {"ctime_ns": 6}, {"etag": "x"}, {"reader": "older"}]
)
def test_a_file_that_was_no_image_is_looked_into_when_it_or_the_reader_changed(change):
    found = looked_at([], [Listed()], others={"a": other(**change)})
    assert ([file.path for file in found.read], found.others) == (["a"], [])


def pages(nb_pages, *wanted):
    return [
        line(page_path("a", page), nb_pages=nb_pages, image_id=f"image {page}")
        for page in wanted or range(1, nb_pages + 1)
    ]


def test_a_file_whose_pages_are_all_images_is_one_file():
    assert read(pages(3), [Listed()], every_page=True) == []
    assert looked_at(pages(3), [Listed()], every_page=True).gone == []


def test_all_pages_are_gone_with_their_file():
    found = looked_at(pages(3), [], every_page=True)
    assert [file.path for file in found.gone] == ["a", "a#page=2", "a#page=3"]


def test_a_file_is_read_when_other_pages_of_it_are_wanted():
    assert read(pages(3, 1), [Listed()], every_page=True) == ["a"]
    assert read(pages(3), [Listed()], every_page=False) == ["a"]


def test_a_file_whose_image_is_not_its_first_page_is_not_read_again():
    assert read(pages(1, 2), [Listed()], every_page=False) == []
    assert read(pages(1, 2), [Listed()], every_page=True) == []


def test_files_whose_pages_nobody_counted_are_read_once_every_page_is_wanted():
    assert read([line(nb_pages=None)], [Listed()]) == []
    assert read([line(nb_pages=None)], [Listed()], every_page=True) == ["a"]


def test_a_page_in_quarantine_is_no_reason_to_read_the_file_each_time():
    broken = replace(pages(3)[1], status="quarantined", reason="damaged", reader="reader 1")
    known = [pages(3)[0], broken, pages(3)[2]]
    assert read(known, [Listed()], every_page=True) == []
    assert read(known, [Listed()], every_page=True, reader="reader 2") == ["a"]


def test_a_page_that_was_forgotten_is_no_reason_to_read_the_file_each_time():
    first = replace(pages(3)[0], image_id="ab" * 32)
    out = {page_id("ab" * 32, 2)}
    assert read([first, pages(3)[2]], [Listed()], every_page=True, forgotten=out) == []
    assert read([first, pages(3)[2]], [Listed()], every_page=True) == ["a"]


def test_a_file_whose_image_is_in_quarantine_has_its_other_pages_read():
    broken = replace(pages(3)[0], status="quarantined", reason="damaged", reader="reader 1")
    assert read([broken], [Listed()]) == []
    assert read([broken], [Listed()], every_page=True) == ["a"]
    unread = replace(broken, nb_pages=None)
    assert read([unread], [Listed()], every_page=True) == []


def test_what_was_asked_for_is_told_from_what_has_changed():
    found = looked_at([line("a"), line("b")], [Listed("a"), Listed("b", size=11)], again=bool)
    assert ([file.path for file in found.read], found.again) == (["a", "b"], {"a"})


def test_pages_that_were_missing_before_do_not_count():
    known = [*pages(2, 1), missing(pages(2)[1])]
    assert read(known, [Listed()], every_page=False) == []


def test_the_files_that_were_not_read_for_the_longest_time_come_first():
    known = {
        name: line(name, read_at=NOW - age * DAY)
        for name, age in {"a": 3, "b": 9, "c": 1, "d": 5}.items()
    }
    known["e"] = line("e", read_at=0)
    known["f"] = missing(line("f"))
    assert longest_unread(known, 0.2) == {"e"}
    assert longest_unread(known, 0.21) == {"e", "b"}
    assert longest_unread(known, 1) == {"a", "b", "c", "d", "e"}
    assert longest_unread(known, 0) == set()


@given(st.integers(1, 60), st.floats(0.01, 1))
def test_every_file_is_read_within_the_nights_that_the_share_promises(count, share):
    """A share of the corpus each night reaches every file, none of them twice before."""
    known = {f"f{number}": line(f"f{number}", read_at=0) for number in range(count)}
    seen, night = [], 0
    while len(seen) < count:
        night += 1
        tonight = longest_unread(known, share)
        assert tonight
        assert not tonight & set(seen) or len(seen) + len(tonight) > count
        seen += sorted(tonight - set(seen))
        for path in tonight:
            known[path] = replace(known[path], read_at=NOW + night * DAY)
    assert night <= -(-1 // share)


def test_pages_of_one_file_are_read_together():
    known = {file.path: replace(file, read_at=NOW) for file in pages(3)} | {"b": line("b")}
    assert longest_unread(known, 0.5) == {"b"}
    assert longest_unread(known, 1) == {"a", "b"}

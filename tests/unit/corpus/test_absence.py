"""What is gone in large part is a question; what was moved, left out or lost in a few is none."""

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panoptic_assets.corpus.absence import Limits, Loss, lost_files, lost_values, values_question
from panoptic_assets.corpus.manifest import File, missing, outstanding
from resources.errors import text_of

LIMITS = Limits(0.33, 5)
MANY = LIMITS.few + 1


@dataclass(frozen=True)
class Listed:
    path: str
    size: int
    mtime_ns: int
    etag: str
    ctime_ns: int = 0
    inode: int = 0
    mount: str = ""


def present(path, image_id, size=1, mtime_ns=7, etag="", mount=""):
    return File(path, image_id, "present", None, size, mtime_ns, etag, "", mount=mount)


def folder(name, count, start=0, **other):
    """Files of a folder, each with a size and a time of its own."""
    return [
        present(f"{name}/{number}", f"{name} {number}", **{"size": number, "mtime_ns": 7} | other)
        for number in range(start, start + count)
    ]


def lost_of(known, listed, unreadable=(), takes=lambda path: True, mounts=(), limits=LIMITS):
    known = {file.path: file for file in known}
    there = [
        Listed(file.path, file.size, file.mtime_ns, file.etag, mount=file.mount)
        for file in listed
        if "#" not in file.path
    ]
    todo = outstanding(known, there, unreadable, "")
    return lost_files(known, todo, mounts, takes, "/disk", limits)


def asked(*given, **more):
    lost = lost_of(*given, **more)
    return str(lost.question()) if lost else ""


SCANS = folder("disk", 1000, size=5)
"""Files of one size that came at one time."""


@pytest.mark.parametrize(
    ("known", "left", "said"),
    [
        (folder("a", 3), [], "all 3 files of the corpus (first: 'a/0')"),
        ([present("x", "X")], [], "its only file (first: 'x')"),
        (
            [*folder("a", 3), replace(present("b", "B"), status="quarantined", reason="damaged")],
            [],
            "all 4 files of the corpus",
        ),
        (
            [*folder("a", MANY), *folder("b", 30)],
            folder("b", 30),
            "the top folder 'a' with all its 6 files (first: 'a/0')",
        ),
        # What has come meanwhile says nothing of what is away.
        (
            [*folder("a/b", MANY), *folder("c", 30)],
            [*folder("c", 30), *folder("d", 90, mtime_ns=9)],
            "'a'",
        ),
        (folder("a", 3), folder("d", 90, mtime_ns=9), "all 3 files of the corpus"),
        (
            [*(file for name in "abcdefgh" for file in folder(name, MANY)), present("x", "X")],
            [present("x", "X")],
            "48 of the 49 files of the corpus, the top folders 'a' with all its 6 files, 'b' with "
            "all its 6 files, 'c' with all its 6 files, 'd' with all its 6 files, 'e' with all its "
            "6 files, 3 more (",
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
            [*folder("a", MANY + 1, size=5, etag="e"), *folder("b", 30)],
            [*folder("b", 30), *folder("new", 1, size=5, etag="e")],
            "the top folder 'a' with all its 6 files (",
        ),
        # Nor one by its etag, and another one by its time.
        (
            [
                *folder("a", MANY, size=5),
                present("b", "B", size=5, mtime_ns=8, etag="e"),
                *folder("c", 30),
            ],
            [present("new", "B", size=5, mtime_ns=7, etag="e"), *folder("c", 30)],
            "the top folder 'a' with all its 6 files (",
        ),
        # Another disk may be in its place.
        (
            [*folder("a", 10), *folder("b", 30)],
            [*folder("b", 30), *folder("a/png", 10, mtime_ns=9), *folder("c", 3, mtime_ns=9)],
            "the top folder 'a' with all its 10 files, in which 10 others are now (first",
        ),
        (
            [*folder("a", MANY), *folder("b", 30), present("x", "X", size=50)],
            [*folder("b", 30), *folder("a/new", 1, mtime_ns=9), present("a/x", "X", size=50)],
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
        # A share that lists half of what it has, whose folder is there.
        (
            [*folder("a", 20), *folder("b", 30)],
            [*folder("a", 13), *folder("b", 30)],
            "the top folder 'a' with 7 of its 20 files (first: 'a/13')",
        ),
        # Of no folder so many, of the whole too many.
        (
            [file for name in "abcd" for file in folder(name, 6)],
            [file for name in "abcd" for file in folder(name, 4)],
            "8 of the 24 files of the corpus (first: 'a/4')",
        ),
        (
            [present(str(number), str(number)) for number in range(9)],
            [present("0", "0")],
            "8 of the 9 files of the corpus (first: '1')",
        ),
    ],
)
def test_what_is_gone_as_a_whole_or_in_large_part_is_a_question(known, left, said):
    line = asked(known, left)
    assert f"Missing from /disk: {said}" in line or said in line
    assert len(line.splitlines()) == 1 and "--accept-missing" in line


@pytest.mark.parametrize(
    ("known", "left"),
    [
        (folder("a", 9), folder("a", 9)),
        (folder("a", 30), folder("a", 21)),  # not a third
        (folder("a", 9), folder("a", 4)),  # so few
        ([*folder("a", LIMITS.few), *folder("b", 9)], folder("b", 9)),
        (folder("a", 9), folder("renamed", 9)),
        (SCANS, folder("renamed", 1000, size=5)),
        (folder("a", 9, etag="e"), folder("copied", 9, etag="e", mtime_ns=8)),  # by its store
        ([*map(missing, folder("a", 9)), *folder("b", 1)], folder("b", 1)),  # since long
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


def test_what_lay_on_a_disk_that_is_no_longer_mounted_is_a_question_however_little_it_is():
    on_disk = folder("a/disk", 2, mount="a/disk/")
    known = [*folder("a", 90), *on_disk]
    assert (
        "Missing from /disk: of the disk mounted at 'a/disk/' with all its 2 files (first: 'a/disk"
        in (asked(known, folder("a", 90)))
    )
    assert "'a/disk/' with 1 of its 2 files" in asked(known, [*folder("a", 90), on_disk[0]])
    # What is gone from a disk that is there was deleted, and what is there under its old path was
    # copied before the disk was taken away.
    assert asked(known, folder("a", 90), mounts=["a/disk/"]) == ""
    assert asked(known, [*folder("a", 90), *folder("a/disk", 2)]) == ""


def test_each_of_several_disks_is_named():
    known = [*folder("a", 2, mount="a/"), *folder("b", 1, mount="b/"), *folder("c", 90)]
    line = asked(known, folder("c", 90))
    assert "the disks mounted at 'a/' with all its 2 files, 'b/' with its only file (" in line


def elsewhere(files, folder="elsewhere"):
    return [replace(file, path=f"{folder}/{file.path}") for file in files]


@pytest.mark.parametrize(
    ("known", "left"),
    [
        (folder("a", 100), elsewhere(folder("a", 99))),
        (folder("a", 40), elsewhere(folder("a", 38))),
        # Of a top folder, those that are elsewhere by now are not what was to be there.
        ([*folder("a", 100), *folder("c", 9)], [*elsewhere(folder("a", 95)), *folder("c", 9)]),
    ],
)
def test_what_was_moved_still_counts_as_the_corpus_of_which_a_few_may_go(known, left):
    assert asked(known, left) == ""


def test_what_was_moved_counts_as_kept_where_another_folder_has_lost_most():
    a, c = folder("a", 1000), folder("c", 8, start=2000)
    line = asked([*a, *c], [*elsewhere(a), *c[6:]])
    assert line.startswith("Missing from /disk: the top folder 'c' with 6 of its 8 files (first")
    line = asked([*a, *c], [*elsewhere(a[:500]), *c])
    assert "500 of the 1,008 files of the corpus, the top folder 'a' with all its 500" in line


def test_a_file_that_was_there_before_is_not_what_another_one_became():
    """Though it is read again, as after a disk was mounted anew."""
    files = folder("a", 20)
    known = {file.path: file for file in [*files, *elsewhere(files, "copy")]}
    there = [Listed(f.path, f.size, f.mtime_ns, f.etag) for f in elsewhere(files, "copy")]
    todo = outstanding(known, there, (), "", again=lambda path: True)
    assert len(todo.read) == 20
    lost = lost_files(known, todo, (), lambda path: True, "/disk", LIMITS)
    assert "the top folder 'a' with all its 20 files (first" in str(lost.question())


def test_what_is_read_again_is_no_other_file_in_a_folder():
    known = {file.path: file for file in folder("a", 20)}
    there = [Listed(f.path, f.size, 9, f.etag) for f in folder("a", 10)]
    todo = outstanding(known, there, (), "")
    lost = lost_files(known, todo, (), lambda path: True, "/disk", LIMITS)
    assert "'a' with 10 of its 20 files (first" in str(lost.question())


def test_files_that_are_empty_now_are_gone():
    """So does a drive leave them whose contents are elsewhere; another content is a person's."""
    files = folder("a", 60, start=1)
    empty = [replace(file, size=0, mtime_ns=9) for file in files]
    line = asked(files, empty)
    assert "all 60 files of the corpus; in all, 60 files are there but empty (" in line
    line = asked(files, empty[:1])
    assert "all 60 files of the corpus; in all, 1 file is there but empty (" in line
    line = asked([*files, *folder("b", 9)], [*files[:40], *empty[40:], *folder("b", 9)])
    assert "folder 'a' with 20 of its 60 files; in all, 20 files are there but empty" in line
    assert asked(files, [*files[5:], *empty[:5]]) == ""
    assert asked(files, [replace(file, size=file.size + 1000, mtime_ns=9) for file in files]) == ""
    assert asked([replace(file, size=0) for file in files], empty) == ""  # since long


def test_the_pages_of_a_file_count_as_that_file():
    pages = [present(f"a/book{n}.tif#page={p}", f"{n} {p}") for n in range(5) for p in range(2, 99)]
    books = [present(f"a/book{n}.tif", f"{n}", size=n) for n in range(5)]
    known = [*books, *pages, *folder("b", 9)]
    assert asked(known, folder("b", 9)) == ""  # five files
    assert "all 14 files of the corpus" in asked(known, [])


def test_what_a_project_says_of_shares_and_of_few_holds():
    known, left = folder("a", 100), folder("a", 80)
    assert asked(known, left) == ""
    assert "with 20 of its 100 files" in asked(known, left, limits=Limits(0.1, 5))
    assert asked(known, left, limits=Limits(0.1, 20)) == ""
    assert asked(known, folder("a", 1), limits=Limits(1, 5)) == ""
    assert "all 100 files" in asked(known, [], limits=Limits(1, 1000))


FILES = st.lists(
    st.tuples(st.sampled_from(["", "a/", "b/", "c/d/"]), st.integers(0, 40)), unique=True
)


@given(FILES, st.randoms(), st.floats(0, 1), st.integers(0, 9))
def test_a_question_is_asked_just_where_more_than_the_share_and_a_few_is_lost(
    paths, random, share, few
):
    known = [present(f"{top}{name}", name, size=n) for n, (top, name) in enumerate(paths)]
    left = [file for file in known if random.random() < 0.6]
    limits = Limits(share, few)
    lost = lost_of(known, left, limits=limits)
    kept = {file.path for file in left}
    parts = {"": [file.path for file in known]}
    for file in known:
        if "/" in file.path:
            parts.setdefault(file.path.partition("/")[0], []).append(file.path)
    gone = {name: [path for path in part if path not in kept] for name, part in parts.items()}
    too_much = {
        name
        for name, part in parts.items()
        if len(gone[name]) > few
        and (len(gone[name]) == len(part) or len(gone[name]) > share * len(part))
    }
    assert bool(lost) == bool(known and (too_much or not left))
    if lost and left:
        line = str(lost.question())
        for name in too_much - {""}:
            nb_gone, nb_all = len(gone[name]), len(parts[name])
            numbers = f"all its {nb_all}" if nb_gone == nb_all else f"{nb_gone} of its {nb_all}"
            assert f"'{name}' with {numbers} files" in line or nb_all == 1
        assert (f"{len(gone[''])} of the {len(known)} files of the corpus" in line) == (
            "" in too_much
        )


@given(FILES)
def test_where_nothing_is_lost_nobody_is_asked(paths):
    known = [present(f"{top}{name}", name, size=n) for n, (top, name) in enumerate(paths)]
    assert lost_of(known, known, limits=Limits(0, 0)) is None


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        ([Loss("made", 49, 49)], "all 49 values of 'made'"),
        ([Loss("made", 49, 49), Loss("place", 3, 49)], "inv.csv no longer has all 49 values of"),
        ([Loss("made", 20, 49)], "20 of the 49 values of 'made'"),
        ([Loss(name, 9, 9) for name in "abcdefg"], "all 9 values of 'e', 2 more"),
    ],
)
def test_values_that_go_at_once_are_a_question(losses, said):
    line = text_of(values_question(lost_values(losses, "inv.csv", LIMITS)))
    assert said in line and "'place'" not in line
    assert len(line.splitlines()) == 1 and "--accept-missing" in line


@pytest.mark.parametrize("loss", [Loss("made", 0, 0), Loss("made", 5, 5), Loss("made", 16, 49)])
def test_few_values_are_none(loss):
    assert lost_values([loss], "inv.csv", LIMITS) is None


def test_one_line_says_of_files_and_values():
    lost = lost_of(folder("a", 9), [])
    values = lost_values([Loss("made", 9, 9)], "inv.csv", LIMITS)
    line = str(lost.question(values))
    assert "(first: 'a/0'); and inv.csv no longer has all 9 values of 'made'. Nothing was" in line
    assert len(line.splitlines()) == 1
    assert lost.is_said_by(lost.question(values).message)
    assert lost.is_said_by(lost.question().message)
    assert not lost_of(folder("a", 8), []).is_said_by(lost.question(values).message)

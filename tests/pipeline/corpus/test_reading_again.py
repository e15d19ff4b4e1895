"""Files replaced behind the disk's back, files being written, and files that are no images."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from panoptic_assets.corpus.accounting import in_a_line, read_left_out
from resources import decoding
from resources.listing import UnavailableFile, UnfinishedFile
from resources.source import ImageSource
from tests.pictures import SAMPLE
from tests.workbench import metadata


def bitmap(path, colour):
    """A picture whose size in bytes does not depend on what it shows."""
    Image.new("RGB", (64, 64), colour).save(path)


@pytest.fixture
def corpus(empty_bench):
    bench = empty_bench()
    folder = Path(bench.project.images)
    for number in range(4):
        bitmap(folder / f"{number}.bmp", (60 * number, 90, 200 - 50 * number))
    bench.make("images")
    return bench, folder


def replace_silently(path, colour):
    """As `rsync -t`, restored backups and padded TIFFs do: same name, size and time."""
    before = path.stat()
    bitmap(path, colour)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def colour(bench, path):
    paths = {row["path"]: row["image_id"] for row in bench.read.files().to_pylist()}
    [row] = bench.store.read("images", ["mean_colour"], f"image_id = '{paths[path]}'").to_pylist()
    return row["mean_colour"]


def test_a_file_replaced_with_the_same_size_and_time_is_noticed(corpus):
    bench, folder = corpus
    replace_silently(folder / "0.bmp", (255, 0, 0))
    given = metadata(bench.run("images"), "images")
    assert (given["nb_files_read"], given["nb_changed"]) == (1, 1)
    assert colour(bench, "0.bmp") == "#ff0000"


@pytest.fixture
def blind(corpus, monkeypatch):
    """The same corpus on a disk that notes nothing but sizes and times of change."""
    listed = ImageSource.list

    def without_more(source):
        found = listed(source)
        files = [file._replace(ctime_ns=0, inode=0) for file in found.files]
        return replace(found, files=files)

    monkeypatch.setattr(ImageSource, "list", without_more)
    return corpus


def test_files_are_read_again_when_a_person_asks(blind):
    bench, folder = blind
    replace_silently(folder / "0.bmp", (255, 0, 0))
    assert metadata(bench.run("images"), "images")["nb_files_read"] == 0
    given = metadata(bench.run("images", reread=["1*", "2*"]), "images")
    assert (given["nb_files_read"], given["nb_changed"]) == (2, 0)
    given = metadata(bench.run("images", reread=["*"]), "images")
    assert (given["nb_files_read"], given["nb_changed"]) == (4, 1)
    assert colour(bench, "0.bmp") == "#ff0000"


def test_each_night_reads_a_share_until_all_files_were_read(blind):
    bench, folder = blind
    replace_silently(folder / "2.bmp", (255, 0, 0))
    found = [metadata(bench.run("images", reread_share=0.25), "images") for _ in range(4)]
    assert [given["nb_files_read"] for given in found] == [1, 1, 1, 1]
    assert sum(given["nb_changed"] for given in found) == 1
    assert colour(bench, "2.bmp") == "#ff0000"


def test_a_pattern_that_cannot_be_used_is_refused_before_the_folder_is_listed(corpus):
    bench, _ = corpus
    assert "`reread`" in bench.refused("images", reread=["!"])


def test_pictures_that_an_older_decoder_made_are_made_again_when_they_are_read(corpus, monkeypatch):
    bench, _ = corpus
    before = bench.read.images().to_pylist()
    monkeypatch.setattr(decoding, "ALGORITHM", decoding.ALGORITHM + 1)
    assert metadata(bench.run("images"), "images")["nb_files_read"] == 0
    bench.make("images", reread=["*"])
    after = bench.store.read("images").to_pylist()
    assert {row["decoder"] for row in after} == {decoding.ALGORITHM}
    assert sorted(row["added_at"] for row in after) == sorted(row["added_at"] for row in before)
    assert len(after) == 4


def test_a_file_that_is_being_written_waits_for_the_next_refresh(corpus, monkeypatch):
    """It is neither taken as it is, nor put in quarantine, nor missing."""
    bench, folder = corpus
    shutil.copyfile(sorted(SAMPLE.rglob("*.jpg"))[0], folder / "slow.jpg")
    bitmap(folder / "0.bmp", (1, 2, 3))
    was = bench.read.files().to_pylist()
    read = ImageSource.read

    def growing(source, path, *more, **named):
        if path in ("slow.jpg", "0.bmp"):
            raise UnfinishedFile("it is being written")
        return read(source, path, *more, **named)

    monkeypatch.setattr(ImageSource, "read", growing)
    given = metadata(bench.run("images"), "images")
    assert (given["nb_files"], given["nb_files_quarantined"], given["nb_missing"]) == (4, 0, 0)
    assert bench.read.files().to_pylist() == was
    assert read_left_out(bench.store)["unfinished"].files == 2
    monkeypatch.undo()
    given = metadata(bench.run("images"), "images")
    assert (given["nb_added"], given["nb_changed"], given["nb_files"]) == (1, 1, 5)
    assert "unfinished" not in read_left_out(bench.store)


def test_a_file_that_is_not_handed_out_for_a_moment_stays_what_it_was(corpus, monkeypatch):
    """One night on which a server is busy must not take images away."""
    bench, folder = corpus
    (folder / "README").write_bytes(b"text")
    read = ImageSource.read

    def busy(source, path, *more, **named):
        raise UnavailableFile("503")

    monkeypatch.setattr(ImageSource, "read", busy)
    monkeypatch.setattr(ImageSource, "head", busy)
    was = bench.read.files().to_pylist()
    given = metadata(bench.run("images", reread=["*"]), "images")
    assert (given["nb_files"], given["nb_files_quarantined"]) == (4, 0)
    assert bench.read.files().to_pylist() == was
    assert read_left_out(bench.store)["unavailable"].files == 5
    # One that has changed is another matter: of what it shows now nothing is known.
    bitmap(folder / "0.bmp", (1, 2, 3))
    given = metadata(bench.run("images"), "images")
    assert (given["nb_files"], given["nb_files_quarantined"]) == (3, 1)
    monkeypatch.setattr(ImageSource, "read", read)
    assert metadata(bench.run("images"), "images")["nb_files"] == 4


def test_what_is_read_each_time_commits_nothing_while_nothing_changes(corpus):
    bench, folder = corpus
    bitmap(folder / "0.bmp", (9, 9, 9))
    (folder / "broken.bmp").write_bytes(b"BM broken")
    bench.make("images")
    seen = {row["path"]: row["seen_at"] for row in bench.store.read("files").to_pylist()}
    before = bench.store.version("files")
    bench.make("images")
    assert bench.store.version("files") == before
    bench.make("images", reread=["*"])
    rows = {row["path"]: row for row in bench.store.read("files").to_pylist()}
    assert {path: row["seen_at"] for path, row in rows.items()} == seen


def test_every_file_of_the_folder_is_accounted_for(corpus):
    """Taken, in quarantine, or left out and why: the counts add up."""
    bench, folder = corpus
    jpeg = sorted(SAMPLE.rglob("*.jpg"))[0].read_bytes()
    for name in ("btv1b8449691v_f4", "f5.jpg_large"):
        (folder / name).write_bytes(jpeg + name.encode())
    for name in ("notice.txt", "liste.csv", "film.mp4"):
        (folder / name).write_bytes(b"x")
    (folder / "README").write_bytes(b"text")
    (folder / "plan").write_bytes(b"8BPS\0\1" + bytes(60))
    (folder / ".cachée.jpg").write_bytes(jpeg)
    (folder / "@eaDir").mkdir()
    (folder / "@eaDir" / "0.jpg").write_bytes(jpeg)
    (folder / "Thumbs.db").write_bytes(b"x")
    (folder / "faux.jpg").write_bytes(b"no image")
    result = bench.run("images")
    given, left_out = metadata(result, "images"), read_left_out(bench.store)
    assert (given["nb_files"], given["nb_files_quarantined"]) == (6, 1)
    assert {kind: (found.files, found.folders) for kind, found in left_out.items()} == {
        "leftover": (1, 1),
        "hidden": (1, 0),
        "no_image": (3, 0),
        "foreign": (1, 0),
        "other": (1, 0),
    }
    on_disk = sum(file.is_file() for file in folder.iterdir())
    assert given["nb_files"] + given["nb_files_quarantined"] + given["nb_files_left_out"] == on_disk
    assert "README" in given["left_out"]
    told = [line.user_message for line in bench.instance.all_logs(result.run_id)]
    assert in_a_line(left_out) in told
    before = {name: bench.store.version(name) for name in bench.store.tables()}
    assert metadata(bench.run("images"), "images")["nb_files_read"] == 0
    assert before == {name: bench.store.version(name) for name in bench.store.tables()}


def test_a_file_that_becomes_an_image_or_ceases_to_be_one_is_noticed(corpus):
    bench, folder = corpus
    jpeg = sorted(SAMPLE.rglob("*.jpg"))[0].read_bytes()
    (folder / "scan").write_bytes(b"not yet")
    bench.make("images")
    (folder / "scan").write_bytes(jpeg)
    assert metadata(bench.run("images"), "images")["nb_added"] == 1
    assert "other" not in read_left_out(bench.store)
    (folder / "scan").write_bytes(b"no longer")
    given = metadata(bench.run("images"), "images")
    assert (given["nb_files"], given["nb_missing"]) == (4, 1)
    assert read_left_out(bench.store)["other"].first == ["scan"]

"""Reports reach their folder whole, or not at all."""

import os
import time

import pytest

from resources.project_folder import ProjectSettings, create
from resources.report_folder import MOUNT, ReportFolder, address, thumbnail_path


@pytest.fixture
def reports(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    create(tmp_path / "p", ProjectSettings(images=str(images)))
    return ReportFolder(folder=str(tmp_path / "p"))


def files(reports):
    return sorted(
        path.relative_to(reports.root).as_posix()
        for path in reports.root.rglob("*")
        if path.is_file()
    )


def test_a_report_takes_the_place_of_the_one_before_as_a_whole(reports):
    for name in ("first.html", "second.html"):
        with reports.new("runs/greek") as folder:
            (folder / name).write_text(name)
    assert files(reports) == ["runs/greek/second.html"]


def test_while_a_report_is_written_and_when_that_fails_the_one_before_stays(reports):
    with reports.new("runs/greek") as folder:
        (folder / "index.html").write_text("whole")
    with pytest.raises(RuntimeError), reports.new("runs/greek") as folder:
        (folder / "index.html").write_text("half")
        assert (reports.path("runs/greek") / "index.html").read_text() == "whole"
        raise RuntimeError
    assert files(reports) == ["runs/greek/index.html"]
    assert (reports.path("runs/greek") / "index.html").read_text() == "whole"


def test_what_a_killed_process_left_is_removed_a_day_later(reports):
    drafts = reports.root / ".drafts"
    for name, age in (("old", 25), ("new", 1)):
        (drafts / name).mkdir(parents=True)
        then = time.time() - age * 3600
        os.utime(drafts / name, (then, then))
    with reports.new("runs/greek"):
        pass
    assert [path.name for path in drafts.iterdir()] == ["new"]


@pytest.mark.parametrize(
    "place",
    ["", "/etc", "..", "runs/..", "runs/../..", ".drafts", "runs//a", "runs/a\n", "runs\\a"],
)
def test_no_place_lies_outside_of_the_reports(reports, place):
    with pytest.raises(ValueError, match="no place for a report"):
        reports.path(place)


def test_an_address_leads_to_the_page_of_a_key():
    assert address("runs/greek") == f"{MOUNT}/runs/greek/index.html"


def test_a_shared_file_is_named_by_its_content(reports):
    first = reports.add_static("page.min.js", b"one")
    assert reports.add_static("page.min.js", b"one") == first
    assert reports.add_static("page.min.js", b"two") != first
    assert (reports.root / first).read_bytes() == b"one"
    assert first.startswith("static/page-")
    assert first.endswith(".min.js")


def test_a_shared_file_that_was_cut_is_written_again(reports):
    place = reports.root / reports.add_static("page.css", b"body {}")
    place.write_bytes(b"bo")
    reports.add_static("page.css", b"body {}")
    assert place.read_bytes() == b"body {}"


def test_thumbnails_are_written_once(reports):
    ids = ["ab" * 32, "cd" * 32]
    reports.add_thumbnails([(ids[0], b"webp")])
    assert reports.missing_thumbnails(ids) == ids[1:]
    assert (reports.root / thumbnail_path(ids[0])).read_bytes() == b"webp"

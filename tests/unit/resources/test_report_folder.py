"""Reports reach their folder whole, or not at all."""

import os
import time

import pytest

from resources.errors import InputError
from resources.project_folder import ProjectSettings, create
from resources.report_folder import LIVE, ReportFolder, live_address, thumbnail_path


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


@pytest.mark.parametrize(
    ("given", "host"),
    [
        ("/", ""),
        ("https://images.example.org", "https://images.example.org"),
        (" https://example.org/corpora/ ", "https://example.org/corpora"),
        ("http://[::1]:3000", "http://[::1]:3000"),
    ],
)
def test_an_address_leads_to_the_page_of_a_key_at_the_server_that_is_named(
    monkeypatch, given, host
):
    monkeypatch.setenv("PANOPTIC_URL", given)
    assert live_address("runs/greek") == f"{host}{LIVE}/runs/greek"


@pytest.mark.parametrize("given", [None, "", "  "])
def test_there_is_no_address_where_nobody_is_known_to_serve_the_pages(monkeypatch, given):
    """Of `dagster dev`, which has none of them."""
    monkeypatch.delenv("PANOPTIC_URL") if given is None else monkeypatch.setenv(
        "PANOPTIC_URL", given
    )
    assert live_address("runs/greek") is None


@pytest.mark.parametrize(
    "given",
    [
        "images.example.org",
        "//images.example.org",
        "/corpora",
        "ftp://images.example.org",
        "javascript:alert(1)",
        "https://",
        "https://:3000",
        "https://user:hidden@example.org",
        "https://example.org:port",
        "https://example.org/?a=b",
        "https://example.org/#a",
        "https://example.org/a b",
        "https://example.org)",
        "https://example.org\nhttps://example.org",
    ],
)
def test_what_is_no_address_of_a_server_is_refused_without_showing_it(monkeypatch, given):
    monkeypatch.setenv("PANOPTIC_URL", given)
    with pytest.raises(InputError, match="PANOPTIC_URL is no address") as caught:
        live_address("runs/greek")
    assert "hidden" not in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


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

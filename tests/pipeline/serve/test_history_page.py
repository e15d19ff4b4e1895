"""What the page of all acts shows, and which switches it has."""

import html
import json
import re
import shutil
from urllib.parse import quote

import pytest

from panoptic_assets.serve import history_page
from panoptic_assets.spec.marks import IMAGE
from panoptic_assets.tags import remarking
from panoptic_assets.upkeep import undoing
from tests.pipeline.serve.test_run_page import Pages
from tests.pipeline.upkeep.test_undoing import context_of
from tests.workbench import bench_of


@pytest.fixture
def told(told_folder, tmp_path):
    """A copy of the told project, to do with as a test likes."""
    return bench_of(shutil.copytree(told_folder, tmp_path / "told"))


def lines(page):
    """Each act's line as HTML, by its id, in the order of the page."""
    parts = re.split(r'(?=<li id="act-)', page)[1:]
    return {html.unescape(re.search(r'data-act-id="([^"]*)"', part)[1]): part for part in parts}


def switch(line):
    """Whether a line's switch is on, and what it does; None where it does nothing now."""
    [button] = re.findall(r'<button type="button" role="switch"[^>]*>', line)
    act = re.search(r'data-act="([^"]*)"', button)
    body = re.search(r'data-body="([^"]*)"', button)
    does = (act[1], json.loads(html.unescape(body[1]))) if act else None
    assert ("disabled" in button) is (does is None)
    return 'aria-checked="true"' in button, does


def text(part):
    return html.unescape(" ".join(re.sub(r"<[^>]+>", " ", part).split()))


def test_all_acts_are_listed_the_newest_first_with_who_and_what(told_folder):
    """A25, C19: one sees what was done, and by whom."""
    acts = bench_of(told_folder).read.history()[::-1]
    page = Pages(told_folder).page("history")
    found = lines(page)
    assert list(found) == [act["id"] for act in acts]
    assert all(act["text"] in text(found[act["id"]]) for act in acts)
    assert f"{len(acts)} acts, the newest first" in text(page)
    line = text(found["tag-2"])
    assert "renamed a tag Clustering 0 → Vases grecs" in line
    assert next(act for act in acts if act["id"] == "tag-2")["author"] in line


def test_a_switch_undoes_its_act_and_does_it_again(told):
    pages = Pages(told.project.folder)
    assert switch(lines(pages.page("history"))["tag-2"]) == (True, ("undo", {"act": "tag-2"}))
    told.make("tags", edits=[{"undo": {"event": 2}}])
    found = lines(pages.page("history"))
    assert switch(found["tag-2"]) == (False, ("redo", {"act": "tag-2"}))
    assert 'role="switch"' not in found["tag-3"]
    assert "#act-tag-2" in found["tag-3"]


def test_a_switch_is_off_limits_with_the_reason_while_something_rests_on_its_act(told_folder):
    line = lines(Pages(told_folder).page("history"))["greek@1"]
    assert switch(line) == (True, None)
    assert "Cannot be undone now: greek/0@1" in text(line)


def test_who_may_only_read_has_no_switch_that_does_something(told_folder):
    page = Pages(told_folder, read_only=True).page("history")
    assert all(does is None for _, does in map(switch, lines(page).values()))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("key=greek", {"greek@1", "greek/0@1"}),
        ("key=Clustering", {"tag-1", "tag-2"}),
        ("kind=rename", {"tag-2"}),
        ("kind=rename&key=greek", set()),
        ("author=nobody", set()),
    ],
)
def test_the_history_can_be_narrowed_down(told_folder, query, expected):
    page = Pages(told_folder).page(f"history?{query}")
    assert set(lines(page)) == expected
    assert ("Nothing that was done is like this." in text(page)) is not bool(expected)


def test_what_one_has_done_oneself_is_offered_by_name(told_folder):
    pages = Pages(told_folder)
    pages.cookies.set("panoptic-who", quote("Ada Lovelace"))
    page = pages.page("history?author=Ada%20Lovelace")
    assert "only mine (Ada Lovelace)" in text(page)
    assert lines(page) == {}


def test_a_long_history_has_pages(told_folder, monkeypatch):
    monkeypatch.setattr(history_page, "ACTS_ON_A_PAGE", 3)
    acts = bench_of(told_folder).read.history()[::-1]
    page = Pages(told_folder).page("history?page=2")
    assert list(lines(page)) == [act["id"] for act in acts[3:6]]
    assert "Page 2 of 2" in text(page)


def test_a_remark_leads_to_what_it_is_on(told):
    image = told.read.images()["image_id"][0].as_py()
    given = {"subject": f"{IMAGE}{image}", "text": "<b>Look</b>", "reason": "it is odd"}
    remarking.store(remarking.prepare(context_of(told).now(), "", given))
    line = lines(Pages(told.project.folder).page("history"))["mark-1"]
    assert f"/images/{image}" in line
    assert "&lt;b&gt;Look&lt;/b&gt;" in line
    assert "it is odd" in text(line)


def test_what_stands_in_the_way_is_known_for_every_act(told):
    """The same as undoing one by one is told."""
    acts = {act["id"]: act["undone"] for act in told.read.history()}
    found = undoing.obstacles(told.store, told.read.registry.run_bytes, acts)
    assert found.keys() == acts.keys()
    assert found["tag-2"] == []
    assert found["greek/0@1"] == ["property 'Clustering' (saved tags)"]


def test_the_images_of_an_edit_are_counted_and_its_tag_is_named(told):
    images = told.read.recommendations("Clustering", "1")["image_id"].to_pylist()[:2]
    told.make("tags", edits=[{"accept": {"tag": "1", "images": images}}])
    assert told.read.history()[-1]["text"] == "1: 2 images"

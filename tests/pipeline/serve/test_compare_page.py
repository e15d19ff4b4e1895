"""What the pages of comparisons show, and where they lead."""

import html
import re
import shutil

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from panoptic_assets.serve.live_pages import ProjectPages
from panoptic_assets.serve.page_address import PAGES
from tests.tiny import tiny_project
from tests.workbench import bench_of

HOSTILE = "<script>alert(1)</script>{{7*7}}\u202e"


class Site(TestClient):
    """Asks for the comparisons of one project."""

    def __init__(self, folder):
        pages = ProjectPages(folder, {})
        self.at = f"{PAGES.format(corpus=pages.corpus)}/compare"
        super().__init__(Starlette(routes=[Mount(PAGES, pages)]), raise_server_exceptions=False)

    def page(self, language="en", **asked):
        answer = self.get(self.at, params=asked, headers={"Accept-Language": language})
        assert answer.status_code == 200, answer.text
        return html.unescape(answer.text)


@pytest.fixture(scope="module")
def several_folder(told_folder, once):
    """A project with two runs of the corpus, one of a part, and a tag of a hostile name."""

    def write(folder):
        shutil.copytree(told_folder, folder, dirs_exist_ok=True)
        bench = bench_of(folder)
        bench.make("clustering", "birch", method={"birch": {"nb_clusters": 5}})
        fish = {"files": {"pattern": "animals/fish/*"}}
        bench.make("clustering", "fish", method={"kmeans": {"nb_clusters": 2}}, scope=fish)
        tag = {"tag": HOSTILE, "property": "Sujet"}
        ids = sorted(bench.read.files()["image_id"].to_pylist())
        bench.make("tags", edits=[{"create": tag}, {"assign": tag | {"images": ids[:40]}}])

    return once("several", write)


@pytest.fixture(scope="module")
def site(several_folder):
    return Site(several_folder)


@pytest.fixture(scope="module")
def read(several_folder):
    return bench_of(several_folder).read


def test_all_pairs_of_runs_lead_to_their_own_pages(site, read):
    """D57: what is shown is of now, whatever was written."""
    text = site.page()
    _, pairs, _ = read.pairs()
    for (a, b), value in pairs.items():
        shown = f"{value:.2f}".replace("-", "−")
        cell = rf'href="[^"]*/compare\?a={a}&b={b}" title="[^"]*">{shown}<'
        assert re.search(cell, text)
    assert text.count('<td class="number rank">') == 3
    assert "new?method=consensus&runs=" in text
    assert "panoptic-assets compare" not in text


def test_the_page_of_a_pair_shows_what_moved_and_leads_to_clusters(site, read):
    text = site.page(a="greek", b="birch")
    found = read.compare("greek", "birch")
    assert f"{found['counted']['adjusted_rand']:.3f}" in text
    moved = found["moved"].to_pylist()
    tiles = set(re.findall(r'data-id="([0-9a-f]{64})"', text))
    assert tiles <= {row["image_id"] for row in moved}
    assert tiles or not moved
    for row in found["matched"]:
        assert f'/clusters/greek/{row["a"]}"' in text
        assert f'/clusters/birch/{row["b"]}"' in text
    assert "/compare?a=birch&b=greek" in text


def test_a_cell_of_the_table_leads_to_its_images(site, read):
    table = read.compare("greek", "birch")["contingency"].to_pylist()
    cell = table[0]
    named = f"in_a={cell['a']}&in_b={cell['b']}#both"
    assert f"/compare?a=greek&b=birch&{named}" in site.page(a="greek", b="birch")
    text = site.page(a="greek", b="birch", in_a=cell["a"], in_b=cell["b"])
    shown = text[text.index('id="both"') : text.index('class="matches"')]
    places = [
        {row["image_id"]: row["cluster"] for row in read.assignments(key).to_pylist()}
        for key in ("greek", "birch")
    ]
    expected = {
        image_id
        for image_id, cluster in places[0].items()
        if cluster == cell["a"] and places[1].get(image_id) == cell["b"]
    }
    assert set(re.findall(r'data-id="([0-9a-f]{64})"', shown)) == expected


def test_a_run_is_compared_with_folders_and_with_tags(site):
    """D57: with what is known of the images."""
    assert "/images?folder=animals%2Ffish" in site.page(a="greek", b="folders")
    text = site.page(a="greek", b="property:Sujet")
    assert "On 40 common images." in text
    ranked = site.page(against="folders")
    assert "They are in the order of their ARI to folders." in ranked


def test_what_cannot_be_compared_is_said_beside_the_choice(site, tmp_path):
    text = site.page(a="greek", b="nothing")
    assert "There is no clustering 'nothing'." in text
    assert '<option value="greek" selected>' in text
    empty = Site(tiny_project(tmp_path, 2).folder).page()
    assert "A comparison needs two things to compare, and there is no run yet" in empty
    assert "Make another clustering" in empty


def test_the_levels_of_trees_are_kept_in_all_addresses(site):
    text = site.page(a="greek", b="birch", depth=2)
    assert "Down to level 2 of the trees." in text
    assert "/clusters/greek/0/0" in text
    assert re.search(r"in_a=0%2F0&in_b=\d&depth=2#both", text)


def test_hostile_names_are_text(several_folder):
    site = Site(several_folder)
    for asked in ({"a": "greek", "b": "property:Sujet"}, {"a": HOSTILE, "b": HOSTILE + "x"}):
        answer = site.get(site.at, params=asked)
        assert "<script>" not in answer.text
        assert "&lt;script" in answer.text

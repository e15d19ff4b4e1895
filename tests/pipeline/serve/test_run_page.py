"""What the pages of a run and of a cluster show, and which acts they offer, without a browser."""

import html
import json
import re
import shutil

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from panoptic_assets.serve.live_pages import ProjectPages
from panoptic_assets.serve.page_address import PAGES
from resources.project_folder import find
from tests.workbench import bench_of

HOSTILE = "<script>alert(1)</script>{{7*7}}\"'"


class Pages(TestClient):
    """Asks for the pages of one project."""

    def __init__(self, folder, read_only=False):
        self.at = PAGES.format(corpus=find(folder).corpus)
        app = Starlette(routes=[Mount(PAGES, ProjectPages(folder, {}, read_only))])
        super().__init__(app, raise_server_exceptions=False)

    def page(self, path, **options):
        answer = self.get(f"{self.at}/{path}", **options)
        assert answer.status_code == 200, answer.text
        return answer.text


@pytest.fixture(scope="session")
def page_folder(clustered_folder, once):
    """The sample with `greek`, of which one cluster is divided, one is whole, one has a name."""

    def write(folder):
        shutil.copytree(clustered_folder, folder, dirs_exist_ok=True)
        bench = bench_of(folder)
        bench.make("neighbors", "mini")
        bench.make("nested_clustering", "greek/0", method={"kmeans": {"nb_clusters": 2}})
        bench.make("nested_clustering", "greek/0/1", method={"kmeans": {"nb_clusters": 2}})
        bench.make("nested_clustering", "greek/1", method={"hdbscan": {"min_cluster_size": 40}})
        bench.make("cluster_labels", "greek", names={"greek/2": HOSTILE})
        bench.make("clustering", "roman", method={"kmeans": {"nb_clusters": 3}})
        bench.make("saved_clustering", "greek", property="Mine & yours", use_labels=False)
        bench.make("tags")

    return once("run_pages", write)


@pytest.fixture(scope="module")
def overview(page_folder):
    return Pages(page_folder).page("runs/greek")


def forms(page, act):
    """What each form or button of an act sends, by what `data-body` holds."""
    found = re.findall(r"<(?:form|button)\b[^>]*data-act=\"" + act + r'"[^>]*>', page)
    bodies = [re.search(r'data-body="([^"]*)"', tag)[1] for tag in found]
    return [json.loads(html.unescape(body)) for body in bodies]


def card(page, node):
    """The part of a page that is a cluster's card, with those in it."""
    beginning = page.index(f'data-node="{node}"')
    return page[beginning : page.index("</article>", beginning)]


def test_every_cluster_that_is_not_divided_can_be_divided_in_place(overview):
    """A19, C6: the same action, on each."""
    nodes = {body["node"] for body in forms(overview, "divide") if "config" not in body}
    assert nodes == {
        *("greek/2", "greek/3", "greek/4", "greek/5"),
        *("greek/0/0", "greek/0/1/0", "greek/0/1/1"),
    }


def test_a_divided_cluster_holds_its_clusters_and_offers_to_take_that_back(overview):
    """A17, A20: nested to any depth."""
    assert [body["key"] for body in forms(overview, "remove")] == [
        "greek/0",
        "greek/0/1",
        "greek/1",
    ]
    assert 'id="greek.0.1.1"' in overview


def test_a_division_that_left_all_whole_offers_to_force_a_cut(overview):
    """C11-C12: the algorithm could not cut it, so a number of clusters must be given."""
    said = card(overview, "greek/1")
    assert "It stayed whole: no cluster was found, all images are the remainder." in said
    forced = said[said.index('class="forcing"') :]
    numbers = re.findall(r'name="config.method" value="([^"]*)"', forced)
    assert json.loads(html.unescape(numbers[0])) == {"kmeans": {"nb_clusters": 2}}
    assert {"node": "greek/1", "config": {"replace": True}} in forms(said, "divide")


def test_a_cluster_that_was_cut_offers_no_force(overview):
    assert 'class="note whole"' not in card(overview, "greek/0")


def test_names_stand_in_fields_and_are_escaped(overview):
    assert HOSTILE not in overview
    field = re.search(r'<input name="name" value="([^"]*)"', card(overview, "greek/2"))
    assert html.unescape(field[1]) == HOSTILE


def test_saving_proposes_the_property_that_the_run_has_and_every_depth(overview):
    """A23, C13, D 2: by default the property of before; else `Clustering`."""
    field = re.search(r'<input name="config.property"[^>]*>', overview)[0]
    assert 'value="Mine &amp; yours"' in field
    assert re.findall(r'<option value="(\d*)">(?:The whole tree|The first)', overview) == [
        "",
        "1",
        "2",
    ]


def test_other_runs_are_offered_for_a_comparison(page_folder, overview):
    base = Pages(page_folder).at
    assert f'{base}/compare?a=greek&amp;b=roman"' in overview


def test_what_acts_rest_on_is_on_the_page(overview):
    seen = json.loads(html.unescape(re.search(r'data-seen="([^"]*)"', overview)[1]))
    assert seen["greek/0"].startswith("greek/0@1")
    assert seen["greek/2"] is None
    assert {seen["name:greek/0"], seen["name:greek/2"]} == {None, HOSTILE}
    assert {"greek", "tree:greek", "labels:greek", "remark:greek"} <= seen.keys()


def test_the_words_of_the_field_are_explained_where_they_stand(overview):
    assert re.search(r'popovertarget="means-\d" title="The remainder: images', overview)
    assert re.search(r'popovertarget="means-\d" title="The silhouette, from', overview)


def test_a_page_of_a_cluster_has_its_acts_and_its_images_as_one_scope(page_folder):
    page = Pages(page_folder).page("clusters/greek/2")
    assert {"node": "greek/2"} in forms(page, "name")
    assert {"scope": {"node": {"node": "greek/2"}}} in forms(page, "tag")
    scope = html.unescape(re.search(r'data-images data-scope="([^"]*)"', page)[1])
    assert json.loads(scope) == {"node": {"node": "greek/2"}}


def test_a_run_that_new_images_have_made_stale_says_so_and_what_can_be_done(page_folder, tmp_path):
    """Viewers 4.5: "older than its corpus", said on the page."""
    bench = bench_of(shutil.copytree(page_folder, tmp_path / "stale"))
    gone = bench.read.files().to_pylist()[0]["image_id"]
    where = f"image_id = '{gone}'"
    nothing = bench.store.read("vectors.mini", where=where).slice(0, 0)
    bench.store.replace("vectors.mini", nothing, where)
    page = Pages(tmp_path / "stale").page("runs/greek")
    assert "without the features" in page
    assert {"runs": ["greek"], "policy": "recluster"} in forms(page, "backfill")


def test_a_division_that_is_stale_can_be_made_again_from_the_page(page_folder, tmp_path):
    bench = bench_of(shutil.copytree(page_folder, tmp_path / "nested"))
    bench.make("nested_clustering", "greek/0", method={"kmeans": {"nb_clusters": 3}}, replace=True)
    page = Pages(tmp_path / "nested").page("runs/greek")
    assert "greek/0/1 is stale and left out" in page
    assert {"node": "greek/0/1"} in forms(page, "divide")


def test_a_read_only_page_offers_no_act(page_folder):
    pages = Pages(page_folder, read_only=True)
    for path in ("runs/greek", "clusters/greek/0", "records/greek"):
        assert "data-act=" not in pages.page(path)


def test_a_cluster_that_is_gone_is_told_in_one_line(page_folder):
    pages = Pages(page_folder)
    answer = pages.get(f"{pages.at}/clusters/greek/2/7")
    assert answer.status_code == 404 or answer.status_code == 422
    assert "There is no cluster" in html.unescape(answer.text)


@pytest.mark.parametrize("path", ["runs/greek", "clusters/greek/0", "records/greek"])
def test_pages_come_in_french_as_well(page_folder, path):
    page = Pages(page_folder).page(path, headers={"Accept-Language": "fr"})
    assert '<html lang="fr"' in page

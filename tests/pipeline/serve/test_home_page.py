"""What the first page shows, by the state that a project is in, and where old addresses lead."""

import re
import shutil

import dagster as dg
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from panoptic_assets.project import Project
from panoptic_assets.serve import home_page
from panoptic_assets.serve.live_pages import ProjectPages
from panoptic_assets.serve.page_address import PAGES
from panoptic_assets.serve.report_places import live_page
from panoptic_assets.serve.webserver import report_routes
from resources.project_folder import find
from tests.tiny import tiny_project
from tests.workbench import Workbench, bench_of

HOSTILE = "<img src=x onerror=alert(1) {{7*7}}\u202e" + "x" * 100


class Site(TestClient):
    """Asks for the pages and the reports of one project."""

    def __init__(self, folder, read_only=False):
        pages = ProjectPages(folder, {}, read_only)
        self.home = f"{PAGES.format(corpus=pages.corpus)}/"
        routes = [
            *report_routes(find(folder).reports, pages.instead_of),
            *pages.routes_to_home(),
            Mount(PAGES, pages),
        ]
        app = Starlette(routes=routes)
        super().__init__(app, raise_server_exceptions=False, follow_redirects=False)

    def page(self, query="", language="en"):
        answer = self.get(f"{self.home}{query}", headers={"Accept-Language": language})
        assert answer.status_code == 200, answer.text
        return answer.text


@pytest.fixture(scope="module")
def told(told_folder):
    """The first page of a project that has something of each kind."""
    return Site(told_folder).page()


def keys(page):
    """The runs of the cards, in their order."""
    return re.findall(r'aria-labelledby="run\.([^"]+)"', page)


def test_values_that_would_go_at_once_are_asked_about(tmp_path):
    project = tiny_project(tmp_path, 8)
    settings = project.settings_file
    settings.write_text(settings.read_text().replace("metadata: ''", "metadata: inventory.csv"))
    inventory, lines = project.folder / "inventory.csv", [f"{n:06}.jpg;{n}" for n in range(8)]
    inventory.write_text("\n".join(["path;<img src=x onerror=alert(1)>[text]", *lines]) + "\n")
    bench = bench_of(project.folder)
    bench.make("images")
    bench.make("inventory")
    assert 'data-key="asked' not in Site(project.folder).page()
    inventory.write_text("path;made\n")
    bench.make("inventory")
    page = Site(project.folder).page()
    assert "inventory.csv no longer has all 8 values of" in page and "<img src=x" not in page
    answer = bench.read.status()["questions"][0]["answer"]
    assert f'data-accepted="{answer}">They are gone for good: take them away</button>' in page
    assert "data-accepted" not in Site(project.folder, read_only=True).page()


def test_what_the_inventory_lacks_is_said_and_why_it_is_not_read(tmp_path):
    project = tiny_project(tmp_path, 2)
    settings = project.settings_file
    settings.write_text(settings.read_text().replace("metadata: ''", "metadata: inventory.csv"))
    inventory = project.folder / "inventory.csv"
    inventory.write_text("path;made\n000000.jpg;1850\n<b>.jpg;1851\n000009.jpg;1852\n")
    bench = bench_of(project.folder)
    bench.make("images")
    bench.make("inventory")
    page = Site(project.folder).page()
    assert "2 lines of the inventory without an image" in page
    assert "line 3:" in page and "&lt;b&gt;" in page and "<b>" not in page
    assert "is not read as it stands" not in page
    assert "Images have the values of" not in page
    inventory.unlink()
    bench.make("inventory")
    page = Site(project.folder).page()
    assert "Images have the values of inventory.csv, read" in page
    assert "The inventory is not read as it stands. There is no inventory" in page
    assert 'data-key="inventory"' in page and "2 lines of the inventory" in page


def test_the_cells_that_are_left_out_are_told_by_column_and_cause_in_ones_own_language(tmp_path):
    project = tiny_project(tmp_path, 2)
    settings = project.settings_file
    settings.write_text(settings.read_text().replace("metadata: ''", "metadata: inventory.csv"))
    lines = "000000.jpg;<b>;31/02/1887\n000001.jpg;12 €;1887"
    (project.folder / "inventory.csv").write_text(f"path;Prix[number];Date[date]\n{lines}\n")
    bench = bench_of(project.folder)
    bench.make("images")
    bench.make("inventory")
    site = Site(project.folder)
    page = site.page()
    assert 'data-key="findings"' in page and "3 cells left out:" in page
    assert "<bdi>Prix</bdi> 2, <bdi>Date</bdi> 1" in page
    assert "line 2: <bdi>&lt;b&gt;</bdi>" in page and "<b>" not in page
    assert '<a href="/panoptic/manual/en/how-to/metadata">' in page
    page = site.page(language="fr")
    assert "3 cellules laissées de côté" in page and "ligne 3" in page and "unité" in page
    assert "not a number" not in page


def test_before_anything_was_read_the_first_step_is_to_read_the_folder(tmp_path):
    project = tiny_project(tmp_path, 2)
    page = Site(project.folder).page()
    assert "data-refresh>Read the images of “images”</button>" in page
    assert "the model “tiny”" in page
    assert "data-act" not in page


def test_images_that_no_model_has_seen_are_told_before_they_are_clustered(tmp_path):
    project = tiny_project(tmp_path, 2)
    Workbench(project, dg.DagsterInstance.ephemeral()).make("images")
    page = Site(project.folder).page()
    assert "data-refresh>Let the model see them</button>" in page
    assert 'data-act="cluster"' not in page


def test_without_a_run_one_click_clusters(vectors_folder):
    """A5, A6, A10: into ten groups, or automatically."""
    page = Site(vectors_folder / "project").page()
    numbers = re.findall(r"&#34;nb_clusters&#34;: (-?\d+)", page)
    assert numbers == ["10", "-1"]
    assert 'href="/panoptic/project/new"' in page


def test_a_run_is_a_card_with_pictures_that_leads_to_its_page(told, told_folder):
    assert keys(told) == ["greek"]
    assert f'<a href="{Site(told_folder).home}runs/greek">greek</a>' in told
    medoids = Project(told_folder).clusters("greek")["medoid"].to_pylist()
    shown = re.findall(r"thumbnails/([0-9a-f]{64})\.webp", told)
    assert sorted(shown) == sorted(medoids)
    for text in ("6 clusters", "253 images", "kmeans on mini", "1 cluster divided again"):
        assert text in told


def test_tags_and_what_was_done_last_are_one_click_away(told, told_folder):
    home = Site(told_folder).home
    assert f'href="{home}tags?property=Clustering"' in told
    assert "Vases grecs" in told
    assert 'data-act="undo" data-body="{&#34;act&#34;: &#34;tag-2&#34;}"' in told


def test_what_is_not_up_to_date_is_said_with_the_reason(told_folder, tmp_path):
    bench = bench_of(shutil.copytree(told_folder, tmp_path / "stale"))
    bench.make("clustering", "greek", method={"kmeans": {"nb_clusters": 4}}, replace=True)
    page = Site(bench.project.folder).page()
    assert "2 of 3 are not up to date" in page
    assert "the clustering above it, greek, was made again" in page
    assert "not up to date</span>" in page


def test_of_many_runs_a_part_is_shown_and_said(told_folder, tmp_path, monkeypatch):
    bench = bench_of(shutil.copytree(told_folder, tmp_path / "two"))
    bench.make("clustering", "newer", method={"kmeans": {"nb_clusters": 2}})
    site = Site(bench.project.folder)
    assert keys(site.page()) == ["newer", "greek"]
    monkeypatch.setattr(home_page, "RUNS_ON_A_PAGE", 1)
    assert keys(site.page()) == ["newer"]
    assert "1–1 of 2, the newest first" in site.page()
    assert keys(site.page("?page=2")) == keys(site.page("?page=99")) == ["greek"]


def test_names_are_shown_as_they_are(told_folder, tmp_path):
    bench = bench_of(shutil.copytree(told_folder, tmp_path / "hostile"))
    bench.make("tags", edits=[{"rename": {"tag": "1", "to": HOSTILE}}])
    page = Site(bench.project.folder).page()
    assert "<img src=x" not in page
    assert "&lt;img src=x onerror=alert(1) {{7*7}}" in page


def test_where_nothing_may_be_changed_nothing_is_offered(told_folder):
    page = Site(told_folder, read_only=True).page()
    assert "data-act" not in page
    assert "data-refresh" not in page


@pytest.mark.parametrize(
    ("place", "page"),
    [
        ("", ""),
        ("index.html", ""),
        ("runs/greek/index.html", "runs/greek"),
        ("runs/greek", "runs/greek"),
        ("runs/greek/cluster.0.html", "clusters/greek/0"),
        ("runs/greek/cluster.0.1.page-2.html", "clusters/greek/0/1?page=2"),
        ("runs/greek/cluster.99.html", "runs/greek"),
        ("runs/greek/cluster.0.99.html", "runs/greek"),
        ("runs/greek/map.html", "map?run=greek"),
        ("runs/greek/record.html", "records/greek"),
        ("runs/none/index.html", ""),
        ("runs/<script>/index.html", ""),
        ("comparison/index.html", "compare"),
        ("comparison/greek--folders.html", "compare?a=greek&b=folders"),
        ("comparison/greek--none.html", "compare"),
        ("static/page-0123abcd.css", None),
        ("thumbnails/ab/ab12.webp", None),
        ("runs/greek/map-data.js", None),
    ],
)
def test_what_a_report_would_show_is_shown_by_a_live_page(told_folder, place, page):
    assert live_page(Project(told_folder), place) == page


@pytest.mark.parametrize(
    ("address", "page"),
    [
        ("/panoptic/reports/runs/greek/cluster.0.html", "clusters/greek/0"),
        ("/panoptic/reports/", ""),
        ("/panoptic/-/runs/greek", "runs/greek"),
        ("/panoptic/-/compare?a=greek&b=folders", "compare?a=greek&b=folders"),
        ("/panoptic", ""),
    ],
)
def test_an_address_without_a_project_or_report_leads_to_the_page(told_folder, address, page):
    """They are in Dagster's event log and in bookmarks."""
    site = Site(told_folder)
    answer = site.get(address)
    assert (answer.status_code, answer.headers["location"]) == (303, f"{site.home}{page}")


def test_a_report_that_was_written_is_still_served(told_folder, tmp_path):
    folder = shutil.copytree(told_folder, tmp_path / "reported")
    page = find(folder).reports / "runs" / "greek" / "index.html"
    page.parent.mkdir(parents=True)
    page.write_text("the copy")
    assert Site(folder).get("/panoptic/reports/runs/greek/index.html").text == "the copy"

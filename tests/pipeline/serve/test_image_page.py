"""What the pages of images show: which images, how many of them, and where one is in every run."""

import html
import json
import re
import shutil

import pytest

from panoptic_assets.clustering.image_places import places_of_image
from panoptic_assets.clustering.table import Clusterings
from panoptic_assets.features.table import nearest_in_graph
from panoptic_assets.project import Project
from panoptic_assets.serve.image_page import ON_A_PAGE, AskedImagesPage
from resources.lance import LanceStore
from tests.pipeline.serve.conftest import Client
from tests.pipeline.serve.test_run_page import Pages
from tests.workbench import bench_of

HOSTILE = "<script>alert(1)</script>{{7*7}}\u202e"


@pytest.fixture(scope="session")
def placed_folder(clustered_folder, once):
    """The sample with `greek`, of which a cluster and a part of that are divided; and a newer run,
    of densities. Some images have a tag of a hostile name."""

    def write(folder):
        shutil.copytree(clustered_folder, folder, dirs_exist_ok=True)
        bench = bench_of(folder)
        bench.make("nested_clustering", "greek/0", method={"kmeans": {"nb_clusters": 2}})
        bench.make("nested_clustering", "greek/0/1", method={"kmeans": {"nb_clusters": 2}})
        bench.make("clustering", "dense", method={"hdbscan": {"min_cluster_size": 5}})
        images = Project(folder).assignments("greek")["image_id"].to_pylist()[:3]
        bench.make(
            "tags",
            edits=[
                {"create": {"tag": HOSTILE, "property": "Mine"}},
                {"assign": {"tag": HOSTILE, "property": "Mine", "images": images}},
            ],
        )

    return once("placed", write)


@pytest.fixture(scope="module")
def pages(placed_folder):
    return Pages(placed_folder)


@pytest.fixture(scope="module")
def store(placed_folder):
    return LanceStore(uri=str(placed_folder / ".panoptic" / "store"))


def ids_in(page):
    return re.findall(r'<figure class="tile" data-key="[0-9a-f]+" data-id="([0-9a-f]+)"', page)


def gallery(page):
    """What the selection is told of the images of a page."""
    found = re.search(
        r'<ul class="gallery" data-images data-scope="([^"]*)" data-total="(\d+)"', page
    )
    return json.loads(html.unescape(found[1])), int(found[2])


def test_a_page_says_which_of_how_many_images_it_shows(pages):
    page = pages.page("images")
    scope, total = gallery(page)
    assert scope == {"corpus": {}}
    assert f"1–{ON_A_PAGE} of {total}" in page
    assert len(ids_in(page)) == ON_A_PAGE < total


def test_all_pages_together_show_every_image_once(pages):
    first, second = pages.page("images"), pages.page("images?page=2")
    ids = ids_in(first) + ids_in(second)
    assert len(ids) == len(set(ids)) == gallery(first)[1]
    assert "images?page=2" in re.search(r'rel="next" href="([^"]*)"', first)[1]
    assert 'rel="next"' not in second
    assert ids_in(pages.page("images?page=9")) == ids_in(second), "the last one"


def test_a_folder_takes_what_lies_below_it_and_tells_what_it_holds(pages, placed_folder):
    page = pages.page("images?folder=animals")
    files = Project(placed_folder).files().to_pylist()
    paths = [file["path"] for file in files if file["status"] == "present"]
    below = {p.split("/")[1] for p in paths if p.startswith("animals/")}
    assert gallery(page)[0] == {"files": {"pattern": "animals/*"}}
    assert set(re.findall(r"folder=animals%2F([^\"]*)\"", page)) >= below
    assert all(name.startswith("animals/") for name in re.findall(r'alt="([^"]*)"', page))


def test_signs_of_patterns_in_the_name_of_a_folder_stand_for_themselves():
    asked = AskedImagesPage(folder="1920 [a]/what?*/")
    assert asked.wanted() == {"files": {"pattern": "1920 [[]a]/what[?][*]/*"}}


def test_an_address_holds_all_that_was_asked_for():
    asked = AskedImagesPage(tag="a & b", property="Mine", order="size", page=3)
    assert asked.query(page=2) == "?tag=a+%26+b&property=Mine&order=size&page=2"
    assert AskedImagesPage().query() == ""


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("tag=nothing", "There are no tags of a property"),
        ("folder=nowhere", "No file matches"),
        ("similar=nobody", "There is no image"),
        ("scope={", "The scope cannot be read"),
        ('scope={"nodes":{}}', "scope"),
    ],
)
def test_where_there_are_no_images_the_page_says_why_and_where_some_are(pages, query, reason):
    page = pages.page(f"images?{query}")
    [empty] = re.findall(r'<div class="empty">(.*?)</div>', page, re.DOTALL)
    assert reason in html.unescape(empty)
    assert f'href="{pages.at}/images"' in empty


def test_images_of_a_search_are_in_its_order_with_their_similarity(pages, placed_folder):
    project = Project(placed_folder)
    image_id = project.assignments("greek")["image_id"][0].as_py()
    page = pages.page(f"images?similar={image_id}")
    found = project.search(similar_to=image_id)["image_id"].to_pylist()
    assert ids_in(page) == found
    assert "similarity 1.00" in page


def test_a_place_is_the_deepest_node_with_the_rank_among_its_images(store):
    """The nearest image of a node is the first, the farthest the last."""
    clusterings = Clusterings(store)
    rows = [
        row for row in clusterings.assignments("greek/0/1").to_pylist() if row["cluster"] == "0"
    ]
    rows.sort(key=lambda row: row["distance"])
    for row, rank in ((rows[0], 1), (rows[-1], len(rows))):
        places = {p.run_key: p for p in places_of_image(store, row["image_id"]).places}
        place = places["greek"]
        assert (place.node, place.rank, place.size) == ("greek/0/1/0", rank, len(rows))
        assert place.distance == row["distance"]
        assert place.probability is None
        assert places["dense"].probability is not None


def test_the_newest_run_comes_first_and_stale_divisions_are_left_out(placed_folder, tmp_path):
    folder = shutil.copytree(placed_folder, tmp_path / "p")
    rows = Project(folder).assignments("greek/0/1").to_pylist()
    bench_of(folder).make(
        "clustering", "greek", method={"kmeans": {"nb_clusters": 3}}, replace=True
    )
    store = LanceStore(uri=str(folder / ".panoptic" / "store"))
    found = places_of_image(store, rows[0]["image_id"])
    assert [place.run_key for place in found.places] == ["greek", "dense"]
    assert found.places[0].node.count("/") == 1
    assert (found.nb_runs, found.nb_read) == (2, 2)


def test_the_page_of_an_image_has_its_place_in_every_run(pages, placed_folder):
    told = Client(placed_folder)
    image_id = ids_in(pages.page("images"))[0]
    page = pages.page(f"images/{image_id}")
    rows = told.tell(f"images/{image_id}/places")["rows"]
    assert {row["run_key"] for row in rows} == {"greek", "dense"}
    for row in rows:
        assert f"/clusters/{row['node']}" in page
        assert f"{row['rank']} of {row['size']}" in page


def test_the_neighbours_of_an_image_are_the_nearest_ones_without_itself(pages, placed_folder):
    image_id = ids_in(pages.page("images"))[0]
    page = pages.page(f"images/{image_id}").partition('id="neighbours-of"')[2]
    found = Project(placed_folder).search(similar_to=image_id, number=13)
    shown = re.findall(r'<li data-key="[0-9a-f]+" data-id="([0-9a-f]+)"', page)
    assert shown == [one for one in found["image_id"].to_pylist() if one != image_id]


def test_a_tag_of_an_image_can_be_taken_away_there_however_it_is_called(pages, placed_folder):
    image_id = Project(placed_folder).image_tags("Mine")["image_id"][0].as_py()
    page = pages.page(f"images/{image_id}")
    assert "<script>alert" not in page
    [body] = re.findall(r'data-act="untag" data-body="([^"]*)"', page)
    asked = json.loads(html.unescape(body))
    assert asked["images"] == [image_id]
    assert asked["property"] == "Mine"
    assert '"property:Mine"' in html.unescape(re.search(r'data-seen="([^"]*)"', page)[1])


def test_where_nothing_may_be_changed_no_act_is_offered(placed_folder):
    pages = Pages(placed_folder, read_only=True)
    image_id = ids_in(pages.page("images"))[0]
    assert "data-act=" not in pages.page(f"images/{image_id}")


def test_there_is_no_page_of_an_image_that_there_is_not(pages):
    answer = pages.get(f"{pages.at}/images/{'0' * 64}")
    assert answer.status_code == 404
    assert "There is no image of the id" in html.unescape(answer.text)


def test_the_graph_of_neighbours_tells_the_same_ones_while_it_is_of_now(placed_folder, tmp_path):
    folder = shutil.copytree(placed_folder, tmp_path / "p")
    store = LanceStore(uri=str(folder / ".panoptic" / "store"))
    image_id = Project(folder).assignments("greek")["image_id"][7].as_py()
    assert nearest_in_graph(store, "mini", image_id) is None
    bench_of(folder).make("neighbors", "mini")
    found = Project(folder).search(similar_to=image_id, number=6)["image_id"].to_pylist()
    assert [one for one, _ in nearest_in_graph(store, "mini", image_id)][:5] == found[1:]
    page = Pages(folder).page(f"images/{image_id}").partition('id="neighbours-of"')[2]
    assert re.findall(r'<li data-key="[0-9a-f]+" data-id="([0-9a-f]+)"', page)[:5] == found[1:]
    store.upsert("vectors.mini", store.read("vectors.mini").slice(0, 1))
    assert nearest_in_graph(store, "mini", image_id) is None, "other vectors since"


def test_what_was_looked_for_is_text_in_the_heading(pages):
    page = pages.page("images", params={"folder": HOSTILE})
    [heading] = re.findall("<h1>(.*?)</h1>", page)
    assert heading == f"Images in the folder <bdi>{html.escape(HOSTILE)}</bdi>"

"""What the page of a map says, and the points and colours that its script draws."""

import base64
import html
import re
import shutil

import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from panoptic_assets.corpus.properties import write_properties
from panoptic_assets.serve.live_pages import ProjectPages
from panoptic_assets.serve.page_address import PAGES
from resources.schemas import SCHEMAS
from tests.pipeline.serve.conftest import Client
from tests.tiny import tiny_project
from tests.workbench import bench_of

HOSTILE = "<script>alert(1)</script>{{7*7}}\u202e"


def page_of(folder, **asked):
    pages = ProjectPages(folder, {})
    client = TestClient(Starlette(routes=[Mount(PAGES, pages)]), raise_server_exceptions=False)
    return client.get(f"{PAGES.format(corpus=pages.corpus)}/map", params=asked)


@pytest.fixture(scope="module")
def mapped_folder(told_folder, once):
    """A project with a divided run, tags, a projection, and metadata of hostile names."""

    def write(folder):
        shutil.copytree(told_folder, folder, dirs_exist_ok=True)
        bench = bench_of(folder)
        bench.make("projection", "mini/pca", method={"pca": {}})
        ids = sorted(bench.read.files()["image_id"].to_pylist())
        rows = [
            {"image_id": ids[0], "property": HOSTILE, "type": "text", "text": HOSTILE},
            {"image_id": ids[1], "property": "price", "type": "number", "number": 3.0},
        ]
        table = (
            SCHEMAS["property_values"]
            .empty_table()
            .from_pylist(rows, schema=SCHEMAS["property_values"])
        )
        write_properties(bench.store, table)

    return once("mapped", write)


@pytest.fixture(scope="module")
def client(mapped_folder):
    return Client(mapped_folder)


def numbers(text, kind="<f4"):
    return np.frombuffer(base64.b64decode(text), kind)


def colouring(told, key):
    [found] = [one for one in told["colourings"] if one["key"] == key]
    return found


def test_every_image_of_the_corpus_is_a_point_without_any_run(client, mapped_folder):
    """C1, C2: the first step of the story."""
    told = client.tell("map/points")
    stored = bench_of(mapped_folder).read.points("mini/pca")
    assert len(told["names"]) == stored.num_rows == 253
    assert np.array_equal(numbers(told["x"]), np.stack(stored["point"].to_pylist())[:, 0])
    text = page_of(mapped_folder).text
    assert "Projection mini/pca." in text
    assert "All 253 images are points." in text


def test_a_map_without_a_projection_shows_principal_components_and_offers_better_ones(told_folder):
    """D19."""
    text = html.unescape(page_of(told_folder).text)
    assert "The first two principal components of mini" in text
    assert '{"config": {"method": {"tsne": {}}}, "key": "mini/tsne"}' in text


def test_where_no_image_has_a_vector_the_page_says_what_to_do_first(tmp_path):
    text = page_of(tiny_project(tmp_path, 2).folder).text
    assert "There is nothing to draw yet" in text
    assert "Read the images first" in text


def test_points_of_a_run_are_coloured_by_cluster_and_by_all_that_is_known(client, mapped_folder):
    """D37-D39."""
    told = client.tell("map/colours", run="greek")
    keys = [one["key"] for one in told["colourings"]]
    assert keys == [
        *("cluster", "deepest", "folder", "tag:Clustering", f"property:{HOSTILE}"),
        *("property:price", "distance"),
    ]
    info = bench_of(mapped_folder).read.clusters("greek").to_pylist()
    cluster = colouring(told, "cluster")
    sizes = np.bincount(numbers(cluster["codes"], "u1")).tolist()
    assert dict(zip(cluster["nodes"], sizes, strict=True)) == {
        row["node"]: row["size"] for row in info
    }
    ids = base64.b64decode(client.tell("map/points", run="greek")["ids"])
    medoids = {ids[32 * row : 32 * row + 32].hex() for row in cluster["medoids"]}
    assert medoids == {row["medoid"] for row in info}
    assert told["clusters"]["greek/0"]["isDivided"]
    assert {"greek/0/0", "greek/0/1"} < set(colouring(told, "deepest")["nodes"])
    price = numbers(colouring(told, "property:price")["numbers"])
    assert np.count_nonzero(~np.isnan(price)) == 1


def test_the_clusters_of_a_run_colour_a_map_that_is_not_its_own(client, mapped_folder, tmp_path):
    """D37-D39: a map coloured by either of two runs; what one of them leaves out is grey."""
    bench = bench_of(shutil.copytree(mapped_folder, tmp_path / "own"))
    scope = {"files": {"pattern": "animals/*"}}
    bench.make("clustering", "animals", method={"kmeans": {"nb_clusters": 3}}, scope=scope)
    own = Client(bench.project.folder)
    for run in ("greek", ""):
        told = own.tell("map/colours", run=run, colour="run:animals")
        found = colouring(told, "run:animals")
        assert found["nodes"] == ["animals/0", "animals/1", "animals/2", None]
        assert found["labels"][-1] == "(not in the run)"
        sizes = np.bincount(numbers(found["codes"], "u1")).tolist()
        clusters = bench.read.clusters("animals").to_pylist()
        assert sizes == [*(row["size"] for row in clusters), 253 - 54]
        ids = base64.b64decode(own.tell("map/points", run=run)["ids"])
        medoids = [ids[32 * row : 32 * row + 32].hex() for row in found["medoids"][:-1]]
        assert medoids == [row["medoid"] for row in clusters]
        assert told["clusters"]["animals/2"]["size"] == clusters[2]["size"]


def test_a_run_that_is_gone_leaves_a_map_its_other_colours(client):
    told = client.tell("map/colours", colour="run:none")
    assert [one["key"] for one in told["colourings"]][:1] == ["folder"]


def test_colours_go_with_the_points_and_speak_the_language_that_is_asked_for(client):
    points = client.tell("map/points", run="greek")
    told = client.tell("map/colours", run="greek", language="fr")
    assert told["points"] == points["version"]
    assert len(numbers(told["nodeOf"], "<u4")) == len(points["names"])
    assert told["colourings"][0]["key"] == "cluster"


def test_points_stay_the_same_when_a_cluster_is_divided(client, mapped_folder, tmp_path):
    """Only the colours are asked for again."""
    bench = bench_of(shutil.copytree(mapped_folder, tmp_path / "own"))
    before = Client(bench.project.folder).tell("map/points", run="greek")["version"]
    bench.make("nested_clustering", "greek/1", method={"kmeans": {"nb_clusters": 2}})
    after = Client(bench.project.folder).tell("map/points", run="greek")["version"]
    assert before == after == client.tell("map/points", run="greek")["version"]


def test_a_projection_or_run_that_is_not_there_is_refused_with_one_line(client, mapped_folder):
    status, name = client.refused("map/points", projection="mini/umap")
    assert (status, name) == (422, "no-projection-to-show")
    assert client.refused("map/points", run="none")[0] == 404
    answer = page_of(mapped_folder, run="none")
    assert answer.status_code == 404
    assert "There is no" in answer.text


def test_hostile_names_are_text_on_the_page(mapped_folder):
    bench = bench_of(mapped_folder)
    assert HOSTILE in bench.read.properties()[0]["name"]
    for asked in ({}, {"run": "greek"}, {"run": "greek", "colour": HOSTILE}):
        text = page_of(mapped_folder, **asked).text
        assert "<script>" not in text
        assert "49" not in re.findall(r"<title>(.*?)</title>", text)[0]

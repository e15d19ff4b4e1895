"""The report of a run, from the store to its pages."""

import json
import os
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from dagster._serdes import serialize_value

from panoptic_assets.cli.main import main
from panoptic_assets.clustering import assets as clustering_assets
from panoptic_assets.corpus import contact_sheet as contact_sheets
from panoptic_assets.corpus.contact_sheet import contact_sheet
from panoptic_assets.labels import assets as labels_assets
from panoptic_assets.review import assets as review_assets
from panoptic_assets.spec.markdown import escaped
from panoptic_assets.tags import assets as tags_assets
from resources.report_folder import LIVE, page_of, thumbnail_path
from tests.pictures import SAMPLE
from tests.unit.review.test_map_data import read, unpacked
from tests.unit.review.test_run_pages import Page
from tests.workbench import bench_of, data_version, metadata

pytestmark = pytest.mark.usefixtures("one_mini")


@pytest.fixture(scope="session")
def divided_folder(embedded_folder, once):
    def write(folder):
        bench = bench_of(shutil.copytree(embedded_folder, folder, dirs_exist_ok=True))
        bench.make("clustering", "greek", method={"kmeans": {"nb_clusters": 4}})
        bench.make("nested_clustering", "greek/3", method={"kmeans": {"nb_clusters": 2}})

    return once("divided_sample", write)


@pytest.fixture
def divided(divided_folder, tmp_path):
    return bench_of(shutil.copytree(divided_folder, tmp_path / "divided"))


def folder_of(bench, key="greek"):
    return bench.project.reports / "runs" / key


def map_of(bench, key="greek"):
    return read((folder_of(bench, key) / "map-data.js").read_bytes())


def colouring(data, name):
    [found] = [one for one in data["colourings"] if one["name"] == name]
    return found


def test_a_report_shows_the_clusters_that_were_found_and_links_to_itself(divided):
    """D45, E17: the result is looked at where it was made."""
    shown = metadata(divided.run("clustering_report", "greek"), "clustering_report")
    assert shown["report"] == "/panoptic/-/runs/greek"
    assert (shown["nb_images"], shown["nb_clusters"], shown["nb_divided"]) == (253, 4, 1)
    assert len(json.dumps(shown, default=str)) < 50_000
    ids = []
    for cluster in range(4):
        ids += Page(folder_of(divided) / page_of(f"greek/{cluster}")).all("button", "data-id")
    assert sorted(ids) == divided.read.assignments("greek")["image_id"].to_pylist()
    assert all((divided.project.reports / thumbnail_path(image_id)).is_file() for image_id in ids)
    below = Page(folder_of(divided) / page_of("greek/3/0")).all("button", "data-id")
    assert sorted(below) == divided.read.exemplars("greek/3/0")["image_id"].sort().to_pylist()


def test_typical_images_come_first(divided):
    divided.make("clustering_report", "greek")
    nearest = divided.read.exemplars("greek/0")["image_id"].to_pylist()
    assert Page(folder_of(divided) / page_of("greek/0")).all("button", "data-id") == nearest


def test_thumbnails_are_those_of_the_store_and_written_once(divided):
    divided.make("clustering_report", "greek")
    rows = divided.read.images().to_pylist()
    places = {
        row["image_id"]: divided.project.reports / thumbnail_path(row["image_id"]) for row in rows
    }
    assert all(places[row["image_id"]].read_bytes() == row["thumbnail"] for row in rows)
    for place in places.values():
        os.utime(place, (1, 1))
    divided.make("clustering", "birds", scope={"files": {"pattern": "animals/*"}})
    divided.make("clustering_report", "birds")
    assert all(place.stat().st_mtime == 1 for place in places.values())


def test_a_clustering_that_became_stale_is_left_out_and_named(divided):
    divided.make("clustering", "greek", method={"kmeans": {"nb_clusters": 5}}, replace=True)
    shown = metadata(divided.run("clustering_report", "greek"), "clustering_report")
    assert "greek/3 is stale and was left out" in shown["notes"]
    assert not (folder_of(divided) / page_of("greek/3/0")).exists()
    assert "greek/3 is stale and left out" in Page(folder_of(divided) / "index.html").words


def test_without_a_projection_the_map_shows_principal_components(divided):
    """D19: PCA without further packages; D28: every image is a point."""
    shown = metadata(divided.run("clustering_report", "greek"), "clustering_report")
    assert shown["map"].startswith("The first two principal components of mini")
    data = map_of(divided)
    assert len(unpacked(data["x"], "<f4")) == 253
    places = dict(zip(*divided.read.places("greek").to_pydict().values(), strict=True))
    nodes = [data["nodes"][number] for number in unpacked(data["nodeOf"], "<u4")]
    assert nodes == list(places.values())


def test_the_map_is_of_the_best_projection_or_of_the_one_asked_for(divided):
    """D26: projections have names."""
    for method in ("pca", "tsne"):
        divided.make("projection", f"mini/{method}", method={method: {}})
    shown = metadata(divided.run("clustering_report", "greek"), "clustering_report")
    assert shown["map"] == "Projection mini/tsne"
    asked = divided.run("clustering_report", "greek", projection="mini/pca")
    assert metadata(asked, "clustering_report")["map"] == "Projection mini/pca"
    points = np.stack(divided.read.points("mini/pca")["point"].to_pylist())
    assert np.array_equal(unpacked(map_of(divided)["x"], "<f4"), points[:, 0])


def test_points_are_coloured_by_cluster_folder_and_tag(divided):
    """D37, D39: colour the map by any of them."""
    ids = divided.read.exemplars("greek/0")["image_id"].to_pylist()
    divided.make(
        "tags",
        edits=[
            {"create": {"tag": "Été > 1", "property": "Sujet"}},
            {"assign": {"tag": "Été > 1", "images": ids[:3], "property": "Sujet"}},
        ],
    )
    divided.make("clustering_report", "greek")
    data = map_of(divided)
    assert [one["name"] for one in data["colourings"]] == [
        "cluster",
        "deepest cluster",
        "folder",
        "tag: Sujet",
        "distance to the cluster’s mean",
    ]
    tags = colouring(data, "tag: Sujet")
    counts = np.bincount(unpacked(tags["codes"], "u1"))
    assert dict(zip(tags["labels"], counts, strict=True)) == {"Été > 1": 3, "(no tag)": 250}
    assert sorted(colouring(data, "cluster")["labels"]) == ["0", "1", "2", "3"]
    assert "animals/fish" in colouring(data, "folder")["labels"]
    deepest = colouring(data, "deepest cluster")["labels"]
    assert {"3 › 0", "3 › 1"} < set(deepest)


def test_a_consensus_shows_how_far_its_runs_agree(bench):
    """D58: what several runs say together."""
    for seed in range(3):
        bench.make("clustering", f"s{seed}", method={"kmeans": {"nb_clusters": 5}}, seed=seed)
    bench.make("clustering", "all", method={"consensus": {"runs": ["s0", "s1", "s2"]}})
    bench.make("clustering_report", "all")
    agreement = unpacked(colouring(map_of(bench, "all"), "agreement")["numbers"], "<f4")
    stored = bench.read.assignments("all")["probability"].to_numpy()
    assert np.array_equal(agreement, stored)
    assert "in the core" in Page(folder_of(bench, "all") / "index.html").words


def test_the_same_run_gives_the_same_pages_and_data_version(divided):
    first = divided.run("clustering_report", "greek")
    before = {path.name: path.read_bytes() for path in folder_of(divided).iterdir()}
    again = divided.run("clustering_report", "greek")
    assert data_version(first, "clustering_report") == data_version(again, "clustering_report")
    assert {path.name: path.read_bytes() for path in folder_of(divided).iterdir()} == before


def test_tags_of_images_are_part_of_the_data_version(divided):
    first = divided.run("clustering_report", "greek")
    divided.make("tags", edits=[{"create": {"tag": "x"}}])
    same = divided.run("clustering_report", "greek")
    assert data_version(first, "clustering_report") == data_version(same, "clustering_report")
    image = divided.read.images()["image_id"][0].as_py()
    divided.make("tags", edits=[{"assign": {"tag": "x", "images": [image]}}])
    other = divided.run("clustering_report", "greek")
    assert data_version(first, "clustering_report") != data_version(other, "clustering_report")


def test_what_is_made_where_nobody_serves_pages_links_to_none(divided, monkeypatch):
    """As by `dagster dev`: a link would lead nowhere, and all the rest is shown."""
    monkeypatch.delenv("PANOPTIC_URL")
    shown = metadata(divided.run("clustering_report", "greek"), "clustering_report")
    assert "report" not in shown
    assert shown["nb_clusters"] == 4


def test_a_comparison_that_nobody_serves_links_to_no_page(divided, monkeypatch):
    monkeypatch.delenv("PANOPTIC_URL")
    done = divided.run("run_comparison", runs=["greek", "folders"])
    shown = metadata(done, "run_comparison")
    assert "report" not in shown
    assert "](" not in shown["comparison"]


def test_a_report_that_cannot_be_made_is_refused_on_one_line(divided):
    assert divided.refused("clustering_report", "roman").startswith(
        "There is no clustering 'roman'. Existing ones: greek, greek/3."
    )
    line = divided.refused("clustering_report", "greek", projection="mini/umap")
    assert line == (
        "There is no projection 'mini/umap': make it (`panoptic-assets project mini/umap`), or "
        "choose one of (none yet)."
    )
    assert "not a run key" in divided.refused("clustering_report", "../x")
    assert not divided.project.reports.exists()


def test_from_the_command_line(divided, monkeypatch):
    monkeypatch.chdir(divided.project.folder)
    for name in ("DAGSTER_HOME", "PANOPTIC_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    said = CliRunner().invoke(main, ["report", "greek"], catch_exceptions=False)
    assert said.exit_code == 0
    assert said.stdout.strip() == str(folder_of(divided) / "index.html")
    first = Page(divided.project.reports / "index.html")
    assert "runs/greek/index.html" in first.all("a", "href")
    refused = CliRunner().invoke(main, ["report", "roman"])
    assert (refused.exit_code, refused.stderr.startswith("Error: There is no clustering")) == (
        2,
        True,
    )


def test_a_cluster_becomes_a_tag_on_the_command_line(divided, monkeypatch):
    """C13, D50: what a person recognised gets a name at once."""
    monkeypatch.chdir(divided.project.folder)
    for name in ("DAGSTER_HOME", "PANOPTIC_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    asked = ["members", "greek/3/0", "--number", "5", "--tag", "Vases grecs", "--property", "Sujet"]
    assert CliRunner().invoke(main, asked, catch_exceptions=False).exit_code == 0
    [tag] = divided.read.tags("Sujet")
    nearest = divided.read.exemplars("greek/3/0", number=5)["image_id"].to_pylist()
    assert (tag["name"], tag["image_ids"]) == ("Vases grecs", sorted(nearest))
    empty = CliRunner().invoke(main, ["members", "greek/3", "--tag", " "])
    assert (empty.exit_code, empty.stdout) == (2, "")
    assert "--tag is empty: give a name." in empty.stderr
    refused = CliRunner().invoke(main, ["members", "greek/3", "--author", "Zoé"])
    assert refused.exit_code == 2
    assert "go with --tag" in refused.stderr


def test_metadata_stays_small_with_many_clusters_of_long_names(bench):
    """Dagster keeps metadata in its event log, so a materialization has at most 50 kB."""
    tags = [f"{'*<bé|_' * 31} {number:03d}" for number in range(160)]
    method = {"cluster_by_tags": {"tags": tags}}
    bench.make("clustering", "tags", method=method)
    largest = max(bench.read.clusters("tags").to_pylist(), key=lambda found: found["size"])
    node = f"tags/{largest['cluster']}"
    (bench.project.folder / "words.txt").write_text("\n".join(tags))
    words = {"zero_shot": {"vocabulary": "words.txt", "language": "en"}}
    done = {
        "nested_clustering": bench.run("nested_clustering", node, method=method),
        "clustering": bench.run("clustering", "many", method={"kmeans": {"nb_clusters": 250}}),
        "cluster_labels": bench.run("cluster_labels", "many", method=words),
        "clustering_report": bench.run("clustering_report", "many"),
        "saved_clustering": bench.run("saved_clustering", "many"),
        "run_comparison": bench.run("run_comparison"),
    }
    sizes = {asset: stored_bytes(result, asset) for asset, result in done.items()}
    sizes["clustering by tags"] = stored_bytes(bench.run("clustering", "tags"), "clustering")
    sizes["report of tags"] = stored_bytes(
        bench.run("clustering_report", "tags"), "clustering_report"
    )
    assert max(sizes.values()) < 50_000, sizes


def test_each_row_of_a_contact_sheet_says_which_cluster_it_is(bench, monkeypatch):
    """D36, D45: the number, and the name where there is one, in the picture; plain images none."""
    names = {}

    def drawing(room):
        def drawn(rows, *given, **more):
            names[room] = more.get("names", given[1] if len(given) > 1 else None)
            return contact_sheet(rows, *given, **more)

        return drawn

    for module in (clustering_assets, contact_sheets, labels_assets, review_assets, tags_assets):
        room = module.__name__.split(".")[1]
        monkeypatch.setattr(module, "contact_sheet", drawing(room))
    bench.run("images")
    assert names.pop("corpus") is None
    bench.run("clustering", "dense", method={"hdbscan": {"min_cluster_size": 5}})
    found = bench.read.clusters("dense")["cluster"].to_pylist()
    assert found[-1] == "remainder"
    assert [name.strip() for name in names["clustering"]] == found
    bench.run("nested_clustering", "dense/0", method={"kmeans": {"nb_clusters": 2}})
    assert [name.strip() for name in names["clustering"]] == ["0", "1"]
    bench.run("cluster_labels", "dense")
    assert [name.split()[0] for name in names["labels"][:3]] == ["0", "0/0", "0/1"]
    assert all(len(name.split()) > 1 for name in names["labels"][:3])
    assert "-1" not in " ".join(names["labels"]).split()
    bench.run("clustering_report", "dense")
    label = names["labels"][0].split(" ", 1)[1]
    assert names["review"][0] == f"0 {label}"
    assert names["review"][-1] == "remainder"
    told = metadata(bench.run("saved_clustering", "dense"), "saved_clustering")["tags"]
    assert "remainder" in names["tags"]
    assert all(f"| {escaped(name)} |" in told for name in names["tags"])
    by_tags = {"cluster_by_tags": {"tags": ["Fleurs à pétales", "drapeau"]}}
    bench.run("clustering", "tags", method=by_tags)
    number, name = names["clustering"][0].split(" ", 1)
    assert number == "0"
    assert name in by_tags["cluster_by_tags"]["tags"]


def stored_bytes(result, asset):
    [event] = result.asset_materializations_for_node(asset)
    return len(serialize_value(event))


def test_whatever_is_known_of_a_run_leads_to_its_page(divided):
    """D45: its pages are one click away from every materialization of the run, and hold whatever
    the project's folder is called."""
    found = [
        ("clustering", divided.run("clustering", "greek")),
        ("cluster_labels", divided.run("cluster_labels", "greek")),
        ("saved_clustering", divided.run("saved_clustering", "greek")),
    ]
    assert {metadata(done, asset)["report"] for asset, done in found} == {f"{LIVE}/runs/greek"}
    assert metadata(found[2][1], "saved_clustering")["contact_sheet"].startswith("![")
    nested = metadata(divided.run("nested_clustering", "greek/3"), "nested_clustering")
    assert nested["report"] == f"{LIVE}/clusters/greek/3"
    divided.run("clustering_report", "greek")
    assert (folder_of(divided) / page_of("greek/3")).is_file()


def test_a_report_is_whole_again_after_the_folder_of_reports_was_deleted(divided):
    divided.make("clustering_report", "greek")
    shutil.rmtree(divided.project.reports)
    divided.make("clustering_report", "greek")
    page = Page(folder_of(divided) / "index.html")
    files = [*page.all("link", "href"), *page.all("script", "src"), *page.all("img", "src")]
    linked = [folder_of(divided) / name for name in files if not name.startswith("data:")]
    assert linked
    assert all(file.is_file() for file in linked)


def test_a_report_links_to_the_comparison_once_there_is_one(divided):
    divided.make("clustering_report", "greek")
    address = "../../comparison/index.html"
    assert address not in Page(folder_of(divided) / "index.html").all("a", "href")
    divided.make("run_comparison", runs=["greek", "folders"])
    divided.make("clustering_report", "greek")
    assert address in Page(folder_of(divided) / "index.html").all("a", "href")


def test_a_file_that_was_renamed_changes_the_data_version(empty_bench, tmp_path):
    images = tmp_path / "images"
    shutil.copytree(SAMPLE / "animals" / "fish", images)
    bench = empty_bench(images)
    bench.make("images")
    bench.make("embeddings", "mini")
    bench.make("clustering", "greek", method={"kmeans": {"nb_clusters": 2}})
    first = bench.run("clustering_report", "greek")
    before = sorted(images.glob("*.jpg"))[0]
    before.rename(before.with_name("renamed.jpg"))
    bench.make("images")
    other = bench.run("clustering_report", "greek")
    assert data_version(first, "clustering_report") != data_version(other, "clustering_report")

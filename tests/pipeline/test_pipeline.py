"""The whole chain on the sample, through Dagster, on an ephemeral instance."""

import hashlib
from pathlib import Path

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import normalized_mutual_info_score

from panoptic_assets.spec.records import digest
from resources.lance import LanceStore
from resources.schemas import SCHEMAS
from tests.workbench import data_version, metadata

TWO = {"kmeans": {"nb_clusters": 2}}


def sample_labels(bench):
    """Image id to folder, the six folders of monuments as one: 19 classes."""
    labels = {}
    for row in bench.read.files().to_pylist():
        folder = row["path"].rpartition("/")[0]
        labels[row["image_id"]] = "monuments" if folder.startswith("monuments/") else folder
    return labels


def tables_of(bench):
    """Every table's rows, as text that can be compared."""
    return {
        name: sorted(map(str, bench.store.read(name).to_pylist())) for name in bench.store.tables()
    }


def test_nineteen_clusters_agree_with_the_folders(bench):
    """D14, D16: CLIP-like vectors, k-means; 19 classes, NMI .70 or more."""
    labels = sample_labels(bench)
    assert len(set(labels.values())) == 19
    bench.run("clustering", "folders", method={"kmeans": {"nb_clusters": 19}})
    rows = bench.read.assignments("folders")
    truth = [labels[image_id] for image_id in rows["image_id"].to_pylist()]
    assert normalized_mutual_info_score(truth, rows["cluster"].to_pylist()) >= 0.70


def test_one_materialization_without_configuration_gives_ten_scored_clusters(bench):
    """A5, A6, A12: one action, ten groups, each with a score."""
    given = metadata(bench.run("clustering", "greek"), "clustering")
    clusters = bench.read.clusters("greek").to_pylist()
    assert given["nb_clusters"] == len(clusters) == 10
    assert given["nb_images"] == sum(cluster["size"] for cluster in clusters) == 253
    assert [cluster["score"] for cluster in clusters] == sorted(c["score"] for c in clusters)
    assert given["mean_score"] < given["baseline_score"]


def test_scores_in_the_store_follow_the_formula(bench):
    bench.run("clustering", "greek")
    vectors = np.array(bench.read.vectors("mini")["vector"].to_pylist())
    labels = np.array(bench.read.assignments("greek")["cluster"].to_pylist())
    for cluster in bench.read.clusters("greek").to_pylist():
        mine = vectors[labels == cluster["cluster"]]
        expected = 100 * ((mine - mine.mean(axis=0)) ** 2).sum(axis=1).mean()
        assert cluster["score"] == pytest.approx(expected, abs=1e-3)


def test_the_record_holds_what_a_run_must_prove(bench):
    """D47, D48: the configuration behind a set of clusters is kept and can be read by its key."""
    bench.run("clustering", "greek", seed=3)
    info = bench.read.run_info("greek")
    assert info["config"]["method"]["kmeans"] == {
        "nb_clusters": 10,
        "n_init": 10,
        "init": "k-means++",
        "max_iter": 300,
        "tol": 1e-4,
    }
    assert (info["config"]["seed"], info["config"]["features"]) == (3, "mini")
    assert info["counts"] == {"in_scope": 253, "clustered": 253, "remainder": 0, "not_embedded": 0}
    assert info["inputs"][0]["table"] == "vectors.mini"
    assert {"numpy", "scikit-learn", "lancedb"} <= info["libraries"].keys()
    pairs = bench.read.assignments("greek").select(["image_id", "cluster"]).to_pylist()
    lines = "".join(f"{pair['image_id']}\t{pair['cluster']}\n" for pair in pairs)
    assert info["output"] == hashlib.sha256(lines.encode()).hexdigest()


def test_the_vectors_that_a_record_names_can_be_read_again(bench):
    bench.run("clustering", "greek")
    inputs = bench.read.run_info("greek")["inputs"]
    assert [source["table"] for source in inputs] == ["vectors.mini", "files"]
    for source in inputs:
        assert bench.store.read(source["table"], version=source["version"]).num_rows == 253


def test_a_refresh_meanwhile_does_not_part_the_images_from_the_version_they_are_of(
    bench, monkeypatch
):
    """What the record says was read at a version can be read there, though files have gone."""
    read = LanceStore.read

    def and_then_a_file_goes_missing(store, table, *arguments, **options):
        rows = read(store, table, *arguments, **options)
        if table == "files":
            present = read(store, table, where="status = 'present'")
            gone = present.slice(0, 1).to_pylist()[0] | {"status": "missing"}
            store.upsert(table, pa.Table.from_pylist([gone], SCHEMAS["files"]))
        return rows

    for asset, key in (("clustering", "greek"), ("nested_clustering", "greek/9")):
        with monkeypatch.context() as patched:
            patched.setattr(LanceStore, "read", and_then_a_file_goes_missing)
            bench.run(asset, key, method=TWO if "/" in key else {"kmeans": {}})
        info = bench.read.run_info(key)
        [files] = [source for source in info["inputs"] if source["table"] == "files"]
        present = bench.store.read(
            "files", ["image_id"], "status = 'present'", version=files["version"]
        )
        ids = set(present["image_id"].to_pylist())
        if "/" in key:
            above = bench.read.assignments("greek").to_pylist()
            ids &= {row["image_id"] for row in above if row["cluster"] == "9"}
        assert files["sha256"] == digest(sorted(ids))


def test_what_a_materialization_shows_is_cut_and_says_by_how_much(bench):
    result = bench.run("clustering", "many", method={"kmeans": {"nb_clusters": 70, "n_init": 1}})
    assert metadata(result, "clustering")["clusters"].endswith("… and 30 more")
    result = bench.run("saved_clustering", "many")
    assert metadata(result, "saved_clustering")["tags"].endswith("… and 10 more")


def test_clusters_are_divided_again_to_any_depth_and_saved_as_nested_tags(bench):
    """A17, A19, A20, A23, A24, A25, C6, C8, C9, C13: cut, cut again, save."""
    bench.run("clustering", "greek")
    bench.run("nested_clustering", "greek/9", method=TWO)
    bench.run("nested_clustering", "greek/9/1", method=TWO)
    bench.run("nested_clustering", "greek/9/1/0", method=TWO)
    bench.run("saved_clustering", "greek")
    bench.run("tags")
    tags = {tag["path"]: tag for tag in bench.read.tags("Clustering")}
    assert len(tags) == 10 + 2 + 2 + 2
    assert {"9", "9 > 0", "9 > 1", "9 > 1 > 0 > 0", "9 > 1 > 0 > 1", "9 > 1 > 1"} <= tags.keys()
    assert tags["9 > 1"]["parent_id"] == tags["9"]["tag_id"]
    assert tags["9"]["nb_images"] == tags["9 > 0"]["nb_images"] + tags["9 > 1"]["nb_images"]
    assert tags["9"]["image_ids"] == []
    places = bench.read.places("greek").to_pylist()
    carried = bench.read.image_tags("Clustering").to_pylist()
    nodes = {tag["tag_id"]: tag["node"] for tag in tags.values()}
    assert {row["image_id"]: nodes[row["tag_id"]] for row in carried} == {
        row["image_id"]: row["node"] for row in places
    }
    assert len(carried) == len(places) == 253


def test_a_run_is_no_tag_until_it_is_saved(bench):
    """A21: exploration is not saved."""
    bench.run("clustering", "greek")
    bench.run("tags")
    assert bench.read.tags() == []


def test_other_parameters_under_a_known_key_are_refused(bench):
    bench.run("clustering", "greek")
    before = tables_of(bench)
    message = bench.refused("clustering", "greek", method={"kmeans": {"nb_clusters": 12}})
    assert "method.kmeans.nb_clusters: 10 is recorded, 12 is asked for" in message
    assert tables_of(bench) == before


def test_replacing_makes_what_lies_below_stale_and_keeps_the_old_record(bench):
    """DESIGN 5: stale clusterings stay readable, and are left out of saves."""
    bench.run("clustering", "greek")
    bench.run("nested_clustering", "greek/9", method=TWO)
    bench.run("nested_clustering", "greek/9/0", method=TWO)
    bench.run("clustering", "greek", method={"kmeans": {"nb_clusters": 12}}, replace=True)
    status = {run["key"]: run["status"] for run in bench.read.runs()}
    assert status == {"greek": "current", "greek/9": "stale", "greek/9/0": "stale"}
    assert bench.read.clusters("greek").num_rows == 12
    assert bench.read.clusters("greek/9").num_rows == 2
    saved = metadata(bench.run("saved_clustering", "greek"), "saved_clustering")
    assert saved["nb_tags"] == 12
    assert saved["left_out_as_stale"] == "greek/9, greek/9/0"
    assert bench.store.count("records", "key = 'greek'") == 2
    assert bench.read.run_info("greek")["revision"] == 2
    assert "is stale" in bench.refused("nested_clustering", "greek/9/0")


def test_a_stale_clustering_is_made_again_on_the_new_cluster(bench):
    bench.run("clustering", "greek")
    bench.run("nested_clustering", "greek/9", method=TWO)
    bench.run("clustering", "greek", method={"kmeans": {"nb_clusters": 12}}, replace=True)
    bench.run("nested_clustering", "greek/9", method={"kmeans": {"nb_clusters": 3}})
    assert {run["key"]: run["status"] for run in bench.read.runs()}["greek/9"] == "current"
    assert bench.read.clusters("greek/9").num_rows == 3


def test_a_stale_clustering_that_is_made_again_keeps_its_recorded_parameters(bench):
    bench.run("clustering", "greek")
    bench.run("nested_clustering", "greek/9", method=TWO)
    bench.run("clustering", "greek", method={"kmeans": {"nb_clusters": 12}}, replace=True)
    bench.run("nested_clustering", "greek/9")
    assert bench.read.clusters("greek/9").num_rows == 2


def test_tags_can_be_read_between_the_commits_of_their_two_tables(bench):
    bench.run("clustering", "greek")
    bench.run("saved_clustering", "greek")
    bench.run("tags")
    bench.store.replace("tags", bench.store.read("tags").slice(0, 3), "true")
    assert len(bench.read.tags("Clustering")) == 3
    assert bench.read.image_tags().num_rows < 253


def test_running_everything_again_changes_nothing(bench):
    bench.run("images")
    bench.run("embeddings", "mini")
    chain = [
        ("clustering", "greek", {}),
        ("nested_clustering", "greek/9", {"method": TWO}),
        ("saved_clustering", "greek", {}),
        ("tags", None, {}),
    ]
    first = [data_version(bench.run(a, p, **c), a) for a, p, c in chain]
    before = {name: bench.store.version(name) for name in bench.store.tables()}
    bench.run("images")
    bench.run("embeddings", "mini")
    again = [data_version(bench.run(a, p, **c), a) for a, p, c in chain]
    assert first == again
    assert before == {name: bench.store.version(name) for name in bench.store.tables()}


def test_a_key_without_configuration_keeps_its_recorded_parameters(bench):
    """DESIGN 4: Materialize, pressed on an old partition, does not fall back to the defaults."""
    bench.run("clustering", "greek", method={"kmeans": {"nb_clusters": 5}}, seed=9)
    bench.run("clustering", "greek")
    info = bench.read.run_info("greek")
    assert info["config"]["method"]["kmeans"]["nb_clusters"] == 5
    assert (info["config"]["seed"], info["revision"]) == (9, 1)


def test_a_registry_file_configures_its_key(bench):
    file = bench.project.configs / "runs" / "mine.yaml"
    file.write_text("ops: {clustering: {config: {method: {kmeans: {nb_clusters: 4}}}}}")
    bench.run("clustering", "mine")
    assert bench.read.clusters("mine").num_rows == 4
    for broken in (
        "method: {kmeans: {nb_clusters: 4}}",
        "ops: 3",
        "ops: {clustering: {config: 3}}",
        "{ops: {clustering: {config: {}}}, resources: {}}",
        "ops: {clustering: {config: {}, inputs: {}}}",
        "ops: {clustering: {config: {}}, tags: {}}",
        "1: 2",
    ):
        file.write_text(broken)
        assert "configs/runs/mine.yaml must hold" in bench.refused("clustering", "mine")


def test_saving_under_a_taken_name_is_refused_and_a_free_one_named(bench):
    """K9: never silent."""
    bench.run("clustering", "greek")
    bench.run("clustering", "roman", method={"kmeans": {"nb_clusters": 3}})
    bench.run("saved_clustering", "greek")
    before = tables_of(bench)
    message = bench.refused("saved_clustering", "roman")
    assert "already holds other tags, saved from run 'greek'" in message
    assert "'Clustering (2)'" in message
    assert tables_of(bench) == before
    bench.run("saved_clustering", "roman", property="Époque", author="Zoé", reason="essai")
    bench.run("saved_clustering", "roman", replace=True)
    bench.run("tags")
    assert {tag["property"] for tag in bench.read.tags()} == {"Clustering", "Époque"}
    assert len(bench.read.tags("Clustering")) == 3
    log = bench.store.read("tag_log").sort_by("event_id").to_pylist()
    assert [event["kind"] for event in log] == ["save"] * 3
    assert (log[1]["author"], log[1]["reason"]) == ("Zoé", "essai")


@pytest.mark.parametrize("name", ["two\nlines", "nul\x00", "x" * 201])
def test_a_property_has_a_name_of_one_line(bench, name):
    bench.run("clustering", "greek")
    before = tables_of(bench)
    assert "property:" in bench.refused("saved_clustering", "greek", property=name)
    assert tables_of(bench) == before


def test_the_tag_tables_are_the_replay_of_the_log(bench):
    bench.run("clustering", "greek")
    bench.run("saved_clustering", "greek")
    bench.run("tags")
    before = tables_of(bench)
    bench.store.replace("image_tags", bench.store.read("image_tags").slice(0, 5), "true")
    bench.run("tags")
    assert tables_of(bench) == before


@pytest.mark.parametrize("key", ["", "../x", "a b", "a//b", "a" * 300, "a/0", "é"])
def test_a_bad_run_key_is_refused_by_the_asset(bench, key):
    before = tables_of(bench)
    assert "run key" in bench.refused("clustering", key)
    assert tables_of(bench) == before


def test_an_unknown_node_lists_those_that_exist(bench):
    bench.run("clustering", "greek", method={"kmeans": {"nb_clusters": 3}})
    message = bench.refused("nested_clustering", "greek/7", method=TWO)
    assert "There is no node 'greek/7'. Existing ones: greek/0, greek/1, greek/2." in message
    assert "there is no run 'roman'" in bench.refused("nested_clustering", "roman/0")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"method": {"kmeans": {"nb_clusters": 1000}}}, "at most 253"),
        ({"method": {"kmeans": {"nb_clusters": 0}}}, "-1, an automatic number (given: 0)"),
        ({"method": {"kmeans": {"nb_clusters": -2}}}, "-1, an automatic number (given: -2)"),
        ({"features": "clip"}, "has a vector of type 'clip'"),
        ({"features": "../clip"}, "vector type"),
        ({"scope": {"files": {"pattern": "nothing/*"}}}, "No file matches 'nothing/*'"),
    ],
)
def test_a_request_that_cannot_be_met_is_refused_before_any_work(bench, config, message):
    before = tables_of(bench)
    assert message in bench.refused("clustering", "greek", **config)
    assert tables_of(bench) == before


def test_a_scope_of_files_clusters_only_those(bench):
    """E7: the whole dataset, or a part of it."""
    pattern = {"files": {"pattern": "tools/*"}}
    bench.run("clustering", "tools", scope=pattern, method={"kmeans": {"nb_clusters": 3}})
    labels = sample_labels(bench)
    ids = bench.read.assignments("tools")["image_id"].to_pylist()
    assert {labels[image_id].split("/")[0] for image_id in ids} == {"tools"}
    assert len(ids) == sum(label.startswith("tools/") for label in labels.values())


def test_clustering_without_embeddings_says_what_to_do(empty_bench):
    """A1: clustering needs embeddings."""
    bench = empty_bench()
    assert "materialize `images`" in bench.refused("clustering", "greek")
    (Path(bench.project.images) / "a.jpg").write_bytes(next(iter_images()).read_bytes())
    bench.run("images")
    assert "materialize `embeddings` first" in bench.refused("clustering", "greek")


def iter_images():
    from tests.pictures import SAMPLE

    return iter(sorted(SAMPLE.rglob("*.jpg")))


def test_what_was_clustered_is_shown_with_every_materialization(bench):
    """D36, D45: the images of each cluster can be seen; DESIGN 11: under 50 kB."""
    result = bench.run("clustering", "greek")
    [event] = result.asset_materializations_for_node("clustering")
    assert "data:image/webp;base64," in event.metadata["contact_sheet"].value
    assert "| 0 |" in event.metadata["clusters"].value
    assert len(dg.serialize_value(event)) < 50_000
    run = bench.instance.get_run_by_id(result.run_id)
    assert run.tags["panoptic/method"] == "kmeans"
    assert run.tags["panoptic/features"] == "mini"

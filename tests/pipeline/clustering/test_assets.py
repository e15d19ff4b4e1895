"""Every method through Dagster: what it reads, what is recorded, what people are told."""

import numpy as np
import pytest
import yaml
from sklearn.metrics import adjusted_rand_score

from panoptic_assets.clustering.quality import quality
from panoptic_assets.clustering.readings import Readings
from panoptic_assets.corpus import table as image_tables
from panoptic_assets.features import table as vector_tables
from resources.registry import Registry
from tests.commands import refused, run
from tests.workbench import metadata

pytestmark = pytest.mark.usefixtures("one_mini")

CLASSES = 19
"""Leaf folders of the sample."""


def truth(bench):
    """The leaf folder of each image, by image id."""
    files = bench.read.files().to_pylist()
    return {file["image_id"]: file["path"].rpartition("/")[0] for file in files}


def record(bench, key):
    return bench.read.run_info(key)


def columns(bench, key, *names):
    rows = bench.read.assignments(key)
    return [rows[name].to_pylist() for name in names]


METHODS = {
    "automatic": {"kmeans": {"nb_clusters": -1}},
    "minibatch_kmeans": {"minibatch_kmeans": {"nb_clusters": CLASSES}},
    "birch": {"birch": {"nb_clusters": CLASSES}},
    "agglomerative": {"agglomerative": {"nb_clusters": CLASSES}},
    "hdbscan": {"hdbscan": {}},
    "find_duplicates": {"find_duplicates": {}},
    "cluster_by_tags": {"cluster_by_tags": {"tags": ["vehicle", "oiseau", "monuments > château"]}},
}


@pytest.mark.parametrize("key", METHODS)
def test_every_method_is_a_run_whose_record_says_all(bench, key):
    """E1, E4, A27, D24: every parameter with its default, versions, counts, measures, cost."""
    method = METHODS[key]
    result = bench.run("clustering", key, method=method)
    info = record(bench, key)
    [name] = method
    recorded = info["config"]["method"][name]
    assert recorded.items() >= method[name].items()
    counts = info["counts"]
    assert counts["clustered"] + counts["remainder"] == counts["in_scope"] == 253
    assert sum(bench.read.clusters(key)["size"].to_pylist()) == 253
    assert info["quality"]["measured_on"] == "mini"
    assert info["usage"]["cpu_seconds"] > 0
    assert info["usage"]["peak_memory"] > 2**20
    shown = metadata(result, "clustering")
    assert shown["remainder_ratio"] == counts["remainder"] / 253
    assert shown["mean_score"] == info["mean_score"]
    again = bench.run("clustering", key)
    assert record(bench, key)["revision"] == 1, "the same answer is not recorded again"
    assert metadata(again, "clustering")["nb_clusters"] == shown["nb_clusters"]


@pytest.mark.parametrize("key", METHODS)
def test_rows_in_another_order_give_the_same_answer(bench, key):
    """A4, K3: rows are read in the order of image id, whatever the order on disk."""
    bench.make("clustering", "one", method=METHODS[key])
    stored = bench.store.read("vectors.mini")
    order = np.random.default_rng(0).permutation(len(stored))
    schema = bench.store.schema_of("vectors.mini")
    described = {name.decode(): value.decode() for name, value in schema.metadata.items()}
    bench.store.overwrite("vectors.mini", stored.take(order), described)
    assert bench.store.read("vectors.mini")["image_id"] != stored["image_id"]
    bench.make("clustering", "two", method=METHODS[key])
    assert record(bench, "two")["output"] == record(bench, "one")["output"]


def test_an_automatic_number_leaves_a_remainder_and_finds_the_folders(bench):
    """A10, C4: -1 asks for an automatic number."""
    bench.make("neighbors", "mini")
    bench.make("clustering", "auto", method={"kmeans": {"nb_clusters": -1}})
    ids, clusters = columns(bench, "auto", "image_id", "cluster")
    folders = truth(bench)
    kept = [row for row, cluster in enumerate(clusters) if cluster != "remainder"]
    score = adjusted_rand_score(
        [folders[ids[row]] for row in kept], [clusters[row] for row in kept]
    )
    assert len(kept) > 100
    assert score > 0.4
    assert all("-1" not in cluster for cluster in clusters), "K1: never a bare -1"


def test_the_stored_neighbours_serve_as_those_that_are_computed(bench):
    """DESIGN 3: the graph is computed once and used by automatic clustering."""
    bench.make("clustering", "without", method={"kmeans": {"nb_clusters": -1}})
    bench.make("neighbors", "mini")
    bench.make("clustering", "with", method={"kmeans": {"nb_clusters": -1}})
    assert record(bench, "with")["output"] == record(bench, "without")["output"]


def test_neighbours_of_other_images_or_vectors_are_not_used(bench, monkeypatch):
    bench.make("neighbors", "mini")
    used = []
    monkeypatch.setattr(
        "panoptic_assets.clustering.readings.nearest_neighbors",
        lambda points, k: used.append(len(points)) or pytest.fail("stop here"),
    )
    scope = {"files": {"pattern": "animals/*"}}
    with pytest.raises(BaseException, match="stop here"):
        bench.run("clustering", "part", method={"kmeans": {"nb_clusters": -1}}, scope=scope)
    assert 0 < used[0] < 253


def test_the_threshold_of_duplicates_is_the_models_and_is_recorded(bench):
    """A31: it can be modified; what was not asked for is filled in."""
    bench.make("clustering", "d", method={"find_duplicates": {}})
    assert record(bench, "d")["config"]["method"]["find_duplicates"]["min_similarity"] == 0.9
    file = bench.project.configs / "models" / "mini.yaml"
    file.write_text(file.read_text() + "duplicate_similarity: 0.99\n")
    bench.make("clustering", "e", method={"find_duplicates": {}})
    assert record(bench, "e")["config"]["method"]["find_duplicates"]["min_similarity"] == 0.99
    assert record(bench, "e")["nb_clusters"] < record(bench, "d")["nb_clusters"]
    bench.make("clustering", "d")  # a record is not changed by a file that is
    assert record(bench, "d")["config"]["method"]["find_duplicates"]["min_similarity"] == 0.9


def test_images_are_attached_to_the_tags_of_a_property(bench):
    """A32, B32: a tag or multi-tag property, of the metadata or saved; tags carry accents."""
    lines = ["path;sujet[tag]"]
    for number, file in enumerate(bench.read.files()["path"].to_pylist()):
        lines.append(f"{file};{('animaux > oiseau', 'véhicule', 'monument')[number % 3]}")
    (bench.project.folder / "tags.csv").write_text("\n".join(lines), encoding="utf-8")
    settings = bench.project.settings_file
    settings.write_text(settings.read_text() + "metadata: tags.csv\n")
    bench.make("inventory")
    bench.make("clustering", "by-tags", method={"cluster_by_tags": {"property": "sujet"}})
    rows = bench.read.clusters("by-tags").to_pylist()
    assert {row["name"] for row in rows} <= {"animaux", "animaux > oiseau", "véhicule", "monument"}
    assert len(rows) > 1
    assert "remainder" not in {row["cluster"] for row in rows}, "K5: every image is attached"
    [similarities] = columns(bench, "by-tags", "similarity")
    assert all(-1 <= value <= 1 for value in similarities)
    message = bench.refused("clustering", "x", method={"cluster_by_tags": {"property": "sujets"}})
    assert "There is no property 'sujets' that has tags. Existing ones: sujet." in message


def test_saved_tags_can_be_attached_to_but_not_the_remainders(bench):
    bench.make("clustering", "dense", method={"hdbscan": {}})
    bench.make("saved_clustering", "dense")
    bench.make("tags")
    bench.make("clustering", "again", method={"cluster_by_tags": {"property": "Clustering"}})
    assert "remainder" not in bench.read.clusters("again")["name"].to_pylist()


def test_vectors_of_another_program_have_no_texts(bench):
    folder = bench.project.folder
    vectors = bench.read.vectors("mini")
    np.save(folder / "v.npy", np.stack(vectors["vector"].to_pylist()).astype(np.float32))
    (folder / "ids.txt").write_text("\n".join(vectors["image_id"].to_pylist()))
    run("import-vectors", "other", "v.npy", "--ids", "ids.txt", "--model", "theirs", cwd=folder)
    message = bench.refused(
        "clustering", "x", features="other", method={"cluster_by_tags": {"tags": ["a", "b"]}}
    )
    assert "text" in message
    message = bench.refused("clustering", "x", features="other", method={"find_duplicates": {}})
    assert "give one (`--min-similarity 0.95`)" in message
    found = {"find_duplicates": {"min_similarity": 0.9}}
    bench.make("clustering", "y", features="other", method=found)


def test_runs_are_combined_by_consensus(bench):
    """D58: synthesize the insights of several runs."""
    for seed in range(3):
        method = {"kmeans": {"nb_clusters": CLASSES, "n_init": 1}}
        bench.make("clustering", f"k{seed}", method=method, seed=seed)
    method = {"consensus": {"runs": ["k0", "k1", "k2"], "min_agreement": 1.0}}
    bench.make("clustering", "all", method=method)
    ids, clusters = columns(bench, "all", "image_id", "cluster")
    each = [
        dict(zip(*columns(bench, f"k{seed}", "image_id", "cluster"), strict=True))
        for seed in range(3)
    ]
    for run_of in each:
        for cluster in set(clusters) - {"remainder"}:
            together = {
                run_of[image] for image, c in zip(ids, clusters, strict=True) if c == cluster
            }
            assert len(together) == 1, "every two images are together in all runs"
    inputs = [entry for entry in record(bench, "all")["inputs"] if entry["table"] == "assignments"]
    assert {entry["sha256"] for entry in inputs} == {
        record(bench, f"k{seed}")["output"] for seed in range(3)
    }
    message = bench.refused("clustering", "x", method={"consensus": {"runs": ["k0", "k9"]}})
    assert "There is no clustering 'k9'" in message
    message = bench.refused(
        "clustering", "k0", method={"consensus": {"runs": ["k0", "k1"]}}, replace=True
    )
    assert "k0 cannot combine k0, which is of the same run" in message


def test_the_remainder_gets_its_nearest_clusters_in_a_column_of_its_own(bench):
    """Users: far too much noise; may I assign it (opt-in, keeping the raw answer)."""
    bench.make("clustering", "raw", method={"hdbscan": {}})
    bench.make("clustering", "dense", method={"hdbscan": {}}, assign_remainder=True)
    clusters, assigned = columns(bench, "dense", "cluster", "assigned")
    assert clusters == columns(bench, "raw", "cluster")[0]
    assert "remainder" in clusters
    assert "remainder" not in assigned
    assert all(a == c for a, c in zip(assigned, clusters, strict=True) if c != "remainder")
    assert columns(bench, "raw", "assigned") == [[None] * 253]


def test_stability_tells_which_clusters_come_again(bench):
    """Issue: mean Jaccard of each cluster under subsamples of 80 %."""
    method = {"kmeans": {"nb_clusters": CLASSES}}
    bench.make("clustering", "k", method=method, stability=5)
    values = bench.read.clusters("k")["stability"].to_pylist()
    assert all(0 <= value <= 1 for value in values)
    assert len(set(values)) > 1
    assert min(values) <= record(bench, "k")["stability"] <= max(values)


def test_the_measures_of_a_run_are_those_of_its_vectors(bench):
    bench.make("projection", "mini/pca")
    bench.make("clustering", "p", features="mini/pca")
    read = vector_tables.read_vectors(bench.store, "mini", image_tables.present_files(bench.store))
    [clusters] = columns(bench, "p", "cluster")
    expected = quality(read.vectors, np.array(list(map(int, clusters))), 0)
    recorded = record(bench, "p")["quality"]
    assert recorded["silhouette"] == expected.silhouette
    assert recorded["davies_bouldin"] == expected.davies_bouldin
    assert recorded["measured_on"] == "mini"


def test_exemplars_are_the_nearest_the_farthest_or_drawn(bench):
    """D36, D45: look at the images of each cluster."""
    bench.make("clustering", "k")
    all_of = bench.read.exemplars("k/0")
    assert all_of["distance"].to_pylist() == sorted(all_of["distance"].to_pylist())
    assert all_of.num_rows == bench.read.clusters("k")["size"][0].as_py()
    far = bench.read.exemplars("k/0", "farthest", 3)["image_id"].to_pylist()
    assert far == all_of["image_id"].to_pylist()[::-1][:3]
    drawn = [
        bench.read.exemplars("k/0", "random", 4, seed)["image_id"].to_pylist() for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    assert set(drawn[0]) <= set(all_of["image_id"].to_pylist())


def test_twenty_clusters_by_kmeans_on_points_of_umap(bench):
    """D33, D41: the tutorial's example, with the warning that a projection distorts."""
    bench.make("neighbors", "mini")
    bench.make("projection", "mini/umap")
    method = {"kmeans": {"nb_clusters": 20}}
    result = bench.run("clustering", "u", method=method, features="mini/umap")
    assert metadata(result, "clustering")["nb_clusters"] == 20
    assert "Distances between the points of a projection are distorted" in str(
        metadata(result, "clustering")["notes"]
    )


def test_hdbscan_with_sizes_from_10_to_300(bench):
    """D44: between 10 and 300 elements."""
    method = {"hdbscan": {"min_cluster_size": 10, "max_cluster_size": 300}}
    bench.make("clustering", "h", method=method)
    rows = [row for row in bench.read.clusters("h").to_pylist() if row["cluster"] != "remainder"]
    assert rows
    assert all(10 <= row["size"] <= 300 for row in rows)


def test_the_story_of_the_method_page(bench):
    """C1-C13: cluster with -1, divide a wide cluster with -1 and another by 2, meet a remainder
    that stays whole, force it, save.
    """
    automatic = {"kmeans": {"nb_clusters": -1}}
    bench.make("neighbors", "mini")
    bench.make("projection", "mini/pca")  # C2: an overview first
    bench.make("clustering", "story", method=automatic)  # C3, C4
    rows = bench.read.clusters("story").to_pylist()
    clusters = [row for row in rows if row["cluster"] != "remainder"]
    scores = [row["score"] for row in rows]
    assert scores == sorted(scores)  # C5
    assert len(clusters) >= 3
    wide, other = clusters[-1]["node"], clusters[-2]["node"]
    bench.make("nested_clustering", wide, method=automatic)  # C6, C7
    bench.make("nested_clustering", other, method={"kmeans": {"nb_clusters": 2}})  # C8
    assert record(bench, other)["nb_clusters"] == 2
    assert rows[-1]["node"] == "story/remainder"
    assert rows[-1]["score"] == 1000  # C10
    # C11: a group that an automatic number cannot cut stays whole, and that is said.
    tight = min(clusters, key=lambda row: row["size"])["node"]
    bench.make("nested_clustering", tight, method=automatic)
    while record(bench, tight)["nb_clusters"] > 1:
        tight = bench.read.clusters(tight).to_pylist()[0]["node"]
        bench.make("nested_clustering", tight, method=automatic)
    assert any("`nb_clusters: 2`" in note for note in record(bench, tight)["notes"])  # C12
    bench.make("nested_clustering", tight, method={"kmeans": {"nb_clusters": 2}}, replace=True)
    assert record(bench, tight)["nb_clusters"] == 2
    bench.make("nested_clustering", "story/remainder", method={"kmeans": {"nb_clusters": 2}})
    assert record(bench, "story/remainder")["nb_clusters"] == 2
    bench.make("saved_clustering", "story")  # C13
    bench.make("tags")
    paths = {tag["path"] for tag in bench.read.tags("Clustering")}
    assert {"remainder > 0", "remainder > 1"} <= paths


def test_the_methods_are_described_with_their_parameters(bench):
    """A9, D31, E5."""
    answer = run("methods", cwd=bench.project.folder).stdout
    assert "agglomerative: Joins the two closest clusters" in answer
    assert "  min_cluster_size (5): Images that a cluster has at least." in answer
    assert "There is no method 'dbscan'" in refused("methods", "dbscan", cwd=bench.project.folder)


def test_a_sweep_computes_its_grid_and_a_failed_run_does_not_stop_it(bench):
    """D42, D61, D11: one command for a grid; what is current is not computed again."""
    folder = bench.project.folder
    asked = ["sweep", "k", "--method", "kmeans", "--grid", "nb_clusters=5,10,300", "--seed", "0"]
    answer = run(*asked, "--seed", "1", "--stability", "2", cwd=folder, expect=2)
    assert "there are only 253 images to divide: ask for at most 253" in answer.stdout
    assert "2 of 6 runs failed" in answer.stderr
    assert "Best nb_clusters: " in answer.stdout
    table = bench.read.sweep("k")
    assert [found["status"] for found in table] == ["done"] * 4 + ["not run"] * 2
    assert [found["clusters"] for found in table] == [5, 5, 10, 10, None, None]
    assert all(0 <= found["stability"] <= 1 for found in table[:4])
    assert {run["key"] for run in bench.read.runs()} >= {"k_s0_k5", "k_s1_k10"}
    # As a file, which can be run again, shared and extended.
    file = bench.project.configs / "sweeps" / "k.yaml"
    sweep = yaml.safe_load(file.read_text())
    assert sweep["methods"] == [{"kmeans": {"nb_clusters": [5, 10, 300]}}]
    sweep["methods"][0]["kmeans"]["nb_clusters"] = [5, 10, 15]
    file.write_text(yaml.safe_dump(sweep))
    again = run("sweep", "k", cwd=folder)
    assert "k_s0_k15" in again.stderr
    assert "k_s0_k5" not in again.stderr, "what is current is not computed again"
    shown = run("sweep", "k", "--show", cwd=folder)
    assert "✓" not in shown.stderr
    assert "k_s1_k15" in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "There is no sweep 'nothing': write configs/sweeps/nothing.yaml"),
        (["x", "--grid", "nb_clusters=2,3"], "needs --method"),
        (["x", "--method", "kmeans", "--grid", "nb_clusters"], "is not a parameter with its"),
        (["x", "--method", "kmeans", "--grid", "n=["], "has a value that cannot be read"),
        (["../x"], "is not a run key"),
    ],
)
def test_a_sweep_that_cannot_be_made_is_refused_on_one_line(bench, arguments, message):
    assert message in refused("sweep", *arguments, cwd=bench.project.folder)
    assert not (bench.project.configs / "sweeps" / "x.yaml").exists()


def test_members_are_listed_with_their_files(bench):
    bench.make("clustering", "h", method={"hdbscan": {}})
    answer = run("members", "h/0", "--which", "farthest", "--number", "2", cwd=bench.project.folder)
    lines = answer.stdout.splitlines()
    assert len(lines) == 2
    assert all(".jpg" in line and "  p " in line for line in lines)
    assert "There is no node 'h/99'" in refused("members", "h/99", cwd=bench.project.folder)


def test_readings_of_a_projection_have_neither_neighbours_nor_texts_of_the_vectors(bench):
    bench.make("projection", "mini/pca")
    features = vector_tables.read_features(
        bench.store, "mini/pca", image_tables.present_files(bench.store)
    )
    from panoptic_assets.clustering.config import ClusteringConfig
    from panoptic_assets.spec.resolution import parse

    config = parse(
        ClusteringConfig,
        {"features": "mini/pca", "method": {"cluster_by_tags": {"tags": ["a", "b"]}}},
    )
    registry = Registry(folder=str(bench.project.folder))
    models = bench.definitions.resources["models"]
    data = Readings("x", bench.store, models, registry, features, config, print).data()
    assert not data.unit
    assert data.neighbors is None
    assert data.encode_texts is None

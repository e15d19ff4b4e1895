"""Neighbours and projections, through Dagster: what is stored, kept, refused and reused."""

import base64
import io
import shutil
import subprocess
import sys

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from panoptic_assets.corpus import table as image_tables
from panoptic_assets.features import embedding, neighbor_graph, projecting
from panoptic_assets.features import table as vector_tables
from panoptic_assets.features.neighbors import nearest_neighbors
from panoptic_assets.spec.records import vectors_hash
from resources.errors import InputError
from resources.registry import Registry
from tests.workbench import bench_of, data_version, metadata

PCA = {"pca": {}}


def vectors_of(bench, vector_type="mini"):
    return vector_tables.read_vectors(
        bench.store, vector_type, image_tables.present_files(bench.store)
    )


def versions(bench):
    return {name: bench.store.version(name) for name in bench.store.tables()}


def planted(bench, ids, vectors, vector_type="planted"):
    """A vector type with vectors of our own; its table is made like that of another one."""
    schema = bench.store.schema_of("vectors.mini")
    field = pa.field("vector", pa.list_(pa.float32(), vectors.shape[1]), nullable=False)
    rows = pa.table(
        {"image_id": list(ids), "vector": pa.array(list(vectors), field.type)},
        schema=pa.schema([schema.field("image_id"), field]),
    )
    bench.store.overwrite(f"vectors.{vector_type}", rows, {"panoptic:model": "{}"})


@pytest.fixture(scope="module")
def neighbors_folder(embedded_folder, once):
    """The sample's project with its neighbours."""

    def write(folder):
        shutil.copytree(embedded_folder, folder, dirs_exist_ok=True)
        bench_of(folder).make("neighbors", "mini")

    return once("neighbors", write)


@pytest.fixture
def corpus(neighbors_folder, tmp_path):
    """A copy of it, to do with as a test likes."""
    return bench_of(shutil.copytree(neighbors_folder, tmp_path / "sample_project"))


def test_every_image_has_its_nearest_others_by_name(corpus):
    """DESIGN 3: the graph is computed once; the API gives ids."""
    read = vectors_of(corpus)
    graph = nearest_neighbors(read.vectors, 50)
    stored = corpus.read.neighbors("mini")
    assert stored["image_id"].to_pylist() == read.image_ids
    for row in (0, 100, 252):
        names = [read.image_ids[other] for other in graph.indices[row]]
        assert stored["neighbors"][row].as_py() == names
        assert stored["similarities"][row].as_py() == graph.similarities[row].tolist()


def test_unchanged_vectors_make_no_commit_and_no_new_data_version(corpus):
    before = versions(corpus)
    again = corpus.run("neighbors", "mini")
    assert metadata(again, "neighbors")["nb_compared_now"] == 0
    assert data_version(again, "neighbors") == data_version(
        corpus.run("neighbors", "mini"), "neighbors"
    )
    assert versions(corpus) == before


def test_the_number_of_neighbours_is_kept_until_another_one_is_given(bench):
    bench.make("neighbors", "mini", k=20)
    assert metadata(bench.run("neighbors", "mini"), "neighbors")["nb_neighbors"] == 20
    assert metadata(bench.run("neighbors", "mini", k=30), "neighbors")["nb_neighbors"] == 30


def test_images_that_come_go_or_change_leave_the_graph_that_a_full_run_gives(corpus):
    """An update compares few images with all, and its table equals one made from nothing."""
    files = sorted(corpus.read.files().to_pylist(), key=lambda row: row["path"])
    gone = {row["image_id"] for row in files[:3]}
    read = vectors_of(corpus)
    changed = read.vectors.copy()
    changed[7] = changed[8]
    planted(corpus, read.image_ids[:240], read.vectors[:240])
    corpus.make("neighbors", "planted", k=5)
    planted(corpus, read.image_ids, changed)
    for row in files[:3]:
        row["status"] = "missing"
    schema = corpus.store.schema_of("files")
    corpus.store.upsert("files", pa.Table.from_pylist(files[:3], schema=schema))
    shown = metadata(corpus.run("neighbors", "planted"), "neighbors")
    assert 0 < shown["nb_compared_now"] < shown["nb_images"] == 253 - len(gone)
    updated = vector_tables.read_graph(corpus.store, "planted")
    now = vectors_of(corpus, "planted")
    full = nearest_neighbors(now.vectors, 5)
    assert updated.image_ids == now.image_ids
    assert not gone & set(updated.image_ids)
    assert np.array_equal(updated.graph.indices, full.indices)
    assert np.array_equal(updated.graph.similarities, full.similarities)


def test_a_graph_of_many_images_comes_from_the_index_with_its_recall(corpus):
    shown = metadata(corpus.run("neighbors", "mini", k=20, exact_up_to=100), "neighbors")
    assert shown["method"] == "index"
    found = vector_tables.read_graph(corpus.store, "mini")
    exact = nearest_neighbors(vectors_of(corpus).vectors, 20)
    shares = [
        len(set(mine) & set(theirs)) / 20
        for mine, theirs in zip(found.graph.indices, exact.indices, strict=True)
    ]
    assert shown["recall"] == pytest.approx(np.mean(shares))
    assert shown["recall"] > 0.95
    assert metadata(corpus.run("neighbors", "mini", exact_up_to=100), "neighbors") == shown
    assert metadata(corpus.run("neighbors", "mini"), "neighbors")["method"] == "exact"


def test_images_that_are_gone_are_not_found_by_the_index(corpus):
    """Their vectors are still indexed; who loses all candidates to them is compared with all."""
    read = vectors_of(corpus)
    files = corpus.read.files().to_pylist()
    kept = set(read.image_ids[::12])
    rows = [row | {"status": "missing"} for row in files if row["image_id"] not in kept]
    schema = corpus.store.schema_of("files")
    corpus.store.upsert("files", pa.Table.from_pylist(rows, schema=schema))
    shown = metadata(corpus.run("neighbors", "mini", k=10, exact_up_to=0), "neighbors")
    assert (shown["method"], shown["recall"], shown["nb_images"]) == ("index", 1.0, len(kept))
    graph = vector_tables.read_graph(corpus.store, "mini").graph
    assert np.array_equal(graph.indices, nearest_neighbors(vectors_of(corpus).vectors, 10).indices)


@pytest.mark.parametrize("nb_images", [0, 1, 2, 3])
def test_a_few_images_or_none_have_a_graph(corpus, nb_images):
    read = vectors_of(corpus)
    planted(corpus, read.image_ids, read.vectors)
    corpus.run("neighbors", "planted")
    planted(corpus, read.image_ids[:nb_images], read.vectors[:nb_images])
    shown = metadata(corpus.run("neighbors", "planted"), "neighbors")
    assert shown["nb_images"] == nb_images
    assert shown["nb_neighbors"] == max(0, nb_images - 1)
    assert corpus.read.neighbors("planted").num_rows == nb_images
    corpus.run("neighbors", "planted")


def test_neighbours_of_what_was_not_embedded_are_refused(bench):
    before = versions(bench)
    assert "materialize `embeddings` first" in bench.refused("neighbors", "clip")
    assert "is not a vector type" in bench.refused("neighbors", "../clip")
    assert "k: input should be" in bench.refused("neighbors", "mini", k=0)
    assert versions(bench) == before


@pytest.mark.parametrize("method", ["pca", "umap", "tsne"])
def test_every_method_gives_each_image_a_stored_point(corpus, method):
    """C2, D22, D23, D27, D28: methods by name, one point per image, kept with the data."""
    key = f"mini/{method}"
    shown = metadata(corpus.run("projection", key), "projection")
    points = corpus.read.points(key)
    coordinates = np.array(points["point"].to_pylist())
    assert points["image_id"].to_pylist() == vectors_of(corpus).image_ids
    assert coordinates.shape == (253, 2)
    assert np.isfinite(coordinates).all()
    assert (shown["nb_images"], shown["nb_dimensions"], shown["method"]) == (253, 2, method)
    assert 0.8 < shown["trustworthiness"] <= 1
    assert ("explained_variance" in shown) == (method == "pca")


def test_a_projection_of_another_process_has_the_same_points(corpus, tmp_path):
    """DESIGN 7: bit for bit, with the stored record and another number of threads."""
    hashes = {}
    for name in ("pca", "umap", "tsne"):
        corpus.make("projection", f"mini/{name}")
    for record in corpus.read.projections():
        hashes[record["key"]] = record["output"]
    code = (
        "import sys\n"
        "from panoptic_assets.corpus import table as images\n"
        "from panoptic_assets.features import table as vectors\n"
        "from panoptic_assets.features.config import ProjectionConfig\n"
        "from panoptic_assets.spec.resolution import parse\n"
        "from panoptic_assets.features.projections import project\n"
        "from panoptic_assets.spec.records import vectors_hash\n"
        "from resources.lance import LanceStore\n"
        "store = LanceStore(uri=sys.argv[1])\n"
        "read = vectors.read_vectors(store, 'mini', images.present_files(store))\n"
        "graph = vectors.read_graph(store, 'mini').graph\n"
        "for key in vectors.projections(store):\n"
        "    config = parse(ProjectionConfig, vectors.projection_record(store, key).cause.config)\n"
        "    given = config.method.model_dump()\n"
        "    name = given.pop('name')\n"
        "    found = project(name, read.vectors, 2, config.seed, graph, given)\n"
        "    print(key, vectors_hash(read.image_ids, found.points))\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, corpus.project.store],
        capture_output=True,
        text=True,
        check=True,
        env={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
        | {"PATH": "", "PYTHONPATH": ":".join(sys.path), "HOME": str(tmp_path)},
    )
    assert dict(line.split() for line in answer.stdout.splitlines()) == hashes


def test_a_projection_can_be_clustered_and_says_that_it_is_distorted(corpus):
    """D12, D22, D33, D41: kmeans on clip_umap, 20 clusters, defaults for the rest."""
    corpus.make("projection", "mini/umap")
    result = corpus.run(
        "clustering", "tutorial", features="mini/umap", method={"kmeans": {"nb_clusters": 20}}
    )
    shown = metadata(result, "clustering")
    assert shown["nb_clusters"] == 20
    assert "Distances" in shown["notes"]
    sources = [source["table"] for source in corpus.read.run_info("tutorial")["inputs"]]
    assert sources == ["vectors.mini", "points.mini.umap", "files"]
    run = corpus.instance.get_run_by_id(result.run_id)
    assert run.tags["panoptic/features"] == "mini/umap"
    corpus.make("clustering", "plain", method={"kmeans": {"nb_clusters": 20}})
    assert "warning" not in metadata(corpus.run("clustering", "plain"), "clustering")


def test_clusters_of_a_projection_are_of_its_points_and_scored_on_the_vectors(corpus):
    """DESIGN 8: scores stay comparable; methods get the points as they are, not brought to length
    one: here two groups on one line through the origin, which lengths alone tell apart."""
    read = vectors_of(corpus)
    corpus.make("projection", "mini/pca")
    record = vector_tables.projection_record(corpus.store, "mini/pca")
    far = np.arange(253) % 2 == 0
    points = np.where(far, 10.0, 1.0)[:, None] * np.ones((253, 2))
    vector_tables.write_points(corpus.store, record, read.image_ids, points.astype(np.float32))
    corpus.make("clustering", "line", features="mini/pca", method={"kmeans": {"nb_clusters": 2}})
    labels = np.array(corpus.read.assignments("line")["cluster"].to_pylist())
    assert len(set(labels[far])) == len(set(labels[~far])) == 1
    assert labels[0] != labels[1]
    for cluster in corpus.read.clusters("line").to_pylist():
        mine = read.vectors[labels == cluster["cluster"]].astype(np.float64)
        expected = 100 * ((mine - mine.mean(axis=0)) ** 2).sum(axis=1).mean()
        assert cluster["score"] == pytest.approx(expected, abs=1e-3)


def test_an_image_without_a_point_counts_as_not_embedded(corpus):
    read = vectors_of(corpus)
    planted(corpus, read.image_ids[:200], read.vectors[:200])
    corpus.make("projection", "planted/pca", method=PCA)
    planted(corpus, read.image_ids, read.vectors)
    corpus.make("clustering", "part", features="planted/pca")
    counts = corpus.read.run_info("part")["counts"]
    assert (counts["clustered"], counts["not_embedded"]) == (200, 53)


def test_a_key_keeps_its_parameters_and_refuses_others(corpus):
    """DESIGN 4, D26: a projection is named, and its name stands for its parameters."""
    corpus.make("projection", "mini/mine", method={"pca": {"whiten": True}}, nb_dimensions=3)
    assert metadata(corpus.run("projection", "mini/mine"), "projection")["nb_dimensions"] == 3
    before = versions(corpus)
    message = corpus.refused("projection", "mini/mine", nb_dimensions=4)
    assert "nb_dimensions: 3 is recorded, 4 is asked for" in message
    assert versions(corpus) == before
    replaced = corpus.run("projection", "mini/mine", nb_dimensions=4, replace=True)
    assert metadata(replaced, "projection")["nb_dimensions"] == 4


def test_unchanged_vectors_leave_the_points_alone(corpus):
    first = corpus.run("projection", "mini/tsne")
    before = versions(corpus)
    again = corpus.run("projection", "mini/tsne")
    assert data_version(again, "projection") == data_version(first, "projection")
    assert versions(corpus) == before


def test_changed_vectors_or_images_make_the_points_anew(corpus):
    read = vectors_of(corpus)
    planted(corpus, read.image_ids[:200], read.vectors[:200])
    first = data_version(corpus.run("projection", "planted/pca", method=PCA), "projection")
    planted(corpus, read.image_ids, read.vectors)
    again = corpus.run("projection", "planted/pca")
    assert data_version(again, "projection") != first
    assert corpus.read.points("planted/pca").num_rows == 253


@pytest.mark.parametrize(
    ("act", "key"), [(embedding, "mini"), (neighbor_graph, "mini"), (projecting, "mini/pca")]
)
def test_a_plan_no_longer_holds_once_another_has_written_its_table(corpus, act, key):
    """DESIGN 12: who waited for another's act does not do it again, nor over it."""
    plan = act.prepare(corpus.read.context.now(), key, {})
    assert plan.context.store.is_current()
    if act is embedding:
        read = vectors_of(corpus)
        planted(corpus, read.image_ids, read.vectors, key)
    elif act is neighbor_graph:
        corpus.make("neighbors", key, k=7)
    else:
        corpus.make("projection", key, seed=3)
    assert not plan.context.store.is_current()


def test_the_registry_lists_its_projections_by_key(bench):
    registry = Registry(folder=str(bench.project.folder))
    assert registry.projections() == ["mini/pca", "mini/tsne", "mini/umap"]
    assert registry.projection("mini/none") is None


def test_the_record_proves_the_points(corpus):
    """D25: which vectors, which parameters, which seed; D24: the vectors are reused, not made."""
    corpus.make("projection", "mini/umap", seed=4)
    [record] = corpus.read.projections()
    points = corpus.read.points("mini/umap")
    coordinates = np.array(points["point"].to_pylist(), np.float32)
    assert record["output"] == vectors_hash(points["image_id"].to_pylist(), coordinates)
    cause = record["cause"]
    assert cause["config"]["seed"] == 4
    assert cause["config"]["method"]["umap"]["n_neighbors"] == 15
    assert [source["table"] for source in cause["inputs"]] == ["vectors.mini", "neighbors.mini"]
    assert cause["inputs"][0]["sha256"] == vectors_of(corpus).source.sha256
    assert {"umap-learn", "numba"} <= cause["libraries"].keys()


def test_umap_says_that_it_needs_the_neighbours_of_these_images(bench):
    message = bench.refused("projection", "mini/umap")
    assert "no neighbour graph yet" in message
    assert "panoptic-assets refresh --vector-type mini" in message
    bench.make("neighbors", "mini", k=10)
    assert "ask for at most 11" in bench.refused("projection", "mini/umap")
    [row] = bench.store.read("files").slice(0, 1).to_pylist()
    schema = bench.store.schema_of("files")
    gone = pa.Table.from_pylist([row | {"status": "missing"}], schema=schema)
    bench.store.upsert("files", gone)
    assert "a neighbour graph of other images" in bench.refused("projection", "mini/umap")


@pytest.mark.parametrize(
    ("key", "config", "message"),
    [
        ("mini", {}, "is not a projection"),
        ("mini/../x", {}, "is not a projection"),
        ("mini/a/b", {}, "is not a projection"),
        ("mini/a b", {}, "is not a projection"),
        ("clip/pca", {}, "materialize `embeddings` first"),
        ("mini/x", {"nb_dimensions": 0}, "nb_dimensions: input should be"),
        ("mini/x", {"method": {"tsne": {"perplexity": 253}}}, "there are 253 images"),
        ("mini/x", {"method": {"umap": {"min_dist": 3}}}, "min_dist is at most spread"),
        ("mini/x", {"method": {"umap": {"n_neighbors": 1}}}, "n_neighbors: input should be"),
    ],
)
def test_a_projection_that_cannot_be_made_is_refused_before_any_work(corpus, key, config, message):
    before = versions(corpus)
    assert message in corpus.refused("projection", key, **config)
    assert versions(corpus) == before


def test_clustering_an_unknown_projection_lists_those_that_exist(corpus):
    corpus.make("projection", "mini/pca")
    message = corpus.refused("clustering", "greek", features="mini/none")
    assert "has a point of projection 'mini/none'" in message
    assert "Projections that have points: mini/pca." in message
    assert "is not a projection" in corpus.refused("clustering", "greek", features="mini/a/b")


def test_a_registry_file_configures_a_projection(corpus):
    folder = corpus.project.configs / "projections" / "mini"
    (folder / "wide.yaml").write_text(
        "ops: {projection: {config: {method: {pca: {}}, nb_dimensions: 5}}}"
    )
    assert metadata(corpus.run("projection", "mini/wide"), "projection")["nb_dimensions"] == 5
    (folder / "bad.yaml").write_text("method: {pca: {}}")
    assert "configs/projections/mini/bad.yaml must hold" in corpus.refused("projection", "mini/bad")


def test_the_map_of_a_projection_is_a_small_picture(corpus):
    """C2, DESIGN 11: an overview of the corpus, shown with the materialization; under 50 kB."""
    result = corpus.run("projection", "mini/pca")
    [event] = result.asset_materializations_for_node("projection")
    picture = event.metadata["map"].value
    assert len(picture) < 25_000
    data = base64.b64decode(picture.partition("base64,")[2].rstrip(")"))
    with Image.open(io.BytesIO(data)) as drawn:
        darkest, lightest = drawn.convert("L").getextrema()
    assert (darkest < 200, lightest) == (True, 255)
    assert len(dg.serialize_value(event)) < 50_000


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda project: project.neighbors("clip"), "There are no neighbours of type 'clip'"),
        (lambda project: project.neighbors("../x"), "is not a vector type"),
        (lambda project: project.points("mini/none"), "Existing ones: none yet"),
        (lambda project: project.points("mini"), "is not a projection"),
    ],
)
def test_what_does_not_exist_is_said_with_what_does(bench, call, message):
    with pytest.raises(InputError, match=message):
        call(bench.read)

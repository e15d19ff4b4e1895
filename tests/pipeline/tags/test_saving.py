"""Saving runs as tags, and saving them again when the corpus has grown."""

import shutil
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from scipy.optimize import linear_sum_assignment

from panoptic_assets.orchestration.acting import Context
from panoptic_assets.tags import editing
from panoptic_assets.tags.table import read_log
from resources.lance import LanceStore
from tests import processes
from tests.pictures import SAMPLE
from tests.workbench import metadata

pytestmark = pytest.mark.usefixtures("one_mini")

WARD = {"agglomerative": {"nb_clusters": 10}}
AVERAGE = {"agglomerative": {"nb_clusters": 19, "linkage": "average", "metric": "cosine"}}
KMEANS = {"kmeans": {"nb_clusters": 19}}
BY_TAGS = {"cluster_by_tags": {"tags": ["an animal", "a tool", "a building", "music"]}}


def files_of_the_sample():
    return sorted(file for file in SAMPLE.rglob("*") if file.suffix in (".jpg", ".png", ".webp"))


@pytest.fixture
def growing(empty_bench, embedded_folder):
    """A project of no images yet, with the vectors of all that may come.

    It computes none: the 253 of the sample would cost 12 CPU seconds.
    """
    bench = empty_bench()
    vectors = ".panoptic/store/vectors.mini.lance"
    shutil.copytree(embedded_folder / vectors, bench.project.folder / vectors)
    return bench


def put(bench, files, **config):
    for file in files:
        target = Path(bench.project.images) / file.relative_to(SAMPLE)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    bench.make("images", **config)
    bench.make("embeddings", "mini")


def carried(bench, property_name="Clustering"):
    """For each image its tag's id."""
    bench.make("tags")
    rows = bench.read.image_tags(property_name).to_pylist()
    return {row["image_id"]: row["tag_id"] for row in rows}


def save(bench, key, **config):
    return metadata(bench.run("saved_clustering", key, **config), "saved_clustering")


def edit(bench, *edits):
    bench.make("tags", edits=list(edits))


def paths_of(bench, property_name="Clustering"):
    return {tag["path"]: tag for tag in bench.read.tags(property_name)}


def test_tags_follow_their_clusters_when_the_corpus_grows_by_a_quarter(growing):
    """ "Labels that survive when the corpus grows": 80 % of the sample, then all of it.

    Of the old images, the share that keep their tag, measured: cluster_by_tags 1, agglomerative
    average 19 .96, ward 10 .95, an automatic number .93, k-means 10 .89, k-means 19 .65. K-means
    starts anew and cuts the larger corpus otherwise, so for it the fair test is that no other way
    to match its clusters would have kept more.
    """
    bench = growing
    files = files_of_the_sample()
    put(bench, [file for number, file in enumerate(files) if number % 5])
    methods = {"ward": WARD, "average": AVERAGE, "kmeans": KMEANS, "tags": BY_TAGS}
    for key, method in methods.items():
        bench.make("clustering", key, method=method)
        save(bench, key, property=key)
    edit(
        bench,
        {"rename": {"tag": "0", "to": "Vases grecs", "property": "ward"}},
        {"merge": {"tags": ["1"], "into": "2", "property": "average"}},
    )
    before = {key: carried(bench, key) for key in methods}
    merged = paths_of(bench, "average")["2"]["tag_id"]
    put(bench, files)
    shares = {}
    for key in methods:
        bench.make("clustering", key)
        told = save(bench, key, property=key, min_overlap=0.0)
        after = carried(bench, key)
        assert len(before[key]) == 202
        assert len(after) == told["nb_images"] == 253
        shares[key] = sum(after[i] == tag for i, tag in before[key].items()) / len(before[key])
        if key == "kmeans":
            best = most_that_could_stay(before[key], bench.read.assignments(key).to_pylist())
            assert shares[key] >= 0.95 * best
    assert "Vases grecs" in paths_of(bench, "ward")
    assert merged in set(carried(bench, "average").values())
    assert shares["tags"] == 1
    assert min(shares["ward"], shares["average"]) >= 0.95, shares


def most_that_could_stay(before, rows):
    tags, clusters = sorted(set(before.values())), sorted({row["cluster"] for row in rows})
    shared = np.zeros((len(tags), len(clusters)))
    for row in rows:
        if row["image_id"] in before:
            shared[tags.index(before[row["image_id"]]), clusters.index(row["cluster"])] += 1
    return shared[linear_sum_assignment(shared, maximize=True)].sum() / len(before)


def test_a_run_that_is_saved_again_is_asked_about_reported_and_can_be_undone(bench):
    bench.make("clustering", "greek")
    assert "nb_kept" not in save(bench, "greek")
    edit(bench, {"rename": {"tag": "9", "to": "Vases grecs"}})
    before = bench.read.tags(), carried(bench)
    bench.make("clustering", "greek", method={"kmeans": {"nb_clusters": 14}}, replace=True)
    message = bench.refused("saved_clustering", "greek")
    assert "It is not certain which clusters of 'greek' the tags of 'Clustering'" in message
    assert "`--min-overlap 0." in message
    assert (bench.read.tags(), carried(bench)) == before
    told = save(bench, "greek", min_overlap=0.1, matches={"Vases grecs": "3"})
    assert told["nb_tags"] == told["nb_kept"] + told["nb_born"] == 14
    assert "| kept | Vases grecs | greek/3 |" in told["changes"]
    bench.make("tags")
    tag = paths_of(bench)["Vases grecs"]
    assert (tag["node"], tag["record_id"].partition("-")[0]) == ("greek/3", "greek@2")
    nodes = {tag["tag_id"]: tag["node"] for tag in bench.read.tags()}
    places = {row["image_id"]: row["node"] for row in bench.read.places("greek").to_pylist()}
    assert {i: nodes[tag_id] for i, tag_id in carried(bench).items()} == places
    events = bench.store.count("tag_log")
    save(bench, "greek")  # as it is: nothing is asked, and nothing appended
    assert bench.store.count("tag_log") == events
    edit(bench, {"undo": {}})
    assert (bench.read.tags(), carried(bench)) == before


def test_a_run_is_saved_to_a_depth(bench):
    bench.make("clustering", "greek")
    bench.make("nested_clustering", "greek/9", method={"kmeans": {"nb_clusters": 2}})
    bench.make("nested_clustering", "greek/9/1", method={"kmeans": {"nb_clusters": 2}})
    assert [save(bench, "greek", depth=d, property=f"d{d}")["nb_tags"] for d in (1, 2, 3)] == [
        10,
        12,
        14,
    ]
    sizes = Counter(carried(bench, "d1").values())
    assert sizes[paths_of(bench, "d1")["9"]["tag_id"]] == paths_of(bench, "d3")["9"]["nb_images"]
    # Deeper afterwards, the tags of before stay what they are.
    first = paths_of(bench, "d1")
    save(bench, "greek", property="d1")
    carried(bench, "d1")
    assert {p: paths_of(bench, "d1")[p]["tag_id"] for p in first} == {
        p: tag["tag_id"] for p, tag in first.items()
    }
    assert "depth:" in bench.refused("saved_clustering", "greek", depth=0)


def test_clusters_that_have_names_give_them_to_their_tags(bench):
    method = {"cluster_by_tags": {"tags": ["an animal", "a tool"]}}
    bench.make("clustering", "named", method=method)
    save(bench, "named")
    bench.make("tags")
    assert sorted(paths_of(bench)) == ["a tool", "an animal"]


def test_what_a_run_lacks_by_now_is_said(growing):
    bench = growing
    files = files_of_the_sample()[::5]
    put(bench, files)
    scope = {"files": {"pattern": "animals/*"}}
    bench.make("clustering", "greek", method={"kmeans": {"nb_clusters": 3}})
    bench.make("clustering", "animals", method={"kmeans": {"nb_clusters": 3}}, scope=scope)
    assert "notes" not in save(bench, "greek")
    gone = bench.read.assignments("greek").to_pylist()
    gone = {row["image_id"] for row in gone if row["cluster"] == "1"}
    for row in bench.read.files().to_pylist():
        if row["image_id"] in gone:
            (Path(bench.project.images) / row["path"]).unlink()
    come = [file for file in files_of_the_sample()[1::5] if "animals" not in file.parts][:4]
    put(bench, come, accept_missing=True)  # a cluster may be a whole folder
    notes = save(bench, "greek")["notes"]
    assert f"{len(gone)} images of greek are missing from the corpus; nothing is left of" in notes
    assert "4 images in the scope of greek are not in it" in notes
    assert "in the scope" not in save(bench, "animals", property="Animals").get("notes", "")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"matches": {"9": "0"}}, "has no tags that `matches` (`--match`) could name"),
        ({"min_overlap": 1.5}, "min_overlap:"),
    ],
)
def test_a_save_that_cannot_be_done_is_refused(bench, config, message):
    bench.make("clustering", "greek")
    assert message in bench.refused("saved_clustering", "greek", **config)
    assert bench.store.count("tag_log") == 0


def test_a_property_of_tags_that_people_made_is_taken(bench):
    bench.make("clustering", "greek")
    edit(bench, {"create": {"tag": "mine"}})
    message = bench.refused("saved_clustering", "greek")
    assert "already holds other tags, which people made" in message
    save(bench, "greek", replace=True)
    bench.make("tags")
    assert len(paths_of(bench)) == 10


def test_a_property_saved_anew_is_as_if_it_had_never_been_edited(bench):
    """K9: replacing is explicit, and whole: renamed and refused tags are the run's again."""
    bench.make("clustering", "greek", method={"kmeans": {"nb_clusters": 3}})
    save(bench, "greek")
    before = carried(bench)
    image_id, tag_id = next(iter(before.items()))
    edit(
        bench,
        {"unassign": {"tag": tag_id, "images": [image_id]}},
        {"rename": {"tag": tag_id, "to": "Vases"}},
    )
    assert image_id not in carried(bench)
    save(bench, "greek", replace=True)
    assert carried(bench) == before
    assert {tag["name"] for tag in bench.read.tags("Clustering")} == {"0", "1", "2"}


def test_the_shipped_list_of_edits_can_be_done_on_the_demo(bench):
    file = Path(__file__).parents[3] / "configs" / "launch" / "tags.yaml"
    bench.make("clustering", "demo")
    save(bench, "demo")
    bench.make("tags", **yaml.safe_load(file.read_text())["ops"]["tags"]["config"])
    assert {"Vases grecs", "to sort > doubtful", "to sort > 3"} <= paths_of(bench).keys()


def _append(uri, author, barrier):
    context = Context(LanceStore(uri=uri), SimpleNamespace(images=""), *[None] * 4)
    barrier.wait()
    for start in range(0, 100, 5):
        edits = [{"create": {"tag": f"{author} {number}"}} for number in range(start, start + 5)]
        plan = editing.prepare(context.now(), "", {"edits": edits, "author": author})
        editing.store(editing.run(plan))


def test_edits_of_two_processes_at_once_are_all_kept(tmp_path):
    """100 each, five at a time."""
    store = LanceStore(uri=str(tmp_path / "store"))
    barrier = processes.CONTEXT.Barrier(2)
    started = [processes.start(_append, store.uri, author, barrier) for author in "ab"]
    for process in started:
        process.join(300)
    assert [process.exitcode for process in started] == [0, 0]
    log = read_log(store)
    assert [entry.number for entry in log] == list(range(1, 201))
    made = [(entry.author, entry.event.tags[0].name) for entry in log]
    assert {author: [name for who, name in made if who == author] for author in "ab"} == {
        author: [f"{author} {number}" for number in range(100)] for author in "ab"
    }

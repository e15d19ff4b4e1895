"""What `status` says of clusterings, labels and saved properties, and that Dagster agrees."""

import json
import shutil
from pathlib import Path

import dagster as dg
import lancedb
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from panoptic_assets.upkeep.staleness import Judge
from panoptic_assets.upkeep.staleness_checks import judge_runs
from resources.errors import PlainError
from resources.project_folder import ProjectSettings, create, find
from resources.registry import Registry
from resources.schemas import SCHEMAS
from tests.commands import refused, run
from tests.tiny import write_images, write_model
from tests.workbench import PARTITIONS, Workbench, data_version

TWO = {"kmeans": {"nb_clusters": 2}}
THREE = {"kmeans": {"nb_clusters": 3}}


class TinyBench(Workbench):
    """A workbench of which the images lie in the project's folder."""

    def refresh(self):
        self.make("images")
        self.make("inventory")
        self.make("embeddings", "tiny")

    @property
    def images(self) -> Path:
        return self.project.folder / "images"

    def judge(self):
        return Judge(self.store, Registry(folder=str(self.project.folder)))

    def clustering(self, key):
        return self.judge().clustering(key)

    def save(self, key="a", **config):
        self.make("saved_clustering", key, **config)
        self.make("tags")

    def state(self, key):
        return self.clustering(key).state

    def counts(self, key):
        return self.clustering(key).counts

    def labels(self, key):
        [judged] = [found for found in self.judge().labels() if found.key == key]
        return judged

    def saved(self, name="Clustering"):
        [judged] = [found for found in self.judge().saves() if found.key == name]
        return judged

    def image(self, number):
        return self.images / "0000" / f"{number:06}.jpg"

    def again(self, key):
        """Materialize a clustering again; whether its data version stayed."""
        before = self.read.run_info(key)["data_version"]
        try:
            self.make("nested_clustering" if "/" in key else "clustering", key)
        except PlainError:
            return False
        return self.read.run_info(key)["data_version"] == before


@pytest.fixture(scope="module")
def made(once):
    """Forty images, embedded, with an inventory, and runs of every kind of scope."""

    def write(folder):
        model = write_model(folder / "model")
        project = folder / "project"
        write_images(project / "images", 40)
        subjects = ["vase"] * 20 + ["coin"] * 20
        lines = [f"0000/{number:06}.jpg;{subject}" for number, subject in enumerate(subjects)]
        (project / "inventory.csv").write_text("path;sujet[tag]\n" + "\n".join(lines) + "\n")
        names = [f"0000/{number:06}.jpg" for number in range(12)]
        (project / "list.txt").write_text("\n".join(names) + "\n")
        create(
            project,
            ProjectSettings(images="images", vector_type="tiny", metadata="inventory.csv"),
        )
        (project / "configs" / "models" / "tiny.yaml").write_text(
            f"model: local-dir:{model}\nprecision: fp32\n"
        )
        bench = TinyBench(find(project), dg.DagsterInstance.ephemeral())
        bench.refresh()
        bench.make("projection", "tiny/pca")
        bench.make("clustering", "a", method=TWO)
        bench.make("clustering", "map", method=TWO, features="tiny/pca")
        bench.make("clustering", "listed", method=TWO, scope={"ids": {"file": "list.txt"}})
        vases = {"property": {"property": "sujet", "values": ["vase"]}}
        bench.make("clustering", "vases", method=TWO, scope=vases)
        similar = {"similar": {"image": "0000/000000.jpg", "nb_images": 10}}
        bench.make("clustering", "similar", method=TWO, scope=similar)
        bench.make("clustering", "part", method=TWO, scope={"node": {"node": "a/0"}})
        bench.make("clustering", "both", method={"consensus": {"runs": ["a", "map"]}})
        bench.make("nested_clustering", "a/0", method=TWO)
        bench.make("nested_clustering", "a/0/0", method=TWO)

    return once("scopes", write) / "project"


@pytest.fixture
def bench(made, tmp_path):
    shutil.copytree(made, tmp_path / "project")
    return TinyBench(find(tmp_path / "project"), dg.DagsterInstance.ephemeral())


def add(bench):
    write_images(bench.images, 3, 40)
    bench.refresh()


def add_without_vectors(bench):
    write_images(bench.images, 3, 40)
    bench.make("images")


def remove(bench):
    bench.image(0).unlink()
    bench.image(1).unlink()
    bench.make("images")


def change(bench):
    Image.new("RGB", (64, 64), "red").save(bench.image(5))
    bench.refresh()


def change_nothing_that_counts(bench):
    """Files that were touched and moved, and the lines of a list in another order."""
    bench.image(7).touch()
    bench.image(30).rename(bench.images / "0000" / "other.jpg")
    bench.make("images")
    file = bench.project.folder / "list.txt"
    file.write_text("\n".join(reversed(file.read_text().split())) + "\n")


def make_vectors_again(bench):
    rows = bench.store.read("vectors.tiny").sort_by("image_id").slice(0, 4)
    ones = pa.array(np.full(4 * 64, 0.125, np.float32))
    other = rows.set_column(
        1, rows.schema.field("vector"), pa.FixedSizeListArray.from_arrays(ones, 64)
    )
    bench.store.upsert("vectors.tiny", other.cast(rows.schema))


def project_again(bench):
    bench.make("projection", "tiny/pca", method={"pca": {"whiten": True}}, replace=True)


def run_the_parent_again(bench):
    bench.make("clustering", "a", method=THREE, replace=True)


def change_the_properties(bench):
    file = bench.project.folder / "inventory.csv"
    file.write_text(file.read_text().replace("000019.jpg;vase", "000019.jpg;coin"))
    bench.make("inventory")


def change_the_list(bench):
    with (bench.project.folder / "list.txt").open("a") as file:
        file.write("0000/000030.jpg\n")


EVERY = {"a", "a/0", "map", "listed", "vases", "similar", "part", "both"}
CHANGES = [
    (change_nothing_that_counts, set()),
    (add, {"a", "map", "similar", "both"}),
    (add_without_vectors, {"a", "map", "both"}),
    (remove, None),  # which of the others had these images, their method decided
    (change, None),
    (make_vectors_again, None),
    (project_again, {"map"}),
    (run_the_parent_again, {"a/0", "part", "both"}),
    (change_the_properties, {"vases"}),
    (change_the_list, {"listed"}),
]


@pytest.mark.parametrize(
    ("happen", "expected"), CHANGES, ids=lambda of: getattr(of, "__name__", "")
)
def test_a_clustering_is_up_to_date_if_and_only_if_dagster_would_get_the_same_data_version(
    bench, happen, expected
):
    happen(bench)
    judge = bench.judge()
    stale = {key for key in EVERY if judge.clustering(key).state == "stale"}
    if expected is not None:
        assert stale == expected
    for key in sorted(EVERY):
        # What was made again before may have changed what this one reads.
        state = bench.state(key)
        assert (state == "up to date") == bench.again(key), key


@pytest.mark.parametrize(("asset", "key"), [("clustering", "a"), ("nested_clustering", "a/0")])
def test_the_data_version_that_dagster_gets_is_that_of_the_record(bench, asset, key):
    for happen in (change_nothing_that_counts, run_the_parent_again):
        happen(bench)
        told = data_version(bench.run(asset, key), asset)
        assert told == bench.read.run_info(key)["data_version"]


def test_what_came_and_went_is_counted(bench):
    add(bench)
    bench.image(0).unlink()
    Image.new("RGB", (64, 64), "red").save(bench.image(5))
    bench.make("images")
    assert bench.counts("a") == {"images_added": 3, "images_removed": 1, "images_changed": 1}
    assert bench.clustering("a").text == (
        "3 images added; 1 image removed; 1 image replaced in their files by another one"
    )


def test_vectors_that_were_made_after_the_run_are_counted(bench):
    write_images(bench.images, 3, 40)
    bench.make("images")
    bench.make("clustering", "a")
    assert bench.state("a") == "up to date"
    bench.make("embeddings", "tiny")
    assert bench.counts("a") == {"images_embedded": 3}


def test_a_vector_type_that_was_made_again_is_told_with_the_number_of_images(bench):
    make_vectors_again(bench)
    assert bench.counts("a") == {"vectors_changed": 4}
    assert bench.counts("map") == {"vectors_changed": 4}  # its points are as they were


def test_a_vector_type_whose_table_was_removed_and_made_again_is_told_too(bench):
    """The recorded version of the table is another table's by then."""
    rows = bench.store.read("vectors.tiny").sort_by("image_id")
    schema = bench.store.schema_of("vectors.tiny")
    lancedb.connect(bench.project.store).drop_table("vectors.tiny")
    bench.store.create("vectors.tiny", schema, schema.metadata)
    turned = rows.set_column(
        1, schema.field("vector"), rows["vector"].take(pa.array(range(39, -1, -1)))
    )
    bench.store.upsert("vectors.tiny", turned)
    [reason] = bench.clustering("a").reasons
    assert (reason.kind, reason.count) == ("vectors_changed", 40)
    assert "are gone" in reason.text


def test_a_clustering_below_one_that_was_made_again_names_it(bench):
    run_the_parent_again(bench)
    assert "the clustering above it, a, was made again" in bench.clustering("a/0").text
    assert bench.counts("a/0/0") == {"parent_changed": 1}
    assert "its scope is a cluster, a, was made again" in bench.clustering("part").text


def test_a_run_of_older_code_is_stale(bench):
    """Not one of older libraries: that is for `verify` to tell."""
    [row] = bench.store.read("records", where="key = 'vases'").to_pylist()
    older = json.loads(row["content"]) | {"code_version": "0.0.1", "libraries": {"numpy": "1.0"}}
    row["content"] = json.dumps(older)
    bench.store.upsert("records", pa.Table.from_pylist([row], SCHEMAS["records"]))
    assert bench.counts("vases") == {"code_changed": 0}


def test_a_scope_that_cannot_be_taken_any_more_says_why(bench):
    (bench.project.folder / "list.txt").unlink()
    [reason] = bench.clustering("listed").reasons
    assert reason.kind == "not_possible"
    assert "does not exist" in reason.text


def test_runs_of_one_scope_are_judged_by_one_reading(bench):
    """So that a thousand of them cost about what one costs."""
    judge = bench.judge()
    judge.clustering("a")
    lancedb.connect(bench.project.store).drop_table("vectors.tiny")
    assert judge.clustering("both").state == "up to date"
    assert bench.clustering("both").counts == {"not_possible": 0}


def test_labels_are_stale_when_clusters_came_later_or_were_made_again(bench):
    clusterings = bench.judge().clusterings
    rows = [
        {
            "record_id": clusterings.records[key].record_id,
            "cluster": cluster,
            "node": f"{key}/{cluster}",
            "run_key": "a",
            "label": "x",
        }
        for key in ("a", "a/0", "a/0/0")
        for cluster in clusterings.clusters(key)["cluster"].to_pylist()
    ]
    bench.store.upsert("labels", pa.Table.from_pylist(rows, SCHEMAS["labels"]))
    assert bench.labels("a").state == "up to date"
    bench.make("nested_clustering", "a/1", method=TWO)
    assert bench.labels("a").counts == {"clusters_unlabelled": 2}
    bench.make("clustering", "a", method=THREE, replace=True)
    assert bench.labels("a").counts == {"clusters_unlabelled": 3, "labels_outdated": 6}


def test_a_saved_property_is_stale_when_the_tree_has_grown_or_the_run_is_stale(bench):
    bench.save()
    bench.save("map", property="Map", depth=1)
    assert bench.saved().state == bench.saved("Map").state == "up to date"
    bench.make("nested_clustering", "a/1", method=TWO)
    assert bench.saved().counts == {"clusterings_unsaved": 1}
    bench.save()
    assert bench.saved().state == "up to date"
    add(bench)
    assert bench.saved().counts == {"run_stale": 1}
    bench.make("clustering", "a")
    assert bench.saved().counts["clusterings_renewed"] == 1


def test_a_save_that_was_undone_does_not_count(bench):
    bench.save()
    bench.make("tags", edits=[{"undo": {}}])
    assert bench.judge().saves() == []


def test_the_check_of_a_partition_is_judged_with_its_materialization(bench):
    result = bench.run("clustering", "map")
    [check] = result.get_asset_check_evaluations()
    assert (check.check_name, check.partition, check.passed) == ("up_to_date", "map", True)
    assert check.metadata["nb_images_added"].value == 0


def test_a_check_warns_and_says_why_in_words_and_counts(bench):
    add(bench)
    found = bench.checks("clustering", "a")["up_to_date"]
    assert not found.passed
    assert found.severity.value == "WARN"
    assert found.description == "Stale: 3 images added."
    assert found.metadata["nb_images_added"].value == 3
    assert bench.checks("nested_clustering", "a/0")["up_to_date"].passed


def judged(bench):
    """The metadata of a run of the job, but for what Dagster does not know (`bench.make`)."""
    job = bench.definitions.resolve_job_def(judge_runs.name)
    result = job.execute_in_process(instance=bench.instance)
    [event] = [event for event in result.all_events if event.is_successful_output]
    shown = event.step_output_data.metadata.items()
    return {name: value.value for name, value in shown if name != "nb_mismatches"}


def test_the_job_reports_only_verdicts_that_differ(bench):
    bench.run("saved_clustering", "a")  # whose own check says that it is up to date
    for key in ("a", "vases", "map"):
        bench.instance.add_dynamic_partitions(PARTITIONS["clustering"], [key])
    assert judged(bench) == {"nb_judged": 4, "nb_stale": 0, "nb_reported": 3}
    assert judged(bench) == {"nb_judged": 4, "nb_stale": 0, "nb_reported": 0}
    add(bench)
    # The runs `a` and `map`, and what was saved of `a`.
    assert judged(bench) == {"nb_judged": 4, "nb_stale": 3, "nb_reported": 3}
    write_images(bench.images, 1, 43)
    bench.refresh()
    assert judged(bench)["nb_reported"] == 2  # other counts; the save's reason is the same


def test_a_run_of_a_text_is_unknown_once_it_would_search_other_vectors(embedded_folder, tmp_path):
    """The model is not loaded for it; and tags that are attached to are compared without one."""
    shutil.copytree(embedded_folder, tmp_path / "project")
    bench = TinyBench(find(tmp_path / "project"), dg.DagsterInstance.ephemeral())
    bench.make("clustering", "text", method=TWO, scope={"text": {"text": "a cat", "nb_images": 9}})
    edits = [{"create": {"tag": tag, "property": "Subject"}} for tag in ("cat", "tower")]
    bench.make("tags", edits=edits)
    bench.make("clustering", "tags", method={"cluster_by_tags": {"property": "Subject"}})
    assert bench.state("text") == bench.state("tags") == "up to date"
    bench.make("tags", edits=[{"rename": {"tag": "cat", "to": "dog", "property": "Subject"}}])
    assert bench.counts("tags") == {"tags_changed": 2}
    table = lancedb.connect(bench.project.store).open_table("vectors.mini")
    image_id = bench.read.assignments("tags")["image_id"][0].as_py()
    table.delete(f"image_id = '{image_id}'")
    assert bench.state("text") == "unknown"
    assert "known once it is clustered again" in bench.clustering("text").text


def test_the_pages_of_a_comparison_say_which_runs_are_stale_and_why(bench):
    add(bench)
    bench.make("run_comparison", runs=["a", "vases"])
    pages = bench.project.reports / "comparison"
    index = (pages / "index.html").read_text(encoding="utf-8")
    assert "3 images added" in index
    [pair] = [page for page in pages.glob("*.html") if page.name != "index.html"]
    assert "stale: 3 images added" in pair.read_text(encoding="utf-8")


def test_status_lists_what_is_stale_first_with_its_reasons(bench):
    bench.save()
    add_without_vectors(bench)
    found = run("status", cwd=bench.project.folder)
    assert "Corpus version 2" in found.stdout
    assert "Not embedded as tiny: 3 images" in found.stdout
    lines = [line for line in found.stdout.splitlines() if "stale " in line or "up to" in line]
    states = ["stale" in line for line in lines]
    assert states == sorted(states, reverse=True)
    assert "3 images added (3 without features yet)" in found.stdout
    assert "Clustering" in found.stdout


def test_status_of_keys_as_json_and_with_an_exit_code(bench):
    folder = bench.project.folder
    run("status", "--exit-code", cwd=folder)
    add(bench)
    found = json.loads(run("status", "a", "--json", "--exit-code", cwd=folder, expect=1).stdout)
    assert [one["key"] for one in found["staleness"]] == ["a", "a/0", "a/0/0"]
    assert found["staleness"][0]["reasons"][0]["count"] == 3
    stale = json.loads(run("status", "--stale", "--json", cwd=folder).stdout)["staleness"]
    assert {one["state"] for one in stale} == {"stale"}
    run("status", "vases", "--exit-code", cwd=folder)
    assert "Existing ones: a, " in refused("status", "b", cwd=folder)


def test_a_sweep_computes_again_what_is_stale_and_nothing_else(bench):
    options = ("--method", "kmeans", "--grid", "nb_clusters=2,3")
    folder = bench.project.folder
    run("sweep", "s", *options, cwd=folder)
    add(bench)
    assert "1 of 2" in run("sweep", "s", cwd=folder).stderr
    assert "1 of 2" not in run("sweep", "s", cwd=folder).stderr

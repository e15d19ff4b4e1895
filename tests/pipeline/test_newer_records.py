"""A record that this version cannot read is one record: it says so, and all others go on."""

import json
import shutil

import dagster as dg
import pyarrow as pa
import pytest

from panoptic_assets.clustering.table import Clusterings, all_records
from resources.errors import InputError
from resources.project_folder import find
from tests.commands import refused, run
from tests.pipeline.proof.test_verification import edit_record
from tests.tiny import tiny_project
from tests.workbench import Workbench

TWO = {"kmeans": {"nb_clusters": 2}}
NEWER = "was written by a newer version of panoptic_assets"


@pytest.fixture(scope="module")
def divided(once):
    """A project of two runs, one with a divided cluster."""

    def write(folder):
        bench = Workbench(tiny_project(folder, 20), dg.DagsterInstance.ephemeral())
        bench.make("images")
        bench.make("embeddings", "tiny")
        for key in ("greek", "roman"):
            bench.make("clustering", key, method=TWO)
        bench.make("nested_clustering", "greek/0", method=TWO)

    return once("divided", write) / "project"


@pytest.fixture
def bench(divided, tmp_path):
    shutil.copytree(divided, tmp_path / "project")
    return Workbench(find(tmp_path / "project"), dg.DagsterInstance.ephemeral())


def newer(bench, key):
    def change(document):
        document["refreshed"] = {"policy": "merge", "record_id": "x", "next_number": 9}

    edit_record(bench, key, change, seal=True)


def test_the_other_runs_go_on_beside_a_record_of_a_newer_version(bench):
    newer(bench, "greek")
    folder = bench.project.folder
    listed = run("runs", cwd=folder)
    assert "roman" in listed.stdout
    assert "greek is left out: The record greek@1-" in listed.stderr
    assert NEWER in listed.stderr
    [unknown] = [s for s in bench.read.status()["staleness"] if s["key"] == "greek"]
    assert (unknown["state"], NEWER in unknown["text"]) == ("unknown", True)
    assert NEWER in run("status", cwd=folder).stdout
    assert {"roman", "greek/0"} <= {run["key"] for run in bench.read.runs()}
    assert run("clusters", "roman", cwd=folder)
    bench.make("clustering", "late", method=TWO)
    bench.make("saved_clustering", "roman")
    bench.make("tags")
    assert bench.read.tags("Clustering")


def test_the_record_of_a_newer_version_is_refused_by_name_and_never_overwritten(bench):
    newer(bench, "greek")
    folder, before = bench.project.folder, bench.store.count("records")
    for command in (
        ("run-info", "greek"),
        ("clusters", "greek"),
        ("members", "greek/0"),
        ("cluster", "greek", "--nb-clusters", "3", "--replace"),
        ("save", "greek"),
        ("verify", "greek"),
        ("bundle", "greek"),
    ):
        line = refused(*command, cwd=folder)
        assert "The record greek@1-" in line
        assert f"{NEWER} (refreshed.policy: " in line
        assert "upgrade panoptic_assets" in line
    assert NEWER in bench.refused("clustering", "greek", method=TWO)
    assert bench.store.count("records") == before


def test_what_a_newer_version_made_of_a_key_is_not_replaced_by_what_it_was(bench):
    bench.make("clustering", "roman", method={"kmeans": {"nb_clusters": 3}}, replace=True)
    newer(bench, "roman")
    assert "roman" not in Clusterings(bench.store).records
    assert len(all_records(bench.store, "roman")) == 1
    with pytest.raises(InputError, match=NEWER):
        bench.read.run_info("roman")


def test_an_older_record_that_cannot_be_read_hides_nothing(bench):
    newer(bench, "roman")
    rows = bench.store.read("records", where="key = 'roman'")
    first = bench.store.read("records", where="key = 'greek'")
    [content] = map(json.loads, first["content"].to_pylist())
    content |= {"key": "roman", "run_key": "roman", "revision": 2}
    row = {
        "record_id": "roman@2-0",
        "key": "roman",
        "run_key": "roman",
        "revision": 2,
        "content": json.dumps(content),
        "seal": None,
    }
    bench.store.upsert("records", pa.Table.from_pylist([row], rows.schema))
    found = Clusterings(bench.store)
    assert (found.unreadable, found.get("roman").revision) == ({}, 2)


def test_all_are_verified_and_the_one_that_cannot_be_is_named(bench):
    newer(bench, "greek")
    answer = run("verify", "--all", "--json", cwd=bench.project.folder, expect=1)
    found = {one["key"]: one for one in map(json.loads, answer.stdout.splitlines())}
    assert found["roman"]["proved"]
    assert not found["greek"]["proved"]
    assert NEWER in found["greek"]["summary"]


@pytest.mark.parametrize("content", ["{", "[]", "null", ""])
def test_a_record_that_is_no_json_is_told_to_be_changed(content, bench):
    [row] = bench.store.read("records", where="key = 'greek'").to_pylist()
    rows = bench.store.read("records", where="key = 'greek'")
    column = rows.schema.get_field_index("content")
    bench.store.upsert("records", rows.set_column(column, "content", [[content]]))
    answer = run("runs", cwd=bench.project.folder)
    assert "roman" in answer.stdout
    assert "since somebody changed it" in answer.stderr
    assert row["record_id"] in answer.stderr


def test_a_field_and_a_method_that_are_not_known_are_no_obstacle(bench):
    def change(document):
        document["of_next_year"] = {"a": 1}
        document["config"]["method"] = {"spectral": {"nb_clusters": 2}}

    edit_record(bench, "greek", change, seal=True)
    folder = bench.project.folder
    assert "spectral" in run("runs", cwd=folder).stdout
    assert "roman" in run("status", cwd=folder).stdout
    assert run("clusters", "greek", cwd=folder)
    done = run("backfill", "--policy", "recluster", cwd=folder, expect=1).stdout
    assert [line.split()[0] for line in done.splitlines() if "recluster" in line] == [
        "greek",
        "roman",
    ]


def test_a_part_of_a_newer_version_refuses_what_is_said_of_all_of_its_run_and_nothing_else(bench):
    """Left out, it would take labels, tags and pictures with it, and nobody would know."""
    bench.make("saved_clustering", "greek")
    newer(bench, "greek/0")
    folder = bench.project.folder
    labels = bench.store.version("labels")
    for command in (
        ("label", "greek"),
        ("save", "greek", "--property", "other"),
        ("members", "greek/1"),
        ("report", "greek"),
        ("bundle", "greek"),
    ):
        line = refused(*command, cwd=folder)
        assert "The record greek/0@1-" in line
        assert NEWER in line
    assert bench.store.version("labels") == labels
    states = {s["key"]: s["state"] for s in bench.read.status()["staleness"]}
    assert states == {
        "greek": "up to date",
        "roman": "up to date",
        "greek/0": "unknown",
        "Clustering": "unknown",
    }
    assert run("clusters", "greek", cwd=folder)
    bench.make("saved_clustering", "roman", property="Romans")

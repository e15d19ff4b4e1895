"""Every answer can be computed again, and what is no longer as it was recorded is named."""

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
from datetime import timedelta

import dagster as dg
import lancedb
import numpy as np
import pyarrow as pa
import pytest
import yaml

from panoptic_assets.assets.verification import seals_in_log
from panoptic_assets.core import seals
from panoptic_assets.tables.divisions import stored_records
from panoptic_assets.verification import Verifier
from resources.lance import SCHEMAS, LanceStore
from resources.project import find
from tests.conftest import SAMPLE, Workbench, metadata
from tests.test_cli import environment, refused, run

KMEANS = {"kmeans": {"nb_clusters": 4}}


@pytest.fixture(scope="session")
def proved_folder(embedded_folder, tmp_path_factory):
    """The embedded sample with a run of every kind."""
    folder = tmp_path_factory.mktemp("proved") / "project"
    shutil.copytree(embedded_folder, folder)
    bench = Workbench(find(folder), dg.DagsterInstance.ephemeral())
    lines = [file["path"] for file in bench.read.files().to_pylist()[:40]]
    (folder / "list.txt").write_text("\n".join(lines))
    bench.run("clustering", "k", method=KMEANS)
    bench.run("nested_clustering", "k/2", method={"kmeans": {"nb_clusters": 2}})
    bench.run("saved_clustering", "k")
    bench.run("tags")
    runs = {
        "h": {"method": {"hdbscan": {}}, "assign_remainder": True},
        "d": {"method": {"find_duplicates": {"min_similarity": 0.8}}},
        "a": {"method": {"kmeans": {"nb_clusters": -1}}, "stability": 2},
        "c": {"method": {"consensus": {"runs": ["k", "h", "k/2"]}}},
        "t": {
            "method": {
                "cluster_by_tags": {"property": "Clustering", "parent_tags": "combine"},
            }
        },
        "search": {"method": KMEANS, "scope": {"text": {"text": "a fish", "nb_images": 50}}},
        "node": {"method": KMEANS, "scope": {"node": {"node": "k/2/1"}}},
        "list": {"method": KMEANS, "scope": {"ids": {"file": "list.txt"}}},
        "tag": {"method": KMEANS, "scope": {"tag": {"path": "1"}}},
    }
    for key, config in runs.items():
        bench.run("clustering", key, **config)
    return folder


@pytest.fixture
def proved(proved_folder, tmp_path):
    folder = tmp_path / "proved"
    shutil.copytree(proved_folder, folder)
    return Workbench(find(folder), dg.DagsterInstance.ephemeral())


def verdict(bench, key, pixels=False, witness=None):
    resources = bench.definitions.resources
    parts = (resources[name] for name in ("models", "registry", "source"))
    return Verifier(bench.store, *parts, witness=witness, pixels=pixels).verify(key)


def text(found, name):
    [link] = [link for link in found.links if link.name == name]
    return link.text


def edit_record(bench, key, change, seal=False):
    """Change a record in the store, and seal it anew if somebody knows how."""
    [(_, stored)] = list(stored_records(bench.store, f"key = '{key}'").items())[-1:]
    change(stored.document)
    [row] = bench.store.read(
        "records", where=f"record_id = '{stored.record.record_id}'"
    ).to_pylist()
    row["content"] = json.dumps(stored.document)
    if seal:
        row["seal"] = json.dumps(seals.seal(stored.document))
    bench.store.upsert("records", pa.Table.from_pylist([row], SCHEMAS["records"]))


def edit_row(bench, table, key, **values):
    """Change one row that a division has in a table; returns it as it was."""
    [row, *_] = bench.store.read(table, where=f"key = '{key}'").sort_by("record_id").to_pylist()
    bench.store.upsert(table, pa.Table.from_pylist([row | values], SCHEMAS[table]))
    return row


def test_every_method_and_every_scope_is_proved(proved):
    """DESIGN 7: the same record on the same machine gives the same labels, bit for bit."""
    resources = proved.definitions.resources
    parts = (resources[name] for name in ("models", "registry", "source"))
    verifier = Verifier(proved.store, *parts)
    found = [verifier.verify(key) for key in verifier.all_keys()]
    assert [one.key for one in found] == sorted(
        ["a", "c", "d", "h", "k", "k/2", "list", "node", "search", "t", "tag"]
    )
    assert {one.key: one.summary for one in found if one.summary != "The same."} == {}
    assert verifier.keys("k") == ["k", "k/2"]


@pytest.mark.parametrize("threads", ["1", "2"])
def test_another_process_on_shuffled_rows_gives_the_same(proved, threads):
    """A4, K3: neither the order of rows nor the number of threads changes an answer."""
    shuffle(proved.project)
    code = (
        "import sys, threadpoolctl, sklearn\n"
        "from panoptic_assets.cli import main\n"
        "with threadpoolctl.threadpool_limits(int(sys.argv.pop(1))): main(sys.argv[1:])"
    )
    answer = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, threads, "verify", "--all", "--json"],
        cwd=proved.project.folder,
        env=environment(OMP_NUM_THREADS=threads, PYTHONPATH=os.pathsep.join(sys.path)),
        capture_output=True,
        text=True,
    )
    found = [json.loads(line) for line in answer.stdout.splitlines()]
    assert len(found) == 11, answer.stderr
    assert [one["key"] for one in found if not one["proved"]] == []
    assert answer.returncode == 0


def shuffle(project):
    """Write the store anew, each table in another order in all of its versions."""
    before = LanceStore(uri=project.store)
    after = lancedb.connect(f"{project.store}.shuffled")
    for table in before.tables():
        rows = before.read(table)
        order = np.random.default_rng(0).permutation(len(rows))
        handle = after.create_table(table, rows.take(order))
        while handle.version < before.version(table):
            handle.add(rows.slice(0, 0))
    shutil.rmtree(project.store)
    shutil.move(f"{project.store}.shuffled", project.store)


def own_images(bench):
    """Give the project its own copy of the sample."""
    images = bench.project.folder / "pictures"
    shutil.copytree(SAMPLE, images)
    settings = bench.project.settings_file
    document = yaml.safe_load(settings.read_text()) | {"images": "pictures"}
    settings.write_text(yaml.safe_dump(document))
    return Workbench(find(bench.project.folder), bench.instance), images


def test_one_byte_of_an_image_is_found_and_its_file_named(proved):
    bench, images = own_images(proved)
    path = "animals/fish/fish_03.jpg"
    data = bytearray((images / path).read_bytes())
    data[-5] ^= 1
    (images / path).write_bytes(data)
    found = verdict(bench, "k", pixels=True)
    assert (found.broken, found.circumstances, found.answer) == (["pixels"], [], "same")
    assert path in text(found, "pixels")
    assert not found.proved


def test_a_file_that_is_gone_is_said_and_is_no_fault(proved):
    bench, images = own_images(proved)
    (images / "animals/fish/fish_03.jpg").unlink()
    found = verdict(bench, "k", pixels=True)
    assert found.proved
    assert "1 images have no file any more" in text(found, "pixels")


def test_a_vector_that_was_made_anew_since_breaks_nothing_and_is_counted(proved):
    rows = proved.store.read("vectors.mini").slice(0, 1)
    other = np.roll(rows["vector"].combine_chunks().flatten().to_numpy(), 1)
    changed = pa.table(
        [rows["image_id"], pa.FixedSizeListArray.from_arrays(other, len(other))],
        schema=rows.schema,
    )
    lancedb.connect(proved.project.store).open_table("vectors.mini").merge_insert(
        ["image_id"]
    ).when_matched_update_all().execute(changed)
    found = verdict(proved, "k")
    assert found.proved
    assert (found.broken, found.circumstances) == ([], ["vectors of now"])
    assert text(found, "vectors of now") == "1 images have another vector now"


def test_one_number_of_a_vector_that_was_read_is_found(proved):
    """Somebody edits the very file of the pinned version."""
    vector = proved.store.read("vectors.mini")["vector"].combine_chunks().flatten().to_numpy()[:512]
    needle = vector.astype("<f4").tobytes()
    [file] = [
        path
        for path in (proved.project.folder / ".panoptic/store/vectors.mini.lance/data").iterdir()
        if needle in path.read_bytes()
    ]
    data = file.read_bytes()
    changed = np.roll(vector, 1).astype("<f4").tobytes()
    file.write_bytes(data.replace(needle, changed))
    found = verdict(proved, "k")
    assert (found.broken, found.circumstances) == (["vectors"], [])
    assert text(found, "vectors").startswith("vectors.mini is not what was read in version")


def test_one_parameter_is_named_with_its_path(proved):
    def change(document):
        document["config"]["method"]["kmeans"]["nb_clusters"] = 5

    edit_record(proved, "k", change)
    found = verdict(proved, "k")
    assert (found.broken, found.circumstances) == (["parameters"], [])
    assert text(found, "parameters") == (
        "config.method.kmeans.nb_clusters: 5 is stored, and is not what was sealed"
    )
    assert found.answer == "not computed", "it is not known what to compute"


@pytest.mark.parametrize(
    ("name", "link"),
    [
        (("libraries", "numpy"), "libraries"),
        (("machine", "processor"), "machine"),
        (("code_version",), "code"),
        (("inputs", 0, "sha256"), "vectors"),
        (("inputs", 1, "sha256"), "scope"),
        (("output",), "output"),
        (("nb_clusters",), "record"),
        (("counts", "remainder"), "record"),
    ],
)
def test_a_field_that_was_changed_in_the_store_is_the_one_that_is_named(proved, name, link):
    def change(document):
        for part in name[:-1]:
            document = document[part]
        document[name[-1]] = 3 if isinstance(document[name[-1]], int) else "something else"

    edit_record(proved, "k", change)
    found = verdict(proved, "k")
    assert (found.broken, found.circumstances) == ([link], [])
    assert text(found, link).startswith(".".join(map(str, name)))


def test_a_library_of_another_version_is_named_and_the_answer_may_be_the_same(proved, monkeypatch):
    version = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata,
        "version",
        lambda name: "0.1" if name == "scikit-learn" else version(name),
    )
    found = verdict(proved, "h")
    assert found.proved
    assert (found.broken, found.circumstances) == ([], ["libraries"])
    assert text(found, "libraries") == f"scikit-learn: {version('scikit-learn')} → 0.1"
    assert found.summary == "The same answer, though these differ: libraries."


def test_another_machine_is_named_by_what_is_other_of_it(proved, monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "abacus")
    found = verdict(proved, "k")
    assert found.proved
    assert (found.broken, found.circumstances) == ([], ["machine"])
    assert text(found, "machine").endswith(" → abacus")


@pytest.mark.parametrize(
    ("table", "values", "named"),
    [
        ("assignments", {"cluster": "3"}, "image_id"),
        ("assignments", {"distance": 0.9}, "image_id"),
        ("clusters", {"size": 1}, "cluster"),
        ("clusters", {"score": 1.0}, "cluster"),
    ],
)
def test_a_stored_row_that_was_edited_is_found_and_named(proved, table, values, named):
    if "cluster" in values:
        rows = proved.store.read(table, where="key = 'k' AND cluster <> '3'").to_pylist()[:1]
        before = rows[0]
        edited = pa.Table.from_pylist([before | values], SCHEMAS[table])
        proved.store.upsert(table, edited)
    else:
        before = edit_row(proved, table, "k", **values)
    found = verdict(proved, "k")
    assert (found.broken, found.circumstances, found.answer) == ([table], [], "same")
    assert text(found, table) == f"1 rows are not so: {before[named]}"


def test_an_edited_row_of_the_clustering_above_is_found_from_below(proved):
    [row] = proved.store.read("assignments", where="key = 'k' AND cluster = '0'").to_pylist()[:1]
    edited = pa.Table.from_pylist([row | {"cluster": "1"}], SCHEMAS["assignments"])
    proved.store.upsert("assignments", edited)
    found = verdict(proved, "k/2")
    assert found.broken == ["parent"]
    assert "the stored rows of k@1-" in text(found, "parent")
    assert "the stored rows of k@1-" in text(verdict(proved, "c"), "runs")


def test_a_record_and_its_seal_changed_together_contradict_dagsters_event_log(bench):
    seal = metadata(bench.run("clustering", "k", method=KMEANS), "clustering")["seal"]
    witness = seals_in_log(bench.instance)
    assert "the same seal" in text(verdict(bench, "k", witness=witness), "witness")

    def change(document):
        document["notes"] = ["Nothing to see here."]

    edit_record(bench, "k", change, seal=True)
    found = verdict(bench, "k", witness=witness)
    assert found.broken == ["witness"]
    assert seal in text(found, "witness")
    [row] = bench.store.read("records").to_pylist()
    for forged, broken in ((None, ["witness"]), ("{", ["record", "witness"])):
        rows = pa.Table.from_pylist([row | {"seal": forged}], SCHEMAS["records"])
        bench.store.upsert("records", rows)
        assert verdict(bench, "k", witness=witness).broken == broken


def test_a_record_that_cannot_be_read_any_more_is_told_in_one_line(bench):
    bench.run("clustering", "k", method=KMEANS)

    def change(document):
        document["nb_clusters"] = "many"

    edit_record(bench, "k", change)
    line = refused("verify", "k", cwd=bench.project.folder)
    assert "A record in the store cannot be read, since somebody changed it: nb_clusters" in line


def test_a_record_that_is_older_than_seals_says_so_and_can_be_proved(proved):
    [row] = proved.store.read("records", where="key = 'k'").to_pylist()
    proved.store.upsert("records", pa.Table.from_pylist([row | {"seal": None}], SCHEMAS["records"]))
    found = verdict(proved, "k")
    assert found.proved
    assert text(found, "parameters") == "not sealed: the record is older than seals"


@pytest.mark.parametrize("same", [True, False])
def test_of_a_version_that_is_gone_the_newest_is_tried(proved, same):
    schema = proved.store.schema_of("vectors.mini")
    described = {name.decode(): value.decode() for name, value in schema.metadata.items()}
    rows = proved.store.read("vectors.mini")
    proved.store.overwrite("vectors.mini", rows if same else rows.slice(1), described)
    handle = lancedb.connect(proved.project.store).open_table("vectors.mini")
    for tag in list(handle.tags.list()):
        handle.tags.delete(tag)
    proved.store.optimize("vectors.mini", timedelta(0))
    found = verdict(proved, "k")
    assert found.proved == same
    assert found.broken == ([] if same else ["vectors"])
    assert "of vectors.mini is gone, the newest was read" in text(found, "vectors")


def test_what_others_did_since_changes_no_proof(proved):
    """Tags, runs and lists are read as they were, not as they are."""
    proved.run("clustering", "k", method={"kmeans": {"nb_clusters": 3}}, replace=True)
    proved.run("saved_clustering", "k", replace=True)
    proved.run("tags")
    (proved.project.folder / "list.txt").write_text("animals/fish/fish_01.jpg")
    assert verdict(proved, "c").summary == "The same."
    assert verdict(proved, "t").summary == "The same."
    assert verdict(proved, "tag").summary == "The same."
    assert verdict(proved, "node").summary == "The same."
    of_list = verdict(proved, "list")
    assert of_list.proved
    assert of_list.circumstances == ["scope"]
    assert "the list list.txt was changed since" in text(of_list, "scope")


def test_neighbours_from_an_index_are_those_that_were_read(bench):
    bench.run("neighbors", "mini", exact_up_to=0)
    bench.run("clustering", "a", method={"kmeans": {"nb_clusters": -1}})
    bench.run("neighbors", "mini", k=60)
    found = verdict(bench, "a")
    assert found.summary == "The same."
    assert text(found, "neighbours").startswith("neighbors.mini version ")
    bench.run("clustering", "later", method={"kmeans": {"nb_clusters": -1}})
    bench.run("neighbors", "mini", exact_up_to=0)
    assert verdict(bench, "later").summary == "The same.", "an index that came later is not read"


def test_the_check_is_silent_where_a_run_is_made_and_speaks_when_asked(bench):
    result = bench.run("clustering", "k", method=KMEANS)
    judged = {evaluation.check_name for evaluation in result.get_asset_check_evaluations()}
    assert "verified" not in judged
    check = bench.checks("clustering", "k", "verified")["verified"]
    assert check.passed
    assert check.partition == "k"
    edit_row(bench, "clusters", "k", size=1)
    check = bench.checks("clustering", "k", "verified")["verified"]
    assert not check.passed
    assert check.severity == dg.AssetCheckSeverity.ERROR
    assert "| ✗ | clusters | 1 rows are not so" in check.metadata["links"].value


def test_the_job_says_which_materialization_it_judged(bench):
    """The UI shows a check as judged only beside the materialization that it is about."""
    made = bench.run("clustering", "k", method=KMEANS)
    bench.definitions.resolve_job_def("verify_runs").execute_in_process(instance=bench.instance)
    key = dg.AssetCheckKey(dg.AssetKey("clustering"), "verified")
    [entry] = [
        entry
        for entry in bench.instance.event_log_storage.get_asset_check_execution_history(key, 10)
        if entry.event.dagster_event.event_type_value == "ASSET_CHECK_EVALUATION"
    ]
    found = entry.event.dagster_event.asset_check_evaluation_data
    assert found.target_materialization_data.run_id == made.run_id


def test_the_job_reports_every_division_and_goes_on_after_a_failure(proved):
    edit_row(proved, "clusters", "h", size=1)
    job = proved.definitions.resolve_job_def("verify_runs")
    config = {"keys": ["h", "k"], "pixels": False}
    for _ in range(2):  # each week another time
        with pytest.raises(dg.Failure, match="Not proved: 1 of 3 divisions: h"):
            job.execute_in_process(
                instance=proved.instance,
                run_config={"ops": {"verify_divisions": {"config": config}}},
            )
    for asset, expected in (("clustering", {"h": False, "k": True}), ("nested_clustering", None)):
        key = dg.AssetCheckKey(dg.AssetKey(asset), "verified")
        history = proved.instance.event_log_storage.get_asset_check_execution_history(key, 10)
        said = {
            entry.partition: entry.event.dagster_event.asset_check_evaluation_data.passed
            for entry in history
        }
        assert said == (expected or {"k/2": True})


def test_the_command_says_each_link_and_ends_with_one_when_something_is_not_proved(proved):
    folder = proved.project.folder
    answer = run("verify", "k", "--no-pixels", cwd=folder)
    lines = answer.stdout.splitlines()
    assert lines[0].startswith("✓ k@1-")
    assert any(line.startswith("✓ k/2@1-") for line in lines)
    assert any(line.split() == ["✓", "libraries", "as", "recorded"] for line in lines)
    edit_row(proved, "clusters", "h", size=1)
    answer = run("verify", "h", "--no-pixels", "--json", cwd=folder, expect=1)
    assert json.loads(answer.stdout)["proved"] is False
    assert "Not proved: 1 division." in answer.stderr
    assert proved.read.verify("k/2", pixels=False)[0]["proved"]
    assert "There is no clustering 'nothing'" in refused("verify", "nothing", cwd=folder)
    assert "or --all: one of the two" in refused("verify", cwd=folder)

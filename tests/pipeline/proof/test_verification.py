"""Every answer can be computed again, and what is no longer as it was recorded is named."""

import contextlib
import importlib.metadata
import json
import os
import platform
import shutil
from datetime import timedelta

import dagster as dg
import lancedb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import threadpoolctl
import torch
import yaml

from panoptic_assets.cli.main import main
from panoptic_assets.clustering.table import stored_records
from panoptic_assets.orchestration.instance import open_instance
from panoptic_assets.proof.assets import seals_in_log
from panoptic_assets.proof.verification import Verifier
from panoptic_assets.spec import seals
from resources.lance import LanceStore
from resources.project_folder import find
from resources.schemas import SCHEMAS
from tests import processes
from tests.commands import refused, run
from tests.pictures import SAMPLE
from tests.workbench import Workbench, metadata

pytestmark = pytest.mark.usefixtures("one_mini")

KMEANS = {"kmeans": {"nb_clusters": 4}}


@pytest.fixture(scope="session")
def proved_folder(embedded_folder, once):
    """The embedded sample with a run of every kind."""

    def write(folder):
        shutil.copytree(embedded_folder, folder, dirs_exist_ok=True)
        with kept_instance(folder) as instance:
            write_runs(Workbench(find(folder), instance), folder)

    return once("proved", write)


def kept_instance(folder):
    """The Dagster instance in the project's folder, which is copied with it: the witness."""
    return open_instance(find(folder).dagster_home)


def write_runs(bench, folder):
    lines = [file["path"] for file in bench.read.files().to_pylist()[:40]]
    (folder / "list.txt").write_text("\n".join(lines))
    bench.run("clustering", "k", method=KMEANS)
    bench.run("nested_clustering", "k/2", method={"kmeans": {"nb_clusters": 2}})
    bench.make("saved_clustering", "k")
    bench.make("tags")
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


@pytest.fixture
def proved(proved_folder, tmp_path):
    folder = tmp_path / "proved"
    shutil.copytree(proved_folder, folder)
    with kept_instance(folder) as instance:
        yield Workbench(find(folder), instance)


def verifier(bench, pixels=False, log=True):
    resources = bench.definitions.resources
    parts = (resources[name] for name in ("models", "registry", "source"))
    witness = seals_in_log(bench.instance) if log else lambda record: None
    return Verifier(bench.store, *parts, witness=witness, pixels=pixels)


def verdict(bench, key, pixels=False, log=True):
    return verifier(bench, pixels, log).verify(key)


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
    """Change one row that a clustering has in a table; returns it as it was."""
    [row, *_] = bench.store.read(table, where=f"key = '{key}'").sort_by("record_id").to_pylist()
    bench.store.upsert(table, pa.Table.from_pylist([row | values], SCHEMAS[table]))
    return row


def test_every_method_and_every_scope_is_proved(proved):
    """DESIGN 7: the same record on the same machine gives the same labels, bit for bit."""
    asked = verifier(proved, pixels=True)
    found = [asked.verify(key) for key in asked.all_keys()]
    assert [one.key for one in found] == sorted(
        ["a", "c", "d", "h", "k", "k/2", "list", "node", "search", "t", "tag"]
    )
    assert {one.key: one.summary for one in found if one.summary != "The same."} == {}
    assert asked.keys("k") == ["k", "k/2"]
    assert {link.name for link in found[0].links} >= {"figures", "notes", "witness"}


@pytest.mark.parametrize("threads", [1, 2])
def test_another_process_on_shuffled_rows_gives_the_same(proved, threads, tmp_path):
    """A4, K3: neither the order of rows nor the number of threads changes an answer."""
    shuffle(proved.project)
    process = processes.start(verify_all, proved.project.folder, threads, tmp_path / "said.jsonl")
    process.join(300)
    assert process.exitcode == 0
    found = [json.loads(line) for line in (tmp_path / "said.jsonl").read_text().splitlines()]
    assert len(found) == 11
    assert [one["key"] for one in found if not one["proved"]] == []


def verify_all(folder, threads, said):
    """The command, in a process whose libraries have so many threads."""
    for name in ("DAGSTER_HOME", "PANOPTIC_PROJECT"):
        os.environ.pop(name, None)
    torch.set_num_threads(threads)
    limits = threadpoolctl.threadpool_limits(threads)
    with said.open("w") as stream, contextlib.redirect_stdout(stream), limits:
        main(["--project", str(folder), "verify", "--all", "--json"])


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
    assert "the same seal" in text(verdict(bench, "k"), "witness")

    def change(document):
        document["started_at"] = "2001-01-01T00:00:00Z"

    edit_record(bench, "k", change, seal=True)
    found = verdict(bench, "k")
    assert found.broken == ["witness"]
    assert seal in text(found, "witness")
    [row] = bench.store.read("records").to_pylist()
    for forged, broken in ((None, ["witness"]), ("{", ["record", "witness"])):
        rows = pa.Table.from_pylist([row | {"seal": forged}], SCHEMAS["records"])
        bench.store.upsert("records", rows)
        assert verdict(bench, "k").broken == broken


def put(place, value):
    """A change of a document: the field at a dotted place gets a value."""

    def change(document):
        *above, name = place.split(".")
        for part in above:
            document = document[part]
        document[name] = value

    return change


@contextlib.contextmanager
def forged(bench, key, place, value):
    """A record of which somebody changed a field and made the seal anew, until all is put back."""
    before = bench.store.read("records", where=f"key = '{key}'")
    edit_record(bench, key, put(place, value), seal=True)
    yield
    bench.store.upsert("records", before)


FORGED = [
    ("k", "mean_score", 1.0, "figures"),
    ("k", "mean_score", None, "figures"),
    ("k", "baseline_score", 99.5, "figures"),
    ("k", "quality.silhouette", 0.99, "figures"),
    ("k", "quality.davies_bouldin", 0.1, "figures"),
    ("k", "quality.calinski_harabasz", 4000.0, "figures"),
    ("k", "quality.silhouette_sampled", 5000, "figures"),
    ("k", "quality.measured_on", "vit-b-32", "figures"),
    ("k", "quality", None, "figures"),
    ("k", "stability", 0.99, "figures"),
    ("a", "stability", 0.999, "figures"),
    ("k", "counts.in_scope", 300, "figures"),
    ("k", "counts.clustered", 252, "figures"),
    ("h", "counts.remainder", 0, "figures"),
    ("k", "counts.not_embedded", 1, "figures"),
    ("d", "nb_clusters", 2, "figures"),
    ("search", "notes", ["All is well."], "notes"),
    ("k", "notes", ["All is well."], "notes"),
    ("k", "run_key", "h", "record"),
    ("k/2", "run_key", "k/2", "record"),
    ("k/2", "parent_output", "0" * 64, "parent"),
    ("list", "id_list.file", "another.txt", "scope"),
    ("list", "id_list", None, "scope"),
    ("k", "id_list", {"file": "list.txt", "sha256": "0" * 64}, "scope"),
]


def test_a_forged_figure_of_a_record_that_is_sealed_anew_is_named_and_it_alone(proved):
    """K3: whoever writes to the store can seal anew; only computing again tells."""
    for key, place, value, link in FORGED:
        with forged(proved, key, place, value):
            found = verdict(proved, key, log=False)
            assert (found.broken, found.circumstances) == ([link], []), (key, place)
            if link in ("figures", "scope", "record"):
                assert place.partition(".")[0] in text(found, link)
    assert verdict(proved, "k").summary == "The same."


def test_a_node_whose_record_names_another_parent_is_found(proved):
    [other] = stored_records(proved.store, "key = 'h'").values()
    with forged(proved, "k/2", "parent_record", other.record.record_id):
        found = verdict(proved, "k/2", log=False)
    assert found.broken == ["parent"]
    assert text(found, "parent").startswith(f"{other.record.record_id} is of h, not of k")


def test_forged_rows_and_record_that_agree_with_each_other_are_both_named(proved):
    rows = proved.store.read("clusters", where="key = 'k'").to_pylist()
    lower = pa.Table.from_pylist([row | {"score": 1.0} for row in rows], SCHEMAS["clusters"])
    proved.store.upsert("clusters", lower)
    with forged(proved, "k", "mean_score", 1.0):
        found = verdict(proved, "k", log=False)
    assert (found.broken, found.answer) == (["figures", "clusters"], "same")
    assert text(found, "figures").startswith("mean_score: 1.0 is stored, ")
    assert text(found, "clusters") == "4 rows are not so: 0, 1, 2, …"


@pytest.mark.parametrize(
    ("table", "key", "values"),
    [
        ("assignments", "k", {"probability": 0.5}),
        ("assignments", "k", {"assigned_later": True}),
        ("assignments", "h", {"probability": 0.123}),
        ("assignments", "h", {"assigned": "remainder"}),
        ("assignments", "d", {"similarity": 0.123}),
        ("assignments", "c", {"distance": 0.0}),
        ("clusters", "a", {"stability": 0.123}),
        ("clusters", "k", {"stability": 1.0}),
        ("clusters", "k", {"medoid": "0" * 64}),
        ("clusters", "t", {"name": "Vases"}),
        ("clusters", "k", {"name": "Vases"}),
    ],
)
def test_a_stored_figure_of_one_row_is_compared(proved, table, key, values):
    edit_row(proved, table, key, **values)
    found = verdict(proved, key)
    assert (found.broken, found.circumstances, found.answer) == ([table], [], "same")


def test_rows_and_records_that_are_there_twice_are_found(proved):
    """The store has no constraint that would refuse them."""
    store = lancedb.connect(proved.project.store)
    for table in ("assignments", "clusters"):
        [row] = proved.store.read(table, where="key = 'k' AND cluster = '1'").to_pylist()[:1]
        store.open_table(table).add(pa.Table.from_pylist([row], SCHEMAS[table]))
    assert verdict(proved, "k").broken == ["assignments", "clusters"]
    [row] = proved.store.read("records", where="key = 'h'").to_pylist()
    store.open_table("records").add(pa.Table.from_pylist([row], SCHEMAS["records"]))
    assert verdict(proved, "h").broken == ["record"]


@pytest.mark.parametrize("name", ["revision", "dagster_run_id", "key"])
def test_a_record_under_another_id_than_its_own_is_named(proved, name):
    value = 7 if name == "revision" else "f0f0f0f0-0000"
    with forged(proved, "h", name, value):
        asked = verifier(proved)
        key = value if name == "key" else "h"
        assert key in asked.all_keys()
        found = asked.verify(key)
        assert (found.broken, found.failed) == (["record"], True)
        answer = run("verify", "--all", "--no-pixels", cwd=proved.project.folder, expect=1)
    assert "filed under another id than its own" in answer.stdout


def test_a_record_that_is_filed_under_another_run_is_named(proved):
    [row] = proved.store.read("records", where="key = 'h'").to_pylist()
    other = pa.Table.from_pylist([row | {"run_key": "k"}], SCHEMAS["records"])
    proved.store.upsert("records", other)
    found = verdict(proved, "h")
    assert found.broken == ["record"]
    assert "run_key: 'k' is stored, and should be 'h'" in text(found, "record")


def test_what_does_not_come_out_again_needs_a_witness(proved):
    """Times, costs and the Dagster run may be what they were; only the log knows."""
    for place, value in (
        ("usage.cpu_seconds", 0.001),
        ("usage.peak_memory", 1),
        ("finished_at", "2001-01-01T00:00:00Z"),
        ("git_commit", None),
    ):
        with forged(proved, "k", place, value):
            found = verdict(proved, "k", log=False)
            assert (found.proved, found.witnessed, found.broken) == (True, False, [])
            assert found.summary.startswith("Proved, no witness: nobody outside the store confirms")
            assert "Dagster's event log has no seal of this record" in text(found, "witness")
            assert "$DAGSTER_HOME" in text(found, "witness")
            assert verdict(proved, "k").broken == ["witness"]
    [stored] = stored_records(proved.store, "key = 'k'").values()
    another_run = stored.record.dagster_run_id[:8] + "-0000-0000-0000-000000000000"
    with forged(proved, "k", "dagster_run_id", another_run):  # which gives the same record id
        assert verdict(proved, "k").broken == ["witness"]


def test_records_that_are_older_than_a_figure_are_not_condemned(proved):
    def without(document):
        for name in ("mean_score", "quality", "stability", "usage", "refreshed", "notes"):
            del document[name]

    edit_record(proved, "a", without, seal=True)
    found = verdict(proved, "a", log=False)
    assert (found.proved, found.broken) == (True, [])
    assert "quality is not recorded: the record is older than it" in text(found, "figures")
    assert text(found, "notes") == "notes are not recorded: the record is older than they are"
    assert text(found, "record") == "usage is not recorded: the record is older than it"
    assert found.not_compared == ["usage", "mean_score", "quality", "stability", "notes"]


def taken_out(place):
    """A change of a document: the field at a dotted place is gone."""

    def change(document):
        *above, name = place.split(".")
        for part in above:
            document = document[part]
        del document[name]

    return change


@pytest.mark.parametrize(
    ("key", "change", "link", "named"),
    [
        ("k", taken_out("notes"), "notes", "notes"),
        ("search", taken_out("notes"), "notes", "notes"),
        ("k", taken_out("quality"), "figures", "quality"),
        ("k", taken_out("mean_score"), "figures", "mean_score"),
        ("k", taken_out("usage"), "record", "usage"),
        ("list", taken_out("id_list"), "scope", "id_list"),
        ("k", taken_out("libraries.numpy"), "libraries", "libraries.numpy"),
        ("k", taken_out("machine.processor"), "machine", "machine.processor"),
        ("k", put("libraries", {}), "libraries", "libraries"),
        ("k", put("machine", {}), "machine", "machine"),
        ("k", put("of_next_year", "magic"), "record", "of_next_year"),
        ("k", put("next_number", 7), "record", "next_number"),
        ("k", put("usage.joules", 7), "record", "usage.joules"),
    ],
)
def test_what_cannot_be_compared_of_a_record_is_named_in_the_verdict(
    proved, key, change, link, named
):
    edit_record(proved, key, change, seal=True)
    found = verdict(proved, key, log=False)
    assert (found.proved, found.broken, found.circumstances) == (True, [], [])
    assert [
        one.name for one in found.links if one.state == "unknown" and one.name != "witness"
    ] == [link]
    assert named.rpartition(".")[2] in text(found, link) or "not recorded" in text(found, link)
    assert found.not_compared == [named]
    assert found.as_dictionary()["summary"].endswith(f"The same; not compared: {named}.")
    assert verdict(proved, key).broken == ["witness"]


def test_what_cannot_be_compared_hides_no_other_circumstance(proved):
    edit_record(proved, "k", put("libraries", {"numpy": "0.1"}), seal=True)
    found = text(verdict(proved, "k", log=False), "libraries")
    assert found.startswith("numpy: 0.1 → ")
    assert "torch: not recorded" in found


@pytest.mark.parametrize("circumstance", ["libraries.numpy", "machine.processor", "code_version"])
def test_a_circumstance_excuses_other_numbers_in_notes_and_other_code_alone_other_words(
    proved, circumstance
):
    [stored] = stored_records(proved.store, "key = 'search'").values()
    notes = stored.record.notes
    assert any(any(map(str.isdigit, note)) for note in notes)
    numbers = ["".join("7" if one.isdigit() else one for one in note) for note in notes]
    edit_record(proved, "search", put(circumstance, "0.1"), seal=True)
    link = {"code_version": "code"}.get(circumstance, circumstance.partition(".")[0])
    for forgery, broken, others in (
        ([*notes, "Reviewed by X."], ["notes"], {link}),
        (["Reviewed by 3."], ["notes"], {link}),
        (notes[1:], ["notes"], {link}),
        (numbers, [], {link, "notes"}),
    ):
        if circumstance == "code_version":  # an honest one may say the same in other words
            broken, others = [], {link, "notes"}
        with forged(proved, "search", "notes", forgery):
            found = verdict(proved, "search", log=False)
            assert (found.broken, {*found.circumstances}) == (broken, others), forgery
    with forged(proved, "k", "notes", ["Reviewed by X."]):
        assert "Reviewed by X." in text(verdict(proved, "k", log=False), "notes")


def test_where_another_library_rounds_only_what_single_images_decide_may_differ(
    proved, monkeypatch
):
    version = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: "0.1" if name == "scipy" else version(name)
    )
    with forged(proved, "a", "stability", 0.999):
        found = verdict(proved, "a", log=False)
        assert (found.broken, found.circumstances) == ([], ["figures", "libraries"])
    with forged(proved, "a", "mean_score", 1.0):
        found = verdict(proved, "a", log=False)
        assert (found.broken, found.circumstances) == (["figures"], ["libraries"])
        assert found.summary.endswith(
            "these are not what was recorded: figures; other now: libraries."
        )
    edit_row(proved, "clusters", "a", stability=0.123)
    found = verdict(proved, "a")
    assert (found.broken, found.circumstances) == ([], ["libraries", "clusters"])
    edit_row(proved, "clusters", "a", medoid="0" * 64)
    assert verdict(proved, "a").broken == ["clusters"]


def test_in_a_cluster_of_two_another_library_may_round_to_the_other_medoid(proved, monkeypatch):
    """Both are as near to their mean, but for the last digit."""
    pair = proved.store.read("clusters", where="key = 'd' AND size = 2").to_pylist()[0]
    where = f"record_id = '{pair['record_id']}' AND cluster = '{pair['cluster']}'"
    members = proved.store.read("assignments", where=where)["image_id"].to_pylist()
    [other] = {*members} - {pair["medoid"]}
    changed = pa.Table.from_pylist([pair | {"medoid": other}], SCHEMAS["clusters"])
    proved.store.upsert("clusters", changed)
    assert verdict(proved, "d").broken == ["clusters"]
    monkeypatch.setattr(platform, "machine", lambda: "abacus")
    found = verdict(proved, "d")
    assert (found.broken, found.circumstances) == ([], ["machine"])


def test_the_log_is_a_witness_as_long_as_one_run_that_told_the_seal_is_kept(proved, monkeypatch):
    """A run that computes the same again tells the seal again, and retention keeps the newest."""
    monkeypatch.setattr("panoptic_assets.proof.assets._PAGE", 1)
    [stored] = stored_records(proved.store, "key = 'k'").values()
    for _ in range(2):
        proved.run("clustering", "k", method=KMEANS)
    assert verdict(proved, "k").summary == "The same."
    proved.instance.delete_run(stored.record.dagster_run_id)
    assert verdict(proved, "k").summary == "The same."
    with forged(proved, "k", "finished_at", "2001-01-01T00:00:00Z"):
        assert verdict(proved, "k").broken == ["witness"]
    proved.run("clustering", "k", method={"kmeans": {"nb_clusters": 3}}, replace=True)
    assert verdict(proved, "k").summary == "The same."


def test_points_and_imported_vectors_are_proved_with_their_figures(proved):
    """Of a projection the scores are of its vectors; imported vectors have no model."""
    configs = proved.project.configs
    proved.run("projection", "mini/p", method={"pca": {}})
    proved.run("clustering", "points", method=KMEANS, features="mini/p")
    rows = proved.store.read("vectors.mini").slice(0, 60)
    table = pa.table({"path": rows["image_id"], "vector": rows["vector"]})
    pq.write_table(table, proved.project.folder / "v.parquet")
    (configs / "models" / "theirs.yaml").write_text("vectors: v.parquet\nmodel: theirs\n")
    proved.run("embeddings", "theirs")
    proved.run("clustering", "theirs", method=KMEANS, features="theirs", stability=1)
    for key in ("points", "theirs"):
        assert verdict(proved, key).summary == "The same."
        with forged(proved, key, "quality.silhouette", 0.99):
            assert verdict(proved, key, log=False).broken == ["figures"]


def test_a_proof_without_a_witness_ends_with_three_and_warns(proved):
    folder = proved.project.folder
    assert run("verify", "k/2", "h", "--no-pixels", cwd=folder).returncode == 0
    shutil.rmtree(folder / ".panoptic" / "dagster")
    answer = run("verify", "k", "--no-pixels", cwd=folder, expect=3)
    assert answer.stdout.startswith("? k@1-")
    assert "Proved, no witness: 2 clusterings" in answer.stderr
    found = json.loads(run("verify", "h", "--json", "--no-pixels", cwd=folder, expect=3).stdout)
    assert (found["proved"], found["witnessed"]) == (True, False)
    assert found["summary"].startswith("Proved, no witness: ")
    [of_python] = proved.read.verify("h", pixels=False)
    assert (of_python["proved"], of_python["witnessed"]) == (True, False)
    proved.run("clustering", "h", method={"hdbscan": {}}, assign_remainder=True)
    edit_row(proved, "clusters", "d", size=1)
    assert run("verify", "k", "d", "--no-pixels", cwd=folder, expect=1)


def test_the_check_of_a_proof_without_a_witness_is_a_warning(bench):
    bench.run("clustering", "k", method=KMEANS)
    elsewhere = Workbench(bench.project, dg.DagsterInstance.ephemeral())
    check = elsewhere.checks("clustering", "k", "verified")["verified"]
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert check.description.startswith("Proved, no witness: ")
    job = bench.definitions.resolve_job_def("verify_runs")
    assert job.execute_in_process(instance=dg.DagsterInstance.ephemeral()).success


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
    found = verdict(proved, "k", log=False)
    assert (found.proved, found.witnessed) == (True, False)
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


def test_the_job_reports_every_clustering_and_goes_on_after_a_failure(proved):
    edit_row(proved, "clusters", "h", size=1)
    job = proved.definitions.resolve_job_def("verify_runs")
    config = {"keys": ["h", "k"], "pixels": False}
    for _ in range(2):  # each week another time
        with pytest.raises(dg.Failure, match="Not proved: 1 of 3 clusterings: h"):
            job.execute_in_process(
                instance=proved.instance,
                run_config={"ops": {"verify_clusterings": {"config": config}}},
            )
    for asset, expected in (("clustering", {"h": False, "k": True}), ("nested_clustering", None)):
        key = dg.AssetCheckKey(dg.AssetKey(asset), "verified")
        history = proved.instance.event_log_storage.get_asset_check_execution_history(key, 10)
        said = {
            entry.partition: entry.event.dagster_event.asset_check_evaluation_data.passed
            for entry in history
            if entry.event.dagster_event.event_type_value == "ASSET_CHECK_EVALUATION"
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
    assert "Not proved: 1 clustering." in answer.stderr
    assert proved.read.verify("k/2", pixels=False)[0]["proved"]
    assert "There is no clustering 'nothing'" in refused("verify", "nothing", cwd=folder)
    assert "or --all: one of the two" in refused("verify", cwd=folder)

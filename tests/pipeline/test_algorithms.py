"""DESIGN 7: answers may change only with a number, of a method, projection or decoder."""

import hashlib
import io
import json
import shutil
import zipfile
from pathlib import Path

import dagster as dg
import numpy as np
import pytest
from PIL import Image

from panoptic_assets.clustering.algorithms.interface import Outcome
from panoptic_assets.clustering.methods import Agglomerative
from panoptic_assets.clustering.policies import Assign, Recluster
from panoptic_assets.clustering.search import text_encoder
from panoptic_assets.clustering.table import stored_records
from panoptic_assets.features.config import Pca
from panoptic_assets.features.table import model_identity, read_vectors
from panoptic_assets.proof.bundle_check import Check, open_box
from resources import decoding
from resources.project_folder import ProjectSettings, create, find
from tests.commands import run
from tests.pipeline.proof.test_verification import edit_record, text, verdict
from tests.pipeline.upkeep.test_refreshing import apply, grow, refresh, whats
from tests.tiny import write_images, write_model
from tests.workbench import Workbench

TWO = {"agglomerative": {"nb_clusters": 2}}
GONE = "made by algorithm 1, which is no longer here: not compared"
UNKNOWN = "made by algorithm 3, which this version does not know: not compared"


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """Thirty images, with a run, a divided cluster and a projection by the first algorithms."""
    folder = tmp_path_factory.mktemp("algorithms")
    model = write_model(folder / "model")
    write_images(folder / "project" / "images", 30)
    project = create(folder / "project", ProjectSettings(images="images", vector_type="tiny"))
    for file in project.configs.rglob("*.yaml"):
        file.unlink()
    for name in ("tiny", "twin"):
        (project.configs / "models" / f"{name}.yaml").write_text(
            f"model: local-dir:{model}\nprecision: fp32\n"
        )
    bench = Workbench(project, dg.DagsterInstance.ephemeral())
    with pytest.MonkeyPatch.context() as then:
        then.setattr(decoding, "ALGORITHM", 1)
        refresh(bench)
    bench.make("clustering", "greek", method=TWO)
    bench.make("nested_clustering", "greek/0", method=TWO)
    bench.make("projection", "tiny/pca")
    return project.folder


@pytest.fixture
def bench(first, tmp_path):
    shutil.copytree(first, tmp_path / "project")
    project = find(tmp_path / "project")
    assert Path(project.images).is_relative_to(project.folder)
    return Workbench(project, dg.DagsterInstance.ephemeral())


@pytest.fixture
def raised(monkeypatch):
    """From now on the method parts images by their order; what it was is kept if that is asked."""

    def compute(config, data, seed):
        return Outcome((np.arange(len(data)) % config.nb_clusters).astype(np.int64))

    def to_two(kept=True):
        monkeypatch.setattr(Agglomerative, "older", {1: Agglomerative.compute} if kept else {})
        monkeypatch.setattr(Agglomerative, "algorithm", 2)
        monkeypatch.setattr(Agglomerative, "compute", compute)

    return to_two


def document(bench, key):
    [*_, stored] = stored_records(bench.store, f"key = '{key}'").values()
    return stored.document


def test_what_the_first_algorithm_made_has_no_number_in_the_store(bench):
    assert "algorithm" not in document(bench, "greek")
    assert "algorithm" not in bench.read.projections()[0]["cause"]
    assert model_identity(bench.store, "tiny").keys().isdisjoint({"algorithm", "decoder"})
    assert bench.read.run_info("greek")["algorithm"] == 1
    assert "\nalgorithm: 1\n" in run("run-info", "greek", cwd=bench.project.folder).stdout


def test_an_old_answer_is_proved_by_the_algorithm_that_is_kept(bench, raised):
    raised()
    for key in ("greek", "greek/0"):
        found = verdict(bench, key)
        assert (found.answer, found.proved, found.broken) == ("same", True, [])
        assert text(found, "output").endswith(", by algorithm 1")
    bench.make("clustering", "roman", method=TWO)
    assert document(bench, "roman")["algorithm"] == bench.read.run_info("roman")["algorithm"] == 2
    assert bench.read.run_info("roman")["output"] != bench.read.run_info("greek")["output"]
    found = verdict(bench, "roman")
    assert found.proved
    assert "by algorithm" not in text(found, "output")


def test_the_stability_of_an_old_answer_is_that_of_its_algorithm(bench, raised):
    bench.make("clustering", "sure", method=TWO, stability=2)
    raised()
    assert verdict(bench, "sure").proved


@pytest.mark.parametrize("key", ["greek", "greek/0"])
def test_an_answer_by_an_algorithm_that_is_gone_is_not_compared(bench, raised, key):
    raised(kept=False)
    found = verdict(bench, key)
    assert (found.answer, found.proved, found.broken) == ("not computed", False, [])
    assert found.summary == f"Cannot be computed: {GONE}."
    [output] = [link for link in found.links if link.name == "output"]
    assert (output.state, output.text) == ("unknown", GONE)
    assert "output" in found.not_compared
    # What needs no computing is compared all the same.
    states = {link.name: link.state for link in found.links}
    assert states["vectors"] == states["assignments"] == states["parameters"] == "same"


def test_rows_that_were_edited_are_found_even_if_the_algorithm_is_gone(bench, raised):
    raised(kept=False)
    rows = bench.store.read("assignments", where="key = 'greek'")
    column = rows.schema.get_field_index("cluster")
    bench.store.upsert("assignments", rows.set_column(column, "cluster", [["0"] * len(rows)]))
    assert verdict(bench, "greek").broken == ["assignments"]


def newer(bench, key="greek", number=3, seal=True):
    edit_record(bench, key, lambda document: document.update(algorithm=number), seal=seal)


def test_an_answer_of_a_newer_version_is_not_compared(bench):
    newer(bench)
    found = verdict(bench, "greek")
    assert (found.answer, found.proved, found.broken) == ("not computed", False, [])
    assert found.summary == f"Cannot be computed: {UNKNOWN}."
    told = run("verify", "greek", "--no-pixels", cwd=bench.project.folder, expect=1).stdout
    assert f"? output         {UNKNOWN}" in told


@pytest.mark.parametrize(("stored", "written"), [(2, 1), (None, 2), (1, 2)])
def test_a_number_that_was_forged_is_named_by_the_seal(bench, raised, stored, written):
    raised()
    key = "greek"
    if written == 2:
        key = "roman"
        bench.make("clustering", key, method=TWO)

    def forge(document):
        document.pop("algorithm", None)
        if stored:
            document["algorithm"] = stored

    edit_record(bench, key, forge)
    found = verdict(bench, key)
    assert (found.answer, found.proved, found.broken) == ("not computed", False, ["parameters"])
    told = f"algorithm: {stored or 'nothing'} is stored, and is not what was sealed"
    assert text(found, "parameters") == told


def test_a_record_that_says_the_first_number_is_one_that_says_none(bench):
    newer(bench, number=1)
    found = verdict(bench, "greek", log=False)
    assert (found.proved, found.not_compared) == (True, [])


def test_a_forged_number_that_is_sealed_anew_gives_another_answer(bench, raised):
    raised()
    newer(bench, number=2)
    found = verdict(bench, "greek")
    assert found.answer == "differs"
    assert not found.proved


def test_status_says_by_which_algorithm_a_run_would_be_computed(bench, raised):
    raised()
    said = {s["key"]: s for s in bench.read.status()["staleness"]}
    for key in ("greek", "greek/0"):
        assert said[key]["state"] == "stale"
        told = "made by algorithm 1; it would be computed by algorithm 2 now"
        assert said[key]["text"] == told
        assert [one["kind"] for one in said[key]["reasons"]] == ["algorithm_changed"]
    assert bench.read.run_info("greek")["revision"] == 1, "nothing was computed"


def test_status_does_not_know_what_a_newer_algorithm_would_answer(bench):
    newer(bench)
    [said] = [s for s in bench.read.status()["staleness"] if s["key"] == "greek"]
    assert said["state"] == "unknown"
    assert said["text"] == "made by algorithm 3, which this version does not know"


def test_materialized_again_a_run_is_a_new_revision_and_says_so(bench, raised):
    before, record_id = document(bench, "greek"), bench.read.run_info("greek")["record_id"]
    raised()
    result = bench.run("clustering", "greek")
    after = document(bench, "greek")
    assert (after["revision"], after["algorithm"]) == (2, 2)
    assert len(stored_records(bench.store, "key = 'greek'")) == 2
    assert next(iter(stored_records(bench.store, "key = 'greek'").values())).document == before
    told = f"{record_id} was made by algorithm 1; greek is computed by algorithm 2 now."
    assert told in [line.user_message for line in bench.instance.all_logs(result.run_id)]
    [said] = [s for s in bench.read.status()["staleness"] if s["key"] == "greek"]
    assert said["state"] == "up to date"


def test_where_a_newer_algorithm_gives_the_same_answer_the_record_tells_of_it(bench, monkeypatch):
    output = bench.read.run_info("greek")["output"]
    monkeypatch.setattr(Agglomerative, "algorithm", 2)
    bench.make("clustering", "greek")
    info = bench.read.run_info("greek")
    assert (info["output"], info["revision"], info["algorithm"]) == (output, 2, 2)


def test_the_policy_recluster_computes_what_an_older_algorithm_made(bench, raised):
    assert whats(apply(bench, Recluster())) == [("greek", "same"), ("greek/0", "same")]
    raised()
    assert whats(apply(bench, Recluster()))[0] == ("greek", "reclustered")
    info = bench.read.run_info("greek")
    assert (info["algorithm"], info["refreshed"]["policy"]) == (2, "recluster")
    assert verdict(bench, "greek").proved
    assert whats(apply(bench, Recluster()))[0] == ("greek", "same")


def test_the_policy_recluster_never_goes_back_to_an_older_algorithm(bench):
    newer(bench)
    assert whats(apply(bench, Recluster()))[0] == ("greek", "same")


def test_the_policy_assign_keeps_the_clusters_and_their_number(bench, raised):
    raised()
    bench.make("clustering", "roman", method=TWO)
    numbers = {"greek": 1, "roman": 2}
    for key in numbers:
        assert whats(apply(bench, Assign(), key))[0] == (key, "same")
    grow(bench, 3, start=30)
    for key, number in numbers.items():
        assert whats(apply(bench, Assign(), key))[0] == (key, "assigned")
        info = bench.read.run_info(key)
        assert (info["algorithm"], info["refreshed"]["policy"]) == (number, "assign")
        assert verdict(bench, key).proved
    said = {s["key"]: s for s in bench.read.status("greek", "roman")["staleness"]}
    assert "made by algorithm 1" in said["greek"]["text"]
    assert said["roman"]["state"] == "up to date"
    newer(bench, "greek", 2)
    found = verdict(bench, "greek")
    assert found.broken == ["base"]
    assert "algorithm: 2 is stored, 1 came out" in text(found, "base")


def test_images_that_were_assigned_to_clusters_of_a_gone_algorithm_are_compared(bench, raised):
    grow(bench, 3, start=30)
    apply(bench, Assign())
    raised(kept=False)
    found = verdict(bench, "greek")
    assert (found.answer, found.broken) == ("same", [])
    assert "base" in found.not_compared
    assert GONE in text(found, "base")


def test_a_comparison_names_the_algorithm_that_two_runs_differ_in(bench, raised):
    bench.make("clustering", "same", method=TWO)
    raised()
    bench.make("clustering", "roman", method=TWO)
    differing = bench.read.compare("greek", "roman")["differences"]
    assert {"section": "versions", "name": "algorithm", "a": "1", "b": "2"} in differing
    differing = bench.read.compare("greek", "same")["differences"]
    assert "algorithm" not in [one["name"] for one in differing]


def test_a_bundle_carries_the_number_and_its_check_guards_it(bench, raised, tmp_path):
    raised()
    bench.make("clustering", "roman", method=TWO)
    bench.read.bundle("roman", tmp_path / "roman.zip")
    with zipfile.ZipFile(tmp_path / "roman.zip") as box:
        box.extractall(tmp_path / "unpacked")
    assert Check(open_box(tmp_path / "unpacked")).all() == []
    file = tmp_path / "unpacked" / "records.jsonl"
    line = json.loads(file.read_text())
    assert line["content"].pop("algorithm") == 2
    file.write_text(json.dumps(line) + "\n")
    found = Check(open_box(tmp_path / "unpacked")).all()
    assert f"records.jsonl: {line['record_id']}: algorithm is not what was sealed" in found


def test_a_projection_by_another_algorithm_is_made_again_and_says_by_which(bench, monkeypatch):
    [before] = bench.read.projections()
    bench.make("projection", "tiny/pca")
    assert bench.read.projections() == [before], "the first number changes nothing"
    monkeypatch.setattr(Pca, "algorithm", 2)
    bench.make("projection", "tiny/pca")
    [after] = bench.read.projections()
    assert after["cause"]["algorithm"] == 2
    assert after["output"] == before["output"]
    assert after["data_version"] != before["data_version"]


def test_pixels_of_a_decoder_that_is_gone_are_not_compared(bench, monkeypatch):
    found = verdict(bench, "greek", pixels=True)
    assert (found.proved, found.broken, found.circumstances) == (True, [], [])
    assert text(found, "pixels").endswith("hold their bytes; decoded by algorithm 1")
    monkeypatch.setattr(decoding, "SHIPPED", (2,))
    found = verdict(bench, "greek", pixels=True)
    assert (found.proved, found.broken, found.circumstances) == (True, [], ["pixels"])
    assert text(found, "pixels") == (
        "the files of 30 images hold their bytes; decoded by algorithm 1 then, by 2 now: not "
        "compared"
    )


def scan(white):
    """A scan of 12 bits in 16, which the first decoder showed nearly black."""
    ramp = np.tile(np.linspace(0, white, 32), (32, 1)).astype(np.uint16)
    file = io.BytesIO()
    Image.fromarray(ramp).save(file, "PNG")
    return file.getvalue()


def test_vectors_of_an_older_decoder_go_on_with_it_and_it_is_said(bench):
    """No vector type has pixels of two decoders."""
    bench.make("embeddings", "twin")
    assert "decoder" not in model_identity(bench.store, "tiny")
    assert model_identity(bench.store, "twin")["decoder"] == 2
    folder = Path(bench.project.images)
    (folder / "dark.png").write_bytes(scan(4095))
    (folder / "bright.png").write_bytes(scan(65535))
    bench.make("images")
    ids = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in ("dark.png", "bright.png")
    }
    alike = {}
    for vector_type in ("tiny", "twin"):
        bench.make("embeddings", vector_type)
        dark, bright = read_vectors(bench.store, vector_type, ids.values()).vectors
        alike[vector_type] = float(dark @ bright)
    assert alike["twin"] > 0.99 > alike["tiny"]
    assert "decoder" not in model_identity(bench.store, "tiny")
    write_images(folder, 1, start=30)
    done = run("refresh", cwd=bench.project.folder)
    assert (
        "The images of 'tiny' go on being decoded by algorithm 1, so that its vectors can be "
        "compared; to decode by algorithm 2, give the model another file, and so a key, in "
        "configs/models."
    ) in " ".join(done.stderr.split())
    bench.make("embeddings", "twin")
    bench.make("clustering", "twins", method=TWO, features="twin")
    assert verdict(bench, "twins", pixels=True).circumstances == []


def test_vectors_of_a_decoder_that_is_gone_get_no_others(bench, monkeypatch):
    monkeypatch.setattr(decoding, "SHIPPED", (2,))
    bench.make("embeddings", "tiny")  # nothing is new
    write_images(Path(bench.project.images), 1, start=30)
    bench.make("images")
    assert bench.refused("embeddings", "tiny") == (
        "The images of 'tiny' were decoded by algorithm 1, and are by algorithm 2 now: their "
        "vectors cannot be compared. To embed with this version, give the model another file, and "
        "so a key, in configs/models."
    )


@pytest.mark.parametrize("vector_type", ["tiny", "twin"])
def test_texts_are_encoded_whichever_decoder_the_vectors_are_of(bench, monkeypatch, vector_type):
    bench.make("embeddings", "twin")
    monkeypatch.setattr(decoding, "ALGORITHM", 3)
    registry, models = (bench.definitions.resources[name] for name in ("registry", "models"))
    assert text_encoder(vector_type, bench.store, registry, models, print).dim == 64

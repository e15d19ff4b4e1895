"""Projects that earlier versions wrote, kept as archives: this version goes on with each of them.

What is in them is told by ``tests/kept/write.py``, and by the JSON file beside each archive.
"""

import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import lance
import pytest
from PIL import Image

from panoptic_assets.features.table import MODEL_METADATA
from panoptic_assets.orchestration.instance import open_instance
from panoptic_assets.project import Project
from panoptic_assets.proof.bundle_check import Check, open_box
from resources.models import OpenClipModels
from resources.registry import Registry
from tests.commands import run
from tests.kept.write import facts
from tests.pictures import SAMPLE

ARCHIVES = sorted((Path(__file__).parents[1] / "kept").glob("*.tar.xz"))
assert ARCHIVES


@dataclass(frozen=True)
class Kept:
    """A project as it was unpacked, in another folder than it was written in."""

    folder: Path
    facts: dict

    @property
    def project(self):
        return Project(self.folder)

    def copy(self, to):
        shutil.copytree(self.folder, to)
        return Kept(to, self.facts)


@pytest.fixture(
    scope="module", params=ARCHIVES, ids=[path.name.removesuffix(".tar.xz") for path in ARCHIVES]
)
def kept(request, mini_folder, tmp_path_factory):
    """One for the tests that change nothing."""
    folder = tmp_path_factory.mktemp("kept") / "moved"
    with tarfile.open(request.param) as archive:
        archive.extractall(folder, filter="data")
    shutil.copytree(mini_folder / ".panoptic" / "models", folder / ".panoptic" / "models")
    name = request.param.name.removesuffix(".tar.xz")
    known = json.loads(request.param.with_name(f"{name}.json").read_text(encoding="utf-8"))
    return Kept(folder, known)


@pytest.fixture(scope="module")
def grown(kept, tmp_path_factory):
    """The same after an image came, one was moved, one removed, and policies were applied."""
    grown = kept.copy(tmp_path_factory.mktemp("grown") / "project")
    images = grown.folder / "images"
    with Image.open(SAMPLE / "animals" / "fish" / "fish_08.jpg") as picture:
        picture.convert("RGB").resize((96, 72)).save(images / "animaux" / "nouveau poisson.jpg")
    (images / "outils" / "hammer_02.jpg").rename(images / "animaux" / "marteau égaré.jpg")
    (images / "été à Paris" / "france_03.jpg").unlink()
    take_this_machines_model(grown)
    run("refresh", cwd=grown.folder)
    run("backfill", cwd=grown.folder)
    return grown


def take_this_machines_model(kept):
    """Let new images be embedded: the last bits of `embedded:mini` are those of the kind of
    processor that built it, and another model's vectors are refused."""
    found = next((kept.folder / ".panoptic" / "store").glob("vectors.mini.lance"))
    table = lance.dataset(found)
    metadata = {name.decode(): value.decode() for name, value in table.schema.metadata.items()}
    identity = json.loads(metadata[MODEL_METADATA])
    spec = Registry(folder=str(kept.folder)).model("mini")
    encoder = OpenClipModels(folder=str(kept.folder)).load(spec)
    weights = {"weights_sha256": encoder.identity["weights_sha256"]}
    if identity.items() >= weights.items():
        return
    table.replace_schema_metadata(metadata | {MODEL_METADATA: json.dumps(identity | weights)})


def places(project, key):
    rows = project.assignments(key).to_pylist()
    return {row["image_id"]: row["cluster"] for row in rows}


def image_of(kept, path):
    return kept.facts["files"][path][1]


def test_all_that_was_kept_is_read(kept):
    project = kept.project
    told = json.loads(json.dumps(facts(project)))  # JSON has no tuples
    # The automatic number has algorithm 2 by now; what the first one answered is proved below.
    by_now = {"clustering auto": "stale", "property Clustering": "stale"}
    assert told == kept.facts | {"staleness": kept.facts["staleness"] | by_now}
    tags = {(tag["property"], tag["path"]): tag["nb_images"] for tag in project.tags()}
    assert tags["Clustering", "Préférées > Marteaux"] == 1
    assert tags["Sujets", "Outils d’été"] == kept.facts["runs"]["subjects"]["clusters"]["0"]
    assert {event["author"] for event in project.tag_log()} == {"Zoé", "keeper"}
    assert "subjects/1/1" in run("runs", cwd=kept.folder).stdout


def test_every_answer_that_was_kept_is_proved(kept):
    found = kept.project.verify()
    assert [one["key"] for one in found] == list(kept.facts["runs"])
    assert {one["key"]: one["summary"] for one in found if not one["proved"]} == {}
    assert all(one["witnessed"] for one in found)


def test_a_kept_bundle_passes_its_own_check_and_this_version_writes_one(kept, tmp_path):
    bundle = kept.folder / "evidence" / "subjects.zip"
    with zipfile.ZipFile(bundle) as box:
        [program] = [name for name in box.namelist() if Path(name).name == "verify.py"]
        (tmp_path / "verify.py").write_bytes(box.read(program))
    command = [sys.executable, "-I", "verify.py", str(bundle)]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    kept.project.bundle("subjects", tmp_path / "new.zip", vectors=True)
    assert Check(open_box(bundle)).all() == Check(open_box(tmp_path / "new.zip")).all() == []


def test_launching_what_a_kept_registry_holds_changes_nothing(kept, tmp_path):
    copy = kept.copy(tmp_path / "project")
    for key in ("subjects", "auto", "dense", "colours"):
        run("cluster", key, cwd=copy.folder)
        before, after = kept.project.run_info(key), copy.project.run_info(key)
        assert after["config"] == before["config"]
        assert after["revision"] - before["revision"] in (0, 1)
    run("divide", "subjects/1", cwd=copy.folder)
    # The others are not of the corpus of now, or what came since was assigned to them.
    for key in ("subjects", "subjects/1", "subjects/1/1"):
        assert copy.project.run_info(key)["output"] == kept.facts["runs"][key]["output"]
        assert places(copy.project, key) == places(kept.project, key)
        assert copy.project.run_info(key)["status"] == "current"


def test_dagsters_own_history_goes_on(kept, tmp_path):
    copy = kept.copy(tmp_path / "project")
    copy.project.edit([])
    with open_instance(copy.folder / ".panoptic" / "dagster") as instance:
        records = instance.get_run_records()
        events = instance.fetch_materializations(dg.AssetKey("tags"), limit=100).records
        kinds = dg.AssetKey("clustering"), dg.AssetKey("images"), dg.AssetKey("run_comparison")
        assert all(instance.get_latest_materialization_event(kind) for kind in kinds)
    assert all(record.dagster_run.is_success for record in records)
    old = {record.dagster_run.run_id for record in records[1:]}
    assert {version["dagster_run_id"] for version in copy.project.corpus_versions()} <= old
    assert events[0].run_id == records[0].dagster_run.run_id
    assert {event.run_id for event in events[1:]} <= old
    # The log was replayed, and gives the tags that it gave.
    assert copy.project.tags() == kept.project.tags()


def test_a_kept_corpus_goes_on(grown, kept):
    *before, last = grown.project.corpus_versions()
    assert before == kept.project.corpus_versions()
    changes = grown.project.corpus_diff()["changes"]
    assert {name: found for name, found in changes.items() if found} == {
        "added": ["animaux/nouveau poisson.jpg"],
        "moved": [("outils/hammer_02.jpg", "animaux/marteau égaré.jpg")],
        "missing": ["été à Paris/france_03.jpg"],
    }
    assert last["nb_images"] == before[-1]["nb_images"]


def test_kept_runs_follow_their_policies(grown, kept):
    new, old = grown.project, kept.project
    gone = image_of(kept, "été à Paris/france_03.jpg")
    [came] = {*new.images()["image_id"].to_pylist()} - {*old.images()["image_id"].to_pylist()}
    for key, known in kept.facts["runs"].items():
        before, after = places(old, key), places(new, key)
        info = new.run_info(key)
        assert info["config"] == old.run_info(key)["config"]
        if known["policy"] == "keep":
            assert (info["revision"], info["output"]) == (known["revision"], known["output"])
        elif key.partition("/")[0] == "auto":
            assert info["refreshed"]["policy"] == "assign"
            stayed = {image: before[image] for image in before if image != gone}
            assert after == stayed | {came: after[came]}
        elif key == "subjects":
            assert info["refreshed"]["policy"] == "recluster"
            assert after.keys() == before.keys() - {gone} | {came}
        assert info["status"] == "current" or known["status"] == "stale"
    refreshed = [one for one in new.verify("auto", "subjects") if not one["proved"]]
    assert refreshed == []


def test_tags_of_a_kept_project_live_on(grown, kept):
    def named(project):
        return {tag["tag_id"]: tag["path"] for tag in project.tags()}

    assert named(kept.project).items() <= named(grown.project).items()
    run("save", "auto", cwd=grown.folder)
    run("save", "subjects", "--property", "Sujets", "--no-labels", cwd=grown.folder)
    assert named(kept.project).items() <= named(grown.project).items()
    assert "Outils d’été" in run("tags", "Sujets", cwd=grown.folder).stdout
    before = grown.project.tags()
    run("tag", "rename", "Préférées", "Favorites", cwd=grown.folder)
    assert "Favorites > Marteaux" in named(grown.project).values()
    run("tag", "undo", cwd=grown.folder)
    assert grown.project.tags() == before

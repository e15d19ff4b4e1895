"""Forgetting an image: nothing of it is left anywhere, and everything else goes on."""

import base64
import json
import random
import shutil
import time
import zipfile

import dagster as dg
import pytest

from panoptic_assets.clustering.mark_log import append_mark
from panoptic_assets.clustering.table import Clusterings
from panoptic_assets.corpus.table import certificates_of_records
from panoptic_assets.features.table import graph_hash, read_graph, read_vectors
from panoptic_assets.labels.naming import Suggestion
from panoptic_assets.labels.table import clusters_to_label, label_rows, write_labels
from panoptic_assets.orchestration import insides
from panoptic_assets.orchestration.instance import instance_lock, open_instance, ui_lock
from panoptic_assets.project import Project
from panoptic_assets.spec.tag_log import replay
from panoptic_assets.tags.table import read_log, tags_are
from panoptic_assets.upkeep.forgetting import unfinished
from resources.lance import LanceStore
from resources.preview_folder import PreviewFolder
from resources.project_folder import ProjectSettings, create, find
from tests import processes
from tests.commands import refused, run
from tests.tiny import write_images, write_model

PATH = "0000/000007.jpg"
WEBP = b"RIFF\x04\0\0\0WEBP"


@pytest.fixture(scope="module")
def reviewed(once):
    """A project in which one image is everywhere."""
    return once("reviewed", write_reviewed)


def write_reviewed(folder):
    write_images(folder / "images", 40)
    lines = [f"0000/{number:06}.jpg,shelf {number}" for number in range(40)]
    folder.joinpath("inventory.csv").write_text("\n".join(["file,shelf", *lines]) + "\n")
    settings = ProjectSettings(
        images=str(folder / "images"), vector_type="tiny", metadata="inventory.csv"
    )
    project = create(folder, settings)
    write_model(folder / "model")
    model = project.configs / "models" / "tiny.yaml"
    model.write_text("model: local-dir:model\nprecision: fp32\n")
    for command in (
        "refresh",
        "cluster a --nb-clusters 3",
        "cluster near --similar-to IMAGE --scope-nb-images 12 --nb-clusters 2",
        "project tiny/pca",
    ):
        if "IMAGE" in command:
            command = command.replace("IMAGE", image_of(folder))
        run(*command.split(), cwd=folder)
    node = next(
        f"a/{row['cluster']}"
        for row in Project(folder).assignments("a").to_pylist()
        if row["image_id"] == image_of(folder)
    )
    for command in (
        f"divide {node} --nb-clusters 2",
        "save a",
        "tag create Kept --property Mine",
        f"tag assign Kept {PATH} 0000/000008.jpg --property Mine --reason of:{PATH}",
        f"remark {PATH} only-on-this-one --reason because-of-it",
        f"remark {PATH} only-on-this-one,-again",
        f"remark a/0 as:{PATH}",
        "remark a/1 about-others",
        "report a",
        "compare --report",
        "recommend --property Mine",
    ):
        run(*command.split(), cwd=folder)
    store = store_of(folder)
    clusters = clusters_to_label(Clusterings(store, "a"), "a")
    named = [
        Suggestion(cluster.node, "grey", None, (), None, f"Such as {PATH}") for cluster in clusters
    ]
    rows = label_rows("a", clusters, named, "vision_model", {})
    write_labels(store, "a", rows)
    append_mark(store, "labels", "a", "Ada", content={"before": [], "after": rows})
    written = f"scope: {{similar: {{image: {image_of(folder)}}}}}  # like {PATH}"
    append_mark(store, "policy", "near", "Ada", f"see {PATH}", content={"after": written})
    write_images(folder / "images", 3, start=40)
    run("refresh", cwd=folder)


@pytest.fixture
def folder(reviewed, tmp_path):
    shutil.copytree(reviewed, tmp_path / "p")
    return tmp_path / "p"


def image_of(folder, path=PATH):
    files = Project(folder).files().to_pylist()
    return next(row["image_id"] for row in files if row["path"] == path)


def store_of(folder):
    return LanceStore(uri=find(folder).store)


def needles(folder):
    """What names or shows the image, as bytes."""
    image_id, store = image_of(folder), store_of(folder)
    [row] = store.read("images", where=f"image_id = '{image_id}'").to_pylist()
    vector = read_vectors(store, "tiny", [image_id]).vectors[0]
    return {
        "id": image_id.encode(),
        "id in bytes": bytes.fromhex(image_id),
        "path": PATH.encode(),
        "remark": b"only-on-this-one",
        "reason of a remark": b"because-of-it",
        "thumbnail": row["thumbnail"],
        "thumbnail in base64": base64.b64encode(row["thumbnail"])[:-4],
        "vector": vector.astype("<f4").tobytes(),
    }


def holding(folder, needle):
    """The kinds of files below `.panoptic` that hold some bytes, but tombstone and certificates."""
    root = folder / ".panoptic"
    return {
        path.relative_to(root).parts[0]
        for path in root.rglob("*")
        if path.is_file()
        and not {"forgotten.lance", "certificates"} & set(path.parts)
        and needle in path.read_bytes()
    }


def state(folder):
    """What the project says of all other images, in words that do not depend on versions."""
    project, gone = Project(folder), image_of(folder)
    found = {}
    for key in ("a", "near"):
        rows = project.assignments(key).to_pylist()
        found[key] = [(r["image_id"], r["cluster"]) for r in rows if r["image_id"] != gone]
    for name in ("Clustering", "Mine"):
        rows = project.image_tags(name).to_pylist()
        found[name] = sorted((r["image_id"], r["tag_id"]) for r in rows if r["image_id"] != gone)
    return found


def test_nothing_is_found_but_the_tombstone(folder):
    """A byte search over store, reports and instance, with needles that it found before."""
    wanted = needles(folder)
    before = {name: holding(folder, needle) for name, needle in wanted.items()}
    assert before["id"] == {"store", "reports", "dagster"}
    assert before["path"] == {"store", "reports", "dagster"}
    assert before["thumbnail"] == {"store", "reports"}
    assert before["vector"] == {"store"}
    assert before["remark"] == before["reason of a remark"] == {"store", "dagster"}

    previews = PreviewFolder(find(folder).previews, 10**6)
    previews.put(image_of(folder), 512, WEBP)

    run("forget", PATH, "--yes", "--reason", f"asked for {PATH}", cwd=folder)

    after = {name: holding(folder, needle) for name, needle in wanted.items()}
    assert after == {name: set() for name in wanted}
    assert [*find(folder).previews.rglob("*.webp")] == []
    own = folder / ".panoptic" / "certificates"
    [certificate] = own.iterdir()
    text = certificate.read_bytes()
    assert wanted["id"] in text
    assert wanted["path"] not in text
    tombstones = b"".join(
        path.read_bytes()
        for path in (folder / ".panoptic" / "store" / "forgotten.lance").rglob("*")
        if path.is_file()
    )
    assert wanted["id"] in tombstones
    assert wanted["path"] not in tombstones


def test_all_that_is_about_other_images_stays(folder):
    image_id = image_of(folder)
    before, nb_images = state(folder), len(Project(folder).images())
    run("forget", image_id[:10], "--yes", cwd=folder)
    project, store = Project(folder), store_of(folder)
    after = {
        key: [(r["image_id"], r["cluster"]) for r in project.assignments(key).to_pylist()]
        for key in ("a", "near")
    }
    for name in ("Clustering", "Mine"):
        rows = project.image_tags(name).to_pylist()
        after[name] = sorted((r["image_id"], r["tag_id"]) for r in rows)
    assert after == before
    assert len(project.images()) == nb_images - 1
    for row in store.read("clusters").to_pylist():
        mine = f"record_id = '{row['record_id']}' AND cluster = '{row['cluster']}'"
        members = store.read("assignments", ["image_id"], mine)["image_id"].to_pylist()
        assert row["size"] == len(members)
        assert row["medoid"] in members
    assert tags_are(store, replay([entry.event for entry in read_log(store)]))


def test_remarks_on_an_image_go_with_it_and_others_lose_its_name(folder):
    run("forget", PATH, "--yes", cwd=folder)
    assert {told["subject"]: told["text"] for told in Project(folder).remarks()} == {
        "a/0": "as:(forgotten)",
        "a/1": "about-others",
    }


def test_the_neighbours_of_the_others_are_as_if_they_were_computed_anew(folder):
    run("forget", PATH, "--yes", cwd=folder)
    stored = read_graph(store_of(folder), "tiny")
    shutil.rmtree(folder / ".panoptic" / "store" / "neighbors.tiny.lance")
    run("refresh", cwd=folder)
    again = read_graph(store_of(folder), "tiny")
    assert stored.image_ids == again.image_ids
    assert stored.info.output == graph_hash(again.image_ids, again.graph)


def test_the_same_content_does_not_come_back_under_another_name(folder):
    content = (folder / "images" / PATH).read_bytes()
    image_id = image_of(folder)
    run("forget", PATH, "--yes", cwd=folder)
    (folder / "images" / PATH).unlink()
    (folder / "images" / "other.jpg").write_bytes(content)
    other = folder / "images" / "0000" / "000009.jpg"
    other.write_bytes(content)
    shown = run("refresh", cwd=folder).stderr
    assert "files forgotten 2" in shown
    files = {row["path"]: row for row in Project(folder).files().to_pylist()}
    assert "other.jpg" not in files
    assert files["0000/000009.jpg"]["status"] == "missing"
    assert image_id not in {row["image_id"] for row in files.values()}
    assert image_id not in Project(folder).images()["image_id"].to_pylist()
    assert image_id not in Project(folder).vectors("tiny")["image_id"].to_pylist()


def test_work_goes_on_after_it(folder):
    """Refresh, clusters, clusterings, saves, edits, labels, pages, comparison, recommendations."""
    run("forget", PATH, "--yes", cwd=folder)
    (folder / "images" / PATH).unlink()
    for command in (
        "refresh",
        "cluster a --nb-clusters 3 --replace",
        "cluster b --nb-clusters 3",
        "divide b/0 --nb-clusters 2",
        "save b --property B",
        "tag rename Kept Treasure --property Mine",
        "report a",
        "compare --report",
        "recommend --property Mine",
        "project tiny/pca",
        "runs",
        "run-info near",
    ):
        run(*command.split(), cwd=folder)
    with open_instance(find(folder).dagster_home) as instance:
        assert instance.get_materialized_partitions(dg.AssetKey("clustering")) == {"a", "near", "b"}


def test_dagster_knows_what_was_materialized_with_its_data_versions(folder):
    def versions():
        with open_instance(find(folder).dagster_home) as instance:
            return {
                key: instance.get_latest_materialization_event(
                    dg.AssetKey(key)
                ).asset_materialization.tags["dagster/data_version"]
                for key in ("images", "clustering", "clustering_report", "tags")
            }

    before = versions()
    run("forget", PATH, "--yes", cwd=folder)
    assert versions() == before


def test_the_certificate_says_what_was_done_and_what_is_out_of_reach(folder):
    (folder / "list.txt").write_text(f"{PATH}\n")
    with zipfile.ZipFile(folder / "bundle.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", json.dumps({"image_id": image_of(folder)}) * 100)
    held = set(
        store_of(folder)
        .read("assignments", where=f"image_id = '{image_of(folder)}'")["record_id"]
        .to_pylist()
    )
    shown = run("forget", PATH, "--yes", "--reason", "asked for", "--author", "Ada", cwd=folder)
    [file] = (folder / ".panoptic" / "certificates").iterdir()
    found = json.loads(file.read_text())
    assert (found["author"], found["reason"]) == ("Ada", "asked for")
    assert found["rows"]["vectors.tiny"] == found["rows"]["files"] == 1
    assert found["nb_pins"] > 0
    assert set(found["records_that_held_it"]) == held
    assert set(found["write_again"]) >= {"panoptic-assets report a", "panoptic-assets compare"}
    assert found["still_there"] == []
    outside = "\n".join(found["outside"])
    for what in ("1 of its files in the images' folder", "list.txt", "bundle.zip", "inventory.csv"):
        assert what in outside
    assert str(file) in shown.stdout
    assert certificates_of_records(store_of(folder)) == {name: [file.name] for name in held}


def test_what_can_no_longer_be_proved_is_said_and_alarms_nobody(folder):
    run("forget", PATH, "--yes", cwd=folder)
    [file] = (folder / ".panoptic" / "certificates").iterdir()
    shown = run("verify", "--all", cwd=folder).stdout
    verdicts = {verdict["key"]: verdict for verdict in Project(folder).verify("a", "near")}
    assert verdicts["a"]["summary"].startswith(
        "Cannot be computed: Images that it held were forgot"
    )
    assert file.name in verdicts["a"]["summary"]
    assert not [v for v in verdicts.values() for link in v["links"] if link["state"] == "differs"]
    assert "✗" not in shown
    [judged] = [
        judged
        for judged in Project(folder).status("a")["staleness"]
        if (judged["what"], judged["key"]) == ("clustering", "a")
    ]
    assert "1 image of it was forgotten" in {reason["text"] for reason in judged["reasons"]}
    tag = next(tag for tag in Project(folder).tags("Clustering") if tag["image_ids"])
    chain = run("explain", tag["image_ids"][0], "--tag", tag["tag_id"], cwd=folder).stdout
    assert "other images of it were forgotten" in chain
    run("diff", cwd=folder)
    run("refresh", cwd=folder)
    assert PATH not in run("diff", "0", "latest", "--all", cwd=folder).stdout


def test_several_images_are_forgotten_at_once(folder):
    paths = [PATH, "0000/000011.jpg", "0000/000012.jpg"]
    ids = {image_of(folder, path) for path in paths}
    run("forget", *paths, "--yes", cwd=folder)
    [file] = (folder / ".panoptic" / "certificates").iterdir()
    assert set(json.loads(file.read_text())["images"]) == ids
    assert ids.isdisjoint(Project(folder).images()["image_id"].to_pylist())
    assert "already" in run("forget", *sorted(ids), "--yes", cwd=folder).stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no/such.jpg", "--yes"], "There is no image 'no/such.jpg'"),
        ([PATH], "add --yes"),
        (["--yes"], "Name at least one image"),
    ],
)
def test_it_refuses_in_one_line(folder, arguments, words):
    assert words in refused("forget", *arguments, cwd=folder)


@pytest.mark.parametrize("lock", [instance_lock, ui_lock])
def test_it_refuses_while_anything_else_runs(folder, lock):
    with lock(find(folder).dagster_home):
        line = refused("forget", PATH, "--yes", cwd=folder)
    assert "Nothing else may run meanwhile: wait until it has ended" in line
    assert unfinished(store_of(folder)) == []


def forget(folder, ready=None):
    project = Project(folder)
    if ready is not None:
        ready.send(True)
    asked = [] if unfinished(project.store) else [PATH]
    project.forget(*asked, author="Ada", reason="asked for")


def test_killed_at_random_moments_it_is_completed_by_the_next_start(folder, tmp_path):
    wanted, image_id = needles(folder), image_of(folder)
    shutil.copytree(folder, tmp_path / "timed")
    began = time.monotonic()
    processes.start(forget, str(tmp_path / "timed")).join(120)
    seconds = time.monotonic() - began
    moment = random.Random(5)
    for _ in range(5):
        receiver, sender = processes.CONTEXT.Pipe(duplex=False)
        process = processes.start(forget, str(folder), sender)
        sender.close()
        assert receiver.recv()
        time.sleep(moment.uniform(0, seconds))
        process.kill()
        process.join()
        if not find_left(folder, image_id):
            break
    run("forget", *([PATH] if find_left(folder, image_id) else []), image_id, cwd=folder)
    assert {name: holding(folder, needle) for name, needle in wanted.items()} == {
        name: set() for name in wanted
    }
    run("refresh", cwd=folder)
    assert tags_are(store_of(folder), replay([e.event for e in read_log(store_of(folder))]))


@pytest.mark.parametrize("step", ["remove_event_files", "remove_event_rows"])
def test_killed_amid_dagsters_runs_it_is_completed_by_the_next_start(folder, monkeypatch, step):
    """Runs that are gone already still have events, by which they are known."""
    wanted, image_id = needles(folder), image_of(folder)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(insides, step, killed)
        forget(folder)
    assert holding(folder, wanted["id"]) == {"dagster"}
    run("forget", image_id, cwd=folder)
    assert {name: holding(folder, needle) for name, needle in wanted.items()} == {
        name: set() for name in wanted
    }


def find_left(folder, image_id):
    return store_of(folder).count("files", f"image_id = '{image_id}'")

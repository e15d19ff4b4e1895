"""`images` and `embeddings`: identity, quarantine, what is new, models, crashes."""

import json
import os
import re
import shutil
import signal
import time
from pathlib import Path

import dagster as dg
import numpy as np
import pytest
from PIL import Image

from panoptic_assets.definitions import build_defs
from resources.engine import LocalEngine
from resources.lance import LanceStore
from resources.models import OpenClipModels
from resources.project_folder import find
from resources.registry import Registry
from resources.source import ImageSource
from tests import processes
from tests.pictures import HOSTILE, SAMPLE
from tests.workbench import data_version, metadata

QUARANTINED = {
    "corrupt_not_an_image.jpg": "not an image",
    "corrupt_truncated.jpg": "truncated",
    "empty.png": "empty",
    "huge_dimensions_30000x30000.png": "900,000,000 pixels",
}


def files_by_path(bench):
    return {row["path"]: row for row in bench.read.files().to_pylist()}


@pytest.fixture
def hostile(empty_bench, tmp_path):
    shutil.copytree(HOSTILE, tmp_path / "hostile")
    return empty_bench(tmp_path / "hostile")


def test_every_hostile_file_has_its_outcome_and_none_stops_the_run(hostile):
    """One broken file must neither stop a run nor shift indices; it says why it is left out."""
    given = metadata(hostile.run("images"), "images")
    files = files_by_path(hostile)
    assert len(files) == 21
    for path, row in files.items():
        expected = QUARANTINED.get(path)
        assert row["status"] == ("quarantined" if expected else "present"), path
        assert expected in row["reason"] if expected else row["reason"] is None
    assert given["nb_files_quarantined"] == 4
    assert given["nb_files"] == 17
    assert given["nb_images"] == 16  # two files hold the same bytes
    assert "corrupt\\_truncated.jpg" in given["quarantine"]

    given = metadata(hostile.run("embeddings", "mini"), "embeddings")
    assert (given["nb_images"], given["nb_not_embedded"]) == (16, 0)
    vectors = np.array(hostile.read.vectors()["vector"].to_pylist(), dtype=np.float32)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_one_content_in_two_files_is_one_image(hostile):
    hostile.make("images")
    files = files_by_path(hostile)
    one, two = files["exact_duplicate_a.jpg"], files["exact_duplicate_b.jpeg"]
    assert one["image_id"] == two["image_id"]
    ids = hostile.read.images()["image_id"].to_pylist()
    assert ids.count(one["image_id"]) == 1


def test_images_have_their_displayed_size_and_a_thumbnail(hostile):
    """EXIF rotation is applied."""
    hostile.make("images")
    images = {row["image_id"]: row for row in hostile.read.images().to_pylist()}
    rotated = images[files_by_path(hostile)["exif_rotated_orientation6.jpg"]["image_id"]]
    assert (rotated["format"], rotated["width"], rotated["height"]) == ("JPEG", 256, 171)
    assert all(row["thumbnail"][8:12] == b"WEBP" for row in images.values())


def test_names_in_any_script_are_kept(hostile):
    hostile.make("images")
    assert "été à Orléans — 図書館 🍌.jpg" in files_by_path(hostile)


def test_an_unchanged_corpus_is_not_touched(hostile):
    first = hostile.run("images")
    before = {name: hostile.store.version(name) for name in hostile.store.tables()}
    again = hostile.run("images")
    assert metadata(again, "images")["nb_files_read"] == 0
    assert data_version(first, "images") == data_version(again, "images")
    assert before == {name: hostile.store.version(name) for name in hostile.store.tables()}


KINDS = ("added", "changed", "moved", "returned", "duplicate", "missing", "quarantined")


def refreshed(bench):
    """What a refresh says of each kind of change: those that occurred, with their number."""
    given = metadata(bench.run("images"), "images")
    return {kind: given[f"nb_{kind}"] for kind in KINDS if given[f"nb_{kind}"]}, given


@pytest.fixture
def four(empty_bench):
    """A corpus of four images, and a fifth picture."""
    bench = empty_bench()
    some = sorted(SAMPLE.rglob("*.jpg"))[:5]
    folder = Path(bench.project.images)
    for number, file in enumerate(some[:4]):
        shutil.copyfile(file, folder / f"{number}.jpg")
    assert refreshed(bench)[0] == {"added": 4}
    return bench, folder, some[4]


def test_a_refresh_says_what_became_of_each_file(four):
    """Process only what is new; moving or renaming a file must not lose its image."""
    bench, folder, fifth = four
    old = files_by_path(bench)
    shutil.copyfile(fifth, folder / "0.jpg")
    (folder / "1.jpg").rename(folder / "moved.jpg")
    (folder / "2.jpg").unlink()
    shutil.copyfile(folder / "3.jpg", folder / "copy.jpg")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    kinds, given = refreshed(bench)
    new = files_by_path(bench)
    assert kinds == {"changed": 1, "moved": 1, "missing": 1, "duplicate": 1, "quarantined": 1}
    assert given["nb_files_read"] == 4
    assert new["moved.jpg"]["image_id"] == old["1.jpg"]["image_id"]
    assert [new[name]["status"] for name in ("1.jpg", "2.jpg", "3.jpg")] == [
        "missing",
        "missing",
        "present",
    ]
    assert "1.jpg → moved.jpg" in given["changes"]


def test_a_file_that_comes_back_is_recognised(four, tmp_path):
    bench, folder, _ = four
    (folder / "2.jpg").rename(tmp_path / "2.jpg")
    assert refreshed(bench)[0] == {"missing": 1}
    (tmp_path / "2.jpg").rename(folder / "again.jpg")
    kinds, given = refreshed(bench)
    assert kinds == {"returned": 1}
    assert given["nb_images"] == 4


def test_a_file_that_was_only_touched_changes_nothing(four):
    bench, folder, _ = four
    before = data_version(bench.run("images"), "images")
    os.utime(folder / "0.jpg", ns=(1, 1))
    result = bench.run("images")
    assert metadata(result, "images")["nb_files_read"] == 1
    assert data_version(result, "images") == before


def test_the_corpus_version_changes_with_the_corpus(four):
    bench, folder, fifth = four
    _, before = refreshed(bench)
    shutil.copyfile(fifth, folder / "new.jpg")
    _, after = refreshed(bench)
    assert len(after["corpus_version"]) == 64
    assert before["corpus_version"] != after["corpus_version"]


def test_moved_files_are_not_embedded_again(four):
    """Moving or renaming a file must not lose its tags: the image stays the same."""
    bench, folder, _ = four
    bench.make("embeddings", "mini")
    (folder / "below").mkdir()
    for name in ("0.jpg", "1.jpg"):
        (folder / name).rename(folder / "below" / name)
    assert refreshed(bench)[0] == {"moved": 2}
    assert metadata(bench.run("embeddings", "mini"), "embeddings")["nb_embedded_now"] == 0


def test_a_file_in_quarantine_is_tried_again_when_it_changes(four):
    bench, folder, fifth = four
    (folder / "new.jpg").write_bytes(fifth.read_bytes()[:1000])
    assert refreshed(bench)[0] == {"quarantined": 1}
    assert refreshed(bench)[0] == {}
    shutil.copyfile(fifth, folder / "new.jpg")
    assert refreshed(bench)[0] == {"added": 1}


def test_a_file_in_quarantine_is_tried_again_with_other_limits(four):
    bench, folder, fifth = four
    shutil.copyfile(fifth, folder / "new.jpg")
    assert refreshed_with(bench, max_pixels=100)["nb_quarantined"] == 1
    assert refreshed_with(bench)["nb_added"] == 1


def refreshed_with(bench, **limits):
    definitions = build_defs(
        source=ImageSource(root=bench.project.images, **limits),
        store=bench.store,
        registry=Registry(folder=str(bench.project.folder)),
    )
    job = definitions.resolve_implicit_global_asset_job_def()
    selection = [dg.AssetKey("images")]
    result = job.execute_in_process(instance=bench.instance, asset_selection=selection)
    return metadata(result, "images")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list any folder")
def test_files_below_a_folder_that_cannot_be_listed_are_not_missing(four):
    bench, folder, _ = four
    (folder / "below").mkdir()
    (folder / "0.jpg").rename(folder / "below" / "0.jpg")
    refreshed(bench)
    (folder / "below").chmod(0)
    try:
        assert refreshed(bench)[0] == {}
    finally:
        (folder / "below").chmod(0o755)


def test_images_have_their_fingerprints(four):
    """Perceptual hash, mean colour and size are stored."""
    bench, _, _ = four
    for image in bench.read.images().to_pylist():
        assert len(image["phash"]) == 16
        assert re.fullmatch("#[0-9a-f]{6}", image["mean_colour"])


def test_missing_images_leave_new_runs_and_stay_in_old_ones(empty_bench, tmp_path):
    shutil.copytree(SAMPLE / "tools", tmp_path / "tools")
    bench = empty_bench(tmp_path / "tools")
    bench.make("images")
    bench.make("embeddings", "mini")
    two = {"kmeans": {"nb_clusters": 2}}
    bench.make("clustering", "old", method=two)
    count = bench.read.assignments("old").num_rows
    next((tmp_path / "tools").rglob("*.jpg")).unlink()
    bench.make("images")
    bench.make("clustering", "new", method=two)
    assert bench.read.assignments("old").num_rows == count
    assert bench.read.assignments("new").num_rows == count - 1


def test_a_node_whose_images_are_all_missing_cannot_be_divided(empty_bench, tmp_path):
    shutil.copytree(SAMPLE / "tools" / "hammers", tmp_path / "hammers")
    bench = empty_bench(tmp_path / "hammers")
    bench.make("images")
    bench.make("embeddings", "mini")
    one = {"kmeans": {"nb_clusters": 1}}
    bench.make("clustering", "all", method=one)
    for file in (tmp_path / "hammers").iterdir():
        file.unlink()
    bench.make("images", accept_missing=True)
    message = bench.refused("nested_clustering", "all/0", method=one)
    assert "All images of all/0 are missing" in message


def test_only_new_images_are_embedded(empty_bench):
    bench = empty_bench()
    some = sorted(SAMPLE.rglob("*.jpg"))[:6]
    for file in some[:4]:
        shutil.copyfile(file, Path(bench.project.images) / file.name)
    bench.make("images")
    assert metadata(bench.run("embeddings", "mini"), "embeddings")["nb_embedded_now"] == 4
    for file in some[4:]:
        shutil.copyfile(file, Path(bench.project.images) / file.name)
    bench.make("images")
    assert metadata(bench.run("embeddings", "mini"), "embeddings")["nb_embedded_now"] == 2
    assert bench.read.vectors("mini").num_rows == 6


def test_a_file_that_changed_since_the_refresh_is_not_embedded_as_another(empty_bench):
    bench = empty_bench()
    some = sorted(SAMPLE.rglob("*.jpg"))[:2]
    shutil.copyfile(some[0], Path(bench.project.images) / "a.jpg")
    bench.make("images")
    shutil.copyfile(some[1], Path(bench.project.images) / "a.jpg")
    given = metadata(bench.run("embeddings", "mini"), "embeddings")
    assert (given["nb_images"], given["nb_not_embedded"]) == (0, 1)
    assert "changed since it was last read" in given["not_embedded"]


def test_the_model_of_a_vector_type_is_stored_and_another_is_refused(bench):
    """Know which model made these vectors."""
    identity = metadata(bench.run("embeddings", "mini"), "embeddings")["model"]
    assert identity["model"] == "embedded:mini"
    assert len(identity["weights_sha256"]) == 64
    file = bench.project.configs / "models" / "mini.yaml"
    file.write_text("model: embedded:mini\ngreyscale: true\n")
    message = bench.refused("embeddings", "mini")
    assert "greyscale: False is stored, True is asked for" in message
    assert "a key, of its own" in message


def test_other_weights_under_the_same_key_are_refused(bench, monkeypatch):
    from panoptic_assets.features.table import MODEL_METADATA, model_identity
    from resources.schemas import vectors_schema

    identity = model_identity(bench.store, "mini") | {"weights_sha256": "0" * 64}
    file = bench.project.configs / "models" / "other.yaml"
    shutil.copyfile(bench.project.configs / "models" / "mini.yaml", file)
    bench.store.create("vectors.other", vectors_schema(512), {MODEL_METADATA: json.dumps(identity)})
    assert "weights_sha256" in bench.refused("embeddings", "other")
    assert bench.store.count("vectors.other") == 0


def test_a_vector_type_without_a_file_names_those_that_have_one(bench):
    message = bench.refused("embeddings", "clip")
    assert "There is no vector type 'clip'" in message
    assert "mini, vit-b-32" in message


def _embed(folder, log):
    """Write down which files are read."""

    class LoggedSource(ImageSource):
        def read(self, path):
            with log.open("a") as file:
                file.write(f"{path}\n")
            return super().read(path)

    os.setsid()  # a process group of its own, all of which is killed
    project = find(folder)
    defs = build_defs(
        source=LoggedSource(root=project.images),
        store=LanceStore(uri=project.store),
        models=OpenClipModels(folder=str(folder)),
        registry=Registry(folder=str(folder)),
        engine=LocalEngine(stage_images=16),
    )
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("vector_types", ["mini"])
        defs.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=instance, asset_selection=[dg.AssetKey("embeddings")], partition_key="mini"
        )


def _done(bench):
    """Images whose vectors are committed or staged, sixteen in each staged file."""
    return bench.store.count("vectors.mini") + 16 * len(bench.store.staged("vectors.mini"))


def test_a_killed_embedding_loses_and_doubles_nothing_and_goes_on_where_it_was(
    empty_bench, embedded_folder, tmp_path
):
    """Resume after a crash: what was committed stays, and is not embedded again."""
    bench = empty_bench(SAMPLE)
    bench.make("images")
    log = tmp_path / "read.log"
    killed_at = []
    for least in (16, 100):
        process = processes.start(_embed, bench.project.folder, log)
        deadline = time.monotonic() + 120
        while _done(bench) < least and process.is_alive() and time.monotonic() < deadline:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.join()
        killed_at.append(_done(bench))
    assert 16 <= killed_at[0] < killed_at[1] < 253
    process = processes.start(_embed, bench.project.folder, log)
    process.join(120)
    assert process.exitcode == 0

    ids = bench.read.vectors("mini")["image_id"].to_pylist()
    assert len(ids) == len(set(ids)) == 253
    paths = log.read_text().splitlines()
    assert len(set(paths)) == 253
    assert len(paths) - 253 <= 2 * 50  # what was read ahead and not yet staged, at two kills

    undisturbed = bench.store.__class__(uri=str(embedded_folder / ".panoptic" / "store"))
    expected = undisturbed.read("vectors.mini").sort_by("image_id")
    found = bench.read.vectors("mini")
    assert found["image_id"].equals(expected["image_id"])
    one, two = (np.array(rows["vector"].to_pylist()) for rows in (found, expected))
    assert np.allclose(one, two, atol=1e-5)


def _list(folder, barrier):
    project = find(folder)
    defs = build_defs(
        source=ImageSource(root=project.images),
        store=LanceStore(uri=project.store),
        registry=Registry(folder=str(folder)),
    )
    with dg.DagsterInstance.ephemeral() as instance:
        barrier.wait()
        defs.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=instance, asset_selection=[dg.AssetKey("images")]
        )


def test_two_refreshes_started_together_leave_each_row_once(empty_bench):
    bench = empty_bench(SAMPLE)
    barrier = processes.CONTEXT.Barrier(2)
    started = [processes.start(_list, bench.project.folder, barrier) for _ in range(2)]
    for process in started:
        process.join(120)
    assert [process.exitcode for process in started] == [0, 0]
    for name, key in (("images", "image_id"), ("files", "path")):
        keys = bench.store.read(name)[key].to_pylist()
        assert len(keys) == len(set(keys)) == 253


def test_an_image_without_a_usable_vector_does_not_take_its_batch_with_it(empty_bench):
    """One broken image never stops a run: a model with NaN in it, on an image that triggers it."""
    import torch

    bench = empty_bench()
    for number, colour in enumerate(("white", "red", "blue")):
        Image.new("RGB", (64, 64), colour).save(Path(bench.project.images) / f"{number}.png")
    bench.make("images")
    models = OpenClipModels(folder=str(bench.project.folder))
    encoder = models.load(Registry(folder=str(bench.project.folder)).model("mini"))

    def white_is_nan(module, inputs, output):
        output[inputs[0].flatten(1).min(dim=1).values > 0.99] = torch.nan

    hook = encoder._model.visual.register_forward_hook(white_is_nan)
    try:
        given = metadata(bench.run("embeddings", "mini"), "embeddings")
    finally:
        hook.remove()
    assert (given["nb_images"], given["nb_not_embedded"]) == (2, 1)
    assert "0.png" in given["not_embedded"]
    assert "no direction" in given["not_embedded"]


def test_the_file_of_metadata_gives_images_their_properties(four):
    bench, _, _ = four
    settings = bench.project.folder / ".panoptic" / "project.yaml"
    settings.write_text(settings.read_text() + "metadata: inventaire.csv\n")
    table = "path;titre;année[number]\n0.jpg;Été;1887\n9.jpg;x;1\n1.jpg;y;zwei\n"
    (bench.project.folder / "inventaire.csv").write_text(table, encoding="utf-8")
    given = metadata(bench.run("inventory"), "inventory")
    found = {name: given[f"nb_{name}"] for name in ("lines", "unmatched", "findings", "values")}
    assert found == {"lines": 3, "unmatched": 1, "findings": 1, "values": 3}
    assert "zwei" in given["findings"] and "9.jpg" in given["unmatched"]
    assert (given["file"], given["outcome"]) == ("inventaire.csv", "read")
    image_id = files_by_path(bench)["0.jpg"]["image_id"]
    values = bench.read.property_values("titre").to_pylist()
    assert {"image_id": image_id, "value": "Été"} in values

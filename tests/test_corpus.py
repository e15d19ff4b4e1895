"""`images` and `embeddings`: identity, quarantine, what is new, models, crashes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resources.models import OpenClipModels
from resources.registry import Registry
from tests.conftest import HOSTILE, SAMPLE, data_version, metadata

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
    assert given["nb_quarantined"] == 4
    assert given["nb_files"] == 17
    assert given["nb_images"] == 16  # two files hold the same bytes
    assert "corrupt\\_truncated.jpg" in given["quarantine"]

    given = metadata(hostile.run("embeddings", "mini"), "embeddings")
    assert (given["nb_images"], given["nb_not_embedded"]) == (16, 0)
    vectors = np.array(hostile.read.vectors()["vector"].to_pylist(), dtype=np.float32)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_one_content_in_two_files_is_one_image(hostile):
    hostile.run("images")
    files = files_by_path(hostile)
    one, two = files["exact_duplicate_a.jpg"], files["exact_duplicate_b.jpeg"]
    assert one["image_id"] == two["image_id"]
    ids = hostile.read.images()["image_id"].to_pylist()
    assert ids.count(one["image_id"]) == 1


def test_images_have_their_displayed_size_and_a_thumbnail(hostile):
    """EXIF rotation is applied."""
    hostile.run("images")
    images = {row["image_id"]: row for row in hostile.read.images().to_pylist()}
    rotated = images[files_by_path(hostile)["exif_rotated_orientation6.jpg"]["image_id"]]
    assert (rotated["format"], rotated["width"], rotated["height"]) == ("JPEG", 256, 171)
    assert all(row["thumbnail"][8:12] == b"WEBP" for row in images.values())


def test_names_in_any_script_are_kept(hostile):
    hostile.run("images")
    assert "été à Orléans — 図書館 🍌.jpg" in files_by_path(hostile)


def test_an_unchanged_corpus_is_not_touched(hostile):
    first = hostile.run("images")
    before = {name: hostile.store.version(name) for name in hostile.store.tables()}
    again = hostile.run("images")
    assert metadata(again, "images")["nb_files_read"] == 0
    assert data_version(first, "images") == data_version(again, "images")
    assert before == {name: hostile.store.version(name) for name in hostile.store.tables()}


def test_a_refresh_sees_added_changed_moved_removed_and_returned_files(empty_bench):
    """Process only what is new; moving or renaming a file must not lose its image."""
    bench = empty_bench()
    some = sorted(SAMPLE.rglob("*.jpg"))[:5]
    folder = Path(bench.project.images)
    for number, file in enumerate(some[:4]):
        shutil.copyfile(file, folder / f"{number}.jpg")
    bench.run("images")
    old = files_by_path(bench)

    shutil.copyfile(some[4], folder / "0.jpg")  # changed
    (folder / "1.jpg").rename(folder / "moved.jpg")
    (folder / "2.jpg").unlink()
    given = metadata(bench.run("images"), "images")
    new = files_by_path(bench)
    assert (given["nb_files_read"], given["nb_files_gone"]) == (2, 2)
    assert new["0.jpg"]["image_id"] != old["0.jpg"]["image_id"]
    assert new["moved.jpg"]["image_id"] == old["1.jpg"]["image_id"]
    assert [new[name]["status"] for name in ("1.jpg", "2.jpg", "3.jpg")] == [
        "missing",
        "missing",
        "present",
    ]
    assert given["nb_images"] == 3

    shutil.copyfile(some[2], folder / "2.jpg")
    bench.run("images")
    assert files_by_path(bench)["2.jpg"]["status"] == "present"


def test_missing_images_leave_new_runs_and_stay_in_old_ones(empty_bench, tmp_path):
    shutil.copytree(SAMPLE / "tools", tmp_path / "tools")
    bench = empty_bench(tmp_path / "tools")
    bench.run("images")
    bench.run("embeddings", "mini")
    two = {"kmeans": {"nb_clusters": 2}}
    bench.run("clustering", "old", method=two)
    count = bench.read.assignments("old").num_rows
    next((tmp_path / "tools").rglob("*.jpg")).unlink()
    bench.run("images")
    bench.run("clustering", "new", method=two)
    assert bench.read.assignments("old").num_rows == count
    assert bench.read.assignments("new").num_rows == count - 1


def test_a_node_whose_images_are_all_missing_cannot_be_divided(empty_bench, tmp_path):
    shutil.copytree(SAMPLE / "tools" / "hammers", tmp_path / "hammers")
    bench = empty_bench(tmp_path / "hammers")
    bench.run("images")
    bench.run("embeddings", "mini")
    one = {"kmeans": {"nb_clusters": 1}}
    bench.run("clustering", "all", method=one)
    for file in (tmp_path / "hammers").iterdir():
        file.unlink()
    bench.run("images")
    message = bench.refused("nested_clustering", "all/0", method=one)
    assert "All images of all/0 are missing" in message


def test_only_new_images_are_embedded(empty_bench):
    bench = empty_bench()
    some = sorted(SAMPLE.rglob("*.jpg"))[:6]
    for file in some[:4]:
        shutil.copyfile(file, Path(bench.project.images) / file.name)
    bench.run("images")
    assert metadata(bench.run("embeddings", "mini"), "embeddings")["nb_embedded_now"] == 4
    for file in some[4:]:
        shutil.copyfile(file, Path(bench.project.images) / file.name)
    bench.run("images")
    assert metadata(bench.run("embeddings", "mini"), "embeddings")["nb_embedded_now"] == 2
    assert bench.read.vectors("mini").num_rows == 6


def test_a_file_that_changed_since_the_refresh_is_not_embedded_as_another(empty_bench):
    bench = empty_bench()
    some = sorted(SAMPLE.rglob("*.jpg"))[:2]
    shutil.copyfile(some[0], Path(bench.project.images) / "a.jpg")
    bench.run("images")
    shutil.copyfile(some[1], Path(bench.project.images) / "a.jpg")
    given = metadata(bench.run("embeddings", "mini"), "embeddings")
    assert (given["nb_images"], given["nb_not_embedded"]) == (0, 1)
    assert "changed since the last refresh" in given["not_embedded"]


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
    from panoptic_assets.tables import MODEL_METADATA, model_identity
    from resources.lance import vectors_schema

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


EMBED = """
import sys
from pathlib import Path
import dagster as dg
from panoptic_assets.definitions import build_defs
from resources.lance import LanceStore
from resources.models import OpenClipModels
from resources.registry import Registry
from resources.source import ImageSource

folder, log = sys.argv[1:]

class LoggedSource(ImageSource):
    def read(self, path):
        with open(log, "a") as file:
            file.write(path + "\\n")
        return super().read(path)

from resources.project import find
project = find(Path(folder))
defs = build_defs(
    source=LoggedSource(root=str(project.images)), store=LanceStore(uri=project.store),
    models=OpenClipModels(folder=folder), registry=Registry(folder=folder),
)
with dg.DagsterInstance.ephemeral() as instance:
    instance.add_dynamic_partitions("vector_types", ["mini"])
    defs.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance, asset_selection=[dg.AssetKey("embeddings")], partition_key="mini",
        run_config={"ops": {"embeddings": {"config": {"batch_size": 16}}}},
    )
"""


def _rows(bench):
    store = bench.store
    return store.count("vectors.mini") if store.version("vectors.mini") else 0


def test_a_killed_embedding_loses_and_doubles_nothing_and_goes_on_where_it_was(
    empty_bench, embedded_folder, tmp_path
):
    """Resume after a crash: what was committed stays, and is not embedded again."""
    bench = empty_bench(SAMPLE)
    bench.run("images")
    log = tmp_path / "read.log"
    command = [sys.executable, "-c", EMBED, str(bench.project.folder), str(log)]
    killed_at = []
    for least in (16, 100):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
        deadline = time.monotonic() + 120
        while _rows(bench) < least and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        killed_at.append(_rows(bench))
    assert 16 <= killed_at[0] < killed_at[1] < 253
    subprocess.run(command, check=True, capture_output=True)

    ids = bench.read.vectors("mini")["image_id"].to_pylist()
    assert len(ids) == len(set(ids)) == 253
    paths = log.read_text().splitlines()
    assert len(set(paths)) == 253
    assert len(paths) - 253 <= 2 * 16  # at most the batch in flight, at each of two kills

    undisturbed = bench.store.__class__(uri=str(embedded_folder / ".panoptic" / "store"))
    expected = undisturbed.read("vectors.mini").sort_by("image_id")
    found = bench.read.vectors("mini")
    assert found["image_id"].equals(expected["image_id"])
    one, two = (np.array(rows["vector"].to_pylist()) for rows in (found, expected))
    assert np.allclose(one, two, atol=1e-5)


def test_two_refreshes_started_together_leave_each_row_once(empty_bench):
    bench = empty_bench(SAMPLE)
    code = """
import sys
import dagster as dg
from panoptic_assets.definitions import build_defs
from resources.lance import LanceStore
from resources.source import ImageSource
store, images = sys.argv[1:]
defs = build_defs(source=ImageSource(root=images), store=LanceStore(uri=store))
with dg.DagsterInstance.ephemeral() as instance:
    print("ready", flush=True)
    sys.stdin.readline()
    defs.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance, asset_selection=[dg.AssetKey("images")]
    )
"""
    command = [sys.executable, "-c", code, bench.project.store, str(SAMPLE)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    processes = [subprocess.Popen(command, text=True, **pipes) for _ in range(2)]
    for process in processes:
        process.stdout.readline()
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors[-2000:]
    for name, key in (("images", "image_id"), ("files", "path")):
        keys = bench.store.read(name)[key].to_pylist()
        assert len(keys) == len(set(keys)) == 253


def test_an_image_without_a_usable_vector_does_not_take_its_batch_with_it(empty_bench):
    """One broken image never stops a run: a model with NaN in it, on an image that triggers it."""
    import torch

    bench = empty_bench()
    for number, colour in enumerate(("white", "red", "blue")):
        Image.new("RGB", (64, 64), colour).save(Path(bench.project.images) / f"{number}.png")
    bench.run("images")
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

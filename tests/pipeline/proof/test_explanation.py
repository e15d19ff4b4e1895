"""Why an image carries a tag: from who gave it down to the bytes, each link checked."""

import json
import shutil

import dagster as dg
import pyarrow as pa
import pytest
import yaml

from resources.project_folder import find
from resources.schemas import SCHEMAS
from tests.audited import KEY
from tests.commands import refused, run
from tests.workbench import Workbench


@pytest.fixture
def bench(audited, tmp_path):
    """The audited project with its images, to do with as a test likes."""
    shutil.copytree(audited.parent, tmp_path / "own")
    project = find(tmp_path / "own" / "project")
    document = yaml.safe_load(project.settings_file.read_text())
    document["images"] = str(tmp_path / "own" / "images")
    project.settings_file.write_text(yaml.safe_dump(document))
    return Workbench(find(project.folder), dg.DagsterInstance.ephemeral())


def saved_image(bench):
    """An image of a cluster of the last save that is not divided: its id, its path, its tag."""
    record_id = bench.read.run_info(KEY)["record_id"]
    pairs = bench.store.read("image_tags").to_pylist()
    last = max(pair["event"] for pair in pairs)
    tags = {tag["tag_id"]: tag for tag in bench.read.tags("Clustering")}
    pair = next(
        pair
        for pair in pairs
        if pair["event"] == last and tags[pair["tag_id"]]["record_id"] == record_id
    )
    files = bench.read.files().to_pylist()
    [path] = [file["path"] for file in files if file["image_id"] == pair["image_id"]]
    return pair["image_id"], path, tags[pair["tag_id"]]["path"]


def steps(found):
    return {step["name"]: step for step in found["steps"]}


def failed(found):
    return [step["name"] for step in found["steps"] if step["checked"] is False]


def test_a_saved_tag_leads_to_run_record_vector_pixels_and_file(bench):
    """DESIGN 1: an auditor comes for just that."""
    image_id, path, tag = saved_image(bench)
    found = bench.read.explain(path, tag)
    assert (found["image_id"], found["path"], found["holds"]) == (image_id, tag, True)
    by_name = steps(found)
    assert list(by_name) == [
        *("tag", "event", "run", "record", "output", "cluster", "vectors", "vector"),
        *("image", "file"),
    ]
    checked = ("tag", "record", "output", "cluster", "vectors", "vector", "file")
    assert [name for name in by_name if by_name[name]["checked"]] == list(checked)
    assert by_name["file"]["sha256"] == image_id
    record = bench.read.run_info(KEY)
    assert by_name["output"]["sha256"] == record["output"]
    assert record["record_id"] in by_name["record"]["text"]
    assert "by this one the image carries it" in by_name["event"]["text"]


def test_an_image_is_named_by_id_by_the_start_of_one_or_by_path(bench):
    image_id, path, tag = saved_image(bench)
    named = [bench.read.explain(name, tag)["image_id"] for name in (image_id, image_id[:10], path)]
    assert named == [image_id] * 3


def test_a_tag_that_was_given_by_hand_says_who_when_and_why(bench):
    path = bench.read.files()["path"][0].as_py()
    found = bench.read.explain(path, "Vases")
    assert found["holds"]
    assert steps(found)["run"]["text"] == "none: it was given by hand (assign), by Ada"
    events = [step["text"] for step in found["steps"] if step["name"] == "event"]
    assert any("rename by Ada: 0 → Vases, since: seen" in text for text in events)
    assert "record" not in steps(found)


@pytest.mark.parametrize(
    ("table", "values", "names"),
    [
        ("assignments", {"cluster": "remainder"}, ["output", "cluster"]),
        ("image_tags", {"event": 1}, ["tag"]),
    ],
)
def test_a_row_that_was_edited_fails_its_check(bench, table, values, names):
    image_id, path, tag = saved_image(bench)
    rows = bench.store.read(table, where=f"image_id = '{image_id}'").to_pylist()
    row = max(rows, key=lambda row: row.get("record_id", ""))  # of the last clustering
    edited = pa.Table.from_pylist([row | values], SCHEMAS[table])
    bench.store.upsert(table, edited)
    found = bench.read.explain(path, tag)
    assert failed(found) == names
    assert not found["holds"]


def test_a_file_of_other_bytes_fails_its_check_and_one_that_is_gone_does_not(bench):
    _, path, tag = saved_image(bench)
    file = bench.project.folder.parent / "images" / path
    data = file.read_bytes()
    file.write_bytes(data + b"\0")
    assert failed(bench.read.explain(path, tag)) == ["file"]
    file.unlink()
    assert failed(bench.read.explain(path, tag)) == []


def test_the_command_marks_each_link_and_refuses_in_one_line(bench):
    folder = bench.project.folder
    image_id, path, tag = saved_image(bench)
    answer = run("explain", path, "--tag", tag, cwd=folder)
    assert answer.stdout.startswith(f"{image_id} carries {tag} of Clustering:")
    assert f"✓ file     {path}  {image_id}" in answer.stdout
    as_json = run("explain", path, "--tag", tag, "--json", cwd=folder)
    assert json.loads(as_json.stdout)["holds"] is True
    bench.store.replace("image_tags", bench.store.read("image_tags").slice(1), "true")
    answer = run("explain", path, "--tag", tag, cwd=folder, expect=1)
    assert "the tag log says other tags" in answer.stdout
    other = next(t["path"] for t in bench.read.tags("Clustering") if t["path"] != tag)
    line = refused("explain", path, "--tag", other, cwd=folder)
    assert line.endswith(f"it carries 'Clustering: {tag}'.")
    assert "There is no tag 'nothing'" in refused("explain", path, "--tag", "nothing", cwd=folder)
    assert "There is no image 'nothing.jpg'" in refused(
        "explain", "nothing.jpg", "--tag", tag, cwd=folder
    )

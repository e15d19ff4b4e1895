"""All images in one file: what a project's runs, tags and vectors come to in it."""

import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from panoptic_assets.cli.main import main
from panoptic_assets.project import Project
from resources.errors import InputError


def run(*arguments, folder):
    answer = CliRunner().invoke(main, ["--project", str(folder), *map(str, arguments)])
    assert answer.exit_code == 0, answer.output
    return answer.output


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_table_of_images_tells_the_deepest_node_and_each_level_beside_saved_tags(
    greek, tmp_path, monkeypatch
):
    """A24, A25: on the command line, with vectors, and back into the project."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    greek.make("nested_clustering", "greek/0", method={"kmeans": {"nb_clusters": 2}})
    greek.make("saved_clustering", "greek")
    file = tmp_path / "images.parquet"
    options = ("--run", "greek", "--vector-type", "mini", "--thumbnails")
    said = run("export", file, "--format", "images", *options, folder=greek.project.folder)
    assert "images.parquet (images): 253 images" in said
    rows = {row["image_id"]: row for row in pq.read_table(file).to_pylist()}
    places = greek.read.assignments("greek").to_pylist()
    assert {row["image_id"]: row["level_1"] for row in rows.values()} == {
        row["image_id"]: f"greek/{row['cluster']}" for row in places
    }
    nested = {row["level_2"] for row in rows.values()}
    assert nested == {None, "greek/0/0", "greek/0/1"}
    for row in rows.values():
        assert row["node"] == (row["level_2"] or row["level_1"])
        assert row["cluster"] == row["node"].rpartition("/")[2]
        [tag] = row["tags: Clustering"]
        assert tag == " > ".join(row["node"].split("/")[1:])
        assert len(row["vector"]) == len(rows[row["image_id"]]["vector"]) > 0
        assert row["image"]["bytes"].startswith(b"\xff\xd8")
        assert Path(row["file"]).is_file()
    again = run("import-tags", file, "--check", folder=greek.project.folder)
    assert "The tags already are what" in again


def test_what_cannot_be_written_of_all_images_leaves_nothing(clustered_folder, tmp_path):
    project = Project(clustered_folder)
    (tmp_path / "kept.csv").write_text("mine")
    for name, options, message in [
        ("t.parquet", {"format": "images", "run": "nope"}, "There is no clustering 'nope'"),
        ("t.parquet", {"format": "images", "vector_type": "nope"}, "has a vector of type"),
        ("t.csv", {"run": "greek", "thumbnails": True}, "--thumbnails goes with --format images"),
        ("t.csv", {"format": "images", "title": "x"}, "--title goes with --format omeka or tropy"),
        ("t.csv", {"format": "omeka", "title": "x"}, "has no property 'x' for titles"),
        ("kept.csv", {"format": "tropy"}, "exists already"),
        ("t.csv", {"format": "images"}, "end it in .parquet"),
        ("t.xlsx", {"format": "omeka"}, "end it in .csv"),
    ]:
        with pytest.raises(InputError, match=message):
            project.export(tmp_path / name, **options)
    assert names_in(tmp_path) == ["kept.csv"]
    assert (tmp_path / "kept.csv").read_text() == "mine"


def test_images_of_an_object_store_have_their_address_and_are_not_for_tropy(greek, tmp_path):
    settings = greek.project.folder / ".panoptic" / "project.yaml"
    text = settings.read_text(encoding="utf-8")
    settings.write_text(f"{text}\nimages: memory://corpus\n", encoding="utf-8")
    project = Project(greek.project.folder)
    project.export(tmp_path / "i.parquet", format="images")
    rows = pq.read_table(tmp_path / "i.parquet").to_pylist()
    assert {row["file"] for row in rows} == {f"memory://corpus/{row['path']}" for row in rows}
    with pytest.raises(InputError, match="put the images into a folder"):
        project.export(tmp_path / "t.csv", format="tropy")
    assert names_in(tmp_path) == ["greek", "i.parquet"]


KILLED = """
import resource, signal, sys
from panoptic_assets.project import Project
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
Project(sys.argv[1]).export(sys.argv[2], format="images", vector_type="mini", replace=True)
"""
"""Exports to a file that may not grow as large as it would: the system kills the process for it."""


def test_an_export_that_is_killed_midway_leaves_the_file_that_was_there(clustered_folder, tmp_path):
    file = tmp_path / "images.parquet"
    file.write_bytes(b"mine")
    done = subprocess.run([sys.executable, "-c", KILLED, clustered_folder, file], check=False)
    assert done.returncode == -signal.SIGXFSZ
    assert file.read_bytes() == b"mine"

"""The Python door: plain dictionaries and Arrow tables."""

import numpy as np
import pyarrow as pa
import pytest

from panoptic_assets.project import Project
from resources.errors import InputError
from tests.tiny import tiny_project, write_images


def test_the_project_of_the_working_directory_is_the_default(bench, monkeypatch):
    monkeypatch.chdir(bench.project.folder)
    assert Project().folder == bench.project.folder
    assert Project(str(bench.project.folder)).runs() == []


def test_vectors_are_of_unit_length_and_in_the_order_of_image_id(bench):
    """D13, D24: normalised features, computed once and reused."""
    vectors = bench.read.vectors("mini")
    assert vectors.column_names == ["image_id", "vector"]
    ids = vectors["image_id"].to_pylist()
    assert ids == sorted(ids)
    lengths = np.linalg.norm(np.array(vectors["vector"].to_pylist()), axis=1)
    assert np.allclose(lengths, 1, atol=1e-5)


def test_nearest_neighbours_agree_with_the_folders(bench):
    """D14: leave-one-out agreement of `embedded:mini` on 19 classes is .90 or more."""
    labels = {
        row["image_id"]: "monuments"
        if row["path"].startswith("monuments/")
        else row["path"].rpartition("/")[0]
        for row in bench.read.files().to_pylist()
    }
    rows = bench.read.vectors("mini")
    vectors = np.array(rows["vector"].to_pylist())
    truth = np.array([labels[image_id] for image_id in rows["image_id"].to_pylist()])
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -1)
    assert (truth[similarity.argmax(axis=1)] == truth).mean() >= 0.90


def test_files_and_images_are_arrow_tables(bench):
    files, images = bench.read.files(), bench.read.images()
    assert isinstance(files, pa.Table)
    assert {"path", "image_id", "status", "reason"} <= set(files.column_names)
    assert {"image_id", "format", "width", "height", "thumbnail"} <= set(images.column_names)
    assert set(files["status"].to_pylist()) == {"present"}
    assert images.num_rows == 253


def test_runs_and_clusters_can_be_read_by_key(bench):
    """D26, D30, D49: access by name, from Python."""
    bench.make("clustering", "greek")
    bench.make("nested_clustering", "greek/9", method={"kmeans": {"nb_clusters": 2}})
    assert [run["key"] for run in bench.read.runs()] == ["greek", "greek/9"]
    assert bench.read.clusters("greek/9")["node"].to_pylist() == ["greek/9/0", "greek/9/1"]
    assert set(bench.read.assignments("greek/9")["cluster"].to_pylist()) == {"0", "1"}
    assert bench.read.run_info("greek/9")["parent_output"] == bench.read.run_info("greek")["output"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda project: project.run_info("none"), "There is no clustering 'none'"),
        (lambda project: project.clusters("none/0"), "There is no clustering 'none/0'"),
        (lambda project: project.assignments("../x"), "is not a node"),
        (lambda project: project.assignments("a b"), "is not a run key"),
        (lambda project: project.places("none"), "There is no clustering 'none'"),
        (lambda project: project.places("none/0"), "is not a run key"),
        (lambda project: project.vectors("clip"), "There are no vectors of type 'clip'"),
        (lambda project: project.vectors("../x"), "is not a vector type"),
        (lambda project: project.tags("l'été"), 'There is no property "l\'été"'),
    ],
)
def test_what_does_not_exist_is_said_with_what_does(bench, call, message):
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        call(bench.read)


@pytest.fixture
def tiny(tmp_path):
    """Ten images, and a model of which no file of the registry describes a projection."""
    return tiny_project(tmp_path, 10)


def test_a_refresh_makes_the_map_of_its_vector_type(tiny):
    """Dagster's UI warns before a clustering of which no projection was ever made."""
    said = []
    project = Project(tiny.folder, report=said.append)
    project.refresh()
    [made] = project.projections()
    assert (made["key"], made["nb_images"]) == ("tiny/pca", 10)
    assert made["cause"]["config"]["method"] == {"pca": {"whiten": False}}
    said.clear()
    project.refresh()
    assert not any("projection" in line for line in said), "Nothing has changed."
    write_images(tiny.folder.parent / "images", 2, start=10)
    project.refresh()
    assert project.projections()[0]["nb_images"] == 12


def test_a_refresh_whose_map_cannot_be_made_says_so_and_is_done(tiny):
    file = tiny.configs / "projections" / "tiny" / "pca.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("ops: {projection: {config: {nb_dimensions: 100}}}")
    said = []
    project = Project(tiny.folder, report=said.append)
    assert project.refresh()["nb_images"] == 10
    assert project.neighbors().num_rows == 10
    [line] = [line for line in said if line.startswith("The points tiny/pca were not made")]
    assert "the vectors have 64: ask for fewer" in line
    assert project.projections() == []


def test_a_refresh_of_no_image_makes_no_map(tmp_path):
    (tmp_path / "images").mkdir()
    project = Project(tiny_project(tmp_path, 0).folder)
    project.refresh()
    assert project.projections() == []

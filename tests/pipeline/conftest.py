"""Finished projects that several files copy."""

import shutil

import pytest

from tests.workbench import bench_of


@pytest.fixture(scope="session")
def clustered_folder(embedded_folder, once):
    """The embedded sample with the run `greek` of six clusters."""

    def write(folder):
        shutil.copytree(embedded_folder, folder, dirs_exist_ok=True)
        bench_of(folder).make("clustering", "greek", method={"kmeans": {"nb_clusters": 6}})

    return once("clustered", write)


@pytest.fixture
def greek(clustered_folder, tmp_path):
    """A copy of it, to do with as a test likes."""
    return bench_of(shutil.copytree(clustered_folder, tmp_path / "greek"))

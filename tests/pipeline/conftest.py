"""Finished projects that several files copy."""

import shutil

import dagster as dg
import pytest

from tests.commands import Command
from tests.tiny import tiny_project
from tests.workbench import Workbench, bench_of


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


@pytest.fixture(scope="session")
def vectors_folder(once):
    """A small project with vectors, and nothing that was clustered."""

    def write(folder):
        bench = Workbench(tiny_project(folder, 24), dg.DagsterInstance.ephemeral())
        bench.make("images")
        bench.make("embeddings", "tiny")

    return once("vectors", write)


@pytest.fixture
def vectors_bench(vectors_folder, tmp_path):
    """A copy of it, to do with as a test likes."""
    shutil.copytree(vectors_folder, tmp_path / "vectors")
    return bench_of(tmp_path / "vectors" / "project")


@pytest.fixture(scope="session")
def demo_folder(once):
    """The project of two demos that were started together, in an empty folder.

    A demo from nothing is 20 CPU seconds, most of them the vectors of 253 images.
    """

    def write(folder):
        (folder / "project").mkdir()
        both = [Command("demo", cwd=folder / "project") for _ in range(2)]
        for number, command in enumerate(both):
            output, errors = command.communicate(240)
            assert command.returncode == 0, errors
            (folder / f"said{number}.txt").write_text(output, encoding="utf-8")

    return once("demo", write) / "project"

"""The layers, and the finished projects that their tests copy.

Nothing heavy is imported before a fixture needs it: a test of a pure file waits for no Dagster.
"""

import os
import shutil
import signal
from pathlib import Path

import pytest
from filelock import FileLock

from tests.pictures import SAMPLE

# A shell starts what it runs in the background deaf to Ctrl-C, and so would be every command that
# the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# As in all that a command starts: else links to reports would depend on whether a test before has
# run a command in this process.
os.environ["PANOPTIC_URL"] = "/"

TESTS = Path(__file__).parent
WAITING = ("test_week.py", "test_worker.py", "test_two_browsers.py")
"""Modules that wait most, for daemons, workers and people."""
LAYERS = ("browser", "postgres", "faults", "s3", "pipeline", "unit")
"""In the order in which they are tested: those whose modules take long before the short ones."""


def pytest_collection_modifyitems(items):
    """Mark each test with its layer, the folder that it lies in: ``pytest -m "not browser"``.

    Each process takes the next module, whole, since the servers and projects of a module are made
    once. What waits most comes first: at the end one process would wait alone, for five minutes.
    """
    first = {name: place for place, name in enumerate(WAITING)}
    last = len(LAYERS)
    places = {layer: place for place, layer in enumerate(LAYERS)}

    def layer_of(item):
        return item.path.relative_to(TESTS).parts[0]

    items.sort(
        key=lambda item: (
            first.get(item.path.name, len(first)),
            places.get(layer_of(item), last),
        )
    )
    for item in items:
        if layer_of(item) in LAYERS:
            item.add_marker(layer_of(item))


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """Write a finished folder once for all workers: ``once(name, write)`` is where it lies.

    It is for reading and copying: what a test does to it, every other would find. It is written in
    its place, since projects hold the paths of their images and models.
    """
    base = tmp_path_factory.getbasetemp()
    finished = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "finished"
    finished.mkdir(exist_ok=True)

    def path_of(name, write):
        folder, whole = finished / name, finished / f"{name}.whole"
        with FileLock(finished / f"{name}.lock"):
            if not whole.exists():
                # Left by a worker that failed amid it.
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                write(folder)
                whole.touch()
        return folder

    return path_of


@pytest.fixture(scope="session")
def mini_folder(once):
    """A project's folder whose `embedded:mini` is built."""

    def write(folder):
        from resources.models import OpenClipModels
        from resources.project_folder import ProjectSettings, create
        from resources.registry import Registry

        create(folder, ProjectSettings(images=str(SAMPLE)))
        OpenClipModels(folder=str(folder)).load(Registry(folder=str(folder)).model("mini"))

    return once("mini", write)


@pytest.fixture
def empty_bench(mini_folder, tmp_path):
    """A project of the empty folder `images`, with the model built."""
    from resources.project_folder import ProjectSettings, create
    from tests.workbench import bench_of

    def make(images=None):
        folder = tmp_path / "project"
        images = images or tmp_path / "images"
        images.mkdir(exist_ok=True)
        project = create(folder, ProjectSettings(images=str(images)))
        shutil.copytree(mini_folder / ".panoptic" / "models", project.models)
        return bench_of(folder)

    return make


@pytest.fixture(scope="session")
def embedded_folder(mini_folder, once):
    """The sample's project after `images` and `embeddings`."""

    def write(folder):
        from tests.workbench import bench_of

        shutil.copytree(mini_folder, folder, dirs_exist_ok=True)
        bench = bench_of(folder)
        bench.make("images")
        bench.make("embeddings", "mini")

    return once("embedded", write)


@pytest.fixture
def bench(embedded_folder, tmp_path):
    """The embedded sample, to do with as a test likes."""
    from tests.workbench import bench_of

    return bench_of(shutil.copytree(embedded_folder, tmp_path / "sample_project"))


@pytest.fixture(scope="session")
def audited(once):
    """The folder of a small project whose run was divided, labelled, saved, edited, made anew."""

    def write(folder):
        from tests.audited import write_project

        write_project(folder)

    return once("audited", write) / "project"


@pytest.fixture(scope="session")
def _encoders_by_model():
    class ByModel(dict):
        """Encoders of embedded models, whatever the folder of the project that asks."""

        def __contains__(self, key):
            return super().__contains__(self._model(key))

        def __getitem__(self, key):
            return super().__getitem__(self._model(key))

        def __setitem__(self, key, encoder):
            super().__setitem__(self._model(key), encoder)

        @staticmethod
        def _model(key):
            return key[1] if key[1].model.startswith("embedded:") else key

    return ByModel()


@pytest.fixture
def one_mini(_encoders_by_model, monkeypatch):
    """Copies of the sample's project share one `embedded:mini`: its weights are no project's own.

    Loading it costs each copy 2 CPU seconds. For tests to which it is only what gives vectors.
    """
    monkeypatch.setattr("resources.models._encoders", _encoders_by_model)

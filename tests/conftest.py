"""The layers, and the finished projects that their tests copy.

Nothing heavy is imported before a fixture needs it: a test of a pure file waits for no Dagster.
"""

import shutil
import signal
from pathlib import Path

import pytest

from tests.pictures import SAMPLE

# A shell starts what it runs in the background deaf to Ctrl-C, and so would be every command that
# the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

TESTS = Path(__file__).parent
LAYERS = ("unit", "pipeline", "faults", "browser", "postgres", "s3")


def pytest_collection_modifyitems(items):
    """Mark each test with its layer, the folder that it lies in: ``pytest -m "not browser"``."""
    for item in items:
        layer = item.path.relative_to(TESTS).parts[0]
        if layer in LAYERS:
            item.add_marker(layer)


@pytest.fixture(scope="session")
def mini_folder(tmp_path_factory):
    """A project's folder whose `embedded:mini` is built."""
    from resources.models import OpenClipModels
    from resources.project_folder import ProjectSettings, create
    from resources.registry import Registry

    folder = tmp_path_factory.mktemp("mini")
    project = create(folder, ProjectSettings(images=str(SAMPLE)))
    OpenClipModels(folder=str(folder)).load(Registry(folder=str(folder)).model("mini"))
    return project.folder


@pytest.fixture
def empty_bench(mini_folder, tmp_path):
    """A project of the empty folder `images`, with the model built."""
    import dagster as dg

    from resources.project_folder import ProjectSettings, create
    from tests.workbench import Workbench

    def make(images=None):
        folder = tmp_path / "project"
        images = images or tmp_path / "images"
        images.mkdir(exist_ok=True)
        project = create(folder, ProjectSettings(images=str(images)))
        shutil.copytree(mini_folder / ".panoptic" / "models", project.models)
        return Workbench(project, dg.DagsterInstance.ephemeral())

    return make


@pytest.fixture(scope="session")
def embedded_folder(mini_folder):
    """The sample's project after `images` and `embeddings`."""
    import dagster as dg

    from resources.project_folder import find
    from tests.workbench import Workbench

    bench = Workbench(find(mini_folder), dg.DagsterInstance.ephemeral())
    bench.run("images")
    bench.run("embeddings", "mini")
    return mini_folder


@pytest.fixture
def bench(embedded_folder, tmp_path):
    """The embedded sample, to do with as a test likes."""
    import dagster as dg

    from resources.project_folder import find
    from tests.workbench import Workbench

    shutil.copytree(embedded_folder, tmp_path / "sample_project")
    return Workbench(find(tmp_path / "sample_project"), dg.DagsterInstance.ephemeral())


@pytest.fixture(scope="session")
def audited(tmp_path_factory):
    """The folder of a small project whose run was divided, labelled, saved, edited, made anew."""
    from tests.audited import write_project

    return write_project(tmp_path_factory.mktemp("audited"))

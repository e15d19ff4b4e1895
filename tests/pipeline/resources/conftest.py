import shutil
from pathlib import Path

import pytest

from resources.models import OpenClipModels
from tests.pictures import SAMPLE


@pytest.fixture(scope="session")
def mini_models(mini_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> OpenClipModels:
    """A project's models, `embedded:mini` among them; converted ones are written beside it."""
    folder = tmp_path_factory.mktemp("project")
    models = ".panoptic/models"
    shutil.copytree(mini_folder / models / "mini", folder / models / "mini")
    return OpenClipModels(folder=str(folder))


@pytest.fixture(scope="session")
def sample() -> Path:
    """The sample corpus."""
    return SAMPLE

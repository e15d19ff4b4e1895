from pathlib import Path

import pytest

from resources.models import OpenClipModels
from tests.pictures import SAMPLE


@pytest.fixture(scope="session")
def mini_models(tmp_path_factory: pytest.TempPathFactory) -> OpenClipModels:
    """A project's models; `embedded:mini` is built by the first test that loads it."""
    return OpenClipModels(folder=str(tmp_path_factory.mktemp("project")))


@pytest.fixture(scope="session")
def sample() -> Path:
    """The sample corpus."""
    return SAMPLE

from pathlib import Path

import pytest

from resources.models import OpenClipModels
from tests.pictures import SAMPLE


@pytest.fixture(scope="session")
def mini_models(mini_folder: Path) -> OpenClipModels:
    """Models of the project that has built `embedded:mini` for all workers."""
    return OpenClipModels(folder=str(mini_folder))


@pytest.fixture(scope="session")
def sample() -> Path:
    """The sample corpus."""
    return SAMPLE

from collections.abc import Callable
from pathlib import Path

import pytest

from resources.decoding import UnreadableImage
from resources.models import OpenClipModels


def reason_of(action: Callable[[], object]) -> str:
    """Why an action says that a file cannot be used."""
    with pytest.raises(UnreadableImage) as caught:
        action()
    return caught.value.reason


@pytest.fixture(scope="session")
def mini_models(tmp_path_factory: pytest.TempPathFactory) -> OpenClipModels:
    """A project's models; `embedded:mini` is built by the first test that loads it."""
    return OpenClipModels(folder=str(tmp_path_factory.mktemp("project")))


@pytest.fixture(scope="session")
def sample() -> Path:
    """The sample corpus."""
    return Path(__file__).parents[2] / "panoptic_assets" / "sample"

from collections.abc import Callable

import pytest

from resources.errors import UnreadableImage


def reason_of(action: Callable[[], object]) -> str:
    """Why an action says that a file cannot be used."""
    with pytest.raises(UnreadableImage) as caught:
        action()
    return caught.value.reason

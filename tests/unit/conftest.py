"""The layer of pure files: a developer's loop, without Dagster."""

import sys

import pytest


@pytest.fixture(autouse=True)
def no_dagster():
    """Whatever asks for Dagster fails here, even where another layer's test has imported it."""
    # Not the test's own monkeypatch, which would then be undone after its folder is removed.
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "dagster", None)
        yield

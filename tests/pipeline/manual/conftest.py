"""A finished demo, whose commands the pages go on with."""

import pytest

from tests.commands import run


@pytest.fixture(scope="session")
def demo(once):
    """A folder in which the demo was run."""
    return once("demo", lambda folder: run("demo", cwd=folder))

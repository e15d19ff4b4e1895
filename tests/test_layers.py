"""The layers of the tests: where each lies, and what a quick one does without."""

import subprocess
import sys

from tests.conftest import LAYERS, TESTS


def test_every_test_lies_in_a_layer():
    """A layer is chosen by folder; what holds of the house as a whole lies beside them."""
    beside = {path.name for path in TESTS.glob("test_*.py")}
    whole = {"architecture", "catalogues", "layers", "messages"}
    assert beside == {f"test_{name}.py" for name in whole}
    folders = {path.relative_to(TESTS).parts[0] for path in TESTS.glob("*/**/test_*.py")}
    assert folders == set(LAYERS)


def test_the_quick_layer_is_collected_without_dagster():
    """What a test of it imports while it runs is refused by ``tests/unit/conftest.py``."""
    code = (
        "import sys, pytest\n"
        "status = pytest.main(['tests/unit', '--collect-only', '-qq', '-n', '0'])\n"
        "print(int(status), sorted({'dagster', 'dagster_webserver'} & set(sys.modules)))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=TESTS.parent, capture_output=True, text=True
    )
    assert found.stdout.splitlines()[-1] == "0 []", found.stdout + found.stderr

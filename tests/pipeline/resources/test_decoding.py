"""Decoding, as only a process of its own can show it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.resources.fuzz_decoding import encoded
from tests.unit.resources.test_decoding import corners


def test_the_package_for_heic_is_imported_by_a_heic_alone(tmp_path) -> None:
    for kind in ("JPEG", "HEIF"):
        (tmp_path / kind).write_bytes(encoded(corners(), kind))
    code = (
        "import sys; from pathlib import Path; from resources.decoding import decode\n"
        "for kind in ('JPEG', 'HEIF'):\n"
        "    decode(Path(kind).read_bytes()); print('pillow_heif' in sys.modules)"
    )
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert found.stdout.split() == ["False", "True"]


@pytest.mark.parametrize("which", [(), ("--newer",)], ids=["older formats", "newer formats"])
def test_damaged_files_crash_and_exhaust_nothing(which) -> None:
    """In a process of its own, with a limit of memory: libraries in C may take it with them.

    `PANOPTIC_DAMAGED_FILES=10000` tries more.
    """
    examples = os.environ.get("PANOPTIC_DAMAGED_FILES", "2500")
    module = "tests.unit.resources.fuzz_decoding"
    command = [sys.executable, "-m", module, "600", "--examples", examples, *which]
    options = {"capture_output": True, "text": True, "errors": "replace", "timeout": 600}
    done = subprocess.run(command, cwd=Path(__file__).parents[3], **options)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-2000:]
    assert f"{examples} examples" in done.stdout
    print(done.stdout)

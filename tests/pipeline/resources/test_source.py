"""The source, as only a process of its own can show it."""

import subprocess
import sys


def test_s3_without_its_package_names_the_extra() -> None:
    """In a process of its own, since fsspec remembers what it has imported."""
    code = (
        "import sys; sys.modules['s3fs'] = None; from resources.source import ImageSource\n"
        "try: ImageSource(root='s3://corpus').list()\n"
        "except ValueError as error: print(type(error).__name__, error)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.stdout.startswith("InputError s3://corpus needs a package that is missing")
    assert "install panoptic-assets with the extra `s3`" in found.stdout

"""What a browser is started with, and what is left of it."""

import os
import stat
import subprocess
import sys

import pytest

HOME = "http://localhost:3000/panoptic/vases/"


@pytest.fixture
def opened(tmp_path):
    """Show the first page in a browser that writes down its argument, and what is in that file."""
    browser = tmp_path / "browser"
    browser.write_text(
        "#!/bin/sh\n"
        f'echo "$1" > {tmp_path}/part\n'
        f'case "$1" in file://*) stat -c %a "${{1#file://}}" >> {tmp_path}/part;'
        f' cat "${{1#file://}}" >> {tmp_path}/part;; esac\n'
        f"mv {tmp_path}/part {tmp_path}/said\n"
    )
    browser.chmod(0o755)

    def show(token):
        code = (
            "import threading, time\n"
            "from pathlib import Path\n"
            "from panoptic_assets.cli.ui_process import show_home\n"
            f"given = ({HOME!r}, {token!r})\n"
            "threading.Thread(target=show_home, args=given, daemon=True).start()\n"
            f"while not Path({str(tmp_path / 'said')!r}).exists():\n"
            "    time.sleep(0.05)\n"
        )
        variables = {**os.environ, "BROWSER": str(browser), "TMPDIR": str(tmp_path)}
        subprocess.run([sys.executable, "-c", code], env=variables, check=True, timeout=120)
        return (tmp_path / "said").read_text()

    return show


def test_the_first_page_is_opened(opened):
    assert opened(None).strip() == HOME


def test_a_token_is_in_a_file_of_ones_own_and_not_in_the_arguments(opened, tmp_path):
    """Everybody on a machine sees the arguments of a process."""
    address, mode, page = opened("secret-token").splitlines()
    assert address.startswith("file://")
    assert "secret-token" not in address
    assert int(mode, 8) & (stat.S_IRWXG | stat.S_IRWXO) == 0
    assert f"{HOME}?token=secret-token" in page
    assert list(tmp_path.glob("panoptic-*.html")) == [], "it goes when the server ends"

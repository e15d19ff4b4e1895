"""Other systems: what Python lacks on Windows or on a Mac is missed by what needs it alone."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from panoptic_assets.cli.main import main
from panoptic_assets.tags.config import EditsConfig
from panoptic_assets.tags.saving import author_of

LACKING = {
    "os": (
        *("fork", "getuid", "getpgid", "killpg", "mkfifo", "sched_getaffinity", "setsid"),
        *("statvfs", "sysconf", "uname", "wait", "O_NONBLOCK", "O_NOFOLLOW", "O_DIRECTORY"),
    ),
    "signal": ("SIGHUP", "SIGKILL", "SIGALRM", "SIGUSR1", "pthread_sigmask", "sigwait"),
    "time": ("tzset",),
}
"""What Python has on Linux and not on Windows; a Mac's lacks ``sched_getaffinity`` of these."""

_IMPORTED_TWICE = f"""
import importlib, pathlib, sys
names = [
    ".".join(path.with_suffix("").parts)
    for package in ("panoptic_assets", "resources")
    for path in sorted(pathlib.Path(package).rglob("*.py"))
    if path.stem not in ("__init__", "__main__") and "sample" not in path.parts
]
for name in names:  # first with all that other libraries need
    importlib.import_module(name)
for name in list(sys.modules):
    if name.partition(".")[0] in ("panoptic_assets", "resources"):
        del sys.modules[name]
for module, missing in {LACKING!r}.items():
    for name in missing:
        delattr(sys.modules[module], name)
for name in ("fcntl", "grp", "pwd", "resource", "termios"):
    sys.modules[name] = None
for name in names:
    importlib.import_module(name)
print(len(names))
"""


def test_no_module_needs_for_its_import_what_windows_lacks():
    done = subprocess.run(
        [sys.executable, "-c", _IMPORTED_TWICE],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.splitlines()[-1]) > 100


def test_what_needs_process_groups_is_refused_before_anything_starts(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "killpg")
    monkeypatch.delattr(signal, "SIGHUP")
    answer = CliRunner().invoke(main, ["--project", str(tmp_path), "ui"])
    assert answer.exit_code == 2
    assert "`panoptic-assets ui` does not run on Windows" in answer.output
    assert not list(tmp_path.iterdir())


def test_an_author_without_a_name_is_unknown(monkeypatch):
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(sys.modules, "pwd", None)
    assert author_of(EditsConfig(edits=[])) == "unknown"

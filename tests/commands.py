"""Commands as users give them: here, or in a process of its own where that makes a difference.

Does not belong here: functions in processes that race and are killed (``tests/processes.py``).
"""

import contextlib
import os
import subprocess
import sys
import warnings

from click.testing import CliRunner

from panoptic_assets.cli.main import main


def environment(**added):
    clean = {k: v for k, v in os.environ.items() if k not in ("DAGSTER_HOME", "PANOPTIC_PROJECT")}
    return clean | {"COLUMNS": "200"} | added


def run(*arguments, cwd, expect=0, process=False, limits="", **variables):
    """Run a command: here, or in a process of its own, of which most of the time is imports.

    For what only a process has there is one: `limits`, arguments of the shell's `ulimit`, and
    variables that Python itself reads when it starts. Any exit code will do where `expect` is None.
    """
    command = [os.fspath(given) if _is_name(given) else str(given) for given in arguments]
    process = process or limits or any(name.startswith("PYTHON") for name in variables)
    start = _in_a_process if process else _here
    answer = start(command, cwd, limits, variables)
    assert expect in (None, answer.returncode), answer.stdout + answer.stderr
    assert "Traceback" not in answer.stderr
    return answer


def _is_name(given):
    return isinstance(given, str | bytes | os.PathLike)


def _in_a_process(arguments, cwd, limits, variables):
    command = [sys.executable, "-m", "panoptic_assets.cli.main", *arguments]
    if limits:
        command = ["sh", "-c", f'ulimit {limits}; exec "$@"', "sh", *command]
    return subprocess.run(
        command,
        cwd=cwd,
        env=environment(**variables),
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=300,
    )


def _here(arguments, cwd, limits, variables):
    """A fault of the program is raised; warnings are shown as a process of its own shows them."""
    without = {"DAGSTER_HOME": None, "PANOPTIC_PROJECT": None}
    arguments = [os.fsdecode(argument) for argument in arguments]
    with contextlib.chdir(cwd), warnings.catch_warnings(record=True) as warned:
        warnings.resetwarnings()
        for kind in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", kind)
        done = CliRunner(catch_exceptions=False).invoke(
            main, arguments, env=without | {"COLUMNS": "200"} | variables
        )
    shown = "".join(
        warnings.formatwarning(found.message, found.category, found.filename, found.lineno)
        for found in warned
    )
    return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, shown + done.stderr)


def refused(*arguments, cwd, **options):
    """The one line with which a command refuses."""
    answer = run(*arguments, cwd=cwd, expect=2, **options)
    *before, line = answer.stderr.strip().splitlines()
    assert line.startswith("Error: ")
    assert all(done.startswith("✓ ") for done in before)
    return line


def everything(folder):
    """Every file below a folder with its size, Dagster's own database apart."""
    return {
        str(path): path.stat().st_size for path in folder.rglob("*") if "dagster" not in path.parts
    }

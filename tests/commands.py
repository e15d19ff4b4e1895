"""Commands as users give them: here, or in a process of its own where that makes a difference.

Does not belong here: functions in processes that race and are killed (``tests/processes.py``); what
a command loads when it starts (``tests/pipeline/cli/test_start.py``).
"""

import contextlib
import os
import signal
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

from click.testing import CliRunner

from panoptic_assets.cli.main import main
from tests import instances as instances
from tests import processes

_PERSONAL = ("DAGSTER_HOME", "PANOPTIC_PROJECT", "LC_ALL", "LC_MESSAGES", "LANG")
"""Variables by which a person's own commands work elsewhere, or speak another language."""


def environment(**added):
    clean = {name: value for name, value in os.environ.items() if name not in _PERSONAL}
    return clean | {"COLUMNS": "200"} | added


def run(*arguments, cwd, expect=0, process=False, limits="", **variables):
    """Run a command: here, in a process of its own, or in one that starts `"anew"`.

    The last is what a person has, with imports and all that happens at a process's end; whatever
    has `limits`, arguments of the shell's `ulimit`, or variables that Python itself reads, has it.
    Any exit code will do where `expect` is None.
    """
    command = _texts(arguments)
    if process == "anew" or limits or any(name.startswith("PYTHON") for name in variables):
        answer = _started_anew(command, cwd, limits, variables)
    elif process:
        started = Command(*command, cwd=cwd, **variables)
        output, errors = started.communicate(300)
        answer = subprocess.CompletedProcess(command, started.returncode, output, errors)
    else:
        answer = _here(command, cwd, variables)
    assert expect in (None, answer.returncode), answer.stdout + answer.stderr
    assert "Traceback" not in answer.stderr
    return answer


def _texts(arguments):
    names = (str, bytes, os.PathLike)
    return [os.fspath(given) if isinstance(given, names) else str(given) for given in arguments]


class Command:
    """A command in a process of its own, in a session of its own, that has been started.

    The process is forked from one that has made the imports, of which most of its time would be.
    """

    def __init__(self, *arguments, cwd, **variables):
        readers, writers = zip(
            *(processes.CONTEXT.Pipe(duplex=False) for _ in range(2)), strict=True
        )
        self._process = processes.start(
            _as_from_a_shell, _texts(arguments), cwd, environment(**variables), *writers
        )
        for writer in writers:  # so that reading ends when the command does
            writer.close()
        self.stdout, self.stderr = (
            os.fdopen(os.dup(reader.fileno()), encoding="utf-8", errors="surrogateescape")
            for reader in readers
        )
        for reader in readers:
            reader.close()

    @property
    def pid(self):
        return self._process.pid

    @property
    def returncode(self):
        """As ``subprocess`` gives it; None while it runs."""
        return self._process.exitcode

    def signal(self, number):
        """Send a signal to every process of the command, as a terminal does."""
        os.killpg(self.pid, number)

    def communicate(self, timeout):
        """Wait for its end; what it said on both streams."""
        with ThreadPoolExecutor(2) as threads, self.stdout, self.stderr:
            both = [threads.submit(stream.read) for stream in (self.stdout, self.stderr)]
            self._process.join(timeout)
            late = self.returncode is None
            if late:
                self.signal(signal.SIGKILL)
                self._process.join()
            texts = [text.result(60) for text in both]
        assert not late, texts
        return texts


def _as_from_a_shell(arguments, cwd, variables, *streams):
    os.setsid()
    # A test runner in the background is deaf to it, and so is what it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(variables)
    for number, stream in enumerate(streams, start=1):
        os.dup2(stream.fileno(), number)
        stream.close()
    sys.stdout, sys.stderr = (
        os.fdopen(number, "w", encoding="utf-8", errors="backslashreplace") for number in (1, 2)
    )
    sys.argv = ["panoptic-assets", *arguments]
    main()


def _started_anew(arguments, cwd, limits, variables):
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


def _here(arguments, cwd, variables):
    """A fault of the program is raised; warnings are shown as a process of its own shows them."""
    without = dict.fromkeys(_PERSONAL)
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
    assert all(done.lstrip().startswith(("✓ ", "Left out: ")) for done in before)
    return line


def everything(folder):
    """Every file below a folder with its size, Dagster's own database apart."""
    return {
        str(path): path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file() and "dagster" not in path.parts
    }

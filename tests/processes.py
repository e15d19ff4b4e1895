"""Processes of their own that tests race and kill, and that start in a tenth of the time.

They are forked from a process that has made the costly imports; but not that of LanceDB's package,
which starts a thread, and threads do not survive a fork. Does not belong here: whole commands
(``tests/commands.py``).
"""

import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from typing import Any

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        "dagster",
        # What Dagster imports for the first instance.
        "alembic.command",
        "dagster._core.storage.event_log",
        "dagster._core.storage.runs",
        "dagster._core.storage.schedules",
        "structlog",
        "upath",
        "watchdog.observers",
        "hypothesis",
        "open_clip",
        "panoptic_assets.definitions",
        "panoptic_assets.project",
        "pyarrow",
        "pytest",
        "resources.backends",
        "sklearn.cluster",
        "sklearn.metrics",
        "tests.workbench",
    ]
)


def start(target: Callable[..., None], *arguments: Any) -> ForkServerProcess:
    """Call a function of a module in a process that has this one's environment."""
    process = CONTEXT.Process(target=_call, args=(dict(os.environ), target, arguments))
    process.start()
    return process


def _call(environment: dict[str, str], target: Callable[..., None], arguments: Any) -> None:
    # That of the process it is forked from is of the time of the first test that needed one.
    os.environ.clear()
    os.environ.update(environment)
    target(*arguments)

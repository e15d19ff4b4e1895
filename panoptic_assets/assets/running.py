"""What every asset's body needs while it runs: plain failures and visible progress.

Belongs here: how a run speaks to people. Does not belong here: what it computes.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import dagster as dg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from panoptic_assets.core.errors import NotComputableError
from resources.errors import InputError

POOL = "lancedb_write"
"""Dagster pool of every asset that writes to the store; its limit is 1."""

_LOG_EVERY_SECONDS = 5.0


@contextmanager
def plain_failures() -> Iterator[None]:
    """Around an asset: turn input that cannot be used into a plain failure, which is not retried.

    Every other exception is a fault of the program or of the machine, and keeps its stack trace.
    """
    try:
        yield
    except (InputError, NotComputableError) as error:
        raise dg.Failure(description=str(error), allow_retries=False) from error


def partition_of(context: dg.AssetExecutionContext) -> str:
    """The partition's key, unchecked; empty if it is: Dagster then says that there is none."""
    return context.partition_key if context.has_partition_key else ""


@contextmanager
def progress(
    context: dg.AssetExecutionContext, total: int, what: str
) -> Iterator[Callable[[int], None]]:
    """Show how far a loop is: a bar on a terminal, else a log line every five seconds.

    Yields a function to call with the number of items that were just done.
    """
    console = Console(stderr=True)
    if console.is_terminal:
        columns = (
            TextColumn("{task.description:<12}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task(what, total=total, rate="")
            started = time.monotonic()

            def advance(count: int) -> None:
                bar.advance(task, count)
                done = bar.tasks[0].completed
                bar.update(task, rate=f"{done / (time.monotonic() - started):.0f}/s")

            yield advance
        return

    started = last = time.monotonic()
    done = 0

    def log(count: int) -> None:
        nonlocal done, last
        done += count
        now = time.monotonic()
        if now - last >= _LOG_EVERY_SECONDS:
            last = now
            rate = done / (now - started)
            left = (total - done) / rate
            context.log.info(f"{what}: {done} of {total}, {rate:.0f}/s, {left:.0f} s left")

    yield log

"""What every asset's body needs while it runs: plain failures and visible progress.

Belongs here: how a run speaks to people. Does not belong here: what it computes.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import dagster as dg

from panoptic_assets.orchestration.partitions import PARSERS
from panoptic_assets.spec.computation import NotComputableError
from panoptic_assets.spec.reporting import Reporter
from panoptic_assets.spec.text import cut
from resources.errors import (
    InputError,
    Message,
    MissingError,
    PlainError,
    UnavailableError,
    is_message,
)
from resources.report_folder import live_address

if TYPE_CHECKING:
    from rich.console import Console

CORPUS_POOL = "lancedb_write"
"""Dagster pool of the assets of the corpus: images, vectors, neighbours, points."""
CLUSTERINGS_POOL = "lancedb_clusterings"
"""Dagster pool of clusterings."""
TAGS_POOL = "lancedb_tags"
"""Dagster pool of what edits and saves tags."""
REVIEW_POOL = "review"
"""Dagster pool of what is computed for people to look at: labels, recommendations, pages."""
POOLS = (CORPUS_POOL, CLUSTERINGS_POOL, TAGS_POOL, REVIEW_POOL)
"""Whatever writes to the store is in one of them, each with a limit of 1: one writer for each group
of tables, and no tag that waits to be renamed until a corpus is embedded."""

FRESHNESS = dg.FreshnessPolicy.time_window(
    fail_window=timedelta(days=8), warn_window=timedelta(days=2)
)
"""Of the assets that a refresh makes anew even if nothing has changed: a missed night is a warning,
a missed week a failure. Shown in the UI; nothing is refused for it."""

_LOG_EVERY_SECONDS = 5.0

MESSAGE = "message"
"""Metadata of a failure: the id, the template and the values of what it says."""

_ITEMS_SHOWN = 12
_TEXT_SHOWN = 200

T = TypeVar("T")


@contextmanager
def plain_failures() -> Iterator[None]:
    """Around an asset: turn input that cannot be used into a plain failure.

    It is not retried, unless it may be over by itself. Every other exception is a fault of the
    program or of the machine, and keeps its stack trace.
    """
    try:
        yield
    except (InputError, NotComputableError) as error:
        raise failure_of(error) from error


def failure_of(error: PlainError, metadata: Mapping[str, Any] | None = None) -> dg.Failure:
    """The failure that says what an error says, and in its metadata what that is made of."""
    said = {MESSAGE: dg.MetadataValue.json(_bounded(error.message))}
    return dg.Failure(
        description=str(error),
        metadata={**(metadata or {}), **said},
        allow_retries=isinstance(error, UnavailableError) and not isinstance(error, MissingError),
    )


def error_of(failure: dg.Failure) -> InputError:
    """What a failure says, as an error that other languages can say as well."""
    text = failure.description or "The run failed."
    message: Any = failure.metadata[MESSAGE].value if MESSAGE in failure.metadata else None
    if not is_message(message):
        return InputError("{reason}", id="run-failed", reason=text)
    return InputError.restored(message, text)


def _bounded(message: Message) -> Message:
    """A message whose values are no longer than metadata may be; templates are as they are."""
    values = {
        name: _bounded(value) if is_message(value) else excerpt(value)
        for name, value in message["values"].items()
    }
    return {**message, "values": values}


def excerpt(value: Any) -> Any:
    """Plain data for Dagster's metadata: of long lists and texts the beginning.

    Hundreds of tags, or the task for a model, would take more than a materialization's 50 kB; the
    whole is in the store.
    """
    if isinstance(value, dict):
        return {name: excerpt(part) for name, part in value.items()}
    if isinstance(value, list):
        more = len(value) - _ITEMS_SHOWN
        shown = [excerpt(part) for part in value[:_ITEMS_SHOWN]]
        return [*shown, f"… and {more:,} more"] if more > 0 else shown
    return cut(value, _TEXT_SHOWN) if isinstance(value, str) else value


def page_link(page: str) -> dict[str, dg.MetadataValue]:
    """The metadata ``report``: a link to a live page; empty where nobody serves it.

    Args:
        page: Its address below the project's, such as ``runs/greek``.
    """
    found = live_address(page)
    return {} if found is None else {"report": dg.MetadataValue.url(found)}


def partition_of(context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext) -> str:
    """The partition's key; empty for an asset without partitions.

    Dagster takes any text for a partition. What is no key leaves none behind: whoever mistyped it
    would find it in every list from then on.

    Raises:
        dg.Failure: It is no key of its kind; the partition was removed.
    """
    key = context.partition_key if context.has_partition_key else ""
    family = getattr(context.op_execution_context.assets_def.partitions_def, "name", None)
    if family is not None:
        with plain_failures():
            try:
                PARSERS[family](key)
            except InputError:
                context.instance.delete_dynamic_partition(family, key)
                raise
    return key


class LogReporter:
    """Tells a Dagster run's log.

    Args:
        context: Of the run.
        watched: Who is shown how far it is; None: whoever has the terminal, else the log.
    """

    def __init__(
        self,
        context: dg.AssetExecutionContext | dg.OpExecutionContext,
        watched: Reporter | None = None,
    ):
        self._log = context.log
        self._watched = watched

    def tell(self, text: str, style: str = "") -> None:
        """A line about the work; in a colour it is a warning."""
        (self._log.warning if style else self._log.info)(text)

    def track(
        self, items: Iterable[T], total: int, what: str, count: Callable[[T], int] = lambda _: 1
    ) -> Iterator[T]:
        """Pass items on, and show how far they are."""
        if self._watched is not None:
            return self._watched.track(items, total, what, count)
        return progress(self._log.info, items, total, what, count)


def progress(
    tell: Callable[[str], object],
    items: Iterable[T],
    total: int,
    what: str,
    count: Callable[[T], int] = lambda _: 1,
) -> Iterator[T]:
    """Pass items on and show how far they are: a bar on a terminal, else a line every 5 seconds.

    Args:
        tell: Takes the lines.
        items: What is being done, as it is finished.
        total: How much there is to do.
        what: A word for it.
        count: How much of that an item is; one by default.
    """
    from rich.console import Console

    console = Console(stderr=True)
    show = _bar(console, total, what) if console.is_terminal else _lines(tell, total, what)
    with show as advance:
        for item in items:
            advance(count(item))
            yield item


@contextmanager
def _bar(console: "Console", total: int, what: str) -> Iterator[Callable[[int], None]]:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

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

        def advance(number: int) -> None:
            bar.advance(task, number)
            done = bar.tasks[0].completed
            bar.update(task, rate=_rate(done, time.monotonic() - started))

        yield advance


@contextmanager
def _lines(tell: Callable[[str], object], total: int, what: str) -> Iterator[Callable[[int], None]]:
    started = last = time.monotonic()
    done = 0

    def advance(number: int) -> None:
        nonlocal done, last
        done += number
        now = time.monotonic()
        if now - last >= _LOG_EVERY_SECONDS:
            last = now
            rate = _rate(done, now - started)
            left = (total - done) * (now - started) / done
            tell(f"{what}: {done:,} of {total:,}, {rate}, {left:.0f} s left")

    yield advance


def _rate(done: float, seconds: float) -> str:
    rate = done / max(seconds, 1e-3)  # some machines' clocks tick 60 times a second
    return f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s"

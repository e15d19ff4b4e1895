"""What is written on the terminal: lines of the answer, and lines about the work.

Belongs here: how text reaches a terminal. Does not belong here: what is said, and making text safe
(``panoptic_assets.spec.text``).
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

import click

from panoptic_assets.spec.text import printable

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")


def say(text: str) -> None:
    """A line of the answer."""
    click.echo(printable(text))


def tell(text: str, style: str = "") -> None:
    """A line about the work."""
    from rich.text import Text

    error_console().print(Text(printable(text), style), soft_wrap=True)


def output_console() -> "Console":
    """For tables and trees; what is piped is not folded to 80 columns."""
    from rich.console import Console

    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 200)


def error_console() -> "Console":
    """For lines about the work."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, markup=False)


def decimals(value: float | None, places: int) -> str | None:
    """A number with so many decimals; None stays None."""
    return None if value is None else f"{value:.{places}f}"


class TerminalReporter:
    """Writes the lines about the work on the terminal."""

    def tell(self, text: str, style: str = "") -> None:
        """A line about the work."""
        tell(text, style)

    def track(
        self, items: Iterable[T], total: int, what: str, count: Callable[[T], int] = lambda _: 1
    ) -> Iterator[T]:
        """Pass items on, and show how far they are: a bar, or a line now and then."""
        from panoptic_assets.orchestration.running import progress

        return progress(lambda text: tell(f"  {text}"), items, total, what, count)

"""What is written on the terminal: lines of the answer, and lines about the work.

Belongs here: how text reaches a terminal. Does not belong here: what is said, and making text safe
(``panoptic_assets.spec.reporting``).
"""

import sys
from typing import TYPE_CHECKING

import click

from panoptic_assets.spec.text import printable

if TYPE_CHECKING:
    from rich.console import Console


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
    """Takes lines for people, and writes them on the terminal."""

    def say(self, text: str) -> None:
        """A line of the answer."""
        say(text)

    def tell(self, text: str, style: str = "") -> None:
        """A line about the work."""
        tell(text, style)

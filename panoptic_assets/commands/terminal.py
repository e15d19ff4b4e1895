"""What is written on the terminal: lines of the answer, and lines about the work.

Belongs here: how text reaches a terminal safely. Does not belong here: what is said.
"""

import re
import sys

import click
from rich.console import Console
from rich.text import Text

_UNPRINTABLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""What a name may hold and a terminal must not get: escape sequences, line separators, what turns
the direction of writing around, and bytes that are not UTF-8."""


def brief(reason: str) -> str:
    """Another library's words on one line, without the place in its own source, cut."""
    line = " ".join(re.sub(r",? \S+\.rs:\d+:\d+", "", reason).split())
    return line if len(line) <= 300 else f"{line[:300]}…"


def printable(text: str) -> str:
    """Text as one line that only says what it is: ``\\x1b`` in place of an escape sequence."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def counted(count: int, noun: str) -> str:
    """``1 image``, ``2 images``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def say(text: str) -> None:
    """A line of the answer."""
    click.echo(printable(text))


def tell(text: str, style: str = "") -> None:
    """A line about the work."""
    error_console().print(Text(printable(text), style), soft_wrap=True)


def output_console() -> Console:
    """For tables and trees; what is piped is not folded to 80 columns."""
    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 200)


def error_console() -> Console:
    """For lines about the work."""
    return Console(stderr=True, highlight=False, markup=False)


def decimals(value: float | None, places: int) -> str | None:
    """A number with so many decimals; None stays None."""
    return None if value is None else f"{value:.{places}f}"

"""Text for people: what every line of it must be, and who takes it.

Belongs here: how text is made safe, short and countable. Does not belong here: what is said, and a
terminal's colours (``panoptic_assets.commands.terminal``).
"""

import re
import sys
from typing import Protocol

_UNPRINTABLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""What a name may hold and a terminal must not get: escape sequences, line separators, what turns
the direction of writing around, and bytes that are not UTF-8."""


class Reporter(Protocol):
    """Takes the lines that an act has for people."""

    def say(self, text: str) -> None:
        """A line of the answer."""

    def tell(self, text: str, style: str = "") -> None:
        """A line about the work.

        Args:
            text: The line.
            style: A colour, such as ``yellow`` for a warning; empty for none.
        """


class PlainReporter:
    """Writes the answer to standard output, and lines about the work to standard error."""

    def say(self, text: str) -> None:
        """A line of the answer."""
        print(printable(text))

    def tell(self, text: str, style: str = "") -> None:
        """A line about the work, in no colour."""
        print(printable(text), file=sys.stderr)


def brief(reason: str) -> str:
    """Another library's words on one line, without the place in its own source, cut."""
    line = " ".join(re.sub(r",? \S+\.rs:\d+:\d+", "", reason).split())
    return line if len(line) <= 300 else f"{line[:300]}…"


def printable(text: str) -> str:
    """Text as one line that only says what it is: ``\\x1b`` in place of an escape sequence."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)

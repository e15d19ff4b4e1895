"""Text for people: what every line of it must be, and who takes it.

Belongs here: how text is made safe, short and countable. Does not belong here: what is said, and a
terminal's colours (``panoptic_assets.cli.terminal``).
"""

import sys
from typing import Protocol

from panoptic_assets.spec.text import printable


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

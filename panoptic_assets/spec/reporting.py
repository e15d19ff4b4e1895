"""Who takes what an act has to say meanwhile.

Belongs here: the lines about the work, and how far it is. Does not belong here: what is said, and
how text is made safe for a terminal (``panoptic_assets.cli.terminal``).
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")


class Reporter(Protocol):
    """Takes the lines that an act has for people, and is shown how far it is."""

    def tell(self, text: str, style: str = "") -> None:
        """A line about the work.

        Args:
            text: The line.
            style: A colour, such as ``yellow`` for a warning; empty for none.
        """

    def track(
        self, items: Iterable[T], total: int, what: str, count: Callable[[T], int] = lambda _: 1
    ) -> Iterator[T]:
        """Pass items on, and show how far they are.

        Args:
            items: What is being done, as it is finished.
            total: How much there is to do.
            what: A word for it.
            count: How much of that an item is; one by default.
        """


class Silent:
    """Lets everything pass."""

    def tell(self, text: str, style: str = "") -> None:
        """A line about the work."""

    def track(
        self, items: Iterable[T], total: int, what: str, count: Callable[[T], int] = lambda _: 1
    ) -> Iterator[T]:
        """Pass items on."""
        yield from items


class Callbacks:
    """Calls functions.

    Args:
        report: Called with each line about the work.
        progress: Called with a word for what is being done, how much is done and how much there is.
    """

    def __init__(
        self,
        report: Callable[[str], object] | None = None,
        progress: Callable[[str, int, int], object] | None = None,
    ):
        self._report = report
        self._progress = progress

    def tell(self, text: str, style: str = "") -> None:
        """A line about the work."""
        if self._report is not None:
            self._report(text)

    def track(
        self, items: Iterable[T], total: int, what: str, count: Callable[[T], int] = lambda _: 1
    ) -> Iterator[T]:
        """Pass items on, and show how far they are."""
        done = 0
        for item in items:
            done += count(item)
            if self._progress is not None:
                self._progress(what, done, total)
            yield item

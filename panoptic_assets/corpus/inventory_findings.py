"""What is found in an inventory that is left out, or is not read as it was written.

Belongs here: counting that, in bounded memory, by column and cause. Does not belong here: what is
wrong with a cell or a line (``corpus.inventory``, ``corpus.values``).
"""

import bisect
from collections import Counter
from dataclasses import dataclass, field

from panoptic_assets.corpus.values import shown_cell
from panoptic_assets.spec.languages import N_

FIRST_OF_A_CAUSE = 5
"""Findings of one column and cause that are kept."""
MAX_CAUSES = 5_000
"""Causes that are told apart: some name the value, or another line."""
_OTHER = N_("for other reasons")


@dataclass(frozen=True, order=True)
class Finding:
    """Something in the file that is left out, or is not read as it was written."""

    line: int
    """Of the file, from 1; of several that make one line of the table, the first."""
    column: str
    """The property's name; empty when the finding is about the whole line."""
    value: str
    """What stands there, shortened, with control characters escaped."""
    cause: str


@dataclass(frozen=True)
class LineValue:
    """Where a finding is."""

    line: int
    value: str


@dataclass(frozen=True)
class SameFindings:
    """The findings of one column that have one cause."""

    column: str
    """Empty when they are about whole lines."""
    cause: str
    count: int
    first: tuple[LineValue, ...]
    """By line."""


@dataclass(frozen=True)
class Findings:
    """All findings: by cause, the most frequent first, then by line."""

    causes: tuple[SameFindings, ...] = ()
    total: int = 0
    by_column: dict[str, int] = field(default_factory=dict)
    """How many cells of each property are left out."""
    undated: dict[str, int] = field(default_factory=dict)
    """Of properties of type date, how many cells say that there is no date: ``s. d.``. These are
    read as they are meant, and are no findings."""

    @property
    def first(self) -> tuple[Finding, ...]:
        """The first of each cause, by line."""
        return tuple(
            sorted(
                Finding(one.line, same.column, one.value, same.cause)
                for same in self.causes
                for one in same.first
            )
        )


class FindingCounter:
    """Counts findings, and keeps the first ones of each cause.

    Args:
        start: What was found before.
    """

    def __init__(self, start: Findings = Findings()):
        self._counts = Counter({(same.column, same.cause): same.count for same in start.causes})
        self._first = {
            (same.column, same.cause): [(one.line, one.value) for one in same.first]
            for same in start.causes
        }
        self._by_column = Counter(start.by_column)
        self.undated = Counter(start.undated)

    def add(self, line: int, column: str, value: str, cause: str) -> None:
        """Something is left out: a cell, or what concerns a whole line, without a column."""
        if column:
            self._by_column[column] += 1
        self.note(line, column, value, cause)

    def note(self, line: int, column: str, value: str, cause: str) -> None:
        """Something is not read as it was written, but counts."""
        key = column, cause
        if key not in self._counts and len(self._counts) >= MAX_CAUSES:
            key = column, _OTHER
        self._counts[key] += 1
        first = self._first.setdefault(key, [])
        if len(first) < FIRST_OF_A_CAUSE or line < first[-1][0]:
            bisect.insort(first, (line, shown_cell(value)))
            del first[FIRST_OF_A_CAUSE:]

    def findings(self) -> Findings:
        """What was found."""
        causes = [
            SameFindings(column, cause, count, tuple(LineValue(*one) for one in self._first[key]))
            for key, count in self._counts.items()
            for column, cause in [key]
        ]
        causes.sort(key=lambda same: (-same.count, same.first[0].line, same.column, same.cause))
        total = self._counts.total()
        return Findings(tuple(causes), total, dict(self._by_column), dict(self.undated))

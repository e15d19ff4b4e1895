"""Markdown for Dagster's pages.

Belongs here: Markdown from plain values. Does not belong here: HTML, which those pages block.
"""

import re
from collections.abc import Sequence

_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|<>~&$:@])")


def escaped(value: object) -> str:
    """Any text as Markdown that shows it as it is, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(str(value).split()))


def table(
    headings: Sequence[str], rows: Sequence[Sequence[object]], most: int | None = None
) -> str:
    """A Markdown table; ``(none)`` without rows.

    Args:
        headings: One for each column, as Markdown.
        rows: Values, in the order of the headings; any text is shown as it is.
        most: Rows to show at most; a line below the table then says how many were left out.
    """
    if not rows:
        return "(none)"
    cells = [[escaped(cell) for cell in row] for row in rows[:most]]
    lines = [headings, ["---"] * len(headings), *cells]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    left_out = len(rows) - len(cells)
    return f"{text}\n\n… and {left_out:,} more" if left_out else text


def bullets(sentences: Sequence[str]) -> str:
    """A list; any text is shown as it is."""
    return "\n".join(f"- {escaped(sentence)}" for sentence in sentences)


def number_text(value: float) -> str:
    """A number for people: a count in full, with its thousands apart; else two decimals."""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


def score_text(score: float, size: int) -> str:
    """A cluster's score for people; a single image is always coherent, so that is said."""
    return f"{score:.1f} (one image)" if size == 1 else f"{score:.1f}"

"""Markdown for Dagster's pages.

Belongs here: Markdown from plain values. Does not belong here: HTML, which those pages block.
"""

import itertools
import json
import re
from collections.abc import Iterable, Iterator, Sequence

from panoptic_assets.spec.text import cut

_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|<>~&$:@])")
_CODE = re.compile(r"`([^`\n]+)`")

_CELL = 200
"""Characters of a cell: names of files and tags have no other limit than the system's."""
_TABLE_BYTES = 10_000
_LIST_BYTES = 4_000
"""Of what Dagster's event log keeps; a materialization has 50 kB, most of them its pictures."""


def escaped(value: object) -> str:
    """Any text as Markdown that shows it as it is, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(str(value).split()))


def table(
    headings: Sequence[str],
    rows: Sequence[Sequence[object]],
    most: int | None = None,
    max_bytes: int = _TABLE_BYTES,
    total: int | None = None,
) -> str:
    """A Markdown table; ``(none)`` without rows.

    Args:
        headings: One for each column, as Markdown.
        rows: Values, in the order of the headings; any text is shown as it is, of a long one the
            first 200 characters.
        most: Rows to show at most; a line below the table then says how many were left out.
        max_bytes: What rows may take in the event log; those beyond are left out as well.
        total: How many rows there are, if these are only the first of them.
    """
    if not rows:
        return "(none)"
    shown = _within(
        (_line([escaped(cut(str(cell), _CELL)) for cell in row]) for row in rows[:most]), max_bytes
    )
    text = "\n".join([_line(headings), _line(["---"] * len(headings)), *shown])
    left_out = (len(rows) if total is None else total) - len(shown)
    return f"{text}\n\n… and {left_out:,} more" if left_out else text


def bullets(sentences: Sequence[str]) -> str:
    """A list; of one that is too long the first ones.

    Any text is shown as it is, apart from what is between backticks, which is code.
    """
    shown = _within((f"- {_prose(sentence)}" for sentence in sentences), _LIST_BYTES)
    left_out = len(sentences) - len(shown)
    return "\n".join([*shown, *([f"- … and {left_out:,} more"] if left_out else [])])


def code_apart(text: str) -> Iterator[tuple[str, bool]]:
    """The parts of a text, and whether they were between backticks, which are left out."""
    return zip(_CODE.split(text), itertools.cycle((False, True)), strict=False)


def _prose(sentence: str) -> str:
    # In code Markdown takes every character for itself.
    return "".join(
        f"`{part}`" if is_code else _SPECIAL.sub(r"\\\1", part)
        for part, is_code in code_apart(" ".join(sentence.split()))
    )


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _within(lines: Iterable[str], max_bytes: int) -> list[str]:
    """The first lines that together are within a number of bytes of the event log."""
    shown: list[str] = []
    for line in lines:
        max_bytes -= len(json.dumps(line))  # as the log keeps it: a Chinese letter takes six
        if max_bytes < 0:
            break
        shown.append(line)
    return shown


def number_text(value: float) -> str:
    """A number for people: a count in full, with its thousands apart; else two decimals."""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


def score_text(score: float, size: int) -> str:
    """A cluster's score for people; a single image is always coherent, so that is said."""
    return f"{score:.1f} (one image)" if size == 1 else f"{score:.1f}"

"""Cells that a spreadsheet would take for a formula.

Belongs here: how such a cell is written, and read again. Does not belong here: which cells of a
table may hold what people wrote (their writers).

Spreadsheets take a cell that begins with ``=``, ``+``, ``-`` or ``@`` for a formula, so whoever
names a file or a tag could run one on another person's machine. Such cells get an apostrophe.
"""

import re

_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")


def protected(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula; its inverse is :func:`unprotected`."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def unprotected(cell: str) -> str:
    """A cell as it was before :func:`protected`."""
    return cell[1:] if cell[:1] == "'" and _FORMULA.match(cell) else cell

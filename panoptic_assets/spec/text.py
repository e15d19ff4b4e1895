"""How values and texts are shown in messages, in one line that is not too long.

Belongs here: small helpers that say the same wherever they are used. Does not belong here: what a
message says.
"""

import reprlib
from typing import Any


def shown(value: Any) -> str:
    """A value as Python writes it; of a long list, the first values."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = 200
    return short.repr(value)

"""Types of configuration fields that several Config classes use.

Belongs here: what a text must look like to be the value of a field. Does not belong here: the
fields themselves, and keys (``keys``).
"""

import re
from datetime import date, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

_NOT_ON_ONE_LINE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Control characters, all line separators, and halves of characters that no file can hold."""


def _one_line(text: str) -> str:
    if _NOT_ON_ONE_LINE.search(text):
        raise ValueError("must be one line, without control characters")
    return text


def _visible(text: str) -> str:
    if text != text.strip() or not text:
        raise ValueError("must not be empty, nor begin or end with a space")
    return text


def _unquoted(value: Any) -> Any:
    """The text of what YAML reads as a number or a date where quotes are left out."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return value


OneLine = Annotated[str, AfterValidator(_one_line)]
Name = Annotated[OneLine, AfterValidator(_visible)]
Unquoted = Annotated[str, BeforeValidator(_unquoted)]
"""Text that may look like a number or a date."""

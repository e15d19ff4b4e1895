"""What a scope's words match: values, tags, similarities.

Belongs here: pure matching. Does not belong here: dates (``spec.dates``), the fields of scopes
(``clustering.scopes``), and reading what is matched (``clustering.selection``).
"""

import unicodedata
from datetime import datetime

from panoptic_assets.corpus.values import PropertyType, Value, read_number, tag_path
from panoptic_assets.spec.dates import period
from panoptic_assets.spec.tag_log import HIERARCHY


def below(path: str) -> list[str]:
    """A tag's path and those of the tags above it: ``a``, ``a > b``, ``a > b > c``."""
    names = path.split(HIERARCHY)
    return [HIERARCHY.join(names[: depth + 1]) for depth in range(len(names))]


def word(kind: PropertyType, text: str) -> str | float:
    """What a person writes for a value, in the form of :func:`words`.

    Raises:
        ValueError: It is no value of that type; the message says what one looks like.
    """
    if kind == "number":
        return read_number(text, ";")
    if kind == "date":
        period(text)
        return text
    return unicodedata.normalize("NFC", text) if kind == "text" else tag_path(text)


def words(kind: PropertyType, value: Value) -> list[str] | list[float]:
    """All that can be written for a stored value: a tag is also found by those above it, a date by
    its month and its year."""
    if isinstance(value, datetime):
        day = value.date().isoformat()
        return [day[:4], day[:7], day]
    if isinstance(value, str):
        return [unicodedata.normalize("NFC", value)]
    if isinstance(value, float):
        return [value]
    return [above for path in value for above in below(path)]

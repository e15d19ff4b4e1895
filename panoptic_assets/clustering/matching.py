"""What a scope's words match: values, tags, similarities.

Belongs here: pure matching. Does not belong here: dates (``spec.dates``), the fields of scopes
(``clustering.scopes``), and reading what is matched (``clustering.selection``).
"""

import re
import unicodedata

from panoptic_assets.corpus.values import PropertyType, Value, read_number, tag_path
from panoptic_assets.spec.dates import NOT_DATED
from panoptic_assets.spec.extended_dates import days
from panoptic_assets.spec.tag_log import HIERARCHY
from panoptic_assets.spec.written_dates import WrittenDate, read_date

_DAY_OF_EDTF = re.compile(
    r"(?P<year>-?[0-9]{4})(?P<month>-[0-9]{2})?(?P<day>-[0-9]{2})?(?:T.*)?[~?%]?"
)


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
        try:
            date = read_date(text)
        except ValueError:
            if _is_edtf(text):  # of which 2015-23 may also be years, where people write it
                return text
            raise
        if date is None:
            raise ValueError(NOT_DATED)
        return date.edtf
    return unicodedata.normalize("NFC", text) if kind == "text" else tag_path(text)


def _is_edtf(text: str) -> bool:
    try:
        days(text)
    except ValueError:
        return False
    return True


def words(kind: PropertyType, value: Value) -> list[str] | list[float]:
    """All that can be written for a stored value: a tag is also found by those above it, a day by
    its month and its year, and what is approximate or uncertain by what it would be otherwise. A
    date is found in whatever form it is written, since both are compared in EDTF."""
    if isinstance(value, WrittenDate):
        match = _DAY_OF_EDTF.fullmatch(value.edtf)
        if match is None:
            return [value.edtf]
        year, month, day = match["year"], match["month"] or "", match["day"] or ""
        return [year, *({year + month, year + month + day} - {year}), value.edtf]
    if isinstance(value, str):
        return [unicodedata.normalize("NFC", value)]
    if isinstance(value, float):
        return [value]
    return [above for path in value for above in below(path)]

"""What the cells of an inventory mean: numbers, dates, tags, and the type of a column.

Belongs here: reading one cell, and what is wrong with it. Does not belong here: which image a line
is for (``corpus.inventory``), and what people ask for in scopes (``clustering.matching``).
"""

import math
import re
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Literal

from panoptic_assets.spec.languages import N_
from panoptic_assets.spec.tag_log import HIERARCHY
from panoptic_assets.spec.text import cut
from resources.errors import noted

PropertyType = Literal["text", "number", "date", "tag", "multi_tags"]
Value = str | float | datetime | tuple[str, ...]
"""Of type text, number, date (in UTC), and tag or multi_tags (paths such as ``a > b``)."""
MAX_NAME = 200
"""Characters of a property's name, and of a tag with those above it."""


# Control characters, and those that reverse the direction of the text around them.
CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_LONGEST_NUMBER = 400
"""Characters: the largest float64 has 309 digits."""
_INTEGER = re.compile(r"[+-]?[0-9]+")
_PLAIN_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")
_PLAIN_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ].*)?")
_TIME = (
    r"(?:[T ](?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})"
    r"(?::(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]{1,9}))?)?"
    r" ?(?P<zone>Z|[+-][0-9]{2}:?[0-9]{2})?)?"
)
_YEAR_FIRST = re.compile(
    r"(?P<year>[0-9]{4})"
    rf"(?:(?P<mark>[-/])(?P<month>[0-9]{{1,2}})(?:(?P=mark)(?P<day>[0-9]{{1,2}}){_TIME})?)?"
)
_DAY_FIRST = re.compile(
    rf"(?P<day>[0-9]{{1,2}})/(?P<month>[0-9]{{1,2}})/(?P<year>[0-9]{{4}}){_TIME}"
)
_MONTH = re.compile(r"(?P<month>[0-9]{1,2})/(?P<year>[0-9]{4})")


def inferred_type(cells: list[str]) -> PropertyType:
    """The type of a column whose header has none."""
    distinct = {stripped for cell in cells if (stripped := cell.strip())}
    if not distinct:
        return "text"
    if all(map(_is_plain_number, distinct)):
        return "number"
    if all(map(_is_plain_date, distinct)):
        return "date"
    return "text"


def _is_plain_number(cell: str) -> bool:
    # No leading zeros, signs or exponents: inventory numbers, telephone numbers, codes as 12E3.
    if not _PLAIN_NUMBER.fullmatch(cell):
        return False
    try:
        read_number(cell, ",")
    except ValueError:
        return False
    return True


def _is_plain_date(cell: str) -> bool:
    if not _PLAIN_DATE.fullmatch(cell):
        return False
    try:
        _date(cell, ",")
    except ValueError:
        return False
    return True


def _text(cell: str, separator: str) -> Value:
    return cell


def read_number(cell: str, separator: str) -> float:
    """The number in a cell of a file with this separator.

    Raises:
        ValueError: It is none, too large, or an integer that float64 cannot hold exactly.
    """
    text = cell.strip()
    if separator == ";" and "." not in text:
        text = text.replace(",", ".", 1)
    if len(text) > _LONGEST_NUMBER or not _NUMBER.fullmatch(text):
        decimal = ", or a comma," if separator == ";" else ""
        raise ValueError(
            f"not a number: write digits with a point{decimal} before the decimals, and nothing "
            "between thousands"
        )
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(N_("too large for a number"))
    if abs(value) >= 2**53 and _INTEGER.fullmatch(text):
        raise ValueError(N_("too many digits for a number; the type text keeps them"))
    return value + 0.0  # -0.0 becomes 0.0


def _date(cell: str, separator: str) -> datetime:
    text = cell.strip()
    match = _YEAR_FIRST.fullmatch(text) or _DAY_FIRST.fullmatch(text) or _MONTH.fullmatch(text)
    if match is None:
        raise ValueError(
            N_("not a date: write 2024-03-09, 09/03/2024, 2024-03 or 2024, and times as 13:45")
        )
    part = match.groupdict()
    zone = part.get("zone") or "Z"
    try:
        local = datetime(
            int(part["year"]),
            int(part["month"] or 1),
            int(part.get("day") or 1),
            int(part.get("hour") or 0),
            int(part.get("minute") or 0),
            int(part.get("second") or 0),
            int((part.get("fraction") or "0").ljust(6, "0")[:6]),
            UTC if zone == "Z" else _zone(zone),
        )
        return local.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"no such date (day, then month, as in 31/12/2024): {error}") from error


def _zone(text: str) -> timezone:
    offset = timedelta(hours=int(text[1:3]), minutes=int(text[-2:]))
    return timezone(-offset if text[0] == "-" else offset)


def _tag(cell: str, separator: str) -> tuple[str, ...]:
    return (tag_path(cell),)


def _tags(cell: str, separator: str) -> tuple[str, ...] | None:
    # A comma at the end, or two in a row, are slips that mean nothing.
    return tuple(sorted({tag_path(part) for part in cell.split(",") if part.strip()})) or None


def tag_path(text: str) -> str:
    """A tag's path as it is stored: ``a > b``, accents composed, single spaces.

    Raises:
        ValueError: One of its names is empty, it holds control characters, or it is too long.
    """
    names = [" ".join(name.split()) for name in unicodedata.normalize("NFC", text).split(">")]
    if not all(names):
        raise ValueError(N_("a tag has no name: write a > b for the tag b below a"))
    path = HIERARCHY.join(names)
    if CONTROL_CHARACTERS.search(path):
        raise ValueError(N_("a tag holds control characters"))
    if len(path) > MAX_NAME:
        raise ValueError(
            noted(
                "a tag has {length:,} characters; at most {most:d} are possible",
                length=len(path),
                most=MAX_NAME,
            )
        )
    return path


READERS: dict[PropertyType, Callable[[str, str], Value | None]] = {
    "text": _text,
    "number": read_number,
    "date": _date,
    "tag": _tag,
    "multi_tags": _tags,
}


def written(value: Value) -> str:
    """A value as a cell could hold it."""
    if isinstance(value, datetime):
        return value.isoformat()
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def shown_cell(text: str) -> str:
    """Text for people: 60 characters at most, control characters escaped."""
    return CONTROL_CHARACTERS.sub(
        lambda match: match[0].encode("unicode_escape").decode(), cut(text, 60)
    )

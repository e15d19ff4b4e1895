"""What the cells of an inventory mean: numbers, dates, tags, and the type of a column.

Belongs here: reading one cell, and what is wrong with it. Does not belong here: which image a line
is for (``corpus.inventory``), and what people ask for in scopes (``clustering.matching``).
"""

import itertools
import math
import re
import unicodedata
from collections.abc import Callable, Iterable
from typing import Literal

from panoptic_assets.spec.formulas import unprotected
from panoptic_assets.spec.languages import N_
from panoptic_assets.spec.tag_log import HIERARCHY
from panoptic_assets.spec.text import cut
from panoptic_assets.spec.written_dates import WrittenDate, read_date
from resources.errors import noted

PropertyType = Literal["text", "number", "date", "tag", "multi_tags"]
Value = str | float | WrittenDate | tuple[str, ...]
"""Of type text, number, date, and tag or multi_tags (paths such as ``a > b``)."""
MAX_NAME = 200
"""Characters of a property's name, and of a tag with those above it."""


# Control characters, and those that reverse the direction of the text around them.
CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_UNBREAKABLE = "\u00a0\u202f\u2009\u2007"
"""No-break, narrow no-break, thin and figure space: what programs put between thousands."""
_GROUPED = re.compile(
    rf"[+-]?[0-9]{{1,3}}(?P<mark>[ '’{_UNBREAKABLE}])[0-9]{{3}}(?:(?P=mark)[0-9]{{3}})*"
    r"(?:[.,][0-9]+)?"
)
_LEADING = re.compile(r"[+-]?[0-9][0-9., ]*")
_UNITS = "€$£¥%°\"'′″"
_LONGEST_NUMBER = 400
"""Characters: the largest float64 has 309 digits."""
_INTEGER = re.compile(r"[+-]?[0-9]+")
_PLAIN_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")
_PLAIN_GROUPED = re.compile(
    rf"[-\u2212]?[1-9][0-9]{{0,2}}(?P<mark>[ {_UNBREAKABLE}])[0-9]{{3}}(?:(?P=mark)[0-9]{{3}})*"
    r"(?P<decimals>,[0-9]+)?"
)
_PLAIN_FRENCH = re.compile(r"[-\u2212]?(?:0|[1-9][0-9]{0,2})(?:,[0-9]+)?")
_DOUBTFUL = re.compile(r"[-\u2212+]?[1-9][0-9]{0,2},[0-9]{3}")
_ENGLISH = re.compile(r"[-\u2212+]?[1-9][0-9]{0,2}(?:(?:,[0-9]{3})+\.[0-9]+|(?:,[0-9]{3}){2,})")
_PLAIN_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ].*)?")


def inferred_type(cells: list[str], separator: str) -> PropertyType:
    """The type of a column whose header has none, in a file with this separator."""
    distinct = {stripped for cell in cells if (stripped := cell.strip())}
    if not distinct:
        return "text"
    if all(map(_is_plain_number, distinct)) or _are_french_numbers(distinct, separator):
        return "number"
    if all(map(_is_plain_date, distinct)):
        return "date"
    return "text"


def _is_plain_number(cell: str) -> bool:
    # No leading zeros, signs or exponents: inventory numbers, telephone numbers, codes as 12E3.
    return _PLAIN_NUMBER.fullmatch(cell) is not None and _is_number(cell, ",")


def _are_french_numbers(cells: set[str], separator: str) -> bool:
    # A space may stand in codes too (75 001), whoever put it there, so at least one cell has what
    # only numbers have: thousands with decimals; or a space that programs put there, with decimals
    # elsewhere or a second such cell. A comma alone (12,5) makes no number of a column, as ever.
    nb_unbreakable, decimals, certain = 0, False, False
    for cell in cells:
        if match := _PLAIN_GROUPED.fullmatch(cell):
            nb_unbreakable += match["mark"] != " "
            certain = certain or match["decimals"] is not None
        elif _PLAIN_FRENCH.fullmatch(cell):
            decimals = decimals or "," in cell
        else:
            return False
    certain = certain or nb_unbreakable > 1 or (nb_unbreakable == 1 and decimals)
    return certain and all(_is_number(cell, separator) for cell in cells)


def are_doubtful_decimals(cells: Iterable[str], separator: str) -> bool:
    """Whether the commas in a column of numbers, which are read as those of decimals, look as if
    they stood between thousands: all before three digits, in several cells or in English numbers.
    """
    if separator == ",":
        return False
    distinct = {cell.strip() for cell in cells if "," in cell}
    english = any(map(_ENGLISH.fullmatch, distinct))
    doubtful = [cell for cell in distinct if _DOUBTFUL.fullmatch(cell)]
    others = [cell for cell in distinct if not _DOUBTFUL.fullmatch(cell)]
    return (
        bool(doubtful) and all(map(_ENGLISH.fullmatch, others)) and (english or len(doubtful) > 1)
    )


def _is_number(cell: str, separator: str) -> bool:
    try:
        read_number(cell, separator)
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


def look_like_dates(cells: Iterable[str]) -> bool:
    """Whether at least eight of ten different cells are dates, of those that say any."""
    nb_dates = nb_others = 0
    for cell in itertools.islice(dict.fromkeys(cells), _MOST_TRIED):
        try:
            nb_dates += read_date(unprotected(cell)) is not None
        except ValueError:
            nb_others += 1
    return nb_dates > 0 and nb_dates >= 4 * nb_others


_MOST_TRIED = 100
"""Cells: a date takes up to 60 µs, and a table may have many columns."""


def _text(cell: str, separator: str) -> Value:
    return unprotected(cell)


def read_number(cell: str, separator: str) -> float:
    """The number in a cell of a file with this separator.

    Raises:
        ValueError: It is none, too large, or an integer that float64 cannot hold exactly.
    """
    text = cell.strip().replace("\u2212", "-")
    if len(text) <= _LONGEST_NUMBER and (match := _GROUPED.fullmatch(text)):
        # What stands between thousands leaves a comma no other meaning, whatever the separator.
        text = text.replace(match["mark"], "").replace(",", ".")
    elif separator != "," and "." not in text:
        text = text.replace(",", ".", 1)
    if len(text) > _LONGEST_NUMBER or not _NUMBER.fullmatch(text):
        if _has_unit(text):
            raise ValueError(
                N_(
                    "not a number alone: name its unit or currency in the header, and leave the "
                    "number in the cell"
                )
            )
        if separator == ",":
            raise ValueError(
                N_(
                    "not a number: write digits with a point before the decimals, and nothing or "
                    "spaces between thousands"
                )
            )
        raise ValueError(
            N_(
                "not a number: write digits with a point or a comma before the decimals, and "
                "nothing or spaces between thousands"
            )
        )
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(N_("too large for a number"))
    if abs(value) >= 2**53 and _INTEGER.fullmatch(text):
        raise ValueError(N_("too many digits for a number; the type text keeps them"))
    return value + 0.0  # -0.0 becomes 0.0


def _has_unit(text: str) -> bool:
    match = _LEADING.match(text)
    beside = text[match.end() :][:1] if match else text[:1]
    return beside != "" and (beside in _UNITS or (match is not None and beside.isalpha()))


def _number(cell: str, separator: str) -> Value:
    return read_number(unprotected(cell), separator)


def _date(cell: str, separator: str) -> WrittenDate | None:
    return read_date(unprotected(cell))


def _tag(cell: str, separator: str) -> tuple[str, ...]:
    return (tag_path(unprotected(cell)),)


def _tags(cell: str, separator: str) -> tuple[str, ...] | None:
    # A comma at the end, or two in a row, are slips that mean nothing.
    parts = [part.strip() for part in cell.split(",")]
    return tuple(sorted({tag_path(unprotected(part)) for part in parts if part})) or None


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
    "number": _number,
    "date": _date,
    "tag": _tag,
    "multi_tags": _tags,
}
"""What keeps a spreadsheet from taking a cell, or one of several tags, for a formula is no part of
the value: the apostrophe that :func:`panoptic_assets.spec.formulas.protected` puts there."""


def written(value: Value) -> str:
    """A value as a cell could hold it; a date as a person wrote it."""
    if isinstance(value, WrittenDate):
        return value.text
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def shown_cell(text: str) -> str:
    """Text for people: 60 characters at most, control characters escaped."""
    return CONTROL_CHARACTERS.sub(
        lambda match: match[0].encode("unicode_escape").decode(), cut(text, 60)
    )

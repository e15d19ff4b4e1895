"""Dates in EDTF, the Extended Date/Time Format of ISO 8601-2, and the days that they span.

Belongs here: what such a date means, as two days. Does not belong here: how people write dates
otherwise (``spec.written_dates``), and the plain dates of configurations (``spec.dates``).

Days are numbers: 0 is 1970-01-01, in the Gregorian calendar, which goes on into all years before it
and has a year 0 (which is 1 BC: 450 BC is the year -449). A date spans from its first day to its
last one; a side that is open (``..``) or unknown (empty) has none.

* ``1850``, ``1850-03``, ``1850-03-09``, ``-0449``, ``Y-17000``: all days of it. Of a time, its day.
* ``185X``, ``18XX``, ``1XXX``: 1850 to 1859, 1800 to 1899, 1000 to 1999; ``-04XX`` is -499 to -400.
* ``1850-21`` to ``1850-23``: March to May, June to August, September to November. ``1850-24``,
  winter, may be at either end of its year: all of the year.
* ``~`` (approximate) and ``?`` (uncertain) widen a date on both sides, ``%`` (both) twice as much:
  a year and a decade by 5 years, as Cataloging Cultural Objects has it for "ca. 1610", a century by
  25 years, a millennium by 250, a month by one month, a day by 5 days.
* ``1850/1860``, ``../1860``, ``1850/``: from the first day of the one to the last of the other.
  So have ``[1850,1860]`` (one of them), ``{1850,1860}`` (all of them) and ``[1850..1860]``, of
  which :func:`members` has each date by itself.
* ``~1850`` is ``1850~``: before a year alone a mark says the same as behind it.

All else that level 2 has is read by the package ``edtf``, with the bounds that it gives without
widening. It takes 4 ms for a date, and what is read here 10 µs, so it is not asked for the forms
above. For these it gives the same days, except for winter, for unknown ends (ten years), and for
what it widens, which is a year for ``1850~`` and thirteen months for ``1850-03~``.
"""

import calendar
import re
from functools import lru_cache

from panoptic_assets.spec.languages import N_
from resources.errors import noted

LONGEST = 100
"""Characters of a date, in EDTF or as it is written."""

Days = tuple[int | None, int | None]
"""First and last day; None: that side is open."""

_PLAIN = re.compile(
    r"(?P<year>-?[0-9]{1,4}X{0,3}|Y-?[1-9][0-9]{4,8})"
    r"(?:-(?P<month>[0-9]{2}|XX)(?:-(?P<day>[0-9]{2}|XX)"
    r"(?:T(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})(?:Z|[+-][0-9]{2}:[0-9]{2})?)?"
    r")?)?"
    r"(?P<mark>[~?%]?)"
)
_CHARACTERS = re.compile(r"[0-9XYESTZ.,:/~?%+\[\]{}-]+")
_SEASONS = {21: (3, 5), 22: (6, 8), 23: (9, 11), 24: (1, 12)}
_TIMES_WIDER = {"": 0, "~": 1, "?": 1, "%": 2}
_YEARS_WIDER = (5, 5, 25, 250)
"""By how many digits of a year are not known."""


def day_number(year: int, month: int, day: int) -> int:
    """The number of a day, of any year.

    Raises:
        ValueError: There is no such day.
    """
    if not 1 <= month <= 12:
        raise ValueError(noted("there is no month {month:d}", month=month))
    if not 1 <= day <= _last_day(year, month):
        raise ValueError(noted("that month has no day {day:d}", day=day))
    # Years begin with March, so that the day that some have more is their last.
    from_march = year - (month <= 2)
    years = from_march * 365 + from_march // 4 - from_march // 100 + from_march // 400
    return years + (153 * ((month + 9) % 12) + 2) // 5 + day - 1 - 719_468


def _last_day(year: int, month: int) -> int:
    return calendar.monthrange(2000 + year % 400, month)[1]


def year_of(number: int) -> int:
    """The year of a day."""
    year = number // 146_097 * 400 + 1970 + number % 146_097 * 400 // 146_097
    while day_number(year, 1, 1) > number:
        year -= 1
    while day_number(year + 1, 1, 1) <= number:
        year += 1
    return year


def year_in_edtf(year: int) -> str:
    """A year of four digits or more: ``0842``, ``-0449``, ``Y-17000``."""
    if abs(year) > 9999:
        return f"Y{year}"
    return f"{'-' if year < 0 else ''}{abs(year):04}"


_MARK_BEFORE = re.compile(r"(?<![^/,.\[{])([~?%])(-?[0-9X]{4})([~?%]?)(?![^/,.\]}])")


def marks_behind(edtf: str) -> str:
    """A date in which a mark that stands before a year alone stands behind it."""
    return _MARK_BEFORE.sub(
        lambda match: match[2] + (match[1] if match[3] in ("", match[1]) else "%"), edtf
    )


def members(edtf: str) -> list[str]:
    """The dates of a set, and of what is none the one.

    Args:
        edtf: A date that :func:`days` reads.
    """
    if edtf[0] not in "[{":
        return [edtf]
    # A span of a set has two dots, one of an interval a stroke.
    return [
        f"{first or '..'}/{last or '..'}" if dots else first
        for part in edtf[1:-1].split(",")
        for first, dots, last in [part.partition("..")]
    ]


@lru_cache(maxsize=2**14)
def days(edtf: str) -> Days:
    """The days that a date spans, see this module.

    Raises:
        ValueError: It is no date in EDTF, or ends before it begins.
    """
    if len(edtf) > LONGEST or not _CHARACTERS.fullmatch(edtf):
        raise ValueError(_NO_EDTF)
    edtf = marks_behind(edtf)
    if edtf[0] in "[{":
        return _of_set(edtf)
    if "/" not in edtf:
        return _single(edtf)[0]
    first, _, last = edtf.partition("/")
    if first in _OPEN and last in _OPEN:
        raise ValueError(_NO_EDTF)
    (start, _), start_exactly = _end(first)
    (_, end), end_exactly = _end(last)
    _check_order(start_exactly[0], end_exactly[1])
    return start, end


_OPEN = ("", "..")
_NO_EDTF = N_("not a date in EDTF: 1850, 1850-03, 1850~, 185X, 1850/1860, -0449")


def _check_order(first: int | None, last: int | None) -> None:
    if first is not None and last is not None and last < first:
        raise ValueError(N_("it ends before it begins"))


def _end(text: str) -> tuple[Days, Days]:
    """Of one side of an interval: its days, and those without widening."""
    return ((None, None), (None, None)) if text in _OPEN else _single(text)


def _of_set(edtf: str) -> Days:
    if edtf[-1] != {"[": "]", "{": "}"}[edtf[0]]:
        raise ValueError(_NO_EDTF)
    starts: list[int | None] = []
    ends: list[int | None] = []
    for part in edtf[1:-1].split(","):
        first, dots, last = part.partition("..")
        if not first and not last:
            raise ValueError(_NO_EDTF)
        (start, end), exactly = _end(first)
        if dots:
            (_, end), end_exactly = _end(last)
            _check_order(exactly[0], end_exactly[1])
        starts.append(start)
        ends.append(end)
    known_starts = [start for start in starts if start is not None]
    known_ends = [end for end in ends if end is not None]
    return (
        min(known_starts) if len(known_starts) == len(starts) else None,
        max(known_ends) if len(known_ends) == len(ends) else None,
    )


def _single(text: str) -> tuple[Days, Days]:
    """The days of one date, and those without widening."""
    match = _PLAIN.fullmatch(text)
    digits = match["year"].lstrip("-") if match else ""
    unknown = digits.count("X")
    if digits == "0000" and text[0] == "-":
        raise ValueError(N_("the year 0 has no sign"))
    if match is None or (len(digits) != 4 and digits[0] != "Y") or (unknown and match["month"]):
        found = _by_library(text)
        return found, found
    times = _TIMES_WIDER[match["mark"]]
    if unknown:
        least, most = int(digits.replace("X", "0")), int(digits.replace("X", "9"))
        first, last = (-most, -least) if text[0] == "-" else (least, most)
    else:
        first = last = int(match["year"].lstrip("Y"))
    if match["month"] in (None, "XX"):
        if match["day"] not in (None, "XX"):
            found = _by_library(text)
            return found, found
        exactly = day_number(first, 1, 1), day_number(last, 12, 31)
        wider = times * _YEARS_WIDER[unknown]
        return (day_number(first - wider, 1, 1), day_number(last + wider, 12, 31)), exactly
    month = int(match["month"])
    if month > 12:
        if month not in _SEASONS or match["day"]:
            found = _by_library(text)
            return found, found
        from_month, to_month = _SEASONS[month]
    else:
        from_month = to_month = month
    if match["day"] in (None, "XX"):
        exactly = _months(first, from_month, to_month)
        return _months(first, from_month - times, to_month + times), exactly
    if match["hour"] and not (
        int(match["hour"]) < 24 and int(match["minute"]) < 60 and int(match["second"]) < 60
    ):
        raise ValueError(N_("there is no such time of day"))
    day = day_number(first, month, int(match["day"]))
    return (day - 5 * times, day + 5 * times), (day, day)


def _months(year: int, first: int, last: int) -> tuple[int, int]:
    """From a month to a month, which may lie in the years before and after."""
    if not 1 <= first + 12 <= 36:
        raise ValueError(_NO_EDTF)
    start = day_number(year + (first - 1) // 12, (first - 1) % 12 + 1, 1)
    end_year, end_month = year + (last - 1) // 12, (last - 1) % 12 + 1
    return start, day_number(end_year, end_month, _last_day(end_year, end_month))


_LEVEL_2 = re.compile(
    r"[0-9X]{4}.*[~?%][-0-9X]|[~?%]-?[0-9X]{4}|[0-9][ES][0-9]|[0-9X]{4}-.*X|X.*[0-9X]{3}"
    r"|[0-9]{4}-(?:2[5-9]|3[0-9]|4[01])[~?%]?"
)


def _by_library(text: str) -> tuple[int, int]:
    if not _LEVEL_2.search(text):  # nothing else is worth 4 ms
        raise ValueError(_NO_EDTF)
    import edtf  # its grammar takes .2 s to be made

    try:
        parsed = edtf.parse_edtf(text)
        first, last = parsed.lower_strict(), parsed.upper_strict()
        return day_number(*first[:3]), day_number(*last[:3])
    except Exception as error:  # it raises what its grammar, and arithmetic, happen to raise
        raise ValueError(_NO_EDTF) from error

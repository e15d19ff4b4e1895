"""Dates by which people ask for others: a day, a month, a year or a few years.

Belongs here: what such a date means, and whether another one lies between two. Does not belong
here: how dates are written in the cells of an inventory (``spec.written_dates``).
"""

import calendar
import re
from datetime import date
from functools import lru_cache

from panoptic_assets.spec.extended_dates import Days, days, members
from panoptic_assets.spec.languages import N_
from panoptic_assets.spec.written_dates import read_date

_PERIOD = re.compile(r"(?P<year>[0-9]{4})(?:-(?P<month>[0-9]{2})(?:-(?P<day>[0-9]{2}))?)?")
_ASKED = re.compile(
    r"-?[0-9]{4}(?:-[0-9]{2}(?:-[0-9]{2})?)?|[0-9]{3}|-?[0-9]{3}X|-?[0-9]{2}XX|Y-?[1-9][0-9]{4,8}"
)


NOT_DATED = N_("it says that there is no date")


def period(text: str) -> tuple[date, date]:
    """First and last day of a date such as ``2024-03-09``, ``2024-03`` or ``2024``.

    Raises:
        ValueError: It is none.
    """
    match = _PERIOD.fullmatch(text)
    if match is None:
        raise ValueError(N_("not a date: write 2024-03-09, 2024-03 or 2024"))
    year, month, day = int(match["year"]), match["month"], match["day"]
    try:
        first = date(year, int(month or 1), int(day or 1))
    except ValueError as error:
        raise ValueError(f"no such date: {error}") from error
    if day:
        return first, first
    last_month = int(month or 12)
    return first, date(year, last_month, calendar.monthrange(year, last_month)[1])


def within(day: date, since: str | None, until: str | None) -> bool:
    """Whether a day lies between two dates, the last day of the second one included.

    Raises:
        ValueError: One of them is no date.
    """
    return (since is None or period(since)[0] <= day) and (until is None or day <= period(until)[1])


def asked_date(text: str) -> str:
    """A date by which others are asked for, in EDTF.

    It is a plain date of EDTF, of any time: ``1850``, ``1850-03``, ``1850-03-09``, ``1850-21`` (a
    season), ``185X``, ``18XX``, ``-0449`` (450 BC), ``Y-17000``; or one as people write it
    (``spec.written_dates``) that is neither approximate, uncertain nor open at one side.

    Raises:
        ValueError: It is none.
    """
    return _asked(text)[0]


def asked_days(text: str) -> tuple[int, int]:
    """First and last day of a date as :func:`asked_date` takes it, as numbers.

    Raises:
        ValueError: It is none.
    """
    return _asked(text)[1]


@lru_cache(maxsize=64)
def _asked(text: str) -> tuple[str, tuple[int, int]]:
    if _ASKED.fullmatch(text):
        edtf = f"0{text}" if len(text) == 3 else text
        try:
            first, last = days(edtf)
        except ValueError as error:
            raise ValueError(f"no such date: {error}") from error
    else:
        date = read_date(text)
        if date is None:
            raise ValueError(NOT_DATED)
        edtf, first, last = date.edtf, date.first_day, date.last_day
    if first is None or last is None or any(mark in edtf for mark in (*"~?%", "XXXX")):
        raise ValueError(
            N_("not a date to ask for others by: it is approximate, uncertain or open at one side")
        )
    return edtf, (first, last)


def spans(edtf: str, since: str | None, until: str | None, certainly: bool) -> bool:
    """Whether a date lies between two others, the first and the last day of which belong to it.

    Args:
        edtf: The date, in EDTF. Of a set, possibly one of its dates lies there, certainly all.
        since: From when, as :func:`asked_date` takes it; None: from ever.
        until: Until when; None: for ever.
        certainly: Whether all days of the date must lie there; else one of them is enough.

    Raises:
        ValueError: ``since`` or ``until`` is no date.
    """
    start = None if since is None else asked_days(since)[0]
    end = None if until is None else asked_days(until)[1]
    each = [_lies(days(part), start, end, certainly) for part in members(edtf)]
    return all(each) if certainly else any(each)


def _lies(date: Days, start: int | None, end: int | None, certainly: bool) -> bool:
    first, last = date
    if certainly:
        return (start is None or (first is not None and start <= first)) and (
            end is None or (last is not None and last <= end)
        )
    return (start is None or last is None or start <= last) and (
        end is None or first is None or first <= end
    )

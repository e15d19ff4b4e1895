"""Dates as people give them: a day, a month or a year.

Belongs here: what such a date means. Does not belong here: dates and times in the cells of an
inventory, which are written in more ways (``corpus.inventory``).
"""

import calendar
import re
from datetime import date

from panoptic_assets.spec.languages import N_

_PERIOD = re.compile(r"(?P<year>[0-9]{4})(?:-(?P<month>[0-9]{2})(?:-(?P<day>[0-9]{2}))?)?")


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

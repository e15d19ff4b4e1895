"""Dates as people write them in inventories, in French and in English.

Belongs here: reading one, strictly, and saying why it is none. Does not belong here: EDTF and the
days that it spans (``spec.extended_dates``), and what scopes ask of dates (``spec.dates``).

What is read, each in both languages, with or without accents and capitals:

* days ``1887-03-09``, ``09.03.1887``, ``9/3/1887`` (the day first), ``1er mars 1887``,
  ``March 9, 1887``, with a time after numbers; months, seasons, years from three digits on;
* eras: ``450 av. J.-C.`` and ``450 BC`` are the year -449, while ``-0450`` is EDTF as it stands;
* decades (``années 1850``, ``1850s``, ``185-``), centuries (``XIXe siècle``, ``19th c.``,
  ``18..``) and millennia, and parts of them: halves, thirds, quarters, and ``début``, ``milieu``,
  ``fin``, which are thirds. The 19th century is 1800 to 1899, as 18XX is in EDTF, and the 1st
  century is 1 to 99; the 5th century BC is 500 to 401 BC;
* ``vers``, ``ca.`` and the like are EDTF's ``~``, ``?`` and ``probablement`` its ``?``;
* from one to another, ``entre … et …``, ``1850-60``, ``avant``, ``après``, ``jusqu'en``, ``1870-``,
  ``1887 ou 1888``; *before 1900* ends with 1899;
* ``17e siècle;18e siècle``, ``18th and 19th century``: from the first to the last; but of days,
  months and years alone only these: ``1889 ; 1900``, ``1889, 1900`` and ``1889 et 1900``;
* cataloguers' brackets, which say where a date comes from, ``©`` and ``cop.``;
* the republican calendar from the year I to XIV: ``18 brumaire an VIII``, ``1793 (an II)``;
* EDTF itself. Of ``1910-12`` ISO 8601 says that it is a month. ``1914-21`` may be two years or, in
  EDTF, a season, ``1910/12`` a month or two years, ``185?`` a decade or a year, ``0000`` no date
  or 1 BC, and these are refused;
* ``s. d.``, ``n.d.``, ``inconnu``, ``?`` say that there is no date.

A cell is turned into a few canonical words (``spec.date_words``), and these are compared with forms
that are anchored at both ends and repeat nothing, so that no cell takes long: 10 to 60 µs.

Long because people have many ways to write a date.
"""

import itertools
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone

from panoptic_assets.spec.date_words import NO_DATE, UNDATED, date_words, plain_words
from panoptic_assets.spec.extended_dates import (
    LONGEST,
    day_number,
    days,
    marks_behind,
    year_in_edtf,
)
from panoptic_assets.spec.languages import N_
from resources.errors import noted


@dataclass(frozen=True)
class WrittenDate:
    """A date as it was written, and what it means. Equal are those that mean the same."""

    text: str = field(compare=False)
    """As it was written, without white space around it."""
    edtf: str
    first_day: int | None
    """As of :mod:`panoptic_assets.spec.extended_dates`; None: it has no beginning."""
    last_day: int | None

    def order(self) -> tuple[int, int, str]:
        """By what dates are sorted: by the first day, open beginnings first, then by the last."""
        first, last = self.first_day, self.last_day
        return (
            -(2**62) if first is None else first,
            2**62 if last is None else last,
            self.edtf,
        )


def read_date(cell: str) -> WrittenDate | None:
    """The date in a cell; None if the cell says that there is none.

    Raises:
        ValueError: It is no date that can be read with certainty; the message says why.
    """
    text = cell.strip()
    if len(text) > LONGEST:
        raise ValueError(NO_DATE)
    edtf = _edtf(text)
    return None if edtf is None else WrittenDate(text, edtf, *_spanned(edtf))


def date_of_moment(moment: datetime) -> WrittenDate:
    """The day, or the second, of a moment, in UTC."""
    at = moment.astimezone(UTC)
    edtf = f"{year_in_edtf(at.year)}-{at.month:02}-{at.day:02}"
    day = day_number(at.year, at.month, at.day)
    if at.hour or at.minute or at.second:
        edtf += f"T{at.hour:02}:{at.minute:02}:{at.second:02}Z"
    return WrittenDate(edtf, edtf, day, day)


def first_moment(date: WrittenDate) -> datetime | None:
    """The moment at which a date begins, in UTC; None where ``datetime`` has no such moment."""
    if "T" in date.edtf and date.edtf[-1] == "Z":
        return datetime.fromisoformat(date.edtf)
    if date.first_day is None or not _FIRST_DAY <= date.first_day <= _LAST_DAY:
        return None
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=date.first_day)


_FIRST_DAY, _LAST_DAY = day_number(1, 1, 1), day_number(9999, 12, 31)

_BACKWARDS = N_("it ends before it begins: write the earlier date first")
_BACKWARDS_BC = N_(
    "it ends before it begins: before our era the greater year comes first, as in 450-400 av. J.-C."
)
_NO_YEAR_ZERO = N_("no date, or the year 1 before our era: write nothing, or 1 av. J.-C.")
_TWO_DIGITS = N_("not a date: write the year with four digits, or with av. J.-C., BC or AD")


class _NoSuchDateError(ValueError):
    """It has the form of a date, and there is no such day."""


def _spanned(edtf: str) -> tuple[int | None, int | None]:
    try:
        return days(edtf)
    except ValueError as error:
        if "before it begins" in str(error):
            raise ValueError(_BACKWARDS) from error
        raise _no_such_date(error) from error


def _no_such_date(reason: object) -> _NoSuchDateError:
    return _NoSuchDateError(
        noted("no such date (day, then month, as in 31/12/2024): {reason}", reason=reason)
    )


# Numbers alone.

_TIME = (
    r"(?:[T ](?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})"
    r"(?::(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]{1,9}))?)?"
    r" ?(?P<zone>Z|[+-][0-9]{2}:?[0-9]{2})?)?"
)
_YEAR_FIRST = re.compile(
    r"(?P<year>-?[0-9]{4})"
    rf"(?:(?P<mark>[-/.])(?P<month>[0-9]{{1,2}})(?:(?P=mark)(?P<day>[0-9]{{1,2}}){_TIME})?)?"
)
_DAY_FIRST = re.compile(
    r"(?P<day>[0-9]{1,2})(?P<mark>[-/.])(?P<month>[0-9]{1,2})(?P=mark)"
    rf"(?P<year>[0-9]{{4}}){_TIME}"
)
_MONTH_FIRST = re.compile(r"(?P<month>[0-9]{1,2})[/.](?P<year>[0-9]{4})")
_SHORT_YEAR = re.compile(
    r"(?P<day>[0-9]{1,2})(?P<mark>[-/.])(?P<month>[0-9]{1,2})(?P=mark)[0-9]{2}"
)
_LIKE_EDTF = re.compile(r"[0-9XYESTZ.,:/~?%+\[\]{}-]+")
_ONLY_IN_EDTF = re.compile(r"[XYES~?%/\[{]")
_UNSURE_DIGITS = re.compile(
    # Cataloguers' 185-, 185., 185_ and 18--, 18.. and 18__, with ? behind them.
    r"(?P<digits>[0-9]{2}(?:[0-9](?=[-._?]{1,3}$)|(?=(?:--|\.\.|__))))(?:--|\.\.|__|[-._])(?P<mark>\??)"
)
_SMALL_X = re.compile(r"\b(?:[0-9]{3}x|[0-9]{2}xx)\b")
_UNDATED_BUT = re.compile(r"(?P<said>[^\W\d_][^()\[\]]*)[(\[](?P<but>[^()\[\]]+)[)\]]")
"""``s. d. [vers 1900]``: what somebody else says of it."""
_YEAR_ZERO = re.compile(r"[~?%]?0000(?:-[0-9X]{2}){0,2}[~?%]?")
_NEGATIVE = re.compile(r"-[0-9]{1,3}")


def _edtf(text: str) -> str | None:
    text = _SMALL_X.sub(lambda match: match[0].upper(), text.replace("\u2212", "-"))
    inner = text[1:-1].strip() if text[:1] == "[" and text[-1:] == "]" else text
    found = _of_numbers(inner)
    if found is not None:
        return found
    if not inner or plain_words(inner) in UNDATED:
        return None
    if (match := _UNDATED_BUT.fullmatch(inner)) and plain_words(match["said"]) in UNDATED:
        return _edtf(match["but"])
    if _YEAR_ZERO.fullmatch(inner):
        raise ValueError(_NO_YEAR_ZERO)
    if _LIKE_EDTF.fullmatch(text) and _ONLY_IN_EDTF.search(text):
        single = marks_behind(inner if not any(mark in inner for mark in (",", "..")) else text)
        try:
            days(single)
            return single
        except ValueError as error:
            if "before it begins" in str(error):
                raise ValueError(_BACKWARDS) from error
    return _of_words(inner)


def _of_numbers(text: str) -> str | None:
    """The EDTF of a date that is written in numbers; None if it has another form."""
    if match := _UNSURE_DIGITS.fullmatch(text):
        digits = match["digits"]
        return digits + "X" * (4 - len(digits)) + match["mark"]
    if _NEGATIVE.fullmatch(text):
        raise ValueError(
            N_(
                "not a date: write a year before our era as 450 av. J.-C. or 450 BC, or with four "
                "digits in EDTF, where that is -0449"
            )
        )
    if _SHORT_YEAR.fullmatch(text):
        raise ValueError(_TWO_DIGITS)
    forms = (_YEAR_FIRST, _DAY_FIRST, _MONTH_FIRST)
    match = next((match for form in forms if (match := form.fullmatch(text))), None)
    if match is None:
        return None
    part = match.groupdict()
    year, month = int(part["year"]), part["month"]
    if part["year"] == "-0000":
        raise _no_such_date(N_("the year 0 has no sign"))
    if year == 0:  # what programs write where there is nothing: 0000-00-00
        raise ValueError(_NO_YEAR_ZERO)
    if month is None:
        return year_in_edtf(year)
    if part.get("day") is None:
        # With a hyphen a month of two digits is one of ISO 8601.
        is_iso = part.get("mark") != "/" and len(month) == 2
        if not is_iso and _YEAR_FIRST.fullmatch(text):
            _check_no_two_years(part["year"], month)
        if int(month) > 12 and _YEAR_FIRST.fullmatch(text):
            return _two_years_or_season(year, month)
        if not 1 <= int(month) <= 12:
            raise _no_such_date(noted("there is no month {month:d}", month=int(month)))
        return f"{year_in_edtf(year)}-{int(month):02}"
    if part.get("hour") is None:
        return _day(year, int(month), int(part["day"]))
    return _moment(part)


def _check_no_two_years(year: str, end: str) -> None:
    """Of what may be a month or the last digits of a later year."""
    kept = year[: -len(end)]
    if 1 <= int(end) <= 12 and int(end) > int(year[-len(end) :]) and year[0] != "-":
        raise ValueError(
            noted(
                "may be a month or years: write {month}, or {years}",
                month=f"{year}-{int(end):02}",
                years=f"{year}/{kept}{end}",
            )
        )


def _two_years_or_season(year: int, end: str) -> str:
    later = int(end) > year % 100 and year > 0
    if later and 21 <= int(end) <= 24:
        raise ValueError(
            noted(
                "may be years or, in EDTF, a season: write {years}, or the season in words",
                years=f"{year:04}/{year // 100 * 100 + int(end):04}",
            )
        )
    if later:
        return f"{year_in_edtf(year)}/{year_in_edtf(year // 100 * 100 + int(end))}"
    if 21 <= int(end) <= 24:
        return f"{year_in_edtf(year)}-{end}"
    raise _no_such_date(noted("there is no month {month:d}", month=int(end)))


def _day(year: int, month: int, day: int) -> str:
    try:
        day_number(year, month, day)
    except ValueError as error:
        raise _no_such_date(error) from error
    return f"{year_in_edtf(year)}-{month:02}-{day:02}"


_PARTS_OF_MOMENT = ("year", "month", "day", "hour", "minute", "second")


def _moment(part: dict[str, str | None]) -> str:
    zone = part["zone"] or "Z"
    year, month, day, hour, minute, second = (int(part[name] or 0) for name in _PARTS_OF_MOMENT)
    try:
        local = datetime(
            year, month, day, hour, minute, second, 0, UTC if zone == "Z" else _zone(zone)
        )
        at = local.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise _no_such_date(error) from error
    # Midnight of UTC is a day, as spreadsheets add 00:00:00 to days.
    return date_of_moment(at).edtf


def _zone(text: str) -> timezone:
    offset = timedelta(hours=int(text[1:3]), minutes=int(text[-2:]))
    return timezone(-offset if text[0] == "-" else offset)


# Words.


_REPUBLICAN_YEARS = (22, 22, 22, 23, 22, 22, 22, 23, 23, 23, 23, 24, 23, 23)
"""The day of September 1792, 1793, … on which the years I to XIV began."""


@dataclass(frozen=True)
class _Meaning:
    """What some words mean: one date in EDTF, and the first and the last of what it spans."""

    one: str
    """Empty where EDTF has no form for one date."""
    first: str
    last: str
    mark: str = ""
    """``~``, ``?`` or ``%``."""
    is_decade: bool = False

    def edtf(self) -> str:
        if self.one.startswith("Y") and self.mark:
            year, wider = int(self.one[1:]), 10 if self.mark == "%" else 5
            return f"{year_in_edtf(year - wider)}/{year_in_edtf(year + wider)}"
        if self.one and not (self.mark and _is_season(self.one)):
            return self.one + self.mark
        return f"{self.start()}/{self.end()}" if self.first != self.last else self.start()

    def start(self) -> str:
        return self.first + self.mark

    def end(self) -> str:
        return self.last + self.mark


def _is_season(edtf: str) -> bool:
    return edtf[-3:-1] == "-2"


def _of_words(text: str) -> str:
    if any(unicodedata.category(letter) in ("Nd", "No") and letter > "9" for letter in text):
        raise ValueError(NO_DATE)
    if re.fullmatch(r"[cp][0-9]{4}", text):
        raise ValueError(
            noted(
                "may be about a year, or its copyright: write {about}, or {copyright}",
                about=f"ca. {text[1:]}",
                copyright=f"© {text[1:]}",
            )
        )
    if match := re.fullmatch(r"apr\.? ?([0-9]{3,4})", text, re.IGNORECASE):
        raise ValueError(
            noted(
                "may be April or after the year: write {after}, or April", after=f"après {match[1]}"
            )
        )
    # "dès" and "des" differ by the accent alone.
    text = re.sub(r"\b[Dd]ès\b", "depuis", unicodedata.normalize("NFC", text))
    if text.count("[") != text.count("]"):
        raise ValueError(NO_DATE)
    reason = ValueError(NO_DATE)
    for plain in _ways_to_read(text):
        try:
            meant = _whole(date_words(plain))
            return meant if isinstance(meant, str) else meant.edtf()
        except ValueError as error:
            if str(reason) == NO_DATE:
                reason = error
    raise reason


def _ways_to_read(text: str) -> Iterator[str]:
    """What brackets, and commas, may say of a text, the likeliest first."""
    # Where a date comes from is no part of it.
    plain = plain_words(text.replace("[", "").replace("]", "")).rstrip(".")
    both = _BEHIND.fullmatch(plain_words(text.replace("[", "(").replace("]", ")")))
    if both is not None and re.search(r"\ban [ivx0-9]", both[0]):
        yield _in_two_calendars(both["what"], both["said"])
    yield _in_front(plain)
    if ", " in plain:  # not as in: March 9, 1887
        yield plain.replace(", ", " ; ")


def _in_two_calendars(what: str, other: str) -> str:
    """``1793`` of ``1793 (an II)``, if they have a day in common."""
    spans = []
    for plain in (what, other):
        meant = _whole(date_words(plain))
        spans.append(_spanned(meant if isinstance(meant, str) else meant.edtf()))
    firsts, lasts = zip(*spans, strict=True)
    if None not in (*firsts, *lasts) and max(firsts) > min(lasts):
        raise ValueError(N_("not a date: what stands in brackets is another one"))
    return what


_BEHIND = re.compile(r"(?P<what>[^()]+)\((?P<said>[^()]+)\)")


def _in_front(plain: str) -> str:
    """``1850 (vers)`` as ``vers 1850``, ``19e siecle (2e moitie)`` as ``2e moitie 19e siecle``."""
    if plain[:1] == "(" and plain[-1:] == ")":
        return plain[1:-1]
    match = _BEHIND.fullmatch(plain)
    if match is None or match["said"] == "?":
        return plain
    return f"{match['said']} {match['what']}"


def _marks(tokens: list[str]) -> tuple[list[str], str]:
    """Without what says that all of it is approximate or uncertain, and that."""
    said = set()
    while tokens and tokens[0] in ("~", "?"):
        said.add(tokens[0])
        tokens = tokens[1:]
    while tokens and tokens[-1] in ("~", "?"):
        said.add(tokens[-1])
        tokens = tokens[:-1]
    return tokens, _mark(said)


def _mark(said: set[str]) -> str:
    return "%" if len(said) == 2 or "%" in said else next(iter(said), "")


def _joined(mark: str, other: str) -> str:
    return _mark({mark, other} - {""})


def _check_no_decade(tokens: list[str]) -> None:
    """Of ``185?``, which cataloguers write for ``185X?``, and others for the year."""
    for word, following in itertools.pairwise(tokens):
        if following == "?" and re.fullmatch("[0-9]{3}", word) and "BC" not in tokens:
            raise ValueError(
                noted(
                    "may be ten years or one: write {decade}, or {year}",
                    decade=f"{word}X",
                    year=f"0{word}?",
                )
            )


_CENTURIES_ALONE = re.compile(r"[RO](?:1[0-9]|20|21)(?: (?:[-/;]|AND|OR) [RO](?:1[0-9]|20|21))?")
"""``XIXe`` and ``19e``, which of days are written with a month, and ``XIXe-XXe``."""


def _whole(tokens: list[str]) -> _Meaning | str:
    _check_no_decade(tokens)
    tokens, mark = _marks(tokens)
    if _CENTURIES_ALONE.fullmatch(" ".join(tokens)):
        tokens = [*tokens, "CENT"]
    if not tokens:
        raise ValueError(NO_DATE)
    head, rest = tokens[0], tokens[1:]
    if "BETWEEN" in tokens and ";" in tokens:
        tokens = [word for word in tokens if word != ";"]
    if head == "BETWEEN":
        if rest.count("AND") != 1:
            raise ValueError(NO_DATE)
        at = rest.index("AND")
        return _interval(rest[:at], rest[at + 1 :], mark)
    if tokens[-1] == "BETWEEN" or (len(tokens) > 3 and tokens[1] == "BETWEEN"):
        # As some bases have it: 1850 entre, 1860 et.
        if len(tokens) == 4 and tokens[1:4:2] == ["BETWEEN", "AND"]:
            return _interval([tokens[0]], [tokens[2]], mark)
        raise ValueError(NO_DATE)
    for several in (";", "AND"):
        if several in tokens:
            return _listed(tokens, several, mark)
    for joint in ("TO", "UNTIL", "OR", "-", "/"):
        rest_of = tokens[1:] if head == "SINCE" else tokens
        if joint in rest_of and (found := _split(rest_of, joint, mark)):
            return found
    if head in ("BEFORE", "AFTER", "SINCE", "UNTIL"):
        return _open(head, rest, mark)
    if tokens[-1] in ("BEFORE", "AFTER", "SINCE", "UNTIL"):
        return _open(tokens[-1], tokens[:-1], mark)
    if tokens[-1] == "-" and len(tokens) == 2 and re.fullmatch("[0-9]{4}", head):
        return f"{head}{mark}/.."
    return _with_mark(_single(tokens), mark)


def _listed(tokens: list[str], joint: str, mark: str) -> str:
    """Several dates, in their order: days, months or years, else from the first to the last."""
    dates = [date.split() for date in " ".join(tokens).split(f" {joint} ")]
    if len(dates) < 2 or not all(dates):
        raise ValueError(NO_DATE)
    sides = {date[0]: date[1:] for date in dates}
    if len(dates) == 2 and sides.keys() & _FROM and sides.keys() & _TO:
        # After the one and before the other.
        start, end = (
            next(_open(word, date, mark) for word, date in sides.items() if word in words)
            for words in (_FROM, _TO)
        )
        return _in_order(start.removesuffix("/.."), end.removeprefix("../"))
    pairs = [_both(one, following, mark) for one, following in itertools.pairwise(dates)]
    for first, last in pairs:
        _spanning(first, last)
    meanings = [*(first for first, _ in pairs), pairs[-1][1]]
    if all(_SINGLE.fullmatch(meant.edtf()) for meant in meanings):
        said = ",".join(meant.one for meant in meanings)
        return f"{{{said}}}" if joint == "AND" else f"[{said}]"
    return _spanning(meanings[0], meanings[-1])


_FROM, _TO = {"AFTER", "SINCE"}, {"BEFORE", "UNTIL"}
_SINGLE = re.compile(r"-?[0-9]{4}(?:-(?:0[1-9]|1[0-2])(?:-[0-9]{2})?)?")


def _split(tokens: list[str], joint: str, mark: str) -> str | None:
    if joint in "-/":
        try:
            _single(tokens)
            return None  # a date in numbers
        except _NoSuchDateError:
            raise
        except ValueError:
            pass
    found = set()
    reasons: list[ValueError] = []
    for at in range(1, len(tokens) - 1):
        if tokens[at] != joint:
            continue
        before, after = tokens[:at], tokens[at + 1 :]
        if joint == "TO" and after[0] == "UNTIL":
            continue
        if joint == "UNTIL" and after[0] == "TO":
            after = after[1:]
        if joint in "-/" and "~" not in mark and "%" not in mark:
            _check_no_hyphen(before, after)
        try:
            found.add(
                _either(before, after, mark) if joint == "OR" else _interval(before, after, mark)
            )
        except ValueError as error:
            reasons.append(error)
    if len(found) == 1:
        return found.pop()
    for reason in reasons:
        if isinstance(reason, _NoSuchDateError) or str(reason) in (_BACKWARDS, _BACKWARDS_BC):
            raise reason
    return None


def _check_no_hyphen(before: list[str], after: list[str]) -> None:
    """``1910–12``, with whatever dash, is refused where a hyphen has another meaning."""
    if len(before) == len(after) == 1 and re.fullmatch("[0-9]{4}", before[0]):
        if re.fullmatch("[0-9]{1,2}", after[0]):
            _check_no_two_years(before[0], after[0])
        if after[0] in ("21", "22", "23", "24") and after[0] > before[0][2:]:
            _two_years_or_season(int(before[0]), after[0])


def _open(head: str, tokens: list[str], mark: str) -> str:
    if tokens[:1] == ["TO"]:
        tokens = tokens[1:]
    tokens, own = _marks(tokens)
    meant = _with_mark(_single(tokens), _joined(mark, own))
    if head == "SINCE":
        return f"{meant.start()}/.."
    if head == "UNTIL":
        return f"../{meant.end()}"
    if head == "BEFORE":
        return f"../{_next_to(meant.first, -1)}{meant.mark}"
    return f"{_next_to(meant.last, 1)}{meant.mark}/.."


_PARTS_OF_EDTF = re.compile(r"Y?(-?[0-9]+)(?:-([0-9]{2})(?:-([0-9]{2}))?)?")


def _numbers(edtf: str) -> list[int]:
    match = _PARTS_OF_EDTF.fullmatch(edtf)
    if match is None:
        raise ValueError(NO_DATE)
    return [int(part) for part in match.groups() if part]


def _next_to(edtf: str, step: int) -> str:
    """The year, month or day before or after another one."""
    year, *rest = _numbers(edtf)
    if not rest:
        return year_in_edtf(year + step)
    if len(rest) == 1:
        months = year * 12 + rest[0] - 1 + step
        return f"{year_in_edtf(months // 12)}-{months % 12 + 1:02}"
    return _from_day(day_number(year, *rest) + step)


def _from_day(number: int) -> str:
    # Days and years repeat themselves after 400 years, and datetime has those from 1 to 9999.
    cycles = number // 146_097
    day = datetime(1970, 1, 1) + timedelta(days=number % 146_097)
    return f"{year_in_edtf(day.year + 400 * cycles)}-{day.month:02}-{day.day:02}"


def _with_mark(meant: _Meaning, mark: str) -> _Meaning:
    return replace(meant, mark=_joined(meant.mark, mark))


def _either(before: list[str], after: list[str], mark: str) -> str:
    first, last = _both(before, after, mark)
    if not first.one or not last.one or first.mark or last.mark:
        return _spanning(first, last)
    _spanning(first, last)  # in their order
    return f"[{first.one},{last.one}]"


def _interval(before: list[str], after: list[str], mark: str) -> str:
    return _spanning(*_both(before, after, mark))


def _spanning(first: _Meaning, last: _Meaning) -> str:
    return _in_order(first.start(), last.end())


def _in_order(start: str, end: str) -> str:
    found = f"{start}/{end}"
    try:
        _spanned(found)
    except ValueError as error:
        if str(error) == _BACKWARDS and start[0] == end[0] == "-":
            raise ValueError(_BACKWARDS_BC) from error
        raise
    return found


def _both(before: list[str], after: list[str], mark: str) -> tuple[_Meaning, _Meaning]:
    """Two dates, of which the first may leave out what the last says, or the last digits."""
    before, own_before = _marks(before)
    after, own_after = _marks(after)
    if not before or not after:
        raise ValueError(NO_DATE)
    year = before[-1].lstrip("D")
    if re.fullmatch("[0-9]{4}", year) and re.fullmatch("D?[0-9]{2}", after[-1]) and len(after) == 1:
        end = after[-1].lstrip("D")
        if int(end) <= int(year[2:]):
            raise ValueError(_BACKWARDS)
        after = [after[-1][:-2] + year[:2] + end]
    last = _first_of([after, *(before[:at] + after for at in range(len(before) - 1, 0, -1))])
    eras = [token for token in after if token in ("BC", "AD")]
    same_era = eras if not {"BC", "AD"} & set(before) else []
    tries = [[*before, *same_era]]
    tries += [before + after[at:] for at in range(1, len(after))]
    first = _first_of(tries)
    if first.is_decade and re.fullmatch("[0-9]{3}0", last.one):
        last = _decade(int(last.one))
    return (
        _with_mark(first, _joined(mark, own_before)),
        _with_mark(last, _joined(mark, own_after)),
    )


def _first_of(tries: list[list[str]]) -> _Meaning:
    reason = ValueError(NO_DATE)
    for tokens in tries:
        try:
            return _single(tokens)
        except _NoSuchDateError:
            raise
        except ValueError as error:
            reason = error
    raise reason


# One date of canonical words.


def _single(tokens: list[str]) -> _Meaning:
    tokens, mark = _marks(tokens)
    parts = [token for token in tokens if token[0] == "P"]
    bare = [token for token in tokens if token[0] != "P"]
    if len(parts) > 1 or not bare:
        raise ValueError(NO_DATE)
    if "~" in bare:  # debut vers 1850 is said of the whole
        bare = [word for word in bare if word != "~"]
        mark = _joined(mark, "~")
    era = [token for token in bare if token in ("BC", "AD")]
    if len(era) > 1:
        raise ValueError(NO_DATE)
    said = " ".join(token for token in bare if token not in ("BC", "AD"))
    meant = _core(said, era[0] if era else "", bool(parts))
    return _with_mark(_part(meant, parts[0]) if parts else meant, mark)


_CoreReader = Callable[[re.Match[str], str], _Meaning]


def _core(said: str, era: str, with_part: bool) -> _Meaning:
    for pattern, needs_part, reader in _CORES:
        if (with_part or not needs_part) and (match := pattern.fullmatch(said)):
            return reader(match, era)
    raise ValueError(NO_DATE)


def _year_number(text: str, era: str) -> int:
    """Astronomical: 450 BC is -449."""
    year = int(text)
    if not era and len(text) < 3:
        raise ValueError(_TWO_DIGITS)
    if len(text) > (9 if era == "BC" else 4):
        raise ValueError(NO_DATE)
    if year == 0 and era:
        raise _no_such_date(N_("the year 1 BC is followed by the year 1"))
    if year == 0:
        raise ValueError(_NO_YEAR_ZERO)
    return 1 - year if era == "BC" else year


def _years(first: int, last: int, one: str = "", is_decade: bool = False) -> _Meaning:
    return _Meaning(one, year_in_edtf(first), year_in_edtf(last), is_decade=is_decade)


def _same(edtf: str) -> _Meaning:
    return _Meaning(edtf, edtf, edtf)


def _a_year(match: re.Match[str], era: str) -> _Meaning:
    return _same(year_in_edtf(_year_number(match["year"], era)))


def _a_month(match: re.Match[str], era: str) -> _Meaning:
    year, month = _year_number(match["year"], era), int(match["month"])
    if not 1 <= month <= 12:
        raise _no_such_date(noted("there is no month {month:d}", month=month))
    return _same(f"{year_in_edtf(year)}-{month:02}")


def _a_day(match: re.Match[str], era: str) -> _Meaning:
    year = _year_number(match["year"], era)
    return _same(_day(year, int(match["month"]), int(match["day"])))


def _a_season(match: re.Match[str], era: str) -> _Meaning:
    year, season = _year_number(match["year"], era), int(match["season"])
    edtf = year_in_edtf(year)
    if season == 24:
        return _Meaning(f"{edtf}-24", edtf, edtf)
    month = 3 * (season - 20)
    return _Meaning(f"{edtf}-{season}", f"{edtf}-{month:02}", f"{edtf}-{month + 2:02}")


def _a_winter(match: re.Match[str], era: str) -> _Meaning:
    first = _year_number(match["year"], era)
    end = match["end"]
    last = int(match["year"][:2] + end) if len(end) == 2 else _year_number(end, era)
    if last != first + 1:
        raise ValueError(NO_DATE)
    return _Meaning("", f"{year_in_edtf(first)}-12", f"{year_in_edtf(last)}-02")


def _decade(year: int) -> _Meaning:
    return _years(year, year + 9, f"{year_in_edtf(year)[:-1]}X", is_decade=True)


def _a_decade(match: re.Match[str], era: str) -> _Meaning:
    text = match["year"]
    if era or text[-1] != "0" or len(text) < 3:
        raise ValueError(NO_DATE)
    if text[-2:] == "00" and match[0][0] == "D" and "DECADE" not in match[0]:
        raise ValueError(
            noted(
                "may be ten years or a hundred: write {decade}X or {century}XX",
                decade=text[:-1],
                century=text[:-2],
            )
        )
    return _decade(int(text))


def _hundreds(match: re.Match[str], era: str) -> _Meaning:
    return _of_many(int(match["number"]), era, 100)


def _thousands(match: re.Match[str], era: str) -> _Meaning:
    return _of_many(int(match["number"]), era, 1000)


def _of_many(number: int, era: str, size: int) -> _Meaning:
    """A century or a millennium."""
    if not 1 <= number * size <= 10_000:
        raise ValueError(NO_DATE)
    start = 1 - number * size if era == "BC" else (number - 1) * size
    if start == 0:
        return _years(1, size - 1)
    digits = f"{(number - 1) * size:04}"[: 2 if size == 100 else 1]
    sign = "-" if era == "BC" else ""
    unknown = "X" * (4 - len(digits))
    return _years(start, start + size - 1, f"{sign}{digits}{unknown}")


def _republican_year(match: re.Match[str], era: str) -> _Meaning:
    start, end = _republican_days(match, era)
    return _Meaning("", _from_day(start), _from_day(end))


def _republican_month(match: re.Match[str], era: str) -> _Meaning:
    start, _ = _republican_days(match, era)
    first = start + 30 * int(match["month"])
    return _Meaning("", _from_day(first), _from_day(first + 29))


def _republican_day(match: re.Match[str], era: str) -> _Meaning:
    start, end = _republican_days(match, era)
    day = int(match["day"])
    found = start + 30 * int(match["month"]) + day - 1
    if not 1 <= day <= 30 or found > end:
        raise _no_such_date(N_("months of the republican calendar have 30 days, until an XIV"))
    return _same(_from_day(found))


def _republican_days(match: re.Match[str], era: str) -> tuple[int, int]:
    number = int(match["number"] or match["digits"])
    if era or not 1 <= number <= len(_REPUBLICAN_YEARS):
        raise _no_such_date(N_("the republican calendar has the years I to XIV"))
    start = day_number(1791 + number, 9, _REPUBLICAN_YEARS[number - 1])
    if number == len(_REPUBLICAN_YEARS):
        return start, day_number(1805, 12, 31)
    return start, day_number(1792 + number, 9, _REPUBLICAN_YEARS[number]) - 1


def _plain(
    pattern: str, reader: _CoreReader, needs_part: bool = False
) -> tuple[re.Pattern[str], bool, _CoreReader]:
    return re.compile(pattern), needs_part, reader


_NUMBER = "(?:N(?P<number>[0-9]+)|(?P<digits>[0-9]{1,2}))"
_CORES = (
    _plain(r"(?P<year>[0-9]+)", _a_year),
    _plain(r"M(?P<month>[0-9]+) (?P<year>[0-9]{1,4})", _a_month),
    _plain(r"(?P<year>[0-9]{4}) M(?P<month>[0-9]+)", _a_month),
    _plain(r"O?(?P<day>[0-9]{1,2}) M(?P<month>[0-9]+) (?P<year>[0-9]{1,4})", _a_day),
    _plain(r"M(?P<month>[0-9]+) O?(?P<day>[0-9]{1,2}) (?P<year>[0-9]{1,4})", _a_day),
    _plain(r"(?P<year>[0-9]{4}) M(?P<month>[0-9]+) O?(?P<day>[0-9]{1,2})", _a_day),
    _plain(r"(?P<year>[0-9]{4}) O?(?P<day>[0-9]{1,2}) M(?P<month>[0-9]+)", _a_day),
    _plain(r"(?P<day>[0-9]{1,2}) - M(?P<month>[0-9]+) - (?P<year>[0-9]{4})", _a_day),
    _plain(r"(?P<day>[0-9]{1,2}) ([-/.]) (?P<month>[0-9]{1,2}) \2 (?P<year>[0-9]{4})", _a_day),
    _plain(r"(?P<year>[0-9]{4}) ([-/.]) (?P<month>[0-9]{2}) \2 (?P<day>[0-9]{2})", _a_day),
    _plain(r"(?P<month>[0-9]{1,2}) [/.] (?P<year>[0-9]{4})", _a_month),
    _plain(r"S(?P<season>[0-9]+) (?P<year>[0-9]{1,4})", _a_season),
    _plain(r"(?P<year>[0-9]{4}) S(?P<season>[0-9]+)", _a_season),
    _plain(r"S24 (?P<year>[0-9]{4}) [-/] (?P<end>[0-9]{4}|[0-9]{2})", _a_winter),
    _plain(r"DECADE (?P<year>[0-9]{3,4})", _a_decade),
    _plain(r"DECADE D(?P<year>[0-9]{3,4})", _a_decade),
    _plain(r"D(?P<year>[0-9]{3,4})", _a_decade),
    _plain(r"[ORN](?P<number>[0-9]+) CENT", _hundreds),
    _plain(r"[ORN](?P<number>[0-9]+) MILL", _thousands),
    _plain(r"(?:R|O(?=[12][0-9]))(?P<number>[0-9]+)", _hundreds, needs_part=True),
    _plain(r"AN (?P<year>[0-9]{3,4})", _a_year),
    _plain(rf"AN {_NUMBER}", _republican_year),
    _plain(rf"V(?P<month>[0-9]+) AN {_NUMBER}", _republican_month),
    _plain(rf"O?(?P<day>[0-9]+) V(?P<month>[0-9]+) AN {_NUMBER}", _republican_day),
)


def _part(meant: _Meaning, part: str) -> _Meaning:
    """One of the equal parts of a span of years, of a year, or of a month."""
    place, of = int(part[1]), int(part[3])
    first, last = _numbers(meant.first), _numbers(meant.last)
    if len(first) == 1 and (first != last):
        start, end = _shares(last[0] - first[0] + 1, place, of)
        # Of the 1st century, which begins with the year 1, as of the others.
        if first[0] == 1:
            start, end = _shares(last[0] + 1, place, of)
            return _years(max(start, 1), end)
        return _years(first[0] + start, first[0] + end)
    if first != last:
        raise ValueError(NO_DATE)
    if len(first) == 1:
        start, end = _shares(12, place, of)
        return _Meaning("", f"{meant.first}-{start + 1:02}", f"{meant.first}-{end + 1:02}")
    if len(first) == 2 and of == 3:
        month = meant.first
        last_day = _next_to(f"{_next_to(month, 1)}-01", -1)
        ends = (f"{month}-10", f"{month}-20", last_day)
        return _Meaning("", f"{month}-{(place - 1) * 10 + 1:02}", ends[place - 1])
    raise ValueError(NO_DATE)


def _shares(size: int, place: int, of: int) -> tuple[int, int]:
    """From 0: the first and last of the n-th of m shares; the first ones get what is over."""
    least, over = divmod(size, of)
    start = (place - 1) * least + min(place - 1, over)
    return start, start + least - (place > over)

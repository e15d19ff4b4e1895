"""Dates as people write them, in French and English.

``written_dates.csv`` beside this file holds dates of public catalogues and of the documentation of
their formats, each with what it means in EDTF, which a person wrote down.
"""

import csv
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import edtf
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from panoptic_assets.spec.extended_dates import day_number, days, members, year_in_edtf, year_of
from panoptic_assets.spec.written_dates import date_of_moment, first_moment, read_date

with (Path(__file__).parent / "written_dates.csv").open(encoding="utf-8", newline="") as file:
    WRITTEN = list(csv.DictReader(file, delimiter=";"))
GIVEN = sorted({row["edtf"] for row in WRITTEN if row["edtf"]})

FRENCH = [
    *("janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août", "septembre"),
    *("octobre", "novembre", "décembre"),
]
ENGLISH = [date(2000, month, 1).strftime("%B") for month in range(1, 13)]


def edtf_of(text):
    found = read_date(text)
    return "" if found is None else found.edtf


def test_dates_of_public_catalogues_mean_what_a_person_says_that_they_mean():
    assert len(WRITTEN) >= 200
    wrong = {
        row["text"]: (found, row["edtf"])
        for row in WRITTEN
        if (found := edtf_of(row["text"])) != row["edtf"]
    }
    assert wrong == {}


def test_dates_are_kept_as_they_were_written():
    assert {row["text"] for row in WRITTEN if row["edtf"]} == {
        read_date(f" {row['text']} ").text for row in WRITTEN if row["edtf"]
    }


def test_a_date_in_edtf_means_itself():
    """But for seasons that may be read as two years: 2015-23."""
    texts = {text for text in GIVEN if text != "2015-23"}
    assert {text: edtf_of(text) for text in texts} == {text: text for text in texts}


def by_library(text):
    """First and last day, without widening; None where it has none."""
    found = edtf.parse_edtf(text)
    return tuple(
        None if isinstance(end, float) else day_number(*end[:3])
        for end in (found.lower_strict(), found.upper_strict())
    )


def test_the_library_of_edtf_accepts_what_is_given_and_has_the_same_days():
    """But for winter, for ends that are unknown, and for what is widened.

    One of each form, as the library is slow.
    """
    forms = {re.sub(r"[0-9X]", "0", text): text for text in GIVEN}
    assert len(forms) >= 30
    theirs = {text: by_library(text) for text in forms.values()}
    for text, (first, last) in theirs.items():
        mine = days(text)
        if text.endswith("-24") or text[0] == "/" or text[-1] == "/":
            continue
        if any(mark in text for mark in "~?%"):
            assert mine[0] is None or mine[0] <= first, text
            assert mine[1] is None or last <= mine[1], text
        else:
            assert mine == (first, last), text


def test_a_set_has_its_dates_as_members():
    assert members("[1667,1668,1670..1672]") == ["1667", "1668", "1670/1672"]
    assert members("{..1760,1761-12}") == ["../1760", "1761-12"]
    assert members("1850/1860") == ["1850/1860"]


def span(text):
    found = read_date(text)
    return [
        None if day is None else date.fromordinal(day + date(1970, 1, 1).toordinal()).isoformat()
        for day in (found.first_day, found.last_day)
    ]


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("1887-03-09", "1887-03-09", "1887-03-09"),
        ("février 1900", "1900-02-01", "1900-02-28"),
        ("vers 1850", "1845-01-01", "1855-12-31"),
        ("1850?", "1845-01-01", "1855-12-31"),
        ("vers 1850 ?", "1840-01-01", "1860-12-31"),
        ("vers 1850-1860", "1845-01-01", "1865-12-31"),
        ("années 1850 ?", "1845-01-01", "1864-12-31"),
        ("XIXe siècle", "1800-01-01", "1899-12-31"),
        ("vers le XIXe siècle", "1775-01-01", "1924-12-31"),
        ("vers mars 1887", "1887-02-01", "1887-04-30"),
        ("vers janvier 1887", "1886-12-01", "1887-02-28"),
        ("vers le 9 mars 1887", "1887-03-04", "1887-03-14"),
        ("été 1887", "1887-06-01", "1887-08-31"),
        ("été 1887 ?", "1887-05-01", "1887-09-30"),
        ("hiver 1887", "1887-01-01", "1887-12-31"),
        ("hiver 1886-1887", "1886-12-01", "1887-02-28"),
        ("avant 1900", None, "1899-12-31"),
        ("après le 28 février 1900", "1900-03-01", None),
        ("1870-", "1870-01-01", None),
        ("début mars 1887", "1887-03-01", "1887-03-10"),
        ("fin février 1888", "1888-02-21", "1888-02-29"),
        ("fin 1887", "1887-09-01", "1887-12-31"),
        ("1er siècle", "0001-01-01", "0099-12-31"),
        ("1887 ou 1888", "1887-01-01", "1888-12-31"),
        ("~1850", "1845-01-01", "1855-12-31"),
        ("?1850/%1860", "1845-01-01", "1870-12-31"),
        ("1910/02", "1910-02-01", "1910-02-28"),
    ],
)
def test_a_date_spans_all_days_that_it_may_be(text, first, last):
    assert span(text) == [first, last]


def test_before_our_era_years_are_counted_with_a_year_zero():
    assert read_date("1 av. J.-C.").edtf == "0000"
    assert read_date("450 av. J.-C.") == read_date("-0449") == read_date("450 BCE")
    last = read_date("1 av. J.-C.").last_day
    assert last + 1 == read_date("1 apr. J.-C.").first_day == day_number(1, 1, 1)
    assert read_date("450 av. J.-C.").last_day < read_date("440 av. J.-C.").first_day


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("31/02/1887", "no such date"),
        ("13.13.1887", "no such date"),
        ("1887-02-30", "no such date"),
        ("30 février 1887", "no such date"),
        ("1887-13", "no such date"),
        ("2024-03-09T25:00", "no such date"),
        ("1887-1850", "before it begins"),
        ("entre 1860 et 1850", "before it begins"),
        ("1860/1850", "before it begins"),
        ("1850-49", "no such date"),
        ("1887–86", "before it begins"),
        ("20e siècle;19e siècle", "before it begins"),
        ("09/03/87", "four digits"),
        ("9 mars 87", "four digits"),
        ("87", "four digits"),
        ("-450", "-0449"),
        ("1914-21", "1914/1921"),
        ("c1950", "ca. 1950"),
        ("1800s", "180X or 18XX"),
        ("31 brumaire an VIII", "30 days"),
        ("an XV", "I to XIV"),
        ("0 av. J.-C.", "no such date"),
        ("-0000", "no such date"),
        ("12345", "not a date"),
        ("12345 AD", "not a date"),
        ("années 50", "not a date"),
        ("17000 BP", "not a date"),
        ("Louis XIV", "not a date"),
        ("1850 1860", "not a date"),
        ("5e quart du XIXe siècle", "not a date"),
        ("entre 1850", "not a date"),
        ("1850²", "not a date"),
        ("٢٠٢٤", "not a date"),
        ("apr. 1887", "après 1887"),
        ("1" * 101, "not a date"),
        ("l850", "not a date"),  # an OCR's 1850
        ("avant l900", "not a date"),
        ("d1850", "not a date"),
        ("1850v", "not a date"),
        ("1887 d", "not a date"),
        ("185?", "185X, or 0185?"),
        ("[185?]", "185X, or 0185?"),
        ("185 (?)", "185X, or 0185?"),
        ("1910/12", "1910-12, or 1910/1912"),
        ("1901/02", "1901-02, or 1901/1902"),
        ("1850/6", "1850-06, or 1850/1856"),
        ("1850-6", "1850-06, or 1850/1856"),
        ("1910–12", "1910-12, or 1910/1912"),
        ("1910 - 12", "1910-12, or 1910/1912"),
        ("1914–21", "1914/1921"),
        ("1900 ; 1889", "before it begins"),
        ("après 1860, avant 1850", "before it begins"),
        ("400-450 av. J.-C.", "450-400 av. J.-C."),
        ("1850 (an II)", "another one"),
        ("an 20", "I to XIV"),
        ("mars 87", "four digits, or with av. J.-C."),
        ("0000", "1 av. J.-C."),
        ("0000-00-00", "1 av. J.-C."),
        ("00/00/0000", "1 av. J.-C."),
        ("0000~", "1 av. J.-C."),
    ],
)
def test_what_is_no_date_or_may_be_two_is_refused_with_the_cause_and_how_to_write_it(text, cause):
    with pytest.raises(ValueError, match=r"\S") as caught:
        read_date(text)
    assert cause in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


WORDS = [
    *("vers", "ca.", "c.", "?", "entre", "et", "ou", "-", "–", "/", ";", "(", ")", "[", "]", "à"),
    *("avant", "après", "depuis", "jusqu'en", "début", "fin", "mi-", "1re", "moitié", "quart"),
    *("XIXe", "siècle", "s.", "19th", "century", "années", "1850s", "av. J.-C.", "BC", "AD", "an"),
    *("IX", "brumaire", "mars", "été", "hiver", "1850", "1860", "60", "9", "09.03.1887", "..", "~"),
    *("1850-21", "18XX", "Y-17000", "s. d.", "du", "le", "T13:45", "%", "{", "}", ","),
]


READABLE = "vers mars 1850 av. J.-C."


@given(st.one_of(st.text(max_size=30), st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join)))
@settings(max_examples=50)
@example(READABLE)
def test_any_text_is_a_date_none_or_a_plain_refusal(text):
    """Hostile by default."""
    try:
        found = read_date(text)
    except ValueError as error:
        assert str(error)
        assert text != READABLE
        return
    if found is not None:
        assert days(found.edtf) == (found.first_day, found.last_day)
        assert (
            found.first_day is None or found.last_day is None or (found.first_day <= found.last_day)
        )
        # EDTF of people is read further than the library does, and so are years such as Y-17000
        # in intervals, for which EDTF has no other form.
        if found.edtf != found.text and not ("Y" in found.edtf and "/" in found.edtf):
            edtf.parse_edtf(found.edtf)


DAYS = st.dates(date(1000, 1, 1), date(2999, 12, 31))


@given(DAYS)
def test_however_a_day_is_written_it_is_read_back(day):
    number = (day - date(1970, 1, 1)).days
    for text in (
        f"{day:%Y-%m-%d}",
        f"{day.day}.{day.month}.{day.year}",
        f"{day:%d/%m/%Y} 13:45",
        f"{day.day} {FRENCH[day.month - 1]} {day.year}",
        f"{day.day} {FRENCH[day.month - 1].upper()} {day.year}",
        f"{ENGLISH[day.month - 1]} {day.day}, {day.year}",
        f"{day.day} {ENGLISH[day.month - 1][:3]}. {day.year}",
    ):
        found = read_date(text)
        assert (found.first_day, found.last_day) == (number, number), text


@given(st.integers(1000, 2999), st.integers(0, 200))
def test_however_years_are_written_they_are_read_back(year, length):
    last = min(year + length, 2999)
    for text in (f"{year}-{last}", f"entre {year} et {last}", f"from {year} to {last}"):
        if length:
            assert read_date(text).edtf == f"{year}/{last}", text
    for text in (f"vers {year}", f"ca. {year}", f"[{year} ca]", f"{year} (vers)"):
        assert read_date(text).edtf == f"{year}~"
    assert read_date(f"{year} av. J.-C.").edtf == year_in_edtf(1 - year)


@given(st.integers(-5_000_000, 5_000_000), st.integers(1, 12), st.integers(1, 28))
def test_days_are_numbered_in_all_years(year, month, day):
    number = day_number(year, month, day)
    assert year_of(number) == year
    assert day_number(year + 400, month, day) - number == 146_097
    if 1 <= year <= 9999:
        assert number == (date(year, month, day) - date(1970, 1, 1)).days


@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)))
def test_the_moment_at_which_a_date_begins_is_its_own(moment):
    at = moment.replace(microsecond=0, tzinfo=UTC)
    assert first_moment(date_of_moment(at)) == at


def test_a_date_without_a_moment_in_a_calendar_of_computers_has_no_beginning():
    assert first_moment(read_date("450 av. J.-C.")) is None
    assert first_moment(read_date("avant 1900")) is None
    assert first_moment(read_date("XIXe siècle")) == datetime(1800, 1, 1, tzinfo=UTC)
    assert first_moment(read_date("9999-12-31")) == datetime(9999, 12, 31, tzinfo=UTC)
    assert first_moment(read_date("1970-01-02")) - timedelta(days=1) == datetime(
        1970, 1, 1, tzinfo=UTC
    )


def test_an_l_or_a_d_before_an_apostrophe_means_nothing():
    assert edtf_of("l'année 1850") == "1850"
    assert edtf_of("date d’avril 1887") == "1887-04"


def test_the_year_zero_is_read_where_it_is_the_end_of_an_interval():
    assert edtf_of("0000/0010") == "0000/0010"
    assert edtf_of("-0010/0000") == "-0010/0000"


def test_dates_are_in_the_order_of_their_first_days():
    texts = ["avant 1900", "450 av. J.-C.", "842", "XIXe siècle", "vers 1850", "1850", "1850-"]
    dates = [read_date(text) for text in reversed(texts)]
    assert [date.text for date in sorted(dates, key=lambda one: one.order())] == texts

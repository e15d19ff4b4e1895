"""Dates as people give them."""

from datetime import date

import pytest

from panoptic_assets.spec.dates import asked_date, asked_days, period, spans, within
from panoptic_assets.spec.extended_dates import day_number


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2024", date(2024, 1, 1), date(2024, 12, 31)),
        ("2024-02", date(2024, 2, 1), date(2024, 2, 29)),
        ("1900-02", date(1900, 2, 1), date(1900, 2, 28)),
        ("2024-12-31", date(2024, 12, 31), date(2024, 12, 31)),
        ("9999-12", date(9999, 12, 1), date(9999, 12, 31)),
        ("0001", date(1, 1, 1), date(1, 12, 31)),
    ],
)
def test_a_date_is_a_day_a_month_or_a_year(text, first, last):
    assert period(text) == (first, last)


@pytest.mark.parametrize(
    "text", ["", "24", "2024-3", "2024-02-30", "0000", "2024-1-1", "2024-13", "٢٠٢٤"]
)
def test_what_is_no_date_is_refused(text):
    with pytest.raises(ValueError, match="date"):
        period(text)


def test_both_ends_of_a_period_belong_to_it():
    assert within(date(2024, 3, 31), "2024-03", "2024-03")
    assert not within(date(2024, 4, 1), None, "2024-03")
    assert not within(date(2024, 2, 29), "2024-03", None)
    assert within(date(1, 1, 1), None, None)


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("1850", (1850, 1, 1), (1850, 12, 31)),
        ("1850-02", (1850, 2, 1), (1850, 2, 28)),
        ("1850-02-03", (1850, 2, 3), (1850, 2, 3)),
        ("842", (842, 1, 1), (842, 12, 31)),
        ("-0449", (-449, 1, 1), (-449, 12, 31)),
        ("0000", (0, 1, 1), (0, 12, 31)),
        ("185X", (1850, 1, 1), (1859, 12, 31)),
        ("18XX", (1800, 1, 1), (1899, 12, 31)),
        ("-04XX", (-499, 1, 1), (-400, 12, 31)),
        ("1850-21", (1850, 3, 1), (1850, 5, 31)),
        ("Y-17000", (-17000, 1, 1), (-17000, 12, 31)),
    ],
)
def test_dates_are_asked_for_by_days_months_years_decades_and_centuries(text, first, last):
    assert asked_days(text) == (day_number(*first), day_number(*last))


@pytest.mark.parametrize(
    "text",
    ["", "24", "-450", "vers 1850", "1850~", "avant 1850", "?1850", "s. d.", "../1850", "1850-13",
     "1850-02-30", "-0000", "XXXX", "٢٠٢٤"],
)  # fmt: skip
def test_what_is_no_plain_date_is_not_asked_for(text):
    with pytest.raises(ValueError, match="date"):
        asked_days(text)


@pytest.mark.parametrize(
    ("edtf", "since", "until", "possibly", "certainly"),
    [
        ("1850", "1850", "1850", True, True),
        ("1850", "1850-06", None, True, False),
        ("1850", None, "1850-06", True, False),
        ("1850", "1851", None, False, False),
        ("1850~", "1853", "1860", True, False),
        ("1850~", "1840", "1860", True, True),
        ("1850/1860", "1860", "1870", True, False),
        ("1850/1860", "1861", "1870", False, False),
        ("18XX", "1850", "1850", True, False),
        ("18XX", "18XX", "18XX", True, True),
        ("../1899", "1850", None, True, False),
        ("../1899", None, "1899", True, True),
        ("../1899", "1900", None, False, False),
        ("1871/..", "1900", "1910", True, False),
        ("1871/..", "1871", None, True, True),
        ("-0449", "-0500", "-0400", True, True),
        ("-0449", "0001", None, False, False),
        ("1850", None, None, True, True),
        ("[1889,1900]", "1890", "1899", False, False),
        ("[1889,1900]", "1890", "1900", True, False),
        ("{1889,1900}", "1889", "1900", True, True),
        ("[1667,1670..1672]", "1668", "1669", False, False),
        ("[1667,1670..1672]", "1671", "1671", True, False),
        ("[..1760]", "1700", "1700", True, False),
    ],
)
def test_a_date_lies_possibly_or_certainly_between_two_others(
    edtf, since, until, possibly, certainly
):
    assert spans(edtf, since, until, certainly=False) == possibly
    assert spans(edtf, since, until, certainly=True) == certainly


@pytest.mark.parametrize(
    ("text", "edtf"),
    [
        ("1850", "1850"),
        ("842", "0842"),
        ("1850-21", "1850-21"),
        ("09/03/1887", "1887-03-09"),
        ("9 mars 1887", "1887-03-09"),
        ("XIXe siècle", "18XX"),
        ("450 av. J.-C.", "-0449"),
        ("fin du XIXe siècle", "1867/1899"),
    ],
)
def test_dates_are_asked_for_as_cells_have_them_and_kept_in_edtf(text, edtf):
    """E7."""
    assert asked_date(text) == edtf
    assert asked_date(edtf) == edtf

"""Dates as people give them."""

from datetime import date

import pytest

from panoptic_assets.spec.dates import period, within


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

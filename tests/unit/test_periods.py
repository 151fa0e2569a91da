"""Periods as sources and people write them, and the window between two."""

from __future__ import annotations

from datetime import date
from itertools import pairwise

import pytest

from catalunya.io.errors import UsageError
from catalunya.io.periods import Window, period, window

YEAR = Window(date(2014, 1, 1), date(2014, 12, 31))
FIRST_HALF = Window(date(2014, 1, 1), date(2014, 6, 30))
THIRD_QUARTER = Window(date(2014, 7, 1), date(2014, 9, 30))
JUNE = Window(date(2014, 6, 1), date(2014, 6, 30))


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("2014", YEAR),
        (" 2014 ", YEAR),
        ("2014-H1", FIRST_HALF),
        ("2014-h1", FIRST_HALF),
        ("2014S1", FIRST_HALF),
        ("S1/2014", FIRST_HALF),
        ("2014-Q3", THIRD_QUARTER),
        ("2014T3", THIRD_QUARTER),
        ("T3/2014", THIRD_QUARTER),
        ("2014-06", JUNE),
        ("2014M06", JUNE),
        ("2014M6", JUNE),
        ("06/2014", JUNE),
        ("201406", JUNE),
        ("2014-06-30", Window(date(2014, 6, 30), date(2014, 6, 30))),
        ("2014-H2", Window(date(2014, 7, 1), date(2014, 12, 31))),
        ("2014-Q4", Window(date(2014, 10, 1), date(2014, 12, 31))),
        ("2014-12", Window(date(2014, 12, 1), date(2014, 12, 31))),
        ("2024-02", Window(date(2024, 2, 1), date(2024, 2, 29))),
        ("1999", Window(date(1999, 1, 1), date(1999, 12, 31))),
        ("122012", Window(date(2012, 12, 1), date(2012, 12, 31))),
        ("202012", Window(date(2020, 12, 1), date(2020, 12, 31))),
    ],
)
def test_a_period_is_read_as_sources_and_people_write_it(text: str, days: Window) -> None:
    assert period(text) == days


@pytest.mark.parametrize(
    "text",
    ["", "TOTAL", "14", "H1", "2014-H3", "2014-H0", "2014S3", "2014-Q5", "2014-13", "2014-00", "201413", "2014-02-30",
     "2014-06-30T00:00:00", "2014-X1", "2014-W23", "2014-2015", "1814", "2014-H1-x", "2014'; drop"],
)  # fmt: skip
def test_anything_but_a_period_is_refused_with_examples(text: str) -> None:
    with pytest.raises(UsageError, match=r"a year \(2014\), a half-year \(2014-H1\), .*, found ") as caught:
        period(text)
    assert repr(text) in str(caught.value)


def test_half_years_quarters_and_months_each_cover_a_year_without_gaps() -> None:
    for codes in (["H1", "H2"], ["Q1", "Q2", "Q3", "Q4"], [f"{month:02}" for month in range(1, 13)]):
        spans = [period(f"2024-{code}") for code in codes]
        assert (spans[0].first, spans[-1].last) == (date(2024, 1, 1), date(2024, 12, 31))
        assert all((after.first - before.last).days == 1 for before, after in pairwise(spans))


def test_a_window_goes_from_the_first_day_of_one_period_to_the_last_day_of_another() -> None:
    assert window("2014", "2016-Q1") == Window(date(2014, 1, 1), date(2016, 3, 31))
    assert window("2014-06-30", "2014-06-30") == Window(date(2014, 6, 30), date(2014, 6, 30))


def test_a_window_is_shown_by_its_ends() -> None:
    assert str(window("2014", "2014")) == "from 2014-01-01 to 2014-12-31"
    assert str(window("2014", None)) == "from 2014-01-01"
    assert str(window(None, "2014")) == "to 2014-12-31"


def test_a_window_may_be_open_at_either_end_and_is_none_if_neither_is_given() -> None:
    assert window("2014", None) == Window(date(2014, 1, 1), date.max)
    assert window(None, "2014") == Window(date.min, date(2014, 12, 31))
    assert window(None, None) is None
    assert window("", "") is None


def test_a_window_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(UsageError, match="the window must begin before it ends, found 2015 to 2014-H2"):
        window("2015", "2014-H2")


def test_a_window_covers_what_lies_entirely_in_it() -> None:
    span = Window(date(2014, 1, 1), date(2015, 6, 30))
    assert span.covers(span)
    assert span.covers(period("2014"))
    assert span.covers(period("2015-H1"))
    assert not span.covers(period("2015"))
    assert not span.covers(period("2013-12"))
    assert Window(date.min, date.max).covers(period("2015"))


def test_periods_sort_by_time() -> None:
    codes = ["2015", "2014S2", "2014-02", "2014S1"]
    assert sorted(codes, key=period) == ["2014S1", "2014-02", "2014S2", "2015"]

"""Periods in a staging function: their days where they are periods, nothing where they are anything else."""

from __future__ import annotations

from datetime import date

import polars as pl
import pytest

from catalunya.assets.making.expressions import PeriodKind, first_day, last_day, period_id, quarter_of, year_of

NO_PERIODS = [None, "", "2014S1", "S1/2014", "202312", "2024-H3", "2024-H0", "2024-Q5", "2024-13", "2024-00", "2024", "1814-H1",
              "2024-H1-rev", "x2024-H1", "2024-H1\n", "20٢٤-H1", "２０２４-H1"]  # fmt: skip


def read(time: str | None) -> tuple[str | None, date | None, date | None, str | None]:
    frame = pl.DataFrame({"time": [time]}, schema={"time": pl.String})
    return frame.select(a=year_of("time"), b=first_day("time"), c=last_day("time"), d=quarter_of("time")).row(0)


@pytest.mark.parametrize(
    ("time", "first", "last", "quarter"),
    [
        ("2014-H1", date(2014, 1, 1), date(2014, 6, 30), None),
        ("2014-H2", date(2014, 7, 1), date(2014, 12, 31), None),
        ("2000-Q4", date(2000, 10, 1), date(2000, 12, 31), "2000-Q4"),
        ("2024-02", date(2024, 2, 1), date(2024, 2, 29), "2024-Q1"),
        ("2023-12", date(2023, 12, 1), date(2023, 12, 31), "2023-Q4"),
    ],
)
def test_a_period_has_a_year_a_first_and_a_last_day(time: str, first: date, last: date, quarter: str | None) -> None:
    assert read(time) == (time[:4], first, last, quarter)


@pytest.mark.parametrize("time", NO_PERIODS)
def test_what_is_no_period_has_none(time: str | None) -> None:
    assert read(time) == (None, None, None, None)


@pytest.mark.parametrize("kind", ["H", "Q", "M"])
def test_only_periods_of_the_kind_that_a_table_has_are_its_periods(kind: PeriodKind) -> None:
    kinds: dict[PeriodKind, str] = {"H": "2014-H1", "Q": "2014-Q3", "M": "2014-06"}
    times = pl.DataFrame({"time": [*kinds.values(), *NO_PERIODS]}, schema={"time": pl.String})
    assert times.select(period_id("time", kind))["time"].drop_nulls().to_list() == [kinds[kind]]

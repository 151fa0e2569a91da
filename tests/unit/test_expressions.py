"""Time codes of statistical tables: read where they are unambiguous, never guessed."""

from __future__ import annotations

from datetime import date

import polars as pl
import pytest

from catalunya.assets.making.expressions import PeriodKind, first_day, last_day, period_id, year_of


def read(time: str | None, kind: PeriodKind) -> tuple[str | None, str | None, date | None, date | None]:
    frame = pl.DataFrame({"time": [time]}, schema={"time": pl.String})
    found = frame.select(
        a=year_of("time"), b=period_id("time", kind), c=first_day("time", kind), d=last_day("time", kind)
    )
    return found.row(0)


@pytest.mark.parametrize(
    ("time", "kind", "period", "first", "last"),
    [
        ("2014S1", "H", "2014-H1", date(2014, 1, 1), date(2014, 6, 30)),
        ("S2/2014", "H", "2014-H2", date(2014, 7, 1), date(2014, 12, 31)),
        ("2000T4", "Q", "2000-Q4", date(2000, 10, 1), date(2000, 12, 31)),
        ("2024M02", "M", "2024-02", date(2024, 2, 1), date(2024, 2, 29)),
        ("202312", "M", "2023-12", date(2023, 12, 1), date(2023, 12, 31)),
        ("03/2026", "M", "2026-03", date(2026, 3, 1), date(2026, 3, 31)),
    ],
)
def test_a_time_code_becomes_a_period_with_its_first_and_last_day(
    time: str, kind: PeriodKind, period: str, first: date, last: date
) -> None:
    assert read(time, kind) == (period[:4], period, first, last)


@pytest.mark.parametrize(
    ("time", "kind"),
    [
        ("2014S3", "H"),
        ("2014S0", "H"),
        ("2000T5", "Q"),
        ("2024M13", "M"),
        ("2024M00", "M"),
        ("2024", "H"),
        ("2024M99", "M"),
    ],
)
def test_a_period_number_out_of_range_gives_no_period(time: str, kind: PeriodKind) -> None:
    assert read(time, kind) == (time[:4], None, None, None)


@pytest.mark.parametrize(
    "time", [None, "", "1814S1", "2024S1-rev", "x2024S1", "12024S1", "2024S1\n", "20٢٤S1", "２０２４S1"]
)
def test_an_unknown_time_code_gives_nothing(time: str | None) -> None:
    assert read(time, "H") == (None, None, None, None)

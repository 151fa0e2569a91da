"""What is unlike a table's own history, and what is not."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from catalunya.assets.record.index import SCHEMA
from catalunya.ops.watching.findings import Kind
from catalunya.ops.watching.unusual import SHORTEST, unusual

START = datetime(2026, 1, 1, tzinfo=UTC)


def history(rows: list[int], quarantined: list[int] | None = None, **last: object) -> pl.DataFrame:
    """A table with so many rows in each version; `last` is what differs in the last."""
    frame = pl.DataFrame(
        {
            "asset": ["staging.a"] * len(rows),
            "sequence": range(1, len(rows) + 1),
            "status": ["materialized"] * len(rows),
            "run_id": ["r"] * len(rows),
            "recorded_at": [START + timedelta(days=day) for day in range(len(rows))],
            "seconds": [1.0] * len(rows),
            "rows": rows,
            "bytes": [1] * len(rows),
            "quarantined": quarantined or [0] * len(rows),
            "is_accepted": [False] * len(rows),
            "is_part": [False] * len(rows),
            "source_updated_at": [None] * len(rows),
            "drift": [""] * len(rows),
        },
        schema=SCHEMA,
    )
    is_last = pl.col("sequence") == len(rows)
    return frame.with_columns(
        pl.when(is_last).then(pl.lit(value)).otherwise(name).alias(name) for name, value in last.items()
    )


USUAL = [1000, 1002, 1001, 1003, 1005, 1004, 1006, 1008, 1007, 1010]


@pytest.mark.parametrize(("last", "way"), [(500, "fewer"), (2000, "more"), (0, "fewer"), (880, "fewer")])
def test_far_more_or_fewer_rows_than_before_are_unusual(last: int, way: str) -> None:
    found = unusual(history([*USUAL, last], [0] * len(USUAL) + [1]))
    rows = [each for each in found if each.kind is Kind.ROWS_UNUSUAL]
    assert len(rows) == 1
    assert f" {way} than usual" in rows[0].what
    assert "1,00" in rows[0].cause, "the median is named"


@pytest.mark.parametrize("last", [1000, 1011, 1090, 960])
def test_a_little_more_or_fewer_is_not(last: int) -> None:
    assert unusual(history([*USUAL, last])) == []


def test_one_bad_version_in_the_past_hides_nothing_and_raises_nothing() -> None:
    past = [*USUAL[:5], 10, *USUAL[5:]]
    assert unusual(history([*past, 1011])) == []
    assert len(unusual(history([*past, 500]))) == 1


def test_what_has_a_short_history_is_not_judged() -> None:
    assert unusual(history([1000] * (SHORTEST - 1) + [1])) == []
    assert len(unusual(history([1000] * SHORTEST + [1]))) == 1


def test_tiny_tables_may_differ_by_a_few_rows() -> None:
    assert unusual(history([5] * 10 + [9])) == []


@pytest.mark.parametrize("last", [{"is_accepted": True}, {"is_part": True}, {"status": "failed"}])
def test_an_accepted_change_a_backfill_and_a_failure_are_not_judged(last: dict[str, object]) -> None:
    assert unusual(history([*USUAL, 10], **last)) == []


def test_a_share_of_refused_rows_far_above_the_usual_is_unusual_and_one_below_is_not() -> None:
    many = [10] * 10
    (found,) = unusual(history([990] * 10 + [900], [*many, 100]))
    assert (found.kind, round(found.measure)) == (Kind.QUARANTINE_UNUSUAL, 9)
    assert "10.0 % of the rows are in quarantine" in found.what
    assert unusual(history([990] * 10 + [1000], [*many, 0])) == []


def test_a_gentle_trend_with_noise_raises_nothing() -> None:
    noise = random.Random(14)
    for _ in range(300):
        start, slope = noise.randrange(50, 100_000), noise.uniform(-0.005, 0.005)
        rows = [max(int(start * (1 + slope * day) + noise.gauss(0, start * 0.003)), 0) for day in range(30)]
        assert unusual(history(rows)) == []

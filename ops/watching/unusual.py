"""Which tables are unlike themselves: far more or fewer rows, or far more of them refused, than in their own history.

Simple robust statistics and no model: how far a value is from the median of what was before, in units of the median absolute deviation.
One bad value among those before changes nothing, a gentle trend raises nothing. Not here: guards, which refuse a table
(`assets/making/guards.py`); what is unusual here was published.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from catalunya.ops.watching.findings import Kind

SHORTEST = 8
"""How many earlier values it takes to know what is usual."""
FAR = 5.0
_TO_DEVIATION = 1.4826  # of a normal distribution: its standard deviation, by its median absolute deviation
_SHARE_OF_MEDIAN = 0.02
_LEAST = 1.0  # one row, or one percent of the rows


@dataclass(frozen=True, slots=True)
class Unusual:
    """A table whose last version is unlike those before. `measure`: by how many percent, or by how many percentage points."""

    asset: str
    kind: Kind
    what: str
    cause: str
    measure: float
    at: datetime


def unusual(rows: pl.DataFrame) -> list[Unusual]:
    """What is unusual, from the index of the ledger (`assets/record/index.py`). A version that someone accepted is not."""
    made = rows.filter(
        (pl.col("status") == "materialized") & ~pl.col("is_part") & (pl.col("rows") + pl.col("quarantined") > 0)
    ).with_columns(share=100 * pl.col("quarantined") / (pl.col("rows") + pl.col("quarantined")))
    found = [_rows(*each) for each in _far(made, "rows")]
    return found + [_share(*each) for each in _far(made, "share") if each[2] > each[3]]


def _far(made: pl.DataFrame, column: str) -> list[tuple[str, datetime, float, float, int]]:
    """Table, time, value, median before, number of values before."""
    is_last = pl.col("sequence") == pl.col("sequence").max().over("asset")
    before = made.filter(~is_last)
    usual = before.group_by("asset").agg(median=pl.col(column).median(), known=pl.len())
    spread = (
        before.join(usual, on="asset")
        .group_by("asset")
        .agg(mad=_TO_DEVIATION * (pl.col(column) - pl.col("median")).abs().median())
    )
    scale = pl.max_horizontal("mad", _SHARE_OF_MEDIAN * pl.col("median"), pl.lit(_LEAST))
    return (
        made.filter(is_last & ~pl.col("is_accepted"))
        .join(usual.filter(pl.col("known") >= SHORTEST), on="asset")
        .join(spread, on="asset")
        .filter(((pl.col(column) - pl.col("median")) / scale).abs() > FAR)
        .sort("asset")
        .select("asset", "recorded_at", pl.col(column).cast(pl.Float64), "median", "known")
        .rows()
    )


def _rows(asset: str, at: datetime, value: float, median: float, known: int) -> Unusual:
    percent = 100 * abs(value - median) / max(median, 1)
    way = "fewer" if value < median else "more"
    return Unusual(
        asset,
        Kind.ROWS_UNUSUAL,
        f"{value:,.0f} rows, {percent:.0f} % {way} than usual",
        f"the median of the {known} versions before is {median:,.0f} rows",
        percent,
        at,
    )


def _share(asset: str, at: datetime, value: float, median: float, known: int) -> Unusual:
    return Unusual(
        asset,
        Kind.QUARANTINE_UNUSUAL,
        f"{value:.1f} % of the rows are in quarantine",
        f"the median of the {known} versions before is {median:.1f} %; `catalunya quarantine {asset}` shows them",
        value - median,
        at,
    )

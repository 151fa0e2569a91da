"""Jobs by month, comarca and section of activity: IDESCAT's affiliations to the Social Security. Weekly, some 60,000 rows."""

from __future__ import annotations

import polars as pl

from catalunya.assets.graph.spec import Landing, months, staging
from catalunya.assets.making.expressions import last_day, look_up, period_id, status_of, year_of
from catalunya.contracts.employment import Employment, RawEmployment
from catalunya.io.sources.idescat import Idescat

# One table per classification: each month is in one of them, and its section letters follow that classification.
CCAE_2009, CCAE_2025 = "afic/22001/26101/com", "afic/22002/26102/com"
TOTAL = "TOTAL"

landing = Landing(
    "employment",
    source=Idescat(CCAE_2009, CCAE_2025),
    contract=RawEmployment,
    schedule="0 3 * * 1",
)


def comarques(raw: pl.LazyFrame) -> pl.LazyFrame:
    """The jobs of all sections by month and comarca."""
    return raw.filter(pl.col("SECTION") == TOTAL).select(
        "table", "metric", "time", "geo", comarca_jobs=pl.col("jobs").cast(pl.Int64, strict=False)
    )


@staging(landing, contract=Employment, across=comarques, partition_by=["year_id"], keep=months(3))
def employment(raw: pl.LazyFrame, totals: pl.LazyFrame) -> pl.LazyFrame:
    """One row per comarca and section, with the comarca's total beside it; totals are not rows of their own."""
    rows = look_up(raw, totals, on=["table", "metric", "time", "geo"])
    return rows.filter(pl.col("geo").ne_missing(TOTAL) & pl.col("SECTION").ne_missing(TOTAL)).with_columns(
        month_id=period_id("time", "M"),
        year_id=year_of("time"),
        observed_date=last_day("time", "M"),
        classification=pl.col("table").replace_strict({CCAE_2009: "CCAE-2009", CCAE_2025: "CCAE-2025"}, default=None),
        observation_status=status_of("jobs", "status"),
    )

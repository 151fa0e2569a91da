"""Jobs by quarter, comarca, regime and section of activity: IDESCAT's affiliations to the Social Security. Weekly, some 45,000 rows."""

from __future__ import annotations

import polars as pl

from catalunya.assets.graph.spec import Landing, months, staging
from catalunya.assets.making.expressions import last_day, look_up, quarter_of, status_of, year_of
from catalunya.contracts.employment import Employment, RawEmployment
from catalunya.io.sources.dimensions import by
from catalunya.io.sources.idescat import Idescat

# One table per regime and classification: each quarter is in one classification, and its section letters follow that one.
GENERAL_2009, GENERAL_2025 = "afic/14987/15881/com", "afic/14987/26692/com"
SELF_EMPLOYED_2009, SELF_EMPLOYED_2025 = "afic/14996/15887/com", "afic/14996/26697/com"
TOTAL = "TOTAL"

_REGIMES = {
    GENERAL_2009: "general",
    GENERAL_2025: "general",
    SELF_EMPLOYED_2009: "self_employed",
    SELF_EMPLOYED_2025: "self_employed",
}
_CLASSIFICATIONS = {
    GENERAL_2009: "CCAE-2009",
    SELF_EMPLOYED_2009: "CCAE-2009",
    GENERAL_2025: "CCAE-2025",
    SELF_EMPLOYED_2025: "CCAE-2025",
}

landing = Landing(
    "employment",
    source=Idescat(
        *_REGIMES,
        # Their ids and codes are not known: they are found by role, name and label. `catalunya sources check` compares.
        dimensions={
            "geo": by(codes="[0-9]{2}", labels={TOTAL: ["^catalunya", "^total"]}),
            "SECTION": by("secció", "activitat", "ccae", codes="[A-V]", labels={TOTAL: ["^total"]}),
            "metric": by(only="JOBS"),
        },
    ),
    contract=RawEmployment,
    schedule="0 3 * * 1",
)


def comarques(raw: pl.LazyFrame) -> pl.LazyFrame:
    """The jobs of all sections by table, period and comarca."""
    return raw.filter(pl.col("SECTION") == TOTAL).select(
        "table", "metric", "time", "geo", comarca_jobs=pl.col("jobs").cast(pl.Int64, strict=False)
    )


@staging(landing, contract=Employment, across=comarques, partition_by=["year_id"], keep=months(3))
def employment(raw: pl.LazyFrame, totals: pl.LazyFrame) -> pl.LazyFrame:
    """One row per comarca, regime and section, with the comarca's total beside it; totals are not rows of their own."""
    rows = look_up(raw, totals, on=["table", "metric", "time", "geo"])
    return rows.filter(pl.col("geo").ne_missing(TOTAL) & pl.col("SECTION").ne_missing(TOTAL)).with_columns(
        quarter_id=quarter_of("time"),
        year_id=year_of("time"),
        observed_date=last_day("time"),
        regime=pl.col("table").replace_strict(_REGIMES, default=None),
        classification=pl.col("table").replace_strict(_CLASSIFICATIONS, default=None),
        observation_status=status_of("jobs", "status"),
    )

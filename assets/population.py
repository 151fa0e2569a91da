"""Inhabitants by half-year, municipality and sex: IDESCAT's estimates. Weekly, some 80,000 rows."""

from __future__ import annotations

import polars as pl

from catalunya.assets.graph.alternatives import Alternative
from catalunya.assets.graph.spec import Landing, months, staging
from catalunya.assets.making.expressions import first_day, look_up, period_id, status_of, year_of
from catalunya.assets.municipalities import municipalities
from catalunya.contracts.population import Population, RawPopulation
from catalunya.io.sources.idescat import Idescat

CATALONIA = "TOTAL"
_SEXES = {"F": "female", "M": "male", "TOTAL": "total"}


def first_half_years(raw: pl.LazyFrame) -> pl.LazyFrame:
    """Counts of 1 January (`2023`) as those of first half-years (`2023-H1`), whose reference date is the same day."""
    return raw.with_columns(time=pl.col("time").str.replace(r"^((?:19|20)\d{2})$", "${1}-H1"))


landing = Landing(
    "population",
    source=Idescat("ep/9122/10002/mun"),
    # The municipal register: one count a year, on 1 January. Another operation, so its figures need not be those of the estimates.
    alternatives={"pmh": Alternative(source=Idescat("pmh/446/477/mun"), rows=first_half_years)},
    contract=RawPopulation,
    schedule="0 3 * * 1",
)


def catalonia(raw: pl.LazyFrame) -> pl.LazyFrame:
    """The total of Catalonia by half-year and sex."""
    return raw.filter(pl.col("geo") == CATALONIA).select(
        "metric", "time", "SEX", catalonia_population=pl.col("population").cast(pl.Int64, strict=False)
    )


@staging(
    landing,
    contract=Population,
    reads=[municipalities],
    across=catalonia,
    partition_by=["year_id"],
    keep=months(3),
)
def population(raw: pl.LazyFrame, municipalities: pl.LazyFrame, totals: pl.LazyFrame) -> pl.LazyFrame:
    """One row per municipality, with the total of Catalonia beside it.

    A code that is not a municipality is dropped if it has no population: 171045, Medinyà, no longer exists.
    """
    known = municipalities.select(geo="municipality_id", is_known=pl.lit(value=True))
    rows = look_up(look_up(raw, known, on=["geo"]), totals, on=["metric", "time", "SEX"])
    is_unknown = pl.col("is_known").is_null()
    return rows.filter(
        pl.col("geo").ne_missing(CATALONIA) & ~(is_unknown & pl.col("population").is_null())
    ).with_columns(
        half_year_id=period_id("time", "H"),
        year_id=year_of("time"),
        observed_date=first_day("time"),
        sex=pl.col("SEX").replace(_SEXES),
        observation_status=status_of("population", "status"),
    )

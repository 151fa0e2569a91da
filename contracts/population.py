"""Contracts of the population source: IDESCAT `ep/9122/10002`, half-yearly estimates by municipality and sex."""

from __future__ import annotations

from datetime import date

import pandera.polars as pa
import polars as pl

from catalunya.contracts.model.columns import PROVENANCE
from catalunya.contracts.model.contract import Contract, LandingContract, column, raw

OBSERVATION_STATUS = ["final", "provisional", "advance", "missing"]
SEXES = ["female", "male", "total"]


class RawPopulation(LandingContract):
    """Estimacions de població: inhabitants by half-year, municipality and sex, as JSON-stat cells."""

    time: str = raw("Half-year", kind="time", required=True)
    geo: str = raw("Idescat code of the municipality; TOTAL for Catalonia", kind="geo", required=True)
    metric: str = raw("What was counted", kind="metric", required=True)
    SEX: str = raw("F, M or TOTAL", kind="dimension", required=True)
    SEX_label: str = raw("Name of the sex")
    value: str = raw("The count")
    status: str = raw("p provisional, .. not available")
    table: str = raw("Table the cell belongs to", required=True)
    updated: str = raw("Date the table was last updated", required=True)


class Population(Contract, tolerate=0.01, max_shrink=0.05):
    """Inhabitants by half-year, municipality and sex. A figure the source does not publish (`..`) is null, never zero."""

    half_year_id: str = column("The half-year: `2024-H2`", key=True, period=True, str_matches=r"^(19|20)\d{2}-H[12]$")
    municipality_id: str = column(
        "Idescat code of the municipality",
        source=RawPopulation.geo,
        key=True,
        str_matches=r"^\d{6}$",
        references="municipalities.municipality_id",
    )
    sex: str = column("Sex; `total` is both", key=True, isin=SEXES)
    observed_date: date = column("Reference date: 1 January in H1, 1 July in H2")
    population: int = column("Inhabitants", source=RawPopulation.value, nullable=True, unit="people", ge=0)
    observation_status: str = column(
        "Whether the figure is final, provisional, an advance or missing", isin=OBSERVATION_STATUS
    )
    catalonia_population: int = column(
        "The source's own total for Catalonia, same half-year and sex, to check sums against",
        nullable=True,
        unit="people",
        ge=0,
    )
    updated_date: date = column("Date the source last updated the table", source=RawPopulation.updated, max_change=1.0)
    population_source: str = column("Dataset that the figure is from", source=PROVENANCE)
    year_id: str = column("Year of the half-year", str_matches=r"^(19|20)\d{2}$")

    @pa.dataframe_check
    @classmethod
    def missing_is_empty(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """A figure is null exactly where its status is `missing`."""
        return data.lazyframe.select(pl.col("population").is_null() == (pl.col("observation_status") == "missing"))

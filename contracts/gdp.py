"""Contracts of the GDP source: IDESCAT `pibt`, quarterly GDP from the supply side, at current prices and in volume."""

from __future__ import annotations

from datetime import date

import pandera.polars as pa
import polars as pl

from catalunya.contracts.model.contract import Contract, LandingContract, column, raw
from catalunya.contracts.population import OBSERVATION_STATUS

GDP_SECTORS = [
    "gdp",
    "gross_value_added",
    "agriculture",
    "industry",
    "construction",
    "services",
    "trade_transport_hospitality",
    "real_estate_professional_other",
    "public_education_health",
    "net_taxes_on_products",
]
MEASURES = ["value", "index", "quarterly_change", "yearly_change"]


class RawGdp(LandingContract):
    """Comptabilitat trimestral: GDP by quarter and sector, seasonally adjusted, as JSON-stat cells of two tables."""

    time: str = raw("Quarter", kind="time", required=True)
    geo: str = raw("Catalonia, if the table has a dimension for it", kind="geo")
    metric: str = raw("The measure: value, index, quarterly_change or yearly_change", kind="metric", required=True)
    SECTOR: str = raw("The sector, as the source's declaration calls its label", kind="dimension", required=True)
    SECTOR_label: str = raw("Name of the sector in Catalan", required=True)
    value: str = raw("The figure")
    status: str = raw("p provisional, a advance, .. not available")
    table: str = raw("Table the cell belongs to", required=True)
    updated: str = raw("Date the table was last updated", required=True)


class Gdp(Contract, max_shrink=0.05):
    """GDP of Catalonia by quarter and sector, seasonally adjusted: at current prices (`value`) and in volume (`index`).

    A figure the source does not publish (`..`) is null, never zero.
    """

    quarter_id: str = column("The quarter: `2024-Q3`", key=True, period=True, str_matches=r"^(19|20)\d{2}-Q[1-4]$")
    sector_id: str = column("The sector, or an aggregate of sectors", source=RawGdp.SECTOR, key=True, isin=GDP_SECTORS)
    sector_name: str = column("Name of the sector in Catalan", source=RawGdp.SECTOR_label)
    price_basis: str = column("Current prices, or volume (chained)", key=True, isin=["current", "volume"])
    measure: str = column(
        "What the figure is: EUR millions, index, % change on the previous quarter, % change on a year earlier",
        source=RawGdp.metric,
        key=True,
        isin=MEASURES,
    )
    # Seasonal adjustment estimates every earlier quarter again with each new one.
    figure: float = column("The figure, in the unit of its measure", source=RawGdp.value, nullable=True, max_change=1.0)
    observation_status: str = column(
        "Whether the figure is final, provisional, an advance or missing", isin=OBSERVATION_STATUS
    )
    updated_date: date = column(
        "Date the source last updated the table; identifies the revision", source=RawGdp.updated, max_change=1.0
    )

    @pa.dataframe_check
    @classmethod
    def missing_is_empty(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """A figure is null exactly where its status is `missing`."""
        return data.lazyframe.select(pl.col("figure").is_null() == (pl.col("observation_status") == "missing"))

    @pa.dataframe_check
    @classmethod
    def measures_fit_their_prices(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """An index is one of volume, and a value one at current prices: else a table's only measure was taken for another."""
        is_volume = pl.col("price_basis") == "volume"
        expected = pl.when(is_volume).then(pl.lit("index")).otherwise(pl.lit("value"))
        return data.lazyframe.select(
            (pl.col("measure") == expected) | pl.col("measure").is_in(["quarterly_change", "yearly_change"])
        )

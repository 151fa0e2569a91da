"""GDP by quarter and sector: IDESCAT's quarterly accounts, at current prices and in volume. Weekly, some 5,000 rows."""

from __future__ import annotations

import polars as pl

from catalunya.assets.graph.spec import Landing, months, staging
from catalunya.assets.making.expressions import look_up, period_id, status_of
from catalunya.contracts.gdp import Gdp, RawGdp
from catalunya.io.sources.idescat import Idescat

CURRENT_PRICES, VOLUME = "pibt/21129/24938/cat", "pibt/21130/24940/cat"

_MEASURES = {"VALUE": "value", "INDEX": "index", "Q_CHANGE": "quarterly_change", "Y_CHANGE": "yearly_change"}

# The first sector whose words are in the label: codes change with each statistical revision, words do not.
_SECTORS = {
    "net_taxes_on_products": r"impostos",
    "gross_value_added": r"valor afegit",
    "agriculture": r"agricultura",
    "industry": r"indústria",
    "construction": r"construcció",
    "trade_transport_hospitality": r"comerç",
    "real_estate_professional_other": r"immobiliàries",
    "public_education_health": r"adm\. pública|administració pública",
    "services": r"^serveis",
    "gdp": r"^pib|producte interior brut",
}

landing = Landing(
    "gdp",
    source=Idescat(CURRENT_PRICES, VOLUME),
    contract=RawGdp,
    schedule="0 3 * * 1",
)


@staging(landing, contract=Gdp, keep=months(3))
def gdp(raw: pl.LazyFrame) -> pl.LazyFrame:
    """One row per figure; an unknown sector or measure breaks the contract."""
    return look_up(raw, _sectors(raw), on=["SECTOR_label"]).with_columns(
        quarter_id=period_id("time", "Q"),
        price_basis=pl.col("table").replace_strict({CURRENT_PRICES: "current", VOLUME: "volume"}, default=None),
        measure=pl.col("metric").replace_strict(_MEASURES, default=None),
        observation_status=status_of("figure", "status"),
    )


def _sectors(raw: pl.LazyFrame) -> pl.LazyFrame:
    """From the source's label to the sector."""
    words = pl.col("SECTOR_label").str.to_lowercase()
    found = [pl.when(words.str.contains(pattern)).then(pl.lit(sector)) for sector, pattern in _SECTORS.items()]
    return raw.select("SECTOR_label").unique().with_columns(sector_id=pl.coalesce(*found))

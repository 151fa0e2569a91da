"""GDP by quarter and sector: IDESCAT's quarterly accounts, at current prices and in volume. Weekly, some 5,000 rows."""

from __future__ import annotations

import polars as pl

from catalunya.assets.graph.spec import Landing, months, staging
from catalunya.assets.making.expressions import classify, period_id, status_of
from catalunya.contracts.gdp import Gdp, RawGdp
from catalunya.io.sources.idescat import Idescat

CURRENT_PRICES, VOLUME = "pibt/21129/24938/cat", "pibt/21130/24940/cat"

_MEASURES = {"VALUE": "value", "INDEX": "index", "Q_CHANGE": "quarterly_change", "Y_CHANGE": "yearly_change"}

# The first sector of which the label has a phrase: codes change with each statistical revision, words do not.
_SECTORS = {
    "net_taxes_on_products": ("impostos",),
    "gross_value_added": ("valor afegit",),
    "agriculture": ("agricultura",),
    "industry": ("indústria",),
    "construction": ("construcció",),
    "trade_transport_hospitality": ("comerç",),
    "real_estate_professional_other": ("immobiliàries",),
    "public_education_health": ("adm. pública", "administració pública"),
    "services": ("^serveis",),
    "gdp": ("^pib", "producte interior brut"),
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
    return classify(raw, "SECTOR_label", _SECTORS, into="sector_id").with_columns(
        quarter_id=period_id("time", "Q"),
        price_basis=pl.col("table").replace_strict({CURRENT_PRICES: "current", VOLUME: "volume"}, default=None),
        measure=pl.col("metric").replace_strict(_MEASURES, default=None),
        observation_status=status_of("figure", "status"),
    )

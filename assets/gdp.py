"""GDP by quarter and sector: IDESCAT's quarterly accounts, at current prices and in volume. Weekly, some 5,000 rows."""

from __future__ import annotations

import polars as pl

from catalunya.assets.graph.spec import Landing, months, staging
from catalunya.assets.making.expressions import period_id, status_of
from catalunya.contracts.gdp import Gdp, RawGdp
from catalunya.io.sources.dimensions import by
from catalunya.io.sources.idescat import Idescat

CURRENT_PRICES, VOLUME = "pibt/21129/24938/cat", "pibt/21130/24940/cat"

# By words of their labels: codes are not known, and change with each statistical revision. The first that fits.
_SECTORS = {
    "net_taxes_on_products": ["impostos", "impost"],
    "gross_value_added": ["valor afegit", "^vab"],
    "agriculture": ["agricultura"],
    "industry": ["indústria", "indústries"],
    "construction": ["construcció"],
    "trade_transport_hospitality": ["comerç"],
    "real_estate_professional_other": ["immobiliàries"],
    "public_education_health": ["adm pública", "administració pública"],
    "services": ["^serveis", "^total serveis"],
    "gdp": ["^pib", "producte interior brut"],
}
_MEASURES = {
    "quarterly_change": ["intertrimestral"],
    "yearly_change": ["interanual"],
    "index": ["índex"],
    "value": ["milions d'euros", "^value"],
}

landing = Landing(
    "gdp",
    source=Idescat(
        CURRENT_PRICES,
        VOLUME,
        # Their ids and codes are not known: they are found by role, name and label. `catalunya sources check` compares.
        dimensions={
            "SECTOR": by("sector", "branca", "activitat", "component", labels=_SECTORS),
            "metric": by(labels=_MEASURES, only="value"),
        },
    ),
    contract=RawGdp,
    schedule="0 3 * * 1",
)


@staging(landing, contract=Gdp, keep=months(3))
def gdp(raw: pl.LazyFrame) -> pl.LazyFrame:
    """One row per figure."""
    return raw.with_columns(
        quarter_id=period_id("time", "Q"),
        price_basis=pl.col("table").replace_strict({CURRENT_PRICES: "current", VOLUME: "volume"}, default=None),
        observation_status=status_of("figure", "status"),
    )

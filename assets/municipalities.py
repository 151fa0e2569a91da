"""The municipalities of Catalonia, with their comarca and position. Weekly, 947 rows."""

from __future__ import annotations

import polars as pl

from catalunya.assets.graph.spec import Landing, months, staging
from catalunya.contracts.municipalities import Municipalities, RawMunicipalities
from catalunya.io.sources.socrata import Socrata

# 999998 "No consta" (unknown) and 999999 "Altres/Diversos" (other) are statistical codes, not municipalities.
_JUNK_PREFIX = "9999"

landing = Landing(
    "municipalities",
    source=Socrata("9aju-tpwc", key=("codi",)),
    contract=RawMunicipalities,
    schedule="0 4 * * 1",
)


@staging(landing, contract=Municipalities, keep=months(3))
def municipalities(raw: pl.LazyFrame) -> pl.LazyFrame:
    """Drop the statistical codes; the province is the first two digits of the code."""
    real = raw.filter(~pl.col("municipality_id").str.starts_with(_JUNK_PREFIX).fill_null(value=False))
    return real.with_columns(province_id=pl.col("municipality_id").str.slice(0, 2))

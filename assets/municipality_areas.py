"""Area of each municipality: IDESCAT's "El municipi en xifres", one request for all 947. Weekly."""

from __future__ import annotations

import polars as pl

from catalunya.assets.graph.spec import Landing, months, staging
from catalunya.assets.municipalities import municipalities
from catalunya.contracts.municipality_areas import MunicipalityAreas, RawMunicipalityAreas
from catalunya.io.sources.emex import Emex

landing = Landing(
    "municipality_areas",
    source=Emex("f271", label="Superfície", unit="km²"),
    contract=RawMunicipalityAreas,
    schedule="30 4 * * 1",
)


@staging(landing, contract=MunicipalityAreas, reads=[municipalities], keep=months(3))
def municipality_areas(raw: pl.LazyFrame, municipalities: pl.LazyFrame) -> pl.LazyFrame:  # noqa: ARG001  for the reference
    """The reference may say more than the year: `2023 (p)`."""
    return raw.with_columns(reference_year=pl.col("reference").str.extract(r"^((?:19|20)\d{2})\b", 1))

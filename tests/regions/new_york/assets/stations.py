"""The subway stations of New York City. Weekly, some 500 rows."""

from __future__ import annotations

import polars as pl

from catalunya.assets.graph.spec import Landing, staging
from catalunya.io.sources.socrata import Socrata
from new_york.contracts.stations import RawStations, Stations

landing = Landing(
    "stations",
    source=Socrata("39hk-dx4f", key=("gtfs_stop_id",)),
    contract=RawStations,
    schedule="0 6 * * 1",
)


@staging(landing, contract=Stations)
def stations(raw: pl.LazyFrame) -> pl.LazyFrame:
    """Nothing to add: the contract declares names and types."""
    return raw

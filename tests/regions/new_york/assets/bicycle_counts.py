"""Cyclists that pass the counters of New York City, every 15 minutes. Daily; the portal of the city, not of the state."""

from __future__ import annotations

import polars as pl

from catalunya.assets.graph.spec import Landing, staging
from catalunya.io.sources.socrata import Socrata
from new_york.contracts.bicycle_counts import BicycleCounts, RawBicycleCounts

landing = Landing(
    "bicycle_counts",
    source=Socrata("uczf-rk3c", key=("countid",), portal="https://data.cityofnewyork.us"),
    contract=RawBicycleCounts,
    schedule="0 7 * * *",
)


@staging(landing, contract=BicycleCounts)
def bicycle_counts(raw: pl.LazyFrame) -> pl.LazyFrame:
    """Nothing to add: the contract declares names and types."""
    return raw

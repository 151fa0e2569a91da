"""Users of day centers and residences for the elderly, by comarca, sex and year. Weekly, some 420 rows."""

from __future__ import annotations

import polars as pl

from catalunya.assets.graph.spec import Landing, months, staging
from catalunya.contracts.service_usage import RawServiceUsage, ServiceUsage
from catalunya.io.sources.socrata import Socrata

landing = Landing(
    "service_usage",
    source=Socrata("yavr-pn8q", key=("any", "codi"), period="any"),
    contract=RawServiceUsage,
    schedule="0 4 * * 1",
)


@staging(landing, contract=ServiceUsage, keep=months(3))
def service_usage(raw: pl.LazyFrame) -> pl.LazyFrame:
    """Nothing to add: the contract declares names, types and totals."""
    return raw

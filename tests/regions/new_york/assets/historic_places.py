"""The National Register of Historic Places in New York State: a file at a URL. Weekly, some 5,600 rows."""

from __future__ import annotations

import polars as pl

from catalunya.assets.graph.spec import Landing, staging
from catalunya.io.sources.files import File
from new_york.contracts.historic_places import HistoricPlaces, RawHistoricPlaces

REPOSITORY = "https://raw.githubusercontent.com/ml242/nys/45b6f79f33c5c53e7eef59c1e0a9f4709a67a7ee"

landing = Landing(
    "historic_places",
    source=File(
        f"{REPOSITORY}/data/National_Register_of_Historic_Places.csv",
        delimiter=";",
        header=False,
        names=("name", "county", "listed", "number", "longitude", "latitude"),
    ),
    contract=RawHistoricPlaces,
    schedule="0 8 * * 1",
)


@staging(landing, contract=HistoricPlaces)
def historic_places(raw: pl.LazyFrame) -> pl.LazyFrame:
    """Nothing to add: the contract declares names, types and how a day is written."""
    return raw

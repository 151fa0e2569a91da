"""Contracts of the marts: one class per dbt model."""

from __future__ import annotations

from catalunya.contracts.model.contract import Contract, column
from new_york.contracts.stations import BOROUGHS


class DimBoroughs(Contract, max_shrink=0.0):
    """The boroughs of New York City, each with its stations and historic places."""

    borough_id: str = column("Borough: `M`, `Bk`, `Q`, `Bx` or `SI`", key=True, isin=BOROUGHS)
    borough_name: str = column("Name of the borough")
    county_name: str = column("The county that the borough is")
    stations: int = column("Stations in the borough", ge=0)
    accessible_stations: int = column("Stations that are fully accessible", ge=0)
    historic_places: int = column("Historic places in the county, by number of the register", ge=0)
    accessible_pct: float = column("Their share", unit="%", nullable=True, ge=0, le=100)

"""Contracts of the historic places: a file without a header, whose columns an earlier version of it names."""

from __future__ import annotations

from datetime import date

from catalunya.contracts.model.contract import Contract, LandingContract, column, raw


class RawHistoricPlaces(LandingContract):
    """National Register of Historic Places, as the file has it."""

    name: str = raw("Resource Name", required=True)
    county: str = raw("County", required=True)
    listed: str = raw("National Register Date, as month/day/year", required=True)
    number: str = raw("National Register Number", required=True)
    longitude: str = raw("Longitude", required=True)
    latitude: str = raw("Latitude", required=True)


class HistoricPlaces(Contract, date="%m/%d/%Y", tolerate=0.001):  # one place of 5,599 rows has two dates
    """Historic places by part: a district, a canal or a road has one number, and a row for each of its parts."""

    place_id: str = column(
        "National Register number", source=RawHistoricPlaces.number, key=True, str_matches=r"^\d{2}NR\d{5}$"
    )
    longitude_deg: float = column(
        "Longitude, WGS 84", source=RawHistoricPlaces.longitude, key=True, unit="deg", ge=-80.0, le=-71.0
    )
    latitude_deg: float = column(
        "Latitude, WGS 84", source=RawHistoricPlaces.latitude, key=True, unit="deg", ge=40.0, le=45.1
    )
    place_name: str = column("Name of the place", source=RawHistoricPlaces.name)
    county_name: str = column("County", source=RawHistoricPlaces.county)
    listed_date: date = column("Day on which it was listed", source=RawHistoricPlaces.listed)

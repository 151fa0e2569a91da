"""Contracts of the stations source: data.ny.gov `39hk-dx4f`, MTA Subway Stations."""

from __future__ import annotations

from catalunya.contracts.model.contract import Contract, LandingContract, column, raw

BOROUGHS = ["Bk", "Bx", "M", "Q", "SI"]


class RawStations(LandingContract):
    """MTA Subway Stations as the portal publishes it."""

    gtfs_stop_id: str = raw("The ID used for the station in the General Transit Feed Specification", required=True)
    station_id: str = raw("The Station Master Reference Number", kind="number")
    complex_id: str = raw("The Complex Master Reference Number", kind="number")
    division: str = raw("The division of the subway system: IRT, BMT, IND or SIR")
    line: str = raw("The line the station is on")
    stop_name: str = raw("The name of the station", required=True)
    borough: str = raw("The borough the station is in", required=True)
    cbd: str = raw("Whether the station is in Manhattan's Central Business District")
    daytime_routes: str = raw("The routes that serve the station on weekdays")
    structure: str = raw("The type of structure the station is on or in")
    gtfs_latitude: str = raw("The latitude of the station's centroid", kind="number")
    gtfs_longitude: str = raw("The longitude of the station's centroid", kind="number")
    north_direction_label: str = raw("The northbound direction")
    south_direction_label: str = raw("The southbound direction")
    ada: str = raw("Accessibility: 0 none, 1 full, 2 partial", required=True)
    ada_northbound: str = raw("Accessibility in the northbound direction")
    ada_southbound: str = raw("Accessibility in the southbound direction")
    ada_notes: str = raw("Notes on accessibility")
    georeference: str = raw("The position as a GeoJSON point", kind="point")


class Stations(Contract, max_shrink=0.05):
    """The stations of the subway and the Staten Island Railway. `station_id` of the portal is not unique; the GTFS stop is."""

    station_id: str = column("GTFS stop", source=RawStations.gtfs_stop_id, key=True, str_matches=r"^[A-Z0-9]+$")
    station_name: str = column("Name of the station", source=RawStations.stop_name)
    line_name: str = column("Line the station is on", source=RawStations.line, nullable=True)
    borough_id: str = column("Borough: `M`, `Bk`, `Q`, `Bx` or `SI`", source=RawStations.borough, isin=BOROUGHS)
    routes: str = column(
        "Routes that serve it on weekdays, with a space between", source=RawStations.daytime_routes, nullable=True
    )
    accessibility_id: int = column("ADA: 0 none, 1 full, 2 partial", source=RawStations.ada, ge=0, le=2)
    latitude_deg: float = column("Latitude, WGS 84", source=RawStations.gtfs_latitude, unit="deg", ge=40.4, le=41.0)
    longitude_deg: float = column(
        "Longitude, WGS 84", source=RawStations.gtfs_longitude, unit="deg", ge=-74.3, le=-73.6
    )

"""Contracts of the bicycle counts: data.cityofnewyork.us `uczf-rk3c`, Bicycle Counts."""

from __future__ import annotations

from datetime import datetime

from catalunya.contracts.model.contract import Contract, LandingContract, column, raw


class RawBicycleCounts(LandingContract):
    """Bicycle Counts as the portal publishes it. It describes none of its columns."""

    countid: str = raw("Number of the count", kind="number", required=True)
    id: str = raw("Number of the counter, as in the portal's Bicycle Counters", kind="number", required=True)
    date: str = raw("When the 15 minutes began, UTC", kind="calendar_date", required=True)
    counts: str = raw("Cyclists", kind="number")
    status: str = raw("Status of the count", kind="number")


class BicycleCounts(Contract):
    """Cyclists by counter and quarter of an hour. What the status means is not documented; it is kept as it is."""

    count_id: int = column("Number of the count", source=RawBicycleCounts.countid, key=True)
    counter_id: str = column("Number of the counter", source=RawBicycleCounts.id, str_matches=r"^\d+$")
    counted_at: datetime = column("When the 15 minutes began, UTC", source=RawBicycleCounts.date)
    cyclists: int = column("Cyclists that passed", source=RawBicycleCounts.counts, nullable=True, ge=0)
    status_id: int = column("Status of the count", source=RawBicycleCounts.status, nullable=True)

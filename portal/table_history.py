"""How a table has been made so far: rows, rows set apart, duration and drift of its last materializations.

Here: these numbers, from the ledger's index. Not here: how they are drawn (`charts.py`), the index (`assets/record/index.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from catalunya.portal.site import Site

_COLUMNS = ("sequence", "status", "recorded_at", "rows", "quarantined", "seconds", "drift")


@dataclass(frozen=True, slots=True)
class Materialization:
    """One attempt to make the table. Of one that failed, rows and what was set apart say nothing."""

    sequence: int
    status: str
    recorded_at: datetime
    rows: int
    quarantined: int
    seconds: float
    drift: str

    @property
    def has_failed(self) -> bool:
        return self.status == "failed"


def materializations(site: Site, key: str) -> list[Materialization]:
    """The last attempts, oldest first: those that the index has. One that found nothing new made nothing, and is left out."""
    rows = site.index.history(key).filter(pl.col("status") != "unchanged").sort("sequence")
    return [Materialization(*row) for row in rows.select(_COLUMNS).iter_rows()]

"""What is asked of `materialize`, what comes back, and the progress events in between.

Here: plain data that callers use (CLI, Airflow task, Lambda handler, tests), and the outcome of a run that is repeated. Not here: what
makers are given (`maker.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from catalunya.assets.record.ledger import Entry, Ledger
from catalunya.io.periods import Window

Step = Literal["leased", "producing", "produced", "publishing", "published", "recorded", "cleaned"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """How one asset is to be made.

    - `force`: make it even if it is up to date.
    - `accept_change`: accept that the table changed more than its guards allow.
    - `replay`: pass the quarantined rows through the staging function again.
    - `full_refresh`: build an incremental mart from scratch.
    - `window`: read only these periods from the source of a landing asset (a backfill).
    - `ends_at`: stop by this time.monotonic(). The next extraction resumes from the pages landed by then; a staging table starts over.
    """

    force: bool = False
    accept_change: bool = False
    replay: bool = False
    full_refresh: bool = False
    window: Window | None = None
    correlation_id: str | None = None
    run_id: str | None = None
    now: datetime | None = None
    ends_at: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result: `skipped` (up to date) and `deferred` (an upstream comes first) wrote nothing."""

    asset: str
    status: Literal["materialized", "skipped", "deferred"]
    why: str
    entry: Entry | None = None


def made_by(ledger: Ledger, key: str, run_id: str) -> Entry | None:
    """The entry that this run recorded for the asset before, if it is the last one: Lambda delivers events twice, and callers try again."""
    last = ledger.last_attempt(key)
    return last if last and last.is_made and last.run_id == run_id else None


def as_before(made: Entry) -> Outcome:
    """The outcome of a run that recorded this entry before."""
    if made.status == "unchanged":
        return Outcome(made.asset, "skipped", "the source has a new version with the same content", made)
    return Outcome(made.asset, "materialized", f"already made by this run ({made.reason})", made)


@dataclass(frozen=True, slots=True)
class ProgressEvent:
    """One step of a materialization as it happens: `done` of `total` rows or objects, where they are counted."""

    asset: str
    step: Step
    done: int = 0
    total: int = 0


Observer = Callable[[ProgressEvent], None]

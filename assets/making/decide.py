"""Whether an asset is to be made now, and why: the ledger's word, and for a landing asset its source's.

Here: what is asked for, and what comes of it before anything is made. Nothing is touched. Not here: the rules of staleness
(`plan.py`), the making (`materialize.py`), the early pages of a large source (`parts.py`), which asks the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from catalunya.assets.graph.spec import Asset, Layer
from catalunya.assets.making.produce import ask_source
from catalunya.assets.record.ledger import Entry
from catalunya.assets.record.project import Project
from catalunya.assets.record.state import Reason, Stale, State
from catalunya.io.errors import BackfillBlocked, UsageError
from catalunya.io.periods import Window

if TYPE_CHECKING:
    from catalunya.io.sources.base import SourceState


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """How one asset is to be made.

    `force` makes it though nothing changed; `accept_shrink` waives its shrink guard; `replay` takes the rows in
    quarantine through the staging function again; `full_refresh` forgets an incremental mart's past; `window` reads those
    periods of a landing asset's source again, and no others (a backfill); `ends_at`, by time.monotonic(), is when an extraction
    or a staging table has to have stopped: what an extraction landed by then, the next one goes on from.
    """

    force: bool = False
    accept_shrink: bool = False
    replay: bool = False
    full_refresh: bool = False
    window: Window | None = None
    correlation_id: str | None = None
    run_id: str | None = None
    now: datetime | None = None
    ends_at: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it: `skipped` (nothing new) and `deferred` (an upstream comes first) wrote nothing."""

    asset: str
    status: Literal["materialized", "skipped", "deferred"]
    why: str
    entry: Entry | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """Why to make it, or what came of it without; and what its source said of itself, where that was asked."""

    what: Stale | Outcome
    source_state: SourceState | None = None


def decide(project: Project, asset: Asset, state: State, request: Request) -> Decision:
    """Why the asset is to be made now, or why not. One request to its source, where only that can know.

    Raises UsageError for what cannot be asked of it, BackfillBlocked, and what asking the source raises.
    """
    latest = state.latest(asset.key)
    if request.window:
        return Decision(_of_backfill(asset, state, request.window))
    if request.replay:
        return Decision(_of_replay(asset, latest))
    source_state = None
    stale = Stale(asset.key, Reason.FORCED, "asked for with force") if request.force else state.stale(asset.key)
    if stale is None and asset.layer is Layer.LANDING:
        source_state = ask_source(project, asset, state, ends_at=request.ends_at)
        if source_state:
            stale = Stale(asset.key, Reason.DATA, f"the source is at {source_state.version}")
    if stale is None:
        return Decision(Outcome(asset.key, "skipped", "up to date", latest))
    waits = state.lacks(asset.key) if request.force else state.waits_for(asset.key)
    return Decision(Outcome(asset.key, "deferred", waits, latest) if waits else stale, source_state)


def _of_replay(asset: Asset, latest: Entry | None) -> Stale | Outcome:
    if asset.layer is not Layer.STAGING or latest is None:
        raise UsageError(
            f"{asset.key}: expected a staging table that was made, for its quarantine to be replayed; `catalunya status` shows which were"
        )
    if not latest.quarantine:
        return Outcome(asset.key, "skipped", "no rows are in quarantine", latest)
    return Stale(asset.key, Reason.FORCED, "quarantined rows are replayed")


def _of_backfill(asset: Asset, state: State, window: Window) -> Stale:
    key = asset.key
    if not asset.has_periods:
        raise UsageError(
            f"{key}: expected a landing asset whose source can be asked by period, to read it again {window}; this one cannot. "
            f"`catalunya materialize {key} --force` reads it whole"
        )
    first = state.blocks_backfill(key, window)
    if first:
        raise BackfillBlocked(
            f"{key}: {first[0].key} has to be made first ({first[0].reason}: {first[0].why}), from a batch that a backfill "
            f"would hide; `catalunya materialize +{first[0].key}`, then try again"
        )
    return Stale(key, Reason.BACKFILL, f"{window} was asked for")

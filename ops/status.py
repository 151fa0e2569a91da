"""The status of every asset as plain data: fresh, stale and why, failed, overdue, running. No table is read.

Here: what monitoring and the CLI show. Not here: the rules of staleness (`assets/record/state.py`), showing it (`commands/looking.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from catalunya.assets.graph.spec import Asset, Layer
from catalunya.assets.record.failing import Acknowledgement, acknowledged, failing
from catalunya.assets.record.lease import UNKNOWN
from catalunya.assets.record.source_checks import kept
from catalunya.assets.record.state import Reason
from catalunya.io.errors import LakeError
from catalunya.io.log import get_logger
from catalunya.ops.watching.findings import Kind

if TYPE_CHECKING:
    from catalunya.assets.record.project import Project
    from catalunya.assets.record.state import State
    from catalunya.ops.watching.findings import Board

log = get_logger(__name__)

_SAID_BY_STATE = {
    Kind.TABLE_FAILED,
    Kind.TABLE_STALE,
    Kind.SOURCE_DOWN,
    Kind.SOURCE_MISMATCH,
    Kind.LEDGER_UNREADABLE,
}
"""What a state, its reason or its source's problem says already, and sooner than a look."""

Condition = Literal["fresh", "stale", "missing", "failed", "running", "unreadable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetStatus:
    """One asset now. Times are UTC; `overdue_hours` is how much older than its freshness the source's last update is.

    `source_problem` is what the last check of its source found, if it has not been landed since; `in_use` the alternative source that it
    is read from; `without` are the optional tables that
    its table, or one that it was made from, was made without. Of a failed asset, `transient` says
    whether the failure passes, `next_try_at` when it is then tried again, and `acknowledged` who knows of it. `findings` is what the last
    look of the watch found that the ledger's state does not say: a paused DAG, say, or unusually few rows.
    """

    asset: str
    state: Condition
    why: str
    rows: int | None
    bytes: int | None
    last_run_at: datetime | None
    last_status: str | None
    source_updated_at: datetime | None
    freshness_hours: float | None
    overdue_hours: float | None
    quarantined: int
    warnings: tuple[str, ...]
    sequence: int | None
    without: tuple[str, ...] = ()
    transient: bool | None = None
    next_try_at: datetime | None = None
    acknowledged: Acknowledgement | None = None
    source_problem: str = ""
    in_use: str = ""
    findings: tuple[str, ...] = ()

    @property
    def is_fine(self) -> bool:
        """Whether it needs no attention: fresh, running, or failed and acknowledged; not overdue, and its source as declared."""
        is_known = self.state in ("fresh", "running") or self.acknowledged is not None
        return is_known and self.overdue_hours is None and not self.source_problem


def statuses(state: State, assets: Iterable[Asset], board: Board | None = None) -> list[AssetStatus]:
    """The state of the assets, in their order, with what the watch found. One whose ledger cannot be read is `unreadable`."""
    chosen = list(assets)
    found: dict[str, tuple[str, ...]] = {}
    for each in board.open if board else ():
        if each.kind not in _SAID_BY_STATE:
            found[each.subject] = (*found.get(each.subject, ()), each.what)
    with ThreadPoolExecutor(8) as pool:  # a ledger on S3 answers in tens of milliseconds a request
        list(pool.map(state.unreadable, {key for asset in chosen for key in (asset.key, *asset.upstream)}))
        problems = list(pool.map(lambda asset: _source_problem(state, asset), chosen))
    running = _running(state, chosen)
    read = zip(chosen, map(running.get, (asset.key for asset in chosen)), problems, strict=True)
    return [
        replace(_status(state, asset, run_id, problem), findings=found.get(asset.key, ()))
        for asset, run_id, problem in read
    ]


def site_row(project: Project, state: State, board: Board) -> AssetStatus:
    """The public pages as one more row, as far as their tables tell. Raises LakeError."""
    from catalunya.portal.making import KEY, brief_status

    found = brief_status(project, state, board)
    return AssetStatus(
        asset=KEY,
        state=found.state,
        why=found.why,
        rows=None,
        bytes=found.bytes,
        last_run_at=found.last.at if found.last else found.built.built_at if found.built else None,
        last_status=("failed" if found.last.error else "materialized") if found.last else None,
        source_updated_at=None,
        freshness_hours=None,
        overdue_hours=None,
        quarantined=0,
        warnings=(),
        sequence=None,
        transient=True if found.state == "failed" else None,
        next_try_at=found.last.next_try if found.last and found.last.error else None,
        findings=tuple(each.what for each in board.open if each.subject == KEY),
    )


def brief_statuses(state: State, assets: Iterable[Asset]) -> list[AssetStatus]:
    """The same for many assets, without a request for each: the results of the last checks of their sources are left out. Raises LakeError."""
    running = _running(state, assets := list(assets))
    return [_status(state, asset, running.get(asset.key), "") for asset in assets]


def log_left_alone(state: State, assets: Iterable[Asset], *, triggered: Collection[str]) -> None:
    """Log `left_alone` for each asset that stands failed, or is stale and not `triggered` now: why, and since when.

    For people who read the log of `ops.reconcile`; alarms follow from the findings of the watch. A failure that passes is `tolerated` at
    first, one that was acknowledged and waiting for an upstream always.
    """
    for asset in assets:
        failed = failing(state, asset.key)
        if failed is None and (asset.key in triggered or state.stale(asset.key) is None):
            continue
        known = acknowledged(state.ledger.lake, failed) if failed else None
        why = state.held_back(asset.key) or "a run of it is queued or running"
        if asset.key in triggered and failed:
            why = f"its last attempt failed, and it is tried again now: {failed.error}"
        is_tolerated = failed is None or failed.passes or known is not None
        log.log(
            logging.INFO if is_tolerated else logging.WARNING,
            "left_alone",
            asset=asset.key,
            why=f"{why} ({known.text})" if known else why,
            since=failed.since if failed else None,
            tolerated=is_tolerated,
        )


def _status(state: State, asset: Asset, running: str | None, source_problem: str) -> AssetStatus:
    latest = state.known(asset.key)
    attempt = None if state.unreadable(asset.key) else state.last_attempt(asset.key)
    updated = latest.source_updated_at if latest else None
    for up in state.graph.upstream(asset.key) if asset.layer is Layer.STAGING else ():
        landed = state.known(up.key)
        updated = updated or (landed.source_updated_at if landed and up.layer is Layer.LANDING else None)
    condition, why = _condition(state, asset, running)
    failure = state.failure(asset.key) if condition == "failed" else None
    failed = failing(state, asset.key) if condition in ("failed", "unreadable") else None
    return AssetStatus(
        asset=asset.key,
        state=condition,
        why=why,
        rows=latest.rows if latest else None,
        bytes=latest.bytes if latest else None,
        last_run_at=attempt.started_at if attempt else None,
        last_status=attempt.status if attempt else None,
        source_updated_at=updated,
        freshness_hours=asset.freshness.hours if asset.freshness else None,
        overdue_hours=_overdue(asset, updated, state.now),
        quarantined=latest.quarantined if latest else 0,
        warnings=tuple(dict.fromkeys(note for entry in (latest, failure) if entry for note in entry.warnings)),
        sequence=attempt.sequence if attempt else None,
        without=tuple(state.without(asset.key)),
        transient=failure.transient if failure else None,
        next_try_at=state.next_try(asset.key) if failure else None,
        acknowledged=acknowledged(state.ledger.lake, failed) if failed else None,
        source_problem=source_problem,
        in_use=asset.in_use or "",
    )


def _running(state: State, assets: Iterable[Asset]) -> dict[str, str]:
    """The runs that are making these assets now: by one listing, unless the folder of some asset cannot be listed."""
    try:
        held = state.holders()
    except LakeError:
        held = {asset.key: who for asset in assets if (who := state.holder(asset.key))}
    return {key: who.run_id for key, who in held.items()}


def _source_problem(state: State, asset: Asset) -> str:
    """What the last check found, unless the table was landed, or another source declared, since then."""
    if asset.layer is not Layer.LANDING:
        return ""
    latest = state.known(asset.key)
    try:
        check = kept(state.ledger.lake, asset.key)
    except LakeError as error:  # the rest of its status can be read
        return f"the last check of its source cannot be read: {error}"
    if check is None or check.source != asset.source or (latest and latest.recorded_at > check.at):
        return ""
    return check.text


def _condition(state: State, asset: Asset, running: str | None) -> tuple[Condition, str]:
    if unreadable := state.unreadable(asset.key):
        return "unreadable", unreadable
    if running:
        return "running", "its lease cannot be read, and ends by itself" if running == UNKNOWN else f"in run {running}"
    failed, stale = state.failure(asset.key), state.stale(asset.key)
    if failed:
        error = failed.error or "its last attempt failed"
        if not failed.transient:
            # The source is asked again on schedule, whatever the failure was.
            until = "its next scheduled run" if asset.schedule else "its inputs or its code change"
            return "failed", f"until {until}: {error}"
        times = f", failed {failed.failures} times in a row" if failed.failures > 1 else ""
        return "failed", f"next try at {state.next_try(asset.key):%Y-%m-%d %H:%M} UTC{times}: {error}"
    if stale is None:
        return "fresh", ""
    return ("missing", stale.why) if stale.reason is Reason.MISSING else ("stale", f"{stale.reason}: {stale.why}")


def _overdue(asset: Asset, updated: datetime | None, now: datetime) -> float | None:
    if asset.freshness is None or updated is None:
        return None
    late = now - updated - timedelta(hours=asset.freshness.hours)
    return round(late.total_seconds() / 3600, 1) if late > timedelta(0) else None

"""One look at the pipeline: what is wrong, what did not happen, and what has changed since the look before.

`ops.watch` takes one every ten minutes, and `catalunya watch` takes one now. A look that cannot see something (Airflow does not answer) says so and
leaves the findings of that kind as they are. Here: the order of things. Not here: what is looked at (`tables.py`, `airflow.py`,
`machine.py`), the life of a finding (`findings.py`).
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from catalunya.assets.record.index import Index, keep_index, read_index
from catalunya.assets.record.project import Project
from catalunya.assets.record.state import State
from catalunya.io.errors import AirflowError, CatalunyaError
from catalunya.io.log import get_logger
from catalunya.ops.backup.airflow import client
from catalunya.ops.watching import airflow
from catalunya.ops.watching.findings import (
    SILENT,
    Board,
    Changes,
    Kind,
    Seen,
    Severity,
    keep_board,
    read_dated_board,
    updated,
)
from catalunya.ops.watching.freshness import expectations
from catalunya.ops.watching.machine import SKEW, one_per_disk, see_backups, see_clock, see_disks
from catalunya.ops.watching.metrics import report
from catalunya.ops.watching.notify import Notified, notify, read_notified, see_channels
from catalunya.ops.watching.pages import see_pages
from catalunya.ops.watching.tables import Tables

log = get_logger(__name__)

EVERY = timedelta(minutes=10)
QUIET = 2 * EVERY
"""If nothing changed, the board is kept at every second look: writing is what a look costs most on S3."""
THOROUGH = timedelta(hours=1)
"""How often a look looks at what changes rarely: backups, the public pages, and the results of the weekly check of the sources."""
_RARE = (Kind.BACKUP_OLD, Kind.PAGES_OLD, Kind.SOURCE_MISMATCH, Kind.CONTRACT_BREAKING)


@dataclass(frozen=True, slots=True)
class Look:
    """What one look found: how things are now, and what has changed. `blind`: why Airflow could not be asked, if so.
    `before`, `notified`: the board and what the channels were sent, as it found them."""

    board: Board
    changes: Changes
    index: Index
    state: State
    blind: str = ""
    before: Board = field(default_factory=Board)
    notified: Notified = field(default_factory=Notified)


def look(project: Project, now: datetime) -> Look:
    """Take a look; nothing is written. Raises LakeError, and ConfigurationError for a policy that is wrong."""
    board, written = read_dated_board(project.lake)
    index = read_index(project.ledger, [asset.key for asset in project.graph])
    state = project.state(now, index.listing)
    tables = Tables(state, index, expectations(project.graph, index.rows), board.stale_since)
    gap = list(_gap(board, now))
    seen: list[Seen] = [*tables.seen(), *see_disks(project), *see_clock(board, written), *gap]
    notified = read_notified(project) if project.settings.channels else Notified()
    seen += see_channels(project.settings, notified, now)
    # While nothing watched, nothing else ran on schedule either, and it has only just been triggered: the next look can tell.
    slept = any(each.kind is Kind.WATCH_SILENT for each in gap)
    unseen: list[Kind] = [*airflow.CLOCKED] if slept else []
    is_thorough = board.thorough_at is None or not timedelta() <= now - board.thorough_at < THOROUGH
    if is_thorough:
        seen += [*tables.checks(), *see_backups(project, now), *see_pages(project, state)]
    else:
        unseen += _RARE
    blind = "CATALUNYA_AIRFLOW_URL is not set" if not project.settings.airflow_url else ""
    try:
        seen += _see_airflow(project, state, clocks=project.settings.clocks and not slept) if not blind else []
    except AirflowError as error:
        blind = str(error)
        seen.append(_no_answer(blind))
    after, changes = updated(board, one_per_disk(seen), now, blind=[*unseen, *(airflow.KINDS if blind else ())])
    after = replace(after, stale_since=tables.still_stale(), thorough_at=now if is_thorough else board.thorough_at)
    return Look(after, changes, index, state, blind, board, notified)


def watch(project: Project, now: datetime) -> Look:
    """Take a look, keep what it found, log what has changed and that it looked, and notify.

    If it cannot be kept, as on a full disk, it is logged and notified all the same. Raises LakeError and ConfigurationError.
    """
    began = time.monotonic()
    found = look(project, now)
    unkept = _keep(project, found, now)
    _log_changes(project, found)
    opened = found.board.open
    # In AWS this line is the heartbeat, and `kinds` a metric for each (cdk/signals.py).
    log.info(
        "watched",
        open=len(opened),
        urgent=sum(each.is_urgent for each in opened),
        kinds=dict(Counter(each.kind.value for each in opened if not each.known)),
        tables=len(project.graph),
        seconds=round(time.monotonic() - began, 3),
        blind=found.blind,
    )
    report(project, found.state, found.board, time.monotonic() - began)
    notify(project, found.board, now, before=found.notified)
    if unkept:
        raise unkept
    return found


def _keep(project: Project, found: Look, now: datetime) -> CatalunyaError | None:
    """Keep what the look found where it differs; returns why that was not possible."""
    before = found.before
    is_news = found.changes != Changes() or found.board.stale_since != before.stale_since
    try:
        if is_news or before.at is None or not timedelta() <= now - before.at < QUIET:
            keep_board(project.lake, found.board)
        if found.index.new:
            keep_index(project.lake, found.index)
    except CatalunyaError as error:
        log.warning("board_not_kept", error=str(error), advice="what is found is logged again at the next look")
        return error
    return None


def _log_changes(project: Project, found: Look) -> None:
    changes = found.changes
    for event, findings in (("opened", changes.opened), ("worsened", changes.worsened), ("closed", changes.closed)):
        for each in findings:
            log.log(
                logging.ERROR if each.is_urgent and event != "closed" else logging.WARNING,
                f"finding_{event}",
                kind=each.kind,
                subject=each.subject,
                severity=each.severity,
                what=each.what,
                **({"asset": each.subject} if each.subject in project.graph else {}),
            )


def _see_airflow(project: Project, state: State, *, clocks: bool) -> list[Seen]:
    """What Airflow says is wrong. Raises AirflowError, also if something else answers in its place, such as a proxy with a page."""
    try:
        with client(project.settings) as api:
            return list(airflow.Watched(api, state, clocks).seen())
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise AirflowError(
            f"Airflow at {project.settings.airflow_url} answers with something else than is expected of its API "
            f"({type(error).__name__}: {error}); check CATALUNYA_AIRFLOW_URL, and what is between"
        ) from error


def _no_answer(why: str) -> Seen:
    return Seen(
        kind=Kind.PROCESS_SILENT,
        subject="api-server",
        severity=Severity.ERROR,
        what="Airflow's api-server does not answer, or refuses the watch",
        cause=why,
        remedy="restart it, or correct CATALUNYA_AIRFLOW_URL, CATALUNYA_AIRFLOW_USER and CATALUNYA_AIRFLOW_PASSWORD",
    )


def _gap(board: Board, now: datetime) -> Iterator[Seen]:
    """For how long nothing watched before this look, or that the clock was set back since the last."""
    if board.at is None:
        return
    if now - board.at > SILENT:
        hours = (now - board.at) / timedelta(hours=1)
        yield Seen(
            kind=Kind.WATCH_SILENT,
            subject="watch",
            severity=Severity.ERROR,
            what=f"nothing watched between {board.at:%Y-%m-%d %H:%M} and {now:%H:%M} UTC",
            cause="ops.watch did not run: the scheduler was stopped, its DAG is paused, or no worker took its task",
            remedy="check that Airflow's scheduler and workers run, and that ops.watch is not paused",
            since=board.at,
            measure=hours,
        )
    elif board.at - now > SKEW:
        yield Seen(
            kind=Kind.CLOCK_WRONG,
            subject="watch",
            severity=Severity.ERROR,
            what=f"the last look was {(board.at - now) / timedelta(minutes=1):.0f} min in the future",
            cause="the clock of this machine was set back, or that of the machine that looked was ahead",
            remedy="set the clock (`timedatectl status`)",
            measure=(board.at - now) / timedelta(hours=1),
        )

"""Findings: what is wrong, as data, from when it is first seen until it is gone.

A look at the pipeline (`look.py`) sees things: a source that is down, a table that is stale. What is seen for the first time opens a finding,
which has an identity (`source_down:landing.gdp`); while it is seen it stays open, and when it is not seen any more it is closed. It is reported again
only when it worsens. All of it is one object of the lake, the board, which the watch alone writes and everyone may read.
Not here: what is looked at (`look.py`), who is notified (`notify.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

import msgspec

from catalunya.assets.record.ledger import Time
from catalunya.io.json_text import BROKEN_JSON, json_decoder
from catalunya.io.lake import Lake
from catalunya.io.log import get_logger
from catalunya.io.safe_text import safe_text

log = get_logger(__name__)

FOLDER = "_watch"
"""Of the lake: what the watch keeps. The ledger's index and what channels were sent are in it, too."""
PATH = f"{FOLDER}/findings.json"
REMEMBERED = timedelta(days=30)
"""How long closed findings are kept."""
SILENT = timedelta(minutes=45)
"""So long without a look that was kept means that nothing watched."""
CALM = timedelta(hours=1)
"""A finding that is seen again within this time after it was closed is the same finding."""
WORSE = 2.0
"""A finding has worsened when its measure is this many times what it was when it was last reported."""
LARGEST = 1e12
Measure = Annotated[float, msgspec.Meta(ge=0, le=LARGEST)]


class Kind(StrEnum):
    """What can be wrong. docs/watching.md says what each means and what to do."""

    TABLE_FAILED = "table_failed"  # its last attempt failed
    TABLE_STALE = "table_stale"  # it is out of date for longer than allowed
    LEDGER_UNREADABLE = "ledger_unreadable"  # the record of a table cannot be read
    SOURCE_DOWN = "source_down"  # it does not answer, or refuses what is asked
    SOURCE_OVERDUE = "source_overdue"  # it answers, and has not been updated for longer than expected
    SOURCE_MISMATCH = "source_mismatch"  # by the weekly check, it is not what is declared
    SOURCE_NOT_ASKED = "source_not_asked"  # its landing table was not run on schedule
    DRIFT = "drift"  # it added, removed or retyped a field
    ROWS_UNUSUAL = "rows_unusual"  # a table has far more or fewer rows than it used to
    QUARANTINE_UNUSUAL = "quarantine_unusual"  # far more of its rows are refused than used to be
    CONTRACT_BREAKING = "contract_breaking"  # what readers of a table rely on is about to change
    DAG_PAUSED = "dag_paused"  # Airflow does not run it
    TASK_FAILED = "task_failed"  # a task failed that is no table's, or could not say so
    PROCESS_SILENT = "process_silent"  # a process of Airflow does not answer
    RECONCILE_SILENT = "reconcile_silent"  # nothing triggers what is stale
    WATCH_SILENT = "watch_silent"  # for a while, nothing watched
    BACKUP_OLD = "backup_old"  # the last backup is older than the recovery point objective
    PAGES_OLD = "pages_old"  # the public pages do not show the tables as they are
    CLOCK_WRONG = "clock_wrong"  # the clocks of this machine, the lake or another machine differ
    DISK_FULL = "disk_full"  # no space is left where tables are made
    CHANNEL_FAILING = "channel_failing"  # notifications do not arrive


class Severity(StrEnum):
    """Whether someone must do something: an error is what will not pass by itself, or has not for too long."""

    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one look saw.

    - `subject`: an asset key, a DAG id, a process, or "pipeline". With the kind, it is the finding's identity.
    - `what`: what is wrong, in one line. `cause`: why, if known. `remedy`: the command, or what to do.
    - `measure`: how bad it is, in a unit of its kind (hours, failed runs, a share in percent), so that it can be seen to worsen.
    - `affected`: the tables downstream.
    - `known`: who has acknowledged it, and why.
    """

    kind: Kind
    subject: str
    severity: Severity
    what: str
    cause: str = ""
    remedy: str
    since: Time | None = None
    measure: Measure = 0
    affected: tuple[str, ...] = ()
    known: str = ""

    @property
    def identity(self) -> str:
        """What makes it the same finding at the next look."""
        return f"{self.kind}:{self.subject}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding(Seen):
    """What is wrong, with its life. `worst` and `worst_severity` are what it was when it opened or last worsened; `reopened`: how often it was
    seen again soon after it had been closed.
    """

    opened_at: Time
    seen_at: Time
    worsened_at: Time | None = None
    closed_at: Time | None = None
    worst: Measure = 0
    worst_severity: Severity = Severity.WARNING
    reopened: int = 0

    @property
    def is_urgent(self) -> bool:
        """Whether someone must act: an error that no one has acknowledged."""
        return self.severity is Severity.ERROR and not self.known


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """A finding of a kind that this release does not know, as a newer one kept it (`content`)."""

    identity: str
    seen_at: datetime
    content: msgspec.Raw


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """All findings that are open, and those that were closed lately; `at`: when the last look was taken that kept it.

    `stale_since`: since when a table has been stale, as far as looks have seen. `thorough_at`: when the last look looked at what changes
    rarely too. `foreign`: what a newer release found, kept for it; it is not shown.
    """

    at: Time | None = None
    thorough_at: Time | None = None
    findings: tuple[Finding, ...] = ()
    stale_since: Mapping[str, Time] = field(default_factory=dict)
    foreign: tuple[Foreign, ...] = ()

    @property
    def open(self) -> tuple[Finding, ...]:
        """What is wrong now: errors first, then the oldest."""
        found = (each for each in self.findings if each.closed_at is None)
        return tuple(
            sorted(
                found,
                key=lambda each: (
                    not each.is_urgent,
                    each.severity is Severity.WARNING,
                    each.opened_at,
                    each.identity,
                ),
            )
        )

    def is_unsettled(self, identity: str, now: datetime) -> bool:
        """Whether a finding that is not open may be open again soon: it has come and gone before, and was closed a short time ago; or only a
        newer release can say.
        """
        came_and_went = any(
            each.identity == identity
            and each.reopened
            and each.closed_at
            and timedelta() <= now - each.closed_at < CALM
            for each in self.findings
        )
        return came_and_went or any(each.identity == identity for each in self.foreign)

    def of(self, asset: str) -> tuple[Finding, ...]:
        """The open findings about a table, or about one that it is made from."""
        return tuple(each for each in self.open if asset == each.subject or asset in each.affected)


@dataclass(frozen=True, slots=True)
class Changes:
    """What one look changed."""

    opened: tuple[Finding, ...] = ()
    worsened: tuple[Finding, ...] = ()
    closed: tuple[Finding, ...] = ()


def updated(board: Board, seen: Iterable[Seen], now: datetime, *, blind: Iterable[Kind] = ()) -> tuple[Board, Changes]:
    """The board after a look at `now`, and what changed. Of the `blind` kinds nothing could be seen: their findings stay as they are.

    What comes and goes at every look stays one finding.
    """
    found = {each.identity: each for each in map(_safe, seen)}
    unseen = frozenset(blind)
    before = {each.identity: each for each in board.findings if each.closed_at is None}
    lately = {each.identity: each for each in board.findings if each.closed_at and now - each.closed_at < CALM}
    opened = [_begun(each, now, lately.get(identity)) for identity, each in found.items() if identity not in before]
    worsened: list[Finding] = []
    kept: list[Finding] = []
    closed: list[Finding] = []
    for identity, old in before.items():
        if each := found.get(identity):
            is_worse = _is_worse(old, each)
            (worsened if is_worse else kept).append(_continued(old, each, now, is_worse=is_worse))
        elif old.kind in unseen:
            kept.append(old)
        else:
            closed.append(replace(old, closed_at=now))
    again = {each.identity for each in opened if each.reopened}
    past = [
        each
        for each in board.findings
        if each.closed_at
        and now - each.closed_at < REMEMBERED
        and not (each.identity in again and each is lately.get(each.identity))
    ]
    foreign = tuple(each for each in board.foreign if now - each.seen_at < REMEMBERED)
    after = replace(board, at=now, findings=(*opened, *worsened, *kept, *closed, *past), foreign=foreign)
    return after, Changes(tuple(opened), tuple(worsened), tuple(closed))


def read_board(lake: Lake) -> Board:
    """The board as the last look left it; an empty one if there is none, or none that can be read. Raises LakeError."""
    return read_dated_board(lake)[0]


def read_dated_board(lake: Lake) -> tuple[Board, datetime | None]:
    """The board, and when it was written by the lake's clock. A finding that cannot be read is left out. Raises LakeError."""
    content, written = lake.find_dated(PATH) or (b"{}", None)
    try:
        kept = json_decoder(_Kept).decode(content)
    except BROKEN_JSON as error:
        log.warning("board_unreadable", path=lake.url(PATH), error=str(error), advice="the next look begins a new one")
        return Board(), None
    found: list[Finding] = []
    foreign: list[Foreign] = []
    for raw in kept.findings:
        try:
            each = _read(raw)
        except BROKEN_JSON as error:
            log.warning("finding_unreadable", path=lake.url(PATH), error=str(error), advice="a look finds it again")
        else:
            found.append(each) if isinstance(each, Finding) else foreign.append(each)
    board = Board(
        at=kept.at,
        thorough_at=kept.thorough_at,
        findings=tuple(found),
        stale_since=kept.stale_since,
        foreign=tuple(foreign),
    )
    return board, written


def keep_board(lake: Lake, board: Board) -> None:
    """Keep it in place of the one before. Raises LakeError."""
    findings = [msgspec.Raw(msgspec.json.encode(each)) for each in board.findings]
    kept = _Kept(
        at=board.at,
        thorough_at=board.thorough_at,
        findings=(*findings, *(each.content for each in board.foreign)),
        stale_since=board.stale_since,
    )
    lake.put(PATH, msgspec.json.format(msgspec.json.encode(kept), indent=1))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """The board as it is kept: each finding is read by itself."""

    at: Time | None = None
    thorough_at: Time | None = None
    findings: tuple[msgspec.Raw, ...] = ()
    stale_since: Mapping[str, Time] = field(default_factory=dict)


_KNOWN = frozenset(kind.value for kind in Kind)


class _Stranger(msgspec.Struct):
    """What a finding of any release has."""

    kind: str
    subject: str
    seen_at: Time


def _read(raw: msgspec.Raw) -> Finding | Foreign:
    """One finding. Raises one of BROKEN_JSON for what is none, or one of a known kind that is not right."""
    any_kind = json_decoder(_Stranger).decode(raw)
    if any_kind.kind in _KNOWN:
        return json_decoder(Finding).decode(raw)
    return Foreign(identity=f"{any_kind.kind}:{any_kind.subject}", seen_at=any_kind.seen_at, content=raw.copy())


def _begun(seen: Seen, now: datetime, before: Finding | None) -> Finding:
    """A finding that is seen for the first time, or again (`before`: as it was closed)."""
    if before:
        again = _continued(before, seen, now, is_worse=True)
        return replace(again, worsened_at=before.worsened_at, reopened=before.reopened + 1)
    return Finding(**_values(seen), opened_at=now, seen_at=now, worst=seen.measure, worst_severity=seen.severity)


def _continued(old: Finding, seen: Seen, now: datetime, *, is_worse: bool) -> Finding:
    worst = Severity.ERROR if Severity.ERROR in (old.worst_severity, seen.severity) else Severity.WARNING
    return Finding(
        **_values(seen) | {"since": seen.since or old.since},
        opened_at=old.opened_at,
        seen_at=now,
        worsened_at=now if is_worse else old.worsened_at,
        worst=max(old.worst, seen.measure) if is_worse else old.worst,
        worst_severity=worst if is_worse else old.worst_severity,
        reopened=old.reopened,
    )


def _is_worse(old: Finding, seen: Seen) -> bool:
    """Whether it became an error, or its measure is a multiple of what it was when it was last reported."""
    became_error = seen.severity is Severity.ERROR and old.worst_severity is not Severity.ERROR
    return became_error or (old.worst > 0 and seen.measure >= WORSE * old.worst)


def _values(seen: Seen) -> dict[str, Any]:
    return {each.name: getattr(seen, each.name) for each in fields(Seen)}


def _safe(seen: Seen) -> Seen:
    """The same, safe to keep and to show: errors of sources and of Airflow may contain anything, and be as long as they like."""
    texts: dict[str, Any] = {
        name: safe_text(getattr(seen, name)) for name in ("subject", "what", "cause", "remedy", "known")
    }
    measure = 0.0 if math.isnan(seen.measure) else min(max(seen.measure, 0.0), LARGEST)
    return replace(seen, **texts, measure=measure)

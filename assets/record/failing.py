"""Tables that stand failed: what is wrong with them, since when, and whether someone has acknowledged it.

A failure stands until the table is made, or its inputs or code change; alarms count it until then, unless it is acknowledged. An
acknowledgement is one object beside the ledger (`_acknowledged/staging.gdp.json`) and holds for that failure only: for the same error since the
table was last made. Not here: what is stale and tried again (`state.py`), who sees it (`ops/status.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import msgspec

from catalunya.assets.record.ledger import Time
from catalunya.assets.record.state import State
from catalunya.io.errors import UsageError
from catalunya.io.json_text import BROKEN_JSON, json_decoder
from catalunya.io.lake import Lake
from catalunya.io.safe_text import safe_text

FOLDER = "_acknowledged"
REASON_CHARACTERS = 300
"""Of the reason of an acknowledgement: it stands in a line of `status`, and in the log every ten minutes."""
PATIENCE = 3
"""How many runs in a row may fail for a reason that passes before that needs attention. Each run tries several times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failing:
    """A table that stands failed or whose ledger cannot be read.

    `made` is the number of the entry that says what the table is (0: none). `passes`: it is tried again, and has not failed often yet.
    """

    asset: str
    error: str
    since: datetime | None
    made: int
    passes: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement:
    """Who knows of a failure, since when and why it may wait."""

    asset: str
    error: str
    made: int
    by: str
    at: Time
    reason: str = ""

    @property
    def text(self) -> str:
        """One line for people."""
        return f"acknowledged by {self.by} on {self.at:%Y-%m-%d}{self.reason and f': {self.reason}'}"


def failing(state: State, key: str) -> Failing | None:
    """What stands wrong with a table, or None."""
    if unreadable := state.unreadable(key):
        return Failing(asset=key, error=unreadable, since=None, made=0, passes=False)
    failure, latest = state.failure(key), state.latest(key)
    if failure is None:
        return None
    return Failing(
        asset=key,
        error=failure.error or "its last attempt failed",
        since=failure.recorded_at,
        made=latest.sequence if latest else 0,
        passes=failure.transient and failure.failures < PATIENCE,
    )


def acknowledged(lake: Lake, found: Failing) -> Acknowledgement | None:
    """The acknowledgement of this failure; None if there is none, or only one of another failure."""
    try:
        known = json_decoder(Acknowledgement).decode(lake.find(path(found.asset)) or b"")
    except BROKEN_JSON:
        return None
    return known if (known.error, known.made) == (found.error, found.made) else None


def acknowledge(state: State, key: str, *, by: str, reason: str = "") -> Acknowledgement:
    """Acknowledge the failure of a table. Raises UsageError if it has not failed, or if the reason is too long."""
    found = failing(state, key)
    if found is None:
        raise UsageError(
            f"{key}: expected a table whose last attempt failed, found none to acknowledge; `catalunya status` shows which failed"
        )
    if len(reason) > REASON_CHARACTERS:
        raise UsageError(f"--reason: expected at most {REASON_CHARACTERS} characters, found {len(reason):,}")
    reason = safe_text(reason)
    known = Acknowledgement(asset=key, error=found.error, made=found.made, by=by, at=state.now, reason=reason)
    state.ledger.lake.put(path(key), msgspec.json.format(msgspec.json.encode(known), indent=1))
    return known


def withdraw(lake: Lake, key: str) -> bool:
    """Delete the acknowledgement of a table. Returns whether there was one."""
    was_there = lake.exists(path(key))
    lake.delete([path(key)])
    return was_there


def path(key: str) -> str:
    """Where the acknowledgement of a table is in the lake."""
    return f"{FOLDER}/{key}.json"

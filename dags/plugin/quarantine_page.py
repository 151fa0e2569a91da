"""The quarantine browser: the rows of an asset that broke its contract, each with the reason, a page at a time.

Here: the content, as plain data; masking what is personal. Not here: how it looks (`templates/quarantine.html`), replaying the rows
(`catalunya quarantine --replay`).
"""

from __future__ import annotations

import re
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass

from catalunya.assets.graph.spec import Asset
from catalunya.assets.record.ledger import Entry
from catalunya.contracts.model.results import MASKED
from catalunya.dags.plugin.snapshot import Snapshot
from catalunya.io.errors import ObjectMissing, UsageError
from catalunya.io.safe_text import legible
from catalunya.ops.quarantine import REASON, kind_of, personal_columns, quarantined_rows

ROWS = 50
CELL = 200
"""Characters of a value that are shown."""
REASON_SHOWN = 400
KINDS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantinePage:
    """One page of quarantined rows. `kinds` are the reasons without their values, and how many rows have each."""

    asset: Asset
    entry: Entry | None
    is_of_failure: bool
    columns: list[str]
    masked: frozenset[str]
    rows: list[tuple[str, list[str | None]]]
    kinds: list[tuple[str, int]]
    kept: int
    page: int
    pages: int


def quarantine_page(snapshot: Snapshot, key: str, page: int = 1) -> QuarantinePage:
    """One page, counted from 1. Raises UsageError if there is no such asset or page, LakeError when the lake does not answer."""
    asset, state = snapshot.graph[key], snapshot.state
    entry, attempt = state.latest(key), state.last_attempt(key)
    is_of_failure = bool(attempt and attempt.status == "failed" and attempt.quarantine)
    entry = attempt if is_of_failure else entry
    frame = None
    with suppress(ObjectMissing):  # it has expired
        frame = quarantined_rows(snapshot.project.lake, entry) if entry else None
    if frame is None:
        return QuarantinePage(
            asset=asset,
            entry=entry,
            is_of_failure=is_of_failure,
            columns=[],
            masked=frozenset(),
            rows=[],
            kinds=[],
            kept=0,
            page=1,
            pages=1,
        )
    pages = max(-(-frame.height // ROWS), 1)
    if not 1 <= page <= pages:
        raise UsageError(f"{key}: expected a page from 1 to {pages}, found {page}")
    columns = [name for name in frame.columns if name != REASON]
    hidden = personal_columns(snapshot.graph, key)
    here = frame.slice((page - 1) * ROWS, ROWS)
    reasons = here[REASON].to_list()
    cells = here.select(columns).rows()
    return QuarantinePage(
        asset=asset,
        entry=entry,
        is_of_failure=is_of_failure,
        columns=columns,
        masked=hidden & frozenset(columns),
        rows=[
            (_reason(reason, hidden), [_shown(v, masked=name in hidden) for name, v in zip(columns, row, strict=True)])
            for reason, row in zip(reasons, cells, strict=True)
        ],
        kinds=Counter(kind_of(reason) for reason in frame[REASON].to_list()).most_common(KINDS),
        kept=frame.height,
        page=page,
        pages=pages,
    )


def _reason(reason: str | None, hidden: frozenset[str]) -> str:
    """The reason, without its values if it is about a personal column."""
    is_personal = reason and not hidden.isdisjoint(re.findall(r"\w+", reason))
    return legible(kind_of(reason) if is_personal or not reason else reason, REASON_SHOWN)


def _shown(value: object, *, masked: bool) -> str | None:
    if value is None:
        return None
    return MASKED if masked else legible(value, CELL)

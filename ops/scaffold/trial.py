"""Making a table to look at it, in a lake that is deleted afterwards: nothing else is touched.

Here: the scratch lake, and what its table is like. Not here: making a table (`assets/making`), showing it (`ops/commands/trying.py`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from catalunya.assets.making.materialize import materialize
from catalunya.assets.record.paths import scan_table
from catalunya.assets.record.project import Project
from catalunya.contracts.model.check import REASON
from catalunya.io.environment import NO_MOCK, Settings
from catalunya.io.errors import ContractError, one_line

if TYPE_CHECKING:
    from catalunya.assets.record.ledger import Entry

EXAMPLES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnProfile:
    """What is in one column."""

    name: str
    type: str
    nulls: int
    distinct: int
    low: object
    high: object
    examples: Sequence[object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A table that was made on trial. `error`: why it was not; then rows that broke its contract may still be in `quarantine`."""

    key: str
    rows: int
    first: pl.DataFrame
    columns: Sequence[ColumnProfile]
    quarantined: int
    quarantine: pl.DataFrame
    warnings: Sequence[str]
    drift: str
    made: Mapping[str, int]
    """Rows of each table that was made before it."""
    error: str = ""


def try_out(key: str, settings: Settings, *, live: bool, limit: int) -> Trial:
    """Make a table and all it reads: from the recorded samples and the mock's own tables, or from the real portals.

    Raises UsageError if there is no such asset, and what an extraction raises.
    """
    from catalunya.ops import mock

    asset = Project(settings).graph[key]
    with (
        tempfile.TemporaryDirectory(prefix="catalunya-", dir=settings.scratch) as folder,
        nullcontext() if live else mock.serve() as served,
    ):
        changed: dict[str, Any] = {"mock_url": served.url if served else NO_MOCK, "http_requests_per_second": 1000.0}
        if live:
            changed.pop("http_requests_per_second")
        project = Project(
            settings.model_copy(
                update={
                    "lake": str(Path(folder, "lake")),
                    "engine": "duckdb",
                    "functions": "",
                    "mart_role": "",
                    **changed,
                }
            )
        )
        needed = [each for each in project.graph if each.key in project.graph.ancestors(asset.key)]
        made = {each.key: _made(project, each.key).rows for each in needed}
        error = ""
        try:
            _made(project, asset.key)
        except ContractError as caught:
            error = one_line(caught)[0]
        entry = project.ledger.last_attempt(asset.key)
        return _trial(project, asset.key, entry, made, error, limit)


def _made(project: Project, key: str) -> Entry:
    outcome = materialize(project, key)
    assert outcome.entry, f"{key} was not made: {outcome.why}"  # the lake was empty
    return outcome.entry


def _trial(project: Project, key: str, entry: Entry | None, made: Mapping[str, int], error: str, limit: int) -> Trial:
    asset = project.graph[key]
    is_table = entry is not None and not error and asset.layer != "landing"
    table = scan_table(project.lake, asset, entry).collect() if entry and is_table else pl.DataFrame()
    types = {column.name: str(column.type) for column in asset.columns}
    quarantine = pl.read_parquet(project.lake.get(entry.quarantine)) if entry and entry.quarantine else pl.DataFrame()
    if REASON in quarantine.columns:
        quarantine = quarantine.select(REASON, pl.exclude(REASON)).rename({REASON: "reason"})
    return Trial(
        key=key,
        rows=entry.rows if entry and not error else 0,
        first=table.head(limit),
        columns=[_profile(table[name], types[name]) for name in table.columns],
        quarantined=entry.quarantined if entry else 0,
        quarantine=quarantine.head(limit),
        warnings=tuple(entry.warnings) if entry else (),
        drift=entry.drift if entry else "",
        made=made,
        error=error,
    )


def _profile(values: pl.Series, kind: str) -> ColumnProfile:
    known = values.drop_nulls()
    is_ordered = len(known) > 0 and kind != "boolean"
    return ColumnProfile(
        name=values.name,
        type=kind,
        nulls=values.null_count(),
        distinct=known.n_unique(),
        low=known.min() if is_ordered else None,
        high=known.max() if is_ordered else None,
        examples=known.unique(maintain_order=True).head(EXAMPLES).to_list(),
    )

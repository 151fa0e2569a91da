"""The tab **Asset** of a DAG: how its table is, why, what comes next, and what it has been.

Here: the content, as plain data. Not here: how it looks (`templates/asset.html`), quarantined rows (`quarantine_page.py`), the tab on DAGs
that make no table (`ops_page.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from catalunya.assets.graph.column_lineage import load_lineage
from catalunya.assets.graph.spec import Asset
from catalunya.assets.making.plan import plan
from catalunya.assets.record.index import KEPT
from catalunya.assets.record.ledger import Entry
from catalunya.assets.record.state import CLOCK, Reason, Stale
from catalunya.contracts.model.columns import Column
from catalunya.contracts.model.results import Check
from catalunya.dags.plugin.charts import Chart, Point, chart
from catalunya.dags.plugin.column_drawing import Drawing, MadeFrom, drawing
from catalunya.dags.plugin.column_drawing import made_from as columns_made_from
from catalunya.dags.plugin.snapshot import EntrySummary, Snapshot
from catalunya.dags.plugin.words import moment, shown_state
from catalunya.ops.status import AssetStatus, statuses
from catalunya.ops.watching.findings import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbor:
    """Another asset that this one reads, or that reads it. `state` is empty where the user may not see it."""

    key: str
    state: str
    why: str = ""
    optional: bool = False
    rows: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version that a table was made from: `clock`, or the data version of another asset and the entry that published it."""

    name: str
    version: str
    entry: Entry | None
    readable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetPage:
    """The whole tab."""

    asset: Asset
    status: AssetStatus
    state: str
    waits_for: str
    held_back: str
    plan: list[Stale]
    entry: Entry | None
    attempt: Entry | None
    made_from: list[Version]
    charts: list[Chart]
    history: list[Entry]
    checks: list[Check]
    findings: list[Finding]
    upstream: list[Neighbor]
    downstream: list[Neighbor]
    columns: tuple[Column, ...]
    columns_made: dict[str, MadeFrom]
    drawing: Drawing
    location: str

    @property
    def is_stale_above(self) -> bool:
        """Whether the plan has a step that is due now, and not only if a source or an upstream changes."""
        return any(step.reason not in (Reason.SOURCE, Reason.UPSTREAM) for step in self.plan)

    @property
    def says_why(self) -> bool:
        """Whether there is more to say of its state than its name."""
        one = self.status
        late = one.overdue_hours is not None
        return bool(
            one.why or late or self.waits_for or self.held_back or one.without or one.source_problem or one.warnings
        )


def asset_page(snapshot: Snapshot, key: str) -> AssetPage:
    """What the tab shows. Raises UsageError if there is no such asset, LakeError when the lake does not answer."""
    graph, state, asset = snapshot.graph, snapshot.state, snapshot.graph[key]
    near = [graph[name] for name in dict.fromkeys((*asset.upstream, *(down.key for down in graph.downstream(key))))]
    shown = snapshot.shown
    by_key = {
        each.asset: replace(each, why=shown(each.why))
        for each in statuses(state, [asset, *(each for each in near if each.key in snapshot.readable)])
    }
    entry, readable = state.known(key), not state.unreadable(key)
    attempt = state.last_attempt(key) if readable else None
    stale = state.stale(key)
    columns_made = columns_made_from(load_lineage(graph), asset)
    return AssetPage(
        asset=asset,
        status=by_key[key],
        state=shown_state(by_key[key]),
        waits_for=shown(state.waits_for(key) or "") if stale else "",
        held_back=shown(state.held_back(key) or "") if stale or state.failure(key) else "",
        plan=[replace(step, why=shown(step.why)) for step in plan(state, graph.select(f"+{key}"))],
        entry=entry,
        attempt=attempt if attempt and (entry is None or attempt.sequence != entry.sequence) else None,
        made_from=made_from(snapshot, entry) if entry else [],
        charts=charts(snapshot.history(key)),
        history=snapshot.recent(key) if readable else [],
        checks=checks(attempt or entry),
        findings=snapshot.findings(key),
        upstream=[_neighbor(by_key.get(up), up, optional=up in asset.optional) for up in asset.upstream],
        downstream=[
            _neighbor(by_key.get(down.key), down.key, optional=key in down.optional) for down in graph.downstream(key)
        ],
        columns=asset.columns,
        columns_made=columns_made,
        drawing=drawing(asset, columns_made),
        location=snapshot.project.lake.url(asset.prefix),
    )


def made_from(snapshot: Snapshot, entry: Entry) -> list[Version]:
    """The versions that a table was made from, each with the entry that published it."""
    found = []
    for name, version in sorted(entry.versions.items()):
        is_table = name != CLOCK and name in snapshot.graph
        readable = name in snapshot.readable
        made = (
            snapshot.made(name, version, entry.recorded_at)
            if is_table and readable and not snapshot.state.unreadable(name)
            else None
        )
        found.append(Version(name=name, version=version, entry=made, readable=readable))
    return found


def charts(history: Sequence[EntrySummary]) -> list[Chart]:
    """Rows, seconds and quarantined rows of the last materializations. Runs that found the source unchanged made nothing, and are left out."""
    made = [one for one in history if one.status != "unchanged"]
    rows, seconds, quarantined = [], [], []
    for one in made[-KEPT:]:
        failed, when = one.status == "failed", moment(one.recorded_at)
        rows.append(Point(one.rows, f"{when}: failed" if failed else f"{when}: {one.rows:,} rows", failed))
        seconds.append(Point(one.seconds, f"{when}: {one.seconds:,.1f} s{', failed' if failed else ''}"))
        quarantined.append(Point(one.quarantined, f"{when}: {one.quarantined:,} rows quarantined"))
    return [
        chart("Rows", rows),
        chart("Duration", seconds, " s", digits=1),
        chart("Quarantined rows", quarantined),
    ]


def checks(entry: Entry | None) -> list[Check]:
    """The checks of an entry: errors first, then warnings, then those that passed."""
    found = entry.checks if entry else ()
    return sorted(found, key=lambda check: (not check.failed, check.severity != "error"))


def _neighbor(status: AssetStatus | None, key: str, *, optional: bool) -> Neighbor:
    if status is None:
        return Neighbor(key=key, state="", optional=optional)
    return Neighbor(key=key, state=shown_state(status), why=status.why, optional=optional, rows=status.rows)

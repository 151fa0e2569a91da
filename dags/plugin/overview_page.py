"""The page **Asset health** in the navigation: the open findings, and all assets, the most urgent first.

Here: the content, as plain data; filters and order. Not here: how it looks (`templates/overview.html`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime

from catalunya.assets.graph.spec import Asset, Layer
from catalunya.dags.plugin.snapshot import Snapshot
from catalunya.dags.plugin.words import STATES, shown_state
from catalunya.ops.status import AssetStatus, brief_statuses
from catalunya.ops.watching.findings import SILENT, Finding


@dataclass(frozen=True, slots=True)
class Filter:
    """What is shown. Empty: everything."""

    state: str = ""
    layer: str = ""
    text: str = ""

    def takes(self, row: Row) -> bool:
        """Whether an asset passes."""
        words = self.text.lower().split()
        searched = f"{row.asset.key} {row.asset.description} {row.status.why}".lower()
        return (
            self.state in ("", row.state)
            and self.layer in ("", row.asset.layer)
            and all(word in searched for word in words)
        )


@dataclass(frozen=True, slots=True)
class Row:
    """One asset."""

    asset: Asset
    status: AssetStatus
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OverviewPage:
    """The whole page. `states` and `layers` count all assets, whatever is filtered."""

    filter: Filter
    rows: list[Row]
    total: int
    states: dict[str, int]
    layers: dict[str, int]
    findings: list[Finding]
    looked_at: datetime | None
    is_silent: bool
    is_of_last_look: bool


def overview_page(snapshot: Snapshot, chosen: Filter) -> OverviewPage:
    """What the page shows. Raises LakeError when the lake does not answer."""
    assets = snapshot.assets()
    rows = [
        Row(asset, replace(status, why=snapshot.shown(status.why)), shown_state(status))
        for asset, status in zip(assets, brief_statuses(snapshot.state, assets), strict=True)
    ]
    states = Counter(row.state for row in rows)
    at = snapshot.board.at
    return OverviewPage(
        filter=chosen,
        rows=sorted((row for row in rows if chosen.takes(row)), key=_urgency),
        total=len(rows),
        states={state: states[state] for state in STATES if states[state]},
        layers={str(layer): sum(row.asset.layer is layer for row in rows) for layer in Layer},
        findings=snapshot.findings(),
        looked_at=at,
        is_of_last_look=snapshot.is_of_last_look,
        is_silent=at is None or snapshot.now - at > SILENT,
    )


def _urgency(row: Row) -> tuple[int, float, str]:
    late = row.status.overdue_hours or 0
    # An overdue source stays among the overdue, whatever else its table is.
    first = STATES.index("overdue") if late and row.state in ("stale", "running") else STATES.index(row.state)
    return first, -late, row.asset.key

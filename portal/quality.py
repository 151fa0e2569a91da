"""How good the data are, as data: what is wrong now, which rows were set apart and why, which updates were refused, how each table is.

Here: what the quality page shows, read from the board and the ledger; no row of a table, and no text of an error. Not here: the page
(`quality_page.py`), what a check means (`check_words.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from catalunya.assets.graph.spec import Asset, Layer
from catalunya.assets.record.ledger import Entry
from catalunya.contracts.model.results import Check
from catalunya.io.errors import LedgerError
from catalunya.ops.watching.consumers import Situation, situation
from catalunya.portal.check_words import Meaning, Refused, meaning, refused, sets_apart
from catalunya.portal.site import Site

NEWEST = 20
"""How many refused updates, and how many problems that are over, are shown."""


@dataclass(frozen=True, slots=True)
class TableQuality:
    """One table as it is now. `failed`: the checks that rows failed. `is_unreadable`: its record cannot be read, so that nothing is known."""

    asset: Asset
    entry: Entry | None
    is_unreadable: bool
    has_problem: bool

    @property
    def key(self) -> str:
        return self.asset.key

    @property
    def updated_at(self) -> datetime | None:
        return self.entry.recorded_at if self.entry else None

    @property
    def failed(self) -> list[Check]:
        return [check for check in self.entry.checks if check.failed] if self.entry else []

    @property
    def reasons(self) -> list[tuple[Meaning, Check]]:
        """Why rows were set apart, the most frequent reason first."""
        found = [(meaning(check, self.asset), check) for check in self.failed if sets_apart(check, self.asset)]
        return sorted(found, key=lambda each: (-each[1].failed, each[1].name))


@dataclass(frozen=True, slots=True)
class Refusal:
    """Attempts in a row that failed: `reason` of the last one, and when the table was made again after them."""

    asset: Asset
    reason: Refused
    first: datetime
    last: datetime
    attempts: int
    over_at: datetime | None


def now(site: Site) -> Situation:
    """What readers should know now."""
    return situation(site.graph, site.board, site.now)


def tables(site: Site, found: Situation, *, of_sources: bool = False) -> list[TableQuality]:
    """The tables that have a page, marts first, or those with the data as they came from the sources."""
    found_assets = [asset for asset in site.graph if (asset.layer is Layer.LANDING) is of_sources]
    assets = sorted(found_assets, key=lambda asset: asset.layer is not Layer.MARTS)
    hit = {key for notice in found.notices for key in notice.tables or [asset.key for asset in assets]}
    sources = {notice.source for notice in found.notices if notice.source}
    return [
        TableQuality(
            asset,
            site.entry(asset.key),
            bool(site.state.unreadable(asset.key)),
            asset.key in hit or (of_sources and asset.source in sources),
        )
        for asset in assets
    ]


def refusals(site: Site) -> list[Refusal]:
    """The newest updates that were refused, newest first; attempts in a row are one. Raises LakeError."""
    is_failed = pl.col("status") == "failed"
    made_at = pl.when(~is_failed).then("recorded_at")
    groups = (
        site.index.rows.sort("asset", "sequence")
        .with_columns(
            over_at=made_at.backward_fill().over("asset"), group=(~is_failed).cast(pl.Int64).cum_sum().over("asset")
        )
        .filter(is_failed)
        .group_by("asset", "group")
        .agg(
            first=pl.col("recorded_at").min(),
            last=pl.col("recorded_at").max(),
            attempts=pl.len(),
            over_at=pl.col("over_at").first(),
            sequence=pl.col("sequence").max(),
        )
        .sort("last", "asset", descending=[True, False])
        .head(NEWEST)
        .select("asset", "sequence", "first", "last", "attempts", "over_at")
    )
    return list(_refusals(site, groups))


def _refusals(site: Site, groups: pl.DataFrame) -> Iterator[Refusal]:
    for key, sequence, first, last, attempts, over_at in groups.iter_rows():
        asset = site.graph[key]
        try:
            entry = site.project.ledger.read(key, sequence)
        except LedgerError:  # it was damaged since the index was kept
            entry = None
        reason = refused(entry.checks if entry else (), asset)
        yield Refusal(asset, reason, first, last, attempts, over_at)


def failed_attempts(site: Site) -> str:
    """Which attempts of which tables failed, as a version of them."""
    failed = site.index.rows.filter(pl.col("status") == "failed").sort("asset", "sequence")
    return " ".join(f"{key}:{number}" for key, number in failed.select("asset", "sequence").iter_rows())

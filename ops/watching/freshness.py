"""How long things may take: how old a source's last update may be, and for how long a table may be out of date.

What is declared counts first: `freshness=` of a landing table, then `[watch.source_hours]` and `[watch.stale_hours]` in `assets/project.toml`,
hours by selection, of which the last that names a table counts. What is not declared follows from the habits in the ledger: a source that was
updated often enough is expected again after one and a half times the longest time that it has ever taken.
Not here: what is late (`tables.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from catalunya.assets.graph.graph import AssetGraph
from catalunya.assets.graph.spec import Layer
from catalunya.io.errors import ConfigurationError, UsageError
from catalunya.io.project_folder import FILE, active

STALE_HOURS = 6.0
"""For how long a table may be out of date if nothing is declared: the longest wait between two tries."""
HABIT = 4
"""How many times a source must have been updated before its habit counts."""
SLACK = 1.5


@dataclass(frozen=True, slots=True)
class Expectation:
    """So many hours at most, and where that comes from."""

    hours: float
    why: str


@dataclass(frozen=True, slots=True)
class Expectations:
    """By asset key: how old a source's last update may be (landing tables; none if nothing is known), for how long a table may be stale."""

    updated: Mapping[str, Expectation]
    stale: Mapping[str, Expectation]


def expectations(graph: AssetGraph, rows: pl.DataFrame) -> Expectations:
    """What is expected of each table; `rows` is the index of the ledger. Raises ConfigurationError for a policy that names no table."""
    updated = _habits(rows)
    updated |= _policies(graph, "source_hours")
    updated |= {
        asset.key: Expectation(asset.freshness.hours, f"declared in {asset.module}")
        for asset in graph
        if asset.freshness
    }
    landing = {asset.key for asset in graph if asset.layer is Layer.LANDING}
    default = {asset.key: Expectation(STALE_HOURS, "the default") for asset in graph}
    return Expectations(
        {key: found for key, found in updated.items() if key in landing}, default | _policies(graph, "stale_hours")
    )


def _policies(graph: AssetGraph, name: str) -> dict[str, Expectation]:
    found: dict[str, Expectation] = {}
    for selection, hours in active().watch.get(name, {}).items():
        try:
            chosen = graph.select(selection)
        except UsageError as error:
            raise ConfigurationError(f"{FILE}: [watch.{name}]: {error}; correct the line") from None
        found |= {asset.key: Expectation(hours, f"{selection!r} in {FILE}") for asset in chosen}
    return found


def _habits(rows: pl.DataFrame) -> dict[str, Expectation]:
    """From the times at which a source said that it was updated."""
    gaps = (
        rows.filter(pl.col("source_updated_at").is_not_null())
        .select("asset", "source_updated_at")
        .unique()
        .sort("asset", "source_updated_at")
        .with_columns(hours=pl.col("source_updated_at").diff().over("asset").dt.total_seconds() / 3600)
        .group_by("asset")
        .agg(known=pl.col("hours").count(), longest=pl.col("hours").max())
        .filter(pl.col("known") >= HABIT)
    )
    return {
        asset: Expectation(
            SLACK * longest,
            f"it was updated {known + 1} times, at most {longest / 24:.0f} days apart" if longest >= 48
            else f"it was updated {known + 1} times, at most {longest:.0f} h apart",
        )
        for asset, known, longest in gaps.iter_rows()
    }  # fmt: skip

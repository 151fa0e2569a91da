"""Quarantined rows as people look at them: the frame, the reasons without their values, what is personal masked.

Here: what the CLI and Airflow's UI share. Not here: which rows are quarantined (`contracts/model/check.py`), showing them
(`commands/maintenance.py`, `dags/plugin`).
"""

from __future__ import annotations

import re
from io import BytesIO
from typing import TYPE_CHECKING

from catalunya.assets.record.ledger import Entry

if TYPE_CHECKING:
    import polars as pl

    from catalunya.assets.graph.graph import AssetGraph
    from catalunya.io.lake import Lake

REASON = "_reason"


def quarantined_rows(lake: Lake, entry: Entry) -> pl.DataFrame | None:
    """The quarantined rows of a materialization, the reason first; None if there are none. Raises LakeError, ObjectMissing if they expired."""
    if not entry.quarantine:
        return None
    import polars as pl

    return pl.read_parquet(BytesIO(lake.get(entry.quarantine))).select(REASON, pl.exclude(REASON))


def kind_of(reason: str | None) -> str:
    """A reason without its values, so that rows of one kind are counted together."""
    checks = (reason or "no reason given").split("; ")
    return "; ".join(
        re.sub(r"(?s)^(\w+): .* fails ", r"\1: … fails ", check)
        if " fails " in check
        else re.sub(r"'[^']*'", "'…'", check)
        for check in checks
    )


def personal_columns(graph: AssetGraph, key: str) -> frozenset[str]:
    """The personal columns of an asset and of all that it is made from: quarantined rows may have raw fields beside their own."""
    assets = (graph[each] for each in (key, *graph.ancestors(key)))
    return frozenset(column.name for asset in assets for column in asset.columns if column.personal)

"""How a mart is made: dbt builds one model in a scratch database, and its table is checked like any other.

Here: which relations dbt is given, and the checked candidate. Not here: running dbt and reading its result
(`io/warehouse/build.py`), the SQL (`dbt/models`).
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import polars as pl

from catalunya.assets.graph.spec import Asset
from catalunya.assets.making.candidate import ROWS_PER_GROUP, Candidate, Gathering, placed
from catalunya.assets.record.ledger import Entry
from catalunya.assets.record.paths import relation
from catalunya.contracts.model.check import REASON, ROW, conform, part
from catalunya.contracts.model.contract import Contract
from catalunya.io.environment import Settings
from catalunya.io.lake import Lake
from catalunya.io.warehouse.build import build_model
from catalunya.io.warehouse.relation import Relation


def build(
    asset: Asset,
    contract: type[Contract],
    settings: Settings,
    lake: Lake,
    inputs: list[Relation],
    previous: Entry | None,
    now: datetime,
    scratch: Path,
    *,
    full_refresh: bool = False,
    accept_shrink: bool = False,
) -> Candidate:
    """Make the candidate of a mart. Raises WarehouseError when dbt or its tests fail, ContractError on a breach."""
    earlier = relation(lake, asset, previous) if previous and not full_refresh else None
    built = build_model(
        asset.name,
        inputs=inputs,
        previous=earlier,
        variables={"as_of": f"{now:%Y-%m-%d}"},
        order_by=asset.key_columns,
        settings=settings,
        scratch=scratch,
    )
    gathering = Gathering(asset, contract, scratch, strict=True)
    batches = pl.scan_parquet(built).collect_batches(chunk_size=ROWS_PER_GROUP, maintain_order=True)
    for number, page in enumerate(batches):
        numbered = page.with_columns(
            pl.int_range(pl.len(), dtype=pl.UInt32).alias(ROW), pl.lit(None, pl.String).alias(REASON)
        )
        frame = conform(asset.key, numbered.lazy(), contract).collect()
        good, bad = part(placed(frame, asset), contract)
        rejected = bad.join(numbered.drop(REASON), on=ROW, how="left").drop(ROW) if bad.height else bad
        gathering.pages.append(gathering.store(number, good, rejected))
    return gathering.finish(previous, accept_shrink=accept_shrink)

"""Dagster + polars: the register from the portal to a clean, partitioned table, as two assets. `bench/pipeline.py` runs it in its own environment."""

from __future__ import annotations

from io import BytesIO

import dagster as dg
import polars as pl
from register import OUT, bodies, clean, places


@dg.asset
def landing() -> None:
    """The pages as received."""
    folder = OUT / "landing"
    folder.mkdir(parents=True)
    for number, body in enumerate(bodies()):
        (folder / f"{number:05}.json").write_bytes(body)


@dg.asset(deps=[landing])
def staging() -> dg.MaterializeResult:
    """The clean table by district."""
    raw = pl.concat(
        [pl.read_json(BytesIO(page.read_bytes())) for page in sorted((OUT / "landing").iterdir())],
        how="diagonal_relaxed",
    )
    table = clean(raw, places())
    table.write_parquet(pl.PartitionBy(OUT / "staging", key="district_id", include_key=False), mkdir=True)
    return dg.MaterializeResult(metadata={"rows": table.height})


if __name__ == "__main__":
    quiet = {"loggers": {"console": {"config": {"log_level": "WARNING"}}}}
    assert dg.materialize([landing, staging], run_config=quiet).success

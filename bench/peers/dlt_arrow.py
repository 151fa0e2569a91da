"""dlt with Arrow: the register from the portal to clean Parquet files, one load. `bench/pipeline.py` runs it in its own environment.

Its file destination neither drops duplicates across pages nor partitions by a column: this does less than the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

import dlt
import polars as pl
import pyarrow as pa
from dlt.destinations import filesystem
from register import OUT, bodies, clean, places


@dlt.resource(name="social_services", file_format="parquet")
def social_services() -> Iterator[pa.Table]:
    """The register, a page at a time."""
    known = places()
    for body in bodies():
        yield clean(pl.read_json(BytesIO(body)), known).to_arrow()


if __name__ == "__main__":
    pipeline = dlt.pipeline(
        "register", destination=filesystem(str(OUT)), dataset_name="staging", pipelines_dir=str(OUT / "state")
    )
    pipeline.run(social_services()).raise_on_failed_jobs()

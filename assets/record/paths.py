"""Where an asset's objects are in the lake, and how a published table is read.

Here: paths of batches and quarantine, scanning a table. Not here: writing (`assets/making`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from catalunya.assets.graph.spec import Asset
from catalunya.assets.record.ledger import Entry
from catalunya.io.errors import UsageError
from catalunya.io.lake import Lake, Object
from catalunya.io.warehouse.relation import Relation

if TYPE_CHECKING:
    import polars as pl

MANIFEST = "_manifest.json"
DOCS = "_dbt"
"""Where a deployment puts the marts' manifest and documentation."""
_BATCH = re.compile(r"ingested_process_at=[0-9]{8}T[0-9]{9}")


def batch_prefix(asset: Asset, at: datetime) -> str:
    """The folder of one landing extraction, named by its time (UTC)."""
    return f"{asset.prefix}/{batch_name(at)}"


def batch_name(at: datetime) -> str:
    """The folder's own name: two extractions of one asset do not start in the same millisecond."""
    return f"ingested_process_at={at:%Y%m%dT%H%M%S%f}"[:-3]


def begun_at(batch: str) -> datetime:
    """When the extraction of a batch started, by its name; the year 1 for any other name."""
    name = batch.rpartition("/")[2]
    if not _BATCH.fullmatch(name):
        return datetime.min.replace(tzinfo=UTC)
    return datetime.strptime(f"{name}000", "ingested_process_at=%Y%m%dT%H%M%S%f").replace(tzinfo=UTC)


def batch_folder(asset: Asset, name: str) -> str:
    """The folder of a batch whose name came from outside. Raises UsageError if it is not the name of a batch."""
    if not _BATCH.fullmatch(name):
        raise UsageError(
            f"{asset.key}: expected the name of a batch (ingested_process_at=20260803T140512000), found {name[:80]!r}; "
            "correct the event that invokes the function"
        )
    return f"{asset.prefix}/{name}"


def manifest_path(batch: str) -> str:
    """The object that seals a batch: it is written last."""
    return f"{batch}/{MANIFEST}"


def quarantine_folder(asset: Asset) -> str:
    """The folder of an asset's quarantined rows."""
    return f"quarantine/{asset.layer}/{asset.name}"


def quarantine_path(asset: Asset, inputs: str) -> str:
    """The quarantined rows of a materialization; `inputs` identifies what it was made from, so that a rerun replaces the object."""
    return f"{quarantine_folder(asset)}/{inputs}.parquet"


def scan_table(lake: Lake, asset: Asset, entry: Entry) -> pl.LazyFrame:
    """The published table of an asset as one lazy frame, columns in the contract's order."""
    return scan_objects([lake.url(stored.path) for stored in entry.objects], asset, lake.scan_options)


def scan_objects(urls: Sequence[str], asset: Asset, options: dict[str, str] | None = None) -> pl.LazyFrame:
    """Parquet objects of an asset as one lazy frame, columns in the contract's order."""
    return scan_files(urls, asset.partition_by, options).select(column.name for column in asset.columns)


def partition_columns(path: str) -> list[str]:
    """The columns whose values are in the path of a partition's object: `city=Vic/file.parquet`."""
    return [part.partition("=")[0] for part in path.split("/") if "=" in part]


def scan_files(
    urls: Sequence[str], partition_by: Sequence[str] = (), options: dict[str, str] | None = None
) -> pl.LazyFrame:
    """Parquet files as one lazy frame; partition columns are read from the paths, as text.

    A path is never a pattern, and a folder above the table never a partition, whatever it is called.
    """
    import polars as pl

    def scan(chosen: Sequence[str], partitions: dict[str, pl.DataType]) -> pl.LazyFrame:
        return pl.scan_parquet(
            list(chosen),
            glob=False,
            hive_partitioning=bool(partitions),
            hive_schema=partitions or None,
            storage_options=options or None,
        )

    depth = len(partition_by)
    if not depth or not any("=" in url.rsplit("/", depth + 1)[0] for url in urls):
        return scan(urls, dict.fromkeys(partition_by, pl.String()))
    values = [[pl.lit(folder.partition("=")[2]) for folder in url.split("/")[-depth - 1 : -1]] for url in urls]
    named = [[value.alias(name) for name, value in zip(partition_by, each, strict=True)] for each in values]
    return pl.concat([scan([url], {}).with_columns(each) for url, each in zip(urls, named, strict=True)])


def relation(lake: Lake, asset: Asset, entry: Entry | None) -> Relation:
    """A published table as the warehouse sees it: an empty one, if it was never made."""
    return Relation(
        schema=str(asset.layer),
        name=asset.name,
        columns={column.name: column.type for column in asset.columns},
        files=tuple(lake.url(stored.path) for stored in (entry.objects if entry else ())),
        partition_by=asset.partition_by,
    )


def in_deletion_order(batch: Iterable[Object]) -> list[Object]:
    """The objects of a batch, its manifest first: a batch without one is ignored, whatever pages are left."""
    return sorted(batch, key=lambda found: found.path != manifest_path(found.path.rpartition("/")[0]))

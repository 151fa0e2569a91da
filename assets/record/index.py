"""The index of the ledger: what its entries say, in one object, so that looking at a thousand tables takes a few requests.

An entry never changes, so what was read once need not be read again: the index, one listing of the ledger and the entries that are new
since are the ledger. It is only a cache: without it, or if it cannot be read, the entries are read again. The watch keeps it up to date
(`ops/watching`); everything that looks at many tables may read it. Entries in it have no `objects`: it says how a table is, not where.
Not here: the ledger itself (`ledger.py`), what follows for a table (`state.py`).
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import polars as pl

from catalunya.assets.record.ledger import MERGED, Entry, Ledger, Listing, decode
from catalunya.io.errors import LakeError, LedgerError
from catalunya.io.json_text import BROKEN_JSON
from catalunya.io.lake import Lake
from catalunya.io.log import get_logger

log = get_logger(__name__)

PATH = "_watch/ledger.parquet"
KEPT = 40
"""Entries of one table in the index: six weeks of a table that is made daily."""
SCHEMA: dict[str, Any] = {
    "asset": pl.String,
    "sequence": pl.Int64,
    "status": pl.String,
    "run_id": pl.String,
    "recorded_at": pl.Datetime("us", "UTC"),
    "seconds": pl.Float64,
    "rows": pl.Int64,
    "bytes": pl.Int64,
    "quarantined": pl.Int64,
    "is_accepted": pl.Boolean,
    "is_part": pl.Boolean,  # a backfill: its rows are those of some periods
    "source_updated_at": pl.Datetime("us", "UTC"),
    "drift": pl.String,
    "entry": pl.Binary,  # the whole entry without `objects`: what says how the table is, and the failures since then
}
_READERS = 8


@dataclass(frozen=True, slots=True)
class Index:
    """The newest entries of every table, a row each, by table and number; `SCHEMA` says what of each.

    `listing` is where all entries are, unless the folder of some table cannot be listed; `new` is how many entries were not in the
    index that was kept.
    """

    rows: pl.DataFrame
    listing: Listing | None
    new: int

    def history(self, key: str) -> pl.DataFrame:
        """The entries of one table, oldest first."""
        return self.rows.filter(pl.col("asset") == key)


def read_index(ledger: Ledger, keys: Iterable[str]) -> Index:
    """What the ledger says of these tables now. The ledger's own reading of their last entries then costs no request.

    An entry that cannot be read is not in it; the ledger says so when it is asked. Raises LakeError.
    """
    listing, known = ledger.listed(), _kept(ledger.lake)
    wanted = {key: _numbers(ledger, key, listing) for key in keys} if listing is not None else {}
    listed = pl.DataFrame(
        {"asset": list(wanted), "sequence": list(wanted.values())},
        schema={"asset": pl.String, "sequence": pl.List(pl.Int64)},
    ).explode("sequence")
    # What was merged, moved away or belongs to a table that is no more is not listed any longer.
    known = known.join(listed, on=["asset", "sequence"], how="semi", maintain_order="left")
    newest = dict(known.group_by("asset").agg(pl.col("sequence").max()).iter_rows())
    new = [(key, number) for key, numbers in wanted.items() for number in numbers if number > newest.get(key, 0)]
    with ThreadPoolExecutor(_READERS) as pool:
        read = list(pool.map(lambda each: _read(ledger, *each), new))
    entries = [entry for entry in read if entry]
    rows = _without_old_documents(pl.concat([known, _frame(entries)])) if entries else known
    index = Index(rows, listing, len(new))
    _preload(ledger, index)
    return index


def last_index(ledger: Ledger) -> Index:
    """What the ledger said when the index was last kept: one request, however many entries there are. Its `listing` has the last ones only."""
    index = Index(_kept(ledger.lake), {}, 0)
    listing: dict[str, list[int]] = {}
    documents = index.rows.filter(pl.col("entry").is_not_null()).select("asset", "sequence")
    for key, number in documents.sort("asset", "sequence").iter_rows():
        listing.setdefault(ledger.folder(key), []).append(number)
    _preload(ledger, index)
    return replace(index, listing=listing)


def keep_index(lake: Lake, index: Index) -> None:
    """Keep it in place of the one before. Raises LakeError."""
    buffer = io.BytesIO()
    index.rows.write_parquet(buffer, compression="zstd")
    lake.put(PATH, buffer.getvalue())


def _kept(lake: Lake) -> pl.DataFrame:
    """The index that was kept; an empty one if there is none, or none that this release can read."""
    try:
        content = lake.find(PATH)
        found = pl.read_parquet(io.BytesIO(content)) if content else pl.DataFrame(schema=SCHEMA)
    except (LakeError, pl.exceptions.PolarsError, OSError) as error:
        log.warning(
            "index_unreadable", path=lake.url(PATH), error=str(error), advice="it is built again from the ledger"
        )
        return pl.DataFrame(schema=SCHEMA)
    return found if dict(found.schema) == SCHEMA else pl.DataFrame(schema=SCHEMA)


def _numbers(ledger: Ledger, key: str, listing: Listing) -> list[int]:
    return [number for number in listing.get(ledger.folder(key), ()) if number != MERGED][-KEPT:]


def _read(ledger: Ledger, key: str, number: int) -> Entry | None:
    try:
        return ledger.read(key, number)
    except LedgerError:  # of this table only; its state says so
        return None


def _frame(entries: list[Entry]) -> pl.DataFrame:
    return pl.DataFrame(
        [
            (
                e.asset, e.sequence, e.status, e.run_id, e.recorded_at, e.seconds, e.rows, e.bytes, e.quarantined, e.is_accepted,
                e.window is not None, e.source_updated_at, e.drift, msgspec.json.encode(replace(e, objects=())),
            )
            for e in entries
        ],
        schema=SCHEMA,
        orient="row",
    )  # fmt: skip


def _without_old_documents(rows: pl.DataFrame) -> pl.DataFrame:
    """Only the entry that says what a table is, and the failures since then, keep their whole text."""
    made = pl.col("sequence").filter(pl.col("status") != "failed").max().over("asset")
    has_document = pl.col("sequence") >= made.fill_null(0)
    return rows.sort("asset", "sequence").with_columns(entry=pl.when(has_document).then("entry"))


def _preload(ledger: Ledger, index: Index) -> None:
    for key, number, content in (
        index.rows.filter(pl.col("entry").is_not_null()).select("asset", "sequence", "entry").iter_rows()
    ):
        path = ledger.path(key, number)
        try:
            ledger.preload(path, decode(content, f"entry {number} of {key} in {ledger.lake.url(PATH)}", path))
        except (LedgerError, *BROKEN_JSON):  # the ledger reads it itself
            log.warning("index_unreadable", asset=key, sequence=number)

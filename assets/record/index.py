"""The index of the ledger: what its entries say, in two objects, so that looking at a thousand tables takes a few requests.

An entry never changes, so what was read once need not be read again: the index, one listing of the ledger and the entries that are new
since are the ledger. It is only a cache: without it, or if it cannot be read, the entries are read again. The watch keeps it up to date
(`ops/watching`); everything that looks at many tables may read it. Here: the rows, a few columns of each entry, as statistics need them, and
what is new. Not here: the newest entries in full (`newest.py`), the ledger itself (`ledger.py`), what follows for a table (`state.py`).
"""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import polars as pl

from catalunya.assets.record.ledger import MERGED, Entry, Ledger, Listing
from catalunya.assets.record.newest import keep_newest, read_newest
from catalunya.io.errors import LakeError, LedgerError
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
}
_READERS = 8


@dataclass(frozen=True, slots=True)
class Index:
    """The newest entries of every table, a row each, by table and number; `SCHEMA` says what of each.

    `listing` is where all entries are, unless the folder of some table cannot be listed; `new` is how many entries were not in the
    index that was kept. `newest` are those that say how each table is, and the failures since then.
    """

    rows: pl.DataFrame
    listing: Listing | None
    new: int
    newest: Sequence[Entry] = ()

    def history(self, key: str) -> pl.DataFrame:
        """The entries of one table, oldest first."""
        return self.rows.filter(pl.col("asset") == key)


def read_index(ledger: Ledger, keys: Iterable[str], listing: Listing | None = None) -> Index:
    """What the ledger says of these tables now, or when `listing` was made. The ledger's own reading of their last entries then costs no request.

    An entry that cannot be read is not in it; the ledger says so when it is asked. Raises LakeError.
    """
    listing = ledger.listed() if listing is None else listing
    rows, in_full = _kept(ledger.lake), {(entry.asset, entry.sequence): entry for entry in read_newest(ledger)}
    wanted = {key: _numbers(ledger, key, listing) for key in keys} if listing is not None else {}
    listed = pl.DataFrame(
        {"asset": list(wanted), "sequence": list(wanted.values())},
        schema={"asset": pl.String, "sequence": pl.List(pl.Int64)},
    ).explode("sequence")
    # What was merged, moved away or belongs to a table that is no more is not listed any longer.
    rows = rows.join(listed, on=["asset", "sequence"], how="semi", maintain_order="left")
    last = dict(rows.group_by("asset").agg(pl.col("sequence").max()).iter_rows())
    new = [(key, number) for key, numbers in wanted.items() for number in numbers if number > last.get(key, 0)]
    entries = _read(ledger, new)
    if entries:
        rows = pl.concat([rows, _frame(entries)]).sort("asset", "sequence")
    in_full |= {(entry.asset, entry.sequence): entry for entry in entries}
    newest = _newest(rows)
    # The two objects are not written at once: what only one of them has is read again.
    lacking = [each for each in newest if each not in in_full]
    in_full |= {(entry.asset, entry.sequence): entry for entry in _read(ledger, lacking)}
    return Index(rows, listing, len(new) + len(lacking), [in_full[each] for each in newest if each in in_full])


def last_index(ledger: Ledger) -> Index:
    """What the ledger said when the index was last kept: two requests, however many entries there are. Its `listing` has the last ones only."""
    newest, listing = read_newest(ledger), dict[str, list[int]]()
    for entry in newest:
        listing.setdefault(ledger.folder(entry.asset), []).append(entry.sequence)
    return Index(_kept(ledger.lake), listing, 0, newest)


def keep_index(lake: Lake, index: Index) -> None:
    """Keep it in place of the one before. Raises LakeError."""
    keep_newest(lake, index.newest)
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


def _read(ledger: Ledger, wanted: Collection[tuple[str, int]]) -> list[Entry]:
    """These entries, without those that cannot be read: of their table only, and its state says so."""

    def read(each: tuple[str, int]) -> Entry | None:
        with suppress(LedgerError):
            return ledger.read(*each)
        return None

    with ThreadPoolExecutor(_READERS) as pool:
        return [entry for entry in pool.map(read, wanted) if entry]


def _frame(entries: list[Entry]) -> pl.DataFrame:
    return pl.DataFrame(
        [
            (
                e.asset, e.sequence, e.status, e.run_id, e.recorded_at, e.seconds, e.rows, e.bytes, e.quarantined, e.is_accepted,
                e.window is not None, e.source_updated_at, e.drift,
            )
            for e in entries
        ],
        schema=SCHEMA,
        orient="row",
    )  # fmt: skip


def _newest(rows: pl.DataFrame) -> list[tuple[str, int]]:
    """Table and number of each entry that says what a table is, and of the failures since then."""
    made = pl.col("sequence").filter(pl.col("status") != "failed").max().over("asset")
    return rows.filter(pl.col("sequence") >= made.fill_null(0)).select("asset", "sequence").rows()

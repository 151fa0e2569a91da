"""Building a candidate: the table as it would be published, checked, on this machine's disk, not yet visible to readers.

Here: collecting checked pages, the checks that need the whole table (duplicates, tolerated share, shrinking), and writing
one file per partition, the same bytes for the same rows. Not here: where the rows come from (`staging.py`, `marts.py`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import structlog

from catalunya.assets.graph.spec import Asset
from catalunya.assets.making.maker import Candidate, File
from catalunya.assets.record.ledger import Entry, Stored
from catalunya.contracts.model.check import REASON, ROW
from catalunya.contracts.model.contract import Contract
from catalunya.io.errors import ContractError, DeclarationError

log = structlog.get_logger(__name__)

HASH = "_key_hash"
ROWS_PER_GROUP = 25_000
FILE = "file.parquet"
# Names that every reader maps to the same folder: not globs (`*`), escapes (`%2F`), too long, or null to Hive.
_FOLDER = r"\A[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\z"


@dataclass(frozen=True, slots=True)
class CheckedPage:
    """One page that was checked and is on disk: its good rows, the rejected ones, and the hashes of its keys."""

    good: Path
    rows: int
    hashes: pl.Series
    rejected: Path | None
    quarantined: int
    discarded: int


@dataclass
class CandidateBuilder:
    """Checked pages, to be built into a candidate. `strict` tables (marts) may hold no duplicate key."""

    asset: Asset
    contract: type[Contract]
    scratch: Path
    strict: bool = False
    pages: list[CheckedPage] = field(default_factory=list)

    def store(self, number: int, good: pl.DataFrame, bad: pl.DataFrame, discarded: int = 0) -> CheckedPage:
        """Write one checked page to disk: its good rows, and the bad ones as received with their reason. Several threads may
        store pages. On disk, because a few rows cut out of a page would keep the whole page's text in memory."""
        key = self.contract.key()
        hashes = good.select(pl.struct(key).hash().alias(HASH)).to_series() if key else pl.Series(HASH, [], pl.UInt64)
        path = self.scratch / f"page-{number:05}.parquet"
        (good.with_columns(hashes) if key else good).write_parquet(path, compression="lz4", statistics=False)
        rejected = self.scratch / f"rejected-{number:05}.parquet" if bad.height else None
        if rejected:
            bad.drop(ROW, strict=False).write_parquet(rejected)
        return CheckedPage(path, good.height, hashes, rejected, bad.height, discarded)

    @property
    def rows(self) -> int:
        """Good rows so far, duplicates among them."""
        return sum(page.rows for page in self.pages)

    @property
    def quarantined(self) -> int:
        """Rejected rows so far."""
        return sum(page.quarantined for page in self.pages)

    def build(self, previous: Entry | None, *, accept_shrink: bool = False, tolerate_all: bool = False) -> Candidate:
        """Check the table as a whole and write it, one file per partition. Raises ContractError when it may not be published.

        `tolerate_all`: the rejected rows were counted against the tolerated share before (a replay).
        """
        if not self.pages:
            self.pages.append(self.store(0, pl.DataFrame(schema=self.contract.polars_schema()), pl.DataFrame()))
        if not tolerate_all:
            self._check_share()
        duplicates = self._duplicates()
        rows = self.rows - len(duplicates)
        check_shrink(self.asset.key, self.contract, rows, previous, accept=accept_shrink)
        frame = pl.scan_parquet([page.good for page in self.pages], glob=False, low_memory=True)
        if len(duplicates):
            frame = frame.with_row_index("_index").filter(~pl.col("_index").is_in(duplicates.implode())).drop("_index")
        frame = frame.drop(HASH, strict=False)
        files = self._write(frame)
        quarantine = None
        if self.quarantined:
            quarantine = self.scratch / "quarantine.parquet"
            self._scan_rejected().sink_parquet(quarantine)
        return Candidate(
            objects=tuple(file.stored for file in files),
            files=files,
            rows=rows,
            duplicates=len(duplicates),
            discarded=sum(page.discarded for page in self.pages),
            quarantined=self.quarantined,
            quarantine=quarantine,
        )

    def _scan_rejected(self) -> pl.LazyFrame:
        rejected = [pl.scan_parquet(page.rejected, glob=False) for page in self.pages if page.rejected]
        return pl.concat(rejected, how="diagonal")  # only some pages may have had rows with a key twice

    def _check_share(self) -> None:
        total = self.rows + self.quarantined
        if self.quarantined > self.contract.terms().tolerate * total:
            reasons = self._scan_rejected().select(pl.col(REASON).str.replace_all(r"\s+", " ")).collect()[REASON]
            rules = reasons.str.replace_all(r"'[^']*'", "…").str.replace_all(r": .* fails ", ": fails ")
            kinds = rules.value_counts(sort=True).head(3)
            worst = "; ".join(f"{count} rows: {reason}" for reason, count in kinds.iter_rows())
            raise ContractError(
                f"{self.asset.key}: {self.quarantined} of {total} rows break {self.contract.__name__}, which tolerates "
                f"{self.contract.terms().tolerate:.1%}: {worst}. First: {reasons[0]}. "
                "Nothing was published; fix the source, the staging function or the contract"
            )

    def _duplicates(self) -> pl.Series:
        """The positions of rows whose key comes again later: the last one of a key stays."""
        key = list(self.contract.key())
        hashes = pl.concat(page.hashes for page in self.pages)
        if not key or hashes.n_unique() == hashes.len():
            return pl.Series("_index", [], pl.UInt32)
        # Only rows whose hash occurs twice can share a key; equal hashes of different keys must both stay.
        suspects = (
            pl.scan_parquet([page.good for page in self.pages], glob=False)
            .select(*key, HASH)
            .with_row_index("_index")
            .filter(pl.col(HASH).is_in(hashes.filter(hashes.is_duplicated()).unique().implode()))
            .collect()
        )
        duplicates = suspects.filter(~pl.struct(key).is_last_distinct())
        if self.strict and duplicates.height:
            raise ContractError(
                f"{self.asset.key}: expected one row per key ({', '.join(key)}), found {duplicates.height} duplicates, the first "
                f"{str(duplicates.select(key).row(0, named=True))[:300]}; fix the model"
            )
        if duplicates.height:
            log.warning("duplicates_dropped", asset=self.asset.key, rows=duplicates.height, key=key)
        return duplicates["_index"]

    def _write(self, frame: pl.LazyFrame) -> tuple[File, ...]:
        names = [column.name for column in self.asset.columns]
        frame = frame.select(names)
        by = list(self.asset.partition_by)
        out = self.scratch / "out"
        out.mkdir()
        if by:
            target: pl.PartitionBy | Path = pl.PartitionBy(out, key=by, include_key=False)
        else:
            target = out / FILE
        frame.sink_parquet(target, compression="zstd", row_group_size=ROWS_PER_GROUP, mkdir=True)
        written: dict[Path, list[Path]] = {}
        for path in sorted(out.rglob("*.parquet")):
            written.setdefault(path.parent.relative_to(out), []).append(path)
        split = [str(folder) for folder, paths in written.items() if len(paths) > 1]
        if split:
            raise DeclarationError(
                f"{self.asset.key}: expected one file for partition {split[0]}, found several; this is a bug, please report it"
            )
        return tuple(self._file(folder, paths[0]) for folder, paths in written.items())

    def _file(self, folder: Path, local: Path) -> File:
        path = "/".join(part for part in (self.asset.prefix, folder.as_posix(), FILE) if part != ".")
        with local.open("rb") as opened:
            sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
        rows = int(pl.scan_parquet(local, glob=False, hive_partitioning=False).select(pl.len()).collect().item())
        return File(local, Stored(path=path, bytes=local.stat().st_size, rows=rows, sha256=sha256))


def check_partition_values(frame: pl.DataFrame, asset: Asset) -> pl.DataFrame:
    """The conformed rows of an asset, with a reason to reject those whose partition value cannot name a folder.

    Values come from outside and become part of a path: only plain codes may, whatever the contract allows.
    """
    for name in asset.partition_by:
        value = pl.col(name).cast(pl.String)
        why = pl.format(
            name + ": '{}' cannot name a partition (1 to 64 of A-Z a-z 0-9 _ . -, a letter or digit first)",
            value.str.slice(0, 80),
        )
        is_unfit = ~value.str.contains(_FOLDER)
        reason = pl.concat_str(REASON, pl.when(is_unfit).then(why), separator="; ", ignore_nulls=True)
        frame = frame.with_columns(pl.when(is_unfit).then(reason).otherwise(REASON).alias(REASON))
    return frame


def check_shrink(key: str, contract: type[Contract], rows: int, previous: Entry | None, *, accept: bool) -> None:
    """Raise ContractError when a table lost more rows than its contract allows, or all of them."""
    if accept or contract.terms().max_shrink >= 1:
        return
    before = previous.rows if previous else 0
    floor = before * (1 - contract.terms().max_shrink)
    if rows == 0 or rows < floor:
        raise ContractError(
            f"{key}: expected at least {max(1, round(floor))} rows (previously {before}, max_shrink {contract.terms().max_shrink:.0%}), found {rows}. "
            f"Nothing was published; if the loss is right, run `catalunya materialize {key} --force --accept-shrink`"
        )

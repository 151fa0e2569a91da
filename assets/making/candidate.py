"""Building a candidate: the table as it would be published, checked, on this machine's disk, not yet visible to readers.

Here: collecting checked pages, the checks that need the whole table (duplicates, contradictions, tolerated share), and writing one
file per partition: the same bytes for the same rows, whatever their order and however they were cut into pages. Not here: where the
rows come from (`staging.py`, `marts.py`), the comparison with the published table (`guards.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from catalunya.assets.graph.spec import Asset
from catalunya.assets.making.maker import Candidate, File
from catalunya.assets.record.ledger import Stored
from catalunya.contracts.model.check import REASON, ROW
from catalunya.contracts.model.contract import Contract
from catalunya.contracts.model.results import CheckTally, percent
from catalunya.io.errors import ContractError, DeclarationError
from catalunya.io.log import get_logger

log = get_logger(__name__)

HASH = "_key_hash"
ROWS_PER_GROUP = 25_000
SORTED_AT_ONCE = 250_000
"""How many rows are sorted in memory at a time, where the source's order is not that of the key."""
MERGED_AT_ONCE, MERGED_ROWS = 64, 10_000
"""How many sorted parts are merged at a time, and how many rows of each are read at a time."""
HASHES_AT_ONCE = 4_000_000
"""How many hashes of keys are compared in memory at a time, where rows of one key may be in any two pages."""
REJECTED_KEPT = 10_000
"""How many rejected rows of a failed attempt are kept, for people to see what is wrong with them."""
FILE = "file.parquet"
UNIQUE_KEY = "key is unique"
"""The check that no two rows have one key and differ; rows that are equal are dropped and counted as duplicates."""
# Names that every reader maps to the same folder: not globs (`*`), escapes (`%2F`), too long, or null to Hive.
_FOLDER = r"\A[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\z"


@dataclass(frozen=True, slots=True)
class CheckedPage:
    """One page that was checked and is on disk: its good rows, each with the hash of its key, and the rejected ones.

    `first` and `last` are its first and last keys if its rows are in the order of the key, else None; `repeated` are the hashes that it
    has more than once, `last_hash` that of its last row. Of rows with one key, those of the page with the higher `rank` replace the others.
    """

    number: int
    good: Path
    rows: int
    repeated: pl.Series
    last_hash: pl.Series
    first: tuple[object, ...] | None
    last: tuple[object, ...] | None
    rejected: Path | None
    quarantined: int
    discarded: int
    rank: int


Received = Callable[[int, pl.Series], pl.DataFrame]
"""The rows as received behind the good rows at some positions of a page, by its number."""


@dataclass
class CandidateBuilder:
    """Checked pages, to be built into a candidate. `strict` tables (marts) may hold no duplicate key.

    `received` gives rows that contradict each other as they were received; without it, they are quarantined as they were checked. The
    checks of the whole table are counted in the `tally`.
    """

    asset: Asset
    contract: type[Contract]
    scratch: Path
    strict: bool = False
    received: Received | None = None
    sorted_at_once: int = SORTED_AT_ONCE
    merged_rows: int = MERGED_ROWS
    hashes_at_once: int = HASHES_AT_ONCE
    tally: CheckTally = field(default_factory=CheckTally)
    pages: list[CheckedPage] = field(default_factory=list)
    contradictions: Path | None = None
    contradicting: int = 0

    def store(
        self, number: int, good: pl.DataFrame, bad: pl.DataFrame, discarded: int = 0, *, rank: int = 0
    ) -> CheckedPage:
        """Write one checked page to disk: its good rows, and the bad ones as received with their reason. Several threads may
        store pages. On disk, because a few rows cut out of a page would keep the whole page's text in memory."""
        key = self.contract.key()
        hashes = good.select(pl.struct(key).hash().alias(HASH)).to_series() if key else pl.Series(HASH, [], pl.UInt64)
        path = self.scratch / f"page-{number:05}.parquet"
        (good.with_columns(hashes) if key else good).write_parquet(path, compression="lz4", statistics=False)
        rejected = self.scratch / f"rejected-{number:05}.parquet" if bad.height else None
        if rejected:
            bad.drop(ROW, strict=False).write_parquet(rejected)
        ends = _ends(good.select(key))
        repeated = hashes.filter(hashes.is_duplicated()).unique()
        of_last = pl.Series(hashes.tail(1).to_list(), dtype=pl.UInt64)  # a slice would keep all hashes in memory
        return CheckedPage(number, path, good.height, repeated, of_last, *ends, rejected, bad.height, discarded, rank)

    @property
    def rows(self) -> int:
        """Good rows so far, duplicates among them."""
        return sum(page.rows for page in self.pages)

    @property
    def quarantined(self) -> int:
        """Rejected rows so far."""
        return sum(page.quarantined for page in self.pages) + self.contradicting

    def build(self, *, tolerate_all: bool = False) -> Candidate:
        """Check the table as a whole and write it, one file per partition. Raises ContractError when it may not be published.

        `tolerate_all`: the rejected rows were counted against the tolerated share before (a replay).
        """
        if not self.pages:
            self.pages.append(self.store(0, pl.DataFrame(schema=self.contract.polars_schema()), pl.DataFrame()))
        dropped, contradicting = self._same_keys()
        if contradicting.height:
            self._reject(contradicting)
        if not tolerate_all:
            self._check_share()
        out = pl.concat([dropped, contradicting["_index"]])
        frame = self._scan()
        if len(out):
            frame = frame.filter(~pl.col("_index").is_in(out.implode()))
        files = self._write(self._sorted(frame, out))
        quarantine = None
        if self.quarantined:
            quarantine = self.scratch / "quarantine.parquet"
            self._scan_rejected().sink_parquet(quarantine)
        return Candidate(
            objects=tuple(file.stored for file in files),
            files=files,
            rows=self.rows - len(out),
            duplicates=len(dropped),
            discarded=sum(page.discarded for page in self.pages),
            quarantined=self.quarantined,
            quarantine=quarantine,
        )

    def _scan(self) -> pl.LazyFrame:
        """The good rows of all pages, with their position as `_index`."""
        return pl.scan_parquet([page.good for page in self.pages], low_memory=True, glob=False).with_row_index("_index")

    def _scan_rejected(self) -> pl.LazyFrame:
        paths = [path for path in (*(page.rejected for page in self.pages), self.contradictions) if path]
        return pl.concat([pl.scan_parquet(path, glob=False) for path in paths], how="diagonal_relaxed")

    def _check_share(self) -> None:
        total = self.rows - self.contradicting + self.quarantined
        tolerate = self.contract.terms().tolerate
        is_beyond = self.quarantined > tolerate * total
        self.tally.put(f"rows in quarantine at most {percent(tolerate)}", "contract", is_beyond * self.quarantined)
        if is_beyond:
            reasons = self._scan_rejected().select(pl.col(REASON).str.replace_all(r"\s+", " ")).collect()[REASON]
            rules = reasons.str.replace_all(r"'[^']*'", "…").str.replace_all(r": .* fails ", ": fails ")
            kinds = rules.value_counts(sort=True).head(3)
            worst = "; ".join(f"{count} row{'s' * (count != 1)}: {reason}" for reason, count in kinds.iter_rows())
            error = ContractError(
                f"{self.asset.key}: {self.quarantined} of {total} rows break {self.contract.__name__}, which tolerates "
                f"{self.contract.terms().tolerate:.1%}: {worst}. First: {reasons[0]}. "
                f"Nothing was published; `catalunya quarantine {self.asset.key}` shows the rows; "
                "fix the source, the staging function or the contract"
            )
            kept = self.scratch / "quarantine.parquet"
            self._scan_rejected().head(REJECTED_KEPT).sink_parquet(kept)
            error.rejected = (kept, self.quarantined)
            raise error

    def _same_keys(self) -> tuple[pl.Series, pl.DataFrame]:
        """Of rows with one key: the positions of those to drop, and `_index`, `others` and `key` of those that contradict each other.

        Rows of a page of higher rank replace the others. Of those of one rank, the one that `latest_by` chooses stays, or any of
        several that are equal; if they differ, none of them can be the right one.
        """
        key = list(self.contract.key())
        none = {"_index": pl.UInt32, "others": pl.UInt32, "key": pl.String}
        nothing = pl.Series("_index", [], pl.UInt32), pl.DataFrame(schema=none)
        if key:
            self.tally.put(UNIQUE_KEY, "contract")
        # Only rows whose hash occurs twice can share a key; equal hashes of different keys must both stay.
        repeated = self._repeated() if key else pl.Series([], dtype=pl.UInt64)
        if repeated.is_empty():
            return nothing
        latest_by = self.contract.terms().latest_by
        suspects = (
            self._scan()
            .filter(pl.col(HASH).is_in(repeated.implode()))
            .select(
                "_index",
                *key,
                pl.struct(list(self.contract.polars_schema())).hash().alias("_content"),
                (pl.col(latest_by) if latest_by else pl.lit(None)).alias("_latest"),
            )
            .collect()
        )
        same = suspects.filter(pl.struct(key).is_duplicated())
        if same.is_empty():
            return nothing
        if self.strict:
            duplicates = same.filter(~pl.struct(key).is_last_distinct())
            self._count_same(
                duplicates.height, ", ".join(f"{k} '{v}'" for k, v in duplicates.select(key).row(0, named=True).items())
            )
            raise ContractError(
                f"{self.asset.key}: expected one row per key ({', '.join(key)}), found {duplicates.height} duplicates, the first "
                f"{str(duplicates.select(key).row(0, named=True))[:300]}; fix the model"
            )
        ends = pl.Series([page.rows for page in self.pages], dtype=pl.UInt32).cum_sum()
        ranks = pl.Series("_rank", [page.rank for page in self.pages], dtype=pl.UInt8)
        same = same.with_columns(ranks.gather(ends.search_sorted(same["_index"], side="right")))
        top = same.filter(pl.col("_rank") == pl.col("_rank").max().over(key))
        # Nulls are lowest; where all are null they are equal.
        top = top.filter(pl.col("_latest").eq_missing(pl.col("_latest").max().over(key)))
        is_contradiction = pl.col("_content").n_unique().over(key) > 1
        top = top.rechunk()  # polars 2.1 panics in `format` when the columns' chunks differ in size
        values = [pl.format(f"{name} '{{}}'", pl.col(name).cast(pl.String).str.slice(0, 80)) for name in key]
        contradicting = top.filter(is_contradiction).select(
            "_index", others=(pl.len().over(key) - 1).cast(pl.UInt32), key=pl.concat_str(values, separator=", ")
        )
        kept = top.filter(~is_contradiction).filter(pl.struct(key).is_last_distinct())["_index"]
        dropped = same.filter(~pl.col("_index").is_in(pl.concat([kept, contradicting["_index"]]).implode()))["_index"]
        if len(dropped):
            log.warning("duplicates_dropped", asset=self.asset.key, rows=len(dropped), key=key)
        return dropped, contradicting

    def _repeated(self) -> pl.Series:
        """The hashes that may be those of several rows. Memory holds no hash of a table in the order of its key, and a part of them else."""
        if self._is_sorted():
            neighbors = pairwise(page for page in self.pages if page.rows)
            across = [page.last_hash for page, following in neighbors if page.last == following.first]
            return pl.concat([*(page.repeated for page in self.pages), *across]).unique()
        found, parts = [], -(-self.rows // self.hashes_at_once)
        for part in range(parts):
            of_part = self._scan().select(HASH).filter(pl.col(HASH) % parts == part).collect(engine="streaming")[HASH]
            of_part = of_part.sort()  # `is_duplicated` takes four times the memory and twice the time
            found.append(of_part.filter(of_part == of_part.shift(1)).unique())
        return pl.concat(found) if found else pl.Series([], dtype=pl.UInt64)

    def _is_sorted(self) -> bool:
        """Whether the rows of all pages, one after the other, are in the order of the key: then rows of one key are neighbors."""
        ends: list[Any] = [(page.first, page.last) for page in self.pages if page.rows]
        return all(first for first, _ in ends) and all(last <= first for (_, last), (first, _) in pairwise(ends))

    def _reject(self, contradicting: pl.DataFrame) -> None:
        """Add rows that contradict each other to the rejected ones, as they were received."""
        self.contradicting = contradicting.height
        self._count_same(contradicting.height, contradicting["key"].min())
        log.warning("contradictions_quarantined", asset=self.asset.key, rows=self.contradicting)
        reason = pl.format(
            "contradicts {} other {} with the same key: {}",
            "others",
            pl.when(pl.col("others") == 1).then(pl.lit("row")).otherwise(pl.lit("rows")),
            "key",
        )
        found, at = [], 0
        for page in self.pages:
            here = contradicting.filter(pl.col("_index").is_between(at, at + page.rows - 1)).sort("_index")
            if here.height:
                positions = here["_index"] - at
                received = self.received or (lambda *_: pl.read_parquet(page.good, glob=False).drop(HASH)[positions])  # noqa: B023
                rows = received(page.number, positions)
                found.append(pl.concat([here.select(reason.alias(REASON)), rows], how="horizontal"))
            at += page.rows
        self.contradictions = self.scratch / "contradictions.parquet"
        pl.concat(found, how="diagonal_relaxed").write_parquet(self.contradictions)

    def _count_same(self, rows: int, key: object) -> None:
        is_personal = any(column.personal for column in self.contract.columns() if column.key)
        self.tally.put(UNIQUE_KEY, "contract", rows, key, personal=is_personal)

    def _sorted(self, frame: pl.LazyFrame, left_out: pl.Series) -> pl.LazyFrame:
        """The rows in the order of the key within each partition. Most sources send them in the order of the key, and nothing is done.

        Otherwise a part at a time is sorted in memory, and the sorted parts are merged, many at a time: memory stays that of a few parts.
        """
        order = list(dict.fromkeys([*self.asset.partition_by, *self.contract.key()]))
        if self._is_sorted() or not self.contract.key():
            return frame
        rows = self.rows - len(left_out)
        if rows <= self.sorted_at_once:
            return frame.sort(order)
        names = [column.name for column in self.asset.columns]
        parts = frame.select(names).collect_batches(chunk_size=self.sorted_at_once)
        runs = [self._run(f"sorted-{number:05}", part, order) for number, part in enumerate(parts)]
        while len(runs) > 1:
            runs = [self._merged(runs[at : at + MERGED_AT_ONCE], order) for at in range(0, len(runs), MERGED_AT_ONCE)]
        paths = dict.fromkeys(piece.path for piece in runs[0])
        return pl.scan_parquet(list(paths), low_memory=True, glob=False)

    def _run(self, name: str, rows: pl.DataFrame, order: Sequence[str]) -> list[_Piece]:
        """Sort rows and write them to one file, to be read in small pieces: a merge has one of each run in memory."""
        path = self.scratch / f"{name}.parquet"
        rows = rows.sort(order, maintain_order=True)  # which makes use of what is in order already: half the time
        rows.write_parquet(path, compression="lz4", statistics=False, row_group_size=self.merged_rows)
        firsts = rows.select(order).gather_every(self.merged_rows).iter_rows()
        return [_Piece(first, path, number * self.merged_rows) for number, first in enumerate(firsts)]

    def _merged(self, runs: Sequence[Sequence[_Piece]], order: Sequence[str]) -> list[_Piece]:
        """One run made of several, whose files are deleted. No two rows have one key by now.

        Pieces are read in the order of their first rows. All rows before the first one of the next piece are there by then, and can be
        written; what remains is at most one piece of each run.
        """
        if len(runs) == 1:
            return list(runs[0])
        pieces = sorted(
            chain.from_iterable(runs), key=lambda piece: [(value is not None, value) for value in piece.first]
        )
        at_once = -(-self.sorted_at_once // self.merged_rows)
        merged: list[_Piece] = []
        rest: list[pl.DataFrame] = []
        for at in range(0, len(pieces), at_once):
            read = [
                pl.scan_parquet(piece.path, glob=False).slice(piece.at, self.merged_rows)
                for piece in pieces[at : at + at_once]
            ]
            rows = pl.concat([*rest, *pl.collect_all(read)])
            following = pieces[at + at_once : at + at_once + 1]
            is_ready = _is_before(following[0].first, order) if following else pl.lit(value=True)
            rest = [rows.filter(~is_ready)]
            merged += self._run(f"{pieces[0].path.stem}-{at:05}", rows.filter(is_ready), order)
        for path in {piece.path for piece in pieces}:
            path.unlink()
        return merged

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


def check_partition_values(frame: pl.DataFrame, asset: Asset, tally: CheckTally | None = None) -> pl.DataFrame:
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
        if tally is not None:
            rows, sample = 0, None
            if frame[REASON].null_count() < frame.height:
                unfit_values = frame.filter(pl.col(REASON).is_not_null() & is_unfit).select(value)[name]
                rows, sample = len(unfit_values), unfit_values.min()
            tally.count(f"{name} can name a partition", "contract", rows, sample, column=name)
    return frame


class _Piece(NamedTuple):
    """The rows of a sorted file from the position `at` on, as many as are read at a time; `first` is what the first one is sorted by."""

    first: tuple[Any, ...]
    path: Path
    at: int


def _is_before(first: Sequence[object], order: Sequence[str]) -> pl.Expr:
    """Whether a row is sorted before the one that has these values, of which null is the lowest: a partition may be of none."""
    is_before = pl.lit(value=False)
    for name, value in zip(reversed(order), reversed(first), strict=True):
        is_lower = pl.lit(value=False) if value is None else (pl.col(name) < value).fill_null(value=True)
        is_before = is_lower | (pl.col(name).eq_missing(pl.lit(value)) & is_before)
    return is_before


def _ends(keys: pl.DataFrame) -> tuple[tuple[object, ...] | None, tuple[object, ...] | None]:
    """The first and the last of these rows if they are in ascending order, by the first column, then the next; else None."""
    if keys.is_empty() or sum(keys.null_count().row(0)):
        return None, None
    is_less, is_equal = pl.lit(value=False), pl.lit(value=True)
    for name in keys.columns:
        before = pl.col(name).shift(1)
        is_less |= is_equal & (before < pl.col(name))
        is_equal &= before == pl.col(name)
    if keys.height > 1 and not keys.select((is_less | is_equal).all()).item():
        return None, None
    return keys.row(0), keys.row(-1)

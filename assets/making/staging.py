"""How a staging asset is made: raw pages of one landing batch, one at a time, into a checked candidate.

Here: calling the staging function, separating good rows from bad, replaying quarantine, keeping the rows that a backfill does not
touch. Not here: reading pages (`io/sources/pages.py`), the checks of the whole table and its files (`candidate.py`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import polars as pl

from catalunya.assets.graph.spec import Layer, StagingDeclaration
from catalunya.assets.making.candidate import CandidateBuilder, CheckedPage, check_partition_values
from catalunya.assets.making.guards import guarded
from catalunya.assets.making.maker import Candidate, Context, Maker
from catalunya.assets.record.batch import read_batch
from catalunya.assets.record.ledger import Entry
from catalunya.assets.record.paths import manifest_path, scan_table
from catalunya.contracts.model.check import REASON, ROW, conform, renamed, split_rows
from catalunya.io.errors import DeclarationError, LakeError
from catalunya.io.lake import Lake
from catalunya.io.periods import Window, period
from catalunya.io.sources.base import Page
from catalunya.io.sources.pages import read_page

# polars uses every core within one operation, but not between operations: a second page fills the gaps.
PAGES_AT_ONCE = 2
PUBLISHED_ROWS = 50_000

_NESTED = frozenset(
    {"point", "location", "url", "document", "multipolygon", "polygon", "line", "multiline", "multipoint"}
)


class StagingMaker(Maker):
    """Makes a clean table from a landing batch, or from the published table and its quarantine (replay)."""

    replays = True

    def make(self, context: Context, scratch: Path) -> Candidate:
        """Transform the batch, or replay the quarantine."""
        declaration, lake, previous = context.declaration(StagingDeclaration), context.project.lake, context.previous
        with lake.reading(context.asset.prefix):
            reads = [scan_table(lake, read.asset, context.made(read.asset.key)) for read in declaration.reads]
            if context.request.replay and previous:
                candidate = replay(declaration, lake, previous, reads, scratch)
            else:
                candidate = transform(context, declaration, reads, scratch)
            return guarded(context, candidate, declaration.contract)

    def publish(self, context: Context, candidate: Candidate, entry: Entry) -> None:
        """Publish, unless the time is over: a function that is cut off half-way leaves more work to the next than one that stops."""
        context.check_time(f"{candidate.rows:,} rows were ready to publish")
        super().publish(context, candidate, entry)

    def clean_up(self, context: Context) -> None:
        """Delete the landing batches that the ledger shows as used by every table made from them, then update the catalog."""
        for up in context.project.graph.upstream(context.asset.key):
            if up.layer is Layer.LANDING:
                context.project.lake.delete([found.path for found in context.state.used_batch(up)])
        super().clean_up(context)


MAKER = StagingMaker()


def transform(
    context: Context, declaration: StagingDeclaration, reads: Sequence[pl.LazyFrame], scratch: Path
) -> Candidate:
    """Make the candidate of a staging table from its landing batch. Memory holds a few pages, never the table.

    A backfill replaces its periods; the published rows of all others stay. At the request's deadline it stops before the next
    page and cannot resume: its checked pages are on this machine's disk, which the next function does not see. Keeping them in the
    lake would cost about as much as making them again: a million rows take ten seconds of CPU, and a function has 15 minutes.

    Raises ContractError when the table may not be published, DeclarationError when the staging function breaks its rules,
    LakeError when the batch is gone, DeadlineReached.
    """
    asset, lake, previous = context.asset, context.project.lake, context.previous
    landed = context.made(declaration.landing.asset.key)
    if not landed.batch or not lake.exists(manifest_path(landed.batch)):
        raise LakeError(
            f"{asset.key}: the batch of {landed.asset} was used and deleted; `catalunya materialize {landed.asset} {asset.key}` lands it again"
        )
    batch = read_batch(lake, landed.batch)
    fields = raw_fields(declaration)
    done = 0

    def read(page: Page) -> pl.DataFrame:
        pages_are = declaration.landing.source.pages_are
        return read_page(lake, f"{batch.prefix}/{page.name}", fields, pages_are, asset.key)

    def check(number: int, page: Page) -> CheckedPage:
        context.check_time(f"{done:,} of {batch.manifest.rows:,} rows were checked")
        return builder.store(number, *check_page(declaration, read(page), reads), rank=1)

    def received(number: int, positions: pl.Series) -> pl.DataFrame:
        return received_rows(declaration, read(batch.manifest.pages[number]), reads, positions)

    builder = CandidateBuilder(asset, declaration.contract, scratch, received=received)

    for page, checked in zip(batch.manifest.pages, _at_once(check, batch.manifest.pages), strict=True):
        builder.pages.append(checked)
        done += page.rows
        context.report("producing", done, batch.manifest.rows)
    if batch.manifest.window and previous:
        # Of lower rank than the batch's own: should the source send a row of another period after all, the batch's is the newer.
        others = _other_periods(declaration, lake, previous, batch.manifest.window)
        builder.pages[:0] = _stored(builder, others, len(batch.manifest.pages), rank=0)
    context.check_time(f"{done:,} rows were checked page by page, and not yet as a whole")
    return builder.build()


def replay(
    declaration: StagingDeclaration, lake: Lake, published: Entry, reads: Sequence[pl.LazyFrame], scratch: Path
) -> Candidate:
    """Make the candidate from the published table and the rows that its last materialization quarantined.

    Rows that still break the contract, or still contradict each other, stay in quarantine; rows that pass join the table, where a
    published row of the same key wins.
    """
    assert published.quarantine is not None
    raw = pl.read_parquet(lake.get(published.quarantine)).drop(REASON)

    def received(_: int, positions: pl.Series) -> pl.DataFrame:
        return received_rows(declaration, raw, reads, positions)

    builder = CandidateBuilder(declaration.asset, declaration.contract, scratch, received=received)
    builder.pages.append(builder.store(0, *check_page(declaration, raw, reads), rank=0))
    builder.pages += _stored(builder, scan_table(lake, declaration.asset, published), 1, rank=1)
    return builder.build(tolerate_all=True)


def check_page(
    declaration: StagingDeclaration, raw: pl.DataFrame, reads: Sequence[pl.LazyFrame]
) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    """Take one raw page through the staging function and its contract.

    Returns the good rows, the bad ones as received with their reason, and how many rows the staging function left out.
    """
    frame = _transformed(declaration, raw, reads)
    good, bad = split_rows(frame, declaration.contract)
    rejected = bad.join(raw.with_row_index(ROW), on=ROW, how="left").drop(ROW) if bad.height else bad
    return good, rejected, raw.height - frame.height


def received_rows(
    declaration: StagingDeclaration, raw: pl.DataFrame, reads: Sequence[pl.LazyFrame], positions: pl.Series
) -> pl.DataFrame:
    """The raw rows behind the good rows of a page at these positions. The page is checked again, so that no other page has to carry
    along where its rows came from."""
    numbers = _transformed(declaration, raw, reads)
    _, bad = split_rows(numbers, declaration.contract)
    good = numbers[ROW].filter(~numbers[ROW].is_in(bad[ROW].implode())) if bad.height else numbers[ROW]
    return raw[good.gather(positions)]


def _transformed(declaration: StagingDeclaration, raw: pl.DataFrame, reads: Sequence[pl.LazyFrame]) -> pl.DataFrame:
    """What the staging function makes of a page, conformed to the contract, in the order of the raw rows."""
    key, contract = declaration.asset.key, declaration.contract
    frame = conform(key, declaration.function(renamed(raw, contract), *reads), contract).collect()
    if not frame[ROW].is_sorted():  # a join may shuffle; the same rows must give the same bytes
        frame = frame.sort(ROW)
    if frame[ROW].n_unique() != frame.height:
        raise DeclarationError(
            f"{key}: expected at most one row per raw row, but the staging function duplicated rows; "
            "does it join on a key that is not unique?"
        )
    return check_partition_values(frame, declaration.asset)


def raw_fields(declaration: StagingDeclaration) -> list[str]:
    """The raw fields that are read: values of one cell, and none that are personal, so that they never leave landing."""
    return [f.name for f in declaration.landing.contract.fields() if not f.personal and f.kind not in _NESTED]


def _other_periods(declaration: StagingDeclaration, lake: Lake, published: Entry, window: Window) -> pl.LazyFrame:
    """The published rows whose period is outside the window."""
    table = scan_table(lake, declaration.asset, published)
    column = declaration.contract.period()
    assert column is not None  # the declaration requires it
    periods = table.select(pl.col(column).unique()).collect().to_series().to_list()
    replaced = [value for value in periods if window.covers(period(str(value)))]
    return table.filter(~pl.col(column).is_in(replaced))


def _stored(builder: CandidateBuilder, table: pl.LazyFrame, first: int, *, rank: int) -> list[CheckedPage]:
    """Rows that were published, and so were checked, as pages of the new table; numbered from `first`."""
    pages = table.collect_batches(chunk_size=PUBLISHED_ROWS, maintain_order=True)
    return [builder.store(number, page, pl.DataFrame(), rank=rank) for number, page in enumerate(pages, start=first)]


def _at_once(work: Callable[[int, Page], CheckedPage], pages: Sequence[Page]) -> Iterator[CheckedPage]:
    """The results in order, worked out by a few threads, with as many pages in memory as there are threads."""
    if len(pages) == 1:
        yield work(0, pages[0])
        return
    with ThreadPoolExecutor(PAGES_AT_ONCE) as pool:
        under_way: deque[Future[CheckedPage]] = deque()
        for number, page in enumerate(pages):
            if len(under_way) == PAGES_AT_ONCE:
                yield under_way.popleft().result()
            under_way.append(pool.submit(work, number, page))
        while under_way:
            yield under_way.popleft().result()

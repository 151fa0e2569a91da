"""How a staging asset is made: raw pages of one landing batch, one at a time, into a checked candidate.

Here: reading the pages of a batch, replaying quarantine, keeping the rows that a backfill does not touch, accounting for every row.
Not here: checking one page (`page_check.py`), the checks of the whole table and its files (`candidate.py`), what a page looks like
(`io/sources/pages.py`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import polars as pl

from catalunya.assets.graph.spec import Layer, StagingDeclaration
from catalunya.assets.making.candidate import CandidateBuilder, CheckedPage
from catalunya.assets.making.guards import guarded
from catalunya.assets.making.maker import Candidate, Context, Maker
from catalunya.assets.making.page_check import PageChecker
from catalunya.assets.making.references import check_own_references
from catalunya.assets.record.batch import Batch, Manifest, read_batch
from catalunya.assets.record.ledger import Entry
from catalunya.assets.record.paths import manifest_path, scan_table
from catalunya.contracts.model.check import REASON
from catalunya.contracts.model.columns import PROVENANCE
from catalunya.contracts.model.results import CheckTally
from catalunya.contracts.model.text import clean_text
from catalunya.io.errors import BatchDamaged, ContractError, ObjectMissing, UsageError
from catalunya.io.lake import Lake
from catalunya.io.periods import Window, period
from catalunya.io.sources.base import Page
from catalunya.io.sources.pages import SEARCHED, read_page

# polars uses every core within one operation, but not between operations: other pages fill the gaps. Each takes about 80 MB.
PAGES_AT_ONCE = 3
PUBLISHED_ROWS = 50_000
ACCOUNTED = "every row is accounted for"

T = TypeVar("T")


class StagingMaker(Maker):
    """Makes a clean table from a landing batch, or from the published table and its quarantine (replay)."""

    replays = True

    def make(self, context: Context, scratch: Path) -> Candidate:
        """Transform the batch, or replay the quarantine."""
        declaration = context.declaration(StagingDeclaration)
        with context.project.lake.reading(context.asset.prefix):
            reads = [
                scan_table(context.project.lake, read.asset, context.made(read.asset.key)) for read in declaration.reads
            ]
            make = replay if context.request.replay and context.previous else transform
            return guarded(context, make(context, declaration, reads, scratch), declaration.contract)

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

    Raises BatchDamaged when the batch is not what was landed; it loses its seal, so that the landing asset is stale and lands it
    again. Raises ContractError when the table may not be published, DeclarationError when the staging function breaks its rules,
    DeadlineReached.
    """
    lake, landed = context.project.lake, context.made(declaration.landing.asset.key)
    assert landed.batch
    try:
        return _transform(context, declaration, read_batch(lake, landed.batch, landed), reads, scratch)
    except ObjectMissing as error:
        if lake.exists(manifest_path(landed.batch)):
            raise  # of another table
        raise BatchDamaged(
            f"{context.asset.key}: the batch of {landed.asset} was deleted meanwhile; "
            f"`catalunya materialize {landed.asset} {context.asset.key}` lands it again"
        ) from error
    except BatchDamaged:
        lake.delete([manifest_path(landed.batch)])
        raise


def _transform(
    context: Context, declaration: StagingDeclaration, batch: Batch, reads: Sequence[pl.LazyFrame], scratch: Path
) -> Candidate:
    asset, manifest, previous = context.asset, batch.manifest, context.previous
    checker = PageChecker(declaration, reads, manifest.fields, tally=context.checks)
    done = 0

    def read(page: Page) -> pl.DataFrame:
        context.check_time(f"{done:,} of {manifest.rows:,} rows were checked")
        return _read(context, checker, batch, page)

    def check(number: int, page: Page) -> CheckedPage:
        return builder.store(number, *checker.check(read(page)), rank=1)

    def received(number: int, positions: pl.Series) -> pl.DataFrame:
        return checker.received(read(manifest.pages[number]), positions)

    builder = CandidateBuilder(asset, declaration.contract, scratch, received=received, tally=context.checks)
    if declaration.across:
        per_page = _at_once(lambda _, page: checker.find_across(read(page)), manifest.pages)
        checker.across = pl.concat([checker.find_across(checker.empty()), *per_page]).unique()
    for page, checked in zip(manifest.pages, _at_once(check, manifest.pages), strict=True):
        builder.pages.append(checked)
        done += page.rows
        context.report("producing", done, manifest.rows)
    kept = 0
    if previous and (others := _kept(context, declaration, manifest, previous, builder.pages)) is not None:
        # Of lower rank than the batch's own: should the source send a row of another period after all, the batch's is the newer.
        builder.pages[:0] = stored = _stored(builder, others, len(manifest.pages), rank=0)
        kept = sum(page.rows for page in stored)
    context.check_time(f"{done:,} rows were checked page by page, and not yet as a whole")
    drift = checker.types.drift(previous)
    candidate = _built(builder, manifest.rows * checker.shape.rows_each + kept)
    candidate = checker.notes.on(candidate, previous, is_part=bool(kept) or manifest.window is not None)
    return replace(candidate, drift=drift, fields=checker.types.fields)


def replay(
    context: Context, declaration: StagingDeclaration, reads: Sequence[pl.LazyFrame], scratch: Path
) -> Candidate:
    """Make the candidate from the published table and the rows that its last materialization quarantined.

    Rows that still break the contract, or still contradict each other, stay in quarantine; rows that pass join the table, where a
    published row of the same key wins. Values of other rows that belong to them (`across`) were quarantined beside them.
    """
    lake, published = context.project.lake, context.previous
    assert published is not None
    assert published.quarantine is not None
    fields = context.made(declaration.landing.asset.key).fields
    checker = PageChecker(declaration, reads, fields, tally=context.checks)
    raw = pl.read_parquet(lake.get(published.quarantine)).drop(REASON)
    if (
        PROVENANCE not in raw.columns
    ):  # rejected before the table said where its rows are from, and so by its first source
        raw = checker.shape.marked(raw, declaration.landing.using("").source.describe())
    if declaration.across:
        raw, checker.across = _with_across(checker, raw)

    def received(_: int, positions: pl.Series) -> pl.DataFrame:
        return checker.received(raw, positions)

    builder = CandidateBuilder(
        declaration.asset, declaration.contract, scratch, received=received, tally=context.checks
    )
    builder.pages.append(builder.store(0, *checker.check(raw), rank=0))
    builder.pages += _stored(builder, scan_table(lake, declaration.asset, published), 1, rank=1)
    candidate = _built(builder, published.quarantined + published.rows, tolerate_all=True)
    candidate = checker.notes.on(candidate, published, is_part=True)
    return replace(candidate, fields=published.fields)


def _built(builder: CandidateBuilder, rows: int, *, tolerate_all: bool = False) -> Candidate:
    """The candidate of all pages, of which `rows` rows were read."""
    candidate = check_own_references(builder.asset, builder.build(tolerate_all=tolerate_all), builder.tally)
    check_accounted(builder.asset.key, candidate, rows, builder.tally)
    return candidate


def check_accounted(key: str, candidate: Candidate, rows: int, tally: CheckTally | None = None) -> None:
    """Raise ContractError unless every row that was read is in the table, in quarantine, a duplicate, or was left out by the
    staging function: the batch with the only copy of a lost row is kept."""
    published = sum(file.stored.rows for file in candidate.files)
    accounted = published + candidate.quarantined + candidate.duplicates + candidate.discarded
    if tally is not None:
        tally.put(ACCOUNTED, "contract", abs(rows - accounted))
    if accounted != rows:
        raise ContractError(
            f"{key}: expected all of {rows:,} rows to be accounted for, found {accounted:,} ({published:,} in the table, "
            f"{candidate.quarantined:,} in quarantine, {candidate.duplicates:,} duplicates, {candidate.discarded:,} discarded); "
            "nothing was published or deleted; this is a bug, please report it"
        )


def _read(context: Context, checker: PageChecker, batch: Batch, page: Page) -> pl.DataFrame:
    """One raw page, as it was landed and with all of its rows; a long one, with `unpivot`."""
    manifest, path = batch.manifest, f"{batch.prefix}/{page.name}"
    searched = SEARCHED if manifest.bytes <= SEARCHED else SEARCHED // len(manifest.pages)
    # The batch may be of the source that was in use before the last switch.
    landing = checker.declaration.landing.of_dataset(manifest.source)
    raw = read_page(
        batch.read(context.project.lake, page),
        path,
        landing.reading.theirs(checker.shape.read),
        landing.source,
        context.asset.key,
        searched=searched,
    )
    raw = checker.shape.marked(landing.reading.read(raw, context.asset.key), manifest.source)
    if raw.height != page.rows:
        raise ContractError(
            f"{context.asset.key}: expected {page.rows:,} rows in {path}, as were counted when it landed, found {raw.height:,}. "
            f"Nothing was published; look at the page, and report it if it is in order"
        )
    return checker.shape.long(raw)


def _with_across(checker: PageChecker, quarantined: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The quarantined rows as they were received, and what `across` had found for them, which was stored beside them."""
    shape = checker.find_across(checker.empty())
    if lacking := [name for name in shape.columns if name not in quarantined.columns]:
        key, landing = checker.declaration.asset.key, checker.declaration.landing.asset.key
        raise UsageError(
            f"{key}: its quarantine has no {', '.join(lacking)} beside the rows, so they cannot be replayed; "
            f"`catalunya materialize {landing} {key} --force` reads them again"
        )
    values = quarantined.select(checker.across_values(shape))
    found = clean_text(quarantined.select(checker.across_key(shape))).frame.hstack(values)
    return quarantined.drop(values.columns), found.select(shape.columns).unique()


def _kept(
    context: Context,
    declaration: StagingDeclaration,
    manifest: Manifest,
    published: Entry,
    pages: Sequence[CheckedPage],
) -> pl.LazyFrame | None:
    """The published rows that a batch does not replace: those of periods outside a backfill, and of an alternative source those that other
    sources have of periods it lacks, so that a switch loses no history. None if it replaces the table."""
    lake = context.project.lake
    if manifest.window:
        return _other_periods(declaration, lake, published, manifest.window)
    period_of = declaration.contract.period()
    source = next((column.name for column in declaration.contract.columns() if column.source == PROVENANCE), None)
    is_first = not declaration.landing.of_dataset(manifest.source).in_use
    if is_first or period_of is None or source not in published.columns:
        return None
    replaced = pl.concat(pl.scan_parquet(page.good, glob=False).select(period_of) for page in pages).unique()
    table = scan_table(lake, declaration.asset, published).filter(pl.col(source) != manifest.source)
    return table.join(replaced, on=period_of, how="anti", maintain_order="left")


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


def _at_once(work: Callable[[int, Page], T], pages: Sequence[Page]) -> Iterator[T]:
    """The results in order, worked out by a few threads, with as many pages in memory as there are threads."""
    if len(pages) == 1:
        yield work(0, pages[0])
        return
    with ThreadPoolExecutor(PAGES_AT_ONCE) as pool:
        under_way: deque[Future[T]] = deque()
        for number, page in enumerate(pages):
            if len(under_way) == PAGES_AT_ONCE:
                yield under_way.popleft().result()
            under_way.append(pool.submit(work, number, page))
        while under_way:
            yield under_way.popleft().result()

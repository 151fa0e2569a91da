"""How a staging asset is made: raw pages of one landing batch, one at a time, into a checked candidate.

Here: calling the staging function, separating good rows from bad, replaying quarantine, keeping the rows that a backfill does not
touch. Not here: reading pages (`io/sources/pages.py`), the checks of the whole table and its files (`candidate.py`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import polars as pl

from catalunya.assets.graph.spec import Layer, StagingDeclaration
from catalunya.assets.making.candidate import CandidateBuilder, CheckedPage, check_partition_values
from catalunya.assets.making.expressions import look_up
from catalunya.assets.making.maker import Candidate, Context, Maker
from catalunya.assets.record.batch import Batch, read_batch
from catalunya.assets.record.ledger import Entry
from catalunya.assets.record.paths import manifest_path, scan_table
from catalunya.contracts.model.check import REASON, ROW, conform, renamed, split_rows
from catalunya.io.errors import BatchDamaged, ContractError, DeclarationError, ObjectMissing, UsageError
from catalunya.io.lake import Lake
from catalunya.io.periods import Window, period
from catalunya.io.sources.base import Page
from catalunya.io.sources.pages import FLAW, SEARCHED, read_page

# polars uses every core within one operation, but not between operations: a second page fills the gaps.
PAGES_AT_ONCE = 2
PUBLISHED_ROWS = 50_000

T = TypeVar("T")

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
        return candidate

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
    builder = CandidateBuilder(asset, declaration.contract, scratch)
    done = 0

    def read(page: Page) -> pl.DataFrame:
        context.check_time(f"{done:,} of {manifest.rows:,} rows were checked")
        return _read(context, declaration, batch, page)

    def check(number: int, page: Page) -> CheckedPage:
        return builder.store(number, *check_page(declaration, read(page), reads, found))

    found: pl.DataFrame | None = None
    if declaration.across:
        empty = pl.DataFrame(schema=dict.fromkeys(raw_fields(declaration), pl.String))
        per_page = _at_once(lambda _, page: across_of(declaration, read(page)), manifest.pages)
        found = pl.concat([across_of(declaration, empty), *per_page]).unique()
    for page, checked in zip(manifest.pages, _at_once(check, manifest.pages), strict=True):
        builder.pages.append(checked)
        done += page.rows
        context.report("producing", done, manifest.rows)
    kept = 0
    if manifest.window and previous:
        # Before the batch's own: should the source send a row of another period after all, the batch's is the newer.
        others = _other_periods(declaration, context.project.lake, previous, manifest.window)
        builder.pages[:0] = stored = _stored(builder, others, len(manifest.pages))
        kept = sum(page.rows for page in stored)
    context.check_time(f"{done:,} rows were checked page by page, and not yet as a whole")
    candidate = builder.build(previous, accept_shrink=context.request.accept_shrink)
    check_accounted(asset.key, candidate, manifest.rows + kept)
    return candidate


def _read(context: Context, declaration: StagingDeclaration, batch: Batch, page: Page) -> pl.DataFrame:
    """One raw page, as it was landed and with all of its rows."""
    manifest, path = batch.manifest, f"{batch.prefix}/{page.name}"
    searched = SEARCHED if manifest.bytes <= SEARCHED else SEARCHED // len(manifest.pages)
    raw = read_page(
        batch.read(context.project.lake, page),
        path,
        raw_fields(declaration),
        declaration.landing.source.pages_are,
        context.asset.key,
        searched=searched,
    )
    if raw.height != page.rows:
        raise ContractError(
            f"{context.asset.key}: expected {page.rows:,} rows in {path}, as were counted when it landed, found {raw.height:,}. "
            f"Nothing was published; look at the page, and report it if it is in order"
        )
    return raw


def replay(
    declaration: StagingDeclaration, lake: Lake, published: Entry, reads: Sequence[pl.LazyFrame], scratch: Path
) -> Candidate:
    """Make the candidate from the published table and the rows that its last materialization quarantined.

    Rows that still break the contract stay in quarantine; rows that pass join the table, where a published row of the
    same key wins. Values of other rows that belong to them (`across`) were quarantined beside them.
    """
    assert published.quarantine is not None
    builder = CandidateBuilder(declaration.asset, declaration.contract, scratch)
    raw, found = pl.read_parquet(lake.get(published.quarantine)).drop(REASON), None
    if declaration.across:
        shape = across_of(declaration, raw.head(0))
        if lacking := [name for name in shape.columns if name not in raw.columns]:
            raise UsageError(
                f"{declaration.asset.key}: its quarantine has no {', '.join(lacking)} beside the rows, so they cannot be replayed; "
                f"`catalunya materialize {declaration.landing.asset.key} {declaration.asset.key} --force` reads them again"
            )
        found = raw.select(shape.columns).unique()
        raw = raw.drop(_values_of(shape, raw_fields(declaration)))
    builder.pages.append(builder.store(0, *check_page(declaration, raw, reads, found)))
    builder.pages += _stored(builder, scan_table(lake, declaration.asset, published), 1)
    candidate = builder.build(published, tolerate_all=True)
    check_accounted(declaration.asset.key, candidate, published.quarantined + published.rows)
    return candidate


def check_page(
    declaration: StagingDeclaration,
    raw: pl.DataFrame,
    reads: Sequence[pl.LazyFrame],
    across: pl.DataFrame | None = None,
) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    """Take one raw page through the staging function and its contract.

    `across`: what the declaration's `across` found in all pages; by default this page is all there is. Returns the good rows, the
    bad ones as received with their reason, and how many rows the staging function left out.
    """
    key, contract = declaration.asset.key, declaration.contract
    arguments, found = list(reads), None
    if declaration.across:
        raw, found = _without_contradictions(raw, across_of(declaration, raw) if across is None else across)
        arguments.append(found.lazy())
    page = renamed(raw, contract)
    if FLAW in raw.columns:
        page = page.with_columns(pl.col(FLAW).alias(REASON)).drop(FLAW)
    frame = conform(key, declaration.function(page, *arguments), contract).collect()
    if not frame[ROW].is_sorted():  # a join may shuffle; the same rows must give the same bytes
        frame = frame.sort(ROW)
    if frame[ROW].n_unique() != frame.height or frame.height > raw.height:
        raise DeclarationError(
            f"{key}: expected at most one row per raw row, but the staging function duplicated rows; "
            "does it join on a key that is not unique?"
        )
    good, bad = split_rows(check_partition_values(frame, declaration.asset), contract)
    rejected = bad.join(raw.with_row_index(ROW), on=ROW, how="left").drop(ROW) if bad.height else bad
    if found is not None and bad.height:
        rejected = look_up(rejected.lazy(), found.lazy(), on=_key_of(found, raw.columns)).collect()
    return good, rejected, raw.height - frame.height


def across_of(declaration: StagingDeclaration, raw: pl.DataFrame) -> pl.DataFrame:
    """What the declaration's `across` selects from one page, each row once. Raises DeclarationError when it has no key or no values."""
    assert declaration.across
    found = declaration.across(renamed(raw, declaration.contract)).collect().unique()
    fields = raw_fields(declaration)
    if not _key_of(found, fields) or not _values_of(found, fields):
        raise DeclarationError(
            f"{declaration.asset.key}: expected `across` to return raw fields, as the key of its rows, and new columns, found "
            f"{', '.join(found.columns) or 'no columns'}; fix {declaration.across.__name__}"
        )
    return found


def check_accounted(key: str, candidate: Candidate, rows: int) -> None:
    """Raise ContractError unless every row that was read is in the table, in quarantine, a duplicate, or was left out by the
    staging function: the batch with the only copy of a lost row is kept."""
    published = sum(file.stored.rows for file in candidate.files)
    accounted = published + candidate.quarantined + candidate.duplicates + candidate.discarded
    if accounted != rows:
        raise ContractError(
            f"{key}: expected all of {rows:,} rows to be accounted for, found {accounted:,} ({published:,} in the table, "
            f"{candidate.quarantined:,} in quarantine, {candidate.duplicates:,} duplicates, {candidate.discarded:,} discarded); "
            "nothing was published or deleted; this is a bug, please report it"
        )


def _without_contradictions(raw: pl.DataFrame, found: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The page, with a reason to reject rows whose key has different values in what `across` found, and what is left of that."""
    key = _key_of(found, raw.columns)
    is_single = found.select(key).is_unique()
    if is_single.all():
        return raw, found
    values = [
        pl.concat_str(
            pl.lit(f"{name}: contradicting values "),
            pl.col(name).cast(pl.String).fill_null("null").unique().sort().head(3).str.join(" and "),
        )
        for name in _values_of(found, raw.columns)
    ]
    flaws = found.filter(~is_single).group_by(key).agg(pl.concat_str(values, separator="; ").alias("_found"))
    marked = look_up(raw.lazy(), flaws.lazy(), on=key).collect()
    before = [FLAW] if FLAW in raw.columns else []
    flaw = pl.concat_str(*before, "_found", separator="; ", ignore_nulls=True).replace("", None)
    return marked.with_columns(flaw.alias(FLAW)).drop("_found"), found.filter(is_single)


def _key_of(found: pl.DataFrame, fields: Sequence[str]) -> list[str]:
    """The columns that `across` found its rows by."""
    return [name for name in found.columns if name in fields]


def _values_of(found: pl.DataFrame, fields: Sequence[str]) -> list[str]:
    """The columns that `across` adds."""
    return [name for name in found.columns if name not in fields]


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


def _stored(builder: CandidateBuilder, table: pl.LazyFrame, first: int) -> list[CheckedPage]:
    """Rows that were published, and so were checked, as pages of the new table; numbered from `first`."""
    pages = table.collect_batches(chunk_size=PUBLISHED_ROWS, maintain_order=True)
    return [builder.store(number, page, pl.DataFrame()) for number, page in enumerate(pages, start=first)]


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

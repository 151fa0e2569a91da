"""How a staging asset is made: raw pages of one landing batch, one at a time, into a checked candidate.

Here: calling the staging function, parting good rows from bad, replaying quarantine, keeping the rows that a batch of some
periods leaves alone. Not here: reading pages (`io/sources/pages.py`), the checks of the whole table and its files (`candidate.py`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import polars as pl

from catalunya.assets.graph.spec import StagingDeclaration
from catalunya.assets.making.candidate import Candidate, CheckedPage, Gathering, placed
from catalunya.assets.making.deadline import check_time
from catalunya.assets.record.batch import Batch
from catalunya.assets.record.ledger import Entry
from catalunya.assets.record.paths import scan_table
from catalunya.contracts.model.check import REASON, ROW, conform, part, renamed
from catalunya.io.errors import DeclarationError
from catalunya.io.lake import Lake
from catalunya.io.periods import Window, period
from catalunya.io.sources.base import Page
from catalunya.io.sources.pages import read_page

Progress = Callable[[int, int], None]

# polars uses every core within one operation, but not between them: a second page fills the gaps.
PAGES_AT_ONCE = 2
PUBLISHED_ROWS = 50_000

_NESTED = frozenset(
    {"point", "location", "url", "document", "multipolygon", "polygon", "line", "multiline", "multipoint"}
)


def transform(
    declaration: StagingDeclaration,
    lake: Lake,
    batch: Batch,
    reads: Sequence[pl.LazyFrame],
    previous: Entry | None,
    scratch: Path,
    progress: Progress,
    *,
    accept_shrink: bool = False,
    ends_at: float | None = None,
) -> Candidate:
    """Make the candidate of a staging table from a landing batch. Memory holds a few pages, never the table.

    A batch of some periods replaces those, and the published rows of all others stay as they are. It stops at `ends_at`, by
    time.monotonic(), before the next page, and cannot go on from there: its checked pages lie on this machine's disk, which a
    function does not find again. To keep them in the lake would cost about what it costs to make them anew: a million rows take
    some ten seconds of a processor, and a function has 15 minutes.

    Raises ContractError when the table may not be published, DeclarationError when the staging function breaks its rules,
    DeadlineReached.
    """
    gathering = Gathering(declaration.asset, declaration.contract, scratch)
    fields = raw_fields(declaration)
    done = 0

    def check(number: int, page: Page) -> CheckedPage:
        check_time(declaration.asset.key, ends_at, f"{done:,} of {batch.manifest.rows:,} rows were checked")
        pages_are = declaration.landing.source.pages_are
        raw = read_page(lake, f"{batch.prefix}/{page.name}", fields, pages_are, declaration.asset.key)
        return gathering.store(number, *check_page(declaration, raw, reads))

    for page, checked in zip(batch.manifest.pages, _at_once(check, batch.manifest.pages), strict=True):
        gathering.pages.append(checked)
        done += page.rows
        progress(done, batch.manifest.rows)
    if batch.manifest.window and previous:
        # Before the batch's own: should the source send a row of another period after all, the batch's is the newer.
        gathering.pages[:0] = _stored(
            gathering, _other_periods(declaration, lake, previous, batch.manifest.window), len(batch.manifest.pages)
        )
    check_time(declaration.asset.key, ends_at, f"{done:,} rows were checked page by page, and not yet as a whole")
    return gathering.finish(previous, accept_shrink=accept_shrink)


def replay(
    declaration: StagingDeclaration, lake: Lake, published: Entry, reads: Sequence[pl.LazyFrame], scratch: Path
) -> Candidate:
    """Make the candidate from the published table and the rows its last materialization set aside.

    Rows that still break the contract stay in quarantine; rows that pass join the table, where a published row of the
    same key wins.
    """
    assert published.quarantine is not None
    gathering = Gathering(declaration.asset, declaration.contract, scratch)
    raw = pl.read_parquet(lake.get(published.quarantine)).drop(REASON)
    gathering.pages.append(gathering.store(0, *check_page(declaration, raw, reads)))
    gathering.pages += _stored(gathering, scan_table(lake, declaration.asset, published), 1)
    return gathering.finish(published, tolerate_all=True)


def check_page(
    declaration: StagingDeclaration, raw: pl.DataFrame, reads: Sequence[pl.LazyFrame]
) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    """Take one raw page through the staging function and its contract.

    Returns the good rows, those set aside with their reason, and how many the staging function left out.
    """
    key, contract = declaration.asset.key, declaration.contract
    frame = conform(key, declaration.function(renamed(raw, contract), *reads), contract).collect()
    if not frame[ROW].is_sorted():  # a join may shuffle; the same rows must give the same bytes
        frame = frame.sort(ROW)
    if frame[ROW].n_unique() != frame.height:
        raise DeclarationError(
            f"{key}: the staging function doubled rows (a join on a key that is not unique?), expected at most one a raw row"
        )
    good, bad = part(placed(frame, declaration.asset), contract)
    aside = bad.join(raw.with_row_index(ROW), on=ROW, how="left").drop(ROW) if bad.height else bad
    return good, aside, raw.height - frame.height


def raw_fields(declaration: StagingDeclaration) -> list[str]:
    """The raw fields that are read: values of one cell, and none that are personal, so that they never leave landing."""
    return [f.name for f in declaration.landing.contract.fields() if not f.personal and f.kind not in _NESTED]


def _other_periods(declaration: StagingDeclaration, lake: Lake, published: Entry, window: Window) -> pl.LazyFrame:
    """The published rows whose period does not lie in the window."""
    table = scan_table(lake, declaration.asset, published)
    column = declaration.contract.period()
    assert column is not None  # the declaration has seen to it
    told = table.select(pl.col(column).unique()).collect().to_series().to_list()
    replaced = [value for value in told if window.covers(period(str(value)))]
    return table.filter(~pl.col(column).is_in(replaced))


def _stored(gathering: Gathering, table: pl.LazyFrame, first: int) -> list[CheckedPage]:
    """Rows that were published, and so were checked, as pages of the new table; numbered from `first`."""
    pages = table.collect_batches(chunk_size=PUBLISHED_ROWS, maintain_order=True)
    return [gathering.store(number, page, pl.DataFrame()) for number, page in enumerate(pages, start=first)]


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

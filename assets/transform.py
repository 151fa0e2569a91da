"""How a staging asset is made: raw pages of one landing batch, one at a time, into a checked candidate.

Here: parsing pages, calling the staging function, parting good rows from bad, replaying quarantine. Not here: the checks
of the whole table and its files (`candidate.py`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import polars as pl

from catalunya.assets.candidate import Candidate, CheckedPage, Gathering
from catalunya.assets.extract import Batch
from catalunya.assets.ledger import Entry
from catalunya.assets.paths import scan_table
from catalunya.assets.spec import StagingDeclaration
from catalunya.contracts.check import REASON, ROW, conform, part, renamed
from catalunya.io.errors import ContractError, DeclarationError
from catalunya.io.lake import Lake
from catalunya.io.sources.base import Page

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
) -> Candidate:
    """Make the candidate of a staging table from a landing batch. Memory holds a few pages, never the table.

    Raises ContractError when the table may not be published, DeclarationError when the staging function breaks its rules.
    """
    gathering = Gathering(declaration.asset, declaration.contract, scratch)
    fields = raw_fields(declaration)

    def check(number: int, page: Page) -> CheckedPage:
        raw = read_page(lake, f"{batch.prefix}/{page.name}", fields, declaration.asset.key)
        return gathering.store(number, *check_page(declaration, raw, reads))

    done = 0
    for page, checked in zip(batch.manifest.pages, _at_once(check, batch.manifest.pages), strict=True):
        gathering.pages.append(checked)
        done += page.rows
        progress(done, batch.manifest.rows)
    return gathering.finish(previous, accept_shrink=accept_shrink)


def replay(
    declaration: StagingDeclaration, lake: Lake, published: Entry, reads: Sequence[pl.LazyFrame], scratch: Path
) -> Candidate:
    """Make the candidate from the published table and the rows its last materialisation set aside.

    Rows that still break the contract stay in quarantine; rows that pass join the table, where a published row of the
    same key wins.
    """
    assert published.quarantine is not None
    gathering = Gathering(declaration.asset, declaration.contract, scratch)
    raw = pl.read_parquet(lake.get(published.quarantine)).drop(REASON)
    gathering.pages.append(gathering.store(0, *check_page(declaration, raw, reads)))
    table = scan_table(lake, declaration.asset, published)
    for number, page in enumerate(table.collect_batches(chunk_size=PUBLISHED_ROWS, maintain_order=True), start=1):
        gathering.pages.append(gathering.store(number, page, pl.DataFrame()))
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
    good, bad = part(frame, contract)
    aside = bad.join(raw.with_row_index(ROW), on=ROW, how="left").drop(ROW) if bad.height else bad
    return good, aside, raw.height - frame.height


def raw_fields(declaration: StagingDeclaration) -> list[str]:
    """The raw fields that are read: values of one cell, and none that are personal, so that they never leave landing."""
    return [f.name for f in declaration.landing.contract.fields() if not f.personal and f.kind not in _NESTED]


def read_page(lake: Lake, path: str, fields: Sequence[str], asset: str) -> pl.DataFrame:
    """One raw page (a JSON array of objects) as text columns; a field that a row omits is null there.

    Socrata sends one row a line, behind a bracket or a comma. A newline inside a JSON string is always escaped, so the
    lines can be cut and each decoded by itself, many times faster than an array as a whole. Raises ContractError when the
    page is no array of objects.
    """
    row = pl.Struct(dict.fromkeys(fields, pl.String))
    lines = pl.scan_csv(
        lake.url(path),
        has_header=False,
        separator="\x01",  # which JSON cannot hold as it is: a line is one cell
        quote_char=None,
        schema={"row": pl.String()},
        storage_options=lake.scan_options or None,
    )
    text = pl.col("row").str.strip_chars_end("\r ]").str.slice(1)
    try:
        try:
            rows = lines.select(text).filter(pl.col("row") != "").select(pl.col("row").str.json_decode(row))
            return rows.unnest("row").collect(engine="streaming")
        except pl.exceptions.ComputeError:  # another layout of the same JSON
            return pl.read_json(lake.get(path), schema=row.to_schema())
    except pl.exceptions.PolarsError as error:
        raise ContractError(
            f"{asset}: expected a JSON array of rows in {path}, found {str(error)[:200]}; make the landing asset again"
        ) from None


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

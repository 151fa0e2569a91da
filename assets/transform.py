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

from catalunya.assets.candidate import Candidate, Gathering
from catalunya.assets.extract import Batch
from catalunya.assets.ledger import Entry
from catalunya.assets.paths import scan_table
from catalunya.assets.spec import StagingDeclaration
from catalunya.contracts.check import REASON, ROW, conform, part, renamed
from catalunya.io.errors import ContractError, DeclarationError
from catalunya.io.lake import Lake
from catalunya.io.sources.base import Page

Progress = Callable[[int, int], None]

# The good rows of a page, those set aside with their reason, and how many the staging function left out.
Checked = tuple[pl.DataFrame, pl.DataFrame, int]

# polars uses every core within one operation, but not between them: a second page fills the gaps.
PAGES_AT_ONCE = 2

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

    def check(page: Page) -> Checked:
        path = f"{batch.prefix}/{page.name}"
        return check_page(declaration, read_page(lake.get(path), fields, f"{declaration.asset.key}: {path}"), reads)

    done = 0
    for page, checked in zip(batch.manifest.pages, _ahead(check, batch.manifest.pages), strict=True):
        gathering.add(*checked)
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
    gathering.add(*check_page(declaration, raw, reads))
    for page in scan_table(lake, declaration.asset, published).collect_batches(chunk_size=100_000, maintain_order=True):
        gathering.add(page, pl.DataFrame())
    return gathering.finish(published, tolerate_all=True)


def check_page(declaration: StagingDeclaration, raw: pl.DataFrame, reads: Sequence[pl.LazyFrame]) -> Checked:
    """Take one raw page through the staging function and its contract."""
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


def read_page(body: bytes, fields: Sequence[str], where: str) -> pl.DataFrame:
    """One raw page (a JSON array of objects) as text columns; a field that a row omits is null there.

    Socrata sends one row a line. A newline inside a JSON string is always escaped, so without the brackets, and with a
    blank for the comma that begins each line, it is newline-delimited JSON, which polars parses 3 to 9 times faster than
    an array. Raises ContractError when the page is no array of objects.
    """
    schema = dict.fromkeys(fields, pl.String)
    inner = body[body.find(b"[") + 1 : body.rfind(b"]")]
    if not inner.strip():
        return pl.DataFrame(schema=schema)
    try:
        try:
            return pl.scan_ndjson(inner.replace(b"\n,", b"\n "), schema=schema, low_memory=True).collect()
        except pl.exceptions.ComputeError:  # another layout of the same JSON
            return pl.read_json(body, schema=schema)
    except pl.exceptions.PolarsError as error:
        raise ContractError(
            f"{where}: expected a JSON array of rows, found {str(error)[:200]}; make the landing asset again"
        ) from None


def _ahead(work: Callable[[Page], Checked], pages: Sequence[Page]) -> Iterator[Checked]:
    """The results in order, worked out by a few threads, never more than one page a thread ahead of who takes them."""
    with ThreadPoolExecutor(PAGES_AT_ONCE) as pool:
        under_way: deque[Future[Checked]] = deque()
        for page in pages:
            under_way.append(pool.submit(work, page))
            if len(under_way) > PAGES_AT_ONCE:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()

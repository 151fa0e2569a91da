"""How a staging asset is made: raw pages of one landing batch, one at a time, into a checked candidate.

Here: parsing pages, calling the staging function, parting good rows from bad, replaying quarantine. Not here: the checks
of the whole table and its files (`candidate.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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

Progress = Callable[[int, int], None]
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
    """Make the candidate of a staging table from a landing batch. Memory holds one page, never the table.

    Raises ContractError when the table may not be published, DeclarationError when the staging function breaks its rules.
    """
    gathering = Gathering(declaration.asset, declaration.contract, scratch)
    fields = raw_fields(declaration)
    done = 0
    for page in batch.manifest.pages:
        raw = read_page(
            lake.get(f"{batch.prefix}/{page.name}"),
            fields,
            f"{declaration.asset.key}: {batch.prefix}/{page.name}",
        )
        gather(declaration, gathering, raw, reads)
        done += page.rows
        progress(done, batch.manifest.rows)
    return gathering.finish(previous, accept_shrink=accept_shrink)


def replay(
    declaration: StagingDeclaration,
    lake: Lake,
    published: Entry,
    reads: Sequence[pl.LazyFrame],
    scratch: Path,
) -> Candidate:
    """Make the candidate from the published table and the rows its last materialisation set aside.

    Rows that still break the contract stay in quarantine; rows that pass join the table, where a published row of the
    same key wins.
    """
    assert published.quarantine is not None
    gathering = Gathering(declaration.asset, declaration.contract, scratch)
    raw = pl.read_parquet(lake.get(published.quarantine)).drop(REASON)
    gather(declaration, gathering, raw, reads)
    for page in scan_table(lake, declaration.asset, published).collect_batches(chunk_size=100_000, maintain_order=True):
        gathering.add(page, pl.DataFrame())
    return gathering.finish(published, tolerate_all=True)


def gather(
    declaration: StagingDeclaration, gathering: Gathering, raw: pl.DataFrame, reads: Sequence[pl.LazyFrame]
) -> None:
    """Take one raw page through the staging function and its contract."""
    key, contract = declaration.asset.key, declaration.contract
    made = declaration.function(renamed(raw, contract), *reads).collect()
    frame = conform(key, made, contract)
    if not frame[ROW].is_sorted():  # a join may shuffle; the same rows must give the same bytes
        frame = frame.sort(ROW)
    if frame[ROW].n_unique() != frame.height:
        raise DeclarationError(
            f"{key}: the staging function doubled rows (a join on a key that is not unique?), expected at most one a raw row"
        )
    good, bad = part(frame, contract)
    rejected = bad.join(raw.with_row_index(ROW), on=ROW, how="left").drop(ROW) if bad.height else bad
    gathering.add(good, rejected)
    gathering.discarded += raw.height - frame.height


def raw_fields(declaration: StagingDeclaration) -> list[str]:
    """The raw fields that are read: values of one cell, and none that are personal, so that they never leave landing."""
    return [f.name for f in declaration.landing.contract.fields() if not f.personal and f.kind not in _NESTED]


def read_page(body: bytes, fields: Sequence[str], where: str) -> pl.DataFrame:
    """One raw page (a JSON array of objects) as text columns; a field that a row omits is null there.

    Socrata sends one row a line. A newline inside a JSON string is always escaped, so taking off the brackets and the
    comma that begins each line gives newline-delimited JSON, which polars parses 3 to 9 times faster than an array.
    Raises ContractError when the page is no array of objects.
    """
    schema = dict.fromkeys(fields, pl.String)
    text = body.strip()
    if text == b"[]":
        return pl.DataFrame(schema=schema)
    try:
        lines = text[1:-1].replace(b"\n,{", b"\n{")
        try:
            return pl.read_ndjson(lines, schema=schema)
        except pl.exceptions.ComputeError:  # another layout of the same JSON
            return pl.read_json(body, schema=schema)
    except pl.exceptions.PolarsError as error:
        raise ContractError(
            f"{where}: expected a JSON array of rows, found {str(error)[:200]}; make the landing asset again"
        ) from None

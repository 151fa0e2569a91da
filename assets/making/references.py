"""Enforcing `references=`: the values that a column may have are those of a column of another table of its layer, or of its own.

Here: reading those values, and the check of a table against itself. Not here: the rows that have others (`contracts/model/check.py`),
whether a table reads what it references (`assets/graph`).
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from catalunya.assets.graph.spec import Asset
from catalunya.assets.making.maker import Candidate
from catalunya.assets.record.paths import scan_objects
from catalunya.contracts.model.results import CheckTally
from catalunya.contracts.model.rules import reference_rule
from catalunya.io.errors import ContractError


def known_values(asset: Asset, tables: Mapping[str, pl.LazyFrame]) -> dict[str, pl.Series]:
    """Column -> the values it may have, for the columns that reference another table; `tables` are by name."""
    known = {}
    for column in asset.columns:
        name, _, field = (column.references or "").partition(".")
        if name and name != asset.name:
            known[column.name] = tables[name].select(pl.col(field).unique().drop_nulls()).collect()[field]
    return known


def check_own_references(asset: Asset, candidate: Candidate, tally: CheckTally) -> Candidate:
    """The candidate. Raises ContractError when a column that references its own table has a value that the table, as a whole, does not.

    No row is quarantined for it: without that row, the rows that reference it would be wrong in turn.
    """
    for column in asset.columns:
        name, _, field = (column.references or "").partition(".")
        if name != asset.name or not candidate.files:
            continue
        table = scan_objects([str(file.local) for file in candidate.files], asset)
        known = table.select(pl.col(field).unique().drop_nulls()).collect()[field]
        value = pl.col(column.name)
        unknown = table.filter(~value.is_in(known.implode())).select(value.cast(pl.String)).collect()[column.name]
        tally.put(
            reference_rule(column, tally.layer),
            "reference",
            len(unknown),
            unknown.min(),
            column=column.name,
            personal=column.personal,
        )
        if len(unknown):
            first = ", ".join(f"'{text[:80]}'" for text in unknown.unique().sort().head(3))
            rows = "1 row has" if len(unknown) == 1 else f"{len(unknown):,} rows have"
            raise ContractError(
                f"{asset.key}: {column.name}: {rows} a value that is not in {column.references}, the first {first}. "
                "Nothing was published; fix the source, the function or the model that makes the table"
            )
    return candidate

"""Applies a contract to rows: casts a frame to the declared types, and separates the rows that break a rule, with a reason for each.

Here: checks of rows and of a source's fields. Not here: what follows from them (quarantine, failure), which is up to the
materialization (`assets/making`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandera.polars as pa
import polars as pl

from catalunya.contracts.model.columns import Column
from catalunya.contracts.model.contract import Contract, LandingContract
from catalunya.io.errors import ContractError, DeclarationError
from catalunya.io.safe_text import NAME, legible

ROW = "_row"
REASON = "_reason"
_TEXT = "_text."
LONGEST_REASON = 300
"""Longest reason, in characters, that a staging function may give for rejecting a row."""
SHOWN = 20
"""How many names of each kind a drift message lists."""

# Values that stand for "no value": Socrata omits nulls, but the forms that fill its tables do not; IDESCAT prints two dots.
_NO_VALUE = ("", "null", "NULL", "N/A", "..")


@dataclass(frozen=True, slots=True)
class FieldDrift:
    """How a source's fields differ from its landing contract."""

    new: dict[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    retyped: dict[str, tuple[str, str]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.new or self.missing or self.retyped)

    def __str__(self) -> str:
        """As shown in messages, the ledger and asset events. The names are the source's, so they are escaped and their number is limited."""
        changes = [f"new {_few(sorted(self.new))}"] if self.new else []
        changes += [f"missing {_few(self.missing)}"] if self.missing else []
        changes += [f"{name} was {was}, is {legible(now, NAME)}" for name, (was, now) in self.retyped.items()]
        return "; ".join(changes)


def check_fields(asset: str, contract: type[LandingContract], found: Mapping[str, str]) -> FieldDrift:
    """Compare the fields a source declares (name -> type) with its landing contract.

    Returns the drift to record. Raises ContractError when a required field is missing, or on any drift under `freeze`.
    """
    declared = {f.name: f for f in contract.fields()}
    drift = FieldDrift(
        new={name: kind for name, kind in found.items() if name not in declared},
        missing=tuple(name for name in declared if name not in found),
        retyped={
            name: (f.kind, found[name])
            for name, f in declared.items()
            if f.kind and name in found and found[name] != f.kind
        },
    )
    required = [name for name in drift.missing if declared[name].required]
    if required or (drift and contract.terms().drift == "freeze"):
        raise ContractError(
            f"{asset}: the source's fields do not match {contract.__name__}: {drift}. "
            f"Nothing was published; if the source changed on purpose, update the contract"
            + (f" ({_renaming(required[0], declared[required[0]].kind, drift.new)})" if required and drift.new else "")
        )
    return FieldDrift() if contract.terms().drift == "discard" else drift


def _renaming(missing: str, kind: str | None, new: Mapping[str, str]) -> str:
    """What may have become of a missing field. A dimension that alone had a role is named by it; of several, each by its own name."""
    alike = [name for name, found in new.items() if kind and found == kind]
    if len(alike) > 1:
        return f"several dimensions are of the kind {kind}: declare {_few(alike)} in place of {missing}, with kind={kind!r}"
    return f"is {missing} now called {_few((alike or list(new))[:1])}?"


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(legible(name, NAME) for name in names[:SHOWN]) + more


def renamed(raw: pl.DataFrame, contract: type[Contract]) -> pl.LazyFrame:
    """The raw page with the contract's columns added beside the raw ones: text trimmed, words for "no value" made null.

    Adds `_row` (the row's position in the page) and `_reason` (null). A staging function gets this frame, keeps these two
    columns, and sets `_reason` on the rows it rejects.
    """
    text = [
        _no_value_as_null(pl.col(column.source).str.strip_chars()).alias(column.name)
        for column in contract.columns()
        if column.source in raw.columns
    ]
    missing = [
        pl.lit(None, pl.String).alias(c.name) for c in contract.columns() if c.source and c.source not in raw.columns
    ]
    return raw.lazy().with_columns(
        *text, *missing, pl.int_range(pl.len(), dtype=pl.UInt32).alias(ROW), pl.lit(None, pl.String).alias(REASON)
    )


def conform(asset: str, frame: pl.LazyFrame, contract: type[Contract]) -> pl.LazyFrame:
    """Select the contract's columns in order and cast text to their types.

    The result also has `_row`, `_reason`, and for each column that was cast its text as `_text.<column>`, so that `split_rows`
    can find values that could not be cast. Raises DeclarationError when the frame lacks a column of the contract, or has one
    whose type is neither text nor the declared type.
    """
    found = frame.collect_schema()
    absent = [name for name in (*contract.polars_schema(), ROW, REASON) if name not in found]
    if absent:
        raise DeclarationError(
            f"{asset}: expected the columns of {contract.__name__}, found no {', '.join(absent)}. "
            "Give the column a source field, or add it in the staging function (with_columns, not select)"
        )
    columns, texts = [], []
    for column in contract.columns():
        name, dtype = column.name, contract.polars_schema()[column.name]
        if found[name] == dtype:
            columns.append(pl.col(name))
        elif found[name] in (pl.String, pl.Null):
            columns.append(_parsed(name, dtype).alias(name))
            texts.append(pl.col(name).cast(pl.String).alias(_TEXT + name))
        elif found[name].is_numeric() and dtype.is_numeric():
            columns.append(pl.col(name).cast(dtype))
        else:
            raise DeclarationError(
                f"{asset}: column {name} is {found[name]}, {contract.__name__} declares {dtype}; fix the staging function"
            )
    # A staging function quotes source values in its reasons, and these may be of any length.
    reason = pl.col(REASON).cast(pl.String).str.slice(0, LONGEST_REASON)
    return frame.select(*columns, pl.col(ROW).cast(pl.UInt32), reason, *texts)


def split_rows(frame: pl.DataFrame, contract: type[Contract]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split a conformed frame into the rows that pass (contract columns only) and `_row` and `_reason` of those that do not."""
    names = list(contract.polars_schema())
    unparsed = {
        c: pl.col(_TEXT + c.name).is_not_null() & pl.col(c.name).is_null()
        for c in contract.columns()
        if _TEXT + c.name in frame.columns
    }
    is_bad = pl.any_horizontal(pl.col(REASON).is_not_null(), *unparsed.values())
    bad = frame.filter(is_bad).select(ROW, _reasons(unparsed).alias(REASON))
    rest = frame if bad.is_empty() else frame.filter(~is_bad)
    try:
        contract.to_schema().validate(rest.select(names), lazy=True)
    except pa.errors.SchemaErrors as errors:
        broken = _broken_rules(errors.failure_cases, contract, rest[ROW])
        rest = rest.filter(~pl.col(ROW).is_in(broken[ROW].implode()))
        bad = pl.concat([bad, broken]).sort(ROW)
    return rest.select(names), bad


def _broken_rules(cases: pl.DataFrame, contract: type[Contract], rows: pl.Series) -> pl.DataFrame:
    """pandera's failure cases as `_row` and `_reason`. A failure of the whole table, not of a row, is a mistake in our code."""
    of_the_table = cases.filter(pl.col("index").is_null())
    if not of_the_table.is_empty():
        first = of_the_table.row(0, named=True)
        raise ContractError(
            f"{contract.__name__}: column {first['column']}: {first['check']}: found {first['failure_case']}; "
            "fix the staging function"
        )
    value = pl.col("failure_case").fill_null("null").str.slice(0, 80)
    # polars 2.1 panics in `format` when the columns' chunks differ in size, as they do here for a page read in several batches.
    reasons = cases.rechunk().select(
        pl.col("index").cast(pl.UInt32), pl.format("{}: {} fails {}", "column", value, "check").alias(REASON)
    )
    by_row = reasons.group_by("index").agg(pl.col(REASON).sort().str.join("; "))
    return rows.to_frame().with_row_index("index").join(by_row, on="index").select(ROW, REASON)


def _reasons(unparsed: dict[Column, pl.Expr]) -> pl.Expr:
    """The row's reason so far, and one for each text that could not be cast."""
    reasons = [
        pl.when(is_unparsed).then(
            pl.format(
                f"{column.name}: '{{}}' is not a valid {column.type}", pl.col(_TEXT + column.name).str.slice(0, 80)
            )
        )
        for column, is_unparsed in unparsed.items()
    ]
    return pl.concat_str(REASON, *reasons, separator="; ", ignore_nulls=True)


def _no_value_as_null(text: pl.Expr) -> pl.Expr:
    """The text, or null where it stands for "no value"."""
    return pl.when(~text.is_in(_NO_VALUE)).then(text)


def _parsed(name: str, dtype: pl.DataType) -> pl.Expr:
    """Text cast to a type, null where it cannot be: whole numbers may end in `.0`, dates may have a time of midnight."""
    text = pl.col(name).cast(pl.String)
    if dtype.is_integer():
        return text.str.replace(r"\.0+$", "").cast(dtype, strict=False)
    if dtype == pl.Date:
        return text.str.replace(r"T00:00:00(\.0+)?Z?$", "").str.to_date("%Y-%m-%d", strict=False)
    if isinstance(dtype, pl.Datetime):
        return text.str.strip_suffix("Z").str.to_datetime(
            "%Y-%m-%dT%H:%M:%S%.f", time_unit=dtype.time_unit, strict=False
        )
    if dtype == pl.Boolean:
        return text.str.to_lowercase().replace_strict(
            {"true": True, "false": False}, default=None, return_dtype=pl.Boolean
        )
    return text.cast(dtype, strict=False)

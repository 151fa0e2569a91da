"""Applying a contract to rows: bring a frame to the declared types, and part good rows from bad with a reason each.

Here: what is true of rows and of raw fields. Not here: what happens to the outcome (quarantine, failure), which is the
materialisation's business.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandera.polars as pa
import polars as pl

from catalunya.contracts.base import Contract, LandingContract
from catalunya.io.errors import ContractError, DeclarationError

ROW = "_row"
REASON = "_reason"

# What a person writes for "nothing": Socrata omits nulls, but forms that fill its tables do not.
_NOTHING = ("", "null", "NULL", "N/A")


@dataclass(frozen=True, slots=True)
class FieldDrift:
    """How a source's fields differ from its landing contract."""

    new: dict[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    retyped: dict[str, tuple[str, str]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.new or self.missing or self.retyped)

    def __str__(self) -> str:
        parts = [f"new {', '.join(sorted(self.new))}"] if self.new else []
        parts += [f"missing {', '.join(self.missing)}"] if self.missing else []
        parts += [f"{name} was {was}, is {now}" for name, (was, now) in self.retyped.items()]
        return "; ".join(parts)


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
            f"{asset}: the source's fields are not those of {contract.__name__}: {drift}. "
            f"Nothing was published; if the source means it, change the contract"
            + (f" (is {required[0]} now called {next(iter(drift.new))}?)" if required and drift.new else "")
        )
    return FieldDrift() if contract.terms().drift == "discard" else drift


def renamed(raw: pl.DataFrame, contract: type[Contract]) -> pl.LazyFrame:
    """The raw page with the contract's names beside the raw ones: text trimmed, nothing written in words made null.

    Adds `_row` (the row's place in the page) and `_reason` (null). A staging function gets this frame, keeps the two
    columns, and sets `_reason` on a row it cannot place.
    """
    text = [
        pl.col(column.source).str.strip_chars().replace(dict.fromkeys(_NOTHING)).alias(column.name)
        for column in contract.columns()
        if column.source in raw.columns
    ]
    missing = [
        pl.lit(None, pl.String).alias(c.name) for c in contract.columns() if c.source and c.source not in raw.columns
    ]
    return raw.lazy().with_columns(
        *text, *missing, pl.int_range(pl.len()).alias(ROW), pl.lit(None, pl.String).alias(REASON)
    )


def conform(asset: str, frame: pl.DataFrame, contract: type[Contract]) -> pl.DataFrame:
    """Select the contract's columns in order and cast text to their types; what cannot be cast gets a reason.

    Raises DeclarationError when the frame lacks a column of the contract, or has one of a type that is not text and not
    the declared one.
    """
    schema = contract.polars_schema()
    logical = {column.name: column.type for column in contract.columns()}
    service = {ROW: pl.UInt32(), REASON: pl.String()}
    absent = [name for name in [*schema, *service] if name not in frame.columns]
    if absent:
        raise DeclarationError(
            f"{asset}: expected the columns of {contract.__name__}, found no {', '.join(absent)}. "
            "Give the column a source field, or make it in the staging function (with_columns, not select)"
        )
    casts, reasons = [], [pl.col(REASON)]
    for name, dtype in schema.items():
        found = frame.schema[name]
        if found == dtype:
            casts.append(pl.col(name))
        elif found in (pl.String, pl.Null):
            value = _parsed(name, dtype)
            casts.append(value.alias(name))
            broken = pl.format(f"{name}: '{{}}' is no {logical[name]}", pl.col(name).str.slice(0, 80))
            reasons.append(pl.when(pl.col(name).is_not_null() & value.is_null()).then(broken))
        elif found.is_numeric() and dtype.is_numeric():
            casts.append(pl.col(name).cast(dtype))
        else:
            raise ContractError(
                f"{asset}: column {name} is {found}, {contract.__name__} says {dtype}; mend the function that makes it"
            )
    reason = pl.concat_str(reasons, separator="; ", ignore_nulls=True).replace("", None)
    return frame.select(*casts, pl.col(ROW), reason.alias(REASON))


def part(frame: pl.DataFrame, contract: type[Contract]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Part a conformed frame into its good rows (contract columns only) and (`_row`, `_reason`) of the bad ones."""
    names = list(contract.polars_schema())
    reasons = [frame.select(pl.col(ROW), pl.col(REASON)).drop_nulls(REASON)]
    rest = frame if reasons[0].is_empty() else frame.filter(pl.col(REASON).is_null())
    try:
        contract.to_schema().validate(rest.select(names), lazy=True)
    except pa.errors.SchemaErrors as errors:
        cases = errors.failure_cases
        of_the_table = cases.filter(pl.col("index").is_null())
        if not of_the_table.is_empty():
            first = of_the_table.row(0, named=True)
            raise ContractError(
                f"{contract.__name__}: column {first['column']}: {first['check']}: found {first['failure_case']}; mend the function that makes it"
            ) from None
        reasons.append(
            cases.lazy()
            .select(
                pl.col("index").cast(pl.UInt32),
                pl.format("{}: {} fails {}", "column", pl.col("failure_case").fill_null("null").str.slice(0, 80), "check").alias(REASON),
            )
            .group_by("index")
            .agg(pl.col(REASON).sort().str.join("; "))
            .join(rest.lazy().select(ROW).with_row_index("index"), on="index")
            .select(pl.col(ROW), pl.col(REASON))
            .collect()
        )
    bad = pl.concat([r.cast({ROW: pl.UInt32}) for r in reasons]).sort(ROW)
    good = frame if bad.is_empty() else frame.join(bad.lazy().collect(), on=ROW, how="anti", maintain_order="left")
    return good.select(names), bad


def _parsed(name: str, dtype: pl.DataType) -> pl.Expr:
    """Text to a type, null where it is none: whole numbers may end in `.0`, dates may carry a time."""
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

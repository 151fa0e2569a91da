"""Helpers for staging functions: lookups in other tables, classification by words, periods, and how firm an observation is.

Here: what several sources need, as operations on lazy frames that keep a page's rows, their number and their order. Not here:
anything about one source.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Literal

import polars as pl

from catalunya.contracts.model.text import folded

PeriodKind = Literal["H", "Q", "M"]
"""Half-year, quarter, month."""

_MONTHS: dict[PeriodKind, int] = {"H": 6, "Q": 3, "M": 1}
# `2014`, `2014S1`, `2026M03`, `201406`; `S1/2014`, `06/2014`. Anything else is another code, and is not guessed at.
_YEAR_FIRST = r"^((?:19|20)[0-9]{2})(?:[A-Z]?([0-9]{1,2}))?$"
_YEAR_LAST = r"^(?:[A-Z]?([0-9]{1,2})/)?((?:19|20)[0-9]{2})$"
_STATUS = {"p": "provisional", "a": "advance"}


def look_up(frame: pl.LazyFrame, table: pl.LazyFrame, *, on: Sequence[str]) -> pl.LazyFrame:
    """The frame with the other columns of `table` beside it, found by `on`; null where the table has no such key.

    Rows keep their order and number: a table with a key twice raises polars' ShapeError. Only the key columns take part
    in the join, so that the columns of a wide frame are not copied.
    """
    found = frame.select(on).join(table, on=on, how="left", nulls_equal=True, maintain_order="left").drop(on)
    return pl.concat([frame, found], how="horizontal")


def classify(frame: pl.LazyFrame, column: str, rules: Mapping[str, Sequence[str]], *, into: str) -> pl.LazyFrame:
    """The frame with the name of the first rule that has a phrase of the column's text; null where none has.

    Phrases are whole words, in any case, accents and number: `residència … gent gran` is in `Residències per a GENT GRAN`. `…`
    stands for any words or none, `^` for the beginning of the text. Each distinct text is looked at once.
    """
    words = folded(pl.col(column), number=True)
    found = [
        pl.when(words.str.contains(_pattern(tuple(phrases)))).then(pl.lit(name)) for name, phrases in rules.items()
    ]
    known = frame.select(pl.col(column).unique()).with_columns(pl.coalesce(*found).alias(into))
    return look_up(frame, known, on=[column])


@cache
def _pattern(phrases: tuple[str, ...]) -> str:
    """A pattern that finds one of the phrases in folded text. Cached, because every page needs it."""
    parts = pl.Series([part for phrase in phrases for part in phrase.split("…")]).to_frame("part")
    words = iter(parts.select(folded(pl.col("part"), number=True)).to_series())
    found = []
    for phrase in phrases:
        inner = "(?: .*)? ".join(re.escape(next(words)) for _ in phrase.split("…"))
        found.append(f"^{inner}" if phrase.startswith("^") else rf"\b{inner}")
    return rf"(?:{'|'.join(found)})\b"


def year_of(time: str) -> pl.Expr:
    """The year in a time code such as `2014S1`, `S1/2014` or `201406`, as text."""
    return pl.coalesce(pl.col(time).str.extract(_YEAR_FIRST, 1), pl.col(time).str.extract(_YEAR_LAST, 2))


def period_id(time: str, kind: PeriodKind) -> pl.Expr:
    """A time code as the contracts write it: `2014-H1`, `2014-Q3`, `2014-06`; null if it names no such period."""
    number = _number_in_year(time)
    text = number.cast(pl.String).str.zfill(2) if kind == "M" else pl.format(f"{kind}{{}}", number)
    known = number.is_between(1, 12 // _MONTHS[kind])
    return pl.when(known).then(pl.concat_str(year_of(time), pl.lit("-"), text))


def first_day(time: str, kind: PeriodKind) -> pl.Expr:
    """The first day of the period that a time code names."""
    month = ((_number_in_year(time) - 1) * _MONTHS[kind] + 1).cast(pl.String).str.zfill(2)
    # As text, because `pl.date` raises for a month that does not exist.
    return pl.format("{}-{}-01", year_of(time), month).str.to_date("%Y-%m-%d", strict=False)


def last_day(time: str, kind: PeriodKind) -> pl.Expr:
    """The last day of the period that a time code names."""
    return first_day(time, kind).dt.offset_by(f"{_MONTHS[kind]}mo").dt.offset_by("-1d")


def quarter_of(day: pl.Expr) -> pl.Expr:
    """The quarter that a day is in, as the contracts write it: `2014-Q3`."""
    return pl.format("{}-Q{}", day.dt.year(), day.dt.quarter())


def status_of(value: str, status: str) -> pl.Expr:
    """How firm an observation is: `missing` without a value, `final` if the source gives no status.

    An unknown code stays as it is, so that the contract quarantines the row.
    """
    code = pl.col(status)
    return (
        pl.when(pl.col(value).is_null())
        .then(pl.lit("missing"))
        .when(code.is_null())
        .then(pl.lit("final"))
        .otherwise(code.replace(_STATUS))
    )


def _number_in_year(time: str) -> pl.Expr:
    number = pl.coalesce(pl.col(time).str.extract(_YEAR_FIRST, 2), pl.col(time).str.extract(_YEAR_LAST, 1))
    return number.cast(pl.Int32, strict=False)

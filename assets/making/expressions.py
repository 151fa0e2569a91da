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

# `2014-H1`, `2014-Q3`, `2014-06`: the spelling in which sources give their periods. Anything else is not guessed at.
_PERIOD = r"^((?:19|20)[0-9]{2})-(H[12]|Q[1-4]|0[1-9]|1[0-2])$"
_KINDS: dict[PeriodKind, str] = {"H": "H[12]", "Q": "Q[1-4]", "M": "0[1-9]|1[0-2]"}
_FIRST_MONTHS = {"H1": 1, "H2": 7, "Q1": 1, "Q2": 4, "Q3": 7, "Q4": 10} | {
    f"{month:02}": month for month in range(1, 13)
}
_LAST_MONTHS = {"H1": 6, "H2": 12, "Q1": 3, "Q2": 6, "Q3": 9, "Q4": 12} | {
    f"{month:02}": month for month in range(1, 13)
}
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
    """The year of a period such as `2014-H1`, `2014-Q3` or `2014-06`, as text; null if it is none."""
    return pl.col(time).str.extract(_PERIOD, 1)


def period_id(time: str, kind: PeriodKind) -> pl.Expr:
    """The period, if it is one of that kind; else null."""
    return pl.when(pl.col(time).str.contains(rf"^(?:19|20)[0-9]{{2}}-(?:{_KINDS[kind]})$")).then(pl.col(time))


def first_day(time: str) -> pl.Expr:
    """The first day of a period; null if it is none."""
    return _first_of_month(time, _FIRST_MONTHS)


def last_day(time: str) -> pl.Expr:
    """The last day of a period; null if it is none."""
    return _first_of_month(time, _LAST_MONTHS).dt.month_end()


def quarter_of(time: str) -> pl.Expr:
    """The quarter that is the period, or that the month is in; null if it is neither."""
    month = first_day(time)
    of_month = pl.when(period_id(time, "M").is_not_null()).then(
        pl.format("{}-Q{}", month.dt.year(), month.dt.quarter())
    )
    return pl.coalesce(period_id(time, "Q"), of_month)


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


def _first_of_month(time: str, months: Mapping[str, int]) -> pl.Expr:
    month = pl.col(time).str.extract(_PERIOD, 2).replace_strict(dict(months), default=None, return_dtype=pl.Int8)
    return pl.date(year_of(time).cast(pl.Int32), month, 1)

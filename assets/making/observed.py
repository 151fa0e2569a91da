"""Helpers for staging functions over statistical observations: when they are of, and how firm they are.

Here: expressions over the raw cells of a statistics API. Not here: anything of one source, joins (`lookup.py`).
"""

from __future__ import annotations

from typing import Literal

import polars as pl

Part = Literal["H", "Q", "M"]

_MONTHS: dict[Part, int] = {"H": 6, "Q": 3, "M": 1}
# `2014`, `2014S1`, `2026M03`, `201406`; `S1/2014`, `06/2014`. Anything more is another code, which nobody may guess at.
_YEAR_FIRST = r"^((?:19|20)[0-9]{2})(?:[A-Z]?([0-9]{1,2}))?$"
_YEAR_LAST = r"^(?:[A-Z]?([0-9]{1,2})/)?((?:19|20)[0-9]{2})$"
_STATUS = {"p": "provisional", "a": "advance"}


def year_of(time: str) -> pl.Expr:
    """The year in a time code such as `2014S1`, `S1/2014` or `201406`, as text."""
    return pl.coalesce(pl.col(time).str.extract(_YEAR_FIRST, 1), pl.col(time).str.extract(_YEAR_LAST, 2))


def period_id(time: str, part: Part) -> pl.Expr:
    """A time code as the contracts write it: `2014-H1`, `2014-Q3`, `2014-06`; null where it names no such part of a year."""
    number = _part_of_year(time)
    text = number.cast(pl.String).str.zfill(2) if part == "M" else pl.format(f"{part}{{}}", number)
    known = number.is_between(1, 12 // _MONTHS[part])
    return pl.when(known).then(pl.concat_str(year_of(time), pl.lit("-"), text))


def first_day(time: str, part: Part) -> pl.Expr:
    """The first day of the period that a time code names."""
    month = (_part_of_year(time) - 1) * _MONTHS[part] + 1
    known = month.is_between(1, 12)
    return pl.when(known).then(pl.date(year_of(time).cast(pl.Int32), month, 1))


def last_day(time: str, part: Part) -> pl.Expr:
    """The last day of the period that a time code names."""
    return first_day(time, part).dt.offset_by(f"{_MONTHS[part]}mo").dt.offset_by("-1d")


def status_of(value: str, status: str) -> pl.Expr:
    """How firm an observation is: `missing` where there is no value, `final` where the source says nothing of it.

    A code nobody knows stays as it is, so that the contract sets the row aside.
    """
    code = pl.col(status)
    return (
        pl.when(pl.col(value).is_null())
        .then(pl.lit("missing"))
        .when(code.is_null())
        .then(pl.lit("final"))
        .otherwise(code.replace(_STATUS))
    )


def _part_of_year(time: str) -> pl.Expr:
    part = pl.coalesce(pl.col(time).str.extract(_YEAR_FIRST, 2), pl.col(time).str.extract(_YEAR_LAST, 1))
    return part.cast(pl.Int32, strict=False)

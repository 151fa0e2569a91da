"""The classes of a map: which of a few colors each value has, and from where to where each class reaches.

Values are divided by quantiles, each period on its own, after rounding to the digits that readers see: the limits in a legend are values that are
there, and equal values are in one class. Changes are divided at zero: two classes below, one of no change, two above. Here: classes. Not here:
their colors (`styles/40-map.css`), the page (`map_page.py`).
"""

from __future__ import annotations

import polars as pl

CLASSES = 5


def classified(rows: pl.DataFrame, digits: int, *, diverging: bool) -> pl.DataFrame:
    """`rows` (period, value, …) with `value` rounded, and `class`: 0 to 4, null where the value is not known (null, not a number, infinite).

    The lowest value decides the class of all that are equal to it, so a class can be empty. `diverging`: 0 and 1 are below zero, 2 is zero.
    """
    rounded = pl.col("value").round(digits)
    value = pl.when(rounded == 0).then(0.0).when(pl.col("value").is_finite()).then(rounded)  # zero without a sign
    rows = rows.with_columns(value.alias("value"))
    side = pl.col("value").sign().cast(pl.Int8) if diverging else pl.lit(0, pl.Int8)
    first, count = {-1: 0, 0: 2, 1: 3} if diverging else {0: 0}, {-1: 2, 0: 1, 1: 2} if diverging else {0: CLASSES}
    before = pl.col("value").rank("min") - 1
    of = pl.col("value").count()
    within = ((before * pl.col("side").replace_strict(count)) // of).over("period", "side")
    return (
        rows.with_columns(side.alias("side"))
        .with_columns((pl.col("side").replace_strict(first) + within).cast(pl.Int8).alias("class"))
        .drop("side")
    )


def limits(rows: pl.DataFrame) -> dict[str, list[tuple[float, float] | None]]:
    """Of classified `rows`: period -> the lowest and highest value of each class; None for a class without values."""
    found = (
        rows.drop_nulls("class")
        .group_by("period", "class")
        .agg(pl.col("value").min().alias("low"), pl.col("value").max().alias("high"))
        .sort("period", "class")
    )
    by_period: dict[str, list[tuple[float, float] | None]] = {}
    for period, number, low, high in found.iter_rows():
        by_period.setdefault(period, [None] * CLASSES)[number] = (low, high)
    return by_period

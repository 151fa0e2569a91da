"""Helpers for staging functions: what many of them do to a page of rows.

Here: operations on lazy frames that keep a page's rows, their number and their order. Not here: anything of one source.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl


def look_up(frame: pl.LazyFrame, table: pl.LazyFrame, *, on: Sequence[str]) -> pl.LazyFrame:
    """The frame with the other columns of `table` beside it, found by `on`; null where the table has no such key.

    Rows keep their order and number: a table with a key twice raises polars' ShapeError. Only the key columns take part
    in the join, so that a wide frame is not gathered anew.
    """
    found = frame.select(on).join(table, on=on, how="left", nulls_equal=True, maintain_order="left").drop(on)
    return pl.concat([frame, found], how="horizontal")

"""Raw pages as frames of text: an array of rows (Socrata), or a JSON-stat dataset of cells (IDESCAT).

Here: reading a landed page, and the error if it cannot be read. Not here: what its fields mean (the contracts), the layout of JSON-stat
(`jsonstat.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from catalunya.io.errors import ContractError
from catalunya.io.lake import Lake
from catalunya.io.sources.base import PageFormat

_LAYOUTS: dict[PageFormat, str] = {"rows": "a JSON array of rows", "json-stat": "a JSON-stat dataset"}


def read_page(lake: Lake, path: str, fields: Sequence[str], pages_are: PageFormat, asset: str) -> pl.DataFrame:
    """One raw page with the given fields as text columns; null if the page has no such field or a row omits it.

    Raises ContractError if the page does not have that format, LakeError or LakeUnavailable if it cannot be read at all.
    """
    try:
        if pages_are == "json-stat":
            from catalunya.io.sources.jsonstat import read_cells

            return _with_all(read_cells(lake.get(path)), fields)
        with lake.reading(path):
            return _read_rows(lake, path, fields)
    except (pl.exceptions.PolarsError, ContractError) as error:
        raise ContractError(
            f"{asset}: expected {_LAYOUTS[pages_are]} in {path}, found {str(error)[:200]}; materialize the landing asset again"
        ) from None


def _with_all(cells: pl.DataFrame, fields: Sequence[str]) -> pl.DataFrame:
    return cells.select(
        pl.col(name) if name in cells.columns else pl.lit(None, pl.String).alias(name) for name in fields
    )


def _read_rows(lake: Lake, path: str, fields: Sequence[str]) -> pl.DataFrame:
    """Socrata sends one row per line, after a bracket or a comma. A newline inside a JSON string is always escaped, so each line can
    be decoded on its own, which is many times faster than decoding the array."""
    row = pl.Struct(dict.fromkeys(fields, pl.String))
    lines = pl.scan_csv(
        lake.url(path),
        glob=False,
        has_header=False,
        separator="\x01",  # never occurs unescaped in JSON, so that a line is one cell
        quote_char=None,
        schema={"row": pl.String()},
        storage_options=lake.scan_options or None,
    )
    text = pl.col("row").str.strip_chars_end("\r ]").str.slice(1)
    try:
        rows = lines.select(text).filter(pl.col("row") != "").select(pl.col("row").str.json_decode(row))
        return rows.unnest("row").collect(engine="streaming")
    except pl.exceptions.ComputeError:  # another layout of the same JSON
        return pl.read_json(lake.get(path), schema=row.to_schema())

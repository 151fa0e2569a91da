"""Raw pages as frames of text: an array of rows (Socrata), or a JSON-stat dataset of cells (IDESCAT).

Here: reading a landed page, and the error if it cannot be read. Not here: what its fields mean (the contracts), the layout of JSON-stat
(`jsonstat.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import polars as pl

from catalunya.io.errors import ContractError
from catalunya.io.lake import Lake
from catalunya.io.sources.base import PageFormat
from catalunya.io.sources.json_types import TYPE, has_bare_value, json_types

_LAYOUTS: dict[PageFormat, str] = {"rows": "a JSON array of rows", "json-stat": "a JSON-stat dataset"}


def read_page(lake: Lake, path: str, fields: Sequence[str], pages_are: PageFormat, asset: str) -> pl.DataFrame:
    """One raw page with the given fields as text columns; null if the page has no such field or a row omits it. Fields with values
    that are not text have a second column, with the JSON types of these (`json_types.TYPE`).

    Raises ContractError if the page does not have that format, LakeError or LakeUnavailable if it cannot be read at all.
    """
    try:
        if pages_are == "json-stat":
            from catalunya.io.sources.jsonstat import read_cells

            return _with_all(read_cells(lake.get(path)), fields)
        with lake.reading(path):
            return _read_rows(lake, path, fields)
    except (pl.exceptions.PolarsError, msgspec.MsgspecError, UnicodeDecodeError, ContractError) as error:
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
    lines = pl.scan_csv(
        lake.url(path),
        glob=False,
        has_header=False,
        separator="\x01",  # never occurs unescaped in JSON, so that a line is one cell
        quote_char=None,
        schema={"row": pl.String()},
        storage_options=lake.scan_options or None,
    )
    rows = lines.select(pl.col("row").str.strip_chars_end("\r ]").str.slice(1)).filter(pl.col("row") != "")
    try:
        return _decoded(rows, fields)
    except pl.exceptions.PolarsError:  # another layout of the same JSON: rows and lines differ
        elements = msgspec.json.decode(lake.get(path), type=list[msgspec.Raw])
        return _decoded(pl.Series("row", map(bytes, elements), pl.Binary).cast(pl.String).to_frame().lazy(), fields)


def _decoded(rows: pl.LazyFrame, fields: Sequence[str]) -> pl.DataFrame:
    """The fields of each row, and the JSON types of those that are not text (`json_types.TYPE`)."""
    text = pl.col("row")
    try:
        decoded = rows.select(_fields(fields), is_bare=has_bare_value(text)).collect(engine="streaming")
    except pl.exceptions.ComputeError:
        types = json_types(rows.collect(), fields)
        objects = [name for name in fields if TYPE + name in types.columns and (types[TYPE + name] == "object").any()]
        if not objects:
            raise
        rest = rows.select(_fields([name for name in fields if name not in objects])).collect().unnest("row")
        return _beside(_with_all(rest, fields), types)
    frame = decoded["row"].struct.unnest()
    return _beside(frame, json_types(rows.collect(), fields, frame)) if decoded["is_bare"].any() else frame


def _beside(frame: pl.DataFrame, types: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([frame, types], how="horizontal") if types.width else frame


def _fields(names: Sequence[str]) -> pl.Expr:
    return pl.col("row").str.json_decode(pl.Struct(dict.fromkeys(names, pl.String)))

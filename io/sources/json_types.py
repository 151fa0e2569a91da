"""Which fields of JSON rows hold something other than text, found in the text of the rows before JSON's types are lost in reading.

Here: finding them, cheaply where there are none. Not here: reading the rows (`pages.py`), whether that is as it should be (`assets/making/drift.py`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import polars as pl

TYPE = "_json."
"""Prefix of the columns with the JSON type of each value of a field that is not text: `number`, `boolean` or `object`, else null.
Only fields with such a value have this column."""

_BARE = r"[-0-9tf\[{]"
"""How a value begins that is neither text nor null. Quotes within a text are escaped, so no text looks like a field and its value."""
_TYPES = {**dict.fromkeys("-0123456789", "number"), "t": "boolean", "f": "boolean", "[": "object", "{": "object"}


def has_bare_value(row: pl.Expr) -> pl.Expr:
    """Whether the text of a row may hold a value that is not text; never false where it does."""
    return row.str.contains(rf'"\s*:\s*{_BARE}')


def json_types(rows: pl.DataFrame, fields: Sequence[str], decoded: pl.DataFrame | None = None) -> pl.DataFrame:
    """The `TYPE` columns of these fields; `rows` has the text of one JSON object per row in its only column. A frame of no columns
    if every value is text or null.

    `decoded` are the rows' fields as text, if they could be decoded: with them, a field of the same name inside an object of
    another field is not counted. Raises ShapeError if they are not of the same rows.
    """
    text = pl.col(rows.columns[0])
    names = "|".join(map(_spelled, fields))
    hits = rows.with_row_index("at").filter(has_bare_value(text)).filter(text.str.contains(_value_of(names)))
    if hits.is_empty():
        return pl.DataFrame()
    fields = _with_bare_values(hits.select(text), fields)  # each is a search of its own
    types = hits.select(
        "at",
        *(
            text.str.extract(_value_of(_spelled(name)), 1).replace_strict(_TYPES, default=None).alias(TYPE + name)
            for name in fields
        ),
    )
    if decoded is not None:
        if decoded.height != rows.height:
            raise pl.exceptions.ShapeError(f"{decoded.height} rows in {rows.height} lines")
        types = pl.concat([types, decoded[hits["at"]]], how="horizontal").select(
            "at", *(_of_value(name) for name in fields)
        )
    found = types.select(
        "at",
        *(column.name for column in types.iter_columns() if column.name != "at" and column.null_count() < len(column)),
    )
    if found.width == 1:
        return pl.DataFrame()
    every = rows.select(pl.int_range(pl.len(), dtype=pl.UInt32).alias("at"))
    return every.join(found, on="at", how="left", maintain_order="left").drop("at")


def _with_bare_values(rows: pl.DataFrame, fields: Sequence[str]) -> list[str]:
    """Those of the fields that have such a value in any row, found by one search."""
    names = "|".join(map(_spelled, fields))
    found = rows.to_series().str.extract_all(rf'[{{,]\s*"(?:{names})"\s*:\s*{_BARE}').explode().unique()
    bare = {json.loads(name) for name in found.str.extract(r'(".*")\s*:\s*.$', 1) if name}
    return [name for name in fields if name in bare]


def _of_value(name: str) -> pl.Expr:
    """The type, where the decoded value can be of it."""
    kind, value = pl.col(TYPE + name), pl.col(name)
    is_so = ((kind == "number") & value.str.contains("^-?[0-9]")) | (
        (kind == "boolean") & value.is_in(["true", "false"])
    )
    return pl.when(is_so).then(kind).alias(TYPE + name)


def _value_of(name: str) -> str:
    return rf'[{{,]\s*"(?:{name})"\s*:\s*({_BARE})'


def _spelled(name: str) -> str:
    """A field's name as JSON may spell it: `població` is `poblaci\\u00f3` to a server that sends ASCII."""
    return "".join(each if each.isascii() and (each.isalnum() or each == "_") else _either(each) for each in name)


def _either(sign: str) -> str:
    """A sign as it is, with a backslash where JSON has one, or as `\\u` and its number, of which JSON has two above U+FFFF."""
    plain = {json.dumps(sign, ensure_ascii=False)[1:-1], *(["\\/"] if sign == "/" else [])}
    units = sign.encode("utf-16-be", errors="surrogatepass").hex()
    number = "".join(rf"\\u(?i:{units[at : at + 4]})" for at in range(0, len(units), 4))
    return f"(?:{'|'.join([*map(re.escape, sorted(plain)), number])})"

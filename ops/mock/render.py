"""Rows as the portal writes them: one JSON object a line, nulls left out, numbers as strings. Columnar throughout.

Also the portal's system fields (`:id`, ...). Which rows are asked for is in pages.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

import polars as pl

from catalunya.ops.mock.noise import column
from catalunya.ops.mock.shape import Shown
from catalunya.ops.mock.tables import ROW_NUMBER, Column, Table

_LETTERS = "23456789abcdefghijkmnpqrstuvwxyz"  # ascending, so that ids ascend with the row
_PAIRS = pl.Series([a + b for a in _LETTERS for b in _LETTERS], dtype=pl.String)
_ESCAPED = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}


def system_columns(seed: int, version: int, total: int, updated_at: int) -> dict[str, pl.Expr]:
    """The system fields out of ROW_NUMBER. A new version replaces the table, so every row gets new ones."""
    stride = 2**60 // (total + 1024)
    row = pl.col(ROW_NUMBER)
    at = datetime.fromtimestamp(updated_at, UTC).strftime("%Y-%m-%dT%H:%M:%S.795Z")
    return {
        ":id": _spelled("row-", "-", row * stride + column(row, seed, 71, version) % stride),
        ":version": _spelled("rv-", "~", column(row, seed, 72, version)),
        ":created_at": pl.lit(at),
        ":updated_at": pl.lit(at),
    }


def _spelled(prefix: str, separator: str, value: pl.Expr) -> pl.Expr:
    pairs = [pl.lit(_PAIRS).gather(value // 1024 ** (5 - place) % 1024) for place in range(6)]
    parts: list[pl.Expr] = [pl.lit(prefix)]
    for place, pair in enumerate(pairs):
        parts += [pl.lit(separator), pair] if place in (2, 4) else [pair]
    return pl.concat_str(parts)


def shown_system(field: str) -> Shown:
    """A system field as a column that can be selected, ordered and rendered."""
    return Shown(Column(field, field[1:]), field)


def with_system(table: Table, version: int, positions: pl.Series, system: dict[str, pl.Expr]) -> pl.LazyFrame:
    """The table's rows with all system fields; those that a recorded table brings along are kept."""
    own = table.system_fields(version)
    missing = {name: value for name, value in system.items() if name not in own}
    return table.rows(version, positions).with_columns(**missing)


def json_array(frames: Iterable[pl.DataFrame], columns: Sequence[Shown]) -> Iterator[bytes]:
    """A JSON array, frame by frame; each frame has the shown columns as strings (see Shown.value)."""
    opened = False
    for frame in frames:
        if frame.height:
            yield (b"\n," if opened else b"[") + _objects(frame, columns)
            opened = True
    yield b"]\n" if opened else b"[]\n"


def _objects(frame: pl.DataFrame, columns: Sequence[Shown]) -> bytes:
    fields = [shown.column.field for shown in columns]
    quoted = [shown.column.field for shown in columns if shown.quoted]
    frame = frame.with_columns(pl.col(quoted).str.replace_many(list(_ESCAPED), list(_ESCAPED.values())))
    nullable = {name for name in fields if frame[name].null_count()}
    parts: list[pl.Expr] = []
    sure = (
        fields[0] not in nullable
    )  # a row begins with its first column; else with the comma of another, cut off below
    literal = "{" if sure else ""
    for field in fields:
        quote = '"' if field in quoted else ""
        opening = f',"{field}":{quote}' if parts or not sure else f'"{field}":{quote}'
        if field in nullable:
            parts += [pl.lit(literal), pl.concat_str(pl.lit(opening), pl.col(field), pl.lit(quote))]
            literal = ""
        else:
            parts += [pl.lit(literal + opening), pl.col(field)]
            literal = quote
    parts.append(pl.lit(literal + "}"))
    rows = pl.concat_str(parts, ignore_nulls=True)
    if not sure:
        rows = pl.lit("{") + rows.str.strip_prefix(",")
    text = frame.select(rows.str.join("\n,").cast(pl.Binary)).item()
    return bytes(text)

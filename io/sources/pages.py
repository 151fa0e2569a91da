"""Raw pages as frames of text: how any page is read, and the rows of a JSON array, which most protocols send.

Here: reading a page from its bytes, and the error if they are something else. Not here: whether they are the bytes that were landed
(`assets/record/batch.py`), what the fields mean (the contracts), the layout that one protocol has around its rows (its module).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import polars as pl

from catalunya.io.errors import ContractError
from catalunya.io.json_text import BROKEN_JSON, json_decoder, whole_characters
from catalunya.io.safe_text import NAME, legible
from catalunya.io.sources.json_types import TYPE, has_bare_value, json_types

if TYPE_CHECKING:
    from catalunya.io.sources.extraction import Source

FLAW = "_flaw"
"""The column that says why a row cannot be right as the source sent it; only in a page with such rows."""
SEARCHED = 8 * 1024 * 1024
"""Bytes of a batch that are searched for repeated keys, about 16,000 wide rows: what repeats a key does so in every row."""

QUOTED = 80
"""How much of a repeated field's values is quoted, in characters."""

_EDGE = 1000  # bytes; stripping the whole would copy it


def read_page(
    body: bytes, path: str, fields: Sequence[str], source: Source[Any], asset: str, *, searched: int = SEARCHED
) -> pl.DataFrame:
    """The content of one raw page with the given fields as text columns; null if the page has no such field or a row omits it.

    Rows that have one of the fields twice are marked in a further column, `FLAW`: which of the two values is right cannot be known.
    All rows are searched if one within the first `searched` bytes has a field twice. Fields with values that are not text have a
    second column, with the JSON types of these (`json_types.TYPE`). `path` and `asset` are for messages.
    Raises ContractError if the page is not what pages of the source are.
    """
    try:
        return source.read(body, fields, searched)
    except (pl.exceptions.PolarsError, ContractError, *BROKEN_JSON) as error:
        reason = " ".join(str(error).split())[:200]
        raise ContractError(
            f"{asset}: expected {source.pages_are} in {path}, found {reason}; materialize the landing asset again"
        ) from None


def with_all(frame: pl.DataFrame, fields: Sequence[str]) -> pl.DataFrame:
    """The given fields of a frame, null where it has none of that name."""
    missing = [pl.lit(None, pl.String).alias(name) for name in fields if name not in frame.columns]
    return frame.with_columns(missing).select(fields)


def read_rows(body: bytes, fields: Sequence[str], searched: int) -> pl.DataFrame:
    """A JSON array of rows, as `read_page` describes it. Raises what `Source.read` raises.

    Socrata sends one row per line, after a bracket or a comma. A newline inside a JSON string is always escaped, so each line can
    be decoded on its own, which is many times faster than decoding the array."""
    body = bytes(whole_characters(body))
    if body[:_EDGE].lstrip()[:1] == b"[" and body[-_EDGE:].rstrip()[-1:] == b"]":
        head = body if len(body) <= searched else body[: body.rfind(b"\n", 0, searched) + 1]
        try:
            frame = _decoded(_lines(body), fields)
            marked = _marked(frame, _lines(head), fields)
            if FLAW not in marked.columns:
                return frame
            if _is_row_per_line(body, fields):
                return marked if head is body else _marked(frame, _lines(body), fields)
        except (pl.exceptions.PolarsError, ValueError):  # another layout of the same JSON, or something else
            pass
    rows = _rows_of_array(body).lazy()
    return _marked(_decoded_in_part(rows, fields), rows, fields)


def _is_row_per_line(body: bytes, fields: Sequence[str]) -> bool:
    """Whether rows can be told apart by lines: several on one line are decoded, too."""
    lines: int = _lines(body).select(pl.len()).collect().item()
    return _decoded(_lines(body), fields).height == lines


def _lines(body: bytes) -> pl.LazyFrame:
    """The text of each row, in the layout of Socrata."""
    lines = pl.scan_csv(
        body,
        has_header=False,
        separator="\x01",  # never occurs unescaped in JSON, so that a line is one cell
        quote_char=None,
        schema={"row": pl.String()},
    )
    return lines.select(pl.col("row").str.strip_chars_end("\r ]").str.slice(1)).filter(pl.col("row") != "")


def _rows_of_array(body: bytes) -> pl.DataFrame:
    """The text of each row of an array in any layout. Raises ContractError or a msgspec error if it is not an array of rows."""
    elements = [bytes(element) for element in json_decoder(list[msgspec.Raw]).decode(body)]
    rows = pl.Series("row", elements, pl.Binary).cast(pl.String)
    other = rows.filter(~rows.str.starts_with("{"))
    if len(other):
        raise ContractError(f"the element {other[0][:60]!r}")
    return rows.to_frame()


def _decoded(rows: pl.LazyFrame, fields: Sequence[str]) -> pl.DataFrame:
    """The fields of each row, and the JSON types of those that are not text (`json_types.TYPE`).

    Raises a polars error if a row is not an object, or has an object or array as one of the fields.
    """
    is_bare = has_bare_value(pl.col("row"))
    decoded = rows.select(_fields(fields), is_bare=is_bare).collect(engine="streaming")
    if decoded["row"].null_count():
        raise pl.exceptions.ComputeError("null in place of a row")
    frame = decoded["row"].struct.unnest()
    return _beside(frame, json_types(rows.collect(), fields, frame)) if decoded["is_bare"].any() else frame


def _decoded_in_part(rows: pl.LazyFrame, fields: Sequence[str]) -> pl.DataFrame:
    """The same where fields may hold objects or arrays: these are null, and of type `object`."""
    try:
        return _decoded(rows, fields)
    except pl.exceptions.ComputeError:
        types = json_types(rows.collect(), fields)
        objects = [name for name in fields if TYPE + name in types.columns and (types[TYPE + name] == "object").any()]
        if not objects:
            raise
        others = [name for name in fields if name not in objects] or [""]  # a frame without columns has no rows
        rest = rows.select(_fields(others)).collect().unnest("row")
        return _beside(with_all(rest, fields), types)


def _fields(names: Sequence[str]) -> pl.Expr:
    return pl.col("row").str.json_decode(pl.Struct(dict.fromkeys(names, pl.String)))


def _beside(frame: pl.DataFrame, types: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([frame, types], how="horizontal") if types.width else frame


def _marked(frame: pl.DataFrame, rows: pl.LazyFrame, fields: Sequence[str]) -> pl.DataFrame:
    """The frame, with `FLAW` beside it if there are rows with a field twice. `rows`: the text of the first rows.

    Most rows that look so have a value that is spelled like a field: only decoding tells. Raises ValueError if a text is not one row.
    """
    names = "|".join(re.escape(name) for name in sorted(fields, key=len, reverse=True))
    quoted = pl.col("row").str.extract_all(f'"(?:{names})"').list
    is_escaped = pl.col("row").str.contains(r"\\u00[2-7]")  # a name may be written with escapes
    suspects = rows.with_row_index("at").filter((quoted.n_unique() < quoted.len()) | is_escaped).collect()
    twice = {at: flaw for at, text in suspects.iter_rows() if (flaw := _repeated(text, frozenset(fields)))}
    if not twice:
        return frame
    marks = pl.DataFrame({"at": list(twice), FLAW: list(twice.values())}, schema={"at": pl.UInt32, FLAW: pl.String})
    return frame.with_row_index("at").join(marks, on="at", how="left", maintain_order="left").drop("at")


def _repeated(row: str, fields: frozenset[str]) -> str:
    """The fields that an object has more than once, and their values, as the reason to reject it; empty if there are none."""
    pairs: list[tuple[str, object]] = json.loads(row, object_pairs_hook=lambda found: found)
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        if name in fields:
            values.setdefault(name, []).append(f"'{legible(value, QUOTED)}'")
    return "; ".join(
        f"{legible(name, NAME)}: found twice in one row: {' and '.join(found)}"
        for name, found in sorted(values.items())
        if len(found) > 1
    )

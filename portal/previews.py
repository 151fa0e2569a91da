"""The first rows of a table as people read them: numbers and days as the language writes them, each with the value it is sorted by.

Here: which rows, and how their values are written. Not here: the page around them (`table_page.py`), sorting in the browser (`static/table.js`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Literal

from catalunya.contracts.model.columns import Column
from catalunya.io.safe_text import legible
from catalunya.portal.language import UNKNOWN, Language

if TYPE_CHECKING:
    import polars as pl

ROWS = 100
"""Rows of a preview."""
LONGEST = 120
"""Characters of a text in a preview."""
_DIGITS = 4
Kind = Literal["number", "day", "text"]


@dataclass(frozen=True, slots=True)
class Cell:
    """A value as it is read (`text`), and what it is sorted by (`value`, "" if by its text; None if the value is not known)."""

    text: str
    value: str | None = ""


@dataclass(frozen=True, slots=True)
class Preview:
    """The first rows, cell by cell, in the order of `columns`."""

    columns: tuple[Column, ...]
    rows: Sequence[Sequence[Cell]]


def first_rows(table: pl.LazyFrame) -> pl.DataFrame:
    """The first rows as they are stored: of a large table no more is read than the first files."""
    return table.head(ROWS).collect()


def preview(rows: pl.DataFrame, columns: Sequence[Column], language: Language) -> Preview:
    """The rows in a language. A preview has at most `ROWS` rows, so that its cells are written one by one."""
    shown = tuple(column for column in columns if column.name in rows.columns)
    written = [_column(rows[column.name], column, language) for column in shown]
    return Preview(shown, list(zip(*written, strict=True)))


def kind_of(column: Column) -> Kind:
    """How the values of a column are compared when rows are sorted, and whether they stand on the right."""
    if column.type in ("integer", "bigint", "double"):
        return "number"
    return "day" if column.type in ("date", "timestamp") else "text"


def _column(values: pl.Series, column: Column, language: Language) -> list[Cell]:
    digits = _decimals(values) if column.type == "double" else 0
    is_year = "year" in column.name.split("_")
    return [_cell(value, digits, language, is_year=is_year) for value in values.to_list()]


def _cell(value: Any, digits: int, language: Language, *, is_year: bool) -> Cell:
    if value is None:
        return Cell(UNKNOWN, None)
    if isinstance(value, bool):
        return Cell(language.t("table.yes" if value else "table.no"))
    if isinstance(value, int | float):
        return Cell(str(value) if is_year else language.number(value, digits), repr(value))
    if isinstance(value, datetime):
        return Cell(language.moment(value), value.isoformat())
    if isinstance(value, date):
        return Cell(language.day(value), value.isoformat())
    return Cell(legible(str(value), LONGEST))


def _decimals(values: pl.Series) -> int:
    """The decimals that are enough to tell the values apart, at most `_DIGITS`."""
    return next((digits for digits in range(_DIGITS) if (values.round(digits) == values).all()), _DIGITS)

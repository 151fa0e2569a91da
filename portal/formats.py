"""The formats that a table can be taken away in, and writing one as a file. The same table gives the same bytes.

- Parquet: the contract's columns and types. CSV: RFC 4180, UTF-8; an unknown value is empty, an empty text is `""`. JSON: an array with an object
  for each row, each on its line. Both write a moment as ISO 8601, in UTC.
- CSV for Excel where the decimal sign is a comma (Catalan, Spanish): a byte order mark, semicolons, decimal commas. A text that Excel would
  take for a formula gets an apostrophe before it.
- Excel: a sheet with the rows and one in each language that describes them, for tables of fewer than `EXCEL_ROWS` rows: a large one takes too much memory.
  A column with a day before 1900 or a number of more than 15 digits is text, because Excel would show another one.

Here: writing. Not here: which files there are (`downloads.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import polars.selectors as cs

from catalunya.portal.publish import CONTENT_TYPES

EXCEL_ROWS = 20_000
ROW_GROUP, SLICE = 100_000, 10_000
DATA = "data"
"""The sheet with the rows."""
MOMENT = "%Y-%m-%dT%H:%M:%S%.3fZ"
_FORMULA = r"^[=+\-@\t\r]"


@dataclass(frozen=True, slots=True)
class Sheet:
    """A description of a table in one language: facts with their labels, then its columns, a row each below `header`."""

    name: str
    facts: Sequence[tuple[str, str]]
    header: Sequence[str]
    columns: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class About:
    """What a file says of its table, where its format can: when the version was made, and descriptions."""

    issued: datetime
    sheets: Sequence[Sheet]


@dataclass(frozen=True, slots=True)
class Format:
    """One format. `name` is its word in `[download]`, `ending` the end of its files' names."""

    name: str
    ending: str
    write: Callable[[pl.DataFrame, Path, About], None]

    @property
    def media_type(self) -> str:
        """As in HTTP, without parameters."""
        return CONTENT_TYPES[f".{self.ending.rpartition('.')[2]}"].partition(";")[0]


def formats(rows: int) -> list[Format]:
    """The formats of a table with so many rows."""
    return [each for each in FORMATS if each.ending != ".xlsx" or rows < EXCEL_ROWS]


def _parquet(table: pl.DataFrame, to: Path, _: About) -> None:
    table.write_parquet(to, compression="zstd", row_group_size=ROW_GROUP)


def _csv(table: pl.DataFrame, to: Path, _: About) -> None:
    table.write_csv(to, line_terminator="\r\n", datetime_format=MOMENT)


def _excel_csv(table: pl.DataFrame, to: Path, _: About) -> None:
    texts = pl.col(pl.String)
    guarded = table.with_columns(pl.when(texts.str.contains(_FORMULA)).then("'" + texts).otherwise(texts).name.keep())
    guarded.write_csv(
        to,
        include_bom=True,
        separator=";",
        decimal_comma=True,
        line_terminator="\r\n",
        datetime_format="%Y-%m-%d %H:%M:%S",
    )


def _json(table: pl.DataFrame, to: Path, _: About) -> None:
    written = table.with_columns(pl.col(pl.Datetime).dt.strftime(MOMENT))
    with to.open(
        "w", encoding="utf-8", newline=""
    ) as file:  # polars would hold all of it, several times the table, in memory
        for number, some in enumerate(written.iter_slices(SLICE)):
            lines = (
                some.write_ndjson().removesuffix("\n").replace("\n", ",\n")
            )  # in a text, a line's end is \n in two letters
            file.write(f"{',' if number else '['}\n{lines}")
        file.write("\n]\n" if len(written) else "[]\n")


def _for_excel(table: pl.DataFrame) -> pl.DataFrame:
    """The table with columns as texts that have what Excel's days and numbers cannot say: a day before 1900, more than 15 digits."""
    days, numbers = table.select(cs.temporal()), table.select(cs.integer())
    early = [column.name for column in days if (column.dt.year() < 1900).any()]
    long = [column.name for column in numbers if ((column >= 10**15) | (column <= -(10**15))).any()]
    return table.with_columns(pl.col(early).dt.to_string("iso"), pl.col(long).cast(pl.String))


def _xlsx(table: pl.DataFrame, to: Path, about: About) -> None:
    from xlsxwriter import Workbook

    options = {
        # A text is a text, whatever it looks like.
        "strings_to_urls": False,
        "strings_to_formulas": False,
        "strings_to_numbers": False,
    }
    with Workbook(str(to), options) as book:
        book.set_properties({"created": about.issued.astimezone(UTC).replace(tzinfo=None)})
        shown: Any = {"float_precision": 10, "dtype_formats": {pl.Int64: "0", pl.Int32: "0", pl.Float64: "General"}}
        # It would write what is not finite as a formula that fails.
        numbers = pl.col(pl.Float64)
        finite = _for_excel(table).with_columns(pl.when(numbers.is_finite()).then(numbers).name.keep())
        finite.write_excel(book, DATA, table_style="Table Style Light 1", autofit=True, freeze_panes=(1, 0), **shown)
        bold, wrapped = book.add_format({"bold": True}), book.add_format({"text_wrap": True, "valign": "top"})
        for each in about.sheets:
            sheet = book.add_worksheet(each.name)
            sheet.set_column(0, 0, 30, wrapped)
            sheet.set_column(1, 1, 90, wrapped)
            sheet.set_column(2, 3, 20, wrapped)
            for row, fact in enumerate(each.facts):
                sheet.write_row(row, 0, fact)
            first = len(each.facts) + 1
            sheet.write_row(first, 0, each.header, bold)
            for row, column in enumerate(each.columns, first + 1):
                sheet.write_row(row, 0, column)


FORMATS = (
    Format("parquet", ".parquet", _parquet),
    Format("csv", ".csv", _csv),
    Format("excel_csv", "-excel.csv", _excel_csv),
    Format("json", ".json", _json),
    Format("xlsx", ".xlsx", _xlsx),
)

"""What a table looks like at a moment: its columns and its length, as the faults in force have left them.

Data and metadata are both made from a Shape, so that they tell the same story. How values become JSON is in render.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl

from catalunya.ops.mock.faults import Fault
from catalunya.ops.mock.tables import Column, Dataset

# The column a fault takes where none is named: one that a pipeline needs, but not the key.
DEFAULT_COLUMN = {"9aju-tpwc": "nom_comarca", "ivft-vegh": "capacitat", "yavr-pn8q": "total"}
DEFAULT_TYPE = {"number": "text", "text": "calendar_date"}
NEW_COLUMN = "nova_columna"


@dataclass(frozen=True)
class Shown:
    """A column as it is shown: `source` is the field of the table it comes from, None where it is made up."""

    column: Column
    source: str | None
    retyped: str = ""

    def value(self) -> pl.Expr:
        """The shown value out of the table's columns: a string, or JSON where the type is not text or number."""
        if self.source is None:
            return pl.concat_str(pl.lit("valor "), pl.int_range(pl.len()) % 7).alias(self.column.field)
        value = pl.col(self.source)
        is_number = value.str.contains(r"^-?\d+(\.\d+)?$")
        bare = value.str.replace(r"^(-?)0+(\d)", "${1}${2}")
        match self.retyped:
            case "text":
                value = value + " (text)"
            case "number" | "json-number":
                value = pl.when(is_number).then(bare)
            case "calendar_date":
                year = pl.when(value.str.contains(r"^[12]\d{3}\b")).then(value.str.slice(0, 4))
                value = pl.when(value.is_not_null()).then(year.fill_null(pl.lit("2020")) + "-01-01T00:00:00.000")
            case "point":
                point = pl.lit('{"type":"Point","coordinates":[2.177241106,41.38240539]}')
                value = pl.when(value.is_not_null()).then(point)
            case "checkbox":
                value = pl.when(value.is_not_null()).then(pl.lit("true"))
        return value.alias(self.column.field)

    @property
    def quoted(self) -> bool:
        """Whether the value is a JSON string: numbers are, as SODA has it."""
        return self.retyped != "json-number" and self.column.type not in ("point", "checkbox")


@dataclass(frozen=True)
class Shape:
    """The columns shown and the number of rows. `token` differs where any of it differs for a reason but new data."""

    columns: tuple[Shown, ...]
    total: int
    token: str

    def find(self, field: str) -> Shown | None:
        """The shown column of that name."""
        return next((shown for shown in self.columns if shown.column.field == field), None)


def shape(dataset: Dataset, total: int, faults: Sequence[Fault]) -> Shape:
    """The dataset under the table faults among `faults`."""
    columns = [Shown(column, column.field) for column in dataset.columns]
    tokens: list[str] = []
    for fault in faults:
        at = next(
            (i for i, shown in enumerate(columns) if shown.source == (fault.column or DEFAULT_COLUMN.get(dataset.id))),
            None,
        )
        match fault.kind:
            case "empty":
                total = 0
            case "shrunken":
                total = int(total * fault.keep)
            case "new-column":
                name = fault.column or NEW_COLUMN
                columns.append(Shown(Column(name, name.replace("_", " ").capitalize()), None))
            case "missing-column" if at is not None:
                del columns[at]
            case "renamed-column" if at is not None:
                old = columns[at].column
                columns[at] = replace(
                    columns[at], column=replace(old, field=fault.to or f"{old.field}_nou", name=f"{old.name} (nou)")
                )
            case "retyped-column" if at is not None:
                to = fault.to or DEFAULT_TYPE.get(columns[at].column.type, "text")
                kind = "number" if to == "json-number" else to
                columns[at] = replace(
                    columns[at], column=replace(columns[at].column, type=kind, required=False), retyped=to
                )
            case _:
                continue
        tokens.append(f"{fault.kind}={fault.column}={fault.to}={fault.keep}")
    return Shape(tuple(columns), total, "&".join(tokens))

"""Which rows a query gets, in which order, a chunk at a time: no more of a table is in memory than a chunk.

An order that the table stands in anyway (its key, then `:id`) is worked out by position. Any other order, or a filter,
reads the columns it needs of the whole table. Without an order, pages overlap and miss rows, as those of the portal may.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from catalunya.ops.mock.noise import column, number
from catalunya.ops.mock.render import json_array, shown_system, system_columns, with_system
from catalunya.ops.mock.shape import Shape, Shown
from catalunya.ops.mock.soql import Bound, Query
from catalunya.ops.mock.tables import SYSTEM_FIELDS, Table

CHUNK = 50_000
_POSITION = "__position"


@dataclass(frozen=True)
class View:
    """A table at one version, as it is shown."""

    table: Table
    version: int
    shape: Shape
    seed: int
    updated_at: int

    def fields(self) -> dict[str, str]:
        """The types of the shown columns by name."""
        return {shown.column.field: shown.column.type for shown in self.shape.columns}

    def columns(self, query: Query) -> list[Shown]:
        """The columns that a query selects, system fields first."""
        fields = self.fields() if query.fields is None else query.fields
        chosen = [self.shape.find(field) or shown_system(field) for field in fields]
        return [shown_system(field) for field in SYSTEM_FIELDS] + chosen if query.system else chosen

    def body(self, query: Query) -> Iterator[bytes]:
        """The JSON array of a query's rows, in pieces."""
        columns = self.columns(query)
        wanted = [shown.value() for shown in columns]
        frames = (self._frame(positions).select(wanted).collect() for positions in self._positions(query))
        return json_array(frames, columns)

    def count(self, query: Query) -> int:
        """How many rows a query's filters leave."""
        return self._filtered(query).height if query.filters or query.where else self.shape.total

    def _frame(self, positions: pl.Series) -> pl.LazyFrame:
        system = system_columns(self.seed, self.version, self.table.total(self.version), self.updated_at)
        return with_system(self.table, self.version, positions, system)

    def _positions(self, query: Query) -> Iterator[pl.Series]:
        if query.filters or query.where or (query.order and not self._stands_in(query.order)):
            chosen = self._filtered(query)[_POSITION].slice(query.offset, query.limit)
            yield from (chosen.slice(start, CHUNK) for start in range(0, chosen.len(), CHUNK))
            return
        total = self.shape.total
        end = min(query.offset + query.limit, total)
        for start in range(query.offset, end, CHUNK):
            positions = pl.int_range(start, min(start + CHUNK, end), dtype=pl.UInt64, eager=True)
            yield positions if query.order else self._at_random(positions, query, total)

    def _at_random(self, positions: pl.Series, query: Query, total: int) -> pl.Series:
        """Any order: every page but the first begins a little late, wraps around, and is shuffled."""
        noise = number(self.seed, 81, query.offset)
        late = 1 + noise % max(1, query.limit // 8) if query.offset else 0
        moved = pl.DataFrame({_POSITION: (positions + late) % total})
        return moved.sort(column(pl.col(_POSITION), noise))[_POSITION]

    def _stands_in(self, order: tuple[tuple[str, bool], ...]) -> bool:
        if any(descending for _, descending in order):
            return False
        asked = [(shown.source if (shown := self.shape.find(field)) else field) for field, _ in order]
        if any(shown.retyped for field, _ in order if (shown := self.shape.find(field))):
            return False
        ids_ascend = ":id" not in self.table.system_fields(self.version)  # made-up ids do
        standing = [*self.table.dataset.key, *([":id"] if ids_ascend else [])]
        return asked == standing[: len(asked)] or (asked == [":id"] and ids_ascend)

    def _filtered(self, query: Query) -> pl.DataFrame:
        """The positions of all rows that pass the filters, in order. Only the columns named are made."""
        total = self.shape.total
        everything = pl.int_range(0, total, dtype=pl.UInt64, eager=True)
        named = [field for field, _ in query.filters + query.order] + [bound.field for bound in query.where]
        fields = list(dict.fromkeys(named))
        shown = [self.shape.find(field) or shown_system(field) for field in fields]
        frame = self._frame(everything).select([*(each.value() for each in shown), pl.lit(everything).alias(_POSITION)])
        frame = frame.filter(*(pl.col(field) == value for field, value in query.filters), *map(_within, query.where))
        if query.order:
            numeric = {each.column.field for each in shown if each.column.type == "number"}
            by = [pl.col(field).cast(pl.Float64) if field in numeric else pl.col(field) for field, _ in query.order]
            descending = [down for _, down in query.order]
            frame = frame.sort(by, descending=descending, nulls_last=True, maintain_order=True)
        return frame.select(_POSITION).collect()


def _within(bound: Bound) -> pl.Expr:
    """Whether a row keeps to a bound; one without a value does not."""
    value = pl.col(bound.field).cast(pl.Float64) if bound.is_number else pl.col(bound.field)
    limit = pl.lit(float(bound.value) if bound.is_number else bound.value)
    return value >= limit if bound.operator == ">=" else value <= limit

"""The vocabulary of the mock's tables: columns, datasets, and how rows are asked for by position.

What a table looks like under faults is in shape.py, its JSON in render.py, its content in the generators and real.py.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

import polars as pl

ROW_NUMBER = "__row_number"
"""UInt64 column of every table beside its own: which row it is in the table's whole life, ascending by position."""

SYSTEM_FIELDS = (":id", ":version", ":created_at", ":updated_at")


@dataclass(frozen=True)
class Column:
    """A column as the portal's metadata declares it. `required`: no row lacks it."""

    field: str
    name: str
    type: str = "text"
    description: str = ""
    required: bool = True


@dataclass(frozen=True)
class Dataset:
    """What the metadata say of a dataset. Rows stand in the order of `key`, which is how the portal is asked for them.

    `updated_at`: when version 0 of the rows was published, seconds since 1970.
    """

    id: str
    name: str
    description: str
    attribution: str
    category: str
    created_at: int
    updated_at: int
    key: tuple[str, ...]
    columns: tuple[Column, ...]


class Table(Protocol):
    """The rows of one dataset at any version; versions count from 0 and each is a pure function of its number."""

    @property
    def dataset(self) -> Dataset:
        """The dataset whose rows these are."""

    def total(self, version: int) -> int:
        """How many rows there are."""

    def rows(self, version: int, positions: pl.Series) -> pl.LazyFrame:
        """One row for each of `positions` (UInt64, below `total`): the dataset's columns and ROW_NUMBER.

        Every column is a string: the text, the number in decimal, or for other types the value as JSON.
        """

    def system_fields(self, version: int, /) -> Collection[str]:
        """The portal's own fields (`:id`, ...) that a recorded table brings along; none in a generated one."""


Step = Callable[[pl.DataFrame, int], pl.DataFrame]
"""Makes of a table's rows at version n-1 and n those at version n: a few rows change, appear and disappear."""


class SmallTable:
    """A table that fits in memory many times over: version 0 is given, the others follow step by step."""

    def __init__(self, dataset: Dataset, frame: pl.DataFrame, step: Step) -> None:
        self.dataset = dataset
        self._step = step
        self._first = frame.sort(dataset.key, maintain_order=True)
        self._current = (0, self._first)
        self._recorded = frozenset(SYSTEM_FIELDS) & frozenset(frame.columns)

    def total(self, version: int) -> int:
        return self._at(version).height

    def rows(self, version: int, positions: pl.Series) -> pl.LazyFrame:
        frame = self._at(version).with_row_index(ROW_NUMBER)
        return frame[positions].lazy().with_columns(pl.col(ROW_NUMBER).cast(pl.UInt64))

    def system_fields(self, version: int, /) -> Collection[str]:
        return () if version else self._recorded

    def _at(self, version: int) -> pl.DataFrame:
        known, frame = self._current
        if version < known:
            known, frame = 0, self._first
        for number in range(known + 1, version + 1):
            # A portal that replaces a table gives every row new system fields: those of the first version go.
            frame = self._step(frame.drop(self._recorded, strict=False), number).sort(
                self.dataset.key, maintain_order=True
            )
        self._current = (version, frame)
        return frame


def from_rows(dataset: Dataset, rows: list[dict[str, str | None]]) -> pl.DataFrame:
    """Rows as a frame of strings with every column of the dataset; a field that a row lacks is null."""
    fields = [column.field for column in dataset.columns]
    fields += sorted({name for row in rows for name in row} - set(fields))
    return pl.DataFrame(
        {name: [row.get(name) for row in rows] for name in fields}, schema=dict.fromkeys(fields, pl.String)
    )

"""The vocabulary of statistical tables: dimensions, cells, and the cells that a selection takes of them.

A table is a cube: one cell for each combination of categories, the last dimension running fastest. How it becomes
JSON-stat is in document.py, what it looks like under faults in view.py, its content in the generators and recorded.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from math import prod
from typing import Any, Literal

import polars as pl

TOTAL = "TOTAL"
MISSING, PROVISIONAL, ADVANCE = "..", "p", "a"

Role = Literal["time", "geo", "metric", ""]


@dataclass(frozen=True)
class Dimension:
    """A dimension: `categories` are labels by code, in order; `decimals` of the metrics, `extension` as JSON-stat has it."""

    code: str
    label: str
    role: Role
    categories: Mapping[str, str]
    decimals: Mapping[str, int] = field(default_factory=dict)
    extension: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Cells:
    """The cells of a cube: each value as JSON (`null` where there is none), and the status of those that have one."""

    values: Sequence[str]
    statuses: Mapping[int, str]


@dataclass(frozen=True)
class Head:
    """What is told of a table beside its cells. `path` is `statistic/node/table/geo`; words are in Catalan.

    `updated`: when version 0 was published. `statuses`: those that its cells may have.
    """

    path: str
    statistic: str
    label: str
    source: str
    updated: date
    statuses: tuple[str, ...] = (PROVISIONAL, MISSING)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class StatTable:
    """A table at any version; versions count from 0, and each is a pure function of its number."""

    head: Head
    dimensions: Callable[[int], tuple[Dimension, ...]]
    cells: Callable[[int], Cells]

    def size(self, version: int) -> int:
        """How many cells there are."""
        return prod(len(dimension.categories) for dimension in self.dimensions(version))


def dense(rows: pl.DataFrame) -> list[str]:
    """The values of a frame of numbers, row after row, as JSON."""
    texts = rows.select(pl.all().cast(pl.String).fill_null("null"))
    return [text for row in zip(*(column.to_list() for column in texts.get_columns()), strict=True) for text in row]


def with_statuses(values: Sequence[str], newest: int, status: str) -> Cells:
    """The cells with `..` where there is no value, and `status` from the position `newest` on."""
    statuses = dict.fromkeys(range(newest, len(values)), status) if status else {}
    statuses |= {at: MISSING for at, value in enumerate(values) if value == "null"}
    return Cells(values, statuses)


def periods(letter: Literal["S", "T", "M"], first: tuple[int, int], count: int) -> dict[str, str]:
    """The labels of `count` half-years, quarters or months by their codes: `2012S1` -> `S1/2012`, `2020M12` -> `12/2020`."""
    a_year = {"S": 2, "T": 4, "M": 12}[letter]
    found = {}
    for number in range(count):
        years, part = divmod(first[1] - 1 + number, a_year)
        year = first[0] + years
        if letter == "M":
            found[f"{year}M{part + 1:02}"] = f"{part + 1:02}/{year}"
        else:
            found[f"{year}{letter}{part + 1}"] = f"{letter}{part + 1}/{year}"
    return found


def offsets(picked: Iterable[tuple[int, Sequence[int]]]) -> list[int]:
    """The positions of a cube's cells: for each dimension its size and the categories wanted, the last running fastest."""
    found = [0]
    for size, wanted in picked:
        found = [start * size + at for start in found for at in wanted]
    return found

"""Columns as plain data: what a contract declares of each column, cheap to import and easy to write as JSON.

The asset graph, the DAGs and the CLI read these. Not here: declaring columns (`contract.py`) and checking them (`check.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

LogicalType = Literal["string", "integer", "bigint", "double", "boolean", "date", "timestamp"]

NESTED = frozenset(
    {"point", "location", "url", "document", "multipolygon", "polygon", "line", "multiline", "multipoint"}
)
"""Types of a source whose values are JSON objects, not one cell."""

PROVENANCE = "_provenance"
"""The `source` of a column that says which dataset each row is from: the engine fills it, as if every raw row had such a field."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a contract.

    `source` is the raw field it comes from, `references` the `table.column` of the same layer it points to. `period` marks
    the column with the period a row belongs to (`2024`, `2024-H1`, `2024-Q3`, `2024-06`). `max_change` is the column's own guard:
    the share of the rows that stay whose value one materialization may change. `classifies` is the column whose names its rules know; what
    none knows is reported by name and becomes `otherwise`, or is rejected if there is none.
    """

    name: str
    type: LogicalType
    description: str
    nullable: bool
    key: bool = False
    unique: bool = False
    source: str | None = None
    unit: str | None = None
    personal: bool = False
    references: str | None = None
    period: bool = False
    max_change: float | None = None
    classifies: str | None = None
    otherwise: str | None = None
    accepted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RawField:
    """One field of a source. `kind` is the type the source declares (None: not checked)."""

    name: str
    description: str
    kind: str | None = None
    required: bool = False
    personal: bool = False

"""Column lineage: which columns each column is made from, down to the fields of the sources, and which columns are made from it.

Here: reading what is stored in `assets/lineage.json`, and walking it in both directions. Not here: how it is found
(`lineage_document.py`), lineage of whole tables (`graph.py`). Importing and reading this needs neither polars nor dbt nor sqlglot: a Lambda
function and Airflow's UI read the same file.

A value's way into a column (`how`) is `identity` (as it is, cleaned or cast), `computed` (in an expression), `aggregated`, or `condition`:
it only decides which value is taken (CASE, the keys of a lookup, the order of a window). Which *rows* a table has is another question:
joins, filters and groups are kept per table (`row_sources`), not per column.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, NamedTuple

from catalunya.assets.graph.graph import AssetGraph
from catalunya.assets.graph.spec import Asset, Layer
from catalunya.contracts.model.columns import PROVENANCE
from catalunya.io.errors import UsageError
from catalunya.io.project_folder import active
from catalunya.io.warehouse.sql_lineage import HOWS, How, through

LINEAGE_FILE = "assets/lineage.json"
"""Beside the declarations, and not in `docs/`, so that images, wheels and Lambda packages have it."""
FORMAT = "1"
"""Raised when the same code gives another lineage."""

OriginKind = Literal["constant", "reference", "clock", "row_count", "generated", "history", "provenance", "unknown"]
ORIGINS: Mapping[OriginKind, str] = {
    "constant": "a constant",
    "reference": "reference data",
    "clock": "the day of the run",
    "row_count": "a number of rows",
    "generated": "a generated series",
    "history": "what the table published before",
    "provenance": "the dataset that the row was read from",
    "unknown": "not known",
}


class ColumnSource(NamedTuple):
    """A column of another table (of a landing table: a field of the source) that a column is made from."""

    asset: str
    column: str
    how: How

    def __str__(self) -> str:
        return f"{self.asset}.{self.column}"


class ColumnConsumer(NamedTuple):
    """A column of another table that is made from a column."""

    asset: str
    column: str
    how: How

    def __str__(self) -> str:
        return f"{self.asset}.{self.column}"


class Origin(NamedTuple):
    """What a column is made from that is no column of a table: its kind, and the name of what it is (the seed's column, the counted table)."""

    kind: OriginKind
    name: str = ""

    def __str__(self) -> str:
        return f"{ORIGINS[self.kind]}: {self.name}" if self.name else ORIGINS[self.kind]


@dataclass(frozen=True, slots=True)
class ColumnMade:
    """What one column is made from: `sources` are columns of other tables, `origins` the rest."""

    sources: tuple[ColumnSource, ...] = ()
    origins: tuple[Origin, ...] = ()


@dataclass(frozen=True, slots=True)
class TableMade:
    """A table's columns in declared order, and the columns that decide which rows it has. `version` is that of the code it was read from."""

    version: str
    columns: Mapping[str, ColumnMade]
    rows: tuple[ColumnSource, ...] = ()


@dataclass
class ColumnLineage:
    """The lineage of every column of a graph. Tables whose code has changed since `make generate` are not in `tables`."""

    graph: AssetGraph
    tables: Mapping[str, TableMade]
    _consumers: dict[tuple[str, str], list[ColumnConsumer]] = field(init=False, default_factory=dict)
    _row_consumers: dict[tuple[str, str], list[str]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        for asset in self.graph:
            for column in asset.columns:
                for source in self.made(asset.key, column.name).sources:
                    made = ColumnConsumer(asset.key, column.name, source.how)
                    self._consumers.setdefault((source.asset, source.column), []).append(made)
            for source in self.row_sources(asset.key):
                self._row_consumers.setdefault((source.asset, source.column), []).append(asset.key)

    def is_known(self, key: str) -> bool:
        """Whether the stored lineage is that of the table's code. A landing table's always is: its columns are the source's fields."""
        return self.graph[key].layer is Layer.LANDING or key in self.tables

    def made(self, key: str, column: str) -> ColumnMade:
        """What a column is made from. Raises UsageError, with the nearest names, when there is no such column.

        Of a staging table whose code has changed since `make generate`: what its contract says (`source=`).
        """
        asset = self.graph[key]
        declared = next((each for each in asset.columns if each.name == column), None)
        if declared is None:
            raise UsageError(no_column(asset, column))
        if table := self.tables.get(key):
            return table.columns.get(column, _UNKNOWN)
        if declared.source == PROVENANCE:
            return ColumnMade(origins=(Origin("provenance"),))
        if asset.layer is Layer.STAGING and declared.source:
            landing = next(up for up in asset.upstream if up.startswith(f"{Layer.LANDING}."))
            return ColumnMade((ColumnSource(landing, declared.source, "identity"),))
        return ColumnMade() if asset.layer is Layer.LANDING else _UNKNOWN

    def column_sources(self, key: str, column: str) -> tuple[ColumnSource, ...]:
        """The columns that a column is made from directly; none of a field of a landing table."""
        return self.made(key, column).sources

    def origins(self, key: str, column: str) -> tuple[Origin, ...]:
        """What a column is made from that is no column of a table: all there is to say where it has no source."""
        return self.made(key, column).origins

    def row_sources(self, key: str) -> tuple[ColumnSource, ...]:
        """The columns of other tables that decide which rows a table has: joins, filters, groups."""
        return self.tables[key].rows if key in self.tables else ()

    def fields(self, key: str, column: str) -> tuple[ColumnSource, ...]:
        """The fields of the sources that a column is made from, through all tables between: as columns of landing tables."""
        walked = _walk((key, column), self.column_sources)
        found = (ColumnSource(*at, how) for at, how in walked.items() if at in self._landing and at != (key, column))
        return tuple(sorted(found, key=directness))

    def column_consumers(self, key: str, column: str) -> tuple[ColumnConsumer, ...]:
        """The columns that are made from a column directly."""
        self.made(key, column)
        return tuple(self._consumers.get((key, column), ()))

    def consumers_of(self, key: str, column: str) -> tuple[ColumnConsumer, ...]:
        """All columns downstream that are made from a column, in dependency order: what breaks when a field of the source is gone."""
        walked = _walk((key, column), self.column_consumers)
        order = {asset.key: at for at, asset in enumerate(self.graph)}
        found = [ColumnConsumer(*at, how) for at, how in walked.items() if at != (key, column)]
        return tuple(sorted(found, key=lambda one: order[one.asset]))

    def row_consumers_of(self, key: str, column: str) -> tuple[str, ...]:
        """The tables whose rows depend on a column, or on one that is made from it, in dependency order."""
        reached = {(key, column), *((one.asset, one.column) for one in self.consumers_of(key, column))}
        tables = {table for at in reached for table in self._row_consumers.get(at, ())}
        return tuple(asset.key for asset in self.graph if asset.key in tables)

    @property
    def _landing(self) -> set[tuple[str, str]]:
        landing = (asset for asset in self.graph if asset.layer is Layer.LANDING)
        return {(asset.key, column.name) for asset in landing for column in asset.columns}


_UNKNOWN = ColumnMade(origins=(Origin("unknown"),))


def load_lineage(graph: AssetGraph, folder: Path | None = None) -> ColumnLineage:
    """The lineage of the project's columns, as `make generate` stored it; of a project that has none yet, only what contracts say."""
    return ColumnLineage(
        graph,
        {
            key: table
            for key, table in read_tables(folder or active().folder).items()
            if key in graph and table.version == version_of(graph[key])
        },
    )


def read_tables(folder: Path) -> dict[str, TableMade]:
    """What is stored in a project's folder, whatever its version. Empty if there is no file, or none that this version wrote."""
    try:
        stored = json.loads((folder / LINEAGE_FILE).read_text(encoding="utf-8"))
        return {key: _table(table) for key, table in stored["tables"].items()} if stored["format"] == FORMAT else {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def version_of(asset: Asset) -> str:
    """The version of the code that a table's lineage is read from."""
    return asset.code_version


def parse_column(text: str, graph: AssetGraph) -> tuple[str, str] | None:
    """The asset and column that `marts.dim_time.date_id` names; None for an asset's key. Raises UsageError with the nearest names."""
    layer, _, rest = text.partition(".")
    name, dot, column = rest.partition(".")
    if not dot:
        return None
    asset = graph[f"{layer}.{name}"]
    if column not in {each.name for each in asset.columns}:
        raise UsageError(no_column(asset, column))
    return asset.key, column


def no_column(asset: Asset, column: str) -> str:
    """The message for a column that an asset does not have."""
    names = [each.name for each in asset.columns]
    near = get_close_matches(column, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"it has {', '.join(names)}"
    return f"{asset.key} has no column {column!r}; {hint}"


def directness(source: ColumnSource) -> tuple[int, str, str]:
    """The order of a column's sources: those whose values it has first."""
    return HOWS.index(source.how), source.asset, source.column


def _walk(
    start: tuple[str, str], step: Callable[[str, str], Iterable[ColumnSource | ColumnConsumer]]
) -> dict[tuple[str, str], How]:
    """Everything that is reached from a column, and the most direct way to it."""
    found: dict[tuple[str, str], How] = {start: "identity"}
    waiting = [start]
    while waiting:
        at = waiting.pop()
        for near in step(*at):
            to = (near.asset, near.column)
            how = through(found[at], near.how)
            if to not in found or HOWS.index(how) < HOWS.index(found[to]):
                found[to] = how
                waiting.append(to)
    return found


def _table(stored: Mapping[str, Any]) -> TableMade:
    return TableMade(
        version=stored["version"],
        columns={
            name: ColumnMade(
                tuple(_source(source, how) for source, how in made.get("from", {}).items()),
                tuple(Origin(*origin.split(" ", 1)) for origin in made.get("also", ())),
            )
            for name, made in stored["columns"].items()
        },
        rows=tuple(_source(source, "condition") for source in stored.get("rows", ())),
    )


def _source(name: str, how: How) -> ColumnSource:
    layer, table, column = name.split(".", 2)
    return ColumnSource(f"{layer}.{table}", column, how)

"""`assets/lineage.json`: what each column of staging and marts is made from, as `make generate` stores it.

Here: finding it (staging by polars' plan, marts by dbt's compiled SQL) for the tables whose code changed, and the file's text. Not here:
reading and walking it (`column_lineage.py`), how SQL and plans are read (`io/warehouse/sql_lineage.py`, `plan_lineage.py`).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from catalunya.assets.graph.column_lineage import (
    FORMAT,
    ColumnMade,
    ColumnSource,
    Origin,
    TableMade,
    directness,
    read_tables,
    version_of,
)
from catalunya.assets.graph.graph import AssetGraph
from catalunya.assets.graph.spec import Asset, Declaration, Layer, StagingDeclaration
from catalunya.io.environment import Settings
from catalunya.io.errors import WarehouseError
from catalunya.io.warehouse.relation import Relation
from catalunya.io.warehouse.sql_lineage import AS_OF, Leaf, Leaves, QueryLineage, query_lineage, strongest


def lineage_text(graph: AssetGraph, declarations: Mapping[str, Declaration], settings: Settings, folder: Path) -> str:
    """The file's text as it should be now, from the file in `folder` for the tables whose code is the same. Raises WarehouseError."""
    stored = read_tables(folder)
    tables = {key: table for key, table in stored.items() if key in graph and table.version == version_of(graph[key])}
    for asset in graph:
        declared = declarations.get(asset.key)
        if asset.key not in tables and isinstance(declared, StagingDeclaration):
            tables[asset.key] = staging_table(asset, declared, graph)
    if any(asset.layer is Layer.MARTS and asset.key not in tables for asset in graph):
        tables |= marts_tables(graph, settings)
    return _text({asset.key: tables[asset.key] for asset in graph if asset.key in tables})


def staging_table(asset: Asset, declaration: StagingDeclaration, graph: AssetGraph) -> TableMade:
    """What a staging table is made from. A function that cannot be followed makes its columns `unknown`, but for what the contract says."""
    from catalunya.assets.graph.plan_lineage import staging_lineage

    return _made(asset, [staging_lineage(declaration)], graph)


def marts_tables(graph: AssetGraph, settings: Settings) -> dict[str, TableMade]:
    """What every mart is made from: the SQL that dbt compiles for DuckDB, of an incremental one that of its first and its later runs."""
    from catalunya.io.warehouse.build import compiled_models

    marts = [asset for asset in graph if asset.layer is Layer.MARTS]
    relations = [Relation("marts", mart.name, {c.name: c.type for c in mart.columns}, ()) for mart in marts]
    with tempfile.TemporaryDirectory(prefix="catalunya-lineage-") as scratch:
        compiled, seeds = compiled_models(
            relations, variables={"as_of": AS_OF}, settings=settings, scratch=Path(scratch)
        )
    tables = {asset.key: [column.name for column in asset.columns] for asset in graph}
    tables |= {f"{Layer.MARTS}.{seed}": list(columns) for seed, columns in seeds.items()}
    found = {}
    for mart in marts:
        try:
            queries = [query_lineage(sql, tables) for sql in compiled[mart.name]]
        except WarehouseError as error:
            raise WarehouseError(f"{mart.key}: {error}; its column lineage cannot be stored") from error
        found[mart.key] = _made(mart, queries, graph)
    return found


def _made(asset: Asset, queries: Iterable[QueryLineage], graph: AssetGraph) -> TableMade:
    queries = list(queries)
    return TableMade(
        version=version_of(asset),
        columns={
            column.name: _column(asset, [query.columns.get(column.name, {}) for query in queries], graph)
            for column in asset.columns
        },
        rows=tuple(
            sorted(
                {
                    ColumnSource(leaf.table, leaf.column, "condition")
                    for query in queries
                    for leaf in query.rows
                    if leaf.table in graph and leaf.table != asset.key
                }
            )
        ),
    )


def _column(asset: Asset, queries: Iterable[Leaves], graph: AssetGraph) -> ColumnMade:
    sources: dict[tuple[str, str], ColumnSource] = {}
    origins = set[Origin]()
    for leaf, how in (each for leaves in queries for each in leaves.items()):
        if leaf.kind == "column" and leaf.table in graph and leaf.table != asset.key:
            at = (leaf.table, leaf.column)
            sources[at] = ColumnSource(*at, strongest(how, sources[at].how) if at in sources else how)
        else:
            origins.add(_origin(asset, leaf))
    if sources or len(origins) > 1:
        origins.discard(Origin("constant"))
    return ColumnMade(tuple(sorted(sources.values(), key=directness)), tuple(sorted(origins)))


def _origin(asset: Asset, leaf: Leaf) -> Origin:
    table = leaf.table.removeprefix(f"{Layer.MARTS}.") if leaf.table.count(".") else leaf.table
    if leaf.kind == "column" and leaf.table == asset.key:
        return Origin("history", leaf.column)
    if leaf.kind == "column":
        return Origin("reference", f"{table}.{leaf.column}")
    return Origin(leaf.kind, leaf.table or leaf.column)


def _text(tables: Mapping[str, TableMade]) -> str:
    """One line per column."""
    lines = ["{", f'  "format": {json.dumps(FORMAT)},', '  "tables": {']
    parts = []
    for key, table in sorted(tables.items()):
        columns = ",\n".join(
            f"        {json.dumps(name, ensure_ascii=False)}: {json.dumps(_stored(made), ensure_ascii=False)}"
            for name, made in table.columns.items()
        )
        rows = json.dumps([str(source) for source in table.rows], ensure_ascii=False)
        parts.append(
            f'    {json.dumps(key)}: {{\n      "version": {json.dumps(table.version)},\n      "columns": {{\n{columns}\n      }},\n'
            f'      "rows": {rows}\n    }}'
        )
    return "\n".join([*lines, ",\n".join(parts), "  }", "}"]) + "\n"


def _stored(made: ColumnMade) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if made.sources:
        found["from"] = {str(source): source.how for source in made.sources}
    if made.origins:
        found["also"] = [" ".join(filter(None, origin)) for origin in made.origins]
    return found

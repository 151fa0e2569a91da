"""Column lineage of the marts, proved on their SQL: a column that is changed in a table changes only what is made from it."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import duckdb
import polars as pl
import pytest

from catalunya.assets.graph.column_lineage import LINEAGE_FILE, ColumnLineage, load_lineage
from catalunya.assets.graph.discovery import declarations, load_graph
from catalunya.assets.graph.lineage_document import lineage_text, marts_tables
from catalunya.assets.graph.spec import Layer
from catalunya.io.environment import Settings
from catalunya.io.project_folder import OURS
from catalunya.io.warehouse.build import compiled_models
from catalunya.io.warehouse.dbt import DATABASE
from catalunya.io.warehouse.relation import Relation, quoted
from small.warehouse import BUILD_ORDER, Warehouse

CHANGED = {
    "string": "{0} || '~'",
    "integer": "{0} + 1",
    "bigint": "{0} + 1",
    "double": "{0} + 1",
    "boolean": "not {0}",
    "date": "cast({0} + interval 1 day as date)",
    "timestamp": "{0} + interval 1 day",
}
SEED_TYPES = {"date_id": "date", "change_date": "date", "level_number": "bigint"}


@pytest.fixture(scope="module")
def lineage(settings: Settings) -> ColumnLineage:
    """As committed."""
    return load_lineage(load_graph(settings))


@pytest.fixture(scope="module")
def compiled_sql(settings: Settings) -> Mapping[str, list[str]]:
    """The SQL of every mart, of an incremental one also that of a later run."""
    marts = [asset for asset in load_graph(settings) if asset.layer is Layer.MARTS]
    relations = [Relation("marts", mart.name, {c.name: c.type for c in mart.columns}, ()) for mart in marts]
    with tempfile.TemporaryDirectory() as scratch:
        return compiled_models(relations, variables={"as_of": "2026-08-03"}, settings=settings, scratch=Path(scratch))[
            0
        ]


@pytest.fixture
def warehouse(
    tmp_path: Path, settings: Settings, compiled_sql: Mapping[str, list[str]]
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Small staging tables, the reference data, and the marts made from them by the SQL of their first run."""
    staging = Warehouse(tmp_path, settings)
    staging.write_all()
    with duckdb.connect(str(tmp_path / DATABASE)) as connection:
        for schema in ("staging", "marts"):
            connection.execute(f"create schema {schema}")
        for name, table in staging.tables.items():
            connection.execute(f"create table staging.{name} as from read_parquet({list(table.files)!r})")
        for file in (OURS / "dbt" / "seeds").glob("*.csv"):
            columns = next(csv.reader(file.open(encoding="utf-8")))
            types = {name: SEED_TYPES.get(name, "varchar") for name in columns}
            connection.execute(f"create table marts.{file.stem} as from read_csv('{file}', columns={types})")
        for mart in BUILD_ORDER:
            connection.execute(f"create table marts.{mart} as {compiled_sql[mart][0]}")
        yield connection


@pytest.mark.parametrize("run", ["first", "later"])
def test_a_change_of_a_column_changes_only_the_columns_and_rows_that_lineage_names(
    warehouse: duckdb.DuckDBPyConnection, lineage: ColumnLineage, compiled_sql: Mapping[str, list[str]], run: str
) -> None:
    changed = 0
    for mart in BUILD_ORDER:
        key, sql = f"marts.{mart}", compiled_sql[mart][0 if run == "first" else -1]
        deciding = {(source.asset, source.column) for source in lineage.row_sources(key)}
        before = warehouse.sql(sql).pl()
        for up in lineage.graph.upstream(key):
            # Rows that change take values with them: then nothing is said of the other columns.
            columns = [column for column in up.columns if (up.key, column.name) not in deciding]
            made = {
                column.name: {
                    each.column for each in lineage.column_consumers(up.key, column.name) if each.asset == key
                }
                for column in columns
            }
            unused = [column for column in columns if not made[column.name]]
            for together in (unused, *([column] for column in columns if made[column.name])):
                if not together:
                    continue
                hit = {name for column in together for name in made[column.name]}
                names = {column.name: quoted(column.name) for column in together}
                changes = ", ".join(f"{names[c.name]} = {CHANGED[c.type].format(names[c.name])}" for c in together)
                warehouse.execute("begin")
                warehouse.execute(f"update {up.key} set {changes}")
                after = warehouse.sql(sql).pl()
                warehouse.execute("rollback")
                assert in_any_order(after.drop(hit)).equals(in_any_order(before.drop(hit))), (key, up.key, list(names))
                changed += not in_any_order(after).equals(in_any_order(before))
    assert changed > 20, "most of the columns that lineage names do change something: the test can fail"


def in_any_order(table: pl.DataFrame) -> pl.DataFrame:
    return table.sort(table.columns)


def test_what_is_stored_is_what_dbt_compiles_and_sqlglot_reads_now(settings: Settings, tmp_path: Path) -> None:
    graph = load_graph(settings)
    assert lineage_text(graph, declarations(), settings, tmp_path) == (OURS / LINEAGE_FILE).read_text(
        encoding="utf-8"
    ), f"{LINEAGE_FILE} is stale: delete it and run make generate"


def test_an_incremental_mart_is_read_as_on_its_first_run_and_as_on_any_other(settings: Settings) -> None:
    made = marts_tables(load_graph(settings), settings)["marts.fact_gdp_quarterly"]
    assert [str(source) for source in made.columns["is_withdrawn"].sources] == ["staging.gdp.sector_id"]
    assert "what the table published before: figure" not in map(str, made.columns["gdp_eur_millions"].origins)
    assert "what the table published before: gdp_eur_millions" in map(str, made.columns["gdp_eur_millions"].origins)

"""A person's queries: DuckDB over the published tables, which it can read and nothing else.

Here: the connection `catalunya query` uses on a laptop. Not here: building marts (`warehouse.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from catalunya.io.warehouse.relation import Relation, arrow_dataset, empty_sql, scan_sql

if TYPE_CHECKING:
    import duckdb


def connect(relations: Sequence[Relation]) -> duckdb.DuckDBPyConnection:
    """A database in memory with a view per table: `staging.social_services`, `marts.dim_time`. Close it after use.

    DuckDB itself is cut off from files and network for good: an allowed path could also be written to
    (`copy … (use_tmp_file false)`), so the Parquet is handed to it as Arrow, which is read as a query goes. The views
    belong to this connection; a `cursor()` of it has none.
    """
    import duckdb

    connection = duckdb.connect()
    for number, relation in enumerate(relations):
        connection.execute(f"create schema if not exists {relation.schema}")
        source = f"_table_{number}"
        if relation.files:
            connection.register(source, arrow_dataset(relation))
        query = scan_sql(relation, source) if relation.files else empty_sql(relation)
        connection.execute(f'create view {relation.schema}."{relation.name}" as {query}')
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")
    return connection

"""Building a model on DuckDB: a scratch database over the lake's Parquet, made anew for each model that dbt builds in it.

The lake is the truth and the database file is scratch: one writer per DuckDB file would make all marts queue for one
file, a killed run would leave it half-way, and a model's table could not be checked before others see it. Here: what a
model is given, and its result as Parquet. Not here: what a relation is (`warehouse.py`), running dbt (`dbt_project.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catalunya.io.environment import Settings
from catalunya.io.errors import WarehouseError
from catalunya.io.warehouse.dbt_project import DATABASE, DbtProject, Model, one_line
from catalunya.io.warehouse.relation import Relation, arrow_dataset, empty_sql, literal, quoted, scan_sql

if TYPE_CHECKING:
    import duckdb


class DuckDBWorkplace:
    """A scratch database in which one model is built."""

    def __init__(self, model: str, scratch: Path) -> None:
        self._model, self._scratch, self._database = model, scratch, scratch / DATABASE
        self.variables: Mapping[str, str] = {"warehouse": str(self._database)}

    def first_row(self, query: str) -> dict[str, Any] | None:
        """The first row of a query of dbt's, by column."""
        import duckdb

        with duckdb.connect(str(self._database), read_only=True) as connection:
            found = connection.execute(f"select * from ({query}) as failures limit 1")  # noqa: S608  dbt's own
            names = [column[0] for column in found.description or []]
            rows = found.fetchall()
        return dict(zip(names, rows[0], strict=True)) if rows else None

    def export(self, order_by: Sequence[str]) -> tuple[Path, int]:
        """The built table as one Parquet file, and its number of rows. The same rows give the same bytes."""
        import duckdb

        with duckdb.connect(str(self._database), read_only=True) as connection:
            return write_sorted(connection, f"marts.{quoted(self._model)}", order_by, self._scratch)


@contextmanager
def open_duckdb(
    project: DbtProject,  # noqa: ARG001  every engine is opened alike
    model: Model,
    inputs: Sequence[Relation],
    previous: Relation | None,
    settings: Settings,  # noqa: ARG001
    scratch: Path,
) -> Iterator[DuckDBWorkplace]:
    """A scratch database with the inputs as views, and the previously published table as a table."""
    create_database(scratch / DATABASE, inputs, previous)
    yield DuckDBWorkplace(model.name, scratch)


def create_database(database: Path, inputs: Sequence[Relation], previous: Relation | None) -> None:
    """A database with a view per input, and a table of what `previous` is. Raises WarehouseError."""
    import duckdb

    with duckdb.connect(str(database)) as connection:
        for schema in ("staging", "marts"):
            connection.execute(f"create schema {schema}")
        for relation in inputs:
            _add(connection, relation)
        if previous:
            _add(connection, previous, as_it_was=True)


def write_sorted(
    connection: duckdb.DuckDBPyConnection, source: str, order_by: Sequence[str], scratch: Path
) -> tuple[Path, int]:
    """The rows of `source` as one Parquet file in `scratch`, and their number."""
    built = scratch / "built.parquet"
    order = ", ".join(map(quoted, order_by)) or "all"
    query = f"select * from {source} order by {order}"  # noqa: S608  names of contracts, quoted
    copied = connection.execute(f"copy ({query}) to {literal(str(built))} (format parquet, compression zstd)")
    return built, copied.fetchall()[0][0]


def _add(connection: duckdb.DuckDBPyConnection, relation: Relation, *, as_it_was: bool = False) -> None:
    """Add a relation. `as_it_was`: as a table, whose files may lack columns that were declared since."""
    import duckdb

    kind, source = "table" if as_it_was else "view", ""
    if relation.files and "://" in relation.files[0]:
        kind, source = "table", "_files"  # DuckDB reads S3 only with an extension that it would have to fetch
        connection.register(source, arrow_dataset(relation))
    elif relation.files:
        source = _read_parquet(relation)
    try:
        available: list[str] | None = None
        if as_it_was and source:
            available = [row[0] for row in connection.execute(f"describe from {source}").fetchall()]
        query = scan_sql(relation, source, available) if source else empty_sql(relation)
        connection.execute(f"create {kind} {relation.schema}.{quoted(relation.name)} as {query}")
    except duckdb.Error as error:
        raise WarehouseError(
            f"{relation}: expected Parquet with the columns {', '.join(relation.columns)}, found {one_line(error)}; "
            f"`catalunya verify` tells what is wrong, `catalunya materialize {relation} --force` makes it anew"
        ) from error
    if source == "_files":
        connection.unregister(source)


def _read_parquet(relation: Relation) -> str:
    files = ", ".join(literal(file) for file in relation.files)
    if not relation.partition_by:
        return f"read_parquet([{files}], hive_partitioning = false)"
    types = ", ".join(f"{quoted(name)}: varchar" for name in relation.partition_by)
    return f"read_parquet([{files}], hive_partitioning = true, hive_types = {{{types}}})"

"""DuckDB: the scratch database that a model is built in, and the connection for queries on a laptop.

A scratch database is made for each build and thrown away: the lake's Parquet is the truth. One shared database file would make all
marts wait for its single writer, would be left half-written by a killed run, and would show a table before it was checked.

Here: both kinds of database, and a built table as Parquet. Not here: what a relation is (`relation.py`), running dbt (`dbt.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from catalunya.io.errors import ConfigurationError, WarehouseError, warehouse_error
from catalunya.io.warehouse.dbt import DATABASE, Databases, one_line
from catalunya.io.warehouse.dbt_models import Model
from catalunya.io.warehouse.relation import Relation, arrow_dataset, empty_sql, literal, quoted, scan_sql

if TYPE_CHECKING:
    import duckdb


class DuckDBWorkspace:
    """A scratch database in which one model is built.

    Its connection is open until the build is over: dbt's is then a second one to an open database, which costs nothing.
    """

    databases: Databases | None = None

    def __init__(self, model: str, scratch: Path, database: Path, connection: duckdb.DuckDBPyConnection) -> None:
        self._model, self._scratch, self._connection = model, scratch, connection
        self.variables: Mapping[str, str] = {"warehouse": str(database)}

    def first_row(self, sql: str) -> dict[str, Any] | None:
        """The first row of a data test's SQL, by column."""
        found = self._connection.execute(f"select * from ({sql}) as failures limit 1")  # noqa: S608  compiled by dbt
        names = [column[0] for column in found.description or []]
        rows = found.fetchall()
        return dict(zip(names, rows[0], strict=True)) if rows else None

    def export(self, order_by: Sequence[str]) -> tuple[Path, int]:
        """The built table as one Parquet file, and its number of rows. The same rows give the same bytes."""
        return write_sorted(self._connection, f"marts.{quoted(self._model)}", order_by, self._scratch)


@contextmanager
def open_duckdb(
    model: Model, inputs: Sequence[Relation], previous: Relation | None, scratch: Path
) -> Iterator[DuckDBWorkspace]:
    """A scratch database with the inputs as views, and the previously published table as a table. Raises WarehouseError."""
    import duckdb

    with _nameable(scratch) as folder, duckdb.connect(str(folder / DATABASE)) as connection:
        _fill(connection, inputs, *([previous] if previous else ()))
        yield DuckDBWorkspace(model.name, scratch, folder / DATABASE, connection)


@contextmanager
def _nameable(folder: Path) -> Iterator[Path]:
    """The folder, unless DuckDB would take part of its name for something else: options follow a `?`, and a `\\` is a `/`. Then a
    folder of the system's for temporary files. A link does not help, because DuckDB follows it first."""
    if not _MISREAD & set(str(folder)):
        yield folder
        return
    with TemporaryDirectory(prefix="catalunya-") as beside:
        if _MISREAD & set(beside):
            raise ConfigurationError(
                f"CATALUNYA_SCRATCH: expected a folder without ? and \\ in its name, found {folder}, and TMPDIR is no better: DuckDB "
                "cannot keep a database there; set another"
            )
        yield Path(beside)


_MISREAD = frozenset("?\\")


def create_database(database: Path, inputs: Sequence[Relation], *previous: Relation) -> None:
    """Create a database with a view per input, and a table with the rows of each `previous`. Raises WarehouseError."""
    import duckdb

    with duckdb.connect(str(database)) as connection:
        _fill(connection, inputs, *previous)


def connect(relations: Sequence[Relation], left_out: dict[str, str] | None = None) -> duckdb.DuckDBPyConnection:
    """A read-only database in memory with a view per table: `staging.social_services`, `marts.dim_time`. Close it after use.

    Access to files and the network is disabled for good, because a path that may be read may also be written to
    (`copy … (use_tmp_file false)`): the Parquet files are registered as Arrow datasets, which are read while a query runs. The
    views exist in this connection only; a `cursor()` of it has none. Raises WarehouseError when files of a table cannot be read;
    with `left_out`, the table is left out, and why is noted there.
    """
    import duckdb

    connection = duckdb.connect()
    for number, relation in enumerate(relations):
        connection.execute(f"create schema if not exists {relation.schema}")
        source = f"_table_{number}"
        try:
            if relation.files:
                connection.register(source, arrow_dataset(relation))
        except WarehouseError as error:
            if left_out is None:
                raise
            left_out[str(relation)] = str(error)
            continue
        select = scan_sql(relation, source) if relation.files else empty_sql(relation)
        connection.execute(f"create view {relation.schema}.{quoted(relation.name)} as {select}")
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")
    return connection


def write_sorted(
    connection: duckdb.DuckDBPyConnection, source: str, order_by: Sequence[str], scratch: Path
) -> tuple[Path, int]:
    """Write the rows of `source` to one Parquet file in `scratch`. Returns the file and the number of rows."""
    built = scratch / "built.parquet"
    order = ", ".join(map(quoted, order_by)) or "all"
    select = f"select * from {source} order by {order}"  # noqa: S608  names from contracts, quoted
    copied = connection.execute(f"copy ({select}) to {literal(str(built))} (format parquet, compression zstd)")
    return built, copied.fetchall()[0][0]


def _fill(connection: duckdb.DuckDBPyConnection, inputs: Sequence[Relation], *previous: Relation) -> None:
    for schema in ("staging", "marts"):
        connection.execute(f"create schema {schema}")
    for relation in inputs:
        _add(connection, relation)
    for relation in previous:
        _add(connection, relation, is_previous=True)


def _add(connection: duckdb.DuckDBPyConnection, relation: Relation, *, is_previous: bool = False) -> None:
    """Add a relation. `is_previous`: as a table, whose files may lack columns that were declared later."""
    import duckdb

    kind, source = "table" if is_previous else "view", ""
    if relation.files and _is_misread(relation):
        kind, source = "table", "_files"
        connection.register(source, arrow_dataset(relation))
    elif relation.files:
        source = _read_parquet(relation)
    try:
        available: list[str] | None = None
        if is_previous and source:
            available = [row[0] for row in connection.execute(f"describe from {source}").fetchall()]
        select = scan_sql(relation, source, available) if source else empty_sql(relation)
        connection.execute(f"create {kind} {relation.schema}.{quoted(relation.name)} as {select}")
    except duckdb.Error as error:
        raise warehouse_error(
            f"{relation}: expected Parquet with the columns {', '.join(relation.columns)}, found {one_line(error)}; run "
            f"`catalunya verify` to see what is wrong, `catalunya materialize {relation} --force` to rebuild it",
            one_line(error),
        ) from error
    if source == "_files":
        connection.unregister(source)


def _is_misread(relation: Relation) -> bool:
    """Whether DuckDB cannot read the files itself: S3 needs an extension that it would have to download, a folder above the table
    would be taken for a partition, and a `\\` for a `/`."""
    folder = relation.folder
    return "://" in folder or "\\" in folder or bool(relation.partition_by and "=" in folder)


def _read_parquet(relation: Relation) -> str:
    files = ", ".join(literal(escape(file)) for file in relation.files)  # a path, not a pattern
    if not relation.partition_by:
        return f"read_parquet([{files}], hive_partitioning = false)"
    types = ", ".join(f"{quoted(name)}: varchar" for name in relation.partition_by)
    return f"read_parquet([{files}], hive_partitioning = true, hive_types = {{{types}}})"

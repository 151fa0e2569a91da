"""The warehouse of a laptop: DuckDB over the lake's Parquet, made anew for each model that dbt builds in it.

The lake is the truth and the database file is scratch: one writer per DuckDB file would make all marts queue for one
file, a killed run would leave it half-way, and a model's table could not be checked before others see it. Here: what a
model is given, the failure of one on one line, and its result as Parquet. Not here: running dbt (`dbt_project.py`), a
person's queries (`query.py`), assets.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from catalunya.io.dbt_project import DATABASE, Model, Outcome, load_project, one_line
from catalunya.io.environment import Settings
from catalunya.io.errors import WarehouseError

if TYPE_CHECKING:
    import duckdb

log = structlog.get_logger(__name__)

# Logical type -> the type's name in SQL, on DuckDB and in Athena's DML.
SQL_TYPES: Mapping[str, str] = {
    "string": "varchar",
    "integer": "integer",
    "bigint": "bigint",
    "double": "double",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamp",
}


@dataclass(frozen=True, slots=True)
class Relation:
    """A published table: where its Parquet is, and what its columns are (name -> logical type of `contracts/columns.py`).

    `partition_by` are columns that stand in the paths (`district_id=01`), always text. No files: an empty table.
    """

    schema: str
    name: str
    columns: Mapping[str, str]
    files: tuple[str, ...]
    partition_by: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


def build_model(
    model: str,
    *,
    inputs: Sequence[Relation],
    previous: Relation | None,
    variables: Mapping[str, str],
    order_by: Sequence[str],
    settings: Settings,
    scratch: Path,
) -> Path:
    """Build one model with dbt, run its tests, and write its table to a Parquet file in `scratch`, rows by `order_by`.

    `inputs` are all tables that the model and its tests read, `previous` is its own table as last published: an
    incremental model goes on from there. A test that only warns is logged. Raises WarehouseError, one line, when dbt or
    a test of the model fails.
    """
    started = time.monotonic()
    project = load_project(settings)
    if model not in project.models:
        raise WarehouseError(f"there is no dbt model {model}; the models are {', '.join(sorted(project.models))}")
    declared = project.models[model]
    missing = sorted({".".join(read) for read in declared.reads} - {str(given) for given in inputs})
    if missing:
        raise WarehouseError(
            f"marts.{model} reads {', '.join(missing)}, which it was not given; materialise that first"
        )
    database = scratch / DATABASE
    _create(database, inputs, previous)
    outcomes = project.build(model, variables=variables, database=database, folder=scratch)
    failed = [outcome for outcome in outcomes if outcome.failed]
    if failed:
        raise WarehouseError(_failure(declared, failed, database))
    for outcome in outcomes:
        if outcome.status == "warn":
            log.warning("test_warned", model=model, test=outcome.name, found=_breaking_rows(outcome, database))
    built, rows = _export(database, model, order_by, scratch)
    seconds = round(time.monotonic() - started, 2)
    log.info("model_built", model=model, rows=rows, tests=len(outcomes) - 1, seconds=seconds)
    return built


def build_docs(sources: Sequence[Relation], *, variables: Mapping[str, str], settings: Settings, scratch: Path) -> Path:
    """Build dbt's documentation of all models over `sources` in `scratch`: one HTML file, its JSON beside it.

    Raises WarehouseError when a model is not what its contract says.
    """
    _create(scratch / DATABASE, sources, None)
    return load_project(settings).docs(variables=variables, database=scratch / DATABASE, folder=scratch)


def run_unit_tests(
    sources: Sequence[Relation], *, variables: Mapping[str, str], settings: Settings, scratch: Path
) -> list[Outcome]:
    """Run the unit tests of all models, for which `sources` need not have a row. What failed is in the outcomes.

    Raises WarehouseError when a model is not what its contract says.
    """
    _create(scratch / DATABASE, sources, None)
    return load_project(settings).unit_tests(variables=variables, database=scratch / DATABASE, folder=scratch)


def scan_sql(relation: Relation, source: str, available: Sequence[str] | None = None) -> str:
    """The SELECT that reads `source` with the relation's columns, in order and of their types.

    Columns that are not among the `available` ones are null there.
    """
    columns = ", ".join(
        f"cast({_quoted(name) if available is None or name in available else 'null'} as {SQL_TYPES[kind]}) as {_quoted(name)}"
        for name, kind in relation.columns.items()
    )
    return f"select {columns} from {source}"  # noqa: S608  names of contracts, quoted


def empty_sql(relation: Relation) -> str:
    """The SELECT of the relation's columns without a row."""
    return scan_sql(relation, "(select 1) as nothing where false", available=())


def arrow_dataset(relation: Relation) -> Any:
    """The relation's files, local or on S3, as one lazy pyarrow dataset."""
    import pyarrow as pa
    from pyarrow import dataset, fs

    files, system = list(relation.files), None
    if "://" in files[0]:
        system, _ = fs.FileSystem.from_uri(files[0])
        files = [file.partition("://")[2] for file in files]
    parts = dataset.partitioning(pa.schema([(name, pa.string()) for name in relation.partition_by]), flavor="hive")
    try:
        return dataset.dataset(files, filesystem=system, format="parquet", partitioning=parts)
    except OSError as error:
        raise WarehouseError(
            f"{relation}: cannot read its files: {one_line(error)}; `catalunya verify` tells what is wrong"
        ) from error


def _create(database: Path, inputs: Sequence[Relation], previous: Relation | None) -> None:
    """The scratch database: the inputs as views, the previously published table as a table."""
    import duckdb

    with duckdb.connect(str(database)) as connection:
        for schema in ("staging", "marts"):
            connection.execute(f"create schema {schema}")
        for relation in inputs:
            _add(connection, relation)
        if previous:
            _add(connection, previous, as_it_was=True)


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
        connection.execute(f"create {kind} {relation.schema}.{_quoted(relation.name)} as {query}")
    except duckdb.Error as error:
        raise WarehouseError(
            f"{relation}: expected Parquet with the columns {', '.join(relation.columns)}, found {one_line(error)}; "
            f"`catalunya verify` tells what is wrong, `catalunya materialize {relation} --force` makes it anew"
        ) from error
    if source == "_files":
        connection.unregister(source)


def _read_parquet(relation: Relation) -> str:
    files = ", ".join(_literal(file) for file in relation.files)
    if not relation.partition_by:
        return f"read_parquet([{files}], hive_partitioning = false)"
    types = ", ".join(f"{_quoted(name)}: varchar" for name in relation.partition_by)
    return f"read_parquet([{files}], hive_partitioning = true, hive_types = {{{types}}})"


def _export(database: Path, model: str, order_by: Sequence[str], scratch: Path) -> tuple[Path, int]:
    """The built table as one Parquet file, and its number of rows. The same rows give the same bytes."""
    import duckdb

    built = scratch / "built.parquet"
    order = ", ".join(map(_quoted, order_by)) or "all"
    with duckdb.connect(str(database), read_only=True) as connection:
        query = f"select * from marts.{_quoted(model)} order by {order}"  # noqa: S608  names of contracts, quoted
        copied = connection.execute(f"copy ({query}) to {_literal(str(built))} (format parquet, compression zstd)")
        return built, copied.fetchall()[0][0]


def _failure(model: Model, failed: Sequence[Outcome], database: Path) -> str:
    """Why a build failed, on one line: what failed, what was found, what to do."""
    first, others = failed[0], ", ".join(outcome.name for outcome in failed[1:])
    what = "the model" if first.kind == "model" else f"{first.kind.replace('_', ' ')} {first.name}"
    found = first.message
    if first.failures and first.kind == "test":
        found = _breaking_rows(first, database)
    return (
        f"marts.{model.name}: {what} failed{others and f' (so did {others})'}: {found}; nothing was published: "
        f"mend {model.path}, its tests beside it, or what it reads"
    )


def _breaking_rows(outcome: Outcome, database: Path) -> str:
    """How many rows break a data test, and the first of them."""
    rows = f"{outcome.failures} rows break" if outcome.failures > 1 else "1 row breaks"
    return f"{rows} it, the first {_first_row(database, outcome.sql)}" if outcome.sql else f"{rows} it"


def _first_row(database: Path, query: str) -> str:
    """The first row a failed test finds, for the message."""
    import duckdb

    with duckdb.connect(str(database), read_only=True) as connection:
        found = connection.execute(f"select * from ({query}) as failures limit 1")  # noqa: S608  dbt's own
        names = [column[0] for column in found.description or []]
        rows = found.fetchall()
    return (
        one_line(json.dumps(dict(zip(names, rows[0], strict=True)), default=str, ensure_ascii=False))
        if rows
        else "(gone)"
    )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"

"""The warehouse, whatever engine it is: what a published table is to it, and `build_model`, the one way a mart is built.

Here: relations and the SQL that reads them, what a build is, and its failure on one line. Not here: the engines
(`duckdb_warehouse.py`, `athena_warehouse.py`), running dbt (`dbt_project.py`), a person's queries (`query.py`), assets.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import structlog

from catalunya.io.dbt_project import DATABASE, DbtProject, Model, Outcome, load_project, one_line
from catalunya.io.environment import Settings
from catalunya.io.errors import WarehouseError

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


class Workplace(Protocol):
    """Where one model is built: seen by nobody, and gone afterwards. `variables` are what dbt's profile asks for."""

    variables: Mapping[str, str]

    def first_row(self, query: str) -> dict[str, Any] | None:
        """The first row of a query of dbt's, by column."""
        ...

    def export(self, order_by: Sequence[str]) -> tuple[Path, int]:
        """The built table as one local Parquet file, and its number of rows."""
        ...


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
    a test of the model fails. The engine is the settings'; what is published is not touched by either.
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
    with _workplace(project, declared, inputs, previous, settings, scratch) as place:
        outcomes = project.build(model, variables={**variables, **place.variables}, folder=scratch)
        failed = [outcome for outcome in outcomes if outcome.failed]
        if failed:
            raise WarehouseError(_failure(declared, failed, place))
        for outcome in outcomes:
            if outcome.status == "warn":
                log.warning("test_warned", model=model, test=outcome.name, found=_breaking_rows(outcome, place))
        built, rows = place.export(order_by)
    seconds = round(time.monotonic() - started, 2)
    log.info("model_built", model=model, rows=rows, tests=len(outcomes) - 1, seconds=seconds)
    return built


def build_docs(sources: Sequence[Relation], *, variables: Mapping[str, str], settings: Settings, scratch: Path) -> Path:
    """Build dbt's documentation of all models over `sources` in `scratch`, on DuckDB: one HTML file, its JSON beside it.

    Raises WarehouseError when a model is not what its contract says.
    """
    return load_project(_on_duckdb(settings)).docs(variables=_scratch(sources, variables, scratch), folder=scratch)


def run_unit_tests(
    sources: Sequence[Relation], *, variables: Mapping[str, str], settings: Settings, scratch: Path
) -> list[Outcome]:
    """Run the unit tests of all models on DuckDB, for which `sources` need not have a row. What failed is in the outcomes.

    Raises WarehouseError when a model is not what its contract says.
    """
    return load_project(_on_duckdb(settings)).unit_tests(
        variables=_scratch(sources, variables, scratch), folder=scratch
    )


def _workplace(
    project: DbtProject,
    model: Model,
    inputs: Sequence[Relation],
    previous: Relation | None,
    settings: Settings,
    scratch: Path,
) -> AbstractContextManager[Workplace]:
    if settings.engine == "athena":
        from catalunya.io.athena_warehouse import open_athena

        return open_athena(project, model, inputs, previous, settings, scratch)
    from catalunya.io.duckdb_warehouse import open_duckdb

    return open_duckdb(project, model, inputs, previous, settings, scratch)


def _on_duckdb(settings: Settings) -> Settings:
    return settings.model_copy(update={"engine": "duckdb"})


def _scratch(sources: Sequence[Relation], variables: Mapping[str, str], scratch: Path) -> dict[str, str]:
    """A scratch database over the sources, and the variables with which dbt works in it."""
    from catalunya.io.duckdb_warehouse import create_database

    create_database(scratch / DATABASE, sources, None)
    return {**variables, "warehouse": str(scratch / DATABASE)}


def scan_sql(relation: Relation, source: str, available: Sequence[str] | None = None) -> str:
    """The SELECT that reads `source` with the relation's columns, in order and of their types.

    Columns that are not among the `available` ones are null there.
    """
    columns = ", ".join(
        f"cast({quoted(name) if available is None or name in available else 'null'} as {SQL_TYPES[kind]}) as {quoted(name)}"
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


def _failure(model: Model, failed: Sequence[Outcome], place: Workplace) -> str:
    """Why a build failed, on one line: what failed, what was found, what to do."""
    first, others = failed[0], ", ".join(outcome.name for outcome in failed[1:])
    what = "the model" if first.kind == "model" else f"{first.kind.replace('_', ' ')} {first.name}"
    found = first.message
    if first.failures and first.kind == "test":
        found = _breaking_rows(first, place)
    return (
        f"marts.{model.name}: {what} failed{others and f' (so did {others})'}: {found}; nothing was published: "
        f"mend {model.path}, its tests beside it, or what it reads"
    )


def _breaking_rows(outcome: Outcome, place: Workplace) -> str:
    """How many rows break a data test, and the first of them."""
    rows = f"{outcome.failures} rows break" if outcome.failures > 1 else "1 row breaks"
    if not outcome.sql:
        return f"{rows} it"
    first = place.first_row(outcome.sql)
    shown = one_line(json.dumps(first, default=str, ensure_ascii=False)) if first else "(gone)"
    return f"{rows} it, the first {shown}"


def quoted(name: str) -> str:
    """A name as it stands in SQL, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as it stands in SQL, whatever is in it."""
    return "'" + text.replace("'", "''") + "'"

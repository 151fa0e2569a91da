"""Building marts, whatever the engine: `build_model` is the only way a mart is built.

Here: what a build is, and its failure as one line. Not here: the engines (`duckdb.py`, `athena_build.py`), running dbt (`dbt.py`),
assets (`assets/making/marts.py`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from catalunya.io.environment import Settings
from catalunya.io.errors import WarehouseError, passing, warehouse_error
from catalunya.io.log import get_logger
from catalunya.io.warehouse.dbt import DATABASE, Databases, Outcome, load_project, one_line
from catalunya.io.warehouse.dbt_models import Model
from catalunya.io.warehouse.relation import Relation

log = get_logger(__name__)


class Workspace(Protocol):
    """Where one model is built: no reader looks there, and it is removed afterwards.

    `variables` are those that dbt's profile needs; `databases` says where tables are, on an engine that keeps them in several.
    """

    variables: Mapping[str, str]
    databases: Databases | None

    def first_row(self, sql: str) -> dict[str, Any] | None:
        """The first row of a data test's SQL, by column."""
        ...

    def export(self, order_by: Sequence[str]) -> tuple[Path, int]:
        """The built table as one local Parquet file, and its number of rows."""
        ...


@dataclass(frozen=True, slots=True)
class Tested:
    """The result of one data test: how many rows failed it, and the first of them as JSON (what went wrong, if it could not run)."""

    name: str
    failed: int
    sample: str
    only_warns: bool


def build_model(
    model: str,
    *,
    inputs: Sequence[Relation],
    previous: Relation | None,
    variables: Mapping[str, str],
    order_by: Sequence[str],
    settings: Settings,
    scratch: Path,
    tested: Callable[[Tested], None] | None = None,
) -> Path:
    """Build one model with dbt, run its tests, and write its table to a Parquet file in `scratch`, rows by `order_by`.

    `inputs` are all tables that the model and its tests read, `previous` is its own table as last published, from which an
    incremental model continues. A test that only warns is logged; `tested` gets the result of each. Raises WarehouseError, one line, when
    dbt or a test of the model fails. The engine is that of the settings; neither engine changes a published table.
    """
    started = time.monotonic()
    project = load_project(settings)
    if model not in project.models:
        raise WarehouseError(f"there is no dbt model {model}; the models are {', '.join(sorted(project.models))}")
    declared = project.models[model]
    missing = sorted({".".join(read) for read in declared.reads} - {str(given) for given in inputs})
    if missing:
        raise WarehouseError(f"marts.{model} reads {', '.join(missing)}, which has not been made; materialize it first")
    with _workspace(declared, inputs, previous, settings, scratch) as workspace:
        outcomes = project.build(
            model, variables={**variables, **workspace.variables}, folder=scratch, databases=workspace.databases
        )
        failed = [outcome for outcome in outcomes if outcome.failed]
        tests = [outcome.status for outcome in outcomes if outcome.kind == "test"]
        log.info(
            "model_tested",
            model=model,
            passed=tests.count("pass"),
            warned=tests.count("warn"),
            failed=tests.count("fail") + tests.count("error"),
        )
        found = {
            test.name: _tested(test, workspace) for test in outcomes if test.kind == "test" and test.status != "skipped"
        }
        if tested:
            for each in found.values():
                tested(each)
        if failed:
            for test in failed:
                if test.kind == "test":
                    log.error("test_failed", model=model, test=test.name, found=test.message)
            first = failed[0]
            # A broken row may say anything; only what dbt or the engine reports can be about the machine.
            if first.status == "error" and passing(first.message):
                raise warehouse_error(f"marts.{model}: {first.message}; nothing was published", first.message)
            raise WarehouseError(_failure(declared, failed, found))
        for outcome in outcomes:
            if outcome.status == "warn":
                log.warning("test_warned", model=model, test=outcome.name, found=_breaking_rows(outcome, found))
        built, rows = workspace.export(order_by)
    seconds = round(time.monotonic() - started, 2)
    log.info("model_built", model=model, rows=rows, tests=len(declared.tests), seconds=seconds)
    return built


def build_docs(sources: Sequence[Relation], *, variables: Mapping[str, str], settings: Settings, scratch: Path) -> Path:
    """Build dbt's documentation of all models over `sources` in `scratch`, on DuckDB: one HTML file, its JSON beside it.

    Raises WarehouseError when a model does not match its contract.
    """
    return load_project(_on_duckdb(settings)).docs(variables=_scratch(sources, variables, scratch), folder=scratch)


def run_unit_tests(
    sources: Sequence[Relation], *, variables: Mapping[str, str], settings: Settings, scratch: Path
) -> list[Outcome]:
    """Run the unit tests of all models on DuckDB; `sources` may be empty. Failures are in the outcomes.

    Raises WarehouseError when a model does not match its contract.
    """
    return load_project(_on_duckdb(settings)).unit_tests(
        variables=_scratch(sources, variables, scratch), folder=scratch
    )


def compiled_models(
    marts: Sequence[Relation], *, variables: Mapping[str, str], settings: Settings, scratch: Path
) -> tuple[dict[str, list[str]], dict[str, tuple[str, ...]]]:
    """The SQL of every model on DuckDB, by its name: of an incremental one, that of its first run and that of any other. And the columns of
    every seed. Nothing is built; `marts` are the tables of the models, without files.

    Raises WarehouseError when a model cannot be compiled.
    """
    project = load_project(_on_duckdb(settings))
    seeds = project.seed_columns()
    first = project.compiled(variables=_scratch([], variables, scratch), folder=scratch)
    found = {name: [sql] for name, sql in first.items()}
    incremental = [mart for mart in marts if project.models[mart.name].is_incremental]
    if incremental:
        again = scratch / "again"
        again.mkdir()
        project = load_project(_on_duckdb(settings))  # dbt keeps what it compiled
        later = project.compiled(variables=_scratch([], variables, again, *incremental), folder=again)
        for mart in incremental:
            found[mart.name].append(later[mart.name])
    return found, seeds


def _workspace(
    model: Model, inputs: Sequence[Relation], previous: Relation | None, settings: Settings, scratch: Path
) -> AbstractContextManager[Workspace]:
    if settings.engine == "athena":
        from catalunya.io.warehouse.athena_build import open_athena

        return open_athena(model, inputs, previous, settings, scratch)
    from catalunya.io.warehouse.duckdb import open_duckdb

    return open_duckdb(model, inputs, previous, scratch)


def _on_duckdb(settings: Settings) -> Settings:
    return settings.model_copy(update={"engine": "duckdb"})


def _scratch(
    sources: Sequence[Relation], variables: Mapping[str, str], scratch: Path, *published: Relation
) -> dict[str, str]:
    """Create a scratch database over the sources. Returns the variables with which dbt works in it."""
    from catalunya.io.warehouse.duckdb import create_database

    create_database(scratch / DATABASE, sources, *published)
    return {**variables, "warehouse": str(scratch / DATABASE)}


def _tested(test: Outcome, workspace: Workspace) -> Tested:
    """The result of a data test, with the first row that breaks it."""
    sample = ""
    if test.failures:
        first = workspace.first_row(test.sql) if test.sql else None
        sample = one_line(json.dumps(first, default=str, ensure_ascii=False)) if first else ""
    elif test.failed:
        sample = test.message
    return Tested(test.name, test.failures or int(test.failed), sample, test.only_warns)


def _failure(model: Model, failed: Sequence[Outcome], tests: Mapping[str, Tested]) -> str:
    """Why a build failed, as one line: what failed, what was found, what to do."""
    first, others = failed[0], ", ".join(outcome.name for outcome in failed[1:])
    what = "the model" if first.kind == "model" else f"{first.kind.replace('_', ' ')} {first.name}"
    found = first.message
    if first.failures and first.kind == "test":
        found = _breaking_rows(first, tests)
    return (
        f"marts.{model.name}: {what} failed{others and f' (so did {others})'}: {found}; nothing was published: "
        f"fix {model.path}, its tests, or the tables it reads"
    )


def _breaking_rows(outcome: Outcome, tests: Mapping[str, Tested]) -> str:
    """How many rows break a data test, and the first of them."""
    rows = f"{outcome.failures} rows break" if outcome.failures > 1 else "1 row breaks"
    if not outcome.sql:
        return f"{rows} it"
    return f"{rows} it, the first {tests[outcome.name].sample or '(not found again)'}"

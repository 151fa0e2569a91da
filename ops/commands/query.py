"""`query`: read-only SQL over the published tables, on the engine of the environment.

Here: arguments and output. Not here: DuckDB (`duckdb_query.py`), Athena (`io/warehouse/athena.py`), the saved queries
(`ops/named_queries.py`).
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from catalunya.assets.graph.spec import Layer
from catalunya.assets.record.project import Project
from catalunya.io.errors import UsageError
from catalunya.io.safe_text import escaped
from catalunya.ops import console
from catalunya.ops.commands.options import FLAG, AsJson

if TYPE_CHECKING:
    import polars as pl

_FORMATS = (".parquet", ".csv", ".json")


def query(
    sql: Annotated[
        str | None,
        Parameter(help='SQL, as in "select count(*) from staging.municipalities"; "-" reads it from stdin.'),
    ] = None,
    *,
    named: Annotated[str | None, Parameter(help="Run a saved query by its name.")] = None,
    list_: Annotated[bool, FLAG, Parameter(name="--list", help="List the saved queries.")] = False,
    as_json: AsJson = False,
    csv: Annotated[bool, FLAG, Parameter(help="Print CSV, all rows.")] = False,
    output: Annotated[
        Path | None, Parameter(name=["--output", "-o"], help="Write all rows to a .parquet, .csv or .json file.")
    ] = None,
    limit: Annotated[int, Parameter(validator=Number(gte=1), help="Rows shown in a terminal table.")] = 50,
) -> None:
    """Query the tables in SQL: staging.x, marts.y.

    DuckDB runs the query in local, Athena in dev and prod, where the bytes scanned and their approximate cost are printed to stderr.
    """
    if output and output.suffix not in _FORMATS:
        raise UsageError(f"--output {output}: expected a file name that ends in {', '.join(_FORMATS)}; rename it")
    if list_:
        _list(as_json=as_json)
        return
    text = _text(sql, named)
    wants_all = as_json or csv or output is not None
    suffix = output.suffix if output else ".csv" if csv else ".json"
    frame = _run(Project(), text, None if wants_all else limit + 1, suffix)
    if output:
        _write(frame, output)
        console.say(f"{frame.height:,} rows written to {output}")
    elif as_json:
        console.emit_json(frame.to_dicts())
    elif csv:
        text = frame.write_csv()  # printed unchanged, except to a terminal, which would interpret control characters
        sys.stdout.write(escaped(text, lines=True) if sys.stdout.isatty() else text)
    else:
        shown = frame.head(limit)
        numeric = [name for name, kind in frame.schema.items() if kind.is_numeric()]
        console.grid(frame.columns, shown.rows(), numeric=numeric)
        if frame.height > limit:
            console.say(f"the first {limit} rows; --limit, --csv, --json or --output FILE give more", style="dim")
        else:
            console.say(f"{frame.height:,} {'row' if frame.height == 1 else 'rows'}", style="dim")


def _list(*, as_json: bool) -> None:
    from catalunya.ops.named_queries import saved_queries

    found = saved_queries()
    if as_json:
        console.emit_json(found)
        return
    console.table(["name", "answers"], [(each.name, each.title) for each in found])
    console.say("run one with `catalunya query --named NAME`", style="dim")


def _text(sql: str | None, named: str | None) -> str:
    from catalunya.ops.named_queries import saved_query

    if (sql is None) == (named is None):
        raise UsageError("expected either SQL or --named; `catalunya query --list` shows the saved queries")
    if named is not None:
        return saved_query(named).sql
    return sys.stdin.read() if sql == "-" else str(sql)


def _run(project: Project, sql: str, limit: int | None, suffix: str) -> pl.DataFrame:
    """The rows of a query, at most `limit`, as a file of that suffix can have them. Raises UsageError or WarehouseError, one line."""
    if project.settings.engine == "athena":
        return _run_on_athena(project, sql, limit)
    from catalunya.ops.commands.duckdb_query import run

    return run(project, sql, limit, suffix)


def _run_on_athena(project: Project, sql: str, limit: int | None) -> pl.DataFrame:
    from catalunya.io.warehouse.athena import LEAST_BYTES, Athena
    from catalunya.ops.processes import terminable

    tables = [asset.key for asset in project.graph if asset.layer is not Layer.LANDING]
    athena = Athena(project.settings, tables, for_readers=True)
    with ExitStack() as stack:
        stack.enter_context(terminable())  # SIGTERM cancels the query too
        on_progress = None
        if sys.stderr.isatty():
            live = stack.enter_context(console.console(stderr=True).status("running on Athena"))
            on_progress = lambda state, seconds, scanned: live.update(  # noqa: E731
                f"{state} on Athena, {seconds:.0f} s, {console.size(scanned)} scanned"
            )
        result = athena.run(sql, limit=limit, on_progress=on_progress)
    minimum = " (the minimum charge)" if result.usd and result.scanned < LEAST_BYTES else ""
    console.warn(f"{console.size(result.scanned)} scanned, about {result.usd:.6f} USD{minimum}")
    return result.frame


def _write(frame: pl.DataFrame, path: Path) -> None:
    """Write the frame to a temporary file, then rename it: the file is complete or absent."""
    beside = path.with_name(f".{path.name}.partial")
    writers: dict[str, Any] = {".parquet": frame.write_parquet, ".csv": frame.write_csv, ".json": frame.write_json}
    try:
        writers[path.suffix](beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)

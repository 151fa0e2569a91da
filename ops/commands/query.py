"""`query`: SQL over the published tables, which it can read and nothing else, by the engine of the environment.

Here: what a person gives and sees. Not here: DuckDB (`duckdb_query.py`), Athena (`io/warehouse/athena.py`), the queries with names
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
    named: Annotated[str | None, Parameter(help="Ask one of the usual questions by its name.")] = None,
    list_: Annotated[bool, FLAG, Parameter(name="--list", help="List the usual questions.")] = False,
    as_json: AsJson = False,
    csv: Annotated[bool, FLAG, Parameter(help="Print CSV, all rows.")] = False,
    output: Annotated[
        Path | None, Parameter(name=["--output", "-o"], help="Write all rows to a .parquet, .csv or .json file.")
    ] = None,
    limit: Annotated[int, Parameter(validator=Number(gte=1), help="Rows shown in a terminal table.")] = 50,
) -> None:
    """Ask the tables in SQL: staging.x, marts.y.

    DuckDB answers in local, Athena in dev and prod: there, the bytes scanned and about what they cost go to stderr.
    """
    if output and output.suffix not in _FORMATS:
        raise UsageError(f"--output {output}: expected a name that ends in {', '.join(_FORMATS)}; give it one of these")
    if list_:
        _list(as_json=as_json)
        return
    text = _text(sql, named)
    whole = as_json or csv or output is not None
    frame = _ask(Project(), text, None if whole else limit + 1)
    if output:
        _write(frame, output)
        console.say(f"{frame.height:,} rows written to {output}")
    elif as_json:
        console.emit_json(frame.to_dicts())
    elif csv:
        text = frame.write_csv()  # data, as it is; but a terminal would obey what is in it
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
    from catalunya.ops.named_queries import questions

    found = questions()
    if as_json:
        console.emit_json(found)
        return
    console.table(["name", "answers"], [(each.name, each.title) for each in found])
    console.say("catalunya query --named NAME asks one", style="dim")


def _text(sql: str | None, named: str | None) -> str:
    from catalunya.ops.named_queries import question

    if (sql is None) == (named is None):
        raise UsageError("expected SQL or --named, one of the two; `catalunya query --list` shows what has a name")
    if named is not None:
        return question(named).sql
    return sys.stdin.read() if sql == "-" else str(sql)


def _ask(project: Project, sql: str, limit: int | None) -> pl.DataFrame:
    """The rows of a query, the first `limit` where it is given. Raises UsageError or WarehouseError, one line."""
    if project.settings.engine == "athena":
        return _ask_athena(project, sql, limit)
    from catalunya.ops.commands.duckdb_query import ask

    return ask(project, sql, limit)


def _ask_athena(project: Project, sql: str, limit: int | None) -> pl.DataFrame:
    from catalunya.io.warehouse.athena import LEAST_BYTES, Athena
    from catalunya.ops.processes import terminable

    tables = [asset.key for asset in project.graph if asset.layer is not Layer.LANDING]
    athena = Athena(project.settings, tables, for_readers=True)
    with ExitStack() as stack:
        stack.enter_context(terminable())  # a query that nobody waits for any more is cancelled
        tell = None
        if sys.stderr.isatty():
            live = stack.enter_context(console.console(stderr=True).status("asking Athena"))
            tell = lambda state, seconds, scanned: live.update(  # noqa: E731
                f"{state} on Athena, {seconds:.0f} s, {console.size(scanned)} scanned"
            )
        answer = athena.ask(sql, limit=limit, tell=tell)
    least = " (the least that is charged)" if answer.usd and answer.scanned < LEAST_BYTES else ""
    console.warn(f"{console.size(answer.scanned)} scanned, about {answer.usd:.6f} USD{least}")
    return answer.frame


def _write(frame: pl.DataFrame, path: Path) -> None:
    """Write the frame beside and put it in place whole."""
    beside = path.with_name(f".{path.name}.partial")
    writers: dict[str, Any] = {".parquet": frame.write_parquet, ".csv": frame.write_csv, ".json": frame.write_json}
    try:
        writers[path.suffix](beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)

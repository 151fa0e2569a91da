"""A person's query on DuckDB, over the objects of the lake: which statements are allowed, and the errors of the others.

Here: one statement from its text to a frame. Not here: the connection (`io/warehouse/duckdb.py`), showing the rows (`query.py`).
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING

from catalunya.assets.graph.spec import Layer
from catalunya.assets.record.project import Project
from catalunya.io.errors import UsageError, WarehouseError

if TYPE_CHECKING:
    import duckdb
    import polars as pl
    from duckdb.sqltypes import DuckDBPyType

    from catalunya.io.warehouse.relation import Relation

POLL_S = 0.1
_READING = ("SELECT", "EXPLAIN", "PRAGMA", "CALL", "MULTI")  # MULTI: a pivot
# What polars cannot hold, or holds as another value; and what a format has no form for. DuckDB writes it as text.
_NO_POLARS = frozenset({"interval", "union", "bit", "time with time zone", "bignum", "variant", "uhugeint"})
_NESTED = frozenset({"list", "array", "struct", "tuple", "map"})
_TEXT = {
    ".parquet": _NO_POLARS,
    ".json": _NO_POLARS | {"blob"},
    ".csv": _NO_POLARS | {"blob"} | _NESTED,
}


def relations(project: Project) -> list[Relation]:
    """Every table that has been made and whose ledger can be read, as the warehouse sees it."""
    from catalunya.assets.record.paths import relation

    state = project.state()
    made = ((asset, state.known(asset.key)) for asset in project.graph if asset.layer is not Layer.LANDING)
    return [relation(project.lake, asset, entry) for asset, entry in made if entry]


def run(project: Project, sql: str, limit: int | None, suffix: str) -> pl.DataFrame:
    """The rows of a query, at most `limit`, as a file of that suffix can have them. Raises UsageError or WarehouseError, one line."""
    try:
        import duckdb

        from catalunya.io.warehouse.duckdb import connect
    except ImportError as error:
        raise UsageError(
            f"query needs DuckDB and pyarrow, which are not installed ({error}); install catalunya[dbt]"
        ) from error
    tables = relations(project)
    left_out: dict[str, str] = {}
    connection = connect(tables, left_out)
    try:
        found = [statement.type.name for statement in connection.extract_statements(sql)]
        if len(found) != 1 or found[0] not in _READING:
            raise UsageError(
                f"expected one query that returns rows (select, from, describe, summarize), found {' and '.join(found) or 'nothing'}; "
                "the tables are read-only"
            )
        return _with_python_days(_interruptible(connection, sql, limit, _TEXT[suffix]))
    except duckdb.CatalogException as error:
        if broken := next((why for key, why in left_out.items() if _wanted(str(error)) == key.rpartition(".")[2]), ""):
            raise WarehouseError(broken) from error
        raise UsageError(f"{_first_line(error)}{_nearest(project, tables, str(error))}") from error
    except (
        duckdb.ParserException,
        duckdb.BinderException,
        duckdb.PermissionException,
        duckdb.InvalidInputException,
    ) as error:
        raise UsageError(_first_line(error)) from error
    except duckdb.Error as error:
        raise WarehouseError(f"the query failed: {_first_line(error)}") from error
    finally:
        connection.close()


def _interruptible(
    connection: duckdb.DuckDBPyConnection, sql: str, limit: int | None, as_text: frozenset[str]
) -> pl.DataFrame:
    """The rows of a query, which runs in a thread of its own: while a library works, Ctrl-C may reach one of its threads, and Python notices it
    only when the main thread goes on, which therefore looks again and again. A second Ctrl-C ends the process at once."""
    import signal
    from concurrent.futures import Future, wait
    from threading import Event, Thread

    found: Future[pl.DataFrame] = Future()
    begin = Event()  # a thread that Ctrl-C leaves half started does not touch the connection

    def read() -> None:
        begin.wait()
        try:
            result = _with_text(connection.sql(sql), as_text)
            found.set_result((result if limit is None else result.limit(limit)).pl())
        except BaseException as error:  # noqa: BLE001 - the main thread raises it
            found.set_exception(error)

    reader = Thread(target=read, daemon=True)
    reader.start()
    try:
        begin.set()
        while wait([found], POLL_S).not_done:
            pass
        reader.join()  # what it holds of the connection is gone before the connection is closed
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        begin.set()
        while not found.done():
            connection.interrupt()  # forgotten if the query has not begun
            wait([found], POLL_S)
        reader.join()
        raise
    return found.result()


def _with_text(result: duckdb.DuckDBPyRelation, kinds: frozenset[str]) -> duckdb.DuckDBPyRelation:
    """The result with the columns of these types as the text that DuckDB writes."""
    is_text = [_has(kind, kinds) for kind in result.types]
    if not any(is_text):
        return result
    columns = [f"#{at}" for at in range(1, len(is_text) + 1)]
    for at, name in enumerate(result.columns):
        if is_text[at]:
            columns[at] = 'cast({} as varchar) as "{}"'.format(columns[at], name.replace('"', '""'))
    return result.project(", ".join(columns))


def _has(kind: DuckDBPyType, kinds: frozenset[str]) -> bool:
    """Whether a type is one of these, or has one of them within."""
    inner = [each for _, each in kind.children if not isinstance(each, int | list)] if kind.id in _NESTED else []
    return kind.id in kinds or any(_has(each, kinds) for each in inner)


def _with_python_days(frame: pl.DataFrame) -> pl.DataFrame:
    """The same rows. Raises UsageError for days and moments that Python has none for, and polars ends the process at: `infinity`."""
    from datetime import date

    import polars as pl

    first, after = pl.lit(date.min), pl.lit(date.max)
    for name, kind in frame.schema.items():
        if kind.is_temporal() and kind != pl.Time:
            day = pl.col(name).cast(pl.Date)
            if frame.select(((day < first) | (day > after)).any()).item():
                raise UsageError(
                    f"expected {name} in the years 1 to 9999, found another one, or infinity; select cast({name} as varchar)"
                )
    return frame


def _wanted(message: str) -> str:
    """The table that DuckDB did not find, without its schema; empty if it is about something else."""
    named = re.search(r'Table with name "?([^ "]+)"? does not exist', message)
    return named[1].rpartition(".")[2] if named else ""


def _nearest(project: Project, tables: list[Relation], message: str) -> str:
    """Advice on an unknown table: the nearest names, or all; or that the table is declared but has never been made."""
    wanted = _wanted(message)
    if not wanted:
        return ""
    known = {table.name: str(table) for table in tables}
    declared = {asset.name: asset.key for asset in project.graph if asset.layer is not Layer.LANDING}
    if wanted in declared and wanted not in known:
        if unreadable := project.state().unreadable(declared[wanted]):
            return f"; {unreadable}"
        return f"; {declared[wanted]} has never been made: `catalunya materialize +{declared[wanted]}`"
    near = [
        known[name] for name in ([wanted] if wanted in known else get_close_matches(wanted, known, n=3, cutoff=0.4))
    ]
    if near:
        return f"; did you mean {' or '.join(near)}?"
    return (
        f"; the tables are {', '.join(known.values())}"
        if known
        else "; there is no table yet: run `catalunya materialize`"
    )


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    hints = [line for line in lines[1:] if line.startswith("Candidate bindings")]
    return "; ".join([lines[0].rstrip("!."), *hints])

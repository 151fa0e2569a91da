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

    from catalunya.io.warehouse.relation import Relation

POLL_S = 0.1
_READING = ("SELECT", "EXPLAIN", "PRAGMA", "CALL", "MULTI")  # MULTI: a pivot


def relations(project: Project) -> list[Relation]:
    """Every table that has been made and whose ledger can be read, as the warehouse sees it."""
    from catalunya.assets.record.paths import relation

    state = project.state()
    made = ((asset, state.known(asset.key)) for asset in project.graph if asset.layer is not Layer.LANDING)
    return [relation(project.lake, asset, entry) for asset, entry in made if entry]


def run(project: Project, sql: str, limit: int | None) -> pl.DataFrame:
    """The rows of a query, at most `limit`. Raises UsageError or WarehouseError, one line."""
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
        return _interruptible(connection, sql, limit)
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


def _interruptible(connection: duckdb.DuckDBPyConnection, sql: str, limit: int | None) -> pl.DataFrame:
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
            result = connection.sql(sql)
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

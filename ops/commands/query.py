"""`query`: SQL over the published tables, by DuckDB, which can read them and nothing else."""

from __future__ import annotations

import re
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from catalunya.assets.project import Project
from catalunya.assets.spec import Layer
from catalunya.io.errors import UsageError, WarehouseError
from catalunya.ops import console
from catalunya.ops.commands.options import FLAG, AsJson

if TYPE_CHECKING:
    import polars as pl

    from catalunya.io.warehouse import Relation

_FORMATS = (".parquet", ".csv", ".json")
_READING = ("SELECT", "EXPLAIN", "PRAGMA", "CALL", "MULTI")  # MULTI: a pivot


def query(
    sql: Annotated[
        str, Parameter(help='SQL, as in "select count(*) from staging.municipalities"; "-" reads it from stdin.')
    ],
    *,
    as_json: AsJson = False,
    csv: Annotated[bool, FLAG, Parameter(help="Print CSV, all rows.")] = False,
    output: Annotated[
        Path | None, Parameter(name=["--output", "-o"], help="Write all rows to a .parquet, .csv or .json file.")
    ] = None,
    limit: Annotated[int, Parameter(validator=Number(gte=1), help="Rows shown in a terminal table.")] = 50,
) -> None:
    """Ask the tables in SQL: staging.x, marts.y."""
    if output and output.suffix not in _FORMATS:
        raise UsageError(f"--output {output}: expected a name that ends in {', '.join(_FORMATS)}; give it one of these")
    text = sys.stdin.read() if sql == "-" else sql
    whole = as_json or csv or output is not None
    frame = _ask(Project(), text, None if whole else limit + 1)
    if output:
        _write(frame, output)
        console.say(f"{frame.height:,} rows written to {output}")
    elif as_json:
        console.emit_json(frame.to_dicts())
    elif csv:
        sys.stdout.write(frame.write_csv())
    else:
        shown = frame.head(limit)
        numeric = [name for name, kind in frame.schema.items() if kind.is_numeric()]
        console.grid(frame.columns, shown.rows(), numeric=numeric)
        if frame.height > limit:
            console.say(f"the first {limit} rows; --limit, --csv, --json or --output FILE give more", style="dim")
        else:
            console.say(f"{frame.height:,} {'row' if frame.height == 1 else 'rows'}", style="dim")


def relations(project: Project) -> list[Relation]:
    """Every table that was made, as the warehouse sees it."""
    from catalunya.assets.paths import relation

    state = project.state()
    made = ((asset, state.latest(asset.key)) for asset in project.graph if asset.layer is not Layer.LANDING)
    return [relation(project.lake, asset, entry) for asset, entry in made if entry]


def _ask(project: Project, sql: str, limit: int | None) -> pl.DataFrame:
    """The rows of a query, the first `limit` where it is given. Raises UsageError or WarehouseError, one line."""
    try:
        import duckdb

        from catalunya.io.query import connect
    except ImportError as error:
        raise UsageError(
            f"query needs DuckDB and pyarrow, which are not installed here ({error}); install catalunya[dbt]"
        ) from error
    tables = relations(project)
    connection = connect(tables)
    try:
        found = [statement.type.name for statement in connection.extract_statements(sql)]
        if len(found) != 1 or found[0] not in _READING:
            raise UsageError(
                f"expected one query that returns rows (select, from, describe, summarize), found {' and '.join(found) or 'nothing'}; "
                "the tables can only be read"
            )
        answer = connection.sql(sql)
        frame: pl.DataFrame = (answer if limit is None else answer.limit(limit)).pl()
    except duckdb.CatalogException as error:
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
    return frame


def _nearest(project: Project, tables: list[Relation], message: str) -> str:
    """The tables nearest to an unknown name, or all; one that is declared but was never made is said so."""
    named = re.search(r'Table with name "?([^ "]+)"? does not exist', message)
    if not named:
        return ""
    wanted = named[1].rpartition(".")[2]
    known = {table.name: str(table) for table in tables}
    declared = {asset.name: asset.key for asset in project.graph if asset.layer is not Layer.LANDING}
    if wanted in declared and wanted not in known:
        return f"; {declared[wanted]} has never been made: `catalunya materialize +{declared[wanted]}`"
    near = [
        known[name] for name in ([wanted] if wanted in known else get_close_matches(wanted, known, n=3, cutoff=0.4))
    ]
    if near:
        return f"; did you mean {' or '.join(near)}?"
    return f"; there is {', '.join(known.values()) or 'no table yet: `catalunya materialize` makes them'}"


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    hints = [line for line in lines[1:] if line.startswith("Candidate bindings")]
    return "; ".join([lines[0].rstrip("!."), *hints])


def _write(frame: pl.DataFrame, path: Path) -> None:
    """Write the frame beside and put it in place whole."""
    beside = path.with_name(f".{path.name}.partial")
    writers: dict[str, Any] = {".parquet": frame.write_parquet, ".csv": frame.write_csv, ".json": frame.write_json}
    try:
        writers[path.suffix](beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)

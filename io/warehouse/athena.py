"""A person's queries on Athena: run one in the environment's work group, wait for it, read its rows, estimate its cost.

Here: one statement from its text to a frame, and the work group's named queries. Not here: dbt's statements (dbt-athena runs
them itself), the tables (`glue.py`), which statements are allowed (`athena_sql.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from catalunya.io.aws import client, code_of, text_of
from catalunya.io.environment import Settings
from catalunya.io.errors import CatalunyaError, UsageError, WarehouseError, warehouse_error
from catalunya.io.log import get_logger
from catalunya.io.warehouse.athena_sql import for_athena, with_schemas
from catalunya.io.warehouse.glue import SCHEMAS

if TYPE_CHECKING:
    import polars as pl

log = get_logger(__name__)

# https://aws.amazon.com/athena/pricing/, SQL queries by data scanned (Europe): rounded up to the megabyte, with a minimum of 10 MB;
# DDL and failed statements are free.
USD_PER_TB = 5.0
MEGABYTE, TERABYTE = 2**20, 2**40
LEAST_BYTES = 10 * MEGABYTE

FIRST_WAIT_S, LONGEST_WAIT_S, GROWTH = 0.1, 2.0, 1.5
ROWS_PER_PAGE = 1000  # Amazon Athena API Reference: GetQueryResults
CATALOG = "AwsDataCatalog"
_USER_ERROR = 2  # Amazon Athena API Reference: AthenaError.ErrorCategory

OnProgress = Callable[[str, float, int], None]


@dataclass(frozen=True, slots=True)
class QueryResult:
    """The rows of a query, the bytes it scanned, and its approximate cost in USD."""

    frame: pl.DataFrame
    scanned: int
    usd: float


@dataclass(frozen=True, slots=True)
class NamedQuery:
    """A named query of the work group; `sql` as Athena takes it."""

    name: str
    title: str
    sql: str


def cost(scanned: int, *, is_ddl: bool = False) -> float:
    """The approximate cost of a query in USD, from the bytes it scanned."""
    if is_ddl:
        return 0.0
    return max(LEAST_BYTES, -(-scanned // MEGABYTE) * MEGABYTE) / TERABYTE * USD_PER_TB


class Athena:
    """A work group of one environment. `tables` are the tables that exist there: `staging.municipalities`.

    `for_readers`: the group for people's queries, which has limits and sets the result location itself; else the pipeline's own.
    """

    def __init__(self, settings: Settings, tables: Collection[str], *, for_readers: bool = False) -> None:
        self.tables = tables
        self.group = settings.athena_readers if for_readers else settings.athena_work_group
        self._variable = "CATALUNYA_ATHENA_READERS" if for_readers else "CATALUNYA_ATHENA_WORK_GROUP"
        self._results = "" if for_readers else settings.athena_results
        self.databases = {schema: settings.glue_database(schema) for schema in SCHEMAS}

    @cached_property
    def client(self) -> Any:
        """boto3's Athena client."""
        return client("athena")

    def translate(self, sql: str) -> str:
        """One statement that reads, with the environment's databases. Raises UsageError for any other statement."""
        return for_athena(sql, self.databases, self.tables)

    def run(self, sql: str, *, limit: int | None = None, on_progress: OnProgress | None = None) -> QueryResult:
        """Run one statement and read its rows, at most `limit`; `on_progress` receives state, seconds and bytes while it runs.

        An interrupt cancels the execution. Raises UsageError when the statement is wrong, WarehouseError when Athena cannot
        run it.
        """
        statement = self.translate(sql)
        with self._errors():
            execution_id = self._start(statement)
            execution = self._wait(execution_id, on_progress or _ignore)
            rows, columns = self._rows(execution_id, limit)
        scanned = int(execution.get("Statistics", {}).get("DataScannedInBytes") or 0)
        is_ddl = execution.get("StatementType") == "DDL"
        log.debug("query_ran", execution=execution_id, scanned=scanned, rows=len(rows))
        return QueryResult(to_frame(columns, rows), scanned, cost(scanned, is_ddl=is_ddl))

    def named_queries(self) -> dict[str, tuple[str, NamedQuery]]:
        """The work group's named queries: name -> (id, query). Raises WarehouseError."""
        with self._errors():
            pages = self.client.get_paginator("list_named_queries").paginate(WorkGroup=self.group)
            ids = [each for page in pages for each in page.get("NamedQueryIds") or []]
            found = [self.client.get_named_query(NamedQueryId=each)["NamedQuery"] for each in ids]
        return {
            each["Name"]: (
                each["NamedQueryId"],
                NamedQuery(each["Name"], each.get("Description") or "", each["QueryString"]),
            )
            for each in found
        }

    def save(self, wanted: Sequence[NamedQuery]) -> list[str]:
        """Save these named queries where they differ. Returns the names of those written; other queries are left alone."""
        saved = self.named_queries()
        written = []
        with self._errors():
            for query in wanted:
                query_id, known = saved.get(query.name, ("", None))
                if known == query:
                    continue
                text = {"Name": query.name, "Description": query.title, "QueryString": query.sql}
                if known is None:
                    place = {"Database": self.databases["marts"], "WorkGroup": self.group}
                    self.client.create_named_query(**text, **place)
                else:
                    self.client.update_named_query(NamedQueryId=query_id, **text)
                written.append(query.name)
        return written

    def _start(self, statement: str) -> str:
        place: dict[str, Any] = {}
        if self._results:
            place["ResultConfiguration"] = {"OutputLocation": self._results}
        started = self.client.start_query_execution(
            QueryString=statement,
            QueryExecutionContext={"Catalog": CATALOG, "Database": self.databases["marts"]},
            WorkGroup=self.group,
            **place,
        )
        return str(started["QueryExecutionId"])

    def _wait(self, execution_id: str, on_progress: OnProgress) -> dict[str, Any]:
        """Wait until the execution has succeeded. Raises when it failed; an interrupt cancels it."""
        began, pause = time.monotonic(), FIRST_WAIT_S
        try:
            while True:
                execution: dict[str, Any] = self.client.get_query_execution(QueryExecutionId=execution_id)[
                    "QueryExecution"
                ]
                state = execution["Status"]["State"]
                scanned = int(execution.get("Statistics", {}).get("DataScannedInBytes") or 0)
                on_progress(state.lower(), time.monotonic() - began, scanned)
                if state not in ("QUEUED", "RUNNING"):
                    break
                time.sleep(pause)
                pause = min(pause * GROWTH, LONGEST_WAIT_S)
        except BaseException:
            self._cancel(execution_id)
            raise
        if state != "SUCCEEDED":
            raise self._failure(execution)
        return execution

    def _cancel(self, execution_id: str) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            self.client.stop_query_execution(QueryExecutionId=execution_id)
        except (BotoCoreError, ClientError) as error:
            log.warning("query_not_cancelled", execution=execution_id, error=text_of(error))

    def _failure(self, execution: dict[str, Any]) -> CatalunyaError:
        status = execution["Status"]
        detail = status.get("AthenaError") or {}
        reason = status.get("StateChangeReason") or detail.get("ErrorMessage") or "Athena gave no reason"
        reason = with_schemas(" ".join(str(reason).split()), self.databases)
        if "limit was exceeded" in reason.lower():
            return WarehouseError(
                f"the query was stopped: {reason}; work group {self.group} limits the bytes that a query may scan: select "
                "fewer columns, or filter by partition (docs/athena.md)"
            )
        if status["State"] == "CANCELLED":
            return WarehouseError(f"the query was cancelled in work group {self.group}: {reason}; run it again")
        if detail.get("ErrorCategory") == _USER_ERROR:
            return UsageError(f"Athena cannot run the query: {reason}")
        return WarehouseError(f"the query failed on Athena: {reason}; execution {execution['QueryExecutionId']}")

    def _rows(self, execution_id: str, limit: int | None) -> tuple[list[list[str | None]], list[dict[str, Any]]]:
        """The rows as text, and the columns. The first row of a SELECT's first page is its columns' names."""
        rows: list[list[str | None]] = []
        columns: list[dict[str, Any]] = []
        page: dict[str, Any] = {}
        while not columns or (page.get("NextToken") and (limit is None or len(rows) < limit)):
            more = {"NextToken": page["NextToken"]} if page else {}
            page = self.client.get_query_results(
                QueryExecutionId=execution_id, MaxResults=min(ROWS_PER_PAGE, (limit or ROWS_PER_PAGE) + 1), **more
            )
            found = [_cells(row) for row in page["ResultSet"]["Rows"]]
            if not more:
                columns = page["ResultSet"]["ResultSetMetadata"]["ColumnInfo"]
                if found and found[0] == [column["Name"] for column in columns]:
                    del found[0]
            rows += found
            if not columns:
                break
        return rows if limit is None else rows[:limit], columns

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn boto3's errors into one line that says what to do."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except (ClientError, BotoCoreError) as error:
            message = with_schemas(text_of(error), self.databases)
            if "workgroup" in message.lower():
                raise WarehouseError(
                    f"work group {self.group}: {message}; deploy the infrastructure, or set {self._variable} to another group"
                ) from error
            if code_of(error) == "InvalidRequestException":
                raise UsageError(f"Athena does not accept the query: {message}") from error
            advice = self._ADVICE.get(code_of(error), "try again")
            text = f"cannot query Athena in work group {self.group}: {message}; {advice}"
            raise warehouse_error(text, text_of(error)) from error

    _ADVICE: ClassVar[dict[str, str]] = {
        "AccessDeniedException": "docs/athena.md lists the permissions that a reader needs",
        "NoCredentialsError": "set AWS credentials: a profile or a role",
    }


def to_frame(columns: Sequence[dict[str, Any]], rows: Sequence[Sequence[str | None]]) -> pl.DataFrame:
    """Rows of text as a frame with the columns' types; a repeated column name gets a number appended."""
    import polars as pl

    series: dict[str, pl.Series] = {}
    for at, column in enumerate(columns):
        name, number = str(column["Name"]), 0
        while name in series:
            number += 1
            name = f"{column['Name']}_{number}"
        texts = pl.Series(name, [_cell(row, at, len(columns)) for row in rows], pl.String())
        series[name] = _typed(texts, column)
    return pl.DataFrame(list(series.values()))


def _typed(texts: pl.Series, column: dict[str, Any]) -> pl.Series:
    """Text cast to Athena's type; types without an equivalent (arrays, maps, rows, times with a zone) stay text."""
    import polars as pl

    kind = str(column["Type"]).lower().partition("(")[0]
    numbers: dict[str, pl.DataType] = {
        "tinyint": pl.Int8(),
        "smallint": pl.Int16(),
        "integer": pl.Int32(),
        "int": pl.Int32(),
        "bigint": pl.Int64(),
        "double": pl.Float64(),
        "real": pl.Float32(),
        "float": pl.Float32(),
    }
    if kind in numbers:
        return texts.cast(numbers[kind])
    if kind == "decimal":
        return texts.cast(pl.Decimal(int(column.get("Precision") or 38), int(column.get("Scale") or 0)))
    if kind == "boolean":
        return texts.str.to_lowercase() == "true"
    if kind == "date":
        return texts.str.to_date("%Y-%m-%d")
    if kind == "timestamp":
        return texts.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="ms")
    return texts


def _cells(row: dict[str, Any]) -> list[str | None]:
    return [cell.get("VarCharValue") for cell in row.get("Data") or []]


def _cell(row: Sequence[str | None], at: int, columns: int) -> str | None:
    """One cell. DESCRIBE returns each row as one text, with tabs between the columns."""
    if len(row) == 1 < columns:
        row = [cell.strip() for cell in (row[0] or "").split("\t", columns - 1)]
    return row[at] if at < len(row) else None


def _ignore(_: str, __: float, ___: int) -> None:
    """Ignore progress."""

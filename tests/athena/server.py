"""Athena's API in front of moto: requests that run queries are answered here, all others are passed to moto unchanged.

moto keeps its state in the process, so that two servers in one process are one account.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from moto.athena.models import athena_backends
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.server import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

from athena.engine import Engine, Result
from athena.refusals import RefusedError, StoppedError
from athena.storage import Storage
from small.aws import REGION, Aws, look_up_once

PAGE = 1000
App = Callable[..., Iterable[bytes]]


@dataclass
class Execution:
    """One execution of a query; `reason` says why it failed or was stopped."""

    id: str
    sql: str
    database: str
    work_group: str
    output: str
    at: float
    result: Result
    reason: str = ""
    is_stopped: bool = False

    @property
    def state(self) -> str:
        """How it ended."""
        return "CANCELLED" if self.is_stopped else "FAILED" if self.reason else "SUCCEEDED"

    def described(self) -> dict[str, Any]:
        """As in the response of GetQueryExecution."""
        status: dict[str, Any] = {
            "State": self.state,
            "SubmissionDateTime": self.at,
            "CompletionDateTime": self.at,
        }
        if self.reason:
            status["StateChangeReason"] = self.reason
        if self.state == "FAILED":
            status["AthenaError"] = {
                "ErrorCategory": 2,
                "ErrorType": 1006,
                "Retryable": False,
                "ErrorMessage": self.reason,
            }
        return {
            "QueryExecutionId": self.id,
            "Query": self.sql,
            "StatementType": self.result.kind,
            "WorkGroup": self.work_group,
            "ResultConfiguration": {"OutputLocation": self.output},
            "QueryExecutionContext": {"Database": self.database, "Catalog": "awsdatacatalog"},
            "Status": status,
            "Statistics": {
                "DataScannedInBytes": self.result.scanned,
                "EngineExecutionTimeInMillis": 1,
                "TotalExecutionTimeInMillis": 1,
            },
        }


class _Quiet(MotoRequestHandler):
    def log_request(self, *_: object) -> None:
        """Do not log requests."""


class AthenaApi:
    """A WSGI app that answers Athena's query actions and passes everything else to `inner`."""

    def __init__(self, inner: App, engine: Engine) -> None:
        self._inner, self._engine = inner, engine
        self.executions: dict[str, Execution] = {}
        self._answers = {
            "StartQueryExecution": self._start,
            "GetQueryExecution": lambda asked: {"QueryExecution": self._find(asked).described()},
            "GetQueryResults": self._results,
            "StopQueryExecution": lambda asked: {},
        }

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        service, _, action = environ.get("HTTP_X_AMZ_TARGET", "").partition(".")
        if service != "AmazonAthena" or action not in self._answers:
            return self._inner(environ, start_response)
        asked = json.loads(Request(environ).get_data())
        try:
            body, status = self._answers[action](asked), 200
        except (KeyError, RefusedError) as error:
            body, status = {"__type": "InvalidRequestException", "message": str(error).strip("'")}, 400
        return Response(json.dumps(body), status, content_type="application/x-amz-json-1.1")(environ, start_response)

    def _start(self, asked: dict[str, Any]) -> dict[str, Any]:
        database = asked.get("QueryExecutionContext", {}).get("Database", "default")
        made = Execution(
            id=str(uuid.uuid4()),
            sql=asked["QueryString"],
            database=database,
            work_group=asked.get("WorkGroup", "primary"),
            output=asked.get("ResultConfiguration", {}).get("OutputLocation", ""),
            at=datetime.now(UTC).timestamp(),
            result=Result(),
        )
        group = self._configuration(made.work_group)
        most = group.get("BytesScannedCutoffPerQuery")
        try:
            _check_place(made.sql, group)
            made.result = self._engine.run(made.sql, database, most)
        except StoppedError as error:
            made.reason, made.is_stopped, made.result.scanned = str(error), True, most
        except RefusedError as error:
            made.reason = str(error)
        except Exception as error:  # noqa: BLE001  a query that the executor cannot run is a failed query with a reason
            made.reason = f"GENERIC_INTERNAL_ERROR: {type(error).__name__}: {' '.join(str(error).split())[:400]}"
        self.executions[made.id] = made
        return {"QueryExecutionId": made.id}

    def _configuration(self, name: str) -> dict[str, Any]:
        """A work group's configuration, read from moto's backend without a request, because every query needs it."""
        group = athena_backends[DEFAULT_ACCOUNT_ID][REGION].work_groups.get(name)
        return group.configuration if group else {}

    def _find(self, asked: dict[str, Any]) -> Execution:
        found = self.executions.get(asked["QueryExecutionId"])
        if found is None:
            raise RefusedError(f"QueryExecution {asked['QueryExecutionId']} was not found")
        return found

    def _results(self, asked: dict[str, Any]) -> dict[str, Any]:
        made = self._find(asked)
        if made.reason:
            raise RefusedError(f"Query did not finish successfully. Final query state: {made.state}")
        result, start = made.result, int(asked.get("NextToken", "0"))
        rows: list[list[str | None]] = result.rows
        if result.kind == "DML":
            rows = [[name for name, _ in result.columns], *rows]
        end = start + int(asked.get("MaxResults", PAGE))
        page: dict[str, Any] = {
            "ResultSet": {
                "Rows": [
                    {"Data": [{} if value is None else {"VarCharValue": value} for value in row]}
                    for row in rows[start:end]
                ],
                "ResultSetMetadata": {
                    "ColumnInfo": [{"Name": name, "Label": name, "Type": kind} for name, kind in result.columns]
                },
            }
        }
        if result.updated is not None:
            page["UpdateCount"] = result.updated
        return page | ({"NextToken": str(end)} if end < len(rows) else {})


def _check_place(sql: str, group: dict[str, Any]) -> None:
    """A work group that enforces its settings does not allow a location for a table. moto's groups enforce them by default, as AWS's do."""
    if "external_location" not in sql:
        return
    if group.get("EnforceWorkGroupConfiguration") and group.get("ResultConfiguration", {}).get("OutputLocation"):
        raise RefusedError(
            "The Create Table As Select query failed because it was submitted with an 'external_location' property to an "
            "Athena Workgroup that enforces a centralized output location for all queries. Please remove the "
            "'external_location' property and resubmit the query."
        )


@contextmanager
def athena_server(around: Callable[[App], App] = lambda app: app) -> Iterator[tuple[Aws, AthenaApi]]:
    """An AWS account with an Athena that executes queries, and its API, which keeps the executions. It ends with the block.

    `around` wraps the whole application.
    """
    look_up_once()
    folder = Path(tempfile.mkdtemp(prefix="athena-objects-"))
    inner = DomainDispatcherApplication(create_backend_app)
    server = make_server("127.0.0.1", 0, inner, True, request_handler=_Quiet)
    aws = Aws(f"http://127.0.0.1:{server.server_address[1]}")
    api = AthenaApi(inner, Engine(Storage(aws.client("glue"), aws.client("s3"), folder)))
    server.app = around(api)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield aws, api
    finally:
        server.shutdown()
        thread.join()
        shutil.rmtree(folder)

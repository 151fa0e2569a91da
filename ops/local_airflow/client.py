"""A client for the parts of Airflow's REST API that are used here.

Here: requests, and their responses as plain data. Not here: what is concluded from them (`pipeline_run.py`), starting the server.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

import httpx

from catalunya.io.errors import AirflowError, CatalunyaError
from catalunya.ops.deployed_airflow.processes import POOL_ABOUT

PAGE = 1000
# The first request after the start can find the server busy building its routes.
TIMEOUT_S = 60.0
ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class TaskInstance:
    """One task of one DAG run. `state` is None until the scheduler has seen it."""

    dag_id: str
    run_id: str
    task_id: str
    state: str | None
    try_number: int
    max_tries: int
    start_date: datetime | None
    end_date: datetime | None

    @property
    def is_over(self) -> bool:
        """Whether this is a final state."""
        return self.state in ("success", "skipped", "failed", "upstream_failed", "removed")


class Client:
    """The REST API of one server: without a login, as `server.py` starts it, or with one."""

    def __init__(self, url: str, user: str = "", password: str = "") -> None:
        self.url, self._login = url, {"username": user, "password": password}
        self._http = httpx.Client(base_url=url, timeout=TIMEOUT_S, trust_env=False)
        self._token: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str, **query: Any) -> Any:
        """GET a path below `/api/v2`; returns the JSON. Raises AirflowError."""
        return self._request("GET", f"/api/v2{path}", params=query)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """POST to a path below `/api/v2`; returns the JSON. Raises AirflowError."""
        return self._request("POST", f"/api/v2{path}", json=body)

    def patch(self, path: str, body: Mapping[str, Any], **query: Any) -> Any:
        """PATCH a path below `/api/v2`; returns the JSON. Raises AirflowError."""
        return self._request("PATCH", f"/api/v2{path}", json=body, params=query)

    def trigger(self, dag_id: str, **conf: Any) -> str:
        """Trigger a DAG with these params; returns the DAG run's id."""
        run = self.post(f"/dags/{dag_id}/dagRuns", {"logical_date": None, "conf": conf})
        return str(run["dag_run_id"])

    def ensure_pool(self, name: str, slots: int) -> None:
        """Create the pool, unless it exists."""
        if name not in {pool["name"] for pool in self.get("/pools", limit=PAGE)["pools"]}:
            self.post("/pools", {"name": name, "slots": slots, "description": POOL_ABOUT})

    def task_instances(self, since: datetime) -> list[TaskInstance]:
        """The task instances of all runs that were updated since then, oldest first."""
        answer = self.get(
            "/dags/~/dagRuns/~/taskInstances", updated_at_gte=since.isoformat(), limit=PAGE, order_by="run_after"
        )
        return [
            TaskInstance(
                dag_id=found["dag_id"],
                run_id=found["dag_run_id"],
                task_id=found["task_id"],
                state=found["state"],
                try_number=found["try_number"],
                max_tries=found["max_tries"],
                start_date=_time(found["start_date"]),
                end_date=_time(found["end_date"]),
            )
            for found in answer["task_instances"]
        ]

    def queued_events(self, dag_id: str) -> int:
        """How many asset events have not yet led to a run of the DAG."""
        return int(self.get(f"/dags/{dag_id}/assets/queuedEvents")["total_entries"])

    def is_at_rest(self, since: datetime, dag_ids: Iterable[str]) -> bool:
        """Whether no task updated since then is queued or running, and no asset event of these DAGs is pending.

        The order matters: an event that is not there yet comes from a task that the second request shows as active.
        """
        before = self.task_instances(since)
        if not all(task.is_over for task in before) or any(self.queued_events(dag_id) for dag_id in dag_ids):
            return False
        after = self.task_instances(since)
        return len(after) == len(before) and all(task.is_over for task in after)

    def import_errors(self, since: datetime | None = None) -> list[str]:
        """The import errors of DAG files, one line each, with where they were raised; `since`: only those of files parsed since then."""
        found = self.get("/importErrors", limit=PAGE)["import_errors"]
        return [
            f"{each['filename']}: {_raised(str(each['stack_trace']).strip())}"
            for each in found
            if since is None or ((at := _time(each["timestamp"])) and at >= since)
        ]

    def parsed(self, since: datetime) -> set[str]:
        """The ids of the DAGs parsed since then."""
        dags = self.get("/dags", limit=PAGE)["dags"]
        return {dag["dag_id"] for dag in dags if (at := _time(dag["last_parsed_time"])) and at >= since}

    def log_lines(self, ti: TaskInstance) -> list[str]:
        """The log of a task's last attempt, one line per event; empty if it has none."""
        path = f"/dags/{ti.dag_id}/dagRuns/{ti.run_id}/taskInstances/{ti.task_id}/logs/{ti.try_number}"
        try:
            content = self.get(path, full_content="true")["content"]
        except AirflowError:
            return []
        return [line for event in content for line in _log_line(event)]

    def health(self) -> dict[str, Any]:
        """Airflow's health report, by component. Needs no login. Raises AirflowError."""
        with self._transport_errors():
            answer = self._http.get("/api/v2/monitor/health")
        if answer.is_error:
            raise AirflowError(f"Airflow at {self.url} answered {answer.status_code} to its health check; see its logs")
        return dict(answer.json())

    def is_alive(self) -> bool:
        """Whether the server answers."""
        try:
            return self._http.get("/api/v2/version", timeout=2).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def _request(self, method: str, path: str, **arguments: Any) -> Any:
        with self._transport_errors():
            for attempt in range(1, ATTEMPTS + 1):
                if self._token is None:
                    self._token = self._log_in()
                answer = self._http.request(
                    method, path, headers={"Authorization": f"Bearer {self._token}"}, **arguments
                )
                # A locked SQLite database shows as 500.
                if answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR or attempt == ATTEMPTS:
                    break
                time.sleep(0.3 * attempt)
        if answer.is_error:
            raise AirflowError(
                f"Airflow at {self.url} answered {answer.status_code} to {method} {path}: "
                f"{' '.join(answer.text.split())[:300]}; see its logs"
            )
        return answer.json() if answer.content else None

    def _log_in(self) -> str:
        """A bearer token. Raises AirflowError if the server rejects the login, or requires one."""
        user = self._login["username"]
        answer = self._http.post("/auth/token", json=self._login) if user else self._http.get("/auth/token")
        if answer.is_error:
            raise AirflowError(
                f"Airflow at {self.url} rejects {f'the login of {user}' if user else 'requests without a login'} "
                f"({answer.status_code}); check CATALUNYA_AIRFLOW_USER and CATALUNYA_AIRFLOW_PASSWORD"
            )
        return str(answer.json()["access_token"])

    @contextmanager
    def _transport_errors(self) -> Iterator[None]:
        try:
            yield
        except httpx.TransportError as error:
            raise AirflowError(
                f"Airflow at {self.url} does not answer ({type(error).__name__}); is it running? See its logs"
            ) from error


_FRAME = re.compile(r'^ *File "(.+)", line (\d+)', re.MULTILINE)
_SAYS_WHERE = f"{CatalunyaError.__module__}."


def _raised(trace: str) -> str:
    """The last line of a traceback, and the last line of ours in it, unless the error is one of ours, which says itself what to correct."""
    error = trace.splitlines()[-1]
    frames = [frame for frame in _FRAME.findall(trace) if "site-packages" not in frame[0]]
    return error if error.startswith(_SAYS_WHERE) or not frames else f"{error} ({':'.join(frames[-1])})"


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


# Fields that only say where a log line comes from, which the caller knows.
_ORIGIN = {"timestamp", "event", "level", "logger", "loc", "filename", "lineno", "error_detail", "ti_id", "map_index"}
_ORIGIN |= {"try_number", "dag_id", "task_id", "run_id", "correlation_id", "asset"}
_AIRFLOW_NOISE = ("::", "Worker startup", "DAG bundles loaded", "Filling up the DagBag", "Done. Returned value")


def _log_line(event: Any) -> list[str]:
    """One event of a structured log, for people; Airflow's own start-up messages are left out."""
    if isinstance(event, str):
        return [event]
    text = str(event.get("event", ""))
    if text.startswith(_AIRFLOW_NOISE) or not event.get("timestamp"):
        return []
    fields = " ".join(f"{name}={value}" for name, value in event.items() if name not in _ORIGIN and value is not None)
    line = f"{str(event['timestamp'])[11:19]} {event.get('level', 'info'):<7} {text} {fields}".rstrip()
    causes = [f"  {each.get('exc_type')}: {each.get('exc_value')}" for each in event.get("error_detail") or []]
    return [line, *causes]

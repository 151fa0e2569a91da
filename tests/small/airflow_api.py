"""Airflow's REST API as a look asks it (`ops/watching/airflow.py`): silent processes, paused DAGs, tasks that failed, runs that ended."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from catalunya.ops.mock.exchange import Answer
from small.http_server import Asked, Server

STALE = timedelta(days=30)


class AirflowApi:
    """Answers without a login. Every DAG last ran a month ago, so every source that has a schedule is late."""

    def __init__(self) -> None:
        self.url = ""
        self.silent: str | None = None
        self.goes_on_after = 1000
        self.absent: str | None = None
        self.rejects_logins = False
        self.failed: dict[str, Any] | None = None
        self.paused: list[str] = []
        self.last_run: datetime | None = datetime.now(UTC) - STALE
        self.asked: list[Asked] = []

    @classmethod
    @contextmanager
    def running(cls) -> Iterator[AirflowApi]:
        """On a free port."""
        api = cls()
        with Server(api).running() as server:
            api.url = server.url
            yield api

    def __call__(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        if self.rejects_logins and asked.path == "/auth/token":
            return Answer(b"{}", 401)
        return Answer(json.dumps(self._document(asked.path)).encode(), 201 if asked.path == "/auth/token" else 200)

    def _document(self, path: str) -> dict[str, Any]:
        if path == "/auth/token":
            return {"access_token": "a-token"}
        if path == "/api/v2/monitor/health":
            names = ("metadatabase", "scheduler", "triggerer", "dag_processor")
            self.goes_on_after -= 1
            states = {self.silent: "unhealthy" if self.goes_on_after >= 0 else "healthy", self.absent: None}
            return {name: {"status": states.get(name, "healthy")} for name in names}
        if path.endswith("/taskInstances"):
            found = [self.failed] if self.failed else []
            return {"task_instances": found, "total_entries": len(found)}
        if path == "/api/v2/dags":  # asked for with `paused=true`
            return {"dags": [{"dag_id": key} for key in self.paused], "total_entries": len(self.paused)}
        if path.endswith("/dagRuns"):
            runs = [{"run_after": self.last_run.isoformat()}] if self.last_run else []
            return {"dag_runs": runs, "total_entries": len(runs)}
        return {"import_errors": [], "total_entries": 0}

"""What Airflow says is wrong: silent processes, paused DAGs, tasks that failed without a word, sources that were not asked.

Through Airflow's REST API: a task may not read Airflow's database. Not here: the tables (`tables.py`), the health check within a container
(`deployed_airflow/health.py`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from catalunya.assets.graph.graph import AssetGraph
from catalunya.assets.record.state import State
from catalunya.ops.backup.airflow import list_all
from catalunya.ops.deployed_airflow.processes import BROKER
from catalunya.ops.local_airflow.client import Client
from catalunya.ops.watching.findings import Kind, Seen, Severity

KINDS = (Kind.PROCESS_SILENT, Kind.DAG_PAUSED, Kind.TASK_FAILED, Kind.SOURCE_NOT_ASKED, Kind.RECONCILE_SILENT)
"""What only Airflow knows."""
HEALTH = {"scheduler": "scheduler", "dag-processor": "dag_processor", "triggerer": "triggerer"}
"""Processes and their names in Airflow's health report."""
RECONCILE = "ops.reconcile"
RECONCILE_LATE = timedelta(minutes=30)
"""`ops.reconcile` runs every ten minutes."""
PING_S = 5
UNHEARD_S = 12.0
"""How long a process without a recent heartbeat is asked for again. Airflow writes a heartbeat with the next one, 5 s later: for so long a process
that goes on after it was stopped looks silent, such as the scheduler that has just started this look."""
CLOCKED = (Kind.SOURCE_NOT_ASKED, Kind.RECONCILE_SILENT)
"""What did not happen on schedule."""
LONGEST = timedelta(days=1)
"""How far back failed tasks are looked for."""
ENDED = "its process ended without recording why: see its log in Airflow, and the log of the worker"
GRACE = timedelta(hours=6)
"""How long after its scheduled time a source may still be waiting to be asked: the longest wait between retries."""


@dataclass(frozen=True, slots=True)
class Watched:
    """Airflow at one moment, as a look asks it. `clocks`: whether its DAGs should have run on their schedules."""

    airflow: Client
    state: State
    clocks: bool

    @property
    def graph(self) -> AssetGraph:
        return self.state.graph

    @property
    def now(self) -> datetime:
        return self.state.now

    def seen(self) -> Iterator[Seen]:
        """What is wrong. Raises AirflowError when Airflow does not answer or refuses the login."""
        yield from see_silent(self.airflow)
        yield from self._paused()
        yield from self._failed_tasks()
        yield from self._broken_imports()
        if self.clocks:
            yield from self._not_asked()
            yield from self._not_reconciled()

    def _paused(self) -> Iterator[Seen]:
        for dag in list_all(self.airflow, "/dags", "dags", paused="true"):
            key = dag["dag_id"]
            if key not in self.graph and not key.startswith("ops."):
                continue
            below = self.graph.descendants(key) if key in self.graph else {asset.key for asset in self.graph}
            is_stale = key in self.graph and self.state.stale(key) is not None
            yield Seen(
                kind=Kind.DAG_PAUSED,
                subject=key,
                severity=Severity.ERROR if is_stale or key == RECONCILE else Severity.WARNING,
                what=f"the DAG {key} is paused{', and its table is out of date' if is_stale else ''}",
                cause="someone paused it in Airflow; nothing runs it until it is unpaused",
                remedy=f"`catalunya airflow dags unpause {key}`, or the switch beside its name in Airflow",
                affected=tuple(sorted(below)),
            )

    def _failed_tasks(self) -> Iterator[Seen]:
        """Tasks that failed and recorded no failure: those of `ops`, and any whose process was killed. The newest of each DAG counts."""
        since = (self.now - LONGEST).isoformat()
        found = list_all(self.airflow, "/dags/~/dagRuns/~/taskInstances", "task_instances", state="failed", end_date_gte=since)  # fmt: skip
        newest = {each["dag_id"]: each for each in sorted(found, key=lambda each: str(each.get("end_date")))}
        for key, task in newest.items():
            is_table = key in self.graph
            attempt = self.state.last_attempt(key) if is_table and not self.state.unreadable(key) else None
            if attempt and attempt.recorded_at > _time(task.get("start_date"), self.now):
                continue  # recorded, or made since
            if not is_table and _last_run(self.airflow, key, self.now) > _time(task.get("end_date"), self.now):
                continue
            yield Seen(
                kind=Kind.TASK_FAILED,
                subject=key,
                severity=Severity.ERROR,
                what=f"the task {task['task_id']} of {key} failed",
                cause=ENDED if is_table else "see its log in Airflow",
                remedy=f"look at the run {task['dag_run_id']} of {key} in Airflow, and trigger it again",
                since=_time(task.get("end_date"), self.now),
                affected=tuple(sorted(self.graph.descendants(key))) if is_table else (),
            )

    def _broken_imports(self) -> Iterator[Seen]:
        errors = self.airflow.import_errors()
        if errors:
            yield Seen(
                kind=Kind.TASK_FAILED,
                subject="import",
                severity=Severity.ERROR,
                what="Airflow cannot read the DAGs",
                cause=errors[0],
                remedy="correct the file; `catalunya ls` shows the same error",
                affected=tuple(asset.key for asset in self.graph),
            )

    def _not_asked(self) -> Iterator[Seen]:
        """Landing tables without a successful run since their last scheduled time."""
        from croniter import croniter  # type: ignore[import-untyped]

        for asset in self.graph:
            if not asset.schedule:
                continue
            due = croniter(asset.schedule, self.now - GRACE).get_prev(datetime)
            if _last_run(self.airflow, asset.key, self.now) < due:
                yield Seen(
                    kind=Kind.SOURCE_NOT_ASKED,
                    subject=asset.key,
                    severity=Severity.WARNING,
                    what=f"the source of {asset.key} has not been asked since {due:%Y-%m-%d %H:%M} UTC, when it was due",
                    cause=self.state.held_back(asset.key) or f"no run of {asset.key} succeeded since then",
                    remedy=f"look at the runs of {asset.key} in Airflow; trigger it there, or `catalunya materialize {asset.key}`",
                    since=due,
                    measure=(self.now - due) / timedelta(hours=1),
                    affected=tuple(sorted(self.graph.descendants(asset.key))),
                )

    def _not_reconciled(self) -> Iterator[Seen]:
        last = _last_run(self.airflow, RECONCILE, self.now)
        late = self.now - last
        if late > RECONCILE_LATE:
            has_run = last > datetime.min.replace(tzinfo=self.now.tzinfo)
            yield Seen(
                kind=Kind.RECONCILE_SILENT,
                subject=RECONCILE,
                severity=Severity.ERROR,
                what=f"{RECONCILE} has not run for {late / timedelta(minutes=1):.0f} min"
                if has_run
                else f"no run of {RECONCILE} has succeeded",
                cause="it is paused, it fails, or no worker takes its tasks",
                remedy=f"look at the runs of {RECONCILE} in Airflow: what is stale and got no event waits for it",
                since=last if has_run else None,
                affected=tuple(asset.key for asset in self.graph),
            )


def see_silent(airflow: Client) -> Iterator[Seen]:
    """Each process that should live and does not. Takes UNHEARD_S if there is one. Raises AirflowError."""
    broker = os.environ.get(BROKER)
    until = time.monotonic() + UNHEARD_S
    while "unhealthy" in (alive := _health(airflow)).values() and time.monotonic() < until:
        time.sleep(1)
    if broker:
        alive["worker"] = "healthy" if _workers(broker) else "unhealthy"
    for process, status in alive.items():
        # None: it has never run; without a broker, as on a laptop, there may be none.
        if status != "healthy" and (status is not None or broker):
            yield Seen(
                kind=Kind.PROCESS_SILENT,
                subject=process,
                severity=Severity.ERROR,
                what=f"Airflow's {process} does not answer",
                cause="Airflow's health report has no recent heartbeat of it" if process in HEALTH else "no worker answers a ping",
                remedy="restart it: docs/dokku.md and docs/compose.md say how; its log says why it ended",
            )  # fmt: skip


def _health(airflow: Client) -> dict[str, str | None]:
    """The status of each process in Airflow's health report."""
    health = airflow.health()
    return {process: health.get(name, {}).get("status") for process, name in HEALTH.items()}


def _workers(broker: str) -> int:
    """How many workers answer a ping through the broker."""
    from celery import Celery  # type: ignore[import-untyped]
    from kombu.exceptions import OperationalError

    # Without limits a broker that hangs, and does not only refuse connections, is waited for without end.
    limits = {"socket_timeout": PING_S, "socket_connect_timeout": PING_S}
    with Celery(broker=broker, broker_transport_options=limits) as app, app.connection_for_write() as connection:
        try:
            return len(app.control.ping(timeout=PING_S, connection=connection))
        except (OperationalError, *connection.connection_errors):
            return 0


def _last_run(airflow: Client, key: str, now: datetime) -> datetime:
    """When the DAG's last successful run began; before the first one had time to, now."""
    path = f"/dags/{key}/dagRuns"
    for query in ({"state": "success", "order_by": "-run_after"}, {"order_by": "run_after"}):
        runs = airflow.get(path, limit=1, **query)["dag_runs"]
        if runs and "state" in query:
            return datetime.fromisoformat(runs[0]["run_after"])
        if runs and datetime.fromisoformat(runs[0]["run_after"]) < now - GRACE:
            return datetime.min.replace(tzinfo=now.tzinfo)
    return now


def _time(text: Any, default: datetime) -> datetime:
    return datetime.fromisoformat(text) if text else default

"""What Airflow says about itself: which of its processes live, which tasks failed without a word, which sources were not asked.

`ops.reconcile` runs this every ten minutes, through Airflow's REST API: a task may not read Airflow's database. Each finding is one log
line, which an alarmed metric counts. When the scheduler, the API server or all workers are down, nothing runs and the heartbeats stop, which
another alarm notices. Not here: the state of the tables (`status.py`), the health check within a container (`deployed_airflow/health.py`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

import structlog

from catalunya.assets.graph.spec import Asset
from catalunya.assets.record.project import Project
from catalunya.ops.backup.airflow import client, list_all
from catalunya.ops.deployed_airflow.processes import BROKER
from catalunya.ops.local_airflow.client import Client

log = structlog.get_logger(__name__)

SELF = "reconcile"
HEALTH = {"scheduler": "scheduler", "dag-processor": "dag_processor", "triggerer": "triggerer"}
"""Processes and their names in Airflow's health report."""
PING_S = 5
LONGEST = timedelta(days=1)
"""How far back failed tasks are looked for when nothing has looked for long."""
ENDED = "its process ended without recording why: see its log in Airflow, and the log of the worker"
GRACE = timedelta(hours=6)
"""How long after its scheduled time a source may still be waiting to be asked: the longest wait between retries."""


def watch(project: Project, now: datetime, since: datetime | None = None) -> None:
    """Log heartbeats, tasks that failed since the last look, and sources that were not asked. Raises AirflowError.

    Without `CATALUNYA_AIRFLOW_URL` only the heartbeat of this task itself.
    """
    log.info("heartbeat", process=SELF)
    if not project.settings.airflow_url:
        return
    with client(project.settings) as airflow:
        log_heartbeats(airflow)
        log_failed_tasks(airflow, project, max(since or now - LONGEST, now - LONGEST))
        if project.settings.clocks:
            log_not_asked(airflow, [asset for asset in project.graph if asset.schedule], now)
        for error in airflow.import_errors():
            log.error("task_failed", dag="(none)", task="import", error=error, transient=False)


def log_heartbeats(airflow: Client) -> None:
    """One `heartbeat` for each process that lives, one `process_silent` for each that should and does not. Raises AirflowError."""
    health = airflow.health()
    alive = {process: health.get(name, {}).get("status") for process, name in HEALTH.items()}
    alive["api-server"] = "healthy"  # it answered
    if broker := os.environ.get(BROKER):
        alive["worker"] = "healthy" if _workers(broker) else "unhealthy"
    for process, status in alive.items():
        if status == "healthy":
            log.info("heartbeat", process=process)
        elif (
            status is not None or broker
        ):  # None: it has never run; without a broker, as on a laptop, there may be none
            log.error("process_silent", process=process)


def log_failed_tasks(airflow: Client, project: Project, since: datetime) -> None:
    """One `task_failed` for each task that failed since then and has recorded no failure: it may have had no time to log one.

    Airflow runs a task's callback in the task's process, so one that is killed says nothing. Counting a failure twice does no harm.
    Raises AirflowError.
    """
    state = project.state()
    keys = {asset.key for asset in project.graph}
    for found in _failed_since(airflow, since):
        key = found["dag_id"]
        attempt = state.last_attempt(key) if key in keys and not state.unreadable(key) else None
        if attempt and attempt.status == "failed" and attempt.run_id == found["dag_run_id"]:
            continue
        asset = {"asset": key} if key in keys else {}
        log.error("task_failed", dag=key, task=found["task_id"], error=ENDED, transient=False, **asset)


def log_not_asked(airflow: Client, assets: Iterable[Asset], now: datetime) -> None:
    """One `source_not_asked` for each landing table without a successful run since its last scheduled time. Raises AirflowError."""
    from croniter import croniter  # type: ignore[import-untyped]

    for asset in assets:
        due = croniter(asset.schedule, now - GRACE).get_prev(datetime)
        if _last_run(airflow, asset.key, now) < due:
            log.warning("source_not_asked", asset=asset.key, due=due)


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


def _failed_since(airflow: Client, since: datetime) -> Iterator[dict[str, Any]]:
    path = "/dags/~/dagRuns/~/taskInstances"
    return list_all(airflow, path, "task_instances", state="failed", end_date_gte=since.isoformat())


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

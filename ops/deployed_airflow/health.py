"""The health check of one process of a deployed Airflow, which containers run every few seconds.

Airflow's own `airflow jobs check` imports all of Airflow, which takes seconds of CPU each time; this reads one row. Not here: the
processes and their environment (`processes.py`), what happens to an unhealthy one (`supervisor.py`).
"""

from __future__ import annotations

import http.client
import json
import os
import socket
from collections.abc import Mapping
from typing import LiteralString

from catalunya.io.errors import HealthUnknown, Unhealthy
from catalunya.ops.deployed_airflow.processes import BROKER, PORT, addresses, known, postgres_address

TIMEOUT_S = 5
# Components write a heartbeat every 5 seconds; Airflow too considers them lost after this long.
LOST_AFTER_S = 30
_HEALTH = "/api/v2/monitor/health"
_HEARTBEAT = (
    "select extract(epoch from now() - max(latest_heartbeat)) from job "
    "where job_type = %s and hostname = %s and state = 'running'"
)


def check(name: str) -> str:
    """The health of this machine's process in one line.

    Raises Unhealthy, HealthUnknown when its database or broker does not answer, UsageError for an unknown name.
    """
    process, env = known(name), addresses(os.environ)
    if process.job:
        return _heartbeat(name, process.job, env)
    return _worker(env) if name == "worker" else _api_server(env)


def _api_server(env: Mapping[str, str]) -> str:
    """The API server answers, and its database is healthy. A database that answers no client is not the fault of the server."""
    server = http.client.HTTPConnection("127.0.0.1", int(env[PORT]), timeout=2 * TIMEOUT_S)
    try:
        server.request("GET", _HEALTH)
        database = json.loads(server.getresponse().read())["metadatabase"]["status"]
        problem = f"its database is {database}" if database != "healthy" else ""
    except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
        problem = f"no answer from port {env[PORT]}: {str(error) or type(error).__name__}"
    finally:
        server.close()
    if problem:
        _query(env, "api-server", "select 1")
        raise Unhealthy(f"api-server: {problem}, and the database answers others; see its log")
    return "api-server: healthy, and so is its database"


def _heartbeat(name: str, job: str, env: Mapping[str, str]) -> str:
    """The last heartbeat of its job on this machine is recent, by the database's clock."""
    seconds = _query(env, name, _HEARTBEAT, job, socket.gethostname())
    if seconds is None or seconds > LOST_AFTER_S:
        last = "has no heartbeat" if seconds is None else f"last heartbeat was {seconds:.0f} s ago"
        raise Unhealthy(f"{name}: {last}, expected one within {LOST_AFTER_S} s; see its log")
    return f"{name}: healthy, last heartbeat {seconds:.0f} s ago"


def _query(env: Mapping[str, str], name: str, sql: LiteralString, *values: str) -> float | None:
    """The first value of a query's answer. Raises HealthUnknown when the database does not answer."""
    import psycopg

    limits = f"-c statement_timeout={TIMEOUT_S * 1000}"
    try:
        with psycopg.connect(postgres_address(env), connect_timeout=TIMEOUT_S, options=limits) as connection:
            found = connection.execute(sql, values).fetchone()
    except psycopg.Error as error:
        raise HealthUnknown(f"{name}: its database does not answer: {' '.join(str(error).split())}") from error
    return float(found[0]) if found and found[0] is not None else None


def _worker(env: Mapping[str, str]) -> str:
    """This machine's worker answers a ping through the broker."""
    from celery import Celery  # type: ignore[import-untyped]
    from kombu.exceptions import OperationalError

    name = f"celery@{socket.gethostname()}"
    try:
        with Celery(broker=env.get(BROKER)) as app, app.connection_for_write(connect_timeout=TIMEOUT_S) as broker:
            broker.ensure_connection(max_retries=1, interval_start=0)
            answers = app.control.ping(destination=[name], timeout=TIMEOUT_S, connection=broker)
    except OperationalError as error:
        raise HealthUnknown(f"worker: its broker does not answer: {error}") from error
    if not answers:
        raise Unhealthy(f"worker: {name} did not answer within {TIMEOUT_S} s; see its log")
    return f"worker: healthy, {name} answers"

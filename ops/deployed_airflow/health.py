"""Whether one process of a deployed Airflow is well: what containers are asked, every few seconds.

Airflow's own `airflow jobs check` imports all of Airflow for that, some seconds of a core each time. Here one row is read. Not here:
the processes and their environment (`processes.py`).
"""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
from collections.abc import Mapping

from catalunya.io.errors import Unhealthy
from catalunya.ops.deployed_airflow.processes import BROKER, DATABASE, PORT, addresses, known

TIMEOUT_S = 5
# Airflow itself takes a component for lost after so long; they say every 5 seconds that they live.
LOST_AFTER_S = 30
_HEALTH = "/api/v2/monitor/health"
_HEARTBEAT = (
    "select extract(epoch from now() - max(latest_heartbeat)) from job "
    "where job_type = %s and hostname = %s and state = 'running'"
)


def check(name: str) -> str:
    """One line on how the process of this machine is. Raises Unhealthy when it is not well, UsageError for no such process."""
    process, env = known(name), addresses(os.environ)
    if process.job:
        return _beats(name, process.job, env)
    return _works(env) if name == "worker" else _answers(env)


def _answers(env: Mapping[str, str]) -> str:
    """The API server answers, and reaches the database."""
    asked = http.client.HTTPConnection("127.0.0.1", int(env[PORT]), timeout=TIMEOUT_S)
    try:
        asked.request("GET", _HEALTH)
        database = json.loads(asked.getresponse().read())["metadatabase"]["status"]
    except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
        found = str(error) or type(error).__name__
        raise Unhealthy(f"api-server: expected an answer at port {env[PORT]}, {_HEALTH}, found {found}") from error
    finally:
        asked.close()
    if database != "healthy":
        raise Unhealthy(f"api-server: expected its database to be healthy, found {database}; is PostgreSQL up?")
    return "api-server: answers, its database is healthy"


def _beats(name: str, job: str, env: Mapping[str, str]) -> str:
    """Its job on this machine has said lately that it lives, by the database's clock."""
    import psycopg

    address = re.sub(r"^postgresql\+\w+:", "postgresql:", env.get(DATABASE, ""))
    try:
        with psycopg.connect(address, connect_timeout=TIMEOUT_S) as asked:
            found = asked.execute(_HEARTBEAT, (job, socket.gethostname())).fetchone()
    except psycopg.Error as error:
        said = " ".join(str(error).split())
        raise Unhealthy(f"{name}: expected its heartbeat in the database, found {said}") from error
    seconds = found[0] if found else None
    if seconds is None or seconds > LOST_AFTER_S:
        last = "none" if seconds is None else f"the last one {seconds:.0f} s ago"
        raise Unhealthy(f"{name}: expected a heartbeat within {LOST_AFTER_S} s, found {last}; its log tells more")
    return f"{name}: its last heartbeat was {seconds:.0f} s ago"


def _works(env: Mapping[str, str]) -> str:
    """The worker of this machine answers through its broker."""
    from celery import Celery  # type: ignore[import-untyped]
    from kombu.exceptions import OperationalError

    name = f"celery@{socket.gethostname()}"
    try:
        with Celery(broker=env.get(BROKER)) as app, app.connection_for_write(connect_timeout=TIMEOUT_S) as broker:
            broker.ensure_connection(max_retries=1, interval_start=0)
            answers = app.control.ping(destination=[name], timeout=TIMEOUT_S, connection=broker)
    except OperationalError as error:
        raise Unhealthy(f"worker: expected its broker to answer, found {error}") from error
    if not answers:
        raise Unhealthy(f"worker: expected {name} to answer within {TIMEOUT_S} s, found nothing; its log tells more")
    return f"worker: {name} answers"

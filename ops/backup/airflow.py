"""Airflow's part of a backup: pools, variables, paused DAGs, and what connections there are.

Asked for by its REST API, so that it works wherever Airflow's database is. Secrets are not kept: no password, no login, no
connection's `extra`, no variable that looks like one; each is listed, to be set again from wherever secrets are kept. What ran of
late is kept to be read, never to be set: what the lake was made from stands in its ledger. A whole copy of the database is
`pg_dump`'s work (docs/recovery.md). Not here: setting it again (`set_again.py`).
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from catalunya.io.environment import Settings
from catalunya.io.errors import AirflowError, BackupError, UsageError
from catalunya.ops.backup.records import Backup
from catalunya.ops.backup.store import Store
from catalunya.ops.local_airflow.client import PAGE, Client

HISTORY = timedelta(days=7)
MASKED = "***"
_SECRET_NAME = re.compile(
    r"access_?key|api_?key|auth|credential|pass|private|secret|token|keyfile|service_?account", re.IGNORECASE
)
_SECRET_VALUE = re.compile(
    r"://[^/\s:@]*:[^/\s@]+@"  # an address with a password in it
    r"|-----BEGIN|\b(?:AKIA|ASIA)[A-Z0-9]{12,}|\beyJ[\w-]+\.|\bgh[pousr]_\w+|\bxox[abp]-|\bsk-\w{16,}"
    r"|(?:access_?key|api_?key|passw|secret|token)\w*[\"']?\s*[:=]",
    re.IGNORECASE,
)
_OF_A_RUN = ("dag_id", "dag_run_id", "run_type", "state", "logical_date", "run_after", "start_date", "end_date", "note")
_OF_AN_EVENT = ("name", "uri", "timestamp", "extra", "source_dag_id", "source_run_id", "partition_key")


def client(settings: Settings) -> Client:
    """Airflow as the settings say. Raises UsageError when they do not."""
    if not settings.airflow_url:
        raise UsageError(
            "no Airflow is known: expected its address in CATALUNYA_AIRFLOW_URL, found none; set it, and where it wants a login "
            "CATALUNYA_AIRFLOW_USER and CATALUNYA_AIRFLOW_PASSWORD"
        )
    password = settings.airflow_password.get_secret_value() if settings.airflow_password else ""
    return Client(settings.airflow_url.rstrip("/"), settings.airflow_user, password)


def export(settings: Settings) -> dict[str, Any]:
    """What a backup keeps of Airflow. Raises AirflowError, UsageError when none is known."""
    with client(settings) as airflow:
        since = (datetime.now(UTC) - HISTORY).isoformat()
        return {
            "version": airflow.get("/version")["version"],
            "dags": {dag["dag_id"]: dag["is_paused"] for dag in every(airflow, "/dags", "dags")},
            "pools": [
                {name: pool[name] for name in ("name", "slots", "description", "include_deferred")}
                for pool in every(airflow, "/pools", "pools")
            ],
            "variables": [variable(each) for each in every(airflow, "/variables", "variables")],
            "connections": [connection(each) for each in every(airflow, "/connections", "connections")],
            **_history(airflow, since),
        }


def variable(found: Mapping[str, Any]) -> dict[str, Any]:
    """A variable; its value is None where it is, or may be, a secret."""
    value = str(found["value"])
    is_secret = MASKED in value or bool(_SECRET_NAME.search(found["key"]) or _SECRET_VALUE.search(value))
    return {"key": found["key"], "value": None if is_secret else value, "description": found["description"]}


def connection(found: Mapping[str, Any]) -> dict[str, Any]:
    """A connection without anything that opens it: its type and where it leads, and the names of what it needs besides."""
    extra = json.loads(found["extra"] or "{}")
    host = found["host"]
    return {
        "connection_id": found["connection_id"],
        "conn_type": found["conn_type"],
        "description": found["description"],
        "host": None if host and ("@" in host or _SECRET_VALUE.search(host)) else host,
        "schema": found["schema"],
        "port": found["port"],
        "to_set": [name for name in ("login", "password") if found[name]] + [f"extra.{name}" for name in sorted(extra)],
    }


def _history(airflow: Client, since: str) -> dict[str, Any]:
    """What ran of late, to be read by a person. Airflow 3.3.2 cannot tell events while a run they triggered is queued."""
    runs = [
        {name: run.get(name) for name in _OF_A_RUN}
        for run in every(airflow, "/dags/~/dagRuns", "dag_runs", run_after_gte=since)
    ]
    try:
        found = every(airflow, "/assets/events", "asset_events", timestamp_gte=since)
        events = [{name: event.get(name) for name in _OF_AN_EVENT} for event in found]
    except AirflowError as error:
        return {"runs": runs, "events": [], "events_problem": str(error)}
    return {"runs": runs, "events": events}


def every(airflow: Client, path: str, what: str, **query: Any) -> Iterator[dict[str, Any]]:
    """All of a collection, page by page, however many a page may have at most there."""
    offset = 0
    while True:
        answer = airflow.get(path, limit=PAGE, offset=offset, **query)
        yield from answer[what]
        offset += len(answer[what])
        if not answer[what] or offset >= answer["total_entries"]:
            return


def exported(store: Store, backup: Backup) -> dict[str, Any]:
    """What a backup holds of Airflow. Raises BackupError when that is nothing."""
    if not backup.airflow:
        raise BackupError(
            f"backup {backup.name}: expected something of Airflow in it, found nothing"
            f"{f' ({backup.airflow_problem})' if backup.airflow_problem else ''}; take another: `catalunya restore --from NAME`"
        )
    found: dict[str, Any] = json.loads(gzip.decompress(store.get(backup.airflow)))
    return found

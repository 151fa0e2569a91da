"""Airflow's settings in a backup: pools, variables, which DAGs are paused, and which connections there are.

Read and restored through its REST API, which works wherever Airflow's database is. Secrets are not kept: no password, no login, no
connection's `extra`, no variable that looks like one; each is listed, for a person to set from wherever secrets are kept. Recent runs
and asset events are kept for reading only: what the lake was made from is in its ledger. Not here: a dump of the whole database
(`database.py`), the lake (`make.py`, `restore.py`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from catalunya.io.environment import Settings
from catalunya.io.errors import AirflowError, BackupError, UsageError
from catalunya.ops.backup.store import Backup
from catalunya.ops.local_airflow.client import PAGE, Client

HISTORY = timedelta(days=7)
MASKED = "***"
_SECRET_NAME = re.compile(
    r"access_?key|api_?key|auth|credential|pass|private|secret|token|keyfile|service_?account", re.IGNORECASE
)
# Stricter than what is redacted from messages (`io/safe_text.py`): a setting kept back by mistake only has to be set by hand.
_SECRET_VALUE = re.compile(
    r"://[^/\s:@]*:[^/\s@]+@"  # an address with a password in it
    r"|-----BEGIN|\b(?:AKIA|ASIA)[A-Z0-9]{12,}|\beyJ[\w-]+\.|\bgh[pousr]_\w+|\bxox[abp]-|\bsk-\w{16,}"
    r"|(?:access_?key|api_?key|passw|secret|token)\w*[\"']?\s*[:=]",
    re.IGNORECASE,
)
_RUN_FIELDS = (
    "dag_id", "dag_run_id", "run_type", "state", "logical_date", "run_after", "start_date", "end_date", "note",
)  # fmt: skip
_EVENT_FIELDS = ("name", "uri", "timestamp", "extra", "source_dag_id", "source_run_id", "partition_key")


def client(settings: Settings) -> Client:
    """Airflow at the configured address. Raises UsageError when there is none."""
    if not settings.airflow_url:
        raise UsageError(
            "CATALUNYA_AIRFLOW_URL is not set: expected Airflow's address; set it and, if Airflow needs a login, "
            "CATALUNYA_AIRFLOW_USER and CATALUNYA_AIRFLOW_PASSWORD"
        )
    password = settings.airflow_password.get_secret_value() if settings.airflow_password else ""
    return Client(settings.airflow_url.rstrip("/"), settings.airflow_user, password)


def list_all(airflow: Client, path: str, what: str, **filters: Any) -> Iterator[dict[str, Any]]:
    """All of a collection, page by page, whatever the server's maximum page size."""
    offset = 0
    while True:
        answer = airflow.get(path, limit=PAGE, offset=offset, **filters)
        yield from answer[what]
        offset += len(answer[what])
        if not answer[what] or offset >= answer["total_entries"]:
            return


def export_settings(settings: Settings) -> dict[str, Any]:
    """What a backup keeps of Airflow. Raises AirflowError, and UsageError when no address is set."""
    with client(settings) as airflow:
        since = (datetime.now(UTC) - HISTORY).isoformat()
        return {
            "version": airflow.get("/version")["version"],
            "dags": {dag["dag_id"]: dag["is_paused"] for dag in list_all(airflow, "/dags", "dags")},
            "pools": [
                {name: pool[name] for name in ("name", "slots", "description", "include_deferred")}
                for pool in list_all(airflow, "/pools", "pools")
            ],
            "variables": [variable(each) for each in list_all(airflow, "/variables", "variables")],
            "connections": [connection(each) for each in list_all(airflow, "/connections", "connections")],
            **_history(airflow, since),
        }


def variable(found: Mapping[str, Any]) -> dict[str, Any]:
    """A variable; its value is None if it is, or may be, a secret."""
    value = str(found["value"])
    is_secret = MASKED in value or bool(_SECRET_NAME.search(found["key"]) or _SECRET_VALUE.search(value))
    return {"key": found["key"], "value": None if is_secret else value, "description": found["description"]}


def connection(found: Mapping[str, Any]) -> dict[str, Any]:
    """A connection without its secrets: type and address, and the names of the fields that a person has to set."""
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
    """Recent runs and events, for a person to read. Airflow 3.3.2 cannot list events while a run they triggered is queued."""
    found = list_all(airflow, "/dags/~/dagRuns", "dag_runs", run_after_gte=since)
    runs = [{name: run.get(name) for name in _RUN_FIELDS} for run in found]
    try:
        found = list_all(airflow, "/assets/events", "asset_events", timestamp_gte=since)
        return {"runs": runs, "events": [{name: event.get(name) for name in _EVENT_FIELDS} for event in found]}
    except AirflowError as error:
        return {"runs": runs, "events": [], "events_problem": str(error)}


@dataclass(slots=True)
class Imported:
    """What was set in Airflow, or would be; `to_set` is what a person has to set, `failed` what Airflow refused, and why."""

    pools: list[str] = field(default_factory=list)
    variables: list[str] = field(default_factory=list)
    dags: list[str] = field(default_factory=list)
    to_set: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def import_settings(settings: Settings, backup: Backup, *, dry_run: bool = False) -> Imported:
    """Set Airflow's pools, variables and paused DAGs as a backup has them. What is equal is left alone, so it can be run again, and
    what Airflow refuses does not stop the rest.

    Raises BackupError when the backup has none of them, AirflowError when Airflow does not answer, UsageError when no address is set.
    """
    if backup.airflow is None:
        problem = f" ({backup.airflow_problem})" if backup.airflow_problem else ""
        raise BackupError(
            f"backup {backup.name} does not contain Airflow's settings{problem}; use another: `catalunya restore --from NAME`"
        )
    with client(settings) as airflow:
        target = _Import(airflow, dry_run)
        target.pools(backup.airflow["pools"])
        target.variables(backup.airflow["variables"])
        target.dags(backup.airflow["dags"])
        target.connections(backup.airflow["connections"])
    return target.done


@dataclass
class _Import:
    airflow: Client
    dry_run: bool
    done: Imported = field(default_factory=Imported)

    def pools(self, pools: list[dict[str, Any]]) -> None:
        existing = {pool["name"]: pool for pool in list_all(self.airflow, "/pools", "pools")}
        fields = ("slots", "include_deferred")  # all that can be changed of Airflow's own pool
        for pool in pools:
            name, found = pool["name"], existing.get(pool["name"])
            if found is None:
                self._send(self.done.pools, name, "/pools", pool)
            elif any(found[each] != pool[each] for each in fields):
                change = {each: pool[each] for each in fields}
                self._send(self.done.pools, name, f"/pools/{quote(name, safe='')}", change, update_mask=list(fields))

    def variables(self, variables: list[dict[str, Any]]) -> None:
        existing = {found["key"]: found for found in list_all(self.airflow, "/variables", "variables")}
        for each in variables:
            key = each["key"]
            if each["value"] is None:
                self.done.to_set += [] if key in existing else [f"variable {key}: its value, which may be a secret"]
            elif key not in existing:
                self._send(self.done.variables, key, "/variables", each)
            elif existing[key]["value"] != each["value"]:
                path = f"/variables/{quote(key, safe='')}"
                self._send(self.done.variables, key, path, each, update_mask=["value", "description"])

    def dags(self, dags: Mapping[str, bool]) -> None:
        existing = {dag["dag_id"]: dag["is_paused"] for dag in list_all(self.airflow, "/dags", "dags")}
        for dag_id, is_paused in dags.items():
            if dag_id not in existing:  # not parsed yet, or removed since
                self.done.to_set += [f"DAG {dag_id}: paused, once Airflow has parsed it"] if is_paused else []
            elif existing[dag_id] != is_paused:
                change = {"is_paused": is_paused}
                self._send(self.done.dags, dag_id, f"/dags/{dag_id}", change, update_mask=["is_paused"])

    def connections(self, connections: list[dict[str, Any]]) -> None:
        existing = {found["connection_id"] for found in list_all(self.airflow, "/connections", "connections")}
        self.done.to_set += [_todo(found) for found in connections if found["connection_id"] not in existing]

    def _send(self, done: list[str], name: str, path: str, body: Mapping[str, Any], **mask: Any) -> None:
        """Create, or change the fields of an update mask."""
        try:
            if not self.dry_run:
                self.airflow.patch(path, body, **mask) if mask else self.airflow.post(path, body)
        except AirflowError as error:
            self.done.failed[name] = str(error)
        else:
            done.append(name)


def _todo(connection: Mapping[str, Any]) -> str:
    """What a person has to set of a connection: its address, and the names of its secrets."""
    address = ":".join(str(each) for each in (connection["host"], connection["port"]) if each)
    to, fields = f" to {address}" if address else "", ", ".join(connection["to_set"])
    return (
        f"connection {connection['connection_id']}: {connection['conn_type']}{to}{f', with {fields}' if fields else ''}"
    )

"""Setting again, in an Airflow that lost its database, what a backup kept of it: pools, variables, which DAGs are paused.

Each by itself: what Airflow refuses of one thing keeps nobody from the next, and what is so already is left alone, so that it can be
done again. Secrets are in no backup: what has one is listed. Not here: what is kept (`airflow.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from catalunya.io.environment import Settings
from catalunya.io.errors import AirflowError
from catalunya.ops.backup.airflow import client, every
from catalunya.ops.local_airflow.client import Client


@dataclass(slots=True)
class SetAgain:
    """What was set, or would be; `to_set` is what a person has to set, `failed` what Airflow refused, and why."""

    pools: list[str] = field(default_factory=list)
    variables: list[str] = field(default_factory=list)
    dags: list[str] = field(default_factory=list)
    to_set: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def set_again(settings: Settings, exported: Mapping[str, Any], *, dry_run: bool = False) -> SetAgain:
    """Set pools, variables and which DAGs are paused as they were when exported.

    Raises AirflowError when Airflow does not answer, UsageError when none is known.
    """
    with client(settings) as airflow:
        setting = _Setting(airflow, dry_run)
        setting.pools(exported["pools"])
        setting.variables(exported["variables"])
        setting.dags(exported["dags"])
        setting.connections(exported["connections"])
    return setting.done


@dataclass
class _Setting:
    airflow: Client
    dry_run: bool
    done: SetAgain = field(default_factory=SetAgain)

    def pools(self, pools: list[dict[str, Any]]) -> None:
        there = {pool["name"]: pool for pool in every(self.airflow, "/pools", "pools")}
        parts = ("slots", "include_deferred")  # all that can be changed of Airflow's own pool
        for pool in pools:
            name, found = pool["name"], there.get(pool["name"])
            if found is None:
                self._send(self.done.pools, name, "/pools", pool)
            elif any(found[part] != pool[part] for part in parts):
                change = {part: pool[part] for part in parts}
                self._send(self.done.pools, name, f"/pools/{quote(name, safe='')}", change, update_mask=list(parts))

    def variables(self, variables: list[dict[str, Any]]) -> None:
        there = {found["key"]: found for found in every(self.airflow, "/variables", "variables")}
        for variable in variables:
            key = variable["key"]
            if variable["value"] is None:
                self.done.to_set += [] if key in there else [f"variable {key}: its value, which may be a secret"]
            elif key not in there:
                self._send(self.done.variables, key, "/variables", variable)
            elif there[key]["value"] != variable["value"]:
                path = f"/variables/{quote(key, safe='')}"
                self._send(self.done.variables, key, path, variable, update_mask=["value", "description"])

    def dags(self, dags: Mapping[str, bool]) -> None:
        there = {dag["dag_id"]: dag["is_paused"] for dag in every(self.airflow, "/dags", "dags")}
        for dag_id, is_paused in dags.items():
            if dag_id not in there:  # not read yet, or removed since
                self.done.to_set += [f"DAG {dag_id}: paused, once Airflow has read it"] if is_paused else []
            elif there[dag_id] != is_paused:
                self._send(
                    self.done.dags, dag_id, f"/dags/{dag_id}", {"is_paused": is_paused}, update_mask=["is_paused"]
                )

    def connections(self, connections: list[dict[str, Any]]) -> None:
        there = {found["connection_id"] for found in every(self.airflow, "/connections", "connections")}
        self.done.to_set += [_todo(found) for found in connections if found["connection_id"] not in there]

    def _send(self, into: list[str], name: str, path: str, body: Mapping[str, Any], **query: Any) -> None:
        """Create, or change where a query says which parts."""
        try:
            if not self.dry_run:
                self.airflow.patch(path, body, **query) if query else self.airflow.post(path, body)
        except AirflowError as error:
            self.done.failed[name] = str(error)
        else:
            into.append(name)


def _todo(connection: Mapping[str, Any]) -> str:
    """What a person has to set of a connection: where it leads, and the names of what opens it."""
    where = ":".join(str(part) for part in (connection["host"], connection["port"]) if part)
    leads, needs = f" to {where}" if where else "", ", ".join(connection["to_set"])
    return f"connection {connection['connection_id']}: {connection['conn_type']}{leads}{f', with {needs}' if needs else ''}"

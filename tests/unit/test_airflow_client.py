"""The client of Airflow's REST API, against a server with a login and small pages as on Dokku: a backup gets everything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit._socrata_server import Answer, Asked, Server

from catalunya.io.environment import Settings
from catalunya.io.errors import AirflowError
from catalunya.ops.backup.airflow import client, export_settings, list_all

PAGE = 2
POOLS = [{"name": f"pool-{n}", "slots": n, "description": "", "include_deferred": False} for n in range(5)]


class Airflow:
    """Accepts one user, and returns pages of two items."""

    def __call__(self, asked: Asked) -> Answer:
        if asked.path == "/auth/token":
            known = asked.method == "POST" and json.loads(asked.body) == {"username": "backup", "password": "hunter2"}
            return _json({"access_token": "let-me-in"}, 201) if known else _json({"detail": "no"}, 401)
        if asked.headers.get("authorization") != "Bearer let-me-in":
            return _json({"detail": "no"}, 401)
        if asked.path == "/api/v2/version":
            return _json({"version": "3.3.2"})
        if asked.path == "/api/v2/assets/events":
            return _json({"detail": "a run is queued"}, 500)
        name = {"/api/v2/dags/~/dagRuns": "dag_runs"}.get(asked.path, asked.path.rpartition("/")[2])
        found = POOLS if name == "pools" else []
        offset = int(asked.params["offset"])
        return _json({name: found[offset : offset + PAGE], "total_entries": len(found)})


def _json(document: Any, status: int = 200) -> Answer:
    return Answer(json.dumps(document).encode(), status)


@pytest.fixture
def airflow(settings: Settings, tmp_path: Path) -> Any:
    with Server(Airflow()).running() as server:
        login = {"airflow_url": f"{server.url}/", "airflow_user": "backup"}
        yield settings.model_copy(update={**login, "airflow_password": _secret("hunter2")})


def _secret(text: str) -> Any:
    from pydantic import SecretStr

    return SecretStr(text)


def test_a_collection_is_complete_whatever_the_page_size(airflow: Settings) -> None:
    with client(airflow) as opened:
        assert list(list_all(opened, "/pools", "pools")) == POOLS
        assert list(list_all(opened, "/variables", "variables")) == []


def test_an_export_is_complete_even_if_events_fail_for_a_moment(airflow: Settings) -> None:
    found = export_settings(airflow)
    assert (found["version"], found["pools"], found["runs"], found["events"]) == ("3.3.2", POOLS, [], [])
    assert "500" in found["events_problem"]
    assert "hunter2" not in json.dumps(found)


def test_a_rejected_login_is_an_error_without_the_password(airflow: Settings) -> None:
    with (
        client(airflow.model_copy(update={"airflow_password": _secret("wrong-one")})) as opened,
        pytest.raises(AirflowError, match=r"rejects the login of backup \(401\)") as refused,
    ):
        opened.get("/version")
    assert "wrong-one" not in str(refused.value)
    assert "CATALUNYA_AIRFLOW_PASSWORD" in str(refused.value)

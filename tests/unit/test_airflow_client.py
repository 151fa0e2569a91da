"""Reading Airflow's settings through its REST API, with a login and small pages as a server on Dokku has them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from catalunya.io.environment import Settings
from catalunya.io.errors import AirflowError
from catalunya.ops.backup.airflow import client, export_settings, list_all
from catalunya.ops.mock.exchange import Answer
from small.http_server import Asked, Server

PAGE = 2
POOLS = [{"name": f"pool-{n}", "slots": n, "description": "", "include_deferred": False} for n in range(5)]

RAISED = """Traceback (most recent call last):
  File "/project/dags/asset_dags.py", line 18, in <module>
    globals().update(build_dags(load_graph(settings), settings))
  File "/project/dags/build.py", line 104, in _dag
    dag = DAG(asset.key)
  File "/venv/lib/python3.11/site-packages/airflow/sdk/definitions/dag.py", line 7, in __init__
    raise ValueError(key)
"""
TRACES = {
    "01": "Traceback\nError: broken\n",
    "29": f"{RAISED}catalunya.io.errors.DeclarationError: assets/x.py: rename it\n",
    "30": f"{RAISED}ValueError: no key\n",
}
IMPORT_ERRORS = [
    {"filename": f"{day}.py", "timestamp": f"2026-11-{day}T10:00:00Z", "stack_trace": trace}
    for day, trace in TRACES.items()
]


class Airflow:
    """A REST API with one user and a page size of two."""

    def __call__(self, asked: Asked) -> Answer:
        if asked.path == "/auth/token":
            known = asked.method == "POST" and json.loads(asked.body) == {"username": "backup", "password": "hunter2"}
            return _json({"access_token": "valid-token"}, 201) if known else _json({"detail": "no"}, 401)
        if asked.headers.get("authorization") != "Bearer valid-token":
            return _json({"detail": "no"}, 401)
        if asked.path == "/api/v2/version":
            return _json({"version": "3.3.2"})
        if asked.path == "/api/v2/assets/events":
            return _json({"detail": "a run is queued"}, 500)
        if asked.path == "/api/v2/importErrors":
            return _json({"import_errors": IMPORT_ERRORS})
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


def test_a_collection_is_read_completely_whatever_its_page_size(airflow: Settings) -> None:
    with client(airflow) as opened:
        assert list(list_all(opened, "/pools", "pools")) == POOLS
        assert list(list_all(opened, "/variables", "variables")) == []


def test_the_export_is_complete_even_if_events_cannot_be_listed(airflow: Settings) -> None:
    found = export_settings(airflow)
    assert (found["version"], found["pools"], found["runs"], found["events"]) == ("3.3.2", POOLS, [], [])
    assert "500" in found["events_problem"]
    assert "hunter2" not in json.dumps(found)


def test_a_refused_login_is_reported_without_the_password(airflow: Settings) -> None:
    with (
        client(airflow.model_copy(update={"airflow_password": _secret("wrong-one")})) as opened,
        pytest.raises(AirflowError, match=r"rejects the login of backup \(401\)") as refused,
    ):
        opened.get("/version")
    assert "wrong-one" not in str(refused.value)
    assert "CATALUNYA_AIRFLOW_PASSWORD" in str(refused.value)


def test_an_import_error_that_an_earlier_start_left_is_not_one_of_this_start(airflow: Settings) -> None:
    with client(airflow) as opened:
        assert [found.partition(":")[0] for found in opened.import_errors()] == ["01.py", "29.py", "30.py"]
        assert [
            found.partition(":")[0] for found in opened.import_errors(since=datetime(2026, 11, 30, tzinfo=UTC))
        ] == ["30.py"]


def test_an_import_error_says_where_it_was_raised_unless_it_is_one_of_ours_which_says_what_to_correct(
    airflow: Settings,
) -> None:
    with client(airflow) as opened:
        assert opened.import_errors() == [
            "01.py: Error: broken",
            "29.py: catalunya.io.errors.DeclarationError: assets/x.py: rename it",
            "30.py: ValueError: no key (/project/dags/build.py:104)",
        ]

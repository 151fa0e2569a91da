"""What the watch of `ops.reconcile` logs when Airflow or the broker does not answer: its own heartbeat always, and never waiting for long."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from catalunya.assets.graph.discovery import declarations
from catalunya.assets.record.project import Project
from catalunya.io.environment import load_settings
from catalunya.io.errors import AirflowError
from catalunya.ops.airflow_watch import watch
from catalunya.ops.deployed_airflow.processes import BROKER
from catalunya.ops.processes import free_ports
from small.airflow_api import AirflowApi
from small.patience import patience


def watched(folder: Path, url: str) -> tuple[set[tuple[str, str]], str]:
    """The processes that one look logged as events, and the error it ended with."""
    lake = str(folder / "lake")
    project = Project(load_settings(env="local", lake=lake, airflow_url=url), list(declarations().values()))
    why = ""
    with capture_logs() as lines:
        try:
            watch(project, datetime.now(UTC))
        except AirflowError as error:
            why = str(error)
    return {(line["event"], line["process"]) for line in lines if "process" in line}, why


@contextmanager
def mute() -> Iterator[int]:
    """The port of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_an_airflow_that_is_down_fails_the_task_after_its_own_heartbeat(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    logged, why = watched(tmp_path, f"http://127.0.0.1:{port}")
    assert logged == {("heartbeat", "reconcile")}
    assert "does not answer" in why


def test_a_login_that_airflow_rejects_fails_the_task_after_the_heartbeats(tmp_path: Path) -> None:
    with AirflowApi.running() as airflow:
        airflow.rejects_logins = True
        logged, why = watched(tmp_path, airflow.url)
    assert {process for event, process in logged if event == "heartbeat"} > {"reconcile", "scheduler"}
    assert "CATALUNYA_AIRFLOW_PASSWORD" in why


def test_a_process_that_has_never_run_is_silent_where_all_are_deployed_and_may_be_absent_on_a_laptop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow reports no status for it. A deployment, which has a broker, always has a triggerer."""
    (closed,) = free_ports(1)
    with AirflowApi.running() as airflow:
        airflow.absent = "triggerer"
        logged, _ = watched(tmp_path, airflow.url)
        assert not {(event, process) for event, process in logged if process == "triggerer"}
        monkeypatch.setenv(BROKER, f"redis://127.0.0.1:{closed}/0")
        logged, _ = watched(tmp_path, airflow.url)
        assert ("process_silent", "triggerer") in logged


def test_workers_are_silent_when_their_broker_is_down_or_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (closed,) = free_ports(1)
    with AirflowApi.running() as airflow, mute() as hanging:
        for port in (closed, hanging):
            monkeypatch.setenv(BROKER, f"redis://127.0.0.1:{port}/0")
            began = time.monotonic()
            logged, why = watched(tmp_path, airflow.url)
            assert time.monotonic() - began < patience(40)
            assert ("process_silent", "worker") in logged
            assert ("heartbeat", "scheduler") in logged
            assert why == ""

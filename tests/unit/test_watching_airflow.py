"""What a look sees through Airflow, and when Airflow or the broker does not answer: it says so, keeps what it knew, and never waits for long."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from catalunya.assets.graph.discovery import declarations
from catalunya.assets.record.project import Project
from catalunya.io.environment import load_settings
from catalunya.ops.deployed_airflow.processes import BROKER
from catalunya.ops.processes import free_ports
from catalunya.ops.watching.findings import Finding, Severity
from catalunya.ops.watching.look import Look, watch
from small.airflow_api import AirflowApi
from small.patience import patience


def look(folder: Path, url: str, now: datetime | None = None) -> Look:
    """One look that is kept."""
    lake = str(folder / "lake")
    project = Project(load_settings(env="local", lake=lake, airflow_url=url), list(declarations().values()))
    return watch(project, now or datetime.now(UTC))


def seen(folder: Path, url: str) -> dict[str, Finding]:
    return {finding.identity: finding for finding in look(folder, url).board.open}


def opened(folder: Path, url: str, now: datetime) -> set[str]:
    return {finding.identity for finding in look(folder, url, now).changes.opened}


@contextmanager
def mute() -> Iterator[int]:
    """The port of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_an_airflow_that_is_down_is_a_finding_and_what_was_known_of_it_stays(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with AirflowApi.running() as airflow:
        airflow.silent = "triggerer"
        airflow.paused = ["landing.gdp"]
        assert {"process_silent:triggerer", "dag_paused:landing.gdp"} <= seen(tmp_path, airflow.url).keys()
    found = look(tmp_path, f"http://127.0.0.1:{port}")
    open_now = {finding.identity for finding in found.board.open}
    assert {"process_silent:api-server", "process_silent:triggerer", "dag_paused:landing.gdp"} <= open_now
    assert "does not answer" in found.blind
    with AirflowApi.running() as airflow:
        airflow.last_run = datetime.now(UTC)
        assert seen(tmp_path, airflow.url) == {}


def test_a_process_that_goes_on_after_it_was_stopped_is_not_silent(tmp_path: Path) -> None:
    """Airflow reports its next heartbeat but one."""
    with AirflowApi.running() as airflow:
        airflow.last_run = datetime.now(UTC)
        airflow.silent, airflow.goes_on_after = "scheduler", 2
        assert seen(tmp_path, airflow.url) == {}


def test_after_an_hour_without_a_scheduler_the_first_look_says_just_that_and_the_next_one_what_still_does_not_run(
    tmp_path: Path,
) -> None:
    now = datetime.now(UTC)
    with AirflowApi.running() as airflow:
        airflow.last_run = now - timedelta(hours=1)
        look(tmp_path, airflow.url, airflow.last_run)
        os.utime(tmp_path / "lake/_watch/findings.json", times=(0, airflow.last_run.timestamp()))
        assert opened(tmp_path, airflow.url, now) == {"watch_silent:watch"}
        assert opened(tmp_path, airflow.url, now + timedelta(minutes=10)) == {"reconcile_silent:ops.reconcile"}


def test_a_login_that_airflow_rejects_says_which_setting_is_wrong(tmp_path: Path) -> None:
    with AirflowApi.running() as airflow:
        airflow.rejects_logins = True
        finding = seen(tmp_path, airflow.url)["process_silent:api-server"]
    assert "CATALUNYA_AIRFLOW_PASSWORD" in finding.remedy
    assert finding.severity is Severity.ERROR


def test_every_source_that_was_not_asked_on_schedule_is_found_with_the_tables_below_it(tmp_path: Path) -> None:
    with AirflowApi.running() as airflow:
        found = seen(tmp_path, airflow.url)
    late = {finding.subject: finding for finding in found.values() if finding.kind == "source_not_asked"}
    assert set(late) == {key for key in declarations() if key.startswith("landing.")}
    assert late["landing.municipalities"].affected[0] == "staging.municipalities"
    assert "reconcile_silent:ops.reconcile" in found


def test_a_paused_dag_is_found_and_closed_when_it_is_unpaused(tmp_path: Path) -> None:
    with AirflowApi.running() as airflow:
        airflow.last_run = datetime.now(UTC)
        airflow.paused = ["ops.backup", "someone_elses_dag"]
        first = look(tmp_path, airflow.url)
        assert [finding.identity for finding in first.changes.opened] == ["dag_paused:ops.backup"]
        assert "unpause ops.backup" in first.changes.opened[0].remedy
        assert look(tmp_path, airflow.url).changes.opened == ()
        airflow.paused = []
        assert [finding.identity for finding in look(tmp_path, airflow.url).changes.closed] == ["dag_paused:ops.backup"]


def test_a_task_of_ops_that_failed_is_found_until_its_dag_has_succeeded_again(tmp_path: Path) -> None:
    ended = datetime.now(UTC) - timedelta(minutes=3)
    with AirflowApi.running() as airflow:
        airflow.last_run = ended - timedelta(hours=1)
        airflow.failed = {
            "dag_id": "ops.backup",
            "task_id": "backup",
            "dag_run_id": "one",
            "start_date": ended.isoformat(),
            "end_date": ended.isoformat(),
        }
        assert "task_failed:ops.backup" in seen(tmp_path, airflow.url)
        airflow.last_run = datetime.now(UTC)
        assert seen(tmp_path, airflow.url) == {}


def test_a_process_that_has_never_run_is_silent_where_all_are_deployed_and_may_be_absent_on_a_laptop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow reports no status for it. A deployment, which has a broker, always has a triggerer."""
    (closed,) = free_ports(1)
    with AirflowApi.running() as airflow:
        airflow.absent = "triggerer"
        assert "process_silent:triggerer" not in seen(tmp_path, airflow.url)
        monkeypatch.setenv(BROKER, f"redis://127.0.0.1:{closed}/0")
        assert "process_silent:triggerer" in seen(tmp_path, airflow.url)


def test_workers_are_silent_when_their_broker_is_down_or_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (closed,) = free_ports(1)
    with AirflowApi.running() as airflow, mute() as hanging:
        for port in (closed, hanging):
            monkeypatch.setenv(BROKER, f"redis://127.0.0.1:{port}/0")
            began = time.monotonic()
            found = seen(tmp_path, airflow.url)
            assert time.monotonic() - began < patience(40)
            assert "process_silent:worker" in found
            assert "process_silent:scheduler" not in found

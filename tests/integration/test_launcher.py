"""The names inside Airflow that the local launcher depends on: each test fails clearly when Airflow moves one."""

from __future__ import annotations

import importlib.util
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

import pytest

from catalunya.ops.local_airflow import launcher

NEWEST = """
import gc, importlib
gc.disable()  # as in the launcher; a freeze at the end spares another look for garbage
from catalunya.ops.local_airflow import launcher

launcher.preload(*launcher.FOR_EXECUTION_API)
newest = importlib.import_module(launcher.VERSIONS).bundle.versions[0].value
launcher.keep_newest_version()
app = importlib.import_module(launcher.FOR_EXECUTION_API[0]).create_task_execution_api_app()
app._cadwyn_initialize()
(version, router), = app.router.versioned_routers.items()
print(version == newest, {"/health", "/task-instances/{task_instance_id}/run"} <= {route.path for route in router.routes})
gc.freeze()
"""
PRELOADED = (
    *(launcher.PARSER, launcher.MAIN, *launcher.FOR_SCHEDULING, *launcher.FOR_TASKS),
    *(launcher.FOR_SERVERS + launcher.FOR_API + launcher.FOR_EXECUTION_API),
    *launcher.FOR_ONE_RUN,
)
COMMANDS = (*launcher.COMPONENTS.values(), launcher.API, (*launcher.EXECUTION_API, "1"), launcher.MIGRATE)


def moved(what: str) -> str:
    return f"Airflow {version('apache-airflow')} has moved {what}: update ops/local_airflow/launcher.py"


@pytest.mark.parametrize("name", [name for name in PRELOADED if name.startswith(("airflow.", "catalunya."))])
def test_there_is_each_module_that_the_launcher_preloads(name: str) -> None:
    try:
        found = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        found = None
    assert found, moved(name)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_airflow_has_each_command_that_the_launcher_runs(command: tuple[str, ...]) -> None:
    from airflow.cli.cli_parser import get_parser

    try:
        get_parser().parse_args(command)
    except SystemExit:
        pytest.fail(moved(f"`airflow {' '.join(command)}`"))


def test_airflow_has_the_main_function_that_the_launcher_calls() -> None:
    assert callable(getattr(importlib.import_module(launcher.MAIN), "main", None)), moved(f"{launcher.MAIN}.main")


def test_a_module_that_airflow_has_moved_is_reported_and_skipped(capsys: pytest.CaptureFixture[str]) -> None:
    launcher.preload("airflow.no_such_module")

    assert capsys.readouterr().err == "not preloaded, Airflow has moved it: airflow.no_such_module\n"


def test_the_api_of_the_tasks_is_built_in_its_newest_version_only(tmp_path: Path) -> None:
    env = {**os.environ, "AIRFLOW_HOME": str(tmp_path), "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR"}
    ran = subprocess.run(
        [sys.executable, "-c", NEWEST], check=False, env=env, capture_output=True, text=True, encoding="utf-8"
    )

    assert ran.stdout == "True True\n", moved(f"{launcher.VERSIONS} or its routes:\n{ran.stderr}")


def test_a_database_is_migrated_again_by_another_airflow_or_at_another_revision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    with closing(sqlite3.connect(tmp_path / launcher.DATABASE, isolation_level=None)) as database:
        database.execute("create table other (version_num text)")
        launcher.remember_migration()  # as if a first migration had been killed
        database.execute("create table alembic_version (version_num text)")
        database.execute("insert into alembic_version values ('one')")
        assert not launcher.is_migrated()
        launcher.remember_migration()
        assert launcher.is_migrated()

        database.execute("update alembic_version set version_num = 'two'")
        assert not launcher.is_migrated()
        launcher.remember_migration()
    noted = tmp_path / launcher.MIGRATED
    noted.write_text(noted.read_text(encoding="utf-8").replace(version("apache-airflow"), "3.2.0"), encoding="utf-8")
    assert not launcher.is_migrated()
    noted.write_bytes(b"\xdb\x00")  # damaged
    assert not launcher.is_migrated()


def test_a_database_that_was_deleted_is_migrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    with closing(sqlite3.connect(tmp_path / launcher.DATABASE, isolation_level=None)) as database:
        database.execute("create table alembic_version (version_num text)")
        database.execute("insert into alembic_version values ('one')")
    launcher.remember_migration()
    (tmp_path / launcher.DATABASE).unlink()

    assert not launcher.is_migrated()

"""The names inside Airflow that the local launcher depends on: each test fails clearly when Airflow moves one."""

from __future__ import annotations

import importlib.util
from importlib.metadata import version

import pytest

from catalunya.ops.local_airflow import launcher

PRELOADED = (
    *(launcher.PARSER, launcher.MAIN, *launcher.FOR_SCHEDULING, *launcher.FOR_TASKS),
    *(launcher.FOR_API + launcher.FOR_EXECUTION_API),
)
COMMANDS = (*launcher.COMPONENTS.values(), launcher.API, (*launcher.EXECUTION_API, "1"), launcher.MIGRATE)


def moved(what: str) -> str:
    return f"Airflow {version('apache-airflow')} has moved {what}: update ops/local_airflow/launcher.py"


@pytest.mark.parametrize("name", [name for name in PRELOADED if name.startswith("airflow.")])
def test_airflow_has_each_module_that_the_launcher_preloads(name: str) -> None:
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

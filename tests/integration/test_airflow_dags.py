"""The DAGs as Airflow parses them. A subprocess reads them, because importing Airflow changes the process it is imported in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import catalunya
from catalunya.assets.graph.discovery import load_graph
from catalunya.assets.graph.graph import AssetGraph
from catalunya.assets.graph.spec import Layer
from catalunya.io.environment import load_settings

DAGS = Path(catalunya.__file__).parent / "dags"
SECRETS = ("an-app-token-of-a-test", "a-key-of-a-test-for-AWS")

SCRIPT = """
import gc; gc.disable()  # with the freeze, a quarter of the time
import json, os, runpy, sys

found = runpy.run_path(sys.argv[1])
heavy = sorted({"polars", "pandera", "duckdb", "dbt", "pandas", "pyarrow"} & set(sys.modules))

from airflow.dag_processing.importers.python_importer import PythonDagImporter
from airflow.sdk import DAG
from catalunya.assets.graph.discovery import load_graph
from catalunya.dags.build import build_dags
from catalunya.io import errors
from catalunya.io.environment import load_settings
from pathlib import Path

dags = {name: dag for name, dag in found.items() if isinstance(dag, DAG)}
graph = load_graph(load_settings())
quiet = build_dags(graph, load_settings(clocks=False))
backups = {hours: build_dags(graph, load_settings(rpo_hours=hours), only="ops.backup")["ops.backup"] for hours in (4, 24)}

from catalunya.assets.graph.graph import AssetGraph
from catalunya.assets.graph.spec import Layer
from catalunya.assets.graph.spec import Asset
from airflow.serialization.serialized_objects import DagSerialization

large = AssetGraph(
    Asset(key=f"landing.{name}", description="", columns=(), code_version="1", schedule="0 5 * * *")
    for name in ("large", "small")
)

def wired(functions):
    dags_of_large = build_dags(large, load_settings(functions=functions))
    for dag in dags_of_large.values():
        DagSerialization.from_dict(DagSerialization.to_dict(dag))  # as the scheduler stores it
    return {
        name: {
            task.task_id: {
                "mapped": task.expand_input.value if task.is_mapped else None,
                "downstream": sorted(task.downstream_task_ids),
                "rule": str(task.trigger_rule.value),
                "pool": task.pool,
                "says": [callback.__name__ for callback in task.on_failure_callback],
                "retry": [action(task, errors.SourceUnavailable("…")), action(task, errors.SourceError("…"))],
            }
            for task in dag.tasks
        }
        for name, dag in dags_of_large.items() if name.startswith("landing.")
    }

def action(task, error):
    return task.retry_policy.evaluate(error, 1, 3).action.value

def schedule(dag):
    condition = getattr(dag.timetable, "asset_condition", None)
    return dag.schedule if isinstance(dag.schedule, str) else sorted(asset.name for asset in getattr(condition, "objects", ()))

from airflow.sdk.log import redact

print(json.dumps({
    "masked": redact({"event": os.environ["CATALUNYA_SOCRATA_APP_TOKEN"], "why": [os.environ["AWS_SECRET_ACCESS_KEY"]]}),
    "pages": [[dag.doc_md, repr(dag.params), *(repr(vars(task)) for task in dag.tasks)] for dag in dags.values()],
    "heavy": heavy,
    "files": [Path(path).name for path in PythonDagImporter().list_dag_files(Path(sys.argv[1]).parent)],
    "backups": {hours: schedule(dag) for hours, dag in backups.items()},
    "functions": wired("catalunya-{purpose}-dev"),
    "processes": wired(""),
    "one": list(build_dags(graph, load_settings(), only="staging.social_services")),
    "dags": {
        name: {
            "schedule": schedule(dag),
            "without_clocks": schedule(quiet[name]),
            "max_active_runs": dag.max_active_runs,
            "catchup": dag.catchup,
            "paused": dag.is_paused_upon_creation,
            "tasks": {
                task.task_id: {
                    "says": [callback.__name__ for callback in task.on_failure_callback],
                    "pool": task.pool,
                    "inlets": [asset.name for asset in task.inlets],
                    "outlets": [asset.uri for asset in task.outlets],
                    "retries": task.retries,
                    "limit_s": task.execution_timeout and task.execution_timeout.total_seconds(),
                    "retry": {
                        kind.__name__: action(task, kind("…"))
                        for kind in (errors.SourceUnavailable, errors.LeaseHeld, errors.ContractError, errors.LakeError)
                        if task.retry_policy
                    },
                }
                for task in dag.tasks
            },
        }
        for name, dag in dags.items()
    },
}))
gc.freeze()
"""


@pytest.fixture(scope="module")
def graph(compiled: Path) -> AssetGraph:
    return load_graph(load_settings(cache=compiled))


@pytest.fixture(scope="module")
def read(compiled: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What Airflow finds in the DAG file, as JSON."""
    env = os.environ | {
        "AIRFLOW_HOME": str(tmp_path_factory.mktemp("home")),
        "CATALUNYA_CACHE": str(compiled),
        "CATALUNYA_SOURCES_POOL": "sources",
        "CATALUNYA_SOCRATA_APP_TOKEN": SECRETS[0],
        "AWS_SECRET_ACCESS_KEY": SECRETS[1],
    }
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT, str(DAGS / "asset_dags.py")]
    answer = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return dict(json.loads(answer.stdout.strip().splitlines()[-1]))


def test_secrets_are_masked_in_task_logs_and_appear_on_no_dag_page(read: dict[str, Any]) -> None:
    assert read["masked"] == {"event": "***", "why": ["***"]}
    pages = json.dumps(read["pages"])
    assert "staging.population" in pages
    assert not [secret for secret in SECRETS if secret in pages]


def test_there_is_one_dag_per_asset_and_six_for_operations(read: dict[str, Any], graph: AssetGraph) -> None:
    ops = {"ops.reconcile", "ops.watch", "ops.retention", "ops.backup", "ops.sources", "ops.portal"}
    assert set(read["dags"]) == {asset.key for asset in graph} | ops


def test_every_task_of_every_dag_says_when_it_fails(read: dict[str, Any]) -> None:
    tasks = [task for dag in read["dags"].values() for task in dag["tasks"].values()]
    tasks += [task for dag in read["functions"].values() for task in dag.values()]
    assert len(tasks) > 20
    assert all(task["says"] == ["log_failure"] for task in tasks)


def test_a_task_of_reconcile_or_watch_that_hangs_ends_before_the_next_run(read: dict[str, Any]) -> None:
    """One run at a time: it would keep every later one waiting, and nothing would look for what failed."""
    assert read["dags"]["ops.reconcile"]["tasks"]["find_stale"]["limit_s"] == 600
    assert read["dags"]["ops.watch"]["tasks"]["look"]["limit_s"] == 600


def test_the_watch_looks_between_two_runs_of_reconcile_and_waits_for_nothing(read: dict[str, Any]) -> None:
    dag = read["dags"]["ops.watch"]
    assert (dag["schedule"], dag["without_clocks"]) == ("5-59/10 * * * *", [])
    assert list(dag["tasks"]) == ["look"]


def test_the_sources_are_checked_weekly(read: dict[str, Any]) -> None:
    dag = read["dags"]["ops.sources"]
    assert (dag["schedule"], dag["without_clocks"]) == ("0 6 * * 1", [])
    assert list(dag["tasks"]) == ["check_sources"]


def test_the_pages_are_built_after_the_tables_that_a_wave_ends_with(read: dict[str, Any], graph: AssetGraph) -> None:
    dag = read["dags"]["ops.portal"]
    shown = [asset.key for asset in graph if asset.layer is not Layer.LANDING]
    assert dag["schedule"] == dag["without_clocks"] == sorted(key for key in shown if not graph.downstream(key))
    assert (dag["max_active_runs"], dag["catchup"], dag["paused"]) == (1, False, False)
    assert list(dag["tasks"]) == ["build"]
    task = dag["tasks"]["build"]
    assert (task["inlets"], task["outlets"]) == (shown, ["catalunya://portal/site"])


def test_retention_runs_daily_and_never_twice_at_once(read: dict[str, Any]) -> None:
    dag = read["dags"]["ops.retention"]
    assert (dag["schedule"], dag["without_clocks"]) == ("30 2 * * *", [])
    assert (dag["max_active_runs"], dag["catchup"], dag["paused"]) == (1, False, False)
    assert list(dag["tasks"]) == ["prune"]


def test_backups_run_as_often_as_the_recovery_point_requires_and_locally_only_when_triggered(
    read: dict[str, Any],
) -> None:
    dag = read["dags"]["ops.backup"]
    assert read["backups"] == {"4": "45 1,5,9,13,17,21 * * *", "24": "45 1 * * *"}
    assert (dag["schedule"], dag["without_clocks"]) == ([], [])
    assert (dag["max_active_runs"], dag["catchup"], dag["paused"]) == (1, False, False)
    assert list(dag["tasks"]) == ["backup"]


def test_airflow_parses_only_one_file_and_imports_nothing_heavy(read: dict[str, Any]) -> None:
    assert read["files"] == ["asset_dags.py"]
    assert read["heavy"] == []


def test_landing_runs_on_its_schedule_and_the_rest_when_any_upstream_is_updated(
    read: dict[str, Any], graph: AssetGraph
) -> None:
    for asset in graph:
        dag = read["dags"][asset.key]
        assert dag["schedule"] == (asset.schedule or sorted(asset.upstream)), asset.key
        assert dag["without_clocks"] == sorted(asset.upstream)
        assert (dag["max_active_runs"], dag["catchup"], dag["paused"]) == (1, False, False)


def test_a_task_declares_its_inlets_outlets_and_pool(read: dict[str, Any], graph: AssetGraph) -> None:
    for asset in graph:
        (task,) = read["dags"][asset.key]["tasks"].values()
        assert task["inlets"] == list(asset.upstream)
        assert task["outlets"] == [asset.uri]
        assert task["pool"] == ("sources" if asset.layer == "landing" else "default_pool")


def test_transient_errors_are_retried_and_permanent_ones_fail_at_once(read: dict[str, Any]) -> None:
    (task,) = read["dags"]["landing.social_services"]["tasks"].values()

    assert task["retries"] == 3
    assert task["retry"] == {
        "SourceUnavailable": "retry",
        "LeaseHeld": "retry",
        "ContractError": "fail",
        "LakeError": "fail",
    }


def test_a_task_builds_only_its_own_dag(read: dict[str, Any]) -> None:
    assert read["one"] == ["staging.social_services"]


def test_a_source_is_read_by_one_task_with_functions_or_without(read: dict[str, Any]) -> None:
    for dags in (read["functions"], read["processes"]):
        assert [list(tasks) for tasks in dags.values()] == [["materialize"], ["materialize"]]
        assert {task["pool"] for tasks in dags.values() for task in tasks.values()} == {"sources"}
        assert {str(task["retry"]) for tasks in dags.values() for task in tasks.values()} == {"['retry', 'fail']"}

"""What the DAGs are, as Airflow reads them: asked in a process of its own, for importing Airflow changes the one it is in."""

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
from catalunya.io.environment import load_settings

DAGS = Path(catalunya.__file__).parent / "dags"
SECRETS = ("an-app-token-of-a-test", "a-key-of-a-test-for-AWS")

ASK = """
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
from catalunya.assets.graph.spec import Asset
from airflow.serialization.serialized_objects import DagSerialization

large = AssetGraph(
    Asset(key=f"landing.{name}", description="", columns=(), code_version="1", schedule="0 5 * * *", readers=readers)
    for name, readers in (("large", 3), ("small", 1))
)

def wired(functions):
    dags_of_large = build_dags(large, load_settings(functions=functions))
    for dag in dags_of_large.values():
        DagSerialization.from_dict(DagSerialization.to_dict(dag))  # as the scheduler keeps it
    return {
        name: {
            task.task_id: {
                "of": task.expand_input.value if task.is_mapped else None,
                "before": sorted(task.downstream_task_ids),
                "rule": str(task.trigger_rule.value),
                "pool": task.pool,
                "on": [said(task, errors.SourceUnavailable("…")), said(task, errors.SourceError("…"))],
            }
            for task in dag.tasks
        }
        for name, dag in dags_of_large.items() if name.startswith("landing.")
    }

def asked(index):
    from datetime import UTC, datetime
    from types import SimpleNamespace
    from airflow.sdk.exceptions import TaskDeferred

    run = SimpleNamespace(run_id="r1", start_date=datetime(2026, 8, 3, 14, 5, 12, 7000, UTC))
    params = {"force": False, "period_from": "2014", "period_to": None}
    dag = build_dags(large, load_settings(functions="f-{purpose}-dev"))["landing.large"]
    try:
        dag.task_dict["read_pages"].unmap({"index": index}).execute(
            {"dag_run": run, "params": params, "triggering_asset_events": {}}
        )
    except TaskDeferred as deferred:
        return [deferred.trigger.function, json.loads(deferred.trigger.payload)]

def said(task, error):
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
    "asked": [asked(index) for index in range(3)],
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
                    "pool": task.pool,
                    "inlets": [asset.name for asset in task.inlets],
                    "outlets": [asset.uri for asset in task.outlets],
                    "retries": task.retries,
                    "on": {
                        kind.__name__: said(task, kind("…"))
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
"""


@pytest.fixture(scope="module")
def graph(compiled: Path) -> AssetGraph:
    return load_graph(load_settings(cache=compiled))


@pytest.fixture(scope="module")
def read(compiled: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What Airflow reads in the DAG file."""
    env = os.environ | {
        "AIRFLOW_HOME": str(tmp_path_factory.mktemp("home")),
        "CATALUNYA_CACHE": str(compiled),
        "CATALUNYA_SOURCES_POOL": "sources",
        "CATALUNYA_SOCRATA_APP_TOKEN": SECRETS[0],
        "AWS_SECRET_ACCESS_KEY": SECRETS[1],
    }
    command = [sys.executable, "-W", "ignore", "-c", ASK, str(DAGS / "asset_dags.py")]
    answer = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return dict(json.loads(answer.stdout.strip().splitlines()[-1]))


def test_secrets_are_masked_in_the_logs_of_tasks_and_on_no_page_of_a_dag(read: dict[str, Any]) -> None:
    assert read["masked"] == {"event": "***", "why": ["***"]}
    pages = json.dumps(read["pages"])
    assert "staging.population" in pages
    assert not [secret for secret in SECRETS if secret in pages]


def test_there_is_a_dag_for_each_asset_and_three_that_keep_house(read: dict[str, Any], graph: AssetGraph) -> None:
    assert set(read["dags"]) == {asset.key for asset in graph} | {"ops.reconcile", "ops.retention", "ops.backup"}


def test_retention_goes_by_the_day_and_never_twice_at_once(read: dict[str, Any]) -> None:
    dag = read["dags"]["ops.retention"]
    assert (dag["schedule"], dag["without_clocks"]) == ("30 2 * * *", [])
    assert (dag["max_active_runs"], dag["catchup"], dag["paused"]) == (1, False, False)
    assert list(dag["tasks"]) == ["prune"]


def test_backups_are_made_as_often_as_the_recovery_point_asks_for_and_in_local_when_triggered(
    read: dict[str, Any],
) -> None:
    dag = read["dags"]["ops.backup"]
    assert read["backups"] == {"4": "45 1,5,9,13,17,21 * * *", "24": "45 1 * * *"}
    assert (dag["schedule"], dag["without_clocks"]) == ([], [])
    assert (dag["max_active_runs"], dag["catchup"], dag["paused"]) == (1, False, False)
    assert list(dag["tasks"]) == ["backup"]


def test_airflow_parses_one_file_of_the_folder_and_nothing_heavy_with_it(read: dict[str, Any]) -> None:
    assert read["files"] == ["asset_dags.py"]
    assert read["heavy"] == []


def test_landing_goes_by_its_clock_and_the_rest_by_any_of_what_it_reads(
    read: dict[str, Any], graph: AssetGraph
) -> None:
    for asset in graph:
        dag = read["dags"][asset.key]
        assert dag["schedule"] == (asset.schedule or sorted(asset.upstream)), asset.key
        assert dag["without_clocks"] == sorted(asset.upstream)
        assert (dag["max_active_runs"], dag["catchup"], dag["paused"]) == (1, False, False)


def test_a_task_declares_what_it_reads_and_what_it_makes(read: dict[str, Any], graph: AssetGraph) -> None:
    for asset in graph:
        (task,) = read["dags"][asset.key]["tasks"].values()
        assert task["inlets"] == list(asset.upstream)
        assert task["outlets"] == [asset.uri]
        assert task["pool"] == ("sources" if asset.layer == "landing" else "default_pool")


def test_what_may_pass_is_tried_again_and_what_will_not_fails_at_once(read: dict[str, Any]) -> None:
    (task,) = read["dags"]["landing.social_services"]["tasks"].values()

    assert task["retries"] == 3
    assert task["on"] == {
        "SourceUnavailable": "retry",
        "LeaseHeld": "retry",
        "ContractError": "fail",
        "LakeError": "fail",
    }


def test_a_task_builds_only_its_own_dag(read: dict[str, Any]) -> None:
    assert read["one"] == ["staging.social_services"]


def test_functions_read_the_parts_of_a_large_source_before_the_task_that_makes_it_of_them_whatever_became_of_each(
    read: dict[str, Any],
) -> None:
    parts, made = (read["functions"]["landing.large"][name] for name in ("read_pages", "materialize"))
    assert (parts["of"], parts["before"]) == ({"index": [0, 1, 2]}, ["materialize"])
    assert made["rule"] == "all_done"
    assert parts["pool"] == made["pool"] == "sources"
    assert parts["on"] == made["on"] == ["retry", "fail"]


def test_a_source_that_is_not_large_is_read_by_one_task_and_so_is_every_one_where_there_are_no_functions(
    read: dict[str, Any],
) -> None:
    assert list(read["functions"]["landing.small"]) == ["materialize"]
    assert [list(tasks) for tasks in read["processes"].values()] == [["materialize"], ["materialize"]]


def test_the_parts_of_one_run_ask_for_pages_of_one_batch(read: dict[str, Any]) -> None:
    batch = "ingested_process_at=20260803T140512007"
    told = {"asset": "landing.large", "run_id": "r1", "correlation_id": None, "force": False}
    told |= {"period_from": "2014", "period_to": None}
    assert read["asked"] == [
        ["f-extract-dev", {**told, "part": {"of": 3, "index": index, "batch": batch}}] for index in range(3)
    ]

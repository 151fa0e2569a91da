"""A task that fails on a real Airflow is heard: by its own callback, or, if its process was killed, by `ops.watch`."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import Any

from catalunya.ops.local_airflow.client import TaskInstance
from catalunya.ops.watching.findings import read_board
from small.field import Field
from small.patience import wait_until

KEY, DATASET = "landing.social_services", "ivft-vegh"


def logged(field: Field, task: TaskInstance, event: str) -> list[dict[str, Any]]:
    """The lines of one event in a task's log, as CloudWatch gets them."""
    path = f"/dags/{task.dag_id}/dagRuns/{task.run_id}/taskInstances/{task.task_id}/logs/{task.try_number}"
    lines = field.client.get(path, full_content="true")["content"]
    return [line for line in lines if isinstance(line, dict) and line.get("event") == event]


def reconciled(field: Field) -> dict[str, TaskInstance]:
    """The tasks of one run of `ops.reconcile` that looks at no table but this one."""
    field.trigger("ops.reconcile", select=KEY)
    return {task.task_id: task for task in field.settle() if task.dag_id == "ops.reconcile"}


def watched(field: Field) -> list[str]:
    """What is open after one run of `ops.watch`."""
    field.trigger("ops.watch")
    field.settle()
    return [found.identity for found in read_board(field.project.lake).open]


def test_a_task_that_fails_logs_why_and_the_table_is_reported_until_it_is_made(field: Field) -> None:
    field.mock.faults(f"missing-column:{DATASET}:column=registre")
    field.mock.advance(DATASET)
    field.trigger(KEY)
    (task,) = field.settle()
    field.mock.faults()

    (line,) = logged(field, task, "task_failed")
    assert (line["dag"], line["task"], line["asset"], line["transient"]) == (KEY, "materialize", KEY, False)
    assert "missing registre" in line["error"]

    tasks = reconciled(field)
    (left,) = logged(field, tasks["find_stale"], "left_alone")
    assert (left["asset"], left["tolerated"]) == (KEY, False)
    assert f"table_failed:{KEY}" in watched(field)
    assert f"task_failed:{KEY}" not in watched(field), "it was heard already"


def test_a_task_whose_process_is_killed_is_reported_by_the_watch(field: Field) -> None:
    field.mock.faults(f"slow:{DATASET}:seconds=30")
    field.mock.advance(DATASET)
    field.trigger(KEY, force=True)
    killed: set[int] = set()

    def is_over() -> bool:
        """Whether it has failed for good; kills each of its attempts."""
        for run in field.runs(KEY)[-1:]:
            path = f"/dags/{KEY}/dagRuns/{run['dag_run_id']}/taskInstances/materialize"
            task = field.client.get(path)
            if task["state"] == "running" and task["pid"] not in killed:
                killed.add(task["pid"])
                with suppress(ProcessLookupError):
                    os.kill(task["pid"], signal.SIGKILL)
            return bool(task["state"] == "failed")
        return False

    wait_until(is_over, 180, lambda: killed, poll_s=0.2)
    field.mock.faults()
    (task,) = [task for task in field.settle() if task.dag_id == KEY]
    assert len(killed) == task.try_number == 4
    assert logged(field, task, "task_failed") == [], "Airflow runs no callback of a process that was killed"

    assert f"task_failed:{KEY}" in watched(field)

"""What every task of every DAG does when it fails: it logs one line, which an alarmed metric counts (docs/metrics.md).

Not here: tasks that could not log it, because their process was killed (`ops/watching/airflow.py`). Imports nothing of Airflow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from catalunya.io.errors import TransientError
from catalunya.io.log import get_logger
from catalunya.io.safe_text import safe_text

OPS = "ops."
RECONCILE_MINUTES = 10
"""How often `ops.reconcile` looks for what failed, and shows that it lives."""
log = get_logger(__name__)


def log_failure(context: Mapping[str, Any]) -> None:
    """Airflow's `on_failure_callback`: log `task_failed` when a task has failed and will not be retried.

    Airflow calls it in the task's process, whose log goes to CloudWatch. Of a task whose process was killed it calls nothing; of one
    without a heartbeat it calls this in the dag-processor, whose log stays on its machine. `ops.watch` finds both.
    """
    task, error = context["task_instance"], context.get("exception")
    asset = {} if task.dag_id.startswith(OPS) else {"asset": task.dag_id}
    log.error(
        "task_failed",
        dag=task.dag_id,
        task=task.task_id,
        error=f"{type(error).__name__}: {safe_text(error)}" if error else "no exception",
        transient=isinstance(error, TransientError),
        **asset,
    )


EVERY_TASK: dict[str, Any] = {"on_failure_callback": log_failure}
"""The default arguments of every DAG."""

"""The tasks that watch: the heartbeats of Airflow's processes, failures that no one reported, the weekly check of the sources.

Here: the tasks, and `ops.sources`. Not here: what Airflow is asked (`ops/airflow_watch.py`), the callback of every task (`failures.py`), what
`ops.reconcile` leaves alone (`ops/status.py`). Airflow imports this module at every parse, so it imports nothing heavy.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, BaseOperator

from catalunya.dags.failures import EVERY_TASK

if TYPE_CHECKING:
    from airflow.sdk import Context

SOURCES = "ops.sources"
SOURCES_AT = "0 6 * * 1"  # UTC, after the week's extractions


class Watch(BaseOperator):
    """Logs a heartbeat for each live process of Airflow, and what failed or never ran without a line of its own."""

    ui_color = "#f8f0e8"

    def execute(self, context: Context) -> None:
        """Log what is seen. Raises AirflowError when Airflow's API does not answer or refuses the login."""
        from catalunya.assets.record.project import Project
        from catalunya.ops.airflow_watch import watch

        watch(Project(), datetime.now(UTC), since=context.get("prev_start_date_success"))


def sources_dag(*, clocks: bool, arguments: dict[str, Any]) -> DAG:
    """`ops.sources`; `arguments` are its task's, such as retries."""
    dag = DAG(
        SOURCES,
        schedule=SOURCES_AT if clocks else None,
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=False,
        default_args=EVERY_TASK,
        description="Checks that every source answers and is what is declared.",
        doc_md="Asks each source for its metadata, as `catalunya sources check` does, and logs `source_available`, `source_mismatch` or "
        "`source_unavailable`. `catalunya status` shows the result. Nothing is landed.",
        tags=["ops"],
    )
    CheckSources(dag=dag, task_id="check_sources", **arguments)
    return dag


class CheckSources(BaseOperator):
    """Compares every source's metadata with its declaration."""

    ui_color = "#f8f0e8"

    def execute(self, context: Context) -> list[str]:  # noqa: ARG002  the signature is Airflow's
        """Keep each source's result; returns the landing tables whose source does not answer or match."""
        from catalunya.assets.making.source_check import check_sources
        from catalunya.assets.record.project import Project
        from catalunya.assets.record.source_checks import keep

        project, wrong = Project(), []
        for found in check_sources(project, project.declarations):
            keep(project.lake, found)
            wrong += [] if found.matches else [found.asset]
        return wrong

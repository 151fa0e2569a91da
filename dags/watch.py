"""The DAGs that watch: `ops.watch`, a look every ten minutes, and `ops.sources`, the weekly check of the sources.

Here: the DAGs and their tasks. Not here: what is looked at (`ops/watching`), the callback of every task (`failures.py`). Airflow imports this module
at every parse, so it imports nothing heavy.
"""

from __future__ import annotations

import faulthandler
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, BaseOperator

from catalunya.dags.failures import EVERY_TASK, RECONCILE_MINUTES

if TYPE_CHECKING:
    from airflow.sdk import Context

WATCH = "ops.watch"
WATCH_EVERY = "5-59/10 * * * *"  # between two runs of `ops.reconcile`, so that it sees what they did
HUNG_S = 180
"""Seconds after which a look counts as hung: it takes a few, and the first one over a thousand tables of a folder twelve."""
SOURCES = "ops.sources"
SOURCES_AT = "0 6 * * 1"  # UTC, after the week's extractions


def watch_dag(*, clocks: bool) -> DAG:
    """`ops.watch`: independent of the runs that it watches, and of `ops.reconcile`."""
    dag = DAG(
        WATCH,
        schedule=WATCH_EVERY if clocks else None,
        catchup=False,
        max_active_runs=1,
        default_args=EVERY_TASK,
        is_paused_upon_creation=False,
        description="Looks for what is wrong, and for what did not happen.",
        doc_md="Looks at the ledger, the sources' update habits, disks, clocks, backups and Airflow itself. What is wrong is a finding: it opens "
        "once, is reported again only when it worsens, and closes by itself. `catalunya watch` shows the open ones (docs/watching.md).",
        tags=["ops"],
    )
    # One run at a time: a task that hangs would keep every later run waiting.
    TakeLook(dag=dag, task_id="look", retries=2, execution_timeout=timedelta(minutes=RECONCILE_MINUTES))
    return dag


class TakeLook(BaseOperator):
    """Takes one look at the pipeline."""

    ui_color = "#f8f0e8"

    def execute(self, context: Context) -> list[str]:  # noqa: ARG002  the signature is Airflow's
        """Keep and log what is found; returns what is open. Raises LakeError."""
        # Three looks of some hundred hung before their first line of log. What crashed looks at the same point is gone (io/json_text.py), but
        # no one saw where they hung. Airflow's own limit needs Python to run; this one does not: it writes where every thread is into the
        # task's log and ends the process, and Airflow tries again.
        faulthandler.dump_traceback_later(HUNG_S, exit=True, file=2)
        try:
            from catalunya.assets.record.project import Project
            from catalunya.ops.watching.look import watch

            return [found.identity for found in watch(Project(), datetime.now(UTC)).board.open]
        finally:
            faulthandler.cancel_dump_traceback_later()


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
        "`source_unavailable`; of an alternative that is not in use, `standby_mismatch` or `standby_unavailable`. `catalunya status` shows the result. "
        "Nothing is landed.",
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
            wrong += [] if found.matches or found.standby else [found.asset]
        return wrong

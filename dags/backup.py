"""`ops.backup`: makes a backup as often as the environment's recovery point objective requires, and prunes expired ones.

Here: its schedule and its task. Not here: how a backup is made (`ops/backup`), how to restore one (docs/recovery.md). Airflow imports this
module at every parse, so it imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, BaseOperator

from catalunya.dags.failures import EVERY_TASK
from catalunya.io.environment import Settings

if TYPE_CHECKING:
    from airflow.sdk import Context

BACKUP = "ops.backup"


def schedule(settings: Settings) -> str | None:
    """The cron (UTC) of an environment's backups: one per `rpo_hours`, the day's first at 01:45, before `ops.retention`."""
    if not settings.clocks or not settings.rpo_hours:
        return None
    hours = sorted((1 + hour) % 24 for hour in range(0, 24, settings.rpo_hours))
    return f"45 {','.join(map(str, hours))} * * *"


def backup_dag(settings: Settings, arguments: Mapping[str, Any]) -> DAG:
    """The DAG; `arguments` are its task's, such as retries."""
    dag = DAG(
        BACKUP,
        schedule=schedule(settings),
        catchup=False,
        max_active_runs=1,
        default_args=EVERY_TASK,
        is_paused_upon_creation=False,
        description="Backs up the lake, Airflow's settings and its database, and prunes expired backups.",
        doc_md=f"Copies what is new of tables, superseded versions, quarantine and ledger to `{settings.backup}`, and Airflow's pools, "
        "variables and paused DAGs if CATALUNYA_AIRFLOW_URL is set, and a dump of its PostgreSQL database. Then deletes expired backups. "
        "List them with `catalunya backup list`; docs/recovery.md describes how to recover from each kind of disaster.",
        tags=["ops"],
    )
    Backup(dag=dag, task_id="backup", **arguments)
    return dag


class Backup(BaseOperator):
    """Makes a backup, and prunes expired ones."""

    ui_color = "#e8f8ec"

    def execute(self, context: Context) -> str:  # noqa: ARG002  the signature is Airflow's
        """Back up; returns the backup's name. Raises LedgerError or AirflowError if something was not saved; the rest was."""
        from datetime import UTC, datetime

        from catalunya.assets.record.ledger import new_run_id
        from catalunya.assets.record.project import Project
        from catalunya.io.errors import AirflowError, LedgerError
        from catalunya.ops.backup.airflow import export_settings
        from catalunya.ops.backup.database import dumper
        from catalunya.ops.backup.make import back_up
        from catalunya.ops.backup.store import Store, prune

        project, name = Project(), new_run_id(datetime.now(UTC))
        settings = project.settings
        export = (lambda: export_settings(settings)) if settings.airflow_url else None
        made = back_up(project, name, airflow=export, database=dumper(settings))
        prune(Store.of(settings), settings, name)
        if made.missing:
            path, why = next(iter(made.missing.items()))
            raise LedgerError(
                f"backup {name} is incomplete: {len(made.missing)} objects are missing, the first {path}: {why}"
            )
        if made.airflow_problem:
            raise AirflowError(f"backup {name} does not contain Airflow's settings: {made.airflow_problem}")
        if made.database_problem:
            raise AirflowError(f"backup {name} does not contain Airflow's database: {made.database_problem}")
        return name

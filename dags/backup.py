"""`ops.backup`: a backup as often as the environment's recovery point asks for, and the tidying up of old ones.

Here: its schedule and its task. Not here: what a backup is (`ops/backup`), what is done with one (docs/recovery.md). Imported whenever
Airflow parses, so nothing heavy is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, BaseOperator

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
    """The DAG; `arguments` are those of its task: retries and the like."""
    dag = DAG(
        BACKUP,
        schedule=schedule(settings),
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=False,
        description="Backs up what cannot be made again.",
        doc_md=f"Tables, their past, quarantine and ledger go to `{settings.backup}`, only what is new; Airflow's pools, variables and "
        "paused DAGs too, where CATALUNYA_AIRFLOW_URL says where it is. Then backups that are not kept any longer are deleted. "
        "`catalunya backup list` shows them, docs/recovery.md says what to do after which disaster.",
        tags=["ops"],
    )
    Backup(dag=dag, task_id="backup", **arguments)
    return dag


class Backup(BaseOperator):
    """Makes a backup, and deletes those that are not kept any longer."""

    ui_color = "#e8f8ec"

    def execute(self, context: Context) -> str:  # noqa: ARG002  the signature is Airflow's
        """Back up; returns the backup's name. Raises LedgerError or AirflowError, the rest being saved, when something was not."""
        from datetime import UTC, datetime

        from catalunya.assets.record.ledger import new_run_id
        from catalunya.assets.record.project import Project
        from catalunya.io.errors import AirflowError, LedgerError
        from catalunya.ops.backup import airflow
        from catalunya.ops.backup.keep import tidy
        from catalunya.ops.backup.make import back_up
        from catalunya.ops.backup.store import Store

        project, name = Project(), new_run_id(datetime.now(UTC))
        settings = project.settings
        made = back_up(project, name, airflow=(lambda: airflow.export(settings)) if settings.airflow_url else None)
        tidy(Store.of(settings), settings, name)
        if made.missing:
            path, why = next(iter(made.missing.items()))
            raise LedgerError(f"backup {name} lacks {len(made.missing)} objects, the first {path}: {why}")
        if made.airflow_problem:
            raise AirflowError(f"backup {name} holds nothing of Airflow: {made.airflow_problem}")
        return name

"""Defines the DAGs: one per asset, with the asset key as DAG id, and those of `ops`.

Here: schedules, inlets and outlets, retries and documentation, all derived from the graph. Not here: what the tasks do (`tasks.py`).
Airflow imports this module whenever it parses the DAGs, so it imports nothing heavy and reads nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import cache
from typing import Any

from airflow.sdk import DAG, AssetAny, ExceptionRetryPolicy, Param, RetryAction, RetryRule
from airflow.sdk import Asset as AirflowAsset

from catalunya.assets.graph.graph import AssetGraph
from catalunya.assets.graph.spec import Asset, Layer
from catalunya.dags.backup import BACKUP, backup_dag
from catalunya.dags.failures import EVERY_TASK, RECONCILE_MINUTES
from catalunya.dags.portal import portal_dag
from catalunya.dags.tasks import PORTAL, FindStale, Materialize, Prune, TriggerRun
from catalunya.dags.watch import SOURCES, WATCH, sources_dag, watch_dag
from catalunya.io.environment import Settings
from catalunya.io.errors import PermanentError, TransientError
from catalunya.io.project_folder import active

MATERIALIZE = "materialize"
RECONCILE = "ops.reconcile"
RECONCILE_EVERY = f"*/{RECONCILE_MINUTES} * * * *"
MANIFESTS = "ops.manifests"
MANIFESTS_WAIT_S = 20
"""How long a request to the queue waits for a message: the longest that SQS allows, because each request is charged."""
RETENTION = "ops.retention"
RETENTION_AT = "30 2 * * *"  # UTC, before the first extraction of the day

# The first delay is Airflow's `[core] default_task_retry_delay`; it doubles from there.
RETRIES: dict[str, Any] = {
    "retries": 3,
    "retry_exponential_backoff": 2,
    "max_retry_delay": timedelta(hours=1),
    "execution_timeout": timedelta(hours=2),
    "retry_policy": ExceptionRetryPolicy(
        [
            RetryRule(PermanentError, RetryAction.FAIL, reason="a retry would fail the same way"),
            RetryRule(TransientError, RetryAction.RETRY, reason="a later retry may succeed"),
        ]
    ),
}


def build_dags(graph: AssetGraph, settings: Settings, *, only: str | None = None) -> dict[str, DAG]:
    """The DAGs by id: one per asset, and those of `ops`; or `only` the DAG of the task being run.

    Without `settings.clocks`, no DAG has a time-based schedule, and the landing DAGs must be triggered, as `catalunya run` does.
    """
    event = cache(lambda key: airflow_asset(graph[key]))  # a task needs a few of them
    dags = {asset.key: _dag(asset, event, settings) for asset in graph if only in (None, asset.key)}
    if only in (None, RECONCILE):
        dags[RECONCILE] = _reconcile(settings)
    if only in (None, RETENTION):
        dags[RETENTION] = _retention(clocks=settings.clocks)
    if only in (None, BACKUP):
        dags[BACKUP] = backup_dag(settings, RETRIES)
    if only in (None, PORTAL):
        dags[PORTAL] = portal_dag(graph, event, RETRIES)
    if only in (None, WATCH):
        dags[WATCH] = watch_dag(clocks=settings.clocks)
    if only in (None, SOURCES):
        dags[SOURCES] = sources_dag(clocks=settings.clocks, arguments=RETRIES)
    return dags


def airflow_asset(asset: Asset) -> AirflowAsset:
    """The asset as an Airflow asset. Name and URI are both given, so that Airflow's way of deriving one from the other does not matter."""
    return AirflowAsset(name=asset.key, uri=asset.uri, group=asset.layer.value)


def _dag(asset: Asset, event: Callable[[str], AirflowAsset], settings: Settings) -> DAG:
    upstream = [event(key) for key in asset.upstream]
    schedule = asset.schedule if settings.clocks else None
    dag = DAG(
        asset.key,
        # An asset with neither (dim_time) is triggered only by ops.reconcile.
        schedule=schedule or (AssetAny(*upstream) if upstream else None),
        catchup=False,
        # Events that arrive during a run become one later run, which reads the state at that time.
        max_active_runs=1,
        default_args=EVERY_TASK,
        is_paused_upon_creation=False,
        description=asset.description.partition("\n")[0],
        doc_md=_documentation(asset),
        tags=[asset.layer.value, *(["source"] if asset.schedule else [])],
    )
    # Not given to DAG(), which would validate each default, in a third of the time of a parse.
    dag.params.update(_params(asset))
    task: dict[str, Any] = {
        "asset": event(asset.key),
        "dag": dag,
        "task_id": MATERIALIZE,
        "inlets": upstream,
        "outlets": [event(asset.key)],
        # Airflow 3.3.2 only warns about a pool that does not exist, and never runs its tasks.
        "pool": settings.pool(asset.portal) if asset.layer is Layer.LANDING else None,
        **RETRIES,
    }
    if settings.functions and asset.layer is not Layer.MARTS:
        from catalunya.dags.functions import Invoke  # imported only where used, to keep parsing fast

        Invoke(functions=settings.functions, **task)
    else:
        Materialize(**task)
    return dag


def _params(asset: Asset) -> dict[str, Param]:
    """The parameters of a run that is triggered manually."""
    params = {"force": Param(False, type="boolean", description="Materialize even if nothing has changed.")}
    if asset.has_periods:
        formats = "a year (2014), half-year (2014-H1), quarter (2014-Q3), month (2014-06) or day"
        for name, which in (("period_from", "First"), ("period_to", "Last")):
            about = f"{which} period to backfill: {formats}. Other periods stay unchanged."
            params[name] = Param(None, type=["null", "string"], description=about)
    return params


def _reconcile(settings: Settings) -> DAG:
    with DAG(
        RECONCILE,
        schedule=_reconcile_schedule(settings),
        catchup=False,
        max_active_runs=1,
        default_args=EVERY_TASK,
        is_paused_upon_creation=False,
        description="Triggers every stale asset that is not being materialized.",
        doc_md="Airflow can lose asset events in a burst, and an asset without upstreams gets none. This DAG triggers every asset that "
        "is stale according to the ledger, unless it waits for an upstream, has failed for good on the same inputs, or is "
        "being materialized. An asset that failed for a reason that passes (a source or the lake does not answer, a full disk) is tried "
        "again after ten minutes, then after twice as long each time, up to six hours. It triggers `ops.portal` for public pages that are out of "
        "date. What is left alone, and why, is in its log.",
        tags=["ops"],
        params={"select": Param("*", type="string", description="Assets to check; same syntax as `catalunya plan`.")},
    ) as dag:
        # One run at a time: a task that hangs would keep every later run waiting.
        limits: dict[str, Any] = {"retries": 1, "execution_timeout": timedelta(minutes=RECONCILE_MINUTES)}
        found = FindStale(task_id="find_stale", **limits)
        TriggerRun.partial(task_id="trigger", map_index_template="{{ task.key }}").expand_kwargs(found.output)
    return dag


def _retention(*, clocks: bool) -> DAG:
    dag = DAG(
        RETENTION,
        schedule=RETENTION_AT if clocks else None,
        catchup=False,
        max_active_runs=1,
        default_args=EVERY_TASK,
        is_paused_upon_creation=False,
        description="Deletes landing batches, past table versions and quarantine that have expired.",
        doc_md="Deletes used landing batches and past versions of tables and quarantine that are older than the retention, and "
        "merges old ledger entries. The current version of a table is never deleted. Preview with `catalunya prune --dry-run`.",
        tags=["ops"],
        params={"select": Param("*", type="string", description="Assets to prune; same syntax as `catalunya prune`.")},
    )
    Prune(dag=dag, task_id="prune", **RETRIES)
    return dag


def _reconcile_schedule(settings: Settings) -> Any:
    """Every ten minutes, and when a queue reports a landing batch that was sealed outside Airflow."""
    clock = RECONCILE_EVERY if settings.clocks else None
    if not settings.manifests_queue:
        return clock
    from airflow.providers.amazon.aws.triggers.sqs import SqsSensorTrigger
    from airflow.sdk import AssetOrTimeSchedule, AssetWatcher, CronTriggerTimetable

    queue = SqsSensorTrigger(sqs_queue=settings.manifests_queue, wait_time_seconds=MANIFESTS_WAIT_S, waiter_delay=0)
    sealed = AirflowAsset(
        name=MANIFESTS,
        uri=f"{active().name}://{MANIFESTS.replace('.', '/')}",
        group="ops",
        watchers=[AssetWatcher(name="manifests", trigger=queue)],
    )
    if clock is None:
        return sealed
    return AssetOrTimeSchedule(timetable=CronTriggerTimetable(clock, timezone="UTC"), assets=[sealed])


def _documentation(asset: Asset) -> str:
    rows = {
        "source": asset.source,
        "reads": ", ".join(f"`{key}`{' (optional)' * (key in asset.optional)}" for key in asset.upstream),
        "key": ", ".join(f"`{name}`" for name in asset.key_columns),
        "partitions": ", ".join(f"`{name}`" for name in asset.partition_by),
        "stale when": f"a new {asset.clock} begins" if asset.clock else None,
        "objects": f"`{asset.prefix}/`",
        "declared in": f"`{asset.module}`",
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items() if value)
    return f"{asset.description}\n\n| | |\n| --- | --- |\n{table}\n"

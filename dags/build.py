"""What the DAGs are: one per asset, DAG id = asset key, with one task each, and `ops.reconcile`, `ops.retention` and
`ops.backup`.

Here: schedules, inlets and outlets, retries, documentation, all from plain assets. Not here: what the tasks do (`tasks.py`).
This is imported whenever Airflow parses, so nothing heavy is, and nothing is read.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, AssetAny, ExceptionRetryPolicy, Param, RetryAction, RetryRule
from airflow.sdk import Asset as AirflowAsset

from catalunya.assets.graph.graph import AssetGraph
from catalunya.assets.graph.spec import Asset, Layer
from catalunya.dags.backup import BACKUP, backup_dag
from catalunya.dags.tasks import FindStale, Materialize, Prune, Wake
from catalunya.io.environment import Settings
from catalunya.io.errors import PermanentError, TransientError

MATERIALIZE = "materialize"
READ_PAGES = "read_pages"
RECONCILE = "ops.reconcile"
RECONCILE_EVERY = "*/10 * * * *"
MANIFESTS = "ops.manifests"
MANIFESTS_EVERY_S = 5
RETENTION = "ops.retention"
RETENTION_AT = "30 2 * * *"  # UTC, before the day's first sources are asked

# The first delay is Airflow's `[core] default_task_retry_delay`; it doubles from there.
RETRIES: dict[str, Any] = {
    "retries": 3,
    "retry_exponential_backoff": 2,
    "max_retry_delay": timedelta(hours=1),
    "execution_timeout": timedelta(hours=2),
    "retry_policy": ExceptionRetryPolicy(
        [
            RetryRule(PermanentError, RetryAction.FAIL, reason="trying again changes nothing"),
            RetryRule(TransientError, RetryAction.RETRY, reason="trying again later may help"),
        ]
    ),
}


def build_dags(graph: AssetGraph, settings: Settings, *, only: str | None = None) -> dict[str, DAG]:
    """The DAGs by id: one per asset, `ops.reconcile`, `ops.retention` and `ops.backup`; or `only` the one a task is going to run in.

    Without `settings.clocks`, what would run at certain times has to be triggered: for a single wave.
    """
    events = {asset.key: airflow_asset(asset) for asset in graph}
    dags = {asset.key: _dag(asset, events, settings) for asset in graph if only in (None, asset.key)}
    if only in (None, RECONCILE):
        dags[RECONCILE] = _reconcile(settings)
    if only in (None, RETENTION):
        dags[RETENTION] = _retention(clocks=settings.clocks)
    if only in (None, BACKUP):
        dags[BACKUP] = backup_dag(settings, RETRIES)
    return dags


def airflow_asset(asset: Asset) -> AirflowAsset:
    """The asset as Airflow knows it. Name and URI are both said: one made from the other would not survive a change."""
    return AirflowAsset(name=asset.key, uri=asset.uri, group=asset.layer.value)


def _dag(asset: Asset, events: dict[str, AirflowAsset], settings: Settings) -> DAG:
    upstream = [events[key] for key in asset.upstream]
    schedule = asset.schedule if settings.clocks else None
    dag = DAG(
        asset.key,
        # What has neither (a calendar) is woken by ops.reconcile alone.
        schedule=schedule or (AssetAny(*upstream) if upstream else None),
        catchup=False,
        # Events that arrive meanwhile wait, and become one run afterwards, which reads the state as it is then.
        max_active_runs=1,
        is_paused_upon_creation=False,
        description=asset.description.partition("\n")[0],
        doc_md=_documentation(asset),
        tags=[asset.layer.value, *(["source"] if asset.schedule else [])],
        params=_params(asset),
    )
    task: dict[str, Any] = {
        "asset": events[asset.key],
        "dag": dag,
        "task_id": MATERIALIZE,
        "inlets": upstream,
        "outlets": [events[asset.key]],
        # Tasks of a pool that nobody created are never run (3.3.2 only warns).
        "pool": settings.sources_pool if asset.layer is Layer.LANDING else None,
        **RETRIES,
    }
    if settings.functions and asset.layer is not Layer.MARTS:
        from catalunya.dags.functions import Invoke, ReadPages  # only where there are: it costs each parse an import

        made = Invoke(functions=settings.functions, trigger_rule="all_done", **task)  # it reads what parts did not
        if asset.readers > 1:
            shared: dict[str, Any] = {
                "dag": dag,
                "pool": task["pool"],
                "map_index_template": "{{ task.index }}",
                **RETRIES,
            }
            told = {"key": asset.key, "functions": settings.functions, "of": asset.readers}
            ReadPages.partial(task_id=READ_PAGES, **told, **shared).expand(index=list(range(asset.readers))) >> made
    else:
        Materialize(**task)
    return dag


def _params(asset: Asset) -> dict[str, Param]:
    """What a run that is triggered by hand can be told."""
    params = {"force": Param(False, type="boolean", description="Make it though nothing changed.")}
    if asset.has_periods:
        said = "a year (2014), half-year (2014-H1), quarter (2014-Q3), month (2014-06) or day"
        for name, which in (("period_from", "First"), ("period_to", "Last")):
            about = f"{which} period to read again, for a backfill: {said}. Other periods stay as they are."
            params[name] = Param(None, type=["null", "string"], description=about)
    return params


def _reconcile(settings: Settings) -> DAG:
    with DAG(
        RECONCILE,
        schedule=_reconcile_schedule(settings),
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=False,
        description="Wakes every asset that is stale and that nobody is making.",
        doc_md="Airflow can lose the tail of a burst of asset events, and a calendar sends none. What the ledger says is "
        "stale, waits for nothing, has not failed on the same inputs and is not being made, is triggered here.",
        tags=["ops"],
        params={"select": Param("*", type="string", description="Which assets, as in `catalunya plan`.")},
    ) as dag:
        found = FindStale(task_id="find_stale", retries=1)
        Wake.partial(task_id="wake", map_index_template="{{ task.key }}").expand_kwargs(found.output)
    return dag


def _retention(*, clocks: bool) -> DAG:
    dag = DAG(
        RETENTION,
        schedule=RETENTION_AT if clocks else None,
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=False,
        description="Deletes what retention says has had its time.",
        doc_md="Used landing batches go, and what tables and their quarantine were before, once its time is over; old ledger "
        "entries are merged. What a table is now is never touched. `catalunya prune --dry-run` shows it beforehand.",
        tags=["ops"],
        params={"select": Param("*", type="string", description="Which assets, as in `catalunya prune`.")},
    )
    Prune(dag=dag, task_id="prune", **RETRIES)
    return dag


def _reconcile_schedule(settings: Settings) -> Any:
    """Every ten minutes; and whenever a queue tells that somebody else than Airflow sealed a landing batch."""
    clock = RECONCILE_EVERY if settings.clocks else None
    if not settings.manifests_queue:
        return clock
    from airflow.providers.amazon.aws.triggers.sqs import SqsSensorTrigger
    from airflow.sdk import AssetOrTimeSchedule, AssetWatcher, CronTriggerTimetable

    queue = SqsSensorTrigger(sqs_queue=settings.manifests_queue, waiter_delay=MANIFESTS_EVERY_S)
    sealed = AirflowAsset(
        name=MANIFESTS,
        uri=f"catalunya://{MANIFESTS.replace('.', '/')}",
        group="ops",
        watchers=[AssetWatcher(name="manifests", trigger=queue)],
    )
    if clock is None:
        return sealed
    return AssetOrTimeSchedule(timetable=CronTriggerTimetable(clock, timezone="UTC"), assets=[sealed])


def _documentation(asset: Asset) -> str:
    rows = {
        "source": asset.source,
        "reads": ", ".join(f"`{key}`" for key in asset.upstream),
        "key": ", ".join(f"`{name}`" for name in asset.key_columns),
        "partitions": ", ".join(f"`{name}`" for name in asset.partition_by),
        "made when": f"the {asset.clock} turns" if asset.clock else None,
        "objects": f"`{asset.prefix}/`",
        "declared in": f"`{asset.module}`",
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items() if value)
    return f"{asset.description}\n\n| | |\n| --- | --- |\n{table}\n"

"""The Airflow task as parent of the OpenLineage runs of what it makes, with the ids that Airflow's provider gives it.

The provider need not be installed. Here: its ids (apache-airflow-providers-openlineage 2.20, `plugins/adapter.py`). Not here: events.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from catalunya.io import openlineage
from catalunya.io.log import get_logger
from catalunya.io.safe_text import safe_text

log = get_logger(__name__)


def part_of_task(context: Any) -> AbstractContextManager[None]:
    """What is recorded meanwhile is part of the task with this context. Never raises: without a parent, events are as good as outside Airflow."""
    found = None
    if openlineage.is_on():
        try:
            found = parent_of(context)
        except Exception as error:  # noqa: BLE001  no task may fail for it
            log.warning("lineage_without_parent", error=safe_text(error, 300))
    return openlineage.part_of(found)


def parent_of(context: Mapping[str, Any]) -> openlineage.Parent:
    """The run of the task and that of its DAG."""
    from openlineage.client.uuid import generate_static_uuid

    ti, dag_run, namespace = context["ti"], context["dag_run"], _namespace()
    at = dag_run.logical_date or dag_run.run_after

    def run_id(*parts: object) -> str:
        return str(generate_static_uuid(at, ".".join(map(str, (namespace, ti.dag_id, *parts))).encode()))

    return openlineage.Parent(
        namespace=namespace,
        job=f"{ti.dag_id}.{ti.task_id}",
        run_id=run_id(ti.task_id, ti.try_number, ti.map_index if ti.map_index is not None else -1),
        root_job=ti.dag_id,
        root_run_id=run_id(dag_run.clear_number or 0),
    )


def _namespace() -> str:
    """As the provider finds it: Airflow's setting, the client's variable, or `default`."""
    from airflow.configuration import conf

    return conf.get("openlineage", "namespace", fallback="") or os.environ.get("OPENLINEAGE_NAMESPACE") or "default"

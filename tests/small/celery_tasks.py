"""A task of Celery's own for tests of a worker, which Airflow's worker loads by Airflow's option `celery_config_options`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from airflow.providers.celery.executors.default_celery import DEFAULT_CELERY_CONFIG
from celery import shared_task  # type: ignore[import-untyped]

CONFIG: dict[str, Any] = {**DEFAULT_CELERY_CONFIG, "imports": ["small.celery_tasks"]}


@shared_task(name="small.slow")  # type: ignore[untyped-decorator]
def slow(folder: str, seconds: float) -> None:
    """Write `begun` into the folder, and `done` so many seconds later."""
    Path(folder, "begun").touch()
    time.sleep(seconds)
    Path(folder, "done").touch()

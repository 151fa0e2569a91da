"""The DAG file: what Airflow parses to find the DAGs of all assets, and once more in each task for that task's own DAG.

Nothing else belongs here, but that Airflow is told which values its logs must not show: those of a task are written by Airflow,
not by `ops/logging.py`. (Airflow's safe mode wants the word it is looking for in this file.)
"""

from __future__ import annotations

from airflow.sdk import get_parsing_context

from catalunya.assets.graph.discovery import load_graph
from catalunya.dags.build import build_dags
from catalunya.dags.tasks import mask_secrets
from catalunya.io.environment import load_settings

settings = load_settings()
mask_secrets()
globals().update(build_dags(load_graph(settings), settings, only=get_parsing_context().dag_id))

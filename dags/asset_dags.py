"""The DAG file: Airflow parses it to find the DAGs of all assets, and again in each task for that task's DAG.

Besides building the DAGs it only registers the secrets that Airflow must mask: Airflow writes the task logs, not `ops/logging.py`.
(In safe mode, Airflow parses only files that contain the words "airflow" and "dag".)
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

"""Airflow on this machine: start and stop it, call its REST API, run the pipeline on it and show how it goes.

`run` and `up` are what the commands call; `airflow` is a running server as a context manager, for tests too. Not here: the DAGs
(`dags/`), how assets are made (`assets/`). Importing this package does not import Airflow, which runs in processes of its own.
"""

from catalunya.ops.local_airflow.client import Client
from catalunya.ops.local_airflow.runner import run, up
from catalunya.ops.local_airflow.server import Server, airflow

__all__ = ["Client", "Server", "airflow", "run", "up"]

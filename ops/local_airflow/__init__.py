"""Airflow on this machine: starting and stopping it, its REST API, one wave through it, and showing that wave.

`run` and `up` are the commands, `airflow` is the server as a context, for tests too. Not here: the DAGs (`dags/`), what is
made (`assets/`). Importing this loads no Airflow: it runs in processes of its own.
"""

from catalunya.ops.local_airflow.client import Client
from catalunya.ops.local_airflow.commands import run, up
from catalunya.ops.local_airflow.server import Server, airflow

__all__ = ["Client", "Server", "airflow", "run", "up"]

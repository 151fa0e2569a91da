"""Airflow as separate processes: what compose and Dokku start, each process's environment, and health checks.

`catalunya serve` and `catalunya healthy` are the commands. Not here: all of Airflow on one machine (`ops/local_airflow/`). Containers
run their health check every few seconds: importing this package loads next to nothing.
"""

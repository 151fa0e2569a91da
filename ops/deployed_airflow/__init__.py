"""Airflow as separate processes: what compose and Dokku start, what each is told, and whether it is well.

`catalunya serve` and `catalunya healthy` are the commands. Not here: all of Airflow on one machine (`ops/local_airflow/`). Containers ask
for their health every few seconds: importing this loads next to nothing.
"""

"""Backups of a lake, of Airflow's settings and of its database, and restoring them.

Here: where backups are stored, checked and pruned (`store.py`), making one (`make.py`), restoring the lake (`restore.py`), Airflow's
settings (`airflow.py`) and its database (`database.py`). Not here: the commands (`ops/commands/backup.py`) and the DAG (`dags/backup.py`).
"""

"""Backups of a lake and of what Airflow knows besides, and getting things back from them.

Here: what goes into a backup (`snapshot.py`, `records.py`), where it lies (`store.py`), making one (`make.py`), proving it (`check.py`), how
many are kept (`keep.py`), giving a lake its tables back (`restore.py`, `compare.py`, `give_back.py`), and Airflow's part (`airflow.py`,
`set_again.py`). Not here: the commands (`ops/commands/backup.py`, `restore.py`) and the DAG (`dags/backup.py`).
"""

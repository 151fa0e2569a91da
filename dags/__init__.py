"""The DAGs: one per asset, generated from the graph, and `ops.reconcile`, `ops.retention` and `ops.backup`.

This folder is Airflow's `dags_folder`. Airflow parses only `asset_dags.py` (see `.airflowignore`); `build.py` defines the DAGs, `tasks.py`
and `functions.py` their tasks. Not here: how an asset is made (`assets/`), starting Airflow (`ops/local_airflow/`).
"""

"""One DAG per asset, from the graph, `ops.reconcile`, `ops.retention` and `ops.backup`. Airflow's `dags_folder` is this
folder.

`asset_dags.py` is the one file Airflow parses (`.airflowignore` leaves the others out); `build.py` says what the DAGs are,
`tasks.py` what happens in them. Not here: what is made and how (`assets/`), starting Airflow (`ops/local_airflow/`).
"""

"""The DAGs: one per asset, generated from the graph, and those of `ops`.

This folder is Airflow's `dags_folder`. Airflow parses only `asset_dags.py` (see `.airflowignore`); `build.py` defines the DAGs, `tasks.py`,
`functions.py` and `watch.py` their tasks; `plugin/` has the pages in Airflow's UI. Not here: how an asset is made
(`assets/`), starting Airflow (`ops/local_airflow/`).
"""

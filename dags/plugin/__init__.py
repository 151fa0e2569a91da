"""The Airflow plugin: what the ledger knows about each table, as pages inside Airflow's UI. Everything is read-only.

`plugin.py` is what Airflow imports in each of its processes, and imports nothing itself; `app.py` has the routes and who may see them;
`snapshot.py` reads ledger, findings and graph; the `*_page.py` turn that into what a page shows; `rendering.py`, `templates/` and
`static/` into HTML. Not here: what is stale (`assets/record/state.py`), the findings (`ops/watching`).
"""

"""Where the pages are: the parts of addresses that Airflow, the app and the links share.

Here: names, without any import. Not here: building links (`words.py`).
"""

from __future__ import annotations

PREFIX = "/pipeline"
"""Below Airflow's own address. `PREFIX` alone, without a path behind it, is Airflow's."""
NAV, DAG, RUN = "asset-health", "asset", "made-from"
"""The names of the three views in the UI's URLs: `/plugin/asset-health`, `/dags/X/plugin/asset`, `/dags/X/runs/Y/plugin/made-from`."""

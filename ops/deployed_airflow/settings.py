"""What Airflow is told wherever it runs for this project: on one machine (`ops/local_airflow/server.py`) and deployed (`processes.py`).

Here: settings that both share. Not here: addresses, databases, secrets and executors, which are of the one or of the other.
"""

from __future__ import annotations

from pathlib import Path

import catalunya

POOL = "sources"
POOL_SLOTS = 4
POOL_ABOUT = "landing tasks: the sources' rate"
# Tasks at once beside the scheduler. 38 starts at once brought SQLite to its knees; with 4 it never was, and each takes memory.
PARALLELISM = 4


def everywhere() -> dict[str, str]:
    """Airflow's settings as environment variables."""
    told: dict[str, object] = {
        "CORE__DAGS_FOLDER": Path(catalunya.__file__).parent / "dags",
        "CORE__LOAD_EXAMPLES": False,
        "API__MAXIMUM_PAGE_LIMIT": 1000,
        "API__INSTANCE_NAME": "Catalunya Open Data",
        "LOGGING__COLORED_CONSOLE_LOG": False,
    }
    return variables(told)


def variables(told: dict[str, object]) -> dict[str, str]:
    """Settings by section and name, as the environment variables that Airflow reads them from."""
    return {f"AIRFLOW__{name}": str(value) for name, value in told.items()}

"""Adding a source takes one asset file and one contract; adding a mart takes one SQL file and one contract class.

Both are added to a copy of the project, without any other edit: graph, DAGs and dbt include them, and they can be made.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from catalunya.ops.mock import serve
from small.patience import patience

ROOT = Path(__file__).parents[2]
FOLDERS = ("assets", "cdk", "contracts", "io", "dags", "dbt", "ops", "src")

CONTRACT = '''"""Contracts of the day centers source."""

from __future__ import annotations

from catalunya.contracts.model.contract import Contract, LandingContract, column, raw


class RawDayCenters(LandingContract):
    """Users of day centers as the portal publishes them."""

    any: str = raw("Year", required=True)
    codi: str = raw("Code of the comarca", required=True)
    total_centre_de_dia_gent: str = raw("Users")


class DayCenters(Contract):
    """Users of day centers by comarca and year."""

    year: int = column("Year of the count", source=RawDayCenters.any, key=True)
    comarca_id: str = column("Code of the comarca", source=RawDayCenters.codi, key=True)
    users: int = column("Users", source=RawDayCenters.total_centre_de_dia_gent, nullable=True)
'''

ASSET = '''"""Users of day centers, by comarca and year."""

from __future__ import annotations

import polars as pl

from catalunya.assets.graph.spec import Landing, staging
from catalunya.contracts.day_centers import DayCenters, RawDayCenters
from catalunya.io.sources.socrata import Socrata

landing = Landing("day_centers", source=Socrata("yavr-pn8q", key=("any", "codi")), contract=RawDayCenters, schedule="@weekly")


@staging(landing, contract=DayCenters)
def day_centers(raw: pl.LazyFrame) -> pl.LazyFrame:
    """Nothing to add to the contract."""
    return raw
'''

MART = """select year, cast(sum(users) as bigint) as users
from {{ source('staging', 'day_centers') }}
group by year
"""

MART_CONTRACT = '''

class AggDayCenterUsersYearly(Contract):
    """Users of day centers by year."""

    year: int = column("Year of the count", key=True)
    users: int = column("Users in all comarques")
'''

MAKE = """
import json
from catalunya.ops.generate import main
assert main() == 0
from catalunya.assets.making.materialize import materialize
from catalunya.assets.record.project import Project
from catalunya.dags.build import build_dags
project = Project()
made = {asset.key: materialize(project, asset.key).status for asset in project.graph.select("+agg_day_center_users_yearly")}
dags = build_dags(project.graph, project.settings)
print(json.dumps({"made": made, "dags": sorted(dags), "rows": project.ledger.latest("marts.agg_day_center_users_yearly").rows}))
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the project, with one more source and one more mart."""
    root = tmp_path / "copy"
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, root / folder, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "README.md", root)
    (root / "contracts/day_centers.py").write_text(CONTRACT)
    (root / "assets/day_centers.py").write_text(ASSET)
    (root / "dbt/models/marts/aggregates").mkdir(exist_ok=True)
    (root / "dbt/models/marts/aggregates/agg_day_center_users_yearly.sql").write_text(MART)
    marts = root / "contracts/marts.py"
    marts.write_text(marts.read_text() + MART_CONTRACT)
    return root


def test_a_source_and_a_mart_are_added_without_editing_a_list(copy: Path, tmp_path: Path) -> None:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("CATALUNYA_", "AIRFLOW"))},
        "PYTHONPATH": str(copy / "src"),
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "CATALUNYA_LAKE": str(tmp_path / "lake"),
        "CATALUNYA_CACHE": str(tmp_path / "cache"),
    }

    with serve(rows=100) as mock:
        done = subprocess.run(
            [sys.executable, "-c", MAKE],
            cwd=copy,
            env=environment | {"CATALUNYA_MOCK_URL": mock.url},
            capture_output=True,
            text=True,
            check=False,
            timeout=patience(240),
        )
    assert done.returncode == 0, done.stderr[-3000:]
    *generated, last = done.stdout.splitlines()
    assert "dbt/models/staging/_sources.yml" in "".join(generated)
    printed: dict[str, Any] = json.loads(last)
    assert printed["made"] == dict.fromkeys(
        ["landing.day_centers", "staging.day_centers", "marts.agg_day_center_users_yearly"], "materialized"
    )
    assert printed["rows"] == 10
    assert "staging_day_centers --> marts_agg_day_center_users_yearly" in (copy / "README.md").read_text()
    assert {"landing.day_centers", "staging.day_centers", "marts.agg_day_center_users_yearly"} <= set(printed["dags"])

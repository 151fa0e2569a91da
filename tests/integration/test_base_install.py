"""The base install is what a Lambda carries: no Airflow, no dbt, no DuckDB, no pyarrow, no pandas, and small enough.

It is installed alone into a folder, and landing -> staging runs with that folder as its only path.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from catalunya.ops.mock import serve

ROOT = Path(__file__).parents[2]
LIMIT_MB = 230  # unzipped, without boto3, which the Lambda runtime has; Lambda's limit is 250

RUN = """
import json, sys
from catalunya.assets.making.materialize import materialize
from catalunya.assets.record.project import Project
project = Project()
made = {asset.key: materialize(project, asset.key).status for asset in project.graph}
heavy = {"airflow", "dbt", "duckdb", "pandas", "pyarrow", "boto3"} & {name.partition(".")[0] for name in sys.modules}
print(json.dumps({"made": made, "heavy": sorted(heavy)}))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with only the base install: our wheel and its dependencies at the locked versions."""
    folder = tmp_path_factory.mktemp("base")
    wheels, target = folder / "wheels", folder / "site"
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(wheels)]
    subprocess.run(build, check=True, cwd=ROOT, capture_output=True)
    uv = Path(sys.executable).with_name("uv")
    install = [uv, "pip", "install", "--quiet", "--constraint", ROOT / "requirements.lock", "--target", target]
    subprocess.run([*install, *wheels.glob("*.whl")], check=True, cwd=folder)
    return target


def test_the_base_install_fits_a_lambda(installed: Path) -> None:
    size = sum(
        file.stat().st_size for file in installed.rglob("*") if file.is_file() and "__pycache__" not in file.parts
    )
    assert size / 1e6 <= LIMIT_MB
    names = {folder.name for folder in installed.iterdir()}
    assert not names & {"airflow", "dbt", "duckdb", "pandas", "pyarrow", "boto3", "numpy"}


def test_the_wheel_has_the_pages_of_the_plugin_and_its_entry_point(installed: Path) -> None:
    def pages(folder: Path) -> set[str]:
        return {f"{kind}/{file.name}" for kind in ("templates", "static") for file in (folder / kind).iterdir()}

    assert pages(installed / "catalunya/dags/plugin") == pages(ROOT / "dags/plugin") > {"templates/asset.html"}
    (points,) = installed.glob("catalunya-*.dist-info/entry_points.txt")
    assert "[airflow.plugins]\ncatalunya = catalunya.dags.plugin.plugin:CatalunyaPlugin" in points.read_text()


def test_the_base_install_alone_takes_a_source_from_landing_to_staging(installed: Path, tmp_path: Path) -> None:
    with serve(rows=200) as mock:
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(installed),
            "CATALUNYA_LAKE": str(tmp_path / "lake"),
            "CATALUNYA_CACHE": str(tmp_path / "cache"),
            "CATALUNYA_MOCK_URL": mock.url,
        }
        # -S: without site, so that none of this environment's packages are found.
        done = subprocess.run(
            [sys.executable, "-S", "-c", RUN],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-2000:]
    printed = json.loads(done.stdout.splitlines()[-1])
    assert printed["heavy"] == []
    assert set(printed["made"].values()) == {"materialized"}
    assert {"landing.municipalities", "staging.social_services"} <= printed["made"].keys()
    assert not [key for key in printed["made"] if key.startswith("marts.")], "marts need dbt"

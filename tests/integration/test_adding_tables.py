"""A source and a mart are added by a command each, to a copy of the project, with no other edit.

Graph, DAGs, dbt and the mock include them, they can be made, and none of the project's own tests breaks.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from catalunya.assets.graph.discovery import compiled_graph
from catalunya.io.environment import load_settings
from small.checkout import copy_code
from small.commands import COMMAND
from small.patience import patience

ROOT = Path(__file__).parents[2]
COPIED = ("assets", "cdk", "contracts", "io", "dags", "dbt", "docs", "ops", "portal", "src", "tests")
FILES = ("README.md", "pyproject.toml", "Makefile")
# Of the fast part of `make test`: those that read the graph of the project, its contracts or what is generated from them.
TESTS = ("test_graph_document.py", "test_derive.py", "test_readme.py")

VIEW = {
    "id": "zq9x-7hbt",
    "name": 'Punts de recàrrega, "oberts"',
    "description": "Charging points of the municipalities.",
    "attribution": "Institut d'exemple",
    "license": {"name": "CC0 1.0"},
    "rowsUpdatedAt": 1770000000,
    "columns": [
        {"id": 1, "fieldName": "any", "dataTypeName": "text", "name": "Any"},
        {"id": 2, "fieldName": "codi", "dataTypeName": "text", "name": "Codi", "description": 'Code of "the" comarca'},
        {"id": 3, "fieldName": "punts", "dataTypeName": "number", "name": "Punts"},
        {"id": 4, "fieldName": "description", "dataTypeName": "text", "name": "Description"},
        {"id": 5, "fieldName": "telefon", "dataTypeName": "text", "name": "Telèfon"},
        {"id": 6, "fieldName": "avis", "dataTypeName": "url", "name": "Avís"},
    ],
}
ROWS = [
    {
        "any": str(year),
        "codi": f"{code:02}",
        "punts": str(code * 3),
        "description": "x",
        "telefon": f"93 555 {code:02} {year % 100}",
        "avis": {"url": f"mailto:c{code}.{year}@example.org"},
    }
    for year in (2022, 2023, 2024)
    for code in range(1, 42)
]

MAKE = """
import gc, json, os
gc.set_threshold(200_000, 20, 20)  # as for a command
from catalunya.assets.making.materialize import materialize
from catalunya.assets.record.project import Project
from catalunya.io.environment import load_settings
from catalunya.ops.mock import serve
with serve(rows=100) as mock:
    project = Project(load_settings(mock_url=mock.url))
    made = {asset.key: materialize(project, asset.key).status for asset in project.graph.select("+agg_charging")}
print(json.dumps({"made": made, "rows": project.ledger.latest("marts.agg_charging").rows}), flush=True)
os._exit(0)  # leaves the garbage of dbt and DuckDB
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the project."""
    root = tmp_path / "copy"
    for folder in COPIED:
        copy_code(ROOT / folder, root / folder)
    for name in FILES:
        shutil.copy(ROOT / name, root)
    return root


@pytest.fixture
def environment(copy: Path, compiled: Path, tmp_path: Path) -> Mapping[str, str]:
    """The environment of commands in the copy. Its cache has the graph before anything was added."""
    shutil.copytree(compiled, tmp_path / "cache")
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("CATALUNYA_", "AIRFLOW"))},
        "PYTHONPATH": str(copy / "src"),
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "CATALUNYA_LAKE": str(tmp_path / "lake"),
        "CATALUNYA_CACHE": str(tmp_path / "cache"),
    }


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Saved answers of a portal, of a dataset that the mock does not know."""
    folder = tmp_path / "saved"
    folder.mkdir()
    (folder / "charging.zq9x-7hbt.view.json").write_text(json.dumps(VIEW))
    (folder / "charging.zq9x-7hbt.rows.json").write_text(json.dumps(ROWS))
    return folder


def test_a_source_and_a_mart_are_added_by_a_command_each(
    copy: Path, environment: Mapping[str, str], saved: Path
) -> None:
    def start(*arguments: str) -> subprocess.Popen[str]:
        streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen([*arguments], cwd=copy, env=environment, **streams)

    def done(running: subprocess.Popen[str]) -> str:
        out, err = running.communicate(timeout=patience(240))
        assert running.returncode == 0, f"{out[-3000:]}\n{err[-3000:]}"
        return out

    from catalunya.dags.build import build_dags

    command, python = (COMMAND, "new"), sys.executable
    made = json.loads(
        done(start(*command, "source", "zq9x-7hbt", "--name", "charging", "--from", str(saved), "--json"))
    )
    assert [each.partition(" data")[0] for each in made["to_decide"]] == [
        "telefon: may be personal",
        "avis: may be personal",
    ]
    assert [each["column"] for each in made["columns"] if each["key"]] == ["year", "code"]
    sample = b"".join(path.read_bytes() for path in (copy / "assets/samples/charging").iterdir())
    assert (b"93 555" in sample, b"@example.org" in sample) == (False, False)

    said = done(start(*command, "mart", "agg_charging", "--reads", "staging.charging"))
    assert "next: edit dbt/models/marts/aggregates/agg_charging.sql, then catalunya try marts.agg_charging" in said
    lint = [
        start(python, "-m", "ruff", *each)
        for each in (["check", "--no-cache", "."], ["format", "--no-cache", "--check", "."])
    ]
    imports = start(str(Path(COMMAND).with_name("lint-imports")), "--no-cache")
    tests = start(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(f"tests/unit/{name}" for name in TESTS))
    printed: dict[str, Any] = json.loads(done(start(python, "-c", MAKE)).splitlines()[-1])
    tables = ["landing.charging", "staging.charging", "marts.agg_charging"]
    assert printed["made"] == dict.fromkeys(tables, "materialized")
    assert printed["rows"] == len(ROWS)
    graph = compiled_graph(load_settings(cache=environment["CATALUNYA_CACHE"]))
    assert graph
    assert set(tables) <= set(build_dags(graph, load_settings()))
    assert "staging_charging --> marts_agg_charging" in (copy / "README.md").read_text()
    for each in (*lint, imports, tests):
        done(each)


def test_a_source_that_cannot_be_generated_from_leaves_nothing_behind(
    copy: Path, environment: Mapping[str, str], saved: Path
) -> None:
    (copy / "assets/broken.py").write_text("raise RuntimeError('not finished yet')\n")
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file() and "__pycache__" not in path.parts}

    done = subprocess.run(
        [
            COMMAND,
            "new",
            "source",
            "zq9x-7hbt",
            "--name",
            "charging",
            "--from",
            str(saved),
        ],
        cwd=copy,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=patience(120),
    )
    assert done.returncode != 0
    assert "not finished yet" in done.stderr
    assert before == {
        path: path.read_bytes() for path in copy.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    }

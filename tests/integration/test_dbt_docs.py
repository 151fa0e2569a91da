"""dbt's documentation is built offline, and describes every mart as its contract does."""

from __future__ import annotations

import json
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from catalunya.assets.graph.discovery import load_graph, mart_contracts
from catalunya.assets.graph.spec import Layer
from catalunya.io.environment import Settings, load_settings
from catalunya.io.errors import WarehouseError
from catalunya.io.lake import Lake
from catalunya.io.project_folder import OURS
from catalunya.io.warehouse.dbt import load_project
from catalunya.io.warehouse.relation import SQL_TYPES
from catalunya.ops.docs import upload, write

ROOT = Path(__file__).parents[2]

# An Airflow task ends like this: without Python's own shutdown, which would close what is left open.
BUILD_AND_EXIT = """
import gc, os, sys, tempfile
gc.set_threshold(200_000, 20, 20)  # as for a command
from pathlib import Path
from catalunya.io.environment import load_settings
from small.warehouse import Warehouse

with tempfile.TemporaryDirectory() as folder:
    warehouse = Warehouse(Path(folder), load_settings())
    warehouse.write_all()
    rows = [warehouse.build("dim_time").height for _ in range(2)]
print(rows[0] == rows[1], flush=True)
os._exit(0)
"""


@pytest.fixture(scope="module")
def settings(compiled: Path) -> Settings:
    """Settings whose cache holds dbt's parsed project."""
    return load_settings(cache=compiled)


@pytest.fixture(scope="module")
def page(settings: Settings) -> Path:
    """The documentation's page, built once."""
    return write(settings)


@pytest.fixture(scope="module")
def manifest(page: Path) -> list[dict[str, Any]]:
    """The nodes of dbt's manifest: models, seeds and tests."""
    return list(json.loads(page.with_name("manifest.json").read_text())["nodes"].values())


@pytest.fixture(scope="module")
def models(manifest: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What the manifest says of each model, by name."""
    return {node["name"]: node for node in manifest if node["resource_type"] == "model"}


def test_the_page_is_one_file_with_every_table(page: Path, settings: Settings) -> None:
    text = page.read_text(encoding="utf-8")
    for asset in load_graph(settings):
        if asset.layer is not Layer.LANDING:
            assert asset.name in text
    assert not list(page.parent.glob("*.duckdb"))


def test_every_mart_is_described_and_its_contract_enforced(models: dict[str, dict[str, Any]]) -> None:
    assert models.keys() == mart_contracts().keys()
    for name, contract in mart_contracts().items():
        node = models[name]
        assert node["description"] == contract.description()
        assert node["config"]["contract"]["enforced"], name
        declared = {n: (c["data_type"], c["description"]) for n, c in node["columns"].items()}
        assert declared == {c.name: (SQL_TYPES[c.type], c.description) for c in contract.columns()}


def test_the_catalog_has_the_columns_and_types_that_the_models_produce(page: Path) -> None:
    catalog = json.loads(page.with_name("catalog.json").read_text())
    assert not catalog["errors"]
    tables = {key.rpartition(".")[2]: table for key, table in catalog["nodes"].items()}
    assert tables.keys() == mart_contracts().keys() | {path.stem for path in (OURS / "dbt" / "seeds").glob("*.csv")}
    for name, contract in mart_contracts().items():
        made = {column["name"]: column["type"].lower() for column in tables[name]["columns"].values()}
        assert made == {column.name: SQL_TYPES[column.type] for column in contract.columns()}, name


def test_every_constraint_of_a_column_that_concerns_no_other_table_is_a_dbt_test(
    manifest: list[dict[str, Any]],
) -> None:
    tests = {
        (test["attached_node"].rpartition(".")[2], test["column_name"], test["test_metadata"]["name"])
        for test in manifest
        if test["resource_type"] == "test" and test.get("attached_node")
    }
    for name, contract in mart_contracts().items():
        for column in contract.columns():
            assert column.nullable or (name, column.name, "not_null") in tests
            assert not column.accepted or (name, column.name, "accepted_values") in tests
        key = (name, contract.key()[0], "unique") if len(contract.key()) == 1 else (name, None, "unique_together")
        assert key in tests


def test_an_upload_puts_the_page_and_dbts_artifacts_into_the_lake(page: Path, tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    urls = list(upload(load_settings(lake=lake.root), page))
    assert [found.path for found in lake.objects("")] == ["_dbt/catalog.json", "_dbt/index.html", "_dbt/manifest.json"]
    assert urls == [lake.url(found.path) for found in lake.objects("")]
    assert lake.get("_dbt/index.html") == page.read_bytes()


def test_a_model_with_another_type_than_its_contract_is_not_built(settings: Settings, tmp_path: Path) -> None:
    project = deepcopy(load_project(settings))
    columns = project._manifest.nodes["model.catalunya.dim_time"].columns
    columns["month_number"].data_type = "varchar"
    outcomes = project.build(
        "dim_time", variables={"as_of": "2026-08-03", "warehouse": str(tmp_path / "warehouse.duckdb")}, folder=tmp_path
    )
    model = next(outcome for outcome in outcomes if outcome.kind == "model")
    assert model.failed
    assert "month_number is BIGINT, the contract says VARCHAR" in model.message


def test_docs_that_cannot_be_built_name_the_failing_model(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(
        WarehouseError,
        match=r"dbt build --empty .*: expected every model to build, found \w+: .*staging.* does not exist.*; fix it",
    ):
        load_project(settings).docs(
            variables={"as_of": "2026-08-03", "warehouse": str(tmp_path / "warehouse.duckdb")}, folder=tmp_path
        )


def test_a_process_that_exits_after_a_build_leaks_nothing(settings: Settings) -> None:
    environment = {"PYTHONPATH": str(ROOT / "tests"), "CATALUNYA_CACHE": str(settings.cache.resolve())}
    command = [sys.executable, "-c", BUILD_AND_EXIT]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout.splitlines()[-1:] == ["True"], done.stderr[-2000:]
    assert "leaked" not in done.stderr

"""Warehouses to build marts in. dbt parses the project once for all tests, and the dimensions are built once."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import pytest

from catalunya.io.environment import Settings, load_settings
from catalunya.io.warehouse.relation import Relation
from small.once import once
from small.warehouse import Warehouse, import_dbt

TABLES = "tables.pickle"


@pytest.fixture(scope="session")
def settings(compiled: Path) -> Settings:
    """Settings with a cache shared by all tests, which contains dbt's parsed project."""
    import_dbt()
    return load_settings(env="local", cache=compiled)


@pytest.fixture
def warehouse(tmp_path: Path, settings: Settings) -> Warehouse:
    """The staging tables, without marts."""
    made = Warehouse(tmp_path, settings)
    made.write_all()
    return made


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> Mapping[str, Relation]:
    """The staging tables and the dimensions, built on 2026-08-03."""

    def make(folder: Path) -> None:
        made = Warehouse(folder, settings)
        made.write_all()
        for name in ("dim_time", "dim_municipalities", "dim_economic_sectors"):
            made.build(name)
        (folder / TABLES).write_bytes(pickle.dumps(made.tables))

    tables: dict[str, Relation] = pickle.loads((once(tmp_path_factory, "dims", make) / TABLES).read_bytes())
    return tables


@pytest.fixture
def dims(tmp_path: Path, settings: Settings, built: Mapping[str, Relation]) -> Warehouse:
    """A new warehouse with the staging tables and the dimensions, ready for the facts."""
    return Warehouse(tmp_path, settings, dict(built))

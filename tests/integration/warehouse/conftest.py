"""Warehouses to build marts in. dbt parses once for all tests, and the dimensions that facts need are built once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from catalunya.io.environment import Settings, load_settings
from catalunya.io.warehouse import Relation
from small.warehouse import Warehouse


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings whose cache all tests share."""
    return load_settings(env="local", cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture
def warehouse(tmp_path: Path, settings: Settings) -> Warehouse:
    """The staging tables, no mart yet."""
    made = Warehouse(tmp_path, settings)
    made.write_all()
    return made


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> Mapping[str, Relation]:
    """The staging tables and the dimensions, built on 2026-08-03."""
    made = Warehouse(tmp_path_factory.mktemp("dims"), settings)
    made.write_all()
    for name in ("dim_time", "dim_municipalities", "dim_economic_sectors"):
        made.build(name)
    return made.tables


@pytest.fixture
def dims(tmp_path: Path, settings: Settings, built: Mapping[str, Relation]) -> Warehouse:
    """A warehouse of its own with those tables, ready for the facts."""
    return Warehouse(tmp_path, settings, dict(built))

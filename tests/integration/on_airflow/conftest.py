"""One Airflow for all tests of this folder: its start takes as long as three tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from small.entry_point import python_path
from small.field import Field, on_airflow

# One chain from a source to the marts that end it, with marts made from a mart, is not made yet. Everything else that it reads is.
CHAIN = (
    "landing.gdp",
    "staging.gdp",
    "marts.dim_economic_sectors",
    "marts.fact_gdp_quarterly",
    "marts.agg_economic_indicators_quarterly",
)


@pytest.fixture(scope="package")
def shared_field(tmp_path_factory: pytest.TempPathFactory, compiled: Path, made: Path) -> Iterator[Field]:
    """The Airflow, which finds our plugin, on a lake in which CHAIN is not made. Tests take `field`."""
    folder = tmp_path_factory.mktemp("airflow")
    shutil.copytree(made, folder / "lake")
    for key in CHAIN:
        shutil.rmtree(folder / "lake" / "_ledger" / key.replace(".", "/"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", python_path(folder / "metadata"))
        with on_airflow(folder, compiled) as field:
            field.pause_pages(True)
            yield field


@pytest.fixture
def field(shared_field: Field) -> Field:
    """The shared Airflow, at rest and without faults, whatever the test before did."""
    shared_field.rest()
    return shared_field

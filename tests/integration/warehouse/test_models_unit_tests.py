"""The unit tests of the models. They test the SQL, so they run here, all at once, and not whenever a mart is made."""

from __future__ import annotations

import pytest
import yaml

from catalunya.assets.graph.discovery import contracts, mart_contracts
from catalunya.contracts.model.contract import Contract
from catalunya.io.environment import Settings
from catalunya.io.project_folder import OURS
from catalunya.io.warehouse.build import run_unit_tests
from catalunya.io.warehouse.dbt import Outcome
from catalunya.io.warehouse.relation import Relation


def staging_contracts() -> dict[str, type[Contract]]:
    """The contract of every staging table by its name."""
    return {key.partition(".")[2]: contract for key, contract in contracts().items() if key.startswith("staging.")}


@pytest.fixture(scope="module")
def outcomes(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> list[Outcome]:
    """The outcome of each unit test."""
    sources = [
        Relation("staging", name, {column.name: column.type for column in contract.columns()}, files=())
        for name, contract in staging_contracts().items()
    ]
    scratch = tmp_path_factory.mktemp("unit-tests")
    return run_unit_tests(sources, variables={"as_of": "2026-08-03"}, settings=settings, scratch=scratch)


def test_every_unit_test_of_the_models_passes(outcomes: list[Outcome]) -> None:
    failed = {outcome.name: outcome.message for outcome in outcomes if outcome.status != "pass"}
    assert not failed
    assert {outcome.kind for outcome in outcomes} == {"unit_test"}


def test_every_mart_has_unit_tests() -> None:
    files = (OURS / "dbt" / "models").rglob("*_unit_tests.yml")
    declared = [test for file in files for test in yaml.safe_load(file.read_text())["unit_tests"]]
    assert {test["model"] for test in declared} == mart_contracts().keys()

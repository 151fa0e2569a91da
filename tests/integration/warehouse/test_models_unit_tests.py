"""The unit tests of the models, which say whether their SQL is right: run here, all at once, and not whenever a mart is made."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from catalunya.assets.marts import contracts
from catalunya.io.dbt_project import Outcome, load_project
from catalunya.io.environment import Settings
from catalunya.io.warehouse import Relation, run_unit_tests
from small.warehouse import STAGING

ROOT = Path(__file__).parents[3]
RUN = """
import sys
from pathlib import Path
from catalunya.contracts.base import Contract
from catalunya.io.environment import load_settings
from catalunya.io.warehouse import Relation, run_unit_tests
from small.warehouse import STAGING

folder = Path(sys.argv[1])
sources = [Relation("staging", n, {c.name: c.type for c in k.columns()}, files=()) for n, k in STAGING.items()]
settings = load_settings(env="local", cache=folder / "cache")
for ran in run_unit_tests(sources, variables={"as_of": "2026-08-03"}, settings=settings, scratch=folder):
    if ran.failed:
        print(ran.name, ran.message)
"""


@pytest.fixture(scope="module")
def outcomes(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> list[Outcome]:
    """How each unit test went."""
    sources = [
        Relation("staging", name, {column.name: column.type for column in contract.columns()}, files=())
        for name, contract in STAGING.items()
    ]
    scratch = tmp_path_factory.mktemp("unit-tests")
    return run_unit_tests(sources, variables={"as_of": "2026-08-03"}, settings=settings, scratch=scratch)


def test_every_unit_test_of_the_models_passes(outcomes: list[Outcome]) -> None:
    failed = {outcome.name: outcome.message for outcome in outcomes if outcome.status != "pass"}
    assert not failed
    assert {outcome.kind for outcome in outcomes} == {"unit_test"}


def test_every_mart_has_unit_tests(settings: Settings) -> None:
    tested = {test.model for test in load_project(settings).manifest.unit_tests.values()}
    assert tested == contracts().keys()


def test_a_wrong_calculation_fails_a_unit_test_with_what_differs(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    for folder in ("src", "assets", "contracts", "io", "dbt"):
        shutil.copytree(ROOT / folder, copy / folder, symlinks=True)
    model = copy / "dbt/models/marts/dimensions/dim_time.sql"
    model.write_text(model.read_text().replace("when 3 then 'març'", "when 3 then 'marzo'"))
    environment = {"PYTHONPATH": f"{copy / 'src'}:{ROOT / 'tests'}"}
    command = [sys.executable, "-c", RUN, str(tmp_path)]
    ran = subprocess.run(command, env=environment, cwd=copy, capture_output=True, text=True, check=True)
    (said,) = ran.stdout.splitlines()
    assert said.startswith("months_have_names_in_three_languages")
    assert "març" in said
    assert "marzo" in said

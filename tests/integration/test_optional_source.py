"""The GDP marts while the API of employment does not answer, and after it answers again, on dbt and DuckDB."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from catalunya.assets.making.plan import plan
from catalunya.assets.making.request import Request
from catalunya.assets.record.paths import scan_table
from catalunya.assets.record.project import Project
from catalunya.assets.record.verify import verify
from catalunya.io.environment import load_settings
from catalunya.io.sources.idescat import Idescat
from catalunya.ops.mock import serve
from catalunya.ops.mock.server import MockServer
from catalunya.ops.plan_run import PlanRun, Result
from catalunya.ops.status import statuses

SECTORS, GDP, INDICATORS = (
    "marts.dim_economic_sectors",
    "marts.fact_gdp_quarterly",
    "marts.agg_economic_indicators_quarterly",
)
JOBS = ["jobs", "known_jobs", "jobs_known_ratio", "jobs_per_thousand_people", "employment_classification"]


class Case:
    """A copy of the lake in which everything was made, without employment and what reads it, and the mock."""

    def __init__(self, project: Project, mock: MockServer) -> None:
        self.project, self.mock = project, mock

    def employment_is_down(self) -> None:
        source = self.project.declarations["landing.employment"].source  # type: ignore[union-attr]
        assert isinstance(source, Idescat)
        self.mock.faults(*(f"error-503:{table}" for table in source.tables))

    def run(self) -> dict[str, Result]:
        """Make everything that the indicators are made from, as `catalunya materialize` does."""
        steps = plan(self.project.state(), self.project.graph.select(f"+{INDICATORS}"))
        return {found.asset: found for found in PlanRun(self.project, steps, request=lambda _: Request()).run()}

    def table(self, key: str) -> pl.DataFrame:
        entry = self.project.ledger.latest(key)
        assert entry
        return scan_table(self.project.lake, self.project.graph[key], entry).collect()


@pytest.fixture
def case(made: Path, compiled: Path, tmp_path: Path) -> Iterator[Case]:
    lake = Path(shutil.copytree(made, tmp_path / "lake"))
    with serve(rows=300) as mock:
        apis = {"mock_url": mock.url, "http_attempts": 1}
        project = Project(load_settings(env="local", lake=str(lake), cache=compiled, **apis))
        for key in ("landing.employment", "staging.employment", SECTORS, GDP, INDICATORS):
            shutil.rmtree(lake / project.ledger.folder(key))
            shutil.rmtree(lake / project.graph[key].prefix, ignore_errors=True)
        yield Case(project, mock)


def test_the_gdp_marts_are_made_without_employment_and_again_when_it_is_there(case: Case, made: Path) -> None:
    case.employment_is_down()
    results = case.run()
    assert {key for key, found in results.items() if found.status == "failed"} == {"landing.employment"}
    assert {results[key].status for key in (SECTORS, GDP, INDICATORS)} == {"materialized"}
    assert results[GDP].why == "it has never been made; made without staging.employment"

    indicators = case.table(INDICATORS)
    assert indicators.height
    assert set(indicators["employment_classification"].to_list()) == {None}
    assert all(indicators[name].null_count() == indicators.height for name in JOBS)
    assert indicators["gdp_eur_millions"].null_count() < indicators.height
    assert case.table(SECTORS)["classification"].unique().to_list() == ["GDP"]
    entry = case.project.ledger.latest(SECTORS)
    assert entry
    assert "staging.employment" not in entry.versions
    gaps = {one.asset: one.without for one in statuses(case.project.state(), case.project.graph) if one.without}
    assert gaps == dict.fromkeys((SECTORS, GDP, INDICATORS), ("staging.employment",))
    assert verify(case.project).findings == []
    assert case.run()["landing.employment"].status == "failed"
    assert case.project.ledger.latest(SECTORS) == entry, "nothing new, nothing done"

    case.mock.faults()
    again = case.run()
    assert {found.status for found in again.values()} <= {"materialized", "skipped"}
    assert again[SECTORS].status == again[INDICATORS].status == "materialized"
    assert not any(one.without for one in statuses(case.project.state(), case.project.graph))
    whole = Project(load_settings(env="local", lake=str(made), cache=case.project.settings.cache))
    for key in (SECTORS, GDP, INDICATORS):
        entry = whole.ledger.latest(key)
        assert entry
        expected = scan_table(whole.lake, whole.graph[key], entry).collect()
        assert case.table(key).sort(pl.all()).equals(expected.sort(pl.all())), key

"""A field of a source that is gone or has another type: the finding names the columns that are made from it, down to the marts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from catalunya.assets.graph.discovery import load_graph
from catalunya.assets.graph.graph import AssetGraph
from catalunya.assets.making.materialize import materialize
from catalunya.assets.making.source_check import check_sources
from catalunya.assets.record.project import Project
from catalunya.assets.record.source_checks import keep
from catalunya.contracts.model.check import FieldDrift
from catalunya.io.environment import load_settings
from catalunya.io.errors import ContractError
from catalunya.ops import mock
from catalunya.ops.mock.server import MockServer
from catalunya.ops.watching.breaking import broken
from catalunya.ops.watching.findings import Finding, Kind, Severity
from catalunya.ops.watching.look import look


@pytest.fixture
def graph(compiled: Path) -> AssetGraph:
    return load_graph(load_settings(cache=compiled))


def test_a_field_that_is_gone_names_its_columns_and_the_tables_whose_rows_it_decides(graph: AssetGraph) -> None:
    hit = broken(graph, graph["landing.gdp"], [str(FieldDrift(missing=("value",), new={"valor": "number"}))])
    assert hit
    assert (hit.gone, hit.retyped, hit.what) == (("value",), (), "value is gone")
    assert hit.columns[:2] == ("staging.gdp.figure", "staging.gdp.observation_status")
    assert "marts.agg_economic_indicators_quarterly.gdp_share_pct" in hit.columns
    assert hit.tables == (
        "marts.agg_economic_indicators_quarterly",
        "marts.fact_gdp_quarterly",
        "staging.gdp",
    )
    assert "and 5 more; it decides which rows there are in marts.fact_gdp_quarterly" in hit.text


def test_a_retyped_field_is_found_in_drift_in_the_message_of_a_failure_and_from_a_staging_table(
    graph: AssetGraph,
) -> None:
    drift = str(FieldDrift(retyped={"capacitat": ("number", "text")}))
    message = f"the source's fields do not match RawSocialServices: {drift}. Nothing was published; if the source"
    for key, text in (
        ("landing.social_services", drift),
        ("landing.social_services", message),
        ("staging.social_services", "capacitat was number, is a JSON boolean in 3 rows"),
    ):
        hit = broken(graph, graph[key], [text])
        assert hit
        assert hit.what == "the type of capacitat changed"
        assert hit.columns[0] == "staging.social_services.capacity_places"
        assert "marts.fact_service_usage_daily.occupancy_ratio" in hit.columns


@pytest.mark.parametrize("drift", ["new registre2", "missing telefon", "missing elsewhere", "a was b, is c", ""])
def test_a_field_that_no_column_is_made_from_breaks_nothing(graph: AssetGraph, drift: str) -> None:
    assert broken(graph, graph["landing.social_services"], [drift]) is None


@pytest.fixture
def project(tmp_path: Path, compiled: Path) -> Iterator[tuple[Project, MockServer]]:
    with mock.serve(rows=120) as apis:
        settings = load_settings(
            env="local", lake=str(tmp_path / "lake"), cache=compiled, mock_url=apis.url, http_attempts=1
        )
        project = Project(settings)
        materialize(project, "landing.service_usage")
        yield project, apis


def findings(project: Project, now: datetime | None = None) -> dict[str, Finding]:
    now = now or datetime.now(UTC)
    return {each.identity: each for each in look(project, now).board.open if each.subject in project.graph}


@pytest.mark.parametrize("fault", ["missing-column", "renamed-column"])
def test_the_check_of_a_source_warns_of_consumers_before_anything_is_landed(
    project: tuple[Project, MockServer], fault: str
) -> None:
    found, apis = project
    apis.faults(f"{fault}:yavr-pn8q:column=total_centre_de_dia_gent")
    (check,) = check_sources(found, ["landing.service_usage"])
    keep(found.lake, check)
    seen = findings(found)["contract_breaking:landing.service_usage"]
    assert seen.severity is Severity.WARNING
    assert seen.what == "the source of landing.service_usage has changed: total_centre_de_dia_gent is gone"
    assert "staging.service_usage.day_centre_users, marts.fact_service_usage_daily.users" in seen.cause
    assert seen.affected == ("marts.fact_service_usage_daily", "staging.service_usage")
    assert "`catalunya sources check landing.service_usage`" in seen.remedy


def test_a_landing_that_fails_for_a_field_says_which_columns_it_concerns(project: tuple[Project, MockServer]) -> None:
    found, apis = project
    apis.advance("yavr-pn8q")
    apis.faults("missing-column:yavr-pn8q:column=any")
    with pytest.raises(ContractError):
        materialize(found, "landing.service_usage")
    seen = findings(found)["table_failed:landing.service_usage"]
    assert seen.what == "landing.service_usage could not be made: in its source, any is gone"
    assert "made from it: staging.service_usage.year, marts.fact_service_usage_daily.users_year" in seen.cause
    assert set(findings(found)) == {"table_failed:landing.service_usage"}


def test_recorded_drift_of_an_optional_field_is_about_the_columns_that_become_empty(
    project: tuple[Project, MockServer],
) -> None:
    found, _ = project
    entry = found.ledger.latest("landing.service_usage")
    assert entry
    later = replace(
        entry, drift=str(FieldDrift(missing=("homes_total",))), started_at=entry.started_at + timedelta(seconds=1)
    )
    found.ledger.append(later, after=entry.sequence)
    seen = findings(found)["contract_breaking:landing.service_usage"]
    assert "made from it: staging.service_usage.total_men" in seen.cause
    assert Kind.DRIFT not in {each.kind for each in findings(found).values()}

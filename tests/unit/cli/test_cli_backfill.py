"""The command `backfill`: what is planned, what is made, and its errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from catalunya.ops.mock.server import MockServer
from small.commands import Run

HALF_YEARS = ("backfill", "population", "--from", "2014", "--to", "2015")
TABLES = ["landing.population", "staging.population"]


def versions(run: Run) -> dict[str, str]:
    """The content of each object of staging.population, by path."""
    entries = json.loads(run("history", "staging.population", "--json").out)
    return {stored["path"]: stored["sha256"] for stored in entries[0]["objects"]}


def test_a_dry_run_shows_the_source_and_everything_downstream(run: Run, filled: Path) -> None:
    shown = json.loads(run(*HALF_YEARS, "--dry-run", "--json").out)
    assert [(step["asset"], step["reason"]) for step in shown][:2] == [
        ("landing.population", "BACKFILL"),
        ("staging.population", "UPSTREAM"),
    ]
    assert {step["asset"] for step in shown} > {*TABLES, "marts.fact_population_monthly"}
    assert shown[0]["why"] == "backfill from 2014-01-01 to 2015-12-31"


def test_only_the_requested_years_are_made_again(run: Run, apis: MockServer, filled: Path) -> None:
    before = versions(run)
    apis.advance("ep/9122/10002/mun")
    apis.clear_requests()
    ran = run("backfill", "population", "--from", "2025", "--to", "2025")
    assert f"materialized {TABLES[0]}" in ran.out
    assert f"materialized {TABLES[1]}" in ran.out
    after = versions(run)
    assert {path for path in after if before.get(path) != after[path]} == {
        "staging/population/year_id=2025/file.parquet"
    }
    asked = [each.query for each in apis.requests if each.target == "rows"]
    assert asked
    assert all("2025S1" in query and "2024" not in query for query in asked)
    assert "BACKFILL" in run("history", "landing.population").out
    assert "only from 2025-01-01 to 2025-12-31" in run("history", "landing.population").out


def test_a_landed_batch_that_was_not_used_yet_is_used_first(run: Run, apis: MockServer, filled: Path) -> None:
    apis.advance("ep/9122/10002/mun")
    run("materialize", "landing.population")
    shown = json.loads(run(*HALF_YEARS, "--dry-run", "--json").out)
    assert [(step["asset"], step["reason"]) for step in shown][:3] == [
        ("staging.population", "DATA"),
        ("landing.population", "BACKFILL"),
        ("staging.population", "UPSTREAM"),
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("backfill", "population"), "catalunya backfill population --from 2014 --to 2020"),
        (("backfill", "--from", "2014"), "backfill requires sources and periods"),
        (("backfill", "population", "--from", "2015", "--to", "2014"), "found 2015 to 2014"),
        (("backfill", "population", "--from", "yesterday"), "a quarter (2014-Q3)"),
        (("backfill", "social_services", "--from", "2014"), "catalunya materialize landing.social_services --force"),
        (("backfill", "fact_population_monthly", "--from", "2014"), "catalunya backfill landing.population"),
    ],
)
def test_an_impossible_backfill_is_one_line_with_what_to_do(run: Run, arguments: tuple[str, ...], message: str) -> None:
    ran = run(*arguments)
    assert ran.code == 2
    assert message in ran.err
    assert ran.err.count("\n") == 1


def test_a_period_that_the_source_lacks_is_an_error_with_those_it_has(run: Run, filled: Path) -> None:
    ran = run("backfill", "population", "--from", "2050")
    assert ran.code == 1
    assert "only 2012S1 to 2025S2" in ran.out

"""GDP, sectors and jobs, built by dbt: revisions are kept, and indicators use the latest."""

from __future__ import annotations

from datetime import date
from typing import Any

import polars as pl
import pytest
from pandera.errors import SchemaErrors

from catalunya.assets.graph.discovery import mart_contracts
from small.warehouse import EMPLOYMENT, GDP, Warehouse, accounts, employed

MARCH, JUNE, SEPTEMBER = date(2026, 3, 15), date(2026, 6, 15), date(2026, 9, 15)
REVISION = ["quarter_id", "revision_date", "gdp_eur_millions", "volume_index", "is_latest"]


def published(value: float | None, updated: date, quarter: str = "2026-Q1") -> list[dict[str, Any]]:
    """The source's figures for the services of a quarter."""
    return accounts(quarter, "services", value, 100.0, updated)


def revisions(warehouse: Warehouse, *rows: dict[str, Any]) -> list[tuple[Any, ...]]:
    """The fact after a run with these rows in the source, which tests that begin alike share."""
    warehouse.write("gdp", rows)
    return warehouse.have("fact_gdp_quarterly").select(REVISION).rows()


def test_a_revision_is_added_and_earlier_figures_keep_their_date(dims: Warehouse) -> None:
    assert revisions(dims, *published(50.0, MARCH)) == [("2026-Q1", MARCH, 50.0, 100.0, True)]
    revised = [("2026-Q1", MARCH, 50.0, 100.0, False), ("2026-Q1", JUNE, 51.0, 100.0, True)]
    assert revisions(dims, *published(51.0, JUNE)) == revised
    assert revisions(dims, *published(51.0, JUNE)) == revised
    assert revisions(dims, *published(52.0, SEPTEMBER)) == [
        ("2026-Q1", MARCH, 50.0, 100.0, False),
        ("2026-Q1", JUNE, 51.0, 100.0, False),
        ("2026-Q1", SEPTEMBER, 52.0, 100.0, True),
    ]


def test_the_same_figures_with_a_newer_date_only_change_the_date(dims: Warehouse) -> None:
    revisions(dims, *published(50.0, MARCH))
    assert revisions(dims, *published(50.0, JUNE)) == [("2026-Q1", JUNE, 50.0, 100.0, True)]
    assert revisions(dims, *published(51.0, SEPTEMBER)) == [
        ("2026-Q1", JUNE, 50.0, 100.0, False),
        ("2026-Q1", SEPTEMBER, 51.0, 100.0, True),
    ]


def test_other_figures_with_the_same_date_replace_those_of_the_previous_run(dims: Warehouse) -> None:
    revisions(dims, *published(50.0, MARCH))
    revisions(dims, *published(51.0, JUNE))
    assert revisions(dims, *published(50.5, JUNE)) == [
        ("2026-Q1", MARCH, 50.0, 100.0, False),
        ("2026-Q1", JUNE, 50.5, 100.0, True),
    ]
    # The first figures again: the revision is gone.
    assert revisions(dims, *published(50.0, JUNE)) == [("2026-Q1", JUNE, 50.0, 100.0, True)]


def test_a_revision_that_the_source_withdraws_is_removed(dims: Warehouse) -> None:
    revisions(dims, *published(50.0, MARCH))
    revisions(dims, *published(51.0, JUNE))
    assert revisions(dims, *published(50.0, MARCH)) == [("2026-Q1", MARCH, 50.0, 100.0, True)]


def test_a_quarter_no_longer_in_the_source_is_kept_as_withdrawn_and_is_not_in_the_indicators(dims: Warehouse) -> None:
    dims.have("fact_population_monthly")
    revisions(dims, *published(50.0, MARCH), *published(40.0, MARCH, "2025-Q4"))
    revisions(dims, *published(51.0, JUNE))
    facts = dims.build("fact_gdp_quarterly").select("quarter_id", "gdp_eur_millions", "is_latest", "is_withdrawn")
    assert facts.rows() == [
        ("2025-Q4", 40.0, False, True),
        ("2026-Q1", 50.0, False, False),
        ("2026-Q1", 51.0, True, False),
    ]
    assert dims.build("agg_economic_indicators_quarterly")["quarter_id"].to_list() == ["2026-Q1"]
    # Published again, with the same figures: as if it had never been withdrawn.
    assert revisions(dims, *published(51.0, JUNE), *published(40.0, SEPTEMBER, "2025-Q4")) == [
        ("2025-Q4", SEPTEMBER, 40.0, 100.0, True),
        ("2026-Q1", MARCH, 50.0, 100.0, False),
        ("2026-Q1", JUNE, 51.0, 100.0, True),
    ]


def test_a_first_figure_after_a_missing_one_is_not_a_revision(dims: Warehouse) -> None:
    missing = [row | {"figure": None, "observation_status": "missing"} for row in published(None, MARCH, "2026-Q2")]
    assert revisions(dims, *published(50.0, MARCH), *missing) == [
        ("2026-Q1", MARCH, 50.0, 100.0, True),
        ("2026-Q2", MARCH, None, None, True),
    ]
    assert revisions(dims, *published(50.0, MARCH), *published(53.0, JUNE, "2026-Q2")) == [
        ("2026-Q1", MARCH, 50.0, 100.0, True),
        ("2026-Q2", JUNE, 53.0, 100.0, True),
    ]


def test_a_full_build_has_the_same_latest_figures(dims: Warehouse) -> None:
    for value, updated in ((50.0, MARCH), (51.0, JUNE), (51.0, SEPTEMBER)):
        revisions(dims, *published(value, updated), *published(40.0, updated, "2025-Q4"))
    run_by_run = dims.tables["fact_gdp_quarterly"].files[0]
    latest = pl.read_parquet(run_by_run).filter("is_latest")
    del dims.tables["fact_gdp_quarterly"]
    assert dims.build("fact_gdp_quarterly").equals(latest)


def test_the_indicators_use_only_the_latest_revision(dims: Warehouse) -> None:
    dims.have("fact_population_monthly")
    revisions(dims, *published(50.0, MARCH))
    revisions(dims, *published(51.0, JUNE))
    assert dims.build("agg_economic_indicators_quarterly")["gdp_eur_millions"].to_list() == [51.0]


def test_jobs_are_added_up_the_hierarchy_of_sectors(dims: Warehouse) -> None:
    dims.write("gdp", GDP)
    june = [*employed("2024-Q2", "13", "A", (15, 5)), *employed("2024-Q2", "13", "G", (805, 205))]
    dims.write("employment", [*EMPLOYMENT[:6], *employed("2024-Q1", "42", "G", (0, 0)), *june])
    dims.have("dim_economic_sectors", "fact_population_monthly", "fact_gdp_quarterly")
    indicators = dims.build("agg_economic_indicators_quarterly").filter(pl.col("quarter_id") == "2024-Q1")
    jobs = dict(indicators.select("sector_id", "jobs").rows())
    # Employees and self-employed: 10 + 5 and 20 + 15 in agriculture, 800 + 200 in trade.
    assert jobs == {"gdp": 1050, "agriculture": 50, "services": 1000, "net_taxes_on_products": None}
    people = indicators["population"][0]
    assert indicators.filter(pl.col("sector_id") == "gdp").select(
        "gdp_per_head_eur", "jobs_per_thousand_people"
    ).rows() == [(70_000 * 1_000_000 / people, 1_050_000 / people)]


@pytest.mark.parametrize("jobs", [(10, None), (10,)], ids=["not published", "no row"])
def test_a_sum_of_jobs_is_unknown_without_one_of_its_figures(dims: Warehouse, jobs: tuple[int | None, ...]) -> None:
    whole = [("13", "A"), ("13", "G"), ("42", "G")]
    figures = [row for place, section in whole for row in employed("2024-Q1", place, section, (10, 20))]
    dims.write("employment", [*figures, *employed("2024-Q1", "42", "A", jobs)])
    dims.have("dim_economic_sectors", "fact_population_monthly", "fact_gdp_quarterly")
    indicators = dims.build("agg_economic_indicators_quarterly").filter(pl.col("quarter_id") == "2024-Q1")
    columns = ["sector_id", "jobs", "known_jobs", "jobs_known_ratio", "jobs_per_thousand_people"]
    found = {row[0]: row[1:4] for row in indicators.select(columns).rows()}
    assert found["agriculture"] == (None, 40, 0.75)
    assert found["gdp"] == (None, 100, 0.875)
    assert found["services"] == (60, 60, 1.0)
    assert indicators.filter(pl.col("jobs").is_null())["jobs_per_thousand_people"].null_count() == 3


def test_a_section_without_a_sector_breaks_the_contract_of_the_sectors(dims: Warehouse) -> None:
    dims.write("employment", [*EMPLOYMENT, *employed("2024-Q1", "13", "V", (5, 0))])
    sectors = dims.build("dim_economic_sectors", publish=False)
    assert sectors.filter(pl.col("level_number").is_null())["sector_id"].to_list() == ["CCAE-2009:V"]
    with pytest.raises(SchemaErrors, match="level_number"):
        mart_contracts()["dim_economic_sectors"].to_schema().validate(sectors, lazy=True)

"""Population by month and year, built by dbt: estimates, totals, and the comarca of each month."""

from __future__ import annotations

import csv
import json
import os
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from structlog.testing import capture_logs

from catalunya.io.environment import Settings
from small.warehouse import BARCELONA, MOIA, POPULATION, Warehouse, inhabitants, municipality

REAL = os.environ.get("CATALUNYA_REAL_DATA", "")


def test_months_between_two_counts_are_estimated_and_there_are_no_rows_after_the_last(dims: Warehouse) -> None:
    facts = dims.build("fact_population_monthly").filter(pl.col("municipality_id") == "080193")
    months = pl.date_range(date(2024, 1, 1), date(2025, 1, 1), "1mo", eager=True)
    assert facts["date_id"].to_list() == months.to_list()
    assert facts.filter(~pl.col("is_interpolated"))["month_id"].to_list() == ["2024-01", "2024-07", "2025-01"]
    assert facts["population"].to_list()[:7] == [1680, 1682, 1684, 1686, 1688, 1690, 1692]


def test_totals_and_unknown_codes_are_in_no_mart(dims: Warehouse) -> None:
    dims.write("population", [*POPULATION, *inhabitants("2024-H1", "171045", 5, 5, 1744)])
    facts = dims.build("fact_population_monthly")
    trends = dims.build("agg_population_trends_yearly")
    for mart in (facts, trends):
        assert set(mart["municipality_id"]) == {"080193", "081385"}
    sums = facts.group_by("date_id").agg(pl.col("population").sum(), pl.col("catalonia_population").max())
    assert (sums["population"] - sums["catalonia_population"]).abs().max() <= 1  # type: ignore[operator]


def test_corrected_figures_are_replaced_and_years_no_longer_in_the_source_are_dropped(dims: Warehouse) -> None:
    dims.have("fact_population_monthly")
    later = [
        *inhabitants("2025-H1", "080193", 900, 800, 1767),
        *inhabitants("2025-H1", "081385", 35, 32, 1767),
        *inhabitants("2025-H2", "080193", 906, 806, 1779),
    ]
    dims.write("population", later)
    after = dims.build("fact_population_monthly")
    assert after["month_id"].min() == "2025-01"
    assert after.filter(pl.col("month_id") == "2025-01")["population"].to_list() == [1700, 67]
    assert after["month_id"].max() == "2025-07"


def test_a_withdrawn_count_is_estimated_and_a_withdrawn_municipality_is_gone(dims: Warehouse) -> None:
    dims.have("fact_population_monthly")
    dims.write("population", [row for row in POPULATION if row["half_year_id"] != "2024-H2"])
    july = dims.build("fact_population_monthly").filter(pl.col("month_id") == "2024-07")
    assert july.select("population", "is_interpolated").rows() == [(1692, True), (66, True)]
    dims.write("population", [row for row in POPULATION if row["municipality_id"] == "080193"])
    assert set(dims.build("fact_population_monthly")["municipality_id"]) == {"080193"}


SABADELL, TERRASSA = (
    municipality(code, name, "40", "Vallès Occidental")
    for code, name in (("081878", "Sabadell"), ("082798", "Terrassa"))
)


def test_the_sum_of_a_comarca_is_unknown_without_one_of_its_municipalities(dims: Warehouse) -> None:
    dims.write("municipalities", [SABADELL, TERRASSA])
    del dims.tables["dim_municipalities"]
    dims.build("dim_municipalities")
    counts = [
        row
        for half_year in ("2024-H1", "2024-H2", "2025-H1")
        for code, people in (("081878", 110), ("082798", 120))
        if (half_year, code) != ("2025-H1", "082798")
        for row in inhabitants(half_year, code, people, people, None)
    ]
    dims.write("population", counts)
    dims.build("fact_population_monthly")
    sums = [
        "year_number",
        "municipality_id",
        "comarca_population",
        "comarca_population_known_ratio",
        "comarca_share_pct",
    ]
    assert dims.build("agg_population_trends_yearly").select(sums).rows() == [
        (2024, "081878", 460, 1.0, 100 * 220 / 460),
        (2024, "082798", 460, 1.0, 100 * 240 / 460),
        (2025, "081878", None, 0.5, None),
    ]
    # The source has no total of Catalonia here: without a municipality there is none for the quarter either.
    dims.have("fact_gdp_quarterly")
    quarters = dims.build("agg_economic_indicators_quarterly").filter(pl.col("sector_id") == "gdp")
    columns = ["quarter_id", "population", "population_known_ratio"]
    assert quarters.select(columns).rows()[:3] == [
        ("2024-Q1", 460.0, 1.0),
        ("2024-Q2", 460.0, 1.0),
        ("2024-Q3", None, 2 / 3),
    ]


def test_figures_of_a_municipality_that_the_register_lacked_for_a_time_are_kept(dims: Warehouse) -> None:
    del dims.tables["dim_municipalities"]
    dims.build("dim_municipalities", "2024-01-01")
    dims.write("municipalities", [BARCELONA])
    for day in ("2024-03-15", "2024-03-29"):
        dims.build("dim_municipalities", day)
    dims.write("municipalities", [BARCELONA, MOIA])
    history = dims.build("dim_municipalities", "2024-05-10").filter(pl.col("municipality_id") == "081385")
    assert history["valid_to"].to_list() == [date(2015, 4, 30), date(2024, 3, 15), None]
    facts = dims.build("fact_population_monthly").filter(pl.col("municipality_id") == "081385")
    assert facts["date_id"].to_list() == pl.date_range(date(2024, 1, 1), date(2025, 1, 1), "1mo", eager=True).to_list()


def test_figures_have_the_comarca_of_the_municipality_on_their_day(dims: Warehouse) -> None:
    dims.write("municipalities", [BARCELONA, municipality("081385", "Moià", "07", "Bages")])
    del dims.tables["dim_municipalities"]
    dims.build("dim_municipalities", "2024-01-15")
    dims.write("municipalities", [BARCELONA, MOIA])
    dims.build("dim_municipalities", "2024-03-01")
    facts = dims.build("fact_population_monthly").filter(pl.col("municipality_id") == "081385")
    assert facts["comarca_id"].to_list() == ["07"] * 2 + ["42"] * 11
    trends = dims.build("agg_population_trends_yearly").filter(pl.col("municipality_id") == "081385")
    assert trends.select("year_number", "comarca_name", "population_change").rows() == [
        (2024, "Bages", None),
        (2025, "Moianès", 3),
    ]


def test_past_figures_have_the_comarca_of_their_day_whenever_the_pipeline_was_installed(dims: Warehouse) -> None:
    dims.write(
        "population", [*inhabitants("2015-H1", "081385", 30, 30, None), *inhabitants("2016-H1", "081385", 31, 31, None)]
    )
    facts = dims.build("fact_population_monthly")
    assert facts["comarca_name"].to_list() == ["Bages"] * 4 + ["Moianès"] * 9
    trends = dims.build("agg_population_trends_yearly")
    assert trends.select("year_number", "comarca_name", "comarca_population").rows() == [
        (2015, "Bages", 60),
        (2016, "Moianès", 62),
    ]


def warned(warehouse: Warehouse) -> list[str]:
    """The warnings of building the fact."""
    with capture_logs() as logs:
        warehouse.build("fact_population_monthly")
    return [f"{log['test']}: {log['found']}" for log in logs if log["log_level"] == "warning"]


def test_a_sum_that_differs_from_the_sources_total_is_a_warning(dims: Warehouse) -> None:
    wrong = [row | {"catalonia_population": 1760} if row["catalonia_population"] == 1757 else row for row in POPULATION]
    dims.write("population", wrong)
    [warning] = warned(dims)
    assert warning.startswith("population_adds_up_to_the_total: ")
    # The count of July, and the estimates before and after it, which differ by more than rounding.
    assert '"municipalities_population": 17' in warning
    (broken,) = dims.tests
    assert (broken.name, broken.failed, broken.only_warns) == ("population_adds_up_to_the_total", 5, True)
    assert '"municipalities_population": 17' in broken.sample


@pytest.mark.parametrize("gap", ["no total", "a municipality", "no municipality"])
def test_a_month_with_a_missing_figure_is_not_compared_with_the_total(dims: Warehouse, gap: str) -> None:
    first, last = POPULATION[:6], POPULATION[12:]
    middle = {
        "no total": [*inhabitants("2024-H2", "080193", 9, 9, None), *inhabitants("2024-H2", "081385", 9, 9, None)],
        "a municipality": [
            *inhabitants("2024-H2", "080193", None, None, 99),
            *inhabitants("2024-H2", "081385", 34, 31, 99),
        ],
        "no municipality": [],
    }[gap]
    dims.write("population", [*first, *middle, *last])
    assert warned(dims) == []


@pytest.mark.skipif(not REAL, reason="CATALUNYA_REAL_DATA is not set: it needs the real population")
def test_real_municipalities_add_up_to_the_real_totals(tmp_path: Path, settings: Settings) -> None:
    warehouse = Warehouse(tmp_path, settings)
    with (Path(REAL) / "codes" / "municipis_947.csv").open() as file:
        known = {row["codi_idescat6"]: row for row in csv.DictReader(file)}
    warehouse.write(
        "municipalities",
        [municipality(code, row["nom"], row["codi_comarca"], row["nom_comarca"]) for code, row in known.items()],
    )
    counts = json.loads((Path(REAL) / "idescat" / "pmh_446_477_mun.data.reconstructed.json").read_text())
    warehouse.write("population", [row for row in _counted(counts) if row["municipality_id"] in known])
    for name in ("dim_time", "dim_municipalities"):
        warehouse.build(name)
    assert warned(warehouse) == []
    facts = pl.read_parquet(warehouse.tables["fact_population_monthly"].files[0])
    assert facts.height == 947 * (4 * 12 + 1)
    by_month = facts.group_by("month_id").agg(pl.col("population").sum(), pl.col("catalonia_population").max())
    # The total of 2023 is missing, so there is none for any month after January 2022.
    totals = by_month.filter(pl.col("month_id") == "2022-01").select("population", "catalonia_population").rows()
    assert totals == [(7_792_611, 7_792_611)]
    assert by_month.filter(pl.col("catalonia_population").is_null())["month_id"].min() == "2022-02"
    with (Path(REAL) / "codes" / "areas_2023.csv").open() as file:
        areas = [(row["codi"], float(row["superficie_km2"])) for row in csv.DictReader(file)]
    warehouse.write("municipality_areas", [{"municipality_id": code, "area_km2": area} for code, area in areas])
    trends = warehouse.build("agg_population_trends_yearly")
    assert trends["density_per_km2"].null_count() == 0
    assert trends.group_by("year_number").len().sort("year_number")["len"].to_list() == [947] * 5
    assert trends["comarca_population"].null_count() == 0
    # Lluçanès was created in May 2023.
    comarques = trends.group_by("year_number").agg(pl.col("comarca_id").n_unique()).sort("year_number")
    assert comarques["comarca_id"].to_list() == [42] * 5


def _counted(table: dict[str, Any]) -> list[dict[str, Any]]:
    """A JSON-stat table by year and municipality as rows of staging.population, both sexes together."""
    years, codes = (table["dimension"][name]["category"]["index"] for name in ("YEAR", "MUN"))
    figures = iter(table["value"])
    rows = [(year, code, next(figures)) for year in years for code in codes]
    totals = {year: figure for year, code, figure in rows if code == "TOTAL"}
    return [
        {
            "municipality_id": code,
            "sex": "total",
            "observed_date": date(int(year), 1, 1),
            "population": figure,
            "observation_status": "missing" if figure is None else "final",
            "catalonia_population": totals[year],
            "population_source": "IDESCAT pmh/446/477/mun",
        }
        for year, code, figure in rows
    ]

"""The contracts of the marts: one per model, and the rows they refuse."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from catalunya.assets.graph.dbt_marts import contract_of
from catalunya.assets.graph.discovery import mart_contracts
from catalunya.contracts.marts import (
    DimEconomicSectors,
    DimMunicipalities,
    DimTime,
    FactGdpQuarterly,
    FactPopulationMonthly,
    FactServiceUsageDaily,
)
from catalunya.contracts.model.check import REASON, ROW, split_rows
from catalunya.contracts.model.contract import Contract
from catalunya.io.errors import DeclarationError

MODELS = Path(__file__).parents[2] / "dbt" / "models" / "marts"
BARCELONA = {
    "municipality_id": "080193",
    "municipality_name": "Barcelona",
    "comarca_id": "13",
    "comarca_name": "Barcelonès",
    "province_id": "08",
    "province_name": "Barcelona",
    "functional_area_id": "AT01",
    "functional_area_name": "Metropolità",
    "longitude_deg": 2.17,
    "latitude_deg": 41.38,
    "valid_from": date(1990, 1, 1),
    "valid_to": None,
    "is_current": True,
    "missing_since_date": None,
}
A_DAY = {
    "date_id": date(2026, 8, 3),
    "comarca_id": "13",
    "comarca_name": "Barcelonès",
    "service_group": "elderly_residence",
    "registered_services": 3,
    "places": 100,
    "known_places": 100,
    "places_known_ratio": 1.0,
    "users": 90,
    "users_year": 2024,
    "occupancy_ratio": 0.9,
}

AN_ESTIMATE = {
    "month_id": "2024-02",
    "municipality_id": "080193",
    "date_id": date(2024, 2, 1),
    "comarca_id": "13",
    "comarca_name": "Barcelonès",
    "province_id": "08",
    "population": 1682,
    "women": 881,
    "men": 801,
    "population_source": "IDESCAT ep/9122/10002/mun",
    "is_interpolated": True,
    "observation_status": "provisional",
    "catalonia_population": None,
    "year_id": "2024",
}
A_COUNT = AN_ESTIMATE | {"month_id": "2024-01", "date_id": date(2024, 1, 1), "is_interpolated": False}
A_REVISION = {
    "quarter_id": "2024-Q1",
    "sector_id": "services",
    "revision_date": date(2026, 6, 15),
    "is_latest": True,
    "is_withdrawn": False,
    "date_id": date(2024, 1, 1),
    "gdp_eur_millions": 50_000.0,
    "volume_index": None,
    "observation_status": "advance",
    "year_id": "2024",
}
A_SECTION = {
    "sector_id": "CCAE-2025:K",
    "classification": "CCAE-2025",
    "sector_code": "K",
    "sector_name_ca": "Telecomunicacions",
    "parent_sector_id": "trade_transport_hospitality",
    "level_number": 5,
    "main_sector_id": "services",
}
A_HOLIDAY = {
    "date_id": date(2026, 9, 11),
    "month_id": "2026-09",
    "quarter_id": "2026-Q3",
    "half_year_id": "2026-H2",
    "year_number": 2026,
    "quarter_number": 3,
    "month_number": 9,
    "day_of_month": 11,
    "day_of_week": 5,
    "is_weekend": False,
    "month_name_ca": "setembre",
    "month_name_es": "septiembre",
    "month_name_en": "September",
    "is_public_holiday": True,
    "public_holiday_name_ca": "Diada Nacional de Catalunya",
}


def reasons(contract: type[Contract], row: dict[str, Any]) -> list[str]:
    frame = pl.DataFrame([row], schema=contract.polars_schema()).with_columns(
        pl.lit(0, pl.UInt32).alias(ROW), pl.lit(None, pl.String).alias(REASON)
    )
    return split_rows(frame, contract)[1][REASON].to_list()


def test_every_model_has_a_contract_and_every_contract_a_model() -> None:
    assert sorted(mart_contracts()) == sorted(path.stem for path in MODELS.rglob("*.sql"))


def test_every_mart_states_its_grain_and_has_a_key() -> None:
    for name, contract in mart_contracts().items():
        assert "one row per" in contract.description(), name
        assert contract.key(), name


def test_the_error_for_a_mart_without_a_contract_names_the_missing_class() -> None:
    with pytest.raises(
        DeclarationError, match=r"marts.dim_stars: expected a contract class DimStars in contracts/marts.py"
    ):
        contract_of(mart_contracts(), "dim_stars")


def test_good_rows_pass() -> None:
    assert reasons(DimMunicipalities, BARCELONA) == []
    assert reasons(DimTime, A_HOLIDAY) == []
    assert reasons(DimEconomicSectors, A_SECTION) == []
    assert reasons(FactServiceUsageDaily, A_DAY) == []
    assert reasons(FactPopulationMonthly, AN_ESTIMATE) == []
    assert reasons(FactGdpQuarterly, A_REVISION) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"valid_to": date(1990, 1, 1), "is_current": False},
        {"valid_to": date(2026, 8, 3)},
        {"is_current": False},
        {"missing_since_date": date(1990, 1, 1)},
        {"missing_since_date": date(2026, 8, 4), "valid_to": date(2026, 8, 3), "is_current": False},
    ],
    ids=[
        "ends when it starts",
        "current and ended",
        "neither current nor ended",
        "missing from the start",
        "missing later",
    ],
)
def test_a_version_starts_before_it_ends_and_is_current_until_it_ends(wrong: dict[str, Any]) -> None:
    assert len(reasons(DimMunicipalities, BARCELONA | wrong)) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"service_group": "cinemas"},
        {"comarca_id": "44"},
        {"comarca_id": "7"},
        {"places": -1},
        {"occupancy_ratio": -0.1},
    ],
)
def test_a_fact_out_of_bounds_is_refused(wrong: dict[str, Any]) -> None:
    assert len(reasons(FactServiceUsageDaily, A_DAY | wrong)) == 1


@pytest.mark.parametrize("wrong", [{"is_public_holiday": False}, {"public_holiday_name_ca": None}])
def test_a_day_has_a_holiday_name_exactly_when_it_is_a_holiday(wrong: dict[str, Any]) -> None:
    assert len(reasons(DimTime, A_HOLIDAY | wrong)) == 1


def test_a_section_without_a_sector_is_refused_and_only_gdp_has_no_parent() -> None:
    nowhere = {"parent_sector_id": None}
    assert len(reasons(DimEconomicSectors, A_SECTION | nowhere)) == 1
    gdp = {"sector_id": "gdp", "classification": "GDP", "level_number": 1, "main_sector_id": None}
    assert reasons(DimEconomicSectors, A_SECTION | gdp | nowhere) == []
    assert len(reasons(DimEconomicSectors, A_SECTION | gdp)) == 1


def test_what_is_withdrawn_is_not_the_latest() -> None:
    assert len(reasons(FactGdpQuarterly, A_REVISION | {"is_withdrawn": True})) == 1
    assert reasons(FactGdpQuarterly, A_REVISION | {"is_withdrawn": True, "is_latest": False}) == []


def test_women_and_men_add_up_in_an_estimate_while_a_count_is_as_the_source_has_it() -> None:
    assert len(reasons(FactPopulationMonthly, AN_ESTIMATE | {"men": 802})) == 1
    assert reasons(FactPopulationMonthly, A_COUNT | {"men": 802}) == []
    assert reasons(FactPopulationMonthly, AN_ESTIMATE | {"men": None}) == []


@pytest.mark.parametrize(
    "wrong", [{"municipality_id": "TOTAL"}, {"population": None}, {"observation_status": "missing"}]
)
def test_a_total_or_a_missing_figure_is_refused_as_population(wrong: dict[str, Any]) -> None:
    assert len(reasons(FactPopulationMonthly, A_COUNT | wrong)) == 1


@pytest.mark.parametrize("wrong", [{"gdp_eur_millions": None}, {"observation_status": "missing"}])
def test_a_figure_is_null_exactly_when_its_status_is_missing(wrong: dict[str, Any]) -> None:
    assert len(reasons(FactGdpQuarterly, A_REVISION | wrong)) == 1
    missing = {"gdp_eur_millions": None, "observation_status": "missing"}
    assert reasons(FactGdpQuarterly, A_REVISION | missing) == []

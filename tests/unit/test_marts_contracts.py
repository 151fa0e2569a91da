"""The contracts of the marts: one a model, and what they refuse."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from catalunya.assets.marts import contract_of, contracts
from catalunya.contracts.base import Contract
from catalunya.contracts.check import REASON, ROW, part
from catalunya.contracts.marts import DimMunicipalities, FactServiceUsageDaily
from catalunya.io.errors import DeclarationError

MODELS = Path(__file__).parents[2] / "dbt" / "models" / "marts"
BARCELONA = {
    "municipality_id": "080193",
    "municipality_name": "Barcelona",
    "comarca_id": "13",
    "comarca_name": "Barcelonès",
    "province_id": "08",
    "province_name": "Barcelona",
    "longitude_deg": 2.17,
    "latitude_deg": 41.38,
    "valid_from": date(1990, 1, 1),
    "valid_to": None,
    "is_current": True,
}
A_DAY = {
    "date_id": date(2026, 8, 3),
    "comarca_id": "13",
    "comarca_name": "Barcelonès",
    "service_group": "elderly_residence",
    "registered_services": 3,
    "places": 100,
    "users": 90,
    "users_year": 2024,
    "occupancy_ratio": 0.9,
}


def reasons(contract: type[Contract], row: dict[str, Any]) -> list[str]:
    frame = pl.DataFrame([row], schema=contract.polars_schema()).with_columns(
        pl.lit(0, pl.UInt32).alias(ROW), pl.lit(None, pl.String).alias(REASON)
    )
    return part(frame, contract)[1][REASON].to_list()


def test_every_model_has_a_contract_and_every_contract_a_model() -> None:
    assert sorted(contracts()) == sorted(path.stem for path in MODELS.rglob("*.sql"))


def test_every_mart_says_its_grain_and_has_a_key() -> None:
    for name, contract in contracts().items():
        assert "one row per" in contract.description(), name
        assert contract.key(), name


def test_a_mart_without_a_contract_is_told_which_class_it_lacks() -> None:
    with pytest.raises(
        DeclarationError, match=r"marts.dim_stars: expected a contract class DimStars in contracts/marts.py"
    ):
        contract_of("dim_stars")


def test_good_rows_pass() -> None:
    assert reasons(DimMunicipalities, BARCELONA) == []
    assert reasons(FactServiceUsageDaily, A_DAY) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"valid_to": date(1990, 1, 1), "is_current": False},
        {"valid_to": date(2026, 8, 3)},
        {"is_current": False},
    ],
    ids=["ends when it begins", "current and ended", "neither current nor ended"],
)
def test_a_version_begins_before_it_ends_and_is_current_while_it_has_no_end(wrong: dict[str, Any]) -> None:
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

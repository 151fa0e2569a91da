"""The marts, built by dbt on DuckDB from small staging tables: their rows, day after day."""

from __future__ import annotations

import json
import os
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from catalunya.assets import municipalities, service_usage
from catalunya.assets.graph.dbt_marts import mart_declarations
from catalunya.assets.graph.discovery import mart_contracts
from catalunya.assets.graph.spec import StagingDeclaration
from catalunya.contracts.model.check import conform, renamed, split_rows
from catalunya.io.environment import Settings
from catalunya.io.project_folder import OURS
from small.warehouse import BARCELONA, BUILD_ORDER, MOIA, SERVICES, STAGING, Warehouse, municipality, relation, service

REAL = os.environ.get("CATALUNYA_REAL_DATA", "")


def test_the_calendar_has_every_day_once_to_the_end_of_next_year(warehouse: Warehouse) -> None:
    time = warehouse.build("dim_time", "2026-08-03")
    days = pl.date_range(date(1990, 1, 1), date(2027, 12, 31), eager=True)
    assert time["date_id"].to_list() == days.to_list()


# The marts with most joins, whose row order varies within an engine.
JOINED = ("dim_economic_sectors", "fact_population_monthly", "agg_economic_indicators_quarterly")


def test_a_mart_has_the_types_of_its_contract_and_the_same_bytes_again(dims: Warehouse) -> None:
    for name in BUILD_ORDER:
        first = dims.build(name)
        assert dict(first.schema) == mart_contracts()[name].polars_schema(), name
        if name in JOINED:
            once = Path(dims.tables[name].files[0]).read_bytes()
            assert dims.build_file(name, "2026-08-03").read_bytes() == once, name


def test_the_calendar_has_the_holidays_of_the_seed_to_its_last_year(warehouse: Warehouse) -> None:
    days = warehouse.build("dim_time", "2099-06-30").filter("is_public_holiday")
    seed = pl.read_csv(OURS / "dbt" / "seeds" / "public_holidays.csv", try_parse_dates=True)
    assert days.select(seed.columns).equals(seed)


def test_services_are_counted_with_their_places_and_users(dims: Warehouse) -> None:
    facts = dims.have("fact_service_usage_daily")
    assert facts.rows() == [
        (date(2026, 8, 3), "13", "Barcelonès", "elderly_residence", 1, 100, 100, 1.0, 90, 2023, 0.9),
        (date(2026, 8, 3), "42", "Moianès", "disability", 1, 12, 12, 1.0, None, None, None),
    ]


def test_a_service_that_leaves_the_register_is_still_counted_on_earlier_days(dims: Warehouse) -> None:
    dims.have("fact_service_usage_daily")
    dims.write("social_services", [service(1, "13", "elderly_residence", 100)])  # S2 in comarca 42 has closed
    dims.build("fact_service_usage_daily", "2026-08-04")
    history = dims.build("fact_service_usage_daily", "2026-08-05")
    closed = history.filter(pl.col("comarca_id") == "42")
    assert closed.select("date_id", "registered_services", "places").rows() == [(date(2026, 8, 3), 1, 12)]
    assert history.filter(pl.col("comarca_id") == "13")["date_id"].to_list() == [
        date(2026, 8, day) for day in (3, 4, 5)
    ]


def test_each_day_is_added_and_earlier_days_keep_their_rows(dims: Warehouse) -> None:
    first = dims.have("fact_service_usage_daily")
    dims.write("social_services", SERVICES[:1])
    second = dims.build("fact_service_usage_daily", "2026-08-04")
    assert second.filter(pl.col("date_id") == date(2026, 8, 3)).equals(first)
    assert second.filter(pl.col("date_id") == date(2026, 8, 4))["comarca_id"].to_list() == ["13"]


def test_running_a_day_again_replaces_its_rows(dims: Warehouse) -> None:
    dims.have("fact_service_usage_daily")
    dims.write("social_services", [*SERVICES, service(3, "42", "disability", 8)])
    facts = dims.build("fact_service_usage_daily", "2026-08-03")
    assert facts.filter(pl.col("service_group") == "disability").select("registered_services", "places").rows() == [
        (2, 20)
    ]


def test_a_municipality_that_changes_comarca_has_a_history(warehouse: Warehouse) -> None:
    warehouse.write("municipalities", [BARCELONA, municipality("081385", "Moià", "07", "Bages")])
    warehouse.build("dim_municipalities", "2026-08-03")
    warehouse.write("municipalities", [BARCELONA, MOIA])
    history = warehouse.build("dim_municipalities", "2026-08-10")
    columns = ["municipality_id", "comarca_id", "valid_from", "valid_to", "is_current"]
    assert history.select(columns).rows() == [
        ("080193", "13", date(1990, 1, 1), None, True),
        ("081385", "07", date(1990, 1, 1), date(2026, 8, 10), False),
        ("081385", "42", date(2026, 8, 10), None, True),
    ]
    assert warehouse.build("dim_municipalities", "2026-08-17").equals(history)


def test_the_marts_are_assets_with_the_lineage_of_their_sql_and_contracts(settings: Settings) -> None:
    declared = {
        declaration.asset.key: declaration.asset for declaration in mart_declarations(mart_contracts(), settings)
    }
    expected = {
        "marts.dim_economic_sectors": (("staging.employment", "staging.gdp"), ("staging.employment",), None),
        "marts.dim_municipalities": (("staging.municipalities",), (), "day"),
        "marts.dim_time": ((), (), "year"),
        # The fact's SQL does not read dim_time; its contract references it.
        "marts.fact_service_usage_daily": (
            ("marts.dim_municipalities", "marts.dim_time", "staging.service_usage", "staging.social_services"),
            (),
            "day",
        ),
    }
    found = {key: declared[key] for key in expected}
    assert {key: (asset.upstream, asset.optional, asset.clock) for key, asset in found.items()} == expected


@pytest.mark.skipif(not REAL, reason="CATALUNYA_REAL_DATA is not set: it needs real municipalities and users")
def test_the_real_municipalities_and_users_make_marts(tmp_path: Path, settings: Settings) -> None:
    warehouse = Warehouse(tmp_path, settings)
    _stage(warehouse, municipalities.municipalities, "9aju-tpwc.resource.derived.json")
    _stage(warehouse, service_usage.service_usage, "yavr-pn8q.json")
    warehouse.write("social_services", SERVICES)
    history = warehouse.build("dim_municipalities")
    changes = pl.read_csv(OURS / "dbt" / "seeds" / "comarca_changes.csv", infer_schema=False)
    assert history.filter("is_current").height == 947
    assert history.height == 947 + changes.height
    warehouse.build("dim_time")
    facts = warehouse.build("fact_service_usage_daily")
    latest = facts.filter(pl.col("service_group") == "elderly_residence")
    assert latest["comarca_id"].n_unique() == 43
    assert latest["users_year"].min() >= 2023  # type: ignore[operator]


def _stage(warehouse: Warehouse, declaration: StagingDeclaration, file: str) -> None:
    """Write a staging table from a recorded response, with the asset's own function and contract."""
    rows = json.loads((Path(REAL) / "soda" / file).read_text())
    fields = [field.name for field in declaration.landing.contract.fields()]
    raw = pl.DataFrame(
        [{name: row.get(name) for name in fields if not isinstance(row.get(name), dict)} for row in rows]
    )
    made = declaration.function(renamed(raw.cast(pl.String), declaration.contract)).collect()
    good, bad = split_rows(conform(declaration.asset.key, made, declaration.contract), declaration.contract)
    assert bad.is_empty()
    path = warehouse.folder / f"{declaration.name}.parquet"
    good.write_parquet(path)
    warehouse.tables[declaration.name] = relation("staging", declaration.name, STAGING[declaration.name], path)

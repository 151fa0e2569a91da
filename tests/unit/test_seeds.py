"""The seeds of dbt: where each comes from is declared, and the holidays are those that others compute."""

from __future__ import annotations

import os
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import holidays
import polars as pl
import pytest
import yaml
from dateutil.easter import easter

from catalunya.io.project_folder import OURS

REAL = os.environ.get("CATALUNYA_REAL_DATA", "")
SEEDS = OURS / "dbt" / "seeds"
DECLARED: dict[str, dict[str, Any]] = {
    seed["name"]: seed for seed in yaml.safe_load((SEEDS / "_seeds.yml").read_text())["seeds"]
}
FIRST_YEAR, LAST_YEAR = 1990, 2100
FIRST_YEAR_OF_PACKAGE = 2008  # holidays knows Catalonia's from then on
PENTECOST_MONDAY = timedelta(days=50)


def rows(name: str) -> pl.DataFrame:
    """A seed as its file has it: all text."""
    return pl.read_csv(SEEDS / f"{name}.csv", infer_schema=False)


def test_every_seed_is_declared() -> None:
    assert DECLARED.keys() == {path.stem for path in SEEDS.glob("*.csv")}


@pytest.mark.parametrize("name", DECLARED)
def test_a_seed_declares_its_source_its_license_and_when_it_was_recorded(name: str) -> None:
    meta = DECLARED[name]["config"]["meta"]
    assert meta["source"]
    assert meta["license"]
    assert isinstance(meta["recorded"], date)
    assert DECLARED[name]["description"]


@pytest.mark.parametrize("name", DECLARED)
def test_a_seed_declares_every_column_with_its_type(name: str) -> None:
    columns = rows(name).columns
    assert list(DECLARED[name]["config"]["column_types"]) == columns
    assert [column["name"] for column in DECLARED[name]["columns"]] == columns


@pytest.mark.parametrize("name", DECLARED)
def test_a_seed_has_no_characters_that_athenas_csv_reader_takes_for_others(name: str) -> None:
    text = "".join(value or "" for value in rows(name).unpivot()["value"])
    assert not set(text) & set('"\\\n')


@pytest.mark.parametrize("name", DECLARED)
def test_a_seed_has_one_row_per_key(name: str) -> None:
    seed = rows(name)
    keys = {"section_sectors": ["classification", "section_id"], "comarca_changes": ["municipality_id", "change_date"]}
    key = keys.get(name, seed.columns[:1])
    assert not seed.select(key).is_duplicated().any()


def test_the_public_holidays_are_those_of_the_package_holidays() -> None:
    found = {day for day in rows("public_holidays")["date_id"].str.to_date() if day.year >= FIRST_YEAR_OF_PACKAGE}
    others = set(holidays.country_holidays("ES", subdiv="CT", years=range(FIRST_YEAR_OF_PACKAGE, LAST_YEAR + 1)))
    # The yearly labor calendar leaves out holidays that fall on a Sunday, and may put Pentecost Monday in their place.
    assert {day for day in found - others if day.isoweekday() != 7} == set()
    assert others - found <= {easter(year) + PENTECOST_MONDAY for year in range(FIRST_YEAR, LAST_YEAR + 1)}


def test_every_year_has_the_fixed_holidays_and_those_of_easter() -> None:
    found = rows("public_holidays").with_columns(pl.col("date_id").str.to_date())
    for year in range(FIRST_YEAR, LAST_YEAR + 1):
        names = dict(found.filter(pl.col("date_id").dt.year() == year).iter_rows())
        moved = {easter(year) - timedelta(days=2): "Divendres Sant"}
        moved |= {easter(year) + timedelta(days=1): "Dilluns de Pasqua Florida"}
        fixed = {day.strftime("%d-%m"): name for day, name in names.items() if day not in moved}
        assert {day: names.get(day) for day in moved} == moved
        assert fixed == {
            "01-01": "Cap d'Any",
            "06-01": "Reis",
            "01-05": "Festa del Treball",
            "24-06": "Sant Joan",
            "15-08": "L'Assumpció",
            "11-09": "Diada Nacional de Catalunya",
            "12-10": "Festa Nacional d'Espanya",
            "01-11": "Tots Sants",
            "06-12": "Dia de la Constitució",
            "08-12": "La Immaculada",
            "25-12": "Nadal",
            "26-12": "Sant Esteve",
        }


def test_the_sectors_of_the_accounts_are_a_hierarchy_that_sections_belong_to() -> None:
    sectors = {row["sector_id"]: row for row in rows("accounts_sectors").iter_rows(named=True)}
    for sector in sectors.values():
        above = sectors[sector["parent_sector_id"]]["level_number"] if sector["parent_sector_id"] else 0
        assert int(sector["level_number"]) == int(above) + 1
        assert sector["main_sector_id"] is None or sectors[sector["main_sector_id"]]["level_number"] == "3"
    assert set(rows("section_sectors")["parent_sector_id"]) <= sectors.keys()


def test_the_changes_of_comarca_of_a_municipality_follow_each_other() -> None:
    changes = rows("comarca_changes").sort("municipality_id", "change_date")
    known = set(rows("functional_areas")["comarca_id"])
    assert set(changes["comarca_id"]) | set(changes["former_comarca_id"]) <= known
    assert set(changes["basis"]) == {"in_force", "published"}
    assert (
        changes.select("former_comarca_id", "former_comarca_name").unique().height
        == changes["former_comarca_id"].n_unique()
    )
    before = changes.with_columns(before=pl.col("comarca_id").shift().over("municipality_id")).drop_nulls("before")
    assert before["before"].to_list() == before["former_comarca_id"].to_list()
    assert not changes.filter(pl.col("comarca_id") == pl.col("former_comarca_id")).height


@pytest.mark.skipif(not REAL, reason="CATALUNYA_REAL_DATA is not set: it needs the official codes")
def test_the_changes_of_comarca_lead_to_the_comarques_of_today() -> None:
    codes = pl.read_csv(Path(REAL) / "codes" / "municipis_947.csv", infer_schema=False)
    last = rows("comarca_changes").sort("change_date").group_by("municipality_id").last()
    today = last.join(codes, left_on="municipality_id", right_on="codi_idescat6")
    assert today.height == last.height
    assert today["comarca_id"].to_list() == today["codi_comarca"].to_list()
    # Everyone who is in one of the two comarques created since 2015 came to it by a change.
    created = set(codes.filter(pl.col("codi_comarca").is_in(["42", "43"]))["codi_idescat6"])
    assert created == set(last.filter(pl.col("comarca_id").is_in(["42", "43"]))["municipality_id"])


def test_every_comarca_has_a_functional_area() -> None:
    assert rows("functional_areas")["comarca_id"].to_list() == [f"{number:02}" for number in range(1, 44)]

"""The history of the municipalities over days on which the source lacks some, spells others differently, or is undone."""

from __future__ import annotations

import shutil
import unicodedata
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from catalunya.assets.making.materialize import materialize
from catalunya.assets.making.request import Request
from catalunya.assets.record.project import Project
from catalunya.io.environment import load_settings
from small.warehouse import BARCELONA, Warehouse, municipality

DIM = "dim_municipalities"
VIC, OLOT = municipality("082981", "Vic", "24", "Osona"), municipality("171143", "Olot", "19", "Garrotxa")
MOVED = municipality("171143", "Olot", "31", "Ripollès")
COLUMNS = ["comarca_id", "valid_from", "valid_to", "missing_since_date"]
FIRST = date(1990, 1, 1)

Versions = list[tuple[Any, ...]]


def on(warehouse: Warehouse, day: int, *rows: dict[str, Any]) -> Versions:
    """The versions of Olot after a run on that day of August 2026 (32 is 1 September), with these rows in the source."""
    warehouse.write("municipalities", [BARCELONA, VIC, *rows])
    return versions(warehouse.build(DIM, f"{date(2026, 7, 31) + timedelta(days=day)}"))


def versions(history: pl.DataFrame) -> Versions:
    """The versions of Olot."""
    return history.filter(pl.col("municipality_id") == OLOT["municipality_id"]).select(COLUMNS).rows()


def august(day: int) -> date:
    return date(2026, 8, day)


def test_a_missing_municipality_stays_current_for_14_days_and_ends_on_the_first_of_them(warehouse: Warehouse) -> None:
    on(warehouse, 1, OLOT)
    missing = [("19", FIRST, None, august(3))]
    assert on(warehouse, 3) == missing
    assert on(warehouse, 16) == missing
    closed = [("19", FIRST, august(3), august(3))]
    assert on(warehouse, 17) == closed
    assert on(warehouse, 30) == closed


def test_a_municipality_that_comes_back_in_time_has_no_gap(warehouse: Warehouse) -> None:
    on(warehouse, 1, OLOT)
    on(warehouse, 3)
    assert on(warehouse, 16, OLOT) == [("19", FIRST, None, None)]
    # The next absence has its own grace period.
    assert on(warehouse, 18) == [("19", FIRST, None, august(18))]


def test_a_municipality_that_comes_back_later_has_a_new_version(warehouse: Warehouse) -> None:
    on(warehouse, 1, OLOT)
    on(warehouse, 3)
    on(warehouse, 17)
    assert on(warehouse, 20, OLOT) == [("19", FIRST, august(3), august(3)), ("19", august(20), None, None)]


def test_a_municipality_that_comes_back_in_another_comarca_changed_when_it_came_back(warehouse: Warehouse) -> None:
    on(warehouse, 1, OLOT)
    on(warehouse, 3)
    moved = [("19", FIRST, august(10), august(3)), ("31", august(10), None, None)]
    assert on(warehouse, 10, MOVED) == moved
    # On the same day without it, the absence is that of before.
    assert on(warehouse, 10) == [("19", FIRST, None, august(3))]
    assert on(warehouse, 10, MOVED) == moved


def test_a_grace_period_that_ended_while_nothing_ran_is_over(warehouse: Warehouse) -> None:
    on(warehouse, 1, OLOT)
    on(warehouse, 3)
    assert on(warehouse, 31, OLOT)[0] == ("19", FIRST, None, None)  # it never was gone for any run after the 3rd
    on(warehouse, 32)
    assert on(warehouse, 60) == [("19", FIRST, date(2026, 9, 1), date(2026, 9, 1))]


def test_a_day_that_runs_again_or_before_the_last_gives_the_same_history(warehouse: Warehouse) -> None:
    days = [(1, [OLOT]), (3, []), (10, [MOVED]), (12, []), (26, []), (28, [OLOT])]
    for day, rows in days:
        once = on(warehouse, day, *rows)
        assert on(warehouse, day, *rows) == once, day
        assert on(warehouse, 2, *rows) == once, day
    assert once == [
        ("19", FIRST, august(10), august(3)),
        ("31", august(10), august(12), august(12)),
        ("19", august(28), None, None),
    ]


def test_the_last_run_of_a_day_decides(warehouse: Warehouse) -> None:
    on(warehouse, 1, OLOT)
    on(warehouse, 3)
    assert on(warehouse, 17) == [("19", FIRST, august(3), august(3))]
    assert on(warehouse, 17, OLOT) == [("19", FIRST, None, None)]
    new = municipality("171999", "Nova", "19", "Garrotxa")
    on(warehouse, 20, OLOT, new)
    on(warehouse, 20, OLOT)
    assert pl.read_parquet(warehouse.tables[DIM].files[0]).filter(pl.col("municipality_id") == "171999").is_empty()


def test_a_history_that_is_restored_continues_as_if_the_undone_runs_had_not_been(warehouse: Warehouse) -> None:
    on(warehouse, 1, OLOT)
    good = warehouse.tables[DIM]
    damaged = municipality("171143", "Ol?t", "99", "Garr?txa") | {"comarca_id": "20"}
    on(warehouse, 3, damaged)
    on(warehouse, 5)
    warehouse.tables[DIM] = good
    assert on(warehouse, 6, OLOT) == [("19", FIRST, None, None)]
    assert on(warehouse, 8, MOVED) == [("19", FIRST, august(8), None), ("31", august(8), None, None)]


def test_a_comarca_that_is_renamed_changes_each_of_its_municipalities_once(warehouse: Warehouse) -> None:
    rows = [municipality(code, code, "39", "Val d'Aran") for code in ("250253", "250577", "250638")]
    warehouse.write("municipalities", rows)
    warehouse.build(DIM, "2026-08-01")
    warehouse.write("municipalities", [row | {"comarca_name": "Aran"} for row in rows])
    for day in ("2026-08-03", "2026-08-04"):
        history = warehouse.build(DIM, day)
    ended = history.filter(~pl.col("is_current"))
    assert (history.height, ended["valid_to"].to_list()) == (6, [august(3)] * 3)


SPELLINGS: dict[str, Callable[[str], str]] = {
    "decomposed": lambda text: unicodedata.normalize("NFD", text),
    "upper case": str.upper,
    "no-break spaces": lambda text: text.replace(" ", "\u00a0"),
    "two spaces and a zero-width one": lambda text: f" {text} \u200b".replace(" ", "  "),
    "typographic apostrophe": lambda text: text.replace("'", "’"),
    "acute accent as apostrophe": lambda text: text.replace("'", "´"),
    "full stop in l·l": lambda text: text.replace("l·l", "l.l"),
    "bullet in l·l": lambda text: text.replace("l·l", "l•l"),
    "one letter ŀ": lambda text: text.replace("l·l", "ŀl"),
}


def test_another_spelling_is_no_new_version_and_another_name_is(warehouse: Warehouse) -> None:
    name = "Sant Martí d'Empúries i Castell·là"
    for day, spell in enumerate(SPELLINGS.values(), 1):
        written = spell(name)
        warehouse.write("municipalities", [municipality("170010", written, "10", spell("Baix Empordà"))])
        history = warehouse.build(DIM, f"2026-08-{day:02}")
        assert history.select("municipality_name", "valid_from", "valid_to").rows() == [(written, FIRST, None)], written
    for day, other in enumerate(["Sant Marti d'Empúries i Castell·là", "Sant Martí d'Empúries i Castella"], 20):
        warehouse.write("municipalities", [municipality("170010", other, "10", "Baix Empordà")])
        assert warehouse.build(DIM, f"2026-08-{day}").height == day - 18, other


@pytest.fixture
def project(made: Path, compiled: Path, tmp_path: Path) -> Project:
    """A copy of the lake in which everything was made."""
    shutil.copytree(made, tmp_path / "lake")
    return Project(load_settings(env="local", lake=str(tmp_path / "lake"), cache=compiled))


def test_a_day_without_a_change_is_a_run_that_wakes_no_other_mart(project: Project) -> None:
    key = f"marts.{DIM}"
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    before = project.ledger.latest(key)
    assert before
    assert materialize(project, key, Request(now=tomorrow)).status == "materialized"
    after = project.ledger.latest(key)
    assert after
    assert after.data_version == before.data_version
    assert materialize(project, key, Request(now=tomorrow)).status == "skipped"
    for mart in ("marts.fact_population_monthly", "marts.agg_population_trends_yearly"):
        assert materialize(project, mart, Request(now=tomorrow)).status == "skipped"

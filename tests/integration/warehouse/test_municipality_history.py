"""The history of the municipalities over days on which the source lacks some, spells others differently, or is undone.

All of it happens to different municipalities of the same days of August 2026, which are built once for the module.
"""

from __future__ import annotations

import shutil
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from catalunya.assets.making.materialize import materialize
from catalunya.assets.making.request import Request
from catalunya.assets.record.project import Project
from catalunya.io.environment import Settings, load_settings
from catalunya.io.errors import WarehouseError
from catalunya.io.warehouse.relation import Relation
from small.warehouse import Warehouse, municipality

DIM = "dim_municipalities"
FIRST = date(1990, 1, 1)
NAME, COMARCA = "Sant Martí d'Empúries i Castell·là", "Baix Empordà"

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
OTHER_NAMES = {"an accent": NAME.replace("Martí", "Marti"), "a letter": NAME.replace("l·l", "l")}

Row = dict[str, Any]
Versions = list[tuple[Any, ...]]


def code(number: int) -> str:
    return f"17{number:04}"


GONE, BACK_SOON, BACK_LATER, MOVED = (code(number) for number in range(1, 5))
RENAMED = [code(number) for number in range(11, 14)]
SPELLED = {spelling: code(number) for number, spelling in enumerate(SPELLINGS, 21)}
OTHERS = {what: code(number) for number, what in enumerate(OTHER_NAMES, 41)}


def at(number: int, comarca: str = "19", name: str = "Garrotxa") -> Row:
    return municipality(code(number), code(number), comarca, name)


def source(day: int) -> list[Row]:
    """The municipalities that the source has on a day."""
    rows = [at(5)]
    rows += [at(1)] if day < 3 else []
    rows += [at(2)] if day < 3 or 16 <= day < 20 else []
    rows += [at(3)] if day < 3 or day >= 20 else []
    rows += [at(4)] if day < 3 else [at(4, "31", "Ripollès")] if day >= 10 else []
    rows += [municipality(each, each, "39", "Aran" if day >= 3 else "Val d'Aran") for each in RENAMED]
    for spelling, spell in SPELLINGS.items():
        write = spell if day >= 3 else str
        rows.append(municipality(SPELLED[spelling], write(NAME), "10", write(COMARCA)))
    for what, other in OTHER_NAMES.items():
        rows.append(municipality(OTHERS[what], other if day >= 3 else NAME, "10", COMARCA))
    return rows


def august(day: int) -> date:
    return date(2026, 8, day)


@dataclass
class Days:
    """The dimension as it was after each day's run, and runs that continue from one of them."""

    folder: Path
    settings: Settings
    made: dict[int, Relation]

    def run(self, published: Relation | None, *runs: tuple[int, list[Row]]) -> Relation:
        """The dimension after runs that continue from a published one: the day of each, and the rows that its source has."""
        warehouse = Warehouse(self.folder, self.settings, {DIM: published} if published else {})
        for day, rows in runs:
            warehouse.write("municipalities", rows)
            warehouse.build(DIM, f"{august(day)}")
        return warehouse.tables[DIM]

    def after(self, day: int, *runs: tuple[int, list[Row]]) -> pl.DataFrame:
        """The dimension after a day's run, or after further runs."""
        return read(self.run(self.made[day], *runs))

    def versions(self, day: int, municipality_id: str, *runs: tuple[int, list[Row]]) -> Versions:
        """The same for one municipality: comarca, first day, day it ended, day it went missing."""
        rows = self.after(day, *runs).filter(pl.col("municipality_id") == municipality_id)
        return rows.select("comarca_id", "valid_from", "valid_to", "missing_since_date").rows()


def read(table: Relation) -> pl.DataFrame:
    return pl.read_parquet(table.files[0])


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> Days:
    days = Days(tmp_path_factory.mktemp("days"), settings, {})
    published = None
    for day in (1, 3, 10, 16, 17, 20):
        published = days.made[day] = days.run(published, (day, source(day)))
    return days


def test_a_missing_municipality_stays_current_for_14_days_and_ends_on_the_first_of_them(days: Days) -> None:
    for day in (3, 10, 16):
        assert days.versions(day, GONE) == [("19", FIRST, None, august(3))]
    for day in (17, 20):
        assert days.versions(day, GONE) == [("19", FIRST, august(3), august(3))]


def test_a_municipality_that_comes_back_in_time_has_no_gap_and_may_be_missing_again(days: Days) -> None:
    assert days.versions(10, BACK_SOON) == [("19", FIRST, None, august(3))]
    assert days.versions(16, BACK_SOON) == [("19", FIRST, None, None)]
    assert days.versions(20, BACK_SOON) == [("19", FIRST, None, august(20))]


def test_a_municipality_that_comes_back_later_has_a_new_version(days: Days) -> None:
    closed = ("19", FIRST, august(3), august(3))
    assert days.versions(17, BACK_LATER) == [closed]
    assert days.versions(20, BACK_LATER) == [closed, ("19", august(20), None, None)]


def test_a_municipality_that_comes_back_in_another_comarca_changed_when_it_came_back(days: Days) -> None:
    moved = [("19", FIRST, august(10), august(3)), ("31", august(10), None, None)]
    assert days.versions(10, MOVED) == days.versions(20, MOVED) == moved


def test_without_a_run_after_the_first_day_a_municipality_was_not_missing_for_long(days: Days) -> None:
    assert days.versions(3, GONE, (31, source(1))) == [("19", FIRST, None, None)]


@pytest.mark.parametrize("day", [10, 17, 20])
def test_a_day_that_runs_again_or_with_an_earlier_date_gives_the_same_history(days: Days, day: int) -> None:
    once = days.after(day)
    assert days.after(day, (day, source(day))).equals(once)
    assert days.after(day, (2, source(day))).equals(once)


def test_the_last_run_of_a_day_decides(days: Days) -> None:
    assert days.versions(10, MOVED, (10, source(3))) == [("19", FIRST, None, august(3))]
    assert days.versions(17, GONE, (17, source(1))) == [("19", FIRST, None, None)]
    new = days.run(days.made[20], (20, [*source(20), at(99)]))
    assert code(99) in read(new)["municipality_id"]
    assert read(days.run(new, (20, source(20)))).equals(days.after(20))


def test_a_restored_history_continues_as_if_the_undone_runs_had_not_been(days: Days) -> None:
    assert days.after(1, (6, source(1))).equals(days.after(1))


def test_a_comarca_that_is_renamed_changes_each_of_its_municipalities_once(days: Days) -> None:
    history = days.after(20).filter(pl.col("municipality_id").is_in(RENAMED))
    assert history.select("comarca_name", "valid_from", "valid_to").rows() == [
        ("Val d'Aran", FIRST, august(3)),
        ("Aran", august(3), None),
    ] * len(RENAMED)


def test_another_spelling_is_taken_over_and_another_name_is_a_change(days: Days) -> None:
    history = days.after(20)
    for spelling, spell in SPELLINGS.items():
        rows = history.filter(pl.col("municipality_id") == SPELLED[spelling])
        expected = [(spell(NAME), spell(COMARCA), FIRST, None)]
        assert rows.select("municipality_name", "comarca_name", "valid_from", "valid_to").rows() == expected, spelling
    for what, other in OTHER_NAMES.items():
        rows = history.filter(pl.col("municipality_id") == OTHERS[what])
        assert rows["municipality_name"].to_list() == [NAME, other], what


def test_a_history_with_two_versions_on_one_day_is_refused(days: Days, tmp_path: Path) -> None:
    damaged = days.after(10).with_columns(valid_to=pl.lit(None, pl.Date), is_current=pl.lit(value=True))
    damaged.write_parquet(tmp_path / "damaged.parquet")
    twice = replace(days.made[10], files=(str(tmp_path / "damaged.parquet"),))
    with pytest.raises(
        WarehouseError, match=r'versions_follow_each_other failed: 6 rows break it, the first {"municip'
    ):
        days.run(twice, (16, source(16)))


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

"""A table whose source dies is read from another one: the same contract, each row says where it is from, and no history is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from catalunya.assets.graph.alternatives import Alternative
from catalunya.assets.graph.discovery import declarations
from catalunya.assets.graph.spec import Landing, LandingDeclaration, staging
from catalunya.assets.making.materialize import materialize
from catalunya.assets.making.plan import plan
from catalunya.assets.making.request import Request
from catalunya.assets.making.source_check import check_sources
from catalunya.assets.record.paths import scan_table
from catalunya.assets.record.project import Project
from catalunya.assets.record.source_checks import keep, kept
from catalunya.io.environment import Settings
from catalunya.io.errors import ContractError, DeclarationError
from catalunya.ops import mock
from catalunya.ops.status import statuses
from small.lakes import contents, picture, restore
from small.two_sources import FIRST, KEYS, REGISTER, BirthsAndSource, declare, make, switch, switch_elsewhere, using
from small.years import BirthsByHalfYear, RawBirths, YearsSource

BEFORE = {"2022-H1": 10, "2022-H2": 11, "2023-H1": 12, "2023-H2": 13}


@pytest.fixture
def folder(settings: Settings, tmp_path: Path) -> Path:
    """Both sources; the table was made from the first one, and the register has a year that the first one lacks."""
    first, register, _ = declare(tmp_path)
    first.write(BEFORE)
    register.write({"2023": 7, "2024": 8})
    make(settings, tmp_path)
    return tmp_path


def rows(settings: Settings, declared: Any, key: str = "staging.births") -> list[tuple[Any, ...]]:
    """The published rows: period, figure, source."""
    project = Project(settings, declared)
    entry = project.ledger.latest(key)
    assert entry
    table = scan_table(project.lake, project.graph[key], entry).collect().sort("half_year_id")
    return table.select("half_year_id", "births", "births_source").rows()


def test_after_a_switch_the_other_sources_rows_take_the_place_of_their_periods_and_no_other(
    settings: Settings, folder: Path
) -> None:
    make(settings, folder, "register", accept=True)
    assert rows(settings, declare(folder, "register")[2]) == [
        ("2022-H1", 10, FIRST),
        ("2022-H2", 11, FIRST),
        ("2023-H1", 7, REGISTER),
        ("2023-H2", 13, FIRST),
        ("2024-H1", 8, REGISTER),
    ]


def test_a_period_that_the_other_source_takes_back_is_gone_again(settings: Settings, folder: Path) -> None:
    make(settings, folder, "register", accept=True)
    declare(folder)[1].write({"2023": 7, "2025": 9})
    make(settings, folder, "register", accept=True)
    found = rows(settings, declare(folder, "register")[2])
    assert [row[0] for row in found if row[2] == REGISTER] == ["2023-H1", "2025-H1"]


def test_a_switch_is_never_silent(settings: Settings, folder: Path) -> None:
    before = picture(settings.lake)
    with pytest.raises(ContractError, match=r"landing\.births.*--accept-change"):
        make(settings, folder, "register")
    declare(folder)[1].write({str(year): 1 for year in range(2020, 2024)})  # as many rows as the first source has
    with pytest.raises(ContractError, match=r"births_source: expected at most 0%.*'folder first' -> 'folder register'"):
        make(settings, folder, "register")
    tables = {path: found for path, found in before.items() if path.startswith("staging/")}
    assert {path: found for path, found in picture(settings.lake).items() if path.startswith("staging/")} == tables


def test_what_the_other_source_only_adds_needs_no_one_to_accept_it(settings: Settings, folder: Path) -> None:
    declare(folder)[1].write({str(year): 1 for year in range(2024, 2028)})
    make(settings, folder, "register")
    assert [row[2] for row in rows(settings, declare(folder, "register")[2])] == [FIRST] * 4 + [REGISTER] * 4


def test_switching_back_gives_the_same_table_and_needs_no_one_to_accept_it(settings: Settings, folder: Path) -> None:
    before = {path: body for path, body in contents(settings.lake).items() if path.startswith("staging/")}
    make(settings, folder, "register", accept=True)
    make(settings, folder)
    assert {path: body for path, body in contents(settings.lake).items() if path.startswith("staging/")} == before


def seen(settings: Settings) -> dict[str, Any]:
    """The lake, without what the guards noted: after a kill between publish and record, they find the new table published already."""
    found = picture(settings.lake)
    for entry in (each for each in found.values() if isinstance(each, dict)):
        entry["checks"] = [check for check in entry.get("checks", ()) if check["kind"] != "guard"]
    return found


def test_a_switch_that_is_killed_at_any_write_and_run_again_gives_the_same_lake(
    settings: Settings, folder: Path
) -> None:
    before = contents(settings.lake)
    writes = switch(settings, folder)
    expected = seen(settings)
    assert writes >= 12, "the case must have many writes to be killed at"
    for trapdoor in range(1, writes + 1):
        restore(settings.lake, before)
        assert switch_elsewhere(settings, folder, trapdoor) == -9, f"did not reach write {trapdoor}"
        switch(settings, folder)
        assert seen(settings) == expected, f"killed before write {trapdoor}"


def test_a_switch_that_is_killed_and_taken_back_leaves_the_table_as_it_was(settings: Settings, folder: Path) -> None:
    before = contents(settings.lake)
    writes = switch(settings, folder)
    table = {path: body for path, body in before.items() if path.startswith("staging/")}
    for trapdoor in range(1, writes + 1, 3):
        restore(settings.lake, before)
        assert switch_elsewhere(settings, folder, trapdoor) == -9
        make(settings, folder)
        make(settings, folder)  # a staging table whose batch was of the other source waits for the first one's
        assert {p: b for p, b in contents(settings.lake).items() if p.startswith("staging/")} == table, trapdoor


def test_a_switch_makes_the_table_stale_and_an_alternative_that_is_only_declared_does_not(
    settings: Settings, folder: Path
) -> None:
    unused, used = (Project(settings, declare(folder, name)[2]) for name in ("", "register"))
    assert [step.reason for step in plan(unused.state(), unused.graph) if step.reason != "SOURCE"] == ["UPSTREAM"]
    assert [(step.key, step.reason) for step in plan(used.state(), used.graph)] == [(key, "CODE") for key in KEYS]
    alone = Landing("births", source=YearsSource(folder / "first"), contract=RawBirths, schedule="0 5 * * *")
    assert alone.asset.code_version == unused.graph["landing.births"].code_version


def test_a_batch_is_read_as_its_own_source_wrote_it_although_another_one_is_in_use(
    settings: Settings, tmp_path: Path
) -> None:
    first, _, declared = declare(tmp_path)
    first.write(BEFORE)
    materialize(Project(settings, declared), "landing.births")
    switched = declare(tmp_path, "register")[2]
    materialize(Project(settings, switched), "staging.births", Request(force=True))
    assert rows(settings, switched) == [(period, births, FIRST) for period, births in BEFORE.items()]


def test_a_backfill_after_a_switch_replaces_its_periods_only(settings: Settings, folder: Path) -> None:
    from catalunya.io.periods import Window, period

    make(settings, folder, "register", accept=True)
    _, register, declared = declare(folder, "register")
    register.write({"2023": 70, "2024": 80})
    project = Project(settings, declared)
    window = Window(period("2024").first, period("2024").last)
    materialize(project, "landing.births", Request(window=window))
    materialize(project, "staging.births")
    assert [row for row in rows(settings, declared) if row[0] >= "2023"] == [
        ("2023-H1", 7, REGISTER),
        ("2023-H2", 13, FIRST),
        ("2024-H1", 80, REGISTER),
    ]


def test_quarantined_rows_still_say_where_they_are_from_when_they_are_replayed_after_a_switch_back(
    settings: Settings, folder: Path
) -> None:
    declare(folder)[1].write({"2023": 7, "24": 8})
    make(settings, folder, "register", accept=True)
    declared = declare(folder)[2]
    project = Project(settings, declared)
    entry = project.ledger.latest("staging.births")
    assert entry
    assert entry.quarantine
    rejected = pl.read_parquet(project.lake.get(entry.quarantine))
    assert rejected.select("quan", "_provenance").rows() == [("24-H1", REGISTER)]
    project.lake.put(entry.quarantine, _with(rejected, folder, quan="2024-H1"))
    materialize(project, "staging.births", Request(replay=True, accept_change=True))
    assert ("2024-H1", 8, REGISTER) in rows(settings, declared)


def _with(frame: pl.DataFrame, folder: Path, **values: str) -> bytes:
    path = folder / "rejected.parquet"
    frame.with_columns(**{name: pl.lit(value) for name, value in values.items()}).write_parquet(path)
    return path.read_bytes()


def test_a_name_that_is_none_of_the_alternatives_is_refused_with_the_nearest(tmp_path: Path) -> None:
    landing = declare(tmp_path)[2][0]
    assert isinstance(landing, LandingDeclaration)
    with pytest.raises(DeclarationError, match=r"births = 'regster': .*\(register\).*did you mean register\?"):
        landing.using("regster")


def test_a_table_with_alternatives_must_say_where_its_rows_are_from(tmp_path: Path) -> None:
    landing = declare(tmp_path)[2][0]
    assert isinstance(landing, LandingDeclaration)
    with pytest.raises(DeclarationError, match=r"expected a column of BirthsByHalfYear .*source=PROVENANCE"):
        staging(landing, contract=BirthsByHalfYear)(lambda raw: raw)


def test_one_dataset_twice_is_refused(tmp_path: Path) -> None:
    source = YearsSource(tmp_path / "first")
    with pytest.raises(DeclarationError, match="folder first is declared twice"):
        Landing("births", source=source, contract=RawBirths, schedule="@daily", alternatives={"other": source})


@pytest.mark.parametrize("fields", [{"quan": "*"}, {"quan": "^any$"}, {"*": "any"}])
def test_a_field_whose_name_polars_takes_for_a_pattern_of_names_is_refused(
    tmp_path: Path, fields: dict[str, str]
) -> None:
    other = Alternative(source=YearsSource(tmp_path / "other"), fields=fields)
    first = YearsSource(tmp_path / "first")

    with pytest.raises(
        DeclarationError, match=r"landing\.births: alternative other: expected `fields` with names, found [*^]"
    ):
        Landing("births", source=first, contract=RawBirths, schedule="@daily", alternatives={"other": other})


def test_rows_that_drops_rows_is_refused(settings: Settings, tmp_path: Path) -> None:
    first, other = YearsSource(tmp_path / "first"), YearsSource(tmp_path / "other")
    other.write(BEFORE)
    drops = Alternative(source=other, rows=lambda raw: raw.filter(pl.col("quan") != "2022-H1"))
    landing = Landing(
        "births", source=first, contract=RawBirths, schedule="@daily", alternatives={"other": drops}
    ).using("other")

    @staging(landing, contract=BirthsAndSource)
    def births(raw: pl.LazyFrame) -> pl.LazyFrame:
        return raw.with_columns(year_id=pl.lit("2022"))

    project = Project(settings, [landing, births])
    materialize(project, "landing.births")
    with pytest.raises(DeclarationError, match="folder other to return the same rows and columns"):
        materialize(project, "staging.births")


POPULATION = ["landing.municipalities", "staging.municipalities", "landing.population", "staging.population"]


def test_population_is_read_from_the_municipal_register_and_back(settings: Settings) -> None:
    known = {key: declared for key, declared in declarations().items() if key in POPULATION}
    with mock.serve() as server:
        mine = settings.model_copy(update={"mock_url": server.url})
        first = Project(mine, list(known.values()))
        for key in POPULATION:
            materialize(first, key)
        other = Project(mine, using(list(known.values()), "population", "pmh"))
        for key in POPULATION[2:]:
            materialize(other, key, Request(accept_change=True))
        switched = other.ledger.latest("staging.population")
        assert switched
        table = scan_table(other.lake, other.graph["staging.population"], switched).collect()
        found = {each.standby: each for each in check_sources(other, ["landing.population"])}
        for each in found.values():
            keep(other.lake, each)
        (shown,) = statuses(other.state(), [other.graph["landing.population"]])
        server.faults("error-503:pmh/446/477/mun")
        dead = {each.standby: each.answered for each in check_sources(first, ["landing.population"])}
        server.faults()
        before = first.ledger.history("staging.population")[0].objects
        for key in POPULATION[2:]:
            materialize(first, key)
        after = first.ledger.latest("staging.population")

    assert dead == {"": True, "pmh": False}, "an alternative that died is found before it is needed"
    assert shown.in_use == "pmh"
    assert after
    assert set(after.objects) == set(before)
    assert switched.quarantined == 0
    barcelona = table.filter(municipality_id="080193", sex="total").sort("half_year_id")
    assert dict(barcelona.group_by("population_source").len().rows()) == {
        "IDESCAT ep/9122/10002/mun": 23,
        "IDESCAT pmh/446/477/mun": 5,
    }
    register = barcelona.filter(population_source="IDESCAT pmh/446/477/mun")
    assert register["half_year_id"].to_list() == [f"{year}-H1" for year in range(2019, 2024)]
    assert register["population"].to_list()[-2:] == [1636193, 1660122], "as recorded (pmh/446/477)"
    # The register's last total of Catalonia is published as `..`.
    assert register["catalonia_population"].to_list() == [7675217, 7780479, 7763362, 7792611, None]
    assert {name: each.matches for name, each in found.items()} == {"": True, "first": True}
    assert (found[""].source, found["first"].source) == ("IDESCAT pmh/446/477/mun", "IDESCAT ep/9122/10002/mun")
    assert kept(other.lake, "landing.population", "first") == found["first"]
    assert shown.source_problem == ""

"""The mock's statistical tables: figures that agree with one another, the same every time, and new ones at each version."""

from __future__ import annotations

import json
import os
from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import pytest

from catalunya.io.errors import ConfigurationError
from catalunya.ops import mock
from catalunya.ops.mock.generate_municipalities import municipalities, municipalities_table
from catalunya.ops.mock.idescat.cube import StatTable
from catalunya.ops.mock.idescat.employment import employment_tables
from catalunya.ops.mock.idescat.gdp import gdp_tables
from catalunya.ops.mock.idescat.population import population_table
from catalunya.ops.mock.idescat.recorded import recorded_table

REAL = os.environ.get("CATALUNYA_REAL_DATA", "")
needs_real_data = pytest.mark.skipif(not REAL, reason="CATALUNYA_REAL_DATA is not set: no recorded files to serve")

Figures = dict[tuple[str, ...], Any]


def tables(seed: int = 1) -> list[StatTable]:
    towns = municipalities(municipalities_table(seed))
    return [population_table(seed, towns), *gdp_tables(seed), *employment_tables(seed)]


def figures(table: StatTable, version: int = 0) -> tuple[Figures, dict[tuple[str, ...], str]]:
    """Values and statuses by the codes of the cell, the metric last."""
    cells = table.cells(version)
    keys = list(product(*(dimension.categories for dimension in table.dimensions(version))))
    assert len(keys) == len(cells.values) == table.size(version)
    values = {key: json.loads(value) for key, value in zip(keys, cells.values, strict=True)}
    return values, {keys[at]: status for at, status in cells.statuses.items()}


@pytest.fixture(scope="module")
def population() -> tuple[Figures, dict[tuple[str, ...], str]]:
    return figures(tables()[0])


def test_the_same_seed_gives_the_same_figures_and_another_seed_others() -> None:
    for one, same, other in zip(tables(4), tables(4), tables(5), strict=True):
        cells = one.cells(1)
        assert cells == same.cells(1)
        assert cells != other.cells(1)


def test_women_and_men_are_everybody(population: tuple[Figures, dict[tuple[str, ...], str]]) -> None:
    values, _ = population
    told = 0
    for (time, town, sex, _), people in values.items():
        men, women = values[time, town, "M", "POP"], values[time, town, "F", "POP"]
        if sex == "TOTAL" and men is not None:
            told += 1
            assert people == men + women
    assert told > 26_000


def test_catalonia_is_everybody_but_in_one_half_year(population: tuple[Figures, dict[tuple[str, ...], str]]) -> None:
    values, statuses = population
    sums: Counter[str] = Counter()
    for (time, town, sex, _), people in values.items():
        if town != "TOTAL" and sex == "TOTAL":
            sums[time] += people or 0
    for time, people in sums.items():
        catalonia = values[time, "TOTAL", "TOTAL", "POP"]
        if time == "2016S1":
            assert catalonia is None
        else:  # that of a tiny place may be held back, and is counted
            assert people <= catalonia < people + 1000
    assert [statuses["2016S1", "TOTAL", sex, "POP"] for sex in ("M", "F", "TOTAL")] == [".."] * 3


def test_population_is_of_the_mock_s_own_municipalities(population: tuple[Figures, dict[tuple[str, ...], str]]) -> None:
    values, statuses = population
    towns = {code for code, _, _ in municipalities(municipalities_table(1))}
    assert {key[1] for key in values} == towns | {"TOTAL", "171045"}
    assert len(towns) == 947
    assert {(values[key], statuses[key]) for key in values if key[1] == "171045"} == {(None, "..")}
    assert 1_500_000 < values["2025S2", "080193", "TOTAL", "POP"] < 1_750_000
    smallest = sorted(values["2025S1", town, "TOTAL", "POP"] or 0 for town in towns)
    assert smallest[5] > 20
    assert smallest[100] < 1000
    assert smallest[-2] < 400_000


def test_some_figures_of_tiny_municipalities_are_held_back(
    population: tuple[Figures, dict[tuple[str, ...], str]],
) -> None:
    _, statuses = population
    held_back = Counter(
        key[2] for key, status in statuses.items() if status == ".." and key[1] not in ("TOTAL", "171045")
    )
    assert 0 < held_back["TOTAL"] < held_back["M"] == held_back["F"] < 200


@pytest.mark.parametrize("version", [0, 3])
def test_sectors_add_up(version: int) -> None:
    values, _ = figures(tables()[1], version)
    quarters = list(dict.fromkeys(key[0] for key in values))
    for quarter in quarters[:-1]:
        tenths = {key[2]: round(10 * value) for key, value in values.items() if key[0] == quarter}
        assert tenths["SER"] == tenths["SER_CTH"] + tenths["SER_IPA"] + tenths["SER_APS"]
        assert tenths["VAB"] == tenths["AGR"] + tenths["IND"] + tenths["CON"] + tenths["SER"]
        assert tenths["PIB"] == tenths["VAB"] + tenths["IMP"]
        assert 480_000 < tenths["PIB"] < 820_000
    assert any(isinstance(value, float) for value in values.values())


@pytest.mark.parametrize("number", [1, 2])
def test_the_newest_quarter_is_an_advance_of_gdp_and_the_four_sectors(number: int) -> None:
    values, statuses = figures(tables()[number])
    newest = {key: statuses[key] for key in values if key[0] == "2026T2"}
    assert {key[2] for key, status in newest.items() if status == "a"} == {"PIB", "AGR", "IND", "CON", "SER"}
    assert {key[2] for key, status in newest.items() if status == ".."} == {
        "VAB",
        "SER_CTH",
        "SER_IPA",
        "SER_APS",
        "IMP",
    }
    assert all((values[key] is None) == (status == "..") for key, status in newest.items())
    assert not any(key[0] == "2026T1" for key in statuses)


def test_changes_are_those_of_the_index() -> None:
    values, statuses = figures(tables()[2])
    quarters = list(dict.fromkeys(key[0] for key in values))
    for sector in ("PIB", "AGR", "SER_IPA"):
        index = [values[quarter, "TOTAL", sector, "INDEX"] for quarter in quarters]
        for metric, lag in (("Q_CHANGE", 1), ("Y_CHANGE", 4)):
            changes = [values[quarter, "TOTAL", sector, metric] for quarter in quarters]
            assert changes[:lag] == [None] * lag
            assert {statuses[quarter, "TOTAL", sector, metric] for quarter in quarters[:lag]} == {".."}
            for before, now, change in zip(index, index[lag:], changes[lag:], strict=False):
                assert change is None or change == pytest.approx(100 * (now / before - 1), abs=0.051)
        assert sum(index[80:84]) == pytest.approx(400, abs=0.5)
    assert values["2020T2", "TOTAL", "PIB", "Q_CHANGE"] < -8


@pytest.mark.parametrize("number", [3, 4])
def test_jobs_add_up_those_that_are_not_told_counted_with(number: int) -> None:
    values, _ = figures(tables()[number])
    by_comarca: Counter[tuple[str, ...]] = Counter()
    by_section: Counter[tuple[str, ...]] = Counter()
    catalonia: Counter[str] = Counter()
    for (month, comarca, section, _), jobs in values.items():
        if section != "TOTAL" and comarca != "TOTAL":
            by_comarca[month, comarca] += jobs or 0
            by_section[month, section] += jobs or 0
        if section == "TOTAL" and comarca != "TOTAL":
            catalonia[month] += jobs or 0
    untold = 0
    for (month, comarca), jobs in by_comarca.items():
        if (total := values[month, comarca, "TOTAL", "JOBS"]) is not None:
            untold += total - jobs
            assert jobs <= total <= jobs + 3 * 6
    assert untold > 0
    assert all(jobs <= values[month, "TOTAL", section, "JOBS"] for (month, section), jobs in by_section.items())
    assert all(values[month, "TOTAL", "TOTAL", "JOBS"] == jobs for month, jobs in catalonia.items())
    assert all(3_000_000 < jobs < 4_500_000 for jobs in catalonia.values())


def test_a_comarca_has_no_jobs_before_it_was_one_and_lends_them_to_its_neighbour() -> None:
    values, statuses = figures(tables()[3])
    before, after = (
        [key for key in values if key[1] == "43" and (key[0] < "2023") == is_before] for is_before in (True, False)
    )
    assert {(values[key], statuses[key]) for key in before} == {(None, "..")}
    assert len(before) == 25 * 22
    assert sum(values[key] is not None for key in after) > 36 * 15
    osona = {time: values[time, "24", "TOTAL", "JOBS"] for time in ("2022M12", "2023M01")}
    assert osona["2022M12"] > osona["2023M01"]


def test_none_is_zero_and_not_told_is_nothing() -> None:
    values, statuses = figures(tables()[3])
    assert values["2025M12", "05", "U", "JOBS"] == 0
    assert ("2025M12", "05", "U", "JOBS") not in statuses
    assert not {1, 2, 3} & {jobs for key, jobs in values.items() if "TOTAL" not in key}


def test_letters_mean_another_thing_in_the_other_classification() -> None:
    old, new = (table.dimensions(0)[2].categories for table in tables()[3:])
    assert "".join(old) == "ABCDEFGHIJKLMNOPQRSTUTOTAL"
    assert "".join(new) == "ABCDEFGHIJKLMNOPQRSTUVTOTAL"
    assert all(old[letter] == new[letter] for letter in "ABCDEFGHI")
    assert all(old[letter] != new[letter] for letter in "JKLMNOPQRSTU")
    assert new["V"] == old["U"] == "Organismes extraterritorials"
    jobs = [figures(table)[0] for table in tables()[3:]]
    assert jobs[1]["2026M03", "13", "R", "JOBS"] == pytest.approx(jobs[0]["2025M12", "13", "Q", "JOBS"], rel=0.05)


@pytest.mark.parametrize("number", [0, 1, 2, 4])
def test_a_new_version_adds_a_period_settles_the_last_and_revises_a_few_figures(number: int) -> None:
    table = tables()[number]
    shown = [figures(table, version) for version in range(3)]
    for version in (1, 2):
        (before, old), (after, new) = shown[version - 1 : version + 1]
        old_times, new_times = (list(table.dimensions(v)[0].categories) for v in (version - 1, version))
        assert new_times[:-1] == old_times
        settled, added = old_times[-1], new_times[-1]
        assert {status for key, status in old.items() if key[0] == settled} - {".."} <= {"a", "p"}
        assert {status for key, status in new.items() if key[0] == settled} <= {".."}
        assert {status for key, status in new.items() if key[0] == added} - {".."} <= {"a", "p"}
        changed = [key for key in before if before[key] != after[key]]
        assert sum(key[0] == settled for key in changed) > len(after) / len(new_times) / 4
        revised = {key[0] for key in changed} - {settled}
        assert revised
        assert revised <= set(old_times[-9:-1])  # in volume, a figure also changes what later ones are against
    assert table.cells(1) == tables()[number].cells(1)  # whatever was asked for before


def test_a_closed_table_is_revised_and_does_not_grow() -> None:
    table = tables()[3]
    before, after = figures(table)[0], figures(table, 2)[0]
    assert before.keys() == after.keys()
    assert 0 < sum(before[key] != after[key] for key in before) < 60


def test_several_versions_at_once_are_as_many_one_by_one() -> None:
    with mock.serve(rows=10) as one, mock.serve(rows=10) as other, httpx.Client(verify=False) as client:
        one.advance("ep/9122/10002/mun", 3)
        for _ in range(3):
            other.advance("ep/9122/10002/mun")
        path = "/taules/v2/ep/9122/10002/mun"
        for url in (path, f"{path}/data?_LAST_=4"):
            assert client.get(one.url + url).content == client.get(other.url + url).content
        told = client.get(one.url + path).json()
        assert (told["updated"], told["size"][0]) == ("2026-05-03", 31)
        assert one.datasets()["ep/9122/10002/mun"]["rows"] == 31 * 949 * 3
        one.reset()
        assert client.get(one.url + path).json()["updated"] == "2026-04-30"


@needs_real_data
def test_a_recorded_table_is_served_as_it_is() -> None:
    recorded = json.loads((Path(REAL) / "idescat" / "pmh_446_477_mun.data.reconstructed.json").read_text("utf-8"))
    path = "/taules/v2/pmh/446/477/mun"
    with mock.serve(real=REAL) as server, httpx.Client(base_url=server.url, verify=False) as client:
        assert client.get(f"{path}/data").json() == recorded
        metadata = client.get(path).json()
        assert metadata["dimension"] == recorded["dimension"]
        assert metadata["link"]["describes"][0]["href"] == recorded["href"]
        assert not metadata.keys() & {"value", "status", "extension"}
        some = client.get(f"{path}/data", params={"MUN": "080193,171045,TOTAL", "YEAR": "2022,2023"}).json()
        assert (some["value"], some["status"]) == (
            [1636193, None, 7792611, 1660122, None, None],
            {"1": "..", "4": "..", "5": ".."},
        )
        server.advance("pmh/446/477/mun")
        new = client.get(f"{path}/data", params={"MUN": "080193,TOTAL", "_LAST_": 2}).json()
        assert new["dimension"]["YEAR"]["category"]["index"] == ["2023", "2024"]
        assert new["status"] == {"1": "..", "2": "p", "3": ".."}
        assert new["updated"] == "2023-12-28"


@needs_real_data
def test_beside_recorded_tables_population_is_of_the_recorded_municipalities() -> None:
    rows = json.loads((Path(REAL) / "soda" / "9aju-tpwc.resource.derived.json").read_text("utf-8"))
    with mock.serve(real=REAL) as server:
        told = httpx.get(f"{server.url}/taules/v2/ep/9122/10002/mun", verify=False).json()
    codes = {row["codi"] for row in rows if not row["codi"].startswith("9999")}
    assert set(told["dimension"]["MUN"]["category"]["index"]) == codes | {"TOTAL", "171045"}


@needs_real_data
def test_generated_tables_have_the_form_of_recorded_ones() -> None:
    folder = Path(REAL) / "idescat"
    with mock.serve(rows=10) as server, httpx.Client(base_url=f"{server.url}/taules/v2", verify=False) as client:
        table = client.get("/ep/9122/10002/mun").json()
        recorded = json.loads((folder / "pmh_1180_8078_mun.metadata.reconstructed.json").read_text("utf-8"))
        assert recorded.keys() <= table.keys()
        assert table["dimension"]["CONCEPT"] == recorded["dimension"]["CONCEPT"]
        assert table["dimension"]["SEX"] == recorded["dimension"]["SEX"]
        assert table["role"] == recorded["role"] | {"time": ["SEMESTER"]}
        data = client.get("/ep/9122/10002/mun/data?_LAST_=1").json()
        full = json.loads((folder / "pmh_446_477_mun.data.reconstructed.json").read_text("utf-8"))
        assert data.keys() == full.keys() | {"note"}
        assert data["extension"] == full["extension"]
        lists = json.loads((folder / "collections.reconstructed.json").read_text("utf-8"))
        found = client.get("/ep").json()
        assert found.keys() == lists["nodes_pmh"].keys() - {"_truncated_of"}
        assert found["link"]["item"][0].keys() == lists["nodes_pmh"]["link"]["item"][0].keys()


def test_a_folder_without_the_recorded_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"expected JSON in .*pmh_446_477_mun.*Give the folder"):
        recorded_table(tmp_path)

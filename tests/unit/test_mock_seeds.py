"""The mock's seeds say where they are from; what is made of them is what the protocols promise, at every version."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import polars as pl
import pytest

from catalunya.ops import mock
from catalunya.ops.mock.data import SEEDS, control_digit, datasets, read_seed, tables
from catalunya.ops.mock.idescat import MISSING, StatTable
from catalunya.ops.mock.rows import SmallRows
from catalunya.ops.mock.soql import Query
from catalunya.ops.mock.tables import ROW, Dataset, shape_of

ORDER = (("registre", False), (":id", False))
CLOSED = ("afic/14987/15881/com", "afic/14996/15887/com")


def register(rows: int) -> Dataset:
    return datasets(rows)[1]


def rows_of(dataset: Dataset, version: int = 0) -> pl.DataFrame:
    positions = pl.int_range(0, dataset.rows.total(version), dtype=pl.UInt64, eager=True)
    return dataset.rows.at(version, positions).collect()


def body_of(dataset: Dataset, limit: int, offset: int, fields: tuple[str, ...] | None = None) -> bytes:
    return b"".join(shape_of(dataset, []).body(Query(limit=limit, offset=offset, order=ORDER, fields=fields)))


@pytest.mark.parametrize("path", sorted(SEEDS.iterdir()), ids=lambda path: path.name)
def test_a_seed_says_what_is_recorded_and_what_is_synthetic_its_source_and_its_licence(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    lines = json.loads(text)["_header"] if path.suffix == ".json" else [x for x in text.splitlines() if x[0] == "#"]
    header = " ".join(lines)
    assert "ecorded" in header
    assert "Licence: " in header
    assert "Source: " in header or "ynthetic" in header
    assert path.stat().st_size < 150_000


def test_the_same_dataset_is_the_same_every_time_and_goes_back_to_an_earlier_version() -> None:
    for one, other in zip(datasets(300), datasets(300), strict=True):
        later = rows_of(one, 3)
        assert rows_of(one).equals(rows_of(other))
        assert rows_of(other, 3).equals(later)


def test_a_new_version_changes_adds_and_drops_a_few_rows_of_each_dataset() -> None:
    for dataset in datasets(2000):
        key = list(dataset.key)
        for version in range(1, 5):
            before, after = (rows_of(dataset, each).drop(ROW) for each in (version - 1, version))
            added, dropped = (a.join(b, on=key, how="anti").height for a, b in ((after, before), (before, after)))
            kept = after.join(before, on=key, how="semi")
            changed = kept.join(before, on=kept.columns, how="anti", nulls_equal=True).height
            assert all(0 < rows <= 30 for rows in (added, dropped, changed)), (dataset.name, added, dropped, changed)


def test_a_municipality_that_is_added_has_a_valid_code() -> None:
    codes = rows_of(datasets(0)[0], 30)["codi"].to_list()
    assert len(set(codes)) == len(codes) == 949
    assert all(control_digit(code[:5]) == code[5] for code in codes if not code.startswith("9999"))


@pytest.mark.parametrize("rows", [0, 1, 9, 10, 37, 3000])
def test_at_every_version_there_are_as_many_rows_as_counted_and_in_order(rows: int) -> None:
    dataset = register(rows)
    assert dataset.rows.total(0) == rows
    for version in range(20):
        made = rows_of(dataset, version)
        assert made.height == dataset.rows.total(version)
        assert made[ROW].is_unique().all()
        assert made["registre"].is_sorted()


def test_the_register_has_the_irregularities_of_the_real_one() -> None:
    rows = rows_of(register(20_000)).drop(ROW)
    assert rows["registre"].str.contains(r"^S\d{5}$").all()
    assert {"intel.lectual", "intel·lectual"} <= set(rows["tipologia"].str.extract(r"(intel.lectual)").drop_nulls())
    assert {len(value) for value in rows["inscripcio"].drop_nulls()} == {10, 23}
    assert {"null", None} <= set(rows["qualificacio"])
    assert rows["capacitat"].null_count() > 0
    assert rows.filter(pl.col("districte").is_not_null())["municipi"].unique().to_list() == ["Barcelona"]
    assert "Val d'Aran" in set(rows["comarca"])
    known = read_seed("municipalities.csv")["nom"]
    assert set(rows.filter(~pl.col("municipi").is_in(known.implode()))["municipi"]) == {"Medinyà", "Palmerola"}
    assert rows.is_duplicated().sum() == 2 * 20


@pytest.mark.parametrize("rows", [100, 101, 999])
def test_a_small_register_has_a_row_that_cannot_be_matched_at_every_version(rows: int) -> None:
    dataset = register(rows)
    assert all((rows_of(dataset, version)["municipi"] == "Medinyà").any() for version in range(6))


def test_a_page_is_the_same_alone_in_the_whole_and_column_by_column() -> None:
    dataset = register(5000)
    whole = json.loads(body_of(dataset, 5000, 0))
    assert json.loads(body_of(dataset, 10, 4321)) == whole[4321:4331]
    fields = tuple(column["fieldName"] for column in dataset.view["columns"])
    assert body_of(dataset, 900, 0, fields) == body_of(dataset, 900, 0)


def test_a_page_out_of_four_million_rows_is_complete() -> None:
    dataset = register(4_000_000)
    for offset in (3_900_000, 123_456):
        assert body_of(dataset, 50_000, offset).count(b"\n") == 50_000


def test_a_long_answer_is_streamed_and_complete() -> None:
    with mock.serve(rows=60_000) as server:
        response = httpx.get(
            f"{server.url}/resource/ivft-vegh.json?$limit=500000&$order=registre,:id&$select=registre",
            timeout=30,
            verify=False,
        )
    assert response.headers["transfer-encoding"] == "chunked"
    rows = response.json()
    assert len(rows) == 60_000
    assert rows == sorted(rows, key=lambda row: str(row["registre"]))


@pytest.mark.parametrize("table", tables(), ids=lambda table: table.path)
def test_a_table_has_a_value_for_each_cell_and_says_which_are_missing(table: StatTable) -> None:
    for version in (0, 1, 3):
        cube = table.cube(version)
        sizes = [len(cube.document["dimension"][code]["category"]["index"]) for code in cube.document["id"]]
        assert len(cube.values) == pl.Series(sizes).product()
        missing = {at for at, value in enumerate(cube.values) if value is None}
        assert missing == {at for at, status in cube.statuses.items() if status == MISSING}


@pytest.mark.parametrize("table", [each for each in tables() if each.path not in CLOSED], ids=lambda t: t.path)
def test_a_new_version_adds_a_period_and_settles_the_last(table: StatTable) -> None:
    before, after = table.cube(1), table.cube(2)
    time = before.document["id"][0]
    old, new = (cube.document["dimension"][time]["category"]["index"] for cube in (before, after))
    assert new[:-1] == old
    a_period = len(before.values) // len(old)
    start = len(before.values) - a_period
    assert {before.statuses[at] for at in range(start, start + a_period)} - {MISSING} <= {"p", "a"}
    assert {after.statuses.get(at) for at in range(start, start + a_period)} <= {None, MISSING}
    assert {after.statuses[at] for at in range(start + a_period, start + 2 * a_period)} - {MISSING} <= {"p", "a"}


def test_a_closed_table_does_not_grow() -> None:
    for closed in (each for each in tables() if each.path in CLOSED):
        assert closed.cube(2) is closed.cube(0)


def test_several_versions_at_once_are_as_many_one_by_one() -> None:
    with mock.serve(rows=10) as one, mock.serve(rows=10) as other, httpx.Client(verify=False) as client:
        one.advance(steps=3)
        for _ in range(3):
            other.advance()
        table = "/taules/v2/ep/9122/10002/mun"
        for path in (table, f"{table}/data?_LAST_=4", "/resource/yavr-pn8q.json?$order=any,codi,:id&$limit=5000"):
            assert client.get(one.url + path).content == client.get(other.url + path).content
        document = client.get(one.url + table).json()
        assert (document["updated"], document["size"][0]) == ("2026-05-03", 31)
        one.reset()
        assert client.get(one.url + table).json()["updated"] == "2026-04-30"


def test_population_is_of_the_recorded_municipalities_with_their_recorded_figures() -> None:
    with mock.serve(rows=10) as server, httpx.Client(base_url=server.url, verify=False) as client:
        data = client.get(
            "/taules/v2/ep/9122/10002/mun/data",
            params={"MUN": "080193,171045,TOTAL", "SEX": "TOTAL", "SEMESTER": "2022S1"},
        ).json()
    assert data["value"] == [1636193, None, 7792611]


def test_small_rows_without_a_key_keep_their_order() -> None:
    rows = SmallRows(pl.DataFrame({"a": ["2", "1"]}))
    assert rows.at(0, pl.Series([0, 1], dtype=pl.UInt64)).collect()["a"].to_list() == ["2", "1"]

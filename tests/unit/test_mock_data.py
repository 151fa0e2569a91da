"""The mock's generated data look like the real ones, are the same every time, and any page is made on its own."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import httpx
import polars as pl
import pytest

from catalunya.ops import mock
from catalunya.ops.mock.generate_municipalities import control_digit, municipalities_table
from catalunya.ops.mock.generate_register import RegisterTable
from catalunya.ops.mock.generate_usage import usage_table
from catalunya.ops.mock.noise import column, number
from catalunya.ops.mock.pages import View
from catalunya.ops.mock.services import SERVICE_TYPES, UNMATCHED
from catalunya.ops.mock.shape import shape
from catalunya.ops.mock.soql import Query
from catalunya.ops.mock.tables import ROW_NUMBER, Table


def rows_of(table: Table, version: int = 0) -> pl.DataFrame:
    positions = pl.int_range(0, table.total(version), dtype=pl.UInt64, eager=True)
    return table.rows(version, positions).drop(ROW_NUMBER).collect()


def body_of(table: Table, limit: int, offset: int) -> bytes:
    view = View(table, 0, shape(table.dataset, table.total(0), []), 1, table.dataset.updated_at)
    return b"".join(view.body(Query(limit=limit, offset=offset, order=(("registre", False), (":id", False)))))


def test_noise_is_the_same_in_polars_and_in_python() -> None:
    index = pl.DataFrame({"i": pl.Series([0, 7], dtype=pl.UInt64)})
    assert index.select(column(pl.col("i"), 5, 6))["i"].to_list() == [12690770507736924224, 18163740408708216367]
    assert number(1, -2) == number(1, 2**64 - 2)


def test_the_same_seed_gives_the_same_rows_and_another_seed_others() -> None:
    for make in (municipalities_table, usage_table, lambda seed: RegisterTable(300, seed)):
        assert rows_of(make(4)).equals(rows_of(make(4)))
        assert not rows_of(make(4)).equals(rows_of(make(5)))


def test_there_are_947_municipalities_with_right_control_digits_and_two_junk_rows() -> None:
    rows = rows_of(municipalities_table(1))
    codes = [code for code in rows["codi"] if code < "99"]
    assert len(set(codes)) == 947
    assert all(control_digit(code[:5]) == code[5] for code in codes)
    assert Counter(code[:2] for code in codes) == {"08": 311, "25": 231, "17": 221, "43": 184}
    assert rows["nom"].str.to_lowercase().n_unique() == 949
    assert rows.filter(pl.col("codi") < "99")["codi_comarca"].n_unique() == 43
    junk = rows.filter(pl.col("codi") > "99")
    assert junk["codi"].to_list() == ["999998", "999999"]
    assert junk["codi_comarca"].to_list() == ["98", "99"]
    assert json.loads(junk["georefer_ncia"][0])["coordinates"] == [0, 0]
    barcelona = rows.row(by_predicate=pl.col("codi") == "080193", named=True)
    assert (barcelona["nom"], barcelona["codi_comarca"], barcelona["nom_comarca"]) == ("Barcelona", "13", "Barcelonès")
    assert abs(float(barcelona["utm_x"]) - 431205.8838) < 1
    assert abs(float(barcelona["utm_y"]) - 4581535.6460) < 1


def test_the_control_digit_is_that_of_real_codes() -> None:
    assert all(control_digit(code[:5]) == code[5] for code in ("080193", "250019", "431482", "439057", "082009"))


def test_usage_has_42_comarques_until_2022_and_43_since() -> None:
    rows = rows_of(usage_table(1))
    per_year = dict(rows.group_by("any").len().rows())
    assert per_year == {str(year): 42 if year < 2023 else 43 for year in range(2015, 2025)}
    assert rows.select("any", "codi").is_unique().all()
    assert rows["homes_centre_de_dia_gent"].null_count() > 0
    counts = rows.select(pl.exclude("any", "codi", "comarca").cast(pl.Int64).fill_null(0))
    for what in ("{}_centre_de_dia_gent", "{}_resid_ncia_gent_gran"):
        women, men, total = (counts[what.format(who)] for who in ("dones", "homes", "total"))
        assert (women + men).equals(total, check_names=False)
    assert (counts["dones_total"] + counts["homes_total"]).equals(counts["total"], check_names=False)


def test_the_register_looks_like_the_real_one() -> None:
    rows = rows_of(RegisterTable(20_000, 1))
    towns = rows_of(municipalities_table(1))
    assert rows["registre"].str.contains(r"^S\d{5}$").all()
    assert rows["registre"].is_sorted()
    assert set(rows["tipologia"].str.replace("intel.lectual", "intel·lectual", literal=True)) == {
        kind.description for kind in SERVICE_TYPES
    }
    assert {"intel.lectual", "intel·lectual"} <= set(rows["tipologia"].str.extract(r"(intel.lectual)").drop_nulls())
    assert {len(value) for value in rows["inscripcio"]} == {10, 23}
    assert "null" in set(rows["qualificacio"])
    assert None in set(rows["qualificacio"])
    assert rows["capacitat"].null_count() > 0
    assert rows["capacitat"].drop_nulls().str.contains(r"^\d+$").all()
    assert set(rows["districte"].drop_nulls()) == {str(district) for district in range(1, 11)}
    assert rows.filter(pl.col("districte").is_not_null())["municipi"].unique().to_list() == ["Barcelona"]
    assert rows["cp"].str.contains(r"^\d{5}$").all()
    assert rows["telefon"].drop_nulls().str.contains(r"^9\d{8}$").all()
    assert rows["municipi"].str.contains(", l'$").any()
    matched = rows.join(towns, left_on="municipi", right_on="nom")
    assert (matched["comarca"] == matched["nom_comarca"].replace("Aran", "Val d'Aran")).all()
    assert "Val d'Aran" in set(rows["comarca"])
    unmatched = rows.join(towns, left_on="municipi", right_on="nom", how="anti")
    assert set(unmatched["municipi"]) <= {name for name, _, _ in UNMATCHED}
    assert unmatched.height == 10
    assert rows.is_duplicated().sum() == 2 * 20


@pytest.mark.parametrize("rows", [100, 101, 999])
def test_a_small_register_has_a_row_that_cannot_be_matched_at_every_version(rows: int) -> None:
    table, names = RegisterTable(rows, 2), [name for name, _, _ in UNMATCHED]
    assert all(rows_of(table, version)["municipi"].is_in(names).any() for version in range(6))


@pytest.mark.parametrize("rows", [0, 1, 9, 10, 37, 3000])
def test_at_every_version_there_are_as_many_rows_as_counted_and_in_order(rows: int) -> None:
    table = RegisterTable(rows, 5)
    assert table.total(0) == rows
    for version in range(5):
        positions = pl.int_range(0, table.total(version), dtype=pl.UInt64, eager=True)
        made = table.rows(version, positions).collect()
        assert made[ROW_NUMBER].is_unique().all()
        assert made["registre"].is_sorted()


def test_a_new_version_changes_adds_and_drops_a_few_rows_of_each_table() -> None:
    for table in (municipalities_table(1), usage_table(1), RegisterTable(2000, 1)):
        key = list(table.dataset.key)
        for version in range(1, 5):
            before, after = rows_of(table, version - 1), rows_of(table, version)
            added, dropped = (a.join(b, on=key, how="anti").height for a, b in ((after, before), (before, after)))
            kept = after.join(before, on=key, how="semi")
            changed = kept.join(before, on=kept.columns, how="anti", nulls_equal=True).height
            assert all(0 < rows <= 20 for rows in (added, dropped, changed)), table.dataset.id
            assert rows_of(table, version - 1).equals(before)


def test_a_page_is_the_same_alone_as_in_the_whole() -> None:
    table = RegisterTable(5000, 1)
    whole = json.loads(body_of(table, 5000, 0))
    assert json.loads(body_of(table, 10, 4321)) == whole[4321:4331]


def test_a_page_out_of_four_million_rows_is_whole() -> None:
    table = RegisterTable(4_000_000, 1)
    for offset in (3_900_000, 123_456):
        assert body_of(table, 50_000, offset).count(b"\n") == 50_000


def test_a_long_answer_is_streamed_and_whole() -> None:
    with mock.serve(rows=60_000, seed=1) as server:
        response = httpx.get(
            f"{server.url}/resource/ivft-vegh.json?$limit=500000&$order=registre,:id&$select=registre",
            timeout=30,
            verify=False,
        )
    assert response.headers["transfer-encoding"] == "chunked"
    rows = response.json()
    assert len(rows) == 60_000
    assert rows == sorted(rows, key=lambda row: str(row["registre"]))


def test_cached_pages_are_those_that_would_be_rendered(tmp_path: Path) -> None:
    path = "/resource/ivft-vegh.json?$limit=50&$order=registre,:id"
    pages = tmp_path / "pages"
    client = httpx.Client(verify=False)
    with client, mock.serve(rows=100) as plain, mock.serve(rows=100, cache=pages) as cached:
        expected = client.get(plain.url + path).content
        assert [client.get(cached.url + path).content for _ in range(2)] == [expected, expected]
        assert len(list(pages.iterdir())) == 1
        cached.advance()
        plain.advance()
        assert client.get(cached.url + path).content == client.get(plain.url + path).content != expected

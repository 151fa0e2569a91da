"""Reading JSON-stat datasets as cells: every layout the format allows; what it does not allow is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import polars as pl
import pytest

from catalunya.io.errors import ContractError
from catalunya.io.sources.idescat import Idescat
from catalunya.io.sources.jsonstat import Dataset, decode, read_cells
from catalunya.io.sources.pages import read_page
from small.real import real_data

HREF = "https://api.idescat.cat/taules/v2/ep/9122/10002/mun/data?lang=ca"


def dataset(value: Any = (1, 2, 3, 4, 5, 6), **changed: Any) -> bytes:
    """Two half-years of three sexes, of one territory."""
    whole = {
        "version": "2.0",
        "class": "dataset",
        "href": HREF,
        "updated": "2026-01-29",
        "id": ["SEMESTER", "CAT", "SEX"],
        "size": [2, 1, 3],
        "role": {"time": ["SEMESTER"], "geo": ["CAT"]},
        "dimension": {
            "SEMESTER": {"category": {"index": ["2024S1", "2024S2"], "label": {"2024S1": "S1/2024"}}},
            "CAT": {"category": {"label": {"TOTAL": "Catalunya"}}},
            "SEX": {"category": {"index": ["M", "F", "TOTAL"], "label": {"M": "homes", "F": "dones"}}},
        },
        "value": value,
        **changed,
    }
    return json.dumps({name: value for name, value in whole.items() if value is not ...}, ensure_ascii=False).encode()


@pytest.mark.parametrize("source", ["Idescat.", ["Idescat."], [], ...])
def test_a_dataset_may_name_one_publisher_several_or_none(source: object) -> None:
    assert decode(dataset(source=source), Dataset).publisher in {"Idescat.", ""}


def values(body: bytes) -> list[str | None]:
    return read_cells(body)["value"].to_list()


# How cells are read


def test_each_cell_is_a_row_with_columns_named_after_roles_and_dimensions() -> None:
    cells = read_cells(dataset())
    assert cells.rows() == [
        (time, "TOTAL", sex, label, value, None, "ep/9122/10002/mun", "2026-01-29")
        for (time, sex, label), value in zip(
            [
                (time, *sex)
                for time in ("2024S1", "2024S2")
                for sex in (("M", "homes"), ("F", "dones"), ("TOTAL", "TOTAL"))
            ],
            "123456",
            strict=True,
        )
    ]
    assert cells.columns == ["time", "geo", "SEX", "SEX_label", "value", "status", "table", "updated"]
    assert set(cells.dtypes) == {pl.String}


def test_a_dimension_without_a_role_keeps_its_id_and_gets_a_label() -> None:
    cells = read_cells(dataset(role=...))
    assert cells.columns[:6] == ["SEMESTER", "CAT", "SEX", "SEMESTER_label", "CAT_label", "SEX_label"]
    assert cells.row(0)[:6] == ("2024S1", "TOTAL", "M", "S1/2024", "Catalunya", "homes")


def test_the_metric_dimension_is_called_metric() -> None:
    assert read_cells(dataset(role={"metric": ["SEX"]}))["metric"].to_list() == ["M", "F", "TOTAL"] * 2


def test_an_index_may_be_an_object_in_any_order() -> None:
    dimension = json.loads(dataset())["dimension"] | {"SEX": {"category": {"index": {"TOTAL": 2, "F": 1, "M": 0}}}}
    assert read_cells(dataset(dimension=dimension))["SEX"].to_list() == ["M", "F", "TOTAL"] * 2


def test_numbers_are_kept_as_written_and_integers_lose_their_decimal_point() -> None:
    body = dataset("here").replace(b'"here"', b"[ 8492189,1.0 ,\n100.4,-0.10,12345678901234567890, 0]")
    assert values(body) == ["8492189", "1", "100.4", "-0.10", "12345678901234567890", "0"]


def test_integers_with_an_exponent_are_written_out() -> None:
    body = dataset("here").replace(b'"here"', b"[1.6361930E6,2e3,1.5E-3,7,null,-4.0]")
    assert values(body) == ["1636193", "2000", "1.5E-3", "7", None, "-4"]


def test_half_of_a_character_in_a_label_is_a_replacement_character() -> None:
    body = read_page(
        dataset().replace(b"homes", b"hom\\ud83ds"), "page-1", ["SEX_label"], Idescat("ep/9122/10002/mun"), "landing.x"
    )
    assert body["SEX_label"].unique().sort().to_list() == ["TOTAL", "dones", "hom\ufffds"]


def test_a_number_too_small_for_the_type_is_not_written_as_zero() -> None:
    body = dataset("here").replace(b'"here"', b"[1e-400,-2.5E-999,0e5,0.0E0,1e-300,3]")
    assert values(body) == ["1e-400", "-2.5E-999", "0e5", "0.0E0", "1e-300", "3"]


def test_a_value_the_source_withholds_is_null_and_not_zero() -> None:
    assert values(dataset([None, "..", 0, "3", " .. a, \\ «b» ", "c\"d"])) == [
        None, None, "0", "3", " .. a, \\ «b» ", 'c"d',
    ]  # fmt: skip


def test_sparse_values_are_put_at_their_positions() -> None:
    assert values(dataset({"4": 40, "0": 0.5, "2": None, "3": ".."})) == ["0.5", None, None, None, "40", None]
    assert values(dataset({})) == [None] * 6


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (..., [None] * 6),
        (None, [None] * 6),
        ("p", ["p"] * 6),
        (["p", None, "", "..", "a", "p"], ["p", None, "", "..", "a", "p"]),
        ({"5": "..", "1": "p"}, [None, "p", None, None, None, ".."]),
        ({}, [None] * 6),
    ],
    ids=["absent", "null", "one for all", "array", "object", "empty object"],
)
def test_a_status_is_read_in_every_form_the_format_allows(status: Any, expected: list[str | None]) -> None:
    assert read_cells(dataset(status=status))["status"].to_list() == expected


def test_a_cell_without_a_status_has_the_status_of_its_period() -> None:
    dimension = json.loads(dataset())["dimension"]
    dimension["SEMESTER"]["extension"] = {"status": {"2024S2": "p"}, "break": [{"time": "2024S2", "id": "X"}]}
    cells = read_cells(dataset(dimension=dimension, status={"3": ".."}))
    assert cells["status"].to_list() == [None, None, None, "..", "p", "p"]


def test_an_extension_with_another_layout_is_ignored() -> None:
    dimension = json.loads(dataset())["dimension"]
    dimension["SEMESTER"]["extension"] = {"status": ["p"]}
    assert read_cells(dataset(dimension=dimension))["status"].null_count() == 6


def test_the_day_of_an_update_is_kept_even_from_a_date_and_time() -> None:
    assert read_cells(dataset(updated="2026-01-29T08:00:00Z"))["updated"].unique().to_list() == ["2026-01-29"]
    assert read_cells(dataset(updated=...))["updated"].null_count() == 6


@pytest.mark.parametrize(
    "href",
    [
        "http://127.0.0.1:8765/taules/v2/ep/9122/10002/mun",
        "https://api.example/idescat/taules/v2/ep/9122/10002/mun/data/?SEX=F&lang=ca",
        "https://api.idescat.cat/taules/v2/ep/9122/10002/mun?lang=ca",
    ],
)
def test_the_table_is_read_from_its_url(href: str) -> None:
    assert read_cells(dataset(href=href))["table"].unique().to_list() == ["ep/9122/10002/mun"]


def test_a_table_without_cells_still_has_its_columns() -> None:
    dimension = json.loads(dataset())["dimension"] | {"SEMESTER": {"category": {"index": []}}}
    cells = read_cells(dataset([], dimension=dimension, size=[0, 1, 3]))
    assert cells.height == 0
    assert cells.columns[0] == "time"


# What is refused


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"value": [1, 2, 3]}, "expected 6 items in value, the product of the sizes, found 3"),
        ({"value": [1] * 7}, "expected 6 items in value, the product of the sizes, found 7"),
        ({"value": {"6": 1}}, "expected positions 0 to 5 in value, each once, found '6'"),
        ({"value": {"-1": 1}}, "expected positions 0 to 5 in value, each once, found '-1'"),
        ({"value": {"M": 1}}, "expected positions 0 to 5 in value, each once, found 'M'"),
        ({"value": ...}, "expected value as an array or an object, found none"),
        ({"value": None}, "expected value as an array or an object, found null"),
        ({"value": [1, 2, 3, 4, 5, True]}, "expected numbers in value, found 'true'"),
        ({"value": [1, 2, 3, 4, [5, 6]]}, "expected numbers in value, found"),
        ({"value": {"0": {"1": 2}}}, "in value"),
        ({"status": {"9": "p"}}, "expected positions 0 to 5 in status, each once, found '9'"),
        ({"status": ["p"]}, "expected 6 items in status"),
        ({"status": 5}, "expected status as an array or an object, found 5"),
        ({"status": [1, 2, 3, 4, 5, 6]}, "expected texts in status, found '1'"),
        ({"size": [2, 1, 2]}, "dimension SEX: expected 2 categories, found 3"),
        ({"size": [2, 3]}, "expected a size and categories for each dimension"),
        ({"id": ["SEMESTER", "CAT", "AGE"]}, "expected a size and categories for each dimension"),
        ({"role": {"geo": ["MUN"]}}, "expected dimensions of .*, each with one role, found 'MUN' with the role geo"),
        ({"role": {"time": ["SEX"], "geo": ["SEX"]}}, "each with one role, found 'SEX' with the role geo and time"),
        ({"role": {"time": ["SEX", "SEX"]}}, "each with one role, found 'SEX' with the role time"),
        ({"class": "collection"}, "expected JSON-stat, found Invalid enum value 'collection'"),
        ({"class": ...}, "expected JSON-stat, found .*class"),
        ({"href": ...}, "expected an href with the table"),
        ({"href": "https://api.idescat.cat/taules/v2/ep"}, "expected an href with the table"),
        ({"updated": "yesterday"}, "expected updated as a date"),
    ],
)  # fmt: skip
def test_a_dataset_that_contradicts_itself_is_refused_in_one_line(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ContractError, match=message) as caught:
        read_cells(dataset(**changed))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("category", "message"),
    [
        ({"index": {"M": 0, "F": 1, "TOTAL": 3}}, r"dimension SEX: expected an index from 0 to 2, found \[0, 1, 3\]"),
        ({"index": {"M": 0, "F": 0, "TOTAL": 1}}, r"dimension SEX: expected an index from 0 to 2, found \[0, 0, 1\]"),
        ({"index": ["M", "M", "F"]}, "dimension SEX: expected each category once"),
        (
            {"label": {"M": "homes", "F": "dones"}},
            "dimension SEX: expected an index for more than one category, found only 2 labels",
        ),
    ],
)
def test_categories_without_a_defined_order_are_refused(category: dict[str, Any], message: str) -> None:
    dimension = json.loads(dataset())["dimension"] | {"SEX": {"category": category}}
    with pytest.raises(ContractError, match=message):
        read_cells(dataset(dimension=dimension))


@pytest.mark.parametrize(
    ("text", "again", "message"),
    [
        (b'"here"', b'{"1":5,"1":6}', "each name once in an object, found 1 twice"),
        (b'"here"', b'{"1":5,"01":6}', "each once, found '1'"),
        (b'"value"', b'"value":[],"value"', "each name once in an object, found value twice"),
        (b'"updated"', b'"updated":"2020-01-01","updated"', "found updated twice"),
        (b'"label"', b'"label":{},"label"', "found label twice"),
    ],
)
def test_a_name_given_twice_is_refused(text: bytes, again: bytes, message: str) -> None:
    body = dataset("here").replace(text, again, 1).replace(b'"here"', b"[1,2,3,4,5,6]")
    with pytest.raises(ContractError, match=message):
        read_cells(body)


def test_a_position_given_twice_among_thousands_is_refused() -> None:
    whole = dict(json.loads(dataset()), size=[2, 1, 2000])
    whole["dimension"]["SEX"] = {"category": {"index": [str(number) for number in range(2000)]}}
    body = json.dumps(whole | {"value": "here"}).encode()
    positions = ",".join(f'"{number}":{number}' for number in range(4000))
    assert read_cells(body.replace(b'"here"', f"{{{positions}}}".encode())).height == 4000
    with pytest.raises(ContractError, match="each once, found '17'"):
        read_cells(body.replace(b'"here"', f'{{{positions},"17":5}}'.encode()))


# Several dimensions with one role


def test_dimensions_that_share_a_role_have_columns_of_their_own_with_their_labels() -> None:
    cells = read_cells(dataset(role={"time": ["SEMESTER"], "metric": ["CAT", "SEX"]}))
    assert {"time", "CAT", "SEX", "CAT_label", "SEX_label"} <= set(cells.columns)
    assert "metric" not in cells.columns
    assert cells["SEX"].to_list() == read_cells(dataset())["SEX"].to_list()


def real(name: str) -> bytes:
    return real_data(name).read_bytes()


def test_a_real_table_with_two_metric_dimensions_is_read_with_both() -> None:
    cells = read_cells(real("idescat/two_metric_dimensions.one_cell.json"))
    assert cells.to_dicts() == [
        {
            "time": "2022",
            "geo": "080193",
            "CONCEPT": "GROSS_INCOME",
            "INDICATOR": "PER_CAPITA_EUR",
            "CONCEPT_label": "renda familiar disponible bruta",
            "INDICATOR_label": "per habitant (€)",
            "value": "23003",
            "status": "p",
            "table": "rfdbc/21181/25017/mun",
            "updated": "2025-04-30",
        }
    ]


def test_a_real_table_of_another_publisher_with_two_geo_dimensions_is_read_with_both() -> None:
    body = real("recordings/jsonstat/galicia-2.0.json")
    with pytest.raises(ContractError, match=r"expected an href with the table .* found 'https://json-stat.org"):
        read_cells(body)
    cells = read_cells(body.replace(b"https://json-stat.org/samples/galicia.json", b"https://x/taules/v2/a/1/2/b"))
    whole = cells.filter(birth="T", age="T", gender="T", residence="T").select("time", "metric", "value")
    assert whole.rows() == [("2001", "pop", "2695880"), ("2011", "pop", "2772928")]
    assert cells.height == 3960


@pytest.mark.parametrize("name", ["QS104EW", "collection", "oecd-canada", "ons", "statswe", "cantabria"])
def test_a_recording_of_another_kind_or_version_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(ContractError, match=r"expected (JSON-stat|an href with the table)") as raised:
        read_cells(real(f"recordings/jsonstat/{name}.json"))
    assert "\n" not in str(raised.value)


def test_a_dimension_named_like_a_column_of_the_cell_is_refused() -> None:
    body = dataset().replace(b'"SEX"', b'"status"')
    with pytest.raises(ContractError, match="expected each column once, found status twice"):
        read_cells(body)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"<html>", dataset()[:-20], dataset(["\xe0"] * 6).decode().encode("latin-1")]
)
def test_anything_but_json_is_refused(body: bytes) -> None:
    with pytest.raises(ContractError, match="expected"):
        read_cells(body)


def test_importing_the_reader_loads_no_polars() -> None:
    code = "import sys, catalunya.io.sources.jsonstat; print('polars' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


# Real data


def test_the_population_of_the_municipalities_reads_as_idescat_published_it() -> None:
    cells = read_cells(real("idescat/pmh_446_477_mun.data.reconstructed.json"))
    counted = cells.with_columns(pl.col("value").cast(pl.Int64))
    total = counted.filter(geo="TOTAL")
    assert counted.group_by("time", maintain_order=True).agg(pl.col("geo").n_unique()).rows() == [
        (year, 949) for year in ("2019", "2020", "2021", "2022", "2023")
    ]
    assert counted.filter(geo="080193", time="2022")["value"].item() == 1_636_193
    of_2020 = counted.filter(pl.col("geo") != "TOTAL", pl.col("time") == "2020")["value"].sum()
    assert of_2020 == total.filter(time="2020")["value"].item() == 7_780_479
    assert total.filter(time="2023").select("value", "status").row(0) == (None, "..")
    assert counted.filter(geo="171045")["value"].null_count() == 5
    assert set(cells["table"]) == {"pmh/446/477/mun"}
    assert set(cells["metric"]) == {"POP"}

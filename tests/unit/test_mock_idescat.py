"""The mock answers as IDESCAT's tables API does: lists, metadata, data, filters, limits and errors, over real HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import httpx
import pytest

from catalunya.ops import mock
from catalunya.ops.mock.server import MockServer

POPULATION = "/taules/v2/ep/9122/10002/mun"
PRICES = "/taules/v2/pibt/21129/24938/cat"
VOLUME = "/taules/v2/pibt/21130/24940/cat"
JOBS = "/taules/v2/afic/14987/15881/com"
JOBS_2025 = "/taules/v2/afic/14996/26697/com"
TABLES = (POPULATION, PRICES, VOLUME, JOBS, JOBS_2025)
TOO_MUCH = {
    "version": "2.0",
    "class": "error",
    "status": "416",
    "id": "05",
    "label": "Nombre màxim de dades superat.",
}


@pytest.fixture(scope="module")
def server() -> Iterator[MockServer]:
    with mock.serve(rows=10) as running:
        yield running


def codes(document: dict[str, Any], dimension: str) -> list[str]:
    index: list[str] = document["dimension"][dimension]["category"]["index"]
    return index


@pytest.mark.parametrize(
    ("path", "kind", "items"),
    [
        ("", "collection", ["ep", "pmh", "pibt", "afic"]),
        ("/pibt", "collection", ["pibt/21129", "pibt/21130"]),
        ("/pibt/21130", "collection", ["pibt/21130/24940"]),
        ("/ep/9122/10002", "dataset", ["ep/9122/10002/mun"]),
    ],
)
def test_each_level_lists_the_next(api: httpx.Client, path: str, kind: str, items: list[str]) -> None:
    listed = api.get(f"/taules/v2{path}").json()
    assert (listed["version"], listed["class"]) == ("2.0", "collection")
    assert listed["href"] == f"https://api.idescat.cat/taules/v2{path}?lang=ca"
    assert [item["href"] for item in listed["link"]["item"]] == [
        f"https://api.idescat.cat/taules/v2/{item}?lang=ca" for item in items
    ]
    assert {item["class"] for item in listed["link"]["item"]} == {kind}
    assert all(item["label"] for item in listed["link"]["item"])


@pytest.mark.parametrize(
    ("table", "dimensions", "size"),
    [
        (POPULATION, ["SEMESTER", "MUN", "SEX", "CONCEPT"], [28, 949, 3, 1]),
        (PRICES, ["QUARTER", "CAT", "SECTOR", "CONCEPT"], [106, 1, 10, 1]),
        (VOLUME, ["QUARTER", "CAT", "SECTOR", "CONCEPT"], [106, 1, 10, 3]),
        (JOBS, ["MONTH", "COM", "SECTION", "CONCEPT"], [21, 44, 22, 1]),
        (JOBS_2025, ["MONTH", "COM", "SECTION", "CONCEPT"], [2, 44, 23, 1]),
    ],
)
def test_metadata_are_a_dataset_without_values(
    api: httpx.Client, table: str, dimensions: list[str], size: list[int]
) -> None:
    response = api.get(table)
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    document = response.json()
    assert (document["version"], document["class"], document["id"], document["size"]) == (
        "2.0",
        "dataset",
        dimensions,
        size,
    )
    assert document["role"] == {"time": [dimensions[0]], "geo": [dimensions[1]], "metric": ["CONCEPT"]}
    assert not document.keys() & {"value", "status"}
    for name, categories in zip(dimensions, size, strict=True):
        category = document["dimension"][name]["category"]
        assert len(category["index"]) == categories
        assert list(category["label"]) == category["index"]
    assert document["dimension"]["CONCEPT"]["category"]["unit"].keys() == set(codes(document, "CONCEPT"))
    (described,) = document["link"]["describes"]
    assert described["href"] == f"https://api.idescat.cat{table}/data?lang=ca"
    assert document["updated"].startswith("2026-")
    assert document["source"].startswith("Idescat")


def test_periods_have_codes_and_labels(api: httpx.Client) -> None:
    for table, dimension, first, last in (
        (POPULATION, "SEMESTER", ("2012S1", "S1/2012"), ("2025S2", "S2/2025")),
        (PRICES, "QUARTER", ("2000T1", "T1/2000"), ("2026T2", "T2/2026")),
        (JOBS, "MONTH", ("2020M12", "12/2020"), ("2025M12", "12/2025")),
        (JOBS_2025, "MONTH", ("2026M03", "03/2026"), ("2026M06", "06/2026")),
    ):
        labels = list(api.get(table).json()["dimension"][dimension]["category"]["label"].items())
        assert (labels[0], labels[-1]) == (first, last)


@pytest.mark.parametrize("table", TABLES)
def test_data_are_the_metadata_with_a_value_for_each_cell(api: httpx.Client, table: str) -> None:
    metadata, data = api.get(table).json(), api.get(f"{table}/data", params={"_LAST_": 2}).json()
    assert data["size"] == [2, *metadata["size"][1:]]
    assert data["dimension"]["CONCEPT"] == metadata["dimension"]["CONCEPT"]
    assert len(data["value"]) == prod(data["size"])
    missing = {str(at) for at, value in enumerate(data["value"]) if value is None}
    assert missing == {at for at, status in data["status"].items() if status == ".."}
    assert set(data["status"].values()) <= data["extension"]["status"]["label"].keys()
    assert data["extension"]["status"]["label"][".."].startswith("dada confidencial")


def test_the_newest_period_is_marked_provisional(api: httpx.Client) -> None:
    for table, newest in ((POPULATION, {"2025S2": "p"}), (PRICES, {"2026T2": "a"})):
        document = api.get(table).json()
        assert document["dimension"][document["role"]["time"][0]]["extension"]["status"] == newest
        data = api.get(f"{table}/data", params={"_LAST_": 1}).json()
        assert set(data["status"].values()) == {*newest.values(), ".."}
        assert len(data["status"]) == len(data["value"])


def test_all_periods_of_affiliations_are_provisional_and_their_figures_multiples_of_five(api: httpx.Client) -> None:
    for table in (JOBS, JOBS_2025):
        metadata, data = api.get(table).json(), api.get(f"{table}/data", params={"_LAST_": 2}).json()
        assert metadata["dimension"]["MONTH"]["extension"]["status"] == dict.fromkeys(codes(metadata, "MONTH"), "p")
        assert set(data["status"].values()) == {"p"}
        assert all(value % 5 == 0 for value in data["value"])
        assert sum(data["value"]) > 500_000


def test_a_filter_keeps_the_requested_categories_in_the_order_of_the_table(api: httpx.Client) -> None:
    data = api.get(
        f"{POPULATION}/data", params={"MUN": "TOTAL,080193,171045", "SEX": "TOTAL", "SEMESTER": "2024S2,2024S1"}
    ).json()
    assert data["size"] == [2, 3, 1, 1]
    assert codes(data, "MUN") == ["080193", "171045", "TOTAL"]
    assert codes(data, "SEMESTER") == ["2024S1", "2024S2"]
    barcelona, extinct, catalonia = data["value"][:3]
    assert 1_500_000 < barcelona < 1_750_000
    assert extinct is None
    assert 7_500_000 < catalonia < 8_500_000
    assert data["status"] == {"1": "..", "4": ".."}


def test_a_filter_on_an_unknown_dimension_is_not_an_error(api: httpx.Client) -> None:
    whole = api.get(f"{PRICES}/data").json()
    assert api.get(f"{PRICES}/data", params={"FOO": "BAR", "sector": "PIB"}).json() == whole
    assert api.get(f"{POPULATION}/data", params={"FOO": "BAR"}).json() == TOO_MUCH


def test_an_unknown_category_is_absent_from_the_answer(api: httpx.Client) -> None:
    data = api.get(f"{JOBS}/data", params={"COM": "13,99", "MONTH": "2025M12"}).json()
    assert codes(data, "COM") == ["13"]
    assert len(data["value"]) == 22
    none = api.get(f"{JOBS}/data", params={"COM": "99", "MONTH": "2025M12"}).json()
    assert (none["size"], none["value"]) == ([1, 0, 22, 1], [])


def test_the_last_periods_can_be_requested(api: httpx.Client) -> None:
    data = api.get(f"{VOLUME}/data", params={"_LAST_": 3, "SECTOR": "PIB"}).json()
    assert codes(data, "QUARTER") == ["2025T4", "2026T1", "2026T2"]
    assert api.get(f"{VOLUME}/data", params={"_LAST_": 500}).json()["size"][0] == 106


@pytest.mark.parametrize("params", [{"_LAST_": "2", "QUARTER": "2024T1"}, {"_LAST_": "0"}, {"_LAST_": "two"}])
def test_the_last_periods_and_a_filter_on_time_exclude_each_other(api: httpx.Client, params: dict[str, str]) -> None:
    response = api.get(f"{VOLUME}/data", params=params)
    assert response.status_code == 400
    assert (response.json()["id"], response.json()["status"]) == ("06", "400")


def test_more_than_20_000_cells_are_refused(api: httpx.Client) -> None:
    for params in ({}, {"_LAST_": 8}):
        response = api.get(f"{POPULATION}/data", params=params)
        assert (response.status_code, response.json()) == (416, TOO_MUCH)
    assert len(api.get(f"{POPULATION}/data", params={"_LAST_": 7}).json()["value"]) == 7 * 949 * 3
    assert api.get(POPULATION).status_code == 200


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("nope", "01"),
        ("nope/1/2/mun/data", "01"),
        ("ep/1", "02"),
        ("ep/9122/1", "03"),
        ("ep/9122/10002/com", "04"),
        ("ep/9122/10002/com/data", "04"),
    ],
)
def test_an_unknown_address_is_the_error_of_its_level(api: httpx.Client, path: str, number: str) -> None:
    response = api.get(f"/taules/v2/{path}")
    assert response.status_code == 400
    body = response.json()
    assert list(body) == ["version", "class", "status", "id", "label"]
    assert (body["class"], body["status"], body["id"]) == ("error", "400", number)


def test_an_address_below_all_levels_is_not_found(api: httpx.Client) -> None:
    assert api.get(f"{POPULATION}/nope").status_code == api.get(f"{POPULATION}/data/nope").status_code == 404


def test_an_answer_is_in_catalan_and_its_addresses_keep_the_language(api: httpx.Client) -> None:
    english = api.get(PRICES, params={"lang": "en"}).json()
    assert english["dimension"]["SECTOR"]["category"]["label"]["IND"] == "Indústria"
    assert english["href"].endswith("?lang=en")


def test_a_long_request_is_sent_by_post(api: httpx.Client, server: MockServer) -> None:
    municipalities = ",".join(codes(api.get(POPULATION).json(), "MUN"))
    params = {"MUN": municipalities, "SEX": "TOTAL", "SEMESTER": "2024S1"}
    too_long = api.get(f"{POPULATION}/data", params=params)
    assert (too_long.status_code, too_long.headers["content-type"]) == (414, "text/html")
    posted = api.post(f"{POPULATION}/data", data=params)
    assert posted.json() == api.get(f"{POPULATION}/data", params={"SEX": "TOTAL", "SEMESTER": "2024S1"}).json()
    last = server.requests[-2]
    assert (last.method, last.dataset, last.kind) == ("POST", "ep/9122/10002/mun", "rows")
    assert last.query.startswith("MUN=")
    assert last.query.endswith("&SEX=TOTAL&SEMESTER=2024S1")


def test_a_post_is_answered_as_a_get_is(api: httpx.Client) -> None:
    params = {"SECTOR": "PIB,VAB", "_LAST_": "2", "lang": "es"}
    assert api.post(f"{VOLUME}/data", data=params).json() == api.get(f"{VOLUME}/data", params=params).json()
    assert api.post(f"{VOLUME}/data?SECTOR=PIB,VAB&lang=es", data={"_LAST_": "2"}).json()["size"] == [2, 1, 2, 3]


def test_requests_are_counted_by_table_and_kind(api: httpx.Client) -> None:
    api.get(PRICES)
    api.get(f"{PRICES}/data")
    api.get(f"{PRICES}/data", params={"SECTOR": "PIB"})
    api.get("/taules/v2/ep")
    api.get("/taules/v2")
    assert api.get("/_mock/requests").json()["counts"] == {
        "pibt/21129/24938/cat": {"metadata": 1, "rows": 2},
        "ep": {"metadata": 1},
        "taules/v2": {"metadata": 1},
    }


def test_related_tables_are_those_of_the_statistic(api: httpx.Client) -> None:
    (other,) = api.get(PRICES).json()["link"]["related"]
    assert other["href"] == f"https://api.idescat.cat{VOLUME}?lang=ca"
    assert "related" not in api.get(POPULATION).json()["link"]


def test_answers_have_no_validators(api: httpx.Client) -> None:
    headers = api.get(PRICES).headers
    assert not headers.keys() & {"etag", "last-modified"}
    assert headers["access-control-allow-origin"] == "*"

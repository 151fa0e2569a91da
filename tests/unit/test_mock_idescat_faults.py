"""What the mock's faults do to IDESCAT's tables, over real HTTP; what they do to any answer is in test_mock_faults.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from catalunya.io.errors import UsageError
from catalunya.ops import mock
from catalunya.ops.mock.faults import Fault, parse_fault
from catalunya.ops.mock.server import MockServer

POPULATION, PRICES, VOLUME = "ep/9122/10002/mun", "pibt/21129/24938/cat", "pibt/21130/24940/cat"
SECTORS = 10


@pytest.fixture(scope="module")
def server() -> Iterator[MockServer]:
    with mock.serve(rows=10) as running:
        yield running


def metadata(api: httpx.Client, table: str = PRICES) -> dict[str, Any]:
    document: dict[str, Any] = api.get(f"/taules/v2/{table}").json()
    return document


def data(api: httpx.Client, table: str = PRICES, **params: str | int) -> httpx.Response:
    return api.get(f"/taules/v2/{table}/data", params=params)


def test_a_fault_names_a_table_by_its_path() -> None:
    fault = parse_fault("too-heavy:ep/9122/10002/mun:times=2:cells=9000")
    assert fault == Fault("too-heavy", POPULATION, times=2, cells=9000)
    assert fault.spec == "too-heavy:ep/9122/10002/mun:times=2:cells=9000"


@pytest.mark.parametrize(
    ("spec", "status"),
    [("rate-limited", 429), ("rate-limited-bare", 429), ("error-500", 500), ("error-503", 503), ("error-504", 504)],
)
def test_a_fault_is_limited_to_its_table_and_kind_of_request(
    api: httpx.Client, server: MockServer, spec: str, status: int
) -> None:
    server.faults(f"{spec}:{PRICES}:on=rows:after=1:times=1")
    assert api.get(f"/taules/v2/{PRICES}").status_code == data(api, VOLUME).status_code == 200
    assert [data(api).status_code for _ in range(3)] == [200, status, 200]


def test_a_gateway_that_gives_up_answers_html(api: httpx.Client, server: MockServer) -> None:
    server.faults("error-504")
    assert data(api).text.startswith("<html>")
    assert api.get("/api/views/yavr-pn8q").status_code == 504


def test_damaged_bodies_are_invalid_json(api: httpx.Client, server: MockServer) -> None:
    for spec in ("truncated", "wrong-json", "wrong-json:body=array"):
        server.faults(spec)
        assert data(api).status_code == 200
        with pytest.raises(ValueError, match=r"Expecting|Extra data|Unterminated"):
            data(api).json()
    server.faults("cut-off")
    with pytest.raises(httpx.RemoteProtocolError):
        data(api)


@pytest.mark.parametrize("number", ["00", "05"])
def test_an_error_may_come_with_status_200(api: httpx.Client, server: MockServer, number: str) -> None:
    server.faults(f"error-in-200:{PRICES}:id={number}:times=2")
    for response in (data(api), api.get(f"/taules/v2/{PRICES}")):
        assert (response.status_code, response.json()["class"], response.json()["id"]) == (200, "error", number)
        assert response.json()["status"] == {"00": "500", "05": "416"}[number]
    assert data(api).json()["class"] == "dataset"


def test_a_request_for_many_cells_is_too_heavy_and_one_for_less_is_not(api: httpx.Client, server: MockServer) -> None:
    server.faults(f"too-heavy:{POPULATION}:cells=9000")
    assert data(api, POPULATION, _LAST_=4).status_code == 504
    assert data(api, POPULATION, _LAST_=3).status_code == 200
    assert data(api, POPULATION).status_code == 416
    assert api.get(f"/taules/v2/{POPULATION}").status_code == 200


def test_an_ignored_filter_gives_the_whole_table(api: httpx.Client, server: MockServer) -> None:
    server.faults("ignored-filter:times=1")
    metadata(api, POPULATION)
    whole = data(api, POPULATION, _LAST_=1, MUN="080193")
    assert whole.status_code == 200
    assert len(whole.json()["value"]) == 28 * 949 * 3
    assert len(data(api, POPULATION, _LAST_=1, MUN="080193").json()["value"]) == 3


def test_sparse_values_are_an_object_without_the_missing_ones(api: httpx.Client, server: MockServer) -> None:
    dense = data(api, _LAST_=2).json()
    server.faults("sparse")
    sparse = data(api, _LAST_=2).json()
    assert sparse["value"] == {str(at): value for at, value in enumerate(dense["value"]) if value is not None}
    assert len(sparse["value"]) < len(dense["value"])
    assert {**sparse, "value": 0} == {**dense, "value": 0}


def test_a_new_version_is_published_after_each_request_for_data(api: httpx.Client, server: MockServer) -> None:
    server.faults(f"moving-rows:{POPULATION}:times=2")
    dates = [data(api, POPULATION, _LAST_=1, SEX="TOTAL").json()["updated"] for _ in range(4)]
    assert dates == ["2026-04-30", "2026-05-01", "2026-05-02", "2026-05-02"]
    assert metadata(api, POPULATION)["updated"] == "2026-05-02"


def test_an_empty_table_has_no_places(api: httpx.Client, server: MockServer) -> None:
    server.faults("empty")
    assert metadata(api, POPULATION)["size"] == [28, 0, 3, 1]
    assert data(api, POPULATION).json()["value"] == []
    assert data(api).json()["value"] == []


def test_a_shrunken_table_keeps_the_first_places_or_where_there_is_one_the_first_periods(
    api: httpx.Client, server: MockServer
) -> None:
    before = metadata(api, POPULATION)["dimension"]["MUN"]["category"]["index"]
    values = data(api).json()["value"]
    server.faults("shrunken:keep=0.5")
    assert metadata(api, POPULATION)["dimension"]["MUN"]["category"]["index"] == before[:474]
    assert data(api).json()["value"] == values[: 53 * SECTORS]


def test_a_missing_dimension_leaves_its_total(api: httpx.Client, server: MockServer) -> None:
    totals = data(api, POPULATION, _LAST_=2, SEX="TOTAL").json()
    server.faults(f"missing-column:{POPULATION}")
    found = data(api, POPULATION, _LAST_=2).json()
    assert found["id"] == ["SEMESTER", "MUN", "CONCEPT"]
    assert found["dimension"].keys() == set(found["id"])
    assert (found["value"], found["status"]) == (totals["value"], totals["status"])
    assert metadata(api, POPULATION)["size"] == [28, 949, 1]


def test_a_renamed_dimension_has_its_new_name_and_its_old_one_is_an_unknown_filter(
    api: httpx.Client, server: MockServer
) -> None:
    server.faults(f"renamed-column:{PRICES}:column=SECTOR:to=BRANCA")
    assert metadata(api)["id"] == ["QUARTER", "CAT", "BRANCA", "CONCEPT"]
    assert data(api, BRANCA="PIB").json()["size"] == [106, 1, 1, 1]
    assert data(api, SECTOR="PIB").json()["size"] == [106, 1, SECTORS, 1]
    server.faults(f"renamed-column:{PRICES}:column=QUARTER:to=TRIMESTRE")
    assert metadata(api)["role"]["time"] == ["TRIMESTRE"]
    assert data(api, _LAST_=1).json()["size"][0] == 1


def test_a_new_dimension_has_a_total(api: httpx.Client, server: MockServer) -> None:
    values = data(api).json()["value"]
    server.faults("new-column")
    found = data(api).json()
    assert found["id"][-1] == "NOVA_DIMENSIO"
    assert (found["size"][-1], found["value"]) == (1, values)


def test_a_fault_of_the_table_moves_its_date_and_so_does_clearing_it(api: httpx.Client, server: MockServer) -> None:
    dates = [metadata(api)["updated"]]
    for faults in (
        ["missing-column"],
        [],
        ["empty:on=rows"],
        [f"missing-column:{VOLUME}"],
        ["missing-column:column=x"],
    ):
        server.faults(*faults)
        dates.append(metadata(api)["updated"])
        assert data(api).json()["updated"] == dates[-1]
    assert dates == ["2026-09-17", "2026-09-18", *["2026-09-19"] * 4]


def test_a_fault_of_one_api_does_not_count_requests_to_the_other(api: httpx.Client, server: MockServer) -> None:
    server.faults("error-in-200:times=1", "retyped-column:times=1")
    api.get("/api/views/yavr-pn8q")
    assert data(api).json()["class"] == "error"
    document = api.get("/_mock/faults").json()["faults"]
    assert [each["applied"] for each in document] == [1, 1]


@pytest.mark.parametrize(
    "spec",
    ["sparse:yavr-pn8q", f"retyped-column:{PRICES}", "too-heavy:cells=many", "error-in-200:id=99", "sparse:ep/9122"],
)
def test_a_fault_that_does_not_exist_for_its_table_is_refused(server: MockServer, spec: str) -> None:
    with pytest.raises(UsageError, match="expected"):
        server.faults(spec)

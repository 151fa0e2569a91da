"""The mock answers as the portal does: rows, counts, metadata, headers, dates and errors, over real HTTP."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from catalunya.ops import mock
from catalunya.ops.mock.server import MockServer

REGISTER = "/resource/ivft-vegh.json"
USAGE = "/resource/yavr-pn8q.json"
MUNICIPALITIES = "/resource/9aju-tpwc.json"


@pytest.fixture(scope="module")
def server() -> Iterator[MockServer]:
    with mock.serve(rows=2500, seed=3) as running:
        yield running


def get(api: httpx.Client, path: str, **params: str | int) -> httpx.Response:
    return api.get(path, params={f"${name}": value for name, value in params.items()})


def test_importing_the_package_loads_neither_polars_nor_the_server() -> None:
    code = "import sys, catalunya.ops.mock; print([m for m in ('polars', 'starlette', 'uvicorn') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_rows_come_one_a_line(api: httpx.Client) -> None:
    response = get(api, REGISTER, limit=3, order="registre,:id")
    lines = response.text.split("\n")
    assert lines[0].startswith('[{"registre":"S00001",')
    assert all(line.startswith(',{"registre":"') for line in lines[1:3])
    assert lines[2].endswith("}]")
    assert lines[3:] == [""]
    assert response.headers["content-type"] == "application/json;charset=utf-8"


def test_a_page_has_1000_rows_by_default(api: httpx.Client) -> None:
    assert len(get(api, REGISTER).json()) == 1000


def test_a_page_past_the_end_is_an_empty_array(api: httpx.Client) -> None:
    response = get(api, REGISTER, offset=2500)
    assert (response.status_code, response.text) == (200, "[]\n")
    assert get(api, REGISTER, limit=0).text == "[]\n"


def test_a_count_is_a_string(api: httpx.Client) -> None:
    assert get(api, REGISTER, select="count(*) as total").text == '[{"total":"2500"}]\n'
    assert get(api, REGISTER, select="count(*)").json() == [{"count": "2500"}]


def test_numbers_are_strings_and_nulls_are_left_out(api: httpx.Client) -> None:
    rows = get(api, REGISTER, limit=2500).json()
    assert all(isinstance(value, str) for row in rows for value in row.values())
    assert {"capacitat" in row for row in rows} == {True, False}
    assert all("districte" in row for row in rows if row["municipi"] == "Barcelona")
    assert not any("districte" in row for row in rows if row["municipi"] != "Barcelona")


def test_points_are_geojson(api: httpx.Client) -> None:
    rows = get(api, MUNICIPALITIES, limit=5000).json()
    barcelona = next(row for row in rows if row["codi"] == "080193")
    assert barcelona["georefer_ncia"] == {"type": "Point", "coordinates": [2.177241106, 41.38240539]}
    assert ":@computed_region_bh64_c7uy" in barcelona


def test_pages_ordered_by_key_and_id_hold_every_row_once(api: httpx.Client) -> None:
    pages = [
        get(api, REGISTER, limit=700, offset=o, order="registre,:id", select=":*,*").json() for o in range(0, 2500, 700)
    ]
    rows = [row for page in pages for row in page]
    assert len({row[":id"] for row in rows}) == len(rows) == 2500
    assert [(row["registre"], row[":id"]) for row in rows] == sorted((row["registre"], row[":id"]) for row in rows)


def test_pages_without_order_overlap_and_miss_rows(api: httpx.Client) -> None:
    rows = [
        row
        for offset in range(0, 2500, 500)
        for row in get(api, REGISTER, limit=500, offset=offset, select=":id").json()
    ]
    assert len(rows) == 2500
    assert len({row[":id"] for row in rows}) < 2500


def test_one_page_without_order_has_every_row_once_in_any_order(api: httpx.Client) -> None:
    ids = [row[":id"] for row in get(api, REGISTER, limit=2500, select=":id").json()]
    assert len(set(ids)) == 2500
    assert ids != sorted(ids)


def test_rows_can_be_ordered_by_any_column_and_numbers_as_numbers(api: httpx.Client) -> None:
    rows = get(api, REGISTER, limit=2500, select="registre,capacitat", order="capacitat DESC,registre").json()
    capacities = [int(row["capacitat"]) for row in rows if "capacitat" in row]
    assert capacities == sorted(capacities, reverse=True)
    assert "capacitat" not in rows[-1]
    second_page = get(
        api, REGISTER, limit=10, offset=20, select="registre,capacitat", order="capacitat DESC,registre"
    ).json()
    assert second_page == rows[20:30]


def test_rows_can_be_filtered_by_a_column(api: httpx.Client) -> None:
    rows = api.get(REGISTER, params={"municipi": "Barcelona", "$limit": 3000, "$order": "registre"}).json()
    assert {row["municipi"] for row in rows} == {"Barcelona"}
    counted = api.get(REGISTER, params={"municipi": "Barcelona", "$select": "count(*) as total"}).json()
    assert counted == [{"total": str(len(rows))}]


@pytest.mark.parametrize(
    "where",
    [
        "any >= '2017' and any <= '2019'",
        "any between '2017' and '2019'",
        "`any` >= '2017'  AND  `any` <= '2019'",
    ],
)
def test_rows_can_be_filtered_by_bounds_of_a_text_column(api: httpx.Client, where: str) -> None:
    rows = get(api, USAGE, where=where, limit=5000, order="any,codi,:id").json()
    everything = get(api, USAGE, limit=5000, order="any,codi,:id").json()
    assert rows == [row for row in everything if "2017" <= row["any"] <= "2019"]
    assert get(api, USAGE, where=where, select="count(*) as total").json() == [{"total": str(len(rows))}]
    assert get(api, USAGE, where=where, limit=10, offset=40, order="any,codi,:id").json() == rows[40:50]


@pytest.mark.parametrize("where", ["total >= 90 and total <= '1000'", "total between '90' and 1000.0"])
def test_rows_can_be_filtered_by_bounds_of_a_number_column(api: httpx.Client, where: str) -> None:
    totals = [int(row["total"]) for row in get(api, USAGE, limit=5000).json()]
    found = [int(row["total"]) for row in get(api, USAGE, where=where, limit=5000).json()]
    assert sorted(found) == sorted(total for total in totals if 90 <= total <= 1000)
    assert 0 < len(found) < len(totals)


def test_bounds_may_be_open_and_exclude_rows_without_a_value(api: httpx.Client) -> None:
    rows = get(api, REGISTER, limit=2500).json()
    for operator in (">=", "<="):
        found = get(api, REGISTER, limit=2500, where=f"inscripcio {operator} '2015'", order="registre").json()
        kept = [row for row in rows if "inscripcio" in row and (row["inscripcio"] >= "2015") == (operator == ">=")]
        assert sorted(row["registre"] for row in found) == sorted(row["registre"] for row in kept)


def test_bounds_combine_with_a_filter(api: httpx.Client) -> None:
    params = {"codi": "13", "$where": "any >= '2020'", "$order": "any"}
    assert [row["any"] for row in api.get(USAGE, params=params).json()] == ["2020", "2021", "2022", "2023", "2024"]


@pytest.mark.parametrize(
    "where",
    [
        "",
        "any = '2014'",
        "any >= '2014' or any <= '2020'",
        "any >= '2014' and codi <= '20'",
        "any >= '2014' and any <= '2020' and codi = '13'",
        "any >= 2014",
        "total >= 'many'",
        "any >= '2014",
        "any not between '2014' and '2020'",
        "upper(any) >= '2014'",
    ],
)
def test_any_other_where_is_refused(api: httpx.Client, where: str) -> None:
    for params in ({"$where": where}, {"$where": where, "$select": "count(*) as total"}):
        response = api.get(USAGE, params=params)
        assert (response.status_code, response.json()["code"]) == (400, "query.compiler.malformed")


def test_system_fields_are_added_on_demand_only(api: httpx.Client) -> None:
    assert ":id" not in get(api, USAGE, limit=1).json()[0]
    rows = get(api, USAGE, select=":*,*").json()
    assert list(rows[0])[:5] == [":id", ":version", ":created_at", ":updated_at", "any"]
    assert {row[":updated_at"] for row in rows} == {"2025-09-23T11:40:00.795Z"}


def test_headers_have_dates_and_fields(api: httpx.Client) -> None:
    headers = get(api, USAGE, limit=1).headers
    modified = "Tue, 23 Sep 2025 11:40:00 GMT"
    assert headers["last-modified"] == headers["x-soda2-truth-last-modified"] == modified
    assert headers["x-soda2-secondary-last-modified"] == modified
    assert headers["x-soda2-data-out-of-date"] == "false"
    assert json.loads(headers["x-soda2-fields"])[:2] == ["any", "codi"]
    assert len(json.loads(headers["x-soda2-types"])) == 12
    assert headers["etag"].startswith('W/"')
    assert len(headers["x-socrata-requestid"]) == 32
    assert headers["vary"] == "Accept-Encoding"


def test_an_unchanged_page_is_answered_with_304(api: httpx.Client) -> None:
    first = get(api, USAGE, limit=1)
    for name, value in (
        ("If-None-Match", first.headers["etag"]),
        ("If-Modified-Since", first.headers["last-modified"]),
    ):
        again = api.get(USAGE, params={"$limit": 1}, headers={name: value})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
    other_page = api.get(USAGE, params={"$limit": 2}, headers={"If-None-Match": first.headers["etag"]})
    assert other_page.status_code == 200


def test_unchanged_metadata_are_answered_with_304(api: httpx.Client) -> None:
    first = api.get("/api/views/yavr-pn8q.json")
    assert api.get("/api/views/yavr-pn8q", headers={"If-None-Match": first.headers["etag"]}).status_code == 304


def test_a_new_version_is_answered_in_full(api: httpx.Client, server: MockServer) -> None:
    first = get(api, USAGE, limit=1)
    server.advance("yavr-pn8q")
    for name, value in (
        ("If-None-Match", first.headers["etag"]),
        ("If-Modified-Since", first.headers["last-modified"]),
    ):
        assert api.get(USAGE, params={"$limit": 1}, headers={name: value}).status_code == 200


def test_metadata_have_columns_and_dates(api: httpx.Client) -> None:
    view = api.get("/api/views/ivft-vegh.json").json()
    assert view == api.get("/api/views/ivft-vegh").json()
    assert view["rowsUpdatedAt"] == view["viewLastModified"]
    assert timedelta(0) <= datetime.now(UTC) - datetime.fromtimestamp(view["rowsUpdatedAt"], UTC) < timedelta(days=2)
    assert view["licenseId"] == "SEE_TERMS_OF_USE"
    assert view["attribution"]
    hidden = [column["fieldName"] for column in view["columns"] if column["position"] == 0]
    assert hidden[:2] == [":sid", ":id"]
    own = [column for column in view["columns"] if column["position"] > 0]
    assert [column["position"] for column in own] == list(range(1, 15))
    assert own[0] | {"fieldName": "registre", "dataTypeName": "text", "name": "Registre"} == own[0]
    assert own[0]["cachedContents"] == {"count": "2500", "null": "0", "non_null": "2500"}
    assert all(column["description"] for column in own)


def test_an_unknown_dataset_is_a_404_with_the_portals_bodies(api: httpx.Client) -> None:
    rows = api.get("/resource/abcd-1234.json")
    assert rows.status_code == 404
    assert rows.json() == {
        "code": "dataset.missing",
        "error": True,
        "message": "Not found",
        "data": {"id": "abcd-1234"},
    }
    assert rows.text.startswith('{\n  "code" : "dataset.missing",\n')
    view = api.get("/api/views/abcd-1234.json")
    assert view.status_code == 404
    assert view.json()["code"] == view.headers["x-error-code"] == "not_found"
    assert view.headers["x-error-message"] == "Not found"


@pytest.mark.parametrize(
    "params",
    [
        {"$limit": "ten"},
        {"$offset": "-1"},
        {"$where": "x = 1"},
        {"$order": "nom;drop"},
        {"$select": "max(nom)"},
        {"$foo": "1"},
    ],
)
def test_a_query_that_cannot_be_parsed_is_refused(api: httpx.Client, params: dict[str, str]) -> None:
    response = api.get(REGISTER, params=params)
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    body = response.json()
    assert (body["code"], body["error"]) == ("query.compiler.malformed", True)
    assert body["message"].startswith('Could not parse SoQL query "')


@pytest.mark.parametrize(
    "params", [{"$order": "nope"}, {"$select": "nom,nope"}, {"nope": "1"}, {"$where": "nope >= '1'"}]
)
def test_an_unknown_column_is_refused_in_the_other_shape(api: httpx.Client, params: dict[str, str]) -> None:
    response = api.get(REGISTER, params=params)
    assert response.status_code == 400
    body = response.json()
    assert body["errorCode"] == "query.soql.no-such-column"
    assert "code" not in body
    assert "error" not in body
    assert body["data"]["column"] == "nope"


def test_an_app_token_is_taken_either_way(api: httpx.Client, server: MockServer) -> None:
    assert api.get(USAGE, params={"$$app_token": "t", "$limit": 1}).status_code == 200
    assert api.get(USAGE, params={"$limit": 1}, headers={"X-App-Token": "t"}).status_code == 200
    assert api.get(USAGE, params={"$limit": 1}).status_code == 200
    assert [exchange.app_token for exchange in server.requests] == [True, True, False]


def test_answers_are_compressed_if_gzip_is_on() -> None:
    with mock.serve(rows=100, gzip=True) as server:
        url = f"{server.url}{REGISTER}?$order=registre"
        packed = httpx.get(url, verify=False)
        plain = httpx.get(url, verify=False, headers={"Accept-Encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.content == plain.content


def test_a_head_request_has_headers_and_no_body(api: httpx.Client) -> None:
    response = api.head(USAGE)
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["x-soda2-truth-last-modified"]

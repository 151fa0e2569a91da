"""Every fault of the mock does what its name says, only where and as often as it was asked for, over real HTTP."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from catalunya.io.errors import ConfigurationError, UsageError
from catalunya.ops import mock
from catalunya.ops.mock.faults import Fault, parse_fault
from catalunya.ops.mock.server import MockServer

DATASETS = ("9aju-tpwc", "ivft-vegh", "yavr-pn8q")
KEYS = {"9aju-tpwc": "codi", "ivft-vegh": "registre", "yavr-pn8q": "any,codi"}


@pytest.fixture(scope="module")
def server() -> Iterator[MockServer]:
    with mock.serve(rows=1000) as running:
        yield running


def page(api: httpx.Client, dataset: str = "ivft-vegh", limit: int = 5000, offset: int = 0) -> httpx.Response:
    params: dict[str, str | int] = {"$limit": limit, "$offset": offset, "$order": f"{KEYS[dataset]},:id"}
    return api.get(f"/resource/{dataset}.json", params=params)


def columns(api: httpx.Client, dataset: str) -> dict[str, str]:
    view = api.get(f"/api/views/{dataset}.json").json()
    return {column["fieldName"]: column["dataTypeName"] for column in view["columns"] if column["position"] > 0}


def count(api: httpx.Client, dataset: str) -> int:
    return int(api.get(f"/resource/{dataset}.json", params={"$select": "count(*) as total"}).json()[0]["total"])


def shown(api: httpx.Client, dataset: str) -> set[str]:
    return {field for row in page(api, dataset).json() for field in row}


def test_a_rate_limit_has_a_retry_after_header(api: httpx.Client, server: MockServer) -> None:
    server.faults("rate-limited:retry-after=7:times=1")
    limited = page(api)
    assert (limited.status_code, limited.headers["retry-after"]) == (429, "7")
    assert limited.json()["error"] is True
    assert page(api).status_code == 200


def test_a_bare_rate_limit_has_no_retry_after_header(api: httpx.Client, server: MockServer) -> None:
    server.faults("rate-limited-bare")
    limited = page(api)
    assert limited.status_code == 429
    assert "retry-after" not in limited.headers
    with pytest.raises(ValueError, match="Expecting value"):
        limited.json()


@pytest.mark.parametrize(("fault", "status"), [("error-500", 500), ("error-503", 503)])
def test_a_server_error_has_an_html_body(api: httpx.Client, server: MockServer, fault: str, status: int) -> None:
    server.faults(fault)
    for response in (page(api), api.get("/api/views/ivft-vegh.json")):
        assert response.status_code == status
        assert response.headers["content-type"] == "text/html"
        assert response.text.startswith("<html>")


def test_a_slow_answer_is_late_and_complete(api: httpx.Client, server: MockServer) -> None:
    server.faults("slow:seconds=0.15")
    started = time.monotonic()
    assert len(page(api, limit=2).json()) == 2
    assert time.monotonic() - started >= 0.15
    with pytest.raises(httpx.ReadTimeout):
        api.get("/resource/ivft-vegh.json", timeout=0.02)


def test_other_requests_do_not_wait_for_a_slow_one(api: httpx.Client, server: MockServer) -> None:
    server.faults("slow:9aju-tpwc:seconds=30")
    with pytest.raises(httpx.ReadTimeout):
        api.get("/resource/9aju-tpwc.json", timeout=0.02)
    assert page(api, "yavr-pn8q").status_code == 200


def test_a_cut_off_body_is_shorter_than_its_content_length(api: httpx.Client, server: MockServer) -> None:
    server.faults("cut-off:times=1")
    with pytest.raises(httpx.RemoteProtocolError, match=r"incomplete|without sending complete"):
        page(api)
    assert len(page(api).json()) == 1000


def test_a_truncated_body_is_complete_http_and_invalid_json(api: httpx.Client, server: MockServer) -> None:
    whole = page(api).content
    server.faults("truncated")
    response = page(api)
    assert response.status_code == 200
    assert int(response.headers["content-length"]) == len(response.content) == len(whole) // 2
    assert response.content == whole[: len(whole) // 2]


def test_wrong_json_is_html_or_one_broken_row(api: httpx.Client, server: MockServer) -> None:
    server.faults("wrong-json")
    assert page(api).text.startswith("<html>")
    server.faults("wrong-json:body=array")
    response = page(api)
    assert response.headers["content-type"] == "application/json;charset=utf-8"
    assert response.text.endswith("}]\n")
    with pytest.raises(ValueError, match="Expecting value"):
        response.json()
    for target in ("/api/views/ivft-vegh.json", "/resource/ivft-vegh.json?$select=count(*)"):
        with pytest.raises(ValueError, match=r"Expecting|delimiter"):
            api.get(target).json()


def test_a_new_version_is_published_between_pages(api: httpx.Client, server: MockServer) -> None:
    key: list[str] = []
    stamps, tags, dates = set(), set(), set()
    server.faults("moving-rows:ivft-vegh")
    for offset in range(0, 1000, 100):
        response = page(api, limit=100, offset=offset)
        key += [row["registre"] for row in response.json()]
        stamps.add(response.headers["x-soda2-truth-last-modified"])
        tags.add(response.headers["etag"])
        dates.add(api.get("/api/views/ivft-vegh").json()["rowsUpdatedAt"])
    assert len(stamps) == len(tags) == len(dates) == 10
    server.faults()
    now = {row["registre"] for row in page(api).json()}
    assert now - set(key)
    assert server.datasets()["9aju-tpwc"]["version"] == 0


def test_no_more_versions_are_published_after_the_first_pages(api: httpx.Client, server: MockServer) -> None:
    server.faults("moving-rows:times=1")
    stamps = [page(api, limit=10, offset=offset).headers["last-modified"] for offset in (0, 10, 20, 30)]
    assert stamps[0] != stamps[1] == stamps[2] == stamps[3]


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_new_column_is_in_data_and_metadata(api: httpx.Client, server: MockServer, dataset: str) -> None:
    before = columns(api, dataset)
    server.faults("new-column:column=nova")
    assert columns(api, dataset) == before | {"nova": "text"}
    assert shown(api, dataset) == before.keys() | {"nova"}


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_missing_column_is_in_neither(api: httpx.Client, server: MockServer, dataset: str) -> None:
    before = columns(api, dataset)
    server.faults("missing-column")
    (gone,) = before.keys() - columns(api, dataset).keys()
    assert shown(api, dataset) == before.keys() - {gone}
    assert (
        api.get(f"/resource/{dataset}.json", params={"$order": gone}).json()["errorCode"] == "query.soql.no-such-column"
    )


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_renamed_column_has_its_new_name_in_both(api: httpx.Client, server: MockServer, dataset: str) -> None:
    before, rows = columns(api, dataset), page(api, dataset).json()
    server.faults("renamed-column")
    after = columns(api, dataset)
    (old,), (new,) = before.keys() - after.keys(), after.keys() - before.keys()
    assert list(after).index(new) == list(before).index(old)
    assert [row.get(new) for row in page(api, dataset).json()] == [row.get(old) for row in rows]


def test_a_renamed_key_cannot_be_ordered_by_and_its_new_name_can(api: httpx.Client, server: MockServer) -> None:
    server.faults("renamed-column:ivft-vegh:column=registre:to=num_registre")
    assert page(api).status_code == 400
    rows = api.get("/resource/ivft-vegh.json", params={"$order": "num_registre,:id", "$limit": 2}).json()
    assert [row["num_registre"] for row in rows] == ["S00001", "S00002"]


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_retyped_column_has_another_type_in_both(api: httpx.Client, server: MockServer, dataset: str) -> None:
    before, rows = columns(api, dataset), page(api, dataset).json()
    server.faults("retyped-column")
    after = columns(api, dataset)
    (field,) = (field for field in before if before[field] != after[field])
    assert [row.get(field) for row in page(api, dataset).json()] != [row.get(field) for row in rows]


@pytest.mark.parametrize(
    ("spec", "kind", "value"),
    [
        ("9aju-tpwc:column=codi:to=number", "number", "80155"),
        ("9aju-tpwc:column=codi:to=json-number", "number", 80155),
        ("9aju-tpwc:column=codi:to=calendar_date", "calendar_date", "2020-01-01T00:00:00.000"),
        ("9aju-tpwc:column=codi:to=checkbox", "checkbox", True),
        ("9aju-tpwc:column=codi:to=point", "point", {"type": "Point", "coordinates": [2.177241106, 41.38240539]}),
        ("9aju-tpwc:column=codi:to=text", "text", "080155 (text)"),
    ],
)
def test_a_column_can_be_retyped_to_any_type(
    api: httpx.Client, server: MockServer, spec: str, kind: str, value: Any
) -> None:
    server.faults(f"retyped-column:{spec}")
    assert columns(api, "9aju-tpwc")["codi"] == kind
    rows = api.get("/resource/9aju-tpwc.json", params={"$limit": 1, "$order": "nom", "nom": "Badalona"}).json()
    assert rows[0]["codi"] == value


@pytest.mark.parametrize("dataset", DATASETS)
def test_an_empty_table_is_an_empty_200(api: httpx.Client, server: MockServer, dataset: str) -> None:
    server.faults("empty")
    assert (page(api, dataset).status_code, page(api, dataset).text) == (200, "[]\n")
    assert count(api, dataset) == 0


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_shrunken_table_keeps_a_share_of_its_rows(api: httpx.Client, server: MockServer, dataset: str) -> None:
    rows = page(api, dataset).json()
    server.faults("shrunken:keep=0.4")
    left = int(len(rows) * 0.4)
    assert page(api, dataset).json() == rows[:left]
    assert count(api, dataset) == left


@pytest.mark.parametrize(
    "fault", ["new-column", "missing-column", "renamed-column", "retyped-column", "empty", "shrunken"]
)
def test_a_fault_of_the_table_moves_its_dates_and_so_does_clearing_it(
    api: httpx.Client, server: MockServer, fault: str
) -> None:
    def date() -> int:
        return int(api.get("/api/views/ivft-vegh").json()["rowsUpdatedAt"])

    dates, tags = [date()], [page(api).headers["etag"]]
    for faults in ([fault], []):
        server.faults(*faults)
        dates.append(date())
        tags.append(page(api).headers["etag"])
        assert date() == dates[-1]
    assert dates[0] < dates[1] < dates[2]
    assert len(set(tags)) == 3


def test_a_fault_of_rows_alone_leaves_dates_and_metadata_as_they_are(api: httpx.Client, server: MockServer) -> None:
    before = api.get("/api/views/ivft-vegh").json()
    server.faults("empty:on=rows")
    assert page(api).text == "[]\n"
    assert count(api, "ivft-vegh") == 1000
    assert api.get("/api/views/ivft-vegh").json() == before


def test_a_fault_is_limited_to_its_dataset(api: httpx.Client, server: MockServer) -> None:
    server.faults("error-500:yavr-pn8q")
    assert page(api, "yavr-pn8q").status_code == 500
    assert page(api, "9aju-tpwc").status_code == 200


def test_a_fault_is_limited_to_some_requests(api: httpx.Client, server: MockServer) -> None:
    server.faults("error-500:times=2:after=1:on=rows")
    assert api.get("/api/views/ivft-vegh").status_code == 200
    assert [page(api, limit=1).status_code for _ in range(5)] == [200, 500, 500, 200, 200]


def test_a_fault_touches_a_share_of_the_requests_the_same_each_time(api: httpx.Client, server: MockServer) -> None:
    runs = []
    for _ in range(2):
        server.faults("error-500:share=0.3")
        runs.append([api.get("/api/views/yavr-pn8q").status_code for _ in range(60)])
    assert runs[0] == runs[1]
    assert 8 <= runs[0].count(500) <= 28


def test_several_faults_hold_at_once(api: httpx.Client, server: MockServer) -> None:
    server.faults("error-503:times=1", "rate-limited:times=2", "shrunken:keep=0.1")
    assert [page(api).status_code for _ in range(3)] == [503, 429, 200]
    assert len(page(api).json()) == 100


@pytest.mark.parametrize(
    "spec",
    ["", "explode", "slow:seconds=soon", "slow:keep=1", "slow::seconds=1", "shrunken:keep=2", "error-500:on=all",
     "wrong-json:body=xml", "retyped-column:to=blob", "error-500:times=-1", "error-500:abcd-1234"],
)  # fmt: skip
def test_a_fault_that_cannot_be_read_is_refused_and_changes_nothing(
    api: httpx.Client, server: MockServer, spec: str
) -> None:
    server.faults("error-500:yavr-pn8q")
    with pytest.raises(UsageError, match="expected"):
        server.faults("slow", spec)
    in_force = api.get("/_mock/faults").json()["faults"]
    assert [each["fault"] for each in in_force] == ["error-500:yavr-pn8q"]


def test_a_fault_reads_as_it_is_written() -> None:
    spec = "rate-limited:ivft-vegh:times=2:after=1:share=0.5:on=rows:retry-after=9"
    fault = Fault("rate-limited", "ivft-vegh", times=2, after=1, share=0.5, on="rows", retry_after=9)
    assert parse_fault(spec) == fault
    assert fault.spec == spec


def test_faults_are_read_and_changed_over_http(api: httpx.Client, server: MockServer) -> None:
    assert api.put("/_mock/faults", json=["error-500:times=1:on=count"]).status_code == 200
    assert page(api).status_code == 200
    assert api.get("/resource/ivft-vegh.json?$select=count(*)").status_code == 500
    found = api.get("/_mock/faults").json()
    assert found["faults"] == [{"fault": "error-500:times=1:on=count", "seen": 1, "applied": 1}]
    assert "cut-off" in found["kinds"]
    for wrong in (["explode"], {"faults": []}, [1]):
        assert "xpected" in api.put("/_mock/faults", json=wrong).json()["error"]
    assert api.put("/_mock/faults", content="{").status_code == 400


def test_the_data_are_advanced_over_http(api: httpx.Client) -> None:
    before = api.get("/_mock/health").json()["datasets"]
    rows = page(api).json()
    after = api.post("/_mock/advance?dataset=ivft-vegh").json()
    assert after["ivft-vegh"]["version"] == 1
    assert after["ivft-vegh"]["rowsUpdatedAt"] > before["ivft-vegh"]["rowsUpdatedAt"]
    assert after["yavr-pn8q"] == before["yavr-pn8q"]
    assert page(api).json() != rows
    assert {each["version"] for each in api.post("/_mock/advance?steps=2").json().values()} == {2, 3}
    assert api.post("/_mock/advance?dataset=abcd-1234").status_code == 400
    assert api.post("/_mock/advance?steps=many").status_code == 400
    assert api.post("/_mock/reset").json() == before
    assert page(api).json() == rows


def test_requests_are_logged(api: httpx.Client, server: MockServer) -> None:
    page(api)
    count(api, "ivft-vegh")
    server.faults("error-500")
    api.get("/api/views/yavr-pn8q", headers={"If-None-Match": "x"})
    found = api.get("/_mock/requests").json()
    assert found["total"] == 3
    assert found["counts"] == {"ivft-vegh": {"rows": 1, "count": 1}, "yavr-pn8q": {"metadata": 1}}
    last = server.requests[-1]
    assert (last.dataset, last.kind, last.status, last.fault) == ("yavr-pn8q", "metadata", 500, "error-500")
    assert last.conditional
    assert found["requests"][-1]["path"] == "/api/views/yavr-pn8q"
    api.delete("/_mock/requests")
    assert server.requests == []


def test_a_request_received_before_the_log_was_cleared_is_not_in_it(api: httpx.Client, server: MockServer) -> None:
    server.faults("slow:9aju-tpwc:seconds=0.2")
    with pytest.raises(httpx.ReadTimeout):
        api.get("/resource/9aju-tpwc.json", timeout=0.05)  # the mock goes on answering
    while not api.get("/_mock/faults").json()["faults"][0]["seen"]:
        time.sleep(0.01)
    server.reset()
    time.sleep(0.2)
    page(api)
    assert [each.dataset for each in server.requests] == ["ivft-vegh"]


def test_health_lists_the_datasets(api: httpx.Client) -> None:
    found = api.get("/_mock/health").json()
    assert found["status"] == "ok"
    rows = {name: each["rows"] for name, each in found["datasets"].items()}
    expected = {
        "9aju-tpwc": 949,
        "ivft-vegh": 1000,
        "yavr-pn8q": 422,
        "ep/9122/10002/mun": 28 * 949 * 3,
        "pibt/21129/24938/cat": 106 * 10,
        "pibt/21130/24940/cat": 106 * 10 * 3,
        "afic/14987/15881/com": 21 * 44 * 22,
        "afic/14987/26692/com": 2 * 44 * 23,
        "afic/14996/15887/com": 21 * 44 * 22,
        "afic/14996/26697/com": 2 * 44 * 23,
        "emex/f271": 947,
    }
    assert {name: rows[name] for name in expected} == expected


def test_a_taken_port_is_refused_in_one_line(server: MockServer) -> None:
    port = int(server.url.rpartition(":")[2])
    with pytest.raises(ConfigurationError, match=f"127.0.0.1:{port}"), mock.serve(port=port):
        raise AssertionError("two servers on one port")


def test_a_negative_number_of_rows_is_refused() -> None:
    with pytest.raises(UsageError, match="0 or more"), mock.serve(rows=-1):
        raise AssertionError("a table of -1 rows")


def test_the_server_stops_at_once_even_if_a_request_is_waiting() -> None:
    started = time.monotonic()
    with mock.serve(rows=10, faults=["slow:seconds=30"]) as running, pytest.raises(httpx.ReadTimeout):
        httpx.get(f"{running.url}/resource/ivft-vegh.json", timeout=0.05, verify=False)
    assert time.monotonic() - started < 5

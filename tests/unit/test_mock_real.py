"""`catalunya mock --real DIR` serves the files of any folder that a protocol can read, recorded ones as they are."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from catalunya.io.environment import load_settings
from catalunya.io.errors import ConfigurationError
from catalunya.io.sources import recording
from catalunya.ops import mock
from catalunya.ops.mock.data import known_view
from catalunya.ops.mock.real import read_folder
from catalunya.ops.mock.server import MockServer
from catalunya.ops.scaffold.sampling import ask, find_source

REAL = os.environ.get("CATALUNYA_REAL_DATA", "")
needs_real_data = pytest.mark.skipif(not REAL, reason="CATALUNYA_REAL_DATA is not set: no recorded files to serve")

STOPS = [
    {"stop": "01", "name": "Plaça", "lines": "3", "opened": "1998-05-01T00:00:00.000", "busy": True},
    {"stop": "02", "name": "Port", "lines": "12", "where": {"type": "Point", "coordinates": [2.1, 41.3]}},
]
BIRTHS = {
    "version": "2.0",
    "class": "dataset",
    "label": "Births",
    "updated": "2026-02-01",
    "id": ["YEAR", "COM"],
    "size": [2, 2],
    "role": {"time": ["YEAR"], "geo": ["COM"]},
    "dimension": {
        "YEAR": {"label": "any", "category": {"index": {"2024": 0, "2025": 1}}},
        "COM": {"label": "comarca", "category": {"index": ["13", "43"], "label": {"13": "Barcelonès"}}},
    },
    "value": {"0": 15000, "2": 14800, "3": 31},
    "status": {"1": ".."},
}


@pytest.fixture(scope="module")
def server() -> Iterator[MockServer]:
    with mock.serve(real=REAL) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files that can be served, in folders of their own, and some that cannot."""
    for name, content in (
        ("transport/stops.ab12-cd34.rows.json", json.dumps(STOPS)),
        ("statistics/births_1_2_com.json", json.dumps(BIRTHS)),
        ("broken.json", "[{"),
        ("numbers.json", "[1, 2]"),
        ("copy/ab12-cd34.json", json.dumps(STOPS)),
        ("statistics/short_1_2_com.json", json.dumps(BIRTHS | {"value": [1, 2]})),
        ("notes.txt", "not looked at"),
    ):
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return tmp_path / "source"


def recorded(name: str) -> Any:
    return json.loads((Path(REAL) / name).read_text(encoding="utf-8"))


def rows(api: httpx.Client, dataset: str, order: str, **params: str) -> list[dict[str, Any]]:
    answer = api.get(f"/resource/{dataset}.json", params={"$limit": "5000", "$order": order} | params)
    assert answer.text.count("\n") == len(answer.json())
    found: list[dict[str, Any]] = answer.json()
    return found


# Any folder


def test_rows_are_served_by_the_id_in_their_name_with_types_from_their_values(folder: Path) -> None:
    with mock.serve(real=folder) as server, httpx.Client(base_url=server.url, verify=False) as client:
        expected = [STOPS[0] | {"busy": True}, STOPS[1]]
        assert client.get("/resource/ab12-cd34.json", params={"$order": "stop,:id"}).json() == expected
        view = client.get("/api/views/ab12-cd34.json").json()
        types = {each["fieldName"]: each["dataTypeName"] for each in view["columns"] if each["position"]}
        assert types == {
            "stop": "text", "name": "text", "lines": "number", "opened": "calendar_date", "busy": "checkbox", "where": "point",
        }  # fmt: skip
        server.advance("ab12-cd34")
        assert client.get("/resource/ab12-cd34.json").json() != expected


def test_a_table_is_served_at_the_address_in_its_name_or_its_href(folder: Path) -> None:
    (folder / "elsewhere.json").write_text(
        json.dumps(BIRTHS | {"href": "https://x/taules/v2/nai/9/8/com/data?lang=ca"})
    )
    with mock.serve(real=folder) as server, httpx.Client(base_url=server.url, verify=False) as client:
        for path in ("births/1/2/com", "nai/9/8/com"):
            data = client.get(f"/taules/v2/{path}/data").json()
            assert (data["value"], data["status"]) == ([15000, None, 14800, 31], {"1": ".."})
            assert client.get(f"/taules/v2/{path}/data?COM=43&YEAR=2025").json()["value"] == [31]
        server.advance("births/1/2/com")
        assert client.get("/taules/v2/births/1/2/com").json()["size"] == [3, 2]


def test_a_file_that_cannot_be_served_is_named_in_one_line_with_the_reason(folder: Path) -> None:
    with capture_logs() as logs:
        read_folder(folder)
    reasons = {line["file"]: line["reason"] for line in logs}
    assert reasons.keys() == {
        "broken.json",
        "numbers.json",
        "statistics/short_1_2_com.json",
        "transport/stops.ab12-cd34.rows.json",
    }
    assert reasons["broken.json"].startswith("not readable as JSON")
    assert reasons["numbers.json"] == "expected an array of objects, with at least one"
    assert reasons["statistics/short_1_2_com.json"] == "expected 4 values, as its dimensions have, found 2"
    assert "already served from" in reasons["transport/stops.ab12-cd34.rows.json"]


def test_the_mock_serves_its_own_tables_beside_those_of_a_folder(folder: Path) -> None:
    with mock.serve(real=folder, rows=10) as server:
        assert {"ab12-cd34", "births/1/2/com", "yavr-pn8q", "ep/9122/10002/mun"} <= server.datasets().keys()


@pytest.mark.parametrize(
    ("name", "reason"), [("", r"nothing to serve in .*found 0 other"), ("none-such", "none-such does not exist")]
)
def test_a_folder_without_anything_to_serve_is_refused(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason), mock.serve(real=tmp_path / name):
        raise AssertionError("nothing to serve")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[" * 100_000, "not readable as JSON"),
        (
            json.dumps({"id": "ab12-cd34", "columns": [{"name": "Stop"}]}),
            "metadata with a column that has no fieldName",
        ),
        (json.dumps({"id": "ab12-cd34", "columns": ["stop"]}), "metadata with a column that has no fieldName"),
    ],
    ids=["nested too deep", "a column without a name", "a column that is no object"],
)
def test_a_file_that_no_portal_would_send_is_skipped_and_the_others_are_served(
    folder: Path, content: str, reason: str
) -> None:
    (folder / "odd.json").write_text(content)
    with capture_logs() as logged:
        served = read_folder(folder)
    assert {each.name for each in served} == {"ab12-cd34", "births/1/2/com", "/statistics/births_1_2_com.json"}
    [why] = [line["reason"] for line in logged if line.get("file") == "odd.json"]
    assert reason in why


# The recorded files


@needs_real_data
def test_recorded_municipalities_are_served_as_they_are(api: httpx.Client) -> None:
    expected = recorded("soda/9aju-tpwc.resource.derived.json")
    assert rows(api, "9aju-tpwc", "codi,:id") == sorted(expected, key=lambda row: str(row["codi"]))


@needs_real_data
def test_recorded_metadata_are_served_as_they_are(api: httpx.Client) -> None:
    assert api.get("/api/views/9aju-tpwc.json").json() == recorded("soda/9aju-tpwc.views.json")


@needs_real_data
def test_recorded_usage_is_served_without_system_fields_unless_asked_for(api: httpx.Client) -> None:
    expected = sorted(recorded("soda/yavr-pn8q.json"), key=lambda row: (str(row["any"]), str(row["codi"])))
    assert rows(api, "yavr-pn8q", "any,codi,:id", **{"$select": ":*,*"}) == expected
    bare = [{name: value for name, value in row.items() if not name.startswith(":")} for row in expected]
    assert rows(api, "yavr-pn8q", "any,codi,:id") == bare
    ids = [row[":id"] for row in rows(api, "yavr-pn8q", ":id", **{"$select": ":id"})]
    assert ids == sorted(row[":id"] for row in expected)


@needs_real_data
def test_files_of_one_folder_with_the_same_id_are_one_table(api: httpx.Client) -> None:
    found = rows(api, "ivft-vegh", "registre,:id")
    assert found == recorded("soda/ivft-vegh.anonymised_full_rows.json") + recorded("soda/ivft-vegh.partial_real.json")
    view = api.get("/api/views/ivft-vegh").json()
    assert len([column for column in view["columns"] if column["position"]]) == 14


@needs_real_data
def test_recorded_tables_advance_too(api: httpx.Client, server: MockServer) -> None:
    for dataset, key in (("9aju-tpwc", "codi"), ("ivft-vegh", "registre"), ("yavr-pn8q", "any,codi")):
        before = rows(api, dataset, key)
        for _ in range(2):
            server.advance(dataset)
            after = rows(api, dataset, key)
            assert len(after) == len(before)
            assert 0 < sum(row not in before for row in after) <= 10
            assert 0 < sum(row not in after for row in before) <= 10
            before = after
        assert rows(api, dataset, key, **{"$select": ":*,*"})


@needs_real_data
def test_faults_show_in_recorded_metadata(api: httpx.Client, server: MockServer) -> None:
    before = api.get("/api/views/9aju-tpwc").json()
    server.faults("renamed-column:9aju-tpwc:column=nom:to=nom_municipi", "shrunken:keep=0.5")
    after = api.get("/api/views/9aju-tpwc").json()
    old, new = ({c["fieldName"]: c for c in view["columns"]} for view in (before, after))
    assert new["nom_municipi"]["description"] == old["nom"]["description"]
    assert new["codi"]["cachedContents"]["non_null"] == "474"
    assert after["rowsUpdatedAt"] > before["rowsUpdatedAt"]


@needs_real_data
def test_a_recorded_table_is_served_as_it_is(api: httpx.Client, server: MockServer) -> None:
    expected = recorded("idescat/pmh_446_477_mun.data.reconstructed.json")
    path = "/taules/v2/pmh/446/477/mun"
    assert api.get(f"{path}/data").json() == expected
    metadata = api.get(path).json()
    assert metadata["dimension"] == expected["dimension"]
    assert metadata["link"]["describes"][0]["href"] == expected["href"]
    assert not metadata.keys() & {"value", "status", "extension"}
    some = api.get(f"{path}/data", params={"MUN": "080193,171045,TOTAL", "YEAR": "2022,2023"}).json()
    assert (some["value"], some["status"]) == (
        [1636193, None, 7792611, 1660122, None, None],
        {"1": "..", "4": "..", "5": ".."},
    )
    server.advance("pmh/446/477/mun")
    new = api.get(f"{path}/data", params={"MUN": "080193,TOTAL", "_LAST_": 2}).json()
    assert new["dimension"]["YEAR"]["category"]["index"] == ["2023", "2024"]
    assert new["status"] == {"1": "..", "2": "p", "3": ".."}
    assert new["updated"] == "2023-12-28"


@needs_real_data
def test_a_source_that_no_one_has_mocked_is_served(api: httpx.Client) -> None:
    found = rows(api, "uczf-rk3c", "countid,:id")
    assert found == sorted(recorded("new_york/bicycle_counts.uczf-rk3c.rows.json"), key=lambda row: str(row["countid"]))
    assert len(rows(api, "39hk-dx4f", "gtfs_stop_id,:id")) == 95
    assert api.get("/taules/v2/rfdbc/21181/25017/mun").json()["role"]["metric"] == ["CONCEPT", "INDICATOR"]


@needs_real_data
def test_the_seeds_have_the_columns_of_the_recorded_datasets() -> None:
    municipalities, register, usage = (known_view(name) for name in ("9aju-tpwc", "ivft-vegh", "yavr-pn8q"))
    assert municipalities
    assert register
    assert usage
    view = {c["fieldName"]: c for c in recorded("soda/9aju-tpwc.views.json")["columns"] if c["position"]}
    assert {c["fieldName"]: (c["name"], c["dataTypeName"]) for c in municipalities["columns"]} == {
        f: (c["name"], c["dataTypeName"]) for f, c in view.items()
    }
    full = recorded("soda/ivft-vegh.anonymised_full_rows.json")
    assert {c["fieldName"] for c in register["columns"]} == {field for row in full for field in row}
    fields = {field for row in recorded("soda/yavr-pn8q.json") for field in row if not field.startswith(":")}
    assert {c["fieldName"] for c in usage["columns"]} == fields


@needs_real_data
def test_the_mocks_tables_have_the_form_of_recorded_ones() -> None:
    with mock.serve(rows=10) as server, httpx.Client(base_url=f"{server.url}/taules/v2", verify=False) as client:
        table = client.get("/ep/9122/10002/mun").json()
        expected = recorded("idescat/pmh_1180_8078_mun.metadata.reconstructed.json")
        assert expected.keys() <= table.keys()
        assert table["dimension"]["CONCEPT"] == expected["dimension"]["CONCEPT"]
        assert table["dimension"]["SEX"] == expected["dimension"]["SEX"]
        assert table["role"] == expected["role"] | {"time": ["SEMESTER"]}
        data = client.get("/ep/9122/10002/mun/data?_LAST_=1").json()
        full = recorded("idescat/pmh_446_477_mun.data.reconstructed.json")
        assert data.keys() == full.keys() | {"note"}
        assert data["extension"] == full["extension"]
        lists = recorded("idescat/collections.reconstructed.json")
        found = client.get("/ep").json()
        assert found.keys() == lists["nodes_pmh"].keys() - {"_truncated_of"}
        assert found["link"]["item"][0].keys() == lists["nodes_pmh"]["link"]["item"][0].keys()


# What other protocols read

RESOURCE = "52696168-d8bc-4707-9a09-a21c6c2669f3"
TREES = [{"_id": 1, "Barri": "el Raval", "arbres": 12}, {"_id": 2, "Barri": "la Bordeta", "arbres": None}]
TREE_FIELDS = [{"id": "_id", "type": "int"}, {"id": "Barri", "type": "text"}, {"id": "arbres", "type": "numeric"}]
BIKES = [{"station": "01", "free": 3, "where": {"lon": 2.1, "lat": 41.3}}, {"station": "02", "free": 0, "where": None}]
SAVED: dict[str, Any] = {
    "ckan/page-1.json": {"success": True, "result": {"resource_id": RESOURCE, "fields": TREE_FIELDS, "records": TREES[:1]}},
    "ckan/page-2.json": {"success": True, "result": {"resource_id": RESOURCE, "fields": TREE_FIELDS, "records": TREES[1:]}},
    "ckan/package.json": {
        "success": True,
        "result": {"id": "trees", "title": "Trees", "license_title": "CC BY 4.0", "resources": [{"id": RESOURCE, "name": "2024"}]},
    },
    "bikes.records.json": {"total_count": 900, "results": BIKES},
    "bikes.metadata.json": {
        "dataset_id": "bikes",
        "fields": [{"name": "station", "type": "text"}, {"name": "free", "type": "int"}, {"name": "where", "type": "geo_point_2d"}],
        "metas": {"default": {"title": "Bikes", "publisher": "City", "modified": "2026-01-01T00:00:00+00:00"}},
    },
    "bare.json": {"total_count": 2, "results": BIKES},
    "stat.example.org/births.json": BIRTHS,
}  # fmt: skip


@pytest.mark.parametrize(
    ("address", "title", "rows"),
    [
        (f"/dataset/trees/resource/{RESOURCE}", "Trees: 2024", 2),
        ("/explore/dataset/bikes/", "Bikes", 2),
        ("/api/explore/v2.1/catalog/datasets/bare/records", "bare", 2),
        ("https://stat.example.org/births.json?lang=en", "Births", 4),
        ("/stations%202024%20(v1).csv", "stations%202024%20(v1).csv", 1),
    ],
)
def test_answers_saved_with_curl_are_a_source_of_their_protocol(
    tmp_path: Path, address: str, title: str, rows: int
) -> None:
    for name, content in SAVED.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(json.dumps(content))
    (tmp_path / "stations 2024 (v1).csv").write_text("station,free\n01,3\n")
    with mock.serve(real=tmp_path, rows=0) as server:
        settings = load_settings(mock_url=server.url, cache=str(tmp_path / "cache"))
        source, settings = find_source(f"{server.url}{address}" if address.startswith("/") else address, settings)
        asked = ask(source, settings)
    assert (asked.about.title, asked.rows.height) == (title, rows)


@pytest.mark.parametrize(
    "asked", ["https://data.example.org/rows.csv", "http://127.0.0.1:8765/data.example.org/rows.csv"]
)
def test_a_recording_of_a_portal_or_of_a_mock_of_it_is_given_again(tmp_path: Path, asked: str) -> None:
    recording.write(
        tmp_path / "rows.har", [recording.Exchange("GET", asked, 200, {"content-type": "text/csv"}, b"a,b\n")]
    )
    with mock.serve(real=tmp_path, rows=0) as server:
        assert httpx.get(f"{server.url}/data.example.org/rows.csv").text == "a,b\n"


def test_metadata_without_rows_and_json_stat_1_are_named_with_what_to_do(folder: Path) -> None:
    (folder / "metadata.json").write_text(json.dumps(SAVED["bikes.metadata.json"]))
    (folder / "package.json").write_text(json.dumps(SAVED["ckan/package.json"]))
    (folder / "old.json").write_text(json.dumps({"births": {"dimension": {"id": ["YEAR"]}, "value": [1]}}))
    with capture_logs() as logged:
        read_folder(folder)
    reasons = {line["file"]: line["reason"] for line in logged if line["event"] == "file_skipped"}
    assert reasons["metadata.json"] == reasons["package.json"] == "metadata without rows: save these, too"
    assert reasons["old.json"].startswith("JSON-stat 1.x")

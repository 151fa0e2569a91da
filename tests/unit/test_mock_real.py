"""The mock serves recorded files as the portal would, and its made-up ones agree with them in form."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from catalunya.io.errors import ConfigurationError
from catalunya.ops import mock
from catalunya.ops.mock.datasets import DATASETS
from catalunya.ops.mock.generate_municipalities import control_digit, generate
from catalunya.ops.mock.places import COMARQUES, REAL_MUNICIPALITIES
from catalunya.ops.mock.server import MockServer

REAL = os.environ.get("CATALUNYA_REAL_DATA", "")
needs_real_data = pytest.mark.skipif(not REAL, reason="CATALUNYA_REAL_DATA is not set: no recorded files to serve")


@pytest.fixture(scope="module")
def server() -> Iterator[MockServer]:
    with mock.serve(real=REAL) as running:
        yield running


def recorded(name: str) -> Any:
    return json.loads((Path(REAL) / "soda" / name).read_text(encoding="utf-8"))


def rows(api: httpx.Client, dataset: str, order: str, **params: str) -> list[dict[str, Any]]:
    answer = api.get(f"/resource/{dataset}.json", params={"$limit": "5000", "$order": order} | params)
    assert answer.text.count("\n") == len(answer.json())
    found: list[dict[str, Any]] = answer.json()
    return found


@needs_real_data
def test_recorded_municipalities_are_served_as_they_are(api: httpx.Client) -> None:
    expected = recorded("9aju-tpwc.resource.derived.json")
    assert rows(api, "9aju-tpwc", "codi,:id") == sorted(expected, key=lambda row: str(row["codi"]))


@needs_real_data
def test_recorded_metadata_are_served_as_they_are(api: httpx.Client) -> None:
    assert api.get("/api/views/9aju-tpwc.json").json() == recorded("9aju-tpwc.views.json")


@needs_real_data
def test_recorded_usage_is_served_without_system_fields_unless_asked_for(api: httpx.Client) -> None:
    expected = sorted(recorded("yavr-pn8q.json"), key=lambda row: (str(row["any"]), str(row["codi"])))
    assert rows(api, "yavr-pn8q", "any,codi,:id", **{"$select": ":*,*"}) == expected
    bare = [{name: value for name, value in row.items() if not name.startswith(":")} for row in expected]
    assert rows(api, "yavr-pn8q", "any,codi,:id") == bare
    ids = [row[":id"] for row in rows(api, "yavr-pn8q", ":id", **{"$select": ":id"})]
    assert ids == sorted(row[":id"] for row in expected)


@needs_real_data
def test_both_recorded_parts_of_the_register_are_one_table(api: httpx.Client) -> None:
    found = rows(api, "ivft-vegh", "registre,:id")
    assert found == recorded("ivft-vegh.anonymised_full_rows.json") + recorded("ivft-vegh.partial_real.json")
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
def test_made_up_columns_are_those_of_the_recorded_ones() -> None:
    municipalities, register, usage = DATASETS
    view = {c["fieldName"]: c for c in recorded("9aju-tpwc.views.json")["columns"] if c["position"]}
    assert {c.field: (c.name, c.type) for c in municipalities.columns} == {
        f: (c["name"], c["dataTypeName"]) for f, c in view.items()
    }
    full = recorded("ivft-vegh.anonymised_full_rows.json")
    assert {c.field for c in register.columns} == {field for row in full for field in row}
    fields = {field for row in recorded("yavr-pn8q.json") for field in row if not field.startswith(":")}
    assert {c.field for c in usage.columns} == fields


@needs_real_data
def test_true_municipalities_are_true_and_invented_ones_are_nowhere() -> None:
    with (Path(REAL) / "codes" / "municipis_947.csv").open(encoding="utf-8") as file:
        real = {row["codi_idescat6"]: row for row in csv.DictReader(file)}
    assert all(control_digit(code[:5]) == code[5] for code in real)
    for code, name, comarca in REAL_MUNICIPALITIES:
        assert (real[code]["nom"], real[code]["codi_comarca"]) == (name, comarca)
    true = {code for code, _, _ in REAL_MUNICIPALITIES}
    invented = [row for row in generate(1) if row["codi"] not in true]
    assert not real.keys() & {row["codi"] for row in invented}
    assert not {row["nom"] for row in real.values()} & {row["nom"] for row in invented}
    with (Path(REAL) / "codes" / "comarques_43.csv").open(encoding="utf-8") as file:
        found = {row["codi_comarca"]: (row["nom_comarca"], int(row["n_municipis"])) for row in csv.DictReader(file)}
    assert {c.code: (c.name, sum(c.municipalities.values())) for c in COMARQUES} == found


def test_a_folder_without_recorded_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"expected JSON in .*ivft-vegh"), mock.serve(real=tmp_path):
        raise AssertionError("nothing to serve")

"""Asking a Socrata portal on loopback whether a dataset changed; refusals, the token, and declarations."""

from __future__ import annotations

import hashlib
import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.testing import capture_logs

from catalunya.io.errors import DeclarationError, SourceError, SourceUnavailable
from catalunya.io.sources.socrata import Socrata
from small.apis import RESES, Answer, Landing, Portal, extract, fast, on_page, portal_with, probe
from small.real import real_data

TOKEN = "a-secret-token"


@pytest.fixture
def portal() -> Iterator[Portal]:
    with portal_with(25) as portal:
        yield portal


# What a probe finds out


def test_a_probe_of_an_unchanged_dataset_is_one_request(portal: Portal) -> None:
    state = probe(portal)
    assert state
    portal.server.clear_requests()
    assert probe(portal, known=state.version) is None
    assert [asked.target for asked in portal.server.requests] == ["/api/views/ivft-vegh.json"]


def test_a_probe_finds_version_time_and_declared_fields(portal: Portal) -> None:
    state = probe(portal)
    assert state
    assert state.fields == {"registre": "text", "nom": "text"}
    assert state.updated_at == datetime(2024, 12, 19, 9, 58, 26, tzinfo=UTC)
    assert state.version == "1734602306-" + hashlib.sha256(b"nom\ttext\nregistre\ttext\n").hexdigest()[:8]
    assert state.rows is None


@pytest.mark.parametrize(
    ("columns", "changed"),
    [
        ({"nom": "text", "registre": "text", ":@computed_region_y": "number"}, False),
        ({"registre": "number", "nom": "text"}, True),
        ({"registre": "text", "nom_entitat": "text"}, True),
        ({"registre": "text"}, True),
    ],
    ids=["only order and system fields", "type", "name", "column gone"],
)
def test_the_version_depends_on_the_columns(portal: Portal, columns: dict[str, str], changed: bool) -> None:
    before = probe(portal)
    portal.columns = columns
    after = probe(portal)
    assert before
    assert after
    assert (before.version != after.version) is changed


def test_a_dataset_that_is_not_a_table_is_refused(portal: Portal) -> None:
    portal.on_view = lambda _, answer: Answer(json.dumps(json.loads(answer.body) | {"columns": []}).encode())
    with pytest.raises(SourceError, match=r"Socrata ivft-vegh: .* 0 columns .* Is it a table"):
        probe(portal)


def test_the_metadata_of_a_real_dataset_can_be_read() -> None:
    view = json.loads(real_data("soda/9aju-tpwc.views.json").read_bytes())
    with portal_with(0, "9aju-tpwc") as portal:
        portal.dataset.view = view
        state = probe(portal, source=Socrata("9aju-tpwc", key=("codi",)))
    assert state
    assert state.version.startswith("1734602306-")
    assert list(state.fields.items())[-2:] == [("latitud", "number"), ("georefer_ncia", "point")]
    assert len(state.fields) == 9


# Refusals, secrets, declarations


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (
            400,
            b'{"code":"query.compiler.malformed","error":true,"message":"Could not parse SoQL query","data":{}}',
            "400 Bad Request: query.compiler.malformed: Could not parse SoQL query. Check the key",
        ),
        (
            400,
            b'{"message":"Query coordinator error: query.soql.no-such-column; No such column: registre",'
            b'"errorCode":"query.soql.no-such-column","data":{"column":"registre"}}',
            "400 Bad Request: Query coordinator error: query.soql.no-such-column; No such column: registre. Check",
        ),
        (
            403,
            b'{"message":"You must be logged in to access this resource","error":true}',
            "403 Forbidden: You must be logged in to access this resource. Set or correct CATALUNYA_SOCRATA_APP_TOKEN",
        ),
        (404, b"<html><b>Not</b> here</html>", "404 Not Found: Not here. Check the dataset's id"),
    ],
    ids=["the portal's shape", "the coordinator's shape", "forbidden", "HTML"],
)
def test_the_error_for_a_refusal_has_the_portals_message_and_advice(
    portal: Portal, status: int, body: bytes, message: str
) -> None:
    portal.on_page = lambda _, __: Answer(body, status)
    with pytest.raises(SourceError) as caught:
        extract(portal, Landing(), concurrency=1)
    assert message in str(caught.value)
    assert str(caught.value).startswith("Socrata ivft-vegh: GET http")
    assert len(portal.asked("rows")) == 1


def test_a_dataset_that_does_not_exist_is_refused_by_one_request(portal: Portal) -> None:
    with pytest.raises(SourceError, match="404 Not Found: not_found: Not found"):
        probe(portal, source=Socrata("xxxx-yyyy"))
    assert len(portal.server.requests) == 1


def test_the_error_for_throttling_mentions_the_token(portal: Portal) -> None:
    portal.on_page = lambda _, __: Answer(b"", 429)
    with pytest.raises(SourceUnavailable, match=r"429 Too Many Requests.*CATALUNYA_SOCRATA_APP_TOKEN"):
        extract(portal, Landing())


def test_the_token_is_sent_with_every_request_and_shown_nowhere(portal: Portal) -> None:
    on_page(portal, 0, 1, lambda _: Answer(b"", 503))
    settings = fast(portal.server.url, page_rows=10, app_token=TOKEN)
    with capture_logs() as logs:
        state = RESES.probe(settings)
        assert state
        done = RESES.extract(settings, state, Landing())
        portal.on_page = lambda _, __: Answer(b"", 403)
        with pytest.raises(SourceError) as caught:
            RESES.extract(settings, state, Landing())
    assert {asked.headers.get("x-app-token") for asked in portal.server.requests} == {TOKEN}
    assert logs
    assert TOKEN not in f"{logs} {done} {caught.value!r} {caught.value.__cause__!r} {settings!r}"


def test_without_a_token_no_header_is_sent(portal: Portal) -> None:
    RESES.probe(fast(portal.server.url, page_rows=10, app_token=""))
    assert "x-app-token" not in portal.server.requests[0].headers


def test_a_declaration_is_pure_data() -> None:
    assert pickle.loads(pickle.dumps(RESES)) == RESES
    assert len({RESES, Socrata("ivft-vegh", ("registre",))}) == 1
    assert RESES.kind == "socrata"
    assert RESES.describe() == "Socrata ivft-vegh"
    assert RESES.url("https://portal.example/") == "https://portal.example/d/ivft-vegh"


@pytest.mark.parametrize(
    "wrong",
    [
        {"dataset_id": "ivft"},
        {"key": "registre"},
        {"key": ("Registre; drop",)},
        {"period": "any'"},
        {"period": "Any"},
        {"period": ""},
        {"period": ("any",)},
    ],
)
def test_an_invalid_declaration_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(DeclarationError, match="expected"):
        Socrata(**{"dataset_id": "ivft-vegh", **wrong})


@pytest.mark.parametrize("protocol", ["socrata", "ckan", "opendatasoft"])
def test_declaring_a_source_loads_no_http_client(protocol: str) -> None:
    heavy = ("httpx", "polars")
    code = f"import sys, catalunya.io.sources.{protocol}; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("view", "twice"),
    [
        (b'{"rowsUpdatedAt":1,"rowsUpdatedAt":2,"columns":[{"fieldName":"a","dataTypeName":"text"}]}', "rowsUpdatedAt"),
        (b'{"rowsUpdatedAt":1,"columns":[{"fieldName":"a","fieldName":"b","dataTypeName":"text"}]}', "fieldName"),
        (b'{"rowsUpdatedAt":1,"columns":[{"fieldName":"a","dataTypeName":"text"},{"fieldName":"a","dataTypeName":"number"}]}', "a"),
    ],
    ids=["the stamp", "a column's name", "a column"],
)  # fmt: skip
def test_metadata_that_say_something_twice_are_refused_after_one_repetition(view: bytes, twice: str) -> None:
    with portal_with(1) as portal:
        portal.on_view = lambda _, answer: replace(answer, body=view)
        with pytest.raises(SourceError, match=f"each field of the metadata once, found {twice} twice"):
            probe(portal)
        assert len(portal.asked("metadata")) == 2


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"<html>Moved</html>", "expected JSON, found HTML or XML"),
        (b"[]", "Expected `object`, got `array`"),
        (b'{"columns":"none"}', "Expected `array`, got `str`"),
    ],
)
def test_metadata_of_the_wrong_shape_are_refused_after_one_repetition(body: bytes, found: str) -> None:
    with portal_with(1) as portal:
        portal.on_view = lambda _, answer: replace(answer, body=body)
        with pytest.raises(SourceError, match=f"answered twice with something else than expected: {found}") as raised:
            probe(portal)
        assert len(portal.asked("metadata")) == 2
        assert "later" not in str(raised.value)

"""EMEX: one indicator for all municipalities, whatever its number, and every form in which the API answers or refuses."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from catalunya.io.errors import ContractError, DeclarationError, SourceError, SourceUnavailable
from catalunya.io.sources.base import Extraction, SourceState
from catalunya.io.sources.emex import FIELDS, Emex
from catalunya.io.sources.pages import read_page
from catalunya.io.sources.protocols import recognize
from catalunya.ops.mock import samples, serve
from catalunya.ops.mock.data import indicators
from catalunya.ops.mock.emex import Sheet
from catalunya.ops.mock.exchange import Answer, Asked
from catalunya.ops.mock.server import MockServer
from small.apis import Landing, fast

AREAS = Emex("f271", label="superficie", unit="km2")
Fitxes = dict[str, Any]
REAL_ERROR = {"fitxes": {"p": "id=431713", "lang": "ca", "error": "404", "version": "1.00", "o": "dades"}}
"""Recorded: the answer to an identifier that does not exist, with status 200."""


def sheet(number: str = "f271", label: str = "Superfície", unit: str = "km²", **more: Any) -> Sheet:
    described = {"id": number, "c": label, "r": "2025", "u": unit, "updated": "2025-05-07", **more}
    places = {"080193": "Barcelona", "170221": "Bisbal d'Empordà, la", "250019": "Abella de la Conca"}
    return Sheet(described=described, places=places, values=["101.4", "_", "78.30"])


@pytest.fixture
def api() -> Iterator[MockServer]:
    with serve(datasets=[sheet(), sheet("f321", "Població", "")]) as server:
        yield server


def changed(server: MockServer, change: Callable[[Fitxes], Fitxes | None], operation: str = "dades") -> None:
    """Let every answer of an operation be what `change` makes of its content."""

    def reply(asked: Asked, answer: Answer) -> Answer:
        if not asked.path.endswith(f"/{operation}.json"):
            return answer
        fitxes = json.loads(answer.body)["fitxes"]
        return replace(answer, body=json.dumps({"fitxes": change(fitxes) or fitxes}).encode())

    server.reply(reply)


def probe(server: MockServer, source: Emex = AREAS, known: str | None = None) -> SourceState | None:
    return source.probe(fast(server.url), known)


def extract(server: MockServer, sink: Landing, source: Emex = AREAS) -> Extraction:
    state = probe(server, source)
    assert state
    return source.extract(fast(server.url), state, sink)


def test_another_indicator_than_the_one_that_was_asked_for_is_refused(api: MockServer) -> None:
    def other(fitxes: Fitxes) -> None:
        fitxes["indicadors"]["i"]["id"] = "f321"

    changed(api, other)
    with pytest.raises(SourceError, match=r"EMEX f271: expected the indicator f271 .*, found f321"):
        probe(api, Emex("f271"))


def test_an_indicator_without_unit_source_and_reference_can_be_read(api: MockServer) -> None:
    def bare(fitxes: Fitxes) -> None:
        fitxes["indicadors"]["i"] |= {"u": None, "s": None, "r": None, "t": [], "updated": None, "l": "2025-05-07"}

    changed(api, bare)
    state = probe(api, Emex("f271", label="Superfície"))
    assert state
    assert state.updated_at == datetime(2025, 5, 7, tzinfo=UTC)


def test_one_page_has_a_row_per_municipality_and_what_is_not_published_is_null(api: MockServer) -> None:
    sink = Landing()
    found = extract(api, sink)
    assert [page.rows for page in found.pages] == [3]
    rows = read_page(sink.files["page-00000.json"], "page-00000.json", list(FIELDS), AREAS, "landing.areas")
    assert rows["geo"].to_list() == ["080193", "170221", "250019"]
    assert rows["value"].to_list() == ["101.4", None, "78.30"]
    assert rows.row(0, named=True) == {
        "geo": "080193",
        "name": "Barcelona",
        "indicator": "f271",
        "label": "Superfície",
        "unit": "km²",
        "reference": "2025",
        "updated": "2025-05-07",
        "value": "101.4",
    }
    assert {asked.query for asked in api.requests} == {"i=f271&tipus=mun&lang=ca"}
    assert len(api.requests) == found.requests + 1 == 3, (
        "one for the state, one for the values, one to see that nothing moved"
    )


def test_a_new_version_shows_in_one_request(api: MockServer) -> None:
    state = probe(api)
    assert state
    assert (state.rows, f"{state.updated_at:%Y-%m-%d}", state.version[:15]) == (3, "2025-05-07", "f271-2025-05-07")
    assert probe(api, known=state.version) is None
    api.clear_requests()
    api.advance("emex/f271")
    later = probe(api, known=state.version)
    assert later
    assert (later.version != state.version, len(api.requests)) == (True, 1)


def test_a_value_that_changes_without_a_new_date_is_a_new_version(api: MockServer) -> None:
    before = probe(api)
    changed(api, lambda fitxes: fitxes["indicadors"]["i"].update(v="101.5,_,78.30"))
    after = probe(api)
    assert before
    assert after
    assert before.updated_at == after.updated_at
    assert before.version != after.version


def _without_schemes(fitxes: Fitxes) -> None:
    for each in fitxes["cols"]["col"]:
        del each["scheme"]


def _with_catalonia(fitxes: Fitxes) -> None:
    fitxes["cols"]["col"].append({"scheme": "cat", "id": "cat", "content": "Catalunya"})
    fitxes["indicadors"]["i"]["v"] += ",32111"


FORMS: dict[str, Callable[[Fitxes], None]] = {
    "a list of one": lambda fitxes: fitxes["indicadors"].update(i=[fitxes["indicadors"]["i"]]),
    "the date in l": lambda fitxes: fitxes["indicadors"]["i"].update(l=fitxes["indicadors"]["i"].pop("updated")),
    "a time": lambda fitxes: fitxes["indicadors"]["i"].update(updated="2025-05-07T00:00:00"),
    "other case": lambda fitxes: fitxes["indicadors"]["i"].update(c="SUPERFÍCIE", u="km2"),
    "no scheme": _without_schemes,
    "a number and objects": lambda fitxes: fitxes["indicadors"]["i"].update(
        r=2025, t={"content": "Territori"}, s="Idescat"
    ),
    "Catalonia too": _with_catalonia,
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_an_answer_gives_the_same_values(api: MockServer, form: str) -> None:
    changed(api, FORMS[form])
    sink = Landing()
    extract(api, sink)
    rows = read_page(sink.files["page-00000.json"], "page", ["geo", "value", "updated"], AREAS, "landing.areas")
    assert rows["geo"].to_list() == ["080193", "170221", "250019"]
    assert rows["value"].to_list() == ["101.4", None, "78.30"]
    assert set(rows["updated"]) == {"2025-05-07"}


def test_a_single_municipality_is_an_object_and_not_a_list(api: MockServer) -> None:
    api.faults("shrunken:emex/f271:keep=0.4")
    state = probe(api)
    assert state
    assert state.rows == 1


ELSEWHERE = sheet("f261")
AS_LIST = {"v": [{"id": "f321", "c": "Població"}, {"id": "f261", "c": "Superfície", "u": "km²"}]}


@pytest.mark.parametrize("number_is", ["unknown", "another indicator"])
@pytest.mark.parametrize("listed", ["in nodes", "in the sheet of a municipality"])
def test_an_indicator_whose_number_changed_is_found_by_its_label_and_unit(number_is: str, listed: str) -> None:
    others = [sheet("f271", "Altitud", "m")] if number_is == "another indicator" else []
    with serve(datasets=[ELSEWHERE, *others]) as server:

        def reply(asked: Asked, answer: Answer) -> Answer:
            is_sheet = "id" in asked.params
            if (asked.path.endswith("nodes.json") and listed == "in nodes") or is_sheet:
                return replace(answer, body=json.dumps({"fitxes": {"gg": {"g": AS_LIST}}}).encode())
            return answer

        server.reply(reply)
        sink = Landing()
        found = extract(server, sink)
    assert found.state.version.startswith("f261-")
    rows = read_page(sink.files["page-00000.json"], "page", ["indicator", "value"], AREAS, "landing.areas")
    assert rows["indicator"].unique().to_list() == ["f261"]


def test_an_indicator_that_is_another_one_and_found_nowhere_is_refused_with_both_named() -> None:
    with serve(datasets=[sheet("f271", "Altitud", "m")]) as server:
        found = r"expected the indicator f271 with the label 'superficie' .* found f271 'Altitud' \(m\); no other indicator has both"
        with pytest.raises(SourceError, match=found):
            probe(server)


def test_several_that_fit_are_refused_by_name() -> None:
    twice = {"v": [{"id": number, "c": "Superfície", "u": "km²"} for number in ("f261", "f281")]}
    with serve(datasets=[sheet("f271", "Superfície", "ha"), ELSEWHERE]) as server:
        changed(server, lambda _: twice, "nodes")
        with pytest.raises(SourceError, match=r"these have both: f261 'Superfície' \(km²\), f281 "):
            probe(server)


@pytest.mark.parametrize(
    ("change", "error", "found"),
    [
        (lambda _: REAL_ERROR["fitxes"], SourceError, "found none of this number"),
        (lambda fitxes: {**REAL_ERROR["fitxes"], "error": "503"}, SourceUnavailable, "error 503 in an answer with status 200"),
        (lambda fitxes: {**REAL_ERROR["fitxes"], "error": "400"}, SourceError, "answered error 400"),
        (lambda fitxes: fitxes["indicadors"]["i"].update(v="1,2"), SourceError, "each of 3 places, found 2"),
        (lambda fitxes: fitxes["indicadors"]["i"].pop("updated") and None, SourceError, "date of the last update of f271"),
        (lambda fitxes: fitxes["cols"]["col"].__setitem__(1, fitxes["cols"]["col"][0]), SourceError, "found one twice"),
    ],
    ids=["404", "503", "400", "too few values", "no date", "a municipality twice"],
)  # fmt: skip
def test_what_is_no_answer_is_refused_in_one_line(
    api: MockServer, change: Callable[[Fitxes], Fitxes | None], error: type[Exception], found: str
) -> None:
    changed(api, change)
    with pytest.raises(error, match=found) as raised:
        probe(api)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("fault", ["truncated", "wrong-json", "error-503", "error-in-200"])
def test_faults_that_pass_are_tried_again(api: MockServer, fault: str) -> None:
    api.faults(f"{fault}:emex/f271:times=1")
    assert probe(api)
    api.faults(f"{fault}:emex/f271")
    with pytest.raises((SourceUnavailable, SourceError)):
        probe(api)


def test_an_answer_that_changes_between_two_requests_is_read_again(api: MockServer) -> None:
    state = probe(api)
    assert state
    api.advance("emex/f271")
    sink = Landing()
    found = AREAS.extract(fast(api.url), state, sink)
    assert found.state.version != state.version
    assert found.rows == 3


def test_a_page_that_is_something_else_is_refused() -> None:
    for body in (
        b"[]",
        b'{"fitxes":{"error":"404"}}',
        b'{"fitxes":{"cols":{"col":[]},"indicadors":{"i":{"id":"f1","v":"1"}}}}',
    ):
        with pytest.raises(ContractError, match="expected an answer of EMEX with one indicator in page"):
            read_page(body, "page", list(FIELDS), AREAS, "landing.areas")


def test_what_the_source_says_about_itself(api: MockServer) -> None:
    [about] = AREAS.about_each(fast(api.url))
    assert (about.id, about.title, about.rows, about.key) == ("f271", "Superfície", 3, ("geo",))
    assert [field.name for field in about.fields] == list(FIELDS)
    assert about.description == "Unit: km². Reference: 2025"


def test_an_address_of_the_api_is_recognized() -> None:
    source = recognize("https://api.idescat.cat/emex/v1/dades.json?i=f271&tipus=mun&lang=ca")
    assert source == Emex("f271", portal="https://api.idescat.cat")
    assert Emex.recognize("https://api.idescat.cat/emex/v1/dades.json?i=f271,f321") is None
    with pytest.raises(DeclarationError, match="expected the number of an EMEX indicator, like 'f271', found '271'"):
        Emex("271")


def test_the_mock_has_all_municipalities_as_published_for_2023() -> None:
    [areas] = indicators()
    assert len(areas.places) == len(areas.values) == 947
    assert round(sum(map(float, areas.values))) == 32_111
    assert dict(zip(areas.places, areas.values, strict=True))["080193"] == "101.40"


def test_the_recorded_error_is_the_one_that_the_mock_gives() -> None:
    with serve(datasets=[sheet()]) as server:
        said = httpx.get(f"{server.url}/emex/v1/dades.json?id=431713", trust_env=False)
    assert said.status_code == 200
    assert said.json()["fitxes"].keys() == REAL_ERROR["fitxes"].keys()
    assert (said.json()["fitxes"]["error"], said.json()["fitxes"]["p"]) == ("404", "id=431713")


def test_a_recorded_sample_is_served_as_it_was_received(api: MockServer, tmp_path: Path) -> None:
    asked = "/emex/v1/dades.json?i=f271&tipus=mun&lang=ca"
    body = httpx.get(f"{api.url}{asked}", trust_env=False).content
    at = datetime(2026, 11, 30, tzinfo=UTC)
    described = samples.Described(kind="emex", arguments=["f271"], recorded_at=at)
    samples.write(tmp_path / "areas", described, [], [samples.RecordedAnswer(asked, "application/json", body)])
    with serve(datasets=[*samples.published(tmp_path).values()]) as again:
        assert (
            json.loads(httpx.get(f"{again.url}{asked}", trust_env=False).content)["fitxes"]
            == json.loads(body)["fitxes"]
        )
        assert probe(again)

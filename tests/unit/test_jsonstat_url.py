"""JSON-stat at any URL: Eurostat's answers and those of other publishers, page by page, and what servers answer in its place."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from catalunya.assets.graph.spec import Landing as LandingAsset
from catalunya.assets.graph.spec import staging
from catalunya.assets.making.materialize import materialize
from catalunya.assets.record.paths import scan_table
from catalunya.assets.record.project import Project
from catalunya.contracts.model.contract import Contract, LandingContract, column, raw
from catalunya.io.environment import Settings
from catalunya.io.errors import DeclarationError, SourceChanged, SourceError, SourceUnavailable, UsageError
from catalunya.io.periods import window
from catalunya.io.sources.base import Extraction
from catalunya.io.sources.jsonstat_url import JsonStat
from catalunya.io.sources.protocols import recognize
from catalunya.ops.mock import serve
from catalunya.ops.mock.exchange import Answer
from catalunya.ops.mock.jsonstat import PublishedDataset
from catalunya.ops.mock.server import MockServer
from small.apis import Landing, fast
from small.http_server import Asked, Server

REAL = os.environ.get("CATALUNYA_REAL_DATA")
needs_real_data = pytest.mark.skipif(not REAL, reason="CATALUNYA_REAL_DATA is not set")
PATH = "/eurostat/api/dissemination/statistics/1.0/data/demo"
HOST = "ec.europa.eu"
QUERY = "format=JSON&lang=EN&geo=ES&geo=FR"
DEMO = JsonStat(f"https://{HOST}{PATH}?{QUERY}")


def dataset(geo: list[str], years: list[str], updated: str | None = "2026-07-09T11:00:00+0200") -> dict[str, Any]:
    """As Eurostat's guide and clients show it: no role, values and statuses as objects that leave out what is missing."""
    values = {str(at): 100 + at for at in range(len(geo) * len(years)) if at != 1}
    dimension = {
        name: {"label": name.title(), "category": {"index": {code: at for at, code in enumerate(codes)}, "label": {c: c.lower() for c in codes}}}
        for name, codes in (("unit", ["NR"]), ("geo", geo), ("time", years))
    }  # fmt: skip
    found = {"version": "2.0", "class": "dataset", "label": "Demo", "source": "ESTAT", "value": values, "status": {"0": "p"},
             "id": ["unit", "geo", "time"], "size": [1, len(geo), len(years)], "dimension": dimension}  # fmt: skip
    return found | ({"updated": updated} if updated else {})


WHOLE = dataset(["ES", "FR"], ["2023", "2024"])


@contextmanager
def answering(**answers: dict[str, Any]) -> Iterator[MockServer]:
    """A mock with answers by the end of their query, behind `QUERY`: {"": …, "lastTimePeriod=1": …}."""
    bodies = {query: json.dumps(body).encode() for query, body in answers.items()}
    with serve(datasets=[PublishedDataset(address=f"https://{HOST}{PATH}", answers=bodies)]) as server:
        yield server


def extract(server: MockServer | Server, source: JsonStat) -> tuple[Extraction, Landing]:
    http, landing = fast(f"{server.url}/{HOST}"), Landing()
    state = source.probe(http)
    assert state
    return source.extract(http, state, landing), landing


def rows(source: JsonStat, done: Extraction, landing: Landing) -> pl.DataFrame:
    fields = list(done.state.fields)
    return pl.concat([source.read(landing.files[page.name], fields, 1000) for page in done.pages])


def refused(body: bytes, status: int = 200) -> Exception:
    """The error of a source whose server answers so."""
    with (
        Server(lambda _: Answer(body, status)).running() as server,
        pytest.raises((SourceError, SourceUnavailable)) as caught,
    ):
        DEMO.probe(fast(server.url))
    assert "\n" not in str(caught.value)
    return caught.value


def test_sparse_values_become_a_row_for_each_cell_with_time_and_geo_found_by_their_ids() -> None:
    with answering(**{QUERY: WHOLE}) as server:
        done, landing = extract(server, DEMO)
    assert done.state.fields["time"] == "time"
    found = rows(DEMO, done, landing)
    assert found.select("geo", "time", "value", "status").rows() == [
        ("ES", "2023", "100", "p"), ("ES", "2024", None, None), ("FR", "2023", "102", None), ("FR", "2024", "103", None),
    ]  # fmt: skip
    assert found.select("unit", "unit_label", "table", "updated").unique().rows() == [
        ("NR", "nr", "demo", "2026-07-09")
    ]


def test_repeated_parameters_are_sent_as_declared() -> None:
    with answering(**{QUERY: WHOLE}) as server:
        extract(server, DEMO)
        assert {asked.query for asked in server.requests} == {QUERY}


def test_with_latest_a_small_answer_says_whether_it_changed() -> None:
    source = JsonStat(DEMO.address, latest="lastTimePeriod=1")
    with answering(**{QUERY: WHOLE, f"{QUERY}&lastTimePeriod=1": dataset(["ES", "FR"], ["2024"])}) as server:
        done, _ = extract(server, source)
        server.clear_requests()
        http = fast(f"{server.url}/{HOST}")
        assert source.probe(http, done.state.version) is None
        assert [asked.query for asked in server.requests] == [f"{QUERY}&lastTimePeriod=1"]
        server.advance()
        assert source.probe(http, done.state.version) is not None


def test_without_latest_the_content_is_compared() -> None:
    undated = dataset(["ES"], ["2024"], updated=None)
    with answering(**{QUERY: undated}) as server:
        done, landing = extract(server, DEMO)
        assert DEMO.probe(fast(f"{server.url}/{HOST}"), done.state.version) is None
        assert rows(DEMO, done, landing)["updated"].to_list() == [None]


def test_a_large_dataset_is_read_in_one_page_for_each_category() -> None:
    source = JsonStat(DEMO.address, latest="lastTimePeriod=1", split_by="geo")
    rest = "format=JSON&lang=EN"
    answers = {
        f"{QUERY}&lastTimePeriod=1": dataset(["ES", "FR"], ["2024"]),
        f"{rest}&geo=ES": dataset(["ES"], ["2022", "2023", "2024"]),
        f"{rest}&geo=FR": dataset(["FR"], ["2024"]),
    }
    with answering(**answers) as server:
        done, landing = extract(server, source)
    assert [page.rows for page in done.pages] == [3, 1]
    assert done.state.rows == 4
    assert rows(source, done, landing)["geo"].to_list() == ["ES", "ES", "ES", "FR"]


def test_pages_of_two_states_are_read_again_and_never_published_together() -> None:
    source = JsonStat(DEMO.address, latest="lastTimePeriod=1", split_by="geo")
    with answering(
        **{
            f"{QUERY}&lastTimePeriod=1": dataset(["ES"], ["2024"]),
            "format=JSON&lang=EN&geo=ES": dataset(["ES"], ["2024"]),
        }
    ) as server:
        http = fast(f"{server.url}/{HOST}")
        state = source.probe(http)
        assert state
        server.faults("moving-rows")
        with pytest.raises(SourceChanged):
            source.extract(http, state, Landing())


def test_a_server_that_does_not_filter_by_the_dimension_is_noticed() -> None:
    source = JsonStat(DEMO.address, latest="lastTimePeriod=1", split_by="geo")
    ignoring = json.dumps(WHOLE).encode()
    expected = "expected only (ES|FR) of geo at .*geo=\\1, found ES, FR; the server does not filter by it"
    with Server(lambda _: Answer(ignoring)).running() as server, pytest.raises(SourceError, match=expected):
        extract(server, source)


@pytest.mark.parametrize("flaw", ["cut off", "no JSON"])
def test_an_answer_that_is_no_whole_json_is_not_taken_for_another_format(flaw: str) -> None:
    body = json.dumps(WHOLE)
    error = refused(body[:-40].encode() if flaw == "cut off" else body.replace("103", "NaN").encode())
    assert isinstance(error, SourceUnavailable)
    assert "1.x" not in str(error)


def test_a_warning_beside_a_dataset_is_no_error() -> None:
    with answering(**{QUERY: WHOLE | {"warning": {"status": 200, "label": "Provisional figures"}}}) as server:
        assert extract(server, DEMO)[0].rows == 4


def test_a_dimension_to_split_by_that_is_not_there_is_named_with_those_that_are() -> None:
    source = JsonStat(DEMO.address, latest="lastTimePeriod=1", split_by="region")
    with (
        answering(**{f"{QUERY}&lastTimePeriod=1": WHOLE}) as server,
        pytest.raises(DeclarationError, match="unit, geo, time, found 'region'"),
    ):
        extract(server, source)


@pytest.mark.parametrize(
    ("body", "status", "kind", "expected"),
    [
        (b'{"error":[{"status":404,"id":100,"label":"ERR_NOT_FOUND_4: ..."}]}', 404, SourceError, "ERR_NOT_FOUND_4"),
        (b'{"error":[{"status":404,"id":100,"label":"ERR_NOT_FOUND_4: ..."}]}', 200, SourceError, "check the code and the filters"),
        (b'{"error":[{"status":413,"id":413,"label":"EXTRACTION_TOO_BIG: 6000000 cells"}]}', 413, SourceError, "add filters to the URL"),
        (b'{"warning":{"status":413,"label":"ASYNCHRONOUS_RESPONSE. Please try again later."}}', 413, SourceUnavailable, "come back later"),
        (b'{"warning":{"status":413,"label":"ASYNCHRONOUS_RESPONSE. Please try again later."}}', 200, SourceUnavailable, "come back later"),
        (b"<html><title>Overloaded</title></html>", 200, SourceUnavailable, "found HTML or XML"),
        (b"<html><title>Overloaded</title></html>", 503, SourceUnavailable, "503"),
        (b'{"status" : "No puede mostrarse por restricciones de volumen"}', 200, SourceError, "restricciones de volumen"),
        (b'[{"COD":"EOT46340", "Data":[]}]', 200, SourceError, "a JSON array, which is another format"),
        ("La operación indicada no existe".encode(), 200, SourceError, "expected JSON, found text"),
        (b'{"class":"collection","link":{"item":[{"href":"https://x.org/a.json"}]}}', 200, SourceError, "https://x.org/a.json"),
        (b'{"dataset":{"dimension":{}}}', 200, SourceError, "JSON-stat 1.x"),
        (json.dumps(WHOLE | {"size": [1, 2, 3]}).encode(), 200, SourceError, "expected 3 categories, found 2"),
        (json.dumps(WHOLE | {"updated": "17/10/2013"}).encode(), 200, SourceError, "expected updated as a date"),
    ],
    ids=range(14),
)  # fmt: skip
def test_what_is_not_a_dataset_is_one_clear_line(
    body: bytes, status: int, kind: type[Exception], expected: str
) -> None:
    error = refused(body, status)
    assert type(error) is kind
    assert expected in str(error)


def test_a_warning_that_passes_is_waited_for() -> None:
    later = Answer(b'{"warning":{"status":413,"label":"ASYNCHRONOUS_RESPONSE"}}', 200)
    answers = [later, Answer(json.dumps(WHOLE).encode())]

    def reply(_: Asked) -> Answer:
        return answers.pop(0) if len(answers) > 1 else answers[0]

    with Server(reply).running() as server:
        assert DEMO.probe(fast(server.url)) is not None


def test_a_dataset_of_too_many_cells_names_its_sizes() -> None:
    many = dataset(["ES"], ["2024"])
    codes = {f"C{at}": at for at in range(1001)}
    for name in ("unit", "geo"):
        many["dimension"][name]["category"] = {"index": codes}
    many |= {"size": [1001, 1001, 1], "value": {}, "status": {}}
    assert "found 1,002,001 (unit: 1,001, geo: 1,001, time: 1)" in str(refused(json.dumps(many).encode()))


@pytest.mark.parametrize(
    ("options", "expected"),
    [({"split_by": "geo"}, "`latest` beside `split_by`"), ({"latest": "x"}, "`latest` as parameters")],
)
def test_a_declaration_that_cannot_work_is_refused(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(DeclarationError, match=expected):
        JsonStat(DEMO.address, **options)


def test_it_has_no_periods() -> None:
    with answering(**{QUERY: WHOLE}) as server:
        http = fast(f"{server.url}/{HOST}")
        state = DEMO.probe(http)
        assert state
        with pytest.raises(UsageError, match="read the whole dataset"):
            DEMO.extract(http, state, Landing(), window=window("2024", "2024"))


@pytest.mark.parametrize(
    ("address", "is_known"),
    [
        (DEMO.address, True),
        ("https://json-stat.org/samples/galicia.json", True),
        ("https://www.icane.es/data/api/population?format=json-stat", True),
        ("https://api.idescat.cat/taules/v2/ep/9122/10002/mun/data", False),
        ("https://data.ny.gov/resource/39hk-dx4f.json", False),
        ("https://data.ny.gov/api/views/39hk-dx4f.json", False),
        ("https://example.org/stations.csv", False),
    ],
)
def test_an_address_of_a_dataset_is_recognized(address: str, is_known: bool) -> None:
    assert JsonStat.recognize(address) == (JsonStat(address) if is_known else None)
    assert isinstance(recognize(address), JsonStat) is is_known


class RawDemo(LandingContract):
    """Demo, as JSON-stat cells."""

    time: str = raw("Year", kind="time", required=True)
    geo: str = raw("Country", kind="geo", required=True)
    value: str = raw("Number", kind="number")


class Demo(Contract):
    """Demo by year and country."""

    year_id: str = column("Year", source=RawDemo.time, key=True)
    country: str = column("Country", source=RawDemo.geo, key=True)
    number: int = column("Number", source=RawDemo.value, nullable=True)


def test_a_dataset_becomes_a_table(settings: Settings) -> None:
    landing = LandingAsset("demo", source=DEMO, contract=RawDemo, schedule="0 5 * * *")

    @staging(landing, contract=Demo)
    def demo(raw: pl.LazyFrame) -> pl.LazyFrame:
        return raw

    with answering(**{QUERY: WHOLE}) as server:
        project = Project(settings.model_copy(update={"mock_url": server.url}), [landing, demo])
        materialize(project, "landing.demo")
        entry = materialize(project, "staging.demo").entry
    assert entry
    table = scan_table(project.lake, project.graph["staging.demo"], entry).collect()
    assert table.rows() == [("2023", "ES", 100), ("2023", "FR", 102), ("2024", "ES", None), ("2024", "FR", 103)]


@needs_real_data
@pytest.mark.parametrize("name", ["galicia-2.0", "cantabria"])
def test_recorded_datasets_of_version_2_are_read_cell_by_cell(name: str) -> None:
    body = Path(str(REAL), f"recordings/jsonstat/{name}.json").read_bytes()
    source = JsonStat(f"https://example.org/{name}.json")
    with serve(datasets=[PublishedDataset(address=source.address, answers={"": body})]) as server:
        http, landing = fast(f"{server.url}/example.org"), Landing()
        state = source.probe(http)
        assert state
        done = source.extract(http, state, landing)
        about = source.about_each(http)[0]
    values = json.loads(body)["value"]
    known = [None if value is None else float(value) for value in values]
    found = rows(source, done, landing)["value"].cast(pl.Float64).to_list()
    assert found == known
    assert about.rows == len(known)
    assert [field.name for field in about.fields] == list(done.state.fields)


@needs_real_data
@pytest.mark.parametrize("name", ["oecd-canada", "statswe", "ons", "QS104EW", "collection"])
def test_recordings_of_other_versions_are_refused(name: str) -> None:
    assert isinstance(refused(Path(str(REAL), f"recordings/jsonstat/{name}.json").read_bytes()), SourceError)


@needs_real_data
@pytest.mark.parametrize("path", ["ine/DATOS_TABLA-75196.cut", "ine/200-too-large", "eurostat/404-error-shape"])
def test_recordings_of_other_formats_are_refused(path: str) -> None:
    assert isinstance(refused(Path(str(REAL), f"recordings/{path}.json").read_bytes()), SourceError)

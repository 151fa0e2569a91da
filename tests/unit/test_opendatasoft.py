"""Reading a dataset of an Opendatasoft portal: all records by one export, as many as the portal counts and of one state."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import polars as pl
import pytest

from catalunya.assets.graph.spec import Declaration, staging
from catalunya.assets.graph.spec import Landing as LandingAsset
from catalunya.assets.making.materialize import materialize
from catalunya.assets.making.request import Request
from catalunya.assets.record.project import Project
from catalunya.contracts.model.contract import Contract, LandingContract, column, raw
from catalunya.io.environment import Settings
from catalunya.io.errors import (
    ContractError,
    DeclarationError,
    SourceChanged,
    SourceError,
    SourceUnavailable,
    UsageError,
)
from catalunya.io.periods import window
from catalunya.io.sources.base import Extraction, SourceState
from catalunya.io.sources.opendatasoft import INTERRUPTED, Opendatasoft
from catalunya.io.sources.pages import FLAW, read_page
from catalunya.ops.mock import samples, serve
from catalunya.ops.mock.exchange import Answer, Asked
from catalunya.ops.mock.opendatasoft import Records, dataset
from catalunya.ops.mock.samples import Described, RecordedAnswer
from catalunya.ops.mock.server import MockServer
from small.apis import Landing, fast
from small.real import real_data

PARIS = "https://opendata.paris.fr"
BIKES = Opendatasoft("velib", key=("code",))
DATASET = "/api/explore/v2.1/catalog/datasets/velib"
EXPORT = f"{DATASET}/exports/jsonl"
AT = "2025-01-23T14:40:00+00:00"
TYPES = {
    "code": "text",
    "name": "text",
    "capacity": "int",
    "free": "double",
    "open": "boolean",
    "place": "geo_point_2d",
    "due": "datetime",
}
FIELDS = {"capacity": {"label": "Capacity", "description": "Places of a station", "annotations": {"unit": ["places"]}}}
METAS = {
    "title": "Stations", "description": "<p>All stations</p>", "publisher": "Ville de Paris", "license": "ODbL",
    "modified": "2020-12-07T05:27:41+00:00", "modified_updates_on_data_change": False,
}  # fmt: skip


STATE = SourceState("1", datetime(2025, 1, 1, tzinfo=UTC), {"code": "text"})


def stations(count: int) -> pl.DataFrame:
    """Stations with names as they are in open data: accents, quotes, line breaks; every third capacity unknown."""
    return pl.DataFrame(
        {
            "code": [f"{n:05}" for n in range(count)],
            "name": [f'Square «{n}», l\'"Île"\nsud {INTERRUPTED.decode()[:9]}' for n in range(count)],
            "capacity": [None if n % 3 == 2 else f"{n}" for n in range(count)],
            "free": [f"{n}.5" for n in range(count)],
            "open": ["true" if n % 2 else "false" for n in range(count)],
            "place": ['{"lon":2.3,"lat":48.8}'] * count,
            "due": ["2025-01-23T14:38:16+00:00"] * count,
        },
        schema=dict.fromkeys(TYPES, pl.String),
    )


class Portal:
    """An Opendatasoft portal with one dataset of 25 records, or as many as are wanted."""

    def __init__(self, rows: int = 25, metas: dict[str, Any] | None = None, **changed: Any) -> None:
        document = {"metas": {"default": METAS | (metas or {})}}
        options: dict[str, Any] = {"processed": AT, "fields": FIELDS, "document": document, "key": ["code"], **changed}
        self.dataset: Records = dataset("velib", stations(rows), TYPES, **options)
        self.server: MockServer

    def __enter__(self) -> Self:
        self._serving = serve(datasets=[self.dataset])
        self.server = self._serving.__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        self._serving.__exit__(*raised)

    def probe(self, known: str | None = None) -> SourceState | None:
        return BIKES.probe(fast(self.server.url), known)

    def extract(
        self, source: Opendatasoft = BIKES, window: Any = None, **changed: Any
    ) -> tuple[Extraction, list[bytes]]:
        http, pages = fast(self.server.url, **{"page_rows": 10, **changed}), Landing()
        state = self.probe()
        assert state
        self.server.clear_requests()
        done = source.extract(http, state, pages, window=window)
        assert sorted(pages.files) == [page.name for page in done.pages]
        return done, [pages.files[page.name] for page in done.pages]

    def asked(self, kind: str = "rows") -> list[Asked]:
        return [asked for asked in self.server.requests if asked.kind == kind]

    def answers(self, kind: str, change: Callable[[Asked, Answer], Answer]) -> None:
        """Let every answer to requests of this kind be what `change` makes of it."""
        self.server.reply(lambda asked, answer: change(asked, answer) if asked.kind == kind else answer)


@pytest.fixture
def portal() -> Iterator[Portal]:
    with Portal() as portal:
        yield portal


def rows_of(pages: list[bytes]) -> list[dict[str, Any]]:
    return [json.loads(line) for page in pages for line in page.splitlines()]


def codes(rows: int) -> list[str]:
    return [f"{n:05}" for n in range(rows)]


# Records


def test_all_records_come_with_one_export_in_the_order_of_the_key(portal: Portal) -> None:
    done, pages = portal.extract()
    assert [page.rows for page in done.pages] == [10, 10, 5]
    assert done.rows == done.state.rows == 25
    assert [asked.target for asked in portal.asked()] == [f"{EXPORT}?limit=-1&order_by=code"]
    assert [page.url for page in done.pages] == [
        f"{portal.server.url}{EXPORT}?limit=-1&order_by=code#page={n}" for n in range(3)
    ]
    assert rows_of(pages)[1] == {
        "code": "00001", "name": 'Square «1», l\'"Île"\nsud Streaming', "capacity": 1, "free": 1.5, "open": True,
        "place": {"lon": 2.3, "lat": 48.8}, "due": "2025-01-23T14:38:16+00:00",
    }  # fmt: skip


@pytest.mark.parametrize("size", [1, 3, 24, 25, 26, 50_000])
def test_rows_by_pages_of_any_size_are_all_rows(portal: Portal, size: int) -> None:
    done, pages = portal.extract(page_rows=size)
    assert [row["code"] for row in rows_of(pages)] == codes(25)
    assert max(page.rows for page in done.pages) <= size


def test_a_dataset_without_records_has_no_pages() -> None:
    with Portal(0) as portal:
        done, pages = portal.extract()
        assert (done.rows, pages) == (0, [])


def test_more_records_than_lists_can_give_are_read() -> None:
    with Portal(10_050) as portal:
        done, _ = portal.extract(page_rows=4_000)
        assert [page.rows for page in done.pages] == [4_000, 4_000, 2_050]
        assert len(portal.server.requests) == 4, "state, count, export, state"


def test_a_sample_asks_for_no_more_than_its_records(portal: Portal) -> None:
    with BIKES.connect(fast(portal.server.url, page_rows=3)) as client:
        plan = BIKES.plan(client, BIKES.read_state(client), None)
        page, reply = BIKES.fetch(client, plan.requests[0])
    assert (page.rows, plan.rows) == (3, 3)
    assert [row["code"] for row in rows_of([bytes(reply.body)])] == codes(3)
    assert portal.asked()[0].params["limit"] == "3"


def test_a_part_of_the_dataset_cannot_be_asked_for(portal: Portal) -> None:
    with pytest.raises(UsageError, match="it has no periods"):
        portal.extract(window=window("2024", "2025"))


# An export that is not whole


def test_an_export_that_breaks_off_in_its_body_is_asked_for_again(portal: Portal) -> None:
    broken = [b"\n" + INTERRUPTED + b" : timeout"]

    def cut(_: Asked, answer: Answer) -> Answer:
        return replace(answer, body=answer.body[:700] + broken.pop()) if broken else answer

    portal.answers("rows", cut)
    _, pages = portal.extract()
    assert [row["code"] for row in rows_of(pages)] == codes(25)
    assert len(portal.asked()) == 2


def test_an_export_that_always_breaks_off_is_unavailable_for_the_portal_s_reason(portal: Portal) -> None:
    portal.answers("rows", lambda _, a: replace(a, body=a.body + INTERRUPTED + b" : no space left"))
    with pytest.raises(SourceUnavailable, match=r"3 attempts.*due to the following error : no space left"):
        portal.extract()


def test_an_export_with_fewer_records_than_counted_is_no_table(portal: Portal) -> None:
    portal.answers("rows", lambda _, a: replace(a, body=b"".join(a.body.splitlines(keepends=True)[:20])))
    with pytest.raises(SourceChanged, match="the source counts 25 records, received 20"):
        portal.extract()
    assert len(portal.asked()) == 3


@pytest.mark.parametrize("fault", ["error-503", "rate-limited-bare", "cut-off"])
def test_a_failure_that_passes_is_overcome(portal: Portal, fault: str) -> None:
    portal.server.faults(f"{fault}:times=1:on=rows")
    _, pages = portal.extract()
    assert [row["code"] for row in rows_of(pages)] == codes(25)


def test_an_export_that_ends_within_a_record_is_asked_for_again(portal: Portal) -> None:
    portal.server.faults("truncated:times=1:on=rows")
    _, pages = portal.extract()
    assert [row["code"] for row in rows_of(pages)] == codes(25)


def test_a_dataset_that_changes_while_it_is_read_is_read_again(portal: Portal) -> None:
    portal.server.faults("moving-rows:times=1")
    done, pages = portal.extract()
    assert done.rows == len(rows_of(pages)) == 24, "the new version has a row less"
    assert done.state.version == getattr(portal.probe(), "version", None)


def test_a_dataset_that_never_rests_is_given_up(portal: Portal) -> None:
    portal.server.faults("moving-rows")
    with pytest.raises(SourceChanged, match="changed during each of 3 downloads"):
        portal.extract()


# What changed


def test_whether_a_dataset_changed_takes_one_request(portal: Portal) -> None:
    state = portal.probe()
    assert state
    assert state.updated_at == datetime(2025, 1, 23, 14, 40, tzinfo=UTC)
    assert state.fields == {
        "code": "text", "name": "text", "capacity": "number", "free": "number", "open": "checkbox", "place": "point", "due": "datetime"
    }  # fmt: skip
    portal.server.clear_requests()
    assert portal.probe(state.version) is None
    assert [asked.target for asked in portal.server.requests] == [DATASET]


def test_new_data_are_noticed_although_the_publisher_s_date_stays(portal: Portal) -> None:
    before = portal.probe()
    portal.server.advance()
    after = portal.probe()
    assert before
    assert after
    assert before.version != after.version
    shown = portal.dataset.document["metas"]["default"]["modified"]
    assert shown == METAS["modified"]


@pytest.mark.parametrize(
    "changed",
    [{"processed": "2025-01-24T00:00:00+00:00"}, {"metas": {"modified": "2025-01-24T00:00:00+00:00"}}, {"rows": 26}],
    ids=["processed", "modified", "count"],
)
def test_the_version_depends_on_what_the_metadata_say(portal: Portal, changed: dict[str, Any]) -> None:
    before = portal.probe()
    with Portal(**changed) as other:
        after = other.probe()
    assert before
    assert after
    assert before.version != after.version


def test_a_dataset_without_records_of_its_own_is_refused(portal: Portal) -> None:
    portal.dataset.document["has_records"] = False
    with pytest.raises(SourceError, match="expected records, fields and the time of their last change"):
        portal.probe()


# Refusals and odd answers


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (404, {"error_code": "UnknownDatasetError", "message": "No dataset velib"}, "UnknownDatasetError: No dataset velib. Check the dataset's id"),
        (400, {"error_code": "InvalidRESTParameterError", "message": "Invalid value"}, "InvalidRESTParameterError: Invalid value. Check the key"),
        (403, {"message": "No access"}, "403 Forbidden: No access. Set or correct the token of"),
        (429, {"errorcode": 10002, "error": "Too many requests", "reset_time": "2025-01-24T00:00:00Z"},
         "10002: Too many requests; the quota begins again at 2025-01-24T00:00:00Z. Try again after that time, or set the token of"),
    ],
)  # fmt: skip
def test_a_refusal_is_shown_in_the_portal_s_words(portal: Portal, status: int, body: Any, message: str) -> None:
    portal.answers("metadata", lambda *_: Answer(json.dumps(body).encode(), status))
    with pytest.raises((SourceError, SourceUnavailable)) as caught:
        portal.probe()
    assert message in str(caught.value)


def test_the_token_is_sent_as_an_api_key(portal: Portal) -> None:
    assert BIKES.probe(fast(portal.server.url, app_token="s3cret"))
    assert portal.server.requests[-1].headers["authorization"] == "Apikey s3cret"


@pytest.mark.parametrize(
    ("kind", "body", "found"),
    [
        ("metadata", b"<html>Maintenance</html>", "expected JSON, found HTML or XML"),
        ("metadata", b"[]", "Expected `object`, got `array`"),
        ("metadata", b'{"fields": [], "metas": []}', "Expected `object`, got `array`"),
        ("metadata", b'{"fields": [{"name": "a"}, {"name": "a"}], "metas": {"default": {}}}', "found a twice"),
        (
            "metadata",
            b'{"fields": [], "metas": {"default": {"modified": "1", "modified": "2"}}}',
            "found modified twice",
        ),
        ("count", b'{"total_count": "many"}', "Expected `int`, got `str`"),
        ("count", b'{"results": []}', "missing required field `total_count`"),
        ("rows", b"<html>Maintenance</html>", "expected lines with a JSON object each"),
        ("rows", b'[{"code": "1"}]', "expected lines with a JSON object each"),
        ("rows", b"code;name\n1;a\n", "expected lines with a JSON object each"),
    ],
)
def test_another_answer_is_refused_after_one_repetition(portal: Portal, kind: str, body: bytes, found: str) -> None:
    portal.answers(kind, lambda *_: Answer(body))
    with pytest.raises(SourceError, match="answered twice with something else") as caught:
        BIKES.extract(fast(portal.server.url), STATE, Landing())
    assert found in str(caught.value)
    assert len(portal.asked(kind)) == 2


# Reading a page


def read(body: bytes, *fields: str) -> pl.DataFrame:
    return read_page(body, "page-00000.jsonl", fields, BIKES, "landing.bikes")


def test_a_page_is_read_as_text_with_nulls_for_what_is_missing(portal: Portal) -> None:
    _, pages = portal.extract()
    frame = read(pages[0], "code", "capacity", "free", "open", "due", "other")
    assert frame.select("code", "capacity", "free", "open", "due", "other").rows()[1:3] == [
        ("00001", "1", "1.5", "true", "2025-01-23T14:38:16+00:00", None),
        ("00002", None, "2.5", "false", "2025-01-23T14:38:16+00:00", None),
    ]
    assert frame["_json.capacity"].to_list()[:3] == ["number", "number", None]


def test_a_point_is_an_object() -> None:
    frame = read(b'{"code": "1", "place": {"lon": 2.3, "lat": 48.8}}\n', "code", "place")
    assert frame.row(0, named=True) == {"code": "1", "place": None, "_json.place": "object"}


def test_a_row_with_a_field_twice_is_marked() -> None:
    frame = read(b'{"code": "a", "code": "b"}\n{"code": "c"}\n', "code")
    assert frame[FLAW].to_list() == ["code: found twice in one row: 'a' and 'b'", None]


@pytest.mark.parametrize("body", [b"<html></html>", b'["a"]\n', b'{"code": \n', b"null\n"])
def test_a_page_that_is_something_else_is_a_broken_page(body: bytes) -> None:
    with pytest.raises(ContractError, match=r"landing\.bikes: expected lines with a JSON object each in page-00000"):
        read(body, "code")


# For people


def test_the_metadata_for_people_name_licence_publisher_and_fields(portal: Portal) -> None:
    (about,) = BIKES.about_each(fast(portal.server.url))
    assert (about.title, about.publisher, about.licence, about.rows) == ("Stations", "Ville de Paris", "ODbL", 25)
    assert about.page_url == f"{portal.server.url}/explore/dataset/velib/"
    capacity = {field.name: field for field in about.fields}["capacity"]
    assert (capacity.kind, capacity.label, capacity.description) == ("number", "Capacity", "Places of a station")
    assert len(portal.server.requests) == 2


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (f"{PARIS}/explore/dataset/velib/table/?sort=name", Opendatasoft("velib", portal=PARIS)),
        (f"{PARIS}/explore/dataset/velib", Opendatasoft("velib", portal=PARIS)),
        (f"{PARIS}/explore/embed/dataset/velib/map/", Opendatasoft("velib", portal=PARIS)),
        (f"{PARIS}{DATASET}/records?limit=20", Opendatasoft("velib", portal=PARIS)),
        (f"{PARIS}{EXPORT}", Opendatasoft("velib", portal=PARIS)),
        (f"{PARIS}{DATASET}", Opendatasoft("velib", portal=PARIS)),
        (f"{PARIS}/explore/dataset/a-b@city/", Opendatasoft("a-b@city", portal=PARIS)),
        ("velib", None),
        (f"{PARIS}/explore/", None),
        ("https://data.ny.gov/d/39hk-dx4f", None),
    ],
)
def test_an_address_of_a_dataset_is_recognized(address: str, expected: Opendatasoft | None) -> None:
    assert Opendatasoft.recognize(address) == expected


@pytest.mark.parametrize("wrong", [{"dataset_id": "a/b"}, {"key": "code"}, {"key": ("code desc",)}, {"portal": "x"}])
def test_a_declaration_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(DeclarationError, match="expected"):
        Opendatasoft(**{"dataset_id": "velib", **wrong})


# Recordings


def recorded(name: str) -> Any:
    return json.loads(real_data(f"recordings/opendatasoft/{name}").read_bytes())


def test_metadata_of_odd_types_keep_no_table_from_being_made(portal: Portal) -> None:
    def change(asked: Asked, answer: Answer) -> Answer:
        found = json.loads(answer.body)
        if "metas" in found:
            found["metas"]["default"] |= {
                "title": 5,
                "publisher": ["x"],
                "license": {"ca": "CC"},
                "records_count": "25",
            }
            found["fields"][0] |= {"annotations": [], "label": {"ca": "Codi"}}
        return replace(answer, body=json.dumps(found).encode()) if "metas" in found else answer

    portal.server.reply(change)
    (about,) = BIKES.about_each(fast(portal.server.url))
    assert (about.title, about.publisher, about.licence) == (BIKES.dataset_id, "", "CC")
    assert about.fields[0].label == "Codi"
    assert portal.probe() is not None


def test_recorded_metadata_can_be_read(portal: Portal) -> None:
    found = recorded("v20-dataset-weather-station.json")["dataset"]  # of version 2.0, whose inner part is all of 2.1
    portal.answers("metadata", lambda *_: Answer(json.dumps(found).encode()))
    (about,) = BIKES.about_each(fast(portal.server.url))
    state = portal.probe()
    assert state
    assert state.updated_at == about.updated_at == datetime(2021, 6, 18, 5, 50, 48, tzinfo=UTC)
    assert (about.id, about.publisher, about.licence) == ("weather-stations", "Campbelltown City Council", "CC BY")
    assert state.fields["heat_stress_index"] == "number"
    assert "point" in state.fields.values()


def test_a_recorded_record_can_be_read() -> None:
    (record,) = recorded("v21-records-one.json")["results"]
    frame = read(json.dumps(record).encode() + b"\n", "name", "capacity", "duedate")
    assert frame.row(0)[:3] == ("Square Boucicaut", "60", "2025-01-23T14:38:16+00:00")


def test_the_mock_refuses_a_limit_as_it_was_recorded(portal: Portal) -> None:
    import httpx

    answer = httpx.get(f"{portal.server.url}{DATASET}/records", params={"limit": 1473})
    assert (answer.status_code, answer.json()) == (400, recorded("v21-400-limit.json"))


# As an asset


class RawBikes(LandingContract):
    """Stations as the portal publishes them."""

    code: str = raw("Code", kind="text", required=True)
    capacity: str = raw("Places", kind="number")
    open: str = raw("Whether it is in use", kind="checkbox")
    place: str = raw("Where it is", kind="point")


class Bikes(Contract, max_shrink=1.0, max_change=1.0):
    """Stations."""

    station_id: str = column("Code", source=RawBikes.code, key=True)
    places: int = column("Places", source=RawBikes.capacity, nullable=True)
    is_open: bool = column("Whether it is in use", source=RawBikes.open)


def declared() -> list[Declaration]:
    landing = LandingAsset("bikes", source=replace(BIKES, portal=PARIS), contract=RawBikes, schedule="@daily")

    @staging(landing, contract=Bikes)
    def bikes(raw):  # type: ignore[no-untyped-def]
        return raw

    return [landing, bikes]


def test_a_dataset_becomes_a_table_starts_over_after_a_failure_and_follows_its_changes(
    portal: Portal, settings: Settings
) -> None:
    served = {"mock_url": portal.server.url, "page_rows": 10, "http_concurrency": 1, "http_attempts": 1}
    project = Project(settings.model_copy(update=served), declared())

    def make(key: str) -> Any:
        return materialize(project, key, Request())

    portal.server.faults("cut-off:times=1:on=rows")
    with pytest.raises(SourceUnavailable):
        make("landing.bikes")
    assert make("landing.bikes").entry.rows == 25
    entry = make("staging.bikes").entry
    assert (entry.rows, entry.drift) == (25, "")
    table = pl.concat(pl.read_parquet(project.lake.get(stored.path)) for stored in entry.objects).sort("station_id")
    assert table.select("station_id", "places", "is_open").rows()[:3] == [
        ("00000", 0, False),
        ("00001", 1, True),
        ("00002", None, False),
    ]

    portal.server.clear_requests()
    assert make("landing.bikes").status == "skipped"
    assert len(portal.server.requests) == 1
    portal.server.advance()
    assert make("landing.bikes").status == "materialized"
    assert make("staging.bikes").entry.rows == 24
    assert not [*(settings.scratch or Path()).iterdir()]


def test_the_mock_serves_a_recorded_sample(tmp_path: Path, portal: Portal) -> None:
    _, pages = portal.extract(page_rows=100)
    bodies: dict[str, bytes] = {}
    portal.server.reply(lambda asked, answer: (bodies.__setitem__(asked.path, answer.body), answer)[1])
    BIKES.about_each(fast(portal.server.url))
    answers = [RecordedAnswer(path, "application/json", body) for path, body in bodies.items()]
    described = Described(
        kind="opendatasoft", arguments=["velib"], recorded_at=datetime(2026, 1, 1, tzinfo=UTC), rows=25
    )
    samples.write(tmp_path / "bikes", described, answers, [RecordedAnswer(EXPORT, "application/jsonl", pages[0])])
    with serve(datasets=[*samples.published(tmp_path).values()]) as again:
        state = BIKES.probe(fast(again.url))
        assert state
        landing = Landing()
        done = BIKES.extract(fast(again.url, page_rows=100), state, landing)
        (about,) = BIKES.about_each(fast(again.url))
    assert done.rows == 25
    assert rows_of([*landing.files.values()]) == rows_of(pages)
    assert (about.publisher, about.fields[2].description) == ("Ville de Paris", "Places of a station")

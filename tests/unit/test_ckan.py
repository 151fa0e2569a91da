"""Reading a resource of a CKAN portal's DataStore: whole, in order and of one state, whatever the portal cuts or moves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
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
from catalunya.io.sources.base import About, Extraction, SourceState
from catalunya.io.sources.ckan import Ckan
from catalunya.io.sources.pages import FLAW, read_page
from catalunya.ops.mock import samples, serve
from catalunya.ops.mock.ckan import Resource, resource
from catalunya.ops.mock.exchange import Answer, Asked
from catalunya.ops.mock.samples import Described, RecordedAnswer
from catalunya.ops.mock.server import MockServer
from small.apis import Landing, fast
from small.real import real_data

ID = "52696168-d8bc-4707-9a09-a21c6c2669f3"
WELLS = Ckan(ID)
AT = "2025-09-23T11:13:22.804661"
TYPES = {"Codi": "text", "Nom barri": "text", "fondaria": "numeric", "actiu": "bool", "punt": "json"}
SEARCH, SHOW = "/api/3/action/datastore_search", "/api/3/action/resource_show"


def wells(count: int) -> pl.DataFrame:
    """Wells with names as they are in open data: accents, quotes, line breaks; every third depth unknown."""
    return pl.DataFrame(
        {
            "Codi": [f"{n:03}" for n in range(count)],
            "Nom barri": [f'Poblenou «{n}», l\'"Illa"\nsud' for n in range(count)],
            "fondaria": [None if n % 3 == 2 else f"{n}.5" for n in range(count)],
            "actiu": ["true" if n % 2 else "false" for n in range(count)],
            "punt": ['{"lon":2.2,"lat":41.4}'] * count,
        },
        schema=dict.fromkeys(TYPES, pl.String),
    )


class Portal:
    """A CKAN portal with one resource of 25 rows, or as many as are wanted; `on` decides what is sent."""

    def __init__(self, rows: int = 25, **changed: Any) -> None:
        info = {"fondaria": {"label": "Depth", "notes": "Metres below the ground"}}
        package = {
            "name": "piezometres",
            "title": "Wells",
            "license_title": "Creative Commons Attribution 4.0",
            "organization": {"title": "Ajuntament de Barcelona"},
            "notes": "Wells of the city.",
        }
        options: dict[str, Any] = {"modified": AT, "info": info, "package": package, **changed}
        self.resource: Resource = resource(ID, wells(rows), TYPES, **options)
        self.server: MockServer

    def __enter__(self) -> Self:
        self._serving = serve(datasets=[self.resource])
        self.server = self._serving.__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        self._serving.__exit__(*raised)

    def probe(self, known: str | None = None, source: Ckan = WELLS) -> SourceState | None:
        return source.probe(fast(self.server.url), known)

    def extract(self, source: Ckan = WELLS, window: Any = None, **changed: Any) -> tuple[Extraction, list[bytes]]:
        http, pages = fast(self.server.url, **{"page_rows": 10, **changed}), Landing()
        state = self.probe(source=source)
        assert state
        self.server.clear_requests()
        done = source.extract(http, state, pages, window=window)
        return done, [pages.files[page.name] for page in done.pages]

    def asked(self, kind: str = "rows") -> list[Asked]:
        return [asked for asked in self.server.requests if asked.kind == kind]

    def answers(self, kind: str, change: Any) -> None:
        """Let every answer to requests of this kind be what `change` makes of it."""
        self.server.reply(lambda asked, answer: change(asked, answer) if asked.kind == kind else answer)


@pytest.fixture
def portal() -> Iterator[Portal]:
    with Portal() as portal:
        yield portal


def rows_of(pages: list[bytes]) -> list[dict[str, Any]]:
    return [row for page in pages for row in json.loads(page)["result"]["records"]]


# Pages


def test_pages_are_the_answers_as_they_were_sent(portal: Portal) -> None:
    done, pages = portal.extract(concurrency=1)
    assert [page.rows for page in done.pages] == [10, 10, 5]
    assert done.rows == done.state.rows == 25
    first = json.loads(pages[0])
    assert first["success"] is True
    assert first["result"]["records"][0] == {
        "_id": 1, "Codi": "000", "Nom barri": 'Poblenou «0», l\'"Illa"\nsud', "fondaria": 0.5, "actiu": False,
        "punt": {"lon": 2.2, "lat": 41.4},
    }  # fmt: skip
    assert [asked.target for asked in portal.asked()] == [
        f"{SEARCH}?resource_id={ID}&sort=_id&offset={offset}&limit=10" for offset in (0, 10, 20)
    ]


@pytest.mark.parametrize("size", [1, 3, 24, 25, 26, 50_000])
def test_rows_by_pages_of_any_size_are_all_rows(portal: Portal, size: int) -> None:
    done, pages = portal.extract(page_rows=size)
    assert [row["_id"] for row in rows_of(pages)] == [*range(1, 26)]
    assert done.rows == 25


def test_a_table_without_rows_has_no_pages() -> None:
    with Portal(0) as portal:
        done, pages = portal.extract()
        assert (done.rows, pages) == (0, [])


def test_no_more_than_32_000_rows_are_asked_for_in_one_page() -> None:
    with Portal(32_001) as portal:
        done, pages = portal.extract(page_rows=50_000)
        assert [page.rows for page in done.pages] == [32_000, 1]
        assert len({row["_id"] for row in rows_of(pages)}) == 32_001


def test_a_lower_limit_of_the_portal_is_noticed_and_its_pages_are_split() -> None:
    with Portal(most=4) as portal:
        done, pages = portal.extract()
        assert [row["_id"] for row in rows_of(pages)] == [*range(1, 26)]
        assert max(page.rows for page in done.pages) <= 4


@pytest.mark.parametrize("says", ["nothing", "what was asked for"])
def test_an_answer_that_is_cut_down_without_saying_so_is_split_too(portal: Portal, says: str) -> None:
    def change(asked: Asked, answer: Answer) -> Answer:
        found = json.loads(answer.body)
        found["result"]["records"] = found["result"]["records"][:4]
        found["result"].pop("limit")
        if says != "nothing":
            found["result"]["limit"] = int(asked.params["limit"])
        return replace(answer, body=json.dumps(found).encode())

    portal.answers("rows", change)
    _, pages = portal.extract(page_rows=50_000)
    assert [row["_id"] for row in rows_of(pages)] == [*range(1, 26)]


def test_a_table_that_lost_rows_meanwhile_is_not_split(portal: Portal) -> None:
    def change(_: Asked, answer: Answer) -> Answer:
        found = json.loads(answer.body)
        found["result"] |= {"records": found["result"]["records"][:-1], "total": 24}
        return replace(answer, body=json.dumps(found).encode())

    portal.answers("rows", change)
    with pytest.raises(SourceChanged, match="the source counts 25 rows, received 24"):
        portal.extract(page_rows=50_000, backoff_initial_s=0.0)
    assert len(portal.asked()) == 3


def test_rows_are_sorted_by_the_key_whose_names_may_need_quotes(portal: Portal) -> None:
    _, pages = portal.extract(Ckan(ID, key=("Nom barri", "fondaria")))
    assert portal.asked()[0].params["sort"] == '"Nom barri",fondaria,_id'
    names = [row["Nom barri"] for row in rows_of(pages)]
    assert names == sorted(names)


def test_a_part_of_the_table_cannot_be_asked_for(portal: Portal) -> None:
    with pytest.raises(UsageError, match="a resource is read whole"):
        portal.extract(window=window("2024", "2025"))


# What changed


def test_whether_a_resource_changed_takes_two_requests(portal: Portal) -> None:
    state = portal.probe()
    assert state
    assert state.updated_at == datetime(2025, 9, 23, 11, 13, 22, 804661, tzinfo=UTC)
    assert state.fields == {
        "Codi": "text", "Nom barri": "text", "fondaria": "number", "actiu": "checkbox", "punt": "document"
    }  # fmt: skip
    portal.server.clear_requests()
    assert portal.probe(state.version) is None
    assert [asked.path for asked in portal.server.requests] == [SHOW, SEARCH]


@pytest.mark.parametrize(
    "changed",
    [
        {"modified": "2025-09-24T11:13:22"},
        {"resource": {"hash": "c0ffee"}},
        {"resource": {"metadata_modified": AT}},
        {"rows": 26},
    ],
    ids=["time", "hash", "time of the metadata", "count"],
)
def test_the_version_depends_on_what_the_resource_says(portal: Portal, changed: dict[str, Any]) -> None:
    before = portal.probe()
    with Portal(**changed) as other:
        after = other.probe()
    assert before
    assert after
    assert before.version != after.version


def test_a_new_field_is_a_new_version(portal: Portal) -> None:
    before = portal.probe()
    portal.server.faults("new-column:on=count")
    after = portal.probe()
    assert before
    assert after
    assert before.version != after.version
    assert "nova_columna" in after.fields


def test_a_resource_without_a_date_has_that_of_its_dataset() -> None:
    package = {"metadata_modified": "2025-09-23T11:13:22"}
    with Portal(resource={"last_modified": None}, package=package) as portal:
        state = portal.probe()
        assert state
        assert state.updated_at == datetime(2025, 9, 23, 11, 13, 22, tzinfo=UTC)
        assert len(portal.server.requests) == 3
        portal.server.advance()
        assert portal.probe(state.version)


def test_a_resource_without_any_date_is_refused() -> None:
    with (
        Portal(resource={"last_modified": None}) as portal,
        pytest.raises(SourceError, match="expected last_modified or"),
    ):
        portal.probe()


def test_a_resource_that_changes_while_it_is_read_is_read_again(portal: Portal) -> None:
    portal.server.faults("moving-rows:times=1")
    done, pages = portal.extract(concurrency=1)
    assert [row["_id"] for row in rows_of(pages)] == [*range(1, 25)], "the new version has a row less"
    assert done.state.version == getattr(portal.probe(), "version", None)


def test_a_resource_that_never_rests_is_given_up(portal: Portal) -> None:
    portal.server.faults("moving-rows")
    with pytest.raises(SourceChanged, match="changed during each of 3 readings"):
        portal.extract(concurrency=1)


def test_a_table_that_is_gone_while_it_is_loaded_again_is_read_again(portal: Portal) -> None:
    gone = [Answer(b'{"success":false,"error":{"__type":"Not Found Error","message":"Not found"}}', 404)]
    portal.answers("rows", lambda _, answer: gone.pop() if gone else answer)
    done, _ = portal.extract(concurrency=1)
    assert done.rows == 25
    assert [asked.kind for asked in portal.server.requests].count("metadata") == 2, "after each reading"


def test_rows_of_a_resource_that_was_changed_just_now_are_read_once_more_later() -> None:
    moment = datetime.now(UTC) - timedelta(minutes=5)
    with Portal(modified=moment.replace(tzinfo=None).isoformat()) as portal:
        done, _ = portal.extract()
        assert done.state.version.endswith("-behind")
        assert portal.probe(done.state.version), "the rows may have been loaded after they were read"


# Refusals and odd answers


@pytest.mark.parametrize(
    ("status", "error", "message"),
    [
        (403, {"__type": "Authorization Error", "message": "Access denied"}, "Authorization Error: Access denied. Set or correct the token of"),
        (404, {"__type": "Not Found Error", "message": "Not found: x"}, "Not Found Error: Not found: x. Check the resource's id"),
        (409, {"__type": "Validation Error", "sort": ['field "a" not in table']}, 'Validation Error: sort: field "a" not in table. Check'),
        (400, "Bad request - JSON Error", "400 Bad Request: Bad request - JSON Error"),
    ],
)  # fmt: skip
def test_a_refusal_is_shown_in_the_portal_s_words(portal: Portal, status: int, error: Any, message: str) -> None:
    body = json.dumps({"help": "…", "success": False, "error": error}).encode()
    portal.answers("count", lambda *_: Answer(body, status))
    with pytest.raises(SourceError) as caught:
        portal.probe()
    assert message in str(caught.value)


def test_a_refusal_that_is_no_json_is_shown_too(portal: Portal) -> None:
    portal.answers("count", lambda *_: Answer(b"<html><b>Gone</b></html>", 410))
    with pytest.raises(SourceError, match="410 Gone: Gone"):
        portal.probe()


def test_a_token_is_sent_where_one_is_needed() -> None:
    with Portal(resource={"token_required": "Yes"}) as portal:
        there = replace(WELLS, portal="https://opendata.example/data")
        with pytest.raises(SourceError, match=r"the token of opendata\.example in CATALUNYA_HOSTS"):
            there.probe(fast(portal.server.url))
        assert there.probe(fast(portal.server.url, app_token="s3cret"))
        assert portal.server.requests[-1].headers["authorization"] == "s3cret"


def test_a_resource_that_is_only_a_file_is_refused_with_its_address() -> None:
    document = {"datastore_active": False, "url": "https://opendata.example/wells.csv"}
    with (
        Portal(resource=document) as portal,
        pytest.raises(SourceError, match=r"declare its file instead: https://open"),
    ):
        portal.probe()


def test_a_count_that_is_only_estimated_is_refused(portal: Portal) -> None:
    portal.answers("count", lambda _, a: replace(a, body=a.body.replace(b'estimated": false', b'estimated": true')))
    with pytest.raises(SourceError, match="expected an exact count of its rows, found that the portal estimated 25"):
        portal.probe()


@pytest.mark.parametrize("kind", ["metadata", "count", "rows"])
@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"<html>Manteniment</html>", "expected JSON, found HTML or XML"),
        (b'{"success": false}', "success false"),
        (b'{"success": true}', "got `null`"),
        (b'{"success": "yes", "result": {}}', "Expected `bool`, got `str`"),
        (b'{"success": true, "result": [1]}', "Expected `object`, got `array`"),
        (b"[]", "Expected `object`, got `array`"),
    ],
)
def test_another_answer_is_refused_after_one_repetition(portal: Portal, kind: str, body: bytes, found: str) -> None:
    portal.answers(kind, lambda *_: Answer(body))
    with pytest.raises(SourceError, match="answered twice with something else than expected") as caught:
        portal.extract(concurrency=1, page_rows=100)
    assert found in str(caught.value)
    assert len({asked.target for asked in portal.asked(kind)}) == 1
    assert len(portal.asked(kind)) == 2


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [
        ("count", b'"total":', b'"total": 99, "total":'),
        ("count", b'{"id": "Codi"', b'{"id": "fondaria"'),
        ("metadata", b'"last_modified":', b'"last_modified": "2024-01-01", "last_modified":'),
        ("rows", b'"records":', b'"records": [{}], "records":'),
        ("rows", b'"success":', b'"success": false, "success":'),
    ],
    ids=["count", "field", "time", "records", "success"],
)
def test_what_an_answer_says_twice_is_refused(portal: Portal, kind: str, old: bytes, new: bytes) -> None:
    portal.answers(kind, lambda _, answer: replace(answer, body=answer.body.replace(old, new, 1)))
    with pytest.raises((SourceError, SourceUnavailable), match=r"twice"):
        portal.extract(concurrency=1)


def test_a_page_with_bytes_that_are_no_utf_8_is_asked_for_again(portal: Portal) -> None:
    broken = [b"\xe0"]
    portal.answers("rows", lambda _, a: replace(a, body=a.body.replace("«".encode(), broken.pop())) if broken else a)
    done, _ = portal.extract(concurrency=1)
    assert done.rows == 25
    assert len(portal.asked()) == 4


@pytest.mark.parametrize("fault", ["error-503", "rate-limited-bare", "cut-off", "truncated", "wrong-json:body=array"])
def test_a_failure_that_passes_is_overcome(portal: Portal, fault: str) -> None:
    portal.server.faults(f"{fault}:times=1:on=rows")
    _, pages = portal.extract()
    assert [row["_id"] for row in rows_of(pages)] == [*range(1, 26)]


# Reading a page


def page(*records: str) -> bytes:
    return b'{"success": true, "result": {"fields": [], "records": [%s]}}' % ", ".join(records).encode()


def read(body: bytes, *fields: str) -> pl.DataFrame:
    return read_page(body, "page-00000.json", fields, WELLS, "landing.wells")


def test_a_page_is_read_as_text_with_nulls_for_what_is_missing(portal: Portal) -> None:
    _, pages = portal.extract()
    frame = read(pages[0], "Codi", "Nom barri", "fondaria", "actiu", "altra")
    assert frame.select("Codi", "Nom barri", "fondaria", "actiu", "altra").rows()[1:3] == [
        ("001", 'Poblenou «1», l\'"Illa"\nsud', "1.5", "true", None),
        ("002", 'Poblenou «2», l\'"Illa"\nsud', None, "false", None),
    ]
    assert frame["_json.fondaria"].to_list()[:3] == ["number", "number", None]


def test_a_row_with_a_field_twice_is_marked() -> None:
    frame = read(page('{"_id": 1, "Codi": "a", "Codi": "b"}', '{"_id": 2, "Codi": "c"}'), "Codi")
    assert frame[FLAW].to_list() == ["Codi: found twice in one row: 'a' and 'b'", None]


@pytest.mark.parametrize(
    "body",
    [b"[]", b"<html></html>", b'{"success": true}', b'{"success": true, "result": {"records": {"a": 1}}}', page("null"), page('["a"]')],
)  # fmt: skip
def test_a_page_that_is_something_else_is_a_broken_page(body: bytes) -> None:
    with pytest.raises(
        ContractError, match=r"landing\.wells: expected an answer of datastore_search with records in page-00000"
    ):
        read(body, "Codi")


# For people


def test_the_metadata_for_people_name_licence_publisher_and_fields(portal: Portal) -> None:
    (about,) = WELLS.about_each(fast(portal.server.url))
    assert isinstance(about, About)
    assert (about.title, about.publisher, about.rows) == ("Wells", "Ajuntament de Barcelona", 25)
    assert (about.licence, about.description) == ("Creative Commons Attribution 4.0", "Wells of the city.")
    assert about.page_url == f"{portal.server.url}/dataset/package-of-{ID}/resource/{ID}"
    depth = {field.name: field for field in about.fields}["fondaria"]
    assert (depth.kind, depth.label, depth.description) == ("number", "Depth", "Metres below the ground")


def test_metadata_in_several_languages_or_of_odd_types_keep_no_table_from_being_made(portal: Portal) -> None:
    def change(asked: Asked, answer: Answer) -> Answer:
        found = json.loads(answer.body)
        result = found["result"]
        if asked.path.endswith("resource_show"):
            result |= {
                "name": {"ca": "", "en": "Wells, all"},
                "description": 5,
                "datastore_active": "True",
                "url": None,
            }
        elif asked.path.endswith("package_show"):
            result |= {"title": {"ca": "Pous", "en": "Wells"}, "license_title": ["CC"], "organization": "City"}
        else:
            result["fields"][1]["info"] = {"label": {"ca": "Codi"}, "notes": None}
            result["fields"][2]["info"] = ""
        return replace(answer, body=json.dumps(found).encode())

    portal.server.reply(change)
    (about,) = WELLS.about_each(fast(portal.server.url))
    assert (about.title, about.publisher, about.fields[0].label) == ("Pous: Wells, all", "City", "Codi")
    assert portal.probe() is not None


def test_what_cannot_be_landed_does_not_match_either(portal: Portal) -> None:
    def undated(_: Asked, answer: Answer) -> Answer:
        found = json.loads(answer.body)
        if isinstance(found["result"], dict):
            for name in ("last_modified", "metadata_modified"):
                found["result"].pop(name, None)
        return replace(answer, body=json.dumps(found).encode())

    portal.server.reply(undated)
    for ask in (lambda: WELLS.about_each(fast(portal.server.url)), portal.probe):
        with pytest.raises(SourceError, match="expected last_modified or metadata_modified as a time"):
            ask()


def test_success_false_is_reported_with_what_the_portal_says(portal: Portal) -> None:
    body = b'{"success": false, "error": {"__type": "Search Error", "message": "Solr is away"}}'
    portal.server.reply(lambda _, answer: replace(answer, body=body))
    with pytest.raises(SourceError, match="success false in an answer with status 200: Solr is away"):
        portal.probe()


BCN = "https://opendata-ajuntament.barcelona.cat"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (ID, Ckan(ID)),
        (f"{BCN}/data/ca/dataset/piezometres/resource/{ID}", Ckan(ID, portal=f"{BCN}/data")),
        (f"{BCN}/data/dataset/x/resource/{ID}/download", Ckan(ID, portal=f"{BCN}/data")),
        (f"{BCN}/data/api/action/datastore_search?resource_id={ID}&limit=5", Ckan(ID, portal=f"{BCN}/data")),
        (f"{BCN}/data/api/3/action/datastore_search?resource_id={ID}", Ckan(ID, portal=f"{BCN}/data")),
        (f"https://data.gov.au/dataset/a-b/resource/{ID}", Ckan(ID, portal="https://data.gov.au")),
        (f"https://data.gov.au/en_AU/dataset/a/resource/{ID}/view/x", Ckan(ID, portal="https://data.gov.au")),
        (f"https://data.gov.au/api/3/action/resource_show?id={ID}", Ckan(ID, portal="https://data.gov.au")),
        (f"https://data.gov.au/datastore/dump/{ID}?bom=true", Ckan(ID, portal="https://data.gov.au")),
        ("https://data.gov.au/dataset/a-b", None),
        ("https://data.gov.au/api/3/action/datastore_search", None),
        ("https://data.ny.gov/d/39hk-dx4f", None),
        (f"ftp://data.gov.au/datastore/dump/{ID}", None),
    ],
)
def test_an_address_of_a_resource_is_recognized(address: str, expected: Ckan | None) -> None:
    assert Ckan.recognize(address) == expected


@pytest.mark.parametrize("wrong", [{"resource_id": "wells"}, {"key": "Codi"}, {"key": ('Codi", x',)}, {"portal": "x"}])
def test_a_declaration_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(DeclarationError, match="expected"):
        Ckan(**{"resource_id": ID, **wrong})


# Recordings


def recorded(name: str) -> Any:
    return json.loads(real_data(f"recordings/ckan/{name}").read_bytes())


def test_a_recorded_refusal_can_be_read(portal: Portal) -> None:
    body = json.dumps(recorded("bcn-datastore_search-404.json")).encode()
    portal.answers("count", lambda *_: Answer(body, 404))
    with pytest.raises(SourceError, match=r'Not Found Error: Not found: Resource "23124fd5.* was not found'):
        portal.probe()


def test_recorded_metadata_can_be_read(portal: Portal) -> None:
    shown, package = recorded("resource_show-vic-wms.json"), recorded("package_show-taxation-statistics.json")
    shown["result"]["datastore_active"] = True  # the recorded resource is a map
    bodies = {"resource_show": shown, "package_show": package | {"success": True}}
    portal.answers("metadata", lambda asked, _: Answer(json.dumps(bodies[asked.path.rpartition("/")[2]]).encode()))
    (about,) = WELLS.about_each(fast(portal.server.url))
    assert about.licence == "Creative Commons Attribution 3.0 Australia"
    assert about.publisher == "Australian Taxation Office"
    assert about.updated_at == datetime(2015, 8, 25, 8, 4, 49, 881011, tzinfo=UTC)


def test_rows_as_they_were_recorded_can_be_read() -> None:
    found = recorded("bcn-datastore_search.derived.json")
    body = json.dumps({"success": True, "result": {name: found[name] for name in ("fields", "total", "records")}})
    frame = read(body.encode(), "Districte", "Barri")
    assert frame.rows() == [("Sant Martí", "Provençals del Poblenou")] * 2


# As an asset


class RawWells(LandingContract):
    """Wells as the portal publishes them."""

    Codi: str = raw("Code", kind="text", required=True)
    fondaria: str = raw("Depth in metres", kind="number")
    actiu: str = raw("Whether it is in use", kind="checkbox")
    punt: str = raw("Where it is", kind="document")


class Wells(Contract, max_shrink=1.0, max_change=1.0):
    """Wells."""

    well_id: str = column("Code", source=RawWells.Codi, key=True)
    depth_m: float = column("Depth", source=RawWells.fondaria, nullable=True)
    is_used: bool = column("Whether it is in use", source=RawWells.actiu)


def declared() -> list[Declaration]:
    landing = LandingAsset("wells", source=replace(WELLS, portal=f"{BCN}/data"), contract=RawWells, schedule="@daily")

    @staging(landing, contract=Wells)
    def wells(raw):  # type: ignore[no-untyped-def]
        return raw

    return [landing, wells]


def test_a_resource_becomes_a_table_follows_its_changes_and_resumes(portal: Portal, settings: Settings) -> None:
    served = {"mock_url": portal.server.url, "page_rows": 10, "http_concurrency": 1, "http_attempts": 1}
    project = Project(settings.model_copy(update=served), declared())

    def make(key: str, **request: Any) -> Any:
        return materialize(project, key, Request(**request))

    portal.answers("rows", lambda asked, a: Answer(b"", 503) if asked.params["offset"] == "20" else a)
    with pytest.raises(SourceUnavailable):
        make("landing.wells")
    portal.server.reply(None)
    portal.server.clear_requests()
    assert make("landing.wells").entry.rows == 25
    assert [asked.params["offset"] for asked in portal.asked()] == ["20"], "two pages were landed before"
    assert {asked.path for asked in portal.asked()} == {f"/data{SEARCH}"}
    entry = make("staging.wells").entry
    assert (entry.rows, entry.drift) == (25, "")
    table = pl.concat(pl.read_parquet(project.lake.get(stored.path)) for stored in entry.objects).sort("well_id")
    assert table.select("well_id", "depth_m", "is_used").rows()[:3] == [
        ("000", 0.5, False),
        ("001", 1.5, True),
        ("002", None, False),
    ]

    portal.server.clear_requests()
    assert make("landing.wells").status == "skipped"
    assert len(portal.server.requests) == 2
    portal.server.advance()
    assert make("landing.wells").status == "materialized"
    assert make("staging.wells").entry.rows == 24


def test_the_mock_serves_a_recorded_sample(tmp_path: Path, portal: Portal) -> None:
    _, pages = portal.extract(page_rows=100)
    for asked in portal.server.requests:
        assert asked.status == 200
    bodies: dict[str, bytes] = {}
    portal.server.reply(lambda asked, answer: (bodies.__setitem__(asked.path, answer.body), answer)[1])
    WELLS.about_each(fast(portal.server.url))
    answers = [RecordedAnswer(path, "application/json", body) for path, body in bodies.items()]
    described = Described(kind="ckan", arguments=[ID], recorded_at=datetime(2026, 1, 1, tzinfo=UTC), rows=25)
    samples.write(tmp_path / "wells", described, answers, [RecordedAnswer(SEARCH, "application/json", pages[0])])
    with serve(datasets=[*samples.published(tmp_path).values()]) as again:
        state = WELLS.probe(fast(again.url))
        assert state
        landing = Landing()
        done = WELLS.extract(fast(again.url, page_rows=100), state, landing)
        (about,) = WELLS.about_each(fast(again.url))
    assert done.rows == 25
    assert rows_of([*landing.files.values()]) == rows_of(pages)
    assert (about.publisher, about.fields[2].description) == ("Ajuntament de Barcelona", "Metres below the ground")

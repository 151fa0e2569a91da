"""Version 3 of Socrata's API: the same pages and rows as by version 2, asked for with a token, page by page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from catalunya.assets.graph.spec import Landing
from catalunya.contracts.model.contract import LandingContract, raw
from catalunya.io.environment import Settings
from catalunya.io.errors import DeclarationError, SourceError, SourceUnavailable
from catalunya.io.periods import window
from catalunya.io.sources.base import Extraction
from catalunya.io.sources.socrata import Socrata
from catalunya.ops.mock.socrata import WRONG_TOKEN
from small.apis import RESES, Answer, Asked, Hook, Portal, as_it_is, fast, portal_with, soda
from small.apis import Landing as Pages
from small.portals import PortalProject

QUERY = "/api/v3/views/ivft-vegh/query.json"
THIRD = replace(RESES, api=3)


@pytest.fixture
def portal() -> Iterator[Portal]:
    with portal_with(25) as portal:
        yield portal


def extract(portal: Portal, source: Socrata = THIRD, window: Any = None, **changed: Any) -> tuple[Extraction, Pages]:
    http, pages = fast(portal.server.url, **{"page_rows": 10, "app_token": "token", **changed}), Pages()
    state = source.probe(http)
    assert state
    portal.server.clear_requests()
    return source.extract(http, state, pages, window=window), pages


def only_version_3(portal: Portal, status: int = 403, body: bytes = b'{"message":"Version 3 is required"}') -> None:
    """Version 2 refuses whatever it is asked."""
    own = portal._reply
    portal.server.reply(
        lambda asked, answer: (
            Answer(body, status) if asked.path.startswith("/resource") and answer.status == 200 else own(asked, answer)
        )
    )


def test_pages_and_rows_are_those_of_version_2(portal: Portal) -> None:
    of_2, of_3 = (extract(portal, source) for source in (RESES, THIRD))
    assert of_3[1].files == of_2[1].files == {f"page-0000{n}.json": soda(portal.rows[n * 10 :][:10]) for n in range(3)}
    assert of_3[0].state == of_2[0].state
    assert [replace(page, url="") for page in of_3[0].pages] == [replace(page, url="") for page in of_2[0].pages]


@pytest.mark.parametrize("size", [1, 3, 24, 25, 26, 1000])
def test_rows_by_pages_of_any_size_are_all_rows(portal: Portal, size: int) -> None:
    done, pages = extract(portal, page_rows=size)
    assert done.rows == 25
    rows = [row for name in sorted(pages.files) for row in json.loads(pages.files[name])]
    assert rows == portal.rows


def test_a_page_is_asked_for_by_a_json_body_with_the_token_and_without_system_fields(portal: Portal) -> None:
    extract(portal, concurrency=1)
    asked = portal.asked("rows")[1]
    assert (asked.method, asked.target, asked.headers["x-app-token"]) == ("POST", QUERY, "token")
    assert asked.headers["content-type"] == "application/json"
    assert json.loads(asked.body) == {
        "query": "SELECT * ORDER BY registre,:id",
        "page": {"pageNumber": 2, "pageSize": 10},
        "includeSystem": False,
        "includeSynthetic": False,
        "orderingSpecifier": "total",
    }
    assert json.loads(portal.asked("count")[0].body)["query"] == "SELECT count(*) AS total"


def test_the_page_s_address_is_that_of_the_same_question_by_get(portal: Portal) -> None:
    done, _ = extract(portal)
    assert done.pages[1].url == (
        f"{portal.server.url}{QUERY}?query=SELECT%20*%20ORDER%20BY%20registre,:id&pageNumber=2&pageSize=10"
    )


def test_a_window_is_a_condition_of_the_query(portal: Portal) -> None:
    portal.columns = {**portal.columns, "any": "text"}
    for number, row in enumerate(portal.rows):
        row["any"] = str(2000 + number)
    done, _ = extract(portal, replace(THIRD, period="any"), window("2003", "2006"))
    assert done.rows == 4
    assert json.loads(portal.asked("rows")[0].body)["query"] == (
        "SELECT * WHERE any >= '2003' and any <= '2006' ORDER BY registre,:id"
    )


def test_system_fields_that_come_unasked_are_not_read(portal: Portal) -> None:
    with_system = [{":id": f"row-{n}", ":updated_at": "2024", **row} for n, row in enumerate(portal.rows)]
    portal.on_page = lambda asked, page: replace(page, body=soda(with_system if page_number(asked) == 1 else []))
    _, pages = extract(portal, page_rows=25)
    frame = THIRD.read(pages.files["page-00000.json"], ["registre", "nom"], 8192)
    assert frame.to_dicts() == portal.rows


@pytest.mark.parametrize("status", [401, 403, 410])
def test_version_3_is_asked_where_version_2_refuses_and_there_is_a_token(portal: Portal, status: int) -> None:
    only_version_3(portal, status)
    with capture_logs() as logs:
        done, _ = extract(portal, RESES)
    assert done.rows == 25
    assert [asked.path for asked in portal.asked("rows")] == [QUERY] * 3
    assert [log["event"] for log in logs if log["log_level"] == "warning"] == ["asking_version_3"]
    assert len([asked for asked in portal.server.requests if asked.path.startswith("/resource")]) == 1


def test_the_metadata_for_people_need_no_version_2_either(portal: Portal) -> None:
    only_version_3(portal)
    (about,) = RESES.about_each(fast(portal.server.url, app_token="token"))
    assert about.rows == 25


def test_metadata_of_odd_types_are_left_out_of_what_people_read(portal: Portal) -> None:
    def change(asked: Asked, answer: Answer) -> Answer:
        if "/api/views/" not in asked.path:
            return answer
        view = json.loads(answer.body)
        view |= {"name": None, "license": "CC BY", "attribution": ["me"], "rowIdentifierColumnId": "7", "id": None}
        columns = [column for column in view["columns"] if not column["fieldName"].startswith(":")]
        for column, found in zip(columns, ([], {"non_null": {}, "null": "3", "cardinality": 2.5}, 7), strict=False):
            column |= {"cachedContents": found, "description": {"ca": "Codi"}, "name": None}
            column.pop("id", None)
        columns[1]["id"] = 7
        return replace(answer, body=json.dumps(view).encode())

    portal.server.reply(change)
    (about,) = RESES.about_each(fast(portal.server.url))
    assert (about.id, about.title, about.licence) == (RESES.dataset_id, RESES.dataset_id, "CC BY")
    assert [field.nulls for field in about.fields[:2]] == [None, 3]
    assert about.key == (about.fields[1].name,)


@pytest.mark.parametrize(
    ("source", "setting"),
    [
        (RESES, "CATALUNYA_SOCRATA_APP_TOKEN"),
        (THIRD, "CATALUNYA_SOCRATA_APP_TOKEN"),
        (replace(THIRD, portal="https://data.ny.gov"), "the token of data.ny.gov in CATALUNYA_HOSTS"),
    ],
    ids=["by itself", "declared", "another portal"],
)
def test_without_a_token_the_error_names_the_setting(portal: Portal, source: Socrata, setting: str) -> None:
    only_version_3(portal)
    with pytest.raises(SourceError, match=f"403 Forbidden: .*Set or correct {setting}"):
        extract(portal, source, app_token=None)
    assert len(portal.asked("count")) == 1


def test_a_wrong_token_is_refused_in_the_portal_s_words(portal: Portal) -> None:
    with pytest.raises(SourceError, match=r"permission_denied: Invalid app_token specified\. Set or correct") as caught:
        extract(portal, app_token=WRONG_TOKEN)
    assert f"POST {portal.server.url}{QUERY} answered 403" in str(caught.value)
    assert f"'{WRONG_TOKEN}'" not in str(caught.value)


def test_a_question_is_asked_again_after_a_failure(portal: Portal) -> None:
    left = [Answer(b"", 503), Answer(b"", 429), Answer(b"[{", 200)]
    portal.on_page = lambda _, page: left.pop() if left else page
    done, _ = extract(portal, concurrency=1, attempts=4)
    assert done.rows == 25
    assert [json.loads(asked.body)["page"]["pageNumber"] for asked in portal.asked("rows")] == [1, 1, 1, 1, 2, 3]
    assert len({asked.body for asked in portal.asked("rows")[:4]}) == 1


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"<html>Sign in</html>", "expected JSON, found HTML or XML"),
        (b'{"rows":[]}', "Expected `array`, got `object`"),
        (b'[["S00001"]]', "Expected `object`, got `array`"),
    ],
)
def test_another_answer_than_rows_is_refused(portal: Portal, body: bytes, found: str) -> None:
    portal.on_page = lambda _, page: replace(page, body=body)
    with pytest.raises(SourceError, match=f"answered twice with something else than expected: {found}"):
        extract(portal, concurrency=1)


def test_a_version_that_does_not_exist_is_refused_in_the_declaration() -> None:
    with pytest.raises(DeclarationError, match="expected `api` as 2 or 3, found 4"):
        Socrata("ivft-vegh", api=4)


class RawServices(LandingContract):
    """Services, with the fields of the test's portal."""

    registre: str = raw("Register number")


def page_number(asked: Asked) -> int:
    return int(json.loads(asked.body)["page"]["pageNumber"])


def test_an_extraction_that_failed_resumes_with_the_pages_that_are_missing(portal: Portal, settings: Settings) -> None:
    declared = [Landing("services", source=THIRD, contract=RawServices, schedule="0 5 * * *")]
    own = settings.model_copy(update={"hosts": {}, "socrata_app_token": None})
    field = PortalProject(portal, own, declared)
    token = Settings(socrata_app_token="token").socrata_app_token
    field.project = field.opened(socrata_app_token=token)
    third_fails: Hook = lambda asked, page: Answer(b"", 503) if page_number(asked) == 3 else page  # noqa: E731
    portal.on_page = third_fails
    with pytest.raises(SourceUnavailable):
        field.make()
    portal.on_page = as_it_is
    outcome = field.make()
    assert outcome.entry
    assert outcome.entry.rows == 25
    assert [page_number(asked) for asked in portal.asked("rows")] == [3]

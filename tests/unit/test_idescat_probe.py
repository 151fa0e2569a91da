"""Asking a small API on loopback whether tables changed; answers that are rejected, refusals, and declarations."""

from __future__ import annotations

import json
import pickle
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.testing import capture_logs

from catalunya.io.errors import DeclarationError, SourceChanged, SourceError, SourceUnavailable, UsageError
from catalunya.io.periods import window
from catalunya.io.sources.idescat import Idescat
from catalunya.io.sources.jsonstat import read_cells
from small.apis import (
    HALF_YEARS,
    POPULATION,
    Answer,
    Api,
    Asked,
    Landing,
    Table,
    error,
    fast,
    filters_of,
    tables_with,
    times,
)
from small.apis import extract_tables as extract
from small.apis import probe_tables as probe

NOT_NOW = error("00", "Error intern.", 500)


@pytest.fixture
def api() -> Iterator[Api]:
    """One table of twelve half-years, twelve cells each."""
    with tables_with() as api:
        yield api


def always(answer: Answer) -> Callable[[Asked, Answer], Answer]:
    return lambda _, __: answer


def changed(change: Callable[[dict[str, Any]], Any]) -> Callable[[Answer], Answer]:
    """An answer with its JSON changed."""

    def made(answer: Answer) -> Answer:
        document = json.loads(answer.body)
        change(document)
        return Answer(json.dumps(document).encode())

    return made


# What a probe finds out


def test_a_probe_is_one_request_per_table_and_returns_nothing_if_unchanged() -> None:
    with tables_with(Table("pibt/21129/24938/cat"), Table("pibt/21130/24940/cat")) as api:
        state = probe(api)
        assert state
        api.server.clear_requests()
        assert probe(api, known=state.version) is None
        assert [asked.target for asked in api.server.requests] == [
            "/taules/v2/pibt/21129/24938/cat?lang=ca",
            "/taules/v2/pibt/21130/24940/cat?lang=ca",
        ]


def test_a_probe_finds_version_day_fields_and_cells(api: Api) -> None:
    state = probe(api)
    assert state
    assert state.version.startswith("2026-01-29-")
    assert state.updated_at == datetime(2026, 1, 29, tzinfo=UTC)
    assert state.rows == 144
    assert state.fields == {
        "time": "time", "geo": "geo", "SEX": "dimension", "metric": "metric", "SEX_label": "text",
        "value": "number", "status": "text", "table": "text", "updated": "date",
    }  # fmt: skip


def test_the_fields_of_the_state_are_the_columns_of_the_cells(api: Api) -> None:
    state = probe(api)
    landing = Landing()
    extract(api, landing)
    assert state
    assert set(state.fields) == set(read_cells(landing.files["page-00000.json"]).columns)


def test_several_tables_are_as_new_as_the_newest_and_have_the_fields_of_all() -> None:
    other = Table("ep/9123/20149/mun", "2026-02-03T07:30:00Z")
    other.codes["AGE"] = ["TOTAL"]
    with tables_with(Table(), other) as api:
        state = probe(api)
    assert state
    assert state.updated_at == datetime(2026, 2, 3, 7, 30, tzinfo=UTC)
    assert state.fields["AGE"] == "dimension"
    assert state.fields["SEX_label"] == state.fields["AGE_label"] == "text"
    assert state.rows == 2 * 144


def other_day(table: Table) -> None:
    table.updated = "2026-01-30"


def other_period(table: Table) -> None:
    table.codes["SEMESTER"].append("2020S1")


def other_code(table: Table) -> None:
    table.codes["MUN"][0] = "080194"


def other_name(table: Table) -> None:
    table.codes["SEXE"] = table.codes.pop("SEX")


def other_role(table: Table) -> None:
    table.role["geo"] = []


def nothing(table: Table) -> None: ...


@pytest.mark.parametrize("move", [other_day, other_period, other_code, other_name, other_role, nothing])
def test_the_version_depends_on_the_day_and_the_shape_of_the_table(api: Api, move: Callable[[Table], None]) -> None:
    before = probe(api)
    move(api.table)
    after = probe(api)
    assert before
    assert after
    assert (before.version != after.version) is (move is not nothing)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda document: document.pop("updated"), "expected updated as a date .*, found ''"),
        (lambda document: document.update(updated="ahir"), "expected updated as a date .*, found 'ahir'"),
        (
            lambda document: document["role"].update(geo=["SEMESTER", "MUN"]),
            "each with one role, found 'SEMESTER' with the role geo and time",
        ),
        (
            lambda document: document.update(href="https://api.idescat.cat/taules/v2/pmh/446/477/mun"),
            "found one with the address",
        ),
    ],
    ids=["no date", "an invalid date", "two roles of a dimension", "another table"],
)
def test_contradictory_metadata_are_refused_after_one_request(
    api: Api, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    api.on_metadata = lambda _, answer: changed(change)(answer)
    with pytest.raises(SourceError, match=rf"IDESCAT ep/9122/10002/mun: .*{message}"):
        probe(api)
    assert len(api.server.requests) == 1


# One moment has one version, however it is written

SAME = (
    *("2026-01-29", "2026-01-29T00:00:00Z", "2026-01-29T00:00:00", "2026-01-29T00:00:00.000Z", "2026-01-29T00:00"),
    *("2026-01-29T01:00:00+01:00", "2026-01-28T19:00:00-05:00", "2026-01-29T00:00:00.000000+00:00", "20260129T000000Z"),
)


@pytest.mark.parametrize("written", SAME)
def test_the_same_moment_is_the_same_version_however_it_is_written(api: Api, written: str) -> None:
    before = probe(api)
    api.on_metadata = lambda _, answer: changed(lambda document: document.update(updated=written))(answer)
    after = probe(api)
    assert before
    assert after
    assert (after.version, after.updated_at) == (before.version, before.updated_at)


@pytest.mark.parametrize("written", [*SAME, "2026-01-29T17:30:00Z", "2026-01-29T00:00:00+01:00"])
def test_cells_that_write_the_moment_otherwise_than_the_metadata_are_of_the_same_state(api: Api, written: str) -> None:
    """Where one of them gives only the day, the other's time on that day is no difference."""
    api.on_data = lambda _, answer: changed(lambda document: document.update(updated=written))(answer)
    assert extract(api, Landing(), attempts=1).rows == api.table.cells


@pytest.mark.parametrize("written", ["2026-01-30", "2026-01-28T10:00:00Z", "2026-01-30T01:00:00+01:00"])
def test_cells_of_another_day_are_of_another_state(api: Api, written: str) -> None:
    api.on_data = lambda _, answer: changed(lambda document: document.update(updated=written))(answer)
    with pytest.raises(SourceChanged, match=f"found cells updated {re.escape(written)}"):
        extract(api, Landing(), attempts=1)


def test_another_time_of_the_same_day_is_another_state_where_both_give_a_time(api: Api) -> None:
    api.table.updated = "2026-01-29T10:00:00Z"
    api.on_data = lambda _, answer: changed(lambda document: document.update(updated="2026-01-29T11:00:00+01:00"))(
        answer
    )
    assert extract(api, Landing(), attempts=1).rows == api.table.cells
    api.on_data = lambda _, answer: changed(lambda document: document.update(updated="2026-01-29T11:00:00Z"))(answer)
    with pytest.raises(SourceChanged, match="found cells updated 2026-01-29T11:00:00Z"):
        extract(api, Landing(), attempts=1)


# What has one name twice, or several dimensions of one role


@pytest.mark.parametrize(
    ("text", "again"),
    [
        (b'"updated"', b'"updated":"2020-01-01","updated"'),
        (b'"080193"', b'"080193":"x","080193"'),
        (b'"id"', b'"id":[],"id"'),
    ],
)
def test_metadata_with_one_name_twice_are_refused_after_one_repetition(api: Api, text: bytes, again: bytes) -> None:
    api.on_metadata = lambda _, answer: Answer(re.sub(text + rb"\s*:", again + b":", answer.body, count=1))
    with pytest.raises(
        SourceError, match=r"twice with something else .*expected each name once in an object, found .* twice"
    ):
        probe(api)
    assert len(api.server.requests) == 2


@pytest.mark.parametrize("values", [b'{"0":1,"0":2}', b'{"0":1,"00":2}'])
def test_cells_with_one_position_twice_are_refused_after_one_repetition(api: Api, values: bytes) -> None:
    api.on_data = lambda _, answer: Answer(re.sub(rb'"value":\s*\[[^]]*\]', b'"value":' + values, answer.body))
    with pytest.raises(SourceError, match="twice with something else than expected"):
        extract(api, Landing(), attempts=6)
    assert len(api.asked("rows")) == 2


def test_a_table_with_two_dimensions_of_a_role_has_a_field_for_each(api: Api) -> None:
    api.table.role = {"time": ["SEMESTER"], "geo": ["MUN"], "metric": ["CONCEPT", "SEX"]}
    state = probe(api)
    assert state
    assert state.fields["CONCEPT"] == state.fields["SEX"] == "metric"
    assert state.fields["CONCEPT_label"] == "text"
    assert "metric" not in state.fields
    assert extract(api, Landing()).rows == api.table.cells


def test_a_table_with_two_dimensions_of_time_is_read_whole_and_not_by_period(api: Api) -> None:
    api.table.role = {"time": ["SEMESTER", "SEX"], "geo": ["MUN"]}
    assert extract(api, Landing()).rows == api.table.cells
    with pytest.raises(UsageError, match=r"one dimension of .* with the role time, found SEMESTER and SEX among"):
        extract(api, Landing(), window=window("2015", None))


# What must not land


@pytest.mark.parametrize(
    "spoil",
    [
        lambda answer: Answer(answer.body, cut=len(answer.body) // 2),
        lambda answer: Answer(answer.body[:-1]),
        lambda answer: Answer(b"<html>Down for maintenance</html>"),
        lambda answer: Answer(b"[]"),
        lambda answer: Answer(answer.body.replace(b'"dataset"', b'"collection"')),
        changed(lambda document: document["value"].pop()),
        changed(lambda document: document.update(value={"144": 1})),
        changed(lambda document: document.update(value={"-1": 1})),
        changed(lambda document: document.update(value=5)),
        changed(lambda document: document.pop("value")),
        changed(lambda document: document.update(status=["p"])),
        changed(lambda document: document["size"].reverse()),
        lambda answer: Answer(NOT_NOW),
        lambda answer: Answer(NOT_NOW, 500),
        lambda answer: Answer(NOT_NOW, 400),
        lambda answer: Answer(b"", 503),
        lambda answer: Answer(b"", 504),
    ],
    ids=[
        "connection cut", "cut off", "HTML", "an array", "a collection", "a value missing", "a position too high",
        "a negative position", "a number", "no values", "a status missing", "other sizes", "00 with 200", "00 with 500",
        "00 with 400", "503", "504",
    ],
)  # fmt: skip
def test_a_broken_answer_is_requested_again_and_never_lands(api: Api, spoil: Callable[[Answer], Answer]) -> None:
    api.on_data = times(1, spoil)
    landing = Landing()
    with capture_logs() as logs:
        done = extract(api, landing)
    assert landing.files == {"page-00000.json": api.table.whole()}
    assert len(api.asked("rows")) == 2
    assert done.requests == 4
    assert len([line for line in logs if line["event"] == "http_retry"]) == 1


def test_sparse_cells_land_unchanged(api: Api) -> None:
    api.on_data = lambda _, answer: changed(lambda document: document.update(value={"3": 7, "143": None}))(answer)
    landing = Landing()
    assert extract(api, landing).rows == 144
    assert read_cells(landing.files["page-00000.json"])["value"].null_count() == 143


def test_an_internal_error_that_persists_means_the_source_is_unavailable(api: Api) -> None:
    api.on_data = always(Answer(NOT_NOW))
    with pytest.raises(
        SourceUnavailable,
        match=r"failed at all of 3 attempts, the last time with invalid response body \(error 00: Error intern",
    ):
        extract(api, Landing())


def test_a_filter_that_the_api_ignores_is_noticed_and_named_in_the_error(api: Api) -> None:
    everything = Answer(api.table.whole())
    api.on_data = always(everything)
    landing = Landing()
    with pytest.raises(
        SourceError,
        match=r"asked for SEMESTER=2014S1,2014S2,2015S1,2015S2,2016S1, but answered SEMESTER=2014S1,.*,2019S2 \(12\)",
    ):
        extract(api, landing, page_rows=60, concurrency=1)
    assert (len(api.asked("rows")), landing.files) == (1, {})


def test_the_cells_of_another_table_are_refused(api: Api) -> None:
    api.on_data = lambda _, answer: Answer(answer.body.replace(b"ep/9122", b"ep/9123"))
    with pytest.raises(SourceError, match=r"expected table ep/9122/10002/mun at .*, found one with the address"):
        extract(api, Landing())


# Questions that are too large


@pytest.mark.parametrize(
    "refusal",
    [Answer(error("05"), 416), Answer(error("05")), Answer(error("05"), 400), Answer(b"Range Not Satisfiable", 416)],
    ids=["416", "with 200", "with 400", "416 with another body"],
)
def test_a_question_refused_as_too_large_is_split_in_two(api: Api, refusal: Answer) -> None:
    api.limit, api.too_large = 80, refusal
    landing = Landing()
    done = extract(api, landing)
    assert [(page.name, page.rows) for page in done.pages] == [("page-00000a.json", 72), ("page-00000b.json", 72)]
    assert api.filters() == [{"SEMESTER": HALF_YEARS[:6]}, {"SEMESTER": HALF_YEARS[6:]}, {}]
    assert done.rows == 144


def test_once_a_limit_is_known_no_larger_question_is_asked(api: Api) -> None:
    api.limit = 12
    landing = Landing()
    done = extract(api, landing, page_rows=48, concurrency=1)
    assert [page.name for page in done.pages] == [
        f"page-0000{number}{halves}.json" for number in range(3) for halves in ("aa", "ab", "ba", "bb")
    ]
    assert len(api.asked("rows")) == 2 + 12
    values = [value for page in done.pages for value in read_cells(landing.files[page.name])["value"]]
    assert values == [str(number) for number in range(144)]


def test_a_period_refused_as_too_large_is_split_by_the_largest_other_dimension(api: Api) -> None:
    api.limit = 6
    extract(api, Landing(), page_rows=12, concurrency=1)
    assert {len(filters_of(asked)["MUN"]) for asked in api.asked("rows")[1:]} == {2}


def test_the_halves_of_a_question_are_requested_concurrently(api: Api) -> None:
    def slow(_: Asked, answer: Answer) -> Answer:
        answer.delay = 0.05
        return answer

    api.limit, api.on_data = 12, slow
    extract(api, Landing(), concurrency=3)
    assert api.server.most_at_once == 3


def test_a_single_cell_refused_as_too_large_is_an_error(api: Api) -> None:
    api.limit = 0
    with pytest.raises(
        SourceError, match="ep/9122/10002/mun/data refuses even the smallest request as too large: 05: Nombre"
    ):
        extract(api, Landing(), concurrency=1)
    assert len(api.asked("rows")) < 20


def test_after_two_gateway_timeouts_a_question_is_split(api: Api) -> None:
    api.on_data = times(2, lambda _: Answer(b"<html>Gateway Time-out</html>", 504))
    with capture_logs() as logs:
        done = extract(api, Landing())
    assert [page.rows for page in done.pages] == [72, 72]
    assert len(api.asked("rows")) == 4
    (split,) = [line for line in logs if line["event"] == "request_split"]
    assert (split["rows"], split["reason"]) == (144, "timed out 2 times")


def test_a_question_that_is_not_answered_in_time_is_split(api: Api) -> None:
    api.on_data = times(2, lambda answer: replace(answer, delay=0.2))
    assert len(extract(api, Landing(), timeout_s=0.08).pages) == 2


def test_with_a_single_attempt_the_first_timeout_splits_the_question(api: Api) -> None:
    api.on_data = times(1, lambda _: Answer(b"", 504))
    assert len(extract(api, Landing(), attempts=1).pages) == 2


def test_a_gateway_that_always_times_out_does_not_get_a_request_per_cell(api: Api) -> None:
    api.on_data = always(Answer(b"", 504))
    with pytest.raises(SourceUnavailable, match="failed at all of 3 attempts, the last time with 504 Gateway Timeout"):
        extract(api, Landing(), concurrency=1)
    assert len(api.asked("rows")) < 25


# Refusals, declarations


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(error("01", "No hi és."), 400), "01: No hi és. No such statistic: {base} lists them"),
        (Answer(error("02", "No hi és."), 400), "02: No hi és. No such node: {base}/ep lists them"),
        (Answer(error("03", "No hi és."), 400), "03: No hi és. No such table: {base}/ep/9122 lists them"),
        (Answer(error("03", "No hi és.")), "answered error 03: No hi és. No such table: {base}/ep/9122 lists them"),
        (
            Answer(error("04", "No hi és."), 400),
            "04: No hi és. No such territorial division: {base}/ep/9122/10002 lists them",
        ),
        (Answer(error("06", "_LAST_ no és vàlid."), 400), "400 Bad Request: 06: _LAST_ no és vàlid"),
        (Answer(b"<html><b>Forbidden</b></html>", 403), "403 Forbidden: Forbidden"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["metadata", "rows"])
def test_the_error_for_a_refusal_has_the_apis_message_and_advice(
    api: Api, kind: str, answer: Answer, message: str
) -> None:
    landing = Landing()
    api.on_data = always(answer)
    if kind == "metadata":
        api.on_metadata = always(answer)
    with pytest.raises(SourceError) as caught:
        extract(api, landing)
    assert message.format(base=f"{api.server.url}/taules/v2") in str(caught.value)
    assert str(caught.value).startswith(f"IDESCAT {POPULATION}: ")
    assert len(api.asked(kind)) == 1


def test_a_table_that_does_not_exist_is_refused_after_one_request(api: Api) -> None:
    with pytest.raises(SourceError, match=r"400 Bad Request: 03: Taula inexistent\. No such table"):
        Idescat("ep/9122/99999/mun").probe(fast(api.server.url))
    assert len(api.server.requests) == 1


def test_a_declaration_is_pure_data() -> None:
    population = Idescat(POPULATION)
    assert pickle.loads(pickle.dumps(population)) == population
    assert len({population, Idescat(POPULATION), Idescat(POPULATION, "ep/9123/20149/mun")}) == 2
    assert (population.kind, population.has_periods) == ("idescat", True)
    assert population.describe() == "IDESCAT ep/9122/10002/mun"
    assert population.url("https://api.idescat.cat/") == "https://api.idescat.cat/taules/v2/ep/9122/10002/mun"


@pytest.mark.parametrize(
    "tables",
    [(), ("ep/9122/10002",), ("ep/9122/10002/mun/data",), ("../9122/10002/mun",), (POPULATION, POPULATION), (7,)],
)
def test_an_invalid_declaration_is_refused(tables: tuple[Any, ...]) -> None:
    with pytest.raises(DeclarationError, match="expected IDESCAT tables as 'ep/9122/10002/mun'"):
        Idescat(*tables)


def test_declaring_a_source_loads_neither_an_http_client_nor_polars() -> None:
    code = "import sys, catalunya.io.sources.idescat; print([m for m in ('httpx', 'polars') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"

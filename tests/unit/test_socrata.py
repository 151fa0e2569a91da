"""Extracting a Socrata dataset from a small real portal on loopback: complete, of one state, byte for byte, or not at all."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from structlog.testing import capture_logs

from catalunya.io.errors import LakeError, SourceChanged, SourceError, SourceUnavailable, UsageError
from catalunya.io.periods import Window, window
from catalunya.io.sources.socrata import Socrata
from small.apis import RESES, Answer, Asked, Landing, Portal, extract, fast, on_page, portal_with, probe, soda
from small.patience import patience


@pytest.fixture
def open_portal() -> Iterator[Callable[[int], Portal]]:
    with ExitStack() as stack:
        yield lambda rows: stack.enter_context(portal_with(rows))


@pytest.fixture
def portal(open_portal: Callable[[int], Portal]) -> Portal:
    """25 rows: two pages of ten and one of five."""
    return open_portal(25)


# What an extraction gives


def test_every_page_lands_byte_for_byte_and_is_described(portal: Portal) -> None:
    landing = Landing()
    done = extract(portal, landing)
    expected = {f"page-0000{n}.json": soda(portal.rows[n * 10 : n * 10 + 10]) for n in range(3)}
    assert landing.files == expected
    assert [(page.name, page.rows, page.bytes, page.sha256) for page in done.pages] == [
        (name, len(json.loads(body)), len(body), hashlib.sha256(body).hexdigest()) for name, body in expected.items()
    ]
    assert done.rows == done.state.rows == 25
    assert done.bytes == sum(map(len, expected.values()))
    assert done.started_at.tzinfo is UTC
    assert done.started_at < done.finished_at


def test_pages_are_requested_in_a_total_order_and_their_urls_recorded(portal: Portal) -> None:
    done = extract(portal, Landing())
    assert {asked.params["$order"] for asked in portal.asked("rows")} == {"registre,:id"}
    assert [page.url for page in done.pages] == [
        f"{portal.server.url}/resource/ivft-vegh.json?$limit=10&$offset={offset}&$order=registre,:id"
        for offset in (0, 10, 20)
    ]


def test_without_a_key_pages_are_ordered_by_the_row_id(portal: Portal) -> None:
    extract(portal, Landing(), Socrata("ivft-vegh"))
    assert {asked.params["$order"] for asked in portal.asked("rows")} == {":id"}


def test_the_count_is_requested_before_the_pages_and_the_metadata_again_after_them(portal: Portal) -> None:
    done = extract(portal, Landing())
    kinds = [asked.kind for asked in portal.server.requests]
    assert kinds == ["metadata", "count", "rows", "rows", "rows", "metadata"]
    assert done.requests == 5  # the first is the probe's
    assert portal.asked("count")[0].params == {"$select": "count(*) as total"}


def test_progress_reports_rows_received_and_rows_expected(portal: Portal) -> None:
    calls: list[tuple[int, int]] = []
    extract(portal, Landing(), progress=lambda *rows: calls.append(rows), concurrency=1)
    assert calls == [(10, 25), (20, 25), (25, 25)]


def test_a_large_page_reaches_the_sink_as_it_was_received(portal: Portal) -> None:
    portal.rows[0]["nom"] = "à" * 5_000_000
    landing = Landing()
    extract(portal, landing, page_rows=100)
    assert list(landing.files.values()) == [soda(portal.rows)]


def test_a_compressed_page_lands_decompressed(portal: Portal) -> None:
    def compressed(_: Asked, page: Answer) -> Answer:
        return replace(page, body=gzip.compress(page.body), headers={**page.headers, "Content-Encoding": "gzip"})

    portal.on_page = compressed
    landing = Landing()
    extract(portal, landing)
    assert landing.files["page-00002.json"] == soda(portal.rows[20:])


@pytest.mark.parametrize(
    "write",
    [
        lambda rows: json.dumps(rows).encode(),
        lambda rows: json.dumps(rows, indent=4).encode(),
        lambda rows: b" \r\n" + soda(rows).replace(b"\n", b"\r\n") + b"\t\n",
        lambda rows: soda([{**row, "nom": "[{\n,{", "lloc": {"coordinates": [{}, {}]}} for row in rows]),
    ],
    ids=["one line", "indented", "CRLF", "brackets in values"],
)
def test_rows_are_counted_in_any_form_of_the_same_json(portal: Portal, write: Callable[[Any], bytes]) -> None:
    portal.write = write
    landing = Landing()
    assert [page.rows for page in extract(portal, landing).pages] == [10, 10, 5]
    assert landing.files["page-00002.json"] == write(portal.rows[20:])


def test_a_page_with_half_of_a_character_lands_as_it_was_sent(portal: Portal) -> None:
    cut = [{"registre": "S1", "nom": "Llar \ud83d"}, *portal.rows[1:10]]
    portal.write = lambda rows: json.dumps(cut).encode() if rows[0] == portal.rows[0] else soda(rows)
    landing = Landing()
    assert extract(portal, landing).rows == 25
    assert b'\\ud83d"' in landing.files["page-00000.json"]


def test_an_empty_table_gives_no_page(open_portal: Callable[[int], Portal]) -> None:
    landing = Landing()
    done = extract(open_portal(0), landing)
    assert (done.pages, done.rows, done.state.rows, landing.files) == ((), 0, 0, {})


def test_a_table_of_full_pages_has_no_empty_one(open_portal: Callable[[int], Portal]) -> None:
    landing = Landing()
    done = extract(open_portal(20), landing)
    assert [page.rows for page in done.pages] == [10, 10]
    assert sorted(landing.files) == ["page-00000.json", "page-00001.json"]


def test_at_most_as_many_pages_are_in_memory_as_requests_are_allowed(open_portal: Callable[[int], Portal]) -> None:
    portal = open_portal(100)
    portal.on_page = lambda _, page: replace(page, delay=0.05)
    landing = Landing()
    extract(portal, landing, concurrency=3)
    assert portal.server.most_at_once == 3
    assert landing.most_at_once <= 3
    assert len(landing.files) == 10


# Only some years


YEARS = Socrata("ivft-vegh", key=("registre",), period="any")


def with_years(portal: Portal) -> None:
    """Give every row the year 2014."""
    portal.columns = {**portal.columns, "any": "text"}
    portal.rows = [{**row, "any": "2014"} for row in portal.rows]


@pytest.mark.parametrize(
    ("span", "where"),
    [
        (window("2014", "2016"), "any >= '2014' and any <= '2016'"),
        (window("2014-01", "2014-H2"), "any >= '2014' and any <= '2014'"),
        (window("2014", None), "any >= '2014'"),
        (window(None, "2016-12-31"), "any <= '2016'"),
    ],
)
def test_a_window_of_years_is_sent_with_the_count_and_with_every_page(portal: Portal, span: Window, where: str) -> None:
    with_years(portal)
    extract(portal, Landing(), YEARS, window=span)
    assert portal.asked("count")[0].params == {"$select": "count(*) as total", "$where": where}
    pages = [asked.params for asked in portal.asked("rows")]
    assert [page.pop("$where") for page in pages] == [where] * 3
    assert all(set(page) == {"$limit", "$offset", "$order"} for page in pages)


def test_only_the_rows_of_the_window_are_counted_and_land(portal: Portal) -> None:
    portal.columns = {**portal.columns, "any": "text"}
    portal.rows = [{**row, "any": str(2010 + number)} for number, row in enumerate(portal.rows)]
    landing = Landing()
    done = extract(portal, landing, YEARS, window=window("2014", "2030"))
    assert done.rows == done.state.rows == 17
    assert landing.files["page-00001.json"] == soda(portal.rows[14:21])


@pytest.mark.parametrize("span", [None, Window(date.min, date.max)])
def test_without_an_end_the_window_sends_no_filter(portal: Portal, span: Window | None) -> None:
    extract(portal, Landing(), YEARS, window=span)
    assert {name for asked in portal.server.requests for name in asked.params} == {
        "$select",
        "$limit",
        "$offset",
        "$order",
    }


@pytest.mark.parametrize("span", [window("2014-H2", None), window("2014", "2015-11"), window("2014-01-02", "2014")])
def test_a_window_of_partial_years_is_refused_before_any_request(portal: Portal, span: Window) -> None:
    with pytest.raises(UsageError, match="expected whole years, because its field any holds years, found "):
        extract(portal, Landing(), YEARS, window=span)
    assert portal.asked("count") == []


def test_a_table_without_a_period_cannot_be_asked_for_some_years(portal: Portal) -> None:
    assert (RESES.has_periods, YEARS.has_periods) == (False, True)
    with pytest.raises(
        UsageError, match="cannot read from 2014-01-01 only, because no field is declared as the year of a row"
    ):
        extract(portal, Landing(), RESES, window=window("2014", None))


@pytest.mark.parametrize(
    "written",
    [
        "2024-12-19T09:58:26Z",
        "2024-12-19T09:58:26.000",
        "Thu, 19 Dec 2024 10:58:26 +0100",
        "Thursday, 19-Dec-24 09:58:26 GMT",
    ],
)
def test_pages_that_write_the_same_moment_in_different_ways_are_of_one_state(portal: Portal, written: str) -> None:
    on_page(portal, 10, 9, lambda page: replace(page, headers={**page.headers, "X-SODA2-Truth-Last-Modified": written}))
    done = extract(portal, Landing())
    assert (done.rows, {page.stamp for page in done.pages}) == (25, {"Thu, 19 Dec 2024 09:58:26 GMT"})


# What must not land


@pytest.mark.parametrize(
    "spoil",
    [
        lambda page: replace(page, cut=len(page.body) // 2),
        lambda page: replace(page, body=page.body[: len(page.body) // 2]),
        lambda page: replace(page, body=page.body[: page.body.rindex(b"\n,{")]),
        lambda page: replace(page, body=page.body.replace(b"S00015", b'S0"015')),
        lambda page: replace(page, body=page.body.replace("«15»".encode(), b"\xc2")),
        lambda page: replace(page, body=b""),
    ],
    ids=[
        "connection cut", "half of it", "cut after a row", "JSON broken in the middle", "not UTF-8",
        "nothing",
    ],
)  # fmt: skip
def test_a_broken_page_is_requested_again_and_never_lands(portal: Portal, spoil: Callable[[Answer], Answer]) -> None:
    on_page(portal, 10, 2, spoil)
    landing = Landing()
    with capture_logs() as logs:
        done = extract(portal, landing)
    assert landing.files["page-00001.json"] == soda(portal.rows[10:20])
    assert sorted(landing.written) == sorted(landing.files)
    assert done.requests == 7
    assert len([line for line in logs if line["event"] == "http_retry"]) == 2


WRONG_SHAPES = {
    "an object": (b'{"error":true,"message":"Internal error"}', "Expected `array`, got `object`"),
    "no objects": (b"[1,2,3]", "Expected `object`, got `int`"),
    "a null in the array": (b"[null]", "Expected `object`, got `null`"),
    "HTML": (b"<html>Down for maintenance</html>", "found HTML or XML"),
    "gzip": (gzip.compress(b"[]"), "found gzip that no header announced"),
    "a byte order mark": (b"\xef\xbb\xbf[]", "without a byte order mark"),
    "UTF-16": ("[]".encode("utf-16"), "found UTF-16"),
    "zeros": (bytes(50), "found zeros"),
    "text": (b"La operacion no existe", "found text"),
    "two arrays": (b'[{"registre":"S1"}]\n[{"registre":"S2"}]', "trailing characters"),
    "nested too deep": (b'[{"a":' + b"[" * 5000 + b"]" * 5000 + b"}]", "recursion"),
}


@pytest.mark.parametrize(("body", "found"), WRONG_SHAPES.values(), ids=WRONG_SHAPES.keys())
def test_a_complete_answer_of_the_wrong_shape_is_requested_once_more_and_never_lands(
    portal: Portal, body: bytes, found: str
) -> None:
    on_page(portal, 10, 1, lambda page: replace(page, body=body))
    landing = Landing()
    extract(portal, landing)
    assert landing.files["page-00001.json"] == soda(portal.rows[10:20])

    on_page(portal, 10, 99, lambda page: replace(page, body=body))
    portal.server.clear_requests()
    again, began = Landing(), time.monotonic()
    with pytest.raises(SourceError, match=rf"Socrata ivft-vegh: .*\$offset=10.* twice .*{found}") as raised:
        extract(portal, again, attempts=6)
    assert time.monotonic() - began < patience(5)
    assert len([asked for asked in portal.asked("rows") if "$offset=10&" in asked.target]) == 2
    assert "later" not in str(raised.value)
    assert "page-00001.json" not in again.files


def test_a_page_that_stays_broken_fails_the_extraction_with_its_url(portal: Portal) -> None:
    on_page(portal, 10, 99, lambda page: replace(page, body=page.body[:-3]))
    landing = Landing()
    with pytest.raises(
        SourceUnavailable, match=r"Socrata ivft-vegh: .*\$offset=10.* 3 attempts, .* invalid response body"
    ):
        extract(portal, landing)
    assert "page-00001.json" not in landing.files


def test_a_wrong_number_of_rows_fails_with_both_numbers(portal: Portal) -> None:
    portal.counted = 26
    with pytest.raises(
        SourceChanged, match=r"changed during each of 3 readings: the source counts 26 rows, received 25"
    ):
        extract(portal, Landing())
    assert len(portal.asked("count")) == 3


def test_rows_beyond_a_count_of_full_pages_are_noticed(open_portal: Callable[[int], Portal]) -> None:
    portal = open_portal(21)
    portal.counted = 20
    with pytest.raises(SourceChanged, match=r"the source counts 20 rows, received 21"):
        extract(portal, Landing())


def test_a_count_of_zero_is_not_believed_while_there_are_rows(portal: Portal) -> None:
    portal.counted = 0
    with pytest.raises(SourceChanged, match=r"the source counts 0 rows, received 10"):
        extract(portal, Landing())


def test_a_short_page_compensated_by_another_is_noticed(portal: Portal) -> None:
    def shifted(asked: Asked, page: Answer) -> Answer:
        rows = {"0": portal.rows[:9], "20": portal.rows[19:]}.get(asked.params["$offset"])
        return replace(page, body=soda(rows)) if rows else page

    portal.on_page = shifted
    with pytest.raises(SourceChanged, match=r"expected \d+ rows at .*offset=\d+.*, received \d+"):
        extract(portal, Landing())


def test_if_the_source_changes_between_pages_everything_is_read_again(portal: Portal) -> None:
    def published(asked: Asked, page: Answer) -> Answer:
        if len(portal.asked("rows")) == 2 and portal.rows_updated_at == 1734602306:
            portal.rows_updated_at += 60
            portal.last_modified = "Thu, 19 Dec 2024 09:59:26 GMT"
            portal.rows = [{**row, "nom": "després"} for row in portal.rows[:12]]
        return page

    portal.on_page = published
    before = probe(portal)
    landing = Landing()
    with capture_logs() as logs:
        done = extract(portal, landing, concurrency=1)
    assert before
    assert done.state.version != before.version
    assert done.state.updated_at == datetime.fromtimestamp(1734602306 + 60, UTC)
    assert done.rows == 12
    assert b"".join(landing.files[page.name] for page in done.pages) == soda(portal.rows[:10]) + soda(portal.rows[10:])
    assert [page.sha256 for page in done.pages] == [
        hashlib.sha256(landing.files[page.name]).hexdigest() for page in done.pages
    ]
    (warned,) = [line for line in logs if line["event"] == "extraction_inconsistent"]
    assert "Thu, 19 Dec 2024 09:58:26 GMT and of Thu, 19 Dec 2024 09:59:26 GMT" in warned["found"]


def test_if_the_metadata_change_during_the_extraction_everything_is_read_again(portal: Portal) -> None:
    state = probe(portal)
    assert state
    portal.rows_updated_at += 1
    done = RESES.extract(fast(portal.server.url, page_rows=10), state, Landing())
    assert done.state.version == f"{portal.rows_updated_at}-{state.version.split('-')[1]}"
    assert len(portal.asked("count")) == 2


def test_a_source_that_keeps_changing_fails_after_three_readings(portal: Portal) -> None:
    def restless(asked: Asked, page: Answer) -> Answer:
        portal.rows_updated_at += 1
        return page

    portal.on_page = restless
    with pytest.raises(
        SourceChanged, match=r"Socrata ivft-vegh at .*/d/ivft-vegh changed during each of 3 readings: expected version"
    ):
        extract(portal, Landing())
    assert len(portal.asked("count")) == 3


def test_a_lost_pass_requests_no_more_pages(open_portal: Callable[[int], Portal]) -> None:
    portal, state = open_portal(500), itertools.count()

    def mixed(asked: Asked, page: Answer) -> Answer:
        return replace(page, headers={"Last-Modified": f"state {next(state)}"})

    portal.on_page = mixed
    with pytest.raises(SourceChanged, match="expected pages of one state"):
        extract(portal, Landing(), concurrency=2)
    assert len(portal.asked("rows")) <= 3 * 3


def test_rows_that_lag_behind_the_metadata_are_not_mistaken_for_the_newest(portal: Portal) -> None:
    portal.headers = {"X-SODA2-Data-Out-Of-Date": "true"}
    done = extract(portal, Landing())
    assert done.rows == 25
    state = probe(portal, known=done.state.version)
    assert state is not None
    assert done.state.version == f"{state.version}-behind"


def test_an_error_of_the_sink_passes_through_unchanged(portal: Portal) -> None:
    def full(name: str, body: bytes) -> None:
        raise LakeError("no space left")

    with pytest.raises(LakeError, match="no space left"):
        extract(portal, full)

"""The counts of requests to sources: by result, with their durations, as a running total in the ledger, whatever became of a run."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from catalunya.assets.making.materialize import materialize
from catalunya.assets.making.request import Request
from catalunya.assets.record.ledger import Entry, decode, encode
from catalunya.assets.record.project import Project
from catalunya.io.environment import load_settings
from catalunya.io.errors import SourceUnavailable
from catalunya.io.sources.base import HttpSettings
from catalunya.io.sources.http import Reply, connect
from catalunya.io.sources.traffic import BOUNDS, Tally, Traffic, counting
from catalunya.ops import mock
from catalunya.ops.mock.exchange import Answer
from catalunya.ops.mock.server import MockServer
from small.http_server import Server, in_turn

KEY = "landing.service_usage"
QUICK = {"backoff_initial_s": 0.001, "backoff_max_s": 0.01, "backoff_jitter_s": 0.001, "requests_per_second": 2000.0}


@pytest.fixture(scope="module")
def server() -> Iterator[MockServer]:
    with mock.serve(rows=100) as server:
        yield server


def asked(settings: HttpSettings, times: int = 1) -> tuple[Traffic, ...]:
    """What is counted when something is asked for."""
    tally = Tally()
    with (
        counting(tally),
        suppress(SourceUnavailable),  # what was counted is what this is about
        connect(settings, "Test source") as http,
        ThreadPoolExecutor(times) as pool,
    ):
        list(pool.map(lambda _: http.get("/table.json", lambda reply: bytes(reply.body)), range(times)))
    return tally.counted()


def test_requests_are_counted_by_result_and_those_sent_again_by_the_result_that_was_not_good_enough() -> None:
    answers = in_turn(Answer(b"", 503), Answer(b"[1", cut=1), Answer(b"[]", delay=0.06))
    with Server(answers).running() as server:
        settings = HttpSettings(server.url, attempts=4, protocol="socrata", **QUICK)  # type: ignore[arg-type]
        found = asked(settings)
    port = server.url.rpartition(":")[2]
    assert [(each.method, each.result, each.requests, each.retries) for each in found] == [
        ("GET", "200", 1, 0),
        ("GET", "503", 1, 1),
        ("GET", "RemoteProtocolError", 1, 1),
    ]
    assert {(each.host, each.protocol) for each in found} == {(f"127.0.0.1:{port}", "socrata")}
    good = found[0]
    assert sum(good.buckets) == 1
    assert sum(good.buckets[: BOUNDS.index(0.05) + 1]) == 0  # it took longer than 0.05 s
    assert 0.06 <= good.seconds < 30


def test_a_host_that_is_not_there_is_counted_by_its_error() -> None:
    with socket.socket() as taken:  # bound, and nothing listens
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        (found,) = asked(HttpSettings(url, attempts=3, **QUICK))  # type: ignore[arg-type]
    assert (found.result, found.requests, found.retries) == ("ConnectError", 3, 2)


def test_requests_at_once_are_all_counted() -> None:
    with Server(lambda _: Answer(b"[]")).running() as server:
        (found,) = asked(HttpSettings(server.url, **QUICK), times=40)  # type: ignore[arg-type]
    assert (found.requests, sum(found.buckets)) == (40, 40)


def test_what_no_one_counts_is_forgotten() -> None:
    with Server(lambda _: Answer(b"[]")).running() as server:
        first = asked(HttpSettings(server.url, **QUICK))  # type: ignore[arg-type]
        _ask(server.url)
        second = asked(HttpSettings(server.url, **QUICK))  # type: ignore[arg-type]
    assert [each.requests for each in (*first, *second)] == [1, 1]


def _ask(url: str) -> None:
    def accept(reply: Reply) -> int:
        return len(reply.body)

    with connect(HttpSettings(url, **QUICK), "Test source") as http:  # type: ignore[arg-type]
        http.get("/table.json", accept)


def total(project: Project) -> dict[str, tuple[int, int]]:
    """Requests and retries by result, as the last entry has them."""
    entry = project.ledger.last_attempt(KEY)
    assert entry
    return {each.result: (each.requests, each.retries) for each in entry.traffic}


def test_each_entry_of_the_ledger_has_the_running_total_failed_runs_included(
    server: MockServer, tmp_path: Path
) -> None:
    server.reset()
    quick = {"http_attempts": 2, "http_backoff_s": 0.0}
    project = Project(load_settings(lake=str(tmp_path / "lake"), mock_url=server.url, **quick))
    materialize(project, KEY)
    first = total(project)
    assert set(first) == {"200"}

    server.faults("error-503:yavr-pn8q:on=any")
    with pytest.raises(SourceUnavailable):
        materialize(project, KEY, Request(force=True))
    failed = total(project)
    assert failed["503"] == (2, 1)
    assert failed["200"] == first["200"]

    server.faults()
    materialize(project, KEY, Request(force=True))
    assert total(project)["200"] == (2 * first["200"][0], 0)
    assert total(project)["503"] == (2, 1)
    entry = project.ledger.latest(KEY)
    assert entry
    assert entry.traffic[0].protocol == "socrata"


def test_an_entry_of_before_and_one_with_other_bounds_can_be_read(server: MockServer, tmp_path: Path) -> None:
    server.reset()
    project = Project(load_settings(lake=str(tmp_path / "lake"), mock_url=server.url))
    materialize(project, KEY)
    entry = project.ledger.latest(KEY)
    assert entry

    before = msgspec.json.decode(encode(entry))
    del before["traffic"]
    assert decode(msgspec.json.encode(before), "an old entry").traffic == ()

    other = msgspec.json.decode(encode(entry))
    other["traffic"][0]["buckets"] = [1, 2]
    read: Entry = decode(msgspec.json.encode(other), "another entry")
    assert read.traffic[0].buckets == (1, 2)
    assert Tally().add(read.traffic).counted() == ()  # other bounds do not add up: it starts over

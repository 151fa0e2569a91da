"""Answers in the lake: what a function writes while it works and when it ends, and what the one who waits concludes from it."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from catalunya.assets.graph.spec import Layer
from catalunya.assets.making.request import as_before, made_by
from catalunya.assets.record.answers import Answering, Result, answer_path, new_name, wait
from catalunya.assets.record.project import Project
from catalunya.io.environment import load_settings
from catalunya.io.errors import CatalunyaError, FunctionLost, LakeError, PermanentError, UsageError, named
from catalunya.io.lake import Lake
from catalunya.ops import mock
from catalunya.ops.lambdas import extract, transform
from catalunya.ops.mock.server import MockServer
from small.functions import Context
from small.patience import patience

LANDING, STAGING = "landing.service_usage", "staging.service_usage"
PATH = answer_path(Layer.LANDING, "a1")
DONE = Result(status="skipped", why="up to date")


@pytest.fixture(scope="module")
def server() -> Iterator[MockServer]:
    with mock.serve(rows=100) as server:
        yield server


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


def event(asset: str = LANDING, name: str = "a1", **more: Any) -> dict[str, Any]:
    return {"asset": asset, "run_id": "r1", "answer": name, **more}


def answer(name: str = "a1", layer: Layer = Layer.LANDING) -> Result:
    """The answer of that name, which is there."""
    lake = Project(load_settings()).lake
    return asyncio.run(asyncio.wait_for(wait(lake, answer_path(layer, name), "extract", 0), patience(30)))


def raised(path: Path, *, seconds: float, starts_s: float = 60) -> CatalunyaError:
    """What the one who waits finds out, within so many seconds."""
    began = time.monotonic()
    with pytest.raises(CatalunyaError) as found:
        asyncio.run(wait(Lake(str(path)), PATH, "catalunya-extract-dev", starts_s))
    assert time.monotonic() - began < patience(seconds)
    return found.value


# What a function writes


def test_the_answer_is_what_the_function_returns(apis: MockServer) -> None:
    returned = extract(event(), Context("extract"))
    assert returned["status"] == "materialized"
    assert answer().plain() == returned
    assert transform(event(STAGING), Context("transform")) == answer(layer=Layer.STAGING).plain()


def test_a_function_with_nothing_to_do_answers_too(apis: MockServer) -> None:
    extract(event(), Context("extract"))
    extract(event(name="again", run_id="r2"), Context("extract"))
    assert [answer(name).status for name in ("a1", "again")] == ["materialized", "skipped"]


def test_a_failure_is_answered_and_not_raised(apis: MockServer) -> None:
    apis.faults("error-503")
    extract(event(), Context("extract"))
    extract(event("landing.nothing", "unknown"), Context("extract"))
    extract(event(name="invalid", force="yes"), Context("extract"))
    assert [answer(name).error for name in ("a1", "unknown", "invalid")] == [
        "SourceUnavailable",
        "UsageError",
        "UsageError",
    ]


def test_a_bug_is_answered_and_raised_so_that_lambda_counts_it(
    apis: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CATALUNYA_SCRATCH", "/proc/nothing")
    with pytest.raises(PermanentError, match="FileNotFoundError"):
        extract(event(), Context("extract"))
    found = answer()
    assert type(named(found.error or "", found.why)) is PermanentError


def test_a_function_that_cannot_answer_raises_and_works_on_nothing(apis: MockServer, tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    (tmp_path / "lake" / "_answers").write_text("a file", encoding="utf-8")
    with pytest.raises(LakeError, match="a file where a folder is needed"):
        extract(event(), Context("extract"))
    assert apis.requests == []


def test_an_event_that_is_delivered_twice_is_worked_on_once(apis: MockServer) -> None:
    first = extract(event(force=True), Context("extract"))
    requests = len(apis.requests)
    second = extract(event(force=True), Context("extract"))
    assert (second["status"], second["why"]) == ("skipped", "the event was delivered before")
    assert answer().plain() == first
    assert len(apis.requests) == requests


@pytest.mark.parametrize("name", ["", "..", "../landing/x", "a/b", "a\nb", "x" * 201, "É"])
def test_an_answer_has_a_name_and_no_place(apis: MockServer, name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="name of an answer"):
        extract(event(name=name), Context("extract"))
    assert not (tmp_path / "lake").exists() or not list((tmp_path / "lake").rglob("*.json"))
    assert answer_path(Layer.LANDING, new_name(LANDING)).startswith("_answers/landing/landing.service_usage-")


# What the one who waits concludes


def test_the_one_who_waits_gets_the_result_of_a_function_that_starts_later_and_works_for_long(lake: Lake) -> None:
    async def both() -> Result:
        waits = asyncio.create_task(wait(lake, PATH, "extract", patience(20)))
        await asyncio.sleep(0.2)
        answering = Answering.of(lake, PATH, "q1", patience(1.2))
        assert answering.begin()
        await asyncio.sleep(patience(3))  # longer than a beat lasts
        assert not waits.done()
        answering.end(DONE)
        return await waits

    assert asyncio.run(asyncio.wait_for(both(), patience(40))) == DONE


def test_a_function_that_does_not_start_is_lost_and_the_message_says_where_to_look(tmp_path: Path) -> None:
    error = raised(tmp_path / "lake", seconds=5, starts_s=0.5)
    assert isinstance(error, FunctionLost)
    assert "catalunya-extract-dev did not start within" in str(error)
    assert "dead-letter queue" in str(error)


def die_working(root: str, begun: Any) -> None:
    assert Answering.of(Lake(root), PATH, "q1", 1.5).begin()
    begun.set()
    time.sleep(60)


def test_a_function_that_is_killed_is_lost_as_soon_as_its_answer_would_have_changed(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("forkserver")
    begun = spawn.Event()
    function = spawn.Process(target=die_working, args=(str(tmp_path / "lake"), begun))
    function.start()
    assert begun.wait(patience(60))
    assert function.pid
    os.kill(function.pid, signal.SIGKILL)
    function.join()
    error = raised(tmp_path / "lake", seconds=10)
    assert isinstance(error, FunctionLost)
    assert "stopped working without an answer" in str(error)
    assert "request q1" in str(error)


BEGUN = {"request_id": "q1", "host": "h", "token": "t", "seconds": 60}
DAMAGED = {
    "cut off": b"{",
    "empty": b"",
    "nested": b'{"result": ' + b"[" * 100_000,
    "no text": b"\xff",
    "waited for without end": {"seconds": 1e308},
    "over before it began": {"seconds": 0},
    "unknown status": {"result": {"status": "fine", "why": ""}},
    "failed without an error": {"result": {"status": "failed", "why": "no one would hear of it"}},
    "an error without a failure": {"result": {"status": "skipped", "why": "", "error": "LakeError"}},
    "made without an entry": {"result": {"status": "materialized", "why": ""}},
}


@pytest.mark.parametrize("damaged", DAMAGED.values(), ids=DAMAGED)
def test_an_answer_that_cannot_be_read_or_contradicts_itself_is_lost(
    tmp_path: Path, lake: Lake, damaged: bytes | dict[str, Any]
) -> None:
    lake.put(PATH, damaged if isinstance(damaged, bytes) else json.dumps(BEGUN | damaged).encode())
    error = raised(tmp_path / "lake", seconds=5)
    assert isinstance(error, FunctionLost)
    assert "cannot be read" in str(error)


def test_an_answer_may_be_there_before_anyone_waits_for_it(tmp_path: Path, lake: Lake) -> None:
    """The twin of the damaged ones."""
    done = {"result": {"status": "failed", "why": "the source is gone", "error": "SourceUnavailable"}}
    lake.put(PATH, json.dumps(BEGUN | done).encode())
    assert asyncio.run(wait(lake, PATH, "extract", 0)).error == "SourceUnavailable"


def test_a_place_that_may_not_be_read_is_an_error_at_once(tmp_path: Path, lake: Lake) -> None:
    Path(lake.root, "_answers").write_text("a file", encoding="utf-8")
    error = raised(tmp_path / "lake", seconds=5)
    assert type(error) is LakeError


def test_while_the_lake_does_not_answer_nothing_is_concluded(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "ENDPOINT_URL": "http://127.0.0.1:9",
        "REGION": "eu-west-1",
        "ACCESS_KEY_ID": "x",
        "SECRET_ACCESS_KEY": "x",
    }.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    lake = Lake("s3://nowhere", attempts=1)
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(wait(lake, PATH, "extract", 0), 1.5))


def test_what_was_recorded_before_the_function_died_is_found_in_the_ledger(apis: MockServer) -> None:
    ledger = Project(load_settings()).ledger
    assert made_by(ledger, LANDING, "r1") is None
    returned = extract({"asset": LANDING, "run_id": "r1"}, Context("extract"))
    made = made_by(ledger, LANDING, "r1")
    assert made
    assert (as_before(made).status, made.summary()) == ("materialized", returned["entry"])
    assert made_by(ledger, LANDING, "r2") is None

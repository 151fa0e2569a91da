"""The Lambda handlers, called as Lambda calls them: event and result, errors and how callers get them, time limit, leases."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from catalunya.assets.record.lease import holder, lease
from catalunya.assets.record.project import Project
from catalunya.contracts.model.contract import source_hash
from catalunya.io import errors
from catalunya.io.environment import load_settings
from catalunya.io.errors import (
    CatalunyaError,
    DeadlineReached,
    LeaseHeld,
    PermanentError,
    SourceUnavailable,
    TransientError,
    UsageError,
    named,
    reportable,
)
from catalunya.ops import mock
from catalunya.ops.lambdas import LEASE_S, extract, transform
from catalunya.ops.mock.server import MockServer
from small.patience import patience

LANDING, STAGING = "landing.service_usage", "staging.service_usage"


@dataclass
class Invocation:
    """Lambda's context object, for an invocation with a limit of `limit_s`."""

    limit_s: float = 900
    aws_request_id: str = "8a4b"
    started: float = field(default_factory=time.monotonic)

    def get_remaining_time_in_millis(self) -> int:
        return int((self.limit_s - (time.monotonic() - self.started)) * 1000)


@pytest.fixture(scope="module")
def server() -> Iterator[MockServer]:
    with mock.serve(rows=100) as server:
        yield server


def event(asset: str = LANDING, run_id: str = "r1", **more: Any) -> dict[str, Any]:
    return {"asset": asset, "run_id": run_id, **more}


def project() -> Project:
    return Project(load_settings())


def failure(answer: dict[str, Any]) -> CatalunyaError:
    """The error of an answer, as its caller raises it."""
    assert (answer["status"], answer["entry"]) == ("failed", None)
    return named(answer["error"], answer["why"])


def test_an_asset_is_made_and_the_result_is_its_ledger_entry(apis: MockServer) -> None:
    answer = extract(event(correlation_id="c1"), Invocation())
    assert json.loads(json.dumps(answer)) == answer
    entry = project().ledger.latest(LANDING)
    assert entry
    made = {"status": "materialized", "why": "it has never been made", "error": None}
    assert answer == {**made, "entry": entry.summary()}
    assert (answer["entry"]["run_id"], answer["entry"]["correlation_id"]) == ("r1", "c1")
    assert transform(event(STAGING), Invocation())["status"] == "materialized"


def test_an_asset_is_skipped_without_new_data_and_deferred_without_its_upstream(apis: MockServer) -> None:
    answer = transform(event(STAGING), Invocation())
    assert (answer["status"], answer["entry"]) == ("deferred", None)
    extract(event(), Invocation())
    assert extract(event(run_id="r2"), Invocation())["status"] == "skipped"


# Repeated events


@pytest.mark.parametrize("force", [False, True])
def test_a_repeated_event_gets_the_same_result_and_makes_nothing(apis: MockServer, force: bool) -> None:
    first = extract(event(force=force), Invocation())
    pages = [request for request in apis.requests if "offset" in str(request)]
    again = extract(event(force=force), Invocation())
    assert (again["status"], again["entry"]) == ("materialized", first["entry"])
    assert [request for request in apis.requests if "offset" in str(request)] == pages
    assert len(project().ledger.history(LANDING)) == 1


def test_a_repeated_backfill_is_done_once(apis: MockServer) -> None:
    extract(event(), Invocation())
    transform(event(STAGING), Invocation())
    backfill = event(run_id="b1", period_from="2014", period_to="2015")
    first = extract(backfill, Invocation())
    requests = len(apis.requests)
    assert extract(backfill, Invocation())["entry"] == first["entry"]
    assert len(apis.requests) == requests


def test_a_repeated_event_makes_data_that_is_new_since_the_first(apis: MockServer) -> None:
    first = extract(event(), Invocation())
    apis.advance()
    assert extract(event(), Invocation())["entry"]["data_version"] != first["entry"]["data_version"]


# Errors


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"run_id": "r1"}, "asset"),
        ({"asset": LANDING}, "run_id"),
        (event(force="yes"), "force"),
        (event(retries=3), "retries"),
        (event(period_from=2014), "period_from"),
        (event("x" * 10_000_000), "asset"),
        (event(run_id=""), "run_id"),
        ([], "object"),
    ],
    ids=["no asset", "no run", "type", "unknown", "period", "10 MB", "empty", "a list"],
)
def test_an_invalid_event_is_a_permanent_error_that_names_the_field(apis: MockServer, wrong: Any, field: str) -> None:
    error = failure(extract(wrong, Invocation()))
    assert isinstance(error, PermanentError)
    assert field in str(error)
    assert len(str(error)) < 1000


@pytest.mark.parametrize(
    "asset", [STAGING, "marts.dim_time", "landing.nothing", "../../etc/passwd", "landing.a'; --\n"]
)
def test_a_function_makes_only_assets_of_its_layer(apis: MockServer, asset: str, tmp_path: Path) -> None:
    assert isinstance(failure(extract(event(asset), Invocation())), UsageError)
    assert not list((tmp_path / "lake").rglob("*.json"))


def test_every_error_class_is_rebuilt_by_the_caller() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, CatalunyaError)]
    assert len(kinds) > 15
    for kind in kinds:
        back = named(kind.__name__, "landing.gdp: no answer")
        assert type(back) is kind
        assert str(back) == "landing.gdp: no answer"


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (MemoryError(), TransientError),
        (TimeoutError("timed out"), TransientError),
        (KeyError("x"), PermanentError),
        (type("Path", (Exception,), {})("a name\nthat errors.py has"), PermanentError),
    ],
    ids=lambda each: type(each).__name__,
)
def test_an_unforeseen_error_is_transient_or_permanent(raised: Exception, kind: type[CatalunyaError]) -> None:
    error = reportable(raised)
    assert type(error) is kind
    assert "\n" not in str(error)


def test_an_error_of_a_private_class_is_raised_as_its_public_base_class() -> None:
    class _Missing(errors.LakeError):
        """The object does not exist."""

    error = reportable(_Missing("no such object"))
    assert (type(error), str(error)) == (errors.LakeError, "no such object")
    same = errors.LeaseLost("lost")
    assert reportable(same) is same


def test_a_source_that_does_not_answer_is_a_transient_error_for_the_caller_too(apis: MockServer) -> None:
    apis.faults("error-503")
    assert isinstance(failure(extract(event(), Invocation())), SourceUnavailable)


# The time limit


def test_an_extraction_stops_before_the_limit_and_the_next_invocation_resumes_it(
    apis: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CATALUNYA_PAGE_ROWS", "100")
    monkeypatch.setenv("CATALUNYA_STOP_BEFORE_S", str(patience(0.5)))
    apis.faults(f"slow:seconds={patience(3)}:on=rows:after=2")
    invocation = Invocation(limit_s=patience(1.5))
    error = failure(extract(event(), invocation))
    assert invocation.get_remaining_time_in_millis() > 0
    assert type(error) is DeadlineReached
    assert re.search(r"200 of \d+ rows landed", str(error))
    assert project().ledger.history(LANDING) == []
    apis.faults()
    apis.clear_requests()
    answer = extract(event(), Invocation())
    assert answer["status"] == "materialized"
    offsets = [
        int(str(request).split("offset=")[1].split("&")[0]) for request in apis.requests if "offset=" in str(request)
    ]
    assert min(offsets) == 200


def test_a_transformation_at_its_time_limit_publishes_nothing_and_can_be_retried(apis: MockServer) -> None:
    extract(event(), Invocation())
    error = failure(transform(event(STAGING), Invocation(limit_s=0)))
    assert type(error) is DeadlineReached
    assert re.search(r"0 of \d+ rows were checked", str(error))
    assert not project().lake.objects("staging")
    assert transform(event(STAGING), Invocation())["status"] == "materialized"


# Leases


def test_a_function_is_refused_while_another_run_holds_the_lease(apis: MockServer) -> None:
    extract(event(), Invocation())
    with lease(project().lake, LANDING, "other", 60):
        error = failure(extract(event(run_id="r2", force=True), Invocation()))
    assert isinstance(error, LeaseHeld)
    assert "run other" in str(error)


def test_the_lease_of_a_killed_function_expires_before_airflow_retries(
    apis: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CATALUNYA_HTTP_ATTEMPTS", "1")
    seen = []
    apis.faults("slow:seconds=0.3:on=rows")

    def look() -> None:
        time.sleep(0.1)
        until = time.monotonic() + patience(5)
        while not seen and time.monotonic() < until:
            if held := holder(project().lake, LANDING):
                seen.append(held.expires_at.timestamp() - time.time())

    watcher = threading.Thread(target=look)
    watcher.start()
    extract(event(), Invocation())
    watcher.join(patience(30))
    assert seen
    assert seen[0] <= LEASE_S <= 60 < load_settings().lease_s


def test_a_function_does_not_take_over_the_lease_of_another_with_the_same_host_name(
    apis: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Lambda, host names and process ids are the same few everywhere."""
    monkeypatch.setattr(os, "getpid", lambda: 2**22 + 1)  # no such process on this machine
    monkeypatch.setenv("AWS_LAMBDA_LOG_STREAM_NAME", "2026/11/23/[$LATEST]one")
    lake = project().lake
    with lease(lake, LANDING, "one", 60):
        assert holder(lake, LANDING) is None, "on the same machine the process is known to have ended"
        monkeypatch.setenv("AWS_LAMBDA_LOG_STREAM_NAME", "2026/11/23/[$LATEST]other")
        held = holder(lake, LANDING)
        assert held
        assert held.host != socket.gethostname()


# Lost functions


def test_a_lost_function_is_recorded_as_a_failure_that_is_tried_again_later(apis: MockServer) -> None:
    extract(event(), Invocation())
    for run, failures in (("r2", 1), ("r2", 1), ("r3", 2)):
        answer = transform(event(STAGING, run, lost="the function died"), Invocation())
        assert (answer["status"], answer["why"]) == ("skipped", "it is recorded that the function was lost")
        last = project().ledger.last_attempt(STAGING)
        assert last
        assert (last.run_id, last.error, last.failures) == (run, "FunctionLost: the function died", failures)
    state = project().state()
    asset = project().graph[STAGING]
    assert state.next_try(STAGING)
    assert state.neglected([asset]) == []
    assert transform(event(STAGING, "r4"), Invocation())["status"] == "materialized"
    assert project().state().next_try(STAGING) is None


def test_a_lost_landing_function_is_tried_again_before_its_next_schedule(apis: MockServer) -> None:
    extract(event(), Invocation())
    asset = project().graph[LANDING]
    assert project().state().next_try(LANDING) is None
    extract(event(run_id="r2", lost="the function died"), Invocation())
    due = project().state().next_try(LANDING)
    assert due
    assert [stale.reason for stale in project().state(due).neglected([asset])] == ["RETRY"]


def test_what_a_lost_function_recorded_stands(apis: MockServer) -> None:
    made = extract(event(), Invocation())
    assert extract(event(lost="the function died"), Invocation())["status"] == "skipped"
    last = project().ledger.last_attempt(LANDING)
    assert last
    assert last.summary() == made["entry"]


def test_a_function_that_still_holds_its_lease_is_not_recorded_as_lost(apis: MockServer) -> None:
    extract(event(), Invocation())
    with lease(project().lake, LANDING, "r2", 60):
        extract(event(run_id="r2", lost="the function died"), Invocation())
    assert len(project().ledger.history(LANDING)) == 1


# Logs


def test_logs_are_json_lines_with_request_run_and_asset(apis: MockServer, capsys: pytest.CaptureFixture[str]) -> None:
    extract(event(), Invocation(aws_request_id="q1"))
    extract(event("landing.nothing"), Invocation(aws_request_id="q2"))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    made = next(line for line in lines if line["event"] == "materialized")
    assert (made["request_id"], made["run_id"], made["asset"]) == ("q1", "r1", LANDING)
    failed = next(line for line in lines if line["event"] == "function_failed")
    assert (failed["request_id"], failed["error_type"], failed["level"]) == ("q2", "UsageError", "error")


# Code versions across Python versions


def doubled(rows: list[int], *, by: int = 2) -> list[int]:
    """A docstring, which does not count."""
    return [row * by for row in rows if row is not None]


def test_the_code_hash_is_the_same_on_every_python_version() -> None:
    assert source_hash(doubled) == "a4fab563965819d6"

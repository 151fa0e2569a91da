"""Running a plan in one process: order, independence, failures and interruption."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from catalunya.assets.graph.spec import Declaration, StagingDeclaration
from catalunya.assets.making.plan import plan
from catalunya.assets.making.request import ProgressEvent, Request
from catalunya.assets.record.project import Project
from catalunya.assets.record.state import Reason, Stale
from catalunya.io.environment import Settings
from catalunya.ops.plan_run import PlanRun, Result
from small.shops import declare, some

KEYS = ["landing.shops", "staging.shops", "staging.cities"]


@pytest.fixture
def declared(tmp_path: Path) -> list[Declaration]:
    source, declared = declare(tmp_path / "source")
    source.write(some(5))
    return declared


def plan_run_of(project: Project, selection: str = "*", *, force: bool = False) -> PlanRun:
    steps = plan(project.state(), project.graph.select(selection), force=force)

    def request(step: Stale) -> Request:
        return Request(force=step.reason is Reason.FORCED)

    return PlanRun(project, steps, request=request)


def test_assets_are_made_after_their_upstreams_and_reported_as_they_end(
    settings: Settings, declared: list[Declaration]
) -> None:
    plan_run = plan_run_of(Project(settings, declared))
    steps: list[ProgressEvent] = []
    ended: list[Result] = []
    plan_run.listen(steps.append, ended.append)
    results = plan_run.run()
    assert [result.asset for result in results] == [result.asset for result in ended] == KEYS
    assert {result.status for result in results} == {"materialized"}
    assert all(result.seconds > 0 for result in results)
    assert {step.asset for step in steps} == set(KEYS)


def test_an_asset_downstream_of_a_failed_one_is_deferred(settings: Settings, declared: list[Declaration]) -> None:
    landing, shops, cities = declared
    assert isinstance(shops, StagingDeclaration)

    def broken(raw: pl.LazyFrame) -> pl.LazyFrame:
        raise RuntimeError("no such thing")

    results = plan_run_of(Project(settings, [landing, replace(shops, function=broken), cities])).run()
    assert [result.status for result in results] == ["materialized", "failed", "deferred"]
    assert results[1].why == "this is a bug: RuntimeError: no such thing"
    assert "staging.shops has never been made; its last attempt failed" in results[2].why


def test_a_full_disk_is_not_reported_as_a_bug(settings: Settings, declared: list[Declaration]) -> None:
    landing, shops, cities = declared
    assert isinstance(shops, StagingDeclaration)

    def full(raw: pl.LazyFrame) -> pl.LazyFrame:
        raise OSError(28, "No space left on device", "/tmp/somewhere")

    results = plan_run_of(Project(settings, [landing, replace(shops, function=full), cities])).run()
    assert results[1].why.startswith("no space left on the device (/tmp/somewhere); free some")


def test_a_selection_with_a_gap_keeps_its_order(settings: Settings, declared: list[Declaration]) -> None:
    plan_run_of(Project(settings, declared)).run()
    plan_run = plan_run_of(Project(settings, declared), "landing.shops staging.cities", force=True)
    assert [result.status for result in plan_run.run()] == ["materialized", "materialized"]


def test_an_interruption_stops_running_assets_and_starts_no_others(
    settings: Settings, declared: list[Declaration]
) -> None:
    project = Project(settings, declared)
    plan_run = plan_run_of(project)
    started = threading.Event()

    def listen(progress: ProgressEvent) -> None:
        if progress.step == "producing" and not started.is_set():
            started.set()
            plan_run.interrupt()

    plan_run.listen(listen)
    with pytest.raises(KeyboardInterrupt):
        plan_run.run()
    assert {key: result.status for key, result in plan_run.results.items()} == {"landing.shops": "stopped"}
    assert plan_run.stuck == []
    assert project.ledger.last_attempt("landing.shops") is None, "an interruption is not a failure"
    assert {result.status for result in plan_run_of(Project(settings, declared)).run()} == {"materialized"}


def test_an_asset_that_is_being_published_is_finished_before_the_run_stops(
    settings: Settings, declared: list[Declaration]
) -> None:
    project = Project(settings, declared)
    plan_run = plan_run_of(project)
    plan_run.listen(lambda progress: plan_run.interrupt() if progress.step == "published" else None)
    with pytest.raises(KeyboardInterrupt):
        plan_run.run()
    assert {key: result.status for key, result in plan_run.results.items()} == {"landing.shops": "materialized"}

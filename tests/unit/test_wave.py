"""A wave: order, independence, failures, interruption, over a small project of one's own."""

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
from catalunya.ops.wave import Result, Wave
from small.shops import declare, some

KEYS = ["landing.shops", "staging.shops", "staging.cities"]


@pytest.fixture
def declared(tmp_path: Path) -> list[Declaration]:
    source, declared = declare(tmp_path / "source")
    source.write(some(5))
    return declared


def wave_of(project: Project, selection: str = "*", *, force: bool = False, **options: int) -> Wave:
    steps = plan(project.state(), project.graph.select(selection), force=force)

    def request(step: Stale) -> Request:
        return Request(force=step.reason is Reason.FORCED)

    return Wave(project, steps, request=request, **options)


def test_assets_are_made_after_what_they_read_and_told_as_they_end(
    settings: Settings, declared: list[Declaration]
) -> None:
    wave = wave_of(Project(settings, declared))
    steps: list[ProgressEvent] = []
    ended: list[Result] = []
    wave.listen(steps.append, ended.append)
    results = wave.run()
    assert [result.asset for result in results] == [result.asset for result in ended] == KEYS
    assert {result.status for result in results} == {"materialized"}
    assert all(result.seconds > 0 for result in results)
    assert {step.asset for step in steps} == set(KEYS)


def test_what_reads_a_failed_asset_goes_on_where_it_can(settings: Settings, declared: list[Declaration]) -> None:
    landing, shops, cities = declared
    assert isinstance(shops, StagingDeclaration)

    def broken(raw: pl.LazyFrame) -> pl.LazyFrame:
        raise RuntimeError("no such thing")

    results = wave_of(Project(settings, [landing, replace(shops, function=broken), cities])).run()
    assert [result.status for result in results] == ["materialized", "failed", "deferred"]
    assert results[1].why == "this is a bug: RuntimeError: no such thing"
    assert "staging.shops has never been made; its last attempt failed" in results[2].why


def test_a_full_disk_is_no_bug(settings: Settings, declared: list[Declaration]) -> None:
    landing, shops, cities = declared
    assert isinstance(shops, StagingDeclaration)

    def full(raw: pl.LazyFrame) -> pl.LazyFrame:
        raise OSError(28, "No space left on device", "/tmp/somewhere")

    results = wave_of(Project(settings, [landing, replace(shops, function=full), cities])).run()
    assert results[1].why.startswith("no space left on the device (/tmp/somewhere); free some")


def test_a_selection_with_a_hole_keeps_its_order(settings: Settings, declared: list[Declaration]) -> None:
    wave_of(Project(settings, declared)).run()
    wave = wave_of(Project(settings, declared), "landing.shops staging.cities", force=True)
    assert [result.status for result in wave.run()] == ["materialized", "materialized"]


def test_interrupted_what_is_under_way_stops_and_the_rest_is_not_begun(
    settings: Settings, declared: list[Declaration]
) -> None:
    project = Project(settings, declared)
    wave = wave_of(project)
    begun = threading.Event()

    def listen(progress: ProgressEvent) -> None:
        if progress.step == "producing" and not begun.is_set():
            begun.set()
            wave.interrupt()

    wave.listen(listen)
    with pytest.raises(KeyboardInterrupt):
        wave.run()
    assert {key: result.status for key, result in wave.results.items()} == {"landing.shops": "stopped"}
    assert wave.stuck == []
    assert project.ledger.last_attempt("landing.shops") is None, "an interruption is no failure"
    assert {result.status for result in wave_of(Project(settings, declared)).run()} == {"materialized"}


def test_what_is_being_published_is_finished(settings: Settings, declared: list[Declaration]) -> None:
    project = Project(settings, declared)
    wave = wave_of(project)
    wave.listen(lambda progress: wave.interrupt() if progress.step == "published" else None)
    with pytest.raises(KeyboardInterrupt):
        wave.run()
    assert {key: result.status for key, result in wave.results.items()} == {"landing.shops": "materialized"}

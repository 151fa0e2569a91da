"""A failure that passes is tried again, later each time; a lasting one waits until its inputs or its code change."""

from __future__ import annotations

import errno
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from catalunya.assets.graph.spec import StagingDeclaration
from catalunya.assets.making.materialize import materialize
from catalunya.assets.making.request import Request
from catalunya.assets.record.ledger import Entry
from catalunya.assets.record.project import Project
from catalunya.assets.record.state import Reason
from catalunya.io.environment import Settings
from catalunya.io.errors import (
    CatalunyaError,
    ContractError,
    LakeUnavailable,
    SourceError,
    SourceUnavailable,
    TransientError,
    WarehouseError,
    in_passing,
    one_line,
    warehouse_error,
)
from catalunya.io.sources.base import HttpSettings, SourceState
from catalunya.ops.status import statuses
from small.shops import FolderSource, declare, some

LANDING, SHOPS, CITIES = "landing.shops", "staging.shops", "staging.cities"


class Shelf(FolderSource):
    """The source of the shops, which answers as its file `answers.txt` says."""

    def probe(self, http: HttpSettings, known: str | None = None) -> SourceState | None:
        says = self.folder / "answers.txt"
        if says.exists():
            raise {"503": SourceUnavailable("the API does not answer"), "404": SourceError("it refuses")}[
                says.read_text()
            ]
        return super().probe(http, known)

    def answer(self, what: str | None) -> None:
        if what:
            (self.folder / "answers.txt").write_text(what)
        else:
            (self.folder / "answers.txt").unlink()


class Shop:
    """The shops, over a source that can fail, with a staging function that can fail."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        _, (landing, shops, cities) = declare(folder)
        self.source = Shelf(folder, page_rows=100)
        self.raises: Exception | None = None

        def function(raw: pl.LazyFrame) -> pl.LazyFrame:
            if self.raises:
                raise self.raises
            return raw

        assert isinstance(shops, StagingDeclaration)
        assert isinstance(cities, StagingDeclaration)
        landing = replace(landing, source=self.source)  # type: ignore[call-arg]
        self.declared = [
            landing,
            replace(shops, landing=landing, function=function),  # type: ignore[arg-type]
            replace(cities, landing=landing),  # type: ignore[arg-type]
        ]
        self.settings = settings
        self.source.write(some(4))

    def open(self) -> Project:
        return Project(self.settings, self.declared)

    def make(self, key: str, now: datetime | None = None, run_id: str | None = None) -> str:
        """The status, or the name of the error."""
        try:
            return materialize(self.open(), key, Request(now=now, run_id=run_id)).status
        except Exception as error:  # noqa: BLE001  bugs too
            return type(error).__name__

    def neglected(self, now: datetime) -> dict[str, Reason]:
        state = self.open().state(now)
        return {stale.key: stale.reason for stale in state.neglected(self.open().graph)}

    def last(self, key: str) -> Entry:
        entry = self.open().ledger.last_attempt(key)
        assert entry
        return entry


@pytest.fixture
def shop(settings: Settings, tmp_path: Path) -> Shop:
    return Shop(settings, tmp_path / "source")


PASSING = {
    "a full disk": OSError(errno.ENOSPC, "No space left on device", "/scratch/page.parquet"),
    "a full quota": OSError(errno.EDQUOT, "Disk quota exceeded"),
    "too many open files": OSError(errno.EMFILE, "Too many open files"),
    "out of memory": MemoryError(),
    "a time-out": TimeoutError("timed out"),
    "a cut connection": ConnectionResetError("reset by peer"),
    "a full disk, in polars' words": pl.exceptions.ComputeError("No space left on device (os error 28)"),
    "throttling, in AWS's words": RuntimeError(
        "An error occurred (ThrottlingException) when calling Invoke: Rate exceeded"
    ),
    "the lake": LakeUnavailable("the store does not answer"),
}


@pytest.mark.parametrize("what", PASSING)
def test_a_failure_that_passes_is_recorded_as_such_and_blocks_nothing(shop: Shop, what: str) -> None:
    assert shop.make(LANDING) == "materialized"
    shop.raises = PASSING[what]
    assert shop.make(SHOPS) in ("LakeUnavailable", "TransientError")
    failed = shop.last(SHOPS)
    assert (failed.status, failed.transient, failed.failures) == ("failed", True, 1)

    state = shop.open().state()
    assert state.failed(SHOPS) is None
    waits = state.waits_for(CITIES) or ""
    assert f"{SHOPS} has never been made; its last attempt failed (the next try is at " in waits
    assert shop.make(CITIES) == "deferred"

    shop.raises = None
    assert shop.make(SHOPS) == "materialized", "a run by hand always tries"
    assert shop.make(CITIES) == "materialized"
    assert shop.neglected(datetime.now(UTC)) == {}


LASTING = [
    ContractError("a breach"),
    ValueError("a bug"),
    KeyError("column"),
    OSError(errno.EACCES, "Permission denied"),
]


@pytest.mark.parametrize("error", LASTING, ids=lambda error: type(error).__name__)
def test_a_lasting_failure_waits_until_something_changes(shop: Shop, error: Exception) -> None:
    assert shop.make(LANDING) == "materialized"
    shop.raises = error
    assert shop.make(SHOPS) == type(error).__name__
    assert not shop.last(SHOPS).transient
    for hours in (1, 24, 24 * 365):
        assert SHOPS not in shop.neglected(datetime.now(UTC) + timedelta(hours=hours))

    shop.source.write(some(5))
    assert shop.make(LANDING) == "materialized"
    assert SHOPS in shop.neglected(datetime.now(UTC))


def test_each_further_failure_doubles_the_wait_up_to_six_hours(shop: Shop) -> None:
    shop.make(LANDING)
    shop.raises = TimeoutError()
    at, waits = datetime.now(UTC), []
    for number in range(1, 10):
        assert shop.make(SHOPS, now=at) == "TransientError"
        assert shop.last(SHOPS).failures == number
        next_try = shop.open().state(at).next_try(SHOPS)
        assert next_try
        assert SHOPS not in shop.neglected(next_try - timedelta(seconds=1))
        assert shop.neglected(next_try + timedelta(seconds=1))[SHOPS] == Reason.MISSING
        waits.append(round((next_try - at).total_seconds() / 60))
        at = next_try + timedelta(seconds=1)
    assert waits == [10, 20, 40, 80, 160, 320, 360, 360, 360]

    shop.raises = None
    assert shop.make(SHOPS, now=at) == "materialized"
    shop.source.write(some(5))
    shop.make(LANDING)
    shop.raises = TimeoutError()
    shop.make(SHOPS)
    assert shop.last(SHOPS).failures == 1, "counted from the last success"


def test_the_tries_of_one_run_count_as_one_failure(shop: Shop) -> None:
    shop.make(LANDING)
    shop.raises = TimeoutError()
    for _ in range(4):
        shop.make(SHOPS, run_id="scheduled__2026-08-03")
    assert shop.last(SHOPS).failures == 1
    shop.make(SHOPS, run_id="scheduled__2026-08-04")
    assert shop.last(SHOPS).failures == 2


def test_a_lasting_failure_in_between_starts_the_count_again(shop: Shop) -> None:
    shop.make(LANDING)
    for error, failures in ((TimeoutError(), 1), (TimeoutError(), 2), (ValueError(), 0), (TimeoutError(), 1)):
        shop.raises = error
        shop.make(SHOPS)
        assert shop.last(SHOPS).failures == failures


def test_a_failure_recorded_by_a_clock_that_was_ahead_is_tried_now(shop: Shop) -> None:
    shop.make(LANDING)
    shop.raises = TimeoutError()
    shop.make(SHOPS, now=datetime.now(UTC) + timedelta(days=4000))
    assert SHOPS in shop.neglected(datetime.now(UTC))


def test_a_source_that_cannot_be_asked_is_asked_again_although_nothing_is_stale(shop: Shop) -> None:
    shop.make(LANDING)
    shop.make(SHOPS)
    shop.make(CITIES)
    shop.source.answer("503")
    assert shop.make(LANDING) == "SourceUnavailable"
    assert shop.make(SHOPS) == "skipped", "the tables stay fresh"

    now = datetime.now(UTC)
    assert shop.neglected(now) == {}
    assert shop.neglected(now + timedelta(minutes=11)) == {LANDING: Reason.RETRY}
    shop.source.answer(None)
    assert shop.make(LANDING) == "skipped"
    assert shop.neglected(now + timedelta(days=1)) == {}, "that it answers again is recorded"
    assert shop.last(LANDING).status == "unchanged"
    files = sorted(shop.open().lake.objects("_ledger"))
    assert [shop.make(key) for key in (LANDING, SHOPS, CITIES)] == ["skipped"] * 3
    assert sorted(shop.open().lake.objects("_ledger")) == files


def test_a_source_that_refuses_stays_failed(shop: Shop) -> None:
    shop.make(LANDING)
    shop.source.answer("404")
    assert shop.make(LANDING) == "SourceError"
    assert shop.neglected(datetime.now(UTC) + timedelta(days=1)).get(LANDING) is None
    (status,) = statuses(shop.open().state(), shop.open().graph.select(LANDING))
    assert (status.state, status.transient, status.next_try_at) == ("failed", False, None)


def test_a_downstream_of_a_stale_upstream_that_failed_in_passing_waits_for_its_next_try(shop: Shop) -> None:
    for key in (LANDING, SHOPS, CITIES):
        shop.make(key)
    shop.source.write(some(6))
    shop.make(LANDING)
    shop.raises = TimeoutError()
    shop.make(SHOPS)
    outcome = materialize(shop.open(), CITIES)
    assert outcome.status == "deferred"
    assert (
        f"{SHOPS} is stale (DATA: landing.shops changed) and will wake it; its last attempt failed (the next"
        in outcome.why
    )

    shop.raises = ValueError("a bug")
    shop.make(SHOPS)
    assert shop.make(CITIES) == "materialized", "for good: it is made from what there is"


def test_the_status_says_which_failure_passes_and_when_the_next_try_is(shop: Shop) -> None:
    shop.make(LANDING)
    at = datetime(2026, 8, 3, 10, 0, tzinfo=UTC)
    shop.raises = LakeUnavailable("the store does not answer")
    shop.make(SHOPS, now=at)
    shop.make(SHOPS, now=at)
    (status,) = statuses(shop.open().state(at), shop.open().graph.select(SHOPS))
    assert (status.state, status.transient) == ("failed", True)
    assert status.next_try_at
    assert f"{status.next_try_at:%H:%M}" == "10:20"
    assert status.why.startswith("next try at 2026-08-03 10:20 UTC, failed 2 times in a row: LakeUnavailable: ")

    shop.raises = ContractError("a breach")
    shop.make(SHOPS, now=at)
    (status,) = statuses(shop.open().state(at), shop.open().graph.select(SHOPS))
    assert (status.state, status.transient, status.next_try_at) == ("failed", False, None)
    assert status.why == "until its inputs or its code change: ContractError: a breach"


def test_the_status_says_that_a_source_that_refuses_is_asked_again_on_schedule(shop: Shop) -> None:
    shop.source.answer("404")
    shop.make(LANDING)
    (status,) = statuses(shop.open().state(), shop.open().graph.select(LANDING))
    assert (status.state, status.why) == ("failed", "until its next scheduled run: SourceError: it refuses")


@pytest.mark.parametrize("error", [*PASSING.values(), *LASTING], ids=lambda error: type(error).__name__)
def test_any_failure_of_the_machine_is_one_line_with_advice(error: Exception) -> None:
    text, is_bug = one_line(error)
    assert "\n" not in text
    assert not (is_bug and in_passing(error))


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        ("IO Error: Could not write file: No space left on device", LakeUnavailable),
        ("Out of Memory Error: failed to allocate data of size 16.0 MiB", TransientError),
        ("Query exhausted resources at this scale factor", TransientError),
        ("Binder Error: Referenced column not found", WarehouseError),
    ],
)
def test_what_an_engine_reports_is_told_apart(found: str, kind: type[CatalunyaError]) -> None:
    error = warehouse_error(f"marts.dim_time: the model failed: {found}", found)
    assert type(error) is kind
    assert found in str(error)

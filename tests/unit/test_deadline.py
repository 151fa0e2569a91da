"""A staging table that reaches its time limit: the attempt stops, and table, lake and lease are as before.

Resuming an extraction is tested in test_resume.py, both layers as Lambda functions in test_lambdas.py.
"""

from __future__ import annotations

import re
import time
from datetime import timedelta
from pathlib import Path

import pytest

from catalunya.assets.making.materialize import materialize
from catalunya.assets.making.request import ProgressEvent, Request
from catalunya.assets.record.lease import holder
from catalunya.assets.record.project import Project
from catalunya.assets.record.verify import verify
from catalunya.io.environment import Settings
from catalunya.io.errors import DeadlineReached, TransientError
from small.lakes import picture
from small.patience import patience
from small.shops import FolderSource, declare, some

LANDING, TABLE = "landing.shops", "staging.shops"


@pytest.fixture
def source(tmp_path: Path) -> FolderSource:
    return FolderSource(tmp_path / "source")


@pytest.fixture
def project(settings: Settings, source: FolderSource) -> Project:
    """A table of five rows, whose source now has nine: five pages, the last with one row."""
    project = Project(settings, declare(source.folder)[1])
    source.write(some(5))
    materialize(project, LANDING)
    materialize(project, TABLE)
    source.write(some(9))
    materialize(project, LANDING)
    return project


def tables(project: Project) -> dict[str, object]:
    """All objects except leases and the ledger, which change with each attempt."""
    found = picture(project.settings.lake)
    return {name: content for name, content in found.items() if not name.startswith(("_leases/", "_ledger/"))}


def stopped(project: Project, ends_at: float, wait_at: str = "") -> DeadlineReached:
    """The error of an attempt that must end by `ends_at`, and waits until then during the step `wait_at`."""

    def wait(progress: ProgressEvent) -> None:
        if progress.step == wait_at and (progress.done or wait_at == "produced"):
            time.sleep(max(0.0, ends_at - time.monotonic()))

    before = tables(project)
    with pytest.raises(DeadlineReached) as raised:
        materialize(project, TABLE, Request(ends_at=ends_at), wait)
    assert tables(project) == before
    assert holder(project.lake, TABLE) is None
    scratch = project.settings.scratch
    assert scratch
    assert not list(scratch.iterdir())
    assert not verify(project).findings
    return raised.value


@pytest.mark.parametrize(
    ("seconds", "wait_at", "message"),
    [
        (
            0.0,
            "",
            r"^staging.shops: time limit reached; 0 of 9 rows were checked, nothing was published",
        ),
        (2.0, "producing", r"^staging.shops: time limit reached; [246] of 9 rows were checked, nothing was"),
        (3.0, "produced", r"^staging.shops: time limit reached; 9 rows were ready to publish"),
    ],
    ids=["before the first page", "between pages", "before it is published"],
)
def test_a_table_at_its_time_limit_is_not_published_and_nothing_has_changed(
    project: Project, seconds: float, wait_at: str, message: str
) -> None:
    error = stopped(project, time.monotonic() + patience(seconds), wait_at)
    assert isinstance(error, TransientError)
    assert "\n" not in str(error)
    assert re.search(message, str(error)), error


def test_the_next_attempt_makes_the_table(project: Project) -> None:
    stopped(project, time.monotonic())
    outcome = materialize(project, TABLE, Request(ends_at=time.monotonic() + patience(60)))
    assert outcome.entry
    assert (outcome.status, outcome.entry.rows) == ("materialized", 9)


def test_the_attempt_is_recorded_as_one_that_passes_and_reconcile_waits_before_the_next(project: Project) -> None:
    stopped(project, time.monotonic())
    state = project.state()
    assert state.stale(TABLE)
    assert not state.failed(TABLE)
    failure, next_try = state.failure(TABLE), state.next_try(TABLE)
    assert failure
    assert next_try
    assert str(failure.error).startswith("DeadlineReached: ")
    assert TABLE not in {stale.key for stale in state.neglected(project.graph)}
    later = project.state(next_try + timedelta(seconds=1))
    assert TABLE in {stale.key for stale in later.neglected(project.graph)}

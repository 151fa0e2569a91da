"""A table that cannot be made in its time: the attempt stops by itself, and the table, the lake and the lease are as before it.
(How an extraction stops and goes on: test_resume.py; both as functions: test_lambdas.py.)"""

from __future__ import annotations

import re
import time
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
from small.shops import FolderSource, declare, some

LANDING, TABLE = "landing.shops", "staging.shops"


@pytest.fixture
def source(tmp_path: Path) -> FolderSource:
    return FolderSource(tmp_path / "source")


@pytest.fixture
def project(settings: Settings, source: FolderSource) -> Project:
    """A table of five rows was made, and its source has nine by now: five pages, the last of one row."""
    project = Project(settings, declare(source.folder)[1])
    source.write(some(5))
    materialize(project, LANDING)
    materialize(project, TABLE)
    source.write(some(9))
    materialize(project, LANDING)
    return project


def tables(project: Project) -> dict[str, object]:
    """All objects but what tells of attempts: leases and the ledger."""
    found = picture(project.settings.lake)
    return {name: said for name, said in found.items() if not name.startswith(("_leases/", "_ledger/"))}


def stopped(project: Project, ends_at: float, wait_at: str = "") -> DeadlineReached:
    """The error of an attempt that ends by `ends_at`, and that waits until then at a step of it, once that has come somewhere."""

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
    ("seconds", "wait_at", "told"),
    [
        (
            0.0,
            "",
            r"^staging.shops: time limit reached; 0 of 9 rows were checked, nothing was published",
        ),
        (2.0, "producing", r"^staging.shops: time limit reached; [24] of 9 rows were checked, nothing was"),
        (3.0, "produced", r"^staging.shops: time limit reached; 9 rows were ready to publish"),
    ],
    ids=["before the first page", "between pages", "before it is published"],
)
def test_a_table_whose_time_is_over_is_not_published_and_all_is_as_it_was(
    project: Project, seconds: float, wait_at: str, told: str
) -> None:
    error = stopped(project, time.monotonic() + seconds, wait_at)
    assert isinstance(error, TransientError)
    assert "\n" not in str(error)
    assert re.search(told, str(error)), error


def test_another_attempt_makes_it(project: Project) -> None:
    stopped(project, time.monotonic())
    outcome = materialize(project, TABLE, Request(ends_at=time.monotonic() + 60))
    assert outcome.entry
    assert (outcome.status, outcome.entry.rows) == ("materialized", 9)


def test_it_counts_as_failed_so_that_nobody_who_looks_for_what_is_stale_begins_it_anew_for_ever(
    project: Project,
) -> None:
    stopped(project, time.monotonic())
    state = project.state()
    assert state.stale(TABLE)
    failed = state.failed(TABLE)
    assert failed
    assert str(failed.error).startswith("DeadlineReached: ")

"""A look when what it reads is broken: the board, the index, Airflow's answers, texts from sources, clocks. It sees the rest, and says so."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from catalunya.assets.making.materialize import materialize
from catalunya.assets.record import index
from catalunya.assets.record.project import Project
from catalunya.io.environment import Settings
from catalunya.io.errors import LakeUnavailable
from catalunya.ops.mock.exchange import Answer
from catalunya.ops.watching.findings import (
    LARGEST,
    PATH,
    Board,
    Finding,
    Kind,
    Seen,
    Severity,
    keep_board,
    read_board,
    updated,
)
from catalunya.ops.watching.look import watch
from small.http_server import Asked, Server
from small.shops import FolderSource, declare, some

LOOK = timedelta(minutes=10)
KEYS = ("landing.shops", "staging.shops", "staging.cities")
TOKEN = Answer(b'{"access_token": "a-token"}', 201)


def shops(settings: Settings, folder: Path) -> tuple[FolderSource, Project]:
    source, declared = declare(folder, page_rows=100)
    project = Project(settings, declared)
    source.write(some(5))
    for key in KEYS:
        materialize(project, key)
    return source, project


@pytest.fixture(scope="module")
def _made(settings_once: Settings) -> None:
    shops(settings_once, Path(settings_once.lake).parent / "source")


@pytest.fixture
def project(_made: None, copied: Settings, tmp_path: Path) -> Project:
    return Project(copied, declare(tmp_path / "source", page_rows=100)[1])


def lake(project: Project) -> Path:
    return Path(project.settings.lake)


def opened(project: Project, at: datetime) -> dict[str, Finding]:
    """What is open after a look at that time, by a lake whose clock shows the same."""
    found = watch(project, at).board.open
    if (board := lake(project) / PATH).exists():
        os.utime(board, (at.timestamp(), at.timestamp()))
    return {each.identity: each for each in found}


ENVELOPE = {"dags": [], "dag_runs": [], "task_instances": [], "import_errors": [], "total_entries": 0}


@pytest.mark.parametrize(
    "body",
    [
        b"<html>Please log in</html>",
        b"",
        b"null",
        b"[]",
        b'"x"',
        b'{"dags": null}',
        b'{"scheduler": null}',
        b'{"scheduler": 3}',
        json.dumps({**ENVELOPE, "dags": [3], "total_entries": 1}).encode(),
        json.dumps({**ENVELOPE, "import_errors": [{}], "total_entries": 1}).encode(),
        json.dumps({**ENVELOPE, "import_errors": [{"filename": "x", "stack_trace": ""}]}).encode(),
        json.dumps({**ENVELOPE, "dag_runs": [{"run_after": "yesterday"}]}).encode(),
        json.dumps({**ENVELOPE, "dag_runs": [{"run_after": "2026-01-01T00:00:00"}]}).encode(),
        b"[" * 100_000,
    ],
    ids=lambda body: body[:40].decode(),
)
def test_something_else_in_airflows_place_is_a_finding_and_the_tables_are_seen(project: Project, body: bytes) -> None:
    def reply(asked: Asked) -> Answer:
        return TOKEN if asked.path == "/auth/token" else Answer(body)

    for path in (lake(project) / "_ledger").rglob("*"):
        if path.is_file() and "cities" in str(path):
            path.write_text("{")
    with Server(reply).running() as server:
        there = Project(
            project.settings.model_copy(update={"airflow_url": server.url}), list(project.declarations.values())
        )
        found = opened(there, datetime.now(UTC))

    assert found["process_silent:api-server"].cause
    assert "ledger_unreadable:staging.cities" in found


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b"[" * 100_000,
        b'{"findings": null}',
        b'{"findings": [{"kind": "x"}]}',
        b'{"at": "2026-01-01T00:00:00"}',
        b'{"at": "9999-12-31T23:59:59Z"}',
        b'{"at": "0001-01-01T00:00:00Z"}',
        b'{"stale_since": {"staging.shops": "9999-12-31T23:59:59Z"}}',
        b'{"thorough_at": "9999-12-31T23:59:59Z"}',
    ],
)
def test_a_board_that_cannot_be_or_is_of_another_time_is_replaced(project: Project, content: bytes) -> None:
    now = datetime.now(UTC)
    watch(project, now)
    (lake(project) / PATH).write_bytes(content)
    opened(project, now + LOOK)
    assert opened(project, now + 2 * LOOK) == {}
    assert read_board(project.lake).at in {now + LOOK, now + 2 * LOOK}


@pytest.mark.parametrize("content", [b"", b"x", b"PAR1", b"PAR1" + bytes(100) + b"PAR1"])
def test_an_index_that_cannot_be_read_is_built_again(project: Project, content: bytes) -> None:
    now = datetime.now(UTC)
    watch(project, now)
    (lake(project) / index.PATH).write_bytes(content)
    assert opened(project, now) == {}
    assert len((lake(project) / index.PATH).read_bytes()) > 1000


@pytest.mark.parametrize(
    "text", ["\ud800", "\x1b[2J", "a\nfinding: b", "\u202e", "x" * 5_000_000, "Authorization: Bearer abcdefgh12345678"]
)
def test_a_finding_is_safe_to_keep_and_to_show(project: Project, text: str) -> None:
    now = datetime.now(UTC)
    seen = Seen(
        kind=Kind.TASK_FAILED, subject=f"ops.{text}", severity=Severity.ERROR, what=text, cause=text, remedy=text
    )
    board, _ = updated(Board(), [seen], now)
    board, changes = updated(board, [seen], now + LOOK)
    keep_board(project.lake, board)
    (kept,) = read_board(project.lake).open
    assert not changes.opened  # it is the same finding as before
    for each in (kept.subject, kept.what, kept.cause, kept.remedy):
        assert len(each) <= 2100
        assert each.isprintable()
        assert "abcdefgh12345678" not in each


@pytest.mark.parametrize(
    ("measure", "expected"), [(float("nan"), 0), (float("inf"), LARGEST), (-3.0, 0), (1e300, LARGEST)]
)
def test_a_measure_that_cannot_be_does_not_cost_the_board(project: Project, measure: float, expected: float) -> None:
    now = datetime.now(UTC)
    seen = Seen(kind=Kind.ROWS_UNUSUAL, subject="x", severity=Severity.ERROR, what="a", remedy="b", measure=measure)
    keep_board(project.lake, updated(Board(), [seen], now)[0])
    (kept,) = read_board(project.lake).open
    assert kept.measure == expected


def test_a_table_that_a_clock_ahead_saw_stale_is_not_forgotten_when_the_clock_is_right(
    settings: Settings, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    _, project = shops(settings, tmp_path / "source")
    ahead = {key: now + timedelta(days=365) for key in KEYS}
    watch(project, now)
    keep_board(project.lake, Board(at=now, stale_since=ahead))
    entry = next(
        path
        for path in (lake(project) / "_ledger").rglob("*")
        if path.is_file() and "staging" in str(path) and "shops" in path.parts[-2]
    )
    entry.unlink()  # never made: nothing in the ledger says since when
    watch(project, now + LOOK)
    late = opened(project, now + timedelta(hours=8))
    assert {key for key in late if "stale" in key} == {"table_stale:landing.shops"}  # its batch is gone


@pytest.fixture
def full(project: Project) -> Iterator[Project]:
    """The project on a disk of its own that is full."""
    root = lake(project)
    held = root.with_name("held")
    root.rename(held)
    root.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(root)], capture_output=True, check=False, text=True
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    subprocess.run(["cp", "-r", f"{held}/.", str(root)], check=True)
    with (root / "full").open("wb") as file:
        while os.statvfs(root).f_bavail:
            file.write(b"x" * 4096)
            file.flush()
    yield project
    subprocess.run(["umount", str(root)], check=True)


def test_on_a_full_disk_the_look_says_so_and_fails_because_it_cannot_be_kept(full: Project) -> None:
    now = datetime.now(UTC)
    for _ in range(2):
        with capture_logs() as logs, pytest.raises(LakeUnavailable, match="no space left"):
            watch(full, now)
        events = [line["event"] for line in logs]
        assert events[:1] == ["board_not_kept"]
        assert "watched" in events
        (found,) = [line for line in logs if line["event"] == "finding_opened"]
        assert (found["kind"], found["subject"]) == (Kind.DISK_FULL, "lake")


def test_looks_at_the_same_time_leave_a_board_that_can_be_read(project: Project) -> None:
    now = datetime.now(UTC)
    for path in (lake(project) / "_ledger").rglob("*"):
        if path.is_file() and "cities" in str(path):
            path.write_text("{")
    again = [Project(project.settings, list(project.declarations.values())) for _ in range(6)]
    with ThreadPoolExecutor(len(again)) as pool:
        looks = list(pool.map(lambda each: watch(each, now), again))
    expected = {"ledger_unreadable:staging.cities"}
    assert all({found.identity for found in each.board.open} == expected for each in looks)
    assert {found.identity for found in read_board(project.lake).open} == expected

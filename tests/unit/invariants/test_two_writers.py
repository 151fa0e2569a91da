"""Invariant 9: two writers never mix. Real processes hold, lose and take over the lease of one asset."""

from __future__ import annotations

import os
import shutil
import signal
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from catalunya.assets.making.materialize import materialize
from catalunya.assets.record.lease import Held, holder, lease
from catalunya.assets.record.project import Project
from catalunya.io.environment import Settings, load_settings
from catalunya.io.errors import LeaseHeld
from catalunya.io.lake import Lake
from small.killing import elsewhere, hold_and_die, make_and_stop_before_publishing
from small.lakes import picture
from small.patience import patience, wait_until
from small.shops import declare, some

KEY = "landing.shops"


def test_9_a_second_writer_is_refused_while_the_first_is_running(settings: Settings, tmp_path: Path) -> None:
    source, declared = declare(tmp_path / "source")
    source.write(some(3))
    project = Project(settings, declared)
    with lease(project.lake, KEY, "the-first", 60), pytest.raises(LeaseHeld, match="being made by run the-first"):
        materialize(project, KEY)
    assert materialize(project, KEY).status == "materialized"


def test_9_a_writer_whose_lease_expired_while_it_was_stopped_records_nothing(
    settings: Settings, tmp_path: Path
) -> None:
    source, declared = declare(tmp_path / "source")
    source.write(some(3))
    short = load_settings(**{**settings.model_dump(), "lease_s": 0.5})
    result = tmp_path / "result.txt"
    sleeper = elsewhere(make_and_stop_before_publishing, short, tmp_path / "source", result)
    assert sleeper.pid
    wait_until(lambda: is_stopped(sleeper.pid), 30)
    project = Project(short, declared)
    time.sleep(0.6)
    assert materialize(project, KEY).status == "materialized"
    recorded = picture(settings.lake)
    os.kill(sleeper.pid, signal.SIGCONT)
    sleeper.join(patience(30))
    assert result.read_text() == "lost"
    assert (
        picture(settings.lake)["_ledger/landing/shops/0000000001.json"]
        == recorded["_ledger/landing/shops/0000000001.json"]
    )
    assert len(project.ledger.history(KEY)) == 1


def is_stopped(pid: int) -> bool:
    """Whether the process is stopped by a signal (state T)."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "T"


def test_9_the_lease_of_a_dead_process_on_this_machine_is_taken_over_at_once(
    settings: Settings, tmp_path: Path
) -> None:
    lake = Lake(settings.lake)
    held = elsewhere(hold_and_die, settings.lake)
    held.join(patience(30))
    assert held.exitcode == -signal.SIGKILL
    assert holder(lake, KEY) is None
    with lease(lake, KEY, "the-next", 60) as mine:
        assert mine.generation == 2


def test_9_the_lease_of_another_machine_is_respected_until_it_expires(settings: Settings) -> None:
    lake = Lake(settings.lake)
    path = "_leases/landing/shops/0000000001.json"
    theirs = Held("theirs", "another-host", 1, datetime.now(UTC) + timedelta(seconds=60))
    lake.put(path, msgspec.json.encode(theirs))
    with pytest.raises(LeaseHeld, match="on another-host"), lease(lake, KEY, "ours", 60):
        pass
    lake.put(path, msgspec.json.encode(msgspec.structs.replace(theirs, expires_at=datetime.now(UTC))))
    with lease(lake, KEY, "ours", 60) as mine:
        mine.check()


def test_9_a_lease_is_renewed_while_its_holder_is_working(settings: Settings) -> None:
    lake = Lake(settings.lake)
    with lease(lake, KEY, "long", patience(0.3)):
        time.sleep(patience(0.7))
        held = holder(lake, KEY)
        assert held
        assert held.run_id == "long"
    assert holder(lake, KEY) is None


def hold_elsewhere(lake: Lake, **changes: object) -> Path:
    """The lease of a run on another machine, as its object is in the lake."""
    held = {
        "run_id": "theirs",
        "host": "another-host",
        "pid": 1,
        "expires_at": datetime.now(UTC) + timedelta(seconds=60),
    }
    path = "_leases/landing/shops/0000000001.json"
    lake.put(path, msgspec.json.encode({**held, **changes}))
    return Path(lake.root, path)


@pytest.mark.parametrize("years", [-30, 30])
@pytest.mark.parametrize("stated", [True, False])
def test_9_a_lease_lasts_as_long_as_it_says_whatever_the_clock_of_its_holder(
    settings: Settings, years: int, stated: bool
) -> None:
    lake, seconds = Lake(settings.lake), patience(1.0)
    says = {"seconds": seconds} if stated else {}
    expires = datetime.now(UTC) + timedelta(days=365 * years)
    path = hold_elsewhere(lake, expires_at=expires, **says)
    if stated or years > 0:  # the lease of an earlier release says nothing else
        assert holder(lake, KEY, seconds)
        with pytest.raises(LeaseHeld, match=rf"until its lease ends at {datetime.now(UTC):%Y-%m-%d} "):
            take(lake, seconds)
    backdate(path, seconds + 1)
    assert holder(lake, KEY, seconds) is None
    take(lake, seconds)


def test_9_a_lease_dated_in_the_future_ends_as_long_after_it_was_read_as_it_lasts(settings: Settings) -> None:
    lake, seconds = Lake(settings.lake), patience(0.5)
    path = hold_elsewhere(lake, seconds=seconds, expires_at=datetime.now(UTC) + timedelta(days=9000))
    backdate(path, -9000 * 86_400)
    assert holder(lake, KEY) is None, "so that the reconciliation triggers a run, which reads it"
    with pytest.raises(LeaseHeld):
        take(lake, seconds)
    wait_until(lambda: takes(lake, seconds), 10 * seconds)


def test_9_a_lease_that_cannot_be_read_ends_by_itself(settings: Settings) -> None:
    lake = Lake(settings.lake)
    for content in (
        b"",
        b"{",
        b"null",
        b'{"run_id": 7}',
        b"\xff",
        b'{"run_id":"a","host":"b","pid":-1,"expires_at":"2026-01-01"}',
    ):
        lake.put("_leases/landing/shops/0000000001.json", content)
        held = holder(lake, KEY)
        assert held
        with pytest.raises(
            LeaseHeld, match=r"0000000001\.json cannot be read; wait for it, or until its lease ends at 20"
        ):
            take(lake, 60)
    backdate(Path(lake.root, "_leases/landing/shops/0000000001.json"), 61)
    take(lake, 60)


def test_9_a_lease_that_cannot_be_released_does_not_hide_how_the_run_ended(settings: Settings) -> None:
    lake = Lake(settings.lake)
    folder = Path(lake.root, "_leases/landing/shops")

    def fail() -> None:
        with lease(lake, KEY, "ours", 60):
            shutil.rmtree(folder)
            folder.write_bytes(b"in the way")
            raise ValueError("the first error")

    with pytest.raises(ValueError, match="the first error"):
        fail()


def take(lake: Lake, seconds: float) -> None:
    with lease(lake, KEY, "ours", seconds) as mine:
        mine.check()


def takes(lake: Lake, seconds: float) -> bool:
    try:
        take(lake, seconds)
    except LeaseHeld:
        return False
    return True


def backdate(path: Path, seconds: float) -> None:
    """Let the store say that the object was written so many seconds ago."""
    at = time.time() - seconds
    os.utime(path, (at, at))

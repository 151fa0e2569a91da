"""Invariant 9, further: when a lease ends, whatever the clocks say. In a folder, whose times a test can set."""

from __future__ import annotations

import os
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from catalunya.assets.record.lease import holder, lease
from catalunya.io.environment import Settings
from catalunya.io.errors import LeaseHeld
from catalunya.io.lake import Lake
from small.patience import patience, wait_until

KEY = "landing.shops"


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

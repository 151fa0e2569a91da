"""Invariant 9: two writers never mix. Real processes hold, lose and take over the lease of one asset."""

from __future__ import annotations

import os
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

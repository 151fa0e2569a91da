"""What is wrong around the tables: disks that fill up, clocks that differ, backups that are too old.

Not here: the tables (`tables.py`), Airflow (`airflow.py`).
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from catalunya.assets.record.project import Project
from catalunya.io.errors import CatalunyaError
from catalunya.ops.backup.store import Store, is_overdue
from catalunya.ops.watching.findings import Board, Kind, Seen, Severity

NEARLY_FULL, FULL = 0.05, 0.01
"""The share of a disk that is free."""
SKEW = timedelta(minutes=2)


def see_disks(project: Project) -> Iterator[Seen]:
    """Disks of this machine that are nearly full, each once: where temporary files are, and the lake if it is a folder."""
    settings = project.settings
    places = {"temporary files": settings.scratch or Path(tempfile.gettempdir())}
    if "://" not in settings.lake:
        places["lake"] = Path(settings.lake)
    disks: dict[int, list[str]] = {}
    for name, place in places.items():
        at = next((each for each in (place, *place.absolute().parents) if each.exists()), None)
        if at is not None:
            disks.setdefault(at.stat().st_dev, []).append(name)
            places[name] = at
    for names in disks.values():
        name, at = " and ".join(names), places[names[-1]]
        usage = shutil.disk_usage(at)
        free = usage.free / usage.total if usage.total else 1.0
        if free < NEARLY_FULL:
            yield Seen(
                kind=Kind.DISK_FULL,
                subject=name,
                severity=Severity.ERROR if free < FULL else Severity.WARNING,
                what=f"the disk of the {name} is {100 - 100 * free:.0f} % full: {usage.free / 2**20:,.0f} MB are free at {at}",
                remedy="free space (`catalunya prune` deletes what has expired), or point CATALUNYA_LAKE or CATALUNYA_SCRATCH at another disk",
                measure=100 - 100 * free,
            )


def one_per_disk(seen: Iterable[Seen]) -> list[Seen]:
    """What was seen, with the tables that could not be made on a full disk (`disk_full:tables`) as part of what was seen of the disk."""
    found = list(seen)
    tables = next((each for each in found if each.identity == f"{Kind.DISK_FULL}:tables"), None)
    disk = next((each for each in found if each.kind is Kind.DISK_FULL and each is not tables), None)
    if tables is None or disk is None:
        return found
    both = replace(
        disk,
        severity=Severity.ERROR,
        what=f"{disk.what}; {tables.what.partition(': ')[2]}",
        cause=tables.cause,
        since=tables.since,
        affected=tables.affected,
    )
    return [both if each is disk else each for each in found if each is not tables]


def see_clock(board: Board, written: datetime | None) -> Iterator[Seen]:
    """A clock that differs from the lake's: the last look says when it kept the board by its own, the lake says when by the other."""
    if board.at is None or written is None or abs(written - board.at) < SKEW:
        return
    minutes = abs(written - board.at) / timedelta(minutes=1)
    yield Seen(
        kind=Kind.CLOCK_WRONG,
        subject="lake",
        severity=Severity.ERROR,
        what=f"the clock of this machine and the lake's differ by {minutes:.0f} min",
        cause=f"the last look was at {board.at:%H:%M:%S} UTC by this machine, and was stored at {written:%H:%M:%S} UTC by the lake",
        remedy="set the clock of this machine (`timedatectl status`)",
        measure=minutes,
    )


def see_backups(project: Project, now: datetime) -> Iterator[Seen]:
    """A backup that is older than the recovery point objective allows, or backups that cannot be read."""
    settings = project.settings
    if not settings.rpo_hours:
        return
    what = "backups"
    try:
        newest = Store.of(settings).newest_complete(settings.env)
    except CatalunyaError as error:
        yield Seen(
            kind=Kind.BACKUP_OLD,
            subject=what,
            severity=Severity.ERROR,
            what="the backups cannot be read",
            cause=str(error),
            remedy="`catalunya backup list`",
        )
        return
    if is_overdue(newest, settings.rpo_hours, now):
        age = (now - newest.began_at) / timedelta(hours=1) if newest else 0.0
        yield Seen(
            kind=Kind.BACKUP_OLD,
            subject=what,
            severity=Severity.ERROR,
            what=f"the last complete backup is {age:.0f} h old" if newest else "there is no complete backup",
            cause=f"the recovery point objective is {settings.rpo_hours} h",
            remedy="see the runs of ops.backup in Airflow, or run `catalunya backup`",
            since=newest.began_at if newest else None,
            measure=age,
        )

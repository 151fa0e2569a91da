"""How many backups are kept: all of the last two days, then the last of each day, then the last of each week; the newest always.

Manifests go first, then every content that no manifest speaks of. Killed in between, the next tidying up ends it. Here: what goes,
and its going. Not here: making backups (`make.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog

from catalunya.assets.record.lease import lease
from catalunya.io.environment import Settings
from catalunya.ops.backup.records import Backup
from catalunya.ops.backup.store import LEASE, Store, content_path, manifest_path

log = structlog.get_logger(__name__)

ALL = timedelta(hours=48)


@dataclass(slots=True)
class Tidied:
    """Which backups went, or would, and how many contents with them."""

    backups: list[str] = field(default_factory=list)
    objects: int = 0
    bytes: int = 0


def expired(backups: Iterable[Backup], now: datetime, *, days: int, weeks: int) -> list[Backup]:
    """The backups that are not kept, of each lake by itself, oldest first. One that is not whole never stands for a day or a week."""
    lakes: dict[str, list[Backup]] = {}
    for each in sorted(backups, key=lambda each: each.began_at):
        lakes.setdefault(each.lake, []).append(each)
    return [each for of_one in lakes.values() for each in _expired(of_one, now, days=days, weeks=weeks)]


def _expired(backups: Sequence[Backup], now: datetime, *, days: int, weeks: int) -> list[Backup]:
    kept = {each.name for each in backups if each.began_at > now - ALL} | {backups[-1].name}
    whole = [each for each in backups if each.is_whole]
    for span, name in ((timedelta(days=days), "%Y-%m-%d"), (timedelta(weeks=weeks), "%G-W%V")):
        last = {f"{each.began_at:{name}}": each for each in whole if each.began_at > now - span}
        kept |= {each.name for each in last.values()}
    kept |= {each.name for each in whole[-1:]}
    return [each for each in backups if each.name not in kept]


def tidy(
    store: Store, settings: Settings, run_id: str, *, now: datetime | None = None, dry_run: bool = False
) -> Tidied:
    """Remove the backups that are not kept, and contents that no backup speaks of. Safe to kill and to run again.

    Raises LeaseHeld while a backup is made, BackupError, nothing removed, when a manifest or an inventory cannot be read.
    """
    now = now or datetime.now(UTC)
    if dry_run:
        return _tidy(store, settings, now, dry_run=True)
    with lease(store.lake, LEASE, run_id, settings.lease_s) as held:
        held.check()
        return _tidy(store, settings, now, dry_run=False)


def _tidy(store: Store, settings: Settings, now: datetime, *, dry_run: bool) -> Tidied:
    backups = store.backups(strict=True)  # what one speaks of that cannot be read is not to go
    going = expired(backups, now, days=settings.backup_days, weeks=settings.backup_weeks)
    names = {each.name for each in going}
    needed: set[str] = set()
    for each in backups:
        if each.name not in names:
            needed |= {each.inventory, *(item.sha256 for item in store.inventory(each))}
            needed |= {each.airflow} if each.airflow else set()
    unneeded = {sha256: size for sha256, size in store.contents().items() if sha256 not in needed}
    if not dry_run:
        store.lake.delete([manifest_path(each.name) for each in going])
        store.lake.delete([content_path(sha256) for sha256 in sorted(unneeded)])
        log.info("backups_tidied", backups=len(going), objects=len(unneeded), bytes=sum(unneeded.values()))
    return Tidied(sorted(names), len(unneeded), sum(unneeded.values()))

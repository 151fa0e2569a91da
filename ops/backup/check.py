"""Proof that a backup can be restored: every content it speaks of is there and is what its name says; and that it is young enough.

Nothing is changed. Not here: proof of a lake (`assets/record/verify.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from catalunya.io.errors import BackupError
from catalunya.ops.backup.records import Backup
from catalunya.ops.backup.snapshot import READERS
from catalunya.ops.backup.store import Store

# A backup takes its time, and is of the moment it began.
GRACE = timedelta(minutes=30)


@dataclass(slots=True)
class Checked:
    """What was looked at, and what is wrong: each a line that says what to do."""

    backup: str
    objects: int = 0
    bytes: int = 0
    wrong: list[str] = field(default_factory=list)


def check(
    store: Store, backup: Backup, *, quick: bool = False, tell: Callable[[str], None] = lambda _: None
) -> Checked:
    """Read and hash every content of a backup; `quick` compares sizes only. Raises LakeError when the store cannot be read."""
    found = Checked(backup.name)
    found.wrong += [f"{path}: {why}" for path, why in backup.missing.items()]
    found.wrong += [f"Airflow was not backed up: {backup.airflow_problem}"] if backup.airflow_problem else []
    try:
        items = store.inventory(backup)
    except BackupError as error:
        found.wrong.append(str(error))
        return found
    needed = {item.sha256: item.bytes for item in items}
    there = store.contents()
    if backup.airflow:
        needed[backup.airflow] = there.get(backup.airflow, 0)
    tell(f"{len(needed):,} contents")
    with ThreadPoolExecutor(READERS) as pool:
        wrongs = pool.map(lambda sha256: _wrong_with(store, sha256, needed[sha256], there, quick=quick), needed)
        found.wrong += [wrong for wrong in wrongs if wrong]
    found.objects, found.bytes = len(needed), sum(needed.values())
    return found


def is_late(newest: Backup | None, rpo_hours: int, now: datetime | None = None) -> bool:
    """Whether a disaster now would cost more than it may: by the newest backup that is whole."""
    if not rpo_hours:
        return False
    return newest is None or (now or datetime.now(UTC)) - newest.began_at > timedelta(hours=rpo_hours) + GRACE


def _wrong_with(store: Store, sha256: str, size: int, there: dict[str, int], *, quick: bool) -> str | None:
    if there.get(sha256) != size:
        return f"{sha256}: expected {size:,} bytes, found {f'{there[sha256]:,}' if sha256 in there else 'none'}; take an older backup"
    try:
        return None if quick or store.digest(sha256) == sha256 else str(store.rotten(sha256))
    except BackupError as error:
        return str(error)

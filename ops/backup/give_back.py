"""Giving one asset back to a lake: objects first, its ledger last, because the record is the commit point.

Into a lake that has nothing else of the asset, its ledger comes back as it was, the newest entry first: whatever number comes after
it is the next one, and no older entry is ever taken for the table. Into one that has gone on, nothing is turned back: the table is
published again under the next number, what it replaces is kept beside it, and what is made from it becomes stale. Everything is read
and hashed before anything is written. Safe to kill at any instruction and to run again. Only for the holder of the asset's lease.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from catalunya.assets.graph.spec import Layer
from catalunya.assets.record.lease import Lease
from catalunya.assets.record.ledger import COMPACTED, Entry, Ledger
from catalunya.assets.record.project import Project
from catalunya.assets.record.retention import keep_superseded
from catalunya.io.errors import BackupError
from catalunya.io.lake import Lake
from catalunya.ops.backup.compare import Compared
from catalunya.ops.backup.records import Item
from catalunya.ops.backup.snapshot import READERS
from catalunya.ops.backup.store import Store

RESTORED = "RESTORED"  # the reason of an entry that publishes a backup's table again


def fill(project: Project, store: Store, compared: Compared, held: Lease) -> None:
    """Give the lake what it lacks of the asset. Raises BackupError, nothing written, when the backup lacks it itself."""
    with _fetched(project, store, compared.objects) as local:
        entries = {item.path: store.get(item.sha256) for item in compared.ledger}
        held.check()
        _put(project.lake, local)
        held.check()
        _record(project.lake, entries)


def publish(project: Project, store: Store, compared: Compared, run_id: str, held: Lease) -> Entry | None:
    """Publish the backup's table as the asset's next entry; None where the lake has that very table.

    Raises BackupError, nothing written, when the backup does not hold it.
    """
    began = time.monotonic()
    lake, target, asset = project.lake, compared.target, project.graph[compared.key]
    if target is None:
        raise BackupError(
            f"{asset.key}: expected its table in the backup, found only attempts that failed; take another"
        )
    ledger = Ledger(lake)
    latest, last = ledger.latest(asset.key), ledger.last_attempt(asset.key)
    number = last.sequence if last else 0
    paths = {stored.path for stored in target.objects}
    with _fetched(project, store, compared.objects) as local:
        # Entries of higher numbers than the lake's would come after it.
        entries = {item.path: store.get(item.sha256) for item in compared.ledger if _number(item.path) < number}
        held.check()
        if asset.layer is not Layer.LANDING and paths & local.keys():
            keep_superseded(lake, asset, latest, target.objects)
        _put(lake, local)
        if asset.layer is not Layer.LANDING:
            lake.delete([found.path for found in lake.objects(asset.prefix) if found.path not in paths])
    held.check()
    _record(lake, entries)
    if latest and is_same(latest, target):
        return None
    entry = replace(
        target,
        run_id=run_id,
        correlation_id=run_id,
        reason=RESTORED,
        started_at=datetime.now(UTC),
        seconds=time.monotonic() - began,
    )
    return ledger.append(entry, after=number)


@contextmanager
def _fetched(project: Project, store: Store, items: Iterable[Item]) -> Iterator[Mapping[str, Path]]:
    """The contents of these items as files of this machine, by their path in the lake: all of them, each proven, or none."""
    items = list(items)
    with tempfile.TemporaryDirectory(prefix="catalunya-", dir=project.settings.scratch) as folder:
        local = {item.path: Path(folder, item.sha256) for item in items}
        with ThreadPoolExecutor(READERS) as pool:
            list(pool.map(lambda sha256: store.fetch(sha256, Path(folder, sha256)), {item.sha256 for item in items}))
        yield local


def _put(lake: Lake, local: Mapping[str, Path]) -> None:
    with ThreadPoolExecutor(READERS) as pool:
        list(pool.map(lambda path: lake.put(path, local[path]), local))
    lake.sync(sorted(local))


def _record(lake: Lake, entries: Mapping[str, bytes]) -> None:
    """Write ledger objects, the highest number first; those that were merged, which are the oldest, last."""
    for path in sorted(entries, key=_number, reverse=True):
        if not lake.create(path, entries[path]):
            lake.put(path, entries[path])  # of one that was lost: nobody can read it, or it stands for the lost one
    lake.sync(sorted(entries))


def _number(path: str) -> int:
    name = PurePosixPath(path).name
    return 0 if name == COMPACTED else int(name.partition(".")[0])


def is_same(one: Entry, other: Entry) -> bool:
    """Whether two entries are of the same table, made by the same code, of the same state of its source."""
    return (one.data_version, one.code_version, one.source_version) == (
        other.data_version,
        other.code_version,
        other.source_version,
    )

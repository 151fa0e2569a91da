"""Making a backup: everything that is wanted and not kept yet is kept, then the manifest makes a backup of it.

Incremental by content: what was kept by any backup is not read again. Safe to kill at any instruction and to run again: content
without a manifest is nothing, and is there already for the next one. One backup, or one tidying up, at a time: the store has a
lease. Here: the order of it. Not here: what is wanted (`snapshot.py`), how it lies there (`store.py`).
"""

from __future__ import annotations

import gzip
import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

import structlog

from catalunya.assets.graph.spec import Layer
from catalunya.assets.record.lease import holder, lease
from catalunya.assets.record.project import Project
from catalunya.io.errors import BackupError, CatalunyaError, LakeError
from catalunya.ops.backup.records import Backup, Item, Saved, lines
from catalunya.ops.backup.snapshot import READERS, Snapshot, Wanted, keys, snapshot
from catalunya.ops.backup.store import LEASE, Store, content_path, copied

log = structlog.get_logger(__name__)

_LOOKS = 3

Export = Callable[[], Mapping[str, Any]]


def back_up(
    project: Project,
    run_id: str,
    *,
    store: Store | None = None,
    airflow: Export | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Backup:
    """Make a backup of the lake and of what `airflow` exports, in the `store` (by default the settings'); `run_id` becomes its name,
    `tell` hears each asset's key.

    What cannot be saved is named in the backup (`missing`, `airflow_problem`), which holds everything else: see `is_whole`. Raises
    LeaseHeld while another backup is made, LakeError when lake or store cannot be read or written.
    """
    store = store or Store.of(project.settings)
    with (
        lease(store.lake, LEASE, run_id, project.settings.lease_s) as held,
        tempfile.TemporaryDirectory(prefix="catalunya-", dir=project.settings.scratch) as scratch,
    ):
        making = _Making(project, store, Path(scratch))
        taken = making.take(tell)
        tell("Airflow")
        exported, problem = making.export(airflow)
        backup = making.manifest(run_id, taken, exported, problem)
        store.lake.sync([content_path(sha256) for sha256 in making.new])
        held.check()
        store.seal(backup)
    log.info("backup_sealed", backup=backup.name, objects=backup.objects, bytes=backup.bytes, new=backup.new_bytes)
    for path, why in backup.missing.items():
        log.error("not_backed_up", backup=backup.name, path=path, why=why)
    if problem:
        log.error("airflow_not_backed_up", backup=backup.name, why=problem)
    return backup


@dataclass
class _Making:
    """One backup on its way: what was there before, and what it adds."""

    project: Project
    store: Store
    scratch: Path
    began_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    new: dict[str, int] = field(default_factory=dict)
    items: list[Item] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.started = time.monotonic()
        self.lock = Lock()
        self.there = self.store.contents()
        mine = [each for each in self.store.backups() if each.lake == self.project.lake.root]
        self.before: dict[str, Item] = {}
        with suppress(BackupError):  # without it, more is read than need be
            self.before = {item.path: item for item in self.store.inventory(mine[-1])} if mine else {}

    def take(self, tell: Callable[[str], None]) -> list[Snapshot]:
        """Keep what is wanted of every asset."""
        graph, lake, taken = self.project.graph, self.project.lake, []
        landing = {asset.key for asset in graph if asset.layer is Layer.LANDING and graph.downstream(asset.key)}
        used: dict[str, list[str]] = {}
        for key in keys(lake, graph):
            tell(key)
            found = self._asset(key, used.get(key, []) if key in landing else None)
            for up, version in found.latest.versions.items() if found.latest else ():
                used.setdefault(up, []).append(version)
            taken.append(found)
        return taken

    def export(self, airflow: Export | None) -> tuple[str | None, str]:
        """Keep what Airflow exports; the content, and what was wrong."""
        if airflow is None:
            return None, ""
        try:
            exported = airflow()
        except CatalunyaError as error:
            return None, str(error)  # the lake's part is worth sealing all the same
        return self._keep(gzip.compress(json.dumps(exported, sort_keys=True).encode(), mtime=0)), ""

    def manifest(self, name: str, taken: list[Snapshot], airflow: str | None, problem: str) -> Backup:
        """The manifest of all that was kept."""
        inventory = self._keep(lines(self.items))
        made = {one.asset: one.latest for one in taken if one.latest}
        return Backup(
            name=name,
            env=self.project.settings.env,
            lake=self.project.lake.root,
            began_at=self.began_at,
            seconds=round(time.monotonic() - self.started, 3),
            inventory=inventory,
            airflow=airflow,
            airflow_problem=problem,
            assets={
                key: Saved(
                    sequence=latest.sequence,
                    data_version=latest.data_version,
                    recorded_at=latest.recorded_at,
                    rows=latest.rows,
                    bytes=latest.bytes,
                )
                for key, latest in sorted(made.items())
            },
            missing=self.missing,
            objects=len(self.items),
            bytes=sum(item.bytes for item in self.items),
            new_objects=len(self.new),
            new_bytes=sum(self.new.values()),
        )

    def _asset(self, key: str, used: list[str] | None) -> Snapshot:
        """One asset, and again if a run changed it meanwhile."""
        for _ in range(_LOOKS):
            found = snapshot(self.project.lake, key, used)
            with ThreadPoolExecutor(READERS) as pool:
                items = list(pool.map(lambda wanted: self._item(key, wanted), found.wanted))
            gone = {w.path: _why(w) for w, item in zip(found.wanted, items, strict=True) if w.needed and not item}
            if not gone or (not holder(self.project.lake, key) and self._is_latest(found)):
                break
        self.missing |= found.missing | gone
        self.items += [item for item in items if item]
        for path, content in found.ledger.items():
            self.items.append(Item(asset=key, path=path, bytes=len(content), sha256=self._keep(content)))
        return found

    def _is_latest(self, found: Snapshot) -> bool:
        now = self.project.ledger.latest(found.asset)
        return bool(now and found.latest and now.sequence == found.latest.sequence)

    def _item(self, key: str, wanted: Wanted) -> Item | None:
        """Keep one object; None when it is nowhere with the content it should have."""
        modified = wanted.found.modified if wanted.found else None
        known = wanted.sha256 or self._known(wanted)
        if known and self.there.get(known) == wanted.bytes:
            return Item(asset=key, path=wanted.path, bytes=wanted.bytes, sha256=known, modified=modified)
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            local = Path(folder, "object")
            for place in wanted.places:
                try:
                    sha256 = copied(self.project.lake, place, local)
                except LakeError:
                    if self.project.lake.exists(place):
                        raise
                    continue
                if wanted.sha256 in (None, sha256):
                    size = local.stat().st_size
                    self._keep_as(sha256, local, size)
                    return Item(asset=key, path=wanted.path, bytes=size, sha256=sha256, modified=modified)
        return None

    def _known(self, wanted: Wanted) -> str | None:
        """The hash that the last backup found, of an object that nobody has written since."""
        before = self.before.get(wanted.path)
        if before is None or wanted.found is None:
            return None
        return before.sha256 if (before.bytes, before.modified) == (wanted.bytes, wanted.found.modified) else None

    def _keep(self, content: bytes) -> str:
        sha256 = hashlib.sha256(content).hexdigest()
        self._keep_as(sha256, content, len(content))
        return sha256

    def _keep_as(self, sha256: str, body: bytes | Path, size: int) -> None:
        with self.lock:  # equal contents may come at once
            if self.there.get(sha256) == size:
                return
            self.there[sha256] = self.new[sha256] = size
        self.store.put(sha256, body)


def _why(wanted: Wanted) -> str:
    return f"expected the object that the ledger speaks of ({wanted.bytes:,} bytes), found none with its content; `catalunya verify` tells more"

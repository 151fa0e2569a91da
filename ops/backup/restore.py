"""Restoring a lake from a backup, all of it or some assets.

No asset is touched before the leases of all are held, so that no run makes one meanwhile. Each is compared with the lake first; where the
lake has something that the backup does not have, nothing is touched unless the caller asks to replace it. An asset whose content the
backup has lost is reported as failed; the others are restored.

For one asset everything is read and hashed before anything is written; then come its objects, and its ledger last, because the record
is the commit point. Where the lake has nothing newer of the asset, its ledger is restored as it was, the newest entry first: the next
number follows it, and no reader takes an older entry for the table. Where the lake is ahead, no entry is undone: the table is published
again under the next number, what it replaces is kept as superseded, and what is made from it becomes stale. Safe to kill at any
instruction and to run again. Not here: Airflow's settings (`airflow.py`).
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import structlog

from catalunya.assets.graph.spec import Asset, Layer
from catalunya.assets.record import catalog_tables
from catalunya.assets.record.lease import Lease, lease
from catalunya.assets.record.ledger import REPAIRED, Entry, Ledger, decode, number_of
from catalunya.assets.record.project import Project
from catalunya.assets.record.retention import keep_superseded
from catalunya.io.errors import CatalogError, LedgerError, UsageError
from catalunya.io.lake import Lake
from catalunya.ops.backup.store import READERS, Backup, BackupError, Item, Store

log = structlog.get_logger(__name__)

RESTORED = "RESTORED"  # the reason of an entry that publishes a backup's table again

Outcome = Literal["unchanged", "restored", "published", "conflict", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What happened to one asset, or would: `unchanged`, `restored` as it was, `published` as a new entry, left alone because the lake
    has something else (`conflict`), or `failed`. `sequence`, `recorded_at` and `rows` are of its table."""

    asset: str
    outcome: Outcome
    why: str = ""
    objects: int = 0
    bytes: int = 0
    sequence: int | None = None
    recorded_at: datetime | None = None
    rows: int | None = None


@dataclass(slots=True)
class _Change:
    """What restoring one asset would do to the lake. `table` is the backup's entry that says what its table was.

    `ledger` and `objects` are what the lake lacks, `foreign` what it has and the backup does not, `extra` what its table has besides
    the backup's. If the table has to be published again, `follows` is the number of the lake's last entry and `replaces` its latest.
    """

    key: str
    asset: Asset | None
    table: Entry | None
    ledger: list[Item] = field(default_factory=list)
    objects: list[Item] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    follows: int | None = None
    replaces: Entry | None = None
    problem: str = ""

    @property
    def outcome(self) -> Outcome:
        """What applying it comes to."""
        if self.follows is not None:
            return "published"
        return "restored" if self.ledger or self.objects or self.extra else "unchanged"

    def result(self, outcome: Outcome, why: str = "", sequence: int | None = None) -> Restored:
        """The report on it."""
        table = self.table
        return Restored(
            asset=self.key,
            outcome=outcome,
            why=why,
            objects=len(self.objects),
            bytes=sum(item.bytes for item in self.objects),
            sequence=sequence or (table.sequence if table else None),
            recorded_at=table.recorded_at if table else None,
            rows=table.rows if table else None,
        )


def restore(
    project: Project,
    store: Store,
    backup: Backup,
    run_id: str,
    *,
    assets: Sequence[Asset] | None = None,
    replace_newer: bool = False,
    dry_run: bool = False,
    catalog: bool = True,
    report: Callable[[str], None] = lambda _: None,
) -> list[Restored]:
    """Restore these assets (default: all in the backup, undeclared ones too) in the lake of `project`.

    `replace_newer` publishes the backup's tables in place of what the lake has and the backup does not; `catalog` also updates the
    environment's catalog. Raises UsageError, with nothing touched, when the lake has something else, LeaseHeld while an asset is being
    made. Safe to kill and to run again.
    """
    keys = _keys(project, backup, assets)
    with ExitStack() as stack:
        leases = {
            key: stack.enter_context(lease(project.lake, key, run_id, project.settings.lease_s))
            for key in ([] if dry_run else keys)
        }
        changes = []
        for key in keys:
            report(key)
            changes.append(_compare(project, backup, key))
        if dry_run:
            stored = store.contents()
            return [_preview(change, stored, replace_newer=replace_newer) for change in changes]
        _refuse(changes, replace_newer=replace_newer)
        done = []
        for change in changes:
            report(change.key)
            done.append(_apply(project, store, change, run_id, leases[change.key]))
            if catalog and change.asset and done[-1].outcome != "failed":
                _update_catalog(project, change.asset)
    return done


def _keys(project: Project, backup: Backup, assets: Sequence[Asset] | None) -> list[str]:
    """The chosen assets that the backup has, in the order of the graph, undeclared ones last."""
    if assets is None:
        declared = [asset.key for asset in project.graph if asset.key in backup.assets]
        return [*declared, *sorted(backup.assets.keys() - set(declared))]
    chosen = [asset.key for asset in assets if asset.key in backup.assets]
    if not chosen:
        names = ", ".join(asset.key for asset in assets)
        raise UsageError(f"backup {backup.name} does not contain {names}; `catalunya backup list` shows the others")
    return chosen


def _compare(project: Project, backup: Backup, key: str) -> _Change:
    """Compare an asset with the lake; every object of the right size is read and hashed."""
    lake, saved = project.lake, backup.assets[key]
    asset = next((each for each in project.graph if each.key == key), None)
    change = _Change(key, asset, saved.latest)
    is_ahead = _compare_ledger(lake, saved.ledger, change)
    sizes = _sizes(lake, saved.objects, asset)
    with ThreadPoolExecutor(READERS) as pool:
        same = list(
            pool.map(
                lambda item: sizes.get(item.path) == item.bytes and lake.sha256(item.path) == item.sha256, saved.objects
            )
        )
    change.objects = [item for item, is_same in zip(saved.objects, same, strict=True) if not is_same]
    known = {item.path for item in saved.objects}
    change.foreign += sorted(item.path for item in change.objects if item.path in sizes)
    if asset and asset.layer is not Layer.LANDING:
        table = [path for path in sizes if path.startswith(f"{asset.prefix}/")]
        change.foreign += sorted(set(table) - known)
        if saved.latest:
            change.extra = sorted(set(table) - {stored.path for stored in saved.latest.objects})
    if is_ahead:
        try:
            _publish_again(project, change, known | sizes.keys())
        except (BackupError, LedgerError) as error:
            change.problem = str(error)
    return change


def _compare_ledger(lake: Lake, ours: Iterable[Item], change: _Change) -> bool:
    """Find what the lake's ledger lacks, and whether it is ahead: it has entries that the backup does not have.

    So is an entry of the same number with other content, unless it is unreadable or stands for a lost one.
    """
    items = {item.path: item for item in ours}
    merged = _merged(lake, change.key)
    paths = [found.path for found in lake.objects(Ledger.folder(change.key))]
    contents = {path: content for path in paths if (content := lake.find(path)) is not None}
    for path, content in contents.items():
        item = items.get(path)
        if item is None or (hashlib.sha256(content).hexdigest() != item.sha256 and not _is_lost(path, content, merged)):
            change.foreign.append(path)
        elif hashlib.sha256(content).hexdigest() != item.sha256:
            change.ledger.append(item)
    change.ledger += [
        item for path, item in items.items() if path not in contents and number_of(path) not in (merged or ())
    ]
    return bool(change.foreign)


def _merged(lake: Lake, key: str) -> set[int] | None:
    """The numbers of the merged entries; None if those cannot be read."""
    try:
        return {entry.sequence for entry in Ledger(lake).compacted(key)}
    except LedgerError:
        return None


def _is_lost(path: str, content: bytes, merged: set[int] | None) -> bool:
    if number_of(path) is None:
        return merged is None
    try:
        return decode(content, path).reason == REPAIRED
    except LedgerError:
        return True


def _sizes(lake: Lake, items: Iterable[Item], asset: Asset | None) -> dict[str, int]:
    """What is in the asset's folder, and in the folders of these items."""
    folders = {item.path.rpartition("/")[0] for item in items}
    if asset and asset.layer is not Layer.LANDING:
        folders = {f for f in folders if not f"{f}/".startswith(f"{asset.prefix}/")} | {asset.prefix}
    tops = [f for f in sorted(folders) if not any(f.startswith(f"{other}/") for other in folders)]
    return {found.path: found.size for folder in tops for found in lake.objects(folder)}


def _publish_again(project: Project, change: _Change, available: set[str]) -> None:
    """The lake is ahead: the backup's table becomes its next entry, unless it is the latest one already."""
    table = change.table
    if change.asset is None:
        raise BackupError(
            f"no file declares {change.key} any more, so it cannot be published; restore it --into another lake"
        )
    if table is None:
        raise BackupError(f"every attempt to make {change.key} had failed before this backup; use another")
    lost = [stored.path for stored in table.objects if stored.path not in available]
    if lost and change.asset.layer is not Layer.LANDING:
        raise BackupError(f"the backup does not contain {lost[0]}; use another")
    ledger = Ledger(project.lake)
    latest, last = ledger.latest(change.key), ledger.last_attempt(change.key)
    number = last.sequence if last else 0
    # An entry of a higher number would come after the one that is published.
    change.ledger = [item for item in change.ledger if (number_of(item.path) or 0) < number]
    if latest is None or not _is_same(latest, table):
        change.follows, change.replaces = number, latest


def _is_same(one: Entry, other: Entry) -> bool:
    """Whether two entries are of the same table, made by the same code from the same version of its source."""
    return (one.data_version, one.code_version, one.source_version) == (
        other.data_version,
        other.code_version,
        other.source_version,
    )


def _preview(change: _Change, stored: Mapping[str, int], *, replace_newer: bool) -> Restored:
    lost = [item.path for item in [*change.objects, *change.ledger] if stored.get(item.sha256) != item.bytes]
    if lost:
        return change.result("failed", f"the backup has lost {lost[0]}")
    other = f"{change.foreign[0]} is not in the backup" if change.foreign else ""
    if change.foreign and not replace_newer:
        return change.result("conflict", other)
    if change.problem:
        return change.result("failed", change.problem)
    return change.result(change.outcome, other if change.outcome == "published" else "")


def _refuse(changes: Iterable[_Change], *, replace_newer: bool) -> None:
    foreign = {change.key: change.foreign for change in changes if change.foreign}
    if foreign and not replace_newer:
        key, paths = next(iter(foreign.items()))
        more = f", and objects of {len(foreign) - 1} other assets" if len(foreign) > 1 else ""
        raise UsageError(
            f"the lake has objects that the backup does not have: {paths[0]} of {key}{more}; nothing was changed. "
            "--replace publishes the backup's tables in their place, --into LAKE restores elsewhere, --dry-run shows what would happen"
        )


def _apply(project: Project, store: Store, change: _Change, run_id: str, held: Lease) -> Restored:
    sequence = None
    if not change.problem and change.outcome != "unchanged":
        try:
            sequence = _write(project, store, change, run_id, held)
        except (BackupError, LedgerError) as error:
            change.problem = str(error)
        else:
            log.info("restored", asset=change.key, outcome=change.outcome, objects=len(change.objects))
    if change.problem:
        log.error("not_restored", asset=change.key, why=change.problem)
        return change.result("failed", change.problem)
    return change.result(change.outcome, sequence=sequence)


def _write(project: Project, store: Store, change: _Change, run_id: str, held: Lease) -> int | None:
    """Apply a change. Returns the number of the entry that it published; raises BackupError, with nothing written, when the backup
    has lost some of the content."""
    began, lake, asset, table = time.monotonic(), project.lake, change.asset, change.table
    with _fetched(project, store, [*change.objects, *change.ledger]) as local:
        held.check()
        if change.follows is not None and asset and table and asset.layer is not Layer.LANDING:
            keep_superseded(lake, asset, change.replaces, table.objects)
        with ThreadPoolExecutor(READERS) as pool:
            list(pool.map(lambda item: lake.put(item.path, local[item.sha256]), change.objects))
        lake.sync(sorted(item.path for item in change.objects))
        lake.delete(change.extra)
        held.check()
        # The highest number first; the merged entries, which are the oldest, last.
        for item in sorted(change.ledger, key=lambda item: number_of(item.path) or 0, reverse=True):
            body = local[item.sha256].read_bytes()
            if not lake.create(item.path, body):
                lake.put(item.path, body)  # in place of one that is unreadable or stands for it
        lake.sync(sorted(item.path for item in change.ledger))
    if change.follows is None or table is None:
        return None
    entry = replace(
        table,
        run_id=run_id,
        correlation_id=run_id,
        reason=RESTORED,
        started_at=datetime.now(UTC),
        seconds=time.monotonic() - began,
    )
    return Ledger(lake).append(entry, after=change.follows).sequence


@contextmanager
def _fetched(project: Project, store: Store, items: Iterable[Item]) -> Iterator[Mapping[str, Path]]:
    """The contents of these items as local files, by SHA-256: all of them, each verified, or none."""
    with tempfile.TemporaryDirectory(prefix="catalunya-", dir=project.settings.scratch) as folder:
        local = {item.sha256: Path(folder, item.sha256) for item in items}
        with ThreadPoolExecutor(READERS) as pool:
            list(pool.map(store.fetch, local, local.values()))
        yield local


def _update_catalog(project: Project, asset: Asset) -> None:
    """The catalog may be lost as well: `catalunya catalog sync` brings it up to date later."""
    try:
        catalog_tables.publish(project, asset, project.state())
    except CatalogError as error:
        log.warning("catalog_not_updated", asset=asset.key, why=str(error), todo="catalunya catalog sync")

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
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from catalunya.assets.graph.spec import Asset, Layer
from catalunya.assets.record import catalog_tables
from catalunya.assets.record.announce import announce
from catalunya.assets.record.lease import Lease, lease
from catalunya.assets.record.ledger import REPAIRED, RESTORED, Entry, Ledger, decode, number_of
from catalunya.assets.record.project import Project
from catalunya.assets.record.retention import keep_superseded
from catalunya.io.errors import BackupError, CatalogError, LedgerError, UsageError
from catalunya.io.lake import Lake
from catalunya.io.log import get_logger
from catalunya.ops.backup.store import READERS, Backup, Item, Store

log = get_logger(__name__)

Outcome = Literal["unchanged", "restored", "published", "conflict", "failed"]


@dataclass(slots=True)
class Restored:
    """What restoring one asset does to the lake, or would. `table` is the backup's entry that says what its table was.

    `outcome`: nothing to do (`unchanged`), the asset as it was (`restored`), its table as a new entry (`published`), left alone because
    the lake has something else (`conflict`), or `failed`; `why` explains the last three. `ledger` and `objects` are what the lake
    lacks, `foreign` what the backup does not have, and `extra` what of that is deleted from the table. To publish, the new entry
    `follows` the number of the lake's last one, and `replaces` its latest.
    """

    asset: str
    table: Entry | None
    outcome: Outcome = "unchanged"
    why: str = ""
    ledger: list[Item] = field(default_factory=list)
    objects: list[Item] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    follows: int | None = None
    replaces: Entry | None = None

    def summary(self) -> dict[str, Any]:
        """Without lists of objects, for people and programs. `sequence`, `recorded_at` and `rows` are the table's."""
        return {
            "asset": self.asset,
            "outcome": self.outcome,
            "why": self.why,
            "objects": len(self.objects),
            "bytes": sum(item.bytes for item in self.objects),
            "sequence": self.table.sequence if self.table else None,
            "recorded_at": self.table.recorded_at if self.table else None,
            "rows": self.table.rows if self.table else None,
        }


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
        found = []
        for key in keys:
            report(key)
            found.append(_compare(project, backup, key))
        if dry_run:
            _preview(found, store.contents(), replace_newer=replace_newer)
            return found
        if not replace_newer:
            _refuse(found)
        for each in found:
            report(each.asset)
            _apply(project, store, each, run_id, leases[each.asset])
            if catalog and each.asset in project.graph and each.outcome != "failed":
                _update_catalog(project, project.graph[each.asset])
    return found


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


def _compare(project: Project, backup: Backup, key: str) -> Restored:
    """Compare an asset with the lake; every object of the right size is read and hashed."""
    lake, saved = project.lake, backup.assets[key]
    asset = project.graph[key] if key in project.graph else None  # noqa: SIM401  an AssetGraph has no get
    found = Restored(key, saved.latest)
    _compare_ledger(lake, saved.ledger, found)
    is_ahead = bool(found.foreign)
    sizes = _sizes(lake, saved.objects, asset)

    def is_same(item: Item) -> bool:
        return sizes.get(item.path) == item.bytes and lake.sha256(item.path) == item.sha256

    with ThreadPoolExecutor(READERS) as pool:
        same = list(pool.map(is_same, saved.objects))
    found.objects = [item for item, as_it_was in zip(saved.objects, same, strict=True) if not as_it_was]
    found.foreign += sorted(item.path for item in found.objects if item.path in sizes)
    known = {item.path for item in saved.objects}
    if asset and asset.layer is not Layer.LANDING:
        present = {path for path in sizes if path.startswith(f"{asset.prefix}/")}
        found.foreign += sorted(present - known)
        if saved.latest:
            found.extra = sorted(present - {stored.path for stored in saved.latest.objects})
    try:
        if is_ahead:
            _publish_again(project, found, known | sizes.keys())
    except (BackupError, LedgerError) as error:
        found.outcome, found.why = "failed", str(error)
    else:
        is_restored = found.ledger or found.objects or found.extra
        found.outcome = "published" if found.follows is not None else "restored" if is_restored else "unchanged"
    return found


def _compare_ledger(lake: Lake, ours: Iterable[Item], found: Restored) -> None:
    """Find what the lake's ledger lacks, and what of it is foreign: the lake is ahead.

    So is an entry of the same number with other content, unless it is unreadable or stands for a lost one.
    """
    lacking = {item.path: item for item in ours}
    merged = _merged(lake, found.asset)
    for path in [each.path for each in lake.objects(Ledger.folder(found.asset))]:
        content = lake.find(path)
        if content is None:  # merged since it was listed
            continue
        item = lacking.pop(path, None)
        if item and hashlib.sha256(content).hexdigest() == item.sha256:
            continue
        if item and _is_lost(path, content, merged):
            found.ledger.append(item)
        else:
            found.foreign.append(path)
    found.ledger += [item for path, item in lacking.items() if number_of(path) not in (merged or ())]


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
        return decode(content, path, path).reason == REPAIRED
    except LedgerError:
        return True


def _sizes(lake: Lake, items: Iterable[Item], asset: Asset | None) -> dict[str, int]:
    """What is in the asset's folder, and in the folders of these items."""
    folders = {item.path.rpartition("/")[0] for item in items}
    if asset and asset.layer is not Layer.LANDING:
        folders = {f for f in folders if not f"{f}/".startswith(f"{asset.prefix}/")} | {asset.prefix}
    tops = [f for f in sorted(folders) if not any(f.startswith(f"{other}/") for other in folders)]
    return {found.path: found.size for folder in tops for found in lake.objects(folder)}


def _publish_again(project: Project, found: Restored, available: Collection[str]) -> None:
    """The lake is ahead: the backup's table becomes its next entry, unless it is the latest one already.

    Raises BackupError when that is impossible, LedgerError when the lake's latest entry is unreadable.
    """
    key, table = found.asset, found.table
    if key not in project.graph:
        raise BackupError(f"no file declares {key} any more, so it cannot be published; restore it --into another lake")
    if table is None:
        raise BackupError(f"every attempt to make {key} had failed before this backup; use another")
    lost = [stored.path for stored in table.objects if stored.path not in available]
    if lost and project.graph[key].layer is not Layer.LANDING:
        raise BackupError(f"the backup does not contain {lost[0]}; use another")
    ledger = Ledger(project.lake)
    latest, last = ledger.latest(key), ledger.last_attempt(key)
    number = last.sequence if last else 0
    # An entry of a higher number would come after the one that is published.
    found.ledger = [item for item in found.ledger if (number_of(item.path) or 0) < number]
    if latest is None or not _is_same(latest, table):
        found.follows, found.replaces = number, latest


def _is_same(one: Entry, other: Entry) -> bool:
    """Whether two entries are of the same table, made by the same code from the same version of its source."""
    return (one.data_version, one.code_version, one.source_version) == (
        other.data_version,
        other.code_version,
        other.source_version,
    )


def _preview(found: Iterable[Restored], stored: Mapping[str, int], *, replace_newer: bool) -> None:
    for each in found:
        lost = [item.path for item in [*each.objects, *each.ledger] if stored.get(item.sha256) != item.bytes]
        if lost:
            each.outcome, each.why = "failed", f"the backup has lost {lost[0]}"
        elif each.foreign and not replace_newer:
            each.outcome, each.why = "conflict", _why_foreign(each)
        elif each.outcome == "published":
            each.why = _why_foreign(each)


def _why_foreign(found: Restored) -> str:
    first = found.foreign[0]
    is_in_both = first in {item.path for item in found.objects}
    return f"{first} {'differs from the one in' if is_in_both else 'is not in'} the backup"


def _refuse(found: Iterable[Restored]) -> None:
    conflicts = [each for each in found if each.foreign]
    if conflicts:
        more = f" (and {len(conflicts) - 1} more)" if len(conflicts) > 1 else ""
        raise UsageError(
            f"the lake has objects that the backup does not have: {conflicts[0].foreign[0]} of {conflicts[0].asset}{more}; nothing was "
            "changed. --replace publishes the backup's tables in their place, --into LAKE restores elsewhere, --dry-run shows what "
            "would happen"
        )


def _apply(project: Project, store: Store, result: Restored, run_id: str, held: Lease) -> None:
    if result.outcome in ("restored", "published"):
        try:
            _write(project, store, result, run_id, held)
        except (BackupError, LedgerError) as error:
            result.outcome, result.why = "failed", str(error)
        else:
            log.info("restored", asset=result.asset, outcome=result.outcome, objects=len(result.objects))
    if result.outcome == "failed":
        log.error("not_restored", asset=result.asset, why=result.why)


def _write(project: Project, store: Store, result: Restored, run_id: str, held: Lease) -> None:
    """Raises BackupError, with nothing written, when the backup has lost some of the content."""
    began, lake = time.monotonic(), project.lake
    with _fetched(project, store, [*result.objects, *result.ledger]) as local:
        held.check()
        if result.table and result.follows is not None and project.graph[result.asset].layer is not Layer.LANDING:
            keep_superseded(lake, project.graph[result.asset], result.replaces, result.table.objects)
        with ThreadPoolExecutor(READERS) as pool:
            list(pool.map(lambda item: lake.put(item.path, local[item.sha256]), result.objects))
        lake.sync(sorted(item.path for item in result.objects))
        lake.delete(result.extra)
        held.check()
        # The highest number first; the merged entries, which are the oldest, last.
        for item in sorted(result.ledger, key=lambda item: number_of(item.path) or 0, reverse=True):
            body = local[item.sha256].read_bytes()
            if not lake.create(item.path, body):
                lake.put(item.path, body)  # in place of one that is unreadable or stands for a lost one
        lake.sync(sorted(item.path for item in result.ledger))
    if result.table and result.follows is not None:
        entry = replace(
            result.table,
            run_id=run_id,
            correlation_id=run_id,
            reason=RESTORED,
            started_at=datetime.now(UTC),
            seconds=time.monotonic() - began,
        )
        result.table = Ledger(lake).append(entry, after=result.follows)
        announce(project, result.table)


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

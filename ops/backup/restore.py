"""Giving a lake back what a backup holds: which assets, in which order, and what stands in the way.

No asset is touched before the leases of all are held, so that nobody makes one meanwhile. An asset whose content the backup does not
hold any more is left alone and told; the others come back. Here: all assets together. Not here: one of them (`compare.py`,
`give_back.py`), Airflow (`airflow.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import structlog

from catalunya.assets.graph.spec import Asset
from catalunya.assets.record import catalog_tables as catalogd
from catalunya.assets.record.lease import Lease, lease
from catalunya.assets.record.ledger import Ledger
from catalunya.assets.record.project import Project
from catalunya.io.errors import BackupError, CatalogError, CatalunyaError, LedgerError, UsageError
from catalunya.ops.backup.compare import Compared, compare
from catalunya.ops.backup.give_back import fill, is_same, publish
from catalunya.ops.backup.records import Backup, Item
from catalunya.ops.backup.store import Store

log = structlog.get_logger(__name__)

Done = Literal["there", "restored", "published", "in the way", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What became of one asset, or would: `there` was nothing to do, `restored` as it was, `published` as a new entry."""

    asset: str
    done: Done
    why: str = ""
    objects: int = 0
    bytes: int = 0
    sequence: int | None = None
    recorded_at: datetime | None = None
    rows: int | None = None


def restore(
    project: Project,
    store: Store,
    backup: Backup,
    run_id: str,
    *,
    assets: Sequence[Asset] | None = None,
    replace: bool = False,
    dry_run: bool = False,
    catalog: bool = True,
    tell: Callable[[str], None] = lambda _: None,
) -> list[Given]:
    """Give the lake of `project` what the backup holds of the assets; by default of all, undeclared ones too.

    Where the lake has something of an asset that the backup has not, nothing of any asset is touched, unless `replace` says that the
    backup's table is to be published again in its place. `catalog`: tell the environment's catalog. Safe to kill and to run again.
    Raises UsageError when something is in the way, LeaseHeld when an asset is being made, BackupError for a damaged inventory.
    """
    items = _by_asset(store.inventory(backup), project, assets)
    if dry_run:
        there = store.contents()
        return [_judged(project, store, key, items[key], there, replace=replace, tell=tell) for key in items]
    with ExitStack() as stack:
        leases = {key: stack.enter_context(lease(project.lake, key, run_id, project.settings.lease_s)) for key in items}
        compared: dict[str, Compared] = {}
        given: dict[str, Given] = {}
        for key in items:
            tell(key)
            try:
                compared[key] = compare(project.lake, store, key, items[key], _declared(project, key))
            except BackupError as error:
                given[key] = _failed(key, error)
        _refuse(compared.values(), replace=replace)
        for key, found in compared.items():
            tell(key)
            try:
                given[key] = _give(project, store, found, run_id, leases[key])
            except (BackupError, LedgerError) as error:
                given[key] = _failed(key, error)
                continue
            if catalog and key in {asset.key for asset in project.graph}:
                _catalog(project, project.graph[key])
    return [given[key] for key in items]


def _by_asset(items: Iterable[Item], project: Project, assets: Sequence[Asset] | None) -> dict[str, list[Item]]:
    """The items of the chosen assets, in the order of the graph, those that nobody declares any more last."""
    found: dict[str, list[Item]] = {}
    for item in items:
        found.setdefault(item.asset, []).append(item)
    declared = [asset.key for asset in project.graph]
    if assets is None:
        return {key: found[key] for key in [*declared, *sorted(found.keys() - set(declared))] if key in found}
    chosen = [asset.key for asset in assets if asset.key in found]
    if not chosen:
        raise UsageError(
            f"the backup holds nothing of {', '.join(asset.key for asset in assets)}; `catalunya backup list` shows others"
        )
    return {key: found[key] for key in chosen}


def _declared(project: Project, key: str) -> Asset | None:
    return next((asset for asset in project.graph if asset.key == key), None)


def _refuse(compared: Iterable[Compared], *, replace: bool) -> None:
    """Raise UsageError where the lake has something that the backup has not, and nobody said what is to become of it."""
    foreign = {found.key: found.foreign for found in compared if found.foreign}
    if foreign and not replace:
        key, paths = next(iter(foreign.items()))
        raise UsageError(
            f"the lake is not empty: expected nothing that the backup has not, found {paths[0]} of {key}"
            f"{f', and something of {len(foreign) - 1} other assets' if len(foreign) > 1 else ''}; nothing was touched. "
            "--replace publishes the backup's tables in their place, --into LAKE restores elsewhere, --dry-run shows all"
        )


def _give(project: Project, store: Store, found: Compared, run_id: str, held: Lease) -> Given:
    objects, size = len(found.objects), sum(item.bytes for item in found.objects)
    done: Done = "there"
    sequence = found.target.sequence if found.target else None
    if found.is_ahead:
        if _declared(project, found.key) is None:
            raise BackupError(
                f"{found.key}: expected a declared asset to publish again, found none of that name; restore it --into another lake"
            )
        entry = publish(project, store, found, run_id, held)
        if entry:
            done, sequence = "published", entry.sequence
        elif objects:
            done = "restored"
    elif not found.is_there:
        fill(project, store, found, held)
        done = "restored"
    if done != "there":
        log.info("restored", asset=found.key, how=done, objects=objects, bytes=size)
    return _told(found, done, sequence=sequence)


def _judged(
    project: Project,
    store: Store,
    key: str,
    items: Sequence[Item],
    there: dict[str, int],
    *,
    replace: bool,
    tell: Callable[[str], None],
) -> Given:
    """What would become of an asset."""
    tell(key)
    try:
        found = compare(project.lake, store, key, items, _declared(project, key))
    except BackupError as error:
        return _failed(key, error)
    lost = [item.path for item in [*found.objects, *found.ledger] if there.get(item.sha256) != item.bytes]
    if lost:
        return Given(asset=key, done="failed", why=f"the backup does not hold {lost[0]} any more")
    if found.foreign and not replace:
        return _told(found, "in the way", why=f"{found.foreign[0]} is not in the backup")
    latest = Ledger(project.lake).latest(key) if found.is_ahead else None
    if latest and found.target and is_same(latest, found.target):
        return _told(found, "restored" if found.objects else "there")
    if found.is_ahead:
        return _told(found, "published", why=f"{found.foreign[0]} is not in the backup")
    return _told(found, "there" if found.is_there else "restored")


def _told(found: Compared, done: Done, *, why: str = "", sequence: int | None = None) -> Given:
    target = found.target
    return Given(
        asset=found.key,
        done=done,
        why=why,
        objects=len(found.objects),
        bytes=sum(item.bytes for item in found.objects),
        sequence=sequence if sequence is not None else (target.sequence if target else None),
        recorded_at=target.recorded_at if target else None,
        rows=target.rows if target else None,
    )


def _failed(key: str, error: CatalunyaError) -> Given:
    log.error("not_restored", asset=key, why=str(error))
    return Given(asset=key, done="failed", why=str(error))


def _catalog(project: Project, asset: Asset) -> None:
    """The catalog may be lost as well: what it does not take now, `catalunya catalog sync` brings it later."""
    try:
        catalogd.publish(project, asset, project.state())
    except CatalogError as error:
        log.warning("not_catalogd", asset=asset.key, why=str(error), todo="catalunya catalog sync")

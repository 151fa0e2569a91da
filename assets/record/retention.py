"""How long what is not needed any more is kept, and its deletion: landing after use, superseded objects and quarantined rows
for the asset's `keep_days`, ledger entries for LEDGER_DAYS before they are merged.

`plan_retention` is pure data; `prune` does what it says, asset by asset, under each one's lease. Time is the ledger's, never
a file's: an object that was replaced counts from the entry that took its place. Here: what goes, why, and its going. Not here:
how superseded objects come to be (`superseded.py`), how entries are merged (`ledger.py`). Never touched: what a latest entry
speaks of, what `verify --repair` set aside, and leases, of which at most two per asset are ever there (`lease.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from pathlib import PurePosixPath

import structlog

from catalunya.assets.graph.spec import Asset, Layer
from catalunya.assets.record.batch import may_be_read_into
from catalunya.assets.record.lease import holder, lease
from catalunya.assets.record.ledger import REPAIRED, Entry, Ledger
from catalunya.assets.record.paths import manifest_path, quarantine_folder
from catalunya.assets.record.project import Project
from catalunya.assets.record.state import State
from catalunya.assets.record.superseded import path_of, prefix_of
from catalunya.io.errors import LeaseHeld, LeaseLost, LedgerError
from catalunya.io.lake import Object

log = structlog.get_logger(__name__)

LEDGER_DAYS = 90


class Kind(StrEnum):
    """What is removed."""

    LANDING = "landing"
    SUPERSEDED = "superseded"
    QUARANTINE = "quarantine"
    LEDGER = "ledger"


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """One object that has had its time, and why. A ledger entry is merged with the old ones before its object goes."""

    asset: str
    kind: Kind
    path: str
    bytes: int
    why: str


@dataclass(slots=True)
class Pruned:
    """What was removed (or would be); which assets were left alone, being made just then; whose ledger cannot be read."""

    removals: list[Removal] = field(default_factory=list)
    busy: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def plan_retention(
    project: Project, now: datetime | None = None, assets: Iterable[Asset] | None = None
) -> list[Removal]:
    """What of the assets (default: all) has had its time. Nothing is touched. Raises LedgerError where one cannot be read."""
    state = project.state(now)
    return [found for asset in (project.graph if assets is None else assets) for found in _removals(state, asset)]


def prune(
    project: Project,
    run_id: str,
    assets: Iterable[Asset] | None = None,
    *,
    now: datetime | None = None,
    dry_run: bool = False,
) -> Pruned:
    """Remove what has had its time. Safe to kill at any instruction and to run again; what is needed is never touched.

    An asset with nothing to remove is not touched either, and one that is being made is left for the next time. One whose
    ledger cannot be read keeps everything. Raises LakeError when the lake cannot be read or written.
    """
    now, pruned = now or datetime.now(UTC), Pruned()
    for asset in project.graph if assets is None else assets:
        try:
            removals = plan_retention(project, now, [asset])
            if removals and not dry_run:
                with lease(project.lake, asset.key, run_id, project.settings.lease_s) as held:
                    removals = plan_retention(project, now, [asset])  # as it is now that nobody else writes
                    held.check()
                    _remove(project, asset, removals)
            pruned.removals += removals
        except (LeaseHeld, LeaseLost):
            log.info("not_pruned", asset=asset.key, why="another run is making it")
            pruned.busy.append(asset.key)
        except LedgerError as error:
            log.error("not_pruned", asset=asset.key, why=str(error))  # noqa: TRY400  one line: the message says it all
            pruned.failed[asset.key] = str(error)
    return pruned


def used_batch(state: State, landing: Asset) -> list[Object]:
    """The objects of a landing asset's last batch, in the order to delete them, once every table that is made from it has
    recorded its use; none before."""
    entry = state.latest(landing.key)
    consumers = state.graph.downstream(landing.key)
    # One that is stale for another reason (its code, say) needs the batch once more.
    if entry is None or entry.batch is None or not consumers or any(state.own_staleness(one) for one in consumers):
        return []
    return _unsealing(state.ledger.lake.objects(entry.batch))


def _remove(project: Project, asset: Asset, removals: list[Removal]) -> None:
    entries = [r.path for r in removals if r.kind is Kind.LEDGER]
    project.lake.delete([r.path for r in removals if r.kind is not Kind.LEDGER])
    # Last: while an object is there, the entry that says what it is can be read whole.
    if entries:
        project.ledger.compact(asset.key, [int(PurePosixPath(path).stem) for path in entries])
    counts = Counter(str(r.kind) for r in removals)
    log.info("pruned", asset=asset.key, objects=len(removals), bytes=sum(r.bytes for r in removals), **counts)


def _removals(state: State, asset: Asset) -> Iterator[Removal]:
    """What of one asset goes, kind by kind."""
    history = state.ledger.history(asset.key)
    if asset.layer is Layer.LANDING:
        yield from _batches(state, asset, history)
    else:
        yield from _replaced(state, asset, history)
    yield from _entries(state, asset, history)


def _batches(state: State, asset: Asset, history: list[Entry]) -> Iterator[Removal]:
    """Batches that nobody needs: all but the last one, and that one once it is used."""
    lake, latest = state.ledger.lake, state.latest(asset.key)
    if any(holder(lake, consumer.key) for consumer in state.graph.downstream(asset.key)):
        return  # it may be reading a batch that was the last one when it began
    recorded = {entry.batch for entry in history}
    is_used = bool(used_batch(state, asset))
    for batch in (f"{asset.prefix}/{folder}" for folder in lake.folders(asset.prefix)):
        objects = lake.objects(batch)
        if latest and batch == latest.batch:
            if not is_used:
                continue
            why = "every table that is made from it has used it"
        elif manifest_path(batch) not in {o.path for o in objects}:
            if may_be_read_into(asset, batch, state.now):
                continue
            why = "its run died before it was complete"
        elif batch not in recorded:
            why = "its run died before it was recorded"
        else:
            why = "a newer batch took its place"
        yield from (_removal(asset, Kind.LANDING, found, why) for found in _unsealing(objects))


def _replaced(state: State, asset: Asset, history: list[Entry]) -> Iterator[Removal]:
    """Superseded objects and quarantined rows whose time since they were replaced is over."""
    lake = state.ledger.lake
    span = timedelta(days=asset.keep_days)
    until: dict[str, datetime | None] = {}
    for entry, replaced_at in _replacements(history):
        paths = [path_of(stored) for stored in entry.objects]
        until |= dict.fromkeys([*paths, entry.quarantine] if entry.quarantine else paths, replaced_at)
    # What an entry that was lost may have spoken of is not held to be nobody's.
    is_damaged = any(entry.reason == REPAIRED and entry.recorded_at + span > state.now for entry in history)
    for kind, folder in ((Kind.SUPERSEDED, prefix_of(asset)), (Kind.QUARANTINE, quarantine_folder(asset))):
        for found in lake.objects(folder):
            if found.path not in until:
                if not is_damaged:
                    yield _removal(asset, kind, found, "no ledger entry that is kept speaks of it")
            elif (replaced_at := until[found.path]) and replaced_at + span <= state.now:
                yield _removal(asset, kind, found, f"it was replaced more than {asset.keep_days} days ago")


def _entries(state: State, asset: Asset, history: list[Entry]) -> Iterator[Removal]:
    """Ledger entries to be merged: old ones whose objects have gone, but for those that say how the asset is now."""
    ledger, key = state.ledger, asset.key
    single = {found.path: found for found in ledger.lake.objects(Ledger.folder(key))}
    replaced = {entry.sequence: replaced_at for entry, replaced_at in _replacements(history)}
    last = history[-1].sequence if history else 0
    for entry in history:
        path = Ledger.path(key, entry.sequence)
        if path not in single or entry.sequence == last:
            continue
        if entry.status == "failed":
            due: datetime | None = entry.recorded_at + timedelta(days=LEDGER_DAYS)
        else:
            replaced_at = replaced[entry.sequence]
            due = replaced_at + timedelta(days=max(LEDGER_DAYS, asset.keep_days)) if replaced_at else None
        if due and due <= state.now:
            yield _removal(asset, Kind.LEDGER, single[path], "it is old: merged with the others, without its objects")


def _replacements(history: list[Entry]) -> Iterator[tuple[Entry, datetime | None]]:
    """Each entry that did not fail, and when the next such one was recorded: never, for the last."""
    made = [entry for entry in history if entry.status != "failed"]
    if not made:
        return
    # Clocks of several machines differ: an entry was not recorded before the one ahead of it.
    at = made[0].recorded_at
    for entry, following in pairwise(made):
        at = max(at, following.recorded_at)
        yield entry, at
    yield made[-1], None


def _unsealing(objects: Iterable[Object]) -> list[Object]:
    """The manifest first: a batch without one is nothing, whatever pages are left of it."""
    return sorted(objects, key=lambda found: found.path != manifest_path(found.path.rpartition("/")[0]))


def _removal(asset: Asset, kind: Kind, found: Object, why: str) -> Removal:
    return Removal(asset=asset.key, kind=kind, path=found.path, bytes=found.size, why=why)

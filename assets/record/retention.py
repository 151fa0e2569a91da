"""What is kept, for how long, and its deletion: landing batches until they are used; superseded objects and quarantined rows for the
asset's `keep_days`; ledger entries for LEDGER_DAYS before they are merged.

A table's objects have fixed names, so its next version replaces them. Before the first is replaced, `keep_superseded` copies those of
the latest ledger entry that will change or vanish below `_superseded` (a copy inside the store: no bytes pass through here), in folders
like the table's, named by content. So a run that is killed and run again copies nothing twice, never keeps new content under an old
name, and all copies exist before the first object changes. `find_objects` gives the present paths of an older entry's objects;
docs/retention.md shows how to read them.

`plan_retention` is pure data; `prune` does what it says, asset by asset, under each one's lease. Time is the ledger's, never a file's:
a replaced object counts from the entry that replaced it. Never touched: what a latest entry refers to, what `verify --repair` moved
away, and leases, of which there are at most two per asset (`lease.py`). Not here: how entries are merged (`ledger.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from pathlib import PurePosixPath

from catalunya.assets.graph.spec import Asset, Layer
from catalunya.assets.record.lease import lease
from catalunya.assets.record.ledger import REPAIRED, Entry, Ledger, Stored
from catalunya.assets.record.paths import in_deletion_order, manifest_path, quarantine_folder
from catalunya.assets.record.project import Project
from catalunya.assets.record.state import State
from catalunya.io.errors import LakeError, LeaseHeld, LeaseLost, LedgerError
from catalunya.io.lake import Lake, Object
from catalunya.io.log import get_logger

log = get_logger(__name__)

LEDGER_DAYS = 90


SUPERSEDED = "_superseded"
_DIGITS = 16


class Kind(StrEnum):
    """What kind of object is removed."""

    LANDING = "landing"
    SUPERSEDED = "superseded"
    QUARANTINE = "quarantine"
    LEDGER = "ledger"


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """One expired object, and why. A ledger entry is merged with the other old ones before its object is deleted."""

    asset: str
    kind: Kind
    path: str
    bytes: int
    why: str


@dataclass(slots=True)
class Pruned:
    """What was removed (or would be), which assets were skipped because a run was making them, and whose ledger cannot be read."""

    removals: list[Removal] = field(default_factory=list)
    busy: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def plan_retention(
    project: Project, now: datetime | None = None, assets: Iterable[Asset] | None = None
) -> list[Removal]:
    """What has expired of the assets (default: all). Nothing is touched. Raises LedgerError when an entry cannot be read."""
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
    """Remove what has expired. Safe to kill at any instruction and to run again; what is needed is never touched.

    An asset that is being made is left for the next time; one whose ledger or folder cannot be read keeps everything. Raises
    LakeUnavailable when the lake does not answer.
    """
    now, pruned = now or datetime.now(UTC), Pruned()
    for asset in project.graph if assets is None else assets:
        try:
            removals = plan_retention(project, now, [asset])
            if removals and not dry_run:
                with lease(project.lake, asset.key, run_id, project.settings.lease_s) as held:
                    removals = plan_retention(project, now, [asset])  # again, now that no one else writes
                    held.check()
                    _remove(project, asset, removals)
            pruned.removals += removals
        except (LeaseHeld, LeaseLost):
            log.info("not_pruned", asset=asset.key, why="another run is making it")
            pruned.busy.append(asset.key)
        except (LedgerError, LakeError) as error:
            log.error("not_pruned", asset=asset.key, why=str(error))  # noqa: TRY400  one line: the message says it all
            pruned.failed[asset.key] = str(error)
    return pruned


def _remove(project: Project, asset: Asset, removals: list[Removal]) -> None:
    entries = [r.path for r in removals if r.kind is Kind.LEDGER]
    project.lake.delete([r.path for r in removals if r.kind is not Kind.LEDGER])
    # Last: while an object is there, the entry that says what it is can be read whole.
    if entries:
        project.ledger.compact(asset.key, [int(PurePosixPath(path).stem) for path in entries])
    counts = Counter(str(r.kind) for r in removals)
    log.info("pruned", asset=asset.key, objects=len(removals), bytes=sum(r.bytes for r in removals), **counts)


def _removals(state: State, asset: Asset) -> Iterator[Removal]:
    """What is removed of one asset, kind by kind."""
    history = state.ledger.history(asset.key)
    if asset.layer is Layer.LANDING:
        yield from _batches(state, asset, history)
    else:
        yield from _replaced(state, asset, history)
    yield from _entries(state, asset, history)


def _batches(state: State, asset: Asset, history: list[Entry]) -> Iterator[Removal]:
    """Batches that no table needs: all but the last one, and that one once it is used."""
    lake, latest = state.ledger.lake, state.latest(asset.key)
    if any(state.holder(consumer.key) for consumer in state.graph.downstream(asset.key)):
        return  # it may be reading a batch that was the last one when it started
    recorded = {entry.batch for entry in history}
    is_used = bool(state.used_batch(asset))
    for batch in (f"{asset.prefix}/{folder}" for folder in lake.folders(asset.prefix)):
        objects = lake.objects(batch)
        if latest and batch == latest.batch:
            if not is_used:
                continue
            why = "every table made from it has used it"
        elif manifest_path(batch) not in {o.path for o in objects}:
            why = "its run was interrupted before it was complete"
        elif batch not in recorded:
            why = "its run was interrupted before it was recorded"
        else:
            why = "a newer batch replaced it"
        yield from (_removal(asset, Kind.LANDING, found, why) for found in in_deletion_order(objects))


def _replaced(state: State, asset: Asset, history: list[Entry]) -> Iterator[Removal]:
    """Superseded objects and quarantined rows that were replaced more than `keep_days` ago."""
    lake = state.ledger.lake
    span = timedelta(days=asset.keep_days)
    until: dict[str, datetime | None] = {}
    for entry, replaced_at in _replacements(history):
        paths = [superseded_path(stored) for stored in entry.objects]
        until |= dict.fromkeys([*paths, entry.quarantine] if entry.quarantine else paths, replaced_at)
    for entry, following in zip(history, [*history[1:], None], strict=False):
        if entry.status == "failed" and entry.quarantine:
            until[entry.quarantine] = following.recorded_at if following else None
    # An entry that was lost may have referred to objects that look unreferenced now.
    is_damaged = any(entry.reason == REPAIRED and entry.recorded_at + span > state.now for entry in history)
    for kind, folder in ((Kind.SUPERSEDED, superseded_folder(asset)), (Kind.QUARANTINE, quarantine_folder(asset))):
        for found in lake.objects(folder):
            if found.path not in until:
                if not is_damaged:
                    yield _removal(asset, kind, found, "no ledger entry refers to it")
            elif (replaced_at := until[found.path]) and replaced_at + span <= state.now:
                yield _removal(asset, kind, found, f"it was replaced more than {asset.keep_days} days ago")


def _entries(state: State, asset: Asset, history: list[Entry]) -> Iterator[Removal]:
    """Ledger entries to merge: old ones whose objects are gone, except those that say what the asset is now."""
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
            yield _removal(asset, Kind.LEDGER, single[path], "it is old, and is merged with the others")


def _replacements(history: list[Entry]) -> Iterator[tuple[Entry, datetime | None]]:
    """Each entry that did not fail, and when the next such one was recorded (None for the last)."""
    made = [entry for entry in history if entry.status != "failed"]
    if not made:
        return
    # Clocks differ between machines, but an entry was never recorded before its predecessor.
    at = made[0].recorded_at
    for entry, following in pairwise(made):
        at = max(at, following.recorded_at)
        yield entry, at
    yield made[-1], None


def _removal(asset: Asset, kind: Kind, found: Object, why: str) -> Removal:
    return Removal(asset=asset.key, kind=kind, path=found.path, bytes=found.size, why=why)


def superseded_path(stored: Stored) -> str:
    """Where an object is kept once another has replaced it."""
    folder, _, name = stored.path.rpartition("/")
    return f"{SUPERSEDED}/{folder}/{stored.sha256[:_DIGITS]}.{name.rpartition('.')[2]}"


def superseded_folder(asset: Asset) -> str:
    """The folder of an asset's superseded objects."""
    return f"{SUPERSEDED}/{asset.prefix}"


def is_named_by(path: str, sha256: str) -> bool:
    """Whether a superseded object is named by this content."""
    return path.rpartition("/")[2].partition(".")[0] == sha256[:_DIGITS]


def find_objects(entry: Entry, latest: Entry | None) -> list[str]:
    """Where the objects of an entry are now: still in the table of the `latest` entry, or kept as superseded.

    Empty for an entry whose objects have expired. The newest objects of a table stay in place until the run that replaces them
    begins to publish.
    """
    current = _contents(latest.objects) if latest else set()
    return [o.path if (o.path, o.sha256) in current else superseded_path(o) for o in entry.objects]


def keep_superseded(lake: Lake, asset: Asset, latest: Entry | None, objects: Iterable[Stored]) -> list[str]:
    """Copy what `objects` will replace in the table of the `latest` entry. Only for the holder of the lease, before the first
    put. Returns the paths of the new copies.

    An object that is not what the entry says (damaged or missing) is not kept.
    """
    staying = _contents(objects)
    going = [o for o in latest.objects if (o.path, o.sha256) not in staying] if latest else []
    if not going:
        return []
    sizes = {found.path: found.size for found in lake.objects(asset.prefix)}
    existing = {found.path for found in lake.objects(superseded_folder(asset))}
    kept = []
    for stored in going:
        copy = superseded_path(stored)
        if copy in existing:
            continue
        if sizes.get(stored.path) == stored.bytes and lake.copy(stored.path, copy):
            kept.append(copy)
        else:
            log.warning(
                "superseded_not_kept", asset=asset.key, path=stored.path, why="it differs from its ledger entry"
            )
    lake.sync(kept)
    return kept


def _contents(objects: Iterable[Stored]) -> set[tuple[str, str]]:
    return {(stored.path, stored.sha256) for stored in objects}

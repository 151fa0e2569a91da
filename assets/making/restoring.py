"""Publishing an earlier version of a table again: undoing a load that should not have been accepted.

The table gets the objects of an earlier ledger entry under the next number; what they replace is kept like any superseded object, so an
undo can be undone. The entry has the present versions of what the table is made from: the load counts as settled, and is not made again
until something upstream changes. Tables downstream that keep history (what an incremental mart publishes contains what it published
before) go back to their last version that was made without the undone ones; all others are stale, and are made again as usual.

Under the leases of all tables concerned. The table itself comes last: killed before that, the same command does the same again. Here:
choosing the versions, publishing them. Not here: restoring from a backup (`ops/backup/restore.py`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from catalunya.assets.graph.spec import Asset, Layer
from catalunya.assets.making.maker import Context, maker_of
from catalunya.assets.making.request import Request
from catalunya.assets.record.announce import announce
from catalunya.assets.record.lease import Lease, lease
from catalunya.assets.record.ledger import RESTORED, Entry
from catalunya.assets.record.project import Project
from catalunya.assets.record.retention import keep_superseded
from catalunya.assets.record.versions import find_version, lineage
from catalunya.io.errors import CatalogError, LedgerError, UsageError
from catalunya.io.log import get_logger

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Step:
    """One table and the entry to publish again; None where there is no version to go back to, and `why`. `latest` is the table's present
    entry, once it `is_published` the new one."""

    asset: str
    entry: Entry | None
    latest: Entry
    why: str
    is_published: bool = False

    @property
    def is_done(self) -> bool:
        """Whether the table is this version already."""
        return self.entry is not None and self.entry.data_version == self.latest.data_version


def plan_restore(project: Project, key: str, to: int | datetime | None = None) -> list[Step]:
    """What restoring the table would do, itself last: to ledger entry `to`, to what it was at a time, or by default to its version before
    the current one. Nothing is touched. Raises UsageError when it cannot be restored."""
    asset = project.graph[key]
    if asset.layer is Layer.LANDING:
        raise UsageError(
            f"{key}: a landing batch is deleted after use and cannot be restored; to read the source again: `catalunya materialize {key} "
            f"--force`; to undo what was made from it: `catalunya restore-version` with one of "
            f"{', '.join(down.key for down in project.graph.downstream(key)) or 'the tables made from it'}"
        )
    history = project.ledger.history(key)
    latest = next((entry for entry in reversed(history) if entry.is_made), None)
    if latest is None:
        raise UsageError(f"{key} has never been made; there is nothing to restore")
    entry = _chosen(key, history, latest, to)
    step = Step(key, entry, latest, _described(entry))
    if not step.is_done and (why := _unavailable(project, asset, entry, latest)):
        raise UsageError(f"{key}: entry {entry.sequence} cannot be restored: {why}")
    return [*_history_steps(project, key, history, entry), step]


def restore_version(project: Project, key: str, run_id: str, to: int | datetime | None = None) -> list[Step]:
    """Do it; returns what was planned, with the new entries as `latest`. Safe to kill at any instruction and to run again.

    Raises UsageError as `plan_restore`, LeaseHeld, with nothing touched, while one of the tables is being made.
    """
    with ExitStack() as stack:
        held: dict[str, Lease] = {}
        while True:  # the plan may change while the leases are taken
            steps = plan_restore(project, key, to)
            missing = [step.asset for step in steps if step.asset not in held]
            if not missing:
                break
            for name in missing:
                held[name] = stack.enter_context(lease(project.lake, name, run_id, project.settings.lease_s))
        return [_publish(project, step, run_id, held[step.asset], is_chosen=step.asset == key) for step in steps]


def _chosen(key: str, history: Sequence[Entry], latest: Entry, to: int | datetime | None) -> Entry:
    made = [entry for entry in history if entry.status == "materialized"]
    if to is None:
        earlier = [entry for entry in made if entry.data_version != latest.data_version and entry.is_made]
        found = earlier[-1] if earlier else None
        what = "an earlier version with other content"
    elif isinstance(to, int):
        found = next((entry for entry in made if entry.sequence == to), None)
        what = f"entry {to} as a version of the table"
    else:
        found = next((entry for entry in reversed(made) if entry.recorded_at <= to), None)
        what = f"a version recorded before {to:%Y-%m-%d %H:%M} UTC"
    if found is None:
        raise UsageError(f"{key}: expected {what}, found none; `catalunya history {key}` lists the entries")
    return found


def _unavailable(project: Project, asset: Asset, entry: Entry, latest: Entry) -> str:
    """Why an entry cannot be published again, and what to do instead; empty if it can."""
    if find_version(project.lake, asset, entry, latest) is None:
        return (
            f"its objects have expired or are damaged (kept for {asset.keep_days} days after they were replaced); choose a later one with "
            f"`catalunya history {asset.key}`, or restore a backup: `catalunya restore {asset.key} --replace`"
        )
    if entry.columns != {column.name: column.type for column in asset.columns}:
        return (
            "its columns are not those of the present contract; fix the contract or the load and run "
            f"`catalunya materialize {asset.key} --force`"
        )
    return ""


def _history_steps(project: Project, key: str, history: Sequence[Entry], target: Entry) -> list[Step]:
    """The tables downstream that keep history and were made from what is undone, with their version to go back to.

    Of a table's versions, those were made without what is undone whose upstream versions led to the restored ones; best is one made
    from the restored versions themselves.
    """
    clean = {key: [entry.data_version for entry in lineage(history, target)]}
    steps = []
    for asset in project.graph:
        above = [up for up in asset.upstream if up in clean]
        if not above:
            continue
        entries = [entry for entry in project.ledger.history(asset.key) if entry.status == "materialized"]

        def rank(entry: Entry, above: Sequence[str] = above) -> int | None:
            """How many versions before the restored ones it was made from; None if from others."""
            made_from = [(clean[up], entry.versions.get(up)) for up in above]
            if any(version not in known for known, version in made_from if version):
                return None
            # Made without an optional table: without what is undone, and from nothing of what is restored.
            return max(known.index(version) if version else len(known) for known, version in made_from)

        ranked = [(-found, entry.sequence, entry) for entry in entries if (found := rank(entry)) is not None]
        ranked.sort(key=lambda each: each[:2], reverse=True)
        clean[asset.key] = list(dict.fromkeys(entry.data_version for *_, entry in ranked))
        latest = next((entry for entry in reversed(entries) if entry.is_made), None)
        if not asset.keeps_history or latest is None or (ranked and ranked[0][2].data_version == latest.data_version):
            continue
        steps.append(_history_step(project, asset, latest, [entry for *_, entry in ranked]))
    return steps


def _history_step(project: Project, asset: Asset, latest: Entry, entries: Sequence[Entry]) -> Step:
    why = "none of its versions was made without what is undone"
    for entry in entries[:1]:
        why = _unavailable(project, asset, entry, latest)
        if not why:
            return Step(asset.key, entry, latest, _described(entry))
    advice = f"`catalunya materialize {asset.key} --force --full-refresh --accept-change` builds it without its history"
    return Step(asset.key, None, latest, f"{why}; {advice}")


def _described(entry: Entry) -> str:
    return f"as of entry {entry.sequence}, {entry.recorded_at:%Y-%m-%d %H:%M} UTC"


def _publish(project: Project, step: Step, run_id: str, held: Lease, *, is_chosen: bool) -> Step:
    """Put the objects of the entry in place, then record it."""
    if step.entry is None or step.is_done:
        return step
    began, lake, asset, entry = time.monotonic(), project.lake, project.graph[step.asset], step.entry
    context = Context.begin(project, asset.key, Request(run_id=run_id, correlation_id=run_id))
    paths = find_version(lake, asset, entry, step.latest) or []
    sources = {stored.path: (path, stored) for path, stored in zip(paths, entry.objects, strict=True)}
    for path, stored in sources.values():
        if lake.sha256(path) != stored.sha256:
            raise LedgerError(
                f"{asset.key}: checksum mismatch: {path} is corrupt; choose another version, or restore a backup"
            )
    held.check()
    keep_superseded(lake, asset, step.latest, entry.objects)
    there = {found.path: found.size for found in lake.objects(asset.prefix)}
    for to, (path, stored) in sources.items():
        # In place already, if a restore was killed: a folder's copy onto itself would leave a second link behind.
        if there.get(to) == stored.bytes and lake.sha256(to) == stored.sha256:
            continue
        if not lake.copy(path, to):
            raise LedgerError(f"{asset.key}: {path} vanished; run `catalunya verify {asset.key}`")
    lake.delete([path for path in there if path not in sources])
    lake.sync(sorted(sources))
    held.check()
    has_quarantine = bool(entry.quarantine and lake.exists(entry.quarantine))
    restored = replace(
        entry,
        run_id=run_id,
        correlation_id=run_id,
        reason=RESTORED,
        started_at=datetime.now(UTC),
        seconds=time.monotonic() - began,
        # Tables that follow go back as they were: what has changed upstream since makes them stale.
        code_version=asset.code_version if is_chosen else entry.code_version,
        versions=context.state.versions(asset) if is_chosen else entry.versions,
        quarantine=entry.quarantine if has_quarantine else None,
        quarantined=entry.quarantined if has_quarantine else 0,
        is_accepted=True,
        restored=entry.sequence,
        checks=tuple(check for check in entry.checks if check.kind != "guard"),  # the others hold for the same objects
    )
    last = project.ledger.last_attempt(asset.key)
    restored = project.ledger.append(restored, after=last.sequence if last else 0)
    log.info("version_restored", asset=asset.key, entry=entry.sequence, as_entry=restored.sequence)
    context.refresh()
    try:
        maker_of(asset.layer).clean_up(context)
    except CatalogError as error:
        log.warning("catalog_not_updated", asset=asset.key, why=str(error), todo="catalunya catalog sync")
    announce(project, restored)
    return replace(step, latest=restored, is_published=True)

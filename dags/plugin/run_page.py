"""The tab **Made from** of a run: what it made, from which versions, down to the batch and the code.

Here: the content, as plain data. Not here: how it looks (`templates/run.html`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from catalunya.assets.graph.spec import Asset
from catalunya.assets.record.ledger import Entry
from catalunya.assets.record.state import CLOCK
from catalunya.contracts.model.results import Check
from catalunya.dags.plugin.asset_page import checks
from catalunya.dags.plugin.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Made:
    """One version of an asset and what it was made from, down to the batches. `entry` is None where it is not in the ledger any more, or the
    user may not see it."""

    name: str
    version: str
    entry: Entry | None
    readable: bool
    code_is_current: bool = True
    made_from: list[Made] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPage:
    """The whole tab. `also`: what else the run made, such as a landing batch that was needed again."""

    asset: Asset
    run_id: str
    made: Made | None
    also: list[Entry]
    checks: list[Check]
    is_latest: bool


def run_page(snapshot: Snapshot, key: str, run_id: str) -> RunPage:
    """What the tab shows. Raises UsageError if there is no such asset, LakeError or LedgerError when its record cannot be read."""
    asset = snapshot.graph[key]
    entry = snapshot.entry_of_run(key, run_id)
    landings = [up for up in asset.upstream if up in snapshot.readable]
    also = [
        found for up in landings if not snapshot.state.unreadable(up) if (found := snapshot.entry_of_run(up, run_id))
    ]
    latest = snapshot.state.known(key)
    return RunPage(
        asset=asset,
        run_id=run_id,
        made=_made(snapshot, key, entry.data_version, entry) if entry else None,
        also=also,
        checks=checks(entry),
        is_latest=bool(entry and latest and entry.sequence == latest.sequence),
    )


def _made(snapshot: Snapshot, key: str, version: str, entry: Entry | None) -> Made:
    known = key in snapshot.graph
    current = not known or entry is None or entry.code_version == snapshot.graph[key].code_version
    below = []
    for name, each in sorted(entry.versions.items()) if entry else ():
        if name == CLOCK or name not in snapshot.graph:
            below.append(Made(name, each, None, readable=True))
            continue
        readable = name in snapshot.readable
        found = (
            snapshot.made(name, each, entry.recorded_at)
            if entry and readable and not snapshot.state.unreadable(name)
            else None
        )
        below.append(_made(snapshot, name, each, found) if readable else Made(name, each, None, readable=False))
    return Made(key, version, entry, readable=True, code_is_current=current, made_from=below)

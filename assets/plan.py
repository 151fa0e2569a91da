"""What is stale, why, and what a run would do: pure data from the graph and the ledger, nothing touched, no source asked.

The rules of DESIGN section 3 (1, 2, 7, 8) live here. Not here: acting on them (`materialize.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property

from catalunya.assets.graph import AssetGraph
from catalunya.assets.ledger import Entry, Ledger, Listing
from catalunya.assets.paths import manifest_path
from catalunya.assets.spec import Asset, Layer
from catalunya.io.errors import UsageError
from catalunya.io.periods import Window

CLOCK = "clock"


class Reason(StrEnum):
    """Why an asset would be made."""

    MISSING = "MISSING"  # it has never been made
    DATA = "DATA"  # an upstream's data version, or the clock, is not the recorded one
    CODE = "CODE"  # what makes it has changed
    FORCED = "FORCED"  # somebody said so
    CONSUMED = "CONSUMED"  # a landing batch that was deleted after use, or that holds too little, is needed again
    SOURCE = "SOURCE"  # a source is to be asked whether it changed
    UPSTREAM = "UPSTREAM"  # an upstream of this plan may change
    BACKFILL = "BACKFILL"  # some periods of a source are to be read again


@dataclass(frozen=True, slots=True)
class Stale:
    """Why one asset is not what it should be, for a program (`reason`) and for a person (`why`)."""

    key: str
    reason: Reason
    why: str


class State:
    """What the ledger says of a graph at one moment. Read once, so that one decision rests on one picture."""

    def __init__(self, graph: AssetGraph, ledger: Ledger, now: datetime) -> None:
        self.graph, self.ledger, self.now = graph, ledger, now
        self._latest: dict[str, Entry | None] = {}
        self._attempts: dict[str, Entry | None] = {}
        self._stale: dict[str, Stale | None] = {}
        self._has_batch: dict[str, bool] = {}

    def latest(self, key: str) -> Entry | None:
        """The entry that says what the table is now."""
        if key not in self._latest:
            self._latest[key] = self.ledger.latest(key, self._listed)
        return self._latest[key]

    def last_attempt(self, key: str) -> Entry | None:
        """The asset's newest entry, failed or not."""
        if key not in self._attempts:
            self._attempts[key] = self.ledger.last_attempt(key, self._listed)
        return self._attempts[key]

    def versions(self, asset: Asset) -> dict[str, str]:
        """The versions the asset would be made from now; an upstream never made is left out."""
        found = {up: entry.data_version for up in asset.upstream if (entry := self.latest(up))}
        clock = asset.clock_version(self.now)
        return found | ({CLOCK: clock} if clock else {})

    def stale(self, key: str) -> Stale | None:
        """Why the asset is stale, or None. Landing: as far as the ledger knows; only its source can say more."""
        if key not in self._stale:
            self._stale[key] = self._find_stale(self.graph[key])
        return self._stale[key]

    def own_staleness(self, asset: Asset) -> Stale | None:
        """Staleness by the asset's own record: never made, other code, other versions."""
        entry = self.latest(asset.key)
        if entry is None:
            return Stale(asset.key, Reason.MISSING, "it has never been made")
        if entry.code_version != asset.code_version:
            return Stale(asset.key, Reason.CODE, f"its code changed ({entry.code_version} -> {asset.code_version})")
        moved = [name for name, version in self.versions(asset).items() if entry.versions.get(name) != version]
        if moved:
            return Stale(asset.key, Reason.DATA, f"{', '.join(moved)} changed")
        return None

    def failed(self, key: str) -> Entry | None:
        """The asset's last attempt, if it failed on what it would be made from now: trying again means the same."""
        attempt = self.last_attempt(key)
        asset = self.graph[key]
        if attempt is None or attempt.status != "failed" or attempt.code_version != asset.code_version:
            return None
        return attempt if attempt.versions == self.versions(asset) else None

    def lacks(self, key: str) -> str | None:
        """Which upstream the asset cannot be made without: one that was never made, or a landing batch that is gone."""
        for up in self.graph[key].upstream:
            entry = self.latest(up)
            if entry is None:
                failed = self.failed(up)
                return f"{up} has never been made" + (f"; its last attempt failed: {failed.error}" if failed else "")
            if self.graph[up].layer is Layer.LANDING and not self.has_batch(entry):
                return f"the batch of {up} was used and deleted; make {up} again"
            if self.graph[up].layer is Layer.LANDING and not self.serves(entry, key):
                return f"the batch of {up} is only {entry.window}, and all rows are to be made anew; make {up} again"
        return None

    def has_batch(self, entry: Entry) -> bool:
        """Whether the sealed batch of a landing entry is still in the lake."""
        if entry.batch and entry.batch not in self._has_batch:
            self._has_batch[entry.batch] = self.ledger.lake.exists(manifest_path(entry.batch))
        return bool(entry.batch and self._has_batch[entry.batch])

    def serves(self, entry: Entry, key: str) -> bool:
        """Whether the batch of a landing entry is what a table made from it needs now.

        A batch of some periods is enough only where the rows of all others are as they should be: same code, same other inputs.
        """
        made = self.latest(key)
        if not self.has_batch(entry) or not entry.window or made is None:
            return self.has_batch(entry)
        now = self.versions(self.graph[key])
        others_moved = any(made.versions.get(name) != version for name, version in now.items() if name != entry.asset)
        return made.code_version == self.graph[key].code_version and not others_moved

    def blocks_backfill(self, key: str, window: Window) -> list[Stale]:
        """What has to be made before a batch of some periods may be the newest of a landing asset: tables that would miss the
        batch it hides, or whose other rows are not as they should be."""
        latest = self.latest(key)
        found = []
        for down in self.waiting(key):
            made = self.latest(down)
            is_first = made is None and not (latest and self.has_batch(latest))
            is_covered = latest and latest.window and window.covers(latest.window) and self.serves(latest, down)
            stale = self.own_staleness(self.graph[down])
            if stale and not is_first and not is_covered:
                found.append(stale)
        return found

    def waits_for(self, key: str) -> str | None:
        """Why the asset should not be made yet: an upstream that is missing, or that is itself about to be made anew."""
        lacks = self.lacks(key)
        if lacks:
            return lacks
        for up in sorted(self.graph.ancestors(key)):
            stale = self.stale(up)
            if stale and not self.failed(up):
                return f"{up} is stale ({stale.reason}: {stale.why}) and will wake it"
        return None

    def waiting(self, key: str) -> list[str]:
        """The tables that are stale by their own record and are made from this one."""
        return [down.key for down in self.graph.downstream(key) if self.own_staleness(down)]

    @cached_property
    def _listed(self) -> Listing:
        return self.ledger.listing()

    def _find_stale(self, asset: Asset) -> Stale | None:
        own = self.own_staleness(asset)
        if own or asset.layer is not Layer.LANDING:
            return own
        entry = self.latest(asset.key)
        waiting = [down for down in self.waiting(asset.key) if entry and not self.serves(entry, down)]
        if waiting and entry:
            what = f"is only {entry.window}" if self.has_batch(entry) else "was used and deleted"
            why = f"its batch {what}, and {', '.join(waiting)} needs it again"
            return Stale(asset.key, Reason.CONSUMED, why)
        return None


def plan(state: State, selection: Iterable[Asset], *, force: bool = False) -> list[Stale]:
    """What making the selection would do, in dependency order; what is FORCED has to be asked for with force.

    A landing batch that was deleted after use and that a table of the selection needs again joins it.
    """
    chosen = {asset.key for asset in selection}
    steps: dict[str, Stale] = {}
    for asset in state.graph:
        stale = state.stale(asset.key)
        if asset.key not in chosen:
            readers = sorted(down.key for down in state.graph.downstream(asset.key) if down.key in chosen)
            if force and _is_gone(state, asset) and readers:
                why = f"its batch was used and deleted, and {', '.join(readers)} needs it again"
                steps[asset.key] = Stale(asset.key, Reason.FORCED, why)
            elif stale and stale.reason is Reason.CONSUMED and readers:
                steps[asset.key] = stale
            continue
        made_before = [up for up in asset.upstream if up in steps]
        if force:
            steps[asset.key] = Stale(asset.key, Reason.FORCED, "asked for with force")
        elif stale:
            steps[asset.key] = stale
        elif asset.layer is Layer.LANDING:
            steps[asset.key] = Stale(asset.key, Reason.SOURCE, f"{asset.source} is asked whether it changed")
        elif made_before:
            steps[asset.key] = Stale(asset.key, Reason.UPSTREAM, f"if {', '.join(made_before)} changes")
    return list(steps.values())


def plan_backfill(state: State, selection: Iterable[Asset], window: Window) -> list[Stale]:
    """What reading some periods of sources again would do: their landing assets, and all that is made from them.

    The selection are landing assets, or tables made from one. Raises UsageError where a source has no periods.
    """
    sources: set[str] = set()
    for asset in selection:
        found = {asset.key} if asset.layer is Layer.LANDING else {up for up in asset.upstream if _is_landing(state, up)}
        if not found or not all(state.graph[key].has_periods for key in found):
            above = sorted(key for key in state.graph.ancestors(asset.key) if state.graph[key].has_periods)
            todo = f"backfill {' '.join(above)}" if above and not found else f"materialize {asset.key} --force"
            raise UsageError(
                f"{asset.key}: a backfill is expected of a source that can be asked by period ({_with_periods(state.graph)}); "
                f"found another table; `catalunya {todo}` makes it anew"
            )
        sources |= found
    steps = {key: Stale(key, Reason.BACKFILL, f"{window} was asked for") for key in sources}
    for asset in state.graph:
        above = [up for up in asset.upstream if up in steps]
        if above:
            steps[asset.key] = Stale(asset.key, Reason.UPSTREAM, f"if {', '.join(above)} changes")
    return [steps[asset.key] for asset in state.graph if asset.key in steps]


def _is_gone(state: State, asset: Asset) -> bool:
    """Whether a landing asset was made and its batch deleted."""
    entry = state.latest(asset.key)
    return asset.layer is Layer.LANDING and entry is not None and not state.has_batch(entry)


def _is_landing(state: State, key: str) -> bool:
    return state.graph[key].layer is Layer.LANDING


def _with_periods(graph: AssetGraph) -> str:
    return ", ".join(asset.name for asset in graph if asset.has_periods)

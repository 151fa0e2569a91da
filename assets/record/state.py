"""What is stale and why: pure data from the graph and the ledger; nothing is touched, no source is asked.

The rules of docs/architecture.md, invariants 1, 2, 7 and 8, are here. Not here: what a run would do (`assets/making/plan.py`),
doing it (`assets/making/materialize.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property

from catalunya.assets.graph.graph import AssetGraph
from catalunya.assets.graph.spec import Asset, Layer
from catalunya.assets.record.lease import LEASE_S, Held, holder, holders
from catalunya.assets.record.ledger import Entry, Ledger, Listing
from catalunya.assets.record.paths import in_deletion_order, manifest_path
from catalunya.io.errors import LedgerError
from catalunya.io.lake import Object
from catalunya.io.periods import Window

CLOCK = "clock"
MANY = 1000
"""Entries that one request to S3 lists. A run asks about one asset and those above it: it must not list a longer ledger whole."""
FIRST_RETRY, LONGEST_RETRY = timedelta(minutes=10), timedelta(hours=6)
"""How long after a failure that passes the asset is tried again: doubled after each further one, up to the longest."""


class Reason(StrEnum):
    """Why an asset would be made (docs/troubleshooting.md)."""

    MISSING = "MISSING"  # never made
    DATA = "DATA"  # an upstream's data version, or the clock, differs from the recorded one
    CODE = "CODE"  # its function, contract or SQL changed
    FORCED = "FORCED"  # requested with --force
    CONSUMED = "CONSUMED"  # a landing batch that was deleted after use, or holds only some periods, is needed again
    SOURCE = "SOURCE"  # the source will be asked whether it changed
    UPSTREAM = "UPSTREAM"  # an upstream of this plan may change
    BACKFILL = "BACKFILL"  # some periods of a source are read again
    RETRY = "RETRY"  # its last attempt failed for a reason that passes
    UNREADABLE = "UNREADABLE"  # its ledger, or that of a table it reads, cannot be read


@dataclass(frozen=True, slots=True)
class Stale:
    """Why one asset is stale, for programs (`reason`) and for people (`why`)."""

    key: str
    reason: Reason
    why: str


class State:
    """What the ledger says about a graph at one moment. Read once, so that a decision is consistent."""

    def __init__(
        self,
        graph: AssetGraph,
        ledger: Ledger,
        now: datetime,
        lease_s: float = LEASE_S,
        listed: Listing | None = None,
    ) -> None:
        """`listed`: where the ledger's entries are, for those who ask about many assets; else of a long ledger only the folders of the assets
        that are asked about are listed."""
        self.graph, self.ledger, self.now = graph, ledger, now
        self._lease_s = lease_s
        if listed is not None:
            self.listing = listed
        self._numbers: dict[str, Sequence[int]] = {}
        self._unreadable: dict[str, LedgerError] = {}
        self._latest: dict[str, Entry | None] = {}
        self._attempts: dict[str, Entry | None] = {}
        self._stale: dict[str, Stale | None] = {}
        self._coming: dict[str, bool] = {}
        self._has_batch: dict[str, bool] = {}

    def latest(self, key: str) -> Entry | None:
        """The entry that says what the table is now. Raises LedgerError when it cannot be read."""
        if key not in self._latest:
            with self._remembered(key):
                self._latest[key] = self.ledger.latest(key, self._listed(key))
        return self._latest[key]

    def last_attempt(self, key: str) -> Entry | None:
        """The asset's newest entry, failed or not. Raises LedgerError when it cannot be read."""
        if key not in self._attempts:
            with self._remembered(key):
                self._attempts[key] = self.ledger.last_attempt(key, self._listed(key))
        return self._attempts[key]

    def unreadable(self, key: str) -> str | None:
        """What is wrong with the asset's ledger, if it cannot be read. Only this asset and those that read it wait for its repair."""
        try:
            self.latest(key)
            self.last_attempt(key)
        except LedgerError as error:
            return str(error)
        return None

    def known(self, key: str) -> Entry | None:
        """The entry that says what the table is now; None too when that cannot be read."""
        return None if self.unreadable(key) else self.latest(key)

    def holder(self, key: str) -> Held | None:
        """Who is making the asset right now, or None."""
        return holder(self.ledger.lake, key, self._lease_s)

    def holders(self) -> dict[str, Held]:
        """Who is making which asset right now, by one listing. Raises LakeError."""
        return holders(self.ledger.lake, self._lease_s)

    def versions(self, asset: Asset) -> dict[str, str]:
        """The versions the asset would be made from now, without upstreams that were never made."""
        found = {up: entry.data_version for up in asset.upstream if (entry := self.known(up))}
        clock = asset.clock_version(self.now)
        return found | ({CLOCK: clock} if clock else {})

    def stale(self, key: str) -> Stale | None:
        """Why the asset is stale, or None. For landing, as far as the ledger knows: only the source knows more."""
        if key not in self._stale:
            self._stale[key] = self._find_stale(self.graph[key])
        return self._stale[key]

    def own_staleness(self, asset: Asset) -> Stale | None:
        """Staleness by the asset's own record: never made, other code, other versions; or one of these records cannot be read."""
        broken = next((why for key in (asset.key, *asset.upstream) if (why := self.unreadable(key))), None)
        if broken:
            return Stale(asset.key, Reason.UNREADABLE, broken)
        entry = self.latest(asset.key)
        if entry is None:
            return Stale(asset.key, Reason.MISSING, "it has never been made")
        if entry.code_version != asset.code_version:
            return Stale(asset.key, Reason.CODE, f"its code changed ({entry.code_version} -> {asset.code_version})")
        moved = [name for name, version in self.versions(asset).items() if entry.versions.get(name) != version]
        if moved:
            new = [name for name in moved if name in asset.optional and name not in entry.versions]
            changed = [name for name in moved if name not in new]
            changes = [
                *([f"{', '.join(changed)} changed"] if changed else []),
                *(f"{name} is there now" for name in new),
            ]
            return Stale(asset.key, Reason.DATA, "; ".join(changes))
        return None

    def failed(self, key: str) -> Entry | None:
        """The asset's last attempt, if it failed for good on the inputs it would be made from now: trying again would fail the same way."""
        attempt = self.failure(key)
        return None if attempt is None or attempt.transient else attempt

    def failure(self, key: str) -> Entry | None:
        """The asset's last attempt, if it failed on the inputs it would be made from now, for good or for a reason that passes."""
        attempt = None if self.unreadable(key) else self.last_attempt(key)
        asset = self.graph[key]
        if attempt is None or attempt.status != "failed" or attempt.code_version != asset.code_version:
            return None
        return attempt if attempt.versions == self.versions(asset) else None

    def next_try(self, key: str) -> datetime | None:
        """When an asset that failed for a reason that passes is tried again without being asked; None if it did not."""
        attempt = self.failure(key)
        if attempt is None or not attempt.transient:
            return None
        wait = min(FIRST_RETRY * 2 ** min(max(attempt.failures - 1, 0), 16), LONGEST_RETRY)
        # Recorded by a clock that was ahead: the time says nothing.
        return min(attempt.recorded_at, self.now) + wait if attempt.recorded_at <= self.now + wait else self.now

    def lacks(self, key: str) -> str | None:
        """The upstream that keeps the asset from being made: one that was never made, or a landing batch that is gone."""
        return next((why for _, why in self._lacks(key)), None)

    def without(self, key: str) -> list[str]:
        """The optional tables that the table as it is now was made without, be it in a table that it was made from."""
        readers = (asset for at in (key, *self.graph.ancestors(key)) if (asset := self.graph[at]).optional)
        made = ((asset, entry) for asset in readers if (entry := self.known(asset.key)))
        return sorted({up for _, entry in made for up in self.gaps(entry)})

    def gaps(self, entry: Entry) -> list[str]:
        """The optional tables that a version was made without.

        A restored one has the present versions of what its table is made from, so that it stays; the one that it restored tells.
        """
        optional = self.graph[entry.asset].optional
        while optional and entry.restored and not self.unreadable(entry.asset):
            past = {each.sequence: each for each in self.ledger.history(entry.asset)}
            if entry.restored not in past:
                break
            entry = past[entry.restored]
        return [up for up in optional if up not in entry.versions]

    def goes_without(self, key: str) -> list[str]:
        """The optional tables that the asset would be made without now: never made, and not about to be."""
        return [up for up in self.graph[key].optional if self.known(up) is None and not self.is_coming(up)]

    def has_batch(self, entry: Entry) -> bool:
        """Whether the sealed batch of a landing entry is still in the lake."""
        if entry.batch and entry.batch not in self._has_batch:
            self._has_batch[entry.batch] = self.ledger.lake.exists(manifest_path(entry.batch))
        return bool(entry.batch and self._has_batch[entry.batch])

    def serves(self, entry: Entry, key: str) -> bool:
        """Whether the batch of a landing entry is enough to make a table from now.

        A backfill's batch is enough only if the rows of all other periods are up to date: same code, same other inputs.
        """
        made = self.known(key)
        if not self.has_batch(entry) or not entry.window or made is None:
            return self.has_batch(entry)
        now = self.versions(self.graph[key])
        others_moved = any(made.versions.get(name) != version for name, version in now.items() if name != entry.asset)
        return made.code_version == self.graph[key].code_version and not others_moved

    def used_batch(self, landing: Asset) -> list[Object]:
        """The objects of a landing asset's last batch, in deletion order, once every table made from it recorded its use."""
        entry, consumers = self.known(landing.key), self.graph.downstream(landing.key)
        # A table that is stale for another reason (its code, say) needs the batch once more.
        if entry is None or entry.batch is None or not consumers or any(map(self.own_staleness, consumers)):
            return []
        return in_deletion_order(self.ledger.lake.objects(entry.batch))

    def neglected(self, selection: Iterable[Asset]) -> list[Stale]:
        """What nothing will make unless it is triggered: stale, waiting for no upstream, not failed for good on the same inputs, and
        held by no run. Or its last attempt failed for a reason that passes, and the next try is due. In the order of the selection."""
        return [
            stale
            for asset in selection
            if (stale := self.stale(asset.key) or self._retry(asset.key)) and not self.held_back(asset.key)
        ]

    def held_back(self, key: str) -> str | None:
        """Why nothing triggers an asset that is stale or failed; None if something should."""
        if waits := self.unreadable(key) or self.waits_for(key):
            return waits
        failure, at = self.failure(key), self.next_try(key)
        if failure and not failure.transient:
            return f"it failed for good, and what it is made from has not changed since: {failure.error}"
        if failure and at and at > self.now:
            return f"the next try is at {at:%Y-%m-%d %H:%M} UTC, after {failure.failures} failed runs: {failure.error}"
        held = self.holder(key)
        return f"run {held.run_id} is making it" if held else None

    def blocks_backfill(self, key: str, window: Window) -> list[Stale]:
        """What must be made before a backfill's batch may become the newest of a landing asset: tables that still need the batch it
        replaces, or whose other rows are out of date."""
        latest = self.latest(key)
        found = [stale for down in self.graph.downstream(key) if (stale := self._unreadable_stale(down))]
        for down in self.waiting(key):
            made = self.latest(down)
            is_first = made is None and not (latest and self.has_batch(latest))
            is_covered = latest and latest.window and window.covers(latest.window) and self.serves(latest, down)
            stale = self.own_staleness(self.graph[down])
            if stale and not is_first and not is_covered:
                found.append(stale)
        return found

    def waits_for(self, key: str) -> str | None:
        """Why the asset should not be made yet: an upstream is missing, or is itself about to be made."""
        return next((why for _, why in self._waits_for(key)), None)

    def is_coming(self, key: str) -> bool:
        """Whether an asset is stale and about to be made: neither it nor anything that it waits for has failed."""
        if key not in self._coming:
            stale = self.stale(key)
            is_due = stale is not None and stale.reason is not Reason.UNREADABLE and self.failure(key) is None
            self._coming[key] = is_due and all(self.is_coming(up) for up, _ in self._waits_for(key))
        return self._coming[key]

    def waiting(self, key: str) -> list[str]:
        """The tables made from this one that are stale by their own record, if that can be read."""
        found = (self.own_staleness(down) for down in self.graph.downstream(key))
        return [stale.key for stale in found if stale and stale.reason is not Reason.UNREADABLE]

    def _lacks(self, key: str) -> Iterator[tuple[str, str]]:
        """The upstreams that keep the asset from being made, each with why. An optional one that was never made does not."""
        asset = self.graph[key]
        for up in asset.upstream:
            if broken := self.unreadable(up):
                yield up, broken
                continue
            entry = self.latest(up)
            if entry is None:
                if up not in asset.optional:
                    yield up, f"{up} has never been made{self._delayed(up)}"
            elif self.graph[up].layer is Layer.LANDING and not self.has_batch(entry):
                yield up, f"the batch of {up} was used or damaged, and deleted; make {up} again"
            elif self.graph[up].layer is Layer.LANDING and not self.serves(entry, key):
                yield (
                    up,
                    f"the batch of {up} only holds periods {entry.window}, and all rows must be rebuilt; make {up} again",
                )

    def _waits_for(self, key: str) -> Iterator[tuple[str, str]]:
        """What the asset waits for, each with why: what it lacks, then everything above it that is about to be made.

        What is only needed for an optional table is waited for as long as nothing there has failed, not even for a reason that passes.
        """
        yield from self._lacks(key)
        required = self.graph.required(key)
        for up in sorted(self.graph.ancestors(key)):
            stale = self.stale(up)
            # A ledger that cannot be read changes nothing below until it is repaired.
            if stale is None or stale.reason is Reason.UNREADABLE:
                continue
            is_needed = up in required
            if stale.reason is Reason.CONSUMED:  # a batch that only an optional table still needs
                is_needed = is_needed and not {key, *required}.isdisjoint(self.waiting(up))
            if not self.failed(up) if is_needed else self.is_coming(up):
                yield up, f"{up} is stale ({stale.reason}: {stale.why}) and will wake it{self._delayed(up)}"

    def _unreadable_stale(self, asset: Asset) -> Stale | None:
        stale = self.own_staleness(asset)
        return stale if stale and stale.reason is Reason.UNREADABLE else None

    def _retry(self, key: str) -> Stale | None:
        failure = self.failure(key)
        return Stale(key, Reason.RETRY, f"its last attempt failed: {failure.error}") if failure else None

    def _delayed(self, key: str) -> str:
        """What to add about an upstream that failed."""
        failure, at = self.failure(key), self.next_try(key)
        if failure is None:
            return ""
        when = f" (the next try is at {at:%Y-%m-%d %H:%M} UTC)" if at else ""
        return f"; its last attempt failed{when}: {failure.error}"

    @contextmanager
    def _remembered(self, key: str) -> Iterator[None]:
        """Read a ledger that cannot be read once, and raise the same error from then on."""
        if key in self._unreadable:
            raise self._unreadable[key]
        try:
            yield
        except LedgerError as error:
            self._unreadable[key] = error
            raise

    @cached_property
    def listing(self) -> Listing | None:
        """Where all entries are; None if each asset is listed by itself. Raises LakeError."""
        return self.ledger.listed(MANY)

    def _listed(self, key: str) -> Listing:
        """Where at least the asset's entries are. Raises LedgerError if its folder cannot be listed."""
        if self.listing is not None:
            return self.listing
        folder = self.ledger.folder(key)
        if folder not in self._numbers:
            self._numbers[folder] = self.ledger.numbers(key)
        return self._numbers

    def _find_stale(self, asset: Asset) -> Stale | None:
        own = self.own_staleness(asset)
        if own or asset.layer is not Layer.LANDING:
            return own
        entry = self.latest(asset.key)
        waiting = [down for down in self.waiting(asset.key) if entry and not self.serves(entry, down)]
        if waiting and entry:
            what = f"only holds periods {entry.window}" if self.has_batch(entry) else "was used or damaged, and deleted"
            why = f"its batch {what}, and {', '.join(waiting)} needs it again"
            return Stale(asset.key, Reason.CONSUMED, why)
        return None

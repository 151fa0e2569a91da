"""What the ledger says is wrong: tables that failed, are stale for too long or look unlike themselves, and sources that are late.

Here: from the state of the graph to what is seen, the cause and the remedy in words. Not here: how long things may take
(`freshness.py`), what is unusual (`unusual.py`), what Airflow says (`airflow.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from catalunya.assets.graph.alternatives import FIRST
from catalunya.assets.graph.spec import Asset, Layer
from catalunya.assets.record.failing import Failing, acknowledged, failing
from catalunya.assets.record.index import Index
from catalunya.assets.record.ledger import Entry
from catalunya.assets.record.source_checks import SourceCheck, kept
from catalunya.assets.record.state import Reason, State
from catalunya.io.errors import LakeError
from catalunya.ops.watching.breaking import Broken, broken
from catalunya.ops.watching.findings import Kind, Seen, Severity
from catalunya.ops.watching.freshness import Expectations
from catalunya.ops.watching.unusual import unusual

AHEAD = timedelta(minutes=5)
"""How far in the future a run may have been recorded: clocks differ a little."""
_SOURCE_ERRORS = {"SourceUnavailable", "DeadlineReached", "SourceError"}
_FULL = ("No space left", "no space left", "the disk is full", "Disk quota exceeded")


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables at one moment, as a look needs them."""

    state: State
    index: Index
    expectations: Expectations
    stale_since: Mapping[str, datetime]

    @property
    def now(self) -> datetime:
        return self.state.now

    def seen(self) -> Iterator[Seen]:
        """What is wrong with each table and its source."""
        failures = {asset.key: found for asset in self.state.graph if (found := failing(self.state, asset.key))}
        full = {key: found for key, found in failures.items() if any(text in found.error for text in _FULL)}
        yield from self._full(full)
        late: set[str] = set()
        for asset in self.state.graph:
            if found := failures.get(asset.key):
                if asset.key not in full:
                    yield self._failed(asset, found)
            # Below a table that failed or is stale, staleness is part of its finding, in `affected`.
            elif not (failures.keys() | late) & self.state.graph.ancestors(asset.key):
                for each in self._stale(asset):
                    late.add(asset.key)
                    yield each
            if asset.layer is Layer.LANDING:
                yield from self._source(asset)
            yield from self._drift(asset)
        yield from self._unusual()
        yield from self._ahead()

    def still_stale(self) -> dict[str, datetime]:
        """Since when each table that is stale now has been, as far as anyone has seen."""
        return {asset.key: self._since(asset) for asset in self.state.graph if self.state.stale(asset.key)}

    def _failed(self, asset: Asset, found: Failing) -> Seen:
        failure = self.state.failure(asset.key)
        name, _, text = found.error.partition(": ")
        if failure is None:
            kind, remedy = (
                Kind.LEDGER_UNREADABLE,
                "`catalunya verify --repair` moves the entry away; then the table is made again",
            )
        elif asset.layer is Layer.LANDING and name in _SOURCE_ERRORS:
            kind, remedy = Kind.SOURCE_DOWN, f"`catalunya sources check {asset.key}` asks it now{_instead(asset)}"
        else:
            kind, remedy = Kind.TABLE_FAILED, f"`catalunya show {asset.key}` and `catalunya history {asset.key}`"
            if failure.quarantine:
                remedy = f"`catalunya quarantine {asset.key}` shows the rows; {remedy}"
        if found.passes and (at := self.state.next_try(asset.key)):
            remedy = f"nothing yet: it is tried again at {at:%Y-%m-%d %H:%M} UTC; {remedy}"
        known = acknowledged(self.state.ledger.lake, found)
        hit = broken(self.state.graph, asset, [found.error]) if kind is Kind.TABLE_FAILED else None
        if hit:
            remedy = _BROKEN.format(asset.key, asset.module)
        return self._about(
            asset,
            kind,
            Severity.WARNING if found.passes else Severity.ERROR,
            what=_FAILED[kind].format(asset.key) + (f": in its source, {hit.what}" if hit else ""),
            cause=f"{text or found.error}; {hit.text}" if hit else text or found.error,
            remedy=remedy,
            since=found.since,
            measure=failure.failures if failure else 0,
            known=known.text if known else "",
        )

    def _stale(self, asset: Asset) -> Iterator[Seen]:
        stale, allowed = self.state.stale(asset.key), self.expectations.stale[asset.key]
        late = (self.now - self._since(asset)) / timedelta(hours=1)
        if stale is None or stale.reason is Reason.UNREADABLE or late <= allowed.hours:
            return
        yield self._about(
            asset,
            Kind.TABLE_STALE,
            Severity.ERROR if late > 4 * allowed.hours else Severity.WARNING,
            what=f"{asset.key} has been out of date for {late:.0f} h; {allowed.hours:g} h are allowed ({allowed.why})",
            cause=f"{stale.reason}: {stale.why}; {self.state.held_back(asset.key) or 'nothing is making it'}",
            remedy=f"`catalunya materialize +{asset.key}`, or look at its runs in Airflow",
            since=self._since(asset),
            measure=late,
        )

    def _since(self, asset: Asset) -> datetime:
        """When what it is made from changed; where nothing recorded that, when a look first saw it."""
        entry = self.state.known(asset.key)
        ups = [up for key in asset.upstream if (up := self.state.known(key))]
        changed = [up.recorded_at for up in ups if entry and entry.versions.get(up.asset) != up.data_version]
        seen = self.stale_since.get(asset.key, self.now)
        return min([self.now, seen, *changed])  # a look by a clock that was ahead saw it in the future

    def _source(self, asset: Asset) -> Iterator[Seen]:
        latest, expected = self.state.known(asset.key), self.expectations.updated.get(asset.key)
        updated = latest.source_updated_at if latest else None
        late = (self.now - updated) / timedelta(hours=1) - expected.hours if updated and expected else 0
        if updated and expected and late > 0:
            yield self._about(
                asset,
                Kind.SOURCE_OVERDUE,
                Severity.ERROR if late > expected.hours else Severity.WARNING,
                what=f"the source of {asset.key} was last updated on {updated:%Y-%m-%d}, {_long(late)} later than expected",
                cause=expected.why,
                remedy=f"look at the dataset's page ({asset.source}), or ask its publisher; `[watch.source_hours]` changes what is expected",
                since=updated + timedelta(hours=expected.hours),
                measure=late,
            )

    def checks(self) -> Iterator[Seen]:
        """What the last check of each source found, unless its table was made, or another source declared, since then."""
        for asset in self.state.graph.select(f"layer:{Layer.LANDING}"):
            yield from self._standbys(asset)
            latest = self.state.known(asset.key)
            try:
                check = kept(self.state.ledger.lake, asset.key)
            except LakeError:  # it is kept again next week
                continue
            is_old = check is None or check.source != asset.source or (latest and latest.recorded_at > check.at)
            if check is None or is_old or failing(self.state, asset.key):
                continue
            gone = _gone(check, latest)
            if hit := broken(self.state.graph, asset, [*check.problems, *gone]):
                yield self._breaking(asset, hit, "; ".join(check.problems or gone), check.at)
                continue
            if not check.problems:
                continue
            yield self._about(
                asset,
                Kind.SOURCE_MISMATCH,
                Severity.WARNING,
                what=check.text.partition(":")[0] + f": {asset.key}",
                cause="; ".join(check.problems),
                remedy=f"`catalunya sources check {asset.key}` asks it now; correct `{asset.module}` if the source has changed",
                since=check.at,
            )

    def _standbys(self, asset: Asset) -> Iterator[Seen]:
        """What the last check found of sources that are not in use: one that is needed some day must not be found dead then."""
        for name in asset.standbys:
            try:
                check = kept(self.state.ledger.lake, asset.key, name)
            except LakeError:  # it is kept again next week
                continue
            if check and check.problems:
                yield Seen(
                    kind=Kind.SOURCE_MISMATCH,
                    subject=f"{asset.key}.{name}",
                    severity=Severity.WARNING,
                    what=f"{check.source}, the source that {asset.key} could be read from instead, cannot take its place",
                    cause="; ".join(check.problems),
                    remedy=f"`catalunya sources check {asset.key}` asks it now; correct `{asset.module}` if it has changed",
                    since=check.at,
                )

    def _drift(self, asset: Asset) -> Iterator[Seen]:
        entry = self._newest(asset)
        if not entry or not entry.drift or failing(self.state, asset.key):
            return
        if hit := broken(self.state.graph, asset, [entry.drift]):
            yield self._breaking(asset, hit, entry.drift, entry.recorded_at)
        else:
            yield self._about(
                asset,
                Kind.DRIFT,
                Severity.WARNING,
                what=f"the source of {asset.key} changed its fields",
                cause=entry.drift,
                remedy=f"`catalunya history {asset.key}`; then update its contract",
                since=entry.recorded_at,
            )

    def _breaking(self, asset: Asset, hit: Broken, why: str, since: datetime) -> Seen:
        return Seen(
            kind=Kind.CONTRACT_BREAKING,
            subject=asset.key,
            severity=Severity.WARNING,
            what=f"the source of {asset.key} has changed: {hit.what}",
            cause=f"{why}; {hit.text}",
            remedy=_BROKEN.format(asset.key, asset.module),
            since=since,
            affected=hit.tables,
        )

    def _unusual(self) -> Iterator[Seen]:
        for found in unusual(self.index.rows):
            if found.asset not in self.state.graph or failing(self.state, found.asset):
                continue
            yield self._about(
                self.state.graph[found.asset],
                found.kind,
                Severity.WARNING,
                what=f"{found.asset}: {found.what}",
                cause=found.cause,
                remedy=f"`catalunya history {found.asset}`; if it is wrong, `catalunya restore-version {found.asset}` undoes it",
                since=found.at,
                measure=found.measure,
            )

    def _ahead(self) -> Iterator[Seen]:
        """Runs that were recorded in the future: some clock is, or was, ahead."""
        ahead = [e for asset in self.state.graph if (e := self._newest(asset)) and e.recorded_at > self.now + AHEAD]
        if ahead:
            furthest = max(ahead, key=lambda entry: entry.recorded_at)
            hours = (furthest.recorded_at - self.now) / timedelta(hours=1)
            yield Seen(
                kind=Kind.CLOCK_WRONG,
                subject="ledger",
                severity=Severity.ERROR,
                what=f"{furthest.asset} was recorded {_long(hours)} in the future",
                cause=f"the clock of the machine of run {furthest.run_id}, or the one of this machine, is wrong",
                remedy="set both clocks (`timedatectl status`); the entries stay valid, their times do not",
                measure=hours,
                affected=tuple(sorted(entry.asset for entry in ahead)),
            )

    def _full(self, full: Mapping[str, Failing]) -> Iterator[Seen]:
        if full:
            first = min(full.values(), key=lambda found: found.since or self.now)
            yield Seen(
                kind=Kind.DISK_FULL,
                subject="tables",
                severity=Severity.ERROR,
                what=f"no space is left on the disk: {', '.join(full)} could not be made",
                cause=first.error,
                remedy="free space where the lake and the temporary files are (`catalunya prune` deletes what has expired); what failed is tried again",
                since=first.since,
                affected=tuple(sorted(set(full).union(*(self.state.graph.descendants(key) for key in full)))),
            )

    def _newest(self, asset: Asset) -> Entry | None:
        return None if self.state.unreadable(asset.key) else self.state.last_attempt(asset.key)

    def _about(self, asset: Asset, kind: Kind, severity: Severity, **more: object) -> Seen:
        affected = tuple(sorted(self.state.graph.descendants(asset.key)))
        return Seen(kind=kind, subject=asset.key, severity=severity, affected=affected, **more)  # type: ignore[arg-type]


_BROKEN = "`catalunya sources check {0}` asks the source now; if the change stays, adapt the contract and `{1}`, and tell those who read these columns"
_FAILED = {
    Kind.LEDGER_UNREADABLE: "the ledger of {} cannot be read",
    Kind.SOURCE_DOWN: "the source of {} cannot be read",
    Kind.TABLE_FAILED: "{} could not be made",
}


def _instead(asset: Asset) -> str:
    """How to read a landing table from another source, if one is declared."""
    if not asset.standbys:
        return ""
    other = asset.standbys[0]
    return f"; if it will not be back, `catalunya sources switch {asset.name} {'--back' if other == FIRST else other}` (docs/continuity.md)"


def _gone(check: SourceCheck, latest: Entry | None) -> list[str]:
    """Declared fields that the source had when its table was last made, and has no more: no problem of its own if they are not required."""
    gone = [name for name in check.missing if latest and name in latest.fields]
    return [f"missing {', '.join(gone)}"] if gone else []


def _long(hours: float) -> str:
    return f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} days"

"""The ONE path by which any table is made: plan, produce, check, publish, record, clean up (DESIGN section 3).

A plain function: the CLI, an Airflow task and a Lambda handler all call `materialize`. Here: the order of the steps and
what holds between them. Not here: whether there is anything to make (`decide.py`), how each layer's candidate is made
(`extract.py`, `transform.py`, `build.py`).
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import structlog

from catalunya.assets.graph.spec import Asset, Layer
from catalunya.assets.making.deadline import check_time
from catalunya.assets.making.decide import Outcome, Request, decide
from catalunya.assets.making.produce import Options, Produced, produce
from catalunya.assets.record import catalog_tables as catalogd
from catalunya.assets.record import superseded
from catalunya.assets.record.lease import Lease, lease
from catalunya.assets.record.ledger import Entry, content_version, new_run_id
from catalunya.assets.record.project import Project
from catalunya.assets.record.retention import used_batch
from catalunya.assets.record.state import Stale
from catalunya.io.errors import (
    CatalogError,
    CatalunyaError,
    DeadlineReached,
    LeaseHeld,
    LeaseLost,
    TransientError,
)
from catalunya.io.safe_text import safe_text

if TYPE_CHECKING:
    from catalunya.io.sources.base import SourceState

__all__ = ["Observer", "Outcome", "Progress", "Request", "Step", "materialize"]

log = structlog.get_logger(__name__)

Step = Literal["leased", "producing", "produced", "publishing", "published", "recorded", "cleaned"]


@dataclass(frozen=True, slots=True)
class Progress:
    """One step of a materialization, told as it happens: `done` of `total` rows or objects, where there is a count."""

    asset: str
    step: Step
    done: int = 0
    total: int = 0


Observer = Callable[[Progress], None]


def materialize(
    project: Project, key: str, request: Request | None = None, observer: Observer | None = None
) -> Outcome:
    """Make one asset, if there is reason to. Safe to kill at any instruction and to run again.

    Raises a CatalunyaError when it cannot be made; the failure is recorded and the published table stays as it was.
    """
    making = _Making(project, project.graph[key], request or Request(), observer or _unheard)
    with structlog.contextvars.bound_contextvars(asset=key, run_id=making.run_id, correlation_id=making.correlation_id):
        try:
            outcome = making.run()
        except CatalunyaError as error:
            log.error(  # noqa: TRY400  one line: the message says it all
                "materialization_failed", error=str(error), transient=isinstance(error, TransientError)
            )
            raise
        if outcome.status == "materialized" and (entry := outcome.entry):
            log.info(
                "materialized",
                reason=entry.reason,
                rows=entry.rows,
                bytes=entry.bytes,
                quarantined=entry.quarantined,
                seconds=round(entry.seconds, 3),
            )
        else:
            log.info(outcome.status, why=outcome.why)
        return outcome


@dataclass
class _Making:
    """One asset on its way through the steps."""

    project: Project
    asset: Asset
    request: Request
    observer: Observer
    now: datetime = field(init=False)
    run_id: str = field(init=False)
    correlation_id: str = field(init=False)
    source_state: SourceState | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.started = time.monotonic()
        self.now = self.request.now or datetime.now(UTC)
        self.state = self.project.state(self.now)
        self.run_id = self.request.run_id or new_run_id(self.now)
        self.correlation_id = self.request.correlation_id or self._correlation_of_upstream() or self.run_id

    def run(self) -> Outcome:
        """Find out what there is to do, and do it under the asset's lease."""
        # First without the lease: most ticks find nothing to do, and that must cost next to nothing.
        seen = self._last_number()
        decision = self._decide()
        if isinstance(decision, Outcome):
            return decision
        with lease(self.project.lake, self.asset.key, self.run_id, self.project.settings.lease_s) as held:
            self._tell("leased")
            after = self._last_number()
            if after != seen:  # another run recorded something in between
                self.state = self.project.state(self.now)
                decision = self._decide()
            if isinstance(decision, Outcome):
                return decision
            try:
                return self._make(decision, held, after)
            # Nothing failed that says anything of the table; with the last one, what was made is recorded by then.
            except (LeaseHeld, LeaseLost, CatalogError):
                raise
            except Exception as error:
                # An extraction goes on from where its time ended. A table that is not made in its time is one that failed, or
                # whoever looks for what is stale would have it begun anew for ever. A backfill says nothing of the table as it is.
                is_on_its_way = isinstance(error, DeadlineReached) and self.asset.layer is Layer.LANDING
                if not is_on_its_way and not self.request.window:
                    self._record_failure(decision, after, error)
                raise

    def _decide(self) -> Stale | Outcome:
        """Why the asset is to be made now, or why not; then what another run left to be cleaned up is."""
        decision = decide(self.project, self.asset, self.state, self.request)
        self.source_state = decision.source_state
        if isinstance(decision.what, Outcome) and decision.what.status == "skipped":
            self._clean_up()
        return decision.what

    def _make(self, stale: Stale, held: Lease, after: int) -> Outcome:
        """Produce, check, publish, record, clean up."""
        options = Options(
            accept_shrink=self.request.accept_shrink,
            replay=self.request.replay,
            full_refresh=self.request.full_refresh,
            window=self.request.window,
            source_state=self.source_state,
            ends_at=self.request.ends_at,
        )
        with tempfile.TemporaryDirectory(prefix="catalunya-", dir=self.project.settings.scratch) as scratch:
            self._tell("producing")
            produced = produce(
                self.project,
                self.state,
                self.asset,
                options,
                self.now,
                Path(scratch),
                lambda done, total: self._tell("producing", done, total),
            )
            self._tell("produced")
            entry = self._entry(stale, produced)
            if self.asset.layer is Layer.LANDING and self._is_known(entry):
                return self._record_unchanged(entry, after)
            if self.asset.layer is Layer.STAGING:  # a landing batch is in its place; a mart has no such limit
                check_time(self.asset.key, self.request.ends_at, f"{produced.rows:,} rows are ready to be published")
            held.check()
            self._publish(produced)
            held.check()
        entry = self.project.ledger.append(entry, after=after)
        self._tell("recorded")
        self.state = self.project.state(self.now)
        self._clean_up()
        self._tell("cleaned")
        return Outcome(self.asset.key, "materialized", stale.why, entry)

    def _publish(self, produced: Produced) -> None:
        """Put every object in its place, and take away those of partitions that ceased to exist; keep what is replaced."""
        lake = self.project.lake
        if self.asset.layer is not Layer.LANDING:
            superseded.keep(lake, self.asset, self.state.latest(self.asset.key), produced.objects)
        for number, file in enumerate(produced.files, start=1):
            lake.put(file.stored.path, file.local)
            self._tell("publishing", number, len(produced.files))
        kept = {stored.path for stored in produced.objects}
        if self.asset.layer is not Layer.LANDING:
            lake.delete([o.path for o in lake.objects(self.asset.prefix) if o.path not in kept])
        if produced.quarantine and produced.quarantine_path:
            lake.put(produced.quarantine_path, produced.quarantine)
            kept.add(produced.quarantine_path)
        lake.sync(sorted(kept))
        self._tell("published")

    def _entry(self, stale: Stale, produced: Produced) -> Entry:
        return replace(
            self._blank_entry(stale),
            data_version=content_version(produced.objects),
            rows=produced.rows,
            bytes=sum(stored.bytes for stored in produced.objects),
            objects=produced.objects,
            columns={column.name: column.type for column in self.asset.columns},
            drift=produced.drift,
            duplicates=produced.duplicates,
            discarded=produced.discarded,
            quarantined=produced.quarantined,
            quarantine=produced.quarantine_path,
            source_version=produced.source_version,
            source_updated_at=produced.source_updated_at,
            batch=produced.batch,
            requests=produced.requests,
            window=produced.window,
        )

    def _blank_entry(self, stale: Stale) -> Entry:
        return Entry(
            asset=self.asset.key,
            sequence=0,
            status="materialized",
            run_id=self.run_id,
            correlation_id=self.correlation_id,
            reason=stale.reason,
            started_at=self.now,
            seconds=time.monotonic() - self.started,
            code_version=self.asset.code_version,
            versions=self.state.versions(self.asset),
        )

    def _is_known(self, entry: Entry) -> bool:
        """Whether a landing batch brings what its consumers have made their tables of already."""
        previous = self.state.latest(entry.asset)
        consumers = self.project.graph.downstream(entry.asset)
        return (
            not self.request.force
            and previous is not None
            and previous.data_version == entry.data_version
            and previous.code_version == entry.code_version
            and all(self.state.own_staleness(consumer) is None for consumer in consumers)
        )

    def _record_unchanged(self, entry: Entry, after: int) -> Outcome:
        """The source moved, its content did not: remember its version, drop the batch, wake nobody."""
        previous = self.state.latest(entry.asset)
        assert previous is not None
        assert entry.batch is not None
        batch = entry.batch
        entry = replace(entry, status="unchanged", batch=previous.batch, objects=previous.objects)
        entry = self.project.ledger.append(entry, after=after)
        self._tell("recorded")
        self.project.lake.delete([o.path for o in self.project.lake.objects(batch)])
        return Outcome(self.asset.key, "skipped", "the source moved, its content did not", entry)

    def _record_failure(self, stale: Stale, after: int, error: Exception) -> None:
        """Record that the attempt failed; if even that cannot be written, say so and let the first error stand."""
        failed = replace(self._blank_entry(stale), status="failed", error=f"{type(error).__name__}: {safe_text(error)}")
        try:
            self.project.ledger.append(failed, after=after)
        except CatalunyaError as second:
            log.warning("failure_not_recorded", error=str(second))

    def _clean_up(self) -> None:
        """Delete the landing batches that this staging table's entry shows as consumed, only those, and tell the catalog.

        Runs after every record, and again whenever there is nothing else to do, so that a kill in between heals.
        """
        if self.asset.layer is Layer.STAGING:
            for up in self.project.graph.upstream(self.asset.key):
                if up.layer is Layer.LANDING:
                    self.project.lake.delete([found.path for found in used_batch(self.state, up)])
        catalogd.publish(self.project, self.asset, self.state)

    def _last_number(self) -> int:
        """The number of the asset's last ledger entry, 0 when there is none."""
        last = self.project.ledger.last_attempt(self.asset.key)
        return last.sequence if last else 0

    def _correlation_of_upstream(self) -> str | None:
        """The wave that brought the newest upstream data: it carries on from landing to marts."""
        entries = [entry for up in self.asset.upstream if (entry := self.state.latest(up))]
        return max(entries, key=lambda entry: entry.started_at).correlation_id if entries else None

    def _tell(self, step: Step, done: int = 0, total: int = 0) -> None:
        self.observer(Progress(self.asset.key, step, done, total))


def _unheard(_: Progress) -> None:
    """The observer of those who do not listen."""

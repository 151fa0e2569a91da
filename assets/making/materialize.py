"""The one path by which every table is made: plan, make, check, publish, record, clean up (docs/architecture.md).

A plain function: the CLI, an Airflow task and a Lambda handler all call `materialize`. Here: the order of the steps and what
holds between them. Not here: what is stale (`assets/record/state.py`), how a layer's candidate is made (`landing.py`,
`staging.py`, `marts.py`).
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import structlog

from catalunya.assets.graph.spec import Layer, digest
from catalunya.assets.making.maker import Candidate, Context
from catalunya.assets.making.request import Observer, Outcome, Request, made_by
from catalunya.assets.record.announce import announce
from catalunya.assets.record.lease import Lease, lease
from catalunya.assets.record.ledger import Entry, content_version
from catalunya.assets.record.paths import quarantine_path
from catalunya.assets.record.project import Project
from catalunya.assets.record.state import Reason, Stale
from catalunya.io.errors import (
    BackfillBlocked,
    CatalogError,
    CatalunyaError,
    ContractError,
    DeadlineReached,
    FunctionLost,
    LeaseHeld,
    LeaseLost,
    LedgerError,
    SourceError,
    SourceUnavailable,
    TransientError,
    UsageError,
    in_passing,
    one_line,
)
from catalunya.io.log import get_logger
from catalunya.io.safe_text import safe_text
from catalunya.io.sources.traffic import counting

log = get_logger(__name__)


def materialize(
    project: Project, key: str, request: Request | None = None, observer: Observer | None = None
) -> Outcome:
    """Make one asset if there is a reason to. Safe to kill at any instruction and to run again.

    Raises a CatalunyaError when it cannot be made; the failure is recorded and the published table stays as it was.
    """
    context = Context.begin(project, key, request or Request(), observer)
    with structlog.contextvars.bound_contextvars(
        asset=key, run_id=context.run_id, correlation_id=context.correlation_id
    ):
        try:
            with counting(context.traffic):
                return _logged(context)
        finally:
            if context.recorded:
                announce(project, context.recorded)


def _logged(context: Context) -> Outcome:
    try:
        outcome = _run(context)
    except CatalunyaError as error:
        log.error(  # noqa: TRY400  the message says it all; a traceback adds nothing
            "materialization_failed", error=str(error), transient=isinstance(error, TransientError)
        )
        raise
    except Exception as error:  # a bug, or what a library raised
        found, is_bug = one_line(error)
        transient = in_passing(error) is not None
        log.exception("materialization_failed", error=found, transient=transient, exc_info=is_bug)
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


def decide(context: Context) -> Stale | Outcome:
    """Why the asset is to be made now, or the outcome without making it. At most one request to its source.

    Raises UsageError for what cannot be asked of it, BackfillBlocked, and what asking the source raises.
    """
    state, asset, request, latest = context.state, context.asset, context.request, context.previous
    if request.window:
        return _decide_backfill(context)
    if request.replay:
        return _decide_replay(context)
    stale = Stale(asset.key, Reason.FORCED, "forced") if request.force else state.stale(asset.key)
    stale = stale or context.maker.find_new(context)
    if stale is None:
        return Outcome(asset.key, "skipped", "up to date", latest)
    waits = state.lacks(asset.key) if request.force else state.waits_for(asset.key)
    return Outcome(asset.key, "deferred", waits, latest) if waits else stale


def _decide_replay(context: Context) -> Stale | Outcome:
    asset, latest = context.asset, context.previous
    if not context.maker.replays or latest is None:
        raise UsageError(
            f"{asset.key}: only the quarantine of a staging table that has been made can be replayed; "
            "`catalunya status` shows which have been"
        )
    if not latest.quarantine:
        return Outcome(asset.key, "skipped", "no rows are in quarantine", latest)
    return Stale(asset.key, Reason.FORCED, "quarantined rows are replayed")


def _decide_backfill(context: Context) -> Stale:
    key, window = context.asset.key, context.request.window
    assert window is not None
    if not context.asset.has_periods:
        raise UsageError(
            f"{key}: cannot backfill {window}: expected a landing asset whose source can be read by period; "
            f"`catalunya materialize {key} --force` reads all of it"
        )
    blocking = context.state.blocks_backfill(key, window)
    if blocking:
        raise BackfillBlocked(
            f"{key}: {blocking[0].key} must be made first ({blocking[0].reason}: {blocking[0].why}), from a batch that a backfill "
            f"would replace; run `catalunya materialize +{blocking[0].key}`, then try again"
        )
    return Stale(key, Reason.BACKFILL, f"backfill {window}")


def _run(context: Context) -> Outcome:
    """Decide, and make the asset under its lease."""
    # First without the lease: most runs find nothing to do, and that must cost next to nothing.
    seen = _last_sequence(context)
    try:
        decision = _decide_and_clean_up(context)
    except (SourceError, SourceUnavailable) as error:
        _record_without_making(context, seen, error, "the source was asked whether it changed")
        raise
    if isinstance(decision, Outcome):
        if (
            decision.status == "skipped"
            and context.asset.layer is Layer.LANDING
            and context.state.failure(decision.asset)
        ):
            return _record_recovery(context, decision, seen)
        return decision
    project, key = context.project, context.asset.key
    with lease(project.lake, key, context.run_id, project.settings.lease_s) as held:
        context.report("leased")
        after = _last_sequence(context)
        if after != seen:  # another run recorded something in between
            context.refresh()
            decision = _decide_and_clean_up(context)
        if isinstance(decision, Outcome):
            return decision
        try:
            return _make(context, decision, held, after)
        # None of these says anything about the table; before a CatalogError it was recorded.
        except (LeaseHeld, LeaseLost, CatalogError):
            raise
        except Exception as error:
            failure = in_passing(error) or error
            # A failure is recorded, so that the same inputs are not tried for ever. Two exceptions: an extraction that
            # resumes from its deadline has not failed, and a backfill says nothing about the table as it is.
            resumes = isinstance(error, DeadlineReached) and context.maker.resumes
            if not resumes and not context.request.window:
                _record_failure(context, decision, after, failure)
            if failure is error:
                raise
            raise failure from error


def _decide_and_clean_up(context: Context) -> Stale | Outcome:
    """The decision; if there is nothing to do, finish what a killed run left to clean up."""
    decision = decide(context)
    if isinstance(decision, Outcome) and decision.status == "skipped":
        context.maker.clean_up(context)
    return decision


def _make(context: Context, stale: Stale, held: Lease, after: int) -> Outcome:
    """Make, check, publish, record, clean up."""
    project, key, maker = context.project, context.asset.key, context.maker
    with tempfile.TemporaryDirectory(prefix="catalunya-", dir=project.settings.scratch) as scratch:
        context.report("producing")
        try:
            candidate = maker.make(context, Path(scratch))
        except ContractError as error:
            _keep_rejected(context, stale, error, held)
            raise
        context.report("produced")
        entry = _entry(context, stale, candidate)
        if maker.is_unchanged(context, entry):
            return _record_unchanged(context, entry, after)
        held.check()
        maker.publish(context, candidate, entry)
        context.report("published")
        held.check()
    entry = context.record(entry, after=after)
    context.report("recorded")
    context.refresh()
    maker.clean_up(context)
    context.report("cleaned")
    gaps = ", ".join(context.state.without(key))
    return Outcome(key, "materialized", f"{stale.why}; made without {gaps}" if gaps else stale.why, entry)


def _entry(context: Context, stale: Stale, candidate: Candidate) -> Entry:
    """The ledger entry of a candidate."""
    blank = _blank_entry(context, stale)
    return replace(
        blank,
        data_version=content_version(candidate.objects),
        rows=candidate.rows,
        bytes=sum(stored.bytes for stored in candidate.objects),
        objects=candidate.objects,
        columns={column.name: column.type for column in context.asset.columns},
        drift=candidate.drift,
        normalized=candidate.normalized,
        warnings=candidate.warnings,
        fields=dict(candidate.fields),
        duplicates=candidate.duplicates,
        discarded=candidate.discarded,
        quarantined=candidate.quarantined,
        quarantine=quarantine_path(context.asset, _inputs(blank)) if candidate.quarantine else None,
        is_accepted=candidate.is_accepted,
        source_version=candidate.source_version,
        source_updated_at=candidate.source_updated_at,
        batch=candidate.batch,
        requests=candidate.requests,
        window=candidate.window,
    )


def _inputs(entry: Entry) -> str:
    """What an entry was made from: after a crash, the next run replaces the same object of quarantine."""
    return digest(entry.code_version, *(f"{name}={version}" for name, version in sorted(entry.versions.items())))


def _keep_rejected(context: Context, stale: Stale, error: ContractError, held: Lease) -> None:
    """Keep the first of the rows that made the attempt fail, beside the quarantine of the published table and not in its place."""
    if error.rejected is None:
        return
    local, count = error.rejected
    path = quarantine_path(context.asset, digest(_inputs(_blank_entry(context, stale)), "failed"))
    try:
        held.check()
        context.project.lake.put(path, local)
        context.project.lake.sync([path])
    except CatalunyaError as second:
        log.warning("rejected_rows_not_kept", error=str(second))
        return
    context.rejected = (path, count)


def _blank_entry(context: Context, stale: Stale) -> Entry:
    return Entry(
        asset=context.asset.key,
        sequence=0,
        status="materialized",
        run_id=context.run_id,
        correlation_id=context.correlation_id,
        reason=stale.reason,
        started_at=context.state.now,
        seconds=time.monotonic() - context.started,
        code_version=context.asset.code_version,
        versions=context.state.versions(context.asset),
        checks=context.checks.results,
    )


def _record_unchanged(context: Context, entry: Entry, after: int) -> Outcome:
    """The source reported a new version with the same content: record the version, drop the batch, wake no reader."""
    previous, batch, lake = context.previous, entry.batch, context.project.lake
    assert previous is not None
    assert batch is not None
    entry = replace(entry, status="unchanged", batch=previous.batch, objects=previous.objects)
    entry = context.record(entry, after=after)
    context.report("recorded")
    lake.delete([found.path for found in lake.objects(batch)])
    return Outcome(context.asset.key, "skipped", "the source has a new version with the same content", entry)


def _record_recovery(context: Context, skipped: Outcome, seen: int) -> Outcome:
    """The source answers again, with nothing new: record that, or its last attempt would count as failed for ever."""
    project, previous = context.project, context.previous
    assert previous is not None
    blank = _blank_entry(context, Stale(context.asset.key, Reason.SOURCE, skipped.why))
    entry = replace(
        previous,
        status="unchanged",
        run_id=blank.run_id,
        correlation_id=blank.correlation_id,
        reason=blank.reason,
        started_at=blank.started_at,
        seconds=blank.seconds,
        requests=1,
    )
    with lease(project.lake, context.asset.key, context.run_id, project.settings.lease_s):
        return replace(skipped, entry=context.record(entry, after=seen))


def _record_failure(context: Context, stale: Stale, after: int, error: Exception) -> None:
    """Record that the attempt failed; if even that cannot be written, log it and let the first error stand.

    A run may try several times (Airflow's retries); the runs that failed for a reason that passes are counted, not the tries.
    """
    # A ledger that cannot be read may be repaired, which none of the asset's inputs would show.
    transient = isinstance(error, TransientError | LedgerError)
    last = context.state.last_attempt(context.asset.key)
    before = last.failures if last and last.transient else 0
    is_same_run = bool(before and last and last.run_id == context.run_id)
    failed = replace(
        _blank_entry(context, stale),
        status="failed",
        error=f"{type(error).__name__}: {safe_text(error)}",
        transient=transient,
        failures=before + (not is_same_run) if transient else 0,
    )
    if context.rejected:
        failed = replace(failed, quarantine=context.rejected[0], quarantined=context.rejected[1])
    if refused := context.refused:  # what was noted about its rows often explains the change
        failed = replace(failed, drift=refused.drift, normalized=refused.normalized, warnings=refused.warnings)
    try:
        context.record(failed, after=after)
    except CatalunyaError as second:
        log.warning("failure_not_recorded", error=str(second))


def record_lost(project: Project, key: str, request: Request, why: str) -> Outcome:
    """Record that a run failed because the function that worked for it was lost, and could not do so itself.

    Then the asset is tried again after a while, and less often each time. Without this, nothing would wake a landing asset before its
    next schedule, and a staging table whose function is killed each time would be tried every ten minutes.
    """
    context = Context.begin(project, key, request)
    if made_by(project.ledger, key, context.run_id):
        return Outcome(key, "skipped", "the run had recorded what it made")
    _record_without_making(context, _last_sequence(context), FunctionLost(why), "its function was lost")
    return Outcome(key, "skipped", "it is recorded that the function was lost")


def _record_without_making(context: Context, seen: int, error: CatalunyaError, what: str) -> None:
    """Record a failure that came before anything was made: nothing else would wake a landing asset before its next schedule."""
    if context.request.window:
        return
    project, key = context.project, context.asset.key
    stale = Stale(key, Reason.SOURCE, what)
    try:
        with lease(project.lake, key, context.run_id, project.settings.lease_s):
            if _last_sequence(context) == seen:
                _record_failure(context, stale, seen, error)
    except CatalunyaError as second:
        log.warning("failure_not_recorded", error=str(second))


def _last_sequence(context: Context) -> int:
    """The number of the asset's last ledger entry, 0 if there is none."""
    last = context.project.ledger.last_attempt(context.asset.key)
    return last.sequence if last else 0

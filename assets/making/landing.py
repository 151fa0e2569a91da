"""How a landing asset is made: ask the source, land its raw pages as received, and seal the batch with a manifest.

Here: probing, the contract of the fields, pages, the manifest, taking over what a killed run left. Not here: talking to an API
(`io/sources`), what a batch looks like in the lake (`assets/record/batch.py`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from catalunya.assets.graph.spec import Asset, LandingDeclaration
from catalunya.assets.making.guards import guard_rows
from catalunya.assets.making.maker import Candidate, Context, Maker
from catalunya.assets.record.batch import Batch, LandedPages, Manifest, read_batch
from catalunya.assets.record.ledger import Entry
from catalunya.assets.record.paths import batch_prefix, manifest_path
from catalunya.assets.record.state import Reason, Stale
from catalunya.contracts.model.check import check_fields
from catalunya.io.errors import BatchDamaged, DeadlineReached, DeclarationError, ObjectMissing, SourceUnavailable
from catalunya.io.lake import Lake
from catalunya.io.log import get_logger
from catalunya.io.periods import Window
from catalunya.io.safe_text import NAME, legible
from catalunya.io.sources.base import HttpSettings, SourceState

log = get_logger(__name__)


class LandingMaker(Maker):
    """Lands one extraction as a sealed batch."""

    resumes = True

    def find_new(self, context: Context) -> Stale | None:
        """The source's new version, by one request."""
        previous = context.previous
        context.source_state = probe(context, previous.source_version if previous else None)
        found = context.source_state
        return Stale(context.asset.key, Reason.DATA, f"the source is at version {found.version}") if found else None

    def make(self, context: Context, scratch: Path) -> Candidate:  # noqa: ARG002
        """Land the pages, or take over a batch that was left complete."""
        batch = extract(context)
        manifest, previous = batch.manifest, context.previous
        known = previous.source_version if previous else None
        contract = context.declaration(LandingDeclaration).contract
        history = context.project.ledger.history(context.asset.key)
        return Candidate(
            objects=batch.objects,
            rows=manifest.rows,
            # It passed its guard, or that was waived, perhaps by a killed run whose batch was taken over.
            is_accepted=not manifest.window and guard_rows(context, contract, manifest.rows, history, accept=True),
            drift=manifest.drift,
            fields=manifest.fields,
            # A backfill learned nothing about the other periods: the next regular run must still see that the source changed.
            source_version=known if manifest.window else manifest.source_version,
            source_updated_at=manifest.source_updated_at,
            batch=batch.prefix,
            requests=manifest.requests + 1,
            window=manifest.window,
        )

    def is_unchanged(self, context: Context, entry: Entry) -> bool:
        """Whether the batch holds what its consumers have made their tables from already."""
        previous, state = context.previous, context.state
        return (
            not context.request.force
            and previous is not None
            and previous.data_version == entry.data_version
            and previous.code_version == entry.code_version
            and all(state.own_staleness(consumer) is None for consumer in state.graph.downstream(entry.asset))
        )

    def publish(self, context: Context, candidate: Candidate, entry: Entry) -> None:  # noqa: ARG002
        """The pages are in place: make them durable."""
        context.project.lake.sync(sorted(stored.path for stored in candidate.objects))

    def clean_up(self, context: Context) -> None:
        """Nothing: a batch is deleted by the table that used it, and the catalog has no landing tables."""


MAKER = LandingMaker()


def probe(context: Context, known: str | None = None) -> SourceState | None:
    """Ask the source for its state by one request; None if it is still at the version `known`."""
    declaration = context.declaration(LandingDeclaration)
    try:
        return declaration.source.probe(http_settings(context), known)
    except DeclarationError as error:  # the source is not what it is declared to be
        raise DeclarationError(f"{context.asset.key}: {error} ({declaration.file})") from None


def http_settings(context: Context) -> HttpSettings:
    """How the source is reached, within the time that is left."""
    http = context.project.settings.http(context.declaration(LandingDeclaration).source)
    if context.request.ends_at is None:
        return http
    return replace(http, deadline_s=max(min(http.deadline_s, context.request.ends_at - time.monotonic()), 0.001))


def extract(context: Context) -> Batch:
    """Land the table, or its periods within the window, and seal the batch. Only for the holder of the lease.

    A batch of the same version that a killed run left is taken over, complete or to be completed; other leftovers are deleted.
    Raises ContractError when the fields break the landing contract or the table shrank beyond its guard, DeadlineReached when
    some pages were landed and not all: the next attempt resumes from there.
    """
    declaration, lake, asset = context.declaration(LandingDeclaration), context.project.lake, context.asset
    window, contract = context.request.window, declaration.contract
    state = context.source_state or probe(context)
    assert state is not None
    known = context.previous.fields if context.previous else {}
    renamed = declaration.reading.renamed
    drift = check_fields(asset.key, contract, renamed(state.fields), known, context.checks)
    if drift:
        log.warning("source_drift", asset=asset.key, drift=str(drift), policy=contract.terms().drift)
    history = context.project.ledger.history(asset.key)
    left = _taken_over(lake, asset, history, declaration.source.describe(), state.version, window)
    if isinstance(left, Batch):
        return left
    prefix = left or batch_prefix(asset, context.state.now)
    landed = LandedPages(lake, prefix, window)
    rows = (0, 0)

    def report(done: int, total: int) -> None:
        nonlocal rows
        rows = (done, total)
        context.report("producing", done, total)

    try:
        extraction = declaration.source.extract(
            http_settings(context), state, landed.write, window=window, progress=report, landed=landed
        )
    except DeadlineReached as error:
        if not landed.added:  # no progress: that is the source's failure, not the deadline's
            raise SourceUnavailable(str(error)) from error
        raise DeadlineReached(
            f"{asset.key}: time limit reached with {rows[0]} of {rows[1]} rows landed ({landed.taken + landed.added} pages); "
            "run it again to resume from there"
        ) from error
    if extraction.state.version != state.version:  # the source changed and the extraction started over
        drift = check_fields(asset.key, contract, renamed(extraction.state.fields), known, context.checks)
    if window is None:
        guard_rows(context, contract, extraction.rows, history, accept=context.request.accept_change)
    manifest = Manifest(
        asset=asset.key,
        source=declaration.source.describe(),
        source_version=extraction.state.version,
        source_updated_at=extraction.state.updated_at,
        fields={legible(name, NAME): legible(kind, NAME) for name, kind in renamed(extraction.state.fields).items()},
        drift=str(drift),
        rows=extraction.rows,
        bytes=extraction.bytes,
        pages=extraction.pages,
        requests=extraction.requests,
        started_at=extraction.started_at,
        finished_at=extraction.finished_at,
        window=window,
    )
    pages = {f"{prefix}/{page.name}" for page in manifest.pages}
    lake.delete([o.path for o in lake.objects(prefix) if o.path not in pages])
    lake.put(manifest_path(prefix), msgspec.json.format(msgspec.json.encode(manifest), indent=1))
    return Batch(prefix, manifest)


def _taken_over(
    lake: Lake, asset: Asset, history: Sequence[Entry], source: str, version: str, window: Window | None
) -> Batch | str | None:
    """What a killed run left of this very source, version and window: a sealed batch that no entry records, or the folder of an unsealed
    one with usable pages. Other unsealed or unrecorded batches are deleted."""
    lake.delete_unfinished(asset.prefix)
    recorded = {entry.batch for entry in history}
    taken: Batch | str | None = None
    for prefix in (f"{asset.prefix}/{folder}" for folder in reversed(lake.folders(asset.prefix))):
        found = _sealed(lake, prefix)
        if found and prefix in recorded:
            continue
        if found and taken is None and _is_of(found.manifest, source, version, window):
            log.info("batch_taken_over", asset=asset.key, batch=prefix, rows=found.manifest.rows)
            taken = found
        elif not (found or taken or prefix in recorded) and LandedPages(lake, prefix, window).has(version):
            taken = prefix
        else:
            lake.delete([o.path for o in lake.objects(prefix)])
    return taken


def _is_of(manifest: Manifest, source: str, version: str, window: Window | None) -> bool:
    return (manifest.source, manifest.source_version, manifest.window) == (source, version, window)


def _sealed(lake: Lake, prefix: str) -> Batch | None:
    """The sealed batch in a folder, if there is one that can be read."""
    try:
        return read_batch(lake, prefix)
    except ObjectMissing:
        return None
    except BatchDamaged as error:
        log.warning("batch_damaged", batch=prefix, error=str(error))
        return None

"""How a landing asset is made: ask the source, land its raw pages as they came, and seal the batch with a manifest.

Here: probe, contract of the fields, pages, manifest. Not here: talking to an API (`io/sources`), recording and deleting
(`materialize.py`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

import msgspec
import structlog

from catalunya.assets.graph.spec import Asset, LandingDeclaration
from catalunya.assets.making.candidate import check_shrink
from catalunya.assets.record.batch import Batch, LandedPages, Manifest, read_batch
from catalunya.assets.record.ledger import Entry
from catalunya.assets.record.paths import batch_prefix, manifest_path
from catalunya.contracts.model.check import check_fields
from catalunya.io.environment import Settings
from catalunya.io.errors import DeadlineReached, SourceUnavailable
from catalunya.io.lake import Lake
from catalunya.io.periods import Window
from catalunya.io.safe_text import NAME, legible
from catalunya.io.sources.base import HttpSettings, SourceState

log = structlog.get_logger(__name__)


def probe(
    declaration: LandingDeclaration, settings: Settings, known: str | None, *, ends_at: float | None = None
) -> SourceState | None:
    """Ask the source for its state by one request; None when it is still at the version `known`."""
    return asyncio.run(declaration.source.probe(http_within(declaration, settings, ends_at), known))


def extract(
    declaration: LandingDeclaration,
    settings: Settings,
    lake: Lake,
    state: SourceState,
    history: Sequence[Entry],
    now: datetime,
    progress: Callable[[int, int], None],
    *,
    window: Window | None = None,
    accept_shrink: bool = False,
    ends_at: float | None = None,
) -> Batch:
    """Land the table, or its periods within a window, and seal it. A batch of the very same that another run left is taken
    over, as it is or to go on with; what others left is deleted. `history` are the asset's entries; only for the holder of the
    lease. `ends_at`: when to stop, by time.monotonic().

    Raises ContractError when the fields break the landing contract or the table shrank beyond its guard, DeadlineReached when
    pages were landed and not all: trying again goes on from there.
    """
    asset = declaration.asset
    drift = check_fields(asset.key, declaration.contract, state.fields)
    if drift:
        log.warning("source_drift", asset=asset.key, drift=str(drift), policy=declaration.contract.terms().drift)
    left = _taken_over(lake, asset, history, state.version, window)
    if isinstance(left, Batch):
        return left
    prefix = left or batch_prefix(asset, now)
    landed = LandedPages(lake, prefix, window)
    http, told = http_within(declaration, settings, ends_at), (0, 0)

    def tell(done: int, total: int) -> None:
        nonlocal told
        told = (done, total)
        progress(done, total)

    reading = declaration.source.extract(http, state, landed.write, window=window, progress=tell, landed=landed)
    try:
        extraction = asyncio.run(reading)
    except DeadlineReached as error:
        if not landed.added:  # it came no further: that is the source's failure, not the time's
            raise SourceUnavailable(str(error)) from error
        raise DeadlineReached(
            f"{asset.key}: {told[0]} of {told[1]} rows are landed ({landed.taken + landed.added} pages), and the time for one attempt "
            "is over; run it again, it goes on from there"
        ) from error
    if extraction.state.version != state.version:  # the source moved and the extraction began anew
        drift = check_fields(asset.key, declaration.contract, extraction.state.fields)
    if window is None:
        whole = next((entry for entry in reversed(history) if entry.status != "failed" and not entry.window), None)
        check_shrink(asset.key, declaration.contract, extraction.rows, whole, accept=accept_shrink)
    manifest = Manifest(
        asset=asset.key,
        source=declaration.source.describe(),
        source_version=extraction.state.version,
        source_updated_at=extraction.state.updated_at,
        fields={legible(name, NAME): legible(kind, NAME) for name, kind in extraction.state.fields.items()},
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


def http_within(declaration: LandingDeclaration, settings: Settings, ends_at: float | None) -> HttpSettings:
    """How the source is reached, within the time that is left."""
    http = settings.http(declaration.source.kind)
    if ends_at is None:
        return http
    return replace(http, deadline_s=max(min(http.deadline_s, ends_at - time.monotonic()), 0.001))


def _taken_over(
    lake: Lake, asset: Asset, history: Sequence[Entry], version: str, window: Window | None
) -> Batch | str | None:
    """The sealed batch of just this that no entry speaks of: its run died before it could record. Or the folder of one that
    is not sealed and has pages of this, of a run that died or of parts. What other runs left, not sealed or never recorded, is
    deleted; so is what a part wrote too late, into a batch that was used and deleted."""
    recorded = {entry.batch for entry in history}
    taken: Batch | str | None = None
    for prefix in (f"{asset.prefix}/{folder}" for folder in reversed(lake.folders(asset.prefix))):
        found = read_batch(lake, prefix) if lake.exists(manifest_path(prefix)) else None
        if found and prefix in recorded:
            continue
        if found and taken is None and (found.manifest.source_version, found.manifest.window) == (version, window):
            log.info("batch_taken_over", asset=asset.key, batch=prefix, rows=found.manifest.rows)
            taken = found
        elif not (found or taken or prefix in recorded) and LandedPages(lake, prefix, window).has(version):
            taken = prefix
        else:
            lake.delete([o.path for o in lake.objects(prefix)])
    return taken

"""Producing a candidate, whatever the layer: which upstream tables are read, and who makes the rows.

Here: the one place that knows that landing extracts, staging transforms and marts build. Not here: how each does it
(`extract.py`, `transform.py`, `build.py`), or what becomes of the candidate (`materialize.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from catalunya.assets.graph.spec import Asset, LandingDeclaration, Layer, StagingDeclaration, digest
from catalunya.assets.record.ledger import Entry, Stored
from catalunya.assets.record.paths import manifest_path, quarantine_path, relation, scan_table
from catalunya.assets.record.project import Project
from catalunya.assets.record.state import State
from catalunya.io.errors import LakeError
from catalunya.io.periods import Window

if TYPE_CHECKING:
    from catalunya.assets.making.candidate import Candidate, File
    from catalunya.io.sources.base import SourceState

Report = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a request asks of the making itself. `source_state`: what the source said when it was asked whether it moved;
    `ends_at`: when an extraction or a staging table has to have stopped, by time.monotonic()."""

    accept_shrink: bool = False
    replay: bool = False
    full_refresh: bool = False
    window: Window | None = None
    source_state: SourceState | None = None
    ends_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Produced:
    """A checked table that can be published: `files` still have to be put in place, `objects` are what it consists of."""

    objects: tuple[Stored, ...]
    files: tuple[File, ...] = ()
    rows: int
    duplicates: int = 0
    discarded: int = 0
    quarantined: int = 0
    quarantine: Path | None = None
    quarantine_path: str | None = None
    drift: str = ""
    source_version: str | None = None
    source_updated_at: datetime | None = None
    batch: str | None = None
    requests: int = 0
    window: Window | None = None


def ask_source(project: Project, asset: Asset, state: State, *, ends_at: float | None = None) -> SourceState | None:
    """The state of a landing asset's source by one request; None where it has not moved since the last whole entry."""
    from catalunya.assets.making.landing import probe

    previous = state.latest(asset.key)
    known = previous.source_version if previous else None
    return probe(_landing(project, asset.key), project.settings, known, ends_at=ends_at)


def produce(
    project: Project,
    state: State,
    asset: Asset,
    options: Options,
    now: datetime,
    scratch: Path,
    report: Report,
) -> Produced:
    """Make the checked candidate of an asset. Nothing that others see is touched; landing pages are not sealed by more
    than their own manifest. Raises what the layers raise."""
    match asset.layer:
        case Layer.LANDING:
            return _produce_landing(project, state, asset, options, now, report)
        case Layer.STAGING:
            with project.lake.reading(asset.prefix):
                return _produce_staging(project, state, asset, options, scratch, report)
        case Layer.MARTS:
            return _produce_mart(project, state, asset, options, now, scratch)


def _produce_landing(
    project: Project, state: State, asset: Asset, options: Options, now: datetime, report: Report
) -> Produced:
    from catalunya.assets.making.landing import extract, probe

    declaration = _landing(project, asset.key)
    found = options.source_state or probe(declaration, project.settings, None, ends_at=options.ends_at)
    assert found is not None
    batch = extract(
        declaration,
        project.settings,
        project.lake,
        found,
        project.ledger.history(asset.key),
        now,
        report,
        window=options.window,
        accept_shrink=options.accept_shrink,
        ends_at=options.ends_at,
    )
    manifest, previous = batch.manifest, state.latest(asset.key)
    known = previous.source_version if previous else None
    return Produced(
        objects=batch.objects,
        rows=manifest.rows,
        drift=manifest.drift,
        # Of the other periods nothing new is known: the next regular run still has to see that the source moved.
        source_version=known if manifest.window else manifest.source_version,
        source_updated_at=manifest.source_updated_at,
        batch=batch.prefix,
        requests=manifest.requests + 1,
        window=manifest.window,
    )


def _produce_staging(
    project: Project, state: State, asset: Asset, options: Options, scratch: Path, report: Report
) -> Produced:
    from catalunya.assets.making.staging import replay, transform
    from catalunya.assets.record.batch import read_batch

    declaration, lake = _staging(project, asset.key), project.lake
    previous = state.latest(asset.key)
    reads = [scan_table(lake, read.asset, _made(state, read.asset.key)) for read in declaration.reads]
    if options.replay and previous:
        return _produced(asset, state, replay(declaration, lake, previous, reads, scratch))
    landed = _made(state, declaration.landing.asset.key)
    if not landed.batch or not lake.exists(manifest_path(landed.batch)):
        raise LakeError(
            f"{asset.key}: the batch of {landed.asset} was used and deleted; `catalunya materialize {landed.asset} {asset.key}` lands it again"
        )
    candidate = transform(
        declaration,
        lake,
        read_batch(lake, landed.batch),
        reads,
        previous,
        scratch,
        report,
        accept_shrink=options.accept_shrink,
        ends_at=options.ends_at,
    )
    return _produced(asset, state, candidate)


def _produce_mart(
    project: Project, state: State, asset: Asset, options: Options, now: datetime, scratch: Path
) -> Produced:
    from catalunya.assets.graph.dbt_marts import contract_of
    from catalunya.assets.graph.discovery import mart_contracts
    from catalunya.assets.making.marts import build

    inputs = [relation(project.lake, up, _made(state, up.key)) for up in project.graph.upstream(asset.key)]
    candidate = build(
        asset,
        contract_of(mart_contracts(), asset.name),
        project.settings,
        project.lake,
        inputs,
        state.latest(asset.key),
        now,
        scratch,
        full_refresh=options.full_refresh,
        accept_shrink=options.accept_shrink,
    )
    return _produced(asset, state, candidate)


def _produced(asset: Asset, state: State, candidate: Candidate) -> Produced:
    # Named by what it was made from: making it again after a crash replaces the same object.
    made_from = digest(
        asset.code_version, *(f"{name}={version}" for name, version in sorted(state.versions(asset).items()))
    )
    return Produced(
        objects=tuple(file.stored for file in candidate.files),
        files=candidate.files,
        rows=candidate.rows,
        duplicates=candidate.duplicates,
        discarded=candidate.discarded,
        quarantined=candidate.quarantined,
        quarantine=candidate.quarantine,
        quarantine_path=quarantine_path(asset, made_from) if candidate.quarantine else None,
    )


def _made(state: State, key: str) -> Entry:
    """The entry of an upstream; the gate has seen to it that there is one."""
    entry = state.latest(key)
    assert entry is not None
    return entry


def _landing(project: Project, key: str) -> LandingDeclaration:
    declared = project.declarations[key]
    assert isinstance(declared, LandingDeclaration)
    return declared


def _staging(project: Project, key: str) -> StagingDeclaration:
    declared = project.declarations[key]
    assert isinstance(declared, StagingDeclaration)
    return declared

"""The early pages of a large source: several functions each land a part of them, and one then makes the batch of them all.

A part holds no lease, and nothing depends on it: it writes pages and notes (`landed.py`) into a batch that is not sealed, just
as an extraction would that was then cut off. It judges, seals, records and deletes nothing. `materialize` goes on from what
parts landed, holds it against the source's count, metadata and stamps, and reads what they did not. So a part may fail, never
run, come twice, or come too late: then its pages are of names that no manifest lists, and go with their batch, by the table's
next extraction or by `prune`. Not here: how often and by whom parts are asked for (`dags/`), which pages are one (`io/sources`).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import structlog

from catalunya.assets.graph.spec import LandingDeclaration
from catalunya.assets.making.decide import Outcome, Request, decide
from catalunya.assets.making.landing import http_within, probe
from catalunya.assets.record.batch import PartPages
from catalunya.assets.record.paths import batch_folder, manifest_path
from catalunya.assets.record.project import Project
from catalunya.contracts.model.check import check_fields
from catalunya.io.errors import (
    BackfillBlocked,
    BatchClosedError,
    ContractError,
    DeadlineReached,
    SourceUnavailable,
    UsageError,
)

if TYPE_CHECKING:
    from catalunya.io.sources.base import Part, SourceState

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PartRead:
    """What came of a part: `landed`, as far as it had to be, or `skipped`, where there is nothing that anybody waits for."""

    asset: str
    status: Literal["landed", "skipped"]
    why: str
    pages: int = 0
    """Those that this attempt landed."""


def read_part(project: Project, key: str, part: Part, batch: str, request: Request) -> PartRead:
    """Land one part of the pages of a landing asset, if its source has anything new. Safe to kill and to run again.

    `batch` is the folder's name, the same for all parts of one run. What `materialize` has to judge (a breach of the contract,
    a backfill that has to wait) is left to it. Raises UsageError, what the source raises, and DeadlineReached when pages were
    landed and not all: asked again, it goes on from there.
    """
    asset = project.graph[key]
    declaration = project.declarations.get(key)
    if not isinstance(declaration, LandingDeclaration):
        raise UsageError(f"{key}: expected a landing asset, whose source has pages to be read in parts; materialize it")
    pages = PartPages(
        project.lake,
        batch_folder(asset, batch),
        request.window,
        lambda: _is_open(project, key, pages.batch),
    )
    with structlog.contextvars.bound_contextvars(
        asset=key, run_id=request.run_id, correlation_id=request.correlation_id, part=part.index, of=part.of
    ):
        done = _read(project, declaration, part, pages, request)
        log.info(f"part_{done.status}", why=done.why, pages=done.pages, batch=pages.batch)
        return done


def _read(
    project: Project, declaration: LandingDeclaration, part: Part, pages: PartPages, request: Request
) -> PartRead:
    asset = declaration.asset
    if not _is_open(project, asset.key, pages.batch):
        return PartRead(asset.key, "skipped", "its batch is sealed")
    try:
        decision = decide(project, asset, project.state(request.now or datetime.now(UTC)), request)
        if isinstance(decision.what, Outcome):
            return PartRead(asset.key, "skipped", decision.what.why)
        state = decision.source_state or _state(project, declaration, request)
        check_fields(asset.key, declaration.contract, state.fields)
    except (BackfillBlocked, ContractError) as error:
        return PartRead(asset.key, "skipped", f"left to the one that seals: {error}")
    http = part.share(http_within(declaration, project.settings, request.ends_at))
    reading = declaration.source.read_part(http, state, pages.write, part, window=request.window, landed=pages)
    try:
        asyncio.run(reading)
    except BatchClosedError:
        return PartRead(asset.key, "skipped", "its batch was sealed meanwhile", pages.added)
    except DeadlineReached as error:
        if not pages.added:
            raise SourceUnavailable(str(error)) from error
        raise DeadlineReached(
            f"{asset.key}: part {part.index} of {part.of} landed {pages.added} pages and not all of its own, and the time for one "
            "attempt is over; run it again, it goes on from there"
        ) from error
    return PartRead(asset.key, "landed", f"{pages.added} pages at {state.version}", pages.added)


def _state(project: Project, declaration: LandingDeclaration, request: Request) -> SourceState:
    state = probe(declaration, project.settings, None, ends_at=request.ends_at)
    assert state is not None
    return state


def _is_open(project: Project, key: str, batch: str) -> bool:
    """Whether the batch may still need pages: it is not sealed, nor was it, and used and deleted since."""
    latest = project.ledger.latest(key)
    return not (latest and latest.batch == batch) and not project.lake.exists(manifest_path(batch))

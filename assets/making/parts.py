"""Reading a large source by several functions: each lands a part of the pages ahead of the extraction that seals them all.

A part holds no lease, and nothing depends on it: it writes pages and notes (`assets/record/batch.py`) into an unsealed batch, as an
interrupted extraction would have. It judges, seals, records and deletes nothing. `materialize` resumes from the pages that parts
landed, checks them against the source's count, metadata and stamps, and reads the missing ones. So a part may fail, never run,
run twice, or come too late: its pages have names that no manifest lists, and are deleted with their batch by the table's next
extraction or by `prune`. Not here: how often and by whom parts are started (`dags/`), how pages are divided (`io/sources`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import structlog

from catalunya.assets.graph.spec import LandingDeclaration
from catalunya.assets.making.landing import http_settings, probe
from catalunya.assets.making.maker import Context
from catalunya.assets.making.materialize import decide
from catalunya.assets.making.request import Outcome, Request
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
from catalunya.io.log import get_logger

if TYPE_CHECKING:
    from catalunya.io.sources.base import Part

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PartRead:
    """The result of reading a part: `landed` (with the number of pages landed by this attempt), or `skipped` when no one waits for it."""

    asset: str
    status: Literal["landed", "skipped"]
    why: str
    pages: int = 0


def read_part(project: Project, key: str, part: Part, batch: str, request: Request) -> PartRead:
    """Land one part of the pages of a landing asset, if its source has anything new. Safe to kill and to run again.

    `batch` is the folder's name, the same for all parts of one run. What `materialize` has to judge (a contract breach, a blocked
    backfill) is left to it. Raises UsageError, what the source raises, and DeadlineReached when some pages were landed and not
    all: the next attempt resumes from there.
    """
    if not isinstance(project.declarations.get(key), LandingDeclaration):
        raise UsageError(f"{key}: only a landing asset can be read in parts; use `catalunya materialize {key}`")
    context = Context.begin(project, key, request)
    pages = PartPages(
        project.lake,
        batch_folder(context.asset, batch),
        request.window,
        lambda: _is_open(project, key, pages.batch),
    )
    with structlog.contextvars.bound_contextvars(
        asset=key, run_id=request.run_id, correlation_id=request.correlation_id, part=part.index, of=part.of
    ):
        done = _read(context, part, pages)
        log.info(f"part_{done.status}", why=done.why, pages=done.pages, batch=pages.batch)
        return done


def _read(context: Context, part: Part, pages: PartPages) -> PartRead:
    key, declaration = context.asset.key, context.declaration(LandingDeclaration)
    if not _is_open(context.project, key, pages.batch):
        return PartRead(key, "skipped", "its batch is sealed")
    try:
        decision = decide(context)
        if isinstance(decision, Outcome):
            return PartRead(key, "skipped", decision.why)
        state = context.source_state or probe(context)
        assert state is not None
        check_fields(key, declaration.contract, declaration.reading.renamed(state.fields))
    except (BackfillBlocked, ContractError) as error:
        return PartRead(key, "skipped", f"left to the extraction that seals the batch: {error}")
    http = part.share(http_settings(context))
    window = context.request.window
    try:
        declaration.source.read_part(http, state, pages.write, part, window=window, landed=pages)
    except BatchClosedError:
        return PartRead(key, "skipped", "its batch was sealed meanwhile", pages.added)
    except DeadlineReached as error:
        if not pages.added:
            raise SourceUnavailable(str(error)) from error
        raise DeadlineReached(
            f"{key}: time limit reached with {pages.added} pages of part {part.index} of {part.of} landed; "
            "run it again to resume from there"
        ) from error
    return PartRead(key, "landed", f"{pages.added} pages at {state.version}", pages.added)


def _is_open(project: Project, key: str, batch: str) -> bool:
    """Whether the batch may still need pages: it is not sealed, and was not used and deleted since."""
    latest = project.ledger.latest(key)
    return not (latest and latest.batch == batch) and not project.lake.exists(manifest_path(batch))

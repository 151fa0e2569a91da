"""The Lambda functions: `extract` makes one landing asset, `transform` one staging asset, through `materialize` like all callers.

The event is {"asset", "run_id", "correlation_id", "force", "period_from", "period_to"}, the result {"status", "why", "entry"}, where
`entry` is the summary of the ledger entry or null. With "part": {"of", "index", "batch"}, `extract` lands only that part of the pages
(`assets/making/parts.py`), and `entry` is null. Errors are those of `io/errors.py`, whose `from_function` rebuilds them from what
Lambda reports. A repeated event is answered from the ledger. Both functions stop before the time limit: the next extraction
resumes from the landed pages, the next transformation starts over.

Here: event, result, time limit, logs. Not here: how a table is made (`assets/`), building the zip (`package.py`). Everything the
handlers need is imported at module level, so that Lambda imports it during init, before the first event.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Protocol

import msgspec  # noqa: TID253
import structlog

import catalunya.assets.making.landing  # noqa: F401
import catalunya.assets.making.staging  # noqa: F401
import catalunya.io.sources.http  # noqa: F401  imported during init, as above
from catalunya.assets.graph.discovery import declarations
from catalunya.assets.graph.spec import MAX_READERS, Layer
from catalunya.assets.making.materialize import materialize
from catalunya.assets.making.parts import PartRead, read_part
from catalunya.assets.making.request import Outcome, Request
from catalunya.assets.record.ledger import Entry
from catalunya.assets.record.project import Project
from catalunya.io.environment import Settings, load_settings
from catalunya.io.errors import CatalunyaError, TransientError, UsageError, reportable
from catalunya.io.periods import window
from catalunya.io.sources.base import Part
from catalunya.ops.logging import configure

log = structlog.get_logger(__name__)

LEASE_S = 60.0
"""Longest time for which the lease of a killed function blocks the next one: Lambda's first retry comes after a minute.
A running function renews its lease."""

_DECLARED = tuple(declarations().values())  # without marts, which no function makes

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
Period = Annotated[str, msgspec.Meta(max_length=20)]


class Context(Protocol):
    """The part of Lambda's context object that is used here."""

    aws_request_id: str

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until Lambda stops the function."""
        ...


class EventPart(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Which part of the pages to land, and the batch folder that all parts of the run share."""

    of: Annotated[int, msgspec.Meta(ge=1, le=MAX_READERS)]
    index: Annotated[int, msgspec.Meta(ge=0)]
    batch: Text


class Event(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The event. `run_id` identifies one request: the same `run_id` again means that the event was delivered twice."""

    asset: Text
    run_id: Text
    correlation_id: Text | None = None
    force: bool = False
    period_from: Period | None = None
    period_to: Period | None = None
    part: EventPart | None = None


def extract(event: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Make one landing asset, or land a part of its pages. Raises a CatalunyaError; after DeadlineReached, invoke it again
    to resume."""
    return _handle(Layer.LANDING, event, context)


def transform(event: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Make one staging asset. Raises a CatalunyaError; DeadlineReached at the time limit, with nothing published."""
    return _handle(Layer.STAGING, event, context)


def _handle(layer: Layer, event: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Make the asset. Any error is logged, and raised as a class that callers can identify by name."""
    left_s = context.get_remaining_time_in_millis() / 1000
    ends_at = time.monotonic() + left_s
    with structlog.contextvars.bound_contextvars(request_id=context.aws_request_id):
        try:
            settings = load_settings()
            _configure_logs(settings)
            ends_at -= min(settings.stop_before_s, left_s / 2)
            outcome = _make(layer, _read(event), _within(settings, left_s), ends_at)
        except CatalunyaError as error:
            public = reportable(error)
            transient = isinstance(public, TransientError)
            log.error("function_failed", error_type=type(public).__name__, error=str(public), transient=transient)  # noqa: TRY400
            raise public from error.__cause__
        except Exception as error:
            public = reportable(error)
            log.exception("function_failed", error=str(public), transient=isinstance(public, TransientError))
            # Lambda returns the message and traceback to the caller; the full error is only in the log.
            raise public from None
    entry = outcome.entry if isinstance(outcome, Outcome) else None
    return {"status": outcome.status, "why": outcome.why, "entry": entry.summary() if entry else None}


def _make(layer: Layer, event: Event, settings: Settings, ends_at: float) -> Outcome | PartRead:
    project = Project(settings, _DECLARED)
    if project.graph[event.asset].layer is not layer:
        other = {Layer.LANDING: "transform", Layer.STAGING: "extract"}[layer]
        raise UsageError(
            f"{event.asset}: expected an asset of the layer {layer}; invoke the function `{other}` instead"
        )
    request = Request(
        force=event.force,
        window=window(event.period_from, event.period_to),
        run_id=event.run_id,
        correlation_id=event.correlation_id,
        ends_at=ends_at,
    )
    made = _made_by(project, event)
    if event.part:
        part = Part(event.part.of, event.part.index)
        if made:  # a repeated event that arrived after the batch was sealed
            return PartRead(event.asset, "skipped", f"already made by this run ({made.reason})")
        return read_part(project, event.asset, part, event.part.batch, request)
    if made is None:
        return materialize(project, event.asset, request)
    if request.window:
        return _as_before(made)
    # State decides, not the event: newer data is made, but nothing is forced a second time.
    outcome = materialize(project, event.asset, replace(request, force=False))
    is_same = outcome.status == "skipped" and outcome.entry and outcome.entry.sequence == made.sequence
    return _as_before(made) if is_same else outcome


def _made_by(project: Project, event: Event) -> Entry | None:
    """The entry that this same event produced before, if any: Lambda retries by itself, and so do its callers."""
    last = project.ledger.last_attempt(event.asset)
    return last if last and last.is_made and last.run_id == event.run_id else None


def _as_before(made: Entry) -> Outcome:
    if made.status == "unchanged":
        return Outcome(made.asset, "skipped", "the source has a new version with the same content", made)
    return Outcome(made.asset, "materialized", f"already made by this run ({made.reason})", made)


def _read(event: Mapping[str, Any]) -> Event:
    try:
        return msgspec.convert(event, Event)
    except msgspec.ValidationError as error:
        raise UsageError(
            f"invalid event: {error}. Expected the fields {', '.join(Event.__struct_fields__)}, of which the first two are required; "
            "fix the caller"
        ) from None


def _within(settings: Settings, left_s: float) -> Settings:
    """The settings of one invocation: a shorter lease, so that it expires soon after a function was killed."""
    return settings.model_copy(update={"lease_s": min(settings.lease_s, LEASE_S, max(left_s, 1.0))})


def _configure_logs(settings: Settings) -> None:
    for handler in [*logging.root.handlers]:
        if type(handler).__name__ == "LambdaLoggerHandler":  # the runtime's own handler would print each line twice
            logging.root.removeHandler(handler)
    configure(settings.model_copy(update={"log_format": "json"}), to=sys.stdout)

"""The Lambda functions: `extract` makes one landing asset, `transform` one staging asset, by the same path as everybody.

The event is {"asset", "run_id", "correlation_id", "force", "period_from", "period_to"}, the answer {"status", "why", "entry"}: the
summary of the ledger entry, or null. With "part": {"of", "index", "batch"}, `extract` lands that part of the pages only
(`assets/making/parts.py`), and the entry is null. Errors are those of `io/errors.py`; `from_function` there makes them again of what
Lambda reports. An event that comes again is answered from the ledger. Both functions stop before they are cut off: the next
extraction goes on with its pages, the next transformation begins anew. Here: event, answer, time limit, logs. Not here: how a
table is made (`assets/`), how the zip is (`package.py`). The module imports what the handlers need when it is loaded: that is
Lambda's init, before any event.
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

import catalunya.assets.making.landing
import catalunya.assets.making.staging
import catalunya.io.sources.http  # noqa: F401  the first event is not to wait for it either
from catalunya.assets.graph.discovery import declarations
from catalunya.assets.graph.spec import MAX_READERS, Layer
from catalunya.assets.making.materialize import materialize
from catalunya.assets.making.parts import PartRead, read_part
from catalunya.assets.making.request import Outcome, Request
from catalunya.assets.record.ledger import Entry
from catalunya.assets.record.project import Project
from catalunya.io.environment import Settings, load_settings
from catalunya.io.errors import CatalunyaError, UsageError, reportable
from catalunya.io.periods import window
from catalunya.io.sources.base import Part
from catalunya.ops.logging import configure

log = structlog.get_logger(__name__)

LEASE_S = 60.0
"""At most so long does the lease of a function that was cut off hold up the next: Lambda's own first retry comes after a minute.
While one runs, its lease is renewed."""

_DECLARED = tuple(declarations().values())  # marts are not made here: the graph ends at staging

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
Period = Annotated[str, msgspec.Meta(max_length=20)]


class Context(Protocol):
    """What Lambda tells a handler of the invocation, as far as it is read here."""

    aws_request_id: str

    def get_remaining_time_in_millis(self) -> int:
        """Until the function is cut off."""
        ...


class AskedPart(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Which part of the pages, and the folder of the batch that all parts of one run land in."""

    of: Annotated[int, msgspec.Meta(ge=1, le=MAX_READERS)]
    index: Annotated[int, msgspec.Meta(ge=0)]
    batch: Text


class Asked(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The event. `run_id` names one intent: the same again is the same event that came twice."""

    asset: Text
    run_id: Text
    correlation_id: Text | None = None
    force: bool = False
    period_from: Period | None = None
    period_to: Period | None = None
    part: AskedPart | None = None


def extract(event: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Make one landing asset, or land a part of its pages. Raises a CatalunyaError; DeadlineReached when it is to be asked
    again, to go on."""
    return _handle(Layer.LANDING, event, context)


def transform(event: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Make one staging asset. Raises a CatalunyaError; DeadlineReached when the time did not suffice, and nothing is published."""
    return _handle(Layer.STAGING, event, context)


def _handle(layer: Layer, event: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Make what is asked for; whatever goes wrong is logged, and raised as a class that its name is enough to tell."""
    left_s = context.get_remaining_time_in_millis() / 1000
    ends_at = time.monotonic() + left_s
    with structlog.contextvars.bound_contextvars(request_id=context.aws_request_id):
        try:
            settings = load_settings()
            _configure_logs(settings)
            ends_at -= min(settings.stop_before_s, left_s / 2)
            outcome = _make(layer, _read(event), _within(settings, left_s), ends_at)
        except CatalunyaError as error:
            told = reportable(error)
            log.error("function_failed", error_type=type(told).__name__, error=str(told))  # noqa: TRY400  one line says it all
            raise told from error.__cause__
        except Exception as error:
            log.exception("function_failed")
            # Lambda hands its text and its frames to whoever asked; the log has the whole of it.
            raise reportable(error) from None
    entry = outcome.entry if isinstance(outcome, Outcome) else None
    return {"status": outcome.status, "why": outcome.why, "entry": entry.summary() if entry else None}


def _make(layer: Layer, asked: Asked, settings: Settings, ends_at: float) -> Outcome | PartRead:
    project = Project(settings, _DECLARED)
    if project.graph[asked.asset].layer is not layer:
        other = {Layer.LANDING: "transform", Layer.STAGING: "extract"}[layer]
        raise UsageError(f"{asked.asset}: expected an asset of the layer {layer} here; ask the function `{other}`")
    request = Request(
        force=asked.force,
        window=window(asked.period_from, asked.period_to),
        run_id=asked.run_id,
        correlation_id=asked.correlation_id,
        ends_at=ends_at,
    )
    made = _made_by(project, asked)
    if asked.part:
        part = Part(asked.part.of, asked.part.index)
        if made:  # the one that seals was quicker than an event that came again
            return PartRead(asked.asset, "skipped", f"this run made it before ({made.reason})")
        return read_part(project, asked.asset, part, asked.part.batch, request)
    if made is None:
        return materialize(project, asked.asset, request)
    if request.window:
        return _as_before(made)
    # By state, not by event: what is new since then is made, but nothing is forced a second time.
    outcome = materialize(project, asked.asset, replace(request, force=False))
    is_same = outcome.status == "skipped" and outcome.entry and outcome.entry.sequence == made.sequence
    return _as_before(made) if is_same else outcome


def _made_by(project: Project, asked: Asked) -> Entry | None:
    """The entry that this very event led to, if it came before: Lambda tries again by itself, and so do its callers."""
    last = project.ledger.last_attempt(asked.asset)
    return last if last and last.is_made and last.run_id == asked.run_id else None


def _as_before(made: Entry) -> Outcome:
    if made.status == "unchanged":
        return Outcome(made.asset, "skipped", "the source moved, its content did not", made)
    return Outcome(made.asset, "materialized", f"this run made it before ({made.reason})", made)


def _read(event: Mapping[str, Any]) -> Asked:
    try:
        return msgspec.convert(event, Asked)
    except msgspec.ValidationError as error:
        raise UsageError(
            f"the event is expected as {', '.join(Asked.__struct_fields__)}, the first two of them always; found otherwise: {error}. "
            "Mend what invokes the function"
        ) from None


def _within(settings: Settings, left_s: float) -> Settings:
    """The settings of one invocation: its lease does not outlive a function that was cut off by much."""
    return settings.model_copy(update={"lease_s": min(settings.lease_s, LEASE_S, max(left_s, 1.0))})


def _configure_logs(settings: Settings) -> None:
    for handler in [*logging.root.handlers]:
        if type(handler).__name__ == "LambdaLoggerHandler":  # the runtime's own would say each line twice
            logging.root.removeHandler(handler)
    configure(settings.model_copy(update={"log_format": "json"}), to=sys.stdout)

"""The Lambda functions: `extract` makes one landing asset, `transform` one staging asset, through `materialize` like all callers.

The event is {"asset", "run_id", "correlation_id", "force", "period_from", "period_to"}, the result {"status", "why", "error", "entry"}, where
`error` is the class of io/errors.py if the status is `failed`, and `entry` the summary of the ledger entry or null. With "answer", a
name, the result is also written into the lake under it (`assets/record/answers.py`), for callers that do not wait for the response. With
"lost", a message, nothing is made: the function records that the run's former function died.

A failure is a result: only what is a bug, or kept the function from answering, is raised, so that Lambda counts an error and keeps the
event in the dead-letter queue. Lambda does not retry, its callers do. An event that is delivered twice is worked on once, and one that
is sent again is answered from the ledger. Both functions stop before the time limit: the next extraction resumes from the landed
pages, the next transformation starts over.

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
from catalunya.assets.graph.spec import Layer
from catalunya.assets.making.materialize import materialize, record_lost
from catalunya.assets.making.request import Outcome, Request, as_before, made_by
from catalunya.assets.record.answers import Answering, Result, answer_path
from catalunya.assets.record.project import Project
from catalunya.io.environment import Settings, load_settings
from catalunya.io.errors import MESSAGE, CatalunyaError, TransientError, UsageError, in_passing, reportable
from catalunya.io.log import get_logger
from catalunya.io.periods import window
from catalunya.ops.logging import configure

log = get_logger(__name__)

LEASE_S = 60.0
"""Longest time for which the lease of a killed function blocks the next one, and for which its caller waits for a sign of life.
A running function renews both."""

_DECLARED = tuple(declarations().values())  # without marts, which no function makes

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
Period = Annotated[str, msgspec.Meta(max_length=20)]


class Context(Protocol):
    """The part of Lambda's context object that is used here."""

    aws_request_id: str

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until Lambda stops the function."""
        ...


class Event(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The event. `run_id` identifies one request: the same `run_id` again means that the event was delivered twice."""

    asset: Text
    run_id: Text
    correlation_id: Text | None = None
    force: bool = False
    period_from: Period | None = None
    period_to: Period | None = None
    answer: Text | None = None
    lost: Annotated[str, msgspec.Meta(max_length=MESSAGE)] | None = None


def extract(event: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Make one landing asset; after DeadlineReached, invoke it again to resume.

    Returns the result. Raises an unforeseen error, and what keeps it from answering.
    """
    return _handle(Layer.LANDING, event, context)


def transform(event: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Make one staging asset; after DeadlineReached, with nothing published. Returns and raises as `extract` does."""
    return _handle(Layer.STAGING, event, context)


def _handle(layer: Layer, event: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Make the asset, and answer."""
    left_s = context.get_remaining_time_in_millis() / 1000
    ends_at = time.monotonic() + left_s
    with structlog.contextvars.bound_contextvars(request_id=context.aws_request_id):
        try:
            settings = _within(load_settings(), left_s)
            _configure_logs(settings)
            ends_at -= min(settings.stop_before_s, left_s / 2)
            project = Project(settings, _DECLARED)
            answering = _answering(layer, event, project, context.aws_request_id)
            if answering and not answering.begin():
                log.info("event_ignored", why="it was delivered before")
                return Result(status="skipped", why="the event was delivered before").plain()
        except Exception as error:  # noqa: BLE001  logged, and raised as a class that its reader knows
            raise _logged(error) from None
        result, bug = _result(layer, event, project, ends_at)
        if answering:
            try:
                answering.end(result)
            except CatalunyaError as error:
                raise _logged(error) from None
        if bug:
            raise bug
        return result.plain()


def _answering(layer: Layer, event: object, project: Project, request_id: str) -> Answering | None:
    """The answer that the event asks for. Read before the rest of the event, which may be invalid, and then the answer says so."""
    name = event.get("answer") if isinstance(event, Mapping) else None
    if name is None:
        return None
    return Answering.of(project.lake, answer_path(layer, str(name)), request_id, project.settings.lease_s)


def _result(
    layer: Layer, event: Mapping[str, Any], project: Project, ends_at: float
) -> tuple[Result, CatalunyaError | None]:
    """The result, and the error if it is a bug."""
    try:
        outcome = _make(layer, _read(event), project, ends_at)
    except Exception as error:  # noqa: BLE001  logged
        public = _logged(error)
        is_foreseen = isinstance(error, CatalunyaError) or in_passing(error)
        failed = Result(status="failed", why=str(public), error=type(public).__name__)
        return failed, None if is_foreseen else public
    entry = outcome.entry
    return Result(status=outcome.status, why=outcome.why, entry=entry.summary() if entry else None), None


def _logged(error: Exception) -> CatalunyaError:
    """Log an error; returns it as a class that callers can identify by name. Only the log has the traceback of an unforeseen one."""
    public = reportable(error)
    log.error(
        "function_failed",
        error_type=type(public).__name__,
        error=str(public),
        transient=isinstance(public, TransientError),
        exc_info=None if isinstance(error, CatalunyaError) else error,
    )
    return public


def _make(layer: Layer, event: Event, project: Project, ends_at: float) -> Outcome:
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
    if event.lost:
        return record_lost(project, event.asset, request, event.lost)
    made = made_by(project.ledger, event.asset, event.run_id)
    if made is None:
        return materialize(project, event.asset, request)
    if request.window:
        return as_before(made)
    # State decides, not the event: newer data is made, but nothing is forced a second time.
    outcome = materialize(project, event.asset, replace(request, force=False))
    is_same = outcome.status == "skipped" and outcome.entry and outcome.entry.sequence == made.sequence
    return as_before(made) if is_same else outcome


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

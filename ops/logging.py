"""Logs: structlog and the standard library's logging through one formatter, as readable lines or one JSON object a line.

Here: how a line looks, where it goes, and what it must not say. What is logged is said where it happens, by the levels:
ERROR a failed materialisation or a breached contract, WARNING a retry, a time-out, drift, INFO a success with its row
counts, DEBUG detail. `run_id`, `asset` and `correlation_id` are context variables that `materialize` binds, so that they
are on every line of a run. Airflow sets structlog up for its tasks itself, with context variables and masking of its own:
there nothing is to be configured, and `configure` sees to that.
"""

from __future__ import annotations

import logging
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

if TYPE_CHECKING:
    from catalunya.io.environment import Settings

HIDDEN = "***"
_SECRET_NAMES = frozenset(
    {"token", "secret", "password", "passwd", "authorization", "apikey", "credential", "credentials"}
)
_SECRET_TEXT = re.compile(
    r"(?i)((?:\b|[_$-])(?:token|secret|password|passwd|api_?key)[\"']?\s*[=:]\s*[\"']?|authorization[\"']?\s*[=:]\s*[\"']?(?:\w+ )?)"
    r"[^\s&,;\"'}]+"
)
# Libraries that tell of each request; what matters of it, this project's own clients say.
_CHATTY = ("httpx", "httpcore", "asyncio", "botocore", "boto3", "urllib3", "uvicorn.access")


class _Ours(logging.Handler):
    """A handler that `configure` has put in place, so that configuring again replaces it."""


class _Stream(_Ours, logging.StreamHandler[TextIO]):
    """Lines on a stream; without one, on what stderr is when the line is written."""

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__(stream)
        self._given = stream

    def emit(self, record: logging.LogRecord) -> None:
        if self._given is None:
            self.stream = sys.stderr  # progress bars put a stderr of their own in place while they are shown
        super().emit(record)


class _File(_Ours, logging.FileHandler):
    """Lines in a file."""


def configure(
    settings: Settings, *, to: TextIO | None = None, least: str | None = None, file: Path | None = None
) -> bool:
    """Send every log line to `to` (by default stderr), and all of them to `file` as well where one is given.

    `least` is the least severe level that `to` is shown, by default the setting's; a file always gets the setting's.
    Returns False, having changed nothing, when somebody else has configured structlog in this process, as Airflow does.
    """
    ours = [handler for handler in logging.root.handlers if isinstance(handler, _Ours)]
    if structlog.is_configured() and not ours:
        return False
    # A library of dbt's calls logging.basicConfig() when it is imported: its handler would say each line twice.
    theirs = [handler for handler in logging.root.handlers if type(handler) is logging.StreamHandler]
    for handler in [*ours, *theirs]:
        logging.root.removeHandler(handler)
        handler.close()
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_shared(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    as_json = settings.log_format == "json"
    shown = _Stream(to)
    shown.setLevel(least or settings.log_level)
    shown.setFormatter(_formatter(as_json=as_json, colours=bool(getattr(to or sys.stderr, "isatty", bool)())))
    logging.root.addHandler(shown)
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        kept = _File(file, encoding="utf-8")
        kept.setFormatter(_formatter(as_json=as_json, colours=False))
        logging.root.addHandler(kept)
    logging.root.setLevel(settings.log_level)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.root.level))
    return True


def redact(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Hide the values of keys that name a secret, at any depth, and `token=…` within text."""
    return {key: _redacted(key, value) for key, value in event.items()}


def _redacted(key: str, value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if not _SECRET_NAMES.isdisjoint(re.split(r"[^a-z]+", key.lower())):
        return HIDDEN
    if isinstance(value, dict):
        return {name: _redacted(str(name), inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted("", inner) for inner in value]
    return _SECRET_TEXT.sub(rf"\1{HIDDEN}", value) if isinstance(value, str) else value


def _shared() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.StackInfoRenderer(),
    ]


def _formatter(*, as_json: bool, colours: bool) -> logging.Formatter:
    last: list[Processor] = [_in_order, structlog.processors.JSONRenderer(ensure_ascii=False, default=str)]
    if not as_json:
        plain = structlog.dev.plain_traceback
        last = [structlog.dev.ConsoleRenderer(colors=colours, pad_event_to=24, exception_formatter=plain)]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_shared(),
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            redact,  # after tracebacks became text
            *last,
        ],
    )


def _in_order(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    first = ("timestamp", "level", "event", "logger", "asset", "run_id", "correlation_id")
    return {**{key: event[key] for key in first if key in event}, **event}

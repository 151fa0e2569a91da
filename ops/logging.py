"""Logging: structlog and the standard library through one formatter, as readable lines or one JSON object per line.

Here: the format, the destination, and redaction. The levels: ERROR for a failed materialization or a breached contract, WARNING for a
retry, a time-out or drift, INFO for a success with its row counts, DEBUG for detail. `materialize` binds `run_id`, `asset`
and `correlation_id` as context variables, so that every line of a run has them. In Airflow's tasks, Airflow configures structlog
itself, with its own context variables and masking; `configure` then does nothing.
"""

from __future__ import annotations

import logging
import sys
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from catalunya.io.log import FirstLine
from catalunya.io.safe_text import HIDDEN, is_secret_key, legible, safe_lines, safe_text

if TYPE_CHECKING:
    from catalunya.io.environment import Settings

KEY, VALUE, TRACEBACK = 80, 2000, 20_000
"""Characters shown of a key, a value and a traceback; a longer one is shortened in the middle."""
MOST, DEEPEST = 100, 6
"""Items shown of one list or mapping, and levels of nesting."""
_LINES = ("exception", "stack")
# Libraries that log every request; our own clients log what matters.
_CHATTY = ("httpx", "httpcore", "asyncio", "botocore", "boto3", "urllib3", "uvicorn.access")


class _Ours(logging.Handler):
    """A handler installed by `configure`, which replaces it when called again."""


class _Stream(_Ours, logging.StreamHandler[TextIO]):
    """Lines on a stream; by default on what sys.stderr is when the line is written."""

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__(stream)
        self._given = stream

    def emit(self, record: logging.LogRecord) -> None:
        if self._given is None:
            self.stream = sys.stderr  # progress bars replace sys.stderr while they are shown
        super().emit(record)


class _File(_Ours, logging.FileHandler):
    """Lines in a file."""


def configure(
    settings: Settings, *, to: TextIO | None = None, least: str | None = None, file: Path | None = None
) -> bool:
    """Send log lines to `to` (by default stderr), and also to `file` if one is given.

    `least` is the lowest level shown on `to`, by default that of the settings; a file always gets that of the settings.
    Returns False, and changes nothing, if structlog was already configured by someone else, such as Airflow.
    """
    ours = [handler for handler in logging.root.handlers if isinstance(handler, _Ours)]
    if structlog.is_configured() and not ours:
        return False
    as_json = settings.log_format == "json"
    _configure(to, least or settings.log_level, settings.log_level, as_json=as_json)
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        kept = _File(file, encoding="utf-8")
        kept.setFormatter(_formatter(as_json=as_json, colors=False))
        logging.root.addHandler(kept)
    return True


def _configure(to: TextIO | None, least: str, level: str, *, as_json: bool) -> None:
    ours = [handler for handler in logging.root.handlers if isinstance(handler, _Ours)]
    # A library that dbt imports calls logging.basicConfig(): its handler would print each line twice.
    theirs = [h for h in logging.root.handlers if type(h) is logging.StreamHandler or isinstance(h, FirstLine)]
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
    shown = _Stream(to)
    shown.setLevel(least)
    stream = to or sys.stderr
    is_unicode = "utf" in (getattr(stream, "encoding", None) or "utf-8").lower()
    shown.setFormatter(
        _formatter(as_json=as_json, colors=bool(getattr(stream, "isatty", bool)()), is_unicode=is_unicode)
    )
    logging.root.addHandler(shown)
    logging.root.setLevel(level)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.root.level))


def warn_on_stderr() -> None:
    """Until a command configures the logs: warnings on stderr, because stdout is for what was asked for."""
    if not structlog.is_configured():
        _configure(None, "WARNING", "WARNING", as_json=False)


def redact(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Hide secrets, by key at any depth and by value and shape in any text; make everything else safe to print: no control
    characters, bounded length."""
    return {
        legible(key, KEY): safe_lines(value, TRACEBACK) if key in _LINES else _redacted(str(key), value)
        for key, value in event.items()
    }


def _redacted(key: str, value: Any, depth: int = 0) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if is_secret_key(key):
        return HIDDEN
    if isinstance(value, int | float):
        return value
    if isinstance(value, dict) and depth < DEEPEST:
        first = {
            legible(name, KEY): _redacted(str(name), inner, depth + 1) for name, inner in islice(value.items(), MOST)
        }
        return {**first, "…": f"{len(value) - MOST:,} more"} if len(value) > MOST else first
    if isinstance(value, list | tuple | set | frozenset) and depth < DEEPEST:
        shown = [_redacted("", inner, depth + 1) for inner in islice(value, MOST)]
        return [*shown, f"… {len(value) - MOST:,} more"] if len(value) > MOST else shown
    return safe_text(value, VALUE)  # anything else as text


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


def _formatter(*, as_json: bool, colors: bool, is_unicode: bool = True) -> logging.Formatter:
    last: list[Processor] = [_in_order, structlog.processors.JSONRenderer(ensure_ascii=not is_unicode, default=str)]
    if not as_json:
        plain = structlog.dev.plain_traceback
        last = [structlog.dev.ConsoleRenderer(colors=colors, pad_event_to=24, exception_formatter=plain)]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_shared(),
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            redact,  # after tracebacks have become text
            *last,
        ],
    )


def _in_order(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    first = ("timestamp", "level", "event", "logger", "asset", "run_id", "correlation_id")
    return {**{key: event[key] for key in first if key in event}, **event}

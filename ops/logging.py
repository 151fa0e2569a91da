"""Logs: structlog and the standard library's logging through one formatter, as readable lines or one JSON object a line.

Here: how a line looks, where it goes, and what it must not say. What is logged is said where it happens, by the levels:
ERROR a failed materialization or a breached contract, WARNING a retry, a time-out, drift, INFO a success with its row
counts, DEBUG detail. `run_id`, `asset` and `correlation_id` are context variables that `materialize` binds, so that they
are on every line of a run. Airflow sets structlog up for its tasks itself, with context variables and masking of its own:
there nothing is to be configured, and `configure` sees to that.
"""

from __future__ import annotations

import logging
import sys
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from catalunya.io.safe_text import HIDDEN, is_secret_key, legible, safe_lines, safe_text

if TYPE_CHECKING:
    from catalunya.io.environment import Settings

KEY, VALUE, TRACEBACK = 80, 2000, 20_000
"""Characters of a key, a value and a traceback that are shown; a longer one is cut in its middle."""
MOST, DEEPEST = 100, 6
"""Values of one list or mapping, and levels of one in another, that are shown."""
_LINES = ("exception", "stack")
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


def tidy(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Hide secrets, by the name of their key at any depth and by their value and shape in any text; make all the rest safe
    to show, whoever said it: no control characters, no line of more than it should have."""
    return {
        legible(key, KEY): safe_lines(value, TRACEBACK) if key in _LINES else _tidied(str(key), value)
        for key, value in event.items()
    }


def _tidied(key: str, value: Any, depth: int = 0) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if is_secret_key(key):
        return HIDDEN
    if isinstance(value, int | float):
        return value
    if isinstance(value, dict) and depth < DEEPEST:
        first = {
            legible(name, KEY): _tidied(str(name), inner, depth + 1) for name, inner in islice(value.items(), MOST)
        }
        return {**first, "…": f"{len(value) - MOST:,} more"} if len(value) > MOST else first
    if isinstance(value, list | tuple | set | frozenset) and depth < DEEPEST:
        shown = [_tidied("", inner, depth + 1) for inner in islice(value, MOST)]
        return [*shown, f"… {len(value) - MOST:,} more"] if len(value) > MOST else shown
    return safe_text(value, VALUE)  # of anything else, what would be written of it


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
            tidy,  # after tracebacks became text
            *last,
        ],
    )


def _in_order(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    first = ("timestamp", "level", "event", "logger", "asset", "run_id", "correlation_id")
    return {**{key: event[key] for key in first if key in event}, **event}

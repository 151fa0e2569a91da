"""The loggers of all modules: structlog's, which is imported and configured when the first line is logged.

Importing structlog imports rich and asyncio, which a command that only looks does without. Not here: formats and destinations
(`ops/logging.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import RLock
from typing import Any

_CONFIGURING = RLock()  # of one thread: what configures the logs may itself log


def get_logger(name: str) -> Any:
    """The logger of a module: `log = get_logger(__name__)`."""
    return _Logger(name)


def configure_at_first_line(configure: Callable[[], object]) -> None:
    """Have `configure` called before this process logs its first line, by structlog or by the standard library."""
    if not any(isinstance(handler, FirstLine) for handler in logging.root.handlers):
        logging.root.addHandler(FirstLine(configure))


class FirstLine(logging.Handler):
    """Waits for the first line. That of a library then goes to the handlers that were configured."""

    def __init__(self, configure: Callable[[], object]) -> None:
        super().__init__()
        self.configure = configure

    def emit(self, record: logging.LogRecord) -> None:
        _configure_now()
        logging.root.handle(record)


class _Logger:
    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, method: str) -> Any:
        import structlog

        _configure_now()
        return getattr(structlog.get_logger(self._name), method)


def _configure_now() -> None:
    with _CONFIGURING:  # the first lines of two threads: structlog writes every level to stdout until it is configured
        for first in [handler for handler in logging.root.handlers if isinstance(handler, FirstLine)]:
            logging.root.removeHandler(first)
            first.configure()

"""A limit to the time that something may take, whatever it waits for.

Here: waiting for work that runs in a thread of its own, because no time-out of a client covers a name that is looked up for ever, or an answer
that arrives byte by byte. Not here: what is done instead (`otlp.py`, `openlineage.py`).
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextvars import copy_context


def failure_within(seconds: float, name: str, work: Callable[[], str]) -> str:
    """Why the work failed: what it returns, its error, or that it is not done by then; empty if all went well.

    The thread cannot be stopped; it does not keep the process alive.
    """
    done: queue.SimpleQueue[str] = queue.SimpleQueue()

    def run() -> None:
        try:
            done.put(work())
        except Exception as error:  # noqa: BLE001  returned
            done.put(f"{type(error).__name__}: {error}")

    threading.Thread(target=copy_context().run, args=(run,), name=name, daemon=True).start()
    try:
        return done.get(timeout=seconds)
    except queue.Empty:
        return f"no answer within {seconds:.1f} s"

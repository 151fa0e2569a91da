"""Both cores for what is written in Python: processes that are forked for it, each with a share of the items.

A forked process has the memory of this one: nothing that was read is read, sent or kept again. It has none of its threads, which polars and obstore
need: what it runs may only compute from what is there. It writes nothing but its results, into a pipe: when this process ends, however it
ends, nobody reads there any more, and the next write ends the other one (the processes of Python's own pools would wait for ever). Here: those
processes. Not here: what is made in them (`place_page.py`).
"""

from __future__ import annotations

import gc
import os
import pickle
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from catalunya.io.errors import TransientError

PROCESSES = 2
"""Each takes about 60 MB of its own."""

T = TypeVar("T")
R = TypeVar("R")


def cores() -> int:
    """How many processes are worth it on this machine: one, which is this one, where processes cannot be forked."""
    return min(PROCESSES, len(os.sched_getaffinity(0))) if sys.platform == "linux" else 1


def in_processes(make: Callable[[T], Iterable[R]], items: Sequence[T], count: int) -> Iterator[R]:
    """All that `make` makes of the items, in no order, made in so many processes. What it raises is raised here.

    Raises TransientError if a process was ended from outside, such as by the kernel for its memory.
    """
    if count < 2:
        for item in items:
            yield from make(item)
        return
    running: dict[Connection, int] = {}
    try:
        for share in (items[at::count] for at in range(count)):
            here, there = Pipe(duplex=False)
            running[here] = _fork(make, share, there, [*running, here])
            there.close()
        while running:
            for each in wait(list(running)):
                assert isinstance(each, Connection)
                kind, found = _received(each)
                if kind == _MADE:
                    yield found
                elif kind == _RAISED:
                    raise found
                elif kind == _DONE:
                    _end(each, running)
                else:
                    raise TransientError(
                        f"a process that makes pages ended early, by signal {_end(each, running)}; try again, with more memory if it was 9"
                    )
    finally:
        for each in list(running):
            _end(each, running)


_MADE, _RAISED, _DONE, _LOST = "made", "raised", "done", "lost"


def _received(here: Connection) -> tuple[str, Any]:
    try:
        kind, found = pickle.loads(here.recv_bytes())  # noqa: S301  a process of ours wrote it
    except (EOFError, OSError):
        return _LOST, None
    return kind, found


def _end(here: Connection, running: dict[Connection, int]) -> int:
    """Stop reading from a process, which ends it if it has not ended yet; returns the signal that ended it, 0 if none did."""
    here.close()
    _, status = os.waitpid(running.pop(here), 0)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def _fork(make: Callable[[T], Iterable[R]], items: Sequence[T], to: Connection, others: Sequence[Connection]) -> int:
    with warnings.catch_warnings():
        # Python warns of a fork beside threads: the new process may wait for what they hold. It only runs Python of ours.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid:
        return pid
    try:
        # What was there before is not looked at again: no destructor of what has threads may run here, and memory that is not touched is not
        # copied. What is made here is garbage as anywhere.
        gc.freeze()
        for each in others:
            each.close()
        _send_all(make, items, to)
    finally:
        os._exit(0)


def _send_all(make: Callable[[T], Iterable[R]], items: Sequence[T], to: Connection) -> None:
    def send(kind: str, what: Any) -> None:
        to.send_bytes(pickle.dumps((kind, what), pickle.HIGHEST_PROTOCOL))

    try:
        for item in items:
            for made in make(item):
                send(_MADE, made)
    except BrokenPipeError:
        return  # no one reads any more
    except Exception as error:  # noqa: BLE001  it is raised where the results are read
        error.add_note(traceback.format_exc())
        send(_RAISED, _as_sent(error))
    else:
        send(_DONE, None)


def _as_sent(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301
    except Exception:  # noqa: BLE001  an error that needs more than its text
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error

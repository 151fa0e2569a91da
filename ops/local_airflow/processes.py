"""Processes of one's own: started in a session of their own, so that all of it can be ended, and free ports.

Here: what holds for any child. Not here: which children there are (`server.py`, `mock.py`).
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from catalunya.io.errors import UsageError
from catalunya.ops.signals import LIKE_CTRL_C

GRACE_S = 6.0


@contextmanager
def child(
    command: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own, its output in `log`; at the end of the block nothing of the session is left."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as out:
        process = subprocess.Popen(  # noqa: S603  commands of ours
            command, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield process
    finally:
        with uninterrupted():
            end_session(process)


def end_session(process: subprocess.Popen[bytes]) -> None:
    """End a child by SIGTERM, and after a moment whatever is left of its session by SIGKILL."""
    import psutil  # type: ignore[import-untyped]

    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)
    # The session keeps the child's id taken as long as any process is in it, so that it cannot be another's by now.
    for pid in psutil.pids():
        with suppress(ProcessLookupError, PermissionError):
            if os.getsid(pid) == process.pid:
                os.kill(pid, signal.SIGKILL)
    process.wait()


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C and its like wait until the block is done: for tidying up."""
    try:
        former = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, *LIKE_CTRL_C)}
    except ValueError:  # not in the main thread, which no signal reaches anyway
        former = {}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on now."""
    held = [socket.socket() for _ in range(count)]
    try:
        for each in held:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in held]
    finally:
        for each in held:
            each.close()


def check_free(port: int) -> None:
    """Raise UsageError, naming the port, when somebody listens on it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise UsageError(
                f"port {port}: expected it to be free for Airflow's UI, found it taken ({(error.strerror or str(error)).lower()}); "
                f"stop what listens there, or choose another: `catalunya up --port {port + 1}`"
            ) from None

"""Child processes, signals and ports.

Here: a child in a session of its own that leaves nothing running, SIGTERM handled like Ctrl-C, free ports. Not here: which
processes there are (`local_airflow/`, `deployed_airflow/`).
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from catalunya.io.errors import UsageError

GRACE_S = 6.0
Handler = Callable[[int, FrameType | None], object] | signal.Handlers
TERMINATION = (signal.SIGTERM, signal.SIGHUP)


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP was received."""


@contextmanager
def terminable() -> Iterator[None]:
    """Raise Terminated on SIGTERM and SIGHUP, so that they clean up like Ctrl-C. Main thread only, as for all signals."""

    def terminate(_: int, __: FrameType | None) -> None:
        raise Terminated

    with _handling(TERMINATION, terminate):
        yield


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ignore Ctrl-C, SIGTERM and SIGHUP while cleaning up."""
    if threading.current_thread() is not threading.main_thread():  # signals never reach it
        yield
        return
    with _handling((signal.SIGINT, *TERMINATION), signal.SIG_IGN):
        yield


@contextmanager
def _handling(signals: Sequence[signal.Signals], handler: Handler) -> Iterator[None]:
    former = {number: signal.signal(number, handler) for number in signals}
    try:
        yield
    finally:
        for number, before in former.items():
            signal.signal(number, before)


@contextmanager
def child(
    command: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in its own session, its output in `log`. When the block ends, nothing of the session is left running."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as out:
        process = subprocess.Popen(  # noqa: S603  our own commands
            command, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield process
    finally:
        with uninterrupted():
            end_session(process)


def end_session(process: subprocess.Popen[bytes]) -> None:
    """Send SIGTERM to a child; after GRACE_S, SIGKILL to everything left in its session."""
    import psutil  # type: ignore[import-untyped]

    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)
    # The kernel does not reuse the session's id while any process is in it.
    for pid in psutil.pids():
        with suppress(ProcessLookupError, PermissionError):
            if os.getsid(pid) == process.pid:
                os.kill(pid, signal.SIGKILL)
    process.wait()


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that are free now."""
    held = [socket.socket() for _ in range(count)]
    try:
        for each in held:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in held]
    finally:
        for each in held:
            each.close()


def listens(port: int) -> bool:
    """Whether a process listens on a port of 127.0.0.1."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def check_free(port: int, purpose: str, command: str) -> None:
    """Raise UsageError if the port is in use; `command` is what to call with another one."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise UsageError(
                f"port {port}, for {purpose}, is not available ({(error.strerror or str(error)).lower()}); "
                f"stop the process that listens there, or choose another port: `{command} {port + 1}`"
            ) from None

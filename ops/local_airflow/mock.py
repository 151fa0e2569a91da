"""The mock APIs in a process of their own, for `run` and `up`. It ends when its parent does.

Here: that process. Not here: what it serves (`ops/mock`).
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from catalunya.io.errors import AirflowError
from catalunya.ops import mock
from catalunya.ops.processes import child, free_ports, listens

START_S = 60.0
POLL_S = 0.1


@contextmanager
def mock_apis(*, rows: int | None, real: Path | None, log: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """Start the mock on a free port. Yields its address, and a function that waits until it answers."""
    (port,) = free_ports(1)
    command = [
        sys.executable,
        "-m",
        "catalunya.ops.local_airflow.mock",
        str(os.getpid()),
        str(port),
        str(rows or mock.ROWS),
        str(real or ""),
    ]
    with child(command, log=log) as process:

        def wait() -> None:
            until = time.monotonic() + START_S
            while not listens(port):
                if process.poll() is not None or time.monotonic() > until:
                    lines = log.read_text(errors="replace", encoding="utf-8").strip().splitlines()
                    raise AirflowError(f"the mock APIs did not start: {lines[-1] if lines else 'no output'}; see {log}")
                time.sleep(POLL_S)

        yield f"http://127.0.0.1:{port}", wait


def main(parent: str, port: str, rows: str, real: str) -> None:
    """Serve until interrupted, or until the parent, which says who it is, ends: it may have ended while this was imported."""

    def watch() -> None:
        while os.getppid() == int(parent):
            time.sleep(POLL_S)
        os._exit(0)

    threading.Thread(target=watch, name="parent", daemon=True).start()
    mock.run(port=int(port), rows=int(rows), real=real or None)


if __name__ == "__main__":
    main(*sys.argv[1:])

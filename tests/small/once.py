"""What takes seconds to make and is only read by tests: made once for all workers of a test run.

Each worker of pytest-xdist is a process with session fixtures of its own; without this, two workers make everything twice.
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


def once(folders: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """The folder `name`, filled by `make` in whichever worker comes first; the others wait for it. Nobody writes to it after.

    A `make` that fails has made nothing: the next worker that comes begins anew, in an empty folder.
    """
    base = folders.getbasetemp()
    shared = base.parent if base.name.startswith("popen-") else base  # workers have folders below the run's own
    folder, done = shared / name, shared / f"{name}.done"
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            done.touch()
    return folder

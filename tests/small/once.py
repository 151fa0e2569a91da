"""Folders that take seconds to make and that tests only read: made once for all workers of a test run.

Each pytest-xdist worker is a process with its own session fixtures; without this, every worker would make everything again.
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


def once(folders: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """The folder `name`, filled by `make` in whichever worker comes first, while the others wait. Tests must not write to it.

    If `make` fails, the next worker starts over in an empty folder.
    """
    base = folders.getbasetemp()
    shared = (
        base.parent if base.name.startswith("popen-") else base
    )  # workers have their own folders below that of the run
    folder, done = shared / name, shared / f"{name}.done"
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            done.touch()
    return folder

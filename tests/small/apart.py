"""Environments of their own, for programs that need other versions of what the project also uses: each pinned with hashes in a lock file, and installed
below `.catalunya` when first used.
"""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

CACHE = Path(__file__).parents[2] / ".catalunya"


def environment(name: str, lock: Path, python: str = sys.executable) -> Path:
    """The environment of that name, installed unless it is what the lock says. One process at a time. Raises CalledProcessError."""
    home = CACHE / name
    home.parent.mkdir(exist_ok=True)
    uv, done = Path(sys.executable).with_name("uv"), home / ".installed"
    with lock.open("rb") as pinned:
        fcntl.flock(pinned, fcntl.LOCK_EX)
        wanted = pinned.read()
        if not done.exists() or done.read_bytes() != wanted:
            inside = str(home / "bin" / "python")
            subprocess.run([uv, "venv", "--quiet", "--clear", "--python", python, home], check=True)
            subprocess.run([uv, "pip", "sync", "--quiet", "--python", inside, "--require-hashes", lock], check=True)
            done.write_bytes(wanted)
    return home

"""`make secrets`: what compose wants in .env and nobody is to choose by hand, made at random, readable by its owner alone.

What is there already stays: another database password would lock everybody out of the database that exists. Not here: the secrets of
dev and prod, which Dokku keeps (docs/dokku.md).
"""

from __future__ import annotations

import base64
import os
import secrets
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

MADE: Mapping[str, Callable[[], str]] = {
    "CATALUNYA_POSTGRES_PASSWORD": lambda: secrets.token_hex(24),
    "CATALUNYA_FERNET_KEY": lambda: base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
    "CATALUNYA_SECRET_KEY": lambda: secrets.token_hex(32),
    "CATALUNYA_JWT_SECRET": lambda: secrets.token_hex(64),
}


def write(path: Path) -> list[str]:
    """Add to the file what it has not; returns the names of what was added."""
    text = path.read_text() if path.exists() else ""
    present = {line.partition("=")[0].strip() for line in text.splitlines()}
    added = {name: make() for name, make in MADE.items() if name not in present}
    if added:
        head = text if not text or text.endswith("\n") else f"{text}\n"
        beside = path.with_name(f"{path.name}.{os.getpid()}")
        beside.touch(mode=0o600, exist_ok=False)
        beside.write_text(head + "".join(f"{name}={value}\n" for name, value in added.items()))
        beside.replace(path)
    return list(added)


def main(path: str = ".env") -> int:
    """Write them and say which were missing. Returns the exit code."""
    added = write(Path(path))
    told = f"made {', '.join(added)}" if added else "all secrets are there"
    sys.stdout.write(f"{path}: {told}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

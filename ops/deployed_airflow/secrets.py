"""`make secrets`: generate the passwords and keys that compose reads from .env, a file only its owner can read.

Existing values stay: a new database password would not match the existing database. Not here: the secrets of dev and prod, which
Dokku keeps (docs/dokku.md).
"""

from __future__ import annotations

import base64
import os
import secrets
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

GENERATED: Mapping[str, Callable[[], str]] = {
    "CATALUNYA_POSTGRES_PASSWORD": lambda: secrets.token_hex(24),
    "CATALUNYA_FERNET_KEY": lambda: base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
    "CATALUNYA_SECRET_KEY": lambda: secrets.token_hex(32),
    "CATALUNYA_JWT_SECRET": lambda: secrets.token_hex(64),
}


def write(path: Path) -> list[str]:
    """Add the missing secrets to the file; returns their names."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    present = {line.partition("=")[0].strip() for line in text.splitlines()}
    added = {name: generate() for name, generate in GENERATED.items() if name not in present}
    if added:
        head = text if not text or text.endswith("\n") else f"{text}\n"
        beside = path.with_name(f"{path.name}.{os.getpid()}")
        try:
            beside.touch(mode=0o600, exist_ok=False)
            beside.write_text(head + "".join(f"{name}={value}\n" for name, value in added.items()), encoding="utf-8")
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    return list(added)


def main(path: str = ".env") -> int:
    """Write the missing secrets and print their names. Returns the exit code."""
    added = write(Path(path))
    what = f"added {', '.join(added)}" if added else "no secret is missing"
    sys.stdout.write(f"{path}: {what}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

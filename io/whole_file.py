"""A file on this machine that is written as a whole or not at all.

Here: files of the cache, and files of a project that commands write. Not here: objects of the lake (`lake.py`).
"""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, and its folder: readers see the old one or the new one, and what a full disk cut off is deleted. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)

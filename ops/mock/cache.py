"""Page bodies kept on disk, so that in a benchmark the mock costs what reading a file costs.

A page is rendered when it is first asked for. Its name is a digest of all that it depends on, the mock's own source
text included: a page that another version of the mock has made is never served.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path


class PageCache:
    """Pages in one folder, which may be shared by several mocks and deleted at any time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def page(self, key: str, make: Callable[[], Iterator[bytes]]) -> Iterator[bytes]:
        """The page of that key, read from the folder, or made and left there."""
        name = hashlib.sha256(f"{self._fingerprint}\n{key}".encode()).hexdigest()
        path = self._folder / f"{name[:32]}.json"
        if not path.exists():
            beside = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
            with beside.open("wb") as file:
                file.writelines(make())
            beside.replace(path)
        yield path.read_bytes()

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256()
        for source in sorted(Path(__file__).parent.glob("*.py")):
            digest.update(source.read_bytes())
        return digest.hexdigest()

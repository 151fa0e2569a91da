"""What a mocked API publishes, as it stands: its version, what moves it on, and what takes it back. The same for all of them.

Not here: what is published (the tables), when it says it was updated (the APIs).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field


@dataclass(kw_only=True)
class Published:
    """One dataset: its version, and how often anything of it has changed. `token` is how the faults have it shown."""

    version: int = 0
    changes: int = 0
    token: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def advance(self, steps: int) -> None:
        """Publish a new version, `steps` times."""
        with self.lock:
            self.version += steps
            self.changes += steps

    def reset(self) -> None:
        """Back to version 0."""
        with self.lock:
            self.version, self.changes, self.token = 0, 0, ""

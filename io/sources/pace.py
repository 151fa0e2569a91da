"""When the next request to a host may be sent. Here: the turns. Not here: sending requests (`http.py`)."""

from __future__ import annotations

import threading
import time
from collections import defaultdict


class Pace:
    """When the next request to one host may be sent: shared by all extractions of this process, whatever thread they are in."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next = 0.0

    def take(self, requests_per_second: float) -> float:
        """Take the turn if it has come, else return the seconds until then: a pause may be added meanwhile.

        Evenly spaced: a bucket would let through twice as many in the first second.
        """
        with self._lock:
            now = time.monotonic()
            if now >= self._next:
                self._next = now + 1 / requests_per_second
                return 0.0
            return self._next - now

    def pause(self, seconds: float) -> None:
        """Give no turn before this many seconds from now: the source asked the client to wait, so its other requests wait too."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)


PACES: dict[str, Pace] = defaultdict(Pace)
"""By host."""

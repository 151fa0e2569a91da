"""The time that one attempt has: a function stops by itself before Lambda cuts it off.

Here: the check of work that cannot be gone on with. Not here: requests, which end by a deadline of their own (`io/sources/http.py`).
"""

from __future__ import annotations

import time

from catalunya.io.errors import DeadlineReached


def check_time(key: str, ends_at: float | None, came_so_far: str) -> None:
    """Raise DeadlineReached when the time for making a table, which ends at `ends_at` by time.monotonic(), is over."""
    if ends_at is not None and time.monotonic() >= ends_at:
        raise DeadlineReached(
            f"{key}: {came_so_far}, and the time for one attempt is over; nothing was published, and another attempt begins anew. "
            "If that does not suffice either, give the function more memory, and with it more of a processor"
        )

"""How long tests wait, scaled by one setting: CATALUNYA_TEST_PATIENCE (default 1) multiplies every limit.

Limits are generous: a test that passes never waits for one. On a slow or busy machine, set the variable to 3.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

# Read once: tests remove CATALUNYA_ variables from the environment.
PATIENCE = float(os.environ.get("CATALUNYA_TEST_PATIENCE", "1"))


def patience(seconds: float) -> float:
    """These seconds, as long as this machine needs them to be."""
    return seconds * PATIENCE


def wait_until(
    is_so: Callable[[], object], seconds: float, why: Callable[[], object] = lambda: "", poll_s: float = 0.1
) -> None:
    """Wait until the condition holds. Fails after `patience(seconds)`, with what `why` then says."""
    until = time.monotonic() + patience(seconds)
    while not is_so():
        assert time.monotonic() < until, f"after {patience(seconds):.0f} s: {why()}"
        time.sleep(poll_s)

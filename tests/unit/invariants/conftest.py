"""The invariants are tested on a lake in a folder; tests/integration/s3 runs the same tests on S3."""

from __future__ import annotations

import pytest


@pytest.fixture
def stride() -> int:
    """The distance between the writes at which a process is killed: 1, so every write is tested."""
    return 1

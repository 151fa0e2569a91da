"""What the invariants are tried on: a lake in a folder (tests/integration/s3 tries the same tests on S3)."""

from __future__ import annotations

import pytest


@pytest.fixture
def stride() -> int:
    """How many writes lie between the ones that a process is killed at: all of them are tried here."""
    return 1

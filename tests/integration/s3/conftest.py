"""The tests of the materialization path once more, on S3: only the lake they are given is another.

The modules here take over the test functions of tests/unit as they are. moto serves in this process, killed ones are others.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from catalunya.io.environment import Settings, load_settings

pytest.register_assert_rewrite("unit.invariants")  # so that a failure says what was compared there, too


@pytest.fixture
def settings(tmp_path: Path, bucket: str) -> Settings:
    """Settings whose lake is an empty bucket, with quick retries. What else dev has besides (Glue, Lambda) is left out."""
    (tmp_path / "scratch").mkdir()
    return load_settings(
        env="local",
        lake=bucket,
        cache=tmp_path / "cache",
        scratch=tmp_path / "scratch",
        http_backoff_s=0.01,
        http_requests_per_second=1000,
    )


@pytest.fixture
def stride() -> int:
    """A process is killed before every fourth write, from the first on: here each write and each child costs requests."""
    return 4

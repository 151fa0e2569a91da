"""The tests of the materialization path again, with a lake on S3.

The modules here import test functions of tests/unit unchanged. moto runs in this process; the processes that get killed are others.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from catalunya.io.environment import Settings, load_settings

pytest.register_assert_rewrite("unit.invariants")  # so that failures there show the values compared, too


@pytest.fixture
def settings(tmp_path: Path, bucket: str) -> Settings:
    """Settings whose lake is an empty bucket, with short retries. Nothing else of dev (Glue, Lambda) is used."""
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
    """Kill a process before every fourth write only, because each write and each child process costs requests here."""
    return 4

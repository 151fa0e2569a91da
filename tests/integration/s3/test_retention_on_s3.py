"""Expired objects are pruned on S3 too: some tests of tests/unit/test_retention.py, unchanged."""

from pathlib import Path

import pytest

from catalunya.io.environment import Settings
from unit.test_retention import (
    Shop,
    made_twice,
    test_a_prune_leaves_lake_and_ledger_consistent_and_staleness_unchanged,
    test_an_empty_lake_has_nothing_to_prune,
)

__all__ = [
    "test_a_prune_leaves_lake_and_ledger_consistent_and_staleness_unchanged",
    "test_an_empty_lake_has_nothing_to_prune",
]


@pytest.fixture
def shop(settings: Settings, tmp_path: Path) -> Shop:
    return made_twice(settings, tmp_path / "source")

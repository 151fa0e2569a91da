"""Expired objects are pruned on S3 too: some tests of tests/unit/test_retention.py, unchanged."""

from unit.test_retention import (
    shop,
    test_a_prune_leaves_lake_and_ledger_consistent_and_staleness_unchanged,
    test_an_empty_lake_has_nothing_to_prune,
)

__all__ = [
    "shop",
    "test_a_prune_leaves_lake_and_ledger_consistent_and_staleness_unchanged",
    "test_an_empty_lake_has_nothing_to_prune",
]

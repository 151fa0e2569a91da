"""Expired objects are pruned on S3 too: some tests of tests/unit/test_retention.py, unchanged."""

from unit.test_retention import (
    shop,
    test_after_a_prune_the_lake_is_in_order_and_everything_is_as_stale_as_before,
    test_nothing_goes_from_an_empty_lake,
)

__all__ = [
    "shop",
    "test_after_a_prune_the_lake_is_in_order_and_everything_is_as_stale_as_before",
    "test_nothing_goes_from_an_empty_lake",
]

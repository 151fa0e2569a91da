"""Replaced files are kept on S3 too: some tests of tests/unit/test_superseded.py, unchanged."""

from unit.test_superseded import (
    shop,
    test_a_table_can_be_read_as_each_entry_left_it,
    test_what_changes_or_vanishes_is_kept_and_what_stays_is_not,
)

__all__ = [
    "shop",
    "test_a_table_can_be_read_as_each_entry_left_it",
    "test_what_changes_or_vanishes_is_kept_and_what_stays_is_not",
]

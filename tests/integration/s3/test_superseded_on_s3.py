"""Replaced files are kept on S3 too: some tests of tests/unit/test_superseded.py, unchanged."""

from unit.test_superseded import (
    shop,
    test_a_table_can_be_read_as_of_each_entry,
    test_changed_and_removed_objects_are_kept_and_unchanged_ones_are_not_copied,
)

__all__ = [
    "shop",
    "test_a_table_can_be_read_as_of_each_entry",
    "test_changed_and_removed_objects_are_kept_and_unchanged_ones_are_not_copied",
]

"""The invariants of the materialization path, hostile names and damaged batches, on S3: tests of tests/unit/invariants, unchanged.

Here are those where the store matters: what is listed, created once, read by range, overwritten and deleted. What the path decides
from what it has read does not depend on the store; tests/e2e/s3 runs all of these tests on it nevertheless.
"""

from unit.invariants.test_hostile_names import (  # noqa: F401
    test_a_row_whose_partition_value_cannot_name_a_folder_is_quarantined,
)
from unit.invariants.test_invariants import (  # noqa: F401
    shop,
    test_1_a_plan_says_what_is_stale_and_why_and_changes_nothing,
    test_2_without_new_data_nothing_is_written_and_each_source_gets_one_request,
    test_3_quarantined_rows_can_be_replayed_once_the_function_is_fixed,
    test_4_publishing_is_deterministic_and_removes_partitions_that_no_longer_exist,
    test_5_the_record_is_the_commit_point_and_is_created_once,
    test_6_a_batch_is_landed_again_and_kept_for_a_table_that_needs_it_again,
    test_6_the_leftovers_of_a_killed_extraction_are_deleted_with_the_next_batch,
    test_12_an_entry_that_cannot_be_read_stops_only_the_assets_that_read_it,
)
from unit.invariants.test_two_writers import *  # noqa: F403
from unit.invariants.test_what_was_landed import (  # noqa: F401
    landed,
    test_a_damaged_batch_of_a_backfill_is_replaced_by_the_whole_source,
)

"""The invariants of the materialization path, hostile names and damaged batches, on S3: the tests of tests/unit/invariants, unchanged.

Of the damaged batches, those where the store matters: every kind of damage is found in the bytes, wherever these come from.
"""

from unit.invariants.test_hostile_names import *  # noqa: F403
from unit.invariants.test_invariants import *  # noqa: F403
from unit.invariants.test_two_writers import *  # noqa: F403
from unit.invariants.test_what_was_landed import (  # noqa: F401
    landed,
    test_a_damaged_batch_leaves_the_published_table_as_it_was,
    test_a_damaged_batch_of_a_backfill_is_replaced_by_the_whole_source,
    test_a_damaged_batch_that_one_table_has_used_lands_again_for_the_other,
    test_a_run_killed_while_a_damaged_batch_is_replaced_leads_to_the_same_lake,
)

"""The invariants of the materialization path and hostile names, damaged batches, on S3: the tests of tests/unit/invariants, unchanged."""

from unit.invariants.test_hostile_names import *  # noqa: F403
from unit.invariants.test_invariants import *  # noqa: F403
from unit.invariants.test_two_writers import *  # noqa: F403
from unit.invariants.test_what_was_landed import *  # noqa: F403

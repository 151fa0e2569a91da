"""The invariants of the materialization path on S3, also under SIGKILL: all tests of tests/unit/invariants of them, unchanged."""

from unit.invariants.test_hostile_names import *  # noqa: F403
from unit.invariants.test_invariants import *  # noqa: F403
from unit.invariants.test_kill_and_run_again import *  # noqa: F403
from unit.invariants.test_two_writers import *  # noqa: F403
from unit.invariants.test_what_was_landed import *  # noqa: F403

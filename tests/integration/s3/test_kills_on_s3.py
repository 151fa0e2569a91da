"""Invariants 4, 5, 6 and 9 under SIGKILL, on S3: the tests of tests/unit/invariants, unchanged."""

from unit.invariants.test_kill_and_run_again import *  # noqa: F403

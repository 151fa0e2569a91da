"""Invariants 4, 5 and 6 under SIGKILL, on S3: a test of tests/unit/invariants, unchanged; tests/e2e/s3 has the others."""

from unit.invariants.test_kill_and_run_again import (  # noqa: F401
    test_a_run_killed_at_any_write_records_no_entry_without_its_data_and_a_rerun_gives_the_same_lake,
)

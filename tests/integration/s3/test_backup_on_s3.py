"""Backups from one bucket to another, and back: some tests of tests/unit/test_backup.py and test_restore.py, unchanged."""

from __future__ import annotations

import pytest

from catalunya.io.environment import Settings
from small.aws import Aws
from unit.test_backup import test_a_second_backup_writes_only_what_is_new
from unit.test_restore import (
    shop,
    test_a_lost_lake_is_restored_as_it_was_and_goes_on,
    test_a_wrong_table_is_replaced_by_the_backups,
)

__all__ = [
    "shop",
    "test_a_lost_lake_is_restored_as_it_was_and_goes_on",
    "test_a_second_backup_writes_only_what_is_new",
    "test_a_wrong_table_is_replaced_by_the_backups",
]


@pytest.fixture
def settings(settings: Settings, aws: Aws) -> Settings:
    name = settings.lake.removeprefix("s3://")
    return settings.model_copy(update={"backup": aws.make_bucket(f"{name}-backup")})

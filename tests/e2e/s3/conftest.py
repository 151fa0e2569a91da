"""Every test of the materialization path with a lake on S3; tests/integration/s3 has those where the store matters."""

from __future__ import annotations

import pytest
from tests.integration.s3.conftest import settings, stride

__all__ = ["settings", "stride"]

pytest.register_assert_rewrite("unit.invariants")  # so that failures there show the values compared, too

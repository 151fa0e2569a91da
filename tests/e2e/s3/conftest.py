"""Every test of the materialization path with a lake on S3; tests/integration/s3 has those where the store matters."""

from __future__ import annotations

from tests.integration.s3.conftest import settings, stride

__all__ = ["settings", "stride"]

"""One account for all tests of a module, with a lake, a work group, and the small staging tables published in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from athena.account import Account


@pytest.fixture(scope="module")
def athena(compiled: Path) -> Iterator[Account]:
    """An account whose Athena runs, and this process's environment pointed at it."""
    from athena.server import athena_server

    with pytest.MonkeyPatch.context() as patch, athena_server() as (aws, api):
        patch.delenv("AWS_PROFILE", raising=False)
        for name, value in aws.environment.items():
            patch.setenv(name, value)
        yield Account.prepare(aws, api, compiled)


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """A folder for work in progress."""
    return tmp_path

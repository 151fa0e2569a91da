"""One account for all tests of a module, with a lake, a work group, and the small staging tables published in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from athena.account import Account


@pytest.fixture(scope="module")
def athena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """An account whose Athena runs, and this process's environment pointed at it until the module's tests are over."""
    from athena.server import athena_server

    with pytest.MonkeyPatch.context() as patch, athena_server() as (aws, api):
        patch.delenv("AWS_PROFILE", raising=False)
        for name, value in aws.environment.items():
            patch.setenv(name, value)
        yield Account.prepare(aws, api, tmp_path_factory.mktemp("athena"))


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """A folder for work in progress."""
    return tmp_path

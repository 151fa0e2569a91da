"""One account for all tests of Athena, with a lake, a work group, and the small staging tables published in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from athena.account import Account
from small.aws import Aws


@pytest.fixture(scope="session")
def account(compiled: Path) -> Iterator[Account]:
    """The account, whose Athena runs. Tests take `athena`."""
    from athena.server import athena_server

    with athena_server() as (aws, api):
        with pointed_at(aws):
            prepared = Account.prepare(aws, api, compiled)
        yield prepared


@pytest.fixture(scope="module")
def athena(account: Account) -> Iterator[Account]:
    """The account, and this process's environment pointed at it until the module's tests are over."""
    with pointed_at(account.aws):
        yield account


@contextmanager
def pointed_at(aws: Aws) -> Iterator[None]:
    """This process's environment, in which clients find that AWS."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("AWS_PROFILE", raising=False)
        for name, value in aws.environment.items():
            patch.setenv(name, value)
        yield


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """A folder for work in progress."""
    return tmp_path

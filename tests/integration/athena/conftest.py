"""One AWS account for all tests of Athena, with a lake and work groups."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from athena.account import Account
from small.aws import Aws


@pytest.fixture(scope="session")
def account(compiled: Path) -> Iterator[Account]:
    """The account, with an Athena that executes queries. Tests use `athena`."""
    from athena.server import athena_server

    with athena_server() as (aws, api):
        with pointed_at(aws):
            prepared = Account.prepare(aws, api, compiled)
        yield prepared


@pytest.fixture(scope="module")
def athena(account: Account) -> Iterator[Account]:
    """The account, with this process's environment pointing to it during the module's tests."""
    with pointed_at(account.aws):
        yield account


@contextmanager
def pointed_at(aws: Aws) -> Iterator[None]:
    """Point this process's AWS clients to that account."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("AWS_PROFILE", raising=False)
        for name, value in aws.environment.items():
            patch.setenv(name, value)
        yield


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """A scratch folder."""
    return tmp_path

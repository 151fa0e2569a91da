"""AWS as tests see it: one moto server for the whole session, on a free port of this machine.

A test that takes `aws` finds its clients pointed at it (obstore, polars, boto3, dbt: all read the same variables), one that
takes `bucket` also has its own bucket. Nothing leaves the machine: the credentials are none.
"""

from __future__ import annotations

import functools
import itertools
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

REGION = "eu-west-1"


@dataclass(frozen=True)
class Aws:
    """A moto server that runs, and the variables that point any client at it."""

    url: str
    _clients: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def environment(self) -> dict[str, str]:
        """What a process of its own needs in its environment to use it."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",  # else clients look for a machine in the cloud first
        }

    def client(self, service: str) -> Any:
        """The boto3 client of one service."""
        import boto3

        if service not in self._clients:
            client: Any = boto3.client  # whose stubs take names of services only when they are literal
            self._clients[service] = client(
                service,
                endpoint_url=self.url,
                region_name=REGION,
                aws_access_key_id="testing",
                aws_secret_access_key="testing",
            )
        return self._clients[service]

    def make_bucket(self, name: str) -> str:
        """Make a bucket. Returns its address: `s3://name`."""
        self.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
        return f"s3://{name}"

    def fill(self, bucket: str, objects: Mapping[str, bytes]) -> None:
        """Put many objects behind the server's back: hundreds of requests would take seconds."""
        s3, name, prefix = _behind(bucket)
        for path, body in objects.items():
            s3.put_object(name, prefix + path, body)


def contents(lake: str) -> dict[str, bytes]:
    """Path -> bytes of every object of a lake, in order, read behind the server's back."""
    s3, name, prefix = _behind(lake)
    keys = s3.get_bucket(name).keys
    return {key.removeprefix(prefix): keys[key].value for key in sorted(keys) if key.startswith(prefix)}


def restore(lake: str, before: Mapping[str, bytes]) -> None:
    """Make a lake what it was when its `contents` were taken, behind the server's back."""
    s3, name, prefix = _behind(lake)
    for path in contents(lake):
        s3.delete_object(name, prefix + path)
    for path, body in before.items():
        s3.put_object(name, prefix + path, body)


def _behind(lake: str) -> tuple[Any, str, str]:
    """moto's S3 itself, which lives in this process, and the bucket and prefix of a lake."""
    from moto.core.models import DEFAULT_ACCOUNT_ID
    from moto.s3.models import s3_backends

    name, _, prefix = lake.removeprefix("s3://").partition("/")
    return s3_backends[DEFAULT_ACCOUNT_ID]["aws"], name, f"{prefix}/" if prefix else ""


def look_up_once() -> None:
    """Have boto3 and moto remember what each of them looks up again and again and what never changes while a process lives.

    A session of boto3 parses megabytes of descriptions for itself, and dbt-athena has a session for each connection: that was
    a fifth of what its tests take. moto looks through its own folders at each request, which is a third of the request.
    """
    from botocore import session
    from moto import backends

    for module, name in ((session, "create_loader"), (backends, "list_of_moto_modules")):
        function = getattr(module, name)
        if not hasattr(function, "cache_info"):
            setattr(module, name, functools.cache(_kept(function)))


def _kept(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, a list where it gives an iterator: that could be gone through only once."""

    def answer(*arguments: Any) -> Any:
        found = function(*arguments)
        return list(found) if isinstance(found, Iterator) else found

    return answer


@contextmanager
def moto_server() -> Iterator[Aws]:
    """moto's server in threads of this process, for as long as the block runs."""
    from moto.server import ThreadedMotoServer

    look_up_once()
    # A line for each request buries what a failing test says.
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield Aws(f"http://{host}:{port}")
    finally:
        server.stop()


@pytest.fixture(scope="session")
def shared_aws() -> Iterator[Aws]:
    """The one moto server of the session. Tests take `aws`; fixtures that live longer than a test take this one."""
    with moto_server() as server:
        yield server


@pytest.fixture
def aws(shared_aws: Aws, monkeypatch: pytest.MonkeyPatch) -> Aws:
    """The server, with this process's environment pointed at it while the test runs."""
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    for name, value in shared_aws.environment.items():
        monkeypatch.setenv(name, value)
    return shared_aws


_numbers = itertools.count(1)


@pytest.fixture
def bucket(aws: Aws) -> str:
    """The address of an empty bucket that no other test has: `s3://…`."""
    return aws.make_bucket(f"catalunya-test-{next(_numbers):04}")

"""AWS as tests see it: one moto server for the whole session, on a free port of this machine.

With CATALUNYA_TEST_S3=seaweedfs it is a real S3 instead, and nothing but S3: `make e2e` runs tests/integration/s3 and tests/e2e/s3 on it.

A test that takes `aws` finds its clients pointed at it (obstore, polars, boto3, dbt: all read the same variables), one that
takes `bucket` also has its own bucket. Nothing leaves the machine: the credentials are none.
"""

from __future__ import annotations

import functools
import itertools
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from small.servers import seaweedfs

REGION = "eu-west-1"
# Read once: tests remove CATALUNYA_ variables from the environment.
S3 = os.environ.get("CATALUNYA_TEST_S3", "moto")


@dataclass(frozen=True)
class Aws:
    """A server that runs, moto's or another, and the variables that point any client at it."""

    url: str
    is_moto: bool = True
    key: str = "testing"  # for LocalStack, the number of the account
    _clients: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def environment(self) -> dict[str, str]:
        """What a process of its own needs in its environment to use it."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": self.key,
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
                aws_access_key_id=self.key,
                aws_secret_access_key="testing",
            )
        return self._clients[service]

    def make_bucket(self, name: str) -> str:
        """Make a bucket. Returns its address: `s3://name`."""
        self.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
        return f"s3://{name}"

    def fill(self, bucket: str, objects: Mapping[str, bytes]) -> None:
        """Put many objects, behind moto's back: hundreds of requests would take seconds."""
        store = _store(bucket)
        for path, body in objects.items():
            store.put(path, body)


def contents(lake: str) -> dict[str, bytes]:
    """Path -> bytes of every object of a lake, in order, read behind moto's back."""
    store = _store(lake)
    return {path: store.get(path) for path in sorted(store.paths())}


def restore(lake: str, before: Mapping[str, bytes]) -> None:
    """Make a lake what it was when its `contents` were taken, behind moto's back."""
    store = _store(lake)
    for path in store.paths():
        store.delete(path)
    for path, body in before.items():
        store.put(path, body)


class _Behind:
    """The objects of a lake in moto's S3 itself, which lives in this process."""

    def __init__(self, bucket: str, prefix: str) -> None:
        from moto.core.models import DEFAULT_ACCOUNT_ID
        from moto.s3.models import s3_backends

        self.s3, self.bucket, self.prefix = s3_backends[DEFAULT_ACCOUNT_ID]["aws"], bucket, prefix

    def paths(self) -> list[str]:
        keys = self.s3.get_bucket(self.bucket).keys
        return [key.removeprefix(self.prefix) for key in keys if key.startswith(self.prefix)]

    def get(self, path: str) -> bytes:
        found: bytes = self.s3.get_bucket(self.bucket).keys[self.prefix + path].value
        return found

    def put(self, path: str, body: bytes) -> None:
        self.s3.put_object(self.bucket, self.prefix + path, body)

    def delete(self, path: str) -> None:
        self.s3.delete_object(self.bucket, self.prefix + path)


class _ByRequests:
    """The objects of a lake on any S3, by requests of boto3 to the server that the environment names."""

    def __init__(self, bucket: str, prefix: str) -> None:
        import boto3

        self.s3, self.bucket, self.prefix = boto3.client("s3"), bucket, prefix

    def paths(self) -> list[str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix)
        return [found["Key"].removeprefix(self.prefix) for page in pages for found in page.get("Contents", [])]

    def get(self, path: str) -> bytes:
        return self.s3.get_object(Bucket=self.bucket, Key=self.prefix + path)["Body"].read()

    def put(self, path: str, body: bytes) -> None:
        self.s3.put_object(Bucket=self.bucket, Key=self.prefix + path, Body=body)

    def delete(self, path: str) -> None:
        self.s3.delete_object(Bucket=self.bucket, Key=self.prefix + path)


def _store(lake: str) -> _Behind | _ByRequests:
    name, _, prefix = lake.removeprefix("s3://").partition("/")
    return (_Behind if S3 == "moto" else _ByRequests)(name, f"{prefix}/" if prefix else "")


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


def create_once() -> None:
    """Have moto look whether there is an object and write it without another thread in between, as S3 promises for `If-None-Match`."""
    from moto.s3.responses import S3Response

    put, lock = S3Response.put_object, threading.Lock()
    if hasattr(put, "__wrapped__"):
        return

    @functools.wraps(put)
    def alone(response: Any) -> Any:
        with lock:
            return put(response)

    S3Response.put_object = alone


@contextmanager
def moto_server() -> Iterator[Aws]:
    """moto's server in threads of this process, for as long as the block runs."""
    from moto.server import ThreadedMotoServer

    look_up_once()
    create_once()
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
def shared_aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    """The one server of the session. Tests take `aws`; fixtures that live longer than a test take this one."""
    if S3 == "moto":
        with moto_server() as server:
            yield server
    else:
        with seaweedfs(tmp_path_factory.mktemp("seaweedfs")) as url:
            yield Aws(url, is_moto=False)


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

"""Each failure of a store is named for what it is, with advice, and is transient if it passes: files and a scripted S3."""

from __future__ import annotations

import errno
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from catalunya.io.errors import CatalunyaError, LakeError, LakeUnavailable, PermanentError, in_passing, one_line
from catalunya.io.lake import Lake, _explained
from catalunya.ops.mock.exchange import Answer
from small.http_server import Server


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server in the place of S3; its `reply` is the test's."""
    with Server(lambda _: Answer()).running() as server:
        for name, value in {
            "AWS_ENDPOINT_URL": server.url,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secretsecret",
            "AWS_REGION": "eu-west-1",
        }.items():
            monkeypatch.setenv(name, value)
        yield server


def says(status: int, code: str, message: str) -> Answer:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return Answer(body.encode(), status, {"Content-Type": "application/xml"})


SKEWED = says(403, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large.")
NOT_IMPLEMENTED = says(501, "NotImplemented", "A header you provided implies functionality that is not implemented")


def test_a_clock_that_differs_from_that_of_s3_is_named(s3: Server) -> None:
    s3.reply = lambda _: SKEWED
    lake = Lake("s3://bucket", attempts=1)
    for use in (
        lambda: lake.get("x"),
        lambda: lake.put("x", b""),
        lambda: lake.create("x", b""),
        lambda: lake.objects("x"),
    ):
        with pytest.raises(
            LakeError, match=r"this machine's clock differs from S3's by more than 15 minutes; set the clock"
        ):
            use()


def test_a_store_without_conditional_writes_is_named(s3: Server) -> None:
    s3.reply = lambda _: NOT_IMPLEMENTED
    lake = Lake("s3://bucket", attempts=1)
    with pytest.raises(
        LakeError, match=r"does not support conditional writes \(501\).*use S3, or a store that supports `If-No"
    ):
        lake.create("_leases/staging/gdp/0000000001.json", b"")
    with pytest.raises(LakeError, match=r"the store does not support this request \(501\)"):
        lake.put("staging/x", b"")


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_store_that_is_busy_is_unavailable(s3: Server, status: int) -> None:
    s3.reply = lambda _: says(status, "SlowDown", "Please reduce your request rate.")
    with pytest.raises(LakeUnavailable, match="try again later"):
        Lake("s3://bucket", attempts=1).get("x")


# What the operating system says, how the failure is named, what is advised, and whether it passes.
OF_FILES = [
    (errno.ENOSPC, "no space left on the device", "free some, or point CATALUNYA_LAKE at", True),
    (errno.EDQUOT, "no space left on the device", "free some, or point CATALUNYA_LAKE at", True),
    (errno.EMFILE, "too many open files", "ulimit -n", True),
    (errno.ENFILE, "too many open files", "ulimit -n", True),
    (errno.ENOMEM, "out of memory", "more memory", True),
    (errno.ECONNRESET, "the store does not answer", "try again later", True),
    (errno.ETIMEDOUT, "the store does not answer", "try again later", True),
    (errno.EFBIG, "the file is too large", "ulimit -f", False),
    (errno.EROFS, "the file system is read-only", "point CATALUNYA_LAKE elsewhere", False),
    (errno.ENAMETOOLONG, "the path is too long", "shorter path", False),
    (errno.ENOTDIR, "there is a file where a folder is needed", "move it", False),
    (errno.EACCES, "permission denied", "make it writable", False),
]


@pytest.mark.parametrize(("number", "reason", "advice", "passes"), OF_FILES)
def test_what_the_operating_system_says_is_named(number: int, reason: str, advice: str, passes: bool) -> None:
    said = OSError(number, errno_text(number), "/lake/staging/x")
    with pytest.raises(CatalunyaError) as caught, _explained("write", "/lake/staging/x", "CATALUNYA_LAKE"):
        raise said
    assert reason in str(caught.value)
    assert advice in str(caught.value)
    assert isinstance(caught.value, PermanentError) is not passes
    if number not in (errno.ECONNRESET, errno.ETIMEDOUT):
        assert (in_passing(said) is not None) is passes

    text, is_bug = one_line(said)
    assert not is_bug
    assert "\n" not in text


def errno_text(number: int) -> str:
    import os

    return os.strerror(number)


def test_a_full_backup_names_the_setting_of_the_backup() -> None:
    with (
        pytest.raises(LakeUnavailable, match="point CATALUNYA_BACKUP at"),
        _explained("write", "/b/x", "CATALUNYA_BACKUP"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")


LIMITED = """
import resource, sys
from catalunya.io.errors import one_line
from catalunya.io.lake import Lake
limit, size, lake = getattr(resource, sys.argv[1]), int(sys.argv[2]), Lake(sys.argv[3])
resource.setrlimit(limit, (size, resource.getrlimit(limit)[1]))
try:
    opened = [open("/dev/null", "rb") for _ in range(200)] if "NOFILE" in sys.argv[1] else []
except OSError as error:
    print(one_line(error)[0])
try:
    lake.put("staging/x", b"x" * 1_000_000)
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize(
    ("limit", "size", "expected"),
    [
        ("RLIMIT_FSIZE", 10_000, "LakeError cannot write"),
        ("RLIMIT_NOFILE", 40, "too many open files"),
    ],
)
def test_the_limits_of_a_process_are_named(tmp_path: Path, limit: str, size: int, expected: str) -> None:
    assert hasattr(resource, limit)
    command = [sys.executable, "-c", LIMITED, limit, str(size), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, check=False, encoding="utf-8")
    assert expected in done.stdout, done
    assert "ulimit" in done.stdout

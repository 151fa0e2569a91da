"""The lake on S3: writes are atomic and encrypted, and every failure is one clear line, transient or permanent."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import polars as pl
import pytest

from catalunya.assets.record.project import Project
from catalunya.io.environment import load_settings
from catalunya.io.errors import LakeError, LakeUnavailable, PermanentError, TransientError
from catalunya.io.lake import Lake
from small.aws import Aws
from small.racing import race

MB = 1024 * 1024


def megabytes(count: int) -> bytes:
    """A body of so many megabytes that differ."""
    return b"".join(bytes([number]) * MB for number in range(count))


def head(aws: Aws, lake: Lake, path: str) -> dict[str, str]:
    return aws.client("s3").head_object(Bucket=lake.root.removeprefix("s3://"), Key=path)  # type: ignore[no-any-return]


def parts(aws: Aws, lake: Lake, path: str) -> int:
    """The number of parts an object was uploaded in, from its ETag."""
    _, dash, count = head(aws, lake, path)["ETag"].strip('"').partition("-")
    return int(count) if dash else 1


def test_an_object_is_created_once(bucket: str) -> None:
    lake = Lake(bucket)
    assert lake.create("a/b", b"first")
    assert not lake.create("a/b", b"second")
    assert lake.get("a/b") == b"first"


def test_only_one_of_eight_processes_creates_an_object(aws: Aws, bucket: str, tmp_path: Path) -> None:
    rounds = 2 if aws.is_moto else 12
    winners = race(bucket, rounds, 8, tmp_path)
    assert [len(found) for found in winners] == [1] * rounds
    written = [Lake(bucket).get(f"race/{number}").decode() for number in range(rounds)]
    assert written == [f"{found[0]} of round {number}" for number, found in enumerate(winners)]


def test_an_object_may_be_named_as_a_folder_is_except_on_seaweedfs(aws: Aws, bucket: str) -> None:
    """SeaweedFS keeps objects in folders, and takes the folder for an object. No path of the lake is another's folder."""
    lake = Lake(bucket)
    lake.put("a/b", b"x")
    assert lake.create("a", b"x") is aws.is_moto


def test_a_small_page_is_one_request_and_a_large_one_a_multipart_upload(aws: Aws, bucket: str) -> None:
    lake = Lake(bucket)
    lake.put("small", megabytes(2))
    lake.put("large", megabytes(20))
    assert (parts(aws, lake, "small"), parts(aws, lake, "large")) == (1, 3)
    assert lake.get("large") == megabytes(20)
    assert b"".join(lake.chunks("large")) == lake.get("large")


def test_a_large_file_is_a_multipart_upload(aws: Aws, bucket: str, tmp_path: Path) -> None:
    lake, file = Lake(bucket), tmp_path / "large"
    file.write_bytes(b"x" * 11 * MB)
    lake.put("large", file)
    assert parts(aws, lake, "large") > 1
    assert lake.get("large") == file.read_bytes()


def test_every_way_of_writing_encrypts_the_object(aws: Aws, bucket: str) -> None:
    lake = Lake(bucket)
    lake.put("put", b"x")
    lake.create("created", b"x")
    lake.put("small", megabytes(1))
    lake.put("large", megabytes(9))
    aws.client("s3").put_object(Bucket=bucket.removeprefix("s3://"), Key="bare", Body=b"x")
    assert "ServerSideEncryption" not in head(aws, lake, "bare")
    lake.copy("bare", "copied")
    found = {o.path: head(aws, lake, o.path).get("ServerSideEncryption") for o in lake.objects("") if o.path != "bare"}
    assert found == dict.fromkeys(("copied", "created", "large", "put", "small"), "AES256")


def test_objects_are_encrypted_with_the_key_in_the_settings(aws: Aws, bucket: str) -> None:
    key = (
        aws.client("kms").create_key()["KeyMetadata"]["Arn"]
        if aws.is_moto
        else "arn:aws:kms:eu-west-1:123456789012:key/x"
    )
    settings = load_settings(env="dev", lake=bucket, lake_encryption="aws:kms", lake_kms_key_id=key)
    if not aws.is_moto:  # SeaweedFS without a key service refuses: it writes nothing unencrypted instead
        with pytest.raises(LakeUnavailable):
            Lake(bucket, encryption="aws:kms", kms_key_id=key, attempts=1).put("put", b"x")
        assert Lake(bucket).objects("") == []
        return
    lake = Project(settings, []).lake
    lake.put("put", b"x")
    lake.put("large", megabytes(9))
    for path in ("put", "large"):
        found = head(aws, lake, path)
        assert (found["ServerSideEncryption"], found["SSEKMSKeyId"]) == ("aws:kms", key), path
    assert lake.get("large") == megabytes(9)


def test_more_than_a_thousand_objects_are_listed_and_deleted(aws: Aws, bucket: str) -> None:
    lake = Lake(bucket)
    paths = [f"staging/x/part={number:04}/file.parquet" for number in range(1005)]
    aws.fill(bucket, dict.fromkeys(paths, b"x"))
    assert [o.path for o in lake.objects("staging/x")] == paths
    assert lake.folders("staging/x") == [path.split("/")[2] for path in paths]
    lake.put("staging/xx/file.parquet", b"x")
    lake.delete([*paths, "never/was"])
    assert [o.path for o in lake.objects("")] == ["staging/xx/file.parquet"]


def test_a_copy_is_unaffected_by_later_writes_and_of_a_missing_object_is_none(bucket: str) -> None:
    lake = Lake(bucket)
    lake.put("a", b"old")
    assert lake.copy("a", "kept/a")
    lake.put("a", b"new")
    assert (lake.get("a"), lake.get("kept/a")) == (b"new", b"old")
    assert not lake.copy("nothing", "kept/b")
    assert not lake.exists("kept/b")
    assert lake.find("kept/b") is None


def test_a_lake_can_be_a_folder_of_a_bucket_and_sees_nothing_outside_it(bucket: str) -> None:
    lake, neighbor = Lake(f"{bucket}/team one/lake"), Lake(f"{bucket}/team one/lake2")
    neighbor.put("x", b"theirs")
    lake.put("staging/a/file", b"ours")
    assert [o.path for o in lake.objects("")] == ["staging/a/file"]
    assert lake.folders("") == ["staging"]
    lake.delete(["staging/a/file"])
    assert neighbor.get("x") == b"theirs"


@pytest.mark.parametrize("path", ["../x", "a/../../x", "a//b", "a\nb"])
def test_a_path_that_leads_outside_is_refused_on_every_lake(bucket: str, tmp_path: Path, path: str) -> None:
    for lake in (Lake(bucket), Lake(str(tmp_path / "lake"))):
        with pytest.raises(LakeError, match="invalid path"):
            lake.put(path, b"x")
    assert [p.name for p in tmp_path.rglob("*")] == ["lake"]


def test_a_missing_object_is_one_line(bucket: str) -> None:
    with pytest.raises(LakeError, match=r"page\.json is not in the lake: run `catalunya verify`"):
        Lake(bucket).get("page.json")


def test_a_missing_bucket_is_one_line_and_different_from_a_missing_object(aws: Aws) -> None:
    lake = Lake("s3://never-created")
    for attempt in (
        lambda: lake.find("x"),
        lambda: lake.put("x", b""),
        lambda: lake.objects("x"),
        lambda: lake.delete(["x"]),
    ):
        with pytest.raises(
            LakeError, match="no such bucket; deploy the infrastructure first, or set CATALUNYA_LAKE"
        ) as raised:
            attempt()
        assert isinstance(raised.value, PermanentError)
        assert "\n" not in str(raised.value)


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def answering(status: int, body: str) -> Iterator[str]:
    """A server that gives every request the same answer."""

    class Always(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        do_GET = do_PUT = do_POST = answer  # noqa: N815  the names are http.server's

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with serving(Always) as url:
        yield url


@contextmanager
def losing_its_first_answer(url: str) -> Iterator[str]:
    """A proxy that loses the answer to the first PUT after the store has executed it."""
    lost: list[str] = []

    class Between(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            found = httpx.request(self.command, url + self.path, content=body, headers=dict(self.headers))
            is_lost = self.command == "PUT" and not lost
            lost.append(self.path)
            self.send_response(500 if is_lost else found.status_code)
            for name in ("etag", "last-modified", "content-length"):
                if name in found.headers:
                    self.send_header(name, found.headers[name])
            self.end_headers()
            self.wfile.write(found.content)

        do_GET = do_PUT = answer  # noqa: N815  the names are http.server's

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with serving(Between) as address:
        yield address


def test_an_object_whose_answer_was_lost_is_recognized_as_this_callers_own(
    aws: Aws, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, created in (("mine", True), ("theirs", False)):
        if name == "theirs":
            Lake(bucket).put(name, b"another run's")
        with losing_its_first_answer(aws.url) as url, monkeypatch.context() as patched:
            patched.setenv("AWS_ENDPOINT_URL", url)
            assert Lake(bucket).create(name, b"this run's") is created
    assert Lake(bucket).get("mine") == b"this run's"
    assert Lake(bucket).get("theirs") == b"another run's"


def error_body(code: str) -> str:
    return f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>m</Message></Error>'


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (403, "AccessDenied", "access denied; check the role's permissions"),
        (403, "InvalidAccessKeyId", "the credentials are invalid or expired; renew"),
        (400, "ExpiredToken", "the credentials are invalid or expired; renew"),
        (301, "PermanentRedirect", "the bucket is in another region; set AWS_REGION"),
    ],
)
def test_a_refusal_is_one_line_and_permanent(
    aws: Aws, monkeypatch: pytest.MonkeyPatch, status: int, code: str, expected: str
) -> None:
    with answering(status, error_body(code)) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        lake = Lake("s3://catalunya", attempts=1)
        for attempt in (lambda: lake.put("x", b""), lambda: lake.objects("x")):
            with pytest.raises(LakeError, match=expected) as raised:
                attempt()
            assert "\n" not in str(raised.value)


def test_a_busy_store_is_transient(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(503, error_body("SlowDown")) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        lake = Lake("s3://catalunya", attempts=2)
        for attempt in (lambda: lake.put("x", b""), lambda: lake.find("x"), lambda: lake.create("x", b"")):
            with pytest.raises(LakeUnavailable, match=r"is too busy .* try again later"):
                attempt()


def test_a_store_that_is_down_is_transient(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(200, "") as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    lake = Lake("s3://catalunya", attempts=2)
    for attempt in (lambda: lake.put("x", b""), lambda: lake.exists("x"), lambda: lake.objects("x")):
        with pytest.raises(TransientError, match=r"cannot .* s3://catalunya/x: the store does not answer") as raised:
            attempt()
        assert "\n" not in str(raised.value)


def test_polars_reads_what_the_lake_wrote(bucket: str, tmp_path: Path) -> None:
    lake = Lake(f"{bucket}/with prefix")
    frame = pl.DataFrame({"n": [1, 2]})
    frame.write_parquet(tmp_path / "x.parquet")
    lake.put("t/city=Vic/file.parquet", tmp_path / "x.parquet")
    found = pl.scan_parquet(
        lake.url("t/city=Vic/file.parquet"), hive_partitioning=True, storage_options=lake.scan_options
    ).collect()
    assert found.equals(frame.with_columns(city=pl.lit("Vic")))


def test_plain_http_is_used_only_for_an_endpoint_with_an_http_url(
    aws: Aws, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Lake(bucket).scan_options["aws_allow_http"] == "true"
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws.url.replace("http:", "https:"))
    lake = Lake(bucket, attempts=1)
    assert lake.scan_options["aws_allow_http"] == "false"
    with pytest.raises(LakeUnavailable):
        lake.put("x", b"")

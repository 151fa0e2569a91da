"""The lake: one object store per environment, a local folder or an S3 bucket, through one interface (obstore).

What belongs here: reading, writing, listing and deleting objects by path, and how the store is opened. What does not: what
its errors are called (`lake_errors.py`), which path belongs to which asset (`assets/record/paths.py`), what is in the objects.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

from obstore.store import LocalStore, S3Store

from catalunya.io.errors import LakeError
from catalunya.io.lake_errors import ObjectExists, ObjectMissing, told

Encryption = Literal["AES256", "aws:kms"]
CHUNK = 8 * 1024 * 1024


class Object(NamedTuple):
    """One object of the lake: its path below the root, its size in bytes, when it was last written (UTC)."""

    path: str
    size: int
    modified: datetime


class Lake:
    """The object store of one environment. Paths are relative to its root, with `/`."""

    def __init__(
        self, root: str, *, encryption: Encryption = "AES256", kms_key_id: str | None = None, attempts: int = 8
    ) -> None:
        """`encryption` is how S3 encrypts what is written, under `kms_key_id` where that is `aws:kms`; `attempts` are the tries
        of one request to S3. A folder takes none of them."""
        self.root = root.rstrip("/")
        self.is_local = "://" not in root
        with self._errors("open", ""):
            self._store: LocalStore | S3Store
            if self.is_local:
                self.root = str(Path(root).absolute())
                self._store = LocalStore(self.root, mkdir=True, automatic_cleanup=True)
            else:
                self._store = _open_bucket(self.root, encryption, kms_key_id, attempts)

    def __repr__(self) -> str:
        return f"Lake({self.root!r})"

    def put(self, path: str, body: bytes | Path) -> None:
        """Write one object whole: readers see the old one or the new one, never a part."""
        with self._errors("write", path):
            self._store.put(path, body)

    def create(self, path: str, body: bytes) -> bool:
        """Write the object only if there is none at `path`. Returns whether what is there now is this call's.

        S3 may write it, and be asked again because its answer was lost: an object of these very bytes is this call's own, for
        what is created (leases, ledger entries) says who wrote it and when.
        """
        try:
            with self._errors("write", path):
                self._store.put(path, body, mode="create")
        except ObjectExists:
            return self.find(path) == body
        return True

    async def put_stream(self, path: str, chunks: AsyncIterator[bytes]) -> None:
        """Write one object whole from a stream of chunks: in one request up to 8 MiB, else in parts, as they come."""
        first = bytearray()
        async for chunk in chunks:
            first += chunk
            if len(first) > CHUNK:
                break
        else:
            with self._errors("write", path):
                await self._store.put_async(path, bytes(first))
            return
        with self._errors("write", path):
            await self._store.put_async(path, _onward(bytes(first), chunks), chunk_size=CHUNK, max_concurrency=4)

    def copy(self, path: str, to: str) -> bool:
        """Copy one object whole, over what may be at `to`. Returns whether there was one at `path`.

        Its bytes do not pass through here: S3 copies by itself (objects up to 5 GB), and a folder gets a second name for the
        same file, which a later `put` at `path` leaves alone, because that brings a file of its own.
        """
        try:
            with self._errors("copy", path):
                self._store.copy(path, to)
        except ObjectMissing:
            return False
        except LakeError:
            if not self.is_local:
                raise
            self.put(to, self.get(path))  # a disk of its own, or one without links
        return True

    def get(self, path: str) -> bytes:
        """The bytes of one object. Raises LakeError when there is none."""
        with self._errors("read", path):
            return bytes(self._store.get(path).bytes())

    def find(self, path: str) -> bytes | None:
        """The bytes of one object, or None when there is none."""
        try:
            return self.get(path)
        except ObjectMissing:
            return None

    def chunks(self, path: str) -> Iterator[bytes]:
        """The bytes of one object, 8 MiB at a time."""
        with self._errors("read", path):
            for chunk in self._store.get(path).stream(min_chunk_size=CHUNK):
                yield bytes(chunk)

    def sha256(self, path: str) -> str:
        """The SHA-256 (hex) of one object's bytes, read 8 MiB at a time."""
        found = hashlib.sha256()
        for chunk in self.chunks(path):
            found.update(chunk)
        return found.hexdigest()

    def exists(self, path: str) -> bool:
        """Whether there is an object at `path`."""
        try:
            with self._errors("read", path):
                self._store.head(path)
        except ObjectMissing:
            return False
        return True

    def objects(self, prefix: str) -> list[Object]:
        """All objects below the folder `prefix`, sorted by path. An absent folder is an empty one."""
        with self._errors("list", prefix):
            batches = self._store.list(prefix.rstrip("/"))
            return sorted(Object(o["path"], o["size"], o["last_modified"]) for batch in batches for o in batch)

    def folders(self, prefix: str) -> list[str]:
        """The names of the folders directly below `prefix`, sorted."""
        with self._errors("list", prefix):
            found = self._store.list_with_delimiter(prefix.rstrip("/"))
            return sorted(path.rsplit("/", 1)[-1] for path in found["common_prefixes"])

    def delete(self, paths: list[str]) -> None:
        """Delete the objects; one that is not there any more is no error.

        Of each folder, the first path given goes before its others do (so may a seal go before what it seals); S3 deletes
        the rest in any order, a thousand a request.
        """
        if self.is_local:
            for path in paths:
                try:
                    with self._errors("delete", path):
                        self._store.delete(path)
                except ObjectMissing:
                    continue
            return
        first = {path.rpartition("/")[0]: path for path in reversed(paths)}.values()
        for step in (sorted(first), sorted(set(paths).difference(first))):
            if step:
                with self._errors("delete", step[0]):
                    self._store.delete(step)

    def sync(self, paths: list[str]) -> None:
        """Return when the objects would survive a power cut: an fsync of files and folders locally, nothing on S3."""
        if not self.is_local:
            return
        files = [Path(self.root, path) for path in paths]
        with self._errors("sync", self.root):
            for place in [*files, *{file.parent for file in files}]:
                descriptor = os.open(place, os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)

    def url(self, path: str) -> str:
        """The address under which polars and DuckDB can scan the object."""
        return f"{self.root}/{path}"

    @cached_property
    def scan_options(self) -> dict[str, str]:
        """polars' `storage_options` for addresses of this lake."""
        if self.is_local:
            return {}
        endpoint, region = _endpoint(), _region()
        options = {"aws_region": region} if region else {}
        if endpoint:
            options |= {"aws_endpoint_url": endpoint, "aws_allow_http": str(endpoint.startswith("http:")).lower()}
        return options

    @contextmanager
    def reading(self, path: str) -> Iterator[None]:
        """While polars scans addresses below `path`: what it raises of S3 becomes the lake's own errors."""
        try:
            yield
        except OSError as error:
            if not str(error).startswith("object-store error"):
                raise  # of this machine's own disk, or a bug
            with self._errors("read", path):
                raise

    def _errors(self, verb: str, path: str) -> AbstractContextManager[None]:
        return told(verb, f"{self.root}/{path}".rstrip("/"))


def _open_bucket(root: str, encryption: Encryption, kms_key_id: str | None, attempts: int) -> S3Store:
    """The store of `s3://bucket[/prefix]`. Credentials come from the environment or the machine's role."""
    config: Any = {"aws_server_side_encryption": encryption}
    if encryption == "aws:kms":
        config["aws_sse_bucket_key_enabled"] = "true"  # one call of KMS for many objects
        if kms_key_id:
            config["aws_sse_kms_key_id"] = kms_key_id
    endpoint, region = _endpoint(), _region()
    if endpoint:
        config["aws_endpoint_url"] = endpoint
    if region:
        config["aws_region"] = region
    is_plain = bool(endpoint and endpoint.startswith("http:"))
    return S3Store.from_url(
        root, config=config, client_options={"allow_http": is_plain}, retry_config={"max_retries": attempts - 1}
    )


def _endpoint() -> str | None:
    """Where S3 is, if not at Amazon's own address. boto3 reads the same two variables."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


def _region() -> str | None:
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")


async def _onward(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk

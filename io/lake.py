"""The lake: one object store per environment, a local folder or an S3 bucket, through one interface (obstore).

What belongs here: reading, writing, listing and deleting objects by path, and the errors of doing so. What does not:
which path belongs to which asset (`assets/paths.py`), and what is in the objects.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError
from obstore.store import LocalStore, S3Store

from catalunya.io.errors import LakeError

CHUNK = 8 * 1024 * 1024


class Object(NamedTuple):
    """One object of the lake: its path below the root, its size in bytes, when it was last written (UTC)."""

    path: str
    size: int
    modified: datetime


class Lake:
    """The object store of one environment. Paths are relative to its root, with `/`."""

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")
        self.is_local = "://" not in root
        with self._errors("open", ""):
            self._store: LocalStore | S3Store
            if self.is_local:
                self.root = str(Path(root).absolute())
                self._store = LocalStore(self.root, mkdir=True, automatic_cleanup=True)
            else:
                endpoint = os.environ.get("AWS_ENDPOINT_URL")
                plain = {"client_options": {"allow_http": True}} if endpoint and endpoint.startswith("http:") else {}
                self._store = S3Store.from_url(self.root, **plain)  # type: ignore[arg-type]

    def __repr__(self) -> str:
        return f"Lake({self.root!r})"

    def put(self, path: str, body: bytes | Path) -> None:
        """Write one object whole: readers see the old one or the new one, never a part."""
        with self._errors("write", path):
            self._store.put(path, body)

    def create(self, path: str, body: bytes) -> bool:
        """Write the object only if there is none at `path`. Returns whether it was this call that wrote it."""
        try:
            with self._errors("write", path):
                self._store.put(path, body, mode="create")
        except _Exists:
            return False
        return True

    async def put_stream(self, path: str, chunks: AsyncIterator[bytes]) -> None:
        """Write one object whole from a stream of chunks."""
        with self._errors("write", path):
            await self._store.put_async(path, chunks)

    def copy(self, path: str, to: str) -> bool:
        """Copy one object whole, over what may be at `to`. Returns whether there was one at `path`.

        Its bytes do not pass through here: S3 copies by itself (objects up to 5 GB), and a folder gets a second name for the
        same file, which a later `put` at `path` leaves alone, because that brings a file of its own.
        """
        try:
            with self._errors("copy", path):
                self._store.copy(path, to)
        except _Missing:
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
        except _Missing:
            return None

    def chunks(self, path: str) -> Iterator[bytes]:
        """The bytes of one object, 8 MiB at a time."""
        with self._errors("read", path):
            for chunk in self._store.get(path).stream(min_chunk_size=CHUNK):
                yield bytes(chunk)

    def exists(self, path: str) -> bool:
        """Whether there is an object at `path`."""
        try:
            with self._errors("read", path):
                self._store.head(path)
        except _Missing:
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
        """Delete the objects; one that is not there any more is no error."""
        for path in paths:
            try:
                with self._errors("delete", path):
                    self._store.delete(path)
            except _Missing:
                continue

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
        endpoint = os.environ.get("AWS_ENDPOINT_URL")
        if self.is_local or not endpoint:
            return {}
        return {"aws_endpoint_url": endpoint, "aws_allow_http": str(endpoint.startswith("http:")).lower()}

    @contextmanager
    def _errors(self, verb: str, path: str) -> Iterator[None]:
        """Turn what the store raises into one line that says where and what to do."""
        where = f"{self.root}/{path}".rstrip("/")
        try:
            yield
        except AlreadyExistsError as error:
            raise _Exists(f"{where} exists already") from error
        except (NotFoundError, FileNotFoundError) as error:
            raise _Missing(f"{where} is not in the lake: run `catalunya verify` to see what else is missing") from error
        except (BaseError, OSError) as error:
            text = str(error)
            reason, advice = next(
                (found for sign, found in _REASONS.items() if sign in text),
                (text.splitlines()[0][:300], "see the reason above; nothing was lost"),
            )
            raise LakeError(f"cannot {verb} {where}: {reason}; {advice}") from error


class _Missing(LakeError):
    """There is no such object."""


class _Exists(LakeError):
    """There is such an object already."""


_REASONS = {
    "No space left": ("no space left on the device", "free some, or point CATALUNYA_LAKE at another disk"),
    "os error 28": ("no space left on the device", "free some, or point CATALUNYA_LAKE at another disk"),
    "Permission denied": ("permission denied", "make it writable, or point CATALUNYA_LAKE elsewhere"),
    "os error 13": ("permission denied", "make it writable, or point CATALUNYA_LAKE elsewhere"),
    "os error 20": ("a file stands where a folder is needed", "move it, or point CATALUNYA_LAKE elsewhere"),
    "Not a directory": (
        "a file stands where a folder is needed",
        "move it, or point CATALUNYA_LAKE elsewhere",
    ),
    "os error 30": ("the file system is read-only", "point CATALUNYA_LAKE elsewhere"),
    "Read-only": ("the file system is read-only", "point CATALUNYA_LAKE elsewhere"),
    "AccessDenied": ("access denied", "check the role's permissions on this prefix"),
    "NoSuchBucket": ("no such bucket", "deploy the infrastructure first, or set CATALUNYA_LAKE"),
}

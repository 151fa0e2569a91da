"""The lake: one object store per environment, a local folder or an S3 bucket, behind one interface (obstore).

Here: reading, writing, listing and deleting objects by path, how the store is opened, and what its failures mean. Not here:
which path belongs to which asset (`assets/record/paths.py`), what the objects contain.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError
from obstore.store import LocalStore, S3Store

from catalunya.io.errors import LakeError, LakeUnavailable, ObjectExists, ObjectMissing

Encryption = Literal["AES256", "aws:kms"]
CHUNK = 8 * 1024 * 1024
COPIED = 1024 * 1024
"""How many bytes of a file are in memory while it is copied into a folder."""
_UNFINISHED = re.compile(r"#[0-9]+$")
"""How the store names a file of a folder until it is written and put in place."""
SYNCED_AT_ONCE = 4
"""How many files and folders are synced at a time: a disk writes down what waits for it together, so that many take little longer than one."""


class Object(NamedTuple):
    """One object of the lake: its path below the root, its size in bytes, when it was last modified (UTC)."""

    path: str
    size: int
    modified: datetime


class Lake:
    """The object store of one environment. Paths are relative to its root, with `/`."""

    def __init__(
        self,
        root: str,
        *,
        encryption: Encryption = "AES256",
        kms_key_id: str | None = None,
        attempts: int = 8,
        setting: str = "CATALUNYA_LAKE",
        region: str = "",
    ) -> None:
        """`encryption`: how S3 encrypts new objects, with `kms_key_id` for `aws:kms`; `attempts`: how often one request to S3 is
        tried; `region`: the bucket's, if it is not AWS_REGION. None of them applies to a folder. `setting` is what its root comes from,
        for the advice in errors."""
        self._setting, self._region = setting, region
        self.root = root.rstrip("/")
        self.is_local = "://" not in root
        with self._errors("open", ""):
            self._store: LocalStore | S3Store
            if self.is_local:
                self.root = str(Path(root).absolute())
                self._store = LocalStore(self.root, mkdir=True, automatic_cleanup=True)
            else:
                self._store = _open_bucket(self.root, encryption, kms_key_id, attempts, region)

    def __repr__(self) -> str:
        return f"Lake({self.root!r})"

    def put(self, path: str, body: bytes | Path | BinaryIO, headers: Mapping[str, str] | None = None) -> None:
        """Write one object atomically: readers see the old one or the new one, never a mix.

        S3 gets up to 8 MiB by one request, more by a multipart upload.
        `headers` (Content-Type, Cache-Control) are what S3 answers with when the object is read; a folder keeps none.
        """
        attributes: Any = None if self.is_local else headers
        with self._errors("write", path):
            # A folder gets bytes at once, because each part of them would be copied, and a file by parts, so that memory never holds it all.
            whole = False if self.is_local and isinstance(body, bytes) else None
            size, at_once = (COPIED, 1) if self.is_local else (CHUNK, 4)
            self._store.put(
                path, body, attributes=attributes, use_multipart=whole, chunk_size=size, max_concurrency=at_once
            )

    def create(self, path: str, body: bytes) -> bool:
        """Write the object only if there is none at `path`. Returns whether the object now there is this call's.

        S3 may have written it and lost the response, so that the retry finds it: an object with exactly these bytes counts as this
        call's own, because what is created (leases, ledger entries) contains who wrote it and when.
        """
        try:
            with self._errors("create", path):
                self._store.put(path, body, mode="create")
        except ObjectExists:
            return self.find(path) == body
        return True

    @contextmanager
    def writing(self, path: str) -> Iterator[BinaryIO]:
        """A file to write. At the end of the block its content is the object at `path`, at once; nothing is left of it after an error."""
        with self._errors("write", path):
            if not self.is_local:
                with tempfile.TemporaryFile() as file:
                    yield file
                    file.seek(0)
                    self.put(path, file)
                return
            place = Path(self.root, path)
            place.parent.mkdir(parents=True, exist_ok=True)
            beside = Path(f"{place}#{os.getpid()}")  # as obstore names what it is writing, and lists none of that name
            try:
                with beside.open("wb+") as file:
                    yield file
                beside.replace(place)
            finally:
                beside.unlink(missing_ok=True)

    def copy(self, path: str, to: str) -> bool:
        """Copy one object, replacing any at `to`. Returns whether there was one at `path`.

        No bytes are downloaded: S3 copies on its side (objects up to 5 GB), and a folder gets a hard link, which a later `put`
        at `path` does not affect because it writes a new file.
        """
        try:
            with self._errors("copy", path):
                self._store.copy(path, to)
        except ObjectMissing:
            return False
        except LakeError:
            if not self.is_local:
                raise
            self.put(to, self.get(path))  # another disk, or one without hard links
        return True

    def get(self, path: str) -> bytes:
        """The bytes of one object. Raises LakeError when there is none."""
        if self.is_local and ".." not in path:
            # Three times faster, and no second copy in memory. If it fails, obstore says why.
            with suppress(OSError, ValueError):
                return Path(f"{self.root}/{path}").read_bytes()
        with self._errors("read", path):
            return bytes(self._store.get(path).bytes())

    def find(self, path: str) -> bytes | None:
        """The bytes of one object, or None when there is none."""
        try:
            return self.get(path)
        except ObjectMissing:
            return None

    def find_dated(self, path: str) -> tuple[bytes, datetime] | None:
        """An object's bytes, and when it was written by the store's clock; None if there is none."""
        try:
            with self._errors("read", path):
                found = self._store.get(path)
                return bytes(found.bytes()), found.meta["last_modified"]
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

    def paths(self, prefix: str) -> Iterator[str]:
        """The paths of all objects below the folder `prefix`, in no order: of a hundred thousand, none is kept."""
        with self._errors("list", prefix):
            if self.is_local:  # without the size and time of each file, a hundred thousand take a tenth of the time
                yield from _files_below(self.root, prefix.rstrip("/"))
                return
            for batch in self._store.list(prefix.rstrip("/")):
                for found in batch:
                    yield found["path"]

    def folders(self, prefix: str) -> list[str]:
        """The names of the folders directly below `prefix`, sorted."""
        with self._errors("list", prefix):
            found = self._store.list_with_delimiter(prefix.rstrip("/"))
            return sorted(path.rsplit("/", 1)[-1] for path in found["common_prefixes"])

    def delete(self, paths: list[str]) -> None:
        """Delete the objects; a missing one is no error.

        In each folder the first path given is deleted before the others (so that a manifest can go before the pages it seals); S3
        deletes the rest in any order, a thousand per request.
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

    def delete_unfinished(self, prefix: str) -> None:
        """Delete what killed writes left below the folder `prefix`, which no listing shows. Only for the holder of its lease.

        In a folder these are files of their own (`file#1`); the parts of a bucket's uploads are deleted by its lifecycle.
        """
        if self.is_local:
            with self._errors("delete", prefix):
                for parent, _, names in os.walk(Path(self.root, prefix)):
                    for name in names:
                        if _UNFINISHED.search(name):
                            Path(parent, name).unlink(missing_ok=True)

    def sync(self, paths: list[str]) -> None:
        """Make the objects survive a power cut: an fsync of files and folders locally, nothing on S3."""
        if not self.is_local:
            return
        places = list(dict.fromkeys([*paths, *(path.rpartition("/")[0] for path in paths)]))
        if len(places) <= SYNCED_AT_ONCE:  # threads would take as long as they save
            for place in places:
                self._sync(place)
            return
        from concurrent.futures import ThreadPoolExecutor  # commands that only look do without it

        with ThreadPoolExecutor(SYNCED_AT_ONCE) as pool:
            list(pool.map(self._sync, places))

    def _sync(self, place: str) -> None:
        with self._errors("sync", place):
            descriptor = os.open(f"{self.root}/{place}", os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def url(self, path: str) -> str:
        """The URL at which polars and DuckDB can scan the object."""
        return f"{self.root}/{path}"

    @cached_property
    def scan_options(self) -> dict[str, str]:
        """polars' `storage_options` for URLs of this lake."""
        if self.is_local:
            return {}
        endpoint, region = _endpoint(), self._region or _region()
        options = {"aws_region": region} if region else {}
        if endpoint:
            options |= {"aws_endpoint_url": endpoint, "aws_allow_http": str(endpoint.startswith("http:")).lower()}
        return options

    @contextmanager
    def reading(self, path: str) -> Iterator[None]:
        """Turn the S3 errors that polars raises while it scans URLs below `path` into the lake's own."""
        try:
            yield
        except OSError as error:
            if not str(error).startswith("object-store error"):
                raise  # a local disk error, or a bug
            with self._errors("read", path):
                raise

    def _errors(self, verb: str, path: str) -> AbstractContextManager[None]:
        return _explained(verb, f"{self.root}/{path}".rstrip("/"), self._setting)


def _files_below(root: str, folder: str) -> Iterator[str]:
    """The paths of all files below a folder, also an absent one, without those that a write has not put in place yet (`file#1`)."""
    with suppress(FileNotFoundError), os.scandir(f"{root}/{folder}") as found:
        for each in found:
            if each.is_dir():
                yield from _files_below(root, f"{folder}/{each.name}")
            elif not _UNFINISHED.search(each.name):
                yield f"{folder}/{each.name}"


def _open_bucket(root: str, encryption: Encryption, kms_key_id: str | None, attempts: int, region: str) -> S3Store:
    """The store of `s3://bucket[/prefix]`. Credentials come from the environment or the instance's role."""
    config: Any = {"aws_server_side_encryption": encryption}
    if encryption == "aws:kms":
        config["aws_sse_bucket_key_enabled"] = "true"  # one call to KMS for many objects
        if kms_key_id:
            config["aws_sse_kms_key_id"] = kms_key_id
    endpoint, region = _endpoint(), region or _region() or ""
    if endpoint:
        config["aws_endpoint_url"] = endpoint
    if region:
        config["aws_region"] = region
    is_plain = bool(endpoint and endpoint.startswith("http:"))
    return S3Store.from_url(
        root, config=config, client_options={"allow_http": is_plain}, retry_config={"max_retries": attempts - 1}
    )


def _endpoint() -> str | None:
    """The S3 endpoint, if not Amazon's own. boto3 reads the same two variables."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


def _region() -> str | None:
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")


@contextmanager
def _explained(verb: str, where: str, setting: str) -> Iterator[None]:
    """Turn what obstore raises, or polars when it reads from S3, into one line: where, why, and what to do.

    Raises ObjectExists, ObjectMissing, LakeUnavailable if it may pass, otherwise LakeError.
    """
    try:
        yield
    except AlreadyExistsError as error:
        raise ObjectExists(f"{where} already exists") from error
    except (BaseError, OSError, ValueError) as error:
        text = str(error).partition("Debug source:")[0]
        if isinstance(error, ValueError) and _INVALID_PATH not in text:
            raise
        reason, advice = next((known for sign, known in _REASONS.items() if sign in text), (None, ""))
        if reason is None and isinstance(error, (NotFoundError, FileNotFoundError)):
            raise ObjectMissing(
                f"{where} is not in the lake: run `catalunya verify` to see what else is missing"
            ) from error
        is_cut = isinstance(error, ConnectionError | TimeoutError)
        if reason is None and (is_cut or _TRANSIENT.search(text)) and not _NOT_IMPLEMENTED.search(text):
            reason = " ".join(text.split())[-200:]
            raise LakeUnavailable(
                f"cannot {verb} {where}: the store does not answer or is too busy (…{reason}); "
                "try again later, and check AWS_ENDPOINT_URL if it is set"
            ) from error
        kind = LakeUnavailable if reason in _PASSES else LakeError
        if reason is None and _NOT_IMPLEMENTED.search(text):
            reason, advice = _UNCONDITIONAL if verb == "create" else _UNSUPPORTED
        reason = reason or text.strip().splitlines()[0][:300]
        advice = advice or "nothing was lost, run it again once that is fixed"
        raise kind(f"cannot {verb} {where}: {reason}; {advice.replace('CATALUNYA_LAKE', setting)}") from error


# obstore has retried for a while by then. `builder error`: a URL that no request can be sent to.
_TRANSIENT = re.compile(
    r"HTTP error: (?!builder error)|status code: (5\d\d|408|409|429)|SlowDown|RequestTimeout|InternalError|timed out"
)
_NOT_IMPLEMENTED = re.compile(r"status code: 501|NotImplemented")
_UNCONDITIONAL = (
    "the store does not support conditional writes (501), without which two runs could overwrite each other's records",
    "use S3, or a store that supports `If-None-Match`",
)
_UNSUPPORTED = ("the store does not support this request (501)", "use S3, or a store that supports it")
_INVALID_PATH = "Could not parse path"
_FULL = ("no space left on the device", "free some, or point CATALUNYA_LAKE at another disk")
_NOT_WRITABLE = ("permission denied", "make it writable, or point CATALUNYA_LAKE elsewhere")
_IN_THE_WAY = ("there is a file where a folder is needed", "move it, or point CATALUNYA_LAKE elsewhere")
_READ_ONLY = ("the file system is read-only", "point CATALUNYA_LAKE elsewhere")
_FULL_OF_FILES = ("too many open files", "raise the limit of this process (`ulimit -n 4096`)")
_NO_MEMORY = ("out of memory", "try again with fewer --workers or more memory")
_TOO_LARGE = (
    "the file is too large for this file system or this process",
    "raise `ulimit -f`, or point CATALUNYA_LAKE at another disk",
)
_TOO_LONG = ("the path is too long for this file system", "point CATALUNYA_LAKE at a folder with a shorter path")
_PASSES = (_FULL[0], _FULL_OF_FILES[0], _NO_MEMORY[0])
_SKEWED = (
    "this machine's clock differs from S3's by more than 15 minutes",
    "set the clock (`timedatectl set-ntp true`), then run it again",
)
_NO_BUCKET = ("no such bucket", "deploy the infrastructure first, or set CATALUNYA_LAKE")
_DENIED = ("access denied", "check the role's permissions on this prefix and on its encryption key")
_BAD_CREDENTIALS = (
    "the credentials are invalid or expired",
    "renew AWS_ACCESS_KEY_ID and its secret, or the role's session",
)
_OTHER_REGION = (
    "the bucket is in another region",
    "set AWS_REGION to the lake's, and CATALUNYA_BACKUP_REGION to the backups'",
)

_REASONS = {
    "No space left": _FULL,
    "os error 28": _FULL,
    "Disk quota exceeded": _FULL,
    "os error 122": _FULL,
    "Too many open files": _FULL_OF_FILES,
    "os error 23": _FULL_OF_FILES,
    "os error 24": _FULL_OF_FILES,
    "Cannot allocate memory": _NO_MEMORY,
    "os error 12)": _NO_MEMORY,
    "File too large": _TOO_LARGE,
    "os error 27": _TOO_LARGE,
    "File name too long": _TOO_LONG,
    "os error 36": _TOO_LONG,
    "Permission denied": _NOT_WRITABLE,
    "os error 13": _NOT_WRITABLE,
    "Not a directory": _IN_THE_WAY,
    "os error 20": _IN_THE_WAY,
    "os error 17": _IN_THE_WAY,
    "Read-only": _READ_ONLY,
    "os error 30": _READ_ONLY,
    "RequestTimeTooSkewed": _SKEWED,
    "NoSuchBucket": _NO_BUCKET,
    "InvalidAccessKeyId": _BAD_CREDENTIALS,
    "SignatureDoesNotMatch": _BAD_CREDENTIALS,
    "ExpiredToken": _BAD_CREDENTIALS,
    "PermanentRedirect": _OTHER_REGION,
    "Received redirect without LOCATION": _OTHER_REGION,
    "AuthorizationHeaderMalformed": _OTHER_REGION,
    # After the others, which are 403 Forbidden too.
    "AccessDenied": _DENIED,
    "403 Forbidden": _DENIED,
    "169.254.": ("no credentials found", "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run under a role"),
    _INVALID_PATH: ("invalid path", "nothing was changed; correct the name it comes from"),
}

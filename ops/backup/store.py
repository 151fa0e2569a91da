"""Where backups lie: each content once, named by its hash, and one manifest per backup, which is written last.

    objects/ab/abcdef…          content: of the lake's objects, of inventories, of what Airflow exported
    backups/{name}.json         the manifest that makes a backup: until it is there, there is none

Here: reading and writing these. Not here: what stands in them (`records.py`), what goes into a backup (`snapshot.py`, `make.py`),
which ones are kept (`keep.py`).
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec  # noqa: TID253  whoever imports this module does it inside a function
import structlog

from catalunya.io.environment import Settings
from catalunya.io.errors import BackupError, ConfigurationError, LakeError, UsageError
from catalunya.io.lake import Lake
from catalunya.ops.backup.records import Backup, Item

log = structlog.get_logger(__name__)

BACKUPS = "backups"
OBJECTS = "objects"
LEASE = "ops.backup"


class Store:
    """The backups of a lake."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake

    @classmethod
    def of(cls, settings: Settings) -> Store:
        """The store of an environment. Raises ConfigurationError when it would be lost together with the lake."""
        store = Lake(
            settings.backup,
            encryption=settings.lake_encryption,
            kms_key_id=settings.lake_kms_key_id,
            attempts=settings.lake_attempts,
        )
        lake = settings.lake.rstrip("/") if "://" in settings.lake else str(Path(settings.lake).absolute())
        if _shares_fate(lake, store.root):
            raise ConfigurationError(
                f"CATALUNYA_BACKUP={settings.backup!r}: expected a place that is not lost with the lake ({lake}), found one that is; "
                "name another folder, or another bucket"
            )
        return cls(store)

    def contents(self) -> dict[str, int]:
        """Every content that is there, and its size in bytes."""
        return {found.path.rpartition("/")[2]: found.size for found in self.lake.objects(OBJECTS)}

    def put(self, sha256: str, body: bytes | Path) -> None:
        """Keep a content under its hash, which the caller has taken of these very bytes."""
        self.lake.put(content_path(sha256), body)

    def get(self, sha256: str) -> bytes:
        """A small content. Raises BackupError when it is not what its name says."""
        with self._told(sha256):
            body = self.lake.get(content_path(sha256))
        if hashlib.sha256(body).hexdigest() != sha256:
            raise self.rotten(sha256)
        return body

    def fetch(self, sha256: str, to: Path) -> None:
        """A content, into a file of this machine, 8 MiB at a time. Raises BackupError when it is not what its name says."""
        with self._told(sha256):
            found = copied(self.lake, content_path(sha256), to)
        if found != sha256:
            raise self.rotten(sha256)

    def digest(self, sha256: str) -> str:
        """The hash that the content has now."""
        with self._told(sha256):
            return self.lake.sha256(content_path(sha256))

    def backups(self, *, strict: bool = False) -> list[Backup]:
        """The backups, oldest first. A manifest that cannot be read is logged, and is none; `strict` raises BackupError for it."""
        found: list[Backup] = []
        for path in (each.path for each in self.lake.objects(BACKUPS)):
            try:
                found.append(self._read(path))
            except BackupError as error:
                if strict:
                    raise
                log.warning("backup_unreadable", path=path, why=str(error))
        return found

    def find(self, env: str, wanted: str | None = None) -> Backup:
        """The newest backup whose name begins with `wanted`; without, the newest of this environment. Raises UsageError."""
        known = self.backups()
        found = [each for each in known if (each.name.startswith(wanted) if wanted else each.env == env)]
        if not found:
            what = f"a backup named {wanted}…" if wanted else f"a backup of {env}"
            raise UsageError(
                f"{self.lake.root}: expected {what}, found {f'{len(known)} others' if known else 'none'}; `catalunya backup list` shows "
                "what is there, CATALUNYA_BACKUP where it is looked for"
            )
        return found[-1]

    def inventory(self, backup: Backup) -> list[Item]:
        """Every object that a backup holds. Raises BackupError."""
        try:
            return msgspec.json.Decoder(Item).decode_lines(gzip.decompress(self.get(backup.inventory)))
        except (msgspec.MsgspecError, OSError, EOFError) as error:
            raise BackupError(f"the inventory of backup {backup.name} cannot be read ({error}); take another") from None

    def seal(self, backup: Backup) -> None:
        """Make a backup of what was put: the last step. Raises BackupError when there is one of that name."""
        path = manifest_path(backup.name)
        if not self.lake.create(path, msgspec.json.format(msgspec.json.encode(backup), indent=1)):
            raise BackupError(f"{self.lake.url(path)} exists already; nothing was sealed, run it again")
        self.lake.sync([path])

    def _read(self, path: str) -> Backup:
        try:
            return msgspec.json.decode(self.lake.get(path), type=Backup)
        except msgspec.MsgspecError as error:
            raise BackupError(
                f"the manifest {self.lake.url(path)} cannot be read ({error}); move it away, and the others can be used"
            ) from None

    def rotten(self, sha256: str) -> BackupError:
        """What is told of a content that is not what its name says."""
        return BackupError(
            f"{self.lake.url(content_path(sha256))}: expected the content that its name says (SHA-256), found another; take an older "
            "backup, and delete this object: the next backup writes it anew if the lake still has it"
        )

    @contextmanager
    def _told(self, sha256: str) -> Iterator[None]:
        try:
            yield
        except LakeError as error:
            if self.lake.exists(content_path(sha256)):
                raise
            raise BackupError(
                f"{self.lake.url(content_path(sha256))} is not there, and a backup speaks of it; take an older backup"
            ) from error


def content_path(sha256: str) -> str:
    """Where a content lies."""
    return f"{OBJECTS}/{sha256[:2]}/{sha256}"


def manifest_path(name: str) -> str:
    """Where the manifest of a backup lies."""
    return f"{BACKUPS}/{name}.json"


def copied(lake: Lake, path: str, to: Path) -> str:
    """Read an object into a file, 8 MiB at a time; returns the hash of what was read."""
    found = hashlib.sha256()
    with to.open("wb") as out:
        for chunk in lake.chunks(path):
            found.update(chunk)
            out.write(chunk)
    return found.hexdigest()


def _shares_fate(lake: str, store: str) -> bool:
    """Whether one lies in the other, or both in one bucket: what takes the one would take the other."""
    if lake.startswith("s3://") and store.startswith("s3://"):
        return lake.split("/")[2] == store.split("/")[2]
    return f"{store}/".startswith(f"{lake}/") or f"{lake}/".startswith(f"{store}/")

"""Where backups are stored: every content once, named by its SHA-256, and one record per backup, which is written last.

    objects/ab/abcdef…        the content of objects of the lake
    backups/{name}.json.gz    the record: which object had which content, and Airflow's settings; without it there is no backup

The store is a lake too, but its paths are not those of the lake it backs up: there, a path gets new content with every publish, and a
lake that starts over after a disaster numbers its ledger from 1 again. Named by content, no backup overwrites what an older one needs.

Here: reading, writing, checking and pruning backups. Not here: what a backup contains (`make.py`); checking a lake
(`assets/record/verify.py`).
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec  # noqa: TID253  this module is imported inside functions only

from catalunya.assets.record.lease import lease
from catalunya.assets.record.ledger import Entry
from catalunya.io.environment import Settings
from catalunya.io.errors import BackupError, ConfigurationError, LakeError, UsageError
from catalunya.io.json_text import BROKEN_JSON, json_decoder
from catalunya.io.lake import Lake
from catalunya.io.log import get_logger

log = get_logger(__name__)

BACKUPS = "backups"
OBJECTS = "objects"
LEASE = "ops.backup"
SUFFIX = ".json.gz"
READERS = 8
KEEP_ALL = timedelta(hours=48)
# A backup is of the moment it began, and takes some time.
GRACE = timedelta(minutes=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One object of the lake as a backup has it."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedAsset:
    """One asset as a backup has it. `latest` is the ledger entry that says what its table is; None if every attempt had failed."""

    latest: Entry | None
    ledger: tuple[Item, ...]
    objects: tuple[Item, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """The record of one backup. `database` is the dump of Airflow's database. `missing` are objects that could not be saved, and why;
    `airflow_problem` is why Airflow's settings were not, `database_problem` why its database was not."""

    name: str
    env: str
    lake: str
    began_at: datetime
    seconds: float
    assets: dict[str, SavedAsset] = field(default_factory=dict)
    airflow: dict[str, Any] | None = None
    airflow_problem: str = ""
    database: Item | None = None
    database_problem: str = ""
    missing: dict[str, str] = field(default_factory=dict)
    new_objects: int = 0
    new_bytes: int = 0

    @property
    def items(self) -> list[Item]:
        """Every object in it."""
        found = [item for saved in self.assets.values() for item in (*saved.ledger, *saved.objects)]
        return [*found, *([self.database] if self.database else [])]

    @property
    def is_complete(self) -> bool:
        """Whether everything that belongs in it is in it."""
        return not (self.missing or self.airflow_problem or self.database_problem)

    def summary(self) -> dict[str, Any]:
        """The record without its lists of objects, for people and programs."""
        names = (
            *("name", "env", "lake", "began_at", "seconds", "missing", "airflow_problem", "database_problem"),
            *("new_objects", "new_bytes"),
        )
        items = self.items
        return {
            **{name: getattr(self, name) for name in names},
            "complete": self.is_complete,
            "has_airflow": self.airflow is not None,
            "has_database": self.database is not None,
            "objects": len(items),
            "bytes": sum(item.bytes for item in items),
            "assets": {key: saved.latest.summary() if saved.latest else None for key, saved in self.assets.items()},
        }


class Store:
    """The backups of a lake, or of several."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake
        self._unreadable: set[str] = set()

    @classmethod
    def of(cls, settings: Settings) -> Store:
        """The store of an environment. Raises ConfigurationError when whatever destroys the lake would destroy it too."""
        store = Lake(
            settings.backup,
            # Not by the lake's key: a key is of one region, and the backups lie in another.
            encryption=settings.lake_encryption,
            attempts=settings.lake_attempts,
            setting="CATALUNYA_BACKUP",
            region=settings.backup_region,
        )
        lake, place = (
            str(Path(root).resolve()) if "://" not in root else root.rstrip("/") for root in (settings.lake, store.root)
        )
        if _shares_fate(lake, place):
            raise ConfigurationError(
                f"CATALUNYA_BACKUP={settings.backup!r}: expected a place outside the lake's folder or bucket, found one that would be "
                f"lost with it ({lake}); set another folder or another bucket"
            )
        return cls(store)

    def contents(self) -> dict[str, int]:
        """The SHA-256 of every stored content, and its size in bytes."""
        return {found.path.rpartition("/")[2]: found.size for found in self.lake.objects(OBJECTS)}

    def fetch(self, sha256: str, to: Path | None = None) -> None:
        """Read and hash a content, into a file if `to` is given. Raises BackupError when it is missing or corrupt."""
        path = content_path(sha256)
        try:
            found = download(self.lake, path, to) if to else self.lake.sha256(path)
        except LakeError as error:
            if self.lake.exists(path):
                raise
            raise BackupError(f"{self.lake.url(path)} is missing; use an older backup") from error
        if found != sha256:
            raise BackupError(
                f"{self.lake.url(path)}: checksum mismatch: the object is corrupt; use an older backup, and delete this object: the "
                "next backup writes it again if the lake still has it"
            )

    def backups(self, *, strict: bool = False) -> list[Backup]:
        """The backups, oldest first. A record that cannot be read is logged and skipped, or raises BackupError if `strict`."""
        found: list[Backup] = []
        for path in (each.path for each in self.lake.objects(BACKUPS)):
            try:
                found.append(self._read(path))
            except BackupError as error:
                if strict:
                    raise
                if path not in self._unreadable:  # once, however often the backups are listed
                    log.warning("backup_unreadable", path=path, why=str(error))
                self._unreadable.add(path)
        return found

    def newest_complete(self, env: str) -> Backup | None:
        """The newest complete backup of an environment; older records are not read."""
        for path in reversed([each.path for each in self.lake.objects(BACKUPS)]):
            try:
                backup = self._read(path)
            except BackupError:
                continue
            if backup.env == env and backup.is_complete:
                return backup
        return None

    def find(self, env: str, prefix: str | None = None) -> Backup:
        """The newest backup whose name begins with `prefix`; without, the newest of this environment. Raises UsageError."""
        known = self.backups()
        found = [each for each in known if (each.name.startswith(prefix) if prefix else each.env == env)]
        if not found:
            what = f"a backup named {prefix}…" if prefix else f"a backup of {env}"
            raise UsageError(
                f"{self.lake.root}: expected {what}, found {f'{len(known)} others' if known else 'none'}; list the backups with "
                "`catalunya backup list`, or set CATALUNYA_BACKUP to where they are"
            )
        return found[-1]

    def add(self, backup: Backup) -> None:
        """Write the record, the last step of a backup. Raises BackupError when there is one of that name."""
        path = record_path(backup.name)
        if not self.lake.create(path, gzip.compress(msgspec.json.encode(backup), mtime=0)):
            raise BackupError(f"{self.lake.url(path)} exists already; nothing was written, run the backup again")
        self.lake.sync([path])

    def _read(self, path: str) -> Backup:
        where = self.lake.url(path)
        if not path.endswith(SUFFIX):
            raise BackupError(
                f"{where} is not a backup record of this version; restore it with the version that made it, or set CATALUNYA_BACKUP to a new place"
            )
        try:
            return json_decoder(Backup).decode(gzip.decompress(self.lake.get(path)))
        except (LakeError, *BROKEN_JSON, OSError, EOFError, zlib.error) as error:
            raise BackupError(
                f"the backup record {where} cannot be read ({error}); move it away to use the others"
            ) from None


def content_path(sha256: str) -> str:
    """Where a content is stored."""
    return f"{OBJECTS}/{sha256[:2]}/{sha256}"


def record_path(name: str) -> str:
    """Where the record of a backup is stored."""
    return f"{BACKUPS}/{name}{SUFFIX}"


def download(lake: Lake, path: str, to: Path) -> str:
    """Read an object into a file, 8 MiB at a time; returns the SHA-256 of what was read."""
    found = hashlib.sha256()
    with to.open("wb") as out:
        for chunk in lake.chunks(path):
            found.update(chunk)
            out.write(chunk)
    return found.hexdigest()


def _shares_fate(lake: str, store: str) -> bool:
    """Whether one contains the other, or both are in one bucket."""
    if lake.startswith("s3://") and store.startswith("s3://"):
        return lake.split("/")[2] == store.split("/")[2]
    return f"{store}/".startswith(f"{lake}/") or f"{lake}/".startswith(f"{store}/")


@dataclass(slots=True)
class Checked:
    """How much of a backup was checked, and its problems: one line each, with what to do."""

    backup: str
    objects: int = 0
    bytes: int = 0
    problems: list[str] = field(default_factory=list)


def check(store: Store, backup: Backup, *, quick: bool = False) -> Checked:
    """Read and hash every content of a backup; `quick` only compares sizes. Raises LakeError when the store cannot be read."""
    sizes, stored = {item.sha256: item.bytes for item in backup.items}, store.contents()

    def problem(sha256: str) -> str | None:
        if stored.get(sha256) != sizes[sha256]:
            found = f"{stored[sha256]:,}" if sha256 in stored else "none"
            where = store.lake.url(content_path(sha256))
            return f"{where}: expected {sizes[sha256]:,} bytes, found {found}; use an older backup"
        if not quick:
            try:
                store.fetch(sha256)
            except BackupError as error:
                return str(error)
        return None

    problems = [f"{path}: {why}" for path, why in backup.missing.items()]
    if backup.airflow_problem:
        problems.append(f"Airflow's settings are not in it: {backup.airflow_problem}")
    if backup.database_problem:
        problems.append(f"Airflow's database is not in it: {backup.database_problem}")
    with ThreadPoolExecutor(READERS) as pool:
        problems += [found for found in pool.map(problem, sizes) if found]
    return Checked(backup.name, len(sizes), sum(sizes.values()), problems)


def is_overdue(newest: Backup | None, rpo_hours: int, now: datetime | None = None) -> bool:
    """Whether a disaster now would lose more work than the recovery point objective allows. `newest`: the newest complete backup."""
    if not rpo_hours:
        return False
    return newest is None or (now or datetime.now(UTC)) - newest.began_at > timedelta(hours=rpo_hours) + GRACE


@dataclass(slots=True)
class Pruned:
    """The backups that were deleted, or would be, and the contents only they used."""

    backups: list[str] = field(default_factory=list)
    objects: int = 0
    bytes: int = 0


def prune(
    store: Store, settings: Settings, run_id: str, *, now: datetime | None = None, dry_run: bool = False
) -> Pruned:
    """Delete expired backups, records first, then every content that no backup needs. Safe to kill and to run again.

    Raises LeaseHeld while a backup is being made, and BackupError, with nothing deleted, when a record cannot be read.
    """
    now = now or datetime.now(UTC)
    if dry_run:
        return _prune(store, settings, now, dry_run=True)
    with lease(store.lake, LEASE, run_id, settings.lease_s) as held:
        held.check()
        return _prune(store, settings, now, dry_run=False)


def _prune(store: Store, settings: Settings, now: datetime, *, dry_run: bool) -> Pruned:
    backups = store.backups(strict=True)  # an unreadable record may need any of the contents
    going = {each.name for each in expired(backups, now, days=settings.backup_days, weeks=settings.backup_weeks)}
    needed = {item.sha256 for each in backups if each.name not in going for item in each.items}
    unneeded = {sha256: size for sha256, size in store.contents().items() if sha256 not in needed}
    pruned = Pruned(sorted(going), len(unneeded), sum(unneeded.values()))
    if not dry_run:
        store.lake.delete([record_path(name) for name in pruned.backups])
        store.lake.delete([content_path(sha256) for sha256 in sorted(unneeded)])
        log.info("backups_pruned", backups=len(going), objects=pruned.objects, bytes=pruned.bytes)
    return pruned


def expired(backups: Iterable[Backup], now: datetime, *, days: int, weeks: int) -> list[Backup]:
    """The backups that are not kept, separately for each lake, oldest first.

    Kept are all of the last 48 hours, the last of each day and of each week, and always the newest. An incomplete backup never counts
    as the last of a day or week, and the newest complete one is kept however old.
    """
    lakes: dict[str, list[Backup]] = {}
    for each in sorted(backups, key=lambda each: each.began_at):
        lakes.setdefault(each.lake, []).append(each)
    return [each for of_lake in lakes.values() for each in _expired(of_lake, now, days=days, weeks=weeks)]


def _expired(backups: Sequence[Backup], now: datetime, *, days: int, weeks: int) -> list[Backup]:
    kept = {each.name for each in backups if each.began_at > now - KEEP_ALL} | {backups[-1].name}
    complete = [each for each in backups if each.is_complete]
    for span, period in ((timedelta(days=days), "%Y-%m-%d"), (timedelta(weeks=weeks), "%G-W%V")):
        last = {f"{each.began_at:{period}}": each for each in complete if each.began_at > now - span}
        kept |= {each.name for each in last.values()}
    kept |= {each.name for each in complete[-1:]}
    return [each for each in backups if each.name not in kept]

"""The ledger: the record of every materialization, one immutable object each, kept in the lake itself.

An entry is the commit point of a table: it is created once, conditionally, under the next sequence number, after all the objects it
refers to are in place (docs/architecture.md, invariant 5). Old entries are merged into one object per asset, without their lists of
objects, which are gone by then. Here: entries, reading, appending and merging. Not here: what makes an asset stale (`state.py`),
which entries are old (`retention.py`).
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from catalunya.assets.graph.spec import digest
from catalunya.io.errors import LeaseLost, LedgerError
from catalunya.io.lake import Lake
from catalunya.io.periods import Window

Status = Literal["materialized", "unchanged", "failed"]
COMPACTED = "compacted.jsonl"
REPAIRED = "REPAIRED"  # the reason of an entry that replaces a lost one
RESTORED = "RESTORED"  # the reason of an entry that publishes an earlier version, or that of a backup, again
FOLDER = "_ledger"
_ENTRY = re.compile(r".*/(\d{10})\.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """One object of a table: its path, size, rows and content."""

    path: str
    bytes: int
    rows: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One materialization of one asset, or a failed attempt.

    `versions` are the data versions it was made from (upstream keys, and `clock` if the asset has one). `quarantine` is the object
    with the quarantined rows, `batch` the landing batch, `source_version` the version that the source reported. `unchanged` (landing):
    the source reported a new version with the same content. A landing entry with a `window` is a backfill: its batch holds
    those periods, and its `source_version` is that of the last full extraction. `fields` (landing) are the source's fields with the
    types it declares, `normalized` the number of rows whose text was normalized, by raw field. `is_accepted`: a guard was waived for
    it, or for an upstream's version it was made from. `restored`: the entry whose objects it published again.
    A `compacted` entry was merged with other old ones and lost its `objects`.
    """

    asset: str
    sequence: int
    status: Status
    run_id: str
    correlation_id: str
    reason: str
    started_at: datetime
    seconds: float
    code_version: str
    versions: dict[str, str]
    data_version: str = ""
    rows: int = 0
    bytes: int = 0
    objects: tuple[Stored, ...] = ()
    columns: dict[str, str] = field(default_factory=dict)
    drift: str = ""
    discarded: int = 0
    quarantined: int = 0
    quarantine: str | None = None
    duplicates: int = 0
    source_version: str | None = None
    source_updated_at: datetime | None = None
    batch: str | None = None
    requests: int = 0
    window: Window | None = None
    error: str | None = None
    compacted: bool = False
    fields: dict[str, str] = field(default_factory=dict)
    normalized: dict[str, int] = field(default_factory=dict)
    is_accepted: bool = False
    restored: int | None = None

    @property
    def is_made(self) -> bool:
        """Whether it can say what the table is: it did not fail, and was not merged with other old ones."""
        return self.status != "failed" and not self.compacted

    @property
    def recorded_at(self) -> datetime:
        """When it was recorded, approximately: publishing is not included in `seconds`."""
        return self.started_at + timedelta(seconds=self.seconds)

    def summary(self) -> dict[str, str | int | float | None]:
        """What an asset event carries as its `extra`."""
        return {
            "run_id": self.run_id,
            "correlation_id": self.correlation_id,
            "sequence": self.sequence,
            "reason": self.reason,
            "data_version": self.data_version,
            "code_version": self.code_version,
            "rows": self.rows,
            "bytes": self.bytes,
            "quarantined": self.quarantined,
            "drift": self.drift,
            "seconds": round(self.seconds, 3),
        }


def new_run_id(now: datetime) -> str:
    """A run's id: its start and a random tail, so that ids sort by time."""
    started = f"{now:%Y%m%dT%H%M%S%f}"[:-3]  # to the millisecond
    return f"{started}-{secrets.token_hex(4)}"


def number_of(path: str) -> int | None:
    """The sequence number in the path of a single entry; None for any other object, the merged entries included."""
    match = _ENTRY.fullmatch(path)
    return int(match[1]) if match else None


def content_version(objects: tuple[Stored, ...]) -> str:
    """The data version of a table: a hash over the contents of its objects, in the order of their paths."""
    return digest(*(o.sha256 for o in sorted(objects, key=lambda o: o.path)))


def encode(entry: Entry) -> bytes:
    """An entry as it is stored: indented JSON, for people who look."""
    return msgspec.json.format(msgspec.json.encode(entry), indent=1)


def decode(content: bytes, where: str) -> Entry:
    """The entry stored at `where`. Raises LedgerError when it cannot be read."""
    try:
        return msgspec.json.decode(content, type=Entry)
    except msgspec.MsgspecError as error:
        raise _unreadable(f"the ledger entry {where}", error) from None


Listing = Mapping[str, list[str]]
"""The paths of all entries by folder, at one moment."""


class Ledger:
    """The entries of one lake."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake
        self._entries: dict[str, Entry] = {}

    def history(self, key: str) -> list[Entry]:
        """All entries of an asset, oldest first; merged ones have no `objects`. Raises LedgerError on one that cannot be read."""
        numbered, is_compacted = self._numbered(key)
        single = {number: entry for number, path in numbered if (entry := self._read(path))}
        # Read after the single ones, so that what was merged meanwhile is included.
        merged = self.compacted(key) if is_compacted or len(single) < len(numbered) else []
        found = {entry.sequence: entry for entry in merged} | single
        return [found[number] for number in sorted(found)]

    def listing(self) -> Listing:
        """Where the entries of all assets are, by one listing: on S3 one request per thousand entries, not one per asset."""
        found: dict[str, list[str]] = {}
        for each in self.lake.objects(FOLDER):
            found.setdefault(each.path.rpartition("/")[0], []).append(each.path)
        return found

    def latest(self, key: str, listed: Listing | None = None) -> Entry | None:
        """The entry that says what the table is now, or was when `listed`: the newest that did not fail and was not merged."""
        return next((entry for entry in self._newest_first(key, listed) if entry.is_made), None)

    def last_attempt(self, key: str, listed: Listing | None = None) -> Entry | None:
        """The newest entry, failed or not, now or when `listed`."""
        return next(self._newest_first(key, listed, compacted=True), None)

    def recent(self, key: str) -> Iterator[Entry]:
        """The entries of an asset, newest first, each read when its turn comes."""
        return self._newest_first(key, None, compacted=True)

    def compacted(self, key: str) -> list[Entry]:
        """The entries that were merged, oldest first. Raises LedgerError when they cannot be read."""
        path = self.compacted_path(key)
        try:
            return msgspec.json.Decoder(Entry).decode_lines(self.lake.find(path) or b"")
        except msgspec.MsgspecError as error:
            raise _unreadable(f"the compacted ledger {self.lake.url(path)}", error) from None

    def compact(self, key: str, numbers: Collection[int]) -> None:
        """Merge these entries into the object of old entries, then delete them. Only for the holder of the lease.

        If killed in between, an entry is in both places and counts once; merging again finishes it.
        """
        merged = {entry.sequence: entry for entry in self.compacted(key)}
        old = (entry for entry in self.history(key) if entry.sequence in numbers)
        merged |= {entry.sequence: replace(entry, objects=(), compacted=True) for entry in old}
        path = self.compacted_path(key)
        self.lake.put(path, msgspec.json.Encoder().encode_lines([merged[number] for number in sorted(merged)]))
        self.lake.sync([path])
        self.lake.delete([self.path(key, number) for number in sorted(numbers)])

    def append(self, entry: Entry, *, after: int) -> Entry:
        """Record an entry as number `after + 1` (`after` is the last number when the lease was taken); returns it numbered.

        Raises LeaseLost when another run recorded that number first: only one of two writers commits.
        """
        entry = replace(entry, sequence=after + 1)
        path = self.path(entry.asset, entry.sequence)
        if not self.lake.create(path, encode(entry)):
            raise LeaseLost(
                f"{entry.asset}: entry {entry.sequence} was recorded by another run; nothing was recorded here, run it again"
            )
        self.lake.sync([path])
        self._entries[path] = entry
        return entry

    @staticmethod
    def folder(key: str) -> str:
        """The folder of an asset's entries."""
        return f"{FOLDER}/{key.replace('.', '/')}"

    @classmethod
    def path(cls, key: str, sequence: int) -> str:
        """Where an entry lives in the lake."""
        return f"{cls.folder(key)}/{sequence:010d}.json"

    @classmethod
    def compacted_path(cls, key: str) -> str:
        """Where the merged entries of an asset live in the lake."""
        return f"{cls.folder(key)}/{COMPACTED}"

    def _newest_first(self, key: str, listed: Listing | None, *, compacted: bool = False) -> Iterator[Entry]:
        numbered, is_compacted = self._numbered(key, listed)
        for _, path in reversed(numbered):
            entry = self._read(path)
            if entry:
                yield entry
        if compacted and is_compacted:
            yield from reversed(self.compacted(key))

    def _numbered(self, key: str, listed: Listing | None = None) -> tuple[list[tuple[int, str]], bool]:
        """Numbers and paths of the single entries, oldest first, and whether there are merged ones."""
        folder = self.folder(key)
        paths = [found.path for found in self.lake.objects(folder)] if listed is None else listed.get(folder, [])
        numbered = sorted((number, path) for path in paths if (number := number_of(path)) is not None)
        return numbered, self.compacted_path(key) in paths

    def _read(self, path: str) -> Entry | None:
        """One entry; None when it was merged since it was listed."""
        # Entries never change once written.
        if path not in self._entries:
            content = self.lake.find(path)
            if content is None:
                return None
            self._entries[path] = decode(content, self.lake.url(path))
        return self._entries[path]


def _unreadable(what: str, error: Exception) -> LedgerError:
    return LedgerError(
        f"{what} cannot be read ({error}); "
        "`catalunya verify --repair` moves it away, and the asset is made again from what is kept"
    )

"""The ledger: the record of every materialization, one immutable object each, kept in the lake itself.

An entry is the commit point of a table: it is created once, conditionally, under the next sequence number, after all the objects it
refers to are in place (docs/architecture.md, invariant 5). Old entries are merged into one object per asset, without their lists of
objects, which are gone by then. Here: entries, reading, appending and merging. Not here: what makes an asset stale (`state.py`),
which entries are old (`retention.py`).
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Annotated, Literal

import msgspec

from catalunya.assets.graph.spec import digest
from catalunya.contracts.model.results import Check
from catalunya.io.errors import LakeError, LeaseLost, LedgerError
from catalunya.io.json_text import BROKEN_JSON, json_decoder
from catalunya.io.lake import Lake
from catalunya.io.periods import Window
from catalunya.io.safe_text import safe_text
from catalunya.io.sources.traffic import Traffic

Status = Literal["materialized", "unchanged", "failed"]
COMPACTED = "compacted.jsonl"
REPAIRED = "REPAIRED"  # the reason of an entry that replaces a lost one
RESTORED = "RESTORED"  # the reason of an entry that publishes an earlier version, or that of a backup, again
FOLDER = "_ledger"
LONGEST_ID = 500
"""Characters of a run's id and of a correlation id: both may come from outside."""
_ENTRY = re.compile(r".*/([0-9]{10})\.json")
_LISTED = re.compile(rf"({FOLDER}/[^/]+/[^/]+)/(?:([0-9]{{10}})\.json|{re.escape(COMPACTED)})")
_UNUSABLE = (*BROKEN_JSON, OverflowError)
# What is written can be read back, and what is read can be used: compared, added up, shown.
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Time = Annotated[datetime, msgspec.Meta(tz=True)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """One object of a table: its path, size, rows and content."""

    path: str
    bytes: Count
    rows: Count
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One materialization of one asset, or a failed attempt.

    `versions` are the data versions it was made from (upstream keys, and `clock` if the asset has one). `quarantine` is the object
    with the quarantined rows, `batch` the landing batch, `source_version` the version that the source reported. `unchanged` (landing):
    the source reported a new version with the same content. A landing entry with a `window` is a backfill: its batch holds
    those periods, and its `source_version` is that of the last full extraction. `fields` (landing) are the source's fields with the
    types it declares, `normalized` the number of rows whose text was normalized, by raw field, `warnings` what someone should look at.
    `is_accepted`: a guard was waived for it, or for an upstream's version it was made from. `restored`: the entry whose objects it
    published again. `transient`: it failed for a reason that passes, as the `failures` last runs did.
    `traffic` counts the requests to the source of all runs that left an entry, this one included. `checks` are all that ran, passed or
    not, also in an attempt that failed.
    A `compacted` entry was merged with other old ones and lost its `objects`, and of its checks those that passed and the samples.
    """

    asset: str
    sequence: Count
    status: Status
    run_id: str
    correlation_id: str
    reason: str
    started_at: Time
    seconds: Seconds
    code_version: str
    versions: dict[str, str]
    data_version: str = ""
    rows: Count = 0
    bytes: Count = 0
    objects: tuple[Stored, ...] = ()
    columns: dict[str, str] = field(default_factory=dict)
    drift: str = ""
    discarded: Count = 0
    quarantined: Count = 0
    quarantine: str | None = None
    duplicates: Count = 0
    source_version: str | None = None
    source_updated_at: Time | None = None
    batch: str | None = None
    requests: Count = 0
    window: Window | None = None
    error: str | None = None
    compacted: bool = False
    fields: dict[str, str] = field(default_factory=dict)
    normalized: dict[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    is_accepted: bool = False
    restored: int | None = None
    transient: bool = False
    failures: Count = 0
    checks: tuple[Check, ...] = ()
    traffic: tuple[Traffic, ...] = ()

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
            "warnings": " | ".join(self.warnings),
            "checks": len(self.checks),
            "checks_failed": sum(1 for check in self.checks if check.failed),
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


def decode(content: bytes, where: str, place: str | None = None) -> Entry:
    """The entry stored at `where`. Raises LedgerError when it cannot be read, or is not the one whose `place` in the lake this is."""
    try:
        entry = _usable(json_decoder(Entry).decode(content))
    except _UNUSABLE as error:
        raise _unreadable(f"the ledger entry {where}", error) from None
    if place and place != Ledger.path(entry.asset, entry.sequence):
        raise _unreadable(f"the ledger entry {where}", f"it is entry {entry.sequence} of {entry.asset}")
    return entry


def _usable(entry: Entry) -> Entry:
    """The entry. Raises ValueError or OverflowError when its values are of the right types and still make no sense."""
    _ = entry.recorded_at
    batch = entry.batch
    if batch is not None and (".." in batch or not batch.startswith(f"{entry.asset.replace('.', '/')}/")):
        raise ValueError(f"its batch is {batch[:200]!r}")  # it is deleted after use
    return entry


Listing = Mapping[str, Sequence[int]]
"""The numbers of all single entries by the folder of their asset, oldest first, at one moment; `MERGED` if there are merged ones."""
MERGED = 0


class Ledger:
    """The entries of one lake."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake
        self._entries: dict[str, Entry] = {}

    def history(self, key: str) -> list[Entry]:
        """All entries of an asset, oldest first; merged ones have no `objects`. Raises LedgerError on one that cannot be read."""
        numbers, is_compacted = self._numbers(key)
        single = {number: entry for number in numbers if (entry := self.read(key, number))}
        # Read after the single ones, so that what was merged meanwhile is included.
        merged = self.compacted(key) if is_compacted or len(single) < len(numbers) else []
        found = {entry.sequence: entry for entry in merged} | single
        return [found[number] for number in sorted(found)]

    def listed(self, at_most: int | None = None) -> Listing | None:
        """Where the entries of all assets are, by one listing: on S3 one request per thousand entries, not one per asset.

        None if each asset must be listed by itself: there are more than `at_most` entries, or some asset's folder cannot be listed. Raises
        LakeError if none can.
        """
        try:
            paths = list(islice(self.lake.paths(FOLDER), at_most + 1 if at_most else None))
            return None if at_most and len(paths) > at_most else _listing(paths)
        except LakeError:
            self.lake.folders(FOLDER)  # raises if it is more than the folder of one asset
            return None

    def numbers(self, key: str) -> Sequence[int]:
        """The numbers of an asset's entries as in a listing, now: `MERGED` first if there are merged ones."""
        folder = self.folder(key)
        with _of_one_asset():
            return _listing(self.lake.paths(folder)).get(folder, ())

    def latest(self, key: str, listed: Listing | None = None) -> Entry | None:
        """The entry that says what the table is now, or was when `listed`: the newest that did not fail and was not merged."""
        return next((entry for entry in self._newest_first(key, listed) if entry.is_made), None)

    def last_attempt(self, key: str, listed: Listing | None = None) -> Entry | None:
        """The newest entry, failed or not, now or when `listed`."""
        return next(self._newest_first(key, listed, compacted=True), None)

    def recent(self, key: str) -> Iterator[Entry]:
        """The entries of an asset, newest first, each read when its turn comes."""
        return self._newest_first(key, None, compacted=True)

    def read(self, key: str, sequence: int) -> Entry | None:
        """One entry by its number; None when it was merged since it was listed. Raises LedgerError when it cannot be read."""
        return self._read(self.path(key, sequence))

    def preload(self, path: str, entry: Entry) -> None:
        """Take an entry as read: it comes from the index, and has no `objects`."""
        self._entries.setdefault(path, entry)

    def compacted(self, key: str) -> list[Entry]:
        """The entries that were merged, oldest first. Raises LedgerError when they cannot be read."""
        path = self.compacted_path(key)
        what = f"the compacted ledger {self.lake.url(path)}"
        try:
            merged = [_usable(each) for each in json_decoder(Entry).decode_lines(self._content(path) or b"")]
        except _UNUSABLE as error:
            raise _unreadable(what, error) from None
        foreign = next((entry for entry in merged if entry.asset != key), None)
        if foreign:
            raise _unreadable(what, f"entry {foreign.sequence} of {foreign.asset} is among them")
        return merged

    def compact(self, key: str, numbers: Collection[int]) -> None:
        """Merge these entries into the object of old entries, then delete them. Only for the holder of the lease.

        If killed in between, an entry is in both places and counts once; merging again finishes it.
        """
        merged = {entry.sequence: entry for entry in self.compacted(key)}
        old = (entry for entry in self.history(key) if entry.sequence in numbers)
        merged |= {entry.sequence: _compacted(entry) for entry in old}
        path = self.compacted_path(key)
        self.lake.put(path, msgspec.json.Encoder().encode_lines([merged[number] for number in sorted(merged)]))
        self.lake.sync([path])
        self.lake.delete([self.path(key, number) for number in sorted(numbers)])

    def append(self, entry: Entry, *, after: int) -> Entry:
        """Record an entry as number `after + 1` (`after` is the last number when the lease was taken); returns it numbered.

        Raises LeaseLost when another run recorded that number first: only one of two writers commits. Raises LedgerError, and
        records nothing, when the entry could not be read back.
        """
        entry = replace(entry, sequence=after + 1)
        path = self.path(entry.asset, entry.sequence)
        if not self.lake.create(path, _readable(entry)):
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
        numbers, is_compacted = self._numbers(key, listed)
        for number in reversed(numbers):
            if entry := self.read(key, number):
                yield entry
        if compacted and is_compacted:
            yield from reversed(self.compacted(key))

    def _numbers(self, key: str, listed: Listing | None = None) -> tuple[Sequence[int], bool]:
        """The numbers of the single entries, oldest first, and whether there are merged ones."""
        numbers = self.numbers(key) if listed is None else listed.get(self.folder(key), ())
        is_compacted = bool(numbers) and numbers[0] == MERGED
        return numbers[1:] if is_compacted else numbers, is_compacted

    def _content(self, path: str) -> bytes | None:
        with _of_one_asset():
            return self.lake.find(path)

    def _read(self, path: str) -> Entry | None:
        """One entry; None when it was merged since it was listed."""
        # Entries never change once written.
        if path not in self._entries:
            content = self._content(path)
            if content is None:
                return None
            self._entries[path] = decode(content, self.lake.url(path), path)
        return self._entries[path]


def _listing(paths: Iterable[str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for path in paths:
        if match := _LISTED.fullmatch(path):
            found.setdefault(match[1], []).append(int(match[2]) if match[2] else MERGED)
    for numbers in found.values():
        numbers.sort()
    return found


@contextmanager
def _of_one_asset() -> Iterator[None]:
    """What the lake refuses to read of one asset, its permissions for example, is a matter of that asset only."""
    try:
        yield
    except LakeError as error:
        raise LedgerError(str(error)) from None


def _readable(entry: Entry) -> bytes:
    """The entry as it is stored. Raises LedgerError unless reading it gives the same entry."""
    try:
        if max(len(entry.run_id), len(entry.correlation_id)) > LONGEST_ID:
            raise ValueError(f"a run id or correlation id has more than {LONGEST_ID} characters")
        content = encode(entry)
        if decode(content, entry.asset) != entry:
            raise ValueError("it would read back as another one")
    # A lone surrogate is a ValueError too, an integer that is too large an OverflowError.
    except (*_UNUSABLE, LedgerError, TypeError) as error:
        raise LedgerError(
            f"{entry.asset}: expected a ledger entry that can be read back, found {safe_text(error, 300)}; nothing was recorded: this is "
            "a bug of the asset or its source, please report it"
        ) from None
    return content


def is_recordable(text: object) -> bool:
    """Whether a run's id or a correlation id that came from outside can be recorded."""
    if not isinstance(text, str) or not 0 < len(text) <= LONGEST_ID:
        return False
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)


def _compacted(entry: Entry) -> Entry:
    """An old entry without what makes it long."""
    failing = tuple(msgspec.structs.replace(check, sample="") for check in entry.checks if check.failed)
    return replace(entry, objects=(), checks=failing, compacted=True)


def _unreadable(what: str, error: object) -> LedgerError:
    return LedgerError(
        f"{what} cannot be read ({safe_text(error, 300)}); "
        "`catalunya verify --repair` moves it away, and the asset is made again from what is kept"
    )

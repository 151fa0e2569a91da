"""The ledger: the record of every materialisation, one immutable object each, kept in the lake itself.

An entry is the commit point of a table: it is created once, conditionally, under the next sequence number, after all the
objects it speaks of are in place. Here: entries, reading and appending. Not here: what makes an asset stale (`plan.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

import msgspec

from catalunya.assets.spec import digest
from catalunya.io.errors import LeaseLost, LedgerError
from catalunya.io.lake import Lake

Status = Literal["materialized", "unchanged", "failed"]
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
    """One materialisation of one asset, or the failure of one.

    `versions` are the data versions it was made from (upstream keys, and `clock` where the asset has one).
    `quarantine` is the object that holds the quarantined rows, `batch` the landing batch, `source_version` what the
    source said of itself. An `unchanged` landing entry says that the source moved and its content did not.
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
    error: str | None = None

    def summary(self) -> dict[str, str | int | float | None]:
        """What an asset event carries: small, plain, enough to see what happened."""
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


def content_version(objects: tuple[Stored, ...]) -> str:
    """The data version of a table: a hash over the contents of its objects, in the order of their paths."""
    return digest(*(o.sha256 for o in sorted(objects, key=lambda o: o.path)))


class Ledger:
    """The materialisations of one lake."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake
        self._entries: dict[str, Entry] = {}

    def history(self, key: str) -> list[Entry]:
        """All entries of an asset, oldest first. Raises LedgerError on one that cannot be read."""
        return [self._read(path) for _, path in self._numbered(key)]

    def latest(self, key: str) -> Entry | None:
        """The entry that says what the table is now: the newest that did not fail."""
        return next((entry for entry in self._newest_first(key) if entry.status != "failed"), None)

    def last_attempt(self, key: str) -> Entry | None:
        """The newest entry, failed or not."""
        return next(self._newest_first(key), None)

    def append(self, entry: Entry, *, after: int) -> Entry:
        """Record an entry as number `after + 1`, the number seen when the lease was taken; returns it numbered.

        Raises LeaseLost when somebody else recorded that number first: only one of two writers commits.
        """
        entry = replace(entry, sequence=after + 1)
        path = self.path(entry.asset, entry.sequence)
        if not self.lake.create(path, msgspec.json.format(msgspec.json.encode(entry), indent=1)):
            raise LeaseLost(
                f"{entry.asset}: entry {entry.sequence} was recorded by another run; nothing was recorded here, run it again"
            )
        self.lake.sync([path])
        return entry

    @staticmethod
    def path(key: str, sequence: int) -> str:
        """Where an entry lives in the lake."""
        return f"_ledger/{key.replace('.', '/')}/{sequence:010d}.json"

    def _newest_first(self, key: str) -> Iterator[Entry]:
        return (self._read(path) for _, path in reversed(self._numbered(key)))

    def _numbered(self, key: str) -> list[tuple[int, str]]:
        found = ((_ENTRY.fullmatch(o.path), o.path) for o in self.lake.objects(f"_ledger/{key.replace('.', '/')}"))
        return sorted((int(match[1]), path) for match, path in found if match)

    def _read(self, path: str) -> Entry:
        # Entries never change once written, so what was read once need not be read again.
        if path not in self._entries:
            try:
                self._entries[path] = msgspec.json.decode(self.lake.get(path), type=Entry)
            except msgspec.MsgspecError as error:
                raise LedgerError(
                    f"the ledger entry {self.lake.url(path)} cannot be read ({error}); "
                    "`catalunya verify --repair` sets it aside, and the asset is made again from what is kept"
                ) from None
        return self._entries[path]

"""What stands in a backup: its manifest, and the inventory of the lake's objects that it holds.

Here: plain data, and an inventory's bytes. Not here: where they lie (`store.py`), what goes into them (`snapshot.py`, `make.py`).
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

import msgspec  # noqa: TID253  whoever imports this module does it inside a function

from catalunya.assets.record.ledger import FOLDER


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One object of the lake as a backup holds it. `modified` is when the lake said it was last written."""

    asset: str
    path: str
    bytes: int
    sha256: str
    modified: datetime | None = None

    @property
    def is_ledger(self) -> bool:
        """Whether it is an entry, or the merged ones, and no data."""
        return self.path.startswith(f"{FOLDER}/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """The table of one asset as a backup holds it: the ledger entry that says what it is."""

    sequence: int
    data_version: str
    recorded_at: datetime
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """The manifest of a backup. `inventory` and `airflow` are contents of the store; `missing` is what the ledger speaks of and
    could not be saved, and why; `airflow_problem` why nothing of Airflow was."""

    name: str
    env: str
    lake: str
    began_at: datetime
    seconds: float
    inventory: str
    airflow: str | None
    airflow_problem: str = ""
    assets: dict[str, Saved] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    objects: int = 0
    bytes: int = 0
    new_objects: int = 0
    new_bytes: int = 0
    format: int = 1

    @property
    def is_whole(self) -> bool:
        """Whether everything that should be in it is."""
        return not self.missing and not self.airflow_problem


def lines(items: Iterable[Item]) -> bytes:
    """An inventory as it is kept: the same bytes for the same items."""
    ordered = sorted(items, key=lambda item: item.path)
    return gzip.compress(msgspec.json.Encoder().encode_lines(ordered), mtime=0)

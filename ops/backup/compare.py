"""One asset of a backup held against the lake: what the lake lacks of it, and what it has that the backup does not.

Nothing is changed here. Not here: giving it back (`give_back.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import msgspec  # noqa: TID253  whoever imports this module does it inside a function

from catalunya.assets.graph.spec import Asset, Layer
from catalunya.assets.record.ledger import REPAIRED, Entry, Ledger, number_of
from catalunya.io.errors import BackupError, LedgerError
from catalunya.io.lake import Lake
from catalunya.ops.backup.records import Item
from catalunya.ops.backup.snapshot import READERS
from catalunya.ops.backup.store import Store


@dataclass(slots=True)
class Compared:
    """What an asset's part of a backup comes to in this lake. `target` is the entry that says what its table was.

    `ledger` and `objects` are what the lake lacks, `foreign` what it has that is not in the backup: `is_ahead` where ledger
    entries are among that.
    """

    key: str
    target: Entry | None = None
    ledger: list[Item] = field(default_factory=list)
    objects: list[Item] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    is_ahead: bool = False

    @property
    def is_there(self) -> bool:
        """Whether the lake has all of it."""
        return not self.ledger and not self.objects and not self.is_ahead


def compare(lake: Lake, store: Store, key: str, items: Sequence[Item], asset: Asset | None) -> Compared:
    """Hold an asset's items against the lake; every object that has the right size is read and hashed. `asset`: its declaration,
    if there still is one. Raises BackupError when the backup's own ledger cannot be read."""
    found = Compared(key)
    entries = [item for item in items if item.is_ledger]
    found.target = _target(store, entries)
    _compare_ledger(lake, key, entries, found)
    data = [item for item in items if not item.is_ledger]
    there = _sizes(lake, data, asset)
    with ThreadPoolExecutor(READERS) as pool:
        same = list(
            pool.map(lambda item: there.get(item.path) == item.bytes and lake.sha256(item.path) == item.sha256, data)
        )
    found.objects = [item for item, is_same in zip(data, same, strict=True) if not is_same]
    known = {item.path for item in data}
    table = f"{asset.prefix}/" if asset and asset.layer is not Layer.LANDING else None
    found.foreign += sorted(item.path for item in found.objects if item.path in there)
    found.foreign += sorted(path for path in there if table and path.startswith(table) and path not in known)
    return found


def _target(store: Store, entries: Iterable[Item]) -> Entry | None:
    """The newest entry of the backup that did not fail."""
    for item in sorted(entries, key=lambda item: item.path, reverse=True):
        if number_of(item.path) is not None:
            try:
                entry = msgspec.json.decode(store.get(item.sha256), type=Entry)
            except msgspec.MsgspecError as error:
                raise BackupError(f"{item.path} cannot be read in the backup ({error}); take an older one") from None
            if entry.is_made:
                return entry
    return None


def _compare_ledger(lake: Lake, key: str, entries: Sequence[Item], found: Compared) -> None:
    """Entries of the same number and another content are foreign, unless nobody can read them or they stand for lost ones."""
    ours = {item.path: item for item in entries}
    theirs = [each.path for each in lake.objects(Ledger.folder(key))]
    contents = {path: content for path in theirs if (content := lake.find(path)) is not None}
    merged = _merged(lake, key)
    for path, content in contents.items():
        item = ours.get(path)
        if item and hashlib.sha256(content).hexdigest() == item.sha256:
            continue
        if item and _is_lost(path, content, merged):
            found.ledger.append(item)
        else:
            found.foreign.append(path)
            found.is_ahead = True
    for path, item in ours.items():
        if path not in contents and number_of(path) not in (merged or ()):
            found.ledger.append(item)


def _merged(lake: Lake, key: str) -> set[int] | None:
    """The numbers that were merged; None where the merged ones cannot be read."""
    try:
        return {entry.sequence for entry in Ledger(lake).compacted(key)}
    except LedgerError:
        return None


def _is_lost(path: str, content: bytes, merged: set[int] | None) -> bool:
    if number_of(path) is None:
        return merged is None
    try:
        return msgspec.json.decode(content, type=Entry).reason == REPAIRED
    except msgspec.MsgspecError:
        return True


def _sizes(lake: Lake, items: Iterable[Item], asset: Asset | None) -> dict[str, int]:
    """What lies in the folders that these items are of, and in the asset's own."""
    folders = {item.path.rpartition("/")[0] for item in items}
    if asset and asset.layer is not Layer.LANDING:
        folders = {f for f in folders if not f"{f}/".startswith(f"{asset.prefix}/")} | {asset.prefix}
    tops = [f for f in sorted(folders) if not any(f.startswith(f"{other}/") for other in folders)]
    return {found.path: found.size for folder in tops for found in lake.objects(folder)}

"""The versions of a table: which led to which, and where the objects of an earlier one are.

Here: reading a ledger's entries as versions, and fetching the objects of one. Not here: how superseded objects are kept (`retention.py`), publishing an earlier
version again (`assets/making/restoring.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from catalunya.assets.graph.spec import Asset
from catalunya.assets.record.ledger import Entry
from catalunya.assets.record.retention import find_objects, superseded_folder, superseded_path
from catalunya.io.errors import LakeError, ObjectMissing
from catalunya.io.lake import Lake


def lineage(history: Sequence[Entry], entry: Entry | None) -> Iterator[Entry]:
    """The entries that led to this one, itself first. Those that were undone are not among them: before a restored entry comes the one
    that it published again."""
    made = {each.sequence: each for each in history if each.status == "materialized"}
    before = {later: earlier for earlier, later in pairwise(sorted(made))}
    while entry:
        yield entry
        number = before.get(entry.sequence) if entry.restored is None else entry.restored
        entry = made.get(number) if number else None


def find_version(lake: Lake, asset: Asset, entry: Entry, latest: Entry | None) -> list[str] | None:
    """Where the objects of an entry are, in their order; None if some have expired or are not what they were."""
    if entry.compacted:
        return None
    paths = find_objects(entry, latest)
    folders = (asset.prefix, superseded_folder(asset))
    sizes = {found.path: found.size for folder in folders for found in lake.objects(folder)}
    is_whole = all(sizes.get(path) == stored.bytes for path, stored in zip(paths, entry.objects, strict=True))
    return paths if is_whole else None


def fetch_version(lake: Lake, asset: Asset, entry: Entry, folder: Path) -> list[str]:
    """Copy the objects of an entry into a folder on this machine, below it as in the table's; returns where they are, for `scan_objects`.

    Each has the content that the entry says, also while the next version replaces them, which keeps what it replaces. Raises LakeError
    when one is damaged or gone.
    """
    found = []
    for stored in entry.objects:
        to = folder / stored.path.removeprefix(f"{asset.prefix}/")
        to.parent.mkdir(parents=True, exist_ok=True)
        if not any(_fetch(lake, path, stored.sha256, to) for path in (stored.path, superseded_path(stored))):
            raise LakeError(
                f"{asset.key}: expected {lake.url(stored.path)} as in ledger entry {entry.sequence}, found another content or none; if it was "
                f"replaced just now, run it again, else run `catalunya verify {asset.key}`"
            )
        found.append(str(to))
    return found


def _fetch(lake: Lake, path: str, sha256: str, to: Path) -> bool:
    content = hashlib.sha256()
    try:
        with to.open("wb") as file:
            for chunk in lake.chunks(path):
                content.update(chunk)
                file.write(chunk)
    except ObjectMissing:
        return False
    return content.hexdigest() == sha256

"""The versions of a table: which led to which, and where the objects of an earlier one are.

Here: reading a ledger's entries as versions. Not here: how superseded objects are kept (`retention.py`), publishing an earlier
version again (`assets/making/restoring.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from catalunya.assets.graph.spec import Asset
from catalunya.assets.record.ledger import Entry
from catalunya.assets.record.retention import find_objects, superseded_folder
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

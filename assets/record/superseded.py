"""What a publish replaces is kept for a while: below `_superseded`, in folders like the table's, named by its content.

A table's objects have fixed names, so its next version takes their place. Before the first of them is put, those of the
latest ledger entry that will change or vanish are copied (a copy inside the store: no bytes pass through here). The name says
the content, so a run that is killed and run again copies nothing twice and never keeps new content under an old name: a copy
that is there is never written again, and all copies are there before the first object changes.

To find the table as an older entry left it: `places` gives its objects' present paths, for `paths.scan_objects` or any reader
of Parquet; docs/retention.md shows it. Here: keeping and finding. Not here: how long they are kept (`retention.py`).
"""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from catalunya.assets.graph.spec import Asset
from catalunya.assets.record.ledger import Entry, Stored
from catalunya.io.lake import Lake

log = structlog.get_logger(__name__)

SUPERSEDED = "_superseded"
_DIGITS = 16


def path_of(stored: Stored) -> str:
    """Where an object is kept once another has taken its place."""
    folder, _, name = stored.path.rpartition("/")
    return f"{SUPERSEDED}/{folder}/{stored.sha256[:_DIGITS]}.{name.rpartition('.')[2]}"


def prefix_of(asset: Asset) -> str:
    """The folder of an asset's superseded objects."""
    return f"{SUPERSEDED}/{asset.prefix}"


def says(path: str, sha256: str) -> bool:
    """Whether the name of a superseded object is that of this content."""
    return path.rpartition("/")[2].partition(".")[0] == sha256[:_DIGITS]


def places(entry: Entry, latest: Entry | None) -> list[str]:
    """Where the objects of an entry are now: still in the table of the `latest` one, or kept beside it.

    Empty for an entry whose objects had their time. The newest objects of a table are at their place until the run that
    replaces them has begun to publish.
    """
    current = _contents(latest.objects) if latest else set()
    return [o.path if (o.path, o.sha256) in current else path_of(o) for o in entry.objects]


def keep(lake: Lake, asset: Asset, latest: Entry | None, objects: Iterable[Stored]) -> list[str]:
    """Copy what `objects` will replace in the table of the `latest` entry. Only for the holder of the lease, before the first
    put. Returns the paths of the copies that were made now.

    An object that is not what the entry says (damaged, or gone) is not kept: it is nothing that anybody would look for.
    """
    staying = _contents(objects)
    going = [o for o in latest.objects if (o.path, o.sha256) not in staying] if latest else []
    if not going:
        return []
    sizes = {found.path: found.size for found in lake.objects(asset.prefix)}
    there = {found.path for found in lake.objects(prefix_of(asset))}
    kept = []
    for stored in going:
        beside = path_of(stored)
        if beside in there:
            continue
        if sizes.get(stored.path) == stored.bytes and lake.copy(stored.path, beside):
            kept.append(beside)
        else:
            log.warning("superseded_not_kept", asset=asset.key, path=stored.path, why="it is not what the ledger says")
    lake.sync(kept)
    return kept


def _contents(objects: Iterable[Stored]) -> set[tuple[str, str]]:
    return {(stored.path, stored.sha256) for stored in objects}

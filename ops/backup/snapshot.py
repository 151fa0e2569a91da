"""What of one asset goes into a backup: its ledger, and the objects that cannot be made again from a source.

Those of its latest entry, what its table was before (`_superseded`), and its quarantine. Not its landing batches: they are raw,
hold personal fields that do not leave landing, and their source gives them again. A landing entry that nothing was made of yet is
left out with its batch, as if that extraction had not been.

No lease is held, so that a backup hinders nobody: an object of the latest entry is at its place, or, once a newer table has begun to
be published, beside it. Here: what is to be kept, and where it is now. Not here: keeping it (`make.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import msgspec  # noqa: TID253  whoever imports this module does it inside a function

from catalunya.assets.graph.graph import AssetGraph
from catalunya.assets.record.ledger import FOLDER, Entry, Ledger, number_of
from catalunya.assets.record.retention import SUPERSEDED, superseded_path
from catalunya.io.lake import Lake, Object

READERS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One object that is to be kept. `sha256` is what the ledger says of it, if it does; `places` are where it may be now,
    `needed` is whether the table lacks something without it."""

    path: str
    bytes: int
    sha256: str | None = None
    places: tuple[str, ...]
    found: Object | None = None
    needed: bool = True


@dataclass(slots=True)
class Snapshot:
    """One asset at one moment. `ledger` are its entries as they lie in the lake, `wanted` everything else."""

    asset: str
    latest: Entry | None = None
    ledger: dict[str, bytes] = field(default_factory=dict)
    wanted: list[Wanted] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)


def keys(lake: Lake, graph: AssetGraph) -> list[str]:
    """The assets that have a ledger, each before those it is made from; first those that no file declares any more.

    In this order each ledger is read after those that speak of its versions: what a table was made from is known in the backup.
    """
    there = {f"{layer}.{name}" for layer in _layers(lake) for name in lake.folders(f"{FOLDER}/{layer}")}
    declared = [asset.key for asset in graph]
    return [*sorted(there.difference(declared)), *(key for key in reversed(declared) if key in there)]


def snapshot(lake: Lake, key: str, used: Collection[str] | None = None) -> Snapshot:
    """What of an asset is to be kept, now. `used`: of a landing asset, the versions that tables were made of."""
    taken = Snapshot(key)
    entries = _read_ledger(lake, key, taken)
    if used is not None:
        unused = _first_unused(entries, used)
        for entry in entries[unused:]:
            del taken.ledger[Ledger.path(key, entry.sequence)]
        entries = entries[:unused]
    taken.latest = next((entry for entry in reversed(entries) if entry.is_made), None)
    if not key.startswith("landing."):
        taken.wanted = [*_table(taken.latest), *_superseded(lake, key, entries), *_quarantine(lake, key, taken.latest)]
    return taken


def _first_unused(entries: Sequence[Entry], used: Collection[str]) -> int:
    """Where the landing entries begin that no table was made of, those that failed among them; their number, if there are none."""
    last = max((at for at, entry in enumerate(entries) if entry.is_made and entry.data_version in used), default=-1)
    return next((at for at, entry in enumerate(entries) if at > last and entry.is_made), len(entries))


def _layers(lake: Lake) -> list[str]:
    return [name for name in lake.folders(FOLDER) if not name.startswith("_")]


def _read_ledger(lake: Lake, key: str, taken: Snapshot) -> list[Entry]:
    """The entries that can be read, oldest first, without the merged ones; all of the ledger's objects go to the snapshot."""
    entries: list[Entry] = []
    merged = Ledger.compacted_path(key)
    paths = [found.path for found in lake.objects(Ledger.folder(key)) if number_of(found.path) is not None]
    with ThreadPoolExecutor(READERS) as pool:
        contents = list(pool.map(lake.find, paths))
    for path, content in zip(paths, contents, strict=True):
        if content is None:  # merged since it was listed
            continue
        try:
            entries.append(msgspec.json.decode(content, type=Entry))
            taken.ledger[path] = content
        except msgspec.MsgspecError as error:
            taken.missing[path] = f"this ledger entry cannot be read: {error}"
    # After the single ones: what was merged meanwhile is here.
    content = lake.find(merged)
    if content is not None:
        try:
            msgspec.json.Decoder(Entry).decode_lines(content)
            taken.ledger[merged] = content
        except msgspec.MsgspecError as error:
            taken.missing[merged] = f"the merged ledger entries cannot be read: {error}"
    return entries


def _table(latest: Entry | None) -> Iterable[Wanted]:
    for stored in latest.objects if latest else ():
        yield Wanted(
            path=stored.path, bytes=stored.bytes, sha256=stored.sha256, places=(stored.path, superseded_path(stored))
        )


def _superseded(lake: Lake, key: str, entries: Iterable[Entry]) -> Iterable[Wanted]:
    hashes = {superseded_path(stored): stored.sha256 for entry in entries for stored in entry.objects}
    layer, _, name = key.partition(".")
    above = f"{SUPERSEDED}/{layer}"
    folders = [f"{above}/{name}"] if layer == "staging" else [f"{above}/{kind}/{name}" for kind in lake.folders(above)]
    for folder in folders:
        for found in lake.objects(folder):
            yield _kept(found, hashes.get(found.path))


def _quarantine(lake: Lake, key: str, latest: Entry | None) -> Iterable[Wanted]:
    there = {found.path: found for found in lake.objects(f"quarantine/{key.replace('.', '/')}")}
    if latest and latest.quarantine and latest.quarantine not in there:
        yield Wanted(path=latest.quarantine, bytes=0, places=())
    for path, found in there.items():
        yield _kept(found, needed=bool(latest and path == latest.quarantine))


def _kept(found: Object, sha256: str | None = None, *, needed: bool = False) -> Wanted:
    return Wanted(path=found.path, bytes=found.size, sha256=sha256, places=(found.path,), found=found, needed=needed)

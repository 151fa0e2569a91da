"""Proof that ledger and objects agree: what is recorded is there, whole, and nothing else is.

Here: the ledger's own numbers and entries, whose versions a table was made from, and which assets are judged. Nothing is
changed. Not here: the objects of one asset (`verify_objects.py`), setting damaged ones aside (`repair.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

import msgspec

from catalunya.assets.graph.spec import Asset, Layer
from catalunya.assets.record.lease import holder
from catalunya.assets.record.ledger import Entry, Ledger
from catalunya.assets.record.project import Project
from catalunya.assets.record.state import CLOCK
from catalunya.assets.record.verify_objects import Finding, Objects
from catalunya.io.errors import LedgerError
from catalunya.io.lake import Lake

_NUMBERED = re.compile(r"(\d{10})\.json")
_LOOKS = 3


@dataclass(slots=True)
class Report:
    """What was looked at, and what was found. `busy` assets were being made meanwhile and were not judged."""

    findings: list[Finding] = field(default_factory=list)
    assets: int = 0
    objects: int = 0
    bytes: int = 0
    busy: list[str] = field(default_factory=list)


def verify(
    project: Project,
    assets: Iterable[Asset] | None = None,
    *,
    quick: bool = False,
    tell: Callable[[str], None] | None = None,
) -> Report:
    """Compare the ledger of the assets (default: all, and what belongs to none) with the lake.

    Every recorded object is read and hashed; `quick` compares sizes only. `tell` hears the key of each asset as its turn
    comes. Raises LakeError when the lake cannot be read.
    """
    report = Report()
    for asset in project.graph if assets is None else assets:
        if tell:
            tell(asset.key)
        _judge(project, asset, report, quick=quick)
    if assets is None:
        report.findings += _orphans(project)
    return report


def read_entries(lake: Lake, key: str) -> tuple[list[Entry], list[Finding]]:
    """The entries of an asset that can be read, oldest first, and what is wrong with the others and with the numbers."""
    folder = Ledger.folder(key)
    found = partial(Finding, asset=key)
    entries: list[Entry] = []
    findings: list[Finding] = []
    seen: set[int] = set()
    is_compacted = False
    for path in (stored.path for stored in lake.objects(folder)):
        if path == Ledger.compacted_path(key):
            is_compacted = True
            continue
        name = _NUMBERED.fullmatch(path.removeprefix(f"{folder}/"))
        if not name:
            what = "expected ledger entries, named by ten digits; found this"
            findings.append(found(kind="unknown_object", where=path, what=what, aside=(path,)))
            continue
        content = lake.find(path)
        if content is None:
            is_compacted = True  # since it was listed
            continue
        number = int(name[1])
        seen.add(number)
        entry, wrong = _read(content, key, number)
        if entry:
            entries.append(entry)
        else:
            what = f"expected ledger entry {number}, but {wrong}"
            findings.append(found(kind="entry_unreadable", where=path, what=what, aside=(path,), numbers=(number,)))
    # After the single ones: what was merged meanwhile is there.
    merged, wrong = _read_compacted(lake, key) if is_compacted else ([], "")
    if wrong:
        path = Ledger.compacted_path(key)
        what = f"expected the old ledger entries, but {wrong}"
        findings.append(found(kind="entry_unreadable", where=path, what=what, aside=(path,)))
    entries = sorted([*entries, *(old for old in merged if old.sequence not in seen)], key=lambda entry: entry.sequence)
    seen |= {entry.sequence for entry in merged}
    missing = tuple(sorted(set(range(1, max(seen, default=0))) - seen))
    if missing:
        what = f"expected entries 1 to {max(seen)}, found none of number {', '.join(map(str, missing))}"
        findings.append(found(kind="entry_missing", where=folder, what=what, numbers=missing))
    return entries, findings


def _read(content: bytes, key: str, number: int) -> tuple[Entry | None, str]:
    """The entry, or None and what is wrong with it."""
    try:
        entry = msgspec.json.decode(content, type=Entry)
    except msgspec.MsgspecError as error:
        return None, f"it cannot be read: {error}"
    if (entry.asset, entry.sequence) != (key, number):
        return None, f"it is entry {entry.sequence} of {entry.asset}"
    return entry, ""


def _read_compacted(lake: Lake, key: str) -> tuple[list[Entry], str]:
    """The entries that were merged, or none and what is wrong with them."""
    try:
        merged = Ledger(lake).compacted(key)
    except LedgerError as error:
        return [], str(error).partition(";")[0]
    strange = next((entry for entry in merged if entry.asset != key), None)
    return ([], f"entry {strange.sequence} of {strange.asset} is among them") if strange else (merged, "")


def _judge(project: Project, asset: Asset, report: Report, *, quick: bool) -> None:
    """Look at one asset, and again if a run changed it meanwhile."""
    report.assets += 1
    lake = project.lake
    for _ in range(_LOOKS):
        if _is_held(lake, asset.key):
            break
        entries, findings = read_entries(lake, asset.key)
        consumers = project.graph.downstream(asset.key) if asset.layer is Layer.LANDING else []
        made_from = {down.key: _version_of(lake, down.key, asset.key) for down in consumers}
        objects = Objects(lake, asset, entries, quick, made_from)
        findings += [*objects.findings(), *_made_from_the_known(lake, asset, objects.latest)]
        if not findings or (not _is_held(lake, asset.key) and len(read_entries(lake, asset.key)[0]) == len(entries)):
            report.findings += findings
            report.objects += objects.looked_at + len(entries)
            report.bytes += objects.bytes
            return
    report.busy.append(asset.key)


def _made_from_the_known(lake: Lake, asset: Asset, latest: Entry | None) -> Iterator[Finding]:
    """The upstream versions a table was made from are in their histories."""
    for up, version in latest.versions.items() if latest else ():
        if up == CLOCK:
            continue
        known = {entry.data_version for entry in read_entries(lake, up)[0]}
        if version not in known:
            assert latest
            yield Finding(
                asset=asset.key,
                kind="version_unknown",
                where=f"ledger entry {latest.sequence}",
                what=f"expected version {version} of {up}, which it was made from, in that one's history; found none",
                todo=f"catalunya materialize +{asset.key}",
            )


def _orphans(project: Project) -> Iterator[Finding]:
    """Folders of the layers that belong to no asset: one was renamed or removed, or somebody put something there."""
    prefixes = {asset.prefix for asset in project.graph}
    depth = {asset.layer: asset.prefix.count("/") + 1 for asset in project.graph}
    orphans: dict[str, int] = {}
    for layer, parts in depth.items():
        for found in project.lake.objects(layer):
            folder = "/".join(found.path.split("/")[:parts])
            if folder not in prefixes:
                orphans[folder] = orphans.get(folder, 0) + 1
    for folder, count in orphans.items():
        what = f"expected only folders of declared assets; no asset has this one, with {count:,} objects"
        todo = f"was its asset renamed or removed? delete {folder} once nobody needs it"
        yield Finding(asset="", kind="orphan", where=folder, what=what, todo=todo)


def _version_of(lake: Lake, key: str, upstream: str) -> str | None:
    """The version of the upstream that the latest table of `key` was made from."""
    made = (entry for entry in reversed(read_entries(lake, key)[0]) if entry.is_made)
    latest = next(made, None)
    return latest.versions.get(upstream) if latest else None


def _is_held(lake: Lake, key: str) -> bool:
    try:
        return holder(lake, key) is not None
    except msgspec.MsgspecError:  # a lease that cannot be read is nobody's
        return False

"""Making a backup: every asset's ledger, and the objects that no source provides again.

Those are the objects of its latest entry, the superseded ones and its quarantine. Never landing batches: they hold personal fields,
which do not leave landing, and their source provides them again. A landing entry that no table was made from yet is left out with its
batch, as if that extraction had not happened.

Incremental by content: what any backup has is neither read nor copied again, except quarantine, which is read each time because the
ledger does not record its hash. Whatever is copied is read and hashed here, because a copy within S3 verifies nothing. No asset's lease
is taken, so runs and backups never wait for each other: an object of the latest entry is in its place or, once a newer table is being
published, below `_superseded`. Safe to kill at any instruction and to run again: contents without a record are no backup, and the next
one finds them. Not here: how backups are stored (`store.py`).
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

from catalunya.assets.graph.graph import AssetGraph
from catalunya.assets.graph.spec import Layer
from catalunya.assets.record.lease import holder, lease
from catalunya.assets.record.ledger import FOLDER, Entry, Ledger, decode, number_of
from catalunya.assets.record.project import Project
from catalunya.assets.record.retention import SUPERSEDED, superseded_path
from catalunya.io.errors import CatalunyaError, LakeError, LedgerError
from catalunya.io.lake import Lake
from catalunya.io.log import get_logger
from catalunya.ops.backup.store import LEASE, READERS, Backup, Item, SavedAsset, Store, content_path, download

log = get_logger(__name__)

_ATTEMPTS = 3

Dump = Callable[[Path], None]
Export = Callable[[], Mapping[str, Any]]
DATABASE = "airflow.dump"
"""The name of the dump of Airflow's database in a record; it has no path in the lake."""


def back_up(
    project: Project,
    name: str,
    *,
    store: Store | None = None,
    airflow: Export | None = None,
    database: Dump | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> Backup:
    """Back up the lake, what `airflow` exports and the file that `database` writes to the `store` (default: the settings'); `report` is
    called with each asset's key.

    What cannot be saved is named in the backup (`missing`, `airflow_problem`, `database_problem`), which has everything else: see
    `is_complete`. Raises
    LeaseHeld while another backup is being made, LakeError when lake or store cannot be read or written.
    """
    began_at, started = datetime.now(UTC), time.monotonic()
    store = store or Store.of(project.settings)
    with (
        lease(store.lake, LEASE, name, project.settings.lease_s) as held,
        tempfile.TemporaryDirectory(prefix="catalunya-", dir=project.settings.scratch) as scratch,
    ):
        writer = _Writer(project.lake, store, Path(scratch))
        assets = _save_assets(project, writer, report)
        report("Airflow")
        exported, problem = _export(airflow)
        dumped, database_problem = _dump(database, writer)
        backup = Backup(
            name=name,
            env=project.settings.env,
            lake=project.lake.root,
            began_at=began_at,
            seconds=round(time.monotonic() - started, 3),
            assets=assets,
            airflow=exported,
            airflow_problem=problem,
            database=dumped,
            database_problem=database_problem,
            missing=writer.missing,
            new_objects=len(writer.new),
            new_bytes=sum(writer.new.values()),
        )
        store.lake.sync([content_path(sha256) for sha256 in writer.new])
        held.check()
        store.add(backup)
    log.info(
        "backup_sealed", backup=name, objects=len(backup.items), new=backup.new_objects, new_bytes=backup.new_bytes
    )
    for path, why in backup.missing.items():
        log.error("not_backed_up", backup=name, path=path, why=why)
    if problem:
        log.error("airflow_not_backed_up", backup=name, why=problem)
    if database_problem:
        log.error("database_not_backed_up", backup=name, why=database_problem)
    return backup


def _export(airflow: Export | None) -> tuple[dict[str, Any] | None, str]:
    """What Airflow exports, or why it does not: the lake is worth backing up without it."""
    try:
        return (dict(airflow()) if airflow else None), ""
    except CatalunyaError as error:
        return None, str(error)


def _dump(database: Dump | None, writer: _Writer) -> tuple[Item | None, str]:
    """The dump that `database` writes, saved, or why there is none."""
    if database is None:
        return None, ""
    file = writer.scratch / DATABASE
    try:
        database(file)
    except CatalunyaError as error:
        return None, str(error)
    return writer.keep_file(DATABASE, file), ""


def _save_assets(project: Project, writer: _Writer, report: Callable[[str], None]) -> dict[str, SavedAsset]:
    graph = project.graph
    landing = {asset.key for asset in graph if asset.layer is Layer.LANDING and graph.downstream(asset.key)}
    used: dict[str, set[str]] = {}
    saved: dict[str, SavedAsset] = {}
    for key in _keys(project.lake, graph):
        report(key)
        saved[key] = _save(project, writer, key, used.get(key, set()) if key in landing else None)
        latest = saved[key].latest
        for upstream, version in latest.versions.items() if latest else ():
            used.setdefault(upstream, set()).add(version)
    return saved


def _keys(lake: Lake, graph: AssetGraph) -> list[str]:
    """The assets that have a ledger: undeclared ones first, then each one before those it is made from.

    In this order a ledger is read after those that refer to its versions, so the backup knows every version a table was made from.
    """
    layers = [name for name in lake.folders(FOLDER) if not name.startswith("_")]
    found = {f"{layer}.{name}" for layer in layers for name in lake.folders(f"{FOLDER}/{layer}")}
    declared = [asset.key for asset in graph]
    return [*sorted(found.difference(declared)), *(key for key in reversed(declared) if key in found)]


def _save(project: Project, writer: _Writer, key: str, used: Collection[str] | None) -> SavedAsset:
    """Save one asset, and start over if a run changed it meanwhile. `used`: of a landing asset, the versions tables were made from."""
    for attempt in range(_ATTEMPTS):
        is_idle = attempt > 0 and holder(project.lake, key) is None
        wanted = _read_asset(project.lake, key, used)
        objects, missing = writer.copy_all(wanted.objects)
        if not missing or is_idle:
            break
    writer.missing |= wanted.unreadable | missing
    ledger = [Item(path=path, bytes=len(body), sha256=writer.keep(body)) for path, body in wanted.ledger.items()]
    return SavedAsset(latest=wanted.latest, ledger=tuple(ledger), objects=tuple(objects))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Object:
    """One object to save. `places` are where it may be, `sha256` is what the ledger says, `required`: the table is incomplete without."""

    path: str
    bytes: int
    places: tuple[str, ...]
    sha256: str | None = None
    required: bool = False


@dataclass(slots=True)
class _Asset:
    """What to save of one asset as it is now: its ledger's objects by path, and the others."""

    latest: Entry | None = None
    ledger: dict[str, bytes] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    objects: list[_Object] = field(default_factory=list)


def _read_asset(lake: Lake, key: str, used: Collection[str] | None) -> _Asset:
    wanted = _Asset()
    entries = _read_ledger(lake, key, wanted)
    if used is not None:
        first_unused = _first_unused(entries, used)
        for entry in entries[first_unused:]:
            del wanted.ledger[Ledger.path(key, entry.sequence)]
        entries = entries[:first_unused]
    wanted.latest = next((entry for entry in reversed(entries) if entry.is_made), None)
    if not key.startswith("landing."):
        wanted.objects = list(_objects(lake, key, entries, wanted.latest))
    return wanted


def _read_ledger(lake: Lake, key: str, wanted: _Asset) -> list[Entry]:
    """The readable entries, oldest first, without the merged ones; every readable object of the ledger is added to `wanted`."""
    entries: list[Entry] = []
    folder = Ledger.folder(key)
    try:
        paths = [found.path for found in lake.objects(folder) if number_of(found.path) is not None]
    except LakeError as error:
        wanted.unreadable[folder] = str(error)
        return entries

    def read(path: str) -> bytes | None:
        try:
            return lake.find(path)
        except LakeError as error:
            wanted.unreadable[path] = str(error)
            return None

    with ThreadPoolExecutor(READERS) as pool:
        contents = list(pool.map(read, paths))
    for path, content in zip(paths, contents, strict=True):
        if content is None:  # unreadable, or merged since it was listed
            continue
        try:
            entries.append(decode(content, path))
            wanted.ledger[path] = content
        except LedgerError as error:
            wanted.unreadable[path] = str(error)
    # After the single entries: it has those that were merged meanwhile.
    merged = Ledger.compacted_path(key)
    content = read(merged)
    try:
        Ledger(lake).compacted(key)
    except LedgerError as error:
        wanted.unreadable[merged] = str(error)
    else:
        wanted.ledger |= {merged: content} if content is not None else {}
    return entries


def _first_unused(entries: Sequence[Entry], used: Collection[str]) -> int:
    """The index of the first landing entry that no table was made from; failed attempts before it are history."""
    last = max((at for at, entry in enumerate(entries) if entry.is_made and entry.data_version in used), default=-1)
    return next((at for at, entry in enumerate(entries) if at > last and entry.is_made), len(entries))


def _objects(lake: Lake, key: str, entries: Iterable[Entry], latest: Entry | None) -> Iterator[_Object]:
    """The table, what it superseded, and the quarantine."""
    for stored in latest.objects if latest else ():
        places = (stored.path, superseded_path(stored))
        yield _Object(path=stored.path, bytes=stored.bytes, places=places, sha256=stored.sha256, required=True)
    layer, _, name = key.partition(".")
    above = f"{SUPERSEDED}/{layer}"
    superseded = (
        [f"{above}/{name}"] if layer == "staging" else [f"{above}/{kind}/{name}" for kind in lake.folders(above)]
    )
    hashes = {superseded_path(stored): stored.sha256 for entry in entries for stored in entry.objects}
    quarantine = latest.quarantine if latest else None
    found = [each for folder in (*superseded, f"quarantine/{layer}/{name}") for each in lake.objects(folder)]
    for path, size, _ in found:
        yield _Object(path=path, bytes=size, places=(path,), sha256=hashes.get(path), required=path == quarantine)
    if quarantine and quarantine not in {each.path for each in found}:
        yield _Object(path=quarantine, bytes=0, places=(), required=True)


class _Writer:
    """Adds to a store what it does not have yet; `new` is what was added, `missing` what could not be, and why."""

    def __init__(self, lake: Lake, store: Store, scratch: Path) -> None:
        self.lake, self.store, self.scratch = lake, store, scratch
        self.new: dict[str, int] = {}
        self.missing: dict[str, str] = {}
        self._stored = store.contents()
        self._lock = Lock()

    def copy_all(self, wanted: Sequence[_Object]) -> tuple[list[Item], dict[str, str]]:
        """Save these objects; returns them as saved, and why required ones are missing."""
        with ThreadPoolExecutor(READERS) as pool:
            items = list(pool.map(self._copy, wanted))
        missing = {
            each.path: f"expected an object of {each.bytes:,} bytes with the content that the ledger records, found none; "
            "see `catalunya verify`"
            for each, item in zip(wanted, items, strict=True)
            if each.required and not item
        }
        return [item for item in items if item], missing

    def keep(self, body: bytes) -> str:
        """Save this content; returns its SHA-256."""
        sha256 = hashlib.sha256(body).hexdigest()
        self._put(sha256, body, len(body))
        return sha256

    def keep_file(self, path: str, file: Path) -> Item:
        """Save the content of this file."""
        with file.open("rb") as content:
            sha256 = hashlib.file_digest(content, "sha256").hexdigest()
        size = file.stat().st_size
        self._put(sha256, file, size)
        return Item(path=path, bytes=size, sha256=sha256)

    def _copy(self, wanted: _Object) -> Item | None:
        """Save one object; None when it is in none of its places with the right content."""
        if wanted.sha256 and self._stored.get(wanted.sha256) == wanted.bytes:
            return Item(path=wanted.path, bytes=wanted.bytes, sha256=wanted.sha256)
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            local = Path(folder, "object")
            for place in wanted.places:
                try:
                    sha256 = download(self.lake, place, local)
                except LakeError:
                    if self.lake.exists(place):
                        raise
                    continue
                if wanted.sha256 in (None, sha256):
                    size = local.stat().st_size
                    self._put(sha256, local, size)
                    return Item(path=wanted.path, bytes=size, sha256=sha256)
        return None

    def _put(self, sha256: str, body: bytes | Path, size: int) -> None:
        with self._lock:  # two objects may have the same content
            if self._stored.get(sha256) == size:
                return
            self._stored[sha256] = self.new[sha256] = size
        self.store.lake.put(content_path(sha256), body)

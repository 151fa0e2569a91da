"""Proof that ledger and objects agree: what is recorded is there, whole, and nothing else is.

Here: the ledger's numbers and entries, the objects of each asset (tables, landing batches, quarantine, superseded objects), and
moving damaged ones out of the way (`repair`). `verify` changes nothing; `repair` deletes nothing. Not here: making damaged tables
again (`assets/making/materialize.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from io import BytesIO

import polars as pl

from catalunya.assets.graph.spec import Asset, Layer
from catalunya.assets.record.batch import read_batch
from catalunya.assets.record.lease import UNKNOWN, holder, lease
from catalunya.assets.record.ledger import (
    FOLDER,
    REPAIRED,
    Entry,
    Ledger,
    Stored,
    content_version,
    decode,
    encode,
    new_run_id,
    number_of,
)
from catalunya.assets.record.paths import manifest_path, partition_columns, scan_files
from catalunya.assets.record.project import Project
from catalunya.assets.record.retention import is_named_by, superseded_folder
from catalunya.assets.record.state import CLOCK
from catalunya.contracts.model.contract import LOGICAL_TYPES
from catalunya.io.errors import BatchDamaged, LakeError, LedgerError
from catalunya.io.lake import Lake, Object
from catalunya.io.log import get_logger

log = get_logger(__name__)

_ATTEMPTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One disagreement. `kind` is for a program; `todo` is what fixes it, after `repair` if that has something to do.

    `damaged` are the objects that `repair` moves out of the way, `numbers` the ledger entries it then fills in as failed.
    """

    asset: str
    kind: str
    where: str
    what: str
    todo: str = ""
    damaged: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()


@dataclass(slots=True)
class Report:
    """What was checked, and what was found. `busy` assets were being made meanwhile and were not judged."""

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
    on_asset: Callable[[str], None] | None = None,
) -> Report:
    """Compare the ledger of the assets (default: all, and what belongs to no asset) with the lake.

    Every recorded object is read and hashed; `quick` compares sizes only. `on_asset` is called with
    the key of each asset when its turn comes. Raises LakeError when the lake as a whole cannot be read.
    """
    project.lake.folders(FOLDER)
    report = Report()
    for asset in project.graph if assets is None else assets:
        if on_asset:
            on_asset(asset.key)
        with _noted(report, asset.key, asset.prefix):
            _judge(project, asset, report, quick=quick)
    if assets is None:
        with _noted(report, "", ""):
            report.findings += _orphans(project)
    return report


@contextmanager
def _noted(report: Report, key: str, where: str) -> Iterator[None]:
    """Note what the lake refuses to read of one asset, its permissions for example, and go on. Nothing is damaged, nothing is moved."""
    try:
        yield
    except LakeError as error:
        what, _, todo = str(error).partition("; ")
        report.findings.append(Finding(asset=key, kind="unreadable", where=where, what=what, todo=todo))


def read_entries(lake: Lake, key: str) -> tuple[list[Entry], list[Finding]]:
    """The entries of an asset that can be read, oldest first, and what is wrong with the others and with their numbers."""
    folder = Ledger.folder(key)
    found = partial(Finding, asset=key)
    entries: list[Entry] = []
    findings: list[Finding] = []
    numbers: set[int] = set()
    is_compacted = False
    for path in (stored.path for stored in lake.objects(folder)):
        if path == Ledger.compacted_path(key):
            is_compacted = True
            continue
        number = number_of(path)
        if number is None or path != Ledger.path(key, number):
            what = "expected only ledger entries, named by ten digits"
            findings.append(found(kind="unknown_object", where=path, what=what, damaged=(path,)))
            continue
        content = lake.find(path)
        if content is None:
            is_compacted = True  # since it was listed
            continue
        numbers.add(number)
        entry, problem = _read(content, lake.url(path), key, number)
        if entry:
            entries.append(entry)
        else:
            what = f"expected ledger entry {number}, but {problem}"
            findings.append(found(kind="entry_unreadable", where=path, what=what, damaged=(path,), numbers=(number,)))
    # After the single ones: what was merged meanwhile is there.
    merged, problem = _read_compacted(lake, key) if is_compacted else ([], "")
    if problem:
        path = Ledger.compacted_path(key)
        what = f"expected the merged ledger entries, but {problem}"
        findings.append(found(kind="entry_unreadable", where=path, what=what, damaged=(path,)))
    entries = sorted(
        [*entries, *(old for old in merged if old.sequence not in numbers)], key=lambda entry: entry.sequence
    )
    numbers |= {entry.sequence for entry in merged}
    missing = tuple(sorted(set(range(1, max(numbers, default=0))) - numbers))
    if missing:
        what = f"expected entries 1 to {max(numbers)}, found no number {', '.join(map(str, missing))}"
        findings.append(found(kind="entry_missing", where=folder, what=what, numbers=missing))
    return entries, findings


def _read(content: bytes, where: str, key: str, number: int) -> tuple[Entry | None, str]:
    """The entry, or None and what is wrong with it."""
    try:
        entry = decode(content, where)
    except LedgerError as error:
        return None, str(error).partition(";")[0]
    if (entry.asset, entry.sequence) != (key, number):
        return None, f"it is entry {entry.sequence} of {entry.asset}"
    return entry, ""


def _read_compacted(lake: Lake, key: str) -> tuple[list[Entry], str]:
    """The merged entries, or none and what is wrong with them."""
    try:
        merged = Ledger(lake).compacted(key)
    except LedgerError as error:
        return [], str(error).partition(";")[0]
    foreign = next((entry for entry in merged if entry.asset != key), None)
    return ([], f"entry {foreign.sequence} of {foreign.asset} is among them") if foreign else (merged, "")


def _judge(project: Project, asset: Asset, report: Report, *, quick: bool) -> None:
    """Check one asset, and again if a run changed it meanwhile."""
    report.assets += 1
    lake = project.lake
    for _ in range(_ATTEMPTS):
        if _is_held(lake, asset.key):
            break
        entries, findings = read_entries(lake, asset.key)
        consumers = project.graph.downstream(asset.key) if asset.layer is Layer.LANDING else []
        made_from = {down.key: _version_of(lake, down.key, asset.key) for down in consumers}
        objects = Objects(lake, asset, entries, quick, made_from)
        findings += [*objects.findings(), *_made_from_the_known(lake, asset, objects.latest)]
        if not findings or (not _is_held(lake, asset.key) and len(read_entries(lake, asset.key)[0]) == len(entries)):
            report.findings += findings
            report.objects += objects.checked + len(entries)
            report.bytes += objects.bytes
            return
    report.busy.append(asset.key)


def _made_from_the_known(lake: Lake, asset: Asset, latest: Entry | None) -> Iterator[Finding]:
    """The upstream versions that a table was made from are in the upstreams' histories."""
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
                what=f"expected version {version} of {up}, from which it was made, in the history of {up}; not found",
                todo=f"catalunya materialize +{asset.key}",
            )


def _orphans(project: Project) -> Iterator[Finding]:
    """Folders of the layers that belong to no asset: an asset was renamed or removed, or someone put something there."""
    prefixes = {asset.prefix for asset in project.graph}
    depth = {asset.layer: asset.prefix.count("/") + 1 for asset in project.graph}
    orphans: dict[str, int] = {}
    for layer, parts in depth.items():
        for found in project.lake.objects(layer):
            folder = "/".join(found.path.split("/")[:parts])
            if folder not in prefixes:
                orphans[folder] = orphans.get(folder, 0) + 1
    for folder, count in orphans.items():
        what = f"expected only folders of declared assets; this one belongs to none and holds {count:,} objects"
        todo = f"was its asset renamed or removed? delete {folder} once no one needs it"
        yield Finding(asset="", kind="orphan", where=folder, what=what, todo=todo)


def _version_of(lake: Lake, key: str, upstream: str) -> str | None:
    """The version of the upstream that the latest table of `key` was made from."""
    made = (entry for entry in reversed(read_entries(lake, key)[0]) if entry.is_made)
    latest = next(made, None)
    return latest.versions.get(upstream) if latest else None


def _is_held(lake: Lake, key: str) -> bool:
    """Whether a run is making the asset. A lease that cannot be read belongs to no one, and the asset is checked."""
    held = holder(lake, key)
    return held is not None and held.run_id != UNKNOWN


@dataclass
class Objects:
    """The objects of one asset as they are now; `entries` are its ledger entries, oldest first."""

    lake: Lake
    asset: Asset
    entries: Sequence[Entry]
    quick: bool
    consumers: dict[str, str | None]
    """Of a landing asset: each consumer -> the version of the landing asset that its table was made from."""
    checked: int = 0
    bytes: int = 0
    there: dict[str, Object] = field(init=False)

    def __post_init__(self) -> None:
        self.there = {found.path: found for found in self.lake.objects(self.asset.prefix)}

    @property
    def latest(self) -> Entry | None:
        """The entry that says what the table is."""
        return next((entry for entry in reversed(self.entries) if entry.is_made), None)

    def findings(self) -> Iterator[Finding]:
        """Everything that is wrong with them."""
        if self.asset.layer is Layer.LANDING:
            yield from self._batches()
            yield from self._needed_batch()
        else:
            yield from self._table()
            yield from self._quarantine()
            yield from self._superseded()

    def _table(self) -> Iterator[Finding]:
        """A staging or mart table: the objects of its latest entry, and nothing else."""
        latest, key = self.latest, self.asset.key
        fix = f"catalunya materialize {key} --force" if latest else f"catalunya materialize +{key}"
        wrong = self._compare(latest.objects, fix, latest) if latest else []
        yield from wrong
        made = content_version(latest.objects) if latest else ""
        if latest and (made != latest.data_version or sum(stored.rows for stored in latest.objects) != latest.rows):
            what = f"expected {latest.rows:,} rows of data version {latest.data_version}, its objects add up to {made}"
            yield self._found("entry_inconsistent", f"ledger entry {latest.sequence}", what, fix)
        unknown = sorted(self.there.keys() - {stored.path for stored in (latest.objects if latest else ())})
        if unknown and latest and not wrong:
            what = f"expected only objects that the ledger knows, found {_some(unknown)}"
            yield self._found("unknown_object", unknown[0], what, damaged=tuple(unknown))
        elif unknown:
            # Perhaps the table itself, with its entry lost: readers keep it until it is made again.
            what = f"expected objects that the ledger knows, found {_some(unknown)}"
            yield self._found("unknown_object", unknown[0], what, fix)

    def _batches(self) -> Iterator[Finding]:
        """Landing batches: sealed ones are complete and recorded; others are what a killed run left.

        Moving one out of the way means removing its seal: raw pages hold personal fields, which do not leave landing, and the
        next extraction deletes what has no seal.
        """
        prefix, key = self.asset.prefix, self.asset.key
        again = f"catalunya materialize {key}+"
        recorded = {entry.batch for entry in self.entries if entry.batch}
        folders: dict[str, set[str]] = {}
        for path in self.there:
            folders.setdefault(path.removeprefix(f"{prefix}/").partition("/")[0], set()).add(path)
        for folder, paths in sorted(folders.items()):
            batch = f"{prefix}/{folder}"
            seal = manifest_path(batch)
            if seal not in paths:
                what = f"expected a sealed batch, found {len(paths)} objects without a manifest: an extraction was interrupted"
                yield self._found(
                    "batch_unsealed",
                    batch,
                    what,
                    f"nothing to do: the next extraction of {key} resumes from it or deletes it",
                )
                continue
            try:
                pages = read_batch(self.lake, batch).objects
            except BatchDamaged as error:
                yield self._found("batch_damaged", seal, str(error).partition("; ")[0], again, (seal,))
                continue
            damages = [replace(damage, damaged=(seal,)) for damage in self._compare(pages, again)]
            yield from damages
            unknown = sorted(paths - {page.path for page in pages} - {seal})
            if unknown:
                what = f"expected only the pages in the manifest, found also {_some(unknown)}"
                yield self._found("unknown_object", unknown[0], what, "nothing to do: it is deleted with its batch")
            if batch not in recorded and not damages:
                what = (
                    "expected a ledger entry for the sealed batch, found none: its run was interrupted before recording"
                )
                todo = f"catalunya materialize {key}+ takes it over; if the source has changed since, delete {batch}"
                yield self._found("batch_unrecorded", batch, what, todo)

    def _needed_batch(self) -> Iterator[Finding]:
        """The batch of the latest landing entry is there until every consumer has used it."""
        latest = self.latest
        if latest is None or (latest.batch and manifest_path(latest.batch) in self.there):
            return
        waiting = sorted(key for key, version in self.consumers.items() if version != latest.data_version)
        if waiting:
            what = f"expected the batch of entry {latest.sequence}, which {', '.join(waiting)} has not used yet; it is missing"
            todo = f"catalunya materialize {' '.join(waiting)}"
            yield self._found("batch_missing", latest.batch or self.asset.prefix, what, todo)

    def _quarantine(self) -> Iterator[Finding]:
        """The quarantined rows of the latest entry are there."""
        latest = self.latest
        if latest is None or latest.quarantine is None:
            return
        todo = f"catalunya materialize {self.asset.key} --force"
        try:
            if self.quick:
                found = latest.quarantined if self.lake.exists(latest.quarantine) else None
            else:
                rows = pl.scan_parquet(BytesIO(self.lake.get(latest.quarantine))).select(pl.len()).collect()
                found = int(rows.item())
                self.checked += 1
        except (LakeError, pl.exceptions.PolarsError):
            found = None
        if found != latest.quarantined:
            what = f"expected {latest.quarantined:,} quarantined rows, found {'no readable object' if found is None else f'{found:,}'}"
            yield self._found("quarantine_missing", latest.quarantine, what, todo)

    def _superseded(self) -> Iterator[Finding]:
        """Superseded objects have the content that they are named by."""
        if self.quick:
            return
        kept = self.lake.objects(superseded_folder(self.asset))
        with ThreadPoolExecutor(4) as pool:
            digests = list(pool.map(lambda found: self._digest_of_kept(found.path), kept))
        self.checked += len(kept)
        self.bytes += sum(found.size for found in kept)
        for found, digest in zip(kept, digests, strict=True):
            if digest and not is_named_by(found.path, digest):
                what = f"checksum mismatch: the object is corrupt (SHA-256 {digest[:16]}…)"
                yield self._found("superseded_differs", found.path, what, damaged=(found.path,))

    def _compare(self, recorded: Sequence[Stored], fix: str, entry: Entry | None = None) -> list[Finding]:
        """Each recorded object is there with its size and content and, where `entry` is given, its columns and rows."""
        with ThreadPoolExecutor(4) as pool:  # hashing releases the GIL, and so does waiting for S3
            problems = list(pool.map(lambda stored: self._problem_with(stored, entry), recorded))
        self.checked += len(recorded)
        self.bytes += sum(stored.bytes for stored in recorded)
        return [
            self._found(
                "object_missing" if stored.path not in self.there else "object_differs", stored.path, wrong, fix
            )
            for stored, wrong in zip(recorded, problems, strict=True)
            if wrong
        ]

    def _problem_with(self, stored: Stored, entry: Entry | None) -> str | None:
        there = self.there.get(stored.path)
        if there is None:
            return f"expected an object of {stored.bytes:,} bytes, found none"
        if there.size != stored.bytes:
            return f"expected {stored.bytes:,} bytes, found {there.size:,}"
        if self.quick:
            return None
        digest = self.lake.sha256(stored.path)
        if digest != stored.sha256:
            return f"checksum mismatch: expected SHA-256 {stored.sha256[:12]}…, found {digest[:12]}…"
        return self._wrong_columns(stored, entry) if entry else None

    def _digest_of_kept(self, path: str) -> str | None:
        """The SHA-256 of a superseded object; None if it expired since it was listed."""
        try:
            return self.lake.sha256(path)
        except LakeError:
            if self.lake.exists(path):
                raise
            return None

    def _wrong_columns(self, stored: Stored, entry: Entry) -> str | None:
        """The Parquet file's own columns, types and row count; partition columns are in its path."""
        in_path = partition_columns(stored.path)
        expected = {name: kind for name, kind in entry.columns.items() if name not in in_path}
        try:
            frame = scan_files([self.lake.url(stored.path)], options=self.lake.scan_options)
            found = {name: LOGICAL_TYPES.get(kind, str(kind)) for name, kind in frame.collect_schema().items()}
            rows = int(frame.select(pl.len()).collect().item())
        except (OSError, pl.exceptions.PolarsError) as error:
            return f"expected Parquet, found {str(error).splitlines()[0][:200]}"
        if found != expected:
            differing = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
            differences = ", ".join(
                f"{name} as {expected.get(name, 'nothing')} (found {found.get(name, 'nothing')})" for name in differing
            )
            return f"expected the columns of the ledger entry: {differences or 'in another order'}"
        return None if rows == stored.rows else f"expected {stored.rows:,} rows, found {rows:,}"

    def _found(self, kind: str, where: str, what: str, todo: str = "", damaged: tuple[str, ...] = ()) -> Finding:
        return Finding(asset=self.asset.key, kind=kind, where=where, what=what, todo=todo, damaged=damaged)


def _some(paths: Sequence[str]) -> str:
    return ", ".join(paths[:3]) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")


def repair(project: Project, findings: Iterable[Finding]) -> dict[str, str]:
    """Move damaged objects out of the way, asset by asset, under each one's lease. An entry's number is never reused: the place of a
    damaged entry is taken by one that records a failure.

    Returns old path -> new path. Safe to kill and to run again. Raises LeaseHeld while another run makes the asset.
    """
    run_id = new_run_id(datetime.now(UTC))
    by_asset: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.asset and (finding.damaged or finding.numbers):
            by_asset.setdefault(finding.asset, []).append(finding)
    moved: dict[str, str] = {}
    for key, of_asset in by_asset.items():
        with lease(project.lake, key, run_id, project.settings.lease_s):
            for finding in of_asset:
                moved |= _move_away(project, finding, run_id)
    return moved


def _move_away(project: Project, finding: Finding, run_id: str) -> dict[str, str]:
    lake = project.lake
    there = [path for path in finding.damaged if lake.exists(path)]
    moved = {path: _away_path(path, run_id) for path in there}
    for path, beside in moved.items():
        lake.put(beside, lake.get(path))
    lake.sync(list(moved.values()))
    places = [Ledger.path(finding.asset, number) for number in finding.numbers]
    for number, place in zip(finding.numbers, places, strict=True):
        lake.put(place, encode(_in_its_place(finding, number, run_id)))
    lake.sync(places)
    lake.delete([path for path in there if path not in places])
    for path, beside in moved.items():
        log.warning(
            "damaged_object_moved", asset=finding.asset, kind=finding.kind, path=path, to=beside, why=finding.what
        )
    return moved


def _away_path(path: str, run_id: str) -> str:
    if path.startswith(f"{FOLDER}/"):
        return f"{FOLDER}/_aside/{run_id}/{path.removeprefix(f'{FOLDER}/')}"
    return f"_aside/{run_id}/{path}"


def _in_its_place(finding: Finding, number: int, run_id: str) -> Entry:
    """The entry that takes the number: a failure of a code version that no asset has, so that it holds nothing back."""
    return Entry(
        asset=finding.asset,
        sequence=number,
        status="failed",
        run_id=run_id,
        correlation_id=run_id,
        reason=REPAIRED,
        started_at=datetime.now(UTC),
        seconds=0.0,
        code_version="",
        versions={},
        error=f"{finding.what}; it was moved away" if finding.damaged else finding.what,
    )

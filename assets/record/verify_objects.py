"""What the objects of one asset must be like for its ledger to be right: tables, landing batches, quarantine, superseded ones.

Here: one look at the objects of one asset, and what is wrong with them. Not here: the ledger itself and which assets are
looked at (`verify.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from io import BytesIO

import msgspec
import polars as pl

from catalunya.assets.graph.spec import Asset, Layer
from catalunya.assets.record.batch import may_be_read_into, read_batch
from catalunya.assets.record.ledger import Entry, Stored, content_version
from catalunya.assets.record.paths import manifest_path
from catalunya.assets.record.superseded import prefix_of, says
from catalunya.contracts.model.contract import LOGICAL_TYPES
from catalunya.io.errors import LakeError
from catalunya.io.lake import Lake, Object


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One disagreement. `kind` is for a program; `todo` is what mends it, after `repair` where that has something to do.

    `aside` are the objects that `repair` moves out of the way, `numbers` the ledger entries it then fills in as failed.
    """

    asset: str
    kind: str
    where: str
    what: str
    todo: str = ""
    aside: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()


@dataclass
class Objects:
    """The objects of one asset as they are now; `entries` are its ledger entries, oldest first."""

    lake: Lake
    asset: Asset
    entries: Sequence[Entry]
    quick: bool
    consumers: dict[str, str | None]
    """Of a landing asset: who reads it -> the version of it that its table was made from."""
    looked_at: int = 0
    bytes: int = 0
    there: dict[str, Object] = field(init=False)

    def __post_init__(self) -> None:
        self.there = {found.path: found for found in self.lake.objects(self.asset.prefix)}

    @property
    def latest(self) -> Entry | None:
        """The entry that says what the table is."""
        return next((entry for entry in reversed(self.entries) if entry.is_made), None)

    def findings(self) -> Iterator[Finding]:
        """All that is wrong with them."""
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
        mend = f"catalunya materialize {key} --force" if latest else f"catalunya materialize +{key}"
        wrong = self._compare(latest.objects, mend, latest) if latest else []
        yield from wrong
        made = content_version(latest.objects) if latest else ""
        if latest and (made != latest.data_version or sum(stored.rows for stored in latest.objects) != latest.rows):
            what = f"expected its objects to add up to {latest.rows:,} rows of data version {latest.data_version}, found {made}"
            yield self._found("entry_inconsistent", f"ledger entry {latest.sequence}", what, mend)
        unknown = sorted(self.there.keys() - {stored.path for stored in (latest.objects if latest else ())})
        if unknown and latest and not wrong:
            what = f"expected only objects that the ledger knows, found {_some(unknown)}"
            yield self._found("unknown_object", unknown[0], what, aside=tuple(unknown))
        elif unknown:
            # Perhaps the table itself, whose entry is lost: readers keep it until it is made again.
            what = f"expected objects that the ledger knows, found {_some(unknown)}"
            yield self._found("unknown_object", unknown[0], what, mend)

    def _batches(self) -> Iterator[Finding]:
        """Landing batches: sealed ones are whole and recorded; others are what a run left that died.

        To set one aside means to take off its seal: raw pages hold personal fields, which do not leave landing, and the
        next extraction clears what has no seal.
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
                if may_be_read_into(self.asset, batch, datetime.now(UTC)):
                    continue
                what = (
                    f"expected a sealed batch, found {len(paths)} objects without a manifest: an extraction died here"
                )
                yield self._found(
                    "batch_unsealed",
                    batch,
                    what,
                    f"nothing: the next extraction of {key} goes on from it, or clears it",
                )
                continue
            try:
                pages = read_batch(self.lake, batch).objects
            except msgspec.MsgspecError as error:
                yield self._found("batch_damaged", seal, f"expected a manifest, found {error}", again, (seal,))
                continue
            damages = [replace(damage, aside=(seal,)) for damage in self._compare(pages, again)]
            yield from damages
            unknown = sorted(paths - {page.path for page in pages} - {seal})
            if unknown:
                what = f"expected the pages of the manifest, found {_some(unknown)} besides"
                yield self._found("unknown_object", unknown[0], what, "nothing: it goes with its batch")
            if batch not in recorded and not damages:
                what = "expected a ledger entry for the sealed batch, found none: its run died before it could record"
                todo = f"catalunya materialize {key}+ takes it over; if its source has moved on since, delete {batch}"
                yield self._found("batch_unrecorded", batch, what, todo)

    def _needed_batch(self) -> Iterator[Finding]:
        """The batch of the latest landing entry is there until everybody has consumed it."""
        latest = self.latest
        if latest is None or (latest.batch and manifest_path(latest.batch) in self.there):
            return
        waiting = sorted(key for key, version in self.consumers.items() if version != latest.data_version)
        if waiting:
            what = f"expected the batch of entry {latest.sequence}, which {', '.join(waiting)} has not consumed; found none"
            todo = f"catalunya materialize {' '.join(waiting)}"
            yield self._found("batch_missing", latest.batch or self.asset.prefix, what, todo)

    def _quarantine(self) -> Iterator[Finding]:
        """The quarantined rows of the latest entry are kept."""
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
                self.looked_at += 1
        except (LakeError, pl.exceptions.PolarsError):
            found = None
        if found != latest.quarantined:
            what = f"expected {latest.quarantined:,} quarantined rows, found {'no readable object' if found is None else f'{found:,}'}"
            yield self._found("quarantine_missing", latest.quarantine, what, todo)

    def _superseded(self) -> Iterator[Finding]:
        """What was replaced has the content that its name says."""
        if self.quick:
            return
        kept = self.lake.objects(prefix_of(self.asset))
        with ThreadPoolExecutor(4) as pool:
            digests = list(pool.map(lambda found: self._digest_of_kept(found.path), kept))
        self.looked_at += len(kept)
        self.bytes += sum(found.size for found in kept)
        for found, digest in zip(kept, digests, strict=True):
            if digest and not says(found.path, digest):
                what = f"expected the content that its name says (SHA-256), found {digest[:16]}"
                yield self._found("superseded_differs", found.path, what, aside=(found.path,))

    def _compare(self, recorded: Sequence[Stored], mend: str, entry: Entry | None = None) -> list[Finding]:
        """Each recorded object is there with its size and content and, where `entry` is given, its columns and rows."""
        with ThreadPoolExecutor(4) as pool:  # hashing and waiting for S3 both leave the others the time
            wrongs = list(pool.map(lambda stored: self._wrong_with(stored, entry), recorded))
        self.looked_at += len(recorded)
        self.bytes += sum(stored.bytes for stored in recorded)
        return [
            self._found(
                "object_missing" if stored.path not in self.there else "object_differs", stored.path, wrong, mend
            )
            for stored, wrong in zip(recorded, wrongs, strict=True)
            if wrong
        ]

    def _wrong_with(self, stored: Stored, entry: Entry | None) -> str | None:
        there = self.there.get(stored.path)
        if there is None:
            return f"expected an object of {stored.bytes:,} bytes, found none"
        if there.size != stored.bytes:
            return f"expected {stored.bytes:,} bytes, found {there.size:,}"
        if self.quick:
            return None
        digest = self.lake.sha256(stored.path)
        if digest != stored.sha256:
            return f"expected the content {stored.sha256[:12]}… (SHA-256), found {digest[:12]}…"
        return self._wrong_columns(stored, entry) if entry else None

    def _digest_of_kept(self, path: str) -> str | None:
        """The content of a superseded object; None when its time was over since it was listed."""
        try:
            return self.lake.sha256(path)
        except LakeError:
            if self.lake.exists(path):
                raise
            return None

    def _wrong_columns(self, stored: Stored, entry: Entry) -> str | None:
        """The Parquet's own columns, types and number of rows; those it is partitioned by stand in its path."""
        in_path = {part.partition("=")[0] for part in stored.path.split("/") if "=" in part}
        expected = {name: kind for name, kind in entry.columns.items() if name not in in_path}
        try:
            frame = pl.scan_parquet(
                self.lake.url(stored.path), hive_partitioning=False, storage_options=self.lake.scan_options or None
            )
            found = {name: LOGICAL_TYPES.get(kind, str(kind)) for name, kind in frame.collect_schema().items()}
            rows = int(frame.select(pl.len()).collect().item())
        except (OSError, pl.exceptions.PolarsError) as error:
            return f"expected Parquet, found {str(error).splitlines()[0][:200]}"
        if found != expected:
            differing = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
            told = ", ".join(
                f"{name} as {expected.get(name, 'nothing')} (found {found.get(name, 'nothing')})" for name in differing
            )
            return f"expected the columns of the ledger entry: {told or 'in another order'}"
        return None if rows == stored.rows else f"expected {stored.rows:,} rows, found {rows:,}"

    def _found(self, kind: str, where: str, what: str, todo: str = "", aside: tuple[str, ...] = ()) -> Finding:
        return Finding(asset=self.asset.key, kind=kind, where=where, what=what, todo=todo, aside=aside)


def _some(paths: Sequence[str]) -> str:
    return ", ".join(paths[:3]) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")

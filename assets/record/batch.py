"""A landing batch in the lake: its manifest, and while it is incomplete a note beside each page, so that the next attempt resumes.

A batch without a manifest is ignored by readers. After a deadline or a kill, its pages are reused by the next extraction of the same
version and window, each only if it is complete by the size and hash in its note. Not here: which pages answer which request
(`io/sources`), sealing a batch (`assets/making/landing.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

import msgspec

from catalunya.assets.record.ledger import Entry, Stored, content_version
from catalunya.assets.record.paths import manifest_path
from catalunya.io.errors import BatchDamaged, ObjectMissing
from catalunya.io.json_text import BROKEN_JSON, json_decoder
from catalunya.io.lake import Lake
from catalunya.io.log import get_logger
from catalunya.io.periods import Window
from catalunya.io.sources.base import Page

log = get_logger(__name__)

NOTES = "_landed"


class Note(msgspec.Struct, frozen=True):
    """One complete page, and the version and window it belongs to."""

    version: str
    window: Window | None
    page: Page


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The content of `_manifest.json`: only the pages it lists belong to the batch. `window`: a backfill, with those periods only.

    `requests`, `started_at` and `finished_at` are those of the attempt that completed it.
    """

    asset: str
    source: str
    source_version: str
    source_updated_at: datetime
    fields: dict[str, str]
    drift: str
    rows: int
    bytes: int
    pages: tuple[Page, ...]
    requests: int
    started_at: datetime
    finished_at: datetime
    window: Window | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """One sealed extraction in the lake."""

    prefix: str
    manifest: Manifest

    @property
    def objects(self) -> tuple[Stored, ...]:
        """The pages, as the ledger records them."""
        return tuple(
            Stored(path=f"{self.prefix}/{p.name}", bytes=p.bytes, rows=p.rows, sha256=p.sha256)
            for p in self.manifest.pages
        )

    @property
    def data_version(self) -> str:
        """The hash of the pages' content: the same rows again give the same version."""
        return content_version(self.objects)

    def read(self, lake: Lake, page: Page) -> bytes:
        """The bytes of one page, as they were landed. Raises BatchDamaged when they are others, or gone."""
        path = f"{self.prefix}/{page.name}"
        try:
            body = lake.get(path)
        except ObjectMissing:
            raise _damaged(lake, path, f"{page.bytes:,} bytes", "no such object") from None
        if len(body) != page.bytes:
            raise _damaged(lake, path, f"{page.bytes:,} bytes", f"{len(body):,}")
        sha256 = hashlib.sha256(body).hexdigest()
        if sha256 != page.sha256:
            raise _damaged(lake, path, f"SHA-256 {page.sha256[:16]}…", f"{sha256[:16]}…")
        return body


def read_batch(lake: Lake, prefix: str, entry: Entry | None = None) -> Batch:
    """The sealed batch below `prefix`, which is the one that the ledger entry records if one is given.

    Raises ObjectMissing when it is gone, BatchDamaged when its manifest cannot be read, or contradicts itself or the entry.
    """
    path = manifest_path(prefix)
    try:
        manifest = json_decoder(Manifest).decode(lake.get(path))
    except BROKEN_JSON as error:
        raise _damaged(lake, path, "a manifest", str(error)) from None
    batch, pages = Batch(prefix, manifest), manifest.pages
    for what, total, found in (
        ("rows", manifest.rows, sum(page.rows for page in pages)),
        ("bytes", manifest.bytes, sum(page.bytes for page in pages)),
        ("different pages", len(pages), len({page.name for page in pages})),
    ):
        if total != found:
            raise _damaged(lake, path, f"pages with {total:,} {what} in all", f"{found:,}")
    if entry and (set(batch.objects), manifest.window) != (set(entry.objects), entry.window):
        raise _damaged(lake, path, f"the pages of ledger entry {entry.sequence}", "others")
    return batch


def _damaged(lake: Lake, path: str, expected: str, found: str) -> BatchDamaged:
    key = ".".join(path.split("/")[:2])
    return BatchDamaged(
        f"{key}: expected {expected} in {lake.url(path)}, found {found}; the batch is not used, and "
        f"`catalunya materialize {key}+` (or the next reconciliation) lands it again"
    )


class LandedPages:
    """The pages of one unsealed batch. Only for the holder of the asset's lease."""

    def __init__(self, lake: Lake, batch: str, window: Window | None) -> None:
        self.batch = batch
        self.taken = 0
        """Complete pages of earlier attempts."""
        self.added = 0
        """Pages landed by this attempt."""
        self._lake, self._window = lake, window
        self._version = ""

    def of(self, version: str) -> Mapping[str, Page]:
        """The complete pages of this version by URL, each read and checked. From now on, `add` notes pages of this version."""
        self._version = version
        sizes = {found.path: found.size for found in self._lake.objects(self.batch)}
        complete: dict[str, Page] = {}
        for note in self._notes(sizes):
            page, matches = note.page, (note.version, note.window) == (version, self._window)
            if matches and self._is_complete(page, sizes):
                complete[page.url] = page
        self.taken = len(complete)
        if complete:
            rows = sum(page.rows for page in complete.values())
            log.info("extraction_resumed", batch=self.batch, version=version, pages=len(complete), rows=rows)
        return complete

    def write(self, name: str, body: bytes) -> None:
        """Write one page, durably."""
        path = f"{self.batch}/{name}"
        self._lake.put(path, body)
        self._lake.sync([path])  # in the thread that received it, while others receive the next pages

    def add(self, page: Page) -> None:
        """Note a page after it was written."""
        note = msgspec.json.encode(Note(self._version, self._window, page))
        self._lake.put(self._path(page.name), note)
        self.added += 1

    def forget(self) -> None:
        """Delete the notes, so that none of the pages is reused."""
        self._lake.delete([found.path for found in self._lake.objects(f"{self.batch}/{NOTES}")])

    def has(self, version: str) -> bool:
        """Whether there is a page of this version and window."""
        paths = {found.path: found.size for found in self._lake.objects(f"{self.batch}/{NOTES}")}
        return any((note.version, note.window) == (version, self._window) for note in self._notes(paths))

    def _notes(self, paths: Mapping[str, int]) -> Iterator[Note]:
        for path in paths:
            if not path.startswith(f"{self.batch}/{NOTES}/"):
                continue
            try:
                note = json_decoder(Note).decode(self._lake.find(path) or b"")
            except BROKEN_JSON:  # cut off by a power failure, or of another release: its page is requested again
                log.warning("landed_note_unreadable", path=path)
                continue
            if path == self._path(note.page.name):
                yield note

    def _is_complete(self, page: Page, sizes: Mapping[str, int]) -> bool:
        path = f"{self.batch}/{page.name}"
        return sizes.get(path) == page.bytes and self._lake.sha256(path) == page.sha256

    def _path(self, name: str) -> str:
        return f"{self.batch}/{NOTES}/{name}"

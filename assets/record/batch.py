"""What is landed of an extraction that is not complete: a note beside each page, so that the next attempt goes on from there.

A batch without a manifest is nothing to its readers; its pages are worth something to who extracts the same state of the
source again, after a deadline or a kill. A page is taken again only if it is whole, by the size and hash that its note says,
and only for the same version and window. Where several functions read a large source (`parts.py`), their pages lie in one
batch, each under a name of its own. Here: the notes. Not here: which pages answer a question that is asked now (`io/sources`),
the sealing (`extract.py`).
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import msgspec
import structlog

from catalunya.assets.graph.spec import Asset
from catalunya.assets.record.ledger import Stored, content_version
from catalunya.assets.record.paths import begun_at, manifest_path
from catalunya.io.errors import BatchClosedError
from catalunya.io.lake import Lake
from catalunya.io.periods import Window
from catalunya.io.sources.base import Page

log = structlog.get_logger(__name__)

NOTES = "_landed"
PARTS_TAKE = timedelta(hours=3)
"""A run's parts are over by then, with all that they are tried again: four times a function's 15 minutes, and the waits between."""


def may_be_read_into(asset: Asset, batch: str, now: datetime) -> bool:
    """Whether parts may just be landing pages in a batch that is not sealed. They hold no lease that would tell."""
    return asset.readers > 1 and abs(now - begun_at(batch)) < PARTS_TAKE


class Note(msgspec.Struct, frozen=True):
    """One page that is written whole, and what it is of."""

    version: str
    window: Window | None
    page: Page


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What `_manifest.json` says: only the pages it lists belong to the batch. `window`: it holds the periods within only.

    `requests`, `started_at` and `finished_at` are of the attempt that completed it.
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


def read_batch(lake: Lake, prefix: str) -> Batch:
    """The sealed batch below `prefix`. Raises LakeError when it is gone."""
    return Batch(prefix, msgspec.json.decode(lake.get(manifest_path(prefix)), type=Manifest))


class LandedPages:
    """The notes of one batch that is not sealed. Only for the holder of the asset's lease, but for `PartPages`."""

    def __init__(self, lake: Lake, batch: str, window: Window | None) -> None:
        self.batch = batch
        self.taken = 0
        """Pages of earlier attempts that were found whole."""
        self.added = 0
        """Pages that this attempt has noted."""
        self._lake, self._window = lake, window
        self._version = ""

    def of(self, version: str) -> Mapping[str, Page]:
        """The pages by address that are landed of this version, each of them read through and found whole. `add` is of it
        from now on."""
        self._version = version
        sizes = {found.path: found.size for found in self._lake.objects(self.batch)}
        whole: dict[str, Page] = {}
        for note in self._notes(sizes):
            page, is_of_it = note.page, (note.version, note.window) == (version, self._window)
            # Two may have answered one question, when a part was asked for twice: either will do.
            if is_of_it and page.url not in whole and self._is_whole(page, sizes):
                whole[page.url] = page
        self.taken = len(whole)
        if whole:
            rows = sum(page.rows for page in whole.values())
            log.info("extraction_resumed", batch=self.batch, version=version, pages=len(whole), rows=rows)
        return whole

    async def write(self, name: str, chunks: AsyncIterator[bytes]) -> None:
        """The sink of the batch's pages: one page whole, and durable."""
        path = f"{self.batch}/{name}"
        await self._lake.put_stream(path, chunks)
        await asyncio.to_thread(self._lake.sync, [path])  # while the next pages are on their way

    async def add(self, page: Page) -> None:
        """Note a page, after it is written."""
        note = msgspec.json.encode(Note(self._version, self._window, page))
        await asyncio.to_thread(self._lake.put, self._path(page.name), note)
        self.added += 1

    def forget(self) -> None:
        """Take the notes away: none of the pages is to be taken again."""
        self._lake.delete([found.path for found in self._lake.objects(f"{self.batch}/{NOTES}")])

    def has(self, version: str) -> bool:
        """Whether a page was noted of this version and window."""
        paths = {found.path: found.size for found in self._lake.objects(f"{self.batch}/{NOTES}")}
        return any((note.version, note.window) == (version, self._window) for note in self._notes(paths))

    def _notes(self, paths: Mapping[str, int]) -> Iterator[Note]:
        for path in paths:
            if not path.startswith(f"{self.batch}/{NOTES}/"):
                continue
            try:
                note = msgspec.json.decode(self._lake.find(path) or b"", type=Note)
            except msgspec.MsgspecError:  # cut off by a power cut, or of another release: its page is asked for again
                log.warning("landed_note_unreadable", path=path)
                continue
            if path == self._path(note.page.name):
                yield note

    def _is_whole(self, page: Page, sizes: Mapping[str, int]) -> bool:
        path = f"{self.batch}/{page.name}"
        return sizes.get(path) == page.bytes and self._lake.sha256(path) == page.sha256

    def _path(self, name: str) -> str:
        return f"{self.batch}/{NOTES}/{name}"


class PartPages(LandedPages):
    """The notes of a batch for one who holds no lease, and lands pages early that the holder may take or leave.

    Each invocation has names of its own, which sort where the plain ones would: nobody's page is ever replaced, not even by
    one that was given up for dead. `is_open` is asked before each page: whether the batch still waits for some.
    """

    def __init__(self, lake: Lake, batch: str, window: Window | None, is_open: Callable[[], bool]) -> None:
        super().__init__(lake, batch, window)
        self._is_open = is_open
        self._tail = secrets.token_hex(4)

    async def write(self, name: str, chunks: AsyncIterator[bytes]) -> None:
        """The sink of its pages. Raises BatchClosedError where nobody waits for them any more."""
        if not await asyncio.to_thread(self._is_open):
            raise BatchClosedError(f"{self.batch} was sealed meanwhile")
        await super().write(self._own(name), chunks)

    async def add(self, page: Page) -> None:
        """Note a page under the name that it was written by."""
        await super().add(replace(page, name=self._own(page.name)))

    def forget(self) -> None:
        """Nothing: it is for the holder of the lease to judge."""

    def _own(self, name: str) -> str:
        stem, _, ending = name.partition(".")
        return f"{stem}.{self._tail}.{ending}"

    def _is_whole(self, page: Page, sizes: Mapping[str, int]) -> bool:
        """By size only: the holder of the lease reads them all, and n parts need not do so n times."""
        return sizes.get(f"{self.batch}/{page.name}") == page.bytes

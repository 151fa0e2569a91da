"""What is landed of an extraction that is not complete: a note beside each page, so that the next attempt goes on from there.

A batch without a manifest is nothing to its readers; its pages are worth something to who extracts the same state of the
source again, after a deadline or a kill. A page is taken again only if it is whole, by the size and hash that its note says,
and only for the same version and window. Here: the notes. Not here: which pages answer a question that is asked now
(`io/sources`), the sealing (`extract.py`).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Mapping

import msgspec
import structlog

from catalunya.io.lake import Lake
from catalunya.io.periods import Window
from catalunya.io.sources.base import Page

log = structlog.get_logger(__name__)

NOTES = "_landed"


class Note(msgspec.Struct, frozen=True):
    """One page that is written whole, and what it is of."""

    version: str
    window: Window | None
    page: Page


class LandedPages:
    """The notes of one batch that is not sealed. Only for the holder of the asset's lease."""

    def __init__(self, lake: Lake, batch: str, window: Window | None) -> None:
        self.batch = batch
        self.taken = 0
        """Pages of earlier attempts that were found whole."""
        self.added = 0
        """Pages that this attempt has noted."""
        self._lake, self._window = lake, window
        self._version = ""

    def of(self, version: str) -> Mapping[str, Page]:
        """The pages that are landed of this version, each of them read through and found whole. `add` is of it from now on."""
        self._version = version
        sizes = {found.path: found.size for found in self._lake.objects(self.batch)}
        whole = {
            page.name: page
            for note in self._notes(sizes)
            if (note.version, note.window) == (version, self._window) and self._is_whole(page := note.page, sizes)
        }
        self.taken = len(whole)
        if whole:
            rows = sum(page.rows for page in whole.values())
            log.info("extraction_resumed", batch=self.batch, version=version, pages=len(whole), rows=rows)
        return whole

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
        if sizes.get(path) != page.bytes:
            return False
        digest = hashlib.sha256()
        for chunk in self._lake.chunks(path):
            digest.update(chunk)
        return digest.hexdigest() == page.sha256

    def _path(self, name: str) -> str:
        return f"{self.batch}/{NOTES}/{name}"

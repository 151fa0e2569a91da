"""Where a site is published: a folder, or a bucket of S3 behind CloudFront.

Here: opening it, the headers of its objects, and writing many of them at once. Not here: what is on it (`build.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from io import BytesIO
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import BinaryIO, Self

from catalunya.io.environment import Settings
from catalunya.io.errors import ConfigurationError
from catalunya.io.lake import Lake

CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".geojson": "application/geo+json",
    ".jsonld": "application/ld+json",
    ".ttl": "text/turtle; charset=utf-8",
    ".svg": "image/svg+xml",
    ".csv": "text/csv; charset=utf-8",
    ".parquet": "application/vnd.apache.parquet",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".atom": "application/atom+xml",
    ".xml": "application/xml",
    ".txt": "text/plain; charset=utf-8",
    ".yaml": "application/yaml",
}
"""The media type of each kind of file, by its ending."""


def open_site(settings: Settings, to: str | None = None) -> Lake:
    """The store that the site is in: `to`, else the setting. Raises LakeError, and ConfigurationError for the lake itself: a site is public."""
    site = Lake(
        to or settings.portal_folder,
        encryption=settings.lake_encryption,
        kms_key_id=settings.lake_kms_key_id,
        attempts=settings.lake_attempts,
        setting="CATALUNYA_PORTAL_FOLDER",
    )
    if _has(site, settings.lake):
        raise ConfigurationError(
            f"expected a folder for the public pages only, found {site.root}, which has the lake; give a folder in it, such as "
            f"{site.url('portal')}"
        )
    return site


def _has(site: Lake, lake: str) -> bool:
    """Whether the lake is in the folder of the site."""
    if site.is_local:
        return "://" not in lake and Path(lake).resolve().is_relative_to(Path(site.root).resolve())
    return f"{lake.rstrip('/')}/".startswith(f"{site.root}/")


PAGE = ".html"
FIXED_CACHE = "public, max-age=31536000, immutable"
"""A file that never changes: a dated version of a table."""
SHORT_CACHE = "public, max-age=300"
"""Every other file may be replaced by the next build. CloudFront follows it too, so that no build has to invalidate anything."""
THREADS = 16
"""Files that are written to a bucket at once: each takes tens of milliseconds, most of which is waiting."""
WAITING = 4 * THREADS
"""Files kept in memory until they are written."""


def headers(path: str, *, is_fixed: bool) -> Mapping[str, str]:
    """What a file is served with. Raises KeyError for an ending without a media type."""
    return {
        "Content-Type": CONTENT_TYPES[PurePosixPath(path).suffix],
        "Cache-Control": FIXED_CACHE if is_fixed else SHORT_CACHE,
    }


class Publisher:
    """Writes files of a site: many at once to a bucket, one after the other to a folder.

    A page is written after every other file that was given before it, because it may link to it. A file that is given by its path, a large one, is
    written at once. Used as a context, which ends when everything
    is written. Raises LakeError, later than the call that caused it.
    """

    def __init__(self, to: Lake) -> None:
        self._to = to
        self._pool = None if to.is_local else ThreadPoolExecutor(THREADS, thread_name_prefix="publish")
        self._waiting: dict[bool, set[Future[None]]] = {False: set(), True: set()}  # by whether they are pages

    def put(self, path: str, body: bytes | Path, *, is_fixed: bool = False) -> None:
        """Write one file."""
        about = headers(path, is_fixed=is_fixed)
        if self._pool is None:
            self._to.put(path, body, about)
            return
        is_page = path.endswith(PAGE)
        if is_page:
            self._wait(is_page=False, most=0)
        mine = self._waiting[is_page]
        # Opened now: a file in a temporary folder may be gone when its turn comes.
        content: BinaryIO = body.open("rb") if isinstance(body, Path) else BytesIO(body)
        mine.add(self._pool.submit(self._put, path, content, about))
        if len(mine) >= WAITING:
            self._wait(is_page=is_page, most=WAITING // 2)

    def _put(self, path: str, content: BinaryIO, about: Mapping[str, str]) -> None:
        with content:
            self._to.put(path, content, about)

    def _wait(self, *, is_page: bool, most: int) -> None:
        """Wait until at most so many files, or pages, are not written yet."""
        while len(self._waiting[is_page]) > most:
            done, self._waiting[is_page] = wait(self._waiting[is_page], return_when=FIRST_COMPLETED)
            for each in done:
                each.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if error is None:
                self._wait(is_page=False, most=0)
                self._wait(is_page=True, most=0)
        finally:
            if self._pool:
                self._pool.shutdown(cancel_futures=True)

"""Tables that come whole, with one answer: downloaded to this machine's disk, and cut into pages there.

Here: the base class of such sources (`files.py`, `opendatasoft.py`). Nothing is kept for a later attempt, and several readers would each need
all of the answer, so there are none. Not here: HTTP (`http.py`), where a record ends (`file_formats.py`).
"""

from __future__ import annotations

import tempfile
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, BinaryIO, cast

from catalunya.io.errors import MovedError, SourceChanged, UsageError
from catalunya.io.log import get_logger
from catalunya.io.sources.base import Extraction, Page
from catalunya.io.sources.extraction import RESTARTS, PageRequest, Source, logged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from catalunya.io.periods import Window
    from catalunya.io.sources.base import HttpSettings, Landed, OnProgress, PageSink, SourceState
    from catalunya.io.sources.file_formats import Cut
    from catalunya.io.sources.http import Http

log = get_logger(__name__)


class Downloaded(Source[PageRequest]):
    """A table that comes with one answer. A subclass says how it is downloaded, and how it is cut."""

    __slots__ = ()

    @property
    def has_periods(self) -> bool:
        return False

    @abstractmethod
    def download(self, client: Http, spool: BinaryIO) -> SourceState:
        """Write the whole table into an empty file. Returns the state that it is of; raises MovedError if that is no one state, because the
        source changed meanwhile."""

    @abstractmethod
    def cuts(self, spool: BinaryIO, http: HttpSettings) -> Iterator[Cut]:
        """The pages of what was downloaded. Raises SourceError, which names the source."""

    @abstractmethod
    def page(self, client: Http, number: int, cut: Cut) -> Page:
        """The page of this number."""

    def extract(
        self,
        http: HttpSettings,
        state: SourceState,  # noqa: ARG002 - the download says which state it is of
        sink: PageSink,
        *,
        window: Window | None = None,
        progress: OnProgress | None = None,
        landed: Landed | None = None,
    ) -> Extraction:
        """Download the table and cut it into pages, again if it changed meanwhile. Raises as `Source.extract`."""
        self.refuse(window)
        if landed:
            landed.forget()
        started_at, flaw = datetime.now(UTC), ""
        with self.connect(http) as client:
            for attempt in range(1, RESTARTS + 2):
                with self.spooled(client) as spool:
                    try:
                        found = self.download(client, spool)
                        return self._landed(client, found, spool, sink, progress, started_at)
                    except MovedError as error:
                        flaw = str(error)
                log.warning("extraction_inconsistent", source=self.describe(), found=flaw, attempt=attempt)
                if attempt <= RESTARTS:  # give a publisher at work a moment
                    client.wait(min(http.backoff_max_s, http.backoff_initial_s * 4**attempt))
        raise SourceChanged(
            f"{self.describe()} changed during each of {RESTARTS + 1} downloads: {flaw}. Nothing was published; try again when the "
            "source has stopped updating."
        )

    def refuse(self, window: Window | None) -> None:
        """Raise UsageError if only a window is wanted."""
        if window is not None:
            raise UsageError(
                f"{self.describe()}: cannot read {window} only, because it has no periods; read the whole table"
            )

    def spooled(self, client: Http) -> BinaryIO:
        """A file on this machine's disk for the download. It has no name, so that nothing is left of a process that is killed."""
        return cast("BinaryIO", tempfile.TemporaryFile(dir=client.settings.scratch))

    def _landed(
        self,
        client: Http,
        state: SourceState,
        spool: BinaryIO,
        sink: PageSink,
        progress: OnProgress | None,
        started_at: datetime,
    ) -> Extraction:
        pages: list[Page] = []
        fields, rows, expected = dict(state.fields), 0, state.rows
        cuts = self.cuts(spool, client.settings)
        for cut in cuts:
            client.check_deadline()
            fields = joined(fields, cut.fields)
            if not cut.rows:
                continue
            page = self.page(client, len(pages), cut)
            sink(page.name, cut.body)
            pages.append(page)
            rows += page.rows
            if progress:
                progress(rows, expected or rows)
        state = replace(state, fields=typed(fields), rows=rows)
        return logged(self, Extraction(state, tuple(pages), client.requests, started_at, datetime.now(UTC)))


def joined(fields: Mapping[str, str], more: Mapping[str, str]) -> dict[str, str]:
    """The fields of two pages; one whose types differ is text, unless one of them is an object."""
    found = dict(fields)
    for name, kind in more.items():
        known = found.get(name, kind)
        found[name] = kind if known in (kind, "null") else known if kind == "null" else "text"
    return found


def typed(fields: Mapping[str, str]) -> dict[str, str]:
    """The fields, those without any value as text."""
    return {name: "text" if kind == "null" else kind for name, kind in fields.items()}

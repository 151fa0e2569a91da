"""Extraction: fetch a table's pages concurrently, write and note each one, and start over if the source changed meanwhile.

Here: everything sources share, as the base class `Source`. A kind of source only says which requests a table takes, and how an answer
is checked and counted (`socrata.py`, `idescat.py`). Not here: HTTP (`http.py`), where pages are kept (the sink).
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar
from urllib.parse import urlsplit

import structlog

from catalunya.io.errors import MovedError, SourceChanged, SourceError, TooLargeError
from catalunya.io.sources.base import Extraction, NothingLanded

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    import polars as pl

    from catalunya.io.periods import Window
    from catalunya.io.sources.base import (
        About,
        HttpSettings,
        Landed,
        OnProgress,
        Page,
        PageSink,
        SourceState,
    )
    from catalunya.io.sources.http import Http, Reply

log = structlog.get_logger(__name__)

RESTARTS = 2


@dataclass(frozen=True, slots=True)
class PageRequest:
    """One request, and the page its answer becomes."""

    page: str
    """The page's name without its ending: "page-00000". Names sort in the order of the rows."""
    path: str
    params: Mapping[str, str]
    rows: int
    """How many rows the answer must have. An empty answer to a request for 0 rows proves the table's end, and is no page."""
    is_exact: ClassVar[bool] = True
    """Whether `rows` is known beforehand; else it is a guess, and the answer has as many as it has."""

    def halves(self) -> Sequence[Self]:
        """Two requests for the same rows, whose pages are named with an `a` and a `b` added; empty if it cannot be split."""
        return ()


R = TypeVar("R", bound=PageRequest)


@dataclass(frozen=True, slots=True)
class Plan(Generic[R]):
    """The requests one pass over a table takes, the state their answers must be of, and the rows to expect in all."""

    state: SourceState
    requests: Sequence[R]
    rows: int


class Source(ABC, Generic[R]):
    """A table of an API, as an asset declares it: pure data (hashable, picklable), and how it is read.

    `probe` and `extract` open and close their own client: call `asyncio.run(source.probe(...))`. They raise
    `SourceUnavailable` (`DeadlineReached` when time runs out), `SourceChanged` or `SourceError`; errors of the sink pass through.
    A new protocol is a module in this folder with a class that implements the rest; nothing else names it.
    """

    __slots__ = ()
    kind: ClassVar[str]
    """The protocol: "socrata", "idescat". The project's default portals are by it."""
    pages_are: ClassVar[str]
    """What one page is, for messages: "a JSON array of rows"."""
    token_setting: ClassVar[str] = ""
    """The setting with the token for the project's own portal, where there is one beside `hosts`."""

    portal: str | None
    """The base URL of the API it is read from; None: the project's portal for its protocol."""

    @property
    @abstractmethod
    def has_periods(self) -> bool:
        """Whether the source can be asked for a span of time only."""

    @abstractmethod
    def describe(self) -> str:
        """A name for messages and logs: "Socrata ivft-vegh"."""

    @property
    def token_variable(self) -> str:
        """Where the token for its portal is set, for messages."""
        if self.token_setting and not self.portal:
            return f"CATALUNYA_{self.token_setting.upper()}"
        host = urlsplit(self.portal or "").hostname
        return f"the token of {host or 'its host'} in CATALUNYA_HOSTS"

    @classmethod
    @abstractmethod
    def recognize(cls, address: str) -> Self | None:
        """The source at an address that a person copied: of a dataset's web page, of the API, or a bare id; None if it is none of this
        protocol. Nothing is requested."""

    @abstractmethod
    def url(self, base_url: str) -> str:
        """The web page of this table."""

    @abstractmethod
    def connect(self, http: HttpSettings) -> AbstractAsyncContextManager[Http]:
        """A client for this source's API."""

    @abstractmethod
    async def about(self, client: Http) -> Sequence[About]:
        """What the metadata of each of its datasets say, by one or two requests for each."""

    @abstractmethod
    async def read_state(self, client: Http) -> SourceState:
        """The source's current state, from its metadata."""

    @abstractmethod
    async def plan(self, client: Http, state: SourceState, window: Window | None) -> Plan[R]:
        """What to request. `state` is the last known state; a source that needs its metadata for planning asks for it again."""

    @abstractmethod
    async def fetch(self, client: Http, request: R) -> tuple[Page, Reply]:
        """Send one request and check its answer. Raises `TooLargeError` to have it split, `MovedError` if the source changed."""

    @abstractmethod
    def read(self, body: bytes, fields: Sequence[str], searched: int) -> pl.DataFrame:
        """The content of one page with the given fields as text columns, as `pages.read_page` describes it. Raises ContractError or an
        error of polars or msgspec if the page is something else."""

    async def probe(self, http: HttpSettings, known: str | None = None) -> SourceState | None:
        """The state of the source, by its metadata only; None if it is still at version `known`."""
        async with self.connect(http) as client:
            state = await self.read_state(client)
        return None if state.version == known else state

    async def about_each(self, http: HttpSettings) -> Sequence[About]:
        """What the metadata of each of its datasets say."""
        async with self.connect(http) as client:
            return await self.about(client)

    async def extract(
        self,
        http: HttpSettings,
        state: SourceState,
        sink: PageSink,
        *,
        window: Window | None = None,
        progress: OnProgress | None = None,
        landed: Landed | None = None,
    ) -> Extraction:
        """Read the whole table as raw pages `page-00000.json`, ... into `sink`; a table without rows gives none.

        Pages that `landed` has of this state are not requested again. If the pages, their count and the metadata are not of one
        state, everything is read again under the same names, at most RESTARTS times; then `SourceChanged`. With a `window`, only
        the rows whose period lies entirely in it; `UsageError` if the source has none, or no periods.
        """
        started_at = datetime.now(UTC)
        landed = landed or NothingLanded()
        async with self.connect(http) as client:
            for attempt in range(1, RESTARTS + 2):
                plan = await self.plan(client, state, window)
                reading = _Pass(self, client, plan, sink, landed, progress)
                await reading.run(plan.requests)
                state = await self.read_state(client)
                flaw = reading.flaw() or _changed(plan.state.version, state.version)
                if not flaw:
                    return self._extracted(plan, reading, client.requests, started_at)
                log.warning("extraction_inconsistent", source=self.describe(), found=flaw, attempt=attempt)
                landed.forget()
                if attempt <= RESTARTS:  # give a publisher at work a moment
                    await asyncio.sleep(min(http.backoff_max_s, http.backoff_initial_s * 4**attempt))
        raise SourceChanged(
            f"{self.describe()} at {self.url(http.base_url)} changed during each of {RESTARTS + 1} readings: {flaw}. "
            "Nothing was published; try again when the source has stopped updating."
        )

    def _extracted(self, plan: Plan[R], reading: _Pass[R], requests: int, started_at: datetime) -> Extraction:
        state, pages = plan.state, tuple(page for _, page in sorted(reading.pages.items()))
        if reading.is_behind:
            # The rows served lag behind the metadata. With a version of their own, the next probe does not mistake them for
            # the newest.
            log.warning("source_behind", source=self.describe(), version=state.version)
            state = replace(state, version=f"{state.version}-behind")
        state = replace(state, rows=sum(page.rows for page in pages))
        return logged(self, Extraction(state, pages, requests, started_at, datetime.now(UTC)))


def logged(source: Source[Any], done: Extraction) -> Extraction:
    """The extraction, of which the log tells."""
    log.info(
        "source_extracted",
        source=source.describe(),
        rows=done.rows,
        pages=len(done.pages),
        bytes=done.bytes,
        requests=done.requests,
        version=done.state.version,
    )
    return done


def _changed(before: str, after: str) -> str:
    return f"expected version {before} throughout, found {after} at the end" if before != after else ""


@dataclass(slots=True)
class _Pass(Generic[R]):
    """One pass over a table: requests sent concurrently, and the answers compared with the plan and with each other."""

    source: Source[R]
    client: Http
    plan: Plan[R]
    sink: PageSink
    landed: Landed
    progress: OnProgress | None
    pages: dict[str, Page] = field(default_factory=dict)  # by the name in their request
    is_behind: bool = False
    _received: int = 0
    _stamps: set[str] = field(default_factory=set)
    _moved: str = ""  # why the pages cannot be of one state: nothing more is requested
    _wrong_page: str = ""  # a page without the number of rows its request asked for
    _have: Mapping[str, Page] = field(default_factory=dict)  # by URL: pages of this state that were landed before
    _limits: dict[str, int] = field(default_factory=dict)  # path -> rows that one answer may be able to hold

    async def run(self, requests: Sequence[R]) -> None:
        """Fetch what is not landed yet. At most `concurrency` pages are in memory at once."""
        self._have = self.landed.of(self.plan.state.version)
        slots = asyncio.Semaphore(self.client.settings.concurrency)
        failures: tuple[Exception, ...] = ()
        try:
            async with asyncio.TaskGroup() as group:
                self._start(group, slots, requests)
        except ExceptionGroup as caught:
            failures = caught.exceptions
        if failures:
            raise failures[0]  # not the group, which callers know nothing of

    def flaw(self) -> str:
        """Why these pages are not one whole state of the table; empty if they are."""
        is_exact = all(request.is_exact for request in self.plan.requests)
        if not self._moved and is_exact and self._received != self.plan.rows:
            return f"the source counts {self.plan.rows} rows, received {self._received}"
        return self._moved or self._wrong_page

    def _start(self, group: asyncio.TaskGroup, slots: asyncio.Semaphore, requests: Sequence[R]) -> None:
        for request in requests:
            page = self._have.get(self.client.address(request.path, request.params))
            if page and (page.rows == request.rows or not request.is_exact):
                self._count(request, page)
            else:
                group.create_task(self._read(group, slots, request))

    async def _read(self, group: asyncio.TaskGroup, slots: asyncio.Semaphore, request: R) -> None:
        async with slots:
            if self._moved:
                return  # this pass is lost; writes in flight finish before the next pass begins
            too_large = self._known_too_large(request)
            if not too_large:
                try:
                    await self._fetch(request)
                except TooLargeError as error:
                    too_large = str(error)
                except MovedError as error:
                    self._moved = str(error)
            if too_large:
                self._start(group, slots, self._split(request, too_large))

    async def _fetch(self, request: R) -> None:
        page, reply = await self.source.fetch(self.client, request)
        if request.rows or page.rows:
            await self.sink(page.name, reply.chunks())
            await self.landed.add(page)
        self._count(request, page)

    def _count(self, request: R, page: Page) -> None:
        self.is_behind |= page.behind
        self._stamps |= {page.stamp} - {""}
        if len(self._stamps) > 1:
            self._moved = f"expected pages of one state, found pages of {' and of '.join(sorted(self._stamps))}"
        if request.is_exact and page.rows != request.rows:
            self._wrong_page = f"expected {request.rows} rows at {page.url}, received {page.rows}"
        if request.rows or page.rows:
            self.pages[request.page] = page
            self._received += page.rows
            if self.progress:
                self.progress(self._received, self.plan.rows)

    def _known_too_large(self, request: R) -> str:
        if request.rows > self._limits.get(request.path, request.rows):
            return "as large as one that was refused"
        halves = tuple(half.page for half in request.halves()) if self._have else ()
        if halves and any(page.name.startswith(halves) for page in self._have.values()):
            return "the attempt that this one resumes had to split it"
        return ""

    def _split(self, request: R, reason: str) -> Sequence[R]:
        """The two halves. Other requests of the same path are cut to that size without being sent."""
        halves = request.halves()
        if not halves:
            raise SourceError(
                f"{self.source.describe()}: {request.path} refuses even the smallest request as too large: {reason}; "
                "check whether the API still accepts these filters"
            )
        limit = max(half.rows for half in halves)
        self._limits[request.path] = min(self._limits.get(request.path, limit), limit)
        log.warning("request_split", source=self.source.describe(), path=request.path, rows=request.rows, reason=reason)
        return halves

"""Extraction: fetch a table's pages concurrently, write and note each one, and start over if the source changed meanwhile.

Here: everything sources share, as the base class `Source`. A kind of source only says which requests a table takes, and how an answer
is checked and counted (`socrata.py`, `idescat.py`). Not here: HTTP (`http.py`), where pages are kept (the sink).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar
from urllib.parse import urlsplit

from catalunya.io.errors import MovedError, SourceChanged, SourceError, TooLargeError
from catalunya.io.log import get_logger
from catalunya.io.sources.base import Extraction, NothingLanded

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

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

log = get_logger(__name__)

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

    `probe` and `extract` open and close their own client. They raise
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
    def connect(self, http: HttpSettings) -> AbstractContextManager[Http]:
        """A client for this source's API."""

    @abstractmethod
    def about(self, client: Http) -> Sequence[About]:
        """What the metadata of each of its datasets say, by one or two requests for each."""

    @abstractmethod
    def read_state(self, client: Http) -> SourceState:
        """The source's current state, from its metadata."""

    @abstractmethod
    def plan(self, client: Http, state: SourceState, window: Window | None) -> Plan[R]:
        """What to request. `state` is the last known state; a source that needs its metadata for planning asks for it again."""

    @abstractmethod
    def fetch(self, client: Http, request: R) -> tuple[Page, Reply]:
        """Send one request and check its answer. Raises `TooLargeError` to have it split, `MovedError` if the source changed."""

    @abstractmethod
    def read(self, body: bytes, fields: Sequence[str], searched: int) -> pl.DataFrame:
        """The content of one page with the given fields as text columns, as `pages.read_page` describes it. Raises ContractError or an
        error of polars or msgspec if the page is something else."""

    def probe(self, http: HttpSettings, known: str | None = None) -> SourceState | None:
        """The state of the source, by its metadata only; None if it is still at version `known`."""
        with self.connect(http) as client:
            state = self.read_state(client)
        return None if state.version == known else state

    def about_each(self, http: HttpSettings) -> Sequence[About]:
        """What the metadata of each of its datasets say."""
        with self.connect(http) as client:
            return self.about(client)

    def extract(
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
        with self.connect(http) as client:
            for attempt in range(1, RESTARTS + 2):
                plan = self.plan(client, state, window)
                reading = _Pass(self, client, plan, sink, landed, progress)
                reading.run(plan.requests)
                state = self.read_state(client)
                flaw = reading.flaw() or _changed(plan.state.version, state.version)
                if not flaw:
                    return self._extracted(plan, reading, client.requests, started_at)
                log.warning("extraction_inconsistent", source=self.describe(), found=flaw, attempt=attempt)
                landed.forget()
                if attempt <= RESTARTS:  # give a publisher at work a moment
                    client.wait(min(http.backoff_max_s, http.backoff_initial_s * 4**attempt))
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

    def run(self, requests: Sequence[R]) -> None:
        """Fetch what is not landed yet, each page in a thread from the socket to the disk, and `concurrency` of them at once."""
        self._have = self.landed.of(self.plan.state.version)
        waiting, at_once = deque(self._missing(requests)), self.client.settings.concurrency
        running: dict[Future[Page], R] = {}
        with ThreadPoolExecutor(at_once, thread_name_prefix="page") as pool:
            try:
                while waiting or running:
                    while waiting and len(running) < at_once:
                        request = waiting.popleft()
                        if too_large := self._known_too_large(request):
                            waiting.extend(self._split(request, too_large))
                        else:
                            running[pool.submit(copy_context().run, self._fetch, request)] = request
                    for done in wait(running, return_when=FIRST_COMPLETED).done:
                        waiting.extend(self._finished(running.pop(done), done))
                    if self._moved:
                        waiting.clear()  # this pass is lost; writes in flight finish before the next pass begins
            except BaseException:
                self.client.stop()
                raise

    def flaw(self) -> str:
        """Why these pages are not one whole state of the table; empty if they are."""
        is_exact = all(request.is_exact for request in self.plan.requests)
        if not self._moved and is_exact and self._received != self.plan.rows:
            return f"the source counts {self.plan.rows} rows, received {self._received}"
        return self._moved or self._wrong_page

    def _missing(self, requests: Sequence[R]) -> list[R]:
        """The requests whose pages are not landed; the others are counted."""
        missing = []
        for request in requests:
            page = self._have.get(self.client.address(request.path, request.params))
            if page and (page.rows == request.rows or not request.is_exact):
                self._count(request, page)
            else:
                missing.append(request)
        return missing

    def _fetch(self, request: R) -> Page:
        page, reply = self.source.fetch(self.client, request)
        if request.rows or page.rows:
            self.sink(page.name, reply.body)
            self.landed.add(page)
        return page

    def _finished(self, request: R, fetched: Future[Page]) -> Sequence[R]:
        """Count a page. Returns what to request in its place if it would be too large."""
        try:
            self._count(request, fetched.result())
        except TooLargeError as error:
            return self._split(request, str(error))
        except MovedError as error:
            self._moved = str(error)
        return ()

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
        """Those of the two halves that are not landed. Other requests of the same path are cut to that size without being sent."""
        halves = request.halves()
        if not halves:
            raise SourceError(
                f"{self.source.describe()}: {request.path} refuses even the smallest request as too large: {reason}; "
                "check whether the API still accepts these filters"
            )
        limit = max(half.rows for half in halves)
        self._limits[request.path] = min(self._limits.get(request.path, limit), limit)
        log.warning("request_split", source=self.source.describe(), path=request.path, rows=request.rows, reason=reason)
        return self._missing(halves)

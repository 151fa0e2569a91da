"""The vocabulary of sources: what one tells of itself, what was read of it, and where its pages go.

No protocol (socrata.py, idescat.py), no request (http.py) and no path in the lake belongs here. This is cheap
to import, and so are the declarations of sources: asset files, and through them the DAG files, load them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol
from urllib.parse import urlsplit

from catalunya.io.errors import ConfigurationError, UsageError

if TYPE_CHECKING:
    from datetime import datetime

    from catalunya.io.periods import Window

PageFormat = Literal["rows", "json-stat"]
"""How a source's pages are laid out: an array of rows, or a JSON-stat dataset of cells (`io/sources/pages.py` reads both)."""

Progress = Callable[[int, int], None]
"""Called after each page with the rows received and the rows expected; a new start counts from 0 again."""


class BadBodyError(Exception):
    """An answer with status 200 is not what it must be (cut off, broken): the client asks again."""


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """How one API is reached. Times are in seconds. A value that cannot hold raises `ConfigurationError`."""

    base_url: str
    app_token: str | None = field(default=None, repr=False)
    concurrency: int = 4  # requests under way at once; as many pages are in memory at most
    requests_per_second: float = 10.0
    attempts: int = 6  # of one request, the first included
    timeout_s: float = 60.0  # to connect, and between two pieces of an answer
    deadline_s: float = 900.0  # of the whole extraction, waits included
    page_rows: int = 50_000  # what SODA 2.0 gives at most
    backoff_initial_s: float = 0.5  # doubled at each attempt ...
    backoff_max_s: float = 30.0  # ... up to this
    backoff_jitter_s: float = 1.0  # ... plus a random wait up to this

    def __post_init__(self) -> None:
        parts = urlsplit(self.base_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or "@" in parts.netloc:
            raise ConfigurationError(
                "A source's address is expected as http(s)://host[:port][/path], without user or query; "
                f"found {parts.scheme or '?'}://{parts.hostname or '?'}. Correct the setting."
            )
        if self.app_token is not None and not (self.app_token.isascii() and self.app_token.isprintable()):
            raise ConfigurationError(
                f"The app token for {self.base_url} is expected in printable ASCII, as a header carries it; "
                "found other characters (a line end?). Set it again."
            )
        not_positive = [
            f"{name.name}={value}"
            for name in fields(self)
            if isinstance(value := getattr(self, name.name), int | float)
            and not (value >= 0 if name.name.startswith("backoff_") else value > 0)
        ]
        if not_positive:
            raise ConfigurationError(
                f"Settings for {self.base_url} are expected above zero; found {', '.join(not_positive)}. Correct them."
            )


@dataclass(frozen=True, slots=True)
class SourceState:
    """What one or two cheap requests tell of a source."""

    version: str
    """Changes whenever the data or the columns may have changed."""
    updated_at: datetime
    """UTC: when the source says that its rows were last updated."""
    fields: Mapping[str, str]
    """Raw field name -> the type the source declares ("text", "point"), without system fields (":...")."""
    rows: int | None = None
    """The source's own count, where it was asked for."""


@dataclass(frozen=True, slots=True)
class Page:
    """One raw page, as it was written."""

    name: str
    url: str
    rows: int
    bytes: int
    sha256: str
    stamp: str = ""
    """The state that the answer said it is of, where answers say so."""
    behind: bool = False
    """Whether the source said that what it served lags behind its metadata."""


@dataclass(frozen=True, slots=True)
class Part:
    """One reader's share of a table's pages: every `of`-th, from the one at `index` on."""

    of: int
    index: int

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.of:
            raise UsageError(
                f"part {self.index} of {self.of}: expected one of 0 to {self.of - 1}; mend what asks for the part"
            )

    def has(self, number: int) -> bool:
        """Whether the page of this number, from 0, is in it."""
        return number % self.of == self.index

    def share(self, http: HttpSettings) -> HttpSettings:
        """The settings of one of `of` readers: all together ask no more often in a second than one alone would."""
        return replace(http, requests_per_second=http.requests_per_second / self.of)


@dataclass(frozen=True, slots=True)
class Extraction:
    """A whole table as the source had it at one moment.

    `pages` alone says what belongs to it: after a new start, pages of the attempt given up may lie beside.
    `state` is what the pages are of: remember its `version`, not that of the state `extract` was given.
    """

    state: SourceState
    pages: tuple[Page, ...]
    requests: int
    started_at: datetime
    finished_at: datetime

    @property
    def rows(self) -> int:
        return sum(page.rows for page in self.pages)

    @property
    def bytes(self) -> int:
        return sum(page.bytes for page in self.pages)


class PageSink(Protocol):
    """Where pages go. It returns once the page is written whole; writing a name again replaces it."""

    async def __call__(self, name: str, chunks: AsyncIterator[bytes]) -> None: ...


class Landed(Protocol):
    """What is landed of an extraction that is not complete, kept so that another attempt can go on with it."""

    def of(self, version: str) -> Mapping[str, Page]:
        """Pages by `url` that others landed of this state of the source, whole. From here on `add` is of it.

        One may be taken instead of asking the same question now: its name is its own, whatever the answer's would be.
        """
        ...

    async def add(self, page: Page) -> None:
        """Note that the page is written whole."""
        ...

    def forget(self) -> None:
        """The pages so far are not of one state: none is to be taken again."""
        ...


class NothingLanded:
    """For an extraction that keeps nothing for another."""

    def of(self, _version: str) -> Mapping[str, Page]:
        return {}

    async def add(self, page: Page) -> None:
        """Nobody asks for it."""

    def forget(self) -> None:
        """There is nothing."""


class Source(Protocol):
    """A table of an API, as an asset declares it: pure data (hashable, picklable), and how it is read.

    All three that ask it are coroutines that open and close their own client: call `asyncio.run(source.probe(...))`.
    They raise `SourceUnavailable` (`DeadlineReached` when the time is over), `SourceChanged` or `SourceError`; what the sink raises passes through.
    """

    kind: ClassVar[str]
    pages_are: ClassVar[PageFormat]

    @property
    def has_periods(self) -> bool:
        """Whether a part of the table can be asked for by time."""
        ...

    def describe(self) -> str:
        """A name for messages and logs: "Socrata ivft-vegh"."""
        ...

    def url(self, base_url: str) -> str:
        """The page of this table for people."""
        ...

    async def probe(self, http: HttpSettings, known: str | None = None) -> SourceState | None:
        """The state of the source by ONE request; None where it is still at version `known`."""
        ...

    async def extract(
        self,
        http: HttpSettings,
        state: SourceState,
        sink: PageSink,
        *,
        window: Window | None = None,
        progress: Progress | None = None,
        landed: Landed | None = None,
    ) -> Extraction:
        """Read the whole table as raw pages into `sink`, all of one state, and complete. Pages that `landed` has of it are
        not asked for again.

        With a `window`, only the rows whose period lies in it whole; only for a source that `has_periods`.
        """
        ...

    async def read_part(
        self,
        http: HttpSettings,
        state: SourceState,
        sink: PageSink,
        part: Part,
        *,
        window: Window | None = None,
        landed: Landed,
    ) -> None:
        """Read one part of the pages that `extract` would read of this state, into `sink`, each noted in `landed`.

        Nothing is judged: where the source moves meanwhile, what is left is not read, and `extract` finds out what is lacking.
        `http` is used as it is: `part.share(http)` is the caller's affair.
        """
        ...

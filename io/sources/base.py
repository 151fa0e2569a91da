"""The vocabulary of sources: what a source says about itself, what was read from it, and where its pages go.

Here: plain data and interfaces, cheap to import, because asset files load them and the DAG files load those. Not here: protocols
(`socrata.py`, `idescat.py`), extraction (`extraction.py`), HTTP requests (`http.py`), paths in the lake.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from catalunya.io.base_url import flaw_of_base, host_of
from catalunya.io.errors import ConfigurationError, DeclarationError, SourceError

if TYPE_CHECKING:
    from datetime import datetime

OnProgress = Callable[[int, int], None]
"""Called after each page with the rows received and the rows expected; counts from 0 again if the extraction starts over."""


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """How one API is reached. Times are in seconds. An invalid value raises `ConfigurationError`."""

    base_url: str
    app_token: str | None = field(default=None, repr=False)
    concurrency: int = 4  # requests in flight at once, and the maximum number of pages in memory
    requests_per_second: float = 10.0
    attempts: int = 6  # of one request, including the first
    timeout_s: float = 60.0  # to connect, and between two chunks of an answer
    deadline_s: float = 900.0  # for the whole extraction, waits included
    page_rows: int = 50_000  # the maximum of SODA 2.0
    backoff_initial_s: float = 0.5  # doubled after each attempt ...
    backoff_max_s: float = 30.0  # ... up to this
    backoff_jitter_s: float = 1.0  # ... plus a random wait up to this
    scratch: Path | None = None  # a folder for what is too large for memory; None: the system's
    record: Path | None = None  # a file in which every answer is kept (`recording.py`)
    stands_for: str = ""  # the host in whose place the mock is asked
    protocol: str = ""  # that of the source, for the counts of requests

    @property
    def host(self) -> str:
        """What shares one rate limit: the host with its port, and behind the mock the host it stands for."""
        port = urlsplit(self.base_url).port
        return f"{host_of(self.base_url)}{f':{port}' if port else ''}{self.stands_for and f'/{self.stands_for}'}"

    def __post_init__(self) -> None:
        if flaw := flaw_of_base(self.base_url):
            raise ConfigurationError(f"{flaw}; correct the setting")
        if self.app_token is not None and not (self.app_token.isascii() and self.app_token.isprintable()):
            raise ConfigurationError(
                f"the app token for {self.base_url} must be printable ASCII to go into a header, found other characters "
                "(a line break?); set it again"
            )
        too_low = [
            f"{name.name}={value}"
            for name in fields(self)
            if isinstance(value := getattr(self, name.name), int | float)
            and not (value >= 0 if name.name.startswith("backoff_") else value > 0)
        ]
        if too_low:
            raise ConfigurationError(
                f"settings for {self.base_url} must be greater than zero, found {', '.join(too_low)}; correct them"
            )


def check_portal(portal: str | None) -> None:
    """Raise DeclarationError if it is not the base URL of an API."""
    if portal is not None and (flaw := flaw_of_base(portal)):
        raise DeclarationError(f"{flaw}; correct `portal` in the declaration of the source")


@dataclass(frozen=True, slots=True)
class SourceState:
    """What one or two cheap requests say about a source."""

    version: str
    """Changes whenever the data or the columns may have changed."""
    updated_at: datetime
    """UTC: when the source says its rows were last updated."""
    fields: Mapping[str, str]
    """Raw field name -> the type the source declares ("text", "point"), without system fields (":...")."""
    rows: int | None = None
    """The source's own count, if it was asked for."""

    def __post_init__(self) -> None:
        if any("\ud800" <= letter <= "\udfff" for letter in self.version):  # lone surrogates
            raise SourceError(
                f"expected a version of the source that can be recorded, found {self.version[:100]!a}; this is a fault of the source, "
                "report it there"
            )


def said(value: object, name: str = "") -> str:
    """A text that only people read, out of metadata: the value, or its part of that name; of several languages, the first.

    Empty for anything else. An odd value in what only people read must keep no table from being made.
    """
    if name:
        value = value.get(name) if isinstance(value, dict) else value
    if isinstance(value, dict):
        value = next((text for text in value.values() if isinstance(text, str) and text), "")
    return value if isinstance(value, str) else ""


@dataclass(frozen=True, slots=True)
class FieldInfo:
    """A raw field as the source describes it. What a source does not say is empty or None."""

    name: str
    kind: str
    """The type the source declares: "text", "number", "point"; of a JSON-stat column its role, or "dimension"."""
    label: str = ""
    description: str = ""
    categories: Mapping[str, str] = field(default_factory=dict)
    """Code -> label of each category, of a JSON-stat dimension."""
    dimension: str = ""
    """The id of the JSON-stat dimension that is bound to this column."""

    @property
    def shown(self) -> str:
        """Its type for a person, and what is bound to it."""
        if not self.dimension:
            return self.kind
        span = f", {self.description}" if self.description else ""
        count = len(self.categories)
        return f"{self.kind}: {self.dimension} '{self.label}', {count} categor{'y' if count == 1 else 'ies'}{span}"

    rows: int | None = None
    """How many rows have a value, by the source's own profile."""
    nulls: int | None = None
    distinct: int | None = None


@dataclass(frozen=True, slots=True)
class About:
    """What the metadata of one dataset say, for people: `sources check` shows it, and `new source` begins with it."""

    id: str
    title: str
    updated_at: datetime | None
    fields: tuple[FieldInfo, ...]
    page_url: str
    """The web page of the dataset."""
    description: str = ""
    publisher: str = ""
    licence: str = ""
    rows: int | None = None
    key: tuple[str, ...] = ()
    """The fields that the source declares as the identifier of a row."""
    cells_at_most: int | None = None
    """The most cells or rows that one answer may have, where the source has such a limit."""


@dataclass(frozen=True, slots=True)
class Page:
    """One raw page, as it was written."""

    name: str
    url: str
    rows: int
    bytes: int
    sha256: str
    stamp: str = ""
    """The state the answer says it belongs to, if answers say so."""
    behind: bool = False
    """Whether the source said that the rows it served lag behind its metadata."""


@dataclass(frozen=True, slots=True)
class Extraction:
    """A whole table as the source had it at one moment.

    Only the pages in `pages` belong to it: files of an attempt that was given up may lie next to them. `state` is the state of
    these pages: remember its `version`, not the version of the state `extract` was given.
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
    """Where pages go. It returns when the page is written completely; writing a name again replaces it."""

    def __call__(self, name: str, body: bytes) -> None: ...


class Landed(Protocol):
    """The pages that an unfinished extraction has landed, kept so that another attempt can resume from them."""

    def of(self, version: str) -> Mapping[str, Page]:
        """Complete pages of this state of the source, by `url`, landed by anyone. From here on `add` is about this state.

        Such a page may be used instead of sending its request again, under its own name, whatever the new one would be.
        """
        ...

    def add(self, page: Page) -> None:
        """Note that the page is written completely."""
        ...

    def forget(self) -> None:
        """The pages so far are not of one state: use none of them again."""
        ...


class NothingLanded:
    """For an extraction that keeps nothing for a later attempt."""

    def of(self, _version: str) -> Mapping[str, Page]:
        return {}

    def add(self, page: Page) -> None:
        """Keep nothing."""

    def forget(self) -> None:
        """Nothing was kept."""

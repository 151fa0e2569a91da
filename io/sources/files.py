"""Files at a URL (CSV, JSON lines, Parquet): whether one changed, and its records as pages.

Here: which requests a file takes, and what its headers say. Not here: HTTP (`http.py`), what is in a file (`file_formats.py`), what its
columns mean (the contract). Importing this loads no HTTP client and no polars, because assets are declared with it.

Whether a file changed is known by its ETag or its Last-Modified, with one request that reads no more than the beginning. From a server
that sends neither, the whole file is read each time, and its SHA-256 compared.
"""

from __future__ import annotations

import codecs
import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, BinaryIO, ClassVar, Literal, Self, TypeVar
from urllib.parse import urlsplit

from catalunya.io.errors import BadBodyError, ContractError, DeclarationError, MovedError
from catalunya.io.sources.base import About, FieldInfo, Page, SourceState, check_portal
from catalunya.io.sources.download import Downloaded, joined, typed
from catalunya.io.sources.extraction import PageRequest, Plan

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    import polars as pl
    from httpx import Headers

    from catalunya.io.periods import Window
    from catalunya.io.sources.base import HttpSettings
    from catalunya.io.sources.file_formats import Cut
    from catalunya.io.sources.http import Http, Reply

T = TypeVar("T")

Format = Literal["csv", "jsonl", "parquet"]
ENDINGS: dict[str, Format] = {
    "csv": "csv",
    "tsv": "csv",
    "txt": "csv",
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "parquet": "parquet",
}
_NAMED = re.compile(rf"(?i)\.({'|'.join(ENDINGS)})(?:\.(?:gz|zip))?$")
_OF_SOCRATA = re.compile(
    r"/resource/[a-z0-9]{4}-[a-z0-9]{4}\.csv$"
)  # the first rows of a dataset that is asked for page by page
BEGINNING = 64 * 1024  # bytes that hold the header of any CSV file
_TAIL_OF_ETAG = re.compile(r"(?:-{1,2}|;)(?:gzip|br|deflate)(?=$|-)")  # what compressing servers add to it


@dataclass(frozen=True, slots=True)
class File(Downloaded):
    """A table in one file: `File("https://example.org/stations.csv", delimiter=";", encoding="windows-1252")`.

    - `format`: csv, jsonl or parquet; by default as the URL ends. gzip and zip are recognized by the first bytes;
      `member`: which file of a zip archive, if it has several.
    - Of CSV: `delimiter`, `quote` (None: quotes are ordinary characters), `encoding`, `skip` (lines above the header), `header` (False:
      there is none), `names` (of all columns, in place of the header's; without either they are `column_1`, …), `null_values` (texts
      that stand for no value, such as `.`).

    How numbers and days are written is declared in the contract (`decimal`, `thousands`, `date`), as for any source.
    """

    address: str
    _: KW_ONLY
    format: Format | None = None  # filled in below
    delimiter: str = ","
    quote: str | None = '"'
    encoding: str = "utf-8"
    skip: int = 0
    header: bool = True
    names: tuple[str, ...] = ()
    null_values: tuple[str, ...] = ()
    member: str | None = None

    kind: ClassVar[str] = "file"
    pages_are: ClassVar[str] = "records of a file"

    def __post_init__(self) -> None:
        url = urlsplit(self.address)
        check_portal(f"{url.scheme}://{url.netloc}")
        named = _NAMED.search(url.path)
        if self.format is None:
            if not named:
                raise DeclarationError(
                    f"{self.describe()}: expected `format` (csv, jsonl or parquet), because the URL does not end with one; declare it"
                )
            object.__setattr__(self, "format", ENDINGS[named[1].lower()])
            if named[1].lower() == "tsv" and self.delimiter == ",":
                object.__setattr__(self, "delimiter", "\t")
        if flaws := list(self._flaws()):
            raise DeclarationError(
                f"{self.describe()}: expected {'; '.join(flaws)}; correct the declaration of the source"
            )

    def _flaws(self) -> Iterator[str]:
        if self.format not in set(ENDINGS.values()):
            yield f"`format` csv, jsonl or parquet, found {self.format!r}"
        for name, text in (("delimiter", self.delimiter), ("quote", self.quote)):
            if text is not None and (len(text) != 1 or text in "\r\n" or text.isalnum() or not text.isascii()):
                yield f"`{name}` to be one ASCII sign, found {text!r}"
        if self.delimiter == self.quote:
            yield f"`delimiter` and `quote` to differ, found {self.quote!r} for both"
        if self.skip < 0:
            yield f"`skip` of 0 or more, found {self.skip}"
        for name, texts in (("names", self.names), ("null_values", self.null_values)):
            given: object = texts  # a string, if a comma was forgotten
            if not isinstance(given, tuple) or not all(isinstance(each, str) for each in given):
                yield f"`{name}` as a tuple of texts, found {given!r}"
        if len(set(self.names)) < len(self.names):
            yield f"`names` once each, found {self.names!r}"
        try:
            if codecs.lookup(self.encoding).name.startswith(("utf-16", "utf-32")):
                yield f"`encoding` that extends ASCII, found {self.encoding}, which cannot be cut into pages"
        except LookupError:
            yield f"`encoding` known to Python, found {self.encoding!r}"
        if self.format != "csv" and (changed := [n for n, default in _OF_CSV.items() if getattr(self, n) != default]):
            yield f"{', '.join(changed)} for CSV only, found them for {self.format}"

    @property
    def portal(self) -> str:  # type: ignore[override]
        """The host of the file."""
        url = urlsplit(self.address)
        return f"{url.scheme}://{url.netloc}"

    @property
    def path(self) -> str:
        """The address without the host."""
        return self.address.partition("#")[0].removeprefix(self.portal)

    @property
    def decoding(self) -> str:
        """The encoding to read with: a byte order mark is no text."""
        return "utf-8-sig" if codecs.lookup(self.encoding).name == "utf-8" else self.encoding

    @classmethod
    def recognize(cls, address: str) -> Self | None:
        """A URL that ends in .csv, .tsv, .txt, .jsonl, .ndjson or .parquet, with .gz or .zip behind it or not."""
        url = urlsplit(address)
        is_file = url.scheme in {"http", "https"} and "@" not in url.netloc and _NAMED.search(url.path)
        return cls(address) if is_file and url.netloc and not _OF_SOCRATA.search(url.path) else None

    def describe(self) -> str:
        return f"file {self.address.partition('?')[0]}"

    def url(self, base_url: str) -> str:
        return f"{base_url.rstrip('/')}{self.path}"

    def connect(self, http: HttpSettings) -> AbstractContextManager[Http]:
        from catalunya.io.sources.http import connect

        return connect(http, self.describe())

    def about(self, client: Http) -> Sequence[About]:
        """What the file and its headers say, by one request. Rows are known when all are read."""
        state = self.read_state(client)
        fields = tuple(FieldInfo(name, kind) for name, kind in state.fields.items())
        name = urlsplit(self.address).path.rpartition("/")[2]
        return [About(name, name, state.updated_at, fields, self.address, rows=state.rows)]

    def probe(self, http: HttpSettings, known: str | None = None) -> SourceState | None:
        """As for every source; of a file that has not changed, no more than the beginning is read."""
        with self.connect(http) as client:
            if known is not None and self._beginning(client).version == known:
                return None
            state = self.read_state(client)
        return None if state.version == known else state

    def read_state(self, client: Http) -> SourceState:
        """The file's state: of CSV by its beginning, of other formats by all of it, because fields may appear anywhere."""
        start = self._beginning(client)
        if start.version and start.fields:
            return SourceState(start.version, start.updated_at, start.fields)
        with self.spooled(client) as spool:
            whole = self._download(client, spool)
            fields, rows = self._surveyed(spool, client.settings)
        return SourceState(whole.version, whole.updated_at, typed(fields), rows)

    def plan(self, client: Http, state: SourceState, window: Window | None) -> Plan[PageRequest]:
        """The first page, for a sample: `extract` reads the whole file by one request."""
        self.refuse(window)
        return Plan(
            state, [PageRequest("page-00000", self.path, {}, client.settings.page_rows)], client.settings.page_rows
        )

    def fetch(self, client: Http, request: PageRequest) -> tuple[Page, Reply]:
        """The first page of the file, by a download of all of it."""
        from catalunya.io.sources.file_formats import Cut
        from catalunya.io.sources.http import Reply

        with self.spooled(client) as spool:
            start = self._download(client, spool)
            first = _first(self.cuts(spool, client.settings))
        first = first or Cut(b"", 0, {})
        reply = Reply(client.address(request.path), 200, start.headers, first.body)
        return self.page(client, 0, first), reply

    def read(self, body: bytes, fields: Sequence[str], searched: int) -> pl.DataFrame:
        from catalunya.io.sources.file_formats import read

        return read(body, self, fields, searched)

    def download(self, client: Http, spool: BinaryIO) -> SourceState:
        """All of the file; its state is that of exactly these bytes where the server gives none.

        Servers that share a file may each give it an ETag of their own: what is the same twice has not changed.
        """
        start = self._download(client, spool)
        end = self._beginning(client) if start.is_stamped else start
        if end.version != start.version:
            with self.spooled(client) as again:
                self._download(client, again)
                if _digest_of(again) != _digest_of(spool):
                    raise MovedError(f"expected version {start.version} throughout, found {end.version} at the end")
        return SourceState(start.version, start.updated_at, start.fields)

    def page(self, client: Http, number: int, cut: Cut) -> Page:
        """A page, whose address is that of the file with the number of the page."""
        digest = hashlib.sha256(cut.body).hexdigest()
        name, url = f"page-{number:05}.{self.format}", f"{client.address(self.path)}#page={number}"
        return Page(name, url, cut.rows, len(cut.body), digest)

    def _beginning(self, client: Http) -> _Start:
        """What the headers say, and of CSV the fields; an empty version if only the whole file tells."""

        def accept(reply: Reply) -> _Start:
            from catalunya.io.sources.file_formats import first_fields

            start = _Start.of(reply)
            if self.format == "csv" and reply.body[:2] != b"PK":
                is_all = len(reply.body) < BEGINNING
                start.fields = _checked(lambda: first_fields(reply.body, self, is_all=is_all))
                if not start.is_stamped and is_all:
                    start.version = _digest(reply.body)
            return start

        return client.get(self.path, accept, first=BEGINNING)

    def _download(self, client: Http, spool: BinaryIO) -> _Start:
        """All of the file, and its version, which is of exactly these bytes where the server gives none."""

        def accept(reply: Reply) -> _Start:
            from catalunya.io.sources.file_formats import check_text

            start = _Start.of(reply)
            spool.seek(0)
            if self.format != "parquet":
                _checked(lambda: check_text(spool.read(512), may_be_packed=True))
                spool.seek(0)
            if not start.is_stamped:
                start.version = _digest_of(spool)
            return start

        return client.download(self.path, accept, spool)

    def cuts(self, spool: BinaryIO, http: HttpSettings) -> Iterator[Cut]:
        """The pages of a downloaded file. Raises SourceError, which names the file."""
        from catalunya.io.errors import SourceError
        from catalunya.io.sources.archives import unpacked
        from catalunya.io.sources.file_formats import cut

        try:
            yield from cut(unpacked(spool, self, http.scratch), self, http.page_rows)
        except ContractError as flaw:
            raise SourceError(f"{self.describe()}: {flaw}") from None

    def _surveyed(self, spool: BinaryIO, http: HttpSettings) -> tuple[dict[str, str], int]:
        """The fields of all pages, and how many rows there are."""
        fields: dict[str, str] = {}
        rows = 0
        for cut in self.cuts(spool, http):
            fields, rows = joined(fields, cut.fields), rows + cut.rows
        return fields, rows


_OF_CSV = {
    "delimiter": ",", "quote": '"', "encoding": "utf-8", "skip": 0, "header": True, "names": (), "null_values": (),
}  # fmt: skip


@dataclass(slots=True)
class _Start:
    """What the headers of an answer say of a file. `version` is empty where they do not say whether it changed."""

    version: str
    updated_at: datetime
    headers: Headers
    fields: dict[str, str]

    @property
    def is_stamped(self) -> bool:
        """Whether the server says which version this is."""
        return bool(_version(self.headers))

    @classmethod
    def of(cls, reply: Reply) -> _Start:
        """By the headers. A file of unknown age is as old as our knowledge of this version."""
        modified = _modified(reply.headers) or datetime.now(UTC)
        return cls(_version(reply.headers), modified, reply.headers, {})


def _first(cuts: Iterator[Cut]) -> Cut | None:
    """The first page with rows, else one without."""
    empty = None
    for cut in cuts:
        if cut.rows:
            return cut
        empty = cut
    return empty


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _digest_of(spool: BinaryIO) -> str:
    spool.seek(0)
    return hashlib.file_digest(spool, "sha256").hexdigest()[:16]  # type: ignore[arg-type]


def _version(headers: Mapping[str, str]) -> str:
    """By the ETag, else by Last-Modified; empty without either."""
    etag = headers.get("etag", "").removeprefix("W/").strip('"')
    if etag := _TAIL_OF_ETAG.sub("", etag):
        return _digest(etag.encode())
    modified = _modified(headers)
    return f"{modified:%Y-%m-%dT%H:%M:%SZ}" if modified else ""


def _modified(headers: Mapping[str, str]) -> datetime | None:
    """Last-Modified; None if it is the time of the answer, as servers give for what they make on request (RFC 9110, 8.8.2.2)."""
    modified, now = _date(headers.get("last-modified", "")), _date(headers.get("date", ""))
    return None if modified and now and modified > now - timedelta(seconds=2) else modified


def _date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    return date.astimezone(UTC) if date.tzinfo else date.replace(tzinfo=UTC)


def _checked(check: Callable[[], T]) -> T:
    """What the check returns. Raises BadBodyError for what it refuses: another answer may be better."""
    try:
        return check()
    except ContractError as flaw:
        raise BadBodyError(str(flaw), str(flaw)) from flaw

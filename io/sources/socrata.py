"""Socrata (SODA 2): whether a dataset changed, and its rows as raw pages that are all of one state.

What any HTTP API needs is in http.py; where pages are kept is the sink's affair, and what the columns mean is
the contract's. Importing this loads no HTTP client: assets are declared with it.
"""

from __future__ import annotations

import asyncio
import codecs
import hashlib
import re
import textwrap
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, ClassVar, TypeVar

import msgspec
import structlog

from catalunya.io.errors import DeclarationError, SourceError, UsageError
from catalunya.io.sources.base import BadBodyError, NothingLanded, Page, SourceState
from catalunya.io.sources.passes import extracted, until_of_one_state

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractAsyncContextManager

    from catalunya.io.periods import Window
    from catalunya.io.sources.base import Extraction, HttpSettings, Landed, PageFormat, PageSink, Part, Progress
    from catalunya.io.sources.http import Http, Reply

log = structlog.get_logger(__name__)
T = TypeVar("T")

TOKEN_VARIABLE = "CATALUNYA_SOCRATA_APP_TOKEN"  # noqa: S105 - its name, not its value
TODO = {
    400: "Check the key and the period against the dataset's fields",
    401: f"Set {TOKEN_VARIABLE}, or correct it",
    403: f"Set {TOKEN_VARIABLE}, or correct it",
    404: "Check the dataset's id and the portal's address",
    429: f"Without {TOKEN_VARIABLE} all users of one address share a small allowance",
}
MOST_ROWS = 1_000_000_000
"""A larger count is no count: it would be two million pages even to ask for."""
BROKEN_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


@dataclass(frozen=True, slots=True)
class Socrata:
    """One dataset of a Socrata portal. `key`: the raw fields that name a row; pages are in their order.

    `period`: the raw text field that holds a row's year, by which a part of the table can be asked for.
    """

    dataset_id: str
    key: tuple[str, ...] = ()
    period: str | None = None

    kind: ClassVar[str] = "socrata"
    pages_are: ClassVar[PageFormat] = "rows"

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9]{4}-[a-z0-9]{4}", self.dataset_id):
            raise DeclarationError(
                f"A Socrata dataset is expected by an id like 'ivft-vegh', found {self.dataset_id!r}; "
                "take the last part of the dataset's address."
            )
        key: object = self.key  # a forgotten comma makes it a string
        if not isinstance(key, tuple) or not all(re.fullmatch(r"[a-z0-9_]+", str(name)) for name in key):
            raise DeclarationError(
                f"{self.describe()}: the key is expected as a tuple of raw field names, found {self.key!r}."
            )
        if self.period is not None and not re.fullmatch(r"[a-z0-9_]+", str(self.period)):
            raise DeclarationError(
                f"{self.describe()}: the period is expected as the name of one raw field, found {self.period!r}."
            )

    @property
    def has_periods(self) -> bool:
        return self.period is not None

    @property
    def order(self) -> str:
        """SODA promises no order, and without a total one pages overlap and miss rows; `:id` breaks ties."""
        return ",".join((*self.key, ":id"))

    def describe(self) -> str:
        return f"Socrata {self.dataset_id}"

    def url(self, base_url: str) -> str:
        return f"{base_url.rstrip('/')}/d/{self.dataset_id}"

    async def probe(self, http: HttpSettings, known: str | None = None) -> SourceState | None:
        """The dataset's state by one request for its metadata; None where it is still at version `known`."""
        async with self._connect(http) as client:
            state = await self._state(client)
        return None if state.version == known else state

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
        """Read every row as raw pages `page-00000.json`, ... into `sink`; a table without rows gives none.

        `count(*)` tells how many rows to expect. Where others come, or pages and metadata are not of one
        version throughout, all is read anew under the same names, at most twice; then `SourceChanged`. What is
        `landed` already is held against the same count, metadata and stamps as what is read now. With a `window`,
        which must be of whole years, only the rows whose `period` lies in it.
        """
        started_at = datetime.now(UTC)
        where = self._where(window)
        landed = landed or NothingLanded()
        async with self._connect(http) as client:
            total: int
            reading: _Reading

            async def read() -> str | None:
                nonlocal state, total, reading
                total = await self._count(client, where)
                reading = _Reading(self, client, where, http.page_rows, total, sink, progress, landed)
                await reading.run(http.concurrency, landed.of(state.version))
                after = await self._state(client)
                flaw = reading.flaw()
                if not flaw and after.version != state.version:
                    flaw = f"expected one version throughout, found {state.version}, then {after.version}"
                if flaw:
                    state = after
                return flaw

            await until_of_one_state(self, http, landed, read)
            requests = client.requests
        if reading.behind:
            # The portal says that the rows it served lag behind its metadata. Under a version of their own
            # the next probe does not take them for the newest.
            log.warning("source_behind", source=self.describe(), version=state.version)
            state = replace(state, version=f"{state.version}-behind")
        pages = [reading.pages[offset] for offset in sorted(reading.pages)]
        return extracted(self, replace(state, rows=total), pages, requests, started_at)

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
        """Read every n-th page: the ones far down, which cost the portal more, are everybody's alike."""
        where = self._where(window)
        async with self._connect(http) as client:
            total = await self._count(client, where)
            reading = _Reading(self, client, where, http.page_rows, total, sink, None, landed, part)
            await reading.run(http.concurrency, landed.of(state.version))

    @property
    def rows_path(self) -> str:
        """Where its rows are asked for."""
        return f"/resource/{self.dataset_id}.json"

    def _where(self, window: Window | None) -> dict[str, str]:
        """The parameter that asks for the window's years only; none without one. Raises UsageError where it cannot."""
        if window is None:
            return {}
        if self.period is None:
            raise UsageError(
                f"{self.describe()}: it was asked for {window} only, and it is not declared which of its fields "
                "says the year of a row. Read it whole."
            )
        first, last = window.first, window.last
        if (first.month, first.day) != (1, 1) or (last.month, last.day) != (12, 31):
            raise UsageError(
                f"{self.describe()}: whole years are expected, as its field {self.period} has years; found {window}. "
                "Ask from one year to another, as in 2014 to 2016."
            )
        sides = [f"{self.period} >= '{first.year}'"] if first != date.min else []
        sides += [f"{self.period} <= '{last.year}'"] if last != date.max else []
        return {"$where": " and ".join(sides)} if sides else {}

    async def _count(self, client: Http, where: Mapping[str, str]) -> int:
        return await client.get(self.rows_path, _accept_count, {"$select": "count(*) as total", **where})

    def _connect(self, http: HttpSettings) -> AbstractAsyncContextManager[Http]:
        from catalunya.io.sources.http import connect

        headers = {"X-App-Token": http.app_token} if http.app_token else None
        return connect(http, self.describe(), headers=headers, explain=_explain)

    async def _state(self, client: Http) -> SourceState:
        view = await client.get(f"/api/views/{self.dataset_id}.json", _accept_view)
        updated = view.rows_updated_at or view.view_last_modified
        if updated is None or not view.columns:
            raise SourceError(
                f"{self.describe()}: its metadata were expected to tell columns and rowsUpdatedAt, found "
                f"{len(view.columns)} columns and {updated}. Is it a table, and not a chart, a map or a link?"
            )
        # Fields that begin with ":" are the portal's own: row ids, and polygons it computes for its maps.
        columns = {c.field_name: c.data_type_name for c in view.columns if not c.field_name.startswith(":")}
        listed = "".join(f"{name}\t{kind}\n" for name, kind in sorted(columns.items()))
        digest = hashlib.sha256(listed.encode()).hexdigest()[:8]
        try:
            updated_at = datetime.fromtimestamp(updated, UTC)
        except (ValueError, OverflowError, OSError):
            raise SourceError(
                f"{self.describe()}: its metadata were expected to tell rowsUpdatedAt in seconds since 1970, found "
                f"{updated}, which is no date. See what became of the dataset."
            ) from None
        return SourceState(f"{updated}-{digest}", updated_at, columns)


@dataclass(slots=True)
class _Reading:
    """One pass over the table: pages read concurrently, written, held against each other and the count."""

    source: Socrata
    client: Http
    where: Mapping[str, str]
    page_rows: int
    total: int
    sink: PageSink
    progress: Progress | None
    landed: Landed
    part: Part | None = None  # of all pages, where others read the rest
    pages: dict[int, Page] = field(default_factory=dict)  # by offset
    received: int = 0
    stamps: set[str] = field(default_factory=set)
    behind: bool = False

    async def run(self, concurrency: int, have: Mapping[str, Page]) -> None:
        # The last page is shorter than the others, or empty: no row beyond the count hides behind a full one.
        numbers = range(self.total // self.page_rows + 1)
        mine = (number * self.page_rows for number in numbers if not self.part or self.part.has(number))
        offsets = iter([at for at in mine if not self._has(at, have)])
        failures: tuple[Exception, ...] = ()
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(concurrency, self.total // self.page_rows + 1)):
                    group.create_task(self._work(offsets))
        except ExceptionGroup as caught:
            failures = caught.exceptions
        if failures:
            raise failures[0]  # as it is: the caller knows nothing of groups

    async def _work(self, offsets: Iterator[int]) -> None:
        """One page after another: there are as many pages in memory as workers."""
        for offset in offsets:
            if len(self.stamps) > 1:
                return  # this pass is lost; writes under way end before those of the next pass begin
            await self._read(offset)

    def _has(self, offset: int, have: Mapping[str, Page]) -> bool:
        """Take the page of an earlier attempt, where it is the answer to this very question."""
        page = have.get(self.client.address(self.source.rows_path, self._params(offset)))
        if page is None or page.rows != min(self.page_rows, self.total - offset):
            return False
        self._count(offset, page)
        return True

    async def _read(self, offset: int) -> None:
        checked = await self.client.get(self.source.rows_path, _accept_page, self._params(offset))
        headers, body = checked.reply.headers, checked.reply.body
        page = Page(
            self._name(offset),
            checked.reply.url,
            checked.rows,
            len(body),
            checked.sha256,
            stamp=headers.get("x-soda2-truth-last-modified") or headers.get("last-modified") or "",
            behind=headers.get("x-soda2-data-out-of-date", "").lower() == "true",
        )
        is_proof = offset == self.total and not checked.rows  # of the end, not a page
        if not is_proof:
            await self.sink(page.name, checked.reply.pieces())
            await self.landed.add(page)
        self._count(offset, page, is_proof=is_proof)

    def _name(self, offset: int) -> str:
        return f"page-{offset // self.page_rows:05}.json"

    def _params(self, offset: int) -> dict[str, str]:
        return {"$limit": str(self.page_rows), "$offset": str(offset), "$order": self.source.order, **self.where}

    def _count(self, offset: int, page: Page, *, is_proof: bool = False) -> None:
        if page.stamp:
            self.stamps.add(page.stamp)
        self.behind |= page.behind
        self.received += page.rows
        if is_proof:
            return
        self.pages[offset] = page
        if self.progress:
            self.progress(sum(page.rows for page in self.pages.values()), self.total)

    def flaw(self) -> str | None:
        """Why these pages are not one whole state of the table; None where they are."""
        if len(self.stamps) > 1:
            return f"expected pages of one state, found pages of {' and of '.join(sorted(self.stamps))}"
        if self.received != self.total:
            return f"expected {self.total} rows by count(*), received {self.received}"
        for offset, page in self.pages.items():
            if page.rows != (expected := min(self.page_rows, self.total - offset)):
                return f"expected {expected} of {self.total} rows at offset {offset}, received {page.rows}"
        return None


class _Column(msgspec.Struct, rename="camel"):
    field_name: str
    data_type_name: str


class _View(msgspec.Struct, rename="camel"):
    columns: list[_Column] = []
    rows_updated_at: int | None = None  # seconds since 1970
    view_last_modified: int | None = None


class _Count(msgspec.Struct):
    total: str | int  # numbers are strings in SODA


class _Refusal(msgspec.Struct, rename="camel"):
    """Both shapes of an error: the portal's own has `code`, the query coordinator's has `errorCode`."""

    message: str = ""
    code: str = ""
    error_code: str = ""


class _Row(msgspec.Struct, gc=False):
    """Any object. Its fields are read through as JSON and kept nowhere: 50,000 rows in 10 ms."""


@dataclass(frozen=True, slots=True)
class _Checked:
    reply: Reply
    rows: int
    sha256: str


def _accept_page(reply: Reply) -> _Checked:
    """The page, if it is a whole JSON array of objects; the one pass over it also counts its rows."""
    rows = len(_decode(reply.body, list[_Row]))
    # What msgspec skips it does not check as UTF-8. By pieces, as the page in whole would be a second copy.
    utf8 = codecs.getincrementaldecoder("utf-8")()
    view = memoryview(reply.body)
    try:
        for start in range(0, len(view), 65536):
            utf8.decode(view[start : start + 65536])
        utf8.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise BadBodyError(f"not UTF-8: {error.reason}") from error
    return _Checked(reply, rows, hashlib.sha256(view).hexdigest())


def _accept_count(reply: Reply) -> int:
    counts = _decode(reply.body, list[_Count])
    told = str(counts[0].total) if len(counts) == 1 else ""
    if not re.fullmatch(r"[0-9]{1,20}", told) or int(told) > MOST_ROWS:
        raise BadBodyError(f"expected one count, of at most {MOST_ROWS:,}, found {bytes(reply.body[:100])!r}")
    return int(told)


def _accept_view(reply: Reply) -> _View:
    return _decode(reply.body, _View)


def _decode(body: bytearray, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except BROKEN_JSON as error:
        raise BadBodyError(f"{error}; {len(body)} bytes, beginning {bytes(body[:60])!r}") from error


def _explain(reply: Reply) -> str:
    """What the portal says in a refusal, whose body need not be JSON, and what to do about it."""
    try:
        refusal = msgspec.json.decode(reply.body, type=_Refusal)
    except BROKEN_JSON:
        refusal = _Refusal(message=reply.excerpt())
    code = refusal.code or refusal.error_code
    said = refusal.message if code in refusal.message else f"{code}: {refusal.message}"
    todo = TODO.get(reply.status)
    return f"{textwrap.shorten(said, 300, placeholder=' …')}{f'. {todo}' if todo else ''}"

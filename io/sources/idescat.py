"""IDESCAT's tables (API taules v2): whether they changed, and their cells as raw pages that are all of one state.

What any HTTP API needs is in http.py, how a page is laid out in jsonstat.py; what the columns mean is the contract's.
Importing this loads no HTTP client and no polars: assets are declared with it.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import deque
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import msgspec
import structlog

from catalunya.io.errors import DeclarationError, SourceError, UsageError
from catalunya.io.sources.base import BadBodyError, NothingLanded, Page, SourceState
from catalunya.io.sources.jsonstat import moment
from catalunya.io.sources.passes import extracted, until_of_one_state
from catalunya.io.sources.taules import (
    API,
    INTERNAL,
    MAX_ADDRESS,
    MAX_CELLS,
    TOO_LARGE,
    MovedError,
    Question,
    Table,
    TooLargeError,
    accept_cells,
    accept_table,
    api_error,
    explain,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from catalunya.io.periods import Window
    from catalunya.io.sources.base import Extraction, HttpSettings, Landed, PageFormat, PageSink, Part, Progress
    from catalunya.io.sources.http import Http, Reply

log = structlog.get_logger(__name__)

TIMEOUTS = 2  # of the gateway (504) or ours, until a question counts as too large: a large one never succeeds


@dataclass(frozen=True, slots=True, init=False)
class Idescat:
    """Tables of one statistic, read as one source: `Idescat("ep/9122/10002/mun")` (statistic/node/table/territory)."""

    tables: tuple[str, ...]

    kind: ClassVar[str] = "idescat"
    pages_are: ClassVar[PageFormat] = "json-stat"

    def __init__(self, *tables: str) -> None:
        object.__setattr__(self, "tables", tables)
        wrong = [table for table in tables if not re.fullmatch(r"[a-z0-9]+/\d+/\d+/[a-z]+", str(table))]
        if wrong or not tables or len(set(tables)) != len(tables):
            raise DeclarationError(
                "Tables of IDESCAT are expected as 'ep/9122/10002/mun' (statistic/node/table/territory), at least one and "
                f"each once; found {', '.join(map(repr, wrong or tables)) or 'none'}. Take them from the table's address."
            )

    @property
    def has_periods(self) -> bool:
        return True

    def describe(self) -> str:
        return f"IDESCAT {' and '.join(self.tables)}"

    def url(self, base_url: str) -> str:
        return f"{base_url.rstrip('/')}{API}/{self.tables[0]}"

    async def probe(self, http: HttpSettings, known: str | None = None) -> SourceState | None:
        """The tables' state by one request for the metadata of each; None where it is still at version `known`."""
        async with self._connect(http) as client:
            state = _state(await self._tables(client))
        return None if state.version == known else state

    async def extract(
        self,
        http: HttpSettings,
        state: SourceState,  # noqa: ARG002 - the metadata are asked anew, for their categories
        sink: PageSink,
        *,
        window: Window | None = None,
        progress: Progress | None = None,
        landed: Landed | None = None,
    ) -> Extraction:
        """Read every cell as raw pages `page-00000.json`, ... into `sink`, as few as the API's limit allows.

        A question that is too large after all is asked as two, whose pages are `page-00000a.json` and `page-00000b.json`.
        Where a page is not of the state that the metadata told, or they moved meanwhile, all is read anew, at most twice;
        then `SourceChanged`. With a `window`, only the periods that lie in it whole; `UsageError` where there are none.
        """
        started_at = datetime.now(UTC)
        landed = landed or NothingLanded()
        async with self._connect(http) as client:
            tables = await self._tables(client)
            reading: _Reading

            async def read() -> str | None:
                nonlocal tables, reading
                questions = self._questions(tables, min(MAX_CELLS, http.page_rows), window)
                version = _state(tables).version
                reading = _Reading(self, client, http, questions, sink, progress, landed, landed.of(version))
                await reading.run()
                after, flaw = await self._tables(client), reading.flaw
                if not flaw and _state(after).version != version:
                    flaw = f"expected one version throughout, found {version}, then {_state(after).version}"
                if flaw:
                    tables = after
                return flaw

            await until_of_one_state(self, http, landed, read)
            requests = client.requests
        pages = [reading.pages[name] for name in sorted(reading.pages)]
        return extracted(self, replace(_state(tables), rows=reading.total), pages, requests, started_at)

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
        """Ask every n-th question, with the halves that it may have to be asked as. None where the tables moved since `state`."""
        async with self._connect(http) as client:
            tables = await self._tables(client)
            if _state(tables).version != state.version:
                return
            questions = self._questions(tables, min(MAX_CELLS, http.page_rows), window)
            mine = [question for number, question in enumerate(questions) if part.has(number)]
            await _Reading(self, client, http, mine, sink, None, landed, landed.of(state.version)).run()

    def _connect(self, http: HttpSettings) -> AbstractAsyncContextManager[Http]:
        from catalunya.io.sources.http import connect

        return connect(http, self.describe(), explain=explain)

    async def _tables(self, client: Http) -> list[Table]:
        """The metadata of each table, one after the other: the API asks not to be pressed."""
        return [
            await client.get(f"{API}/{name}", partial(accept_table, self.describe(), name), {"lang": "ca"})
            for name in self.tables
        ]

    def _questions(self, tables: Sequence[Table], limit: int, window: Window | None) -> list[Question]:
        """What to ask for, in the order of the pages, none of more than `limit` cells."""
        wanted = [Question(table, codes) for table in tables if (codes := table.within(window))]
        if window is not None and not wanted:
            spans = [span for table in tables for span in table.periods()]
            has = f"{min(spans)[1]} to {max(spans)[1]}" if spans else "none"
            raise UsageError(
                f"{self.describe()}: no period of the table lies in the span {window}; it has {has}. Ask for one of those."
            )
        parts = [part for question in wanted if question.cells for part in question.parts(limit)]
        return [replace(part, page=f"page-{number:05}") for number, part in enumerate(parts)]


def _state(tables: Sequence[Table]) -> SourceState:
    newest = max(_utc(table.updated) for table in tables)
    told = [(table.name, table.updated, table.columns, table.codes) for table in tables]
    digest = hashlib.sha256(msgspec.json.encode(told)).hexdigest()[:8]
    fields = {name: kind for table in tables for name, kind in table.fields().items()}
    return SourceState(f"{newest:%Y-%m-%d}-{digest}", newest, fields, sum(table.cells for table in tables))


def _utc(updated: str) -> datetime:
    told = moment(updated)
    return told.astimezone(UTC) if told.tzinfo else told.replace(tzinfo=UTC)


@dataclass(slots=True)
class _Reading:
    """One pass over the tables: questions asked concurrently, the answers held against the metadata and written."""

    source: Idescat
    client: Http
    http: HttpSettings
    questions: Sequence[Question]
    sink: PageSink
    progress: Progress | None
    landed: Landed
    have: Mapping[str, Page]  # by address: what is landed of the same state
    pages: dict[str, Page] = field(default_factory=dict)
    flaw: str = ""  # why these pages are not one whole state of the tables
    _left: deque[Question] = field(default_factory=deque)
    _limits: dict[str, int] = field(default_factory=dict)  # cells of a table that are not too many, as far as is known
    _free: int = 0  # workers not at work

    @property
    def total(self) -> int:
        return sum(question.cells for question in self.questions)

    async def run(self) -> None:
        self._left.extend(self.questions)
        self._free = self.http.concurrency
        failures: tuple[Exception, ...] = ()
        try:
            async with asyncio.TaskGroup() as group:
                self._staff(group)
        except ExceptionGroup as caught:
            failures = caught.exceptions
        if failures:
            raise failures[0]  # as it is: the caller knows nothing of groups

    def _staff(self, group: asyncio.TaskGroup) -> None:
        """There are as many pages in memory as workers."""
        for _ in range(min(self._free, len(self._left))):
            self._free -= 1
            group.create_task(self._work(group))

    async def _work(self, group: asyncio.TaskGroup) -> None:
        # With a flaw this pass is lost; writes under way end before those of the next pass begin.
        while self._left and not self.flaw:
            question = self._left.popleft()
            if self._has(question):
                continue
            if self._was_split(question):
                self._split(question, "it was before, by the attempt that this one goes on from")
                self._staff(group)
                continue
            if question.cells > self._limits.get(question.table.name, MAX_CELLS):
                self._split(question, "as large as one that was not answered")
                continue
            try:
                await self._read(question)
            except TooLargeError as error:
                self._split(question, str(error))
                self._staff(group)
            except MovedError as error:
                self.flaw = str(error)
        self._free += 1

    def _has(self, question: Question) -> bool:
        """Take the page of an earlier attempt, where it is the answer to this very question."""
        page = self.have.get(self.client.address(question.path, question.params))
        if page is None or page.rows != question.cells:
            return False
        self._count(page)
        return True

    def _was_split(self, question: Question) -> bool:
        parts = (f"{question.page}a", f"{question.page}b")
        return question.cells > 1 and any(page.name.startswith(parts) for page in self.have.values())

    def _count(self, page: Page) -> None:
        self.pages[page.name] = page
        if self.progress:
            self.progress(sum(page.rows for page in self.pages.values()), self.total)

    def _split(self, question: Question, reason: str) -> None:
        """Ask for the two halves next; the table's other questions are cut to the same size without being asked."""
        table = question.table.name
        if question.cells == 1:
            raise SourceError(
                f"{self.source.describe()}: one cell of {table} was asked for, and refused as too many: {reason}. "
                "See whether the API still takes the dimensions as its filters."
            )
        halves = question.halves()
        self._left.extendleft(reversed(halves))
        self._limits[table] = min(self._limits.get(table, MAX_CELLS), max(half.cells for half in halves))
        log.warning("question_split", source=self.source.describe(), table=table, cells=question.cells, reason=reason)

    async def _read(self, question: Question) -> None:
        address = self.client.address(question.path, question.params)
        timeouts = 0

        def accept(reply: Reply) -> tuple[Reply, str]:
            return reply, accept_cells(self.source.describe(), question, reply)

        def refused(reply: Reply) -> None:
            nonlocal timeouts
            error = api_error(reply)
            if reply.status == 416 or error.code == TOO_LARGE:
                raise TooLargeError(explain(reply))
            timeouts += reply.status == 504
            if question.cells > 1 and timeouts >= min(TIMEOUTS, self.http.attempts):
                raise TooLargeError(f"{timeouts} times no answer in time")
            if error.code == INTERNAL and reply.status < 500:
                raise BadBodyError(f"error {explain(reply)}")

        ask = self.client.get if len(address) <= MAX_ADDRESS else self.client.post
        reply, sha256 = await ask(question.path, accept, question.params, refused=refused)
        page = Page(f"{question.page}.json", address, question.cells, len(reply.body), sha256)
        await self.sink(page.name, reply.pieces())
        await self.landed.add(page)
        self._count(page)

"""The HTTP client of every source: bounded concurrency, a rate, retries with back-off, a total deadline.

Nothing of one protocol belongs here (see socrata.py, idescat.py): a source hands in what an answer must be
like (`accept`), and how its refusals read (`explain`).
"""

from __future__ import annotations

import asyncio
import re
import ssl
import textwrap
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import httpx
import stamina
import structlog
from aiolimiter import AsyncLimiter
from stamina.instrumentation import RetryDetails, set_on_retry_hooks

from catalunya.io.errors import DeadlineReached, SourceError, SourceUnavailable
from catalunya.io.safe_text import safe_text
from catalunya.io.sources.base import BadBodyError, HttpSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

__all__ = ["BadBodyError", "Http", "HttpSettings", "Reply", "connect"]

log = structlog.get_logger(__name__)
T = TypeVar("T")

MAX_BODY = 256 * 1024 * 1024  # ten wide pages: a source that ignores the page size must not fill the memory
MAX_ERROR_BODY = 64 * 1024
BUSY = frozenset({202, 408, 425, 429})  # and 5xx; 202: the source is still preparing the answer
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
PIECE = 4 * 1024 * 1024  # bytes that a sink is given at a time


class _PassingError(Exception):
    """One attempt failed in a way that may pass; `retry_after`: seconds the source asked to wait."""

    def __init__(self, url: str, reason: str, retry_after: float | None = None) -> None:
        super().__init__(f"{url}: {reason}")
        self.url = url
        self.reason = safe_text(reason)  # it goes into logs, and may quote what the source said
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Reply:
    """One whole answer; `body` is after content-decoding, and `headers` are looked up in any case."""

    url: str
    status: int
    headers: httpx.Headers
    body: bytearray

    def excerpt(self, limit: int = 200) -> str:
        """The body as one line for a message: no mark-up, no line ends, at most `limit` characters."""
        text = bytes(self.body[: 16 * limit]).decode(errors="replace")
        text = re.sub(r"(?is)<(script|style)\b.*?</\1>|<[^>]*>", " ", text)
        return textwrap.shorten(text, limit, placeholder=" …")

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body for a sink, without a second copy of it whole."""
        view = memoryview(self.body)
        for start in range(0, len(view), PIECE):
            yield bytes(view[start : start + PIECE])


def _ordinary(_: Reply) -> None:
    """No refusal means anything special to the source."""


@asynccontextmanager
async def connect(
    settings: HttpSettings,
    what: str,
    *,
    headers: Mapping[str, str] | None = None,
    explain: Callable[[Reply], str] = Reply.excerpt,
) -> AsyncIterator[Http]:
    """One client for one piece of work, which ends by `settings.deadline_s` or raises `DeadlineReached`.

    `what` names the source in every message; `headers` go with every request and are shown nowhere; `explain`
    reads out of a refusal what the source says, and adds what to do about it.
    """
    client = httpx.AsyncClient(
        headers={"User-Agent": "catalunya-open-data-pipeline", **(headers or {})},
        verify=_tls(),
        timeout=settings.timeout_s,
        limits=httpx.Limits(max_connections=settings.concurrency),
        # A proxy of the environment is for the world outside, never for the mock API of this machine.
        mounts={f"all://{f'[{host}]' if ':' in host else host}": None for host in LOOPBACK},
    )
    http = Http(settings, what, client, explain)
    try:
        async with asyncio.timeout(settings.deadline_s) as deadline, client:
            yield http
    except TimeoutError as error:
        if not deadline.expired():
            raise  # somebody else's: a sink may know time-outs too
        trouble = f"; the last trouble was: {http.last_trouble}" if http.last_trouble else ""
        raise DeadlineReached(
            f"{what}: not finished within the deadline of {settings.deadline_s:g} s after {http.requests} "
            f"request(s) to {settings.base_url}{trouble}. Try again later, or allow more time."
        ) from error


class Http:
    """Requests to one source. Made by `connect`; `requests` counts what was sent, retries included."""

    def __init__(
        self, settings: HttpSettings, what: str, client: httpx.AsyncClient, explain: Callable[[Reply], str]
    ) -> None:
        self.requests = 0
        self.last_trouble = ""
        self._settings = settings
        self._what = what
        self._client = client
        self._explain = explain
        self._slots = asyncio.Semaphore(settings.concurrency)
        # Evenly spaced: a bucket of `requests_per_second` would let twice as many pass in the first second.
        self._rate = AsyncLimiter(1, 1 / settings.requests_per_second)
        self._ends_at = time.monotonic() + settings.deadline_s
        self._paused_until = 0.0

    async def get(
        self,
        path: str,
        accept: Callable[[Reply], T],
        params: Mapping[str, str] | None = None,
        *,
        refused: Callable[[Reply], None] = _ordinary,
    ) -> T:
        """GET `path` below the base address and return what `accept` makes of the answer.

        `accept` runs in a worker thread, after status 200; it raises `BadBodyError` to have it asked again.
        `refused` sees every answer of another status first, and an empty 504 where none came in time: it raises what
        its caller wants to handle itself, or `BadBodyError`, or nothing. Raises `SourceUnavailable` when every
        attempt failed, `SourceError` when the source refuses.
        """
        return await self._request("GET", self.address(path, params), accept, refused, None)

    async def post(
        self,
        path: str,
        accept: Callable[[Reply], T],
        form: Mapping[str, str],
        *,
        refused: Callable[[Reply], None] = _ordinary,
    ) -> T:
        """The same by POST with a form, for questions too long for an address; it is retried as a GET is."""
        return await self._request("POST", self.address(path), accept, refused, form)

    def address(self, path: str, params: Mapping[str, str] | None = None) -> str:
        """The whole address of a GET."""
        address = f"{self._settings.base_url.rstrip('/')}/{path.lstrip('/')}"
        # `$`, `,`, `:` and brackets may stand in a query: the address reads as a person would write it.
        return f"{address}?{urlencode(params, safe='$,:()*', quote_via=quote)}" if params else address

    async def _request(
        self,
        method: str,
        url: str,
        accept: Callable[[Reply], T],
        refused: Callable[[Reply], None],
        form: Mapping[str, str] | None,
    ) -> T:
        settings = self._settings
        number = 0
        try:
            async for attempt in stamina.retry_context(
                on=self._worth_retrying,
                attempts=settings.attempts,
                timeout=None,  # the deadline covers all requests together
                wait_initial=settings.backoff_initial_s,
                wait_max=settings.backoff_max_s,
                wait_jitter=settings.backoff_jitter_s,
            ):
                with attempt:
                    number = attempt.num
                    return await self._attempt(method, url, accept, refused, form)
        except _PassingError as failure:
            raise self._given_up(failure, number) from failure
        raise AssertionError("retries end by an answer or by an error")

    async def _attempt(
        self,
        method: str,
        url: str,
        accept: Callable[[Reply], T],
        refused: Callable[[Reply], None],
        form: Mapping[str, str] | None,
    ) -> T:
        try:
            reply = await self._answer(method, url, form)
        except _PassingError as failure:
            if isinstance(failure.__cause__, httpx.ReadTimeout):  # a gateway's patience may be longer than ours
                refused(Reply(url, 504, httpx.Headers(), bytearray()))
            raise
        try:
            if reply.status == 200:
                return await asyncio.to_thread(accept, reply)
            refused(reply)
            raise self._refusal(method, reply)
        except BadBodyError as error:
            trouble = f"a broken answer ({error})"
        del reply  # a page's worth of memory, which the wait and the next attempt can do without
        raise _PassingError(url, trouble)

    async def _answer(self, method: str, url: str, form: Mapping[str, str] | None) -> Reply:
        async with self._slots:
            await self._turn()
            self.requests += 1
            began = time.perf_counter()
            try:
                async with self._client.stream(method, url, data=form) as response:
                    body = await self._body(response, url)
            except httpx.RequestError as error:
                # Without its frames: they hold what came of the body.
                raise _PassingError(url, _reason(error, self._settings)) from error.with_traceback(None)
        reply = Reply(url, response.status_code, response.headers, body)
        seconds = round(time.perf_counter() - began, 3)
        log.debug("http_answer", url=url, status=reply.status, bytes=len(body), seconds=seconds)
        return reply

    def _refusal(self, method: str, reply: Reply) -> Exception:
        if reply.status in BUSY or reply.status >= 500:
            return _PassingError(reply.url, self._said(reply), _retry_after(reply.headers))
        return SourceError(
            f"{self._what}: {method} {reply.url} was expected to answer 200 OK, found {self._said(reply)}"
        )

    async def _turn(self) -> None:
        """Wait for this request's turn: after the pause that the source asked for, and by the rate."""
        while (wait := self._paused_until - time.monotonic()) > 0:  # noqa: ASYNC110 - it may be prolonged
            await asyncio.sleep(wait)
        await self._rate.acquire()

    async def _body(self, response: httpx.Response, url: str) -> bytearray:
        body = bytearray()  # grows in place: joining a list of pieces would hold the page twice
        async for piece in response.aiter_bytes():
            body += piece
            if response.status_code != 200 and len(body) > MAX_ERROR_BODY:
                break
            if len(body) > MAX_BODY:
                raise SourceError(
                    f"{self._what}: {url} was expected to answer one page, found more than "
                    f"{MAX_BODY // 2**20} MiB. Ask for fewer rows a page."
                )
        return body

    def _worth_retrying(self, error: Exception) -> bool | float:
        """Stamina's hook: whether to try again, or the wait in seconds where the source named one."""
        if not isinstance(error, _PassingError):
            return False
        self.last_trouble = str(error)
        if not error.retry_after:
            return True
        if error.retry_after >= self._left():
            return False  # sleeping towards a deadline that cannot be met would only cost time
        # It is the client who was told to wait, so its other requests wait too.
        self._paused_until = max(self._paused_until, time.monotonic() + error.retry_after)
        return error.retry_after

    def _left(self) -> float:
        return max(self._ends_at - time.monotonic(), 0.0)

    def _said(self, reply: Reply) -> str:
        told = self._explain(reply)
        to = f". It points to {reply.headers.get('location')}: correct the address"
        moved = to if 300 <= reply.status < 400 else ""
        return f"{_status(reply.status)}{': ' if told else ''}{told}{moved}"

    def _given_up(self, failure: _PassingError, attempts: int) -> SourceUnavailable:
        if isinstance(failure.__cause__, httpx.ConnectError):
            base_url = self._settings.base_url
            local = urlsplit(base_url).hostname in LOOPBACK
            todo = "is the mock running? `catalunya mock`" if local else "check the network and the address"
            return SourceUnavailable(
                f"{self._what}: nothing answers at {base_url} ({failure.reason}; {attempts} attempts); {todo}"
            )
        if failure.retry_after and failure.retry_after >= self._left():
            return SourceUnavailable(
                f"{self._what}: {failure.url} asks to wait {failure.retry_after:g} s ({failure.reason}), "
                f"and only {self._left():.1f} s are left of the deadline. Try again after that wait."
            )
        return SourceUnavailable(
            f"{self._what}: {failure.url} was expected to answer 200 OK, found at the last of "
            f"{attempts} attempts: {failure.reason}. Try again later."
        )


@cache
def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context()  # 20 ms, as much as a small extraction takes: once a process


def _status(code: int) -> str:
    try:
        return f"{code} {HTTPStatus(code).phrase}"
    except ValueError:
        return str(code)


def _reason(error: httpx.RequestError, settings: HttpSettings) -> str:
    if isinstance(error, httpx.ConnectTimeout):
        return f"no connection within {settings.timeout_s:g} s"
    if isinstance(error, httpx.TimeoutException):
        return f"no answer within {settings.timeout_s:g} s"
    if isinstance(error, httpx.LocalProtocolError):
        return type(error).__name__  # its text may quote a header, and headers carry tokens
    if isinstance(error, httpx.RemoteProtocolError):
        return f"cut off: {error}"
    return str(error) or type(error).__name__


def _retry_after(headers: httpx.Headers) -> float | None:
    """Seconds by `Retry-After`, which is a number or a date (RFC 9110, 10.2.3); None if it cannot be read."""
    text = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    until = _date(text)
    # The date is by the source's clock, which need not agree with ours.
    now = _date(headers.get("date", "")) or datetime.now(UTC)
    return max((until - now).total_seconds(), 0.0) if until else None


def _date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def _log_retry(details: RetryDetails) -> None:
    cause, url, reason = details.caused_by, details.name, repr(details.caused_by)
    if isinstance(cause, _PassingError):
        url, reason = cause.url, cause.reason
    wait_s = round(details.wait_for, 3)
    log.warning("http_retry", url=url, attempt=details.retry_num, wait_s=wait_s, reason=reason)


# Stamina's own line tells neither the address nor the reason; nothing else in this package retries by it.
set_on_retry_hooks([_log_retry])

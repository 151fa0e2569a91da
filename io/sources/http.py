"""The HTTP client of every source: bounded concurrency, a rate limit, retries with backoff, a total deadline.

Here: everything about sending a request. Not here: anything specific to one protocol (`socrata.py`, `idescat.py`): a source passes in
how to check an answer (`accept`) and how to read a refusal (`explain`).
"""

from __future__ import annotations

import random
import re
import socket
import ssl
import textwrap
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO, Generic, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import httpcore
import httpx
import msgspec

from catalunya.io.errors import BadBodyError, DeadlineReached, SourceError, SourceUnavailable
from catalunya.io.json_text import BROKEN_JSON, json_decoder, whole_characters
from catalunya.io.log import get_logger
from catalunya.io.project_folder import active
from catalunya.io.safe_text import safe_text
from catalunya.io.sources import recording, traffic
from catalunya.io.sources.base import HttpSettings, Writable
from catalunya.io.sources.pace import PACES
from catalunya.io.sources.retry_after import seconds_to_wait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["BadBodyError", "Http", "HttpSettings", "Reply", "connect"]

log = get_logger(__name__)
T = TypeVar("T")

MAX_BODY = 256 * 1024 * 1024  # ten wide pages: a source that ignores the page size must not fill up the memory
MAX_ERROR_BODY = 64 * 1024
BUSY = frozenset({202, 408, 425, 429})  # and 5xx; 202: the source is still preparing the answer
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_STARTS = {
    b"\x1f\x8b": "expected JSON, found gzip that no header announced",
    b"PK\x03\x04": "expected JSON, found a ZIP archive",
    b"\xef\xbb\xbf": "expected JSON without a byte order mark, found one",
    b"\xff\xfe": "expected JSON in UTF-8, found UTF-16",
    b"\xfe\xff": "expected JSON in UTF-8, found UTF-16",
    b"\x00": "expected JSON, found zeros",
}
MAX_FILE = 32 * 1024**3  # bytes; a source that never ends must not fill up the disk

# By 64 KiB at a time, as is usual, a large page costs twice the CPU.
httpcore.HTTP11Connection.READ_NUM_BYTES = 1024 * 1024


class _RetryableError(Exception):
    """One attempt failed, and another may succeed; `retry_after`: seconds the source asked to wait."""

    def __init__(self, url: str, reason: str, retry_after: float | None = None) -> None:
        super().__init__(f"{url}: {reason}")
        self.url = url
        self.reason = safe_text(reason)  # it goes into logs, and may quote the source
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Reply:
    """One complete answer. `body` is already decompressed; `headers` ignore case."""

    url: str
    status: int
    headers: httpx.Headers
    body: bytes

    def decode(self, kind: type[T]) -> T:
        """The body, as JSON of this type. Raises BadBodyError if it is not."""
        try:
            return json_decoder(kind).decode(whole_characters(self.body))
        except BROKEN_JSON as error:
            is_whole = isinstance(error, msgspec.ValidationError | RecursionError) or "trailing characters" in str(
                error
            )
            shape = str(error) if is_whole else _something_else(self.body)
            begins = self.body[: 200 if shape else 60]
            raise BadBodyError(f"{shape or error}; {len(self.body)} bytes, beginning {begins!r}", shape) from error

    def excerpt(self, limit: int = 200) -> str:
        """The body as one line for a message: no markup, no line breaks, at most `limit` characters."""
        text = self.body[: 16 * limit].decode(errors="replace")
        text = re.sub(r"(?is)<(script|style)\b.*?</\1>|<[^>]*>", " ", text)
        return textwrap.shorten(text, limit, placeholder=" …")


@dataclass(slots=True)
class _Saved:
    """A body on its way into a file. `state`: what the server calls its content, if it can send the rest of it after a failure; never of a
    page, which is what a request answers now."""

    file: Writable
    is_page: bool = False
    state: str = ""
    stamps: tuple[str | None, ...] = ()

    def headers(self) -> dict[str, str] | None:
        """Ask for the rest only, unless the content has changed (RFC 9110, 13.1.5)."""
        return {"Range": f"bytes={self.file.tell()}-", "If-Range": self.state} if self.state else None

    def takes(self, status: int) -> bool:
        """Whether an answer with this status goes into the file."""
        return status == 200 or (status == 206 and not self.is_page)

    def content(self) -> bytes:
        """What was received so far."""
        self.file.seek(0)
        return self.file.read()

    def begin(self, response: httpx.Response) -> None:
        """Continue where the answer does, or start over."""
        headers, at = response.headers, self.file.tell()
        stamps = (headers.get("etag"), headers.get("last-modified"))
        is_rest = response.status_code == 206 and headers.get("content-range", "").startswith(f"bytes {at}-")
        # Not every server looks at If-Range: the rest may be that of another content.
        if is_rest and all(new in (None, old) for new, old in zip(stamps, self.stamps, strict=True)):
            return
        self.forget()
        self.stamps = stamps
        etag = headers.get("etag", "")
        can_continue = (
            not self.is_page and headers.get("accept-ranges") == "bytes" and "content-encoding" not in headers
        )
        self.state = (headers.get("last-modified", "") if etag[:2] in {"", "W/"} else etag) if can_continue else ""
        if response.status_code == 206:
            self.forget()
            found = f"{headers.get('content-range')} of {stamps[0] or stamps[1]}"
            raise _RetryableError(str(response.url), f"expected the bytes from {at} of the same content, found {found}")

    def forget(self) -> None:
        """Start over with the next answer."""
        self.state = ""
        self.file.seek(0)
        self.file.truncate()


@dataclass(frozen=True, slots=True)
class _Call(Generic[T]):
    """One request, which may be sent several times, and what to do with its answer."""

    method: str
    url: str
    accept: Callable[[Reply], T]
    refused: Callable[[Reply], None]
    form: Mapping[str, str] | None = None
    json: object = None
    first: int | None = None  # bytes after which the rest of the body is left unread
    into: _Saved | None = None  # where the body goes instead of into memory
    shapes: list[str] = field(default_factory=list)  # what was wrong with complete answers so far
    results: list[str] = field(default_factory=list)  # of each time it was sent


def _page(file: Writable | None) -> _Saved | None:
    return _Saved(file, is_page=True) if file else None


def _nothing_special(_: Reply) -> None:
    """No refusal has a special meaning to the source."""


@contextmanager
def connect(
    settings: HttpSettings,
    what: str,
    *,
    headers: Mapping[str, str] | None = None,
    explain: Callable[[Reply], str] = Reply.excerpt,
) -> Iterator[Http]:
    """A client for one job, which finishes within `settings.deadline_s` or raises `DeadlineReached`.

    `what` names the source in every message; `headers` are sent with every request and never shown; `explain` turns a refusal
    into the source's message and what to do about it.
    """
    client = httpx.Client(
        headers={"User-Agent": f"{active().name}-open-data-pipeline", **(headers or {})},
        verify=_tls(),
        limits=httpx.Limits(max_connections=settings.concurrency),
        # A proxy set in the environment is for the internet, never for the mock API on this machine.
        mounts={f"all://{f'[{host}]' if ':' in host else host}": None for host in LOOPBACK},
    )
    http = Http(settings, what, client, explain)
    timer = threading.Timer(settings.deadline_s, http.stop)
    timer.daemon = True
    try:
        with client:
            timer.start()
            yield http
    finally:
        timer.cancel()
        if settings.record:
            recording.write(settings.record, http.exchanges)


class Http:
    """Requests to one source, sent from any number of threads. Created by `connect`; `requests` counts the requests sent, retries
    included.

    Whatever it waits for, it waits no longer than until the deadline, and then raises `DeadlineReached`.
    """

    def __init__(
        self, settings: HttpSettings, what: str, client: httpx.Client, explain: Callable[[Reply], str]
    ) -> None:
        self.settings = settings
        self.requests = 0
        self.exchanges: list[recording.Exchange] = []  # if they are recorded
        self.last_failure = ""
        self._what = what
        self._client = client
        self._explain = explain
        self._slots = threading.Semaphore(settings.concurrency)
        self._lock = threading.Lock()
        self._streams: list[httpcore.NetworkStream] = []
        self._is_over = threading.Event()
        self._pace = PACES[settings.host]
        self._sender = traffic.current().sender(settings.host, settings.protocol)
        self._ends_at = time.monotonic() + settings.deadline_s

    def stop(self) -> None:
        """Have every request end at once, in whatever thread it is: the deadline is reached, or its answer is of no use any more."""
        self._is_over.set()
        with self._lock:
            for stream in self._streams:
                with suppress(OSError):  # closed by now, or not what is read any more
                    # Not SSLSocket's own, after which a reader would take what is still encrypted for text.
                    socket.socket.shutdown(stream.get_extra_info("socket"), socket.SHUT_RDWR)

    def wait(self, seconds: float) -> None:
        """Wait so long. Raises DeadlineReached."""
        self._is_over.wait(min(seconds, self._left()))
        self.check_deadline()

    def check_deadline(self) -> None:
        """Raise DeadlineReached if that is so."""
        if self._is_over.is_set() or not self._left():
            last = f"; last failure: {self.last_failure}" if self.last_failure else ""
            raise DeadlineReached(
                f"{self._what}: not finished within the deadline of {self.settings.deadline_s:g} s after {self.requests} "
                f"request(s) to {self.settings.base_url}{last}. Try again later, or raise CATALUNYA_HTTP_DEADLINE_S."
            )

    def get(
        self,
        path: str,
        accept: Callable[[Reply], T],
        params: Mapping[str, str] | None = None,
        *,
        refused: Callable[[Reply], None] = _nothing_special,
        first: int | None = None,
        into: Writable | None = None,
    ) -> T:
        """GET `path` below the base URL and return what `accept` makes of the answer.

        `accept` is called after status 200; it raises `BadBodyError` to have the request sent again, and only once
        if the answer is complete and has the wrong shape: the same a second time is a `SourceError`. `refused` sees
        every answer with another status first, and an empty 504 if none came in time: it raises what its caller wants to handle
        itself, or `BadBodyError`, or nothing. Raises `SourceUnavailable` when every attempt failed, `SourceError` when the source
        refuses. `first`: the rest is not read after about so many bytes. `into`: an empty file for the body of status 200, which the reply
        is without then.
        """
        return self._request(_Call("GET", self.address(path, params), accept, refused, first=first, into=_page(into)))

    def download(self, path: str, accept: Callable[[Reply], T], into: BinaryIO) -> T:
        """GET a file of any size into an empty local one; `accept` gets a reply without a body, and may read the file.

        A broken connection is continued if the server can do that, else the download starts over.
        """
        return self._request(_Call("GET", self.address(path), accept, _nothing_special, into=_Saved(into)))

    def post(
        self,
        path: str,
        accept: Callable[[Reply], T],
        form: Mapping[str, str] | None = None,
        *,
        json: object = None,
        refused: Callable[[Reply], None] = _nothing_special,
        into: Writable | None = None,
    ) -> T:
        """The same by POST with a form, for parameters too long for a URL, or with a JSON body; it is retried like a GET."""
        return self._request(_Call("POST", self.address(path), accept, refused, form, json, into=_page(into)))

    def address(self, path: str, params: Mapping[str, str] | None = None) -> str:
        """The full URL of a GET."""
        url = f"{self.settings.base_url.rstrip('/')}/{path.lstrip('/')}"
        # `$`, `,`, `:` and brackets are allowed in a query: unquoted, the URL is readable.
        return f"{url}?{urlencode(params, safe='$,:()*', quote_via=quote)}" if params else url

    def _request(self, call: _Call[T]) -> T:
        settings, number = self.settings, 1
        while True:
            try:
                return self._attempt(call)
            except _RetryableError as failure:
                self.last_failure, asked = str(failure), failure.retry_after or 0.0
                is_late = asked >= self._left()  # no use in waiting for a deadline that cannot be met
                if not is_late:
                    self._pace.pause(asked)
                if is_late or number == settings.attempts:
                    raise self._given_up(failure, number) from failure
                jitter = random.uniform(0, settings.backoff_jitter_s)  # noqa: S311 - no secret
                doubled = settings.backoff_initial_s * 2 ** (number - 1)
                wait_s = asked or min(settings.backoff_max_s, doubled + jitter)
                log.warning(
                    "http_retry", url=failure.url, attempt=number, wait_s=round(wait_s, 3), reason=failure.reason
                )
            self.wait(wait_s)
            self._sender.retried(call.method, call.results[-1])
            number += 1

    def _attempt(self, call: _Call[T]) -> T:
        try:
            reply = self._answer(call)
        except _RetryableError as failure:
            if isinstance(failure.__cause__, httpx.ReadTimeout):  # a gateway may wait longer than we do
                call.refused(Reply(call.url, 504, httpx.Headers(), b""))
            raise
        try:
            if call.into.takes(reply.status) if call.into else reply.status == 200:
                return call.accept(reply)
            call.refused(reply)
            if call.into and call.into.state and reply.status == 416:  # the content is shorter by now
                call.into.forget()
                raise _RetryableError(call.url, self._described(reply))
            raise self._refusal(call.method, reply)
        except BadBodyError as error:
            reason = f"invalid response body ({error})"
            if error.shape and error.shape in call.shapes:
                raise SourceError(
                    f"{self._what}: {call.url} answered twice with something else than expected: {error}. "
                    "Asking again would give the same: open the URL, and check the declaration and the API's URL"
                ) from None
            call.shapes.append(error.shape)
        del reply  # frees a page's worth of memory before the wait and the next attempt
        raise _RetryableError(call.url, reason)

    def _answer(self, call: _Call[T]) -> Reply:
        with self._slots:
            while wait := self._pace.take(self.settings.requests_per_second):
                self.wait(wait)
            self.check_deadline()
            with self._lock:
                self.requests += 1
            began, result = time.perf_counter(), "incomplete"
            try:
                headers = call.into.headers() if call.into else None
                # A file is often kept at another place than the one it is published at.
                follows = call.first is not None or (call.into is not None and not call.into.is_page)
                with self._client.stream(
                    call.method,
                    call.url,
                    data=call.form,
                    json=call.json,
                    headers=headers,
                    follow_redirects=follows,
                    timeout=min(self.settings.timeout_s, self._left()),
                    extensions={"trace": self._trace},
                ) as response:
                    body = self._body(response, call)
                self.check_deadline()
                result = str(response.status_code)
            except (httpx.TooManyRedirects, httpx.UnsupportedProtocol) as error:
                why = f"redirects to no file ({str(error).rstrip('.')}); open the URL, and correct the declaration"
                raise SourceError(f"{self._what}: {call.url} {why}") from None
            except httpx.RequestError as error:
                self.check_deadline()
                result = type(error).__name__
                # Without its frames: they hold what was received of the body.
                raise _RetryableError(call.url, _reason(error, self.settings)) from error.with_traceback(None)
            finally:
                seconds = time.perf_counter() - began
                call.results.append(result)
                self._sender.sent(call.method, result, seconds)
        reply = Reply(call.url, response.status_code, response.headers, body)
        if self.settings.record:
            sent = response.request.read().decode(errors="replace")
            is_saved = call.into and call.into.takes(reply.status)
            content = call.into.content() if call.into and is_saved else body
            kept = recording.Exchange(call.method, call.url, reply.status, dict(reply.headers), content, sent)
            self.exchanges.append(kept)
        log.debug("http_answer", url=call.url, status=reply.status, bytes=len(body), seconds=round(seconds, 3))
        return reply

    def _refusal(self, method: str, reply: Reply) -> Exception:
        if reply.status in BUSY or reply.status >= 500:
            return _RetryableError(reply.url, self._described(reply), seconds_to_wait(reply.headers))
        return SourceError(f"{self._what}: {method} {reply.url} answered {self._described(reply)}")

    def _body(self, response: httpx.Response, call: _Call[T]) -> bytes:
        url = call.url
        if call.into and call.into.takes(response.status_code):
            self._save(response, call.into, url)
            return b""
        body = BytesIO()  # grows in place, and gives its bytes without a copy
        for chunk in response.iter_bytes():
            size = body.tell() + body.write(chunk)
            if response.status_code != 200 and size > MAX_ERROR_BODY:
                break
            if call.first and size >= call.first:
                break
            self._limit(size, url)
        return body.getvalue()

    def _save(self, response: httpx.Response, into: _Saved, url: str) -> None:
        into.begin(response)
        for chunk in response.iter_bytes():
            into.file.write(chunk)
            if into.is_page:
                self._limit(into.file.tell(), url)
            elif into.file.tell() > MAX_FILE:
                raise SourceError(f"{self._what}: {url} answered more than {MAX_FILE // 2**30} GiB; is it a file?")
        into.state = ""  # should it have to be sent again, then all of it

    def _limit(self, size: int, url: str) -> None:
        if size > MAX_BODY:
            raise SourceError(
                f"{self._what}: {url} answered more than {MAX_BODY // 2**20} MiB for one page; lower CATALUNYA_PAGE_ROWS"
            )

    def _trace(self, event: str, info: Mapping[str, Any]) -> None:
        """httpx's hook: keep each connection, for `stop`."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            with self._lock:
                self._streams.append(info["return_value"])

    def _left(self) -> float:
        return max(self._ends_at - time.monotonic(), 0.0)

    def _described(self, reply: Reply) -> str:
        message = self._explain(reply)
        location = reply.headers.get("location")
        moved = f". It redirects to {location}: correct the URL" if location and 300 <= reply.status < 400 else ""
        return f"{_status(reply.status)}{': ' if message else ''}{message}{moved}"

    def _given_up(self, failure: _RetryableError, attempts: int) -> SourceUnavailable:
        if isinstance(failure.__cause__, httpx.ConnectError):
            base_url = self.settings.base_url
            local = urlsplit(base_url).hostname in LOOPBACK
            advice = "is the mock running? Start it with `catalunya mock`" if local else "check the network and the URL"
            return SourceUnavailable(
                f"{self._what}: cannot connect to {base_url} ({failure.reason}; {attempts} attempts); {advice}"
            )
        if failure.retry_after and failure.retry_after >= self._left():
            return SourceUnavailable(
                f"{self._what}: {failure.url} asks to wait {failure.retry_after:g} s ({failure.reason}), "
                f"and only {self._left():.1f} s are left until the deadline. Try again after that time."
            )
        return SourceUnavailable(
            f"{self._what}: {failure.url} failed at all of {attempts} attempts, the last time with {failure.reason}. Try again later."
        )


@cache
def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context()  # 20 ms, as long as a small extraction: once per process


def _something_else(body: bytes) -> str:
    """What a complete body is that is not JSON; empty if it may be JSON that was cut off or damaged on the way."""
    for start, what in _STARTS.items():
        if body.startswith(start):
            return what
    text = body[:1000].lstrip()
    if text.startswith(b"<"):
        return "expected JSON, found HTML or XML"
    return "" if not text or text[:1] in b'[{"-0123456789tfn' else "expected JSON, found text"


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

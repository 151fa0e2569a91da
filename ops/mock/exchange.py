"""One request and its answer: logged, put under the faults in force, made conditional, compressed, sent.

Here: the log, the faults of any answer, the test's own hook (`reply`). Not here: what an answer says (`socrata.py`,
`idescat.py`) and how faults are written (`faults.py`).
"""

from __future__ import annotations

import asyncio
import threading
import time
import zlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate, parsedate_to_datetime
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool

from catalunya.ops.mock.faults import ANSWER_KINDS, Fault, FaultPlan, Kind

if TYPE_CHECKING:
    from starlette.datastructures import Headers
    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

KEPT_REQUESTS = 10_000
JSON = "application/json; charset=utf-8"
_HTML = (
    "<html>\r\n<head><title>{0}</title></head>\r\n<body>\r\n<center><h1>{0}</h1></center>\r\n"
    "<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)
_TITLES = {
    "error-500": "500 Internal Server Error",
    "error-503": "503 Service Temporarily Unavailable",
    "error-504": "504 Gateway Time-out",
}


@dataclass
class Asked:
    """A request as it arrived; `status` and `fault` (the one that was applied) are filled in when it is answered.

    `query`: the parameters in the address and those in a posted form. `target`: the address as it was sent.
    """

    number: int
    dataset: str
    kind: Kind
    method: str
    path: str
    target: str
    query: str
    headers: dict[str, str]
    body: bytes
    at: float
    status: int = 0
    fault: str = ""

    @property
    def params(self) -> dict[str, str]:
        """The parameters by name."""
        return dict(parse_qsl(self.query, keep_blank_values=True))

    @property
    def app_token(self) -> bool:
        """Whether an app token came with the request."""
        return "x-app-token" in self.headers or "$$app_token" in self.params

    @property
    def conditional(self) -> bool:
        """Whether the client asks for an answer only if something changed."""
        return "if-none-match" in self.headers or "if-modified-since" in self.headers

    def as_dict(self) -> dict[str, object]:
        """What `/_mock/requests` shows; header values are left out, as they may hold a secret."""
        shown = ("number", "dataset", "kind", "method", "path", "query", "status", "fault", "app_token", "conditional")
        return {name: getattr(self, name) for name in (*shown, "at")}


@dataclass
class Answer:
    """What an API answers. `delay`: seconds to wait before it is sent. `cut`: bytes of the body after which the
    connection is closed. `stream`: a body that is too long for one piece.
    """

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut: int | None = None
    stream: Iterator[bytes] | None = None


@dataclass(kw_only=True)
class Published(ABC):
    """A dataset as it stands: its version, and how often anything about it changed, which moves its date. `token` is how the
    faults showed it last. What it is called and which kinds of faults it knows is the protocol's.
    """

    faults: ClassVar[Collection[str]]
    version: int = 0
    changes: int = 0
    token: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    @abstractmethod
    def name(self) -> str:
        """What the faults, the log and the control endpoints call it."""

    @abstractmethod
    def state(self) -> dict[str, int]:
        """Version, number of rows or cells, and date (seconds since 1970)."""

    def advance(self, steps: int) -> None:
        """Publish a new version, `steps` times."""
        with self.lock:
            self.version += steps
            self.changes += steps

    def reset(self) -> None:
        """Back to version 0."""
        with self.lock:
            self.version, self.changes, self.token = 0, 0, ""

    def show_as(self, token: str) -> None:
        """Note how the faults show it. One that looks different from before has changed, and its date moves."""
        if token != self.token:
            self.token = token
            self.changes += 1


Reply = Callable[[Asked, Answer], Answer]
"""A test's hook: takes a request and the answer the mock would give, and returns the answer to send."""


@dataclass
class Desk:
    """What all APIs of the mock share: the faults in force, the hook, and the log. Safe to use from several threads."""

    faults: FaultPlan
    gzip: bool = False
    reply: Reply | None = None
    total: int = 0
    most_at_once: int = 0
    _at_once: int = 0
    _log: deque[Asked] = field(default_factory=lambda: deque(maxlen=KEPT_REQUESTS))
    _counts: dict[str, dict[str, int]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def clear(self) -> None:
        """Forget all requests, including those that are not answered yet."""
        with self._lock:
            self._log, self._counts, self.total, self.most_at_once = deque(maxlen=KEPT_REQUESTS), {}, 0, 0

    def requests(self) -> list[Asked]:
        """The requests so far, in the order in which they came."""
        with self._lock:
            return list(self._log)

    def counts(self) -> dict[str, dict[str, int]]:
        """Requests by dataset and kind."""
        with self._lock:
            return {dataset: dict(counts) for dataset, counts in self._counts.items()}

    async def serve(
        self,
        request: Request,
        dataset: str,
        kind: Kind,
        answer: Callable[[Asked, Sequence[Fault]], Answer],
        *,
        kinds: Collection[str],
    ) -> Wire:
        """Answer one request. `answer` gets the faults that apply and runs in a worker thread; `kinds`: the kinds of
        faults that the API knows, others are passed by.
        """
        asked = await self._record(request, dataset, kind)
        try:
            faults = self.faults.admit(dataset, kind, kinds)
            fault = next((each for each in faults if each.kind in ANSWER_KINDS and each.kind != "slow"), None)
            asked.fault = next((each.spec for each in (fault, *faults) if each), "")
            await asyncio.sleep(sum(each.seconds for each in faults if each.kind == "slow"))
            made = _refusal(fault) if fault else None
            if made is None:
                made = await run_in_threadpool(answer, asked, faults)
                if made.status == 200 and _not_modified(request.headers, made.headers):
                    made = Answer(b"", 304, {k: v for k, v in made.headers.items() if k != "Content-Type"})
                elif fault and made.status == 200:
                    made = _damaged(made, fault)
            if self.reply:
                made = await run_in_threadpool(self.reply, asked, _whole(made))
            await asyncio.sleep(made.delay)
            asked.status = made.status
        finally:
            with self._lock:
                self._at_once -= 1
        return Wire(made, compress=self.gzip and "gzip" in request.headers.get("accept-encoding", ""))

    async def _record(self, request: Request, dataset: str, kind: Kind) -> Asked:
        body = await request.body() if request.method == "POST" else b""
        url, raw = request.url, request.scope
        address = raw["raw_path"].decode("latin-1") + (f"?{url.query}" if url.query else "")
        headers = dict(request.headers)
        form = body.decode("utf-8", "replace") if "json" not in headers.get("content-type", "") else ""
        query = "&".join(filter(None, (url.query, form)))
        with self._lock:
            self.total += 1
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            counts = self._counts.setdefault(dataset, {})
            counts[kind] = counts.get(kind, 0) + 1
            method = request.method
            asked = Asked(self.total, dataset, kind, method, url.path, address, query, headers, body, time.time())
            self._log.append(asked)
        return asked


class Wire:
    """An answer on its way: an ASGI response that can be cut off."""

    def __init__(self, answer: Answer, *, compress: bool) -> None:
        self._answer = answer
        self._compress = compress

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Send the answer. One that is cut off is left incomplete, which makes the server close the connection."""
        answer, headers = self._answer, {"Content-Type": JSON} | self._answer.headers
        if scope["method"] == "HEAD" or answer.status == 304:
            await _start(send, answer.status, answer.headers)
            await send({"type": "http.response.body", "body": b""})
            return
        if self._compress:
            headers |= {"Content-Encoding": "gzip"}
        if answer.stream is not None:
            pieces = _gzipped(answer.stream) if self._compress else answer.stream
            await _start(send, answer.status, headers)
            while piece := await run_in_threadpool(next, pieces, b""):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
            return
        body = b"".join(_gzipped(iter([answer.body]))) if self._compress else answer.body
        await _start(send, answer.status, {"Content-Length": str(len(body))} | headers)
        await send({"type": "http.response.body", "body": body[: answer.cut], "more_body": answer.cut is not None})


async def _start(send: Send, status: int, headers: dict[str, str]) -> None:
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})


def _gzipped(pieces: Iterator[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj(1, wbits=31)
    for piece in pieces:
        if packed := packer.compress(piece):
            yield packed
    yield packer.flush()


def _whole(answer: Answer) -> Answer:
    if answer.stream is not None:
        answer.body, answer.stream = b"".join(answer.stream), None
    return answer


def _refusal(fault: Fault) -> Answer | None:
    """The answer of a fault that replaces the API's own; None where it only damages one."""
    match fault.kind:
        case "rate-limited":
            body = b'{"code":"too_many_requests","error":true,"message":"Too many requests"}\n'
            return Answer(body, 429, {"Retry-After": str(fault.retry_after)})
        case "rate-limited-bare":
            return Answer(b"Too Many Requests", 429, {"Content-Type": "text/plain"})
        case "error-500" | "error-503" | "error-504":
            return html(int(fault.kind[-3:]), _TITLES[fault.kind])
        case "wrong-json" if fault.body == "html":
            return html(200, "Estem fent tasques de manteniment")
    return None


def html(status: int, title: str) -> Answer:
    """A page of the server in front of an API."""
    return Answer(_HTML.format(title).encode(), status, {"Content-Type": "text/html"})


def _damaged(answer: Answer, fault: Fault) -> Answer:
    body = _whole(answer).body
    if fault.kind == "truncated":
        answer.body = body[: len(body) // 2]
    elif fault.kind == "cut-off":
        answer.cut = len(body) // 2
    elif fault.kind == "wrong-json":
        end = body.rfind(b"}")  # of the array's last row, or of the object
        middle = body.find(b"\n", len(body) // 2, end)
        middle = end + 1 if middle < 0 else middle
        answer.body = body[:middle] + b'\n,{"broken":,}' + body[middle:]
    return answer


def _not_modified(asked: Headers, answered: dict[str, str]) -> bool:
    """RFC 9110, 13.2.2: If-None-Match where it is given, else If-Modified-Since."""
    if tags := asked.get("if-none-match"):
        known = {tag.strip().removeprefix("W/") for tag in tags.split(",")}
        return "*" in known or answered.get("ETag", "").removeprefix("W/") in known
    since, modified = asked.get("if-modified-since"), answered.get("Last-Modified")
    if not since or not modified:
        return False
    try:
        return parsedate_to_datetime(modified) <= parsedate_to_datetime(since)
    except (TypeError, ValueError):
        return False


def http_date(seconds: int) -> str:
    """A time (seconds since 1970) as headers have it."""
    return formatdate(seconds, usegmt=True)

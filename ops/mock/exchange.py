"""One request and its answer: logged, put under the faults in force, made conditional, compressed, sent.

What an answer says is the APIs' affair (socrata.py, idescat/); what goes wrong on its way is told here, the same for all of them.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate, parsedate_to_datetime
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool

from catalunya.ops.mock.faults import ANSWER_KINDS, Fault, FaultPlan, Target
from catalunya.ops.mock.log import Exchange, Log

if TYPE_CHECKING:
    from starlette.datastructures import Headers
    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

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
class Answer:
    """What an API answers. `pieces` makes the body when it is needed; `streamed` where it is too long for one piece."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    pieces: Callable[[], Iterator[bytes]] = lambda: iter(())
    streamed: bool = False


@dataclass
class Desk:
    """What all APIs of the mock share: the faults in force and the log."""

    faults: FaultPlan
    log: Log
    gzip: bool = False

    async def serve(
        self,
        request: Request,
        dataset: str,
        target: Target,
        answer: Callable[[int, Sequence[Fault]], Answer],
        *,
        kinds: Collection[str],
        form: str = "",
    ) -> Wire:
        """Answer one request; `answer` is given its number and the faults that apply, and runs in a worker thread.

        `kinds`: of the faults that the API knows; others pass it by. `form`: the parameters in a request's body, logged
        as those in an address are.
        """
        serial, book = self.log.next_number(dataset, target)
        faults = self.faults.admit(dataset, target, kinds)
        fault = next((each for each in faults if each.kind in ANSWER_KINDS and each.kind != "slow"), None)
        for each in faults:
            if each.kind == "slow":
                await asyncio.sleep(each.seconds)
        made = _refusal(fault) if fault else None
        if made is None:
            made = await run_in_threadpool(answer, serial, faults)
            if made.status == 200 and _not_modified(request.headers, made.headers):
                made = Answer(304, {k: v for k, v in made.headers.items() if k != "Content-Type"})
        headers = request.headers
        shown = fault or next((each for each in faults if each.kind not in ANSWER_KINDS or each.kind == "slow"), None)
        self.log.add(
            Exchange(
                number=serial,
                dataset=dataset,
                target=target,
                method=request.method,
                path=request.url.path,
                query="&".join(filter(None, (request.url.query, form))),
                status=made.status,
                fault=shown.spec if shown else "",
                app_token="x-app-token" in headers or "$$app_token" in request.query_params,
                conditional="if-none-match" in headers or "if-modified-since" in headers,
                at=time.time(),
            ),
            book,
        )
        compress = self.gzip and "gzip" in headers.get("accept-encoding", "")
        return Wire(made, fault if made.status == 200 else None, compress=compress)


class Wire:
    """An answer on its way: an ASGI response that can be cut off."""

    def __init__(self, answer: Answer, fault: Fault | None, *, compress: bool) -> None:
        self._answer = answer
        self._fault = fault
        self._compress = compress

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Send the answer. A cut-off one is left incomplete, whereupon the server closes the connection."""
        pieces = self._pieces()
        headers = self._answer.headers
        if scope["method"] == "HEAD" or self._answer.status == 304:
            await _start(send, self._answer.status, headers)
            await send({"type": "http.response.body", "body": b""})
            return
        if self._compress:
            headers = headers | {"Content-Encoding": "gzip"}
        if self._answer.streamed and self._fault is None:
            await _start(send, self._answer.status, headers)
            while piece := await run_in_threadpool(next, pieces, b""):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
            return
        body = await run_in_threadpool(b"".join, pieces)
        await _start(send, self._answer.status, headers | {"Content-Length": str(len(body))})
        if self._fault and self._fault.kind == "cut-off":
            await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
            return
        await send({"type": "http.response.body", "body": body})

    def _pieces(self) -> Iterator[bytes]:
        pieces = self._answer.pieces()
        if self._fault:
            pieces = iter([_damaged(b"".join(pieces), self._fault)])
        return _gzipped(pieces) if self._compress else pieces


async def _start(send: Send, status: int, headers: dict[str, str]) -> None:
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})


def _gzipped(pieces: Iterator[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj(1, wbits=31)
    for piece in pieces:
        if packed := packer.compress(piece):
            yield packed
    yield packer.flush()


def _refusal(fault: Fault) -> Answer | None:
    """The answer of a fault that needs no other; None where it only damages one."""
    match fault.kind:
        case "rate-limited":
            body = b'{"code":"too_many_requests","error":true,"message":"Too many requests"}\n'
            return Answer(429, {"Content-Type": JSON, "Retry-After": str(fault.retry_after)}, lambda: iter([body]))
        case "rate-limited-bare":
            return Answer(429, {"Content-Type": "text/plain"}, lambda: iter([b"Too Many Requests"]))
        case "error-500" | "error-503" | "error-504":
            return html(int(fault.kind[-3:]), _TITLES[fault.kind])
        case "wrong-json" if fault.body == "html":
            return html(200, "Estem fent tasques de manteniment")
    return None


def html(status: int, title: str) -> Answer:
    """A page of the server in front of an API."""
    return Answer(status, {"Content-Type": "text/html"}, lambda: iter([_HTML.format(title).encode()]))


def _damaged(body: bytes, fault: Fault) -> bytes:
    if fault.kind == "truncated":
        return body[: len(body) // 2]
    if fault.kind == "wrong-json" and fault.body == "array":
        end = body.rfind(b"}")  # of the array's last row, or of the object
        middle = body.find(b"\n", len(body) // 2, end)
        middle = end + 1 if middle < 0 else middle
        return body[:middle] + b'\n,{"broken":,}' + body[middle:]
    return body


def _not_modified(asked: Headers, told: dict[str, str]) -> bool:
    """RFC 9110, 13.2.2: If-None-Match where it is given, else If-Modified-Since."""
    if tags := asked.get("if-none-match"):
        known = {tag.strip().removeprefix("W/") for tag in tags.split(",")}
        return "*" in known or told.get("ETag", "").removeprefix("W/") in known
    since, modified = asked.get("if-modified-since"), told.get("Last-Modified")
    if not since or not modified:
        return False
    try:
        return parsedate_to_datetime(modified) <= parsedate_to_datetime(since)
    except (TypeError, ValueError):
        return False


def http_date(seconds: int) -> str:
    """A time (seconds since 1970) as headers have it."""
    return formatdate(seconds, usegmt=True)

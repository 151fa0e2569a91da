"""Small real HTTP servers on loopback, to test API clients: one that answers as it is told, and one portal.

Not the mock API of the local environment (catalunya.ops.mock): these misbehave in whatever way a test chooses.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from catalunya.io.sources.base import Extraction, HttpSettings, PageSink, SourceState
from catalunya.io.sources.socrata import Socrata

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

RESES = Socrata("ivft-vegh", key=("registre",))
NOT_FOUND = b'{"code":"not_found","error":true,"message":"Not found","data":{"id":"xxxx-yyyy"}}'


@dataclass
class Asked:
    method: str
    target: str  # as it stood in the request line
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def params(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query))


@dataclass
class Answer:
    body: bytes = b"[]\n"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut: int | None = None  # send only so many bytes of the body, then hang up


class Server:
    """Answers each request by `reply`, and keeps what was asked and how many requests there were at once."""

    def __init__(self, reply: Callable[[Asked], Answer]) -> None:
        self.reply = reply
        self.asked: list[Asked] = []
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    @contextmanager
    def running(self) -> Iterator[Server]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.005,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(self.command, self.path, headers, body, time.monotonic())
                with server._lock:
                    server.asked.append(asked)
                    server._at_once += 1
                    server.most_at_once = max(server.most_at_once, server._at_once)
                try:
                    answer = server.reply(asked)
                    time.sleep(answer.delay)
                finally:
                    with server._lock:
                        server._at_once -= 1
                self.answer(answer)

            do_POST = do_GET  # noqa: N815 - the base class's name

            def answer(self, answer: Answer) -> None:
                try:
                    self.send_response_only(answer.status)
                    ordinary = {
                        "Date": self.date_time_string(),
                        "Content-Type": "application/json;charset=utf-8",
                        "Content-Length": str(len(answer.body)),
                    }
                    for name, value in {**ordinary, **answer.headers}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(answer.body[: answer.cut])
                    self.wfile.flush()
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True  # the client did not wait
                if answer.cut is not None:
                    self.close_connection = True

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
                """Nothing: the test's output is not the server's."""

        return Handler


def in_turn(*answers: Answer) -> Callable[[Asked], Answer]:
    """One answer after the other, whatever is asked; the last one for ever."""
    left = list(answers)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


def soda(rows: list[dict[str, Any]]) -> bytes:
    """Rows as the portal writes them: one a line."""
    lines = "\n,".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows)
    return f"[{lines}]\n".encode()


class Portal:
    """One dataset as SODA answers for it. What goes wrong is set on it, or put by `on_page` for a page."""

    def __init__(self, rows: int, dataset_id: str = "ivft-vegh") -> None:
        self.dataset_id = dataset_id
        self.rows = [{"registre": f"S{i:05}", "nom": f"Residència «{i}», l'Hospitalet"} for i in range(rows)]
        self.columns = {
            ":id": "meta_data",
            "registre": "text",
            "nom": "text",
            ":@computed_region_x": "number",
        }
        self.rows_updated_at = 1734602306
        self.last_modified = "Thu, 19 Dec 2024 09:58:26 GMT"
        self.headers: dict[str, str] = {}
        self.counted: int | None = None
        self.on_page: Callable[[Asked, Answer], Answer] = lambda _, page: page
        self.write: Callable[[list[dict[str, Any]]], bytes] = soda
        self.server = Server(self._reply)

    def asked(self, kind: str) -> list[Asked]:
        """The requests for "view", "count" or "page"."""
        return [asked for asked in self.server.asked if self._kind(asked) == kind]

    def view(self) -> dict[str, Any]:
        columns = [{"fieldName": name, "dataTypeName": kind, "id": 1} for name, kind in self.columns.items()]
        return {"id": self.dataset_id, "rowsUpdatedAt": self.rows_updated_at, "columns": columns, "flags": []}

    @staticmethod
    def _kind(asked: Asked) -> str:
        if asked.path.startswith("/api/views/"):
            return "view"
        return "count" if "$select" in asked.params else "page"

    def _where(self, asked: Asked) -> list[dict[str, Any]]:
        """The rows within bounds such as `any >= '2014' and any <= '2016'`; a row without the field is within."""
        rows = self.rows
        for bound in filter(None, asked.params.get("$where", "").split(" and ")):
            name, operator, value = bound.split(" ")
            within = str.__ge__ if operator == ">=" else str.__le__
            rows = [row for row in rows if within(row.get(name, value.strip("'")), value.strip("'"))]
        return rows

    def _reply(self, asked: Asked) -> Answer:
        if self.dataset_id not in asked.path:
            return Answer(NOT_FOUND, 404)
        kind = self._kind(asked)
        if kind == "view":
            return Answer(json.dumps(self.view(), indent=2).encode())
        if kind == "count":
            total = len(self._where(asked)) if self.counted is None else self.counted
            return Answer(f'[{{"total":"{total}"}}]\n'.encode())
        start = int(asked.params["$offset"])
        page = self._where(asked)[start : start + int(asked.params["$limit"])]
        modified = {"Last-Modified": self.last_modified, "X-SODA2-Truth-Last-Modified": self.last_modified}
        return self.on_page(asked, Answer(self.write(page), headers={**modified, **self.headers}))


@contextmanager
def opened(rows: int) -> Iterator[Portal]:
    """A portal that runs."""
    portal = Portal(rows)
    with portal.server.running():
        yield portal


def fast(portal: Portal, **changed: Any) -> HttpSettings:
    kind = {"attempts": 3, "timeout_s": 2.0, "deadline_s": 10.0, "requests_per_second": 2000.0, "page_rows": 10}
    waits = {"backoff_initial_s": 0.001, "backoff_max_s": 0.01, "backoff_jitter_s": 0.001}
    return HttpSettings(portal.server.url, **{**kind, **waits, **changed})


class Landing:
    """A sink that keeps pages in memory, in the order in which they were written."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.written: list[str] = []
        self.most_at_once = 0
        self.at_once = 0

    async def __call__(self, name: str, chunks: AsyncIterator[bytes]) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0.002)
        self.files[name] = b"".join([chunk async for chunk in chunks])
        self.written.append(name)
        self.at_once -= 1


def probe(portal: Portal, known: str | None = None, source: Socrata = RESES) -> SourceState | None:
    return asyncio.run(source.probe(fast(portal), known))


def extract(
    portal: Portal, sink: PageSink, source: Socrata = RESES, progress: Any = None, window: Any = None, **changed: Any
) -> Extraction:
    state = probe(portal, source=source)
    assert state
    return asyncio.run(source.extract(fast(portal, **changed), state, sink, window=window, progress=progress))


def on_page(portal: Portal, offset: int, times: int, change: Callable[[Answer], Answer]) -> None:
    """Let the first `times` answers for the page at `offset` be what `change` makes of them."""
    left = [times]

    def changed(asked: Asked, page: Answer) -> Answer:
        if asked.params["$offset"] == str(offset) and left[0] > 0:
            left[0] -= 1
            return change(page)
        return page

    portal.on_page = changed

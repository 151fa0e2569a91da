"""A small real HTTP server on loopback that answers as a test scripts it, whatever the protocol above HTTP.

Here: what the mock APIs (`catalunya.ops.mock`) are not for: clients of anything else, and the HTTP client itself. Tests of
Socrata and IDESCAT use `small.apis`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from catalunya.ops.mock.exchange import Answer


@dataclass
class Asked:
    """A request; `target` as it was in the request line."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def params(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query))


class Server:
    """Answers each request by `reply`, and keeps the requests and how many there were at once."""

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

            do_POST = do_PUT = do_HEAD = do_GET  # noqa: N815 - the base class's names

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
                    self.wfile.write(b"" if self.command == "HEAD" else answer.body[: answer.cut])
                    self.wfile.flush()
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True  # the client did not wait
                if answer.cut is not None:
                    self.close_connection = True

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
                """Nothing on stderr."""

        return Handler


def in_turn(*answers: Answer) -> Callable[[Asked], Answer]:
    """One answer after the other, whatever is requested; then the last one again and again."""
    left = list(answers)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]

"""A portal that costs next to nothing: the mock's answers, kept in files when they are first asked for, and sent from there by the kernel.

The mock works out each page, 1.8 CPU seconds for a million rows on the cores that are measured. `python bench/portal.py MOCK FOLDER` prints
where it serves.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import get_ident

import httpx

HEADERS = ("content-type", "etag", "last-modified")
"""What is kept of an answer beside its body; with the portal's own `x-` headers."""
MOCK, FOLDER = sys.argv[1], Path(sys.argv[2])


class Answers(BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        body = FOLDER / hashlib.sha256(self.path.encode()).hexdigest()
        if not body.exists():
            self.fetch(body)
        status, headers = json.loads(body.with_suffix(".json").read_bytes())
        size = body.stat().st_size
        self.send_response(status)
        for name, value in [*headers, ("content-length", str(size))]:
            self.send_header(name, value)
        self.end_headers()
        with body.open("rb") as file:
            sent = 0
            while sent < size:
                sent += os.sendfile(self.connection.fileno(), file.fileno(), sent, size - sent)

    def fetch(self, body: Path) -> None:
        """Keep the mock's answer; the body last and at once, because others ask for it meanwhile."""
        answer = httpx.get(f"{MOCK}{self.path}", timeout=120)
        headers = [(name, value) for name, value in answer.headers.items() if name in HEADERS or name.startswith("x-")]
        for path, content in (
            (body.with_suffix(".json"), json.dumps([answer.status_code, headers]).encode()),
            (body, answer.content),
        ):
            beside = path.with_suffix(f".{get_ident()}")
            beside.write_bytes(content)
            beside.replace(path)

    def log_message(self, *_: object) -> None:
        """Nothing: a line for each request would cost more than the request."""


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()

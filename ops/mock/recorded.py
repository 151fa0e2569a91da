"""Recorded answers (`--real DIR` with .har files), given again to the requests that were recorded, before any API of the mock is asked.

Here: which answer belongs to which request. A request is the same if its method, path, parameters and body are, in whatever order the
parameters come; the host counts only if the request has one, for which the mock stands. Not here: the files (`io/sources/recording.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request
from starlette.responses import Response

from catalunya.io.sources.recording import Exchange

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_Asked = tuple[str, str, str, tuple[tuple[str, str], ...], str]


class Recorded:
    """An ASGI app that answers what was recorded, and leaves all other requests to the app behind it."""

    def __init__(self, exchanges: Iterable[Exchange], app: ASGIApp) -> None:
        self._app = app
        self._answers: dict[_Asked, Exchange] = {}
        for each in exchanges:
            url = urlsplit(each.url)
            portal, path = without_host(url.path)  # of a recording from a mock
            for host in ("", portal or url.netloc):
                self._answers[each.method, host, path, _parameters(url.query), each.sent] = each

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if not self._answers or scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        sent = (await request.body()).decode(errors="replace")
        asked = (request.method, scope.get("portal", ""), scope["path"], _parameters(request.url.query), sent)
        if found := self._answers.get(asked):
            await Response(found.body, found.status, dict(found.headers))(scope, receive, send)
            return
        await self._app(scope, _again(sent.encode()), send)


def without_host(path: str) -> tuple[str, str]:
    """The host that a path of the mock begins with, and the rest: `/data.ny.gov/resource/…` is that host's `/resource/…`."""
    host, _, rest = path.removeprefix("/").partition("/")
    if rest and ("." in host or ":" in host):  # `/stations.csv` is a file
        return host, f"/{rest}"
    return "", path


def _parameters(query: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(parse_qsl(query, keep_blank_values=True)))


def _again(body: bytes) -> Receive:
    """The body that was read, for the app behind."""

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive

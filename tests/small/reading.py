"""Chromium reads the pages of a built site, served on loopback as `catalunya portal serve` does.

Whatever a reader would not see is kept as a problem: a message on the console, an error of a script, a file that is not there, a request to any other
host (which is refused).
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

from catalunya.portal.serve import site_app

DESKTOP, PHONE = 1280, 360
HEIGHT = 800


@dataclass
class Reader:
    """One window. `page` is playwright's, `problems` what should not have happened, `transferred` the bytes of each file since `open`."""

    url: str
    page: Any
    problems: list[str] = field(default_factory=list)
    transferred: dict[str, int] = field(default_factory=dict)

    def open(self, path: str) -> Any:
        """Open a page of the site; returns playwright's page."""
        self.transferred.clear()
        self.page.goto(f"{self.url}/{path}")
        return self.page

    @property
    def path(self) -> str:
        """Where the window is on the site, without the query."""
        return str(self.page.url).removeprefix(f"{self.url}/").partition("?")[0].partition("#")[0]

    def resize(self, width: int) -> None:
        """Make the window this wide, in pixels."""
        self.page.set_viewport_size({"width": width, "height": HEIGHT})

    @property
    def width(self) -> int:
        """How wide the page is, in pixels: more than the window if it has to be scrolled sideways."""
        return int(self.page.evaluate("document.documentElement.scrollWidth"))


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The site of a folder on a free port, until the block ends."""
    import uvicorn

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)
        server = uvicorn.Server(uvicorn.Config(site_app(folder), log_level="error"))
        thread = Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def reader(browser: Any, url: str, *, width: int = DESKTOP, **context: Any) -> Iterator[Reader]:
    """A window of its own; `context` as playwright has it. At the end, there must have been no problem."""
    opened = browser.new_context(viewport={"width": width, "height": HEIGHT}, **context)
    page = opened.new_page()
    found = Reader(url, page)

    def refuse(route: Any) -> None:
        found.problems.append(f"request to another host: {route.request.url}")
        route.abort()

    def received(response: Any) -> None:
        if response.status >= 400:
            found.problems.append(f"{response.status}: {response.url.removeprefix(url)}")

    def finished(request: Any) -> None:
        sizes = request.sizes()
        name = request.url.removeprefix(f"{url}/")
        found.transferred[name] = sizes["responseBodySize"] + sizes["responseHeadersSize"]

    opened.route(lambda address: not address.startswith((url, "data:")), refuse)
    page.on("console", lambda message: found.problems.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: found.problems.append(f"script: {error}"))
    page.on("response", received)
    page.on("requestfinished", finished)
    try:
        yield found
        assert found.problems == []
    finally:
        opened.close()

"""Serving a built site on this machine, with range requests, so that Parquet can be read over HTTP as from a bucket.

Here: the server, which only this machine reaches. Not here: building the site.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from threading import Thread

from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from catalunya.portal.publish import CONTENT_TYPES

HOST = "127.0.0.1"


class _Files(StaticFiles):
    """Files with the media types that a bucket has, too."""

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        answer = super().file_response(full_path, stat_result, scope, status_code)
        if found := CONTENT_TYPES.get(PurePosixPath(full_path).suffix):
            answer.headers["content-type"] = found
        answer.headers["x-content-type-options"] = "nosniff"
        return answer


def site_app(folder: Path) -> Starlette:
    """The site in a folder as an ASGI application: the home page of a folder is its index.html, and 404.html is shown for what is not there."""
    return Starlette(routes=[Mount("/", _Files(directory=folder, html=True))])


@contextmanager
def serving(folder: Path, port: int) -> Iterator[None]:
    """Serve the site in a folder beside what this process does: who connects from now on is answered. Raises OSError if the port is in use."""
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(site_app(folder), log_level="warning"))
    with socket.create_server((HOST, port)) as listening:
        thread = Thread(target=server.run, args=[[listening]], name="public pages", daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.should_exit = True
            thread.join(5)


def serve(folder: Path, port: int) -> None:
    """Serve the site in a folder until Ctrl-C."""
    import uvicorn

    uvicorn.run(site_app(folder), host=HOST, port=port, log_level="warning")

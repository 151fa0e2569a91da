"""The mock on a port: in a thread for tests (`serve`), or until it is interrupted (`run`).

Here: sockets and threads. Not here: what is served (`app.py`).
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
import uvicorn

from catalunya.io.errors import ConfigurationError
from catalunya.ops.mock.app import Mock
from catalunya.ops.mock.exchange import Asked, Reply

log = structlog.get_logger(__name__)

BACKLOG = 2048
START_S = 10.0


class MockServer:
    """A mock that is being served at `url`."""

    def __init__(self, url: str, mock: Mock) -> None:
        self.url = url
        self._mock = mock

    def faults(self, *specs: str) -> None:
        """Put these faults in force instead of the present ones; without any, clear them."""
        self._mock.faults(*specs)

    def reply(self, hook: Reply | None) -> None:
        """Let a test's hook decide what is sent: it gets each request and the mock's own answer. None takes it away."""
        self._mock.desk.reply = hook

    def advance(self, dataset: str | None = None, steps: int = 1) -> None:
        """Publish a new version of a dataset, or of all."""
        self._mock.advance(dataset, steps)

    def reset(self) -> None:
        """Back to the start: version 0, no faults, no hook, an empty log."""
        self._mock.reset()

    def clear_requests(self) -> None:
        """Forget the requests so far."""
        self._mock.desk.clear()

    @property
    def requests(self) -> list[Asked]:
        """The requests so far, in the order in which they came."""
        return self._mock.desk.requests()

    @property
    def most_at_once(self) -> int:
        """The most requests that were being answered at the same time."""
        return self._mock.desk.most_at_once

    def datasets(self) -> dict[str, dict[str, int]]:
        """Version, rows and date of each dataset."""
        return self._mock.datasets()


class _Quick(uvicorn.Server):
    """A server that notices within 5 ms that it should stop; uvicorn's own loop takes 100 ms, and each test pays it."""

    async def main_loop(self) -> None:
        await self.on_tick(0)
        while not self.should_exit:  # noqa: ASYNC110 - it is set by another thread
            await asyncio.sleep(0.005)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002 - the base class's
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()


@contextmanager
def serve(mock: Mock, host: str, port: int) -> Iterator[MockServer]:
    """Serve the mock in a thread while the context lasts; requests under way are dropped at its end. Port 0: a free one.

    Raises ConfigurationError if the port cannot be used.
    """
    with _listen(host, port) as listening:
        server = _Quick(_config(mock))
        thread = threading.Thread(target=server.run, args=([listening],), name="catalunya-mock", daemon=True)
        thread.start()
        try:
            _wait_for(server, thread)
            yield MockServer(_url(host, listening), mock)
        finally:
            server.should_exit = True
            thread.join()


def run(mock: Mock, host: str, port: int) -> None:
    """Serve the mock until SIGINT or SIGTERM. Raises as `serve` does."""
    with _listen(host, port) as listening:
        url = _url(host, listening)
        log.info("mock_started", url=url)
        for name, path in mock.addresses().items():
            log.info("serving", dataset=name, at=f"{url}{path}")
        uvicorn.Server(_config(mock)).run([listening])
        log.info("mock_stopped", url=url, requests=mock.desk.total)


def _url(host: str, listening: socket.socket) -> str:
    return f"http://{host}:{listening.getsockname()[1]}"


def _config(mock: Mock) -> uvicorn.Config:
    return uvicorn.Config(
        mock.app,
        log_level="critical",  # a cut-off answer is an error to the server; here it was requested
        access_log=False,
        lifespan="off",
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=1,
    )


def _listen(host: str, port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        listening.close()
        raise ConfigurationError(
            f"Mock: cannot listen at {host}:{port} ({error}). Give another --port, or 0 for a free one."
        ) from error
    return listening


def _wait_for(server: uvicorn.Server, thread: threading.Thread) -> None:
    until = time.monotonic() + START_S
    while not server.started:
        if not thread.is_alive() or time.monotonic() > until:
            raise ConfigurationError(f"Mock: not up after {START_S:.0f} s; see its log.")
        time.sleep(0.001)

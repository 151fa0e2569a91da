"""The mock on a port: in a thread for tests (`serve`), or until it is interrupted (`run`).

Sockets and threads only; what is served is in app.py.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
import uvicorn

from catalunya.io.errors import ConfigurationError
from catalunya.ops.mock.app import Mock
from catalunya.ops.mock.log import Exchange

log = structlog.get_logger(__name__)

BACKLOG = 2048
START_S = 10.0


class MockServer:
    """A mock that is being served at `url`."""

    def __init__(self, url: str, mock: Mock) -> None:
        self.url = url
        self._mock = mock

    def faults(self, *specs: str) -> None:
        """Put these faults in force instead of the present ones; none at all: clear them."""
        self._mock.faults(*specs)

    def advance(self, dataset: str | None = None, steps: int = 1) -> None:
        """Publish a new version of a dataset, or of all."""
        self._mock.advance(dataset, steps)

    def reset(self) -> None:
        """Back to how it began: version 0, no faults, nothing logged."""
        self._mock.reset()

    def clear_requests(self) -> None:
        """Forget the requests answered so far."""
        self._mock.clear_requests()

    @property
    def requests(self) -> list[Exchange]:
        """The requests answered so far, in that order."""
        return self._mock.requests

    def datasets(self) -> dict[str, dict[str, int]]:
        """Version, rows and date of each dataset."""
        return self._mock.datasets()


@contextmanager
def serve(mock: Mock, host: str, port: int) -> Iterator[MockServer]:
    """Serve the mock in a thread; stopped at the end, requests under way included. Port 0: a free one.

    Raises ConfigurationError where the port cannot be had.
    """
    with _listen(host, port) as listening:
        server = uvicorn.Server(_config(mock))
        thread = threading.Thread(target=server.run, args=([listening],), name="catalunya-mock", daemon=True)
        thread.start()
        try:
            _wait_for(server, thread)
            yield MockServer(_url(host, listening), mock)
        finally:
            server.should_exit = server.force_exit = True
            thread.join()


def run(mock: Mock, host: str, port: int) -> None:
    """Serve the mock until SIGINT or SIGTERM. Raises as `serve` does."""
    with _listen(host, port) as listening:
        url = _url(host, listening)
        log.info("mock_started", url=url, datasets=mock.datasets())
        uvicorn.Server(_config(mock)).run([listening])
        log.info("mock_stopped", url=url, requests=len(mock.requests))


def _url(host: str, listening: socket.socket) -> str:
    return f"http://{host}:{listening.getsockname()[1]}"


def _config(mock: Mock) -> uvicorn.Config:
    return uvicorn.Config(
        mock.app,
        log_level="critical",  # a cut-off answer is an error to the server; here it was asked for
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
            f"The mock: expected to listen at {host}:{port}, found {error}. Give another port, or 0 for a free one."
        ) from error
    return listening


def _wait_for(server: uvicorn.Server, thread: threading.Thread) -> None:
    until = time.monotonic() + START_S
    while not server.started:
        if not thread.is_alive() or time.monotonic() > until:
            raise ConfigurationError(
                f"The mock: expected to be up within {START_S:.0f} s, found it is not. See its log."
            )
        time.sleep(0.005)

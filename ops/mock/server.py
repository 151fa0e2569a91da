"""The mock as a whole: its APIs and `/_mock/`, by which faults, versions and the log are controlled, on a port.

Here: sockets, threads and control. Not here: what the APIs answer. A protocol is a module of its own (`socrata.py`,
`idescat.py`), added to `APIS`.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from catalunya.io.errors import ConfigurationError, UsageError
from catalunya.io.log import get_logger
from catalunya.io.project_folder import active
from catalunya.io.sources.recording import ENDING, Exchange, read
from catalunya.ops.mock import data, samples
from catalunya.ops.mock.ckan import CkanApi, Resource
from catalunya.ops.mock.emex import EmexApi
from catalunya.ops.mock.exchange import Asked, Desk, Published, Reply
from catalunya.ops.mock.faults import KINDS, FaultPlan, parse_fault
from catalunya.ops.mock.file import FilesApi, PublishedFile
from catalunya.ops.mock.idescat import IdescatApi, StatTable
from catalunya.ops.mock.jsonstat import JsonStatApi, PublishedDataset
from catalunya.ops.mock.opendatasoft import OpendatasoftApi, Records
from catalunya.ops.mock.real import read_folder
from catalunya.ops.mock.recorded import Recorded, without_host
from catalunya.ops.mock.socrata import SocrataApi
from catalunya.ops.mock.tables import Dataset

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp, Receive, Scope, Send

log = get_logger(__name__)

APIS: tuple[Any, ...] = (FilesApi, JsonStatApi, SocrataApi, IdescatApi, CkanApi, OpendatasoftApi, EmexApi)
"""Each is made of the datasets that it `serves`, and has the routes to them."""
_PLACES: Mapping[type[Published], str] = {
    Dataset: "resource/{}.json",
    StatTable: "taules/v2/{}",
    Resource: "api/3/action/datastore_search?resource_id={}",
    Records: "api/explore/v2.1/catalog/datasets/{}",
    PublishedFile: "{}",
    PublishedDataset: "{}",
}
"""Where a dataset of a person's folder is served."""
BACKLOG = 2048
START_S = 10.0


class MockServer:
    """The mock APIs and their state; `app` is the ASGI application, `url` where it is served."""

    def __init__(
        self, datasets: Sequence[Published], seed: int = 1, *, gzip: bool = False, recorded: Sequence[Exchange] = ()
    ) -> None:
        self.url = ""
        self._datasets = {each.name: each for each in datasets}
        self._plan = FaultPlan(seed)
        self._desk = Desk(self._plan, gzip=gzip)
        served = [api([each for each in datasets if type(each) is api.serves], self._desk) for api in APIS]
        apis = Starlette(
            routes=[*(route for api in served for route in api.routes()), *self._control()],
            exception_handlers={UsageError: lambda _, error: _refused(str(error))},
        )
        self.app = _any_host(Recorded(recorded, apis))

    def faults(self, *specs: str) -> None:
        """Put these faults in force instead of the present ones; without any, clear them. On UsageError nothing changes."""
        for spec in specs:
            fault = parse_fault(spec)
            known = self._find(fault.dataset).faults if fault.dataset else KINDS
            if fault.kind not in known:
                kinds = ", ".join(kind for kind in KINDS if kind in known)
                raise UsageError(f"Fault {spec!r}: expected one of {kinds} for {fault.dataset}; found {fault.kind!r}.")
        self._plan.replace(specs)

    def reply(self, hook: Reply | None) -> None:
        """Let a test's hook decide what is sent: it gets each request and the mock's own answer. None takes it away."""
        self._desk.reply = hook

    def advance(self, dataset: str | None = None, steps: int = 1) -> None:
        """Publish a new version of a dataset, or of all. Raises UsageError for a dataset that is not served."""
        for each in [self._find(dataset)] if dataset else self._datasets.values():
            each.advance(steps)

    def reset(self) -> None:
        """Back to the start: version 0, no faults, no hook, an empty log."""
        self._plan.replace(())
        self.reply(None)
        for each in self._datasets.values():
            each.reset()
        self._desk.clear()

    def clear_requests(self) -> None:
        """Forget the requests so far."""
        self._desk.clear()

    @property
    def requests(self) -> list[Asked]:
        """The requests so far, in the order in which they came."""
        return self._desk.requests()

    @property
    def most_at_once(self) -> int:
        """The most requests that were being answered at the same time."""
        return self._desk.most_at_once

    def datasets(self) -> dict[str, dict[str, int]]:
        """Version, rows and date of each dataset."""
        return {name: each.state() for name, each in self._datasets.items()}

    def _find(self, name: str) -> Published:
        if name not in self._datasets:
            raise UsageError(f"Mock: expected a dataset of {', '.join(self._datasets)}; found {name!r}.")
        return self._datasets[name]

    def _control(self) -> list[BaseRoute]:
        return [
            Route("/_mock/health", self._health),
            Route("/_mock/faults", self._get_faults),
            Route("/_mock/faults", self._put_faults, methods=["PUT"]),
            Route("/_mock/advance", self._post_advance, methods=["POST"]),
            Route("/_mock/reset", self._post_reset, methods=["POST"]),
            Route("/_mock/requests", self._get_requests),
            Route("/_mock/requests", self._delete_requests, methods=["DELETE"]),
        ]

    async def _health(self, _request: Request) -> JSONResponse:
        return JSONResponse({"status": "ok", "datasets": self.datasets()})

    async def _get_faults(self, _request: Request) -> JSONResponse:
        return JSONResponse({"faults": self._plan.describe(), "kinds": KINDS})

    async def _put_faults(self, request: Request) -> JSONResponse:
        try:
            specs = await request.json()
        except ValueError:
            specs = None
        if not isinstance(specs, list) or not all(isinstance(spec, str) for spec in specs):
            return _refused('Expected a JSON array of faults, such as ["rate-limited:ivft-vegh:times=2"].')
        self.faults(*specs)
        return JSONResponse({"faults": self._plan.describe()})

    async def _post_advance(self, request: Request) -> JSONResponse:
        steps = request.query_params.get("steps", "1")
        if not steps.isdecimal():
            return _refused(f"Mock: expected steps to be a number; found {steps!r}.")
        self.advance(request.query_params.get("dataset"), int(steps))
        return JSONResponse(self.datasets())

    async def _post_reset(self, _request: Request) -> JSONResponse:
        self.reset()
        return JSONResponse(self.datasets())

    async def _get_requests(self, _request: Request) -> JSONResponse:
        requests = [asked.as_dict() for asked in self.requests]
        return JSONResponse({"total": self._desk.total, "counts": self._desk.counts(), "requests": requests})

    async def _delete_requests(self, _request: Request) -> JSONResponse:
        self.clear_requests()
        return JSONResponse({"total": 0})


def _any_host(app: ASGIApp) -> ASGIApp:
    """The app for sources with a portal of their own, too: `/data.ny.gov/resource/…` is its `/resource/…`."""

    async def of_host(scope: Scope, receive: Receive, send: Send) -> None:
        host, path = without_host(scope.get("path", ""))
        if host:
            scope = {**scope, "path": path, "raw_path": path.encode(), "portal": host}
        await app(scope, receive, send)

    return of_host


def _refused(message: str) -> JSONResponse:
    return JSONResponse({"error": message}, status_code=400)


def recordings(real: Path | str | None) -> list[Exchange]:
    """What the recordings in a person's folder hold. Raises ConfigurationError if one cannot be read."""
    files = sorted(Path(real).rglob(f"*{ENDING}")) if real else []
    return [exchange for file in files for exchange in read(file)]


def own_and_found(rows: int, real: Path | str | None) -> tuple[list[Published], list[Published]]:
    """What a person's folder does not replace, and what is in it: the mock's own datasets, which are those of the package's own project,
    and the recorded samples of the project's other sources.
    """
    if rows < 0:
        raise UsageError(f"Mock: expected rows to be 0 or more; found {rows}.")
    found: list[Published] = [*read_folder(Path(real))] if real else []
    made: list[Published] = [*data.datasets(rows), *data.tables(), *data.indicators()] if active().is_ours else []
    own = samples.published(samples.folder()) | {each.name: each for each in made}
    return [each for name, each in own.items() if name not in {each.name for each in found}], found


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
def serve(mock: MockServer, host: str, port: int) -> Iterator[MockServer]:
    """Serve the mock in a thread while the context lasts; requests under way are dropped at its end. Port 0: a free one.

    Raises ConfigurationError if the port cannot be used.
    """
    with _listen(mock, host, port) as listening:
        server = _Quick(_config(mock))
        thread = threading.Thread(target=server.run, args=([listening],), name="catalunya-mock", daemon=True)
        thread.start()
        try:
            until = time.monotonic() + START_S
            while not server.started:
                if not thread.is_alive() or time.monotonic() > until:
                    raise ConfigurationError(f"Mock: not up after {START_S:.0f} s; see its log.")
                time.sleep(0.001)
            yield mock
        finally:
            server.should_exit = True
            thread.join()


def run(mock: MockServer, found: Collection[Published], host: str, port: int) -> None:
    """Serve the mock until SIGINT or SIGTERM; the addresses of `found` are logged. Raises as `serve` does."""
    with _listen(mock, host, port) as listening:
        log.info("mock_started", url=mock.url)
        for each in found:
            place = quote(_PLACES[type(each)].format(each.name).lstrip("/"), safe="/:?=@")
            log.info("serving", dataset=each.name, at=f"{mock.url}/{place}")
        uvicorn.Server(_config(mock)).run([listening])
        log.info("mock_stopped", url=mock.url, requests=len(mock.requests))


def _config(mock: MockServer) -> uvicorn.Config:
    return uvicorn.Config(
        mock.app,
        log_level="critical",  # a cut-off answer is an error to the server; here it was requested
        access_log=False,
        lifespan="off",
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=1,
    )


def _listen(mock: MockServer, host: str, port: int) -> socket.socket:
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
    mock.url = f"http://{host}:{listening.getsockname()[1]}"
    return listening

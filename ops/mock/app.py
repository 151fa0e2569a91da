"""The mock as a whole: its APIs, and `/_mock/`, by which faults, versions and the log are controlled over HTTP.

An API is a module of its own (`socrata.py`, `idescat.py`) that gives routes and datasets; it is added in `Mock.__init__`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from catalunya.io.errors import UsageError
from catalunya.ops.mock import data
from catalunya.ops.mock.exchange import Desk
from catalunya.ops.mock.faults import KINDS, FaultPlan, parse_fault
from catalunya.ops.mock.idescat import IdescatApi, StatTable
from catalunya.ops.mock.real import read_folder
from catalunya.ops.mock.socrata import Dataset, SocrataApi

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import BaseRoute


class Api(Protocol):
    """One API of the mock."""

    @property
    def faults(self) -> Collection[str]:
        """The kinds of faults that it knows."""

    def routes(self) -> list[BaseRoute]:
        """Where it answers."""

    def names(self) -> list[str]:
        """The names of its datasets."""

    def state(self, name: str, /) -> dict[str, int]:
        """Version, rows and date of a dataset."""

    def advance(self, name: str, steps: int, /) -> None:
        """Publish a new version of a dataset, `steps` times."""

    def reset(self) -> None:
        """Back to version 0."""


class Mock:
    """The mock APIs and their state; `app` is the ASGI application."""

    def __init__(
        self, datasets: Sequence[Dataset | StatTable], seed: int = 1, found: Collection[str] = (), *, gzip: bool = False
    ) -> None:
        self._plan = FaultPlan(seed)
        self._found = found
        self.desk = Desk(self._plan, gzip=gzip)
        self._apis: tuple[Api, ...] = (
            SocrataApi([each for each in datasets if isinstance(each, Dataset)], self.desk),
            IdescatApi([each for each in datasets if isinstance(each, StatTable)], self.desk),
        )
        self.app = Starlette(routes=[route for api in self._apis for route in api.routes()] + self._control())

    def faults(self, *specs: str) -> None:
        """Put these faults in force instead of the present ones. Raises UsageError, changing nothing."""
        for spec in specs:
            fault = parse_fault(spec)
            if fault.dataset and fault.kind not in (api := self._api(fault.dataset)).faults:
                kinds = ", ".join(kind for kind in KINDS if kind in api.faults)
                raise UsageError(f"Fault {spec!r}: expected one of {kinds} for {fault.dataset}; found {fault.kind!r}.")
        self._plan.replace(specs)

    def advance(self, dataset: str | None = None, steps: int = 1) -> None:
        """Publish a new version of a dataset, or of all. Raises UsageError for a dataset that is not served."""
        for name in [dataset] if dataset else self._names():
            self._api(name).advance(name, steps)

    def reset(self) -> None:
        """Back to the start: version 0, no faults, no hook, an empty log."""
        self._plan.replace(())
        self.desk.reply = None
        for api in self._apis:
            api.reset()
        self.desk.clear()

    def datasets(self) -> dict[str, dict[str, int]]:
        """Version, rows and date of each dataset."""
        return {name: api.state(name) for api in self._apis for name in api.names()}

    def addresses(self) -> dict[str, str]:
        """Where the datasets of a person's folder are served, by name."""
        return {name: f"/taules/v2/{name}" if "/" in name else f"/resource/{name}.json" for name in self._found}

    def _names(self) -> list[str]:
        return [name for api in self._apis for name in api.names()]

    def _api(self, dataset: str) -> Api:
        for api in self._apis:
            if dataset in api.names():
                return api
        raise UsageError(f"Mock: expected a dataset of {', '.join(self._names())}; found {dataset!r}.")

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
        try:
            self.faults(*specs)
        except UsageError as error:
            return _refused(str(error))
        return JSONResponse({"faults": self._plan.describe()})

    async def _post_advance(self, request: Request) -> JSONResponse:
        steps = request.query_params.get("steps", "1")
        if not steps.isdecimal():
            return _refused(f"Mock: expected steps to be a number; found {steps!r}.")
        try:
            self.advance(request.query_params.get("dataset"), int(steps))
        except UsageError as error:
            return _refused(str(error))
        return JSONResponse(self.datasets())

    async def _post_reset(self, _request: Request) -> JSONResponse:
        self.reset()
        return JSONResponse(self.datasets())

    async def _get_requests(self, _request: Request) -> JSONResponse:
        requests = [asked.as_dict() for asked in self.desk.requests()]
        return JSONResponse({"total": self.desk.total, "counts": self.desk.counts(), "requests": requests})

    async def _delete_requests(self, _request: Request) -> JSONResponse:
        self.desk.clear()
        return JSONResponse({"total": 0})


def mock(
    rows: int,
    seed: int,
    real: Path | str | None,
    faults: Sequence[str],
    datasets: Sequence[Dataset | StatTable] | None = None,
    *,
    gzip: bool,
) -> Mock:
    """The mock as `serve` describes it. Raises ConfigurationError and UsageError."""
    if rows < 0:
        raise UsageError(f"Mock: expected rows to be 0 or more; found {rows}.")
    own = datasets if datasets is not None else [*data.datasets(rows), *data.tables()]
    found = read_folder(Path(real)) if real else []
    names = [_name(each) for each in found]
    made = Mock([*found, *(each for each in own if _name(each) not in names)], seed, names, gzip=gzip)
    made.faults(*faults)
    return made


def _name(dataset: Dataset | StatTable) -> str:
    return dataset.id if isinstance(dataset, Dataset) else dataset.path


def _refused(message: str) -> JSONResponse:
    return JSONResponse({"error": message}, status_code=400)

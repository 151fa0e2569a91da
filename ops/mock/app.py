"""The mock as a whole: its APIs, the faults in force, the log, and `/_mock/` by which they are steered over HTTP.

An API is a module of its own (socrata.py, idescat/api.py) that gives routes and datasets; it is added in `Mock.__init__`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from catalunya.io.errors import UsageError
from catalunya.ops.mock.cache import PageCache
from catalunya.ops.mock.exchange import Desk
from catalunya.ops.mock.faults import KINDS, FaultPlan, parse_fault
from catalunya.ops.mock.generate_municipalities import municipalities, municipalities_table
from catalunya.ops.mock.generate_register import RegisterTable
from catalunya.ops.mock.generate_usage import usage_table
from catalunya.ops.mock.idescat.api import IdescatApi
from catalunya.ops.mock.idescat.employment import employment_tables
from catalunya.ops.mock.idescat.gdp import gdp_tables
from catalunya.ops.mock.idescat.population import population_table
from catalunya.ops.mock.idescat.recorded import recorded_table
from catalunya.ops.mock.log import Exchange, Log
from catalunya.ops.mock.real import real_tables
from catalunya.ops.mock.socrata import SocrataApi

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from catalunya.ops.mock.idescat.cube import StatTable
    from catalunya.ops.mock.tables import Table


class Api(Protocol):
    """One API of the mock."""

    @property
    def faults(self) -> Collection[str]:
        """The kinds of faults that it knows."""

    def routes(self) -> list[BaseRoute]:
        """Where it answers."""

    def describe(self) -> dict[str, dict[str, int]]:
        """How each of its datasets stands, by name."""

    def advance(self, dataset: str, steps: int) -> None:
        """Publish a new version of a dataset, `steps` times."""

    def reset(self) -> None:
        """Back to version 0."""


class Mock:
    """The mock APIs and their state; `app` is the ASGI application."""

    def __init__(
        self,
        *,
        rows: int,
        seed: int,
        real: Path | str | None = None,
        faults: Sequence[str] = (),
        cache: Path | str | None = None,
        gzip: bool = False,
    ) -> None:
        if rows < 0:
            raise UsageError(f"The mock's rows are expected as 0 or more; found {rows}.")
        tables: Sequence[Table]
        recorded: list[StatTable] = []
        if real:
            tables, views = real_tables(Path(real))
            recorded = [recorded_table(Path(real))]
        else:
            tables, views = [municipalities_table(seed), RegisterTable(rows, seed), usage_table(seed)], {}
        towns = municipalities(tables[0])
        statistics = [population_table(seed, towns), *gdp_tables(seed), *employment_tables(seed), *recorded]
        self._plan = FaultPlan(seed)
        self._log = Log()
        desk = Desk(self._plan, self._log, gzip=gzip)
        # Recorded tables are small, and a cache could not tell that their files have changed.
        pages = PageCache(Path(cache)) if cache and not real else None
        self._apis: tuple[Api, ...] = (SocrataApi(tables, views, desk, seed, pages), IdescatApi(statistics, desk))
        self.faults(*faults)
        self.app = Starlette(routes=[route for api in self._apis for route in api.routes()] + self._control())

    def faults(self, *specs: str) -> None:
        """Put these faults in force instead of the present ones. Raises UsageError, changing nothing."""
        known = self.datasets()
        for spec in specs:
            fault = parse_fault(spec)
            if fault.dataset and fault.dataset not in known:
                raise UsageError(f"Fault {spec!r}: expected a dataset of {', '.join(known)}; found {fault.dataset!r}.")
            for api in self._apis:
                if fault.dataset in api.describe() and fault.kind not in api.faults:
                    kinds = ", ".join(kind for kind in KINDS if kind in api.faults)
                    raise UsageError(
                        f"Fault {spec!r}: for {fault.dataset} expected one of {kinds}; found {fault.kind!r}."
                    )
        self._plan.replace(specs)

    def advance(self, dataset: str | None = None, steps: int = 1) -> None:
        """Publish a new version of a dataset, or of all. Raises UsageError for a dataset that is not served."""
        known = self.datasets()
        if dataset and dataset not in known:
            raise UsageError(f"The mock: expected a dataset of {', '.join(known)}; found {dataset!r}.")
        for api in self._apis:
            for name in api.describe():
                if dataset in (None, "", name):
                    api.advance(name, steps)

    def reset(self) -> None:
        """Back to how it began: version 0, no faults, nothing logged."""
        self._plan.replace(())
        for api in self._apis:
            api.reset()
        self._log.clear()

    def clear_requests(self) -> None:
        """Forget the requests answered so far."""
        self._log.clear()

    @property
    def requests(self) -> list[Exchange]:
        """The requests answered, in that order."""
        return self._log.exchanges()

    def datasets(self) -> dict[str, dict[str, int]]:
        """How each dataset stands, by name."""
        return {name: state for api in self._apis for name, state in api.describe().items()}

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
            asked = await request.json()
        except ValueError:
            asked = None
        if not isinstance(asked, list) or not all(isinstance(spec, str) for spec in asked):
            return _refused('Expected a JSON array of faults, such as ["rate-limited:ivft-vegh:times=2"].')
        try:
            self.faults(*asked)
        except UsageError as error:
            return _refused(str(error))
        return JSONResponse({"faults": self._plan.describe()})

    async def _post_advance(self, request: Request) -> JSONResponse:
        steps = request.query_params.get("steps", "1")
        if not steps.isdecimal():
            return _refused(f"The mock: steps are expected as a number; found {steps!r}.")
        try:
            self.advance(request.query_params.get("dataset"), int(steps))
        except UsageError as error:
            return _refused(str(error))
        return JSONResponse(self.datasets())

    async def _post_reset(self, _request: Request) -> JSONResponse:
        self.reset()
        return JSONResponse(self.datasets())

    async def _get_requests(self, _request: Request) -> JSONResponse:
        exchanges = [exchange.as_dict() for exchange in self._log.exchanges()]
        return JSONResponse({"total": self._log.total, "counts": self._log.counts(), "requests": exchanges})

    async def _delete_requests(self, _request: Request) -> JSONResponse:
        self.clear_requests()
        return JSONResponse({"total": 0})


def _refused(message: str) -> JSONResponse:
    return JSONResponse({"error": message}, status_code=400)

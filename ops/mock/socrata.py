"""Socrata's protocol: rows, counts and metadata with their headers, dates and errors.

What the rows are is in the tables, what is asked in soql.py and pages.py, what goes wrong in faults.py and exchange.py.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from catalunya.ops.mock.exchange import JSON, Answer, Desk, Wire, http_date
from catalunya.ops.mock.faults import PORTAL_FAULTS, Fault, Target
from catalunya.ops.mock.noise import number
from catalunya.ops.mock.pages import CHUNK, View
from catalunya.ops.mock.published import Published
from catalunya.ops.mock.shape import shape
from catalunya.ops.mock.soql import Query, RefusedQueryError, parse_query
from catalunya.ops.mock.tables import Table
from catalunya.ops.mock.views import made_up, pretty, view

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from catalunya.ops.mock.cache import PageCache

BETWEEN_CHANGES_S = 3600
ROWS_JSON = "application/json;charset=utf-8"
WIDEST_HEADER = 4096  # longer ones the portal leaves out


@dataclass
class _Served(Published):
    """A dataset as it stands: its version, and how often anything of it has changed."""

    table: Table
    base: dict[str, Any]

    @property
    def updated_at(self) -> int:
        return self.table.dataset.updated_at + self.changes * BETWEEN_CHANGES_S


class SocrataApi:
    """Datasets behind `/resource/{id}.json` and `/api/views/{id}`."""

    faults = PORTAL_FAULTS

    def __init__(
        self,
        tables: Sequence[Table],
        views: Mapping[str, dict[str, Any]],
        desk: Desk,
        seed: int,
        cache: PageCache | None = None,
    ) -> None:
        self._served = {t.dataset.id: _Served(t, views.get(t.dataset.id) or made_up(t.dataset)) for t in tables}
        self._desk = desk
        self._seed = seed
        self._cache = cache

    def routes(self) -> list[BaseRoute]:
        """Where it answers."""
        return [
            Route("/resource/{dataset}.json", self._rows),
            Route("/api/views/{dataset}.json", self._metadata),
            Route("/api/views/{dataset}", self._metadata),
        ]

    def describe(self) -> dict[str, dict[str, int]]:
        """Version, rows and date of each dataset."""
        return {
            name: {
                "version": served.version,
                "rows": served.table.total(served.version),
                "rowsUpdatedAt": served.updated_at,
            }
            for name, served in self._served.items()
        }

    def advance(self, dataset: str, steps: int) -> None:
        """Publish a new version, `steps` times."""
        self._served[dataset].advance(steps)

    def reset(self) -> None:
        """Back to version 0."""
        for served in self._served.values():
            served.reset()

    async def _rows(self, request: Request) -> Wire:
        dataset = request.path_params["dataset"]
        params = request.query_params.multi_items()
        target: Target = (
            "count" if "count(" in request.query_params.get("$select", "").replace(" ", "").lower() else "rows"
        )
        return await self._desk.serve(
            request,
            dataset,
            target,
            lambda serial, faults: self._answer_rows(dataset, params, serial, faults),
            kinds=self.faults,
        )

    async def _metadata(self, request: Request) -> Wire:
        dataset = request.path_params["dataset"]
        return await self._desk.serve(
            request,
            dataset,
            "metadata",
            lambda serial, faults: self._answer_metadata(dataset, serial, faults),
            kinds=self.faults,
        )

    def _answer_rows(self, dataset: str, params: list[tuple[str, str]], serial: int, faults: Sequence[Fault]) -> Answer:
        common = self._common(serial)
        served = self._served.get(dataset)
        if served is None:
            return _plain(404, common, _missing("dataset.missing", dataset))
        with served.lock:
            shown = self._view(served, faults)
            try:
                query = parse_query(params, shown.fields(), dataset)
            except RefusedQueryError as refused:
                return Answer(400, common | {"Content-Type": JSON}, partial(iter, [_line(refused.body)]))
            if any(fault.kind == "moving-rows" for fault in faults):
                served.version += 1
                served.changes += 1
        key = f"{dataset} {self._seed} {shown.table.total(0)} {shown.version} {shown.shape.token} {shown.updated_at} {query}"
        headers = common | self._headers(shown, query, key)
        if query.count:
            return Answer(200, headers, lambda: iter([_line([{query.count: str(shown.count(query))}])]))
        return Answer(200, headers, lambda: self._body(shown, query, key), streamed=query.limit > CHUNK)

    def _body(self, shown: View, query: Query, key: str) -> Iterator[bytes]:
        if self._cache and query.limit <= CHUNK:
            return self._cache.page(key, lambda: shown.body(query))
        return shown.body(query)

    def _answer_metadata(self, dataset: str, serial: int, faults: Sequence[Fault]) -> Answer:
        common = self._common(serial)
        served = self._served.get(dataset)
        if served is None:
            code = {"X-Error-Code": "not_found", "X-Error-Message": "Not found"}
            return _plain(404, common | code, _missing("not_found", dataset))
        with served.lock:
            shown = self._view(served, faults)
        moved = shown.updated_at - served.table.dataset.updated_at
        told = view(served.base, served.table.dataset, shown.shape, moved)
        dates = {"Last-Modified": http_date(told["viewLastModified"]), "ETag": _etag(f"{dataset} {told}")}
        return _plain(200, common | dates, told)

    def _view(self, served: _Served, faults: Sequence[Fault]) -> View:
        """The table as the faults show it.

        Where they show it otherwise than before, that is a change with a date: but not those of rows or metadata alone,
        which are errors of that answer and no change of the table.
        """
        table = served.table
        token = shape(table.dataset, 0, [fault for fault in faults if fault.on == "any"]).token
        if token != served.token:
            served.token = token
            served.changes += 1
        shown = shape(table.dataset, table.total(served.version), faults)
        return View(table, served.version, shown, self._seed, served.updated_at)

    def _common(self, serial: int) -> dict[str, str]:
        return {
            "Access-Control-Allow-Origin": "*",
            "Age": "0",
            "Cache-Control": "private, no-cache, must-revalidate",
            "Vary": "Accept-Encoding",
            "X-Socrata-Region": "aws-eu-west-1-prod",
            "X-Socrata-RequestId": f"{number(self._seed, 97, serial):016x}{number(self._seed, 98, serial):016x}",
        }

    def _headers(self, shown: View, query: Query, key: str) -> dict[str, str]:
        modified = http_date(shown.updated_at)
        columns = (
            [(query.count, "number")]
            if query.count
            else [(c.column.field, c.column.type) for c in shown.columns(query)]
        )
        types = ["floating_timestamp" if kind == "calendar_date" else kind for _, kind in columns]
        told = {
            "X-SODA2-Fields": json.dumps([name for name, _ in columns], separators=(",", ":")),
            "X-SODA2-Types": json.dumps(types, separators=(",", ":")),
        }
        return {
            "Content-Type": ROWS_JSON,
            "ETag": _etag(key),
            "Last-Modified": modified,
            "X-SODA2-Data-Out-Of-Date": "false",
            "X-SODA2-Secondary-Last-Modified": modified,
            "X-SODA2-Truth-Last-Modified": modified,
            "X-SODA2-Warning": "X-SODA2-Fields, X-SODA2-Types, and X-SODA2-Legacy-Types are deprecated",
        } | {name: value for name, value in told.items() if len(value) <= WIDEST_HEADER}


def _plain(status: int, headers: dict[str, str], body: object) -> Answer:
    return Answer(status, headers | {"Content-Type": JSON}, lambda: iter([pretty(body)]))


def _missing(code: str, dataset: str) -> dict[str, object]:
    return {"code": code, "error": True, "message": "Not found", "data": {"id": dataset}}


def _line(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _etag(key: str) -> str:
    return f'W/"{base64.urlsafe_b64encode(hashlib.sha256(key.encode()).digest()[:18]).decode()}"'

"""The API's answers: which document belongs to an address, and what the faults of statistical tables make of it.

Each level of an address has its own: `/taules/v2[/{statistic}[/{node}[/{table}[/{geo}[/data]]]]]`. GET or POST, the
parameters of a POST in its body. That answers bear no ETag and no Last-Modified is a choice: what the real ones bear is
not known, and a client that does without them is right either way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from starlette.routing import Route

from catalunya.ops.mock.exchange import JSON, Answer, Desk, Wire, html
from catalunya.ops.mock.faults import STATISTICS_FAULTS, Fault, Target
from catalunya.ops.mock.idescat import document
from catalunya.ops.mock.idescat.cube import Cells, Head, StatTable
from catalunya.ops.mock.idescat.query import ERRORS, MOST_CELLS, Asked, RefusedRequestError, read
from catalunya.ops.mock.idescat.view import View, view
from catalunya.ops.mock.published import Published

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import BaseRoute

BETWEEN_CHANGES = timedelta(days=1)
LONGEST_URL = 2000
_ROOT = "taules/v2"
_LEVELS = ("01", "02", "03", "04")  # the error of each level of an address


@dataclass
class _Served(Published):
    """A table as it stands: its version, how often anything of it has changed, and the cells made last."""

    table: StatTable
    made: tuple[int, Cells] | None = None

    @property
    def updated(self) -> date:
        return self.table.head.updated + self.changes * BETWEEN_CHANGES

    def cells(self) -> Cells:
        """The cells of the present version; to be called under the lock."""
        if self.made is None or self.made[0] != self.version:
            self.made = (self.version, self.table.cells(self.version))
        return self.made[1]


class IdescatApi:
    """Statistical tables behind `/taules/v2`."""

    faults = STATISTICS_FAULTS

    def __init__(self, tables: Sequence[StatTable], desk: Desk) -> None:
        self._served = {table.head.path: _Served(table) for table in tables}
        self._desk = desk

    def routes(self) -> list[BaseRoute]:
        """Where it answers."""
        methods = ["GET", "POST"]
        return [
            Route("/taules/v2", self._serve, methods=methods),
            Route("/taules/v2/{path:path}", self._serve, methods=methods),
        ]

    def describe(self) -> dict[str, dict[str, int]]:
        """Version, cells and date of each table."""
        return {
            name: {
                "version": served.version,
                "rows": served.table.size(served.version),
                "rowsUpdatedAt": int(datetime.combine(served.updated, datetime.min.time(), UTC).timestamp()),
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

    async def _serve(self, request: Request) -> Wire:
        path = request.path_params.get("path", "").strip("/")
        params, body = request.query_params.multi_items(), ""
        if request.method == "POST":
            body = (await request.body()).decode("utf-8", "replace")
            params += parse_qsl(body, keep_blank_values=True)
        is_too_long = request.method == "GET" and len(str(request.url)) > LONGEST_URL
        is_data = path.endswith("/data") and path.count("/") == len(_LEVELS)
        dataset = path.removesuffix("/data") if is_data else path
        target: Target = "rows" if is_data else "metadata"

        def answer(_serial: int, faults: Sequence[Fault]) -> Answer:
            if is_too_long:
                return html(414, "414 Request-URI Too Large")
            asked = read(params)
            try:
                return self._answer(path, asked, faults)
            except RefusedRequestError as refused:
                return _error(refused.number, asked.lang, ERRORS[refused.number][0])

        return await self._desk.serve(request, dataset or _ROOT, target, answer, kinds=self.faults, form=body)

    def _answer(self, path: str, asked: Asked, faults: Sequence[Fault]) -> Answer:
        for fault in faults:
            if fault.kind == "error-in-200":
                return _error(fault.id, asked.lang, 200)
        levels = path.split("/") if path else []
        if len(levels) > len(_LEVELS) + 1 or levels[len(_LEVELS) :] not in ([], ["data"]):
            return html(404, "404 Not Found")
        for depth, number in enumerate(_LEVELS[: len(levels)], start=1):
            if not self._below("/".join(levels[:depth])):
                raise RefusedRequestError(number)
        if len(levels) < len(_LEVELS):
            return _whole(document.collection(path, *self._listed(path), asked.lang))
        served = self._served["/".join(levels[: len(_LEVELS)])]
        return self._dataset(served, asked, faults, is_data=len(levels) > len(_LEVELS))

    def _dataset(self, served: _Served, asked: Asked, faults: Sequence[Fault], *, is_data: bool) -> Answer:
        kinds = {fault.kind for fault in faults}
        head = served.table.head
        with served.lock:
            whole = self._view(served, faults)
            shown = asked.of(whole) if is_data else whole
            updated = served.updated
            if not is_data:
                return _whole(document.metadata(head, shown, updated, self._related(head), asked.lang))
            if "ignored-filter" in kinds:
                shown = whole
            elif shown.cells() > MOST_CELLS:
                raise RefusedRequestError("05")
            if any(fault.kind == "too-heavy" and shown.cells() > fault.cells for fault in faults):
                return html(504, "504 Gateway Time-out")
            cells = served.cells()
            if "moving-rows" in kinds:
                served.version += 1
                served.changes += 1

        def pieces() -> Iterator[bytes]:
            return document.data(
                head,
                shown,
                shown.of(cells),
                updated,
                self._related(head),
                asked.lang,
                sparse="sparse" in kinds,
            )

        return Answer(200, _headers(), pieces)

    def _view(self, served: _Served, faults: Sequence[Fault]) -> View:
        """The table as the faults show it. Where they show it otherwise than before, that is a change with a date, but
        not where the fault is of metadata or data alone: that is an error of the answer and no change of the table."""
        token = view(served.table, served.version, [fault for fault in faults if fault.on == "any"]).token
        if token != served.token:
            served.token = token
            served.changes += 1
        return view(served.table, served.version, faults)

    def _below(self, path: str) -> list[Head]:
        """The tables at or below an address."""
        return [each.table.head for name, each in self._served.items() if f"{name}/".startswith(f"{path}/")]

    def _related(self, head: Head) -> list[Head]:
        return [each for each in self._below(head.path.partition("/")[0]) if each is not head]

    def _listed(self, path: str) -> tuple[str, list[tuple[str, str]]]:
        """The label of a list, and what it lists: addresses with their labels."""
        heads = self._below(path) if path else [served.table.head for served in self._served.values()]
        level = path.count("/") + 1 if path else 0
        items: dict[str, str] = {}
        for head in heads:
            levels = head.path.split("/")
            label = (head.statistic, head.label, head.label, document.GEOGRAPHIES[levels[-1]][1])[level]
            items.setdefault("/".join(levels[: level + 1]), label)
        label = ("Estadístiques disponibles", heads[0].statistic, heads[0].label, heads[0].label)[level]
        return label, list(items.items())


def _headers() -> dict[str, str]:
    return {"Access-Control-Allow-Origin": "*", "Content-Type": JSON, "Vary": "Accept-Encoding"}


def _whole(body: document.Document) -> Answer:
    return Answer(200, _headers(), lambda: iter([document.encoded(body)]))


def _error(number: str, lang: str, status: int) -> Answer:
    return Answer(status, _headers(), lambda: iter([document.encoded(document.error(number, lang))]))

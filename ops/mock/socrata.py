"""Socrata's protocol: rows, counts and metadata of any dataset, with the portal's headers, dates and errors.

Here: the answers and their headers. Not here: which datasets there are (`data.py`, `real.py`), what is in them at a version
(`tables.py`), how queries are read (`soql.py`).

Not known, chosen here: version 3 answers a request without a token as it answers a wrong one, with the headers of version 2; a token
is wrong if it is `wrong`.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from starlette.routing import Route

from catalunya.ops.mock.exchange import JSON, Answer, Asked, Desk, Wire, http_date
from catalunya.ops.mock.faults import PORTAL_FAULTS, Fault, Kind
from catalunya.ops.mock.soql import Query, RefusedQueryError, is_count, parse_query, parse_question
from catalunya.ops.mock.tables import CHUNK, Dataset, Shape, View, current

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from catalunya.ops.mock.samples import Sample

WIDEST_HEADER = 4096  # longer ones the portal leaves out
ROWS_JSON = "application/json;charset=utf-8"
HIDDEN_COLUMNS = ("sid", "id", "position", "created_at", "created_meta", "updated_at", "updated_meta", "meta")
WRONG_TOKEN = "wrong"  # noqa: S105 - it opens nothing


def served(sample: Sample) -> Dataset:
    """A recorded sample as a dataset of its own: its rows are all there are."""
    from catalunya.ops.mock.real import dataset  # it makes datasets of this module

    views = [view for answer in sample.metadata if isinstance(view := answer.json(), dict) and "columns" in view]
    rows = [row for page in sample.pages for row in page.json()]
    return dataset(sample.arguments[0], rows, views[0] if views else None, int(sample.recorded_at.timestamp()))


def metadata(shape: Shape) -> View:
    """What `/api/views` answers: the recorded or made-up metadata with the columns, counts and dates of now."""
    view = shape.dataset.view
    hidden = [entry for entry in view["columns"] if entry.get("position") == 0]
    if not hidden:
        kind = {"dataTypeName": "meta_data", "renderTypeName": "meta_data", "position": 0, "format": {}}
        hidden = [
            {"id": -1, "name": name, "fieldName": f":{name}", **kind, "flags": ["hidden"]} for name in HIDDEN_COLUMNS
        ]
    complete, columns = shape.dataset.rows.complete(), []
    for position, shown in enumerate(shape.columns, start=1):
        entry: View = (
            {"id": position, "renderTypeName": shown.type, "format": {}} | shown.entry | {"position": position}
        )
        recorded = entry.get("cachedContents", {})
        if recorded.get("count") != str(shape.total) and not (recorded == {} and shown.field.startswith(":")):
            whole = shown.source in complete or recorded.get("null") == "0"
            nulls = {"null": "0", "non_null": str(shape.total)} if whole else {}
            entry["cachedContents"] = recorded | {"count": str(shape.total)} | nulls
        columns.append(entry)
    first: int = view["rowsUpdatedAt"]
    modified: int = view.get("viewLastModified", first) + shape.updated_at - first
    dates = {"rowsUpdatedAt": shape.updated_at, "viewLastModified": modified}
    return view | dates | {"columns": hidden + columns}


class SocrataApi:
    """Datasets behind `/resource/{id}.json` and `/api/views/{id}`."""

    serves = Dataset

    def __init__(self, datasets: Iterable[Dataset], desk: Desk) -> None:
        self._datasets = {dataset.name: dataset for dataset in datasets}
        self._desk = desk

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/resource/{dataset}.json", self._rows),
            Route("/api/v3/views/{dataset}/query.json", self._query, methods=["POST"]),
            Route("/api/views/{dataset}.json", self._metadata),
            Route("/api/views/{dataset}", self._metadata),
        ]

    async def _rows(self, request: Request) -> Wire:
        kind: Kind = "count" if is_count(request.query_params.get("$select", "")) else "rows"
        params = request.query_params.multi_items()
        name = request.path_params["dataset"]

        def answer(asked: Asked, faults: Sequence[Fault]) -> Answer:
            return self._answer_rows(name, params, asked, faults)

        return await self._desk.serve(request, name, kind, answer, kinds=PORTAL_FAULTS)

    async def _query(self, request: Request) -> Wire:
        """Version 3: the same rows for a question in a JSON body."""
        body, name = await request.body(), request.path_params["dataset"]
        kind: Kind = "count" if is_count(body.decode(errors="replace")) else "rows"

        def answer(asked: Asked, faults: Sequence[Fault]) -> Answer:
            if asked.headers.get("x-app-token", WRONG_TOKEN) == WRONG_TOKEN:
                denied = {"code": "permission_denied", "error": True, "message": "Invalid app_token specified"}
                return _plain(403, _common(asked), denied)
            try:
                return self._answer_rows(name, parse_question(body), asked, faults)
            except RefusedQueryError as refused:
                return Answer(_line(refused.body), 400, _common(asked) | {"Content-Type": JSON})

        return await self._desk.serve(request, name, kind, answer, kinds=PORTAL_FAULTS)

    async def _metadata(self, request: Request) -> Wire:
        name = request.path_params["dataset"]

        def answer(asked: Asked, faults: Sequence[Fault]) -> Answer:
            return self._answer_metadata(name, asked, faults)

        return await self._desk.serve(request, name, "metadata", answer, kinds=PORTAL_FAULTS)

    def _answer_rows(self, name: str, params: list[tuple[str, str]], asked: Asked, faults: Sequence[Fault]) -> Answer:
        common = _common(asked)
        dataset = self._datasets.get(name)
        if dataset is None:
            return _plain(404, common, _missing("dataset.missing", name))
        with dataset.lock:
            shape = current(dataset, faults)
            try:
                query = parse_query(params, shape.types(), name)
            except RefusedQueryError as refused:
                return Answer(_line(refused.body), 400, common | {"Content-Type": JSON})
            if any(fault.kind == "moving-rows" for fault in faults):
                dataset.version += 1
                dataset.changes += 1
        headers = common | _row_headers(shape, query)
        if query.count:
            return Answer(_line([{query.count: str(shape.count(query))}]), 200, headers)
        if query.limit > CHUNK:
            return Answer(b"", 200, headers, stream=shape.body(query))
        return Answer(b"".join(shape.body(query)), 200, headers)

    def _answer_metadata(self, name: str, asked: Asked, faults: Sequence[Fault]) -> Answer:
        common = _common(asked)
        dataset = self._datasets.get(name)
        if dataset is None:
            code = {"X-Error-Code": "not_found", "X-Error-Message": "Not found"}
            return _plain(404, common | code, _missing("not_found", name))
        with dataset.lock:
            view = metadata(current(dataset, faults))
        dates = {"Last-Modified": http_date(view["viewLastModified"]), "ETag": _etag(f"{name} {view}")}
        return _plain(200, common | dates, view)


def _common(asked: Asked) -> dict[str, str]:
    return {
        "Access-Control-Allow-Origin": "*",
        "Age": "0",
        "Cache-Control": "private, no-cache, must-revalidate",
        "Vary": "Accept-Encoding",
        "X-Socrata-Region": "aws-eu-west-1-prod",
        "X-Socrata-RequestId": f"{asked.number:032x}",
    }


def _row_headers(shape: Shape, query: Query) -> dict[str, str]:
    modified = http_date(shape.updated_at)
    counted = [(query.count, "number")]
    columns = counted if query.count else [(each.field, each.type) for each in shape.selected(query)]
    types = ["floating_timestamp" if kind == "calendar_date" else kind for _, kind in columns]
    described: Mapping[str, str] = {
        "X-SODA2-Fields": json.dumps([name for name, _ in columns], separators=(",", ":")),
        "X-SODA2-Types": json.dumps(types, separators=(",", ":")),
    }
    return {
        "Content-Type": ROWS_JSON,
        "ETag": _etag(f"{shape.dataset.name} {shape.version} {shape.total} {shape.token} {shape.updated_at} {query}"),
        "Last-Modified": modified,
        "X-SODA2-Data-Out-Of-Date": "false",
        "X-SODA2-Secondary-Last-Modified": modified,
        "X-SODA2-Truth-Last-Modified": modified,
        "X-SODA2-Warning": "X-SODA2-Fields, X-SODA2-Types, and X-SODA2-Legacy-Types are deprecated",
    } | {name: value for name, value in described.items() if len(value) <= WIDEST_HEADER}


def _plain(status: int, headers: dict[str, str], body: object) -> Answer:
    """JSON as the portal's core writes it: two spaces, and a space before each colon."""
    text = json.dumps(body, indent=2, separators=(",", " : "), ensure_ascii=False)
    return Answer(f"{text}\n".encode(), status, headers | {"Content-Type": JSON})


def _missing(code: str, name: str) -> dict[str, object]:
    return {"code": code, "error": True, "message": "Not found", "data": {"id": name}}


def _line(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _etag(key: str) -> str:
    return f'W/"{base64.urlsafe_b64encode(hashlib.sha256(key.encode()).digest()[:18]).decode()}"'

"""CKAN's action API: resources of a DataStore with their rows, counts and metadata, below any prefix (`/data/api/3/action/…`).

Here: what the actions answer. Not here: rows at a version and what faults do to them (`tables.py`).

Known: 100 rows by default, `limit` cut to 32,000 without an error and named in the answer, `_links.next` even past the end, errors with
`success` false. Not known, chosen here: without an order rows come in another order for each page; a resource that needs a token is
refused with 403; a limit or a sort that cannot be is a Validation Error.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import polars as pl
from starlette.routing import Route

from catalunya.ops.mock.exchange import JSON, Answer, Asked, Desk, Wire
from catalunya.ops.mock.faults import PORTAL_FAULTS, Fault, Kind
from catalunya.ops.mock.rows import SmallRows
from catalunya.ops.mock.soql import Query
from catalunya.ops.mock.tables import ROW, Dataset, Shape, changing, column, current

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from catalunya.ops.mock.samples import Sample

Document = dict[str, Any]

MOST_ROWS = 32_000
DEFAULT_ROWS = 100
_PREFIXES = ("/{root:path}api/3/action/{action}", "/{root:path}api/action/{action}")


@dataclass(kw_only=True)
class Resource(Dataset):
    """A resource in the DataStore, and the dataset it belongs to, as their `show` actions give them. `most`: the rows of one answer."""

    resource: Document
    package: Document
    info: Mapping[str, Document]
    most: int = MOST_ROWS

    def shown(self, document: Document) -> Document:
        """Its metadata now: the dates that it has move with each change."""
        later = timedelta(seconds=self.updated_at - int(self.view["rowsUpdatedAt"]))
        dates = {name: document[name] for name in ("last_modified", "metadata_modified") if document.get(name)}
        return document | {name: (datetime.fromisoformat(text) + later).isoformat() for name, text in dates.items()}


def resource(
    name: str,
    frame: pl.DataFrame,
    types: Mapping[str, str],
    *,
    modified: str,
    key: Sequence[str] = (),
    info: Mapping[str, Document] | None = None,
    resource: Document | None = None,
    package: Document | None = None,
    most: int = MOST_ROWS,
) -> Resource:
    """A resource with these rows, whose cells are text, JSON of numbers and objects, or null. `modified` is an ISO time in UTC."""
    package = {"id": f"package-of-{name}"} | (package or {})
    document = {
        "id": name,
        "package_id": package["id"],
        "datastore_active": True,
        "last_modified": modified,
        "hash": "",
    }
    columns = [column(field, field, kind) for field, kind in types.items()]
    at = datetime.fromisoformat(modified)
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    revised = changing(types, key)
    return Resource(
        view={"id": name, "columns": columns, "rowsUpdatedAt": int(at.timestamp())},
        rows=SmallRows(frame.select(list(types)), key, revised),
        key=tuple(key),
        target="".join(revised),
        resource=document | (resource or {}),
        package=package,
        info=info or {},
        most=most,
    )


def served(sample: Sample) -> Resource:
    """A recorded sample as a resource of its own: its rows are all there are."""
    results = [answer.json()["result"] for answer in sample.metadata]
    pages = [answer.json()["result"] for answer in sample.pages]
    table = next(each for each in (*results, *pages) if "fields" in each)
    shown: Document = next((each for each in results if "package_id" in each), {})
    package: Document = next((each for each in results if each.get("id") == shown.get("package_id")), {})
    fields = {field["id"]: field for field in table["fields"] if field["id"] != "_id"}
    cells = {name: [_cell(row.get(name)) for page in pages for row in page["records"]] for name in fields}
    moment = shown.get("last_modified") or shown.get("metadata_modified") or package.get("metadata_modified")
    return resource(
        sample.arguments[0],
        pl.DataFrame(cells, schema=dict.fromkeys(fields, pl.String)),
        {name: field["type"] for name, field in fields.items()},
        modified=moment or sample.recorded_at.isoformat(),
        key=sample.options.get("key", ()),
        info={name: field["info"] for name, field in fields.items() if field.get("info")},
        resource=shown,
        package=package,
    )


def _cell(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


class CkanApi:
    """Resources behind `resource_show`, `package_show` and `datastore_search`."""

    serves = Resource

    def __init__(self, resources: Iterable[Resource], desk: Desk) -> None:
        self._resources = {each.name: each for each in resources}
        self._desk = desk

    def routes(self) -> list[BaseRoute]:
        return [Route(prefix, self._act) for prefix in _PREFIXES]

    async def _act(self, request: Request) -> Wire:
        action, params = request.path_params["action"], dict(request.query_params)
        name = params.get("resource_id" if action == "datastore_search" else "id", "")
        packages = {each.package["id"]: each for each in self._resources.values()}
        found = (packages if action == "package_show" else self._resources).get(name)
        is_rows = action == "datastore_search" and params.get("limit") != "0"
        kind: Kind = "rows" if is_rows else "count" if action == "datastore_search" else "metadata"

        def answer(asked: Asked, faults: Sequence[Fault]) -> Answer:
            url = str(request.url).partition("?")[0]
            try:
                result = _result(action, name, found, params, asked, faults)
            except _RefusedError as refused:
                return _sent(url, {"success": False, "error": refused.error}, refused.status)
            return _sent(url, {"success": True, "result": result}, 200)

        return await self._desk.serve(request, found.name if found else name, kind, answer, kinds=PORTAL_FAULTS)


class _RefusedError(Exception):
    """What CKAN answers to an action that it does not carry out."""

    def __init__(self, status: int, kind: str, **error: object) -> None:
        super().__init__(kind)
        self.status, self.error = status, {**error, "__type": kind}


def _result(
    action: str, name: str, found: Resource | None, params: Mapping[str, str], asked: Asked, faults: Sequence[Fault]
) -> object:
    if action not in ("resource_show", "package_show", "datastore_search"):
        raise _RefusedError(400, "Bad Request", message=f"Action name not known: {action}")
    if not found or (action == "datastore_search" and not found.resource["datastore_active"]):
        what = 'Resource "{}" was not found.' if action == "datastore_search" else "{}"
        raise _RefusedError(404, "Not Found Error", message=f"Not found: {what.format(name)}")
    if found.resource.get("token_required") == "Yes" and "authorization" not in asked.headers:
        raise _RefusedError(403, "Authorization Error", message="Access denied: a token is required")
    with found.lock:
        shape = current(found, faults)
        if action == "resource_show":
            return found.shown(found.resource)
        if action == "package_show":
            return found.shown(found.package) | {"resources": [found.shown(found.resource)]}
        result = _table(found, shape, params)
        if any(fault.kind == "moving-rows" for fault in faults):
            found.version += 1
            found.changes += 1
    return result


def _table(found: Resource, shape: Shape, params: Mapping[str, str]) -> Document:
    limit, offset = _number(params, "limit", DEFAULT_ROWS), _number(params, "offset", 0)
    limit = min(limit, found.most)
    order = tuple(_order(term, shape) for term in params.get("sort", "").split(",") if term.strip())
    rows = shape.objects(Query(limit, offset, order), (pl.col(ROW) + 1).cast(pl.String).alias("_id"))
    fields: list[Document] = [{"id": "_id", "type": "int"}]
    for shown in shape.columns:
        info = found.info.get(shown.source or "")
        fields.append({"id": shown.field, "type": shown.type} | ({"info": info} if info else {}))
    asked = {"resource_id": found.name, "sort": params.get("sort", "")}
    return {
        "include_total": True,
        "limit": limit,
        "records_format": "objects",
        "resource_id": found.name,
        "total_estimation_threshold": None,
        "records": json.loads(f"[{','.join(rows)}]"),
        "fields": fields,
        "_links": {
            "start": f"/api/3/action/datastore_search?{urlencode(asked)}",
            "next": f"/api/3/action/datastore_search?{urlencode(asked | {'offset': str(offset + limit)})}",
        },
        "total": shape.total,
        "total_was_estimated": False,
    }


def _order(term: str, shape: Shape) -> tuple[str, bool]:
    """A term of `sort`. The rows stand in the order in which they were loaded, which is that of `_id`."""
    name, _, direction = (
        term.strip().rpartition(" ") if term.strip().lower().endswith((" asc", " desc")) else (term, "", "")
    )
    name = name.strip().strip('"')
    if name != "_id" and name not in shape.types():
        raise _RefusedError(409, "Validation Error", sort=[f'field "{name}" not in table'])
    return (":id" if name == "_id" else name, direction.lower() == "desc")


def _number(params: Mapping[str, str], name: str, default: int) -> int:
    text = params.get(name, str(default))
    if not text.isdecimal():
        raise _RefusedError(409, "Validation Error", **{name: ["Invalid integer"]})
    return int(text)


def _sent(url: str, body: Document, status: int) -> Answer:
    base, _, action = url.rpartition("/")
    text = json.dumps({"help": f"{base}/help_show?name={action}"} | body, ensure_ascii=False)
    return Answer(text.encode(), status, {"Content-Type": JSON})

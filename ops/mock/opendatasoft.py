"""Opendatasoft's Explore API 2.1: datasets with their metadata, lists of records up to the 10,000th, and exports of all of them.

Here: what the API answers. Not here: rows at a version and what faults do to them (`tables.py`).

Known: 10 records by default, 100 at most, the refusal of a larger limit, JSON numbers, points as `{"lon", "lat"}`. Not known, chosen here:
without an order records come in another order for each page; refusals of other parameters look like that of the limit.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
from starlette.routing import Route

from catalunya.ops.mock.exchange import JSON, Answer, Asked, Desk, Wire
from catalunya.ops.mock.faults import PORTAL_FAULTS, Fault, Kind
from catalunya.ops.mock.rows import SmallRows
from catalunya.ops.mock.soql import Query
from catalunya.ops.mock.tables import Dataset, Shape, changing, column, current

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from catalunya.ops.mock.samples import Sample

Document = dict[str, Any]

MOST_RECORDS = 100
LAST_RECORD = 10_000
DEFAULT_RECORDS = 10
_PATH = "/api/explore/v2.1/catalog/datasets/{dataset}"


@dataclass(kw_only=True)
class Records(Dataset):
    """A dataset, with its metadata as the API gives them; `fields`: the entry of each field in them."""

    document: Document
    fields: Mapping[str, Document]

    def shown(self, shape: Shape) -> Document:
        """Its metadata now: the time when its records were processed moves with each change."""
        metas = self.document["metas"]["default"]
        later = timedelta(seconds=self.updated_at - int(self.view["rowsUpdatedAt"]))
        dates = {name: metas[name] for name in ("modified", "data_processed") if metas.get(name)}
        if "data_processed" in dates and not metas.get("modified_updates_on_data_change"):
            dates.pop("modified", None)
        moved = {name: (datetime.fromisoformat(text) + later).isoformat() for name, text in dates.items()}
        fields: list[Document] = [
            {"name": shown.field, "label": shown.field, "description": None, "annotations": {}}
            | self.fields.get(shown.source or "", {})
            | {"name": shown.field, "type": shown.type}
            for shown in shape.columns
        ]
        default = metas | moved | {"records_count": shape.total}
        return self.document | {"fields": fields, "metas": {**self.document["metas"], "default": default}}


def dataset(
    name: str,
    frame: pl.DataFrame,
    types: Mapping[str, str],
    *,
    processed: str,
    key: Sequence[str] = (),
    fields: Mapping[str, Document] | None = None,
    document: Document | None = None,
) -> Records:
    """A dataset with these rows, whose cells are text, JSON of numbers and objects, or null; `processed`: when, as an ISO time."""
    at = datetime.fromisoformat(processed)
    revised, metas = changing(types, key), (document or {}).get("metas", {})
    default = {"data_processed": processed, **metas.get("default", {})}
    columns = [column(field, field, kind) for field, kind in types.items()]
    return Records(
        view={
            "id": name,
            "columns": columns,
            "rowsUpdatedAt": int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()),
        },
        rows=SmallRows(frame.select(list(types)), key, revised),
        key=tuple(key),
        target="".join(revised),
        document={"dataset_id": name, "has_records": True, **(document or {}), "metas": {**metas, "default": default}},
        fields=fields or {},
    )


def served(sample: Sample) -> Records:
    """A recorded sample as a dataset of its own: its records are all there are."""
    document = next(found for answer in sample.metadata if "metas" in (found := answer.json()))
    lines = [json.loads(line) for page in sample.pages for line in page.body.splitlines()]
    fields = {field["name"]: field for field in document["fields"]}
    cells = {name: [_cell(line.get(name)) for line in lines] for name in fields}
    metas = document["metas"]["default"]
    return dataset(
        sample.arguments[0],
        pl.DataFrame(cells, schema=dict.fromkeys(fields, pl.String)),
        {name: field["type"] for name, field in fields.items()},
        processed=metas.get("data_processed") or metas.get("modified") or sample.recorded_at.isoformat(),
        key=sample.options.get("key", ()),
        fields=fields,
        document=document,
    )


def _cell(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


class OpendatasoftApi:
    """Datasets behind `/api/explore/v2.1`."""

    serves = Records

    def __init__(self, datasets: Iterable[Records], desk: Desk) -> None:
        self._datasets = {each.name: each for each in datasets}
        self._desk = desk

    def routes(self) -> list[BaseRoute]:
        return [
            Route(_PATH, self._serve),
            Route(f"{_PATH}/records", self._serve),
            Route(f"{_PATH}/exports/{{format}}", self._serve),
        ]

    async def _serve(self, request: Request) -> Wire:
        name, params = request.path_params["dataset"], dict(request.query_params)
        what = request.path_params.get("format", request.url.path.rpartition("/")[2])
        is_count = what == "records" and params.get("limit") in ("0", "1")
        kind: Kind = "metadata" if what == name else "count" if is_count else "rows"

        def answer(_: Asked, faults: Sequence[Fault]) -> Answer:
            found = self._datasets.get(name)
            if found is None:
                return _refused(404, "UnknownDatasetError", f"Dataset {name} doesn't exist.")
            with found.lock:
                shape = current(found, faults)
                try:
                    sent = _sent(json.dumps(found.shown(shape))) if what == name else _records(shape, what, params)
                except _RefusedError as refused:
                    return _refused(400, "InvalidRESTParameterError", str(refused))
                if any(fault.kind == "moving-rows" for fault in faults):
                    found.version += 1
                    found.changes += 1
            return sent

        return await self._desk.serve(request, name, kind, answer, kinds=PORTAL_FAULTS)


class _RefusedError(Exception):
    """Not an error of ours: what the API answers, with status 400."""


def _records(shape: Shape, what: str, params: Mapping[str, str]) -> Answer:
    order = tuple(_order(term, shape) for term in params.get("order_by", "").split(",") if term.strip())
    if what == "records":
        limit, offset = (
            _number(params, "limit", DEFAULT_RECORDS, MOST_RECORDS),
            _number(params, "offset", 0, LAST_RECORD),
        )
        if offset + limit > LAST_RECORD:
            raise _RefusedError(
                f"Invalid value for offset API parameter: {offset + limit} was found but offset + limit <= {LAST_RECORD} is expected."
            )
        rows = shape.objects(Query(MOST_RECORDS if limit < 0 else limit, offset, order))
        return _sent(f'{{"total_count": {shape.total}, "results": [{", ".join(rows)}]}}')
    limit = _number(params, "limit", -1, 10**9)
    rows = shape.objects(Query(shape.total if limit < 0 else limit, 0, order or ((":id", False),)))
    if what == "jsonl":
        return Answer(
            "".join(f"{row}\n" for row in rows).encode(), 200, {"Content-Type": "application/jsonl; charset=utf-8"}
        )
    if what == "json":
        return _sent(f"[{', '.join(rows)}]")
    raise _RefusedError(f"Invalid value for format API parameter: {what} was found but json or jsonl is expected.")


def _order(term: str, shape: Shape) -> tuple[str, bool]:
    name, _, direction = term.strip().partition(" ")
    if name not in shape.types():
        raise _RefusedError(f"Invalid value for order_by API parameter: unknown field {name}.")
    return name, direction.lower() == "desc"


def _number(params: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = params.get(name, str(default))
    if not text.lstrip("-").isdecimal() or not -1 <= int(text) <= most:
        raise _RefusedError(
            f"Invalid value for {name} API parameter: {text} was found but -1 <= {name} <= {most} is expected."
        )
    return int(text)


def _sent(text: str) -> Answer:
    return Answer(text.encode(), 200, {"Content-Type": JSON})


def _refused(status: int, code: str, message: str) -> Answer:
    return Answer(json.dumps({"error_code": code, "message": message}).encode(), status, {"Content-Type": JSON})

"""Socrata's protocol: rows, counts and metadata of any dataset, with the portal's headers, dates and errors.

Here: datasets at a version, as the faults show them, and the JSON they become. Not here: which datasets there are
(`data.py`, `real.py`), how queries are read (`soql.py`).

Not known, chosen here: version 3 answers a request without a token as it answers a wrong one, with the headers of version 2; a token
is wrong if it is `wrong`.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

import polars as pl
from starlette.routing import Route

from catalunya.ops.mock.exchange import JSON, Answer, Asked, Desk, Published, Wire, http_date
from catalunya.ops.mock.faults import PORTAL_FAULTS, Fault, Kind
from catalunya.ops.mock.soql import (
    SYSTEM_FIELDS,
    Bound,
    Query,
    RefusedQueryError,
    is_count,
    parse_query,
    parse_question,
)

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from catalunya.ops.mock.samples import Sample

View = dict[str, Any]
"""A dataset's metadata as `/api/views` has it."""

ROW = "__row"
"""UInt64 column of every dataset beside its own: the number of the row, ascending by position."""
CHUNK = 50_000
BETWEEN_CHANGES_S = 3600
WIDEST_HEADER = 4096  # longer ones the portal leaves out
ROWS_JSON = "application/json;charset=utf-8"
HIDDEN_COLUMNS = ("sid", "id", "position", "created_at", "created_meta", "updated_at", "updated_meta", "meta")
NEW_COLUMN = "nova_columna"
WRONG_TOKEN = "wrong"  # noqa: S105 - it opens nothing
_POSITION = "__position"
_RAW_TYPES = ("point", "checkbox", "location", "url", "document", "multipolygon", "polygon", "line")  # JSON, not text
_DEFAULT_TYPE = {"number": "text", "text": "calendar_date"}
_NUMBER = r"^-?\d+(\.\d+)?$"


class Rows(Protocol):
    """The rows of a dataset at any version; versions count from 0 and each is a pure function of its number."""

    def total(self, version: int, /) -> int:
        """How many rows there are."""

    def at(self, version: int, positions: pl.Series, /) -> pl.LazyFrame:
        """One row for each of `positions` (UInt64): the dataset's columns as strings (or JSON), and ROW."""

    def system_fields(self, version: int, /) -> Collection[str]:
        """The portal's own fields (`:id`, ...) that recorded rows bring along."""

    def complete(self) -> Collection[str]:
        """The columns without a null."""

    def rendered(self, version: int, positions: pl.Series, /) -> pl.Series | None:
        """The rows as JSON objects, if there is a quicker way than column by column."""


@dataclass(kw_only=True)
class Dataset(Published):
    """One dataset. Rows stand in the order of `key`. `target`: the column that a fault changes if it names none."""

    faults = PORTAL_FAULTS
    view: View
    rows: Rows
    key: tuple[str, ...] = ()
    target: str = ""

    @property
    def name(self) -> str:
        return str(self.view["id"])

    @property
    def updated_at(self) -> int:
        """When its rows were last updated, seconds since 1970."""
        return int(self.view["rowsUpdatedAt"]) + self.changes * BETWEEN_CHANGES_S

    def state(self) -> dict[str, int]:
        return {"version": self.version, "rows": self.rows.total(self.version), "rowsUpdatedAt": self.updated_at}


@dataclass(frozen=True)
class Shown:
    """A column as it is shown: its entry in the metadata, and the field that it comes from, None if it is made up."""

    entry: View
    source: str | None
    retyped: str = ""

    @property
    def field(self) -> str:
        return str(self.entry["fieldName"])

    @property
    def type(self) -> str:
        return str(self.entry["dataTypeName"])

    @property
    def quoted(self) -> bool:
        """Whether the value is a JSON string: numbers are in SODA."""
        return self.retyped != "json-number" and self.type not in _RAW_TYPES

    def value(self) -> pl.Expr:
        """The value out of the dataset's columns: a string, or JSON if it is not quoted."""
        if self.source is None:
            return pl.concat_str(pl.lit("valor "), pl.int_range(pl.len()) % 7).alias(self.field)
        value = pl.col(self.source)
        known = value.is_not_null()
        match self.retyped:
            case "text":
                value = value + " (text)"
            case "number" | "json-number":
                value = pl.when(value.str.contains(_NUMBER)).then(value.str.replace(r"^(-?)0+(\d)", "${1}${2}"))
            case "calendar_date":
                year = (
                    pl.when(value.str.contains(r"^[12]\d{3}\b")).then(value.str.slice(0, 4)).otherwise(pl.lit("2020"))
                )
                value = pl.when(known).then(year + "-01-01T00:00:00.000")
            case "point":
                value = pl.when(known).then(pl.lit('{"type":"Point","coordinates":[2.177241106,41.38240539]}'))
            case "checkbox":
                value = pl.when(known).then(pl.lit("true"))
        return value.alias(self.field)


@dataclass(frozen=True)
class Shape:
    """A dataset at a version as the faults show it: columns and number of rows. `token` names what the faults changed."""

    dataset: Dataset
    version: int
    columns: tuple[Shown, ...]
    total: int
    token: str
    updated_at: int

    def types(self) -> dict[str, str]:
        return {shown.field: shown.type for shown in self.columns}

    def find(self, name: str) -> Shown:
        """The column of that name; system fields can be shown too."""
        system = Shown({"fieldName": name, "dataTypeName": "text"}, name)
        return next((shown for shown in self.columns if shown.field == name), system)

    def selected(self, query: Query) -> list[Shown]:
        """The columns that a query selects, system fields first."""
        fields = [shown.field for shown in self.columns] if query.fields is None else query.fields
        return [self.find(name) for name in (*(SYSTEM_FIELDS if query.system else ()), *fields)]

    def body(self, query: Query) -> Iterator[bytes]:
        """The JSON array of a query's rows, a chunk at a time: no more of a table is in memory."""
        columns = self.selected(query)
        is_plain = query.fields is None and not query.system and not self.token
        opened = False
        for positions in self._positions(query):
            objects = self.dataset.rows.rendered(self.version, positions) if is_plain else None
            if objects is None:
                frame = self._at(positions).select(each.value() for each in columns).collect()
                objects = json_objects(frame, columns)
            if objects.len():
                yield (b"\n," if opened else b"[") + objects.str.join("\n,").item().encode()
                opened = True
        yield b"]\n" if opened else b"[]\n"

    def count(self, query: Query) -> int:
        """How many rows a query's filters leave."""
        return self._filtered(query).len() if query.filters or query.where else self.total

    def _at(self, positions: pl.Series) -> pl.LazyFrame:
        rows = self.dataset.rows
        own = rows.system_fields(self.version)
        made = _system(self.version, self.updated_at)
        return rows.at(self.version, positions).with_columns(
            **{name: value for name, value in made.items() if name not in own}
        )

    def _positions(self, query: Query) -> Iterator[pl.Series]:
        """Which rows a query gets. The order that the table stands in is worked out by position; any other order, or a
        filter, reads the columns it needs of the whole table."""
        if query.filters or query.where or (query.order and not self._stands_in(query.order)):
            chosen = self._filtered(query).slice(query.offset, query.limit)
            yield from (chosen.slice(start, CHUNK) for start in range(0, chosen.len(), CHUNK))
            return
        end = min(query.offset + query.limit, self.total)
        for start in range(query.offset, end, CHUNK):
            positions = pl.int_range(start, min(start + CHUNK, end), dtype=pl.UInt64, eager=True)
            yield positions if query.order else self._unordered(positions, query)

    def _unordered(self, positions: pl.Series, query: Query) -> pl.Series:
        """Without an order, pages overlap and miss rows, as those of the portal may: each but the first begins a little
        late, wraps around, and is shuffled."""
        late = 1 + query.offset * 7919 % max(1, query.limit // 8) if query.offset else 0
        return ((positions + late) % self.total).shuffle(seed=query.offset)

    def _stands_in(self, order: tuple[tuple[str, bool], ...]) -> bool:
        columns = [self.find(name) for name, _ in order]
        if any(descending for _, descending in order) or any(shown.retyped for shown in columns):
            return False
        names = [shown.source for shown in columns]
        ascending = (
            [] if ":id" in self.dataset.rows.system_fields(self.version) else [":id"]
        )  # recorded ids do not ascend
        return names == [*self.dataset.key, *ascending][: len(names)] or names == ascending

    def _filtered(self, query: Query) -> pl.Series:
        """The positions of all rows that pass the filters, in order. Only the named columns are read."""
        everything = pl.int_range(0, self.total, dtype=pl.UInt64, eager=True)
        named = [name for name, _ in query.filters + query.order] + [bound.field for bound in query.where]
        columns = [self.find(name) for name in dict.fromkeys(named)]
        frame = self._at(everything).select(*(each.value() for each in columns), pl.lit(everything).alias(_POSITION))
        frame = frame.filter(*(pl.col(name) == value for name, value in query.filters), *map(_within, query.where))
        if query.order:
            numbers = {each.field for each in columns if each.type == "number"}
            by = [pl.col(name).cast(pl.Float64) if name in numbers else pl.col(name) for name, _ in query.order]
            frame = frame.sort(by, descending=[down for _, down in query.order], nulls_last=True, maintain_order=True)
        return frame.select(_POSITION).collect()[_POSITION]


def served(sample: Sample) -> Dataset:
    """A recorded sample as a dataset of its own: its rows are all there are."""
    from catalunya.ops.mock.real import dataset  # it makes datasets of this module

    views = [view for answer in sample.metadata if isinstance(view := answer.json(), dict) and "columns" in view]
    rows = [row for page in sample.pages for row in page.json()]
    return dataset(sample.arguments[0], rows, views[0] if views else None, int(sample.recorded_at.timestamp()))


def shape_of(dataset: Dataset, faults: Sequence[Fault]) -> Shape:
    """The dataset under those of the faults that change tables."""
    columns = [Shown(entry, entry["fieldName"]) for entry in dataset.view["columns"] if entry.get("position") != 0]
    total, tokens = dataset.rows.total(dataset.version), []
    for fault in faults:
        meant = fault.column or dataset.target
        at = next((i for i, shown in enumerate(columns) if shown.source == meant), None)
        match fault.kind:
            case "empty":
                total = 0
            case "shrunken":
                total = int(total * fault.keep)
            case "new-column":
                name = fault.column or NEW_COLUMN
                columns.append(Shown(column(name, name.replace("_", " ").capitalize()), None))
            case "missing-column" if at is not None:
                del columns[at]
            case "renamed-column" if at is not None:
                old = columns[at].entry
                renamed = {"fieldName": fault.to or f"{meant}_nou", "name": f"{old['name']} (nou)"}
                columns[at] = replace(columns[at], entry=old | renamed)
            case "retyped-column" if at is not None:
                to = fault.to or _DEFAULT_TYPE.get(columns[at].type, "text")
                kind = "number" if to == "json-number" else to
                entry = columns[at].entry | {"dataTypeName": kind, "renderTypeName": kind}
                columns[at] = replace(columns[at], entry=entry, retyped=to)
            case _:
                continue
        tokens.append(f"{fault.kind}={fault.column}={fault.to}={fault.keep}")
    return Shape(dataset, dataset.version, tuple(columns), total, "&".join(tokens), dataset.updated_at)


def column(name: str, label: str, kind: str = "text") -> View:
    """A column's entry in the metadata."""
    return {"name": label, "fieldName": name, "dataTypeName": kind, "renderTypeName": kind}


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


def json_objects(frame: pl.DataFrame, columns: Sequence[Shown]) -> pl.Series:
    """Rows as the portal writes them: JSON objects, nulls left out, numbers as strings."""
    members = []
    for shown in columns:
        value = pl.col(shown.field)
        if shown.quoted:  # polars writes `{"name":"escaped value"}`
            member = pl.struct(value).struct.json_encode().str.strip_prefix("{").str.strip_suffix("}")
        else:
            member = pl.lit(f"{json.dumps(shown.field)}:") + value
        members.append(pl.when(value.is_not_null()).then(pl.lit(",") + member).otherwise(pl.lit("")))
    return frame.select(pl.lit("{") + pl.concat_str(members).str.strip_prefix(",") + pl.lit("}")).to_series()


def _system(version: int, updated_at: int) -> dict[str, pl.Expr]:
    """The portal's own fields. A new version replaces the table, so every row gets new ones; ids ascend with the row."""
    number = pl.col(ROW).cast(pl.String).str.zfill(8)
    digits = (number.str.head(-4), pl.lit("-"), number.str.tail(4))
    at = datetime.fromtimestamp(updated_at, UTC).strftime("%Y-%m-%dT%H:%M:%S.795Z")
    return {
        ":id": pl.concat_str(pl.lit(f"row-{version:04}-"), *digits),
        ":version": pl.concat_str(pl.lit(f"rv-{version:04}~"), *digits),
        ":created_at": pl.lit(at),
        ":updated_at": pl.lit(at),
    }


def _within(bound: Bound) -> pl.Expr:
    """Whether a row is within a bound; one without a value is not."""
    value = pl.col(bound.field).cast(pl.Float64) if bound.is_number else pl.col(bound.field)
    limit = pl.lit(float(bound.value) if bound.is_number else bound.value)
    return value >= limit if bound.operator == ">=" else value <= limit


class SocrataApi:
    """Datasets behind `/resource/{id}.json` and `/api/views/{id}`."""

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
            shape = _current(dataset, faults)
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
            view = metadata(_current(dataset, faults))
        dates = {"Last-Modified": http_date(view["viewLastModified"]), "ETag": _etag(f"{name} {view}")}
        return _plain(200, common | dates, view)


def _current(dataset: Dataset, faults: Sequence[Fault]) -> Shape:
    """The dataset as the faults show it, to be called under its lock. A fault of rows or metadata alone is an error of that
    answer and no change of the table."""
    dataset.show_as(shape_of(dataset, [fault for fault in faults if fault.on == "any"]).token)
    return shape_of(dataset, faults)


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

"""IDESCAT's tables API (Taules v2): lists, metadata and data of any JSON-stat 2.0 dataset, with its filters and limits.

Here: tables at a version, as the faults show them, and the documents they become. Not here: which tables there are
(`data.py`, `real.py`). Each level of an address has its own answer:
`/taules/v2[/{statistic}[/{node}[/{table}[/{geo}[/data]]]]]`; GET or POST, the parameters of a POST in its body.

Known: an unknown filter is not an error; `_LAST_` together with a filter on time is error 06; more than 20,000 cells are
error 05 with status 416; answers carry no ETag and no Last-Modified. Not known, chosen here: a category that does not
exist is absent from the answer; a `_LAST_` that is not a number from 1 on is error 06 too; metadata ignore filters; labels
are in Catalan in every language.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from math import prod
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from starlette.routing import Route

from catalunya.ops.mock.exchange import Answer, Asked, Desk, Published, Wire, html
from catalunya.ops.mock.faults import STATISTICS_FAULTS, Fault, Kind

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from catalunya.ops.mock.samples import Sample

HOST = "https://api.idescat.cat/taules/v2"
MOST_CELLS = 20_000
LONGEST_URL = 2000
BETWEEN_CHANGES = timedelta(days=1)
TOTAL, MISSING = "TOTAL", ".."
NEW_DIMENSION = "NOVA_DIMENSIO"
STATUSES = {
    "p": "Dada provisional",
    "a": "Dada avançada",
    MISSING: "dada confidencial, de baixa fiabilitat o no disponible",
}
ERRORS = {
    "00": (500, "Error intern."),
    "01": (400, "Estadística inexistent."),
    "02": (400, "Node inexistent."),
    "03": (400, "Taula inexistent."),
    "04": (400, "Divisió territorial inexistent."),
    "05": (416, "Nombre màxim de dades superat."),
    "06": (400, "Paràmetre _LAST_ incorrecte."),
}
# Each geographic division: in a title, and in the list of a table's divisions.
GEOGRAPHIES = {
    "cat": ("Catalunya", "Catalunya"),
    "com": ("Comarques i Aran", "Per comarques i Aran"),
    "mun": ("Municipis", "Per municipis"),
}
_ROOT = "taules/v2"
_LEVELS = ("01", "02", "03", "04")  # the error of each level of an address

Document = dict[str, Any]


class RefusedRequestError(Exception):
    """Not an error of ours: what the API answers to what it cannot serve, by its number there."""

    def __init__(self, number: str) -> None:
        super().__init__(ERRORS[number][1])
        self.number = number


@dataclass(frozen=True)
class Cube:
    """A table at one version: the document without `size` and cells, the values (the last dimension running fastest), and
    the status of the cells that have one."""

    document: Document
    values: Sequence[float | None]
    statuses: Mapping[int, str]


@dataclass(kw_only=True)
class StatTable(Published):
    """One table: `path` is `statistic/node/table/geo`; `cube` makes it at a version. `statistic`: its name, for lists."""

    faults = STATISTICS_FAULTS
    path: str
    cube: Callable[[int], Cube]
    statistic: str = ""

    @property
    def name(self) -> str:
        return self.path

    def updated(self) -> str:
        """The day it was last updated; a recorded time of day is kept until something changes."""
        first = str(self.cube(0).document["updated"])
        return (date.fromisoformat(first[:10]) + self.changes * BETWEEN_CHANGES).isoformat() if self.changes else first

    def title(self) -> str:
        return str(self.cube(0).document["label"])

    def state(self) -> dict[str, int]:
        updated = datetime.fromisoformat(self.updated()[:10]).replace(tzinfo=UTC)
        size = len(self.cube(self.version).values)
        return {"version": self.version, "rows": size, "rowsUpdatedAt": int(updated.timestamp())}


def served(sample: Sample) -> StatTable:
    """A recorded sample as a table of its own: its cells are all there are."""
    from catalunya.ops.mock.real import stat_table  # it makes tables of this module

    page, *more = sample.pages
    if more or len(sample.arguments) > 1:
        raise ValueError("expected one page of one table")
    return stat_table(page.json(), sample.arguments[0], int(sample.recorded_at.timestamp()))


@dataclass(frozen=True)
class Axis:
    """A dimension: which of its categories are there, by position. `size`: how many the cells have along it, 1 for a
    dimension that is made up. `shown`: whether it is in the answer."""

    code: str
    dimension: Document
    role: str
    size: int
    picked: tuple[int, ...]
    shown: bool = True

    def codes(self) -> list[str]:
        index: list[str] = self.dimension["category"]["index"]
        return [index[at] for at in self.picked]

    def only(self, codes: set[str]) -> Axis:
        """Only these categories, in the table's order."""
        return replace(
            self, picked=tuple(at for at, code in zip(self.picked, self.codes(), strict=True) if code in codes)
        )


def axes_of(cube: Cube, faults: Sequence[Fault]) -> tuple[list[Axis], str]:
    """The cube's axes under those of the faults that change tables, and a token that names what they changed."""
    document = cube.document
    roles = {code: role for role, codes in document.get("role", {}).items() for code in codes}
    axes = []
    for code in document["id"]:
        dimension = document["dimension"][code]
        size = len(dimension["category"]["index"])
        axes.append(Axis(code, dimension, roles.get(code, ""), size, tuple(range(size))))
    tokens = []
    for fault in faults:
        changed = _changed(axes, fault)
        if changed != axes:
            axes = changed
            tokens.append(f"{fault.kind}={fault.column}={fault.to}={fault.keep}")
    return axes, "&".join(tokens)


def _changed(axes: list[Axis], fault: Fault) -> list[Axis]:
    def is_meant(axis: Axis) -> bool:
        """The dimension that the fault names, or the one that is not time, place or metric."""
        return axis.code == fault.column if fault.column else axis.role == ""

    match fault.kind:
        case "empty":
            return _shrunken(axes, 0)
        case "shrunken":
            return _shrunken(axes, fault.keep)
        case "new-column":
            made_up = {"label": "nova dimensió", "category": {"index": [TOTAL], "label": {TOTAL: "total"}}}
            return [*axes, Axis(fault.column or NEW_DIMENSION, made_up, "", 1, (0,))]
        case "missing-column":
            return [_folded(axis) if is_meant(axis) else axis for axis in axes]
        case "renamed-column":
            return [replace(axis, code=fault.to or f"{axis.code}_NOU") if is_meant(axis) else axis for axis in axes]
    return axes


def _shrunken(axes: Sequence[Axis], keep: float) -> list[Axis]:
    """Only the first places are left; of a table of one place, the first periods."""
    role = "geo" if any(axis.role == "geo" and axis.size > 1 for axis in axes) else "time"
    return [
        replace(axis, picked=axis.picked[: int(len(axis.picked) * keep)]) if axis.role == role else axis
        for axis in axes
    ]


def _folded(axis: Axis) -> Axis:
    """The dimension is not shown any more: its total is left, or its last category."""
    codes = axis.codes()
    return replace(axis, picked=(codes.index(TOTAL) if TOTAL in codes else len(codes) - 1,), shown=False)


def selected(axes: Sequence[Axis], filters: Mapping[str, set[str]], last: str | None) -> list[Axis]:
    """What a request leaves: the categories it names and the last periods. Raises RefusedRequestError."""
    left = [axis.only(filters[axis.code]) if axis.shown and axis.code in filters else axis for axis in axes]
    if last is None:
        return left
    if any(axis.role == "time" and axis.code in filters for axis in axes) or not last.isdecimal() or int(last) < 1:
        raise RefusedRequestError("06")
    return [replace(axis, picked=axis.picked[-int(last) :]) if axis.role == "time" else axis for axis in left]


def cells(axes: Sequence[Axis]) -> int:
    """How many cells there are."""
    return prod(len(axis.picked) for axis in axes)


def dataset(cube: Cube, axes: Sequence[Axis], updated: str) -> Document:
    """The document of these axes, without cells."""
    shown = [axis for axis in axes if axis.shown]
    roles: dict[str, list[str]] = {}
    for axis in shown:
        if axis.role:
            roles.setdefault(axis.role, []).append(axis.code)
    return cube.document | {
        "updated": updated,
        "id": [axis.code for axis in shown],
        "size": [len(axis.picked) for axis in shown],
        "role": {role: roles[role] for role in ("time", "geo", "metric") if role in roles},
        "dimension": {axis.code: _dimension(axis) for axis in shown},
    }


def _dimension(axis: Axis) -> Document:
    codes, dimension = axis.codes(), dict(axis.dimension)
    category = dimension["category"]
    dimension["category"] = {"index": codes} | {
        name: {code: category[name][code] for code in codes if code in category[name]}
        for name in ("label", "unit")
        if name in category
    }
    if "status" in (extension := dict(dimension.get("extension", {}))):
        extension["status"] = {code: status for code, status in extension["status"].items() if code in codes}
    if extension := {name: value for name, value in extension.items() if value}:
        dimension["extension"] = extension
    else:
        dimension.pop("extension", None)
    return dimension


def with_cells(document: Document, cube: Cube, axes: Sequence[Axis], *, sparse: bool) -> Document:
    """The document with values and statuses; `sparse`: values as an object, the missing ones left out."""
    wanted = [0]
    for axis in axes:
        wanted = [start * axis.size + at for start in wanted for at in axis.picked]
    values = [cube.values[at] for at in wanted]
    shown = {at: value for at, value in enumerate(values) if value is not None} if sparse else values
    statuses = {place: cube.statuses[at] for place, at in enumerate(wanted) if at in cube.statuses}
    extension = document.get("extension") or {"status": {"label": STATUSES}}
    return document | {"value": shown, "status": statuses, "extension": extension}


def error(number: str) -> Document:
    """An error's body."""
    status, label = ERRORS[number]
    return {"version": "2.0", "class": "error", "status": str(status), "id": number, "label": label}


def encoded(document: Document) -> bytes:
    """A document as it is sent: on one line."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def address(path: str, lang: str) -> str:
    """The real API's address, so that an answer is the same wherever the mock runs."""
    return f"{HOST}/{path}?lang={lang}" if path else f"{HOST}?lang={lang}"


class IdescatApi:
    """Statistical tables behind `/taules/v2`."""

    serves = StatTable

    def __init__(self, tables: Iterable[StatTable], desk: Desk) -> None:
        self._tables = {table.path: table for table in tables}
        self._desk = desk

    def routes(self) -> list[BaseRoute]:
        methods = ["GET", "POST"]
        return [Route(f"/{_ROOT}{rest}", self._serve, methods=methods) for rest in ("", "/{path:path}")]

    async def _serve(self, request: Request) -> Wire:
        path = request.path_params.get("path", "").strip("/")
        is_data = path.endswith("/data") and path.count("/") == len(_LEVELS)
        kind: Kind = "rows" if is_data else "metadata"

        def answer(asked: Asked, faults: Sequence[Fault]) -> Answer:
            if asked.method == "GET" and len(str(request.url)) > LONGEST_URL:
                return html(414, "414 Request-URI Too Large")
            try:
                return self._answer(path, parse_qsl(asked.query, keep_blank_values=True), faults)
            except RefusedRequestError as refused:
                return Answer(encoded(error(refused.number)), ERRORS[refused.number][0], _HEADERS)

        name = path.removesuffix("/data") if is_data else path
        return await self._desk.serve(request, name or _ROOT, kind, answer, kinds=STATISTICS_FAULTS)

    def _answer(self, path: str, params: Iterable[tuple[str, str]], faults: Sequence[Fault]) -> Answer:
        for fault in faults:
            if fault.kind == "error-in-200":
                return Answer(encoded(error(fault.id)), 200, _HEADERS)
        levels = path.split("/") if path else []
        if len(levels) > len(_LEVELS) + 1 or levels[len(_LEVELS) :] not in ([], ["data"]):
            return html(404, "404 Not Found")
        for depth, number in enumerate(_LEVELS[: len(levels)], start=1):
            if not self._below("/".join(levels[:depth])):
                raise RefusedRequestError(number)
        filters: dict[str, set[str]] = {}
        for name, value in params:  # values are joined by commas, and a filter that is given twice means both
            filters.setdefault(name, set()).update(code.strip() for code in value.split(","))
        lang, last = ",".join(filters.pop("lang", {"ca"})), filters.pop("_LAST_", None)
        if len(levels) < len(_LEVELS):
            return Answer(encoded(self._collection(path, lang)), 200, _HEADERS)
        table = self._tables["/".join(levels[: len(_LEVELS)])]
        with table.lock:
            if len(levels) == len(_LEVELS):
                return Answer(encoded(self._metadata(table, faults, lang)), 200, _HEADERS)
            return self._data(table, filters, ",".join(last) if last else None, faults, lang)

    def _metadata(self, table: StatTable, faults: Sequence[Fault], lang: str) -> Document:
        cube, axes = _current(table, faults)
        document = dataset(cube, axes, table.updated()) | {"href": address(table.path, lang)}
        document.pop("extension", None)
        href = address(f"{table.path}/data", lang)
        describes = {"describes": [{"href": href, "label": table.title(), "class": "dataset"}]}
        return document | {"link": describes | self._related(table, lang)}

    def _data(
        self, table: StatTable, filters: Mapping[str, set[str]], last: str | None, faults: Sequence[Fault], lang: str
    ) -> Answer:
        kinds = {fault.kind for fault in faults}
        cube, whole = _current(table, faults)
        axes = selected(whole, filters, last)
        if "ignored-filter" in kinds:
            axes = whole
        elif cells(axes) > MOST_CELLS:
            raise RefusedRequestError("05")
        if any(fault.kind == "too-heavy" and cells(axes) > fault.cells for fault in faults):
            return html(504, "504 Gateway Time-out")
        document = dataset(cube, axes, table.updated()) | {"href": address(f"{table.path}/data", lang)}
        if related := self._related(table, lang):
            document["link"] = related
        body = encoded(with_cells(document, cube, axes, sparse="sparse" in kinds))
        if "moving-rows" in kinds:
            table.version += 1
            table.changes += 1
        return Answer(body, 200, _HEADERS)

    def _below(self, path: str) -> list[StatTable]:
        """The tables at or below an address."""
        return [table for name, table in self._tables.items() if not path or f"{name}/".startswith(f"{path}/")]

    def _related(self, table: StatTable, lang: str) -> Document:
        others = [each for each in self._below(table.path.partition("/")[0]) if each is not table]
        items = [{"href": address(each.path, lang), "label": each.title(), "class": "dataset"} for each in others]
        return {"related": items} if items else {}

    def _collection(self, path: str, lang: str) -> Document:
        """A list of addresses and labels; the last level lists datasets, the others lists."""
        tables, level = self._below(path), path.count("/") + 1 if path else 0
        items: dict[str, str] = {}
        for table in tables:
            levels = table.path.split("/")
            place = GEOGRAPHIES.get(levels[-1], (levels[-1],) * 2)
            title = table.title().removesuffix(f". {place[0]}")
            label = (table.statistic or levels[0], title, title, place[1])[level]
            items.setdefault("/".join(levels[: level + 1]), label)
        kind = "dataset" if level == len(_LEVELS) - 1 else "collection"
        item = [{"class": kind, "href": address(each, lang), "label": label} for each, label in items.items()]
        label = (
            (tables[0].statistic or path) if level == 1 else tables[0].title() if level else "Estadístiques disponibles"
        )
        return {
            "version": "2.0",
            "class": "collection",
            "href": address(path, lang),
            "label": label,
            "link": {"item": item},
        }


_HEADERS = {"Access-Control-Allow-Origin": "*", "Vary": "Accept-Encoding"}


def _current(table: StatTable, faults: Sequence[Fault]) -> tuple[Cube, list[Axis]]:
    """The table as the faults show it, to be called under its lock. A fault of metadata or data alone is an error of that
    answer and no change of the table."""
    cube = table.cube(table.version)
    table.show_as(axes_of(cube, [fault for fault in faults if fault.on == "any"])[1])
    return cube, axes_of(cube, faults)[0]

"""The mock APIs with a test's own data: a portal with one small dataset, IDESCAT with small tables, and the clients of both.

Whatever should go wrong is set on `Portal` and `Api`, or done by their hooks, which get each request and the mock's answer.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from typing import Any

import polars as pl

from catalunya.io.sources.base import Extraction, HttpSettings, PageSink, SourceState
from catalunya.io.sources.idescat import Idescat
from catalunya.io.sources.socrata import Socrata
from catalunya.ops.mock import idescat, serve
from catalunya.ops.mock.exchange import Answer, Asked
from catalunya.ops.mock.idescat import Cube, StatTable
from catalunya.ops.mock.rows import SmallRows
from catalunya.ops.mock.server import MockServer
from catalunya.ops.mock.tables import Dataset

__all__ = ["Answer", "Asked"]

RESES = Socrata("ivft-vegh", key=("registre",))
POPULATION = "ep/9122/10002/mun"
HALF_YEARS = [f"{year}S{half}" for year in range(2014, 2020) for half in (1, 2)]

Hook = Callable[[Asked, Answer], Answer]


def as_it_is(_: Asked, answer: Answer) -> Answer:
    """A hook that changes nothing."""
    return answer


def fast(url: str, **changed: Any) -> HttpSettings:
    """Settings of a client that soon gives up."""
    settings = {"attempts": 3, "timeout_s": 2.0, "deadline_s": 10.0, "requests_per_second": 2000.0}
    waits = {"backoff_initial_s": 0.001, "backoff_max_s": 0.01, "backoff_jitter_s": 0.001}
    return HttpSettings(url, **{**settings, **waits, **changed})


class Landing:
    """A sink that keeps pages in memory, in the order in which they were written."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.written: list[str] = []
        self.most_at_once = 0
        self.at_once = 0
        self._lock = threading.Lock()

    def __call__(self, name: str, body: bytes) -> None:
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        time.sleep(0.002)
        with self._lock:
            self.files[name] = bytes(body)
            self.written.append(name)
            self.at_once -= 1


# Socrata


def soda(rows: list[dict[str, Any]]) -> bytes:
    """Rows as the portal writes them: one a line."""
    lines = "\n,".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows)
    return f"[{lines}]\n".encode()


class _Rows:
    """The portal's rows as they are now."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal

    def total(self, _version: int) -> int:
        return len(self._portal.rows)

    def at(self, version: int, positions: pl.Series) -> pl.LazyFrame:
        fields = dict.fromkeys([*self._portal.columns, *(name for row in self._portal.rows for name in row)])
        columns = {name: [_text(row.get(name)) for row in self._portal.rows] for name in fields}
        return SmallRows(pl.DataFrame(columns, schema=dict.fromkeys(fields, pl.String))).at(version, positions)

    def system_fields(self, _version: int) -> Sequence[str]:
        return ()

    def complete(self) -> Sequence[str]:
        return ()

    def rendered(self, _version: int, _positions: pl.Series) -> None:
        return None


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)


class Portal:
    """A portal with one dataset. `last_modified`: the stamp of its pages, which metadata do not know; `counted`: what it
    counts, if not its rows; `write`: how it writes rows; `on_view` and `on_page`: what becomes of metadata and of a page.
    """

    def __init__(self, rows: int, dataset_id: str = "ivft-vegh") -> None:
        self.rows = [{"registre": f"S{i:05}", "nom": f"Residència «{i}», l'Hospitalet"} for i in range(rows)]
        self.dataset = Dataset(view={"id": dataset_id}, rows=_Rows(self), key=("registre",))
        self.columns = {"registre": "text", "nom": "text", ":@computed_region_x": "number"}
        self.rows_updated_at = 1734602306
        self.last_modified = "Thu, 19 Dec 2024 09:58:26 GMT"
        self.headers: dict[str, str] = {}
        self.counted: Any = None
        self.on_view: Hook = as_it_is
        self.on_page: Hook = as_it_is
        self.write: Callable[[list[dict[str, Any]]], bytes] | None = None
        self.server: MockServer

    @property
    def columns(self) -> dict[str, str]:
        """The types of the columns by name; to be set, not changed."""
        return {each["fieldName"]: each["dataTypeName"] for each in self.dataset.view["columns"]}

    @columns.setter
    def columns(self, types: dict[str, str]) -> None:
        entries = [{"fieldName": name, "name": name, "dataTypeName": kind} for name, kind in types.items()]
        self.dataset.view["columns"] = entries

    @property
    def rows_updated_at(self) -> int:
        return int(self.dataset.view["rowsUpdatedAt"])

    @rows_updated_at.setter
    def rows_updated_at(self, seconds: int) -> None:
        self.dataset.view["rowsUpdatedAt"] = seconds

    def asked(self, kind: str) -> list[Asked]:
        """The requests for "metadata", "count" or "rows"."""
        return [asked for asked in self.server.requests if asked.kind == kind]

    @contextmanager
    def running(self) -> Iterator[Portal]:
        with serve(datasets=[self.dataset]) as self.server:
            self.server.reply(self._reply)
            yield self

    def _reply(self, asked: Asked, answer: Answer) -> Answer:
        if answer.status != 200:
            return answer
        if asked.kind == "metadata":
            return self.on_view(asked, answer)
        if asked.kind == "count":
            return answer if self.counted is None else Answer(f'[{{"total":"{self.counted}"}}]\n'.encode())
        modified = {"Last-Modified": self.last_modified, "X-SODA2-Truth-Last-Modified": self.last_modified}
        body = self.write(json.loads(answer.body)) if self.write else answer.body
        return self.on_page(asked, Answer(body, headers={**answer.headers, **modified, **self.headers}))


@contextmanager
def portal_with(rows: int, dataset_id: str = "ivft-vegh") -> Iterator[Portal]:
    """A portal that runs."""
    with Portal(rows, dataset_id).running() as portal:
        yield portal


def probe(portal: Portal, known: str | None = None, source: Socrata = RESES) -> SourceState | None:
    return source.probe(fast(portal.server.url), known)


def extract(
    portal: Portal, sink: PageSink, source: Socrata = RESES, progress: Any = None, window: Any = None, **changed: Any
) -> Extraction:
    state = probe(portal, source=source)
    assert state
    settings = fast(portal.server.url, **{"page_rows": 10, **changed})
    return source.extract(settings, state, sink, window=window, progress=progress)


def on_page(portal: Portal, offset: int, times: int, change: Callable[[Answer], Answer]) -> None:
    """Let the first `times` answers for the page at `offset` be what `change` makes of them."""
    left = [times]

    def changed(asked: Asked, page: Answer) -> Answer:
        if asked.params["$offset"] == str(offset) and left[0] > 0:
            left[0] -= 1
            return change(page)
        return page

    portal.on_page = changed


# IDESCAT


@dataclass
class Table:
    """A table whose cells have their own number as value."""

    name: str = POPULATION
    updated: str = "2026-01-29"
    codes: dict[str, list[str]] = field(
        default_factory=lambda: {
            "SEMESTER": list(HALF_YEARS),
            "MUN": ["080193", "170010", "250019", "TOTAL"],
            "SEX": ["M", "F", "TOTAL"],
            "CONCEPT": ["POP"],
        }
    )
    role: dict[str, list[str]] = field(
        default_factory=lambda: {"time": ["SEMESTER"], "geo": ["MUN"], "metric": ["CONCEPT"]}
    )

    @property
    def cells(self) -> int:
        return prod(map(len, self.codes.values()))

    def cube(self, _version: int = 0) -> Cube:
        dimensions = {
            name: {"label": name.lower(), "category": {"index": list(codes), "label": {code: code for code in codes}}}
            for name, codes in self.codes.items()
        }
        document = {"version": "2.0", "class": "dataset", "label": "Estimacions de població", "updated": self.updated}
        return Cube(
            document | {"id": list(self.codes), "role": self.role, "dimension": dimensions}, range(self.cells), {}
        )

    def whole(self) -> bytes:
        """The answer to a request for all cells."""
        cube = self.cube()
        axes, _ = idescat.axes_of(cube, [])
        href = {"href": idescat.address(f"{self.name}/data", "ca")}
        document = idescat.dataset(cube, axes, self.updated) | href
        return idescat.encoded(idescat.with_cells(document, cube, axes, sparse=False))


def error(number: str, label: str = "Nombre màxim de dades superat.", status: int = 416) -> bytes:
    document = {"version": "2.0", "class": "error", "status": str(status), "id": number, "label": label}
    return json.dumps(document, ensure_ascii=False).encode()


class Api:
    """IDESCAT with these tables. `limit`: the most cells it gives, else `too_large`; `on_metadata` and `on_data`: what
    becomes of an answer."""

    def __init__(self, *tables: Table) -> None:
        self.tables = {table.name: table for table in tables or (Table(),)}
        self.limit = idescat.MOST_CELLS
        self.too_large = Answer(error("05"), 416)
        self.on_metadata: Hook = as_it_is
        self.on_data: Hook = as_it_is
        self.server: MockServer

    @property
    def table(self) -> Table:
        return next(iter(self.tables.values()))

    def asked(self, kind: str) -> list[Asked]:
        """The requests for "metadata" or "rows"."""
        return [asked for asked in self.server.requests if asked.kind == kind]

    def filters(self) -> list[dict[str, list[str]]]:
        """What the requests for data named, in the order of the pages."""
        return sorted((filters_of(asked) for asked in self.asked("rows")), key=str)

    @contextmanager
    def running(self) -> Iterator[Api]:
        tables = [StatTable(path=table.name, cube=table.cube) for table in self.tables.values()]
        with serve(datasets=tables) as self.server:
            self.server.reply(self._reply)
            yield self

    def _reply(self, asked: Asked, answer: Answer) -> Answer:
        if asked.kind != "rows":
            return self.on_metadata(asked, answer)
        is_too_large = answer.status == 200 and len(json.loads(answer.body)["value"]) > self.limit
        return self.on_data(asked, self.too_large if is_too_large else answer)


def filters_of(asked: Asked) -> dict[str, list[str]]:
    params = asked.params
    assert params.pop("lang") == "ca"
    return {name: codes.split(",") for name, codes in params.items()}


@contextmanager
def tables_with(*tables: Table) -> Iterator[Api]:
    """An API that runs."""
    with Api(*tables).running() as api:
        yield api


def probe_tables(api: Api, known: str | None = None) -> SourceState | None:
    return Idescat(*api.tables).probe(fast(api.server.url), known)


def extract_tables(api: Api, sink: PageSink, window: Any = None, progress: Any = None, **changed: Any) -> Extraction:
    state = probe_tables(api)
    assert state
    settings = fast(api.server.url, **changed)
    return Idescat(*api.tables).extract(settings, state, sink, window=window, progress=progress)


def times(count: int, change: Callable[[Answer], Answer]) -> Hook:
    """Change the first `count` answers."""
    left = [count]

    def changed(_: Asked, answer: Answer) -> Answer:
        left[0] -= 1
        return change(answer) if left[0] >= 0 else answer

    return changed

"""A small real server that answers as IDESCAT's tables API does, and misbehaves in whatever way a test chooses.

Not the mock API of the local environment (catalunya.ops.mock), and written without it: what one has wrong, the other shows.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from tests.unit._socrata_server import Answer, Asked, Server

from catalunya.io.sources.base import Extraction, HttpSettings, PageSink, SourceState
from catalunya.io.sources.idescat import Idescat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

POPULATION = "ep/9122/10002/mun"
HALF_YEARS = [f"{year}S{half}" for year in range(2014, 2020) for half in (1, 2)]


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

    def dataset(self, asked: dict[str, list[str]] | None) -> dict[str, Any]:
        """The metadata; with filters, the cells that they leave. A filter of another name is not heeded."""
        shown = {
            name: [code for code in codes if not asked or code in asked.get(name, codes)]
            for name, codes in self.codes.items()
        }
        whole = {
            "version": "2.0",
            "class": "dataset",
            "href": f"https://api.idescat.cat/taules/v2/{self.name}{'' if asked is None else '/data'}?lang=ca",
            "label": "Estimacions de població",
            "updated": self.updated,
            "id": list(shown),
            "size": [len(codes) for codes in shown.values()],
            "role": self.role,
            "dimension": {
                name: {"label": name.lower(), "category": {"index": codes, "label": {code: code for code in codes}}}
                for name, codes in shown.items()
            },
        }
        return whole if asked is None else whole | {"value": self.values(shown)}

    def values(self, shown: dict[str, list[str]]) -> list[int]:
        number = {key: place for place, key in enumerate(itertools.product(*self.codes.values()))}
        return [number[key] for key in itertools.product(*shown.values())]

    @property
    def cells(self) -> int:
        return len(self.values(self.codes))


def error(number: str, label: str = "Nombre màxim de dades superat.", status: int = 416) -> bytes:
    told = {"version": "2.0", "class": "error", "status": str(status), "id": number, "label": label}
    return json.dumps(told, ensure_ascii=False).encode()


class Api:
    """Tables as the API answers for them. What goes wrong is set on it, or put by `on_metadata` and `on_data`."""

    def __init__(self, *tables: Table) -> None:
        self.tables = {table.name: table for table in tables or (Table(),)}
        self.limit = 20_000
        self.too_large = Answer(error("05"), 416)
        self.on_metadata: Callable[[Asked, Answer], Answer] = lambda _, answer: answer
        self.on_data: Callable[[Asked, Answer], Answer] = lambda _, answer: answer
        self.server = Server(self._reply)

    @property
    def table(self) -> Table:
        return next(iter(self.tables.values()))

    def asked(self, kind: str) -> list[Asked]:
        """The requests for "metadata" or "data"."""
        return [asked for asked in self.server.asked if (kind == "data") == asked.path.endswith("/data")]

    def filters(self) -> list[dict[str, list[str]]]:
        """What the requests for data named, in the order of the pages."""
        return sorted((filters_of(asked) for asked in self.asked("data")), key=str)

    def _reply(self, asked: Asked) -> Answer:
        name = asked.path.removeprefix("/taules/v2/").removesuffix("/data")
        if name not in self.tables:
            return Answer(error("03", "La taula no existeix.", 400), 400)
        if not asked.path.endswith("/data"):
            return self.on_metadata(asked, Answer(json.dumps(self.tables[name].dataset(None)).encode()))
        return self.on_data(asked, self._data(self.tables[name], filters_of(asked)))

    def _data(self, table: Table, filters: dict[str, list[str]]) -> Answer:
        found = table.dataset(filters)
        return self.too_large if len(found["value"]) > self.limit else Answer(json.dumps(found).encode())


def filters_of(asked: Asked) -> dict[str, list[str]]:
    params = dict(parse_qsl(asked.body.decode())) if asked.method == "POST" else asked.params
    assert params.pop("lang") == "ca"
    return {name: codes.split(",") for name, codes in params.items()}


@contextmanager
def opened(*tables: Table) -> Iterator[Api]:
    """An API that runs."""
    api = Api(*tables)
    with api.server.running():
        yield api


def fast(api: Api, **changed: Any) -> HttpSettings:
    kind = {"attempts": 3, "timeout_s": 2.0, "deadline_s": 10.0, "requests_per_second": 2000.0}
    waits = {"backoff_initial_s": 0.001, "backoff_max_s": 0.01, "backoff_jitter_s": 0.001}
    return HttpSettings(api.server.url, **{**kind, **waits, **changed})


def source(api: Api) -> Idescat:
    return Idescat(*api.tables)


def probe(api: Api, known: str | None = None) -> SourceState | None:
    return asyncio.run(source(api).probe(fast(api), known))


def extract(api: Api, sink: PageSink, window: Any = None, progress: Any = None, **changed: Any) -> Extraction:
    state = probe(api)
    assert state
    return asyncio.run(source(api).extract(fast(api, **changed), state, sink, window=window, progress=progress))


def times(count: int, change: Callable[[Answer], Answer]) -> Callable[[Asked, Answer], Answer]:
    """Change the first `count` answers."""
    left = [count]

    def changed(_: Asked, answer: Answer) -> Answer:
        left[0] -= 1
        return change(answer) if left[0] >= 0 else answer

    return changed

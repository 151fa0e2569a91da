"""EMEX as the mock serves it (`/emex/v1/dades.json`, `/emex/v1/nodes.json`): indicators of all municipalities.

Here: the layout of an answer, as recordings and client programs have it, and the faults that change one. Not here: the values
(`data.py`), faults of any answer (`exchange.py`). What no one has recorded is left out: the sheets of one municipality, and other places.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from catalunya.ops.mock.exchange import Answer, Asked, Desk, Published, Wire, html
from catalunya.ops.mock.faults import ANSWER_KINDS, Fault, Kind
from catalunya.ops.mock.idescat import BETWEEN_CHANGES

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from catalunya.ops.mock.samples import Sample

FAULTS = frozenset(ANSWER_KINDS) | {"error-in-200", "empty", "shrunken"}
_ROOT = "emex/v1"
_CHANGED = 3
"""Values that change with each version."""


@dataclass(kw_only=True)
class Sheet(Published):
    """One indicator: `described` is what is said of it (`id`, `c` label, `u` unit, `r` reference, `updated`), `places` code -> name,
    `values` one for each, as they are sent.
    """

    faults = FAULTS
    described: Mapping[str, Any]
    places: Mapping[str, str]
    values: Sequence[str]

    @property
    def name(self) -> str:
        return f"emex/{self.described['id']}"

    def updated(self) -> str:
        """The day it was last updated."""
        return (date.fromisoformat(self.described["updated"][:10]) + self.changes * BETWEEN_CHANGES).isoformat()

    def state(self) -> dict[str, int]:
        updated = datetime.fromisoformat(self.updated()).replace(tzinfo=UTC)
        return {"version": self.version, "rows": len(self.values), "rowsUpdatedAt": int(updated.timestamp())}

    def now(self) -> list[str]:
        """The values at its version: a few of the published ones have grown by a tenth."""
        values = list(self.values)
        for number in range(1, self.version + 1):
            for change in range(_CHANGED):
                at = (number * 37 + change * 101) % max(1, len(values))
                if values and values[at] != "_":
                    values[at] = f"{float(values[at]) + 0.1:.1f}"
        return values


def served(sample: Sample) -> Sheet:
    """A recorded sample as an indicator of its own."""
    fitxes = sample.pages[0].json()["fitxes"]
    (described,) = _listed(fitxes["indicadors"]["i"])
    places = {each["id"]: each["content"] for each in _listed(fitxes["cols"]["col"])}
    return Sheet(described=described, places=places, values=described["v"].split(","))


class EmexApi:
    """Indicators behind `/emex/v1`."""

    serves = Sheet

    def __init__(self, sheets: Iterable[Sheet], desk: Desk) -> None:
        self._sheets = {sheet.described["id"]: sheet for sheet in sheets}
        self._desk = desk

    def routes(self) -> list[BaseRoute]:
        return [Route(f"/{_ROOT}/{{operation}}.json", self._serve)]

    async def _serve(self, request: Request) -> Wire:
        operation, wanted = request.path_params["operation"], request.query_params.get("i", "").split(",")

        def answer(asked: Asked, faults: Sequence[Fault]) -> Answer:
            if operation not in ("dades", "nodes"):
                return html(404, "404 Not Found")
            said = {"p": asked.query.replace("&", ";"), "lang": "ca", "version": "1.00", "o": operation}
            if any(fault.kind == "error-in-200" for fault in faults):
                return _sent(said | {"error": "503"})
            if operation == "nodes":
                places = {code: name for sheet in self._sheets.values() for code, name in sheet.places.items()}
                return _sent(said | {"v": _columns(places)})
            found = [sheet for number, sheet in self._sheets.items() if number in wanted]
            if not found:
                return _sent(said | {"error": "404"})
            return _sent(said | _content(found, faults))

        kind: Kind = "rows" if operation == "dades" else "metadata"
        return await self._desk.serve(request, f"emex/{wanted[0]}" if wanted[0] else _ROOT, kind, answer, kinds=FAULTS)


def _content(sheets: Sequence[Sheet], faults: Sequence[Fault]) -> dict[str, Any]:
    """The columns and indicators of an answer. A single one is an object, not a list of one."""
    places = dict(sheets[0].places)
    left = len(places)
    for fault in faults:
        left = 0 if fault.kind == "empty" else int(left * fault.keep) if fault.kind == "shrunken" else left
    listed = []
    for sheet in sheets:
        with sheet.lock:
            sheet.show_as(str(left) if left < len(places) else "")
            values = ",".join(sheet.now()[:left])
            listed.append({**sheet.described, "updated": sheet.updated(), "v": values})
    columns = _columns(dict(list(places.items())[:left]))
    return {"cols": {"col": _collapsed(columns)}, "indicadors": {"i": _collapsed(listed)}}


def _columns(places: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"scheme": "mun", "id": code, "content": name} for code, name in places.items()]


def _collapsed(listed: list[dict[str, Any]]) -> Any:
    return listed[0] if len(listed) == 1 else listed


def _listed(content: Any) -> list[dict[str, Any]]:
    return content if isinstance(content, list) else [content]


def _sent(content: Mapping[str, Any]) -> Answer:
    body = json.dumps({"fitxes": content}, ensure_ascii=False, separators=(",", ":")).encode()
    return Answer(body, 200, {"Access-Control-Allow-Origin": "*"})

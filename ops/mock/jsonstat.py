"""JSON-stat datasets at any URL: answers as they were recorded, each to its own question.

Here: a dataset as a set of answers. Not here: IDESCAT's API, which computes its answers (`idescat.py`). A version is the same cells with
`updated` one day later.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

from starlette.routing import Route

from catalunya.ops.mock.exchange import JSON, Answer, Asked, Desk, Published, Wire
from catalunya.ops.mock.faults import DOCUMENT_FAULTS, Fault

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from catalunya.ops.mock.samples import Sample

_UPDATED = re.compile(rb'("updated"\s*:\s*")(\d{4}-\d\d-\d\d)')


@dataclass(kw_only=True)
class PublishedDataset(Published):
    """A dataset at `address`, without its query. `answers`: the query of each question -> the body of its answer; `whole`: the answer to
    any other question."""

    faults = DOCUMENT_FAULTS
    address: str
    answers: Mapping[str, bytes]
    whole: bytes | None = None

    @property
    def name(self) -> str:
        url = urlsplit(self.address)
        return f"{url.netloc}{unquote(url.path)}"

    def state(self) -> dict[str, int]:
        return {"version": self.version, "answers": len(self.answers)}

    def answer(self, query: str) -> bytes | None:
        """What is answered to a question; parameters may come in any order."""
        asked = sorted(parse_qsl(query))
        found = next((body for known, body in self.answers.items() if sorted(parse_qsl(known)) == asked), self.whole)
        return found and _UPDATED.sub(self._later, found)

    def _later(self, stamp: re.Match[bytes]) -> bytes:
        day = date.fromisoformat(stamp[2].decode()) + timedelta(days=self.version)
        return stamp[1] + day.isoformat().encode()


def served(sample: Sample) -> PublishedDataset:
    """A recorded sample as a dataset that knows the questions that were recorded."""
    answers = {urlsplit(each.url).query: each.body for each in (*sample.metadata, *sample.pages)}
    return PublishedDataset(address=sample.arguments[0].partition("?")[0], answers=answers)


class JsonStatApi:
    """The datasets of all hosts."""

    serves = PublishedDataset

    def __init__(self, datasets: Sequence[PublishedDataset], desk: Desk) -> None:
        self._datasets, self._desk = {each.name: each for each in datasets}, desk

    def routes(self) -> list[BaseRoute]:
        """The path of each dataset."""
        paths = {unquote(urlsplit(each.address).path) for each in self._datasets.values()}
        return [Route(path, self._serve) for path in sorted(paths)]

    async def _serve(self, request: Request) -> Wire:
        name = f"{request.scope.get('portal', '')}{request.scope['path']}"

        def answer(asked: Asked, faults: Sequence[Fault]) -> Answer:
            dataset = self._datasets.get(name) or self._datasets.get(
                request.scope["path"]
            )  # one of a folder has no host
            body = dataset.answer(asked.query) if dataset else None
            if dataset and any(fault.kind == "moving-rows" for fault in faults):
                dataset.advance(1)
            return Answer(body or _NOT_FOUND, 200 if body else 404, {"Content-Type": JSON})

        return await self._desk.serve(request, name, "rows", answer, kinds=DOCUMENT_FAULTS)


_NOT_FOUND = b'{"error":[{"status":404,"id":100,"label":"ERR_NOT_FOUND_4: no answer was recorded to this question"}]}'

"""The protocol of IDESCAT's tables API (taules v2): what its metadata tell, what is asked, what an answer must be.

Here: no request and no order of requests (see idescat.py), only what goes into one and what comes of it. How a dataset is
laid out is in jsonstat.py.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING

import msgspec

from catalunya.io.errors import ContractError, SourceError, UsageError
from catalunya.io.periods import period
from catalunya.io.sources.base import BadBodyError
from catalunya.io.sources.jsonstat import BROKEN_JSON, Dataset, check_places, decode, moment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from catalunya.io.periods import Window
    from catalunya.io.sources.http import Reply

API = "/taules/v2"
MAX_CELLS = 20_000  # of one answer, after its filters; more is refused with 416
MAX_ADDRESS = 2_000  # characters; a longer question goes by POST
INTERNAL, TOO_LARGE = "00", "05"  # the API's own numbers of its errors
_MISSING = {"01": "statistic", "02": "node", "03": "table", "04": "division by territory"}


class TooLargeError(Exception):
    """The API does not answer so large a question; the message says how it told so."""


class MovedError(Exception):
    """An answer is not of the state that the metadata told; the message says how."""


@dataclass(frozen=True, slots=True)
class Table:
    """What the metadata tell of a table. `codes` and `columns` are by dimension, in the order of the cells."""

    name: str
    updated: str
    codes: Mapping[str, Sequence[str]]
    columns: Mapping[str, str]

    @property
    def cells(self) -> int:
        return prod(map(len, self.codes.values()))

    @property
    def time(self) -> str | None:
        """The dimension of time."""
        return next((name for name, column in self.columns.items() if column == "time"), None)

    def fields(self) -> dict[str, str]:
        """The columns of its cells -> what kind each is."""
        kinds = {"time": "time", "geo": "geo", "metric": "metric"}
        codes = {column: kinds.get(column, "dimension") for column in self.columns.values()}
        labels = {f"{column}_label": "text" for column in self.columns.values() if column not in kinds}
        return codes | labels | {"value": "number", "status": "text", "table": "text", "updated": "date"}

    def periods(self) -> list[tuple[Window, str]]:
        """The periods it has, with their codes. Raises SourceError where a code is no period."""
        if self.time is None:
            return []
        try:
            return [(period(code), code) for code in self.codes[self.time]]
        except UsageError as error:
            raise SourceError(
                f"IDESCAT {self.name}: the categories of {self.time} are not all periods: {error}. "
                "Read the table whole, without a window."
            ) from error

    def within(self, window: Window | None) -> Mapping[str, Sequence[str]] | None:
        """Its codes without the periods that do not lie in the window whole; None where there are no others."""
        if window is None:
            return self.codes
        inside = [code for days, code in self.periods() if window.covers(days)]
        return {**self.codes, self.time: inside} if self.time and inside else None


@dataclass(frozen=True, slots=True)
class Question:
    """A part of a table: the codes of each dimension that are asked for, and the page that the answer becomes."""

    table: Table
    codes: Mapping[str, Sequence[str]]
    page: str = ""

    @property
    def cells(self) -> int:
        return prod(map(len, self.codes.values()))

    @property
    def path(self) -> str:
        return f"{API}/{self.table.name}/data"

    @property
    def params(self) -> dict[str, str]:
        """Only the dimensions that are not wanted whole are named."""
        named = {name: ",".join(codes) for name, codes in self.codes.items() if self.is_part_of(name)}
        return {"lang": "ca", **named}

    def is_part_of(self, dimension: str) -> bool:
        return len(self.codes[dimension]) < len(self.table.codes[dimension])

    def parts(self, limit: int) -> Iterator[Question]:
        """Itself, or parts of at most `limit` cells, in the order of the cells."""
        if self.cells <= limit:
            yield self
            return
        for part in self._cut(max(1, limit * len(self.codes[self._by]) // self.cells)):
            yield from part.parts(limit)

    def halves(self) -> list[Question]:
        """The two halves, whose pages sort where its own would. Only for more than one cell."""
        cut = self._cut((len(self.codes[self._by]) + 1) // 2)
        return [replace(half, page=f"{self.page}{letter}") for half, letter in zip(cut, "ab", strict=True)]

    @property
    def _by(self) -> str:
        """The dimension to cut by: time, and where that is one period only, the largest other."""
        time = self.table.time
        return time if time and len(self.codes[time]) > 1 else max(self.codes, key=lambda name: len(self.codes[name]))

    def _cut(self, step: int) -> Iterator[Question]:
        by, codes = self._by, self.codes[self._by]
        for start in range(0, len(codes), step):
            yield replace(self, codes={**self.codes, by: codes[start : start + step]})


class ApiError(msgspec.Struct, rename={"class_": "class"}):
    """What the API says instead of a dataset, with whatever status: {"class": "error", "id": "05", "label": "..."}."""

    class_: str = ""
    id: str | int = ""
    label: str = ""

    @property
    def code(self) -> str:
        """The API's number of the error; empty where this is none."""
        return str(self.id).zfill(2) if self.class_ == "error" else ""


def api_error(reply: Reply) -> ApiError:
    """The API's own error; one without a code where the body is something else."""
    try:
        return msgspec.json.decode(reply.body, type=ApiError)
    except BROKEN_JSON:  # or a dataset, whose id is a list
        return ApiError()


def accept_table(what: str, name: str, reply: Reply) -> Table:
    """The metadata of the table `name`. `what` is the source, for messages.

    Raises BadBodyError where they are to be asked for again, SourceError where that would change nothing.
    """
    dataset = _dataset(what, name, reply)
    try:
        moment(dataset.updated or "")
        return Table(name, dataset.updated or "", dataset.codes(), dataset.columns())
    except ContractError as flaw:
        raise SourceError(
            f"{what}: the metadata at {reply.url} cannot be read as a table: {flaw}. See what became of the table."
        ) from flaw


def accept_cells(what: str, question: Question, reply: Reply) -> str:
    """Check that an answer is all of what was asked for and nothing else; the SHA-256 of its bytes.

    Raises TooLargeError, MovedError, and what `accept_table` raises.
    """
    error, table = api_error(reply), question.table
    if error.code == TOO_LARGE:
        raise TooLargeError(error.label or reply.excerpt())
    dataset = _dataset(what, table.name, reply)
    if dataset.updated != table.updated:
        raise MovedError(f"{table.name}: expected cells updated {table.updated}, found them updated {dataset.updated}")
    try:
        check_places(reply.body, dataset.cells)
        came, columns = dataset.codes(), dataset.columns()
    except ContractError as flaw:
        raise BadBodyError(str(flaw)) from flaw
    if columns != table.columns:
        raise MovedError(f"{table.name}: expected the dimensions {dict(table.columns)}, found {columns}")
    for name, asked in question.codes.items():
        if set(came[name]) == set(asked):
            continue
        if question.is_part_of(name) and set(came[name]) > set(asked):
            raise SourceError(
                f"{what}: {table.name} was asked for {name}={_some(asked)}, and answered with {name}={_some(came[name])}. "
                "The API ignores a filter that it does not know: see what it is called now."
            )
        raise MovedError(f"{table.name}: expected {name} with {_some(asked)}, found {_some(came[name])}")
    return hashlib.sha256(reply.body).hexdigest()


def explain(reply: Reply) -> str:
    """What the API says in a refusal, whose body need not be JSON, and what to do about it."""
    error = api_error(reply)
    if not error.code:
        return reply.excerpt()
    base, _, table = reply.url.partition("?")[0].partition(f"{API}/")
    todo = ""
    if what := _MISSING.get(error.code):
        above = "/".join([f"{base}{API}", *table.split("/")[: int(error.code) - 1]])
        todo = f". The {what} is not there: {above} lists them"
    return f"{error.code}: {error.label or 'no more is told'}".rstrip(". ") + todo


def _dataset(what: str, name: str, reply: Reply) -> Dataset:
    error = api_error(reply)
    if error.code == INTERNAL:
        raise BadBodyError(f"error {explain(reply)}")
    if error.code:
        raise SourceError(f"{what}: {reply.url} was expected to answer a dataset, found error {explain(reply)}")
    try:
        dataset = decode(reply.body, Dataset)
        dataset.codes()
    except ContractError as flaw:
        raise BadBodyError(str(flaw)) from flaw
    if dataset.table != name:
        raise SourceError(
            f"{what}: {reply.url} was expected to answer the table {name}, found one whose address is {dataset.href!r}. "
            "See whether the table was moved."
        )
    return dataset


def _some(codes: Sequence[str]) -> str:
    """Codes for a message: a few of them, and how many there are."""
    return ",".join(codes) if len(codes) <= 6 else f"{','.join(codes[:3])},…,{codes[-1]} ({len(codes)})"

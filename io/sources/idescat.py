"""IDESCAT's tables (API taules v2): whether they changed, and their cells as raw pages that are all of one state.

Here: what is specific to this protocol: a table's metadata, a question for some of its cells, what an answer must be. Not here: HTTP
(`http.py`), reading page by page (`extraction.py`), the layout of a dataset (`jsonstat.py`), what the columns mean (the contract).
Importing this loads no HTTP client and no polars, because assets are declared with it.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import TYPE_CHECKING, ClassVar, Self, get_args
from urllib.parse import urlsplit

import msgspec

from catalunya.io.errors import (
    BadBodyError,
    ContractError,
    DeclarationError,
    MovedError,
    SourceError,
    TooLargeError,
    UsageError,
)
from catalunya.io.periods import PeriodKind, period
from catalunya.io.sources.base import About, FieldInfo, Page, SourceState, check_portal
from catalunya.io.sources.dimensions import are_periods_apart, bind
from catalunya.io.sources.extraction import PageRequest, Plan, Source
from catalunya.io.sources.jsonstat import OWN, Dataset, check_names, check_places, instant, moment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    import polars as pl

    from catalunya.io.periods import Window
    from catalunya.io.sources.base import HttpSettings
    from catalunya.io.sources.dimensions import By
    from catalunya.io.sources.http import Http, Reply
    from catalunya.io.sources.jsonstat import Axis

API = "/taules/v2"
_TABLE = r"[a-z0-9]+/\d+/\d+/[a-z]+"  # statistic/node/table/territory
MAX_CELLS = 20_000  # of one answer, after its filters; more is refused with 416
MAX_URL = 2_000  # characters; a longer question goes by POST
MAX_TIMEOUTS = 2  # of the gateway (504) or ours, until a question counts as too large: a large one never succeeds
INTERNAL, TOO_LARGE = "00", "05"  # the API's own error numbers
_DAY = len("2024-12-19")
_MISSING = {"01": "statistic", "02": "node", "03": "table", "04": "territorial division"}


@dataclass(frozen=True, slots=True)
class Table:
    """A table as its metadata describe it. `codes`, `roles` and `axes` are by dimension, in the order of the cells.

    `updated`: the day if it is midnight in UTC, else the time, so that one moment has one spelling. `codes` are the API's, `roles` too
    ("dimension": none); `axes` are what they become in a page. `apart`: whether each time code is read the same without the others.
    """

    name: str
    updated: str
    codes: Mapping[str, Sequence[str]]
    roles: Mapping[str, str]
    axes: Mapping[str, Axis]
    apart: bool

    @property
    def cells(self) -> int:
        return prod(map(len, self.codes.values()))

    @property
    def columns(self) -> dict[str, str]:
        """Dimension -> the column of its codes."""
        return {name: axis.column for name, axis in self.axes.items()}

    @property
    def time(self) -> str | None:
        """The time dimension, if there is one and only one."""
        return next((name for name, axis in self.axes.items() if axis.column == "time"), None)

    def fields(self) -> dict[str, str]:
        """The columns of its cells -> the kind of each."""
        return {name: kind for axis in self.axes.values() for name, kind in axis.columns().items()} | OWN

    def periods(self) -> list[tuple[Window, str]]:
        """Its periods, with their codes. Raises SourceError if a code is not a period."""
        if self.time is None:
            return []
        try:
            return [
                (period(text), code)
                for text, code in zip(self.axes[self.time].codes, self.codes[self.time], strict=True)
            ]
        except UsageError as error:
            raise SourceError(
                f"IDESCAT {self.name}: not all categories of {self.time} are periods: {error}; "
                "read the whole table, without a window"
            ) from error

    def within(self, window: Window | None) -> Mapping[str, Sequence[str]] | None:
        """Its codes, with only the periods that lie entirely in the window; None if there are none."""
        if window is None:
            return self.codes
        if not self.apart:
            raise UsageError(
                f"IDESCAT {self.name}: cannot read {window} only: what its time codes count follows only from all of them together; "
                "read the whole table, or declare it, as in periods='month'"
            )
        inside = [code for days, code in self.periods() if window.covers(days)]
        return {**self.codes, self.time: inside} if self.time and inside else None

    def question(self, codes: Mapping[str, Sequence[str]], page: str = "") -> Question:
        """The question for these codes, with a filter for each dimension that is not wanted whole."""
        filters = {name: ",".join(some) for name, some in codes.items() if len(some) < len(self.codes[name])}
        cells = prod(map(len, codes.values()))
        return Question(page, f"{API}/{self.name}/data", {"lang": "ca", **filters}, cells, self, codes)


@dataclass(frozen=True, slots=True)
class Question(PageRequest):
    """A request for some cells of a table: the codes of each dimension. Its `rows` are cells."""

    table: Table
    codes: Mapping[str, Sequence[str]]

    def filters(self, dimension: str) -> bool:
        """Whether only some codes of the dimension are wanted."""
        return len(self.codes[dimension]) < len(self.table.codes[dimension])

    def split(self, limit: int) -> Iterator[Question]:
        """Itself, or several questions of at most `limit` cells, in the order of the cells."""
        if self.rows <= limit:
            yield self
            return
        for smaller in self._cut(max(1, limit * len(self.codes[self._by]) // self.rows)):
            yield from smaller.split(limit)

    def halves(self) -> Sequence[Question]:
        """The two halves; none of a single cell."""
        if len(self.codes[self._by]) == 1:
            return ()
        cut = self._cut((len(self.codes[self._by]) + 1) // 2)
        return [replace(half, page=f"{self.page}{letter}") for half, letter in zip(cut, "ab", strict=True)]

    @property
    def _by(self) -> str:
        """The dimension to cut by: time if there are several periods that can be read apart, else the largest one; metrics last, because
        what they are is read from all of them."""
        time = self.table.time
        if time and self.table.apart and len(self.codes[time]) > 1:
            return time
        others = [name for name in self.codes if name != time and len(self.codes[name]) > 1]
        metrics = [name for name in others if self.table.roles[name] == "metric"]
        kept = [name for name in others if name not in metrics] or metrics or list(self.codes)
        return max(kept, key=lambda name: len(self.codes[name]))

    def _cut(self, step: int) -> Iterator[Question]:
        by, codes = self._by, self.codes[self._by]
        for start in range(0, len(codes), step):
            yield self.table.question({**self.codes, by: codes[start : start + step]}, self.page)


@dataclass(frozen=True, slots=True, init=False)
class Idescat(Source[Question]):
    """Tables of one statistic, read as one source: `Idescat("ep/9122/10002/mun")` (statistic/node/table/territory).

    `dimensions`: column -> how its dimension is found (`by`), for tables whose ids and codes are not known or not the same. `periods`: what
    numbers after a year count, for time codes such as `202104` that do not say it.
    """

    tables: tuple[str, ...]
    portal: str | None
    dimensions: tuple[tuple[str, By], ...]
    periods: PeriodKind | None

    kind: ClassVar[str] = "idescat"
    pages_are: ClassVar[str] = "a JSON-stat dataset"

    def __init__(
        self,
        *tables: str,
        dimensions: Mapping[str, By] | None = None,
        periods: PeriodKind | None = None,
        portal: str | None = None,
    ) -> None:
        check_portal(portal)
        object.__setattr__(self, "tables", tables)
        object.__setattr__(self, "portal", portal)
        object.__setattr__(self, "dimensions", tuple((dimensions or {}).items()))
        object.__setattr__(self, "periods", periods)
        if periods not in {None, *get_args(PeriodKind)}:
            raise DeclarationError(
                f"expected periods as {', '.join(get_args(PeriodKind))}, found {periods!r}; correct it"
            )
        wrong = [table for table in tables if not re.fullmatch(_TABLE, str(table))]
        if wrong or not tables or len(set(tables)) != len(tables):
            raise DeclarationError(
                "expected IDESCAT tables as 'ep/9122/10002/mun' (statistic/node/table/territory), at least one and each once, "
                f"found {', '.join(map(repr, wrong or tables)) or 'none'}; copy them from the table's URL"
            )

    @property
    def has_periods(self) -> bool:
        return True

    @classmethod
    def recognize(cls, address: str) -> Self | None:
        """A bare path `ep/9122/10002/mun`, or an address of the API, `/taules/v2/ep/9122/10002/mun[/data]`."""
        if re.fullmatch(_TABLE, address):
            return cls(address)
        url = urlsplit(address)
        path = re.fullmatch(rf".*?{API}/(?P<table>{_TABLE})(?:/data)?/?", url.path)
        if url.scheme not in {"http", "https"} or not path:
            return None
        base = url.path[: path.start("table") - len(API) - 1]
        return cls(path["table"], portal=f"{url.scheme}://{url.netloc}{base}")

    def describe(self) -> str:
        return f"IDESCAT {', '.join(self.tables)}"

    def url(self, base_url: str) -> str:
        return f"{base_url.rstrip('/')}{API}/{self.tables[0]}"

    def connect(self, http: HttpSettings) -> AbstractContextManager[Http]:
        from catalunya.io.sources.http import connect

        return connect(http, self.describe(), explain=_explain)

    def about(self, client: Http) -> Sequence[About]:
        """What the metadata of each table say, by one request for each. Raises DeclarationError, after all of them, with what does not fit."""
        found, wrong = [], []
        for name in self.tables:
            try:
                found.append(client.get(f"{API}/{name}", partial(_read_about, self, name), {"lang": "ca"}))
            except DeclarationError as error:
                wrong.append(str(error))
        if wrong:
            raise DeclarationError("; ".join(wrong))
        return found

    def read_state(self, client: Http) -> SourceState:
        """The tables' state, by one request for the metadata of each."""
        return _state(self._tables(client))

    def plan(self, client: Http, state: SourceState, window: Window | None) -> Plan[Question]:  # noqa: ARG002
        """As few questions as the API's limit allows. Their codes come from the metadata, so these are requested again."""
        tables = self._tables(client)
        wanted = [table.question(codes) for table in tables if (codes := table.within(window))]
        if window is not None and (untimed := [table for table in tables if table.time is None]):
            having = [name for name, role in untimed[0].roles.items() if role == "time"]
            raise UsageError(
                f"{self.describe()}: cannot read {window} only: expected one dimension of {untimed[0].name} with the role time, found "
                f"{' and '.join(having) or 'none'} among {', '.join(untimed[0].codes)}; read the whole table"
            )
        if window is not None and not wanted:
            spans = [span for table in tables for span in table.periods()]
            available = f"{min(spans)[1]} to {max(spans)[1]}" if spans else "none"
            raise UsageError(
                f"{self.describe()}: the table has no period {window}, only {available}; ask for one of those"
            )
        limit = min(MAX_CELLS, client.settings.page_rows)
        questions = [smaller for question in wanted if question.rows for smaller in question.split(limit)]
        named = [replace(question, page=f"page-{number:05}") for number, question in enumerate(questions)]
        return Plan(_state(tables), named, sum(question.rows for question in questions))

    def fetch(self, client: Http, request: Question) -> tuple[Page, Reply]:
        """The answer to one question. An error of the API itself, or too many timeouts, may mean that it is too large."""
        url, timeouts = client.address(request.path, request.params), 0

        def accept(reply: Reply) -> tuple[Page, Reply]:
            _check_cells(self.describe(), request, reply)
            digest = hashlib.sha256(reply.body).hexdigest()
            return Page(f"{request.page}.json", url, request.rows, len(reply.body), digest), reply

        def refused(reply: Reply) -> None:
            nonlocal timeouts
            error = _api_error(reply)
            if reply.status == 416 or error.code == TOO_LARGE:
                raise TooLargeError(_explain(reply))
            timeouts += reply.status == 504
            if request.rows > 1 and timeouts >= min(MAX_TIMEOUTS, client.settings.attempts):
                raise TooLargeError(f"timed out {timeouts} times")
            if error.code == INTERNAL and reply.status < 500:
                raise BadBodyError(f"error {_explain(reply)}")

        send = client.get if len(url) <= MAX_URL else client.post
        return send(request.path, accept, request.params, refused=refused)

    def read(self, body: bytes, fields: Sequence[str], searched: int) -> pl.DataFrame:  # noqa: ARG002  names cannot repeat in it
        from catalunya.io.sources.jsonstat import read_cells
        from catalunya.io.sources.pages import with_all

        return with_all(read_cells(body, self._bind), fields)

    def _bind(self, dataset: Dataset) -> Mapping[str, Axis]:
        """What each dimension of a table, or of a page of it, becomes. Raises DeclarationError."""
        try:
            return bind(dataset, dict(self.dimensions), self.periods)
        except DeclarationError as error:
            raise DeclarationError(
                f"IDESCAT {dataset.table or self.tables[0]}: {error} in the declaration of this source"
            ) from None

    def _tables(self, client: Http) -> list[Table]:
        """The metadata of each table, one after another: the API asks clients to go easy on it."""
        return [client.get(f"{API}/{name}", partial(_read_table, self, name), {"lang": "ca"}) for name in self.tables]


def _state(tables: Sequence[Table]) -> SourceState:
    newest = max(instant(table.updated) for table in tables)
    metadata = [(table.name, table.updated, table.columns, table.codes) for table in tables]
    digest = hashlib.sha256(msgspec.json.encode(metadata)).hexdigest()[:8]
    fields = {name: kind for table in tables for name, kind in table.fields().items()}
    return SourceState(f"{newest:%Y-%m-%d}-{digest}", newest, fields, sum(table.cells for table in tables))


def _canonical(updated: str) -> str:
    """A stamp in its one spelling. Raises ContractError."""
    at = instant(updated)
    return (
        f"{at:%Y-%m-%d}"
        if at == at.replace(hour=0, minute=0, second=0, microsecond=0)
        else at.isoformat().replace("+00:00", "Z")
    )


def _is_same(updated: str, expected: str) -> bool:
    """Whether a stamp is of the same moment as one in its one spelling; where one of them is only a day, of that day, as written."""
    if len(updated) <= _DAY or len(expected) <= _DAY:
        return moment(expected).date() in {moment(updated).date(), instant(updated).date()}
    return instant(updated) == instant(expected)


class _ApiError(msgspec.Struct, rename={"class_": "class"}):
    """What the API answers instead of a dataset, with any status: {"class": "error", "id": "05", "label": "..."}."""

    class_: str = ""
    id: str | int = ""
    label: str = ""

    @property
    def code(self) -> str:
        """The API's number of the error; empty if this is not an error."""
        return str(self.id).zfill(2) if self.class_ == "error" else ""


def _api_error(reply: Reply) -> _ApiError:
    """The API's own error; one without a code if the body is something else."""
    try:
        return reply.decode(_ApiError)
    except BadBodyError:  # a dataset, for example, whose id is a list
        return _ApiError()


def _explain(reply: Reply) -> str:
    """The API's message in a refusal, whose body need not be JSON, and what to do about it."""
    error = _api_error(reply)
    if not error.code:
        return reply.excerpt()
    base, _, table = reply.url.partition("?")[0].partition(f"{API}/")
    advice = ""
    if missing := _MISSING.get(error.code):
        parent = "/".join([f"{base}{API}", *table.split("/")[: int(error.code) - 1]])
        advice = f". No such {missing}: {parent} lists them"
    return f"{error.code}: {error.label or 'no message'}".rstrip(". ") + advice


def _dataset(source: str, name: str, reply: Reply) -> Dataset:
    error = _api_error(reply)
    if error.code == INTERNAL:
        raise BadBodyError(f"error {_explain(reply)}")
    if error.code:
        raise SourceError(f"{source}: {reply.url} answered error {_explain(reply)}")
    dataset = reply.decode(Dataset)
    try:
        dataset.codes()
        check_names(reply.body)
    except ContractError as flaw:
        raise BadBodyError(str(flaw), str(flaw)) from flaw
    if dataset.table != name:
        raise SourceError(
            f"{source}: expected table {name} at {reply.url}, found one with the address {dataset.href!r}; "
            "check whether the table was moved"
        )
    return dataset


def _read_table(source: Idescat, name: str, reply: Reply) -> Table:
    """The metadata of the table `name`. Raises BadBodyError if they should be requested again, SourceError if that is no use,
    DeclarationError if it is not as declared."""
    dataset = _dataset(source.describe(), name, reply)
    try:
        axes = source._bind(dataset)  # noqa: SLF001  of this module
        apart = are_periods_apart(dataset, axes, source.periods)
        return Table(name, _canonical(dataset.updated or ""), dataset.codes(), dataset.every_role(), axes, apart)
    except ContractError as flaw:
        raise SourceError(
            f"{source.describe()}: the metadata at {reply.url} do not describe a table: {flaw}; look the table up on idescat.cat"
        ) from flaw


def _read_about(source: Idescat, name: str, reply: Reply) -> About:
    """What the metadata of a table say. Raises as `_read_table`."""
    dataset, table = _dataset(source.describe(), name, reply), _read_table(source, name, reply)
    bound = {axis.column: each for each, axis in table.axes.items() if each in dataset.dimension}
    fields = []
    for column, kind in table.fields().items():
        if each := bound.get(column):
            found = dataset.dimension[each]
            codes = table.axes[each].codes
            span = f"{min(codes)} to {max(codes)}" if column == "time" and codes else ""
            fields.append(FieldInfo(column, kind, found.label, span, found.category.labels(), dimension=each))
        else:
            fields.append(FieldInfo(column, kind))
    return About(
        id=name,
        title=dataset.label,
        updated_at=instant(table.updated),
        fields=tuple(fields),
        page_url=reply.url,
        publisher=dataset.publisher,
        rows=table.cells,
        cells_at_most=MAX_CELLS,
    )


def _check_cells(source: str, question: Question, reply: Reply) -> None:
    """Check that an answer has all the cells asked for and no others. Raises TooLargeError, MovedError, BadBodyError, SourceError."""
    error, table = _api_error(reply), question.table
    if error.code == TOO_LARGE:
        raise TooLargeError(error.label or reply.excerpt())
    dataset = _dataset(source, table.name, reply)
    try:
        is_same = _is_same(dataset.updated or "", table.updated)
        check_places(reply.body, dataset.cells)
        received, roles = dataset.codes(), dataset.every_role()
    except ContractError as flaw:
        raise BadBodyError(str(flaw), str(flaw)) from flaw
    if not is_same:
        raise MovedError(f"{table.name}: expected cells updated {table.updated}, found cells updated {dataset.updated}")
    if roles != table.roles:
        raise MovedError(f"{table.name}: expected the dimensions {dict(table.roles)}, found {roles}")
    for name, asked in question.codes.items():
        if set(received[name]) == set(asked):
            continue
        if question.filters(name) and set(received[name]) > set(asked):
            raise SourceError(
                f"{source}: {table.name} was asked for {name}={_some(asked)}, but answered {name}={_some(received[name])}; "
                "the API ignores a filter it does not know, so check what it is called now"
            )
        raise MovedError(f"{table.name}: expected {name} with {_some(asked)}, found {_some(received[name])}")


def _some(codes: Sequence[str]) -> str:
    """Codes for a message: a few of them, and how many there are."""
    return ",".join(codes) if len(codes) <= 6 else f"{','.join(codes[:3])},…,{codes[-1]} ({len(codes)})"

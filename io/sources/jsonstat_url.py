"""JSON-stat 2.0 at any URL, such as Eurostat's: whether a dataset changed, and its cells as pages.

Here: which requests such a dataset takes, and what servers answer in its place. Not here: HTTP (`http.py`), reading page by page
(`extraction.py`), the layout of a dataset (`jsonstat.py`), IDESCAT's tables, whose API is richer (`idescat.py`). Importing this loads no
HTTP client and no polars.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Self
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec

from catalunya.io.errors import BadBodyError, ContractError, DeclarationError, SourceError, UsageError
from catalunya.io.sources.base import About, FieldInfo, Page, SourceState, check_portal
from catalunya.io.sources.extraction import PageRequest, Plan, Source
from catalunya.io.sources.jsonstat import OWN, Dataset, check_names, check_places, instant

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import polars as pl

    from catalunya.io.periods import Window
    from catalunya.io.sources.base import HttpSettings
    from catalunya.io.sources.http import Http, Reply

MAX_CELLS = 1_000_000  # of one page: a row for each is in memory when the page is checked
LATER, TOO_BIG = "ASYNCHRONOUS_RESPONSE", "EXTRACTION_TOO_BIG"  # Eurostat's two kinds of 413, told apart by their label
_FILTERS = "add filters to the URL, such as &geo=ES51&sinceTimePeriod=2015, or declare `split_by` and `latest`"
_KNOWN = re.compile(
    r"(?i)json-?stat|/statistics/1\.0/data/[^/]+$|^(?!.*/(?:api|resource|taules|emex|wstempus)/).*\.json$"
)


@dataclass(frozen=True, slots=True)
class _Request(PageRequest):
    """A request whose answer has as many cells as it has. `only`: the category of `split_by` that it asks for."""

    only: str | None = None
    is_exact: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class JsonStat(Source[_Request]):
    """A dataset at a URL, which holds its filters: `JsonStat("https://…/data/nama_10_gdp?format=JSON&lang=EN&geo=ES&geo=FR")`.

    - `latest`: parameters by which the server answers with little of the same dataset ("lastTimePeriod=1"). Whether it changed is then
      known without reading all of it.
    - `split_by`: the id of a dimension: one page for each of its categories, for a dataset that is too large for one answer. The
      categories are those that an answer with `latest` has.
    """

    address: str
    _: KW_ONLY
    latest: str | None = None
    split_by: str | None = None

    kind: ClassVar[str] = "jsonstat"
    pages_are: ClassVar[str] = "a JSON-stat dataset"

    def __post_init__(self) -> None:
        check_portal(self.portal)
        if self.latest is not None and not parse_qsl(self.latest):
            raise DeclarationError(
                f"{self.describe()}: expected `latest` as parameters (lastTimePeriod=1), found {self.latest!r}; correct it"
            )
        if self.split_by is not None and not self.latest:
            raise DeclarationError(
                f"{self.describe()}: expected `latest` beside `split_by`, to know the categories of {self.split_by} by a small answer; add it"
            )

    @property
    def portal(self) -> str:  # type: ignore[override]
        """The host of the dataset."""
        url = urlsplit(self.address)
        return f"{url.scheme}://{url.netloc}"

    @property
    def table(self) -> str:
        """The name of the dataset: the last part of the address."""
        return urlsplit(self.address).path.rstrip("/").rpartition("/")[2].removesuffix(".json")

    @property
    def has_periods(self) -> bool:
        return False

    @classmethod
    def recognize(cls, address: str) -> Self | None:
        """A URL of Eurostat's data (`/statistics/1.0/data/CODE`), one with `json-stat` in it, or one that ends in .json and is of no other
        API."""
        url = urlsplit(address)
        is_web = url.scheme in {"http", "https"} and url.netloc and "@" not in url.netloc
        return cls(address) if is_web and (_KNOWN.search(url.path) or re.search(r"(?i)json-?stat", url.query)) else None

    def describe(self) -> str:
        return f"JSON-stat {self.table} of {urlsplit(self.address).netloc}"

    def url(self, base_url: str) -> str:
        return f"{base_url.rstrip('/')}{self._path()}"

    def connect(self, http: HttpSettings) -> AbstractContextManager[Http]:
        from catalunya.io.sources.http import connect

        return connect(http, self.describe(), explain=_explain)

    def about(self, client: Http) -> Sequence[About]:
        """What a small answer says if `latest` is declared, else the whole dataset."""
        dataset, _ = self._ask(client, self._path(self.latest))
        found = {axis.column: dataset.dimension[name] for name, axis in dataset.axes().items()}
        fields = [
            FieldInfo(name, kind, found[name].label, categories=found[name].category.labels())
            if name in found
            else FieldInfo(name, kind)
            for name, kind in _fields(dataset).items()
        ]
        updated = instant(dataset.updated) if dataset.updated else None
        rows = None if self.latest else dataset.cells
        return [
            About(
                self.table,
                dataset.label,
                updated,
                tuple(fields),
                self.address,
                publisher=dataset.publisher,
                rows=rows,
            )
        ]

    def read_state(self, client: Http) -> SourceState:
        """By `updated` and the dimensions of a small answer if `latest` is declared, else by the content of the whole."""
        dataset, body = self._ask(client, self._path(self.latest))
        fields = _fields(dataset)
        updated_at = instant(dataset.updated) if dataset.updated else datetime.now(UTC)
        if self.latest and not dataset.updated:
            raise SourceError(
                f"{self.describe()}: expected `updated` in the answer with {self.latest}, found none; take `latest` out of the declaration, and "
                "the whole dataset is compared"
            )
        said = msgspec.json.encode([dataset.updated, fields]) if self.latest else body
        return SourceState(hashlib.sha256(said).hexdigest()[:16], updated_at, fields)

    def plan(self, client: Http, state: SourceState, window: Window | None) -> Plan[_Request]:
        """One request, or with `split_by` one for each category that a small answer has."""
        if window is not None:
            raise UsageError(f"{self.describe()}: cannot read {window} only; read the whole dataset")
        if self.split_by is None:
            return Plan(state, [_Request("page-00000", self._path(), {}, 1)], 1)
        dataset, _ = self._ask(client, self._path(self.latest))
        if self.split_by not in dataset.id:
            raise DeclarationError(
                f"{self.describe()}: expected `split_by` to be one of the dimensions {', '.join(dataset.id)}, found {self.split_by!r}; correct it"
            )
        codes = dataset.codes()[self.split_by]
        requests = [
            _Request(f"page-{at:05}", self._path(only=(self.split_by, code)), {}, 1, code)
            for at, code in enumerate(codes)
        ]
        return Plan(state, requests, len(requests))

    def fetch(self, client: Http, request: _Request) -> tuple[Page, Reply]:
        """One page, stamped with the dataset's `updated`."""

        def accept(reply: Reply) -> tuple[Page, Reply]:
            dataset = self._checked(reply)
            if request.only is not None and (found := dataset.codes().get(self.split_by or "")) != [request.only]:
                raise SourceError(
                    f"{self.describe()}: expected only {request.only} of {self.split_by} at {reply.url}, found {', '.join(found or [])[:200] or 'none'}; "
                    "the server does not filter by it: split by another dimension, or add filters to the URL"
                )
            digest = hashlib.sha256(reply.body).hexdigest()
            stamp = instant(dataset.updated).isoformat() if dataset.updated else ""
            return Page(f"{request.page}.json", reply.url, dataset.cells, len(reply.body), digest, stamp=stamp), reply

        return client.get(request.path, accept, refused=self._refused)

    def read(self, body: bytes, fields: Sequence[str], searched: int) -> pl.DataFrame:  # noqa: ARG002  names cannot repeat in it
        from catalunya.io.sources.jsonstat import read_cells
        from catalunya.io.sources.pages import with_all

        return with_all(read_cells(body, table=self.table), fields)

    def _path(self, more: str | None = None, only: tuple[str, str] | None = None) -> str:
        """The address without the host: with other parameters, which replace those of the same name, or with one category only."""
        url = urlsplit(self.address)
        added = [only] if only else parse_qsl(more or "")
        names = {name for name, _ in added}
        asked = [(name, value) for name, value in parse_qsl(url.query, keep_blank_values=True) if name not in names]
        query = urlencode([*asked, *added])
        return f"{url.path}?{query}" if query else url.path

    def _ask(self, client: Http, path: str) -> tuple[Dataset, bytes]:
        return client.get(path, lambda reply: (self._checked(reply), reply.body), refused=self._refused)

    def _refused(self, reply: Reply) -> None:
        """Raise what a refusal means: BadBodyError to ask again later, SourceError if that is no use."""
        _check_answer(self.describe(), reply, _said(reply))

    def _checked(self, reply: Reply) -> Dataset:
        """The dataset of an answer. Raises BadBodyError, SourceError."""
        source = self.describe()
        if reply.body[:200].lstrip().startswith(b"<"):  # as Eurostat does when it is overloaded
            raise BadBodyError(f"expected JSON-stat, found HTML or XML: {reply.excerpt(100)}")
        said = _said(reply)
        _check_answer(source, reply, said)
        _check_format(source, reply, said)
        dataset = reply.decode(Dataset)
        try:
            dataset.axes()
            if dataset.updated:
                instant(dataset.updated)
            if dataset.cells > MAX_CELLS:
                raise SourceError(
                    f"{source}: expected at most {MAX_CELLS:,} cells in one answer, found {dataset.cells:,} ({_sizes(dataset)}); {_FILTERS}"
                )
            check_names(reply.body)
            check_places(reply.body, dataset.cells)
        except ContractError as flaw:
            raise BadBodyError(str(flaw), str(flaw)) from flaw
        return dataset


class _Said(msgspec.Struct, rename={"class_": "class"}):
    """What else a server may answer, with any status. Each field is of some of them."""

    class_: Any = None
    error: Any = None
    warning: Any = None
    status: Any = None
    version: Any = None
    id: Any = None
    dataset: Any = None
    link: Any = None


def _said(reply: Reply) -> _Said | None:
    """The answer as an object; None if it is none."""
    try:
        return reply.decode(_Said)
    except BadBodyError:
        return None


def _problems(said: _Said | None) -> list[tuple[int, str]]:
    """The errors of an answer, as status and label: `{"error": [{"status": 404, "id": 100, "label": "…"}]}`; warnings come in place of a
    dataset or beside it."""
    found: list[tuple[int, str]] = []
    if said is None:
        return found
    for each in (said.error, None if said.class_ == "dataset" else said.warning):
        for one in each if isinstance(each, list) else [each]:
            if isinstance(one, dict):
                status = one.get("status")
                found.append((status if isinstance(status, int) else 0, str(one.get("label") or one)))
            elif one is not None:
                found.append((0, str(one)))
    return found


def _check_answer(source: str, reply: Reply, said: _Said | None) -> None:
    """Raise BadBodyError for what passes, SourceError for what does not; nothing for an answer without an error."""
    for status, label in _problems(said):
        if LATER in label or status >= 500 or status == 429:
            raise BadBodyError(f"the server asks to come back later: {label}")
        advice = _FILTERS if TOO_BIG in label or status == 413 else "check the code and the filters in the URL"
        raise SourceError(
            f"{source}: {reply.url} answered error {status or reply.status}: {label.rstrip('. ')}; {advice}"
        )


def _check_format(source: str, reply: Reply, said: _Said | None) -> None:
    """Raise SourceError for JSON that is no dataset of JSON-stat 2.0."""
    begins = reply.body[:20].lstrip()[:1]
    if said is None and begins != b"[":
        return  # `decode` says what it is, or asks for it again
    said = said or _Said()
    if said.class_ == "dataset":
        return
    if said.class_ == "collection":
        items = said.link.get("item", []) if isinstance(said.link, dict) else []
        links = [str(item.get("href")) for item in items if isinstance(item, dict)]
        found = f"a collection of {len(links)} datasets ({', '.join(links[:3])}, …); declare one of them"
    elif begins == b"[":
        found = "a JSON array, which is another format (INE's own API has one); look for a JSON-stat address"
    elif isinstance(said.status, str):
        found = f"the message {said.status[:200]!r}; check the address"
    elif said.dataset is not None or said.class_ is None:
        found = "no `class`, as in JSON-stat 1.x, which wraps datasets; ask the server for version 2 (often json-stat2)"
    else:
        found = f"the class {str(said.class_)[:50]!r}; check the address"
    raise SourceError(f'{source}: expected JSON-stat 2.0 with "class": "dataset" at {reply.url}, found {found}')


def _fields(dataset: Dataset) -> dict[str, str]:
    """The columns of its cells -> the kind of each."""
    return {name: kind for axis in dataset.axes().values() for name, kind in axis.columns().items()} | OWN


def _sizes(dataset: Dataset) -> str:
    return ", ".join(f"{name}: {size:,}" for name, size in zip(dataset.id, dataset.size, strict=True))


def _explain(reply: Reply) -> str:
    """The server's message in a refusal, whose body need not be JSON."""
    return "; ".join(label for _, label in _problems(_said(reply))) or reply.excerpt()

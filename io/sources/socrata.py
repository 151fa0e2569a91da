"""Socrata (SODA 2 and 3): whether a dataset changed, and its rows as raw pages that are all of one state.

Here: what is specific to this protocol. Not here: HTTP (`http.py`), reading page by page (`extraction.py`), what the columns mean (the
contract). Importing this loads no HTTP client, because assets are declared with it.
"""

from __future__ import annotations

import hashlib
import re
import textwrap
from dataclasses import dataclass
from datetime import UTC, date, datetime
from email.utils import format_datetime, parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Self
from urllib.parse import urlsplit

import msgspec

from catalunya.io.errors import BadBodyError, DeclarationError, SourceError, UsageError
from catalunya.io.json_text import AnyObject, check_utf8, repeated_names
from catalunya.io.log import get_logger
from catalunya.io.sources.base import About, FieldInfo, Page, SourceState, check_portal, said
from catalunya.io.sources.extraction import PageRequest, Plan, Source

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    import polars as pl

    from catalunya.io.periods import Window
    from catalunya.io.sources.base import HttpSettings
    from catalunya.io.sources.http import Http, Reply

log = get_logger(__name__)

ADVICE = {
    400: "Check the key and the period against the dataset's fields",
    401: "Set or correct {token}",
    403: "Set or correct {token}",
    404: "Check the dataset's id and the portal's URL",
    429: "Without {token}, all users of one IP address share a small allowance",
}
WANTS_VERSION_3 = frozenset({401, 403, 410})
"""How version 2 may refuse a request because version 3, which takes a token, has to be asked. No such answer is recorded: any of them."""
_ID = r"[a-z0-9]{4}-[a-z0-9]{4}"
MAX_ROWS = 1_000_000_000
"""A larger count cannot be right: it would take two million pages."""


@dataclass(frozen=True, slots=True)
class Socrata(Source[PageRequest]):
    """One dataset of a Socrata portal. `key`: the raw fields that identify a row; pages are sorted by them.

    `period`: the raw text field with a row's year, by which part of the table can be asked for. `portal`: the portal's base URL, if it
    is another than the project's. `api`: the version of the API that is asked for rows: 3 needs an application token, and is asked
    anyway where 2 refuses and there is a token.
    """

    dataset_id: str
    key: tuple[str, ...] = ()
    period: str | None = None
    portal: str | None = None
    api: int = 2

    kind: ClassVar[str] = "socrata"
    pages_are: ClassVar[str] = "a JSON array of rows"
    token_setting: ClassVar[str] = "socrata_app_token"  # noqa: S105 - its name, not its value

    def __post_init__(self) -> None:
        check_portal(self.portal)
        if not re.fullmatch(_ID, self.dataset_id):
            raise DeclarationError(
                f"expected the id of a Socrata dataset, like 'ivft-vegh', found {self.dataset_id!r}; "
                "take the last part of the dataset's URL"
            )
        key: object = self.key  # a string, if a comma was forgotten
        if not isinstance(key, tuple) or not all(re.fullmatch(r"[a-z0-9_]+", str(name)) for name in key):
            raise DeclarationError(
                f"{self.describe()}: expected `key` as a tuple of raw field names, found {self.key!r}"
            )
        if self.period is not None and not re.fullmatch(r"[a-z0-9_]+", str(self.period)):
            raise DeclarationError(
                f"{self.describe()}: expected `period` as the name of one raw field, found {self.period!r}"
            )

        if self.api not in {2, 3}:
            raise DeclarationError(f"{self.describe()}: expected `api` as 2 or 3, found {self.api!r}")

    @property
    def has_periods(self) -> bool:
        return self.period is not None

    @property
    def order(self) -> str:
        """SODA guarantees no order, and without a total order pages overlap and miss rows; `:id` breaks ties."""
        return ",".join((*self.key, ":id"))

    @classmethod
    def recognize(cls, address: str) -> Self | None:
        """A bare id, or the id in `/d/ID`, `/resource/ID.json`, `/api/views/ID`, `/api/v3/views/ID/…` or `/Category/Title/ID[/about_data]`."""
        if re.fullmatch(_ID, address):
            return cls(address)
        url = urlsplit(address)
        path = re.fullmatch(rf"/(?:.*/)?(?P<id>{_ID})(?:\.[a-z]+)?(?:/[a-z_.]*)*", url.path)
        if url.scheme not in {"http", "https"} or not path:
            return None
        return cls(path["id"], portal=f"{url.scheme}://{url.netloc}")

    def describe(self) -> str:
        return f"Socrata {self.dataset_id}" + (f" of {urlsplit(self.portal).netloc}" if self.portal else "")

    def url(self, base_url: str) -> str:
        return f"{base_url.rstrip('/')}/d/{self.dataset_id}"

    def connect(self, http: HttpSettings) -> AbstractContextManager[Http]:
        from catalunya.io.sources.http import connect

        headers = {"X-App-Token": http.app_token} if http.app_token else None
        return connect(http, self.describe(), headers=headers, explain=partial(_explain, self.token_variable))

    def about(self, client: Http) -> Sequence[About]:
        """The dataset's metadata, by one request, with the profile of each column if the portal keeps one, and its count by another."""
        view = client.get(f"/api/views/{self.dataset_id}.json", lambda reply: reply.decode(_ViewForPeople))
        total, _ = self._count(client, "")
        names = {str(column.id): column.field_name for column in view.columns if column.id is not None}
        about = About(
            id=self.dataset_id,
            title=said(view.name) or self.dataset_id,
            updated_at=self._state(view).updated_at,
            fields=tuple(column.info() for column in view.columns if not column.field_name.startswith(":")),
            page_url=self.url(client.settings.base_url),
            description=said(view.description),
            publisher=said(view.attribution),
            licence=said(view.license, "name"),
            rows=total,
            key=(names[identifier],) if (identifier := str(view.row_identifier_column_id)) in names else (),
        )
        return [about]

    def read_state(self, client: Http) -> SourceState:
        """The dataset's state, by one request for its metadata."""
        view = client.get(f"/api/views/{self.dataset_id}.json", _accept_view)
        return self._state(view)

    def _state(self, view: _View) -> SourceState:
        """Raises SourceError for what is no table, or says not when it was updated."""
        updated = view.rows_updated_at or view.view_last_modified
        if updated is None or not view.columns:
            raise SourceError(
                f"{self.describe()}: expected columns and rowsUpdatedAt in its metadata, found {len(view.columns)} columns and "
                f"{updated}. Is it a table, and not a chart, a map or a link?"
            )
        # Fields that begin with ":" are the portal's own: row ids, and polygons it computes for its maps.
        columns = {c.field_name: c.data_type_name for c in view.columns if not c.field_name.startswith(":")}
        listed = "".join(f"{name}\t{kind}\n" for name, kind in sorted(columns.items()))
        digest = hashlib.sha256(listed.encode()).hexdigest()[:8]
        try:
            updated_at = datetime.fromtimestamp(updated, UTC)
        except (ValueError, OverflowError, OSError):
            raise SourceError(
                f"{self.describe()}: expected rowsUpdatedAt in seconds since 1970 in its metadata, found {updated}, which is no "
                "date; check the dataset on the portal"
            ) from None
        return SourceState(f"{updated}-{digest}", updated_at, columns)

    def plan(self, client: Http, state: SourceState, window: Window | None) -> Plan[PageRequest]:
        """As many pages as `count(*)` calls for. With a window, which must be of whole years, only the rows of these years."""
        where, size = self._where(window), client.settings.page_rows
        total, api = self._count(client, where)
        # The last page is shorter than the others, or empty: no row beyond the count hides behind a full page.
        requests = [
            PageRequest(
                f"page-{number:05}",
                self._path(api),
                self._page(api, where, size, number),
                min(size, total - number * size),
            )
            for number in range(total // size + 1)
        ]
        return Plan(state, requests, total)

    def fetch(self, client: Http, request: PageRequest) -> tuple[Page, Reply]:
        """One page, with the state that its headers give."""
        url = client.address(request.path, request.params)

        def accept(reply: Reply) -> tuple[Page, Reply]:
            rows = len(reply.decode(list[AnyObject]))
            check_utf8(reply.body)
            page = Page(
                f"{request.page}.json",
                url,
                rows,
                len(reply.body),
                hashlib.sha256(reply.body).hexdigest(),
                stamp=_stamp(
                    reply.headers.get("x-soda2-truth-last-modified") or reply.headers.get("last-modified") or ""
                ),
                behind=reply.headers.get("x-soda2-data-out-of-date", "").lower() == "true",
            )
            return page, reply

        if "query" in request.params:
            return client.post(request.path, accept, json=_question(request.params))
        return client.get(request.path, accept, request.params)

    def _count(self, client: Http, where: str) -> tuple[int, int]:
        """How many rows there are, and which version of the API says so: that is asked for the rows, too."""
        if self.api == 2:
            parameters = {"$select": "count(*) as total"} | ({"$where": where} if where else {})
            refused = _other_version if client.settings.app_token else _nothing_else
            try:
                return client.get(self._path(2), _accept_count, parameters, refused=refused), 2
            except _VersionRefused as error:
                log.warning("asking_version_3", source=self.describe(), refused=str(error))
        query = f"SELECT count(*) AS total{f' WHERE {where}' if where else ''}"
        return client.post(self._path(3), _accept_count, json=_question({"query": query})), 3

    def _path(self, api: int) -> str:
        return f"/resource/{self.dataset_id}.json" if api == 2 else f"/api/v3/views/{self.dataset_id}/query.json"

    def _page(self, api: int, where: str, size: int, number: int) -> dict[str, str]:
        """The parameters of a page, as its address has them; version 3 gets the same in a body (`_question`)."""
        if api == 3:
            query = f"SELECT *{f' WHERE {where}' if where else ''} ORDER BY {self.order}"
            return {"query": query, "pageNumber": str(number + 1), "pageSize": str(size)}
        paging = {"$limit": str(size), "$offset": str(number * size), "$order": self.order}
        return paging | ({"$where": where} if where else {})

    def read(self, body: bytes, fields: Sequence[str], searched: int) -> pl.DataFrame:
        from catalunya.io.sources.pages import read_rows

        return read_rows(body, fields, searched)

    def _where(self, window: Window | None) -> str:
        """The condition that selects the window's years; empty without a window. Raises UsageError if that is not possible."""
        if window is None:
            return ""
        if self.period is None:
            raise UsageError(
                f"{self.describe()}: cannot read {window} only, because no field is declared as the year of a row; "
                "read the whole table, or declare `period`"
            )
        first, last = window.first, window.last
        if (first.month, first.day) != (1, 1) or (last.month, last.day) != (12, 31):
            raise UsageError(
                f"{self.describe()}: expected whole years, because its field {self.period} holds years, found {window}; "
                "ask from one year to another, for example from 2014 to 2016"
            )
        bounds = [f"{self.period} >= '{first.year}'"] if first != date.min else []
        bounds += [f"{self.period} <= '{last.year}'"] if last != date.max else []
        return " and ".join(bounds)


class _Column(msgspec.Struct, rename="camel"):
    field_name: str
    data_type_name: str


class _View(msgspec.Struct, rename="camel"):
    columns: list[_Column] = []
    rows_updated_at: int | None = None  # seconds since 1970
    view_last_modified: int | None = None


class _ColumnForPeople(_Column, rename="camel"):
    id: object = None
    name: object = None
    description: object = None
    cached_contents: object = None
    """What the portal keeps about a column's values: counts are numbers in old answers, text in new ones."""

    def info(self) -> FieldInfo:
        """The column as a field of the table."""
        found = self.cached_contents if isinstance(self.cached_contents, dict) else {}
        return FieldInfo(
            self.field_name,
            self.data_type_name,
            label=said(self.name),
            description=said(self.description),
            rows=_number(found.get("non_null")),
            nulls=_number(found.get("null")),
            distinct=_number(found.get("cardinality")),
        )


class _ViewForPeople(_View, rename="camel"):
    """The metadata that only people read: an error in them keeps no table from being made."""

    name: object = None
    description: object = None
    attribution: object = None
    license: object = None
    row_identifier_column_id: object = None
    columns: list[_ColumnForPeople] = []  # type: ignore[assignment]  # each is a _Column


_READ = frozenset({"columns", "fieldName", "dataTypeName", "rowsUpdatedAt", "viewLastModified"})


class _Count(msgspec.Struct):
    total: str | int  # numbers are strings in SODA


class _Refusal(msgspec.Struct, rename="camel"):
    """Both forms of an error: the portal's own has `code`, the query coordinator's has `errorCode`."""

    message: str = ""
    code: str = ""
    error_code: str = ""


def _number(text: object) -> int | None:
    return int(str(text)) if re.fullmatch(r"[0-9]{1,18}", str(text)) else None


def _stamp(text: str) -> str:
    """When rows were last modified, in one spelling: a moment is one state, however it is written. Text that is no time stays."""
    try:
        at = parsedate_to_datetime(text) if "," in text else datetime.fromisoformat(text)
        return format_datetime((at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC), usegmt=True)
    except (ValueError, OverflowError):
        return text


def _accept_count(reply: Reply) -> int:
    counts = reply.decode(list[_Count])
    total = str(counts[0].total) if len(counts) == 1 else ""
    if not re.fullmatch(r"[0-9]{1,20}", total) or int(total) > MAX_ROWS:
        found = f"expected one count, of at most {MAX_ROWS:,}, found {reply.body[:100]!r}"
        raise BadBodyError(found, found)
    return int(total)


def _accept_view(reply: Reply) -> _View:
    """The metadata. What is read of them must be said once: of two answers, parsers keep one silently."""
    view = reply.decode(_View)
    names = [column.field_name for column in view.columns]
    twice = sorted({name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else ())
    twice += repeated_names(reply.body, _READ)
    if twice:
        found = f"expected each field of the metadata once, found {', '.join(twice[:20])} twice"
        raise BadBodyError(found, found)
    return view


class _VersionRefused(Exception):
    """Version 2 of the API refuses, and version 3 may not."""


def _other_version(reply: Reply) -> None:
    if reply.status in WANTS_VERSION_3:
        raise _VersionRefused(f"{reply.status}: {reply.excerpt()}")


def _nothing_else(_: Reply) -> None:
    """Version 3 needs a token, so there is nothing else to ask."""


def _question(parameters: Mapping[str, str]) -> dict[str, object]:
    """The body of a question to version 3. Without `includeSystem` and `includeSynthetic`, rows come with fields that version 2 leaves out.

    Source: Socrata, SODA 3 query endpoint.
    """
    body: dict[str, object] = {"query": parameters["query"], "includeSystem": False, "includeSynthetic": False}
    if "pageNumber" in parameters:
        page = {name: int(parameters[name]) for name in ("pageNumber", "pageSize")}
        body |= {"page": page, "orderingSpecifier": "total"}
    return body


def _explain(token: str, reply: Reply) -> str:
    """The portal's message in a refusal, whose body need not be JSON, and what to do about it; `token`: where that is set."""
    try:
        refusal = reply.decode(_Refusal)
    except BadBodyError:
        refusal = _Refusal(message=reply.excerpt())
    code = refusal.code or refusal.error_code
    message = refusal.message if code in refusal.message else f"{code}: {refusal.message}"
    advice = ADVICE.get(reply.status, "").format(token=token)
    return f"{textwrap.shorten(message, 300, placeholder=' …')}{f'. {advice}' if advice else ''}"

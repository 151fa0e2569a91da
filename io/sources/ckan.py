"""CKAN's DataStore: whether a resource changed, and its rows as raw pages that are all of one state.

Here: what is specific to this protocol. Not here: HTTP (`http.py`), reading page by page (`extraction.py`), what the columns mean (the
contract). Importing this loads no HTTP client, because assets are declared with it.
"""

from __future__ import annotations

import hashlib
import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Self, TypeVar
from urllib.parse import parse_qs, urlsplit

import msgspec

from catalunya.io.errors import BadBodyError, DeclarationError, MovedError, SourceError, TooLargeError, UsageError
from catalunya.io.json_text import BROKEN_JSON, AnyObject, check_utf8, json_decoder, repeated_names, whole_characters
from catalunya.io.sources.base import About, FieldInfo, Page, SourceState, check_portal, said
from catalunya.io.sources.extraction import PageRequest, Plan, Source

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    import polars as pl

    from catalunya.io.periods import Window
    from catalunya.io.sources.base import HttpSettings
    from catalunya.io.sources.http import Http, Reply

T = TypeVar("T")

API = "/api/3/action"
MAX_ROWS = 32_000
"""What one answer holds at most: a larger `limit` is cut down to it without an error. A portal may set a lower one."""
LOADING = timedelta(hours=1)
"""How long after a resource was changed its DataStore may still hold the rows from before: they are loaded afterwards."""
ADVICE = {
    400: "Check the key against the resource's fields",
    401: "Set or correct {token}",
    403: "Set or correct {token}",
    404: "Check the resource's id and the portal's URL; a resource that is in no DataStore is only a file, to be declared as one, and one that "
    "the portal gives to users of a token only needs {token}",
    409: "Check the resource's id, and the key against the resource's fields",
}
KINDS = {
    **dict.fromkeys(("int", "int2", "int4", "int8", "float4", "float8", "numeric", "float", "bigint"), "number"),
    **dict.fromkeys(("bool", "boolean"), "checkbox"),
    **dict.fromkeys(("json", "jsonb", "nested"), "document"),
}
"""The types of PostgreSQL, in the words that contracts use for all sources; any other stays as it is. Arrays are documents, too."""
_ID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_BASE = r"(?P<base>(?:/[^/]+)*?)"
_LANGUAGE = r"(?:/[a-z]{2,3}(?:[_@-][A-Za-z]+)?)?"
_ADDRESSES = (
    rf"{_BASE}{_LANGUAGE}/dataset/[^/]+/resource/(?P<id>{_ID})(?:/.*)?",
    rf"{_BASE}{_LANGUAGE}/datastore/dump/(?P<id>{_ID})/?",
    rf"{_BASE}/api(?:/[1-3])?/action/(?:datastore_search|datastore_info|resource_show)/?",
)


@dataclass(frozen=True, slots=True)
class RowsOf(PageRequest):
    """A request for some rows; `is_loading`: whether the rows of the resource's newest state may not be there yet."""

    is_loading: bool = False

    def halves(self) -> Sequence[RowsOf]:
        """The first and the second half of the rows; none of a single row."""
        if self.rows < 2:
            return ()
        offset, first = int(self.params["offset"]), (self.rows + 1) // 2
        cuts = (("a", offset, first), ("b", offset + first, self.rows - first))
        return [
            replace(self, page=f"{self.page}{letter}", params=_span(self.params, at, rows), rows=rows)
            for letter, at, rows in cuts
        ]


@dataclass(frozen=True, slots=True)
class Ckan(Source[RowsOf]):
    """A resource of a CKAN portal that is in its DataStore: `Ckan("52696168-d8bc-4707-9a09-a21c6c2669f3", portal="https://…/data")`.

    `portal`: what comes before `/api/3/action` in the addresses of its API. `key`: the raw fields that identify a row; pages are sorted by them
    and by `_id`, the number a row gets when it is loaded.
    """

    resource_id: str
    portal: str | None = None
    key: tuple[str, ...] = ()

    kind: ClassVar[str] = "ckan"
    pages_are: ClassVar[str] = "an answer of datastore_search with records"

    def __post_init__(self) -> None:
        check_portal(self.portal)
        if not re.fullmatch(_ID, self.resource_id):
            raise DeclarationError(
                f"expected the id of a CKAN resource, like '52696168-d8bc-4707-9a09-a21c6c2669f3', found {self.resource_id!r}; take the last part "
                "of the resource's URL"
            )
        key: object = self.key  # a string, if a comma was forgotten
        if not isinstance(key, tuple) or not all(isinstance(n, str) and n and not re.search(r'[",]', n) for n in key):
            raise DeclarationError(
                f"{self.describe()}: expected `key` as a tuple of raw field names without quotes and commas, found {self.key!r}"
            )

    @property
    def has_periods(self) -> bool:
        return False

    @property
    def order(self) -> str:
        """Without an order pages overlap and miss rows. Names other than plain ones are quoted, as in SQL."""
        names = (name if re.fullmatch(r"[a-z_][a-z0-9_]*", name) else f'"{name}"' for name in self.key)
        return ",".join((*names, "_id"))

    @classmethod
    def recognize(cls, address: str) -> Self | None:
        """A bare UUID, or a URL `/dataset/NAME/resource/UUID`, `/api/3/action/datastore_search?resource_id=UUID` or `/datastore/dump/UUID`."""
        if re.fullmatch(_ID, address):
            return cls(address)
        url = urlsplit(address)
        path = next((found for form in _ADDRESSES if (found := re.fullmatch(form, url.path))), None)
        if url.scheme not in {"http", "https"} or not path:
            return None
        asked = parse_qs(url.query)
        names = [path["id"]] if "id" in path.groupdict() else [*asked.get("resource_id", []), *asked.get("id", [])]
        if not names or not re.fullmatch(_ID, names[0]):
            return None
        return cls(names[0], portal=f"{url.scheme}://{url.netloc}{path['base']}")

    def describe(self) -> str:
        return f"CKAN {self.resource_id}" + (f" of {urlsplit(self.portal).netloc}" if self.portal else "")

    def url(self, base_url: str) -> str:
        return f"{base_url.rstrip('/')}{API}/resource_show?id={self.resource_id}"

    def connect(self, http: HttpSettings) -> AbstractContextManager[Http]:
        from catalunya.io.sources.http import connect

        headers = {"Authorization": http.app_token} if http.app_token else None
        return connect(http, self.describe(), headers=headers, explain=partial(_explain, self.token_variable))

    def about(self, client: Http) -> Sequence[About]:
        """What the resource, its dataset and its fields say, by one request for each."""
        resource = self._resource(client)
        package = self._package(client, resource) or _Package()
        table = self._table(client)
        state = self._state(resource, package, table)  # what could not be landed is no source
        names = [text for text in (said(package.title) or said(package.name), said(resource.name)) if text]
        page = f"/dataset/{resource.package_id}/resource/{self.resource_id}"
        about = About(
            id=self.resource_id,
            title=": ".join(names) or self.resource_id,
            updated_at=state.updated_at,
            fields=tuple(field.described() for field in table.fields if field.id != "_id"),
            page_url=f"{client.settings.base_url.rstrip('/')}{page}"
            if resource.package_id
            else self.url(client.settings.base_url),
            description=said(resource.description) or said(package.notes),
            publisher=said(package.organization, "title"),
            licence=said(package.license_title) or said(package.license_id),
            rows=table.total,
        )
        return [about]

    def read_state(self, client: Http) -> SourceState:
        """The resource's state, by two requests: what its metadata say, and its fields and count. A third asks for the metadata of its dataset
        if its own have no date."""
        resource = self._resource(client)
        package = None if _updated(resource) else self._package(client, resource)
        return self._state(resource, package, self._table(client))

    def _state(self, resource: _Resource, package: _Package | None, table: _Table) -> SourceState:
        """Raises SourceError if nothing says when it was changed."""
        updated_at = _updated(resource, package)
        if updated_at is None:
            raise SourceError(
                f"{self.describe()}: expected last_modified or metadata_modified as a time in the metadata of the resource or its dataset, found "
                f"{resource.last_modified!r} and {resource.metadata_modified!r}; check the resource on the portal"
            )
        fields = {field.id: field.kind for field in table.fields if field.id != "_id"}
        listed = "".join(f"{name}\t{kind}\n" for name, kind in sorted(fields.items()))
        signs = (resource.last_modified, resource.metadata_modified, resource.hash, table.total, listed)
        digest = hashlib.sha256(repr(signs).encode(errors="replace")).hexdigest()[:8]
        return SourceState(f"{updated_at:%Y%m%dT%H%M%S}-{digest}", updated_at, fields, table.total)

    def plan(self, client: Http, state: SourceState, window: Window | None) -> Plan[RowsOf]:
        """As many pages as the count calls for. Raises UsageError if only a window is wanted."""
        if window is not None:
            raise UsageError(
                f"{self.describe()}: cannot read {window} only: a resource is read whole; leave out the window"
            )
        size, total = min(client.settings.page_rows, MAX_ROWS), self._table(client).total
        is_loading = datetime.now(UTC) - state.updated_at < LOADING
        asked = {"resource_id": self.resource_id, "sort": self.order}
        # The last page is shorter than the others, or empty: no row beyond the count hides behind a full page.
        requests = [
            RowsOf(
                f"page-{number:05}",
                f"{API}/datastore_search",
                _span(asked, number * size, size),
                min(size, total - number * size),
                is_loading,
            )
            for number in range(total // size + 1)
        ]
        return Plan(state, requests, total)

    def fetch(self, client: Http, request: RowsOf) -> tuple[Page, Reply]:
        """One page. Raises TooLargeError if the portal cut it down to fewer rows than were asked for."""
        asked = int(request.params["limit"])

        def accept(reply: Reply) -> tuple[Page, Reply]:
            rows, found = _rows(reply)
            is_limited = found.limit is not None and found.limit < asked
            # Some portals cut an answer down and do not say so.
            is_cut = rows > 0 and (found.total or 0) >= int(request.params["offset"]) + request.rows
            if rows < request.rows and (is_limited or is_cut):
                raise TooLargeError(
                    f"{asked} rows were asked for, and the portal gives at most {found.limit if is_limited else rows}"
                )
            digest = hashlib.sha256(reply.body).hexdigest()
            is_behind = request.is_loading and rows > 0
            return Page(f"{request.page}.json", reply.url, rows, len(reply.body), digest, behind=is_behind), reply

        def refused(reply: Reply) -> None:
            if reply.status == 404:  # it was there when its rows were counted: a reload makes the table new
                raise MovedError(f"{reply.url} answered {_explain(self.token_variable, reply)}")

        return client.get(request.path, accept, request.params, refused=refused)

    def read(self, body: bytes, fields: Sequence[str], searched: int) -> pl.DataFrame:
        from catalunya.io.sources.pages import read_rows

        answer = json_decoder(_Answer).decode(whole_characters(body))
        records = json_decoder(_Rows).decode(answer.result).records
        # One row per line is read several times as fast as all of them on one.
        return read_rows(b"[%s\n]" % b"\n,".join(map(bytes, records)), fields, searched)

    def _resource(self, client: Http) -> _Resource:
        accept = partial(_result, _Resource)
        resource = client.get(f"{API}/resource_show", accept, {"id": self.resource_id})
        if str(resource.datastore_active).lower() == "false":
            raise SourceError(
                f"{self.describe()}: expected a resource in the DataStore, found datastore_active false; declare its file instead: "
                f"{said(resource.url) or 'see its page'}"
            )
        return resource

    def _package(self, client: Http, resource: _Resource) -> _Package | None:
        if not resource.package_id:
            return None
        return client.get(f"{API}/package_show", partial(_result, _Package), {"id": resource.package_id})

    def _table(self, client: Http) -> _Table:
        """The fields and the count, without rows."""
        asked = {"resource_id": self.resource_id, "limit": "0"}
        table = client.get(f"{API}/datastore_search", partial(_result, _Table), asked)
        if table.total_was_estimated:
            raise SourceError(
                f"{self.describe()}: expected an exact count of its rows, found that the portal estimated {table.total:,}; "
                "without one, a lost page cannot be noticed. Ask the portal to turn off the estimation"
            )
        return table


def _span(params: Mapping[str, str], offset: int, limit: int) -> dict[str, str]:
    return {**params, "offset": str(offset), "limit": str(limit)}


class _Field(msgspec.Struct):
    id: str
    type: str = "text"
    info: object = None

    @property
    def kind(self) -> str:
        """The type, in the words of contracts; an array is one of `_text`, `text[]`."""
        is_array = self.type.startswith("_") or self.type.endswith("[]")
        return "document" if is_array else KINDS.get(self.type, self.type)

    def described(self) -> FieldInfo:
        """The field for people."""
        label, notes = (said(self.info, name) if isinstance(self.info, dict) else "" for name in ("label", "notes"))
        return FieldInfo(self.id, self.kind, label=label, description=notes)


class _Table(msgspec.Struct):
    fields: list[_Field]
    total: int
    total_was_estimated: bool = False


class _Resource(msgspec.Struct):
    package_id: str | None = None
    name: object = None
    description: object = None
    url: object = None
    datastore_active: object = None
    last_modified: str | None = None
    metadata_modified: str | None = None
    hash: str | None = None


class _Package(msgspec.Struct):
    name: object = None
    title: object = None
    notes: object = None
    license_id: object = None
    license_title: object = None
    metadata_modified: str | None = None
    organization: object = None


class _Records(msgspec.Struct):
    records: msgspec.Raw
    limit: int | None = None
    total: int | None = None


class _Rows(msgspec.Struct, gc=False):
    records: list[msgspec.Raw]


class _Answer(msgspec.Struct):
    """What is around every result."""

    success: bool
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: object = None


class _Refusal(msgspec.Struct):
    error: dict[str, object] | str = ""


_READ = frozenset(
    {"success", "result", "fields", "type", "total", "records", "limit", "id", "last_modified", "metadata_modified", "hash"}
)  # fmt: skip


def _result(kind: type[T], reply: Reply) -> T:
    """The result of an action, which must be said once: of two answers, parsers keep one silently."""
    result = _inside(reply.decode(_Answer), kind)
    if twice := repeated_names(reply.body, _READ):
        found = f"expected each field of the metadata once, found {', '.join(twice[:20])} twice"
        raise BadBodyError(found, found)
    if isinstance(result, _Table):
        names = [field.id for field in result.fields]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            found = f"expected each field once, found {', '.join(twice[:20])} twice"
            raise BadBodyError(found, found)
    return result


def _inside(answer: _Answer, kind: type[T]) -> T:
    try:
        if not answer.success:
            raise BadBodyError(
                f"success false in an answer with status 200: {said(answer.error, 'message') or answer.error}",
                "success false",
            )
        return json_decoder(kind).decode(answer.result)
    except BROKEN_JSON as error:
        raise BadBodyError(f"{error} in the result", str(error)) from error


def _rows(reply: Reply) -> tuple[int, _Records]:
    """How many rows an answer has, and what it says about them."""
    check_utf8(reply.body)
    found = _inside(reply.decode(_Answer), _Records)
    try:
        rows = len(json_decoder(list[AnyObject]).decode(found.records))
    except BROKEN_JSON as error:
        raise BadBodyError(f"{error} in the records", str(error)) from error
    around = reply.body.replace(bytes(found.records), b"[]", 1)
    if twice := repeated_names(around, _READ):
        raise BadBodyError(f"{', '.join(twice)} twice in one answer", "a name twice")
    return rows, found


def _updated(resource: _Resource, package: _Package | None = None) -> datetime | None:
    """When the resource was changed, else its dataset, in UTC as CKAN keeps it; None if neither says so."""
    given = (resource.last_modified, resource.metadata_modified, package.metadata_modified if package else None)
    for text in filter(None, given):
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            continue
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    return None


def _explain(token: str, reply: Reply) -> str:
    """The portal's message in a refusal, whose body need not be JSON, and what to do about it; `token`: where that is set."""
    try:
        error = reply.decode(_Refusal).error
    except BadBodyError:
        error = reply.excerpt()
    if isinstance(error, dict):  # {"__type", "message"}, or the fields that are wrong, each with its reasons
        kind, message = error.pop("__type", ""), error.pop("message", "")
        wrong = [f"{name}: {' '.join(map(str, why)) if isinstance(why, list) else why}" for name, why in error.items()]
        error = ": ".join(str(text) for text in (kind, message, "; ".join(wrong)) if text)
    advice = ADVICE.get(reply.status, "").format(token=token)
    return f"{textwrap.shorten(error, 300, placeholder=' …')}{f'. {advice}' if advice else ''}"

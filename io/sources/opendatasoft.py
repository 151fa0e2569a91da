"""Opendatasoft (Explore API 2.1): whether a dataset changed, and its records as pages of one export.

Here: what is specific to this protocol. All records come with one export: lists of records end at the 10,000th, and cost a request of the
portal's daily quota for each 100. Not here: HTTP (`http.py`), cutting what was downloaded into pages (`download.py`, `file_formats.py`), what
the columns mean (the contract). Importing this loads no HTTP client, because assets are declared with it.
"""

from __future__ import annotations

import hashlib
import re
import textwrap
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, ClassVar, Self
from urllib.parse import urlencode, urlsplit

import msgspec

from catalunya.io.errors import BadBodyError, ContractError, DeclarationError, MovedError, SourceError
from catalunya.io.json_text import check_utf8, repeated_names
from catalunya.io.sources.base import About, FieldInfo, Page, SourceState, check_portal, said
from catalunya.io.sources.download import Downloaded
from catalunya.io.sources.extraction import PageRequest, Plan
from catalunya.io.sources.files import File

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    import polars as pl

    from catalunya.io.periods import Window
    from catalunya.io.sources.base import HttpSettings
    from catalunya.io.sources.file_formats import Cut
    from catalunya.io.sources.http import Http, Reply

API = "/api/explore/v2.1/catalog/datasets"
INTERRUPTED = b"Streaming interrupted due to the following error"
"""What an export that broke off ends with, after status 200."""
ADVICE = {
    400: "Check the key against the dataset's fields",
    401: "Set or correct {token}",
    403: "Set or correct {token}",
    404: "Check the dataset's id and the portal's URL",
    429: "Try again after that time, or set {token} to have a quota of one's own",
}
KINDS = {
    **dict.fromkeys(("int", "double"), "number"),
    "boolean": "checkbox",
    "geo_point_2d": "point",
    **dict.fromkeys(("geo_shape", "file", "json_blob"), "document"),
}
"""The types of fields, in the words that contracts use for all sources; any other stays as it is. Lists of texts are documents, too."""
_ID = r"[A-Za-z0-9_-]+(?:@[A-Za-z0-9_.-]+)?"
_ADDRESSES = (
    rf"(?:/.*)?/explore/(?:dataset|embed/dataset)/(?P<id>{_ID})(?:/.*)?",
    rf"/api/(?:explore/)?v2(?:\.\d)?/catalog/datasets/(?P<id>{_ID})(?:/.*)?",
)
_LINES = File("https://opendatasoft/export.jsonl")  # how an export is laid out
_BLOCK = 1024 * 1024
_TAIL = 4096


@dataclass(frozen=True, slots=True)
class Opendatasoft(Downloaded):
    """A dataset of an Opendatasoft portal: `Opendatasoft("velib-disponibilite-en-temps-reel", portal="https://opendata.paris.fr")`.

    `key`: the raw fields that identify a record; records are sorted by them, so that the same data give the same pages.
    """

    dataset_id: str
    portal: str | None = None
    key: tuple[str, ...] = ()

    kind: ClassVar[str] = "opendatasoft"
    pages_are: ClassVar[str] = "lines with a JSON object each"

    def __post_init__(self) -> None:
        check_portal(self.portal)
        if not re.fullmatch(_ID, self.dataset_id):
            raise DeclarationError(
                f"expected the id of an Opendatasoft dataset, like 'velib-disponibilite-en-temps-reel', found {self.dataset_id!r}; take it from "
                "the dataset's URL, after /explore/dataset/"
            )
        key: object = self.key  # a string, if a comma was forgotten
        if not isinstance(key, tuple) or not all(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", str(name)) for name in key):
            raise DeclarationError(
                f"{self.describe()}: expected `key` as a tuple of raw field names, found {self.key!r}"
            )

    @classmethod
    def recognize(cls, address: str) -> Self | None:
        """A URL `/explore/dataset/ID/…` or `/api/explore/v2.1/catalog/datasets/ID/…`."""
        url = urlsplit(address)
        path = next((found for form in _ADDRESSES if (found := re.fullmatch(form, url.path))), None)
        if url.scheme not in {"http", "https"} or not path:
            return None
        return cls(path["id"], portal=f"{url.scheme}://{url.netloc}")

    def describe(self) -> str:
        return f"Opendatasoft {self.dataset_id}" + (f" of {urlsplit(self.portal).netloc}" if self.portal else "")

    def url(self, base_url: str) -> str:
        return f"{base_url.rstrip('/')}/explore/dataset/{self.dataset_id}/"

    def connect(self, http: HttpSettings) -> AbstractContextManager[Http]:
        from catalunya.io.sources.http import connect

        headers = {"Authorization": f"Apikey {http.app_token}"} if http.app_token else None
        return connect(http, self.describe(), headers=headers, explain=partial(_explain, self.token_variable))

    def about(self, client: Http) -> Sequence[About]:
        """The dataset's metadata, by one request, and its count by another."""
        found = client.get(f"{API}/{self.dataset_id}", _accept_dataset)
        metas = found.metas.default
        about = About(
            id=found.dataset_id or self.dataset_id,
            title=said(metas.title) or self.dataset_id,
            updated_at=self._state(found).updated_at,
            fields=tuple(field.described() for field in found.fields),
            page_url=self.url(client.settings.base_url),
            description=said(metas.description),
            publisher=said(metas.publisher),
            licence=said(metas.license) or said(metas.license_url),
            rows=self._count(client),
        )
        return [about]

    def read_state(self, client: Http) -> SourceState:
        """The dataset's state, by one request for its metadata."""
        found = client.get(f"{API}/{self.dataset_id}", _accept_dataset)
        return self._state(found)

    def _state(self, found: _Dataset) -> SourceState:
        """Raises SourceError for what has no records, or says not when they were changed."""
        metas = found.metas.default
        updated_at = _moment(metas.data_processed) or _moment(metas.modified)
        if not found.fields or found.has_records is False or updated_at is None:
            raise SourceError(
                f"{self.describe()}: expected records, fields and the time of their last change in its metadata, found {len(found.fields)} fields, "
                f"has_records {found.has_records}, data_processed {metas.data_processed!r} and modified {metas.modified!r}; check the dataset on "
                "the portal"
            )
        fields = {field.name: field.kind for field in found.fields}
        listed = "".join(f"{name}\t{kind}\n" for name, kind in sorted(fields.items()))
        signs = (metas.modified, metas.data_processed, metas.records_count, listed)
        digest = hashlib.sha256(repr(signs).encode(errors="replace")).hexdigest()[:8]
        rows = metas.records_count if isinstance(metas.records_count, int) else None
        return SourceState(f"{updated_at:%Y%m%dT%H%M%S}-{digest}", updated_at, fields, rows)

    def plan(self, client: Http, state: SourceState, window: Window | None) -> Plan[PageRequest]:
        """The first records, for a sample: `extract` reads all of them by one request."""
        self.refuse(window)
        rows = min(client.settings.page_rows, self._count(client))
        request = PageRequest("page-00000", self._path, self._parameters(rows), rows)
        return Plan(state, [request] if rows else [], rows)

    def fetch(self, client: Http, request: PageRequest) -> tuple[Page, Reply]:
        """The first records."""

        def accept(reply: Reply) -> tuple[Page, Reply]:
            from catalunya.io.sources.file_formats import Cut

            check_utf8(reply.body)
            body = reply.body
            _check_export(body[:_TAIL], body[-_TAIL:])
            rows = len(body.strip().splitlines())
            return self.page(client, 0, Cut(body, rows, {})), reply

        return client.get(request.path, accept, request.params)

    def read(self, body: bytes, fields: Sequence[str], searched: int) -> pl.DataFrame:
        from catalunya.io.sources.file_formats import read

        return read(body, _LINES, fields, searched)

    def download(self, client: Http, spool: BinaryIO) -> SourceState:
        """All records, of which there must be as many as the portal counts, in one state."""
        before, total = self.read_state(client), self._count(client)
        path = f"{self._path}?{urlencode(self._parameters(-1))}"
        found = client.download(path, partial(_accept_export, spool), spool)
        after = self.read_state(client)
        if after.version != before.version:
            raise MovedError(f"expected version {before.version} throughout, found {after.version} at the end")
        if found != total:
            raise MovedError(f"the source counts {total} records, received {found}")
        return before

    def cuts(self, spool: BinaryIO, http: HttpSettings) -> Iterator[Cut]:
        """The pages of an export. Raises SourceError, which names the source."""
        from catalunya.io.sources.file_formats import cut

        if spool.seek(0, 2) == 0:
            return
        spool.seek(0)
        try:
            for each in cut(spool, _LINES, http.page_rows):
                yield replace(each, fields={})  # the metadata say which there are, and of which types
        except ContractError as flaw:
            raise SourceError(f"{self.describe()}: {flaw}") from None

    def page(self, client: Http, number: int, cut: Cut) -> Page:
        """A page, whose address is that of the export with the number of the page."""
        url = f"{client.address(self._path, self._parameters(-1))}#page={number}"
        digest = hashlib.sha256(cut.body).hexdigest()
        return Page(f"page-{number:05}.jsonl", url, cut.rows, len(cut.body), digest)

    @property
    def _path(self) -> str:
        return f"{API}/{self.dataset_id}/exports/jsonl"

    def _parameters(self, limit: int) -> dict[str, str]:
        return {"limit": str(limit)} | ({"order_by": ",".join(self.key)} if self.key else {})

    def _count(self, client: Http) -> int:
        return client.get(f"{API}/{self.dataset_id}/records", _accept_count, {"limit": "1"})


class _Field(msgspec.Struct):
    name: str
    type: str = "text"
    label: object = None
    description: object = None
    annotations: object = None

    @property
    def kind(self) -> str:
        """The type, in the words of contracts."""
        notes = self.annotations if isinstance(self.annotations, dict) else {}
        return "document" if "multivalued" in notes else KINDS.get(self.type, self.type)

    def described(self) -> FieldInfo:
        """The field for people."""
        return FieldInfo(self.name, self.kind, label=said(self.label), description=said(self.description))


class _Metas(msgspec.Struct):
    """`modified` is what the publisher says, and need not move with the data; `data_processed` is when records were last processed."""

    title: object = None
    description: object = None
    publisher: object = None
    license: object = None
    license_url: object = None
    modified: str | None = None
    data_processed: str | None = None
    records_count: object = None


class _AllMetas(msgspec.Struct):
    default: _Metas


class _Dataset(msgspec.Struct):
    fields: list[_Field]
    metas: _AllMetas
    dataset_id: str | None = None
    has_records: bool | None = None


class _Records(msgspec.Struct):
    total_count: int


class _Refusal(msgspec.Struct):
    """Both forms of an error: of the API, and of the quota, which says when it begins again."""

    message: str = ""
    error_code: str = ""
    error: str = ""
    errorcode: int | str = ""
    reset_time: str = ""


_READ = frozenset({"fields", "name", "type", "metas", "default", "modified", "data_processed", "records_count"})


def _accept_dataset(reply: Reply) -> _Dataset:
    """The metadata. What is read of them must be said once: of two answers, parsers keep one silently."""
    check_utf8(reply.body)
    found = reply.decode(_Dataset)
    names = [field.name for field in found.fields]
    twice = sorted({name for name in names if names.count(name) > 1}) + repeated_names(reply.body, _READ)
    if twice:
        flaw = f"expected each field of the metadata once, found {', '.join(twice[:20])} twice"
        raise BadBodyError(flaw, flaw)
    return found


def _accept_count(reply: Reply) -> int:
    return reply.decode(_Records).total_count


def _accept_export(spool: BinaryIO, _: Reply) -> int:
    """How many lines an export has. Raises BadBodyError if it broke off, or is something else."""
    spool.seek(0)
    head, lines, tail = spool.read(_TAIL), 0, b""
    spool.seek(0)
    while block := spool.read(_BLOCK):
        lines, tail = lines + block.count(b"\n"), (tail + block)[-_TAIL:]
    _check_export(head, tail)
    return lines + (bool(tail) and not tail.endswith(b"\n"))


def _check_export(head: bytes, tail: bytes) -> None:
    if INTERRUPTED in tail:
        reason = tail[tail.index(INTERRUPTED) :].decode(errors="replace")
        raise BadBodyError(textwrap.shorten(reason, 300, placeholder=" …"))
    if head and (not head.startswith(b"{") or not tail.rstrip().endswith(b"}")):
        part = head if not head.startswith(b"{") else tail[-200:]
        shape = "expected lines with a JSON object each, found something else" if part is head else ""
        raise BadBodyError(f"{shape or 'expected a JSON object to the end'}: {part[:200]!r}", shape)


def _moment(text: str | None) -> datetime | None:
    try:
        at = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)


def _explain(token: str, reply: Reply) -> str:
    """The portal's message in a refusal, whose body need not be JSON, and what to do about it; `token`: where that is set."""
    try:
        refusal = reply.decode(_Refusal)
    except BadBodyError:
        refusal = _Refusal(message=reply.excerpt())
    code, message = refusal.error_code or str(refusal.errorcode), refusal.message or refusal.error
    parts = [": ".join(filter(None, (code, message)))]
    parts += [f"the quota begins again at {refusal.reset_time}"] if refusal.reset_time else []
    advice = ADVICE.get(reply.status, "").format(token=token)
    text = textwrap.shorten("; ".join(filter(None, parts)), 300, placeholder=" …")
    return f"{text}{f'. {advice}' if advice else ''}"

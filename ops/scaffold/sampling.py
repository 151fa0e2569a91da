"""Asking a source about itself: its metadata, some of its rows, and the answers as they came, for the recorded sample.

Here: which source an address means in this environment, and the few requests that are sent: metadata, a count, at most PAGES pages from
all over the table. Not here: what follows from the rows (`profile.py`), writing the sample (`ops/mock/samples.py`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import polars as pl

from catalunya.contracts.model.columns import NESTED
from catalunya.io.environment import Settings
from catalunya.io.errors import TooLargeError, UsageError
from catalunya.io.project_folder import active
from catalunya.io.safe_text import few, is_pattern, redacted
from catalunya.io.sources import recording
from catalunya.io.sources.base import About, FieldInfo, HttpSettings, SourceState
from catalunya.io.sources.extraction import Source
from catalunya.io.sources.files import BEGINNING, File
from catalunya.io.sources.http import Http, Reply
from catalunya.io.sources.json_types import TYPE
from catalunya.io.sources.pages import SEARCHED
from catalunya.io.sources.protocols import arguments, changed, recognize
from catalunya.ops.mock.samples import RecordedAnswer
from catalunya.ops.scaffold.csv_form import form_of
from catalunya.ops.scaffold.personal import Within, values_within
from catalunya.ops.scaffold.profile import JSON_STAT

ROWS, PAGES = 10_000, 5
KEPT_BYTES = 1_000_000
"""How much of the pages the recorded sample keeps; one page, whatever its size."""
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True)
class Asked:
    """What a source said: metadata, rows as text (without those of fields that hold objects), and the answers to keep."""

    source: Source[Any]
    about: About
    rows: pl.DataFrame
    metadata: Sequence[RecordedAnswer] = field(repr=False)
    pages: Sequence[RecordedAnswer] = field(repr=False)

    @property
    def within(self) -> Within:
        """The values in the fields that hold objects."""
        fields = {each.name for each in self.about.fields} - set(self.rows.columns)
        return values_within((each.body for each in self.pages), fields)


def find_source(address: str, settings: Settings, kind: str | None = None) -> tuple[Source[Any], Settings]:
    """The source at an address, without a portal where that is the project's, and the settings to ask it with.

    An address of the mock is that of the portal for which it stands; the mock may be on any port of this machine.
    Raises UsageError if the address is none of a known protocol.
    """
    url = urlsplit(address.strip())
    if settings.mock and url.hostname in LOOPBACK:
        mock = f"{url.scheme}://{url.netloc}"
        settings = settings.model_copy(update={"mock_url": mock})
        first, _, rest = url.path.lstrip("/").partition("/")
        if rest and ("." in first or ":" in first):
            address = url._replace(scheme="https", netloc=first, path=f"/{rest}").geturl()
    source = recognize(address, kind)
    if any(redacted(str(each)) != str(each) for each in arguments(source)[0]):
        raise UsageError(
            f"{redacted(address)} holds a secret, and would be written into files that are committed: give the address without it; a token "
            f"for {urlsplit(source.portal or '').hostname} goes into CATALUNYA_HOSTS"
        )
    ours = active().portals.get(source.kind)
    if not ours and not source.portal:
        raise UsageError(
            f"{address!r} is an id without a portal, and assets/project.toml names none for {source.kind}: give the address of its page or API"
        )
    is_mock = settings.mock is not None and source.portal is not None and source.portal.startswith(settings.mock)
    if ours and source.portal and (is_mock or source.portal.rstrip("/") == ours.rstrip("/")):
        source = changed(source, portal=None)
    return source, settings


def as_written(source: Source[Any], settings: Settings) -> Source[Any]:
    """A CSV file with the form that its beginning shows; any other source as it is."""
    if not isinstance(source, File) or source.format != "csv":
        return source

    with source.connect(settings.http(source)) as client:
        form = client.get(source.path, lambda reply: form_of(reply.body), first=BEGINNING)
    return changed(source, **form)


def ask(source: Source[Any], settings: Settings) -> Asked:
    """Metadata and a sample. Raises what sources raise, and UsageError for one that has several datasets."""
    http = settings.http(source)
    with tempfile.TemporaryDirectory(prefix="catalunya-", dir=settings.scratch) as folder:
        record = Path(folder, f"metadata{recording.ENDING}")
        about, state = _about(source, replace(http, record=record))
        metadata = [
            RecordedAnswer(_below(each.url, http), each.headers.get("content-type", ""), each.body)
            for each in recording.read(record)
            if each.status == HTTPStatus.OK
        ]
    replies = _pages(source, http, about, state)
    fields = _fields(about, state)
    if patterns := [each.name for each in fields if is_pattern(each.name)]:
        raise UsageError(
            f"{source.describe()}: expected fields with names, found {few(patterns)}, which polars takes for a pattern of names, so that it cannot be "
            "looked at for personal data; give the columns of a file other names (`names=`), or write its contract without a column for it"
        )
    readable = [each.name for each in fields if each.kind not in NESTED]
    frames = [source.read(reply.body, readable, SEARCHED) for reply in replies]
    empty = pl.DataFrame(schema=dict.fromkeys(readable, pl.String))
    objects = {name for name in readable for frame in frames if _has_objects(frame, name)}
    rows = pl.concat([empty, *(frame.select(readable) for frame in frames)]).drop(objects)
    pages = [
        RecordedAnswer(_below(each.url, http), each.headers.get("content-type", ""), each.body) for each in replies
    ]
    if (
        about.rows is None and len(replies) == 1 and rows.height < ROWS // PAGES
    ):  # a page that is not full is all there is
        about = replace(about, rows=rows.height)
    about = replace(about, fields=fields, page_url=source.url(settings.portal(source)))
    # What was asked for its metadata and is a page, too (a file, a dataset in JSON-stat), is kept once, as a page.
    metadata = [each for each in metadata if each.url not in {page.url for page in pages}]
    return Asked(source, about, rows, [*dict.fromkeys(metadata)], [*_kept(pages, about)])


def _about(source: Source[Any], http: HttpSettings) -> tuple[About, SourceState]:
    with source.connect(http) as client:
        described = source.about(client)
        if len(described) != 1:
            raise UsageError(f"{source.describe()}: expected one dataset, found {len(described)}; name one of them")
        return described[0], source.read_state(client)


def _pages(source: Source[Any], http: HttpSettings, about: About, state: SourceState) -> list[Reply]:
    """Pages from all over the table: what comes late may differ from what comes first."""
    size = min(ROWS, about.cells_at_most or ROWS) if _is_of_cells(about) else ROWS // PAGES
    with source.connect(replace(http, page_rows=min(size, http.page_rows))) as client:
        plan = source.plan(client, state, None)
        wanted = [request for request in plan.requests if request.rows]
        count = min(PAGES, max(1, ROWS // size), len(wanted))
        chosen = [wanted[at * len(wanted) // count] for at in range(count)]
        return [_fetch(source, client, request) for request in chosen]


def _fetch(source: Source[Any], client: Http, request: Any) -> Reply:
    """One page, or as much of its beginning as one answer may hold."""
    while True:
        try:
            return source.fetch(client, request)[1]
        except TooLargeError:
            halves = request.halves()
            if not halves:
                raise
            request = halves[0]


def _is_of_cells(about: About) -> bool:
    """Whether it is a JSON-stat table: a page of it is a table of its own, and the larger the better."""
    return any(each.kind in JSON_STAT for each in about.fields)


def _fields(about: About, state: SourceState) -> tuple[FieldInfo, ...]:
    """The fields that the source describes, then those that it only lists (`table`, `updated` of a JSON-stat table)."""
    described = {each.name: each for each in about.fields}
    listed = {name: FieldInfo(name, kind) for name, kind in state.fields.items() if name not in described}
    return (*described.values(), *listed.values())


def _has_objects(frame: pl.DataFrame, name: str) -> bool:
    """Whether a page has an object or array in a field: it is not a value, whatever the source declares."""
    return TYPE + name in frame.columns and (frame[TYPE + name] == "object").any()


def _below(url: str, http: HttpSettings) -> str:
    """An address without the base URL of the API."""
    return url.removeprefix(http.base_url.rstrip("/"))


def _kept(pages: Sequence[RecordedAnswer], about: About) -> Iterator[RecordedAnswer]:
    """The pages to keep: the first, and more of them while there is room; of a table of cells only one, which is a table of its own."""
    room = KEPT_BYTES
    for number, page in enumerate(pages):
        room -= len(page.body)
        if number and (room < 0 or _is_of_cells(about)):
            return
        yield page

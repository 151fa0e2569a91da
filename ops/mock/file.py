"""Files at a URL: any bytes, with ETag, Last-Modified, and a part of them on request.

Here: a file at a version, and the answer it becomes. Not here: what is in a file. A version is the file with one line less at its end
than the one before (of what is no text, the same file published again).
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from starlette.routing import Route

from catalunya.ops.mock.exchange import Answer, Asked, Desk, Published, Wire, html, http_date
from catalunya.ops.mock.faults import FILE_FAULTS, Fault

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from catalunya.ops.mock.samples import Sample

BETWEEN_CHANGES_S = 3600


@dataclass(kw_only=True)
class PublishedFile(Published):
    """A file at `address`, last modified at `modified` (seconds since 1970)."""

    faults = FILE_FAULTS
    address: str
    content: bytes
    type: str = "text/csv"
    modified: int = 1_700_000_000

    @property
    def name(self) -> str:
        url = urlsplit(self.address)
        return f"{url.netloc}{unquote(url.path)}"

    @property
    def updated_at(self) -> int:
        """When it was last modified, in seconds since 1970."""
        return self.modified + self.changes * BETWEEN_CHANGES_S

    def state(self) -> dict[str, int]:
        return {"version": self.version, "bytes": len(self.shown()), "modified": self.updated_at}

    def shown(self) -> bytes:
        """Its bytes at this version."""
        try:
            self.content.decode("utf-8")
        except UnicodeDecodeError:
            return self.content
        lines = self.content.splitlines(keepends=True)
        return b"".join(lines[: max(1, len(lines) - self.version)])


def served(sample: Sample) -> PublishedFile:
    """A recorded sample as a file of its own: its first page, which can be read alone, is all there is."""
    page, *more = sample.pages
    if more:
        raise ValueError("expected one page")
    above = b"\n" * sample.options.get("skip", 0)  # a page begins with the header
    content, member = above + page.body, sample.options.get("member")
    if member:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(member, content)
        content = packed.getvalue()
    modified = int(sample.recorded_at.timestamp())
    return PublishedFile(address=sample.arguments[0], content=content, type=page.type, modified=modified)


class FilesApi:
    """The files of all hosts."""

    serves = PublishedFile

    def __init__(self, files: Sequence[PublishedFile], desk: Desk) -> None:
        self._files, self._desk = {each.name: each for each in files}, desk

    def routes(self) -> list[BaseRoute]:
        """The path of each file. Of several hosts, each has its own at the same path."""
        paths = {unquote(urlsplit(each.address).path) for each in self._files.values()}
        return [Route(path, self._serve, methods=["GET", "HEAD"]) for path in sorted(paths)]

    async def _serve(self, request: Request) -> Wire | Answer:
        name = f"{request.scope.get('portal', '')}{request.scope['path']}"
        file = self._files.get(name) or self._files.get(request.scope["path"])  # one of a folder has no host

        def answer(asked: Asked, faults: Sequence[Fault]) -> Answer:
            if file is None:
                return html(404, "404 Not Found")
            kinds = {fault.kind for fault in faults}
            found = _answer(file, asked, has_validators="no-validators" not in kinds)
            if "moving-rows" in kinds:
                file.advance(1)
            return found

        return await self._desk.serve(request, name, "rows", answer, kinds=FILE_FAULTS)


def _answer(file: PublishedFile, asked: Asked, *, has_validators: bool) -> Answer:
    body = file.shown()
    headers = {"Content-Type": file.type}
    if not has_validators:
        return Answer(body, 200, headers)
    etag = f'"{hashlib.sha256(body).hexdigest()[:12]}-{file.changes}"'
    headers |= {"ETag": etag, "Last-Modified": http_date(file.updated_at), "Accept-Ranges": "bytes"}
    part = re.fullmatch(r"bytes=(\d+)-", asked.headers.get("range", ""))
    if part and asked.headers.get("if-range", etag) == etag and int(part[1]) < len(body):
        start = int(part[1])
        return Answer(body[start:], 206, headers | {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"})
    return Answer(body, 200, headers)

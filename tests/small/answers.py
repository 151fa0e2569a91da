"""One answer of a source, cut into pages in any way: rows, or the cells of a JSON-stat table; and a source that gives such pages."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import fields as dataclass_fields
from datetime import UTC, datetime
from math import prod
from typing import Any

import polars as pl
from hypothesis import strategies as st

from catalunya.assets.graph.spec import LandingDeclaration, StagingDeclaration
from catalunya.io.periods import Window
from catalunya.io.sources.base import Extraction, HttpSettings, Landed, Page, PageSink, SourceState
from catalunya.io.sources.extraction import Source
from small.shops import InFolder

Row = dict[str, Any]
Box = Mapping[str, Sequence[str]]
"""The codes of each dimension."""


@dataclass(frozen=True)
class GivenPages(InFolder):
    """A source that gives the pages it was last given; its version is the hash of them."""

    fields: tuple[str, ...] = ()
    reader: Source[Any] | None = None
    """The source whose pages they are; rows without one."""

    def read(self, body: bytes, fields: Sequence[str], searched: int) -> pl.DataFrame:
        return self.reader.read(body, fields, searched) if self.reader else super().read(body, fields, searched)

    def give(self, pages: Sequence[tuple[bytes, int]]) -> None:
        """The bytes and the number of rows or cells of each page."""
        self.folder.mkdir(parents=True, exist_ok=True)
        given = [[body.decode(), rows] for body, rows in pages]
        (self.folder / "pages.json").write_text(json.dumps(given), encoding="utf-8")

    def probe(self, http: HttpSettings, known: str | None = None) -> SourceState | None:
        version = hashlib.sha256((self.folder / "pages.json").read_bytes()).hexdigest()[:12]
        if version == known:
            return None
        return SourceState(version, datetime(2026, 8, 1, tzinfo=UTC), dict.fromkeys(self.fields, "text"))

    def extract(
        self,
        http: HttpSettings,
        state: SourceState,
        sink: PageSink,
        *,
        window: Window | None = None,
        progress: Callable[[int, int], None] | None = None,
        landed: Landed | None = None,
    ) -> Extraction:
        started, pages = datetime.now(UTC), []
        for number, (text, rows) in enumerate(json.loads((self.folder / "pages.json").read_text(encoding="utf-8"))):
            name, body = f"page-{number:05}.json", text.encode()
            with sink(name) as file:
                file.write(body)
            pages.append(Page(name, f"folder:{number}", rows, len(body), hashlib.sha256(body).hexdigest()))
        return Extraction(state, tuple(pages), len(pages), started, datetime.now(UTC))


def given(declared: StagingDeclaration, source: GivenPages, *reads: StagingDeclaration) -> StagingDeclaration:
    """A declaration of the project that reads this source in place of its own, and these tables."""
    fields = declared.landing.contract.fields()
    named = replace(source, fields=tuple(field.name for field in fields), reader=declared.landing.source)
    contract = declared.landing.contract
    landing = LandingDeclaration(
        **{**vars_of(declared.landing), "source": named, "contract": contract}  # type: ignore[arg-type]
    )
    return replace(declared, landing=landing, reads=reads)


def vars_of(landing: LandingDeclaration) -> dict[str, Any]:
    """The fields of a declaration, without what it worked out from them."""
    return {each.name: getattr(landing, each.name) for each in dataclass_fields(landing)}


# Rows


def page_of(rows: Sequence[Row], layout: int = 0) -> tuple[bytes, int]:
    """A page of rows: one row a line, all on one line, or indented."""
    texts = [json.dumps(row, ensure_ascii=False) for row in rows]
    bodies = ("[" + "\n,".join(texts) + "]\n", "[" + ", ".join(texts) + "]", json.dumps(rows, indent=2))
    return bodies[layout].encode(), len(rows)


def pages_of(rows: Sequence[Row]) -> st.SearchStrategy[list[tuple[bytes, int]]]:
    """The same rows in any order, cut anywhere, in any layout; some pages may be empty."""

    def cut(drawn: tuple[list[Row], list[int], list[int]]) -> list[tuple[bytes, int]]:
        shuffled, ends, layouts = drawn
        edges = [0, *sorted(ends), len(shuffled)]
        pieces = [shuffled[start:end] for start, end in itertools.pairwise(edges)]
        return [page_of(piece, layouts[number % len(layouts)]) for number, piece in enumerate(pieces)]

    return st.tuples(
        st.permutations(list(rows)),
        st.lists(st.integers(0, len(rows)), max_size=5),
        st.lists(st.integers(0, 2), min_size=1, max_size=4),
    ).map(cut)


# Cells


@dataclass(frozen=True)
class Cube:
    """A JSON-stat table: its address, dimensions, roles, and the value of each cell (None: `..`)."""

    table: str
    codes: Box
    role: Mapping[str, Sequence[str]]
    value: Callable[[Mapping[str, str]], int | None]
    updated: str = "2026-01-29"

    def page(self, box: Box, style: int = 0) -> tuple[bytes, int]:
        """The document of some of the cells, as one of several servers would write it."""
        cells = [self.value(dict(zip(box, codes, strict=True))) for codes in itertools.product(*box.values())]
        values: list[Any] = [".." if style & 1 and cell is None else cell for cell in cells]
        if style & 2:
            values = [float(cell) if isinstance(cell, int) else cell for cell in values]
        statuses = {str(at): ".." for at, cell in enumerate(cells) if cell is None}
        document = {
            "version": "2.0",
            "class": "dataset",
            "href": f"https://api.idescat.cat/taules/v2/{self.table}/data",
            "updated": self.updated,
            "id": list(box),
            "size": [len(codes) for codes in box.values()],
            "role": self.role,
            "dimension": {name: {"category": self._category(codes, style)} for name, codes in box.items()},
            "value": {str(at): value for at, value in enumerate(values)} if style & 4 else values,
            "status": [statuses.get(str(at)) for at in range(len(cells))] if style & 8 else statuses,
        }
        return json.dumps(document, ensure_ascii=False, indent=1 if style & 16 else None).encode(), len(cells)

    def _category(self, codes: Sequence[str], style: int) -> dict[str, Any]:
        index = {code: at for at, code in enumerate(codes)} if style & 16 else list(codes)
        return {"index": index, "label": {code: f"label of {code}" for code in codes}}

    def pages(self) -> st.SearchStrategy[list[tuple[bytes, int]]]:
        """All cells, cut along any dimensions down to single codes, with codes and pages in any order, by any server."""

        @st.composite
        def cut(draw: st.DrawFn) -> list[tuple[bytes, int]]:
            boxes = [{name: draw(st.permutations(list(codes))) for name, codes in self.codes.items()}]
            for _ in range(draw(st.integers(0, 6))):
                box = boxes.pop(draw(st.integers(0, len(boxes) - 1)))
                name = draw(st.sampled_from(sorted(box)))
                parts = draw(st.sampled_from((2, 2, 3, len(box[name]))))
                step = max(1, -(-len(box[name]) // parts))
                boxes += [{**box, name: box[name][at : at + step]} for at in range(0, len(box[name]), step)]
                if len(boxes) > 15:
                    break
            ordered = draw(st.permutations(boxes))
            return [self.page(box, draw(st.integers(0, 31))) for box in ordered if prod(map(len, box.values()))]

        return cut()

"""A small source and its two tables: shops, read from a folder that the test writes, through the real materialization path.

To that path the source is complete: it has a version, fields, pages and a count. Only it reads a folder instead of an API.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from catalunya.assets.graph.spec import Declaration, Landing, StagingDeclaration, staging
from catalunya.contracts.model.contract import Contract, LandingContract, column, raw
from catalunya.io.periods import Window
from catalunya.io.sources.base import (
    Extraction,
    HttpSettings,
    Landed,
    NothingLanded,
    Page,
    PageSink,
    SourceState,
)
from catalunya.io.sources.pages import read_rows

Rows = Sequence[dict[str, Any]]


class RawShops(LandingContract):
    """Shops as the source publishes them."""

    codi: str = raw("Code", kind="text", required=True)
    ciutat: str = raw("City", kind="text", required=True)
    places: str = raw("Places", kind="number")
    telefon: str = raw("Telephone", personal=True)


class Shops(Contract, tolerate=0.25, max_shrink=0.5, max_growth=9.0, max_change=1.0, max_loss=1.0):
    """Shops by city."""

    shop_id: str = column("Code of the shop", source=RawShops.codi, key=True)
    capacity_places: int = column("Places", source=RawShops.places, nullable=True, ge=0)
    city: str = column("City", source=RawShops.ciutat, str_matches=r"^[A-Z][a-z]+$")


class Cities(Contract, max_shrink=1.0, max_growth=9.0, max_change=1.0):
    """Shops again, in a second table that reads the first."""

    shop_id: str = column("Code of the shop", source=RawShops.codi, key=True)
    city: str = column("City", source=RawShops.ciutat)
    shops_known: int = column("Shops of the other table in this city")


@dataclass(frozen=True)
class InFolder:
    """What sources that read a folder have in common. Where it is is not declared: a lake can be copied with its source."""

    folder: Path = field(repr=False)
    kind: ClassVar[str] = "socrata"
    portal: ClassVar[str | None] = None
    pages_are: ClassVar[str] = "a JSON array of rows"
    token_setting: ClassVar[str] = ""
    has_periods: ClassVar[bool] = False

    def read(self, body: bytes, fields: Sequence[str], searched: int) -> pl.DataFrame:
        return read_rows(body, fields, searched)

    def describe(self) -> str:
        return f"folder {self.folder.name}"

    def url(self, base_url: str) -> str:
        return self.folder.as_uri()


@dataclass(frozen=True)
class FolderSource(InFolder):
    """A source that reads `rows.json` in a folder, in pages of two rows; its version is the hash of the content."""

    page_rows: int = 2

    def write(self, rows: Rows, *, version: str | None = None, fields: dict[str, str] | None = None) -> None:
        """Set what the source publishes from now on."""
        self.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(list(rows))
        known = {"codi": "text", "ciutat": "text", "places": "number", "telefon": "text"}
        state = {"version": version or hashlib.sha256(text.encode()).hexdigest()[:8], "fields": fields or known}
        (self.folder / "rows.json").write_text(text)
        (self.folder / "state.json").write_text(json.dumps(state))

    def probe(self, http: HttpSettings, known: str | None = None) -> SourceState | None:
        with (self.folder / "asked.txt").open("a") as asked:
            asked.write("probe\n")
        state = json.loads((self.folder / "state.json").read_text())
        if state["version"] == known:
            return None
        return SourceState(state["version"], datetime(2026, 8, 1, tzinfo=UTC), state["fields"])

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
        started = datetime.now(UTC)
        landed = landed or NothingLanded()
        have = landed.of(state.version)
        rows = json.loads((self.folder / "rows.json").read_text())
        pages = []
        for number, at in enumerate(range(0, len(rows), self.page_rows)):
            chunk = rows[at : at + self.page_rows]
            body = ("[" + "\n,".join(json.dumps(row) for row in chunk) + "]\n").encode()
            name = f"page-{number:05}.json"
            page = Page(name, f"folder:{at}", len(chunk), len(body), hashlib.sha256(body).hexdigest())
            if page.url not in have:
                with sink(name) as file:
                    file.write(body)
                landed.add(page)
            pages.append(have.get(page.url, page))
            if progress:
                progress(at + len(chunk), len(rows))
        return Extraction(state, tuple(pages), len(pages), started, datetime.now(UTC))


def declare(folder: Path, *, page_rows: int = 2) -> tuple[FolderSource, list[Declaration]]:
    """The source, and a graph of three assets: landing.shops -> staging.shops -> staging.cities (which reads both).

    Each page takes ten milliseconds to check: a test that makes many tables, and not of what pages do, has all rows in one.
    """
    source = FolderSource(folder, page_rows)
    landing = Landing("shops", source=source, contract=RawShops, schedule="0 5 * * *")

    @staging(landing, contract=Shops, partition_by=["city"])
    def shops(raw: pl.LazyFrame) -> pl.LazyFrame:
        return raw.filter(pl.col("shop_id") != "JUNK")

    @staging(landing, contract=Cities, reads=[shops])
    def cities(raw: pl.LazyFrame, shops: pl.LazyFrame) -> pl.LazyFrame:
        counted = shops.group_by("city").agg(pl.len().cast(pl.Int64).alias("shops_known"))
        return raw.join(counted, on="city", how="left").with_columns(pl.col("shops_known").fill_null(0))

    return source, [landing, shops, cities]


def declare_failing(folder: Path, error: Callable[[], Exception | None]) -> tuple[FolderSource, list[Declaration]]:
    """The same, with a function of staging.shops that raises the error, if there is one when it is called."""
    source, (landing, shops, cities) = declare(folder)

    def function(raw: pl.LazyFrame) -> pl.LazyFrame:
        if raised := error():
            raise raised
        return raw

    assert isinstance(shops, StagingDeclaration)
    return source, [landing, replace(shops, function=function), cities]


def some(count: int, city: str = "Reus") -> list[dict[str, Any]]:
    """`count` valid rows in one city."""
    return [{"codi": f"S{number}", "ciutat": city, "places": str(number), "telefon": "900"} for number in range(count)]
